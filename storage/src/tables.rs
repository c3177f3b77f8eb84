//! The peer's own records in one small database, `state.redb`: leases, pages,
//! publications, the relayer's queue, vault records and signed heads.
//!
//! A [`Table`] is a name with a class, a key and a value type; its rows are read
//! in a snapshot ([`Tables::read`]) and changed in one durable transaction
//! ([`Tables::write`]), several tables at once. All tables stand in [`records`]:
//! only there can one be made, so none is without a class.
//!
//! Format: `docs/formats/state.md`.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use redb::{ReadableDatabase as _, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use key::TableKey;
pub use records::*;
pub use value::ValueError;

use crate::backend::Backend;
use crate::database::{Database, Source};

mod backup;
mod key;
pub mod records;
pub mod value;

/// The peer's own records; clones are the same database.
#[derive(Debug, Clone)]
pub struct Tables {
    backend: Arc<dyn Backend>,
    database: Arc<Database>,
}

/// What becomes of a table when the disk is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nobody can give it back, or a peer without it would sign twice: a backup
    /// holds its rows.
    BackedUp,
    /// It is made again from the chain or from what other peers say.
    Derived,
    /// It may be lost at any time.
    Expendable,
}

/// A named table from `K` to `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    class: Class,
    types: PhantomData<fn() -> (K, V)>,
}

/// One transaction: sees its own changes, all or none of which stay.
pub struct TablesWrite<'t> {
    transaction: &'t redb::WriteTransaction,
    database: &'t Database,
}

/// One snapshot of all tables.
pub struct TablesRead<'t>(&'t redb::ReadTransaction);

/// Why a table was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The database failed.
    #[error("cannot use `{TABLES_NAME}`: {0}")]
    Database(Box<redb::Error>),
    /// A row cannot be read.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A row's key cannot be read.
    #[error(
        "table `{table}` has a key that is not readable; restore `{TABLES_NAME}` from a backup"
    )]
    Key {
        /// The table with the key.
        table: &'static str,
    },
    /// A row is too long.
    #[error("a row of table `{table}` is {size} bytes, at most {ROW_BYTES_MAX} are allowed")]
    TooLarge {
        /// The table with the row.
        table: &'static str,
        /// Length of the value.
        size: usize,
    },
    /// Written by another version.
    #[error(
        "`{folder}/{TABLES_NAME}` has format {found}, this program reads {TABLES_VERSION}; run the coliving version that wrote it or restore a backup"
    )]
    Format {
        /// The folder of the tables.
        folder: String,
        /// The version in the file.
        found: u64,
    },
    /// The database is closed after an error and could not be opened again.
    #[error("`{TABLES_NAME}` is closed after a disk error; free some space or check the disk")]
    Closed,
    /// A backup that would mix with the records of a peer.
    #[error("`{folder}/{TABLES_NAME}` has rows in table `{table}`; restore into an empty folder")]
    Taken {
        /// The folder to restore into.
        folder: String,
        /// A table with rows.
        table: &'static str,
    },
    /// A second statement under a number that may be signed once.
    #[error("{what} {number} was signed before with another content; it is never signed twice")]
    SignedBefore {
        /// What was to be signed.
        what: &'static str,
        /// The number that was signed before.
        number: u64,
    },
    /// A backup that cannot be imported.
    #[error("backup is not readable: {reason}")]
    Backup {
        /// What is wrong with it.
        reason: String,
    },
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> Table<K, V> {
    /// Names a table; the name is part of the disk format.
    const fn new(name: &'static str, class: Class) -> Self {
        Self {
            name,
            class,
            types: PhantomData,
        }
    }

    /// The table's name in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What becomes of it when the disk is lost.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    const fn definition(&self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name)
    }
}

impl Tables {
    /// Opens `state.redb` in `backend`, creating it when it is missing.
    ///
    /// # Errors
    ///
    /// [`TablesError::Format`] for a file of another version; otherwise what
    /// the disk says.
    pub fn open(backend: Arc<dyn Backend>) -> Result<Self, TablesError> {
        let source = Source::File(Arc::clone(&backend), TABLES_NAME);
        let database = Arc::new(Database::open(source, CACHE_BYTES)?);
        let tables = Self { backend, database };
        let found =
            tables.write::<_, TablesError>(|rows| match rows.get(FORMAT, &newest())? {
                Some(found) => Ok(found),
                None => {
                    rows.put(FORMAT, &newest(), &TABLES_VERSION)?;
                    Ok(TABLES_VERSION)
                }
            })?;
        if found != TABLES_VERSION {
            let folder = tables.backend.name();
            return Err(TablesError::Format { folder, found });
        }
        Ok(tables)
    }

    /// Runs `read` on one snapshot.
    ///
    /// # Errors
    ///
    /// What `read` or the database says.
    pub fn read<T, E: From<TablesError>>(
        &self,
        read: impl FnOnce(&TablesRead<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let on_snapshot = |database: &redb::Database| {
            let snapshot = database.begin_read().map_err(TablesError::from)?;
            read(&TablesRead(&snapshot))
        };
        self.database.with(on_snapshot).map_err(TablesError::from)?
    }

    /// Runs `change` in one transaction, durable when this returns `Ok`;
    /// nothing of it happens otherwise. One runs at a time.
    ///
    /// # Errors
    ///
    /// What `change` or the database says.
    pub fn write<T, E: From<TablesError>>(
        &self,
        change: impl FnOnce(&TablesWrite<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let database = &*self.database;
        database.ensure_sound().map_err(TablesError::from)?;
        let broken = |error: TablesError| {
            database.mark_broken();
            error
        };
        let in_one = |open: &redb::Database| {
            let mut transaction = open.begin_write().map_err(|error| broken(error.into()))?;
            transaction.set_quick_repair(true);
            let value = change(&TablesWrite {
                transaction: &transaction,
                database,
            })?;
            transaction.commit().map_err(|error| broken(error.into()))?;
            Ok(value)
        };
        database.with(in_one).map_err(TablesError::from)?
    }
}

impl TablesRead<'_> {
    /// The row of `key`.
    ///
    /// # Errors
    ///
    /// What the database says, or a row that cannot be read.
    pub fn get<K: TableKey, V: DeserializeOwned>(
        &self,
        table: Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, TablesError> {
        match self.0.open_table(table.definition()) {
            Ok(rows) => row(&rows, key),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Up to `count_max` rows from `start` on, in order of key.
    ///
    /// # Errors
    ///
    /// What the database says, or a row that cannot be read.
    pub fn range<K: TableKey, V: DeserializeOwned>(
        &self,
        table: Table<K, V>,
        start: Bound<K>,
        count_max: usize,
    ) -> Result<Vec<(K, V)>, TablesError> {
        match self.0.open_table(table.definition()) {
            Ok(rows) => range(&rows, table.name, start, count_max),
            Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many rows there are.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn count<K, V>(&self, table: Table<K, V>) -> Result<u64, TablesError> {
        use redb::ReadableTableMetadata as _;
        match self.0.open_table(table.definition()) {
            Ok(rows) => Ok(rows.len()?),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl TablesWrite<'_> {
    /// The row of `key`.
    ///
    /// # Errors
    ///
    /// What the database says, or a row that cannot be read.
    pub fn get<K: TableKey, V: DeserializeOwned>(
        &self,
        table: Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, TablesError> {
        self.note(self.rows(table).and_then(|rows| row(&rows, key)))
    }

    /// Up to `count_max` rows from `start` on, in order of key.
    ///
    /// # Errors
    ///
    /// What the database says, or a row that cannot be read.
    pub fn range<K: TableKey, V: DeserializeOwned>(
        &self,
        table: Table<K, V>,
        start: Bound<K>,
        count_max: usize,
    ) -> Result<Vec<(K, V)>, TablesError> {
        let read = |rows| range(&rows, table.name, start, count_max);
        self.note(self.rows(table).and_then(read))
    }

    /// Writes a row, replacing what was there.
    ///
    /// # Errors
    ///
    /// [`TablesError::TooLarge`], or what the database says.
    pub fn put<K: TableKey, V: Serialize>(
        &self,
        table: Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), TablesError> {
        let bytes = value::to_bytes(value);
        if bytes.len() > ROW_BYTES_MAX {
            return Err(TablesError::TooLarge {
                table: table.name,
                size: bytes.len(),
            });
        }
        self.note(self.rows(table).and_then(|mut rows| {
            rows.insert(&key.to_key()[..], &bytes[..])?;
            Ok(())
        }))
    }

    /// Removes a row; true when it was there.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn remove<K: TableKey, V>(&self, table: Table<K, V>, key: &K) -> Result<bool, TablesError> {
        self.note(self.rows(table).and_then(|mut rows| {
            let removed = rows.remove(&key.to_key()[..])?.is_some();
            Ok(removed)
        }))
    }

    fn rows<K, V>(&self, table: Table<K, V>) -> Result<Rows<'_>, TablesError> {
        Ok(self.transaction.open_table(table.definition())?)
    }

    fn note<T>(&self, outcome: Result<T, TablesError>) -> Result<T, TablesError> {
        if let Err(TablesError::Database(_)) = &outcome {
            self.database.mark_broken();
        }
        outcome
    }
}

type Rows<'t> = redb::Table<'t, &'static [u8], &'static [u8]>;

fn row<K: TableKey, V: DeserializeOwned>(
    rows: &impl redb::ReadableTable<&'static [u8], &'static [u8]>,
    key: &K,
) -> Result<Option<V>, TablesError> {
    match rows.get(&key.to_key()[..])? {
        Some(bytes) => Ok(Some(value::from_bytes(bytes.value())?)),
        None => Ok(None),
    }
}

fn range<K: TableKey, V: DeserializeOwned>(
    rows: &impl redb::ReadableTable<&'static [u8], &'static [u8]>,
    table: &'static str,
    start: Bound<K>,
    count_max: usize,
) -> Result<Vec<(K, V)>, TablesError> {
    let start = start.map(|key| key.to_key());
    let start = start.as_ref().map(|key| &key[..]);
    let mut found = Vec::new();
    for row in rows
        .range::<&[u8]>((start, Bound::Unbounded))?
        .take(count_max)
    {
        let (key, bytes) = row?;
        let key = K::from_key(key.value()).ok_or(TablesError::Key { table })?;
        found.push((key, value::from_bytes(bytes.value())?));
    }
    Ok(found)
}

impl std::fmt::Debug for TablesRead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TablesRead")
    }
}

impl std::fmt::Debug for TablesWrite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TablesWrite")
    }
}

crate::database::from_redb!(TablesError, Database);

/// Longest value in bytes. Chosen: larger than any row but a mistake's; the database
/// writes each twice.
pub const ROW_BYTES_MAX: usize = 1 << 20;

/// The format that this program reads and writes.
pub const TABLES_VERSION: u64 = 1;

/// File name of the database.
pub const TABLES_NAME: &str = "state.redb";

/// Memory for pages. Chosen: the upper pages of all tables; rows are read at the start
/// and kept by their machines.
const CACHE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests;
