//! The index of the block store in redb, and one transaction over it.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};
use serde::{Deserialize, Serialize};

use super::segment::Location;
use super::{BlockStoreError, Digest, Holding};
use crate::backend::Backend;
use crate::database::{Database, Source};
use protocol::time::UnixSeconds;

/// The database of the block store.
#[derive(Debug)]
pub(super) struct Index(Database);

/// What is known of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockRow {
    /// `None` while the block is listed but not there.
    pub(super) location: Option<Location>,
    /// How many roots list it.
    pub(super) refs: u32,
    pub(super) codec: u64,
}

/// Bytes of one segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub(super) length: u64,
    pub(super) live: u64,
}

/// What is known of one root.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RootRow {
    /// Prefix of its rows in the table of members.
    pub(super) id: u64,
    pub(super) holdings: BTreeMap<Holding, Option<UnixSeconds>>,
    pub(super) blocks: u64,
    pub(super) used: UnixSeconds,
}

/// Sums over the whole index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) blocks: u64,
    pub(super) block_bytes: u64,
    pub(super) root_id_next: u64,
}

/// One write transaction with all tables open.
pub(super) struct IndexTransaction<'t> {
    blocks: Table<'t, &'static Digest, &'static [u8; ROW_BYTES]>,
    segments_table: Table<'t, u32, (u64, u64)>,
    roots: Table<'t, &'static [u8], &'static [u8]>,
    members: Table<'t, (u64, &'static Digest), ()>,
    loose: Table<'t, &'static Digest, u64>,
    evictable: Table<'t, (u64, u64), &'static [u8]>,
    totals_table: Table<'t, &'static str, u64>,
    pub(super) totals: Totals,
    pub(super) segments: BTreeMap<u32, SegmentRow>,
}

impl Index {
    pub(super) fn open(
        backend: Arc<dyn Backend>,
        cache_bytes: usize,
    ) -> Result<Self, BlockStoreError> {
        let source = Source::File(backend, INDEX_NAME);
        Ok(Self(Database::open(source, cache_bytes)?))
    }

    /// Opens the database again after an error, so that what it says is what
    /// the disk has; true when there was one.
    pub(super) fn ensure_sound(&self) -> Result<bool, BlockStoreError> {
        Ok(self.0.ensure_sound()?)
    }

    /// Runs `read` on a snapshot; `None` when nothing was ever committed.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, BlockStoreError>,
    ) -> Result<T, BlockStoreError> {
        self.0.with(|database| read(&database.begin_read()?))?
    }

    /// Runs `change` in one durable transaction; nothing happens when it fails.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut IndexTransaction<'_>) -> Result<T, BlockStoreError>,
    ) -> Result<(T, Totals, BTreeMap<u32, SegmentRow>), BlockStoreError> {
        let outcome = self.0.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(true);
            let outcome = {
                let mut open = IndexTransaction::new(&transaction)?;
                let value = change(&mut open)?;
                open.finish(value)?
            };
            transaction.commit()?;
            Ok(outcome)
        })?;
        if matches!(outcome, Err(BlockStoreError::Index(_))) {
            self.0.mark_broken();
        }
        outcome
    }

    pub(super) fn row(&self, digest: &Digest) -> Result<Option<BlockRow>, BlockStoreError> {
        self.read(|snapshot| {
            let row = snapshot.open_table(BLOCKS)?.get(digest)?;
            Ok(row.map(|row| BlockRow::decode(row.value())))
        })
    }

    /// Up to `count_max` rows after `after`, in order of digest.
    pub(super) fn rows_after(
        &self,
        after: Option<&Digest>,
        count_max: usize,
    ) -> Result<Vec<(Digest, BlockRow)>, BlockStoreError> {
        use std::ops::Bound;
        self.read(|snapshot| {
            let table = snapshot.open_table(BLOCKS)?;
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = table.range::<&Digest>((start, Bound::Unbounded))?;
            let mut rows = Vec::new();
            for row in range.take(count_max) {
                let (digest, row) = row?;
                rows.push((*digest.value(), BlockRow::decode(row.value())));
            }
            Ok(rows)
        })
    }

    pub(super) fn root(&self, root: &[u8]) -> Result<Option<RootRow>, BlockStoreError> {
        self.read(|snapshot| {
            let row = snapshot.open_table(ROOTS)?.get(root)?;
            Ok(row.and_then(|row| decode_root(row.value())))
        })
    }

    /// Every root; the caller keeps only what it needs.
    pub(super) fn for_each_root(
        &self,
        mut visit: impl FnMut(&[u8], RootRow),
    ) -> Result<(), BlockStoreError> {
        self.read(|snapshot| {
            for row in snapshot.open_table(ROOTS)?.iter()? {
                let (root, row) = row?;
                if let Some(row) = decode_root(row.value()) {
                    visit(root.value(), row);
                }
            }
            Ok(())
        })
    }

    /// Up to `count_max` members of the root with `id`, after `after`.
    pub(super) fn members_after(
        &self,
        id: u64,
        after: Option<&Digest>,
        count_max: usize,
    ) -> Result<Vec<(Digest, u64)>, BlockStoreError> {
        use std::ops::Bound;
        self.read(|snapshot| {
            let members = snapshot.open_table(MEMBERS)?;
            let blocks = snapshot.open_table(BLOCKS)?;
            let start = after.map_or(Bound::Included((id, &FIRST)), |after| {
                Bound::Excluded((id, after))
            });
            let range = members.range::<(u64, &Digest)>((start, Bound::Included((id, &LAST))))?;
            let mut found = Vec::new();
            for row in range.take(count_max) {
                let digest = *row?.0.value().1;
                let codec = blocks.get(&digest)?;
                let codec = codec.map_or(RAW, |row| BlockRow::decode(row.value()).codec);
                found.push((digest, codec));
            }
            Ok(found)
        })
    }

    /// The root that was used longest ago and may go, and is not `except`.
    pub(super) fn evictable(&self, except: &[Vec<u8>]) -> Result<Option<Vec<u8>>, BlockStoreError> {
        self.read(|snapshot| {
            for row in snapshot.open_table(EVICTABLE)?.iter()? {
                let (_, root) = row?;
                if !except.iter().any(|kept| kept == root.value()) {
                    return Ok(Some(root.value().to_vec()));
                }
            }
            Ok(None)
        })
    }

    /// Loose blocks that were put before `before`.
    pub(super) fn loose(
        &self,
        before: UnixSeconds,
        count_max: usize,
    ) -> Result<Vec<Digest>, BlockStoreError> {
        self.read(|snapshot| {
            let mut found = Vec::new();
            for row in snapshot.open_table(LOOSE)?.iter()? {
                let (digest, put) = row?;
                if put.value() < before.0 {
                    found.push(*digest.value());
                }
                if found.len() == count_max {
                    break;
                }
            }
            Ok(found)
        })
    }
}

impl<'t> IndexTransaction<'t> {
    fn new(transaction: &'t redb::WriteTransaction) -> Result<Self, BlockStoreError> {
        let segments_table = transaction.open_table(SEGMENTS)?;
        let totals_table = transaction.open_table(TOTALS)?;
        let mut segments = BTreeMap::new();
        for row in segments_table.iter()? {
            let (number, row) = row?;
            let (length, live) = row.value();
            segments.insert(number.value(), SegmentRow { length, live });
        }
        let total = |name| -> Result<u64, BlockStoreError> {
            Ok(totals_table.get(name)?.map_or(0, |value| value.value()))
        };
        let totals = Totals {
            blocks: total("blocks")?,
            block_bytes: total("block_bytes")?,
            root_id_next: total("root_id_next")?,
        };
        Ok(Self {
            blocks: transaction.open_table(BLOCKS)?,
            segments_table,
            roots: transaction.open_table(ROOTS)?,
            members: transaction.open_table(MEMBERS)?,
            loose: transaction.open_table(LOOSE)?,
            evictable: transaction.open_table(EVICTABLE)?,
            totals_table,
            totals,
            segments,
        })
    }

    fn finish<T>(
        mut self,
        value: T,
    ) -> Result<(T, Totals, BTreeMap<u32, SegmentRow>), BlockStoreError> {
        let mut before = BTreeMap::new();
        for row in self.segments_table.iter()? {
            let (number, row) = row?;
            before.insert(number.value(), row.value());
        }
        for number in before.keys() {
            if !self.segments.contains_key(number) {
                self.segments_table.remove(number)?;
            }
        }
        for (number, row) in &self.segments {
            let row = (row.length, row.live);
            if before.get(number) != Some(&row) {
                self.segments_table.insert(number, row)?;
            }
        }
        for (name, total) in [
            ("blocks", self.totals.blocks),
            ("block_bytes", self.totals.block_bytes),
            ("root_id_next", self.totals.root_id_next),
        ] {
            self.totals_table.insert(name, total)?;
        }
        Ok((value, self.totals, self.segments))
    }

    pub(super) fn row(&self, digest: &Digest) -> Result<Option<BlockRow>, BlockStoreError> {
        let row = self.blocks.get(digest)?;
        Ok(row.map(|row| BlockRow::decode(row.value())))
    }

    /// Records that the bytes of a block are at `location`.
    pub(super) fn place(
        &mut self,
        digest: &Digest,
        codec: u64,
        location: Location,
    ) -> Result<(), BlockStoreError> {
        let old = self.row(digest)?;
        if let Some(old) = old.and_then(|old| old.location) {
            self.forget(&old);
        }
        self.totals.blocks += 1;
        self.totals.block_bytes += u64::from(location.payload_bytes);
        let segment = self.segments.entry(location.segment).or_default();
        segment.live += location.record_bytes();
        let end = u64::from(location.offset) + location.record_bytes();
        segment.length = segment.length.max(end);
        let row = BlockRow {
            location: Some(location),
            refs: old.map_or(0, |old| old.refs),
            codec,
        };
        self.put_row(digest, &row)
    }

    /// Takes the bytes of a block away; roots go on listing it.
    pub(super) fn displace(&mut self, digest: &Digest) -> Result<bool, BlockStoreError> {
        let Some(mut row) = self.row(digest)? else {
            return Ok(false);
        };
        let Some(location) = row.location.take() else {
            return Ok(false);
        };
        self.forget(&location);
        if row.refs > 0 {
            self.put_row(digest, &row)?;
        } else {
            self.blocks.remove(digest)?;
            self.loose.remove(digest)?;
        }
        Ok(true)
    }

    pub(super) fn set_loose(
        &mut self,
        digest: &Digest,
        now: UnixSeconds,
    ) -> Result<(), BlockStoreError> {
        if self.row(digest)?.is_some_and(|row| row.refs == 0) {
            self.loose.insert(digest, now.0)?;
        }
        Ok(())
    }

    /// Lists a block under root `id`; true when it was not listed before.
    pub(super) fn list(
        &mut self,
        id: u64,
        digest: &Digest,
        codec: u64,
    ) -> Result<bool, BlockStoreError> {
        if self.members.insert((id, digest), ())?.is_some() {
            return Ok(false);
        }
        let mut row = self.row(digest)?.unwrap_or(BlockRow {
            location: None,
            refs: 0,
            codec,
        });
        if row.refs == 0 {
            self.loose.remove(digest)?;
        }
        row.refs = row.refs.saturating_add(1);
        self.put_row(digest, &row)?;
        Ok(true)
    }

    /// Unlists all blocks of root `id` and drops those that nobody else lists.
    pub(super) fn unlist_all(&mut self, id: u64) -> Result<(), BlockStoreError> {
        let members: Vec<Digest> = self
            .members
            .range::<(u64, &Digest)>((id, &FIRST)..=(id, &LAST))?
            .map(|row| row.map(|(key, _)| *key.value().1))
            .collect::<Result<_, _>>()?;
        for digest in &members {
            self.members.remove((id, digest))?;
            let Some(mut row) = self.row(digest)? else {
                continue;
            };
            row.refs = row.refs.saturating_sub(1);
            if row.refs > 0 {
                self.put_row(digest, &row)?;
                continue;
            }
            if let Some(location) = row.location {
                self.forget(&location);
            }
            self.blocks.remove(digest)?;
        }
        Ok(())
    }

    pub(super) fn root(&self, root: &[u8]) -> Result<Option<RootRow>, BlockStoreError> {
        let row = self.roots.get(root)?;
        Ok(row.and_then(|row| decode_root(row.value())))
    }

    /// Writes a root's row and keeps the order of eviction in step.
    pub(super) fn put_root(&mut self, root: &[u8], row: &RootRow) -> Result<(), BlockStoreError> {
        if let Some(old) = self.root(root)? {
            self.evictable.remove((old.used.0, old.id))?;
        }
        if row
            .holdings
            .keys()
            .all(|holding| *holding == Holding::Cache)
        {
            self.evictable.insert((row.used.0, row.id), root)?;
        }
        let bytes = crate::tables::value::to_bytes(row);
        self.roots.insert(root, &bytes[..])?;
        Ok(())
    }

    pub(super) fn remove_root(&mut self, root: &[u8]) -> Result<(), BlockStoreError> {
        if let Some(old) = self.root(root)? {
            self.evictable.remove((old.used.0, old.id))?;
            self.roots.remove(root)?;
            self.unlist_all(old.id)?;
        }
        Ok(())
    }

    fn forget(&mut self, location: &Location) {
        self.totals.blocks = self.totals.blocks.saturating_sub(1);
        self.totals.block_bytes = self
            .totals
            .block_bytes
            .saturating_sub(u64::from(location.payload_bytes));
        if let Some(segment) = self.segments.get_mut(&location.segment) {
            segment.live = segment.live.saturating_sub(location.record_bytes());
        }
    }

    fn put_row(&mut self, digest: &Digest, row: &BlockRow) -> Result<(), BlockStoreError> {
        self.blocks.insert(digest, &row.encode())?;
        Ok(())
    }
}

impl BlockRow {
    fn encode(&self) -> [u8; ROW_BYTES] {
        let location = self.location.unwrap_or(Location {
            segment: 0,
            offset: 0,
            head_bytes: 0,
            payload_bytes: 0,
        });
        let mut bytes = [0; ROW_BYTES];
        for (at, word) in [
            location.segment,
            location.offset,
            location.head_bytes,
            location.payload_bytes,
            self.refs,
        ]
        .into_iter()
        .enumerate()
        {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[20..].copy_from_slice(&self.codec.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ROW_BYTES]) -> Self {
        let word = |at: usize| {
            let bytes = bytes[at * 4..]
                .first_chunk()
                .expect("five words and a codec");
            u32::from_le_bytes(*bytes)
        };
        let location = Location {
            segment: word(0),
            offset: word(1),
            head_bytes: word(2),
            payload_bytes: word(3),
        };
        Self {
            location: (location.segment != 0).then_some(location),
            refs: word(4),
            codec: u64::from_le_bytes(*bytes[20..].first_chunk().expect("eight bytes")),
        }
    }
}

fn decode_root(bytes: &[u8]) -> Option<RootRow> {
    crate::tables::value::from_bytes(bytes).ok()
}

pub(super) const INDEX_NAME: &str = "blocks.redb";
const BLOCKS: TableDefinition<'_, &Digest, &[u8; ROW_BYTES]> = TableDefinition::new("blocks");
const SEGMENTS: TableDefinition<'_, u32, (u64, u64)> = TableDefinition::new("segments");
const ROOTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("roots");
const MEMBERS: TableDefinition<'_, (u64, &Digest), ()> = TableDefinition::new("members");
const LOOSE: TableDefinition<'_, &Digest, u64> = TableDefinition::new("loose");
const EVICTABLE: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("evictable");
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("totals");
const ROW_BYTES: usize = 28;
const FIRST: Digest = [0; 32];
const LAST: Digest = [0xff; 32];
const RAW: u64 = 0x55;
