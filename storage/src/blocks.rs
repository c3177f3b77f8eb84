//! The block store: append-only segments of checked records, an index in redb,
//! and exact reference counts of the roots that list each block.
//!
//! A block's identity is its SHA-256 multihash, whatever the codec of its CID.
//! Writing is a group commit: append all records, sync, one index transaction;
//! a block is there when that transaction is, and what a crash leaves behind
//! it is cut off when the store opens. One [`BlockStore`] writes;
//! [`BlockReader`]s are cheap clones that read from any thread meanwhile.
//!
//! A block stays while a root that lists it is held for at least one reason
//! ([`Holding`]). A block that was put without an owner is *loose* until a root
//! claims it or [`BlockStore::sweep_loose`] drops it. A root may list blocks
//! that are not there yet.
//!
//! Format: `docs/formats/segments.md`.

use std::io;

use cid::Cid;
use multihash::Multihash;
use protocol::time::UnixSeconds;
use protocol::unixfs::{BLOCK_BYTES_MAX, BlockError, VerifiedBlock};
use serde::{Deserialize, Serialize};

pub use read::{BlockReader, CORRUPT_LISTED_MAX, VerifyProgress, VerifyReport};
pub use roots::{RootInfo, RootListed};
pub use store::{BlockStore, Compacted};

mod compact;
mod index;
mod read;
mod rebuild;
mod roots;
mod segment;
mod store;

/// Why a root is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holding {
    /// This peer signed a lease for it.
    Lease,
    /// The owner of this peer wants it kept.
    Pin,
    /// It is being published or uploaded.
    Upload,
    /// It was fetched to be read; goes first when room is needed.
    Cache,
    /// It was made from another root.
    Derived,
}

/// The root that blocks are put for, and why it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The root that will list the blocks.
    pub root: Cid,
    /// Why it is held.
    pub holding: Holding,
    /// When the reason lapses; never without it.
    pub expiry: Option<UnixSeconds>,
}

/// Blocks to put, all for one owner or for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The blocks; repeats are written once.
    pub blocks: Vec<VerifiedBlock>,
    /// The root that lists them; without one they are loose.
    pub owner: Option<Owner>,
}

/// How a block store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockStoreConfig {
    /// Most bytes of segments on disk. A segment's worth of it is kept for
    /// rewriting segments and cannot be filled.
    pub store_bytes_max: u64,
    /// Bytes of the disk that are left to others: nothing is written that
    /// would leave less.
    pub disk_reserve_bytes: u64,
    /// Length at which a segment is closed; at most [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
    /// Memory for pages of the index.
    pub cache_bytes: usize,
}

/// What a block store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BlockStats {
    /// Blocks that are there.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Bytes of records that are in use.
    pub live_bytes: u64,
    /// Bytes that a rewrite would free.
    pub dead_bytes: u64,
    /// Bytes that may still be written without evicting or rewriting.
    pub free_bytes: u64,
    /// The size cap.
    pub store_bytes_max: u64,
    /// Segment files on disk.
    pub segments: u64,
}

/// Why the block store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BlockStoreError {
    /// No block is stored under such a CID.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The size cap is reached and nothing can be evicted.
    #[error(
        "block store is full: {needed} bytes are needed, {free} of {cap} are free; raise `storage.capacity` or unpin something"
    )]
    Full {
        /// Bytes that were to be written.
        needed: u64,
        /// Bytes that are free under the cap.
        free: u64,
        /// The most bytes that may be stored.
        cap: u64,
    },
    /// The disk would be left with less than the reserve.
    #[error(
        "disk is nearly full: {needed} bytes are needed and {reserve} must stay free, but only {free} are; free some space, reading goes on"
    )]
    DiskFull {
        /// Bytes that were to be written.
        needed: u64,
        /// Bytes that the disk has.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// A record on disk does not match its checksum.
    #[error("block {cid} is corrupt on disk; drop it and fetch it again")]
    Corrupt {
        /// The block that is damaged.
        cid: Cid,
    },
    /// Written by another version.
    #[error(
        "`{folder}` has block store format {found}, this program reads {FORMAT_VERSION}; run the coliving version that wrote it or choose an empty folder"
    )]
    Format {
        /// The folder of the store.
        folder: String,
        /// What its `FORMAT` file says.
        found: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The index failed.
    #[error("cannot use the block index: {0}")]
    Index(Box<redb::Error>),
    /// The index is closed after an error and could not be opened again.
    #[error("block index is closed after a disk error; free some space or check the disk")]
    Closed,
}

impl BlockStoreError {
    /// True when there is no room and nothing else is wrong.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            Self::Index(error) => {
                matches!(&**error, redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
            }
            Self::Block(_) | Self::Corrupt { .. } | Self::Format { .. } | Self::Closed => false,
        }
    }

    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

crate::database::from_redb!(BlockStoreError, Index);

impl Default for BlockStoreConfig {
    fn default() -> Self {
        // Chosen: a part of any disk that a peer is given.
        Self::with_size(100 << 30)
    }
}

impl BlockStoreConfig {
    /// A store of at most `store_bytes_max` bytes, at least
    /// [`STORE_BYTES_MIN`]; everything else as usual.
    #[must_use]
    pub fn with_size(store_bytes_max: u64) -> Self {
        let store_bytes_max = store_bytes_max.max(STORE_BYTES_MIN);
        Self {
            store_bytes_max,
            // Chosen: the index, the tables and logs still have room on the disk.
            disk_reserve_bytes: 256 << 20,
            // Sixteen at least: one of them is kept free for rewriting.
            segment_bytes: (store_bytes_max / 16).min(SEGMENT_BYTES_MAX),
            // The upper pages of 10^7 rows; a block is read far more slowly than a page.
            cache_bytes: 16 << 20,
        }
    }
}

/// A SHA-256 digest: what identifies a stored block.
type Digest = [u8; 32];

/// Where the bytes of a CID are.
enum Key {
    Stored(Digest),
    /// An identity CID carries its bytes itself.
    Inline,
}

impl Key {
    fn of(cid: &Cid) -> Result<Self, BlockError> {
        let hash = cid.hash();
        match (hash.code(), Digest::try_from(hash.digest())) {
            (SHA2_256, Ok(digest)) => Ok(Self::Stored(digest)),
            (IDENTITY, _) => Ok(Self::Inline),
            (code, _) => Err(BlockError::UnsupportedHash { cid: *cid, code }),
        }
    }
}

fn hash(data: &[u8]) -> Digest {
    let digest = ring::digest::digest(&ring::digest::SHA256, data);
    Digest::try_from(digest.as_ref()).expect("SHA-256 is 32 bytes")
}

fn cid_of(digest: &Digest, codec: u64) -> Cid {
    let hash = Multihash::wrap(SHA2_256, digest).expect("32 bytes fit a multihash of 64");
    Cid::new_v1(codec, hash)
}

/// Longest segment in bytes; offsets are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Smallest size cap: sixteen segments of two blocks each.
pub const STORE_BYTES_MIN: u64 = 64 << 20;

/// The format that this program reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0;

const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(STORE_BYTES_MIN / 16 >= 2 * BLOCK_BYTES_MAX as u64);
