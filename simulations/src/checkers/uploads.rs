//! Uploads: what is never published is gone in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use cid::Cid;
use protocol::content::HolderConfig;
use protocol::id::Hash32;
use protocol::time::Moment;

use super::Checkers;
use crate::chain::Chain;

/// Each root that was durable: its action, and when it was last.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    offers: BTreeMap<Cid, (Hash32, Moment)>,
}

impl Checkers {
    /// Notes that a root that was offered with an action is durable.
    pub fn note_durable(&mut self, root: Cid, digest: Hash32, now: Moment) {
        self.uploads.offers.insert(root, (digest, now));
    }

    /// True for a root that enough operators held at some time.
    #[must_use]
    pub fn was_durable(&self, root: &Cid) -> bool {
        self.uploads.offers.contains_key(root)
    }

    /// Roots whose action had its time to land and is in no final block, nor was.
    pub fn abandoned(&self, chain: &Chain, now: Moment) -> impl Iterator<Item = Cid> {
        let time = HolderConfig::default().unpublished_ttl + GRACE;
        let offers = self.uploads.offers.iter();
        offers
            .filter(move |(_, (_, at))| *at + time <= now)
            .filter(|(_, (digest, _))| chain.landed(digest) == 0 && !chain.was_undone(digest))
            .map(|(root, _)| *root)
    }
}

/// From the end of an upload's time to its last block's deletion. Derived: offers
/// are answered for minutes after, and a peer that is down deletes once
/// it is up again.
const GRACE: Duration = Duration::from_secs(3600);
