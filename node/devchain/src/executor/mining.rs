//! How blocks come and go.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::time::Moment;
use revm::DatabaseCommit;
use revm::context_interface::result::ResultAndState;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::{Address, B256};

use super::Chain;
use crate::block::{Block, GAS_LIMIT, Header, Included, Receipt};
use crate::error::ChainError;
use crate::journal::Op;
use crate::limits::BLOCKS_MAX;
use crate::state::World;
use crate::transaction::Transaction;
use crate::view::{Pooled, View, config, hash_key};

/// A block in the making.
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) world: World,
    pub(crate) included: Vec<Included>,
    logs_count: usize,
    /// The clock's offset after the block, when its timestamp was given.
    time_offset: Option<i64>,
}

impl View {
    pub(super) fn draft(&self, now: Moment) -> Draft {
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
    pub(super) fn include(
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

impl Chain {
    /// Mines blocks while something that waits can run.
    pub(super) fn mine_ready(&mut self, now: Moment) -> Result<(), ChainError> {
        loop {
            let draft = self.fill(now);
            if draft.included.is_empty() {
                return Ok(());
            }
            self.check_room(1)?;
            self.push(draft);
        }
    }

    /// Mines one block of what waits.
    pub(super) fn mine_pool(&mut self, now: Moment) -> Result<(), ChainError> {
        self.check_room(1)?;
        let draft = match self.view.pool.is_empty() {
            true => self.view.draft(now),
            false => self.fill(now),
        };
        self.push(draft);
        Ok(())
    }

    fn fill(&mut self, now: Moment) -> Draft {
        let (draft, dropped) = self.view.fill(now);
        for key in dropped {
            self.view.pool.remove(&key);
        }
        draft
    }

    /// Whether the chain may grow by so many blocks.
    pub(super) fn check_room(&self, count: u64) -> Result<(), ChainError> {
        let height = self.view.height();
        if height.saturating_add(count) > BLOCKS_MAX {
            return Err(ChainError::Full { height, count });
        }
        Ok(())
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
        view.numbers.insert(hash_key(hash), number);
        if !block.transactions.is_empty() {
            self.keep_world(number, draft.world);
        }
        self.note_block(&block);
        self.view.blocks.push_back(block);
        if let Some(seconds) = draft.time_offset {
            self.set_time_offset(seconds);
        }
        hash
    }

    /// Keeps the state after a block; the oldest makes room.
    pub(super) fn keep_world(&mut self, number: u64, world: World) {
        let worlds = &mut self.view.worlds;
        worlds.insert(number, world);
        while worlds.len() > self.states_max {
            *worlds = worlds.without_min().1;
        }
    }

    /// Writes a block down, and runs of empty ones as one step.
    fn note_block(&mut self, block: &Block) {
        let (timestamp, hash) = (block.header.timestamp, block.hash);
        if !block.transactions.is_empty() {
            let transactions = block.transactions.iter();
            self.ops.push(Op::Block {
                timestamp,
                hash,
                transactions: transactions
                    .map(|included| included.transaction.raw.clone())
                    .collect(),
            });
            return;
        }
        if let Some(Op::Run {
            count,
            first,
            interval,
            hash: last,
        }) = self.ops.last_mut()
        {
            let step = timestamp.checked_sub(*first);
            let follows = match (*count, step) {
                (1, Some(step)) => {
                    *interval = step;
                    true
                }
                (count, Some(step)) => interval.checked_mul(count) == Some(step),
                (_, None) => false,
            };
            if follows {
                *count += 1;
                *last = hash;
                return;
            }
        }
        self.ops.push(Op::Run {
            count: 1,
            first: timestamp,
            interval: 0,
            hash,
        });
    }

    pub(super) fn set_time_offset(&mut self, seconds: i64) {
        self.view.time_offset = seconds;
        self.ops.push(Op::TimeOffset { seconds });
    }

    /// Takes the newest blocks off the chain and gives them, oldest first.
    pub(super) fn rewind(&mut self, depth: u64) -> Vec<Arc<Block>> {
        let mut dropped = Vec::new();
        for _ in 0..depth {
            let Some(block) = self.view.blocks.pop_back() else {
                break;
            };
            self.view.worlds.remove(&block.header.number);
            self.view.numbers.remove(&hash_key(block.hash));
            for included in &block.transactions {
                self.view.included.remove(&included.transaction.hash);
            }
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
        view.sent.clone_from(&self.view.sent);
        view.sent_start = self.view.sent_start;
        self.view = view;
        self.ops.push(Op::Revert { id });
        true
    }
}
