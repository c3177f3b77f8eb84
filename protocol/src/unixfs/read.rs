//! Ranges of files, entries of directories and paths, block by block.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use cid::Cid;

use super::node::shard_slot;
use super::walk::PENDING_MAX;
use super::{DEPTH_MAX, DagError, Node, NodeKind, inline_block, murmur3};

/// What a reading machine does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// Hand this block in, or give up.
    Need(Cid),
    /// The next result.
    Ready(T),
    /// There is nothing more.
    Done,
}

/// Yields the bytes of a range of a file, in order.
///
/// Drain [`Reader::poll`]; whenever it needs a block, hand in checked bytes.
#[derive(Debug)]
pub struct Reader {
    range: Range<u64>,
    pending: Vec<Part>,
    ready: VecDeque<Bytes>,
    size: Option<u64>,
}

/// A subtree of a file that overlaps the range.
#[derive(Debug, Clone, Copy)]
struct Part {
    cid: Cid,
    /// Where its first byte lies in the file.
    start: u64,
    /// What its parent says that it holds; unknown for the root.
    size: Option<u64>,
    depth: usize,
}

/// Follows a path through plain and hashed directories.
#[derive(Debug)]
pub struct Resolver {
    current: Cid,
    /// The directory that the next name is looked up in; its first shard.
    directory: Cid,
    names: VecDeque<String>,
    /// How many bytes of the next name's hash the shards above have used.
    shard_depth: usize,
    is_found: bool,
}

/// Yields the entries of a directory: by name in a plain one, by slot in a hashed one.
#[derive(Debug)]
pub struct Listing {
    root: Cid,
    pending: Vec<(Cid, usize)>,
    ready: VecDeque<Entry>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry's name in its directory.
    pub name: String,
    /// What it points at.
    pub cid: Cid,
    /// Bytes of the DAG below, as the directory's writer claims.
    pub dag_bytes: u64,
}

impl Reader {
    /// Reads the bytes `range` of the file `root`, cut to the file's end.
    #[must_use]
    pub fn new(root: Cid, range: Range<u64>) -> Self {
        Self {
            range,
            pending: vec![Part {
                cid: root,
                start: 0,
                size: None,
                depth: 0,
            }],
            ready: VecDeque::new(),
            size: None,
        }
    }

    /// The next bytes, or the block that they wait for.
    ///
    /// # Errors
    ///
    /// [`DagError`] when an inlined block is malformed.
    pub fn poll(&mut self) -> Result<Step<Bytes>, DagError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Step::Ready(bytes));
            }
            let Some(part) = self.pending.last() else {
                return Ok(Step::Done);
            };
            let cid = part.cid;
            match inline_block(&cid) {
                Some(data) => self.handle_block(&cid, &data)?,
                None => return Ok(Step::Need(cid)),
            }
        }
    }

    /// The next `count` blocks that are known to be needed, in order, so that
    /// they can be fetched ahead.
    pub fn upcoming(&self, count: usize) -> impl Iterator<Item = Cid> {
        self.pending.iter().rev().take(count).map(|part| part.cid)
    }

    /// The size of the whole file, once its root was read.
    #[must_use]
    pub const fn file_size(&self) -> Option<u64> {
        self.size
    }

    /// Takes the block that [`Reader::poll`] asked for, checked by the caller.
    ///
    /// # Errors
    ///
    /// [`DagError`] when it is another block, not a part of a file, or of
    /// another size than its parent says.
    pub fn handle_block(&mut self, cid: &Cid, data: &Bytes) -> Result<(), DagError> {
        let Some(part) = self.pending.pop_if(|part| part.cid == *cid) else {
            return Err(DagError::Unexpected { cid: *cid });
        };
        let node = Node::decode(cid, data)?;
        if !matches!(node.kind, NodeKind::Raw | NodeKind::File) {
            return Err(DagError::NotAFile {
                cid: *cid,
                found: node.kind.as_words(),
            });
        }
        match part.size {
            None => self.size = Some(node.file_size),
            Some(claimed) if claimed != node.file_size => {
                return Err(DagError::SizeMismatch {
                    cid: *cid,
                    claimed,
                    found: node.file_size,
                });
            }
            Some(_) => {}
        }
        self.take_bytes(part.start, &node.data);
        self.push_children(part, &node)
    }

    fn take_bytes(&mut self, start: u64, data: &Bytes) {
        let length = data.len() as u64;
        let from = self.range.start.saturating_sub(start).min(length);
        let to = self.range.end.saturating_sub(start).min(length);
        if from < to {
            let index = |offset: u64| usize::try_from(offset).expect("an offset into a block");
            self.ready.push_back(data.slice(index(from)..index(to)));
        }
    }

    fn push_children(&mut self, part: Part, node: &Node) -> Result<(), DagError> {
        let mut start = part.start.saturating_add(node.data.len() as u64);
        let first = self.pending.len();
        for (link, &size) in node.links.iter().zip(&node.block_sizes) {
            let end = start.saturating_add(size);
            if start < self.range.end && self.range.start < end {
                if part.depth == DEPTH_MAX {
                    return Err(DagError::TooDeep {
                        cid: link.cid,
                        limit: DEPTH_MAX,
                    });
                }
                self.pending.push(Part {
                    cid: link.cid,
                    start,
                    size: Some(size),
                    depth: part.depth + 1,
                });
            }
            start = end;
        }
        if self.pending.len() > PENDING_MAX {
            return Err(DagError::TooManyBlocks {
                root: part.cid,
                limit: PENDING_MAX,
            });
        }
        self.pending[first..].reverse();
        Ok(())
    }
}

impl Resolver {
    /// Looks `path` up below `root`; empty segments are skipped.
    #[must_use]
    pub fn new(root: Cid, path: &str) -> Self {
        let names = path.split('/').filter(|name| !name.is_empty());
        Self {
            current: root,
            directory: root,
            names: names.map(str::to_owned).collect(),
            shard_depth: 0,
            is_found: false,
        }
    }

    /// The block needed next; then, once, what the path leads to.
    ///
    /// # Errors
    ///
    /// [`DagError`] when an inlined block is malformed or has no such entry.
    pub fn poll(&mut self) -> Result<Step<Cid>, DagError> {
        while !self.names.is_empty() {
            let cid = self.current;
            match inline_block(&cid) {
                Some(data) => self.handle_block(&cid, &data)?,
                None => return Ok(Step::Need(cid)),
            }
        }
        if std::mem::replace(&mut self.is_found, true) {
            return Ok(Step::Done);
        }
        Ok(Step::Ready(self.current))
    }

    /// Takes the block that [`Resolver::poll`] asked for, checked by the caller.
    ///
    /// # Errors
    ///
    /// [`DagError`] when it is another block, not a directory, or has no such entry.
    pub fn handle_block(&mut self, cid: &Cid, data: &Bytes) -> Result<(), DagError> {
        let name = match self.names.front() {
            Some(name) if *cid == self.current => name.clone(),
            _ => return Err(DagError::Unexpected { cid: *cid }),
        };
        let node = Node::decode(cid, data)?;
        let found = match node.kind {
            NodeKind::Directory => node.links.iter().find(|link| link.name == name),
            NodeKind::Shard => find_in_shard(&node, &name, self.shard_depth),
            NodeKind::Raw | NodeKind::File | NodeKind::Symlink | NodeKind::Other => {
                return Err(DagError::NotADirectory {
                    cid: *cid,
                    found: node.kind.as_words(),
                });
            }
        };
        let Some(link) = found else {
            return Err(DagError::NotFound {
                directory: self.directory,
                name,
            });
        };
        self.current = link.cid;
        if node.kind == NodeKind::Shard && link.name.len() == SLOT_DIGITS {
            self.shard_depth += 1;
        } else {
            self.shard_depth = 0;
            self.directory = self.current;
            self.names.pop_front();
        }
        Ok(())
    }
}

/// The entry, or the shard below that would have it.
fn find_in_shard<'a>(node: &'a Node, name: &str, depth: usize) -> Option<&'a super::Link> {
    let slot = *murmur3::hash(name.as_bytes()).to_be_bytes().get(depth)?;
    node.links
        .iter()
        .filter(|link| shard_slot(&link.name) == Some(slot))
        .find(|link| link.name.len() == SLOT_DIGITS || &link.name[SLOT_DIGITS..] == name)
}

impl Listing {
    /// Lists the directory `root`.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self {
            root,
            pending: vec![(root, 0)],
            ready: VecDeque::new(),
        }
    }

    /// The next entry, or the block that it waits for.
    ///
    /// # Errors
    ///
    /// [`DagError`] when an inlined block is malformed.
    pub fn poll(&mut self) -> Result<Step<Entry>, DagError> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Step::Ready(entry));
            }
            let Some((cid, _)) = self.pending.last().copied() else {
                return Ok(Step::Done);
            };
            match inline_block(&cid) {
                Some(data) => self.handle_block(&cid, &data)?,
                None => return Ok(Step::Need(cid)),
            }
        }
    }

    /// Takes the block that [`Listing::poll`] asked for, checked by the caller.
    ///
    /// # Errors
    ///
    /// [`DagError`] when it is another block or not a directory.
    pub fn handle_block(&mut self, cid: &Cid, data: &Bytes) -> Result<(), DagError> {
        let Some((_, depth)) = self.pending.pop_if(|(pending, _)| pending == cid) else {
            return Err(DagError::Unexpected { cid: *cid });
        };
        let node = Node::decode(cid, data)?;
        let is_shard = match node.kind {
            NodeKind::Directory if depth == 0 => false,
            NodeKind::Shard => true,
            kind => {
                return Err(DagError::NotADirectory {
                    cid: *cid,
                    found: kind.as_words(),
                });
            }
        };
        let first = self.pending.len();
        for link in node.links {
            if is_shard && link.name.len() == SLOT_DIGITS {
                if depth == SHARD_DEPTH_MAX {
                    return Err(DagError::TooDeep {
                        cid: link.cid,
                        limit: SHARD_DEPTH_MAX,
                    });
                }
                self.pending.push((link.cid, depth + 1));
            } else {
                let skip = if is_shard { SLOT_DIGITS } else { 0 };
                self.ready.push_back(Entry {
                    name: link.name[skip..].to_owned(),
                    cid: link.cid,
                    dag_bytes: link.dag_bytes,
                });
            }
        }
        if self.pending.len() > PENDING_MAX {
            return Err(DagError::TooManyBlocks {
                root: self.root,
                limit: PENDING_MAX,
            });
        }
        self.pending[first..].reverse();
        Ok(())
    }
}

/// Hex digits of a slot at the start of a shard's link names.
const SLOT_DIGITS: usize = 2;

/// Shards below the first one; a 64-bit hash has eight slots.
const SHARD_DEPTH_MAX: usize = 7;
