//! What is looked at, in bounded steps, and what a root needs of this peer.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use cid::Cid;

use super::queue::Line;
use super::{Event, Repair};
use crate::id::Address;
use crate::time::Moment;

/// What has to be looked at.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) roots: BTreeSet<Cid>,
    /// Holders whose roots are to be looked at, and the last one that was.
    pub(super) holders: VecDeque<(Address, Option<Cid>)>,
    /// A pass over all roots, and the last root that it looked at: `None` between
    /// passes, `Some(None)` before the first root.
    pub(super) pass: Option<Option<Cid>>,
    pub(super) pass_at: Moment,
    pub(super) step_at: Moment,
}

impl Repair {
    /// Looks at a bounded number of roots: those that changed, then those of
    /// peers that were lost or returned, then all.
    pub(super) fn step(&mut self) {
        let mut left = self.config.step_roots_max;
        while left > 0
            && let Some(root) = self.work.roots.pop_first()
        {
            self.examine(&root);
            left -= 1;
        }
        while left > 0
            && let Some((holder, cursor)) = self.work.holders.pop_front()
        {
            let roots: Vec<Cid> = self
                .holdings
                .get(&holder)
                .into_iter()
                .flat_map(|roots| roots.range(after(cursor)))
                .take(left)
                .copied()
                .collect();
            if roots.len() == left {
                self.work
                    .holders
                    .push_front((holder, roots.last().copied()));
            }
            left -= roots.len();
            for root in roots {
                self.examine(&root);
            }
        }
        if left > 0
            && let Some(cursor) = self.work.pass
        {
            let roots: Vec<Cid> = self
                .roots
                .range(after(cursor))
                .take(left)
                .map(|(root, _)| *root)
                .collect();
            self.work.pass = (roots.len() == left).then(|| roots.last().copied());
            for root in roots {
                self.examine(&root);
            }
        }
    }

    /// Decides what one root needs of this peer.
    fn examine(&mut self, root: &Cid) {
        self.dequeue(root);
        let Some(known) = self.roots.get(root) else {
            return;
        };
        let live = self.claims(root).count();
        if live > 0 || !known.is_required {
            self.starved.remove(root);
        } else if self.has_heard && self.starved.insert(*root) {
            self.events.push_back(Event::Starved {
                root: *root,
                lost_holders: known.claims.iter().map(|(holder, _)| *holder).collect(),
            });
        }
        if known.claim_idx(&self.me).is_ok() {
            if known.is_required
                && self.surplus.len() < self.config.queue_max
                && self.wanted_keepers(root).is_some()
            {
                self.surplus.insert(*root);
                self.start_checks();
            }
        } else if !self.fetching.contains_key(root)
            && known.retry_at.is_none()
            && (known.is_owed || (known.is_required && self.is_wanted(root)))
        {
            let first = self.claims(root).next();
            let line = match (live, first) {
                (1, Some((claimant, _))) => Line::One(claimant),
                (_, Some(_)) => Line::Several,
                (_, None) => Line::Nobody,
            };
            self.enqueue((line, live), *root);
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.work.roots.is_empty() || !self.work.holders.is_empty() || self.work.pass.is_some()
    }

    pub(super) fn start_pass(&mut self) {
        self.work.pass = Some(None);
    }

    pub(super) fn touch(&mut self, root: Cid) {
        self.work.roots.insert(root);
    }

    pub(super) fn find_lost(&mut self, now: Moment) {
        while let Some(peer) = self.liveness.pop_lost(now) {
            self.events.push_back(Event::Lost { peer });
            // Its own roots first; the pass then finds where it was wanted.
            self.work.holders.push_back((peer, None));
            self.start_pass();
        }
    }

    pub(super) fn is_wanted(&self, root: &Cid) -> bool {
        self.wanted(root).contains(&self.me)
    }
}

fn after(cursor: Option<Cid>) -> (Bound<Cid>, Bound<Cid>) {
    let from = match cursor {
        Some(last) => Bound::Excluded(last),
        None => Bound::Unbounded,
    };
    (from, Bound::Unbounded)
}
