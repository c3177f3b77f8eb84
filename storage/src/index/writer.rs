//! Applying and taking back blocks.

mod entities;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cid::Cid;
use redb::{Database, ReadableTable, Table, WriteTransaction};
use serde_cbor::Value;

use protocol::codec;
use protocol::entity::{self, Change, EntityType, RecordedAt, Rejection};
use protocol::entry::{Entry, EntryId, sequences_of, sha256};
use protocol::id::EntityId;
use protocol::merkle::Peaks;

use super::rows::{self, AppliedBlock, Rejected};
use super::view::{Rows, View};
use super::{
    Applied, BLOCKS, BlockEntry, ENTRIES, FORMAT, IndexError, META, RecoveredBlock, STATE, TOUCHED,
    UNDO, keys, references,
};

/// Makes the tables of a new file and checks the format of an old one.
pub(super) fn initialise(database: &Database) -> Result<(), IndexError> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(STATE)?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(BLOCKS)?;
        transaction.open_table(UNDO)?;
        transaction.open_table(TOUCHED)?;
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        match found {
            Some(found) if found < FORMAT => {
                tracing::info!(
                    found,
                    "`index.redb` has an older format and is filled again"
                );
                drop(meta);
                empty(&transaction)?;
            }
            Some(FORMAT) => {}
            Some(found) => return Err(IndexError::Format { found }),
            None => {
                meta.insert("format", FORMAT)?;
                meta.insert(INSTANCE, random())?;
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Applies blocks in one transaction; the last `undo_blocks` can be taken back.
pub(super) fn apply(
    database: &Database,
    blocks: &[RecoveredBlock],
    undo_blocks: u64,
) -> Result<Applied, IndexError> {
    let Some(last) = blocks.last() else {
        return Ok(Applied::default());
    };
    let transaction = begin(database)?;
    let mut applied = Applied::default();
    let floor = last.number.saturating_sub(undo_blocks);
    {
        let mut writer = Writer::new(&transaction)?;
        for block in blocks {
            writer.apply(block, block.number > floor, &mut applied)?;
        }
        writer.prune(floor)?;
        applied.roots = writer.finish()?;
    }
    transaction.commit()?;
    Ok(applied)
}

/// Takes back every block above `to`; gives the roots whose references changed.
pub(super) fn rollback(database: &Database, to: u64) -> Result<BTreeSet<Cid>, IndexError> {
    let transaction = begin(database)?;
    let roots = {
        let mut writer = Writer::new(&transaction)?;
        let floor = meta(&writer.meta, UNDO_FLOOR)?;
        let cursor = writer.cursor.as_ref().map_or(0, |cursor| cursor.number);
        if to < floor && cursor > to {
            return Err(IndexError::TooDeep { to, floor });
        }
        while let Some(number) = writer.cursor.as_ref().map(|cursor| cursor.number)
            && number > to
        {
            writer.undo(number)?;
        }
        let undone = sequences_of(to.saturating_add(1)..=u64::MAX);
        if !undone.is_empty() {
            writer.entries.retain_in(undone, |_, _| false)?;
        }
        writer.finish()?
    };
    transaction.commit()?;
    Ok(roots)
}

/// Deletes every row and draws a new instance number.
pub(super) fn clear(database: &Database) -> Result<(), IndexError> {
    let transaction = begin(database)?;
    empty(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn empty(transaction: &WriteTransaction) -> Result<(), IndexError> {
    transaction.delete_table(STATE)?;
    transaction.delete_table(ENTRIES)?;
    transaction.delete_table(BLOCKS)?;
    transaction.delete_table(UNDO)?;
    transaction.delete_table(TOUCHED)?;
    transaction.delete_table(META)?;
    transaction.open_table(STATE)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(BLOCKS)?;
    transaction.open_table(UNDO)?;
    transaction.open_table(TOUCHED)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", FORMAT)?;
    meta.insert(INSTANCE, random())?;
    Ok(())
}

/// Drops the change log up to and with `cursor`.
pub(super) fn trim_touched(database: &Database, cursor: u64) -> Result<(), IndexError> {
    let transaction = database.begin_write()?;
    {
        let mut touched = transaction.open_table(TOUCHED)?;
        touched.retain_in(..=cursor, |_, _| false)?;
        let mut meta = transaction.open_table(META)?;
        let before = meta.get(TOUCHED_FLOOR)?.map_or(0, |floor| floor.value());
        meta.insert(TOUCHED_FLOOR, before.max(cursor))?;
    }
    transaction.commit()?;
    Ok(())
}

fn begin(database: &Database) -> Result<WriteTransaction, IndexError> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// One transaction: tables, and a cache of rows that is written at the end.
struct Writer<'t> {
    state: Table<'t, &'static [u8], &'static [u8]>,
    entries: Table<'t, u64, &'static [u8]>,
    blocks: Table<'t, u64, &'static [u8]>,
    undo: Table<'t, u64, &'static [u8]>,
    touched: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, u64>,
    cache: HashMap<Vec<u8>, Slot>,
    dirty_count: usize,
    /// Former values of the rows that the block at work changed.
    former: Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    cursor: Option<AppliedBlock>,
    touched_count: u64,
    /// Roots whose references changed.
    roots: BTreeSet<Cid>,
}

/// A row in the cache; `None` is a row that is not there.
struct Slot {
    value: Option<Vec<u8>>,
    is_dirty: bool,
}

impl<'t> Writer<'t> {
    fn new(transaction: &'t WriteTransaction) -> Result<Self, IndexError> {
        let blocks = transaction.open_table(BLOCKS)?;
        let meta_table = transaction.open_table(META)?;
        Ok(Self {
            state: transaction.open_table(STATE)?,
            entries: transaction.open_table(ENTRIES)?,
            undo: transaction.open_table(UNDO)?,
            touched: transaction.open_table(TOUCHED)?,
            cursor: last_block(&blocks)?,
            touched_count: meta(&meta_table, TOUCHED_COUNT)?,
            blocks,
            meta: meta_table,
            cache: HashMap::new(),
            dirty_count: 0,
            former: None,
            roots: BTreeSet::new(),
        })
    }

    fn apply(
        &mut self,
        block: &RecoveredBlock,
        is_undoable: bool,
        applied: &mut Applied,
    ) -> Result<(), IndexError> {
        check_block(block, self.cursor.as_ref())?;
        self.former = is_undoable.then(BTreeMap::new);
        let mut peaks = self
            .cursor
            .as_ref()
            .map_or_else(Peaks::default, |cursor| cursor.peaks.clone());
        for entry in &block.entries {
            let bytes = codec::to_bytes(&entry.entry);
            let EntryId(id) = EntryId(sha256(&bytes));
            peaks.push(&id);
            let sequence = entry.entry.position.sequence();
            self.entries.insert(sequence, bytes.as_slice())?;
            if self.judge(entry)? {
                applied.accepted += 1;
            } else {
                applied.rejected += 1;
            }
        }
        let row = AppliedBlock {
            number: block.number,
            hash: block.hash,
            time: block.time,
            entry_count: block.entries.len() as u64,
            peaks,
        };
        self.blocks
            .insert(block.number, rows::encode(&row).as_slice())?;
        if let Some(former) = self.former.take() {
            let undo = encode_undo(former);
            self.undo.insert(block.number, undo.as_slice())?;
        }
        self.cursor = Some(row);
        applied.blocks += 1;
        if self.dirty_count > DIRTY_ROWS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Judges an entry and does what it asks; true when it was valid.
    fn judge(&mut self, entry: &BlockEntry) -> Result<bool, IndexError> {
        let action = &entry.entry.action.action;
        let at = RecordedAt::from(&entry.entry.position);
        if let Some(signer) = &entry.signer {
            let sequence = at.sequence.to_be_bytes().to_vec();
            self.put(keys::digest_one(&entry.digest, signer), Some(sequence))?;
        }
        let verdict = match entry.signer {
            None => Err(Rejection::Signature),
            Some(signer) => {
                let view = View::new(&*self);
                let verdict = entity::judge(&view, action, signer, &at);
                view.into_result()?;
                verdict
            }
        };
        match verdict {
            Ok(changes) => {
                for change in changes {
                    self.change(change, at.sequence)?;
                }
                Ok(true)
            }
            Err(rejection) => {
                let row = rejected_row(&entry.entry, &rejection);
                self.put(keys::rejected_one(at.sequence), Some(rows::encode(&row)))?;
                Ok(false)
            }
        }
    }

    fn change(&mut self, change: Change, sequence: u64) -> Result<(), IndexError> {
        match change {
            Change::User(user) => self.put_user(&user, sequence),
            Change::DigitalContent(content) => self.put_content(&content, sequence),
            Change::ContentList(list) => self.put_list(&list, sequence),
            Change::Comment(comment) => self.put_comment(&comment),
            Change::Relate {
                relation,
                user,
                target,
            } => self.relate(relation, user, target, sequence),
            Change::Unrelate {
                relation,
                user,
                target,
            } => self.unrelate(relation, user, target),
        }
    }

    /// Notes that search has to look at an entity again.
    fn touch(&mut self, kind: EntityType, id: u64) -> Result<(), IndexError> {
        self.touched_count += 1;
        let mut row = vec![keys::kind_byte(kind)];
        row.extend_from_slice(&id.to_be_bytes());
        self.touched.insert(self.touched_count, row.as_slice())?;
        Ok(())
    }

    /// Writes a row into the cache, and its former value into the undo log.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), IndexError> {
        if let Some(former) = &self.former
            && !former.contains_key(&key)
        {
            let before = self.row(&key)?;
            if let Some(former) = &mut self.former {
                former.insert(key.clone(), before);
            }
        }
        self.roots.extend(references::root_of_row(&key));
        let slot = Slot {
            value,
            is_dirty: true,
        };
        let replaced = self.cache.insert(key, slot);
        if !replaced.is_some_and(|slot| slot.is_dirty) {
            self.dirty_count += 1;
        }
        Ok(())
    }

    /// Writes the cache into the table in key order.
    fn flush(&mut self) -> Result<(), IndexError> {
        let mut dirty: Vec<(Vec<u8>, Option<Vec<u8>>)> = self
            .cache
            .drain()
            .filter(|(_, slot)| slot.is_dirty)
            .map(|(key, slot)| (key, slot.value))
            .collect();
        dirty.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        for (key, value) in dirty {
            match value {
                Some(value) => drop(self.state.insert(key.as_slice(), value.as_slice())?),
                None => drop(self.state.remove(key.as_slice())?),
            }
        }
        self.dirty_count = 0;
        Ok(())
    }

    /// Takes back the last block; search looks again at what it had changed.
    fn undo(&mut self, number: u64) -> Result<(), IndexError> {
        let undo = self
            .undo
            .remove(number)?
            .map(|row| row.value().to_vec())
            .ok_or(IndexError::Damaged { what: "undo" })?;
        for (key, value) in decode_undo(&undo)? {
            if let Some((kind, id)) = keys::entity_at(&key)
                && kind != EntityType::Comment
            {
                self.touch(kind, id)?;
            }
            self.put(key, value)?;
        }
        self.blocks.remove(number)?;
        self.cursor = last_block(&self.blocks)?;
        Ok(())
    }

    /// Shortens the undo log to blocks above `floor`, and forgets old blocks
    /// that had no entries.
    fn prune(&mut self, floor: u64) -> Result<(), IndexError> {
        let before = meta(&self.meta, UNDO_FLOOR)?;
        if floor <= before {
            return Ok(());
        }
        self.meta.insert(UNDO_FLOOR, floor)?;
        self.undo.retain_in(..=floor, |_, _| false)?;
        let mut empty = Vec::new();
        for row in self.blocks.range(before..floor)? {
            let (number, row) = row?;
            let block: AppliedBlock = rows::decode("block", row.value())?;
            if block.entry_count == 0 {
                empty.push(number.value());
            }
        }
        for number in empty {
            self.blocks.remove(number)?;
        }
        Ok(())
    }

    /// Gives the roots whose references changed.
    fn finish(mut self) -> Result<BTreeSet<Cid>, IndexError> {
        self.flush()?;
        self.meta.insert(TOUCHED_COUNT, self.touched_count)?;
        Ok(self.roots)
    }
}

impl Rows for Writer<'_> {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        if let Some(slot) = self.cache.get(key) {
            return Ok(slot.value.clone());
        }
        Ok(self.state.get(key)?.map(|row| row.value().to_vec()))
    }
}

fn check_block(block: &RecoveredBlock, cursor: Option<&AppliedBlock>) -> Result<(), IndexError> {
    let number = block.number;
    if let Some(cursor) = cursor {
        if number <= cursor.number {
            return Err(IndexError::NotNext {
                number,
                cursor: cursor.number,
            });
        }
        if number == cursor.number + 1 && block.parent.is_some_and(|parent| parent != cursor.hash) {
            return Err(IndexError::Parent {
                number,
                cursor: cursor.number,
            });
        }
    }
    let mut before = None;
    for (idx, entry) in block.entries.iter().enumerate() {
        let position = &entry.entry.position;
        let is_foreign = position.block_number != number
            || position.block_hash != block.hash
            || !position.has_sequence();
        if is_foreign || before.is_some_and(|before| before >= position.log_index) {
            return Err(IndexError::Entry { number, idx });
        }
        before = Some(position.log_index);
    }
    Ok(())
}

fn rejected_row(entry: &Entry, rejection: &Rejection) -> Rejected {
    let action = &entry.action.action;
    let shown = |text: &str| text.chars().take(SHOWN_CHARS_MAX).collect();
    Rejected {
        sequence: entry.position.sequence(),
        block_number: entry.position.block_number,
        tx_hash: entry.position.tx_hash,
        user_id: action.user_id,
        entity_type: shown(&action.entity_type),
        entity_id: EntityId(action.entity_id.0),
        action: shown(&action.action),
        code: rejection.code().to_owned(),
        reason: rejection.to_string(),
    }
}

fn last_block(
    blocks: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Option<AppliedBlock>, IndexError> {
    blocks
        .last()?
        .map(|(_, row)| rows::decode("block", row.value()))
        .transpose()
}

fn meta(
    table: &impl ReadableTable<&'static str, u64>,
    name: &'static str,
) -> Result<u64, IndexError> {
    Ok(table.get(name)?.map_or(0, |value| value.value()))
}

fn encode_undo(former: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Vec<u8> {
    let rows = former
        .into_iter()
        .map(|(key, value)| {
            let value = value.map_or(Value::Null, Value::Bytes);
            Value::Array(vec![Value::Bytes(key), value])
        })
        .collect();
    rows::encode(&Value::Array(rows))
}

type UndoRows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn decode_undo(bytes: &[u8]) -> Result<UndoRows, IndexError> {
    let damaged = || IndexError::Damaged { what: "undo" };
    let Value::Array(rows) = rows::decode("undo", bytes)? else {
        return Err(damaged());
    };
    rows.into_iter()
        .map(|row| {
            let Value::Array(row) = row else {
                return Err(damaged());
            };
            match <[Value; 2]>::try_from(row) {
                Ok([Value::Bytes(key), Value::Null]) => Ok((key, None)),
                Ok([Value::Bytes(key), Value::Bytes(value)]) => Ok((key, Some(value))),
                _ => Err(damaged()),
            }
        })
        .collect()
}

/// A number that tells one index file from its successor.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(FORMAT)
}

/// Lowest block that can be rolled back to.
const UNDO_FLOOR: &str = "undo_floor";
/// Number of the last change for search.
pub(super) const TOUCHED_COUNT: &str = "touched_count";
/// Changes up to here were trimmed.
pub(super) const TOUCHED_FLOOR: &str = "touched_floor";
/// Drawn when the file was made.
pub(super) const INSTANCE: &str = "instance";

/// Rows that are kept in memory before they are written. Chosen: some tens of MB, and
/// rows that many blocks touch are written once.
const DIRTY_ROWS_MAX: usize = 100_000;

/// Characters of signed names that a rejection keeps.
const SHOWN_CHARS_MAX: usize = 64;
