//! What repair knows twice, to be quick, and what has to be the same.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::Line;
use super::{Repair, Root};
use crate::id::Address;

impl Repair {
    /// Which of its tables does not agree with the others.
    #[must_use]
    pub fn contradiction(&self) -> Option<&'static str> {
        let count =
            |is_so: fn(&Root) -> bool| self.roots.values().filter(|root| is_so(root)).count();
        let due = self.roots.iter();
        let due = due.filter_map(|(root, known)| Some((known.retry_at?, *root)));
        let mut holdings: BTreeMap<Address, BTreeSet<_>> = BTreeMap::new();
        for (root, known) in &self.roots {
            for (holder, _) in &known.claims {
                holdings.entry(*holder).or_default().insert(*root);
            }
        }
        let mut under_way: BTreeMap<Line, usize> = BTreeMap::new();
        for fetching in self.fetching.values() {
            *under_way.entry(fetching.line).or_default() += 1;
        }
        let queued = self.roots.iter();
        let queued = queued.filter_map(|(root, known)| Some((*root, known.queued?)));
        [
            ("retries", due.collect::<BTreeSet<_>>() == self.retries),
            ("holdings", holdings == self.holdings),
            (
                "claims",
                count(|root| !root.is_required) == self.claimed_count,
            ),
            ("queue", self.queue.is_of(queued, &under_way)),
        ]
        .into_iter()
        .find_map(|(table, agrees)| (!agrees).then_some(table))
    }
}
