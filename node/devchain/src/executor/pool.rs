//! Transactions that wait for a block.

use std::sync::Arc;

use revm::primitives::B256;

use super::Chain;
use crate::block::GAS_LIMIT;
use crate::error::ChainError;
use crate::journal::Op;
use crate::limits::{NONCE_GAP_MAX, POOL_TRANSACTIONS_MAX, SENT_MAX};
use crate::transaction::Transaction;
use crate::view::Pooled;

impl Chain {
    /// What can be said of a transaction before it runs.
    pub(super) fn check(&self, transaction: &Transaction) -> Result<(), ChainError> {
        let world = self.view.world();
        let (nonce, next) = (transaction.nonce, world.nonce(transaction.from));
        let hash = transaction.hash;
        if self.view.included.contains_key(&hash) {
            return Err(ChainError::AlreadyKnown { hash });
        }
        if nonce < next {
            return Err(ChainError::NonceTooLow { nonce, next });
        }
        if nonce - next > NONCE_GAP_MAX {
            return Err(ChainError::NonceTooHigh { nonce, next });
        }
        if transaction.gas_limit > GAS_LIMIT {
            return Err(ChainError::Invalid(format!(
                "intrinsic gas too high: exceeds block gas limit: gas {}, limit {GAS_LIMIT}",
                transaction.gas_limit
            )));
        }
        let tip = transaction.max_priority_fee.unwrap_or_default();
        if tip > transaction.max_fee {
            return Err(ChainError::TipAboveFee {
                tip,
                max_fee: transaction.max_fee,
            });
        }
        let base_fee = self.view.tip().header.next_base_fee();
        if transaction.max_fee < u128::from(base_fee) {
            let max_fee = transaction.max_fee;
            return Err(ChainError::FeeTooLow { max_fee, base_fee });
        }
        let (have, want) = (world.balance(transaction.from), transaction.cost_max());
        if have < want {
            return Err(ChainError::Funds { have, want });
        }
        match self.view.pool.get(&(transaction.from, nonce)) {
            Some(waiting) => replaces(transaction, &waiting.transaction),
            None if self.view.pool.len() >= POOL_TRANSACTIONS_MAX => Err(ChainError::PoolFull),
            None => Ok(()),
        }
    }

    /// Remembers for subscribers and filters that a transaction was sent.
    pub(super) fn note_sent(&mut self, hash: B256) {
        self.view.sent.push_back(hash);
        while self.view.sent.len() > SENT_MAX {
            self.view.sent.pop_front();
            self.view.sent_start += 1;
        }
    }

    pub(super) fn pool(&mut self, transaction: Arc<Transaction>) {
        let key = (transaction.from, transaction.nonce);
        let arrival = self.arrivals_count;
        self.arrivals_count += 1;
        let pooled = Arc::new(Pooled {
            transaction,
            arrival,
        });
        self.view.pool.insert(key, pooled);
        self.queued.push(key);
    }

    /// Writes down what the command at hand left waiting.
    pub(super) fn note_queued(&mut self) {
        for key in std::mem::take(&mut self.queued) {
            if let Some(pooled) = self.view.pool.get(&key) {
                let raw = pooled.transaction.raw.clone();
                self.ops.push(Op::Queue { raw });
            }
        }
    }

    pub(super) fn prune_pool(&mut self) {
        let world = self.view.world().clone();
        self.view.pool = std::mem::take(&mut self.view.pool)
            .into_iter()
            .filter(|((sender, nonce), _)| *nonce >= world.nonce(*sender))
            .collect();
    }
}

/// Whether `next` may take the place of `waiting`.
fn replaces(next: &Transaction, waiting: &Transaction) -> Result<(), ChainError> {
    if next.hash == waiting.hash {
        return Err(ChainError::AlreadyKnown { hash: next.hash });
    }
    let tip =
        |transaction: &Transaction| transaction.max_priority_fee.unwrap_or(transaction.max_fee);
    let outbids = |new: u128, old: u128| new >= old.saturating_add(old.div_ceil(10));
    if outbids(next.max_fee, waiting.max_fee) && outbids(tip(next), tip(waiting)) {
        return Ok(());
    }
    Err(ChainError::Underpriced {
        waiting: waiting.hash,
    })
}
