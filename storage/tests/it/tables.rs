//! The records under faults.

use std::sync::Arc;

use protocol::content::Counters;
use storage::backend::MemoryBackend;
use storage::tables::{LEASE_COUNTERS, META, Tables, TablesError, newest};

fn open(disk: &MemoryBackend) -> Result<Tables, TablesError> {
    Tables::open(Arc::new(disk.clone()))
}

fn step(tables: &Tables) -> Result<u64, TablesError> {
    tables.write(|rows| {
        let mut counters = rows.get(LEASE_COUNTERS, &newest())?.unwrap_or_default();
        counters.lease_serial += 1;
        rows.put(LEASE_COUNTERS, &newest(), &counters)?;
        let serial = counters.lease_serial;
        rows.put(META, &serial.to_string(), &serial.to_string().into())?;
        Ok(serial)
    })
}

#[track_caller]
fn check_serials(tables: &Tables, acknowledged: u64) {
    tables
        .read(|rows| {
            let counters: Counters = rows.get(LEASE_COUNTERS, &newest())?.unwrap_or_default();
            assert!(counters.lease_serial >= acknowledged);
            assert_eq!(rows.count(META)?, counters.lease_serial);
            Ok::<_, TablesError>(())
        })
        .unwrap();
}

#[test]
fn a_power_cut_after_any_write_takes_no_serial_back() {
    let disk = MemoryBackend::new();
    let tables = open(&disk).unwrap();
    for _ in 0..5 {
        step(&tables).unwrap();
    }
    for cut in 0..disk.steps() {
        let disk = MemoryBackend::new();
        disk.cut_power_at(cut);
        let mut acknowledged = 0;
        if let Ok(tables) = open(&disk) {
            while acknowledged < 5
                && let Ok(serial) = step(&tables)
            {
                acknowledged = serial;
            }
        }
        for seed in 0..4 {
            match open(&disk.crash_image(seed)) {
                Ok(tables) => check_serials(&tables, acknowledged),
                Err(error) => panic!("cut {cut}: {error}"),
            }
        }
    }
}

#[test]
fn after_a_write_that_failed_the_same_process_goes_on() {
    for fault in 0..12 {
        let disk = MemoryBackend::new();
        let tables = open(&disk).unwrap();
        step(&tables).unwrap();
        disk.fill_disk_at(disk.steps() + fault, 1);
        let mut done = 0;
        for _ in 0..10 {
            done += u64::from(step(&tables).is_ok());
        }
        assert!(done >= 7, "fault {fault}: {done}");
        check_serials(&tables, done);
    }
}

#[test]
fn a_process_that_ended_writes_nothing_into_the_folder_of_the_next() {
    let disk = MemoryBackend::new();
    let former = open(&disk).unwrap();
    assert_eq!(step(&former).unwrap(), 1);
    disk.end_process();
    let next = open(&disk).unwrap();
    for serial in 2..40 {
        assert_eq!(step(&next).unwrap(), serial);
    }
    step(&former).unwrap();
    drop(former);
    drop(next);
    let next = open(&disk).unwrap();
    check_serials(&next, 39);
    assert_eq!(step(&next).unwrap(), 40);
}
