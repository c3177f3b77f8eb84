//! Wallets, nonces and transactions.

use super::{Event, Job, Receipt, Relayer, SendFailure, Stage};
use crate::id::{Address, Hash32};

/// A wallet that pays.
#[derive(Debug)]
pub(super) struct Wallet {
    /// The nonce of its next transaction.
    next_nonce: u64,
    is_funded: bool,
}

impl Relayer {
    /// Notes that the chain answers and where it is; sends what is due, raises
    /// fees of what waits too long.
    pub fn handle_block(&mut self, number: u64) {
        let was_up = std::mem::replace(&mut self.is_chain_up, true);
        self.block = number;
        let outstanding: Vec<Hash32> = self.outstanding.values().copied().collect();
        for digest in outstanding {
            let Some(job) = self.jobs.get_mut(&digest) else {
                continue;
            };
            let is_unsent = matches!(job.row.stage, Stage::Assigned { tx_hash: None, .. });
            let is_slow = number >= job.sent_block + self.config.bump_after_blocks;
            if job.is_over() || job.awaited.is_some() {
                continue;
            }
            if is_slow && !is_unsent && was_up && job.bumps < self.config.bumps_max {
                job.bumps += 1;
                self.send(&digest);
            } else if is_unsent || !was_up {
                self.send(&digest);
            }
        }
        self.dispatch();
    }

    /// Notes that the chain does not answer.
    pub fn handle_chain_away(&mut self) {
        self.is_chain_up = false;
    }

    /// Notes a wallet's confirmed nonce and whether it has money. An assigned
    /// nonce below it was consumed; if not by its own action, that is looked for
    /// and sent anew.
    pub fn handle_wallet(&mut self, address: Address, nonce: u64, is_funded: bool) {
        let assigned = self
            .outstanding
            .range((address, 0)..=(address, u64::MAX))
            .next_back()
            .map_or(0, |((_, last), _)| last + 1);
        if !self.wallets.contains_key(&address) {
            // What an earlier run gave back is consumed, or it blocks the rest.
            let gaps = (nonce..assigned)
                .filter(|gap| !self.outstanding.contains_key(&(address, *gap)))
                .take(GAPS_MAX);
            for gap in gaps {
                self.events.push_back(Event::Cancel {
                    wallet: address,
                    nonce: gap,
                });
            }
        }
        let wallet = self.wallets.entry(address).or_insert(Wallet {
            next_nonce: 0,
            is_funded,
        });
        wallet.is_funded = is_funded;
        wallet.next_nonce = wallet.next_nonce.max(nonce).max(assigned);
        let consumed: Vec<(u64, Hash32)> = self
            .outstanding
            .range((address, 0)..(address, nonce))
            .map(|((_, nonce), digest)| (*nonce, *digest))
            .collect();
        for (nonce, digest) in consumed {
            self.outstanding.remove(&(address, nonce));
            self.look_again(&digest);
        }
        self.dispatch();
    }

    /// Notes that a transaction is in the chain's queue.
    pub fn handle_sent(&mut self, digest: &Hash32, hash: Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        if let Stage::Assigned { tx_hash, .. } = &mut job.row.stage
            && *tx_hash != Some(hash)
        {
            *tx_hash = Some(hash);
            self.persist(digest, false);
        }
    }

    /// Notes that a transaction could not be sent.
    pub fn handle_send_failed(&mut self, digest: &Hash32, failure: SendFailure) {
        let assigned = self
            .outstanding
            .iter()
            .find(|(_, assigned)| *assigned == digest)
            .map(|(key, _)| *key);
        let Some((wallet, nonce)) = assigned else {
            return;
        };
        let is_over = self.jobs.get(digest).is_none_or(Job::is_over);
        match failure {
            SendFailure::NonceUsed => {
                self.outstanding.remove(&(wallet, nonce));
                self.look_again(digest);
            }
            // Somebody else's landed meanwhile, so there is nothing to send.
            SendFailure::Retry | SendFailure::Refused { .. } if is_over => {
                self.give_back(wallet, nonce);
            }
            // The next block tries again.
            SendFailure::Retry => {}
            SendFailure::Refused { reason } => {
                self.end(digest, Stage::Failed { reason });
                self.give_back(wallet, nonce);
            }
        }
        self.dispatch();
    }

    /// Notes that this relayer's own transaction for an action is in a block.
    pub fn handle_mined(&mut self, digest: &Hash32, receipt: Receipt, is_success: bool) {
        let Some(job) = self.jobs.get(digest) else {
            return;
        };
        let is_mined = matches!(job.row.stage, Stage::Mined(_));
        self.outstanding.retain(|_, assigned| assigned != digest);
        if !is_mined {
            let stage = if is_success {
                Stage::Mined(receipt)
            } else {
                Stage::Failed {
                    reason: format!("transaction {} reverted", receipt.tx_hash),
                }
            };
            self.end(digest, stage);
        }
        self.dispatch();
    }

    /// Starts what is due while there are wallets for it.
    pub(super) fn dispatch(&mut self) {
        if !self.is_chain_up {
            return;
        }
        while let Some(&(block, sequence, digest)) = self.ready.first()
            && block <= self.block
        {
            let Some(job) = self.jobs.get_mut(&digest) else {
                self.ready.remove(&(block, sequence, digest));
                continue;
            };
            // Others may have sent it while this relayer waited for its rank.
            if !job.row.is_simulated || job.rank > 0 {
                self.ready.remove(&(block, sequence, digest));
                self.simulate(&digest);
                continue;
            }
            let Some(wallet) = self.idle_wallet() else {
                return;
            };
            self.ready.remove(&(block, sequence, digest));
            self.assign(&digest, wallet);
        }
    }

    /// Sends, or sends again, what has a stored nonce.
    pub(super) fn send(&mut self, digest: &Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        let Stage::Assigned { wallet, nonce, .. } = job.row.stage else {
            return;
        };
        job.sent_block = self.block;
        self.events.push_back(Event::Send {
            digest: *digest,
            action: job.row.action.clone(),
            wallet,
            nonce,
            gas: job.row.charge.gas,
            bumps: job.bumps,
        });
    }

    fn assign(&mut self, digest: &Hash32, address: Address) {
        let wallet = self
            .wallets
            .get_mut(&address)
            .expect("the wallet was just chosen");
        let nonce = wallet.next_nonce;
        wallet.next_nonce += 1;
        self.outstanding.insert((address, nonce), *digest);
        let job = self.jobs.get_mut(digest).expect("the caller found the job");
        job.row.stage = Stage::Assigned {
            wallet: address,
            nonce,
            tx_hash: None,
        };
        self.persist(digest, true);
    }

    /// The funded wallet with the fewest transactions under way.
    fn idle_wallet(&self) -> Option<Address> {
        self.wallets
            .iter()
            .filter(|(_, wallet)| wallet.is_funded)
            .map(|(address, _)| (self.outstanding_of(address), *address))
            .min()
            .filter(|(count, _)| *count < self.config.wallet_outstanding_max)
            .map(|(_, address)| address)
    }

    fn outstanding_of(&self, address: &Address) -> usize {
        self.outstanding
            .range((*address, 0)..=(*address, u64::MAX))
            .count()
    }

    /// Puts an action whose nonce is gone back into the queue, to be looked for
    /// before it is sent.
    fn look_again(&mut self, digest: &Hash32) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        if job.is_over() {
            return;
        }
        job.row.stage = Stage::Pending;
        job.row.is_simulated = false;
        job.awaited = None;
        job.bumps = 0;
        self.persist(digest, false);
        self.make_ready(digest, self.block);
    }

    /// Takes an unused nonce back, or fills the gap that it would leave.
    pub(super) fn give_back(&mut self, address: Address, nonce: u64) {
        self.outstanding.remove(&(address, nonce));
        let Some(wallet) = self.wallets.get_mut(&address) else {
            return;
        };
        if wallet.next_nonce == nonce + 1 {
            wallet.next_nonce = nonce;
        } else {
            self.events.push_back(Event::Cancel {
                wallet: address,
                nonce,
            });
        }
    }
}

/// Unused nonces of an earlier run that are consumed at a start.
const GAPS_MAX: usize = 64;
