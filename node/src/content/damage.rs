//! Blocks that went bad on the disk and were dropped: fetched again for every
//! promised root that lists them.

use cid::Cid;
use storage::blocks::BlockReader;

use super::{Actor, Outcome};

impl Actor {
    /// Looks in the background for blocks that were dropped and not fetched
    /// before the peer stopped.
    pub(super) fn look_for_lost_blocks(&mut self) {
        let promised: Vec<Cid> = self.book.leases().map(|lease| lease.record.root).collect();
        let reader = self.context.store.reader();
        self.tasks.spawn(async move {
            let looking = move || {
                let lacks = |root: &Cid| lacks_block(&reader, root);
                promised.into_iter().filter(lacks).collect()
            };
            let roots = tokio::task::spawn_blocking(looking).await;
            Outcome::Damaged {
                roots: roots.unwrap_or_default(),
            }
        });
    }

    /// Notes that a block was damaged and is dropped; `None` when there were more
    /// than are remembered.
    pub(super) fn handle_damaged(&mut self, cid: Option<Cid>) {
        let Some(cid) = cid else {
            self.look_for_lost_blocks();
            return;
        };
        let promised: Vec<Cid> = self.book.leases().map(|lease| lease.record.root).collect();
        let reader = self.context.store.reader();
        self.tasks.spawn(async move {
            let listing = move || {
                let lists = |root: &Cid| lists(&reader, root, &cid);
                promised.into_iter().filter(lists).collect()
            };
            let roots = tokio::task::spawn_blocking(listing).await;
            Outcome::Damaged {
                roots: roots.unwrap_or_default(),
            }
        });
    }
}

/// True when a root lists a block, whatever the codec of its CID.
fn lists(reader: &BlockReader, root: &Cid, cid: &Cid) -> bool {
    let before = predecessor(cid);
    let next = reader.listed_after(root, before.as_ref(), 1);
    next.is_ok_and(|found| found.iter().any(|found| found.hash() == cid.hash()))
}

/// True when a block that a root lists is not on disk.
fn lacks_block(reader: &BlockReader, root: &Cid) -> bool {
    let mut after = None;
    loop {
        // What the index cannot tell shows when the blocks are read.
        let listed = reader
            .listed_after(root, after.as_ref(), LISTED_MAX)
            .unwrap_or_default();
        let lacks = |cid: &Cid| reader.has(cid).is_ok_and(|is_there| !is_there);
        if listed.iter().any(lacks) {
            return true;
        }
        if listed.len() < LISTED_MAX {
            return false;
        }
        after = listed.last().copied();
    }
}

/// The CID whose hash is smaller by one; `None` for the smallest.
fn predecessor(cid: &Cid) -> Option<Cid> {
    let mut digest = cid.hash().digest().to_vec();
    let place = digest.iter().rposition(|byte| *byte != 0)?;
    digest[place] -= 1;
    digest[place + 1..].fill(0xff);
    let hash = cid::multihash::Multihash::wrap(cid.hash().code(), &digest).ok()?;
    Some(Cid::new_v1(cid.codec(), hash))
}

/// Blocks of a root that are looked up at a time.
const LISTED_MAX: usize = 1024;
