//! The index: everything that follows from the entries, in `index.redb`.
//!
//! Derived state: delete the file, apply the same blocks, and every answer is
//! the same. One owner applies and rolls back; readers hold [`Snapshot`]s. Rows
//! and undo log are drawn in `docs/formats/index.md`.

mod keys;
mod pending;
mod query;
mod references;
mod rows;
mod view;
mod writer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Weak};

use cid::Cid;
use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition};

use protocol::action::{ActionDomain, ActionError};
use protocol::entry::Entry;
use protocol::id::{Address, Hash32};
use protocol::time::UnixSeconds;

use crate::backend::Backend;
use crate::database::{Database, Opened, Source};

pub use pending::{Pending, PendingAction, PendingError, PendingView};
pub use query::{
    CommentView, ContentView, FeedItem, ListView, PublishedBy, RelationRow, UserView, Window,
};
pub use references::{OwnedRoot, REFERENCES_MAX, Reference, ReferencedRoot};
pub use rows::{AppliedBlock, Counts, Rejected};

/// The writer's side of the index; make readers with [`Index::reader`].
#[derive(Debug)]
pub struct Index {
    reader: Reader,
}

/// Makes snapshots; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    database: Arc<Database>,
}

/// Tells when nothing holds the index's file open any more.
#[derive(Debug, Clone)]
pub struct FileUse(Option<Weak<()>>);

/// The index as it was when the snapshot was taken; queries are its methods.
pub struct Snapshot {
    state: ReadOnlyTable<&'static [u8], &'static [u8]>,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    blocks: ReadOnlyTable<u64, &'static [u8]>,
    touched: ReadOnlyTable<u64, &'static [u8]>,
    meta: ReadOnlyTable<&'static str, u64>,
    /// Dropped after the tables: they need the open file.
    _database: Arc<Opened>,
}

/// A block of the data chain as the index takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredBlock {
    /// Its number; blocks without entries may be left out.
    pub number: u64,
    /// The block's hash.
    pub hash: Hash32,
    /// Its parent's hash, when known; checked when the parent is the last
    /// block that was applied.
    pub parent: Option<Hash32>,
    /// The block's timestamp.
    pub time: UnixSeconds,
    /// Its entries by rising log index.
    pub entries: Vec<BlockEntry>,
}

/// An entry with the wallet that its signature recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// The entry as the chain has it.
    pub entry: Entry,
    /// Who signed; `None` when nobody can be recovered, which is a rejection.
    pub signer: Option<Address>,
    /// The action's digest: what relayers and clients know it by.
    pub digest: Hash32,
}

/// What applying blocks did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Blocks that were applied.
    pub blocks: u64,
    /// Entries that changed the index.
    pub accepted: u64,
    /// Entries that were recorded and skipped.
    pub rejected: u64,
    /// Roots whose references changed.
    pub roots: BTreeSet<Cid>,
}

/// Why the index could not do something.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The block is not after the last one that was applied.
    #[error("block {number} cannot be applied: the index is at block {cursor}; roll back first")]
    NotNext {
        /// Number of the block that was given.
        number: u64,
        /// The last block.
        cursor: u64,
    },
    /// The chain was reorganised below the block.
    #[error(
        "block {number} does not follow the indexed block {cursor}; roll back to a common ancestor"
    )]
    Parent {
        /// Number of the block that was given.
        number: u64,
        /// The last block.
        cursor: u64,
    },
    /// An entry that is not of its block or out of order.
    #[error("entry {idx} of block {number} is out of order or of another block")]
    Entry {
        /// Number of the entry's block.
        number: u64,
        /// Position of the entry in its block.
        idx: usize,
    },
    /// The fork is deeper than the undo log.
    #[error(
        "cannot roll back to block {to}: the undo log reaches back to block {floor}; delete `index.redb` and index again"
    )]
    TooDeep {
        /// The block that was to be the last.
        to: u64,
        /// How far back is possible.
        floor: u64,
    },
    /// The file was written by a later version.
    #[error(
        "`index.redb` has format {found}, this program reads {FORMAT}; delete it and index again"
    )]
    Format {
        /// What the file says.
        found: u64,
    },
    /// A row does not decode.
    #[error("row {what} of `index.redb` is damaged; delete the file and index again")]
    Damaged {
        /// What the row is about.
        what: &'static str,
    },
    /// The database failed.
    #[error("`index.redb` failed: {0}")]
    Database(Box<redb::Error>),
    /// The database is closed after an error and could not be opened again.
    #[error("`index.redb` is closed after a disk error; free some space or check the disk")]
    Closed,
}

impl BlockEntry {
    /// Recovers the signer of an entry; entries of a final block whose
    /// signature recovers nobody are kept and rejected.
    #[must_use]
    pub fn recover(entry: Entry, domain: &ActionDomain) -> Self {
        let signer: Result<Address, ActionError> = entry.action.signer(domain);
        Self {
            signer: signer.ok(),
            digest: entry.action.action.digest(domain),
            entry,
        }
    }
}

impl Index {
    /// Opens `index.redb` in a folder, or makes it; a file of an older format is
    /// emptied.
    ///
    /// # Errors
    ///
    /// [`IndexError::Format`] for files of later versions, and database errors.
    pub fn open(folder: &Path) -> Result<Self, IndexError> {
        Self::from_source(Source::Path(folder.join(FILE_NAME)))
    }

    /// As [`Index::open`], in a locked folder.
    ///
    /// # Errors
    ///
    /// As [`Index::open`].
    pub fn open_in(backend: Arc<dyn Backend>) -> Result<Self, IndexError> {
        Self::from_source(Source::File(backend, FILE_NAME))
    }

    /// Makes an index that lives as long as the process.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn in_memory() -> Result<Self, IndexError> {
        Self::from_source(Source::Memory)
    }

    fn from_source(source: Source) -> Result<Self, IndexError> {
        let database = Database::open(source, CACHE_BYTES_MAX)?;
        database.with(writer::initialise)??;
        let reader = Reader {
            database: Arc::new(database),
        };
        Ok(Self { reader })
    }

    /// A handle for readers.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The index as it is.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn snapshot(&self) -> Result<Snapshot, IndexError> {
        self.reader.snapshot()
    }

    /// Applies one block, durably, all or nothing.
    ///
    /// # Errors
    ///
    /// [`IndexError::NotNext`] and [`IndexError::Parent`] ask for a rollback;
    /// nothing is applied then. A bad action is no error.
    pub fn apply(&mut self, block: &RecoveredBlock) -> Result<Applied, IndexError> {
        self.apply_all(std::slice::from_ref(block))
    }

    /// Applies several blocks in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Index::apply`]; on an error none of the blocks is applied.
    pub fn apply_all(&mut self, blocks: &[RecoveredBlock]) -> Result<Applied, IndexError> {
        self.change(|database| writer::apply(database, blocks, UNDO_BLOCKS))
    }

    /// Applies several final blocks in one transaction without an undo log,
    /// which is faster; they can never be rolled back.
    ///
    /// # Errors
    ///
    /// As [`Index::apply`]; on an error none of the blocks is applied.
    pub fn apply_final(&mut self, blocks: &[RecoveredBlock]) -> Result<Applied, IndexError> {
        self.change(|database| writer::apply(database, blocks, 0))
    }

    /// Takes back every block above `to`; block `to` itself stays. Gives the
    /// roots whose references changed.
    ///
    /// # Errors
    ///
    /// [`IndexError::TooDeep`] when the undo log does not reach that far.
    pub fn rollback(&mut self, to: u64) -> Result<BTreeSet<Cid>, IndexError> {
        self.change(|database| writer::rollback(database, to))
    }

    /// Deletes everything, so that the index can be made again; searches that
    /// were filled from it notice.
    ///
    /// # Errors
    ///
    /// Database errors; nothing is deleted then.
    pub fn clear(&mut self) -> Result<(), IndexError> {
        self.change(writer::clear)
    }

    /// Forgets which entities changed up to `cursor` of [`Snapshot::touched`].
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn trim_touched(&mut self, cursor: u64) -> Result<(), IndexError> {
        self.change(|database| writer::trim_touched(database, cursor))
    }

    /// Runs a change; after a disk error the database is opened again at once,
    /// so that readers see what was committed, or before the next change.
    fn change<T>(
        &mut self,
        change: impl FnOnce(&redb::Database) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let database = &self.reader.database;
        database.ensure_sound()?;
        let outcome = database.with(change)?;
        if let Err(IndexError::Database(_)) = &outcome {
            database.mark_broken();
            if let Err(error) = database.ensure_sound() {
                let error = IndexError::from(error);
                tracing::warn!(%error, "the index could not be opened again yet");
            }
        }
        outcome
    }
}

impl FileUse {
    /// True when the index and all its readers and snapshots are gone, and the file
    /// is closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let open = self.0.as_ref();
        open.is_none_or(|open| open.strong_count() == 0)
    }
}

impl Reader {
    /// How long the file stays open.
    #[must_use]
    pub fn file_use(&self) -> FileUse {
        let database = self.database.share().ok();
        FileUse(database.map(|database| database.mark()))
    }

    /// The index as it is.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn snapshot(&self) -> Result<Snapshot, IndexError> {
        let database = self.database.share()?;
        let transaction = database.begin_read()?;
        Ok(Snapshot {
            state: transaction.open_table(STATE)?,
            entries: transaction.open_table(ENTRIES)?,
            blocks: transaction.open_table(BLOCKS)?,
            touched: transaction.open_table(TOUCHED)?,
            meta: transaction.open_table(META)?,
            _database: database,
        })
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

crate::database::from_redb!(IndexError, Database);

/// All entities, relations and counts, by the keys of [`keys`].
const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
/// Entries by sequence, as DAG-CBOR.
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Applied blocks by number.
const BLOCKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("blocks");
/// Former values of state rows by block number.
const UNDO: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("undo");
/// Searchable entities by the order of their changes.
const TOUCHED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("touched");
/// Format, undo floor, change counter.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Name of the file in the data folder.
pub const FILE_NAME: &str = "index.redb";

/// Blocks that can be rolled back. Chosen: twice the deepest reorganisation that a
/// peer follows.
pub const UNDO_BLOCKS: u64 = 1024;

/// Version of the file format; a file of an older one is emptied, to be indexed
/// again.
const FORMAT: u64 = 2;

/// Most memory that redb caches pages in. Chosen: its own default is 1 GiB, more than
/// a peer has.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most rows that one query returns. Chosen: five times what an answer over HTTP has.
pub const WINDOW_ROWS_MAX: usize = 500;

#[cfg(test)]
pub(crate) mod tests;
