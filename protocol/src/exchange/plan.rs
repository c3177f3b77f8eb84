//! What a fetch still wants, in pre-order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use cid::Cid;

use crate::id::Address;
use crate::time::Moment;
use crate::unixfs::{BLOCK_BYTES_MAX, DAG_PB, DEPTH_MAX, DagError, Node, NodeKind, inline_block};

/// Where a block is in the DAG: the link numbers from the root down. Their order is
/// pre-order.
pub(super) type LinkPath = Vec<u32>;

/// The blocks known to be needed, each at its first path.
#[derive(Debug)]
pub(super) struct Plan {
    root: Option<Cid>,
    range: Option<Range<u64>>,
    wants: BTreeMap<LinkPath, Want>,
    paths: BTreeMap<Cid, LinkPath>,
    /// Not yet looked up locally.
    pub(super) unasked: BTreeSet<LinkPath>,
    /// To be requested from a holder.
    pub(super) open: BTreeSet<LinkPath>,
    done: BTreeSet<Cid>,
    /// Inner blocks below which everything is wanted although a range is
    /// fetched, because they occur more than once in it.
    whole: BTreeSet<Cid>,
    blocks_max: usize,
}

/// A block that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Want {
    pub(super) cid: Cid,
    /// Expected size; a claim that only steers how much is asked for at once.
    pub(super) bytes: u64,
    /// Where its bytes start in the file; none when all below it is wanted.
    start: Option<u64>,
    /// Holders that said they miss it, and until when they are believed.
    pub(super) missing: BTreeMap<Address, Moment>,
}

impl Plan {
    /// Everything below `root`, or what a range of the file needs.
    pub(super) fn of_dag(root: Cid, range: Option<Range<u64>>, blocks_max: usize) -> Self {
        let mut plan = Self::empty(Some(root), blocks_max);
        let start = range.is_some().then_some(0);
        plan.range = range;
        plan.want(Vec::new(), root, BLOCK_GUESS_BYTES, start);
        plan
    }

    /// Exactly these blocks.
    pub(super) fn of_blocks(cids: &[Cid], blocks_max: usize) -> Self {
        let mut plan = Self::empty(None, blocks_max);
        for (idx, cid) in (0u32..).zip(cids) {
            if inline_block(cid).is_none() {
                plan.want(vec![idx], *cid, BLOCK_GUESS_BYTES, None);
            }
        }
        plan
    }

    fn empty(root: Option<Cid>, blocks_max: usize) -> Self {
        Self {
            root,
            range: None,
            wants: BTreeMap::new(),
            paths: BTreeMap::new(),
            unasked: BTreeSet::new(),
            open: BTreeSet::new(),
            done: BTreeSet::new(),
            whole: BTreeSet::new(),
            blocks_max,
        }
    }

    /// True when nothing is wanted any more.
    pub(super) fn is_done(&self) -> bool {
        self.wants.is_empty()
    }

    /// True when the block is needed to find what lies below it.
    pub(super) fn is_inner(&self, cid: &Cid) -> bool {
        self.root.is_some() && cid.codec() == DAG_PB
    }

    pub(super) fn get(&self, path: &LinkPath) -> Option<&Want> {
        self.wants.get(path)
    }

    pub(super) fn get_mut(&mut self, path: &LinkPath) -> Option<&mut Want> {
        self.wants.get_mut(path)
    }

    pub(super) fn path_of(&self, cid: &Cid) -> Option<LinkPath> {
        self.paths.get(cid).cloned()
    }

    /// Takes a checked block and adds what lies below it.
    pub(super) fn handle_data(&mut self, cid: &Cid, data: &Bytes) -> Result<(), DagError> {
        let Some((path, want)) = self.handle_done(cid) else {
            return Ok(());
        };
        if self.root.is_some() {
            self.descend(&path, cid, data, want.start)?;
        }
        Ok(())
    }

    /// Takes a block off the list of what is wanted.
    pub(super) fn handle_done(&mut self, cid: &Cid) -> Option<(LinkPath, Want)> {
        let path = self.paths.remove(cid)?;
        self.unasked.remove(&path);
        self.open.remove(&path);
        self.done.insert(*cid);
        let want = self.wants.remove(&path)?;
        if self.range.is_some() && want.start.is_none() && self.is_inner(cid) {
            self.whole.insert(*cid);
        }
        Some((path, want))
    }

    fn descend(
        &mut self,
        path: &LinkPath,
        cid: &Cid,
        data: &Bytes,
        start: Option<u64>,
    ) -> Result<(), DagError> {
        let node = Node::decode(cid, data)?;
        let range = match node.kind {
            NodeKind::File => self.range.clone(),
            _ => None,
        };
        let mut offset = start.map(|start| start.saturating_add(node.data.len() as u64));
        for (idx, link) in (0u32..).zip(&node.links) {
            let size = node.block_sizes.get(idx as usize).copied();
            let from = offset;
            offset = from.map(|from| from.saturating_add(size.unwrap_or(0)));
            let is_outside = match (&range, from, offset) {
                (Some(range), Some(from), Some(to)) => {
                    from == to || from >= range.end || to <= range.start
                }
                _ => false,
            };
            if is_outside {
                continue;
            }
            if path.len() == DEPTH_MAX {
                return Err(DagError::TooDeep {
                    cid: link.cid,
                    limit: DEPTH_MAX,
                });
            }
            let mut below = path.clone();
            below.push(idx);
            if let Some(data) = inline_block(&link.cid) {
                self.descend(&below, &link.cid, &data, from)?;
                continue;
            }
            self.want(below, link.cid, size.unwrap_or(link.dag_bytes), from);
            if self.wants.len() + self.done.len() > self.blocks_max {
                return Err(DagError::TooManyBlocks {
                    root: self.root.unwrap_or(*cid),
                    limit: self.blocks_max,
                });
            }
        }
        Ok(())
    }

    /// Notes a block; its first path in pre-order stands.
    fn want(&mut self, path: LinkPath, cid: Cid, bytes: u64, mut start: Option<u64>) {
        if let Some(path) = self.paths.get(&cid) {
            if let Some(want) = self.wants.get_mut(path) {
                want.start = None;
            }
            return;
        }
        if self.done.contains(&cid) {
            let is_settled = self.range.is_none() || !self.is_inner(&cid);
            if is_settled || !self.whole.insert(cid) {
                return;
            }
            start = None;
        }
        let bytes = if cid.codec() == DAG_PB && bytes > BLOCK_BYTES_MAX as u64 {
            BLOCK_GUESS_BYTES
        } else {
            bytes.clamp(BLOCK_FLOOR_BYTES, BLOCK_BYTES_MAX as u64)
        };
        self.paths.insert(cid, path.clone());
        self.unasked.insert(path.clone());
        let want = Want {
            cid,
            bytes,
            start,
            missing: BTreeMap::new(),
        };
        self.wants.insert(path, want);
    }
}

/// Size of a block that nothing is known about. Chosen: between inner nodes of some
/// KiB and chunks of 256 KiB to 1 MiB; the first answer tells.
const BLOCK_GUESS_BYTES: u64 = 128 << 10;

/// No block counts as smaller, so that false claims cannot fill the wire.
const BLOCK_FLOOR_BYTES: u64 = 32 << 10;
