//! How blocks come and go.

use std::sync::Arc;

use protocol::time::Moment;
use revm::primitives::B256;

use super::Chain;
use crate::block::Block;
use crate::error::ChainError;
use crate::journal::Op;
use crate::limits::BLOCKS_MAX;
use crate::state::World;
use crate::view::{Draft, hash_key};

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
