//! Copies of chosen tables, for backup and restore.

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use std::sync::PoisonError;

use super::{TABLES_VERSION, Tables, TablesError, value};

#[derive(Serialize, Deserialize)]
struct Backup {
    version: u64,
    tables: Vec<(String, Vec<(serde_cbor::Value, serde_cbor::Value)>)>,
}

impl Tables {
    /// All rows of the tables with `names`, as bytes for [`Tables::import`].
    ///
    /// # Errors
    ///
    /// What the database says.
    pub fn export(&self, names: &[&str]) -> Result<Vec<u8>, TablesError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(TablesError::Closed)?;
        let snapshot = database.begin_read()?;
        let mut tables = Vec::new();
        for name in names {
            let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
            let rows = match snapshot.open_table(definition) {
                Err(TableError::TableDoesNotExist(_)) => continue,
                other => other?,
            };
            let mut copies = Vec::new();
            for row in rows.iter()? {
                let (key, value) = row?;
                let bytes = |bytes: &[u8]| serde_cbor::Value::Bytes(bytes.to_vec());
                copies.push((bytes(key.value()), bytes(value.value())));
            }
            tables.push(((*name).to_owned(), copies));
        }
        let version = TABLES_VERSION;
        Ok(value::to_bytes(&Backup { version, tables }))
    }

    /// Writes all rows of a backup in one transaction and answers how many
    /// there were. Rows that are there and not in the backup stay; counters
    /// only rise.
    ///
    /// # Errors
    ///
    /// [`TablesError::Backup`] for bytes that are none; then nothing changed.
    pub fn import(&self, backup: &[u8]) -> Result<u64, TablesError> {
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
            let mut count = 0;
            for (name, copies) in &backup.tables {
                let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
                let mut rows = transaction.transaction.open_table(definition)?;
                for (key, copy) in copies {
                    let (serde_cbor::Value::Bytes(key), serde_cbor::Value::Bytes(copy)) =
                        (key, copy)
                    else {
                        return Err(unreadable(format!(
                            "table `{name}` has a row without bytes"
                        )));
                    };
                    let is_counter = name == super::COUNTERS.name();
                    let old = rows.get(&key[..])?.map(|old| old.value().to_vec());
                    if let (true, Some(old)) = (is_counter, old)
                        && value::from_bytes::<u64>(&old)? >= value::from_bytes::<u64>(copy)?
                    {
                        continue;
                    }
                    rows.insert(&key[..], &copy[..])?;
                    count += 1;
                }
            }
            Ok(count)
        })
    }
}
