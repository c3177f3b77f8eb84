//! Copies of the tables of class [`Class::BackedUp`], for backup and restore.

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use super::records::{ALL, RESTORED, Restoration, newest};
use super::{Class, TABLES_VERSION, Tables, TablesError, TablesWrite, value};

#[derive(Serialize, Deserialize)]
struct Backup {
    version: u64,
    tables: Vec<(String, Vec<(serde_cbor::Value, serde_cbor::Value)>)>,
}

impl Tables {
    /// All rows of the tables that are backed up, as bytes for [`Tables::import`].
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn export(&self) -> Result<Vec<u8>, TablesError> {
        let snapshot = self.database.with(redb::Database::begin_read)??;
        let mut tables = Vec::new();
        for name in backed_up() {
            let rows = match snapshot.open_table(definition(name)) {
                Err(TableError::TableDoesNotExist(_)) => continue,
                other => other?,
            };
            let mut copies = Vec::new();
            for row in rows.iter()? {
                let (key, value) = row?;
                let bytes = |bytes: &[u8]| serde_cbor::Value::Bytes(bytes.to_vec());
                copies.push((bytes(key.value()), bytes(value.value())));
            }
            tables.push((name.to_owned(), copies));
        }
        let version = TABLES_VERSION;
        Ok(value::to_bytes(&Backup { version, tables }))
    }

    /// Writes all rows of a backup into tables that have none, and that they
    /// were restored, in one transaction; answers how many rows there were.
    /// Tables that are not backed up are passed over.
    ///
    /// # Errors
    ///
    /// [`TablesError::Backup`] for bytes that are none, [`TablesError::Taken`]
    /// when there are rows already; then nothing changed.
    pub fn import(&self, backup: &[u8], restoration: Restoration) -> Result<u64, TablesError> {
        let unreadable = |reason: String| TablesError::Backup { reason };
        let backup: Backup =
            value::from_bytes(backup).map_err(|error| unreadable(error.to_string()))?;
        if backup.version != TABLES_VERSION {
            return Err(unreadable(format!(
                "it has format {}, this program reads {TABLES_VERSION}",
                backup.version
            )));
        }
        self.write(|transaction| {
            self.require_empty(transaction)?;
            let mut count = 0;
            for (name, copies) in &backup.tables {
                let Some(name) = backed_up().find(|known| known == name) else {
                    continue;
                };
                let mut rows = transaction.transaction.open_table(definition(name))?;
                for copy in copies {
                    let (serde_cbor::Value::Bytes(key), serde_cbor::Value::Bytes(row)) = copy
                    else {
                        return Err(unreadable(format!(
                            "table `{name}` has a row without bytes"
                        )));
                    };
                    rows.insert(&key[..], &row[..])?;
                    count += 1;
                }
            }
            transaction.put(RESTORED, &newest(), &restoration)?;
            Ok(count)
        })
    }

    fn require_empty(&self, transaction: &TablesWrite<'_>) -> Result<(), TablesError> {
        for table in backed_up() {
            let rows = transaction.transaction.open_table(definition(table))?;
            if rows.first()?.is_some() {
                let folder = self.backend.name();
                return Err(TablesError::Taken { folder, table });
            }
        }
        Ok(())
    }
}

fn backed_up() -> impl Iterator<Item = &'static str> {
    let is_backed_up = |(_, class): &&(&str, Class)| *class == Class::BackedUp;
    ALL.iter().filter(is_backed_up).map(|(name, _)| *name)
}

const fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}
