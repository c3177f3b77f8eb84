//! Making room: evicting cached roots and rewriting segments.

use super::segment::{Found, Location, Scan};
use super::{BlockStore, BlockStoreError, Compacted, Digest};

impl BlockStore {
    /// Copies up to `bytes_max` of what still lives in a segment that is more
    /// than half dead; the segment goes when nothing lives in it. `None` when
    /// there is no such segment.
    ///
    /// # Errors
    ///
    /// What the disk says; nothing is lost then.
    pub fn compact_step(&mut self, bytes_max: u64) -> Result<Option<Compacted>, BlockStoreError> {
        let rewriting = self.rewriting.map(|(number, _)| number);
        let victim = rewriting
            .filter(|number| self.segments.contains_key(number))
            .or_else(|| self.half_dead());
        let Some(victim) = victim else {
            self.rewriting = None;
            return Ok(None);
        };
        self.rewrite(victim, bytes_max).map(Some)
    }

    /// Sees to it that `needed` bytes fit under the cap and on the disk.
    pub(super) fn make_room(
        &mut self,
        needed: u64,
        kept: &[Vec<u8>],
    ) -> Result<(), BlockStoreError> {
        let fillable = self.config.store_bytes_max - self.config.segment_bytes;
        loop {
            let stats = self.stats();
            if needed <= stats.free_bytes {
                break;
            }
            let shortfall = needed - stats.free_bytes;
            if let Some(victim) = self.deadest(self.config.segment_bytes / 8) {
                self.rewrite_whole(victim)?;
            } else if needed <= fillable
                && let Some(root) = self.shared().index.evictable(kept)?
            {
                self.transact(|index| index.remove_root(&root))?;
            } else if stats.dead_bytes >= shortfall
                && let Some(victim) = self.deadest(1)
            {
                self.rewrite_whole(victim)?;
            } else {
                return Err(BlockStoreError::Full {
                    needed,
                    free: stats.free_bytes,
                    cap: self.config.store_bytes_max,
                });
            }
        }
        let free = self
            .backend
            .free_bytes()
            .map_err(BlockStoreError::io("ask the disk for its free space"))?;
        let reserve = self.config.disk_reserve_bytes;
        if free < needed.saturating_add(reserve) {
            return Err(BlockStoreError::DiskFull {
                needed,
                free,
                reserve,
            });
        }
        Ok(())
    }

    fn rewrite_whole(&mut self, victim: u32) -> Result<(), BlockStoreError> {
        self.seal(victim);
        self.rewriting = None;
        while self.segments.contains_key(&victim) {
            self.rewrite(victim, REWRITE_BYTES)?;
        }
        Ok(())
    }

    fn rewrite(&mut self, victim: u32, bytes_max: u64) -> Result<Compacted, BlockStoreError> {
        let length = self.segments.get(&victim).map_or(0, |row| row.length);
        let start = match self.rewriting {
            Some((number, offset)) if number == victim => offset,
            _ => 0,
        };
        let (alive, next) = self.alive_records(victim, start, length, bytes_max)?;
        let records = alive.iter().map(|found| {
            let payload = &found.bytes[found.location.head_bytes as usize..];
            (found.digest, found.codec, payload)
        });
        let placed = self.append_all(records)?;
        let old = alive.iter().map(|found| found.location);
        let moves: Vec<(Digest, u64, Location, Location)> = placed
            .into_iter()
            .zip(old)
            .map(|((digest, codec, new), old)| (digest, codec, old, new))
            .collect();
        self.rewriting = Some((victim, next));
        self.transact(|index| {
            for (digest, codec, old, new) in &moves {
                if index.row(digest)?.and_then(|row| row.location) == Some(*old) {
                    index.place(digest, *codec, *new)?;
                }
            }
            Ok(())
        })?;
        if next >= length && self.segments.contains_key(&victim) {
            self.drop_unreadable(victim)?;
        }
        let is_gone = !self.segments.contains_key(&victim);
        if is_gone {
            self.rewriting = None;
        }
        Ok(Compacted {
            copied_bytes: moves.iter().map(|(_, _, old, _)| old.record_bytes()).sum(),
            freed_bytes: if is_gone { length } else { 0 },
        })
    }

    /// Records of `victim` that the index points at, and where the scan stopped.
    fn alive_records(
        &self,
        victim: u32,
        start: u64,
        length: u64,
        bytes_max: u64,
    ) -> Result<(Vec<Found>, u64), BlockStoreError> {
        let Some(segment) = self.shared().segments.segment(victim) else {
            return Ok((Vec::new(), length));
        };
        let mut scan = Scan::new(victim, std::sync::Arc::clone(&segment.file), start, length);
        let mut alive = Vec::new();
        let mut copied = 0;
        while copied < bytes_max {
            let found = match scan.next() {
                Ok(found) => found,
                // A file that was cut short has nothing more to say.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
                Err(source) => {
                    let what = "read a segment";
                    return Err(BlockStoreError::Io { what, source });
                }
            };
            let Some(found) = found else {
                return Ok((alive, length));
            };
            let row = self.shared().index.row(&found.digest)?;
            if row.and_then(|row| row.location) == Some(found.location) {
                copied += found.location.record_bytes();
                alive.push(found);
            }
        }
        Ok((alive, scan.offset()))
    }

    /// Forgets blocks of `victim` that no scan finds: their records are damaged.
    fn drop_unreadable(&mut self, victim: u32) -> Result<(), BlockStoreError> {
        let mut after: Option<Digest> = None;
        loop {
            let rows = self.shared().index.rows_after(after.as_ref(), ROWS_MAX)?;
            let Some((last, _)) = rows.last() else {
                break;
            };
            after = Some(*last);
            let lost: Vec<Digest> = rows
                .iter()
                .filter(|(_, row)| row.location.is_some_and(|at| at.segment == victim))
                .map(|(digest, _)| *digest)
                .collect();
            if lost.is_empty() {
                continue;
            }
            tracing::warn!(
                segment = victim,
                blocks = lost.len(),
                "damaged blocks are dropped"
            );
            self.transact(|index| {
                for digest in &lost {
                    index.displace(digest)?;
                }
                Ok(())
            })?;
        }
        self.seal(victim);
        self.transact(|index| {
            index.segments.remove(&victim);
            Ok(())
        })
    }

    fn half_dead(&self) -> Option<u32> {
        let active = self.active_number();
        let dead = |length: u64, live: u64| length.saturating_sub(live);
        self.segments
            .iter()
            .filter(|(number, row)| {
                Some(**number) != active && dead(row.length, row.live) > row.length / 2
            })
            .max_by_key(|(_, row)| dead(row.length, row.live))
            .map(|(number, _)| *number)
    }

    fn deadest(&self, dead_bytes_min: u64) -> Option<u32> {
        let dead = |length: u64, live: u64| {
            length.saturating_sub(live + super::segment::SEGMENT_HEADER_BYTES)
        };
        self.segments
            .iter()
            .map(|(number, row)| (dead(row.length, row.live), *number))
            .filter(|(dead, _)| *dead >= dead_bytes_min)
            .max()
            .map(|(_, number)| number)
    }
}

/// Bytes that one step of a rewrite copies when room is needed at once. Chosen: a
/// group commit of a sixteenth of a segment.
const REWRITE_BYTES: u64 = 16 << 20;

/// Rows that one look into the index reads. Chosen: 120 KB; a lock is held meanwhile.
const ROWS_MAX: usize = 4096;
