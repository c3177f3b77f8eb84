//! Publishes what others published as its own, and deletes it again; a file of
//! its own, which it deletes too; and roots that nobody has.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;
use protocol::content::repair::RootFacts;
use protocol::entry::Entry;
use protocol::id::{Hash32, UserId};
use protocol::unixfs::raw_cid;

use super::super::content::{metadata_of, published_root};
use super::Host;
use crate::world::Ctx;

/// Whose roots it named.
#[derive(Debug, Default)]
pub(crate) struct Squats {
    named: BTreeSet<Cid>,
    phantoms: BTreeSet<Cid>,
    has_published: bool,
}

impl Squats {
    pub(super) fn act(&mut self, host: &mut Host, ctx: &mut Ctx) -> Duration {
        if !self.has_published {
            self.has_published = true;
            host.publish(ctx);
        }
        self.name_phantom(host, ctx);
        ctx.params.lost_after
    }

    /// Names a root that is nowhere, so that others look for it.
    fn name_phantom(&mut self, host: &mut Host, ctx: &mut Ctx) {
        let root = raw_cid(&ctx.rng.bytes(32));
        self.phantoms.insert(root);
        let facts = RootFacts {
            proof_root: Hash32(ctx.rng.array()),
            size: 32,
        };
        let create = host.action("Track", "Create", metadata_of(&root, &facts), ctx);
        host.want(create, None, ctx);
    }

    pub(super) fn hear(&mut self, entries: &[Entry], host: &mut Host, ctx: &mut Ctx) {
        let me = UserId(u64::from(host.idx) + 1);
        for entry in entries {
            let action = &entry.action.action;
            let Some((root, _)) = published_root(&action.metadata) else {
                continue;
            };
            if self.phantoms.contains(&root) {
                continue;
            }
            if action.user_id == me {
                let id = action.entity_id;
                let delete = host.action_on(id, "Track", "Delete", String::new(), ctx);
                host.want(delete, None, ctx);
            } else if self.named.insert(root) {
                let create = host.action("Track", "Create", action.metadata.clone(), ctx);
                host.want(create, None, ctx);
            }
        }
    }
}
