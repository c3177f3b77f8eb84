//! Blocks, receipts and how they are hashed.

use std::sync::Arc;

use ethers_core::utils::rlp::RlpStream;
use revm::primitives::alloy_primitives::Bloom;
use revm::primitives::{Address, B256, Log, b256, keccak256};

use super::transaction::Transaction;

/// What a block says of itself; constant fields are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Hash of the block before.
    pub parent_hash: B256,
    /// [`World::digest`](super::state::World::digest) after the block.
    pub state_root: B256,
    /// What the transactions add; none without any, which keeps the many empty
    /// blocks small.
    pub contents: Option<Box<Contents>>,
    /// The block's height.
    pub number: u64,
    /// Gas used by all transactions.
    pub gas_used: u64,
    /// Unix seconds; a block may share its parent's second.
    pub timestamp: u64,
    /// How often the chain was rewound, which sets apart blocks mined again.
    pub forks_count: u64,
    /// Wei per gas that every transaction burns.
    pub base_fee: u64,
}

/// What a header says of its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// keccak256 over the transaction hashes.
    pub transactions_root: B256,
    /// keccak256 over the encoded receipts.
    pub receipts_root: B256,
    /// Filter over addresses and topics of all logs.
    pub bloom: Bloom,
}

/// A mined block.
#[derive(Debug, Clone)]
pub struct Block {
    /// keccak256 of the encoded header.
    pub hash: B256,
    /// The header that is hashed.
    pub header: Header,
    /// Length of the encoded block.
    pub size_bytes: usize,
    /// What was executed, in order.
    pub transactions: Vec<Included>,
}

/// A transaction in a block.
#[derive(Debug, Clone)]
pub struct Included {
    /// What was sent.
    pub transaction: Arc<Transaction>,
    /// What came of it.
    pub receipt: Receipt,
}

/// What came of a transaction.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// False when it reverted or ran out of gas.
    pub success: bool,
    /// Gas used by it.
    pub gas_used: u64,
    /// Gas used by it and those before it in the block.
    pub cumulative_gas_used: u64,
    /// Wei per gas that was paid.
    pub effective_gas_price: u128,
    /// Where the created contract lies.
    pub contract_address: Option<Address>,
    /// What was emitted.
    pub logs: Vec<Log>,
    /// Index in the block of the first of [`Self::logs`].
    pub log_idx_first: usize,
    /// Filter over the logs.
    pub bloom: Bloom,
}

impl Block {
    /// Seals a block: computes roots, bloom and hash.
    #[must_use]
    pub fn seal(mut header: Header, transactions: Vec<Included>) -> Self {
        let mut hashes = Vec::with_capacity(transactions.len() * 32);
        let mut receipts = Vec::new();
        let mut transactions_bytes = 0;
        let mut bloom = Bloom::ZERO;
        for included in &transactions {
            hashes.extend(included.transaction.hash);
            receipts.extend(included.receipt.encode());
            let raw_bytes = included.transaction.raw.len();
            // A legacy transaction is a list as it is, the others are in a string.
            transactions_bytes += match included.transaction.type_id {
                0 => raw_bytes,
                _ => with_prefix(raw_bytes),
            };
            bloom.accrue_bloom(&included.receipt.bloom);
        }
        header.contents = (!transactions.is_empty()).then(|| {
            Box::new(Contents {
                transactions_root: keccak256(hashes),
                receipts_root: keccak256(receipts),
                bloom,
            })
        });
        let encoded = header.encode();
        Self {
            hash: keccak256(&encoded),
            header,
            // The empty list of uncles takes a byte; anvil leaves out the withdrawals.
            size_bytes: with_prefix(encoded.len() + with_prefix(transactions_bytes) + 1),
            transactions,
        }
    }
}

impl Header {
    /// The filter over addresses and topics of all logs.
    #[must_use]
    pub fn bloom(&self) -> Bloom {
        let contents = self.contents.as_ref();
        contents.map_or(Bloom::ZERO, |contents| contents.bloom)
    }

    /// The root over the transactions.
    #[must_use]
    pub fn transactions_root(&self) -> B256 {
        let contents = self.contents.as_ref();
        contents.map_or(EMPTY_ROOT, |contents| contents.transactions_root)
    }

    /// The root over the receipts.
    #[must_use]
    pub fn receipts_root(&self) -> B256 {
        let contents = self.contents.as_ref();
        contents.map_or(EMPTY_ROOT, |contents| contents.receipts_root)
    }

    /// What `prevrandao` gives in the block: unpredictable enough for tests.
    #[must_use]
    pub fn mix_hash(&self) -> B256 {
        keccak256(self.parent_hash)
    }

    /// The extra data: empty until the chain was rewound.
    #[must_use]
    pub fn extra_data(&self) -> Vec<u8> {
        match self.forks_count {
            0 => Vec::new(),
            count => count.to_be_bytes().to_vec(),
        }
    }

    /// The header's RLP with the fields of Prague.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut rlp = RlpStream::new_list(21);
        rlp.append(&self.parent_hash.as_slice())
            .append(&UNCLES_HASH.as_slice())
            .append(&Address::ZERO.as_slice())
            .append(&self.state_root.as_slice())
            .append(&self.transactions_root().as_slice())
            .append(&self.receipts_root().as_slice())
            .append(&self.bloom().as_slice())
            .append(&0u8) // difficulty
            .append(&self.number)
            .append(&GAS_LIMIT)
            .append(&self.gas_used)
            .append(&self.timestamp)
            .append(&self.extra_data())
            .append(&self.mix_hash().as_slice())
            .append(&[0u8; 8].as_slice()) // nonce
            .append(&self.base_fee)
            .append(&EMPTY_ROOT.as_slice()) // withdrawals
            .append(&0u8) // blob gas used
            .append(&0u8) // excess blob gas
            .append(&B256::ZERO.as_slice()) // parent beacon block
            .append(&EMPTY_REQUESTS_HASH.as_slice());
        rlp.out().to_vec()
    }

    /// The base fee of the next block (EIP-1559); block 1 keeps that of block 0.
    #[must_use]
    pub fn next_base_fee(&self) -> u64 {
        if self.number == 0 {
            return self.base_fee;
        }
        let base = u128::from(self.base_fee);
        let (used, target) = (u128::from(self.gas_used), u128::from(GAS_TARGET));
        let next = if used > target {
            base + (base * (used - target) / target / BASE_FEE_CHANGE_DENOMINATOR).max(1)
        } else {
            base - base * (target - used) / target / BASE_FEE_CHANGE_DENOMINATOR
        };
        u64::try_from(next).unwrap_or(u64::MAX)
    }
}

impl Receipt {
    fn encode(&self) -> Vec<u8> {
        let mut rlp = RlpStream::new_list(4);
        rlp.append(&self.success)
            .append(&self.cumulative_gas_used)
            .append(&self.bloom.as_slice())
            .begin_list(self.logs.len());
        for log in &self.logs {
            rlp.begin_list(3).append(&log.address.as_slice());
            rlp.begin_list(log.data.topics().len());
            for topic in log.data.topics() {
                rlp.append(&topic.as_slice());
            }
            rlp.append(&log.data.data.as_ref());
        }
        rlp.out().to_vec()
    }
}

/// The length of an RLP list or string with so many bytes in it.
fn with_prefix(length: usize) -> usize {
    match length {
        0..=55 => length + 1,
        _ => length + 1 + length.ilog2() as usize / 8 + 1,
    }
}

/// Gas of a block, as Ethereum had it for years: what fits here fits there.
pub const GAS_LIMIT: u64 = 30_000_000;

/// Base fee of blocks 0 and 1: 1 gwei.
pub const GENESIS_BASE_FEE: u64 = 1_000_000_000;

/// Hash of an empty list of uncles.
pub const UNCLES_HASH: B256 =
    b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/// Root of an empty trie.
pub const EMPTY_ROOT: B256 =
    b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Hash of an empty list of execution requests (EIP-7685).
pub const EMPTY_REQUESTS_HASH: B256 =
    b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// Half of a block's gas leaves the base fee as it is.
const GAS_TARGET: u64 = GAS_LIMIT / 2;

/// The base fee changes by at most an eighth from block to block.
const BASE_FEE_CHANGE_DENOMINATOR: u128 = 8;
