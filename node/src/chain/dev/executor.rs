//! The chain itself: executes, mines, rewinds; owns no clock, file or task.
//!
//! A driver passes commands with the time, writes down what [`Chain::take_ops`]
//! gives before it answers, and publishes [`Chain::view`] afterwards. Replaying the
//! written operations gives the same chain, block hash by block hash.

mod mining;
mod pool;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::time::Moment;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::{Address, B256, Bytes, U256};

use super::block::{Block, GENESIS_BASE_FEE, Header};
use super::error::ChainError;
use super::filters::{Changes, Event, Filters, Interest};
use super::journal::Op;
use super::state::World;
use super::transaction::Transaction;
use super::view::View;

/// The development chain as a pure machine.
///
/// A clone is cheap and independent, so a driver can take back a command.
#[derive(Debug, Clone)]
pub struct Chain {
    view: View,
    snapshots: BTreeMap<u64, View>,
    snapshot_next: u64,
    arrivals_count: u64,
    filters: Filters,
    mining: Mining,
    stalled: bool,
    block_due: Option<Moment>,
    ops: Vec<Op>,
    /// Sent by the command at hand; written down when no block took them.
    queued: Vec<(Address, u64)>,
    states_max: usize,
}

/// How a chain starts.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// Chain id that transactions must be signed for.
    pub chain_id: u64,
    /// When blocks are mined.
    pub mining: Mining,
    /// Who has how many wei in the first block.
    pub funded: Vec<(Address, U256)>,
    /// How many of the latest blocks keep their state.
    pub states_max: usize,
}

/// When blocks are mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// One block as soon as a transaction can run.
    Instant,
    /// One block per interval, with whatever waits, or empty.
    Interval(Duration),
    /// On command only.
    Manual,
}

/// What a chain can be told.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take a raw transaction.
    Send(Bytes),
    /// Mine blocks, the first with everything that waits.
    Mine {
        /// How many.
        count: u64,
    },
    /// Let the chain's clock run further ahead.
    IncreaseTime {
        /// By how much.
        seconds: u64,
    },
    /// Give the next block this timestamp.
    SetTimestampNext {
        /// Unix seconds.
        timestamp: u64,
    },
    /// Set a balance, as part of the newest block.
    SetBalance {
        /// Whose.
        address: Address,
        /// In wei.
        balance: U256,
    },
    /// Remember the chain as it is.
    Snapshot,
    /// Return to a snapshot and forget it and later ones.
    Revert {
        /// What [`Command::Snapshot`] gave.
        id: u64,
    },
    /// Replace the newest blocks by a longer branch: an empty block, and then
    /// blocks with the same transactions or, to drop them, with none.
    Reorg {
        /// How many blocks.
        depth: u64,
        /// Whether their transactions are mined again.
        keep: bool,
    },
    /// Stop or resume mining; what is sent meanwhile waits.
    Stall(bool),
    /// Change when blocks are mined.
    SetMining(Mining),
    /// Start a polling filter.
    InstallFilter(Interest),
    /// What happened since a filter was last polled.
    PollFilter {
        /// What [`Command::InstallFilter`] gave.
        id: u64,
    },
    /// What a filter looks for.
    InspectFilter {
        /// What [`Command::InstallFilter`] gave.
        id: u64,
    },
    /// End a polling filter.
    UninstallFilter {
        /// What [`Command::InstallFilter`] gave.
        id: u64,
    },
}

/// What a command gives.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Nothing but success.
    Done,
    /// Hash of the transaction that was taken.
    Hash(B256),
    /// A height, a snapshot, a filter or seconds, as the command says.
    Number(u64),
    /// Whether there was something to revert or to uninstall.
    Found(bool),
    /// What a filter saw.
    Changes(Changes),
    /// What a filter looks for.
    Interest(Interest),
}

/// Why a journal does not give the chain that it describes.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The first operation is not the genesis, or a later one is.
    #[error("the journal must begin with its genesis and have no other")]
    Genesis,
    /// Another hash than was written down.
    #[error("block {number} gives hash {found} but {expected} was written down")]
    Hash {
        /// Its number.
        number: u64,
        /// What the replay gives.
        found: B256,
        /// What the journal says.
        expected: B256,
    },
    /// An operation that succeeded once fails.
    #[error("an operation after block {number} fails: {error}")]
    Failed {
        /// The newest block before it.
        number: u64,
        /// How.
        error: ChainError,
    },
}

impl Chain {
    /// Starts a chain at its genesis.
    #[must_use]
    pub fn new(config: &ChainConfig, now: Moment) -> Self {
        let timestamp = now.unix().0;
        let mut chain = Self::genesis(config, config.chain_id, timestamp, &config.funded);
        chain.ops.push(Op::Genesis {
            chain_id: config.chain_id,
            timestamp,
            funded: config.funded.clone(),
        });
        chain.schedule(now);
        chain
    }

    /// Rebuilds a chain from what was written down; its genesis is the
    /// journal's, not the configuration's.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] when the operations do not fit together.
    pub fn replay(
        config: &ChainConfig,
        ops: impl IntoIterator<Item = Op>,
        now: Moment,
    ) -> Result<Self, ReplayError> {
        let mut ops = ops.into_iter();
        let Some(Op::Genesis {
            chain_id,
            timestamp,
            funded,
        }) = ops.next()
        else {
            return Err(ReplayError::Genesis);
        };
        let mut chain = Self::genesis(config, chain_id, timestamp, &funded);
        for op in ops {
            chain.apply(op)?;
        }
        chain.prune_pool();
        chain.ops.clear();
        chain.schedule(now);
        Ok(chain)
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// [`ChainError`]; the chain is then as it was before.
    pub fn handle_command(&mut self, command: Command, now: Moment) -> Result<Outcome, ChainError> {
        let outcome = match command {
            Command::Send(raw) => self.handle_send(&raw, now),
            Command::Mine { count } => self.handle_mine(count, now),
            Command::IncreaseTime { seconds } => {
                let offset = self.view.time_offset.saturating_add(seconds);
                self.view.time_offset = offset;
                self.ops.push(Op::TimeOffset { seconds: offset });
                Ok(Outcome::Number(offset))
            }
            Command::SetTimestampNext { timestamp } => self.handle_timestamp(timestamp),
            Command::SetBalance { address, balance } => {
                self.set_balance(address, balance);
                Ok(Outcome::Done)
            }
            Command::Snapshot => self.handle_snapshot(),
            Command::Revert { id } => Ok(Outcome::Found(self.revert(id))),
            Command::Reorg { depth, keep } => self.handle_reorg(depth, keep, now),
            Command::Stall(stalled) => {
                self.stalled = stalled;
                self.resume(now);
                Ok(Outcome::Done)
            }
            Command::SetMining(mining) => {
                self.mining = mining;
                self.resume(now);
                Ok(Outcome::Done)
            }
            Command::InstallFilter(interest) => {
                self.filters.install(interest, now).map(Outcome::Number)
            }
            Command::PollFilter { id } => self.filters.poll(id, now).map(Outcome::Changes),
            Command::InspectFilter { id } => self.filters.inspect(id, now).map(Outcome::Interest),
            Command::UninstallFilter { id } => Ok(Outcome::Found(self.filters.uninstall(id))),
        };
        self.note_queued();
        outcome
    }

    /// Mines the block that is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        let Mining::Interval(interval) = self.mining else {
            return;
        };
        if self.stalled || self.block_due.is_none_or(|due| now < due) {
            return;
        }
        self.mine_pool(now);
        self.block_due = Some(now + interval);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        if self.stalled {
            return None;
        }
        Some((self.block_due?, "block interval"))
    }

    /// What must be written down before anything since the last call is shown.
    pub fn take_ops(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.ops)
    }

    /// What readers see.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Position after the newest event.
    #[must_use]
    pub fn events_end(&self) -> u64 {
        self.filters.end()
    }

    /// The events from a position on, as far back as they are kept.
    pub fn events_since(&self, position: u64) -> impl Iterator<Item = &Event> {
        self.filters.since(position)
    }

    fn genesis(
        config: &ChainConfig,
        chain_id: u64,
        timestamp: u64,
        funded: &[(Address, U256)],
    ) -> Self {
        let mut world = World::default();
        for (address, balance) in funded {
            world.set_balance(*address, *balance);
        }
        let header = Header {
            parent_hash: B256::ZERO,
            state_root: world.digest(),
            transactions_root: B256::ZERO,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
            number: 0,
            gas_used: 0,
            timestamp,
            forks_count: 0,
            base_fee: GENESIS_BASE_FEE,
        };
        let block = Arc::new(Block::seal(header, Vec::new()));
        Self {
            view: View {
                chain_id,
                numbers: imbl::HashMap::unit(block.hash, 0),
                blocks: imbl::Vector::unit(block),
                worlds: imbl::Vector::unit(world),
                included: imbl::HashMap::new(),
                pool: imbl::OrdMap::new(),
                time_offset: 0,
                timestamp_next: None,
                forks_count: 0,
            },
            snapshots: BTreeMap::new(),
            snapshot_next: 1,
            arrivals_count: 0,
            filters: Filters::default(),
            mining: config.mining,
            stalled: false,
            block_due: None,
            ops: Vec::new(),
            queued: Vec::new(),
            states_max: config.states_max.max(1),
        }
    }

    fn apply(&mut self, op: Op) -> Result<(), ReplayError> {
        let number = self.view.height();
        let failed = |error| ReplayError::Failed { number, error };
        match op {
            Op::Genesis { .. } => return Err(ReplayError::Genesis),
            Op::Block {
                timestamp,
                hash,
                transactions,
            } => {
                let mut draft = self.draft(Moment::ZERO);
                draft.header.timestamp = timestamp;
                for raw in transactions {
                    let transaction = Transaction::decode(&raw, self.view.chain_id)
                        .map_err(|error| failed(error.into()))?;
                    self.include(&mut draft, &Arc::new(transaction))
                        .map_err(failed)?;
                }
                let found = self.push(draft);
                if found != hash {
                    return Err(ReplayError::Hash {
                        number: number + 1,
                        found,
                        expected: hash,
                    });
                }
            }
            Op::Truncate { height } => {
                let depth = number.saturating_sub(height);
                self.check_depth(depth).map_err(failed)?;
                self.rewind(depth);
            }
            Op::SetBalance { address, balance } => self.set_balance(address, balance),
            Op::TimeOffset { seconds } => self.view.time_offset = seconds,
            Op::Snapshot => {
                self.handle_snapshot().map_err(failed)?;
            }
            Op::Revert { id } => {
                if !self.revert(id) {
                    return Err(failed(ChainError::Invalid(format!("no snapshot {id}"))));
                }
            }
            Op::Queue { raw } => {
                let transaction = Transaction::decode(&raw, self.view.chain_id)
                    .map_err(|error| failed(error.into()))?;
                self.pool(Arc::new(transaction));
            }
        }
        // What a replay does again is written down already.
        self.ops.clear();
        self.queued.clear();
        Ok(())
    }

    fn handle_send(&mut self, raw: &[u8], now: Moment) -> Result<Outcome, ChainError> {
        let transaction = Transaction::decode(raw, self.view.chain_id)?;
        self.check(&transaction)?;
        let hash = transaction.hash;
        let key = (transaction.from, transaction.nonce);
        let transaction = Arc::new(transaction);
        if self.view.pool.get(&key).is_none() && transaction.nonce == self.view.world().nonce(key.0)
        {
            // What can never run is refused here instead of waiting for ever.
            let mut draft = self.draft(now);
            self.include(&mut draft, &transaction)?;
        }
        self.pool(transaction);
        if self.mining == Mining::Instant && !self.stalled {
            self.mine_ready(now);
        }
        Ok(Outcome::Hash(hash))
    }

    fn handle_mine(&mut self, count: u64, now: Moment) -> Result<Outcome, ChainError> {
        if self.stalled {
            return Err(ChainError::Stalled);
        }
        if count > MINED_BLOCKS_MAX {
            return Err(ChainError::MineCount { count });
        }
        for _ in 0..count {
            self.mine_pool(now);
        }
        Ok(Outcome::Number(self.view.height()))
    }

    fn handle_timestamp(&mut self, timestamp: u64) -> Result<Outcome, ChainError> {
        let parent = self.view.tip().header.timestamp;
        if timestamp < parent {
            return Err(ChainError::Timestamp { timestamp, parent });
        }
        self.view.timestamp_next = Some(timestamp);
        Ok(Outcome::Done)
    }

    fn handle_snapshot(&mut self) -> Result<Outcome, ChainError> {
        if self.snapshots.len() >= SNAPSHOTS_MAX {
            return Err(ChainError::SnapshotsFull);
        }
        let id = self.snapshot_next;
        self.snapshot_next += 1;
        self.snapshots.insert(id, self.view.clone());
        self.ops.push(Op::Snapshot);
        Ok(Outcome::Number(id))
    }

    fn handle_reorg(&mut self, depth: u64, keep: bool, now: Moment) -> Result<Outcome, ChainError> {
        if self.stalled {
            return Err(ChainError::Stalled);
        }
        self.check_depth(depth)?;
        let dropped = self.rewind(depth);
        let empty = self.draft(now);
        self.push(empty);
        for block in dropped {
            let mut draft = self.draft(now);
            if keep {
                for included in &block.transactions {
                    if self.include(&mut draft, &included.transaction).is_err() {
                        self.pool(Arc::clone(&included.transaction));
                    }
                }
            }
            self.push(draft);
        }
        Ok(Outcome::Number(self.view.height()))
    }

    fn check_depth(&self, depth: u64) -> Result<(), ChainError> {
        let max = self.view.height() - self.view.oldest_state();
        if depth > max {
            return Err(ChainError::ReorgDepth { depth, max });
        }
        Ok(())
    }

    fn set_balance(&mut self, address: Address, balance: U256) {
        if let Some(world) = self.view.worlds.back_mut() {
            world.set_balance(address, balance);
        }
        self.ops.push(Op::SetBalance { address, balance });
    }

    fn schedule(&mut self, now: Moment) {
        self.block_due = match self.mining {
            Mining::Interval(interval) => Some(now + interval),
            Mining::Instant | Mining::Manual => None,
        };
    }

    fn resume(&mut self, now: Moment) {
        self.schedule(now);
        if self.mining == Mining::Instant && !self.stalled {
            self.mine_ready(now);
        }
    }
}

/// Most blocks that one command may mine.
pub const MINED_BLOCKS_MAX: u64 = 100_000;

/// Most transactions that wait for a block.
pub const POOL_TRANSACTIONS_MAX: usize = 4_096;

/// How far ahead of its sender's next nonce a transaction may wait.
pub const NONCE_GAP_MAX: u64 = 256;

/// Most snapshots that are kept.
pub const SNAPSHOTS_MAX: usize = 256;

/// Most polling filters at once.
pub const FILTERS_MAX: usize = 1_024;

/// How many of the latest blocks keep their state unless configured: 4 to 14 KiB each.
pub const STATES_MAX: usize = 4_096;
