//! What may be released: a root that others are wanted for and proved to hold.

use std::collections::BTreeSet;

use cid::Cid;

use super::{Event, Repair};
use crate::id::Address;

#[derive(Debug)]
pub(super) struct Check {
    pub(super) waiting: BTreeSet<Address>,
    pub(super) is_refuted: bool,
}

impl Repair {
    /// Takes the outcome of an [`Event::CheckRead`].
    pub fn handle_check(&mut self, peer: Address, root: &Cid, is_held: bool) {
        let Some(check) = self.checks.get_mut(root) else {
            return;
        };
        if !check.waiting.remove(&peer) {
            return;
        }
        check.is_refuted |= !is_held;
        let is_over = check.waiting.is_empty();
        let is_refuted = check.is_refuted;
        if !is_held {
            // Its page says otherwise; until the next one it does not count.
            self.handle_released(&peer, root);
        }
        if !is_over {
            return;
        }
        self.checks.remove(root);
        self.start_checks();
        // The world may have changed since the check began.
        if !is_refuted && self.wanted_keepers(root).is_some() {
            let me = self.me;
            self.handle_released(&me, root);
            self.events.push_back(Event::Release { root: *root });
        }
    }

    pub(super) fn start_checks(&mut self) {
        while self.checks.len() < self.config.checks_max
            && let Some(root) = self.surplus.pop_first()
        {
            if self.checks.contains_key(&root) {
                continue;
            }
            let Some(wanted) = self.wanted_keepers(&root) else {
                continue;
            };
            for peer in &wanted {
                self.events
                    .push_back(Event::CheckRead { peer: *peer, root });
            }
            let check = Check {
                waiting: wanted.into_iter().collect(),
                is_refuted: false,
            };
            self.checks.insert(root, check);
        }
    }

    /// The wanted peers, when this peer holds the root, is not one of them and
    /// all of them are believed to hold it.
    pub(super) fn wanted_keepers(&self, root: &Cid) -> Option<Vec<Address>> {
        self.roots.get(root)?.claim_idx(&self.me).ok()?;
        let wanted = self.wanted(root);
        let holders: BTreeSet<Address> = self.holders(root).collect();
        let is_kept = !wanted.is_empty()
            && !wanted.contains(&self.me)
            && wanted.iter().all(|peer| holders.contains(peer));
        is_kept.then_some(wanted)
    }
}
