//! Bytes in, blocks out: a balanced file DAG in constant memory.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use cid::Cid;

use super::{Link, Profile, VerifiedBlock, node};

/// Cuts a stream of bytes into the blocks of a file.
///
/// Holds one chunk and one unfinished node per level, besides the blocks that
/// were not yet taken with [`Importer::poll_block`].
#[derive(Debug, Clone)]
pub struct Importer {
    profile: Profile,
    chunk: BytesMut,
    /// Unfinished nodes, the lowest first.
    levels: Vec<Vec<(Link, u64)>>,
    blocks: VecDeque<VerifiedBlock>,
}

/// A hashed chunk. Leaves may be made on many threads, and are pushed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    block: VerifiedBlock,
    file_bytes: u64,
}

/// What an import ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The address of the file.
    pub cid: Cid,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of all blocks, those that occur twice counted twice.
    pub dag_bytes: u64,
}

impl Leaf {
    /// Makes a leaf of at most [`Profile::chunk_bytes`] bytes.
    ///
    /// # Panics
    ///
    /// When `chunk` is longer than that.
    #[must_use]
    pub fn new(profile: Profile, chunk: Bytes) -> Self {
        assert!(
            chunk.len() <= profile.chunk_bytes(),
            "a leaf holds at most one chunk"
        );
        let file_bytes = chunk.len() as u64;
        let block = match profile {
            Profile::V1_2025 => VerifiedBlock::raw(chunk),
            Profile::V0_2015 => profile.node_block(node::encode_file(&chunk, &[])),
        };
        Self { block, file_bytes }
    }

    /// Bytes of the file in the leaf.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
}

impl Importer {
    /// Starts a file.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            chunk: BytesMut::new(),
            levels: Vec::new(),
            blocks: VecDeque::new(),
        }
    }

    /// Appends bytes; drain [`Importer::poll_block`] afterwards.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.profile.chunk_bytes() - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == self.profile.chunk_bytes() {
                let chunk = self.chunk.split().freeze();
                self.push_leaf(Leaf::new(self.profile, chunk));
            }
        }
    }

    /// Appends a chunk that was hashed elsewhere. All but the last must be of
    /// [`Profile::chunk_bytes`] for the file to get its usual CID.
    pub fn push_leaf(&mut self, leaf: Leaf) {
        let Leaf { block, file_bytes } = leaf;
        let link = link_to(&block, 0);
        self.blocks.push_back(block);
        self.push_link(0, link, file_bytes);
    }

    /// The next finished block; children come before their parents.
    pub fn poll_block(&mut self) -> Option<VerifiedBlock> {
        self.blocks.pop_front()
    }

    /// Ends the file and returns the blocks that were not yet taken, the root last.
    #[must_use]
    pub fn finish(mut self) -> (Root, Vec<VerifiedBlock>) {
        if !self.chunk.is_empty() || self.levels.is_empty() {
            let chunk = self.chunk.split().freeze();
            self.push_leaf(Leaf::new(self.profile, chunk));
        }
        let mut level = 0;
        while level + 1 < self.levels.len() || self.levels[level].len() > 1 {
            self.close(level);
            level += 1;
        }
        let (link, size) = self.levels[level].remove(0);
        let root = Root {
            cid: link.cid,
            size,
            dag_bytes: link.dag_bytes,
        };
        (root, self.blocks.into())
    }

    fn push_link(&mut self, level: usize, link: Link, file_bytes: u64) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        if self.levels[level].len() == self.profile.links_max() {
            self.close(level);
        }
        self.levels[level].push((link, file_bytes));
    }

    /// Turns the unfinished node of a level into a block of the level above.
    fn close(&mut self, level: usize) {
        let children = std::mem::take(&mut self.levels[level]);
        let below = children.iter().map(|(link, _)| link.dag_bytes).sum();
        let size = children.iter().map(|(_, size)| size).sum();
        let block = self.profile.node_block(node::encode_file(&[], &children));
        let link = link_to(&block, below);
        self.blocks.push_back(block);
        self.push_link(level + 1, link, size);
    }
}

fn link_to(block: &VerifiedBlock, below: u64) -> Link {
    Link {
        cid: block.cid,
        name: String::new(),
        dag_bytes: block.data.len() as u64 + below,
    }
}
