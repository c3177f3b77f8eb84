//! The writer of the block store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use cid::Cid;
use protocol::time::UnixSeconds;
use protocol::unixfs::VerifiedBlock;

use super::index::{INDEX_NAME, Index, IndexTransaction, SegmentRow, Totals};
use super::read::{BlockReader, Shared};
use super::roots::{hold, root_key};
use super::segment::{self, Location, SEGMENT_HEADER_BYTES, Segments};
use super::{Batch, BlockStats, BlockStoreConfig, BlockStoreError, Digest, FORMAT_VERSION, Key};
use crate::backend::{Backend, BackendFile};

/// The one writer of a block store.
#[derive(Debug)]
pub struct BlockStore {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) config: BlockStoreConfig,
    shared: Arc<Shared>,
    pub(super) segments: BTreeMap<u32, SegmentRow>,
    totals: Totals,
    active: Option<Active>,
    segment_next: u32,
    /// The segment that is being rewritten, and how far.
    pub(super) rewriting: Option<(u32, u64)>,
}

/// What one step of rewriting came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of records that were copied.
    pub copied_bytes: u64,
    /// Bytes of the segment that went.
    pub freed_bytes: u64,
}

/// The segment that is appended to.
#[derive(Debug)]
struct Active {
    number: u32,
    end: u64,
    file: Arc<dyn BackendFile>,
}

/// Appends records; what it wrote counts only after [`BlockStore::finish_append`].
#[derive(Default)]
struct Pending {
    buffer: Vec<u8>,
    unsynced: Vec<Arc<dyn BackendFile>>,
}

impl BlockStore {
    /// Opens the store in `backend`, creating it when it is empty, and cuts off
    /// what a crash left behind. A store whose index is missing gets it back
    /// from the segments.
    ///
    /// # Errors
    ///
    /// [`BlockStoreError::Format`] for a store of another version; otherwise what
    /// the disk says.
    pub fn open(
        backend: Arc<dyn Backend>,
        config: BlockStoreConfig,
    ) -> Result<Self, BlockStoreError> {
        let names = backend
            .list()
            .map_err(BlockStoreError::io("list the blocks' folder"))?;
        let complete = check_format(&*backend, &names)?;
        if !complete && names.iter().any(|name| name == INDEX_NAME) {
            // Creation did not get as far as the `FORMAT` file.
            backend
                .remove(INDEX_NAME)
                .map_err(BlockStoreError::io("remove a half-made index"))?;
        }
        let has_index = complete && names.iter().any(|name| name == INDEX_NAME);
        let shared = Arc::new(Shared {
            index: Index::open(Arc::clone(&backend), config.cache_bytes)?,
            segments: Segments::default(),
            stats: Mutex::default(),
        });
        let mut store = Self {
            backend,
            config,
            shared,
            segments: BTreeMap::new(),
            totals: Totals::default(),
            active: None,
            segment_next: 1,
            rewriting: None,
        };
        let numbers: BTreeSet<u32> = names
            .iter()
            .filter_map(|name| segment::number_of(name))
            .collect();
        store.segment_next = numbers.last().map_or(1, |last| last.saturating_add(1));
        store.reload()?;
        if has_index {
            store.open_segments(&numbers)?;
        } else {
            store.rebuild(&numbers)?;
        }
        if !complete {
            write_format(&*store.backend)?;
        }
        store.publish_stats();
        Ok(store)
    }

    /// A view that reads while this writes.
    #[must_use]
    pub fn reader(&self) -> BlockReader {
        BlockReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What the store holds.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.reader().stats()
    }

    /// Puts batches in one group commit: all of them are durable when this
    /// returns. Cached roots are evicted when room is needed.
    ///
    /// # Errors
    ///
    /// [`BlockStoreError::Full`] or [`BlockStoreError::DiskFull`] before anything is
    /// written; otherwise what the disk says. None of the blocks was put then.
    pub fn put(&mut self, batches: &[Batch], now: UnixSeconds) -> Result<(), BlockStoreError> {
        self.ensure_sound()?;
        let new = self.new_blocks(batches)?;
        let has_owner = batches.iter().any(|batch| batch.owner.is_some());
        if new.is_empty() && !has_owner {
            return Ok(());
        }
        if !new.is_empty() {
            let needed = new.iter().map(|(digest, block)| {
                segment::head_length(digest, block.cid().codec()) + block.data().len() as u64
            });
            let owners = batches.iter().filter_map(|batch| batch.owner.as_ref());
            let kept: Vec<_> = owners.map(|owner| root_key(&owner.root)).collect();
            self.make_room(needed.sum(), &kept)?;
        }
        let records = new
            .iter()
            .map(|(digest, block)| (*digest, block.cid().codec(), &block.data()[..]));
        let placed = self.append_all(records)?;
        self.transact(|index| {
            for (digest, codec, location) in &placed {
                index.place(digest, *codec, *location)?;
            }
            for batch in batches {
                list_batch(index, batch, now)?;
            }
            Ok(())
        })
    }

    /// Forgets the bytes of a block, so that it can be fetched again; roots
    /// go on listing it. True when it was there.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn drop_block(&mut self, cid: &Cid) -> Result<bool, BlockStoreError> {
        match Key::of(cid)? {
            Key::Stored(digest) => self.transact(|index| index.displace(&digest)),
            Key::Inline => Ok(false),
        }
    }

    /// Runs one index transaction; afterwards segments that nothing lives in
    /// are gone.
    pub(super) fn transact<T>(
        &mut self,
        change: impl FnOnce(&mut IndexTransaction<'_>) -> Result<T, BlockStoreError>,
    ) -> Result<T, BlockStoreError> {
        self.ensure_sound()?;
        let active = self.active.as_ref().map(|active| active.number);
        let outcome = self.shared.index.write(|index| {
            let value = change(index)?;
            let is_kept =
                |number: &u32, row: &mut SegmentRow| row.live > 0 || Some(*number) == active;
            index.segments.retain(is_kept);
            Ok(value)
        });
        match outcome {
            Ok((value, totals, segments)) => {
                let before = std::mem::replace(&mut self.segments, segments);
                self.totals = totals;
                for number in before.keys() {
                    if !self.segments.contains_key(number) {
                        self.remove_segment(*number);
                    }
                }
                self.publish_stats();
                Ok(value)
            }
            Err(error) => {
                if !matches!(error, BlockStoreError::Index(_) | BlockStoreError::Closed) {
                    self.reset_active();
                }
                Err(error)
            }
        }
    }

    /// Appends and syncs records; they count when the index says so.
    pub(super) fn append_all<'r>(
        &mut self,
        records: impl Iterator<Item = (Digest, u64, &'r [u8])>,
    ) -> Result<Vec<(Digest, u64, Location)>, BlockStoreError> {
        let mut pending = Pending::default();
        let mut placed = Vec::new();
        let outcome = (|| {
            for (digest, codec, payload) in records {
                let location = self.append(&mut pending, &digest, codec, payload)?;
                placed.push((digest, codec, location));
            }
            self.flush(&mut pending)?;
            pending.unsynced.iter().try_for_each(|file| file.sync())
        })();
        if let Err(source) = outcome {
            self.reset_active();
            let what = "append to a segment";
            return Err(BlockStoreError::Io { what, source });
        }
        Ok(placed)
    }

    /// Closes the segment that is appended to; the next record starts another.
    pub(super) fn seal(&mut self, number: u32) {
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.number == number)
        {
            self.active = None;
        }
    }

    pub(super) fn active_number(&self) -> Option<u32> {
        self.active.as_ref().map(|active| active.number)
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn append(
        &mut self,
        pending: &mut Pending,
        digest: &Digest,
        codec: u64,
        payload: &[u8],
    ) -> std::io::Result<Location> {
        let length = segment::head_length(digest, codec) + payload.len() as u64;
        let fits = |active: &Active| active.end + length <= self.config.segment_bytes;
        if !self.active.as_ref().is_some_and(fits) {
            self.flush(pending)?;
            let file = segment::create(&*self.backend, self.segment_next)?;
            pending.unsynced.push(Arc::clone(&file));
            self.shared
                .segments
                .insert(self.segment_next, Arc::clone(&file));
            self.active = Some(Active {
                number: self.segment_next,
                end: SEGMENT_HEADER_BYTES,
                file,
            });
            self.segment_next += 1;
        }
        let active = self.active.as_mut().expect("made above");
        let head_bytes = segment::encode_head(digest, codec, payload, &mut pending.buffer);
        let location = Location {
            segment: active.number,
            offset: segment::offset_of(active.end),
            head_bytes,
            payload_bytes: u32::try_from(payload.len()).expect("a block is at most 2 MiB"),
        };
        active.end += location.record_bytes();
        pending.buffer.extend_from_slice(payload);
        if pending.buffer.len() >= WRITE_BYTES {
            self.flush(pending)?;
        }
        Ok(location)
    }

    /// Writes the buffer so that it ends where the active segment does.
    fn flush(&mut self, pending: &mut Pending) -> std::io::Result<()> {
        let Some(active) = &self.active else {
            return Ok(());
        };
        if pending.buffer.is_empty() {
            return Ok(());
        }
        let start = active.end - pending.buffer.len() as u64;
        active.file.write_at(start, &pending.buffer)?;
        pending.buffer.clear();
        if !pending
            .unsynced
            .iter()
            .any(|file| Arc::ptr_eq(file, &active.file))
        {
            pending.unsynced.push(Arc::clone(&active.file));
        }
        Ok(())
    }

    /// The blocks of `batches` whose bytes are not there, each once.
    fn new_blocks<'b>(
        &self,
        batches: &'b [Batch],
    ) -> Result<Vec<(Digest, &'b VerifiedBlock)>, BlockStoreError> {
        let mut seen = BTreeSet::new();
        let mut new = Vec::new();
        for block in batches.iter().flat_map(|batch| &batch.blocks) {
            let Key::Stored(digest) = Key::of(block.cid())? else {
                continue;
            };
            let row = self.shared.index.row(&digest)?;
            if row.is_none_or(|row| row.location.is_none()) && seen.insert(digest) {
                new.push((digest, block));
            }
        }
        Ok(new)
    }

    /// Opens the index again after an error and takes over what it says.
    fn ensure_sound(&mut self) -> Result<(), BlockStoreError> {
        if self.shared.index.ensure_sound()? {
            self.reload()?;
            self.reset_active();
            self.publish_stats();
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), BlockStoreError> {
        let ((), totals, segments) = self.shared.index.write(|_| Ok(()))?;
        self.totals = totals;
        self.segments = segments;
        Ok(())
    }

    /// Goes back to the end that the index knows, after a failed append.
    fn reset_active(&mut self) {
        let numbers = self.shared.segments.numbers();
        for number in numbers {
            if !self.segments.contains_key(&number) {
                self.remove_segment(number);
                self.seal(number);
            }
        }
        if let Some(active) = &mut self.active {
            let row = self
                .segments
                .get(&active.number)
                .copied()
                .unwrap_or_default();
            active.end = row.length;
            if active.file.truncate(row.length).is_err() {
                self.active = None;
            }
        }
    }

    fn open_segments(&mut self, numbers: &BTreeSet<u32>) -> Result<(), BlockStoreError> {
        for number in numbers {
            let Some(row) = self.segments.get(number) else {
                self.remove_segment(*number);
                continue;
            };
            let open = || {
                let file = self.backend.open(&segment::file_name(*number))?;
                if file.size()? > row.length {
                    file.truncate(row.length)?;
                }
                Ok(file)
            };
            let file = open().map_err(BlockStoreError::io("open a segment"))?;
            self.shared.segments.insert(*number, Arc::clone(&file));
            let is_last = self.segments.keys().next_back() == Some(number);
            if is_last && row.length < self.config.segment_bytes {
                self.active = Some(Active {
                    number: *number,
                    end: row.length,
                    file,
                });
            }
        }
        Ok(())
    }

    fn remove_segment(&self, number: u32) {
        self.shared.segments.remove(number);
        if let Err(error) = self.backend.remove(&segment::file_name(number)) {
            // It is removed when the store opens: the index does not know it.
            tracing::warn!(segment = number, %error, "cannot remove a segment");
        }
    }

    pub(super) fn publish_stats(&self) {
        let disk_bytes: u64 = self.segments.values().map(|row| row.length).sum();
        let live_bytes: u64 = self.segments.values().map(|row| row.live).sum();
        let headers = SEGMENT_HEADER_BYTES * self.segments.len() as u64;
        let fillable = self
            .config
            .store_bytes_max
            .saturating_sub(self.config.segment_bytes);
        let stats = BlockStats {
            blocks: self.totals.blocks,
            block_bytes: self.totals.block_bytes,
            disk_bytes,
            live_bytes,
            dead_bytes: disk_bytes.saturating_sub(live_bytes + headers),
            free_bytes: fillable.saturating_sub(disk_bytes),
            store_bytes_max: self.config.store_bytes_max,
            segments: self.segments.len() as u64,
        };
        let mut shared = self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shared = stats;
    }
}

fn list_batch(
    index: &mut IndexTransaction<'_>,
    batch: &Batch,
    now: UnixSeconds,
) -> Result<(), BlockStoreError> {
    let mut root = match &batch.owner {
        Some(owner) => Some((root_key(&owner.root), hold(index, owner, now)?)),
        None => None,
    };
    for block in &batch.blocks {
        let Key::Stored(digest) = Key::of(block.cid())? else {
            continue;
        };
        match &mut root {
            Some((_, row)) => {
                row.blocks += u64::from(index.list(row.id, &digest, block.cid().codec())?);
            }
            None => index.set_loose(&digest, now)?,
        }
    }
    match root {
        Some((key, row)) => index.put_root(&key, &row),
        None => Ok(()),
    }
}

/// True when the folder holds a finished store of this version.
fn check_format(backend: &dyn Backend, names: &[String]) -> Result<bool, BlockStoreError> {
    let what = BlockStoreError::io("read the store's format");
    if !names.iter().any(|name| name == FORMAT_NAME) {
        return Ok(false);
    }
    let read = || {
        let file = backend.open(FORMAT_NAME)?;
        let length = usize::try_from(file.size()?.min(FORMAT_BYTES_MAX)).unwrap_or_default();
        let mut bytes = vec![0; length];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(what)?;
    if bytes.is_empty() || bytes.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    let text = format_text();
    if bytes == text.as_bytes() {
        return Ok(true);
    }
    if text.as_bytes().starts_with(&bytes) {
        return Ok(false); // Torn by a crash during creation.
    }
    let found = String::from_utf8_lossy(&bytes);
    let found = found.trim().trim_start_matches(FORMAT_PREFIX).to_owned();
    Err(BlockStoreError::Format {
        folder: backend.name(),
        found,
    })
}

fn write_format(backend: &dyn Backend) -> Result<(), BlockStoreError> {
    let write = || {
        let file = backend.open(FORMAT_NAME)?;
        file.truncate(0)?;
        file.write_at(0, format_text().as_bytes())?;
        file.sync()
    };
    write().map_err(BlockStoreError::io("write the store's format"))
}

fn format_text() -> String {
    format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n")
}

const FORMAT_NAME: &str = "FORMAT";
const FORMAT_PREFIX: &str = "coliving blocks ";
const FORMAT_BYTES_MAX: u64 = 64;

/// Bytes that are gathered before they are written. Chosen: disks are at their full
/// rate long before.
const WRITE_BYTES: usize = 1 << 20;
