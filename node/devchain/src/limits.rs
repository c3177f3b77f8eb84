//! What bounds the development chain.

/// Most blocks that one command may mine.
pub const MINED_BLOCKS_MAX: u64 = 1_000_000;

/// Most blocks of a chain: an empty one costs about 300 bytes of memory.
pub const BLOCKS_MAX: u64 = 4_000_000;

/// Most blocks that one command may replace.
pub const REORG_BLOCKS_MAX: u64 = 100_000;

/// The end of the year 9999: what other programs can still show.
pub const TIMESTAMP_MAX: u64 = 253_402_300_799;

/// Most transactions that wait for a block.
pub const POOL_TRANSACTIONS_MAX: usize = 4_096;

/// How far ahead of its sender's next nonce a transaction may wait.
pub const NONCE_GAP_MAX: u64 = 256;

/// Most snapshots that are kept.
pub const SNAPSHOTS_MAX: usize = 256;

/// Most polling filters at once.
pub const FILTERS_MAX: usize = 1_024;

/// Most hashes of sent transactions that are kept for those who ask late.
pub const SENT_MAX: usize = 16_384;

/// How many of the latest states are kept unless configured, 4 to 14 KiB each. A
/// block without transactions adds none.
pub const STATES_MAX: usize = 4_096;

/// Most blocks that one query for logs may span.
pub const LOG_BLOCKS_MAX: u64 = 10_000;

/// Most logs that one query may give.
pub const LOGS_MAX: usize = 20_000;
