//! The index from the segments alone.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::time::UnixSeconds;

use super::index::SegmentRow;
use super::segment::{self, Found, SEGMENT_HEADER_BYTES, Scan};
use super::{BlockStore, BlockStoreError};

impl BlockStore {
    /// Fills an empty index from the segments with `numbers`.
    pub(super) fn rebuild(&mut self, numbers: &BTreeSet<u32>) -> Result<(), BlockStoreError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = UnixSeconds(since.map_or(0, |since| since.as_secs()));
        for number in numbers {
            let file = self
                .backend
                .open(&segment::file_name(*number))
                .map_err(BlockStoreError::io("open a segment"))?;
            segment::check_header(&*file, &self.backend.name())?;
            let end = file
                .size()
                .map_err(BlockStoreError::io("measure a segment"))?;
            self.shared().segments.insert(*number, Arc::clone(&file));
            let mut scan = Scan::new(*number, file, 0, end);
            loop {
                let found = next_batch(&mut scan)?;
                if found.is_empty() {
                    break;
                }
                self.transact(|index| {
                    for found in &found {
                        index.place(&found.digest, found.codec, found.location)?;
                        index.set_loose(&found.digest, now)?;
                    }
                    Ok(())
                })?;
            }
            self.cover(*number, end)?;
        }
        Ok(())
    }

    /// Counts all bytes of a segment, or removes one without blocks.
    fn cover(&mut self, number: u32, end: u64) -> Result<(), BlockStoreError> {
        self.transact(|index| {
            // Without a row yet, `transact` would not see that it is gone.
            if let Some(row) = index.segments.get_mut(&number) {
                row.length = end;
            }
            Ok(())
        })?;
        if let Entry::Vacant(row) = self.segments.entry(number) {
            row.insert(SegmentRow {
                length: end.max(SEGMENT_HEADER_BYTES),
                live: 0,
            });
            self.transact(|_| Ok(()))?;
        }
        Ok(())
    }
}

fn next_batch(scan: &mut Scan) -> Result<Vec<Found>, BlockStoreError> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES_MAX {
        let found = scan.next().map_err(BlockStoreError::io("read a segment"))?;
        let Some(mut found) = found else { break };
        bytes += found.location.record_bytes();
        found.bytes.clear(); // Only its place is needed.
        batch.push(found);
    }
    Ok(batch)
}

/// Bytes of records in one transaction of a rebuilt index. Chosen: a flush costs
/// little beside reading them, and a crash repeats no more.
const BATCH_BYTES_MAX: u64 = 64 << 20;
