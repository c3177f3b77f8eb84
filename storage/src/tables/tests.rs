use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use protocol::content::Counters;
use protocol::id::{Address, Hash32};
use protocol::records::{Head, Lease, SignedHead, SignedLease};
use protocol::signing::{Signature, Signed};
use protocol::time::{Epoch, UnixSeconds};

use super::*;
use crate::backend::MemoryBackend;

const NUMBERS: Table<u64, String> = Table::new("numbers", Class::Expendable);

fn tables() -> Tables {
    Tables::open(Arc::new(MemoryBackend::new())).unwrap()
}

#[test]
fn a_transaction_changes_all_its_rows_or_none() {
    let tables = tables();
    let refused: Result<(), TablesError> = tables.write(|rows| {
        rows.put(NUMBERS, &1, &"one".to_owned())?;
        rows.put(LEASE_COUNTERS, &newest(), &counters(1))?;
        Err(TablesError::Closed)
    });
    assert!(refused.is_err());
    tables
        .write::<_, TablesError>(|rows| {
            assert_eq!(rows.get(NUMBERS, &1)?, None);
            assert_eq!(rows.get(LEASE_COUNTERS, &newest())?, None);
            rows.put(NUMBERS, &1, &"one".to_owned())?;
            assert_eq!(rows.get(NUMBERS, &1)?.as_deref(), Some("one"));
            Ok(())
        })
        .unwrap();
    tables
        .read(|rows| {
            assert_eq!(rows.get(NUMBERS, &1)?.as_deref(), Some("one"));
            assert_eq!(rows.count(NUMBERS)?, 1);
            Ok::<_, TablesError>(())
        })
        .unwrap();
}

fn counters(lease_serial: u64) -> Counters {
    Counters {
        lease_serial,
        ..Counters::default()
    }
}

fn signed<R>(record: R) -> Signed<R> {
    let signature = Signature([7; 65]);
    Signed { record, signature }
}

fn lease(data: &[u8], serial: u64) -> SignedLease {
    signed(Lease {
        root: protocol::unixfs::raw_cid(data),
        proof_root: Hash32([1; 32]),
        size: 5,
        holder: Address([2; 20]),
        serial,
        from_epoch: Epoch(1),
        to_epoch: Epoch(2),
    })
}

fn head(number: u64, root: u8) -> SignedHead {
    signed(Head {
        block_number: number,
        block_hash: Hash32::ZERO,
        previous_head: Hash32::ZERO,
        entries_root: Hash32([root; 32]),
        entry_count: 0,
        state_root: Hash32::ZERO,
        registry_root: Hash32::ZERO,
    })
}

#[test]
fn rows_of_a_holder_are_one_range_in_order() {
    let tables = tables();
    let (ada, bob) = (Address([1; 20]), Address([2; 20]));
    let leases = [lease(b"a", 1), lease(b"b", 2), lease(b"c", 3)];
    tables
        .write::<_, TablesError>(|rows| {
            for (holder, lease) in [(bob, &leases[0]), (ada, &leases[1]), (bob, &leases[2])] {
                rows.put(
                    LEASES_BY_HOLDER,
                    &(holder, lease.record.root),
                    &lease.record,
                )?;
            }
            Ok(())
        })
        .unwrap();
    let found = tables
        .read::<_, TablesError>(|rows| rows.range(LEASES_BY_HOLDER, Bound::Unbounded, 10))
        .unwrap();
    assert_eq!(
        found[0],
        ((ada, leases[1].record.root), leases[1].record.clone())
    );
    assert!(found[1..].iter().all(|((holder, _), _)| *holder == bob));
    assert!(found[1].0 < found[2].0);
}

#[test]
fn a_second_head_of_a_number_is_never_signed() {
    let tables = tables();
    let claim = |head: SignedHead| tables.write::<_, TablesError>(|rows| rows.claim_head(&head));
    claim(head(5, 1)).unwrap();
    claim(head(5, 1)).unwrap();
    for refused in [head(5, 2), head(4, 1)] {
        let error = claim(refused).unwrap_err();
        assert!(matches!(error, TablesError::SignedBefore { .. }));
    }
    claim(head(6, 9)).unwrap();
}

#[test]
fn a_backup_holds_what_is_backed_up_and_mixes_with_no_other_records() {
    let from = tables();
    let lease = lease(b"a", 1);
    let root = lease.record.root;
    from.write::<_, TablesError>(|rows| {
        rows.put(LEASES, &root, &lease)?;
        rows.put(LEASES_BY_HOLDER, &(Address([2; 20]), root), &lease.record)?;
        rows.put(LEASE_COUNTERS, &newest(), &counters(7))
    })
    .unwrap();
    let backup = from.export().unwrap();
    let restoration = Restoration::new(UnixSeconds(7200));
    let into = tables();
    assert_eq!(into.import(&backup, restoration).unwrap(), 2);
    into.read::<_, TablesError>(|rows| {
        assert_eq!(rows.get(LEASES, &root)?.as_ref(), Some(&lease));
        assert_eq!(rows.get(LEASE_COUNTERS, &newest())?, Some(counters(7)));
        assert_eq!(rows.count(LEASES_BY_HOLDER)?, 0);
        let restored = rows.get(RESTORED, &newest())?.unwrap();
        assert_eq!((restored, restored.epoch), (restoration, Epoch(2)));
        Ok(())
    })
    .unwrap();
    for taken in [&from, &into] {
        let refused = taken.import(&backup, restoration).unwrap_err();
        assert!(matches!(refused, TablesError::Taken { .. }), "{refused}");
    }
    let refused = tables().import(b"nonsense", restoration).unwrap_err();
    assert!(matches!(refused, TablesError::Backup { .. }));
}

#[test]
fn every_table_has_a_name_of_its_own_and_is_drawn_with_its_class() {
    let names: BTreeSet<&str> = ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), ALL.len());
    let document = include_str!("../../../docs/formats/state.md");
    let drawn: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(drawn, names);
    for (name, class) in ALL {
        let class = match class {
            Class::BackedUp => "backed up",
            Class::Derived => "derived",
            Class::Expendable => "expendable",
        };
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` | {class} |")));
        assert!(row.is_some(), "{name} is {class}");
    }
}
