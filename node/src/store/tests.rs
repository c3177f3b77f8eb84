use protocol::unixfs::raw_cid;
use storage::tables::{LEASE_COUNTERS, newest};

use super::*;

fn blocks(numbers: std::ops::Range<u32>, size: usize) -> Vec<VerifiedBlock> {
    let block = |number: u32| {
        let data = Bytes::from(number.to_le_bytes().repeat(size / 4));
        VerifiedBlock::new(raw_cid(&data), data).unwrap()
    };
    numbers.map(block).collect()
}

#[tokio::test]
async fn puts_of_many_tasks_are_durable_when_they_return() {
    let disk = MemoryBackend::new();
    let config = BlockStoreConfig::with_size(1 << 30);
    let config = BlockStoreConfig {
        disk_reserve_bytes: 0,
        ..config
    };
    let store = StoreHandle::with_backend(Arc::new(disk.clone()), config).unwrap();
    let puts = (0..20).map(|task| {
        let store = store.clone();
        tokio::spawn(async move { store.put_blocks(blocks(task * 5..task * 5 + 5, 4000)).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    let image = Arc::new(disk.crash_image(0));
    let after = StoreHandle::with_backend(image, config).unwrap();
    for block in blocks(0..100, 4000) {
        let (cid, data) = block.into_parts();
        assert_eq!(after.get_block(cid).await.unwrap(), Some(data));
    }
}

#[tokio::test]
async fn one_bad_put_in_a_group_does_not_spoil_the_others() {
    let disk = MemoryBackend::new();
    let config = BlockStoreConfig {
        disk_reserve_bytes: 0,
        ..BlockStoreConfig::with_size(0)
    };
    let store = StoreHandle::with_backend(Arc::new(disk), config).unwrap();
    let (large, small) = (blocks(0..40, 2 << 20), blocks(100..102, 4000));
    let (too_much, fits) = tokio::join!(store.put_blocks(large), store.put_blocks(small.clone()));
    assert!(too_much.unwrap_err().is_full());
    fits.unwrap();
    assert!(store.has(small[0].cid()).unwrap());
}

#[tokio::test]
async fn stopping_finishes_what_is_queued_and_reads_go_on() {
    let store = StoreHandle::in_memory().unwrap();
    let put = blocks(0..8, 4000);
    let root = Owner {
        root: *put[0].cid(),
        holding: Holding::Pin,
        expiry: None,
    };
    let (done, ()) = tokio::join!(store.put_blocks_for(root, put.clone()), async {
        while store.stats().blocks == 0 {
            tokio::task::yield_now().await;
        }
        store.stop().await;
    });
    done.unwrap();
    assert_eq!(
        store.get_block(*put[7].cid()).await.unwrap().as_ref(),
        Some(put[7].data())
    );
    let late = store.put_blocks(put).await.unwrap_err();
    assert!(matches!(late, StoreError::Stopped));
}

#[tokio::test]
async fn records_change_together() {
    let store = StoreHandle::in_memory().unwrap();
    for expected in 1..4 {
        let serial: Result<u64, StoreError> = store
            .write(|rows| {
                let mut counters = rows.get(LEASE_COUNTERS, &newest())?.unwrap_or_default();
                counters.lease_serial += 1;
                rows.put(LEASE_COUNTERS, &newest(), &counters)?;
                Ok(counters.lease_serial)
            })
            .await;
        assert_eq!(serial.unwrap(), expected);
    }
}
