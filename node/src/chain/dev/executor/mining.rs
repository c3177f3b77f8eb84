//! How blocks come and go.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::time::Moment;
use revm::DatabaseCommit;
use revm::context_interface::result::ResultAndState;
use revm::primitives::B256;
use revm::primitives::alloy_primitives::Bloom;

use super::Chain;
use crate::chain::dev::block::{Block, GAS_LIMIT, Header, Included, Receipt};
use crate::chain::dev::error::ChainError;
use crate::chain::dev::filters::Event;
use crate::chain::dev::journal::Op;
use crate::chain::dev::state::World;
use crate::chain::dev::transaction::Transaction;
use crate::chain::dev::view::{Pooled, View, config};

/// A block in the making.
pub(super) struct Draft {
    pub(super) header: Header,
    pub(super) world: World,
    pub(super) included: Vec<Included>,
    pub(super) logs_count: usize,
}

impl Chain {
    pub(super) fn draft(&self, now: Moment) -> Draft {
        Draft {
            header: self.view.next_header(now),
            world: self.view.world().clone(),
            included: Vec::new(),
            logs_count: 0,
        }
    }

    /// Mines blocks while something that waits can run.
    pub(super) fn mine_ready(&mut self, now: Moment) {
        loop {
            let draft = self.fill(now);
            if draft.included.is_empty() {
                return;
            }
            self.push(draft);
        }
    }

    pub(super) fn mine_pool(&mut self, now: Moment) {
        let draft = self.fill(now);
        self.push(draft);
    }

    /// Drafts a block of what waits, the best tip first, then the oldest.
    pub(super) fn fill(&mut self, now: Moment) -> Draft {
        let mut draft = self.draft(now);
        let base_fee = draft.header.base_fee;
        let rank = |pooled: &Pooled| {
            let price = pooled.transaction.effective_gas_price(base_fee);
            let key = (pooled.transaction.from, pooled.transaction.nonce);
            (Reverse(price), pooled.arrival, key)
        };
        let mut ready: BTreeSet<_> = self
            .view
            .pool
            .iter()
            .filter(|((sender, nonce), _)| *nonce == draft.world.nonce(*sender))
            .map(|(_, pooled)| rank(pooled))
            .collect();
        while let Some((_, _, (sender, nonce))) = ready.pop_first() {
            let Some(pooled) = self.view.pool.get(&(sender, nonce)).cloned() else {
                continue;
            };
            if pooled.transaction.max_fee < u128::from(base_fee) {
                continue;
            }
            match self.include(&mut draft, &pooled.transaction) {
                Ok(true) => {
                    if let Some(next) = self.view.pool.get(&(sender, nonce + 1)) {
                        ready.insert(rank(next));
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    let hash = pooled.transaction.hash;
                    tracing::debug!(%hash, %error, "a waiting transaction was dropped");
                    self.view.pool.remove(&(sender, nonce));
                }
            }
        }
        draft
    }

    /// Executes a transaction into a draft; false when the block has no room.
    pub(super) fn include(
        &self,
        draft: &mut Draft,
        transaction: &Arc<Transaction>,
    ) -> Result<bool, ChainError> {
        if draft.header.gas_used + transaction.gas_limit > GAS_LIMIT {
            return Ok(false);
        }
        let config = config(self.view.chain_id);
        let ResultAndState { result, state } =
            self.view
                .execute(&draft.world, config, &draft.header, transaction.env())?;
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

    /// Makes a draft the newest block and gives its hash.
    pub(super) fn push(&mut self, mut draft: Draft) -> B256 {
        draft.header.state_root = draft.world.digest();
        let block = Arc::new(Block::seal(draft.header, draft.included));
        let (number, hash) = (block.header.number, block.hash);
        let view = &mut self.view;
        for (idx, included) in block.transactions.iter().enumerate() {
            let transaction = &included.transaction;
            view.included.insert(transaction.hash, (number, idx));
            view.pool.remove(&(transaction.from, transaction.nonce));
        }
        view.timestamp_next = None;
        view.numbers.insert(hash, number);
        view.worlds.push_back(draft.world);
        while view.worlds.len() > self.states_max {
            view.worlds.pop_front();
        }
        self.ops.push(Op::Block {
            timestamp: block.header.timestamp,
            hash,
            transactions: block
                .transactions
                .iter()
                .map(|included| included.transaction.raw.clone())
                .collect(),
        });
        self.filters.note(Event::Mined(Arc::clone(&block)));
        self.view.blocks.push_back(block);
        hash
    }

    /// Takes the newest blocks off the chain and gives them, oldest first.
    pub(super) fn rewind(&mut self, depth: u64) -> Vec<Arc<Block>> {
        let mut dropped = Vec::new();
        for _ in 0..depth {
            let Some(block) = self.view.blocks.pop_back() else {
                break;
            };
            self.view.worlds.pop_back();
            self.view.numbers.remove(&block.hash);
            for included in &block.transactions {
                self.view.included.remove(&included.transaction.hash);
            }
            self.filters.note(Event::Removed(Arc::clone(&block)));
            dropped.push(block);
        }
        self.view.forks_count += 1;
        self.ops.push(Op::Truncate {
            height: self.view.height(),
        });
        dropped.reverse();
        dropped
    }

    pub(super) fn revert(&mut self, id: u64) -> bool {
        let Some(mut view) = self.snapshots.remove(&id) else {
            return false;
        };
        self.snapshots.split_off(&id);
        view.forks_count = self.view.forks_count + 1;
        let mut common = self.view.height().min(view.height());
        let hash = |view: &View, number| view.block(number).map(|block| block.hash);
        while hash(&self.view, common) != hash(&view, common) {
            common -= 1;
        }
        for number in (common + 1..=self.view.height()).rev() {
            if let Some(block) = self.view.block(number) {
                self.filters.note(Event::Removed(Arc::clone(block)));
            }
        }
        for number in common + 1..=view.height() {
            if let Some(block) = view.block(number) {
                self.filters.note(Event::Mined(Arc::clone(block)));
            }
        }
        self.view = view;
        self.ops.push(Op::Revert { id });
        true
    }
}
