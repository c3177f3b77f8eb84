//! Publishes what others published as its own, and deletes it again; a file of
//! its own, which it deletes too; and roots that nobody has.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;
use protocol::content::repair::RootFacts;
use protocol::entry::Entry;
use protocol::id::Hash32;
use protocol::unixfs::raw_cid;

use crate::host::Host;
use crate::index::{metadata_of, published_root};
use crate::workload::Resident;
use crate::world::Ctx;

/// Whose roots it named.
#[derive(Debug, Default)]
pub(super) struct Squats {
    named: BTreeSet<Cid>,
    phantoms: BTreeSet<Cid>,
    has_published: bool,
}

impl Squats {
    pub(super) fn act(
        &mut self,
        resident: &mut Resident,
        host: &mut Host,
        ctx: &mut Ctx,
    ) -> Duration {
        if !self.has_published {
            self.has_published = true;
            resident.publish(host, ctx);
        }
        self.name_phantom(resident, host, ctx);
        ctx.params.lost_after
    }

    /// Names a root that is nowhere, so that others look for it.
    fn name_phantom(&mut self, resident: &mut Resident, host: &mut Host, ctx: &mut Ctx) {
        let root = raw_cid(&ctx.rng.bytes(32));
        self.phantoms.insert(root);
        let facts = RootFacts {
            proof_root: Hash32(ctx.rng.array()),
            size: 32,
        };
        let create = resident.action("Track", "Create", metadata_of(&root, &facts), ctx);
        resident.want(create, None, host, ctx);
    }

    pub(super) fn hear(
        &mut self,
        entries: &[Entry],
        resident: &mut Resident,
        host: &mut Host,
        ctx: &mut Ctx,
    ) {
        for entry in entries {
            let action = &entry.action.action;
            let Some((root, _)) = published_root(&action.metadata) else {
                continue;
            };
            if self.phantoms.contains(&root) {
                continue;
            }
            if action.user_id == resident.user() {
                let id = action.entity_id;
                let delete = resident.action_on(id, "Track", "Delete", String::new(), ctx);
                resident.want(delete, None, host, ctx);
            } else if self.named.insert(root) {
                let create = resident.action("Track", "Create", action.metadata.clone(), ctx);
                resident.want(create, None, host, ctx);
            }
        }
    }
}
