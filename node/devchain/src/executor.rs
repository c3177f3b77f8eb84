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
use revm::primitives::{Address, B256, Bytes, U256};

use super::block::{Block, GENESIS_BASE_FEE, Header};
use super::error::ChainError;
use super::filters::{Changes, Filters, Interest};
use super::journal::Op;
use super::limits::{MINED_BLOCKS_MAX, REORG_BLOCKS_MAX, SNAPSHOTS_MAX, TIMESTAMP_MAX};
use super::state::World;
use super::transaction::Transaction;
use super::view::{View, hash_key};

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
    /// How many of the latest states are kept; blocks that change nothing share one.
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
        /// How many blocks.
        count: u64,
        /// Timestamp of the first, in Unix seconds.
        timestamp: Option<u64>,
        /// By how many seconds the chain's clock runs ahead after each.
        interval: Option<u64>,
    },
    /// Let the chain's clock run further ahead.
    IncreaseTime {
        /// By how much.
        seconds: u64,
    },
    /// Give the next block this timestamp.
    SetTimestampNext {
        /// In Unix seconds.
        timestamp: u64,
    },
    /// Set the chain's clock.
    SetTime {
        /// In Unix seconds.
        timestamp: u64,
    },
    /// Let blocks follow each other by so many seconds, or by the clock.
    SetTimestampInterval {
        /// In seconds; `None` goes by the clock.
        interval: Option<u64>,
    },
    /// Set a balance, as part of the newest block.
    SetBalance {
        /// The account's address.
        address: Address,
        /// The balance in wei.
        balance: U256,
    },
    /// Set a nonce, as part of the newest block.
    SetNonce {
        /// The account's address.
        address: Address,
        /// The next one.
        nonce: u64,
    },
    /// Set the code at an address, as part of the newest block.
    SetCode {
        /// Address of the contract.
        address: Address,
        /// Its bytecode at run time.
        code: Bytes,
    },
    /// Set a storage word, as part of the newest block.
    SetWord {
        /// Of which contract.
        address: Address,
        /// Key of the word.
        key: U256,
        /// What the word becomes.
        word: U256,
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
    /// When blocks are mined.
    InspectMining,
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
    /// A height, a snapshot or a filter, as the command says.
    Number(u64),
    /// By how much the chain's clock runs ahead.
    Seconds(i64),
    /// When blocks are mined.
    Mining(Mining),
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
        /// Number of the block.
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
        /// What it fails with.
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
            Command::Mine {
                count,
                timestamp,
                interval,
            } => self.handle_mine(count, timestamp, interval.unwrap_or(0), now),
            Command::IncreaseTime { seconds } => self.handle_increase(seconds, now),
            Command::SetTime { timestamp } => self.handle_time(timestamp, now),
            Command::SetTimestampNext { timestamp } => self.handle_timestamp(timestamp),
            Command::SetTimestampInterval { interval } => {
                let interval = interval.map(|seconds| seconds.min(INTERVAL_SECONDS_MAX));
                let had_one = self.view.timestamp_interval.is_some();
                self.view.timestamp_interval = interval;
                Ok(Outcome::Found(had_one))
            }
            Command::SetBalance { address, balance } => {
                self.set(Op::SetBalance { address, balance });
                Ok(Outcome::Done)
            }
            Command::SetNonce { address, nonce } => {
                self.set(Op::SetNonce { address, nonce });
                Ok(Outcome::Done)
            }
            Command::SetCode { address, code } => {
                self.set(Op::SetCode { address, code });
                Ok(Outcome::Done)
            }
            Command::SetWord { address, key, word } => {
                self.set(Op::SetWord { address, key, word });
                Ok(Outcome::Done)
            }
            Command::Snapshot => self.handle_snapshot(),
            Command::Revert { id } => Ok(Outcome::Found(self.revert(id))),
            Command::Reorg { depth, keep } => self.handle_reorg(depth, keep, now),
            Command::Stall(stalled) => {
                self.stalled = stalled;
                self.resume(now).map(|()| Outcome::Done)
            }
            Command::SetMining(mining) => {
                self.mining = mining;
                self.resume(now).map(|()| Outcome::Done)
            }
            Command::InspectMining => Ok(Outcome::Mining(self.mining)),
            Command::InstallFilter(interest) => self
                .filters
                .install(interest, &self.view, now)
                .map(Outcome::Number),
            Command::PollFilter { id } => {
                self.filters.poll(id, &self.view, now).map(Outcome::Changes)
            }
            Command::InspectFilter { id } => self.filters.inspect(id, now).map(Outcome::Interest),
            Command::UninstallFilter { id } => Ok(Outcome::Found(self.filters.uninstall(id))),
        };
        self.note_queued();
        outcome
    }

    /// Mines the block that is due.
    ///
    /// # Errors
    ///
    /// [`ChainError::Full`].
    pub fn handle_timeout(&mut self, now: Moment) -> Result<(), ChainError> {
        let Mining::Interval(interval) = self.mining else {
            return Ok(());
        };
        if self.stalled || self.block_due.is_none_or(|due| now < due) {
            return Ok(());
        }
        self.mine_pool(now)?;
        self.block_due = Some(now + interval);
        Ok(())
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
            contents: None,
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
                numbers: imbl::HashMap::unit(hash_key(block.hash), 0),
                blocks: imbl::Vector::unit(block),
                worlds: imbl::OrdMap::unit(0, world),
                included: imbl::HashMap::new(),
                pool: imbl::OrdMap::new(),
                sent: imbl::Vector::new(),
                sent_start: 0,
                time_offset: 0,
                timestamp_next: None,
                timestamp_interval: None,
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
                self.check_room(1).map_err(failed)?;
                let mut draft = self.view.draft(Moment::ZERO);
                draft.header.timestamp = timestamp;
                for raw in transactions {
                    let transaction = Transaction::decode(&raw, self.view.chain_id)
                        .map_err(|error| failed(error.into()))?;
                    self.view
                        .include(&mut draft, &Arc::new(transaction))
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
            Op::Run {
                count,
                first,
                interval,
                hash,
            } => {
                self.check_room(count).map_err(failed)?;
                let mut found = self.view.tip().hash;
                for idx in 0..count {
                    let mut draft = self.view.draft(Moment::ZERO);
                    draft.header.timestamp = first.saturating_add(interval.saturating_mul(idx));
                    found = self.push(draft);
                }
                if found != hash {
                    return Err(ReplayError::Hash {
                        number: number + count,
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
            Op::SetBalance { .. }
            | Op::SetNonce { .. }
            | Op::SetCode { .. }
            | Op::SetWord { .. } => self.set(op),
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
            let mut draft = self.view.draft(now);
            self.view.include(&mut draft, &transaction)?;
        }
        self.note_sent(hash);
        self.pool(transaction);
        if self.mining == Mining::Instant && !self.stalled {
            self.mine_ready(now)?;
        }
        Ok(Outcome::Hash(hash))
    }

    fn handle_mine(
        &mut self,
        count: u64,
        timestamp: Option<u64>,
        interval: u64,
        now: Moment,
    ) -> Result<Outcome, ChainError> {
        if self.stalled {
            return Err(ChainError::Stalled);
        }
        if count > MINED_BLOCKS_MAX {
            return Err(ChainError::MineCount { count });
        }
        self.check_room(count)?;
        let seconds = interval.saturating_mul(count);
        let first = timestamp.unwrap_or_else(|| self.view.next_header(now).timestamp);
        self.check_time(first.saturating_add(seconds))?;
        if let Some(timestamp) = timestamp {
            self.handle_timestamp(timestamp)?;
        }
        let mut is_idle = false;
        for _ in 0..count {
            if is_idle {
                let draft = self.view.draft(now);
                self.push(draft);
            } else {
                self.mine_pool(now)?;
                // What waits behind a gap waits through any number of blocks.
                is_idle = !self.view.has_ready();
            }
            self.view.time_offset = self.view.time_offset.saturating_add_unsigned(interval);
        }
        if interval > 0 {
            self.set_time_offset(self.view.time_offset);
        }
        Ok(Outcome::Number(self.view.height()))
    }

    fn handle_increase(&mut self, seconds: u64, now: Moment) -> Result<Outcome, ChainError> {
        let next = self.view.next_header(now).timestamp;
        self.check_time(next.saturating_add(seconds))?;
        self.set_time_offset(self.view.time_offset.saturating_add_unsigned(seconds));
        Ok(Outcome::Seconds(self.view.time_offset))
    }

    fn handle_time(&mut self, timestamp: u64, now: Moment) -> Result<Outcome, ChainError> {
        self.check_time(timestamp)?;
        let clock = i128::from(now.unix().0);
        let offset = i64::try_from(i128::from(timestamp) - clock).unwrap_or(i64::MAX);
        self.set_time_offset(offset);
        Ok(Outcome::Seconds(offset))
    }

    fn handle_timestamp(&mut self, timestamp: u64) -> Result<Outcome, ChainError> {
        self.check_time(timestamp)?;
        self.view.timestamp_next = Some(timestamp);
        Ok(Outcome::Done)
    }

    fn check_time(&self, timestamp: u64) -> Result<(), ChainError> {
        let parent = self.view.tip().header.timestamp;
        if timestamp < parent {
            return Err(ChainError::Timestamp { timestamp, parent });
        }
        if timestamp > TIMESTAMP_MAX {
            return Err(ChainError::TimestampFar { timestamp });
        }
        Ok(())
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
        self.check_room(1)?;
        let dropped = self.rewind(depth);
        let empty = self.view.draft(now);
        self.push(empty);
        for block in dropped {
            let mut draft = self.view.draft(now);
            if keep {
                for included in &block.transactions {
                    let transaction = &included.transaction;
                    if self.view.include(&mut draft, transaction).is_err() {
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
        let max = max.min(REORG_BLOCKS_MAX);
        if depth > max {
            return Err(ChainError::ReorgDepth { depth, max });
        }
        Ok(())
    }

    /// Changes the state after the newest block from outside.
    fn set(&mut self, op: Op) {
        let mut world = self.view.world().clone();
        match &op {
            Op::SetBalance { address, balance } => world.set_balance(*address, *balance),
            Op::SetNonce { address, nonce } => world.set_nonce(*address, *nonce),
            Op::SetCode { address, code } => world.set_code(*address, code.clone()),
            Op::SetWord { address, key, word } => world.set_word(*address, *key, *word),
            _ => return,
        }
        self.keep_world(self.view.height(), world);
        self.ops.push(op);
        self.prune_pool();
    }

    fn schedule(&mut self, now: Moment) {
        self.block_due = match self.mining {
            Mining::Interval(interval) => Some(now + interval),
            Mining::Instant | Mining::Manual => None,
        };
    }

    fn resume(&mut self, now: Moment) -> Result<(), ChainError> {
        self.schedule(now);
        if self.mining == Mining::Instant && !self.stalled {
            self.mine_ready(now)?;
        }
        Ok(())
    }
}

impl Command {
    /// To mine so many blocks by the clock.
    #[must_use]
    pub fn mine(count: u64) -> Self {
        Self::Mine {
            count,
            timestamp: None,
            interval: None,
        }
    }
}

/// Most seconds from block to block: a year. Chosen: only far from where sums of
/// timestamps would pass [`TIMESTAMP_MAX`](crate::limits::TIMESTAMP_MAX).
const INTERVAL_SECONDS_MAX: u64 = 31_536_000;
