//! Blocks of known bytes and a small store.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use multihash::Multihash;
use protocol::time::UnixSeconds;
use protocol::unixfs::VerifiedBlock;
use storage::backend::{Backend, MemoryBackend};
use storage::blocks::{Batch, BlockStore, BlockStoreConfig, BlockStoreError, Holding, Owner};

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_000_000);

pub(crate) const RAW: u64 = 0x55;

pub(crate) const DAG_PB: u64 = 0x70;

/// A block of `size` bytes that `number` decides.
pub(crate) fn block(number: u64, size: usize) -> (Cid, Bytes) {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::with_capacity(size + 8);
    while data.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(size);
    (cid(RAW, &data), data.into())
}

pub(crate) fn blocks(numbers: std::ops::Range<u64>, size: usize) -> Vec<(Cid, Bytes)> {
    numbers.map(|number| block(number, size)).collect()
}

pub(crate) fn cid(codec: u64, data: &[u8]) -> Cid {
    use ring::digest::{SHA256, digest};
    let hash = Multihash::wrap(0x12, digest(&SHA256, data).as_ref()).unwrap();
    Cid::new_v1(codec, hash)
}

pub(crate) fn owner(root: Cid, holding: Holding) -> Owner {
    Owner {
        root,
        holding,
        expiry: None,
    }
}

/// Segments of 64 KiB under a cap of 1 MiB.
pub(crate) const SMALL: BlockStoreConfig = BlockStoreConfig {
    store_bytes_max: 1 << 20,
    disk_reserve_bytes: 0,
    segment_bytes: 64 << 10,
    cache_bytes: 1 << 20,
};

pub(crate) fn open(disk: &MemoryBackend) -> Result<BlockStore, BlockStoreError> {
    let backend: Arc<dyn Backend> = Arc::new(disk.clone());
    BlockStore::open(backend, SMALL)
}

/// Checks blocks and puts them.
pub(crate) fn put_many(
    store: &mut BlockStore,
    blocks: Vec<(Cid, Bytes)>,
    owner: Option<Owner>,
    now: UnixSeconds,
) -> Result<(), BlockStoreError> {
    let check = |(cid, data)| VerifiedBlock::new(cid, data);
    let blocks = blocks.into_iter().map(check).collect::<Result<_, _>>()?;
    store.put(&[Batch { blocks, owner }], now)
}

/// Every block is there with its bytes.
#[track_caller]
pub(crate) fn check_there(store: &BlockStore, blocks: &[(Cid, Bytes)]) {
    for (cid, data) in blocks {
        assert_eq!(store.reader().block(cid).unwrap().as_ref(), Some(data));
    }
}

#[track_caller]
pub(crate) fn check_gone(store: &BlockStore, blocks: &[(Cid, Bytes)]) {
    for (cid, _) in blocks {
        assert_eq!(store.reader().block(cid).unwrap(), None);
    }
}
