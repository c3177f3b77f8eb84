//! A model of the chain: blocks, finality, reorganisations, nonces, registry.
//!
//! It does what the contracts do as far as the machines can tell: it burns a
//! digest with its first transaction, reverts later ones, and puts transactions
//! of a wallet in nonce order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;
use protocol::action::{ActionDomain, SignedAction};
use protocol::chain::{BlockHeader, ChainBlock};
use protocol::entry::{Entry, EntryId, Position, sha256};
use protocol::id::{Address, Hash32, OperatorNumber, UserId};
use protocol::merkle::Peaks;
use protocol::placement::Placement;
use protocol::placement::Placing;
use protocol::registry::{BlockRef, Registry, RegistryEvent};
use protocol::time::{Moment, UnixSeconds};

use crate::engine::Rng;

mod answers;
pub mod client;
pub mod endpoints;
mod pool;

use pool::{BASE_FEE_MIN, CROWD_FACTOR_MAX, Pool, next_base_fee};
pub use pool::{FeeLimits, Fees};

/// The chain that all staked peers follow.
#[derive(Debug)]
pub struct Chain {
    actions: ActionDomain,
    confirmations: u64,
    blocks: Vec<Block>,
    pool: Pool,
    limits: FeeLimits,
    registry_queue: Vec<RegistryEvent>,
    nonces: BTreeMap<Address, u64>,
    burned: BTreeMap<Hash32, (u64, Hash32)>,
    users: BTreeMap<UserId, Address>,
    /// Entries of final blocks in order.
    entries: Vec<Entry>,
    finalized: u64,
    undone: Undone,
    rng: Rng,
    /// Actions that reached a final block, with how often.
    landed: BTreeMap<Hash32, u32>,
    /// Final transactions of each wallet for each action.
    paid: BTreeMap<(Hash32, Address), u32>,
    /// Wallets without money.
    empty: BTreeSet<Address>,
}

/// One block of the simulated chain.
#[derive(Debug, Clone)]
pub struct Block {
    /// Its number, which is its place.
    pub number: u64,
    /// The block's hash.
    pub hash: Hash32,
    /// When it was mined.
    pub time: UnixSeconds,
    /// When it became final here; zero before.
    pub final_at: Moment,
    /// What its gas costs at least.
    pub base_fee: u64,
    /// Transactions of others in it.
    pub others: u64,
    /// What was executed.
    pub txs: Vec<Mined>,
    /// As those who follow the chain are told of it.
    pub told: Arc<ChainBlock>,
    /// The ids of its entries.
    pub ids: Vec<EntryId>,
    /// The registry after it.
    pub registry: Arc<RegistryAt>,
    /// The right edge of the tree of entries before it; set when it is final.
    pub peaks_before: Peaks,
}

impl Block {
    /// As a header.
    #[must_use]
    pub fn header(&self) -> BlockHeader {
        BlockHeader {
            number: self.number,
            hash: self.hash,
            parent: self.told.parent,
            time: self.time,
            base_fee: Some(self.base_fee),
        }
    }

    /// The entries in log order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.told.entries
    }
}

/// What was final once and is no more.
#[derive(Debug, Default)]
struct Undone {
    blocks: BTreeMap<Hash32, Block>,
    /// The entries of each chain that was final before.
    chains: Vec<Vec<Entry>>,
    /// The actions in them.
    actions: BTreeSet<Hash32>,
    /// The lowest number of these blocks.
    lowest: Option<u64>,
}

/// A transaction that waits.
#[derive(Debug, Clone)]
pub struct Tx {
    /// The wallet that pays.
    pub wallet: Address,
    /// Its place among the wallet's.
    pub nonce: u64,
    /// What it pays.
    pub fees: Fees,
    /// The action, or `None` for a transfer of nothing.
    pub action: Option<SignedAction>,
}

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Mined {
    /// What was sent.
    pub tx: Tx,
    /// The transaction's hash.
    pub hash: Hash32,
    /// The action's digest.
    pub digest: Option<Hash32>,
    /// False when it reverted.
    pub is_success: bool,
}

/// Why the chain did not take a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitError {
    /// The wallet's nonce has passed it.
    NonceUsed,
    /// Another one with its nonce waits, and this one does not pay a tenth more.
    Underpriced,
    /// The next block costs more.
    BelowBaseFee,
    /// Everything that waits pays as much or more.
    PoolFull,
}

/// A registry snapshot with what follows from it, shared by all peers.
#[derive(Debug)]
pub struct RegistryAt {
    /// The snapshot as the machines take it.
    pub at: Arc<protocol::placement::RegistryAt>,
    /// The registry at a block.
    pub registry: Arc<Registry>,
    /// Root of the registry's tree.
    pub root: Hash32,
    /// Placement over it.
    pub placement: Arc<SharedPlacement>,
}

/// Production placement with its answers remembered, since all peers ask alike.
#[derive(Debug)]
pub struct SharedPlacement {
    placement: Arc<Placement>,
    answers: Mutex<BTreeMap<PlaceKey, Vec<Address>>>,
}

type PlaceKey = (Cid, usize, BTreeSet<Address>);

impl RegistryAt {
    fn new(registry: Registry) -> Arc<Self> {
        let root = registry.root();
        let registry = Arc::new(registry);
        let placement = Arc::new(SharedPlacement {
            placement: Arc::new(Placement::new(&registry)),
            answers: Mutex::default(),
        });
        let at = protocol::placement::RegistryAt {
            registry: Arc::clone(&registry),
            placement: Arc::clone(&placement.placement),
            place: Arc::clone(&placement) as _,
        };
        Arc::new(Self {
            at: Arc::new(at),
            registry,
            root,
            placement,
        })
    }
}

impl SharedPlacement {
    /// The placement itself.
    #[must_use]
    pub fn inner(&self) -> &Arc<Placement> {
        &self.placement
    }
}

impl Placing for SharedPlacement {
    fn place(&self, root: &Cid, target: usize, lost: &BTreeSet<Address>) -> Vec<Address> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers
            .entry((*root, target, lost.clone()))
            .or_insert_with(|| self.placement.place(root, target, lost))
            .clone()
    }

    fn operator_of(&self, peer: &Address) -> Option<OperatorNumber> {
        self.placement.operator_of(peer)
    }

    fn peers(&self) -> Vec<Address> {
        self.placement.peers(protocol::id::Role::Content).collect()
    }
}

impl Chain {
    /// Blocks on top of one that make it final.
    #[must_use]
    pub const fn confirmations(&self) -> u64 {
        self.confirmations
    }

    /// A chain whose first block holds the registry's first events.
    #[must_use]
    pub fn new(
        actions: ActionDomain,
        events: Vec<RegistryEvent>,
        users: BTreeMap<UserId, Address>,
        confirmations: u64,
        limits: FeeLimits,
        now: Moment,
        rng: Rng,
    ) -> Self {
        let mut registry = Registry::default();
        events.iter().for_each(|event| registry.apply(event));
        let told = ChainBlock {
            block: BlockRef {
                number: 0,
                hash: sha256(b"genesis"),
            },
            parent: Hash32::ZERO,
            time: now.unix(),
            entries: Vec::new(),
            registry: events,
        };
        let genesis = Block {
            number: 0,
            hash: told.block.hash,
            time: told.time,
            final_at: now,
            base_fee: BASE_FEE_MIN,
            others: 0,
            txs: Vec::new(),
            told: Arc::new(told),
            ids: Vec::new(),
            registry: RegistryAt::new(registry),
            peaks_before: Peaks::default(),
        };
        Self {
            actions,
            confirmations,
            blocks: vec![genesis],
            pool: Pool::new(limits),
            limits,
            registry_queue: Vec::new(),
            nonces: BTreeMap::new(),
            burned: BTreeMap::new(),
            users,
            entries: Vec::new(),
            finalized: 0,
            undone: Undone::default(),
            rng,
            landed: BTreeMap::new(),
            paid: BTreeMap::new(),
            empty: BTreeSet::new(),
        }
    }

    /// Takes a transaction into the pool; a fee that is a tenth higher replaces.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; the pool is then as it was.
    pub fn submit(&mut self, tx: Tx) -> Result<Hash32, SubmitError> {
        if tx.nonce < self.nonce(&tx.wallet) {
            return Err(SubmitError::NonceUsed);
        }
        let hash = tx_hash(&tx);
        self.pool.submit(tx, self.next_base_fee())?;
        Ok(hash)
    }

    /// Queues a change of the registry for the next block.
    pub fn change_registry(&mut self, event: RegistryEvent) {
        self.registry_queue.push(event);
    }

    /// Changes of the registry that wait for the next block.
    #[must_use]
    pub fn queued_registry(&self) -> &[RegistryEvent] {
        &self.registry_queue
    }

    /// Mines the next block and finalises what is deep enough.
    pub fn mine(&mut self, now: Moment) {
        let number = self.blocks.len() as u64;
        let mut seed = self.tip().hash.0.to_vec();
        seed.extend(self.rng.array());
        let hash = sha256(&seed);
        let time = now.unix();
        let mut txs = Vec::new();
        let mut entries = Vec::new();
        let base_fee = self.next_base_fee();
        let others = self.others(base_fee);
        let room = self.limits.block_transactions.unwrap_or(u64::MAX) - others;
        let nonces = &self.nonces;
        let next = |wallet: &Address| nonces.get(wallet).copied().unwrap_or(0);
        for tx in self.pool.fill(base_fee, room, next) {
            *self.nonces.entry(tx.wallet).or_default() += 1;
            let mined = self.execute(tx, number, hash, time, &mut entries);
            txs.push(mined);
        }
        let events = std::mem::take(&mut self.registry_queue);
        let block = BlockRef { number, hash };
        let registry = self.registry_after(&events, block);
        let told = ChainBlock {
            block,
            parent: self.tip().hash,
            time,
            entries,
            registry: events,
        };
        self.blocks.push(Block {
            number,
            hash,
            time,
            final_at: Moment::ZERO,
            base_fee,
            others,
            txs,
            ids: told.entries.iter().map(Entry::id).collect(),
            told: Arc::new(told),
            registry,
            peaks_before: Peaks::default(),
        });
        self.finalize(now);
    }

    /// What others take of the next block.
    fn others(&mut self, base_fee: u64) -> u64 {
        let Some(room) = self.limits.block_transactions else {
            return 0;
        };
        match self.pool.is_crowded() && base_fee < BASE_FEE_MIN * CROWD_FACTOR_MAX {
            true => room - self.rng.below(2),
            false => self.rng.below(room / 2 + 1),
        }
    }

    /// What the next block's gas costs at least.
    #[must_use]
    pub fn next_base_fee(&self) -> u64 {
        let tip = self.tip();
        let used = tip.others + tip.txs.len() as u64;
        let room = self.limits.block_transactions;
        room.map_or(tip.base_fee, |room| next_base_fee(tip.base_fee, used, room))
    }

    /// From now on others want all the room there is, or do not.
    pub fn crowd(&mut self, is_crowded: bool) {
        self.pool.crowd(is_crowded);
    }

    /// From now on a wallet has money, or has not.
    pub fn fund(&mut self, wallet: Address, is_funded: bool) {
        match is_funded {
            true => drop(self.empty.remove(&wallet)),
            false => drop(self.empty.insert(wallet)),
        }
    }

    /// True when a wallet has money.
    #[must_use]
    pub fn is_funded(&self, wallet: &Address) -> bool {
        !self.empty.contains(wallet)
    }

    /// Transactions that gave way to others that pay more.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.pool.evicted
    }

    fn execute(
        &mut self,
        tx: Tx,
        number: u64,
        block_hash: Hash32,
        block_time: UnixSeconds,
        entries: &mut Vec<Entry>,
    ) -> Mined {
        let hash = tx_hash(&tx);
        let digest = tx
            .action
            .as_ref()
            .map(|action| action.action.digest(&self.actions));
        let is_success = digest.is_none_or(|digest| !self.burned.contains_key(&digest));
        if let (Some(digest), Some(action), true) = (digest, &tx.action, is_success) {
            self.burned.insert(digest, (number, hash));
            entries.push(Entry {
                action: action.clone(),
                position: Position {
                    chain_id: self.actions.chain_id,
                    block_number: number,
                    block_hash,
                    block_time,
                    tx_hash: hash,
                    log_index: entries.len() as u64 * 2,
                },
            });
        }
        Mined {
            tx,
            hash,
            digest,
            is_success,
        }
    }

    fn registry_after(&self, events: &[RegistryEvent], block: BlockRef) -> Arc<RegistryAt> {
        if events.is_empty() {
            return Arc::clone(&self.tip().registry);
        }
        let mut registry = (*self.tip().registry.registry).clone();
        events.iter().for_each(|event| registry.apply(event));
        registry.set_block(block);
        RegistryAt::new(registry)
    }

    fn finalize(&mut self, now: Moment) {
        let tip = self.tip().number;
        while self.finalized + self.confirmations < tip {
            let mut peaks = self.peaks_after(self.finalized);
            self.finalized += 1;
            let block = &mut self.blocks[place(self.finalized)];
            block.final_at = now;
            block.peaks_before = peaks.clone();
            block.ids.iter().for_each(|id| peaks.push(&id.0));
            self.entries.extend(block.entries().iter().cloned());
            for mined in &block.txs {
                if let Some(digest) = mined.digest {
                    *self.paid.entry((digest, mined.tx.wallet)).or_default() += 1;
                    if mined.is_success {
                        *self.landed.entry(digest).or_default() += 1;
                    }
                }
            }
        }
    }

    fn peaks_after(&self, number: u64) -> Peaks {
        let last = &self.blocks[place(number)];
        let mut peaks = last.peaks_before.clone();
        last.ids.iter().for_each(|id| peaks.push(&id.0));
        peaks
    }

    /// Throws the last `depth` blocks away, final ones among them when there are so
    /// many. Their transactions wait again, but some are forgotten.
    pub fn reorganise(&mut self, depth: u64) {
        if self.tip().number.saturating_sub(depth) < self.finalized {
            self.undone.chains.push(self.entries.clone());
        }
        for _ in 0..depth.min(self.tip().number) {
            let Some(block) = self.blocks.pop() else {
                return;
            };
            self.undo_txs(&block);
            let registry = block.told.registry.clone();
            let later = std::mem::replace(&mut self.registry_queue, registry);
            self.registry_queue.extend(later);
            if block.number <= self.finalized {
                self.undo_final(block);
            }
        }
    }

    fn undo_txs(&mut self, block: &Block) {
        for mined in &block.txs {
            if let Some(nonce) = self.nonces.get_mut(&mined.tx.wallet) {
                *nonce -= 1;
            }
            if let (Some(digest), true) = (mined.digest, mined.is_success) {
                self.burned.remove(&digest);
            }
            if self.rng.chance(0.7) {
                self.pool.put_back(mined.tx.clone());
            }
        }
    }

    fn undo_final(&mut self, block: Block) {
        self.finalized = block.number - 1;
        let kept = self.entries.len() - block.entries().len();
        self.entries.truncate(kept);
        for mined in &block.txs {
            let Some(digest) = mined.digest else {
                continue;
            };
            lower(&mut self.paid, (digest, mined.tx.wallet));
            self.undone.actions.insert(digest);
            if mined.is_success {
                lower(&mut self.landed, digest);
            }
        }
        let lowest = self.undone.lowest.unwrap_or(u64::MAX);
        self.undone.lowest = Some(lowest.min(block.number));
        self.undone.blocks.insert(block.hash, block);
    }

    /// A block that is final, or was.
    #[must_use]
    pub fn once_final(&self, number: u64, hash: &Hash32) -> Option<&Block> {
        let standing = self.block(number).filter(|block| block.hash == *hash);
        let is_final = |block: &&Block| block.number <= self.finalized;
        let undone = || self.undone.blocks.get(hash);
        standing.filter(is_final).or_else(undone)
    }

    /// The entries of the final blocks, then those of chains that were final before.
    pub fn chains(&self) -> impl Iterator<Item = &[Entry]> {
        let undone = self.undone.chains.iter().map(Vec::as_slice);
        std::iter::once(self.entries.as_slice()).chain(undone)
    }

    /// True for an action that was in a final block that was undone: whoever had
    /// seen it there has forgotten it.
    #[must_use]
    pub fn was_undone(&self, digest: &Hash32) -> bool {
        self.undone.actions.contains(digest)
    }

    /// The lowest number of a block that was final and is no more.
    #[must_use]
    pub fn lowest_undone(&self) -> Option<u64> {
        self.undone.lowest
    }

    /// The right edge of the tree of the final blocks' entries.
    #[must_use]
    pub fn final_peaks(&self) -> Peaks {
        self.peaks_after(self.finalized)
    }

    /// The last block.
    #[must_use]
    pub fn tip(&self) -> &Block {
        self.blocks.last().expect("the genesis block stays")
    }

    /// Number of the last final block.
    #[must_use]
    pub fn finalized(&self) -> u64 {
        self.finalized
    }

    /// A block by its number.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Block> {
        self.blocks.get(place(number))
    }

    /// The entries of all final blocks.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The next nonce of a wallet at the tip.
    #[must_use]
    pub fn nonce(&self, wallet: &Address) -> u64 {
        self.nonces.get(wallet).copied().unwrap_or(0)
    }

    /// Where an action is on chain: block number and transaction.
    #[must_use]
    pub fn burned(&self, digest: &Hash32) -> Option<(u64, Hash32)> {
        self.burned.get(digest).copied()
    }

    /// How often an action landed in final blocks.
    #[must_use]
    pub fn landed(&self, digest: &Hash32) -> u32 {
        self.landed.get(digest).copied().unwrap_or(0)
    }

    /// Final transactions by action and wallet.
    pub fn paid(&self) -> impl Iterator<Item = (&(Hash32, Address), &u32)> {
        self.paid.iter()
    }

    /// The wallet of a user.
    #[must_use]
    pub fn wallet_of(&self, user: UserId) -> Option<Address> {
        self.users.get(&user).copied()
    }
}

fn lower<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
    }
}

fn tx_hash(tx: &Tx) -> Hash32 {
    let mut bytes = tx.wallet.0.to_vec();
    bytes.extend(tx.nonce.to_le_bytes());
    bytes.extend(tx.fees.max_fee.to_le_bytes());
    bytes.extend(tx.fees.tip.to_le_bytes());
    if let Some(action) = &tx.action {
        bytes.extend(action.signature.0);
    }
    sha256(&bytes)
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("block numbers are places in memory")
}

#[cfg(test)]
mod tests;
