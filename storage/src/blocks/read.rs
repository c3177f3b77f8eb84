//! Reading blocks from any thread while the writer appends.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cid::Cid;

use super::index::{BlockRow, Index};
use super::segment::Segments;
use super::{BlockStats, BlockStoreError, Digest, Key, cid_of, hash};

/// A view of the block store; clones are cheap.
#[derive(Debug, Clone)]
pub struct BlockReader {
    pub(super) shared: Arc<Shared>,
}

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) stats: Mutex<BlockStats>,
}

/// How far [`BlockReader::verify`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Blocks that were read so far.
    pub blocks: u64,
    /// Blocks in all, as of the start.
    pub blocks_total: u64,
    /// Their bytes so far.
    pub bytes: u64,
}

/// What [`BlockReader::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes of the blocks that were read.
    pub bytes: u64,
    /// How many do not match their CID.
    pub corrupt_count: u64,
    /// The first [`CORRUPT_LISTED_MAX`] of those.
    pub corrupt: Vec<Cid>,
}

impl BlockReader {
    /// The bytes of a block; `None` when it is not there.
    ///
    /// # Errors
    ///
    /// [`BlockStoreError::Corrupt`] when the record on disk is damaged.
    pub fn block(&self, cid: &Cid) -> Result<Option<Bytes>, BlockStoreError> {
        let digest = match Key::of(cid) {
            Ok(Key::Stored(digest)) => digest,
            Ok(Key::Inline) => return Ok(Some(Bytes::copy_from_slice(cid.hash().digest()))),
            Err(_) => return Ok(None),
        };
        self.read(&digest, cid)
    }

    /// True when the bytes of a block are there.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn has(&self, cid: &Cid) -> Result<bool, BlockStoreError> {
        Ok(self.size(cid)?.is_some())
    }

    /// Length of a block; `None` when it is not there.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn size(&self, cid: &Cid) -> Result<Option<u64>, BlockStoreError> {
        match Key::of(cid) {
            Ok(Key::Stored(digest)) => {
                let location = self.shared.index.row(&digest)?.and_then(|row| row.location);
                Ok(location.map(|location| u64::from(location.payload_bytes)))
            }
            Ok(Key::Inline) => Ok(Some(u64::from(cid.hash().size()))),
            Err(_) => Ok(None),
        }
    }

    /// What the store holds.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every block and checks it against its CID; `progress` says
    /// whether to go on.
    ///
    /// # Errors
    ///
    /// What the index or the disk says; corrupt blocks are in the report.
    pub fn verify(
        &self,
        mut progress: impl FnMut(VerifyProgress) -> bool,
    ) -> Result<VerifyReport, BlockStoreError> {
        let blocks_total = self.stats().blocks;
        let mut report = VerifyReport::default();
        let mut after = None;
        loop {
            let rows = self
                .shared
                .index
                .rows_after(after.as_ref(), VERIFY_ROWS_MAX)?;
            let Some((last, _)) = rows.last() else {
                return Ok(report);
            };
            after = Some(*last);
            for (digest, row) in &rows {
                self.verify_row(digest, row, &mut report)?;
            }
            let so_far = VerifyProgress {
                blocks: report.blocks,
                blocks_total,
                bytes: report.bytes,
            };
            if !progress(so_far) {
                return Ok(report);
            }
        }
    }

    fn verify_row(
        &self,
        digest: &Digest,
        row: &BlockRow,
        report: &mut VerifyReport,
    ) -> Result<(), BlockStoreError> {
        if row.location.is_none() {
            return Ok(());
        }
        let cid = cid_of(digest, row.codec);
        let sound = match self.read(digest, &cid) {
            Ok(None) => return Ok(()), // Dropped meanwhile.
            Ok(Some(data)) => {
                report.bytes += data.len() as u64;
                hash(&data) == *digest
            }
            Err(BlockStoreError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        report.blocks += 1;
        if !sound {
            report.corrupt_count += 1;
            if report.corrupt.len() < CORRUPT_LISTED_MAX {
                report.corrupt.push(cid);
            }
        }
        Ok(())
    }

    fn read(&self, digest: &Digest, cid: &Cid) -> Result<Option<Bytes>, BlockStoreError> {
        // A rewrite may move the record between look-up and read.
        for _ in 0..READ_TRIES_MAX {
            let row = self.shared.index.row(digest)?;
            let Some(location) = row.and_then(|row| row.location) else {
                return Ok(None);
            };
            if let Some(segment) = self.shared.segments.segment(location.segment) {
                let data = segment
                    .read(&location, digest)
                    .map_err(BlockStoreError::io("read a block"))?;
                return data.map(Some).ok_or(BlockStoreError::Corrupt { cid: *cid });
            }
        }
        Err(BlockStoreError::Corrupt { cid: *cid })
    }
}

/// Most corrupt blocks that a report lists. Chosen: a disk with more is replaced.
pub const CORRUPT_LISTED_MAX: usize = 1024;

/// Rows that one look into the index reads while blocks are verified: reading them
/// takes far longer than looking.
const VERIFY_ROWS_MAX: usize = 256;

/// Reads of a block that moves. Chosen: rewrites that overtake a reader twice in a row
/// would have to copy a segment each time.
const READ_TRIES_MAX: usize = 3;
