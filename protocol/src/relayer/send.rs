//! What is sent, with which slot, and again.

use std::collections::BTreeSet;

use super::wallets::{Content, Nonces, Slot};
use super::{Event, Relayer, SendFailure, Stage};
use crate::id::{Address, Hash32};

impl Relayer {
    /// Notes that the chain answers and that blocks have passed; sends what is
    /// due, raises fees of what waits too long.
    pub fn handle_block(&mut self, number: u64) {
        let was_up = std::mem::replace(&mut self.is_chain_up, true);
        self.block = number;
        let waiting: Vec<_> = self.wallets.waiting().collect();
        for (slot, filling) in waiting {
            let Content::Action(digest) = filling.content else {
                continue;
            };
            if !self.is_due(&digest, &slot) {
                continue;
            }
            let is_slow = number >= filling.since.saturating_add(self.config.bump_after_blocks);
            let Some(job) = self.jobs.get_mut(&digest) else {
                continue;
            };
            // A block that comes meanwhile, made by others' transactions perhaps,
            // would only have it sent twice, behind everything that waits.
            if job.is_sending && was_up {
                continue;
            }
            let is_unsent = matches!(job.row.stage, Stage::Assigned { tx_hash: None, .. });
            if is_slow && !is_unsent && was_up {
                // The last fee is sent again and again: the chain may have
                // forgotten the transaction.
                job.bumps = (job.bumps + 1).min(self.config.bumps_max);
            } else if !is_unsent && was_up {
                continue;
            }
            self.send(&digest);
        }
        self.dispatch();
    }

    /// Notes that the chain does not answer.
    pub fn handle_chain_away(&mut self) {
        self.is_chain_up = false;
    }

    /// Notes a wallet's next nonces and whether it has money. What a
    /// reorganisation gave back is sent again; a slot that was consumed for good,
    /// but not by its own action, sends that to be looked for; what is below the
    /// next nonce and not known is filled.
    pub fn handle_wallet(&mut self, address: Address, nonces: Nonces, is_funded: bool) {
        let looked = self
            .wallets
            .handle_nonces(address, nonces, is_funded, self.block);
        for (slot, digest) in looked.consumed.into_iter().chain(looked.beyond) {
            self.look_again(&digest, &slot);
        }
        for (slot, digest) in looked.given_back {
            if self.is_due(&digest, &slot) {
                self.send(&digest);
            }
        }
        self.dispatch();
    }

    /// Notes that a transaction is in the chain's queue.
    pub fn handle_sent(&mut self, digest: &Hash32, slot: Slot, hash: Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        job.is_sending &= job.slot() != Some(slot);
        if job.slot() == Some(slot)
            && let Stage::Assigned { tx_hash, .. } = &mut job.row.stage
            && *tx_hash != Some(hash)
        {
            *tx_hash = Some(hash);
            self.persist(digest, false);
        }
    }

    /// Notes that a transaction could not be sent.
    pub fn handle_send_failed(&mut self, digest: &Hash32, slot: Slot, failure: SendFailure) {
        if let Some(job) = self.jobs.get_mut(digest) {
            job.is_sending &= job.slot() != Some(slot);
        }
        if self.wallets.content(&slot) != Some(Content::Action(*digest)) {
            return;
        }
        match failure {
            // Whether for good, and by what, the wallet and the index tell.
            SendFailure::NonceUsed => self.wallets.handle_used(slot),
            SendFailure::Refused { reason } if self.is_assigned(digest, &slot) => {
                self.fail(digest, reason);
                self.free(slot);
            }
            // A later block tries again, or fills the slot when the action does
            // not need it: an earlier attempt may still be mined.
            SendFailure::Retry | SendFailure::Refused { .. } => {}
        }
        self.dispatch();
    }

    /// Starts what is due while there are wallets for it, then fills the holes
    /// that are left.
    pub(super) fn dispatch(&mut self) {
        if !self.is_chain_up {
            return;
        }
        while let Some(&(block, sequence, digest)) = self.ready.first()
            && block <= self.block
        {
            let Some(job) = self
                .jobs
                .get_mut(&digest)
                .filter(|job| job.row.stage == Stage::Pending && !job.is_simulating)
            else {
                self.ready.remove(&(block, sequence, digest));
                continue;
            };
            // Others may have sent it while this relayer waited for its rank.
            if !job.row.is_simulated || job.rank > 0 {
                self.ready.remove(&(block, sequence, digest));
                self.simulate(&digest);
                continue;
            }
            let last = job.row.last_slot;
            let last = last.filter(|slot| self.wallets.give_back(*slot, digest, self.block));
            let outstanding_max = self.config.wallet_outstanding_max;
            let assign = || self.wallets.assign(digest, outstanding_max, self.block);
            let Some(slot) = last.or_else(assign) else {
                break;
            };
            self.ready.remove(&(block, sequence, digest));
            self.assign(&digest, slot);
        }
        self.fill();
    }

    /// Sends, or sends again, what has a stored nonce.
    pub(super) fn send(&mut self, digest: &Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        let Stage::Assigned { wallet, nonce, .. } = job.row.stage else {
            return;
        };
        let slot = Slot::new(wallet, nonce);
        job.is_sending = true;
        self.wallets.handle_sending(&slot, self.block);
        self.events.push_back(Event::Send {
            digest: *digest,
            action: job.row.action.clone(),
            slot,
            gas: job.row.charge.gas,
            bumps: job.bumps,
        });
    }

    /// Gives an action a slot; it is sent when its row is stored.
    fn assign(&mut self, digest: &Hash32, slot: Slot) {
        let job = self.jobs.get_mut(digest).expect("the caller found the job");
        job.is_sending = false;
        job.row.last_slot = Some(slot);
        job.row.stage = Stage::Assigned {
            wallet: slot.wallet,
            nonce: slot.nonce,
            tx_hash: None,
        };
        self.persist(digest, true);
    }

    /// Makes a slot that its action does not need free for another.
    pub(super) fn free(&mut self, slot: Slot) {
        self.wallets.set(slot, Content::Hole, self.block);
    }

    /// Fills holes that an action waits behind, again when that takes too long.
    fn fill(&mut self) {
        self.wallets.trim();
        let waiting: Vec<_> = self.wallets.waiting().rev().collect();
        let mut needed: BTreeSet<Address> = BTreeSet::new();
        for (slot, filling) in waiting {
            let slow_at = filling.since.saturating_add(self.config.bump_after_blocks);
            let is_slow = self.block >= slow_at;
            let (bumps, displaced) = match filling.content {
                Content::Action(digest) if self.is_assigned(&digest, &slot) => {
                    needed.insert(slot.wallet);
                    continue;
                }
                Content::Hole => (0, None),
                // What may still be mined is waited for first.
                Content::Action(_) | Content::Filler { .. } if !is_slow => continue,
                Content::Action(digest) => (0, Some(digest)),
                Content::Filler { bumps, displaced } => {
                    ((bumps + 1).min(self.config.bumps_max), displaced)
                }
            };
            if needed.contains(&slot.wallet) {
                let filler = Content::Filler { bumps, displaced };
                self.wallets.set(slot, filler, self.block);
                self.events.push_back(Event::Cancel { slot, bumps });
            }
        }
    }

    fn is_assigned(&self, digest: &Hash32, slot: &Slot) -> bool {
        let job = self.jobs.get(digest);
        job.is_some_and(|job| {
            matches!(job.row.stage, Stage::Assigned { .. }) && job.slot() == Some(*slot)
        })
    }

    /// True when an action's row is stored with the slot, so that it can be sent.
    fn is_due(&self, digest: &Hash32, slot: &Slot) -> bool {
        self.is_assigned(digest, slot)
            && self
                .jobs
                .get(digest)
                .is_some_and(|job| job.awaited.is_none())
    }

    /// Puts an action whose slot is gone back into the queue, to be looked for
    /// before it is sent.
    fn look_again(&mut self, digest: &Hash32, slot: &Slot) {
        if self.is_assigned(digest, slot) {
            self.wait_anew(digest);
        }
    }

    /// Puts an action back into the queue, to be looked for before it is sent.
    pub(super) fn wait_anew(&mut self, digest: &Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        job.row.stage = Stage::Pending;
        job.row.is_simulated = false;
        job.awaited = None;
        job.bumps = 0;
        let block = self.block + job.rank;
        self.persist(digest, false);
        self.make_ready(digest, block);
    }
}
