//! Segment files: the only place that knows how a record looks on disk
//! (`docs/formats/segments.md`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use cid::Cid;

use protocol::unixfs::BLOCK_BYTES_MAX;

use super::{BlockStoreError, Digest, FORMAT_VERSION, Key, SEGMENT_BYTES_MAX, cid_of};
use crate::backend::{Backend, BackendFile};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    /// Offset of the record's header.
    pub(super) offset: u32,
    /// Length of header and CID.
    pub(super) head_bytes: u32,
    /// Length of the payload.
    pub(super) payload_bytes: u32,
}

/// One segment file and which of its records were checked in this process.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn BackendFile>,
    checked: OnceLock<Box<[AtomicU64]>>,
}

/// All segments by number; readers and the writer share it.
#[derive(Debug, Default)]
pub(super) struct Segments(RwLock<BTreeMap<u32, Arc<Segment>>>);

/// A record that was found in a segment.
pub(super) struct Found {
    pub(super) location: Location,
    pub(super) digest: Digest,
    pub(super) codec: u64,
    /// Header, CID and payload.
    pub(super) bytes: Bytes,
}

/// Walks over the records of a segment, past damage to the next whole one.
pub(super) struct Scan {
    segment: u32,
    file: Arc<dyn BackendFile>,
    offset: u64,
    end: u64,
}

impl Location {
    pub(super) const fn record_bytes(&self) -> u64 {
        self.head_bytes as u64 + self.payload_bytes as u64
    }
}

impl Segment {
    pub(super) fn new(file: Arc<dyn BackendFile>) -> Self {
        Self {
            file,
            checked: OnceLock::new(),
        }
    }

    /// Reads the payload at `location`; `None` when it is damaged.
    pub(super) fn read(
        &self,
        location: &Location,
        digest: &Digest,
    ) -> std::io::Result<Option<Bytes>> {
        let length = usize::try_from(location.record_bytes()).expect("a record is a few MiB");
        let mut bytes = vec![0; length];
        match self.file.read_at(u64::from(location.offset), &mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let bytes = Bytes::from(bytes);
        if !self.was_checked(location) {
            match decode(&bytes) {
                Some((found, _, head)) if found == *digest && head == location.head_bytes => {}
                _ => return Ok(None),
            }
            self.set_checked(location);
        }
        Ok(Some(bytes.slice(location.head_bytes as usize..)))
    }

    /// One bit per 4 KiB: no two records longer than that start in the same.
    fn bit(location: &Location) -> Option<(usize, u64)> {
        let page = location.offset as usize / CHECKED_PAGE_BYTES;
        let long = location.record_bytes() > CHECKED_PAGE_BYTES as u64;
        long.then_some((page / 64, 1 << (page % 64)))
    }

    fn was_checked(&self, location: &Location) -> bool {
        let (Some((word, bit)), Some(checked)) = (Self::bit(location), self.checked.get()) else {
            return false;
        };
        checked[word].load(Ordering::Relaxed) & bit != 0
    }

    fn set_checked(&self, location: &Location) {
        if let Some((word, bit)) = Self::bit(location) {
            let checked = self.checked.get_or_init(|| {
                let words = usize::try_from(SEGMENT_BYTES_MAX).expect("64-bit platform")
                    / CHECKED_PAGE_BYTES
                    / 64;
                (0..words).map(|_| AtomicU64::new(0)).collect()
            });
            checked[word].fetch_or(bit, Ordering::Relaxed);
        }
    }
}

impl Segments {
    pub(super) fn segment(&self, number: u32) -> Option<Arc<Segment>> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.get(&number).cloned()
    }

    pub(super) fn numbers(&self) -> Vec<u32> {
        let segments = self.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.keys().copied().collect()
    }

    pub(super) fn insert(&self, number: u32, file: Arc<dyn BackendFile>) -> Arc<Segment> {
        let segment = Arc::new(Segment::new(file));
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(number, Arc::clone(&segment));
        segment
    }

    pub(super) fn remove(&self, number: u32) {
        let mut segments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        segments.remove(&number);
    }
}

impl Scan {
    /// Starts at `offset`, or at the first record.
    pub(super) fn new(segment: u32, file: Arc<dyn BackendFile>, offset: u64, end: u64) -> Self {
        Self {
            segment,
            file,
            offset: offset.max(SEGMENT_HEADER_BYTES),
            end,
        }
    }

    /// Where the next record is looked for.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next whole record.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Found>> {
        while self.offset + RECORD_HEADER_BYTES as u64 <= self.end {
            if let Some(found) = self.record()? {
                self.offset += found.location.record_bytes();
                return Ok(Some(found));
            }
            match self.next_magic()? {
                Some(offset) => self.offset = offset,
                None => self.offset = self.end,
            }
        }
        Ok(None)
    }

    fn record(&self) -> std::io::Result<Option<Found>> {
        let mut header = [0; RECORD_HEADER_BYTES];
        self.file.read_at(self.offset, &mut header)?;
        let Some(length) = record_length(&header) else {
            return Ok(None);
        };
        if self.offset + length as u64 > self.end {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        self.file.read_at(self.offset, &mut bytes)?;
        let Some((digest, codec, head_bytes)) = decode(&bytes) else {
            return Ok(None);
        };
        let location = Location {
            segment: self.segment,
            offset: offset_of(self.offset),
            head_bytes,
            payload_bytes: u32::try_from(length).expect("at most a few MiB") - head_bytes,
        };
        Ok(Some(Found {
            location,
            digest,
            codec,
            bytes: bytes.into(),
        }))
    }

    /// The next place after the present one that starts like a record.
    fn next_magic(&self) -> std::io::Result<Option<u64>> {
        let mut start = self.offset + 1;
        let mut window = vec![0; SCAN_WINDOW_BYTES];
        while start + RECORD_HEADER_BYTES as u64 <= self.end {
            let length = usize::try_from(self.end - start)
                .map_or(window.len(), |rest| rest.min(window.len()));
            let window = &mut window[..length];
            self.file.read_at(start, window)?;
            if let Some(at) = window.windows(4).position(|four| four == RECORD_MAGIC) {
                return Ok(Some(start + at as u64));
            }
            // The magic may lie across the border.
            start += (length - 3).max(1) as u64;
        }
        Ok(None)
    }
}

/// Writes header and CID of a record to `out`; the payload follows as it is.
pub(super) fn encode_head(digest: &Digest, codec: u64, payload: &[u8], out: &mut Vec<u8>) -> u32 {
    let cid = cid_of(digest, codec).to_bytes();
    let payload_bytes = u32::try_from(payload.len()).expect("a block is at most 2 MiB");
    let cid_bytes = u16::try_from(cid.len()).expect("a CID is at most 64 bytes");
    let mut rest = [0; 8];
    rest[..4].copy_from_slice(&payload_bytes.to_le_bytes());
    rest[4..6].copy_from_slice(&cid_bytes.to_le_bytes());
    let mut crc = crc32c::crc32c(&rest);
    crc = crc32c::crc32c_append(crc, &cid);
    crc = crc32c::crc32c_append(crc, payload);
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&rest);
    out.extend_from_slice(&cid);
    u32::try_from(RECORD_HEADER_BYTES + cid.len()).expect("under 100 bytes")
}

/// Length of a record's header and CID.
pub(super) fn head_length(digest: &Digest, codec: u64) -> u64 {
    (RECORD_HEADER_BYTES + cid_of(digest, codec).encoded_len()) as u64
}

/// Digest, codec and length of header and CID of a whole record; `None` when
/// anything about it is wrong.
pub(super) fn decode(record: &[u8]) -> Option<(Digest, u64, u32)> {
    let header = record.first_chunk::<RECORD_HEADER_BYTES>()?;
    if record_length(header)? != record.len() {
        return None;
    }
    let crc = u32::from_le_bytes(*header[4..].first_chunk()?);
    if crc32c::crc32c(&record[8..]) != crc {
        return None;
    }
    let head = RECORD_HEADER_BYTES + usize::from(u16::from_le_bytes([header[12], header[13]]));
    let cid = Cid::try_from(&record[RECORD_HEADER_BYTES..head]).ok()?;
    match Key::of(&cid) {
        Ok(Key::Stored(digest)) => Some((digest, cid.codec(), u32::try_from(head).ok()?)),
        _ => None,
    }
}

/// Length of the record that `header` announces; `None` when it is no header.
fn record_length(header: &[u8; RECORD_HEADER_BYTES]) -> Option<usize> {
    let payload = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    let cid = usize::from(u16::from_le_bytes([header[12], header[13]]));
    let fits = header[..4] == RECORD_MAGIC
        && payload <= BLOCK_BYTES_MAX
        && cid <= CID_BYTES_MAX
        && header[14..] == [0; 2];
    fits.then_some(RECORD_HEADER_BYTES + cid + payload)
}

pub(super) fn offset_of(offset: u64) -> u32 {
    u32::try_from(offset).expect("a segment is at most 256 MiB")
}

pub(super) fn file_name(segment: u32) -> String {
    format!("{SEGMENT_PREFIX}{segment:08x}")
}

pub(super) fn number_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix(SEGMENT_PREFIX)?, 16).ok()
}

/// Creates segment file `number` and writes its header; not synced.
pub(super) fn create(backend: &dyn Backend, number: u32) -> std::io::Result<Arc<dyn BackendFile>> {
    let file = backend.open(&file_name(number))?;
    let mut header = [0; HEADER_LENGTH];
    header[..8].copy_from_slice(b"coliving");
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..].copy_from_slice(&number.to_le_bytes());
    file.truncate(0)?;
    file.write_at(0, &header)?;
    Ok(file)
}

/// Fails when the segment says that it was written in another format.
pub(super) fn check_header(file: &dyn BackendFile, folder: &str) -> Result<(), BlockStoreError> {
    let mut header = [0; HEADER_LENGTH];
    if file.read_at(0, &mut header).is_err() || header[..8] != *b"coliving" {
        return Ok(()); // Damaged, not foreign: its records are looked for one by one.
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version == FORMAT_VERSION {
        return Ok(());
    }
    Err(BlockStoreError::Format {
        folder: folder.to_owned(),
        found: version.to_string(),
    })
}

/// Bytes before a segment's first record.
pub(super) const SEGMENT_HEADER_BYTES: u64 = HEADER_LENGTH as u64;

const HEADER_LENGTH: usize = 16;

const RECORD_HEADER_BYTES: usize = 16;
const RECORD_MAGIC: [u8; 4] = *b"CLVB";
const CID_BYTES_MAX: usize = 80;
const SEGMENT_PREFIX: &str = "segment-";

/// Bytes that are searched at a time for the next record behind a damage.
const SCAN_WINDOW_BYTES: usize = 1 << 20;

/// Records longer than this remember that they were checked: one bit for each of
/// them at most, 8 KiB for a segment. Shorter ones are checked at every read.
const CHECKED_PAGE_BYTES: usize = 4096;
