//! What a block store promises when nothing goes wrong.

use bytes::Bytes;
use cid::Cid;
use protocol::time::UnixSeconds;
use protocol::unixfs::{BLOCK_BYTES_MAX, BlockError};
use storage::backend::MemoryBackend;
use storage::blocks::{BlockStoreError, Holding, Owner};

use crate::support::{
    DAG_PB, NOW, RAW, SMALL, block, blocks, check_gone, check_there, cid, open, owner, put_many,
};

#[test]
fn what_was_put_is_there_after_reopening() {
    let disk = MemoryBackend::new();
    let put = blocks(0..40, 5000);
    let mut store = open(&disk).unwrap();
    put_many(&mut store, put.clone(), None, NOW).unwrap();
    check_there(&store, &put);
    let stats = store.stats();
    assert_eq!((stats.blocks, stats.block_bytes), (40, 200_000));
    assert!(stats.segments > 3);
    assert_eq!(stats.dead_bytes, 0);
    drop(store);
    let store = open(&disk).unwrap();
    check_there(&store, &put);
    assert_eq!(store.stats(), stats);
}

#[test]
fn a_block_is_its_multihash_whatever_the_codec_and_the_version() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let data = Bytes::from_static(b"\x0a\x00");
    put_many(
        &mut store,
        vec![(cid(DAG_PB, &data), data.clone())],
        None,
        NOW,
    )
    .unwrap();
    let raw = cid(RAW, &data);
    let version_0 = Cid::new_v0(*raw.hash()).unwrap();
    check_there(&store, &[(raw, data.clone()), (version_0, data.clone())]);
    put_many(&mut store, vec![(raw, data)], None, NOW).unwrap();
    assert_eq!(store.stats().blocks, 1);
}

#[test]
fn bytes_that_do_not_match_their_cid_are_refused_with_all_that_came_along() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let good = block(1, 100);
    let (other, _) = block(2, 100);
    let refused = put_many(
        &mut store,
        vec![good.clone(), (other, good.1.clone())],
        None,
        NOW,
    );
    let mismatch = BlockError::Mismatch { cid: other };
    assert!(matches!(refused, Err(BlockStoreError::Block(error)) if error == mismatch));
    check_gone(&store, &[good]);
    let (cid, data) = block(3, BLOCK_BYTES_MAX + 1);
    let refused = put_many(&mut store, vec![(cid, data)], None, NOW);
    let too_large = |error: &BlockStoreError| {
        matches!(error, BlockStoreError::Block(BlockError::TooLarge { .. }))
    };
    assert!(refused.is_err_and(|error| too_large(&error)));
}

#[test]
fn an_identity_cid_carries_its_bytes_itself() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let hash = multihash::Multihash::wrap(0, b"inline").unwrap();
    let inline = (Cid::new_v1(RAW, hash), Bytes::from_static(b"inline"));
    check_there(&store, std::slice::from_ref(&inline));
    put_many(&mut store, vec![inline], None, NOW).unwrap();
    assert_eq!(store.stats().blocks, 0);
}

#[test]
fn a_block_stays_while_any_root_lists_it() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let (shared, own) = (blocks(0..4, 300), blocks(4..8, 300));
    let (root_a, root_b) = (shared[0].0, own[0].0);
    let all = [shared.clone(), own.clone()].concat();
    put_many(&mut store, all, Some(owner(root_a, Holding::Upload)), NOW).unwrap();
    let cids: Vec<Cid> = shared.iter().map(|(cid, _)| *cid).collect();
    let listed = store
        .add_root(&owner(root_b, Holding::Lease), &cids, NOW)
        .unwrap();
    assert_eq!((listed.blocks, listed.missing), (4, 0));
    store
        .add_root(&owner(root_a, Holding::Pin), &[], NOW)
        .unwrap();

    assert!(store.remove_root(&root_a, Holding::Upload).unwrap());
    assert!(!store.remove_root(&root_a, Holding::Upload).unwrap());
    check_there(&store, &own);
    assert!(store.remove_root(&root_a, Holding::Pin).unwrap());
    check_gone(&store, &own);
    check_there(&store, &shared);
    assert!(store.remove_root(&root_b, Holding::Lease).unwrap());
    check_gone(&store, &shared);
    assert_eq!(store.stats().blocks, 0);
    assert_eq!(store.stats().live_bytes, 0);
}

#[test]
fn a_root_may_list_blocks_before_they_come() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let put = blocks(0..3, 200);
    let cids: Vec<Cid> = put.iter().map(|(cid, _)| *cid).collect();
    let listed = store
        .add_root(&owner(cids[0], Holding::Cache), &cids, NOW)
        .unwrap();
    assert_eq!((listed.blocks, listed.missing), (3, 3));
    check_gone(&store, &put);
    put_many(&mut store, put.clone(), None, NOW).unwrap();
    assert_eq!(store.sweep_loose(UnixSeconds(u64::MAX)).unwrap(), 0);
    check_there(&store, &put);
    store.remove_root(&cids[0], Holding::Cache).unwrap();
    check_gone(&store, &put);
}

#[test]
fn loose_blocks_go_when_nobody_claims_them_in_time() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let (early, late) = (blocks(0..2, 200), blocks(2..4, 200));
    put_many(&mut store, early.clone(), None, NOW).unwrap();
    put_many(&mut store, late.clone(), None, UnixSeconds(NOW.0 + 10)).unwrap();
    let claimed = owner(early[0].0, Holding::Pin);
    store.add_root(&claimed, &[early[0].0], NOW).unwrap();
    assert_eq!(store.sweep_loose(UnixSeconds(NOW.0 + 5)).unwrap(), 1);
    check_there(&store, &early[..1]);
    check_gone(&store, &early[1..]);
    check_there(&store, &late);
}

#[test]
fn a_reason_lapses_at_its_expiry() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let put = blocks(0..2, 200);
    let expiry = Some(UnixSeconds(NOW.0 + 60));
    let lapsing = Owner {
        expiry,
        ..owner(put[0].0, Holding::Upload)
    };
    put_many(&mut store, put.clone(), Some(lapsing), NOW).unwrap();
    assert_eq!(store.expire_roots(NOW).unwrap(), 0);
    check_there(&store, &put);
    assert_eq!(store.expire_roots(UnixSeconds(NOW.0 + 61)).unwrap(), 1);
    check_gone(&store, &put);
}

#[test]
fn the_cap_is_kept_and_the_oldest_cached_root_goes_first() {
    let disk = MemoryBackend::new();
    let mut store = open(&disk).unwrap();
    let pinned = blocks(0..10, 10_000);
    let pin = owner(pinned[0].0, Holding::Pin);
    put_many(&mut store, pinned.clone(), Some(pin), NOW).unwrap();
    for number in 1..40 {
        let put = blocks(number * 10..number * 10 + 10, 10_000);
        let cache = owner(put[0].0, Holding::Cache);
        let now = UnixSeconds(NOW.0 + number);
        put_many(&mut store, put.clone(), Some(cache), now).unwrap();
        assert!(store.stats().disk_bytes <= SMALL.store_bytes_max);
        check_there(&store, &put);
    }
    check_there(&store, &pinned);
    check_gone(&store, &blocks(10..20, 10_000));
    check_there(&store, &blocks(380..390, 10_000));

    let mut number = 1000;
    let refused = loop {
        let put = blocks(number..number + 5, 10_000);
        let pin = owner(put[0].0, Holding::Pin);
        match put_many(&mut store, put.clone(), Some(pin), NOW) {
            Ok(()) => check_there(&store, &put),
            Err(error) => break error,
        }
        number += 5;
    };
    assert!(refused.is_full());
    assert!(refused.to_string().starts_with("block store is full: 50"));
    assert!(store.stats().disk_bytes > SMALL.store_bytes_max * 8 / 10);
    check_there(&store, &pinned);
    store.remove_root(&pin.root, Holding::Pin).unwrap();
    put_many(&mut store, blocks(2000..2005, 10_000), None, NOW).unwrap();
}

#[test]
fn a_segment_more_than_half_dead_is_rewritten_step_by_step() {
    let disk = MemoryBackend::new();
    let mut store = open(&disk).unwrap();
    let put = blocks(0..60, 5000);
    let (kept, dropped): (Vec<_>, Vec<_>) = put
        .into_iter()
        .enumerate()
        .partition(|(number, _)| number % 3 == 0);
    let strip = |list: Vec<(usize, (Cid, Bytes))>| list.into_iter().map(|(_, block)| block);
    let (kept, dropped): (Vec<_>, Vec<_>) = (strip(kept).collect(), strip(dropped).collect());
    let (keep, drop_) = (
        owner(kept[0].0, Holding::Pin),
        owner(dropped[0].0, Holding::Pin),
    );
    for (a, b) in kept.iter().zip(dropped.chunks(2)) {
        put_many(&mut store, vec![a.clone()], Some(keep), NOW).unwrap();
        put_many(&mut store, b.to_vec(), Some(drop_), NOW).unwrap();
    }
    store.remove_root(&drop_.root, Holding::Pin).unwrap();
    let before = store.stats();
    assert!(before.dead_bytes > before.disk_bytes / 2);
    let mut steps = 0;
    while let Some(step) = store.compact_step(6000).unwrap() {
        assert!(step.copied_bytes <= 12_000);
        check_there(&store, &kept);
        steps += 1;
        assert!(steps < 100);
    }
    assert!(steps > 4);
    let after = store.stats();
    assert!(after.disk_bytes < before.disk_bytes * 6 / 10, "{after:?}");
    assert_eq!(after.blocks, 20);
    drop(store);
    let store = open(&disk).unwrap();
    check_there(&store, &kept);
    check_gone(&store, &dropped);
}

#[test]
fn readers_on_other_threads_see_every_block_while_segments_are_rewritten() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let kept = blocks(0..20, 5000);
    let keep = owner(kept[0].0, Holding::Pin);
    for (number, block) in (0..).zip(&kept) {
        put_many(&mut store, vec![block.clone()], Some(keep), NOW).unwrap();
        let fill = blocks(100 + number * 3..103 + number * 3, 5000);
        let cache = owner(fill[0].0, Holding::Cache);
        put_many(&mut store, fill, Some(cache), NOW).unwrap();
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let reader = store.reader();
            let (kept, done) = (&kept, &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for (cid, data) in kept {
                        assert_eq!(reader.block(cid).unwrap().as_ref(), Some(data));
                    }
                }
            });
        }
        for root in store.reader().roots(Some(Holding::Cache)).unwrap() {
            store.remove_root(&root.root, Holding::Cache).unwrap();
            while store.compact_step(10_000).unwrap().is_some() {}
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    check_there(&store, &kept);
}

#[test]
fn the_blocks_of_a_root_are_listed_page_by_page() {
    let mut store = open(&MemoryBackend::new()).unwrap();
    let put = blocks(0..25, 100);
    let root = owner(put[0].0, Holding::Pin);
    put_many(&mut store, put.clone(), Some(root), NOW).unwrap();
    let mut expected: Vec<Cid> = put.iter().map(|(cid, _)| *cid).collect();
    expected.sort_by_key(|cid| cid.hash().digest().to_vec());
    let (reader, mut listed) = (store.reader(), Vec::new());
    for _ in 0..4 {
        let after = listed.last().copied();
        listed.extend(reader.listed_after(&root.root, after.as_ref(), 7).unwrap());
    }
    assert_eq!(listed, expected);
}
