//! What readers see of the chain: an immutable picture that is cheap to clone.

use std::sync::Arc;

use protocol::time::Moment;
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::result::{ExecutionResult, ResultAndState};
use revm::database_interface::WrapDatabaseRef;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Log, TxKind, U256};
use revm::{Context, ExecuteEvm, MainBuilder, MainContext};

use super::block::{Block, GAS_LIMIT, Header, Included};
use super::error::ChainError;
use super::state::{World, WorldAt};
use super::transaction::Transaction;

/// The chain at one instant.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) chain_id: u64,
    pub(super) blocks: imbl::Vector<Arc<Block>>,
    /// Post-states of the latest blocks, the tip's last.
    pub(super) worlds: imbl::Vector<World>,
    pub(super) numbers: imbl::HashMap<B256, u64>,
    pub(super) included: imbl::HashMap<B256, (u64, usize)>,
    pub(super) pool: imbl::OrdMap<(Address, u64), Arc<Pooled>>,
    /// Seconds that the chain's clock runs ahead.
    pub(super) time_offset: u64,
    pub(super) timestamp_next: Option<u64>,
    pub(super) forks_count: u64,
}

/// A transaction that waits for a block.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) transaction: Arc<Transaction>,
    /// Position in order of arrival.
    pub(super) arrival: u64,
}

/// Which logs are asked for.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// From which contracts; any when empty.
    pub addresses: Vec<Address>,
    /// Alternatives per position; any when empty.
    pub topics: Vec<Vec<B256>>,
}

/// A log and where it stands.
#[derive(Debug, Clone)]
pub struct LogAt {
    /// Its block.
    pub block: Arc<Block>,
    /// Index of its transaction in the block.
    pub transaction_idx: usize,
    /// Index of it in its transaction.
    pub idx: usize,
    /// True when its block fell out of the chain.
    pub removed: bool,
}

/// Which state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the block of this number.
    Number(u64),
    /// After the newest block.
    Latest,
    /// Inside the block that would be mined next.
    Pending,
    /// After the block of this hash.
    Hash(B256),
}

impl View {
    /// The newest block.
    #[must_use]
    pub fn tip(&self) -> &Arc<Block> {
        self.blocks.last().expect("a chain starts with its genesis")
    }

    /// The number of the newest block.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.tip().header.number
    }

    /// The state after the newest block.
    #[must_use]
    pub fn world(&self) -> &World {
        self.worlds.last().expect("the state of the tip is kept")
    }

    /// The block of a number.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// The block of a hash, unless it fell out of the chain.
    #[must_use]
    pub fn block_by_hash(&self, hash: B256) -> Option<&Arc<Block>> {
        self.block(*self.numbers.get(&hash)?)
    }

    /// The block that `at` means; none for one to come.
    #[must_use]
    pub fn block_at(&self, at: At) -> Option<&Arc<Block>> {
        match at {
            At::Number(number) => self.block(number),
            At::Latest | At::Pending => Some(self.tip()),
            At::Hash(hash) => self.block_by_hash(hash),
        }
    }

    /// A mined transaction with its block and index.
    #[must_use]
    pub fn included(&self, hash: B256) -> Option<(&Arc<Block>, usize, &Included)> {
        let (number, idx) = *self.included.get(&hash)?;
        let block = self.block(number)?;
        Some((block, idx, block.transactions.get(idx)?))
    }

    /// A transaction that waits for a block.
    #[must_use]
    pub fn pooled(&self, hash: B256) -> Option<&Arc<Transaction>> {
        self.pool
            .values()
            .map(|pooled| &pooled.transaction)
            .find(|transaction| transaction.hash == hash)
    }

    /// Everything that waits, by sender and nonce.
    pub fn pool(&self) -> impl Iterator<Item = &Arc<Transaction>> {
        self.pool.values().map(|pooled| &pooled.transaction)
    }

    /// The nonce after everything of `address` that waits without a gap.
    #[must_use]
    pub fn pending_nonce(&self, address: Address) -> u64 {
        let mut nonce = self.world().nonce(address);
        while self.pool.contains_key(&(address, nonce)) {
            nonce += 1;
        }
        nonce
    }

    /// The state that `at` means.
    ///
    /// # Errors
    ///
    /// [`ChainError::UnknownBlock`], and [`ChainError::StatePruned`] for a block
    /// older than the states that are kept.
    pub fn world_at(&self, at: At) -> Result<&World, ChainError> {
        let block = self.block_at(at).ok_or(ChainError::UnknownBlock)?;
        let number = block.header.number;
        let age = usize::try_from(self.height() - number).unwrap_or(usize::MAX);
        self.worlds
            .len()
            .checked_sub(1)
            .and_then(|last| last.checked_sub(age))
            .and_then(|idx| self.worlds.get(idx))
            .ok_or_else(|| ChainError::StatePruned {
                number,
                oldest: self.oldest_state(),
            })
    }

    /// The oldest block whose state is kept.
    #[must_use]
    pub fn oldest_state(&self) -> u64 {
        let younger_count = u64::try_from(self.worlds.len() - 1).unwrap_or(u64::MAX);
        self.height().saturating_sub(younger_count)
    }

    /// The header of the block that would be mined at `now`, without what its
    /// transactions add to it.
    #[must_use]
    pub fn next_header(&self, now: Moment) -> Header {
        let parent = self.tip();
        let clock = now.unix().0.saturating_add(self.time_offset);
        Header {
            parent_hash: parent.hash,
            state_root: self.world().digest(),
            transactions_root: B256::ZERO,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
            number: parent.header.number + 1,
            gas_used: 0,
            timestamp: self
                .timestamp_next
                .unwrap_or(clock)
                .max(parent.header.timestamp),
            forks_count: self.forks_count,
            base_fee: parent.header.next_base_fee(),
        }
    }

    /// Runs a call without changing anything.
    ///
    /// # Errors
    ///
    /// [`ChainError`] when the block or its state is unknown, or the call cannot
    /// start. A call that reverts is an `Ok`.
    pub fn call(&self, at: At, call: TxEnv, now: Moment) -> Result<ExecutionResult, ChainError> {
        let world = self.world_at(at)?;
        let header = match (at, self.block_at(at)) {
            (At::Pending, _) | (_, None) => self.next_header(now),
            (_, Some(block)) => block.header.clone(),
        };
        let mut config = config(self.chain_id);
        config.disable_balance_check = true;
        config.disable_base_fee = true;
        config.disable_nonce_check = true;
        config.disable_eip3607 = true;
        config.disable_block_gas_limit = true;
        config.tx_gas_limit_cap = Some(u64::MAX);
        Ok(self.execute(world, config, &header, call)?.result)
    }

    /// The least gas with which the call succeeds.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and [`ChainError::Reverted`] or [`ChainError::Halted`]
    /// when it succeeds with no amount.
    pub fn estimate_gas(&self, at: At, mut call: TxEnv, now: Moment) -> Result<u64, ChainError> {
        call.gas_limit = call.gas_limit.min(GAS_LIMIT);
        let result = self.call(at, call.clone(), now)?;
        if !result.is_success() {
            return Err(ChainError::failed(result));
        }
        let plain = matches!(call.kind, TxKind::Call(to) if self.world_at(at)?.code(to).is_empty());
        let used = result.tx_gas_used();
        if plain && call.data.is_empty() && call.access_list.0.is_empty() {
            return Ok(used);
        }
        let (mut fails, mut works) = (used.saturating_sub(1), call.gas_limit);
        // Where the answer mostly lies: what was used before refunds, a call's
        // stipend, and the 64th that a caller keeps back (EIP-150).
        let mut guess = (result.gas().total_gas_spent() + CALL_STIPEND) * 64 / 63;
        while fails + 1 < works {
            call.gas_limit = guess.clamp(fails + 1, works - 1);
            match self.call(at, call.clone(), now) {
                Ok(result) if result.is_success() => works = call.gas_limit,
                _ => fails = call.gas_limit,
            }
            guess = fails.midpoint(works);
        }
        Ok(works)
    }

    /// The logs of blocks `from..=to` that match, oldest first.
    ///
    /// # Errors
    ///
    /// [`ChainError::RangeTooWide`] and [`ChainError::TooManyLogs`].
    pub fn logs(&self, filter: &LogFilter, from: u64, to: u64) -> Result<Vec<LogAt>, ChainError> {
        let to = to.min(self.height());
        if from > to {
            return Ok(Vec::new());
        }
        let blocks_count = to - from + 1;
        if blocks_count > LOG_BLOCKS_MAX {
            return Err(ChainError::RangeTooWide { blocks_count });
        }
        let mut logs = Vec::new();
        for number in from..=to {
            let block = self.block(number).expect("numbers up to the tip exist");
            filter.collect(block, false, &mut logs);
            if logs.len() > LOGS_MAX {
                return Err(ChainError::TooManyLogs { from, to });
            }
        }
        Ok(logs)
    }

    pub(super) fn execute(
        &self,
        world: &World,
        config: CfgEnv,
        header: &Header,
        transaction: TxEnv,
    ) -> Result<ResultAndState, ChainError> {
        let block_hash = |number| self.block(number).map_or(B256::ZERO, |block| block.hash);
        let environment = BlockEnv {
            number: U256::from(header.number),
            timestamp: U256::from(header.timestamp),
            gas_limit: GAS_LIMIT,
            basefee: header.base_fee,
            prevrandao: Some(header.mix_hash()),
            ..BlockEnv::default()
        };
        Context::mainnet()
            .with_db(WrapDatabaseRef(WorldAt { world, block_hash }))
            .with_cfg(config)
            .with_block(environment)
            .build_mainnet()
            .transact(transaction)
            .map_err(ChainError::from)
    }
}

impl LogFilter {
    /// Whether a log matches.
    #[must_use]
    pub fn matches(&self, log: &Log) -> bool {
        let topics = log.data.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self
                .topics
                .iter()
                .zip(topics)
                .all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }

    /// Appends the logs of `block` that match.
    pub fn collect(&self, block: &Arc<Block>, removed: bool, logs: &mut Vec<LogAt>) {
        if !self.may_match(&block.header.bloom) {
            return;
        }
        for (transaction_idx, included) in block.transactions.iter().enumerate() {
            for (idx, log) in included.receipt.logs.iter().enumerate() {
                if self.matches(log) {
                    logs.push(LogAt {
                        block: Arc::clone(block),
                        transaction_idx,
                        idx,
                        removed,
                    });
                }
            }
        }
    }

    fn may_match(&self, bloom: &Bloom) -> bool {
        let holds = |bytes: &[u8]| {
            let mut one = Bloom::ZERO;
            one.m3_2048(bytes);
            bloom.contains(&one)
        };
        !bloom.is_zero()
            && (self.addresses.is_empty()
                || self
                    .addresses
                    .iter()
                    .any(|address| holds(address.as_slice())))
            && self.topics.iter().all(|wanted| {
                wanted.is_empty() || wanted.iter().any(|topic| holds(topic.as_slice()))
            })
    }
}

pub(super) fn config(chain_id: u64) -> CfgEnv {
    CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(chain_id)
}

/// Most blocks that one query for logs may span.
pub const LOG_BLOCKS_MAX: u64 = 10_000;

/// Most logs that one query may give.
pub const LOGS_MAX: usize = 20_000;

/// Gas that a call with value hands on for free.
const CALL_STIPEND: u64 = 2_300;
