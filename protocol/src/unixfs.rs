//! Files and directories as UnixFS DAGs: import, read, resolve, walk.
//!
//! The CID of a file equals the one that other IPFS software computes under the
//! same profile of IPIP-499. Nothing here does IO: an [`Importer`] is pushed
//! bytes and hands out blocks; a [`Reader`], a [`Resolver`] and a [`Traversal`]
//! say which block they need and are handed it. They take blocks that were
//! checked against their CID with [`verify_block`] on arrival, and check every
//! size that a block claims against what is found below it.
//!
//! Format: `docs/formats/unixfs.md`.

use bytes::Bytes;
use cid::Cid;
use multihash::Multihash;
use ring::digest::{SHA256, digest};

mod directory;
mod import;
mod murmur3;
mod node;
mod read;
mod walk;

pub use directory::{
    Directory, DirectoryError, ENTRIES_MAX, NAME_BYTES_MAX, SHARD_THRESHOLD_BYTES,
};
pub use import::{Importer, Leaf, Root};
pub use node::{Link, Node, NodeError, NodeKind};
pub use read::{Entry, Listing, Reader, Resolver, Step};
pub use walk::{ProofError, ProofRoot, Traversal, proof_root};

/// How bytes become blocks; two parties with the same profile get the same CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// `unixfs-v1-2025`: CIDv1, raw leaves, 1 MiB chunks, 1024 links a node.
    #[default]
    V1_2025,
    /// `unixfs-v0-2015`: CIDv0, dag-pb leaves, 256 KiB chunks, 174 links a node.
    V0_2015,
}

/// A proof that bytes are what a CID names: made by hashing them, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlock {
    cid: Cid,
    data: Bytes,
}

/// Why bytes are not the block that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Larger than a block may be.
    #[error("block {cid} is {size} bytes, at most {BLOCK_BYTES_MAX} are allowed")]
    TooLarge {
        /// The block that was asked for.
        cid: Cid,
        /// Size of what came.
        size: usize,
    },
    /// The bytes belong to another CID.
    #[error("the bytes that came for block {cid} hash to something else")]
    Mismatch {
        /// The block that was asked for.
        cid: Cid,
    },
    /// A hash function that is not in use here.
    #[error("block {cid} uses hash function {code:#x}; only sha2-256 and identity are supported")]
    UnsupportedHash {
        /// The block that was asked for.
        cid: Cid,
        /// Multihash code of the function.
        code: u64,
    },
}

/// Why a DAG could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// A block that is not what its CID says.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A block that does not decode.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A block that nobody asked for.
    #[error("block {cid} was handed in, but it is not the one that is needed")]
    Unexpected {
        /// The block that came.
        cid: Cid,
    },
    /// More levels than any honest writer makes.
    #[error("block {cid} lies more than {limit} levels below its root")]
    TooDeep {
        /// The first block below the limit.
        cid: Cid,
        /// The most levels that are followed.
        limit: usize,
    },
    /// More distinct blocks than the reader allows.
    #[error("{root} has more than {limit} distinct blocks")]
    TooManyBlocks {
        /// The root of the walk.
        root: Cid,
        /// The most distinct blocks that are walked.
        limit: usize,
    },
    /// A directory where a file was asked for.
    #[error("{cid} is {found}, not a file")]
    NotAFile {
        /// The block that was read.
        cid: Cid,
        /// What it is.
        found: &'static str,
    },
    /// A file where a directory was asked for.
    #[error("{cid} is {found}, not a directory")]
    NotADirectory {
        /// The block that was read.
        cid: Cid,
        /// What it is.
        found: &'static str,
    },
    /// No entry of that name.
    #[error("no entry `{name}` in directory {directory}")]
    NotFound {
        /// Where it was looked for.
        directory: Cid,
        /// What was looked for.
        name: String,
    },
    /// A block claims another size than it has.
    #[error("{cid} holds {found} bytes of the file, but its parent says {claimed}")]
    SizeMismatch {
        /// The block that claims it.
        cid: Cid,
        /// Size that its parent claims.
        claimed: u64,
        /// Size that it has, or says it has.
        found: u64,
    },
}

impl Profile {
    /// Bytes of a file per leaf.
    #[must_use]
    pub const fn chunk_bytes(self) -> usize {
        match self {
            Self::V1_2025 => 1 << 20,
            Self::V0_2015 => 256 << 10,
        }
    }

    /// Links per node of a file.
    #[must_use]
    pub const fn links_max(self) -> usize {
        match self {
            Self::V1_2025 => 1024,
            Self::V0_2015 => 174,
        }
    }

    /// The CID of an encoded dag-pb node.
    #[must_use]
    pub fn node_cid(self, data: &[u8]) -> Cid {
        match self {
            Self::V1_2025 => Cid::new_v1(DAG_PB, sha2_256(data)),
            Self::V0_2015 => Cid::new_v0(sha2_256(data)).expect("a 32-byte sha2-256 makes a CIDv0"),
        }
    }

    fn node_block(self, data: Vec<u8>) -> VerifiedBlock {
        VerifiedBlock {
            cid: self.node_cid(&data),
            data: Bytes::from(data),
        }
    }
}

impl VerifiedBlock {
    /// Checks bytes against the CID they were asked for by.
    ///
    /// # Errors
    ///
    /// As [`verify_block`].
    pub fn new(cid: Cid, data: Bytes) -> Result<Self, BlockError> {
        verify_block(&cid, &data)?;
        Ok(Self { cid, data })
    }

    /// A leaf of raw bytes, under their [`raw_cid`].
    fn raw(data: Bytes) -> Self {
        let cid = raw_cid(&data);
        Self { cid, data }
    }

    /// The address of the bytes.
    #[must_use]
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// At most [`BLOCK_BYTES_MAX`] bytes.
    #[must_use]
    pub const fn data(&self) -> &Bytes {
        &self.data
    }

    /// Address and bytes, without the proof.
    #[must_use]
    pub fn into_parts(self) -> (Cid, Bytes) {
        (self.cid, self.data)
    }
}

/// Checks that `data` is the block that `cid` names.
///
/// # Errors
///
/// [`BlockError`] when it is another block, larger than [`BLOCK_BYTES_MAX`], or
/// addressed by a hash function other than sha2-256 and identity.
pub fn verify_block(cid: &Cid, data: &[u8]) -> Result<(), BlockError> {
    if data.len() > BLOCK_BYTES_MAX {
        return Err(BlockError::TooLarge {
            cid: *cid,
            size: data.len(),
        });
    }
    let hash = cid.hash();
    let matches = match hash.code() {
        SHA2_256 => sha256(data).as_ref() == hash.digest(),
        IDENTITY => data == hash.digest(),
        code => return Err(BlockError::UnsupportedHash { cid: *cid, code }),
    };
    if matches {
        Ok(())
    } else {
        Err(BlockError::Mismatch { cid: *cid })
    }
}

/// The block that an identity CID carries in itself, which is never fetched,
/// stored or counted.
#[must_use]
pub fn inline_block(cid: &Cid) -> Option<Bytes> {
    (cid.hash().code() == IDENTITY).then(|| Bytes::copy_from_slice(cid.hash().digest()))
}

/// The CIDv1 of raw bytes under sha2-256.
#[must_use]
pub fn raw_cid(data: &[u8]) -> Cid {
    Cid::new_v1(RAW, sha2_256(data))
}

fn sha2_256(data: &[u8]) -> Multihash<64> {
    Multihash::wrap(SHA2_256, sha256(data).as_ref()).expect("32 bytes fit into 64")
}

fn sha256(data: &[u8]) -> ring::digest::Digest {
    #[cfg(test)]
    HASHED.set(HASHED.get() + 1);
    digest(&SHA256, data)
}

#[cfg(test)]
thread_local! {
    /// How often a block was hashed on this thread.
    pub(crate) static HASHED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Largest block that is taken from anyone or stored: as Bitswap has it.
pub const BLOCK_BYTES_MAX: usize = 2 << 20;

/// Levels below a root that are followed. A balanced file of 2^64 bytes has
/// ten under the narrower profile; directories nest as deep as a path is long.
pub const DEPTH_MAX: usize = 64;

/// Distinct blocks in one walk; 1 TiB in 1 MiB chunks.
pub const WALK_BLOCKS_MAX: usize = 1 << 20;

/// Multicodec of raw blocks.
pub const RAW: u64 = 0x55;

/// Multicodec of dag-pb blocks.
pub const DAG_PB: u64 = 0x70;

const SHA2_256: u64 = 0x12;
const IDENTITY: u64 = 0x00;

#[cfg(test)]
mod tests;
