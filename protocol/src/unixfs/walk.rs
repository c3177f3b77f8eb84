//! Every distinct block of a DAG, in pre-order, and the hash over them.

use std::collections::BTreeSet;

use bytes::Bytes;
use cid::Cid;

use super::{DEPTH_MAX, DagError, Node, WALK_BLOCKS_MAX, inline_block};
use crate::id::Hash32;

/// Visits the distinct blocks below a root, each at its first place in pre-order.
///
/// Ask [`Traversal::poll_needed`], hand the block to [`Traversal::handle_block`],
/// until there is none. Blocks are distinct by CID; those that identity CIDs
/// carry in themselves are looked through and not visited.
#[derive(Debug)]
pub struct Traversal {
    root: Cid,
    /// What is still to visit, the next on top, with its depth.
    pending: Vec<(Cid, usize)>,
    seen: BTreeSet<Cid>,
    bytes: u64,
    blocks_max: usize,
}

/// BLAKE3 of a DAG's distinct blocks in pre-order, and their total size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofRoot {
    /// BLAKE3 of the concatenated blocks.
    pub hash: Hash32,
    /// The sum of their lengths in bytes.
    pub size: u64,
    /// How many there are.
    pub blocks: u64,
}

/// Why a proof root was not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// The source of blocks failed.
    #[error(transparent)]
    Source(E),
    /// A block is not there.
    #[error("block {cid} is missing")]
    Missing {
        /// The block that is not there.
        cid: Cid,
    },
    /// The DAG is malformed.
    #[error("{0}")]
    Dag(DagError),
}

impl Traversal {
    /// Starts at `root`, and gives up beyond [`WALK_BLOCKS_MAX`] distinct blocks.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self {
            root,
            pending: vec![(root, 0)],
            seen: BTreeSet::new(),
            bytes: 0,
            blocks_max: WALK_BLOCKS_MAX,
        }
    }

    /// Gives up beyond `blocks_max` distinct blocks.
    #[cfg(test)]
    pub(super) fn with_blocks_max(mut self, blocks_max: usize) -> Self {
        self.blocks_max = blocks_max;
        self
    }

    /// The block to visit next; `None` when all were visited.
    ///
    /// # Errors
    ///
    /// [`DagError`] when an inlined block is malformed.
    pub fn poll_needed(&mut self) -> Result<Option<Cid>, DagError> {
        while let Some((cid, depth)) = self.pending.last().copied() {
            if self.seen.contains(&cid) {
                self.pending.pop();
            } else if let Some(data) = inline_block(&cid) {
                self.pending.pop();
                self.seen.insert(cid);
                self.descend(&cid, &data, depth)?;
            } else {
                return Ok(Some(cid));
            }
        }
        Ok(None)
    }

    /// Takes the block that [`Traversal::poll_needed`] named. The caller has
    /// checked it with [`super::verify_block`] or keeps checked blocks only.
    ///
    /// # Errors
    ///
    /// [`DagError`] when it is another block or malformed, or a limit is passed.
    pub fn handle_block(&mut self, cid: &Cid, data: &Bytes) -> Result<(), DagError> {
        let Some(depth) = self
            .pending
            .pop_if(|(pending, _)| pending == cid)
            .map(|(_, depth)| depth)
        else {
            return Err(DagError::Unexpected { cid: *cid });
        };
        if self.seen.len() == self.blocks_max {
            return Err(self.too_many());
        }
        self.seen.insert(*cid);
        self.bytes += data.len() as u64;
        self.descend(cid, data, depth)
    }

    /// Bytes of the blocks visited so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn descend(&mut self, cid: &Cid, data: &Bytes, depth: usize) -> Result<(), DagError> {
        let node = Node::decode(cid, data)?;
        if let Some(first) = node.links.first()
            && depth == DEPTH_MAX
        {
            return Err(DagError::TooDeep {
                cid: first.cid,
                limit: DEPTH_MAX,
            });
        }
        if self.pending.len() + node.links.len() > PENDING_MAX {
            return Err(self.too_many());
        }
        for link in node.links.iter().rev() {
            if !self.seen.contains(&link.cid) {
                self.pending.push((link.cid, depth + 1));
            }
        }
        Ok(())
    }

    const fn too_many(&self) -> DagError {
        DagError::TooManyBlocks {
            root: self.root,
            limit: self.blocks_max,
        }
    }
}

/// Computes the proof root of the DAG below `root` from a source of checked blocks.
///
/// # Errors
///
/// [`ProofError`] when the source fails, a block is missing or the DAG malformed.
pub fn proof_root<E>(
    root: Cid,
    mut get: impl FnMut(&Cid) -> Result<Option<Bytes>, E>,
) -> Result<ProofRoot, ProofError<E>> {
    let mut traversal = Traversal::new(root);
    let mut hasher = blake3::Hasher::new();
    let mut blocks = 0;
    while let Some(cid) = traversal.poll_needed().map_err(ProofError::Dag)? {
        let data = get(&cid)
            .map_err(ProofError::Source)?
            .ok_or(ProofError::Missing { cid })?;
        hasher.update(&data);
        blocks += 1;
        traversal
            .handle_block(&cid, &data)
            .map_err(ProofError::Dag)?;
    }
    Ok(ProofRoot {
        hash: Hash32(*hasher.finalize().as_bytes()),
        size: traversal.bytes(),
        blocks,
    })
}

/// Links noted and not yet visited, over all levels; 26 MiB of memory.
pub(super) const PENDING_MAX: usize = 1 << 18;
