use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::Address;
use crate::time::Moment;

/// When each peer was heard of, and who was silent for too long.
#[derive(Debug)]
pub(super) struct Liveness {
    lost_after: Duration,
    seen: BTreeMap<Address, Moment>,
    /// When each peer that is not lost will be, unless it is heard of.
    deadlines: BTreeSet<(Moment, Address)>,
    lost: BTreeSet<Address>,
}

impl Liveness {
    pub(super) fn new(lost_after: Duration) -> Self {
        Self {
            lost_after,
            seen: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    /// Watches `peers` and nobody else; who is new counts as heard of at `now`.
    pub(super) fn watch(&mut self, peers: &BTreeSet<Address>, now: Moment) {
        let gone: Vec<Address> = self
            .seen
            .keys()
            .filter(|peer| !peers.contains(*peer))
            .copied()
            .collect();
        for peer in gone {
            if let Some(seen) = self.seen.remove(&peer) {
                self.deadlines.remove(&(seen + self.lost_after, peer));
            }
            self.lost.remove(&peer);
        }
        for peer in peers {
            if !self.seen.contains_key(peer) {
                self.seen.insert(*peer, now);
                self.deadlines.insert((now + self.lost_after, *peer));
            }
        }
    }

    /// Notes that a peer was heard of at `at`; true when it was lost until then.
    /// A lost one stays lost when that is too long ago. Whoever is not watched is
    /// ignored.
    pub(super) fn hear(&mut self, peer: Address, at: Moment, now: Moment) -> bool {
        let Some(seen) = self.seen.get_mut(&peer) else {
            return false;
        };
        if *seen >= at {
            return false;
        }
        self.deadlines.remove(&(*seen + self.lost_after, peer));
        *seen = at;
        let deadline = at + self.lost_after;
        if self.lost.contains(&peer) && deadline <= now {
            return false;
        }
        self.deadlines.insert((deadline, peer));
        self.lost.remove(&peer)
    }

    /// The next peer that is lost from now on.
    pub(super) fn pop_lost(&mut self, now: Moment) -> Option<Address> {
        let (at, peer) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_first();
        self.lost.insert(peer);
        Some(peer)
    }

    /// When [`Liveness::pop_lost`] has a peer.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn lost(&self) -> &BTreeSet<Address> {
        &self.lost
    }
}
