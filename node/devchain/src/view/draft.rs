//! The block that would be mined, from what waits.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::time::Moment;
use revm::DatabaseCommit;
use revm::context_interface::result::ResultAndState;
use revm::primitives::Address;
use revm::primitives::alloy_primitives::Bloom;

use super::{Pooled, View, config};
use crate::block::{GAS_LIMIT, Header, Included, Receipt};
use crate::error::ChainError;
use crate::state::World;
use crate::transaction::Transaction;

/// A block in the making.
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) world: World,
    pub(crate) included: Vec<Included>,
    logs_count: usize,
    /// The clock's offset after the block, when its timestamp was given.
    pub(crate) time_offset: Option<i64>,
}

impl View {
    pub(crate) fn draft(&self, now: Moment) -> Draft {
        let shift = |timestamp: u64| {
            let shift = i128::from(timestamp) - i128::from(now.unix().0);
            i64::try_from(shift).unwrap_or(i64::MAX)
        };
        Draft {
            header: self.next_header(now),
            world: self.world().clone(),
            included: Vec::new(),
            logs_count: 0,
            time_offset: self.timestamp_next.map(shift),
        }
    }

    /// Drafts a block of what waits, the best tip first, then the oldest; and
    /// gives what waits in vain.
    pub(crate) fn fill(&self, now: Moment) -> (Draft, Vec<(Address, u64)>) {
        let mut dropped = Vec::new();
        let mut draft = self.draft(now);
        let base_fee = draft.header.base_fee;
        let rank = |pooled: &Pooled| {
            let price = pooled.transaction.effective_gas_price(base_fee);
            let key = (pooled.transaction.from, pooled.transaction.nonce);
            (Reverse(price), pooled.arrival, key)
        };
        let mut ready: BTreeSet<_> = self
            .pool
            .iter()
            .filter(|((sender, nonce), _)| *nonce == draft.world.nonce(*sender))
            .map(|(_, pooled)| rank(pooled))
            .collect();
        while let Some((_, _, (sender, nonce))) = ready.pop_first() {
            let Some(pooled) = self.pool.get(&(sender, nonce)) else {
                continue;
            };
            if pooled.transaction.max_fee < u128::from(base_fee) {
                continue;
            }
            match self.include(&mut draft, &pooled.transaction) {
                Ok(true) => {
                    if let Some(next) = self.pool.get(&(sender, nonce + 1)) {
                        ready.insert(rank(next));
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    let hash = pooled.transaction.hash;
                    tracing::debug!(%hash, %error, "a waiting transaction was dropped");
                    dropped.push((sender, nonce));
                }
            }
        }
        (draft, dropped)
    }

    /// Executes a transaction into a draft; false when the block has no room.
    pub(crate) fn include(
        &self,
        draft: &mut Draft,
        transaction: &Arc<Transaction>,
    ) -> Result<bool, ChainError> {
        if draft.header.gas_used + transaction.gas_limit > GAS_LIMIT {
            return Ok(false);
        }
        let config = config(self.chain_id);
        let ResultAndState { result, state } =
            self.execute(&draft.world, config, &draft.header, transaction.env())?;
        draft.world.commit(state);
        let gas_used = result.tx_gas_used();
        draft.header.gas_used += gas_used;
        let success = result.is_success();
        let contract_address = result.created_address().filter(|_| success);
        let logs = if success {
            result.into_logs()
        } else {
            Vec::new()
        };
        let mut bloom = Bloom::ZERO;
        bloom.accrue_logs(&logs);
        let log_idx_first = draft.logs_count;
        draft.logs_count += logs.len();
        draft.included.push(Included {
            transaction: Arc::clone(transaction),
            receipt: Receipt {
                success,
                gas_used,
                cumulative_gas_used: draft.header.gas_used,
                effective_gas_price: transaction.effective_gas_price(draft.header.base_fee),
                contract_address,
                logs,
                log_idx_first,
                bloom,
            },
        });
        Ok(true)
    }
}
