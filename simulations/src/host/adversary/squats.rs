//! Publishes what others published as its own, and deletes it again; and a file
//! of its own, which it deletes too.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;
use protocol::entry::Entry;
use protocol::id::UserId;

use super::super::content::published_root;
use super::Host;
use crate::world::Ctx;

/// Whose roots it named.
#[derive(Debug, Default)]
pub(crate) struct Squats {
    named: BTreeSet<Cid>,
    has_published: bool,
}

impl Squats {
    pub(super) fn act(&mut self, host: &mut Host, ctx: &mut Ctx) -> Duration {
        if !self.has_published {
            self.has_published = true;
            host.publish(ctx);
        }
        ctx.params.lost_after
    }

    pub(super) fn hear(&mut self, entries: &[Entry], host: &mut Host, ctx: &mut Ctx) {
        let me = UserId(u64::from(host.idx) + 1);
        for entry in entries {
            let action = &entry.action.action;
            let Some((root, _)) = published_root(&action.metadata) else {
                continue;
            };
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
