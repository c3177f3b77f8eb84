//! Replicas: how long something hangs on one disk or is held by too many.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cid::Cid;
use protocol::placement::REPLICAS_TARGET;
use protocol::time::Moment;

use super::Checkers;

/// Since when roots have one replica or too many.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    single_since: BTreeMap<Cid, Moment>,
    over_since: BTreeMap<Cid, Moment>,
    single_max: Duration,
    over_max: Duration,
}

impl Checkers {
    /// Notes by how many operators each root is held that has to stay.
    pub fn note_replicas(&mut self, counts: &BTreeMap<Cid, usize>, now: Moment) {
        let replicas = &mut self.replicas;
        let since = |all: &mut BTreeMap<Cid, Moment>, is_so: fn(usize) -> bool| {
            let named: BTreeSet<Cid> = counts
                .iter()
                .filter(|(_, count)| is_so(**count))
                .map(|(root, _)| *root)
                .collect();
            all.retain(|root, _| named.contains(root));
            for root in named {
                all.entry(root).or_insert(now);
            }
            all.values().map(|since| now - *since).max()
        };
        let single = since(&mut replicas.single_since, |count| count == 1);
        let over = since(&mut replicas.over_since, |count| count > REPLICAS_TARGET);
        replicas.single_max = replicas.single_max.max(single.unwrap_or_default());
        replicas.over_max = replicas.over_max.max(over.unwrap_or_default());
    }

    /// For how long a root had one replica at most, and too many.
    #[must_use]
    pub const fn longest(&self) -> (Duration, Duration) {
        (self.replicas.single_max, self.replicas.over_max)
    }
}
