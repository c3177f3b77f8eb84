//! Keeps every page that it ever heard, and publishes the old ones again, so that
//! peers that are gone seem to be there.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::host::Host;
use crate::wire::Topic;
use crate::world::Ctx;

/// Pages of others.
#[derive(Debug, Default)]
pub(super) struct Replays {
    pages: BTreeSet<Bytes>,
}

impl Replays {
    pub(super) fn keep(&mut self, page: &Bytes) {
        self.pages.insert(page.clone());
    }

    pub(super) fn act(&mut self, host: &mut Host, ctx: &mut Ctx) -> Duration {
        for page in &self.pages {
            host.gossip(Topic::Pages, page.to_vec(), ctx);
        }
        ctx.params.lost_after / 2
    }
}
