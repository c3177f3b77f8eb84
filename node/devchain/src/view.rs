//! What readers see of the chain: an immutable picture that is cheap to clone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::time::Moment;
use revm::context::{BlockEnv, CfgEnv, TxEnv};
use revm::context_interface::result::{ExecutionResult, ResultAndState};
use revm::context_interface::transaction::{AccessList, AccessListItem};
use revm::database_interface::WrapDatabaseRef;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Log, TxKind, U256};
use revm::{Context, ExecuteEvm, MainBuilder, MainContext};

use super::block::{Block, GAS_LIMIT, Header, Included};
use super::error::ChainError;
use super::limits::{LOG_BLOCKS_MAX, LOGS_MAX};
use super::state::{World, WorldAt};
use super::transaction::Transaction;

mod draft;

pub(crate) use draft::Draft;

/// The chain at one instant.
#[derive(Debug, Clone)]
pub struct View {
    pub(super) chain_id: u64,
    pub(super) blocks: imbl::Vector<Arc<Block>>,
    /// The latest states by the block that led to them; a block that changed
    /// nothing has that of the block before.
    pub(super) worlds: imbl::OrdMap<u64, World>,
    /// Heights by [`hash_key`].
    pub(super) numbers: imbl::HashMap<u64, u64>,
    pub(super) included: imbl::HashMap<B256, (u64, usize)>,
    pub(super) pool: imbl::OrdMap<(Address, u64), Arc<Pooled>>,
    /// Hashes of the latest transactions that were sent.
    pub(super) sent: imbl::Vector<B256>,
    /// Position of the first of [`Self::sent`].
    pub(super) sent_start: u64,
    /// Seconds that the chain's clock runs ahead, or behind.
    pub(super) time_offset: i64,
    pub(super) timestamp_next: Option<u64>,
    /// Seconds from block to block, whatever the clock says.
    pub(super) timestamp_interval: Option<u64>,
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
    /// The block that it is in.
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
        let newest = self.worlds.get_max().expect("the newest state is kept");
        &newest.1
    }

    /// The block of a number.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Arc<Block>> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// The block of a hash, unless it fell out of the chain.
    #[must_use]
    pub fn block_by_hash(&self, hash: B256) -> Option<&Arc<Block>> {
        let block = self.block(*self.numbers.get(&hash_key(hash))?)?;
        (block.hash == hash).then_some(block)
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

    /// Whether something that waits has its sender's next nonce.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        let world = self.world();
        let mut keys = self.pool.keys();
        keys.any(|(sender, nonce)| *nonce == world.nonce(*sender))
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
        self.worlds
            .get_prev(&number)
            .map(|(_, world)| world)
            .ok_or_else(|| ChainError::StatePruned {
                number,
                oldest: self.oldest_state(),
            })
    }

    /// The state that `at` means and the header that a call there sees; those of
    /// [`Self::pending`] for the block to come.
    ///
    /// # Errors
    ///
    /// As [`Self::world_at`].
    pub fn state_at(&self, at: At, now: Moment) -> Result<(World, Header), ChainError> {
        if at == At::Pending {
            let (block, world) = self.pending(now);
            return Ok((world, block.header));
        }
        let block = self.block_at(at).ok_or(ChainError::UnknownBlock)?;
        Ok((self.world_at(at)?.clone(), block.header.clone()))
    }

    /// The block that would be mined at `now`, and the state after it.
    #[must_use]
    pub fn pending(&self, now: Moment) -> (Block, World) {
        let (draft, _) = self.fill(now);
        let Draft {
            mut header,
            world,
            included,
            ..
        } = draft;
        header.state_root = world.digest();
        (Block::seal(header, included), world)
    }

    /// Position after the newest transaction that was sent.
    #[must_use]
    pub fn sent_end(&self) -> u64 {
        self.sent_start + u64::try_from(self.sent.len()).unwrap_or(u64::MAX)
    }

    /// Hashes of the transactions that were sent from a position on, as far back
    /// as they are kept.
    #[must_use]
    pub fn sent_since(&self, position: u64) -> Vec<B256> {
        let skipped = position.saturating_sub(self.sent_start);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let focus = self.sent.focus().narrow(skipped.min(self.sent.len())..);
        focus.into_iter().copied().collect()
    }

    /// The oldest block whose state is kept.
    #[must_use]
    pub fn oldest_state(&self) -> u64 {
        self.worlds.get_min().map_or(0, |(number, _)| *number)
    }

    /// What the chain's clock shows, in Unix seconds.
    #[must_use]
    pub fn clock(&self, now: Moment) -> u64 {
        now.unix().0.saturating_add_signed(self.time_offset)
    }

    /// The header of the block that would be mined at `now`, without what its
    /// transactions add to it.
    #[must_use]
    pub fn next_header(&self, now: Moment) -> Header {
        let parent = self.tip();
        let follows = |interval| parent.header.timestamp.saturating_add(interval);
        Header {
            parent_hash: parent.hash,
            state_root: self.world().digest(),
            contents: None,
            number: parent.header.number + 1,
            gas_used: 0,
            timestamp: self
                .timestamp_next
                .or(self.timestamp_interval.map(follows))
                .unwrap_or_else(|| self.clock(now))
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
        let (world, header) = self.state_at(at, now)?;
        Ok(self.run(&world, &header, call)?.result)
    }

    /// As [`Self::call`] on a given state, with what the call touched.
    pub(super) fn run(
        &self,
        world: &World,
        header: &Header,
        call: TxEnv,
    ) -> Result<ResultAndState, ChainError> {
        let mut config = config(self.chain_id);
        config.disable_balance_check = true;
        config.disable_base_fee = true;
        config.disable_nonce_check = true;
        config.disable_eip3607 = true;
        config.disable_block_gas_limit = true;
        config.tx_gas_limit_cap = Some(u64::MAX);
        self.execute(world, config, header, call)
    }

    /// The least gas with which the call succeeds.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and [`ChainError::Reverted`] or [`ChainError::Halted`]
    /// when it succeeds with no amount.
    pub fn estimate_gas(&self, at: At, mut call: TxEnv, now: Moment) -> Result<u64, ChainError> {
        call.gas_limit = call.gas_limit.min(GAS_LIMIT);
        let (world, header) = self.state_at(at, now)?;
        let result = self.run(&world, &header, call.clone())?.result;
        if !result.is_success() {
            return Err(ChainError::failed(result));
        }
        let plain = matches!(call.kind, TxKind::Call(to) if world.code(to).is_empty());
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
            match self.run(&world, &header, call.clone()) {
                Ok(run) if run.result.is_success() => works = call.gas_limit,
                _ => fails = call.gas_limit,
            }
            guess = fails.midpoint(works);
        }
        Ok(works)
    }

    /// The addresses and words that a call touches beyond those that are warm
    /// anyhow, the gas that it uses with them warmed, and its error.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn access_list(
        &self,
        at: At,
        mut call: TxEnv,
        now: Moment,
    ) -> Result<(AccessList, u64, Option<String>), ChainError> {
        let (world, header) = self.state_at(at, now)?;
        call.gas_limit = call.gas_limit.min(GAS_LIMIT);
        let warm = [
            Some(call.caller),
            call.kind.to().copied(),
            Some(Address::ZERO),
        ];
        let mut rounds_count = 0;
        loop {
            let ResultAndState { result, state } = self.run(&world, &header, call.clone())?;
            let touched: BTreeMap<Address, BTreeSet<U256>> = state
                .into_iter()
                .filter(|(address, account)| {
                    let is_warm = warm.contains(&Some(*address)) || is_precompile(*address);
                    !(account.is_created() || is_warm && account.storage.is_empty())
                })
                .map(|(address, account)| (address, account.storage.into_keys().collect()))
                .collect();
            let items = touched.into_iter().map(|(address, keys)| AccessListItem {
                address,
                storage_keys: keys.into_iter().map(B256::from).collect(),
            });
            let list = AccessList(items.collect());
            rounds_count += 1;
            // With other addresses warm a call may take another path.
            if list == call.access_list || rounds_count == ACCESS_LIST_ROUNDS_MAX {
                let gas = result.tx_gas_used();
                let error = (!result.is_success()).then(|| ChainError::failed(result).to_string());
                return Ok((list, gas, error));
            }
            call.access_list = list;
            call.tx_type = call.tx_type.max(1);
        }
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
        let Some(contents) = &block.header.contents else {
            return;
        };
        if !self.may_match(&contents.bloom) {
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
        (self.addresses.is_empty()
            || self
                .addresses
                .iter()
                .any(|address| holds(address.as_slice())))
            && self.topics.iter().all(|wanted| {
                wanted.is_empty() || wanted.iter().any(|topic| holds(topic.as_slice()))
            })
    }
}

/// The first bytes of a block's hash, by which it is found. That two of the few
/// million blocks of a chain share them is not to be expected, and would hide one
/// of them from queries by hash alone.
pub(super) fn hash_key(hash: B256) -> u64 {
    let [first, ..] = hash.0.as_chunks::<8>().0 else {
        return 0;
    };
    u64::from_be_bytes(*first)
}

/// The contracts of Prague that lie in the machine itself: 1 to 17.
fn is_precompile(address: Address) -> bool {
    let number = U256::from_be_slice(address.as_slice());
    number <= U256::from(PRECOMPILES_COUNT) && !number.is_zero()
}

pub(super) fn config(chain_id: u64) -> CfgEnv {
    CfgEnv::new_with_spec(SpecId::PRAGUE).with_chain_id(chain_id)
}

/// Precompiled contracts of Prague.
const PRECOMPILES_COUNT: u64 = 17;

/// How often an access list is tried before it is given as it is. Chosen: a list makes
/// reads cheaper and seldom changes what is read.
const ACCESS_LIST_ROUNDS_MAX: usize = 8;

/// Gas that a call with value hands on for free.
const CALL_STIPEND: u64 = 2_300;
