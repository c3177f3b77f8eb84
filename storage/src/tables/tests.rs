use std::ops::Bound;
use std::sync::Arc;

use protocol::id::{Address, Hash32};

use super::*;
use crate::backend::MemoryBackend;

const NUMBERS: Table<u64, String> = Table::new("numbers");

fn tables() -> Tables {
    Tables::open(Arc::new(MemoryBackend::new())).unwrap()
}

#[test]
fn a_transaction_changes_all_its_rows_or_none() {
    let tables = tables();
    let refused: Result<(), TablesError> = tables.write(|rows| {
        rows.put(NUMBERS, &1, &"one".to_owned())?;
        rows.next_number(LEASE_SERIAL)?;
        Err(TablesError::Closed)
    });
    assert!(refused.is_err());
    let serial: u64 = tables
        .write(|rows| {
            assert_eq!(rows.get(NUMBERS, &1)?, None);
            rows.put(NUMBERS, &1, &"one".to_owned())?;
            rows.next_number(LEASE_SERIAL)
        })
        .unwrap();
    assert_eq!(serial, 1);
    tables
        .read(|rows| {
            assert_eq!(rows.get(NUMBERS, &1)?.as_deref(), Some("one"));
            assert_eq!(rows.count(NUMBERS)?, 1);
            Ok::<_, TablesError>(())
        })
        .unwrap();
}
