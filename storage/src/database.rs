//! One way to hold a redb database: after a disk error redb refuses all work
//! until the database is opened again.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::backend::{Backend, BackendFile};

/// A database that is opened again after an error.
#[derive(Debug)]
pub(crate) struct Database {
    /// `None` after an error, until it can be opened again. Dropped before the folder.
    open: RwLock<Option<Arc<Opened>>>,
    source: Source,
    cache_bytes: usize,
    is_broken: AtomicBool,
}

/// What redb has open.
#[derive(Debug)]
pub(crate) struct Opened {
    database: redb::Database,
    /// Dropped after the database: whoever watches it knows that the file is closed.
    mark: Arc<()>,
}

/// Where a database is.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file of a locked folder.
    File(Arc<dyn Backend>, &'static str),
    /// A file that redb locks itself.
    Path(PathBuf),
    /// Memory; no disk fails it, and it cannot be opened again.
    Memory,
}

/// Why a database is not open.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// What redb said.
    Redb(Box<redb::Error>),
    /// It was closed after an error, or what reads it keeps it from being
    /// opened again.
    Closed,
}

impl Database {
    /// Opens a database that caches up to `cache_bytes`; a missing one is made.
    pub(crate) fn open(source: Source, cache_bytes: usize) -> Result<Self, redb::Error> {
        let database = source.open(cache_bytes)?;
        Ok(Self {
            open: RwLock::new(Some(Arc::new(database))),
            source,
            cache_bytes,
            is_broken: AtomicBool::new(false),
        })
    }

    /// Runs `job` on the database, which is not opened again meanwhile.
    pub(crate) fn with<T>(
        &self,
        job: impl FnOnce(&redb::Database) -> T,
    ) -> Result<T, DatabaseError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        Ok(job(open.as_ref().ok_or(DatabaseError::Closed)?))
    }

    /// The database itself; it is not opened again while anybody has it.
    pub(crate) fn share(&self) -> Result<Arc<Opened>, DatabaseError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(DatabaseError::Closed)
    }

    /// Notes an error, so that [`Database::ensure_sound`] opens it again.
    pub(crate) fn mark_broken(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    /// Opens the database again if there was an error; true when it did.
    pub(crate) fn ensure_sound(&self) -> Result<bool, DatabaseError> {
        if !self.is_broken.load(Ordering::Acquire) {
            return Ok(false);
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if !self.is_broken.load(Ordering::Acquire) {
            return Ok(false);
        }
        if !matches!(self.source, Source::Memory) {
            if let Some(database) = open.take()
                && let Err(shared) = Arc::try_unwrap(database)
            {
                *open = Some(shared);
                return Err(DatabaseError::Closed);
            }
            *open = Some(Arc::new(self.source.open(self.cache_bytes)?));
        }
        self.is_broken.store(false, Ordering::Release);
        Ok(true)
    }
}

impl Opened {
    /// Is alive for as long as the file is open.
    pub(crate) fn mark(&self) -> Weak<()> {
        Arc::downgrade(&self.mark)
    }
}

impl Deref for Opened {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        &self.database
    }
}

impl Source {
    fn open(&self, cache_bytes: usize) -> Result<Opened, redb::Error> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(cache_bytes);
        let database = match self {
            Self::File(backend, name) => open_file(&**backend, name, &builder)?,
            Self::Path(path) => builder.create(path)?,
            Self::Memory => builder.create_with_backend(redb::backends::InMemoryBackend::new())?,
        };
        let mark = Arc::new(());
        Ok(Opened { database, mark })
    }
}

/// A new database appears under its name only when it is whole.
fn open_file(
    backend: &dyn Backend,
    name: &str,
    builder: &redb::Builder,
) -> Result<redb::Database, redb::Error> {
    let open = |name: &str| {
        let file = backend.open(name)?;
        builder.create_with_backend(DatabaseFile(file))
    };
    let names = backend.list()?;
    if !names.iter().any(|known| known == name) {
        let half_made = format!("{name}.new");
        if names.contains(&half_made) {
            backend.remove(&half_made)?;
        }
        let mut transaction = open(&half_made)?.begin_write()?;
        transaction.set_quick_repair(true);
        transaction.commit()?;
        backend.open(&half_made)?.sync()?;
        backend.rename(&half_made, name)?;
    }
    Ok(open(name)?)
}

impl From<redb::Error> for DatabaseError {
    fn from(error: redb::Error) -> Self {
        Self::Redb(Box::new(error))
    }
}

/// Carries errors of redb and of [`Database`] into an error type that has a
/// variant `Closed` and this one for what redb says.
macro_rules! from_redb {
    ($error:ident, $variant:ident) => {
        $crate::database::from_redb!($error, $variant: Error, DatabaseError, TransactionError, TableError, StorageError, CommitError);

        impl From<$crate::database::DatabaseError> for $error {
            fn from(error: $crate::database::DatabaseError) -> Self {
                match error {
                    $crate::database::DatabaseError::Redb(error) => Self::$variant(error),
                    $crate::database::DatabaseError::Closed => Self::Closed,
                }
            }
        }
    };
    ($error:ident, $variant:ident: $($source:ident),*) => {$(
        impl From<redb::$source> for $error {
            fn from(error: redb::$source) -> Self {
                Self::$variant(Box::new(error.into()))
            }
        }
    )*};
}

pub(crate) use from_redb;

/// A [`BackendFile`] as redb wants it; the folder's lock stands for redb's own.
#[derive(Debug)]
struct DatabaseFile(Arc<dyn BackendFile>);

impl redb::StorageBackend for DatabaseFile {
    fn len(&self) -> std::io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.truncate(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
}
