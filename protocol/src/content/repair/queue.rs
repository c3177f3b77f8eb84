//! Roots that wait to be fetched, fairly between those who claim to hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cid::Cid;

use crate::id::Address;
use crate::time::Moment;

/// What waits, in lines. A claim costs nothing, so each claimant has a line of its
/// own for the roots that nobody else claims: whoever invents roots or does not
/// deliver delays nobody else's.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: BTreeMap<Line, BTreeSet<(usize, Cid)>>,
    len: usize,
    /// Roots of each line that are being fetched.
    under_way: BTreeMap<Line, usize>,
    distrusted: BTreeMap<Address, Distrust>,
}

/// Which line a root waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// Several live peers claim it.
    Several,
    /// One live peer claims it.
    One(Address),
    /// Nobody does: it is looked for, one at a time.
    Nobody,
}

/// Where a root waits: its line, and how many live peers claim it.
pub(super) type Spot = (Line, usize);

#[derive(Debug, Clone, Copy)]
struct Distrust {
    failures: u32,
    until: Moment,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a root into its line; answers the root that gave way.
    pub(super) fn insert(&mut self, root: Cid, spot: Spot, len_max: usize) -> Option<Cid> {
        let line = self.lines.entry(spot.0).or_default();
        self.len += usize::from(line.insert((spot.1, root)));
        if self.len <= len_max {
            return None;
        }
        let longest = self.lines.iter().max_by_key(|(_, line)| line.len());
        let line = longest.map(|(line, _)| *line)?;
        let (claimed, last) = *self.lines.get(&line)?.last()?;
        self.remove(&last, (line, claimed));
        Some(last)
    }

    pub(super) fn remove(&mut self, root: &Cid, (name, claimed): Spot) {
        if let Some(line) = self.lines.get_mut(&name) {
            self.len -= usize::from(line.remove(&(claimed, *root)));
            if line.is_empty() {
                self.lines.remove(&name);
            }
        }
    }

    /// The root whose turn it is: with the fewest claimants, of those whose
    /// claimant has the fewest under way.
    pub(super) fn first(&self, now: Moment, under_way_max: usize) -> Option<(Cid, Spot)> {
        let is_free = |line: &Line| match line {
            Line::Several => true,
            Line::One(claimant) => {
                self.under_way_of(line) < under_way_max
                    && self.trusted_from(claimant).is_none_or(|at| at <= now)
            }
            Line::Nobody => self.under_way_of(line) == 0,
        };
        self.lines
            .iter()
            .filter(|(line, _)| is_free(line))
            .filter_map(|(line, roots)| {
                let (claimed, root) = roots.first()?;
                let busy = self.under_way_of(line);
                let is_search = *line == Line::Nobody;
                Some((
                    (is_search, *claimed, busy, *root),
                    (*root, (*line, *claimed)),
                ))
            })
            .min_by_key(|(order, _)| *order)
            .map(|(_, found)| found)
    }

    /// When a line that waits for trust may go on.
    pub(super) fn next_trusted(&self, now: Moment) -> Option<Moment> {
        self.lines
            .keys()
            .filter_map(|line| match line {
                Line::One(claimant) => self.trusted_from(claimant),
                Line::Several | Line::Nobody => None,
            })
            .filter(|at| *at > now)
            .min()
    }

    pub(super) fn start(&mut self, line: Line) {
        *self.under_way.entry(line).or_default() += 1;
    }

    pub(super) fn end(&mut self, line: Line) {
        if let Some(count) = self.under_way.get_mut(&line) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&line);
            }
        }
    }

    /// Notes that the claims of a peer proved true, or did not.
    /// After its first failed claim it rests for `rest`, and twice as long with
    /// each further one.
    pub(super) fn judge(&mut self, claimant: Address, is_true: bool, rest: Duration, now: Moment) {
        if is_true {
            self.distrusted.remove(&claimant);
            return;
        }
        if self.distrusted.len() >= DISTRUSTED_MAX && !self.distrusted.contains_key(&claimant) {
            return;
        }
        let distrust = self.distrusted.entry(claimant).or_insert(Distrust {
            failures: 0,
            until: now,
        });
        distrust.failures += 1;
        let doublings = distrust.failures.saturating_sub(1).min(DOUBLINGS_MAX);
        distrust.until = now + rest * (1 << doublings);
    }

    /// Forgets peers that are none any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&Address) -> bool) {
        self.distrusted.retain(|peer, _| is_known(peer));
    }

    /// True when these roots wait, and so many of each line are being fetched.
    pub(super) fn is_of(
        &self,
        queued: impl Iterator<Item = (Cid, Spot)>,
        under_way: &BTreeMap<Line, usize>,
    ) -> bool {
        let mut lines: BTreeMap<Line, BTreeSet<(usize, Cid)>> = BTreeMap::new();
        for (root, (line, claimed)) in queued {
            lines.entry(line).or_default().insert((claimed, root));
        }
        let len = lines.values().map(BTreeSet::len).sum::<usize>();
        lines == self.lines && len == self.len && *under_way == self.under_way
    }

    fn under_way_of(&self, line: &Line) -> usize {
        self.under_way.get(line).copied().unwrap_or(0)
    }

    fn trusted_from(&self, claimant: &Address) -> Option<Moment> {
        Some(self.distrusted.get(claimant)?.until)
    }
}

/// With a first rest of 10 s the longest is about an hour and a half: chosen, so
/// that a peer whose uplink failed for a day is tried sixteen times in it.
const DOUBLINGS_MAX: u32 = 9;

/// Claimants that are distrusted at a time: more than operators are expected.
const DISTRUSTED_MAX: usize = 10_000;
