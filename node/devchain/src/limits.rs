//! What bounds the development chain.

/// Most blocks that one command may mine. Chosen: a year of 30-second blocks, in
/// some seconds; nothing else runs meanwhile.
pub const MINED_BLOCKS_MAX: u64 = 1_000_000;

/// Most blocks of a chain: an empty one costs about 300 bytes of memory, so 1.2 GB.
pub const BLOCKS_MAX: u64 = 4_000_000;

/// Most blocks that one command may replace. Chosen: far more than any peer follows;
/// all of them are built again in one step.
pub const REORG_BLOCKS_MAX: u64 = 100_000;

/// The end of the year 9999: what other programs can still show.
pub const TIMESTAMP_MAX: u64 = 253_402_300_799;

/// Most transactions that wait for a block. Chosen: as other nodes have it, and at
/// most 512 MB of the largest ones.
pub const POOL_TRANSACTIONS_MAX: usize = 4_096;

/// How far ahead of its sender's next nonce a transaction may wait. Chosen: more than
/// a deployment sends at once, little enough that one sender does not fill the pool.
pub const NONCE_GAP_MAX: u64 = 256;

/// Most snapshots that are kept. Chosen: tests take one each and return to it,
/// and a state is cheap to keep.
pub const SNAPSHOTS_MAX: usize = 256;

/// Most polling filters at once. Chosen: one for each connection that there may be.
pub const FILTERS_MAX: usize = 1_024;

/// Most hashes of sent transactions that are kept for those who ask late. Chosen:
/// four full pools, 32 bytes each.
pub const SENT_MAX: usize = 16_384;

/// How many of the latest states are kept unless configured, 4 to 14 KiB each. A
/// block without transactions adds none. Chosen: 57 MB at most, for calls at older
/// blocks.
pub const STATES_MAX: usize = 4_096;

/// Most blocks that one query for logs may span. Chosen: as usual providers have it,
/// so that a program that works here works there.
pub const LOG_BLOCKS_MAX: u64 = 10_000;

/// Most logs that one query may give. Chosen: as usual providers have it.
pub const LOGS_MAX: usize = 20_000;
