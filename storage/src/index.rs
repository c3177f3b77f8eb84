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
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use cid::Cid;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};

use protocol::action::{ActionDomain, ActionError};
use protocol::entry::Entry;
use protocol::id::{Address, Hash32};
use protocol::time::UnixSeconds;

use crate::backend::{self, Backend};

pub use pending::{Pending, PendingAction, PendingError, PendingView};
pub use query::{
    CommentView, ContentView, FeedItem, ListView, Page, PublishedBy, RelationRow, UserView,
};
pub use references::{OwnedRoot, REFERENCES_MAX, Reference, ReferencedRoot};
pub use rows::{AppliedBlock, Counts, Rejected};
pub use view::EntityError;

/// The writer's side of the index; make readers with [`Index::reader`].
#[derive(Debug)]
pub struct Index {
    reader: Reader,
    source: Source,
    /// Set by a disk error, after which redb refuses all work on a database
    /// until it is opened again.
    is_broken: bool,
}

/// Makes snapshots; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    /// `None` after a disk error, until the database can be opened again.
    database: Arc<RwLock<Option<Arc<Database>>>>,
}

/// Where the database is.
#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Backend(Arc<dyn Backend>),
    Memory,
}

/// Tells when nothing holds the index's file open any more.
#[derive(Debug, Clone)]
pub struct Holders(Option<Weak<Database>>);

/// The index as it was when the snapshot was taken; queries are its methods.
pub struct Snapshot {
    state: ReadOnlyTable<&'static [u8], &'static [u8]>,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    blocks: ReadOnlyTable<u64, &'static [u8]>,
    touched: ReadOnlyTable<u64, &'static [u8]>,
    meta: ReadOnlyTable<&'static str, u64>,
    /// Dropped after the tables: they need the open file.
    _database: Arc<Database>,
}

/// A block of the data chain as the index takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its number; blocks without entries may be left out.
    pub number: u64,
    /// Its hash.
    pub hash: Hash32,
    /// Its parent's hash, when known; checked when the parent is the last
    /// block that was applied.
    pub parent: Option<Hash32>,
    /// Its timestamp.
    pub time: UnixSeconds,
    /// Its entries by rising log index.
    pub entries: Vec<BlockEntry>,
}

/// An entry with the wallet that its signature recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEntry {
    /// The entry.
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
        /// The block.
        number: u64,
        /// The last block.
        cursor: u64,
    },
    /// The chain was reorganised below the block.
    #[error(
        "block {number} does not follow the indexed block {cursor}; roll back to a common ancestor"
    )]
    Parent {
        /// The block.
        number: u64,
        /// The last block.
        cursor: u64,
    },
    /// An entry that is not of its block or out of order.
    #[error("entry {idx} of block {number} is out of order or of another block")]
    Entry {
        /// The block.
        number: u64,
        /// Which entry.
        idx: usize,
    },
    /// The fork is deeper than the undo log.
    #[error(
        "cannot roll back to block {to}: the undo log reaches back to block {floor}; delete `index.redb` and index again"
    )]
    TooDeep {
        /// Where to.
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
        /// Which row.
        what: &'static str,
    },
    /// The database failed.
    #[error("`index.redb` failed: {0}")]
    Database(redb::Error),
    /// The database is closed after an error and could not be opened again.
    #[error("`index.redb` is closed after a disk error; free some space or check the disk")]
    Closed,
}

impl IndexError {
    /// True for errors that only a new index or a new disk cures.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            Self::NotNext { .. } | Self::Parent { .. } | Self::Entry { .. } => false,
            Self::TooDeep { .. }
            | Self::Format { .. }
            | Self::Damaged { .. }
            | Self::Database(_)
            | Self::Closed => true,
        }
    }
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
        Self::from_source(Source::Folder(folder.to_owned()))
    }

    /// As [`Index::open`], in a locked folder.
    ///
    /// # Errors
    ///
    /// As [`Index::open`].
    pub fn open_in(backend: Arc<dyn Backend>) -> Result<Self, IndexError> {
        Self::from_source(Source::Backend(backend))
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
        let database = source.open()?;
        writer::initialise(&database)?;
        let reader = Reader {
            database: Arc::new(RwLock::new(Some(Arc::new(database)))),
        };
        Ok(Self {
            reader,
            source,
            is_broken: false,
        })
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
    pub fn apply(&mut self, block: &Block) -> Result<Applied, IndexError> {
        self.apply_all(std::slice::from_ref(block))
    }

    /// Applies several blocks in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Index::apply`]; on an error none of the blocks is applied.
    pub fn apply_all(&mut self, blocks: &[Block]) -> Result<Applied, IndexError> {
        self.change(|database| writer::apply(database, blocks, UNDO_BLOCKS))
    }

    /// Applies several final blocks in one transaction without an undo log,
    /// which is faster; they can never be rolled back.
    ///
    /// # Errors
    ///
    /// As [`Index::apply`]; on an error none of the blocks is applied.
    pub fn apply_final(&mut self, blocks: &[Block]) -> Result<Applied, IndexError> {
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
        change: impl FnOnce(&Database) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        if self.is_broken {
            self.reopen()?;
        }
        let outcome = change(&*self.reader.database()?);
        if let Err(IndexError::Database(_)) = &outcome {
            self.is_broken = true;
            if let Err(error) = self.reopen() {
                tracing::warn!(%error, "the index could not be opened again yet");
            }
        }
        outcome
    }

    fn reopen(&mut self) -> Result<(), IndexError> {
        // What is in memory cannot be opened again, and no disk fails it.
        if !matches!(self.source, Source::Memory) {
            let open = self.reader.database.write();
            let mut open = open.unwrap_or_else(PoisonError::into_inner);
            if let Some(database) = open.take()
                && let Err(shared) = Arc::try_unwrap(database)
            {
                // A snapshot is still being read; the file stays open with it.
                *open = Some(shared);
                return Err(IndexError::Closed);
            }
            *open = Some(Arc::new(self.source.open()?));
        }
        self.is_broken = false;
        Ok(())
    }
}

impl Source {
    fn open(&self) -> Result<Database, IndexError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES_MAX);
        match self {
            Self::Folder(folder) => Ok(builder.create(folder.join(FILE_NAME))?),
            Self::Backend(folder) => {
                let opened = backend::open_database(&**folder, FILE_NAME, CACHE_BYTES_MAX);
                opened.map_err(IndexError::Database)
            }
            Self::Memory => {
                let backend = redb::backends::InMemoryBackend::new();
                Ok(builder.create_with_backend(backend)?)
            }
        }
    }
}

impl Holders {
    /// True when the index and all its readers and snapshots are gone.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        let database = self.0.as_ref();
        database.is_none_or(|database| database.strong_count() == 0)
    }
}

impl Reader {
    /// Who holds the file open.
    #[must_use]
    pub fn holders(&self) -> Holders {
        let database = self.database().ok();
        Holders(database.as_ref().map(Arc::downgrade))
    }

    /// The index as it is.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn snapshot(&self) -> Result<Snapshot, IndexError> {
        let database = self.database()?;
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

    fn database(&self) -> Result<Arc<Database>, IndexError> {
        let open = self.database.read();
        let open = open.unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(IndexError::Closed)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

macro_rules! database_error {
    ($($error:ty),*) => {$(
        impl From<$error> for IndexError {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}

database_error!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);

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

/// Blocks that can be rolled back.
pub const UNDO_BLOCKS: u64 = 1024;

/// Version of the file format; a file of an older one is emptied, to be indexed
/// again.
const FORMAT: u64 = 2;

/// Most memory that redb caches pages in.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most rows that one query returns.
pub const PAGE_ROWS_MAX: usize = 500;

#[cfg(test)]
pub(crate) mod tests;
