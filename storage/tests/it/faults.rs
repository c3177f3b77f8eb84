//! Power cuts after every write, failing writes, full disks and damage.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use storage::backend::{Backend as _, MemoryBackend};
use storage::blocks::{BlockStore, BlockStoreError, Holding};

use crate::support::{NOW, SMALL, block, blocks, check_gone, check_there, open, owner, put_many};

/// What was acknowledged, to be compared with what a restart finds.
#[derive(Default)]
struct Model {
    kept: Vec<(Cid, Bytes)>,
    removed: Vec<(Cid, Bytes)>,
    /// May be there or not: the operation on them did not return.
    unsure: Vec<(Cid, Bytes)>,
}

/// Puts, lists, removes and rewrites until the end or the first error.
/// Answers how many steps that took, closing not counted.
fn work(disk: &MemoryBackend, model: &mut Model) -> Result<u64, BlockStoreError> {
    let mut store = open(disk)?;
    for round in 0..6 {
        let put = blocks(round * 4..round * 4 + 4, 9000);
        let root = owner(put[0].0, Holding::Pin);
        model.unsure = put.clone();
        put_many(&mut store, put.clone(), Some(root), NOW)?;
        model.unsure.clear();
        model.kept.extend(put.clone());
        if round % 3 != 0 {
            model.kept.truncate(model.kept.len() - 4);
            model.unsure = put.clone();
            store.remove_root(&root.root, Holding::Pin)?;
            model.unsure.clear();
            model.removed.extend(put);
            while store.compact_step(8000)?.is_some() {}
        }
    }
    Ok(disk.steps())
}

/// Everything acknowledged is as it was acknowledged, nothing is served that
/// is not whole, and the store goes on working.
#[track_caller]
fn check_after(disk: &MemoryBackend, model: &Model) {
    let mut store = open(disk).unwrap();
    check_there(&store, &model.kept);
    check_gone(&store, &model.removed);
    for (cid, data) in &model.unsure {
        let found = store.reader().block(cid).unwrap();
        assert!(found.is_none_or(|found| found == *data));
    }
    let report = store.reader().verify(|_| true).unwrap();
    assert_eq!(report.corrupt_count, 0);
    assert_eq!(report.blocks, store.stats().blocks);
    let more = vec![block(900, 700)];
    put_many(&mut store, more.clone(), None, NOW).unwrap();
    check_there(&store, &more);
}

fn steps_of_work() -> u64 {
    let disk = MemoryBackend::new();
    work(&disk, &mut Model::default()).unwrap()
}

#[test]
fn a_power_cut_after_any_write_loses_nothing_that_was_acknowledged() {
    let steps = steps_of_work();
    assert!(steps > 50, "{steps} steps are no work");
    for step in 0..=steps {
        let disk = MemoryBackend::new();
        disk.cut_power_at(step);
        let mut model = Model::default();
        let outcome = work(&disk, &mut model);
        assert_eq!(outcome.is_err(), step < steps, "step {step}");
        for seed in [0, step + 1] {
            check_after(&disk.crash_image(seed), &model);
        }
    }
}

#[test]
fn a_power_cut_while_starting_again_loses_nothing_either() {
    let first = MemoryBackend::new();
    let mut model = Model::default();
    first.cut_power_at(steps_of_work() - 9);
    work(&first, &mut model).unwrap_err();
    for step in 0..40 {
        let disk = first.crash_image(7);
        disk.cut_power_at(step);
        let _ = open(&disk);
        check_after(&disk.crash_image(step), &model);
    }
}

#[test]
fn after_a_write_that_failed_the_same_process_goes_on() {
    for failing in [1, 3] {
        for step in (0..120).step_by(failing) {
            let disk = MemoryBackend::new();
            let Ok(mut store) = open(&disk) else { panic!() };
            disk.fill_disk_at(disk.steps() + step, failing as u64);
            let mut kept = Vec::new();
            for number in 0..8 {
                let put = blocks(number * 3..number * 3 + 3, 9000);
                let root = owner(put[0].0, Holding::Pin);
                for _ in 0..8 {
                    match put_many(&mut store, put.clone(), Some(root), NOW) {
                        Ok(()) => {
                            kept.extend(put);
                            break;
                        }
                        Err(error) => assert!(!matches!(error, BlockStoreError::Block(_))),
                    }
                }
                assert_eq!(kept.len() as u64, (number + 1) * 3, "step {step}");
                check_there(&store, &kept);
            }
            drop(store);
            let store = open(&disk.crash_image(0)).unwrap();
            check_there(&store, &kept);
            assert_eq!(store.stats().blocks, 24);
        }
    }
}

#[test]
fn a_full_disk_is_said_before_anything_is_written_and_reads_go_on() {
    let disk = MemoryBackend::new();
    let mut config = SMALL;
    config.disk_reserve_bytes = 1000;
    let mut store = BlockStore::open(Arc::new(disk.clone()), config).unwrap();
    let put = blocks(0..3, 5000);
    put_many(&mut store, put.clone(), None, NOW).unwrap();
    disk.set_free_bytes(5500);
    let steps = disk.steps();
    let error = put_many(&mut store, blocks(3..4, 5000), None, NOW).unwrap_err();
    assert!(error.is_full());
    let text = error.to_string();
    assert_eq!(
        text,
        "disk is nearly full: 5052 bytes are needed and 1000 must stay free, but only 5500 are; free some space, reading goes on"
    );
    assert_eq!(disk.steps(), steps);
    check_there(&store, &put);
    disk.set_free_bytes(1 << 30);
    put_many(&mut store, blocks(3..4, 5000), None, NOW).unwrap();
}

#[test]
fn a_damaged_block_is_found_dropped_and_taken_again() {
    for size in [100, 20_000] {
        let disk = MemoryBackend::new();
        let mut store = open(&disk).unwrap();
        let put = blocks(0..3, size);
        let root = owner(put[0].0, Holding::Pin);
        put_many(&mut store, put.clone(), Some(root), NOW).unwrap();
        drop(store);
        disk.flip_bit("segment-00000001", 16 + 52 + size + 52 + size / 2);
        let mut store = open(&disk).unwrap();
        let (bad, _) = put[1];
        let error = store.reader().block(&bad).unwrap_err();
        assert!(matches!(error, BlockStoreError::Corrupt { cid } if cid == bad));
        let report = store.reader().verify(|_| true).unwrap();
        assert_eq!((report.blocks, report.corrupt), (3, vec![bad]));
        assert!(store.drop_block(&bad).unwrap());
        assert!(!store.reader().has(&bad).unwrap());
        put_many(&mut store, vec![put[1].clone()], None, NOW).unwrap();
        check_there(&store, &put);
        store.remove_root(&root.root, Holding::Pin).unwrap();
        check_gone(&store, &put);
    }
}

#[test]
fn damage_in_a_segment_does_not_stop_its_rewriting() {
    for offset in [16, 30, 5000, 5060] {
        let disk = MemoryBackend::new();
        let mut store = open(&disk).unwrap();
        let put = blocks(0..20, 5000);
        for block in &put {
            let root = owner(block.0, Holding::Pin);
            put_many(&mut store, vec![block.clone()], Some(root), NOW).unwrap();
        }
        disk.flip_bit("segment-00000001", offset);
        for (cid, _) in &put[3..] {
            store.remove_root(cid, Holding::Pin).unwrap();
        }
        while store.compact_step(4000).unwrap().is_some() {}
        let there = put[..3]
            .iter()
            .filter(|(cid, _)| store.reader().has(cid).unwrap());
        assert_eq!(there.count(), 2, "damage at {offset}");
        assert!(
            disk.list()
                .unwrap()
                .iter()
                .all(|name| name != "segment-00000001")
        );
        put_many(&mut store, put[..3].to_vec(), None, NOW).unwrap();
        check_there(&store, &put[..3]);
    }
}

#[test]
fn the_index_comes_back_from_the_segments() {
    let disk = MemoryBackend::new();
    let mut store = open(&disk).unwrap();
    let put = blocks(0..40, 5000);
    put_many(&mut store, put.clone(), None, NOW).unwrap();
    drop(store);
    disk.remove("blocks.redb").unwrap();
    let store = open(&disk).unwrap();
    check_there(&store, &put);
    assert_eq!(store.stats().blocks, 40);
    drop(store);

    disk.flip_bit("segment-00000001", 16 + 30);
    disk.remove("blocks.redb").unwrap();
    let mut store = open(&disk).unwrap();
    check_there(&store, &put[1..]);
    assert!(!store.reader().has(&put[0].0).unwrap());
    put_many(&mut store, put[..1].to_vec(), None, NOW).unwrap();
    check_there(&store, &put);
}

#[test]
fn a_store_of_another_version_is_refused_with_the_remedy() {
    let disk = MemoryBackend::new();
    let file = disk.open("FORMAT").unwrap();
    file.write_at(0, b"coliving blocks 7\n").unwrap();
    assert_eq!(
        open(&disk).unwrap_err().to_string(),
        "`memory` has block store format 7, this program reads 1; run the coliving version that wrote it or choose an empty folder"
    );
}
