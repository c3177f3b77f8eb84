//! What becomes of a peer that comes back from a backup.

use std::fmt::Debug;

use protocol::content::{BookConfig, LeaseBook, Upload, UploadState};
use protocol::id::Hash32;
use protocol::publish::Offer;
use protocol::relayer::{self, Charge, Kind};
use protocol::time::UnixSeconds;
use protocol::unixfs::raw_cid;
use serde::de::DeserializeOwned;
use storage::backend::{Backend as _, FileBackend};
use storage::tables::{
    ENDED, LEASE_COUNTERS, OWN_PAGE, RELAYS, RESTORED, TABLES_NAME, Table, TableKey, Tables,
    TablesError, TablesRead, UPLOADS, VAULT, newest,
};

use super::*;
use crate::backup;
use crate::testing::ADA;

/// A folder of a peer that was copied and restored, with the records of `disk`.
fn restored(peer: &Context, disk: &MemoryBackend) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let [old, file, new] = ["old", "backup", "new"].map(|name| folder.path().join(name));
    std::fs::create_dir(&old).unwrap();
    let records = disk.open(TABLES_NAME).unwrap();
    let mut bytes = vec![0; usize::try_from(records.size().unwrap()).unwrap()];
    records.read_at(0, &mut bytes).unwrap();
    std::fs::write(old.join(TABLES_NAME), bytes).unwrap();
    std::fs::write(old.join("key"), hex::encode(peer.key.to_bytes())).unwrap();
    backup::write(&old, &file).unwrap();
    assert_eq!(backup::restore(&file, &new).unwrap().peer, peer.peer);
    folder
}

fn records_in(folder: &std::path::Path) -> Tables {
    Tables::open(Arc::new(FileBackend::open(folder).unwrap())).unwrap()
}

/// A table that has rows in the old folder has the same in the new one.
#[track_caller]
fn check_restored<K: TableKey + PartialEq + Debug, V: DeserializeOwned>(
    [old, new]: &[Tables; 2],
    table: Table<K, V>,
) {
    let keys = |records: &Tables| -> Vec<K> {
        let rows = records.read(|rows| rows.range(table, Bound::Unbounded, 100));
        let rows: Result<Vec<(K, V)>, TablesError> = rows;
        rows.unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_ne!(keys(old), [], "{} was never written", table.name());
    assert_eq!(keys(old), keys(new), "{}", table.name());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_peer_that_is_restored_knows_what_it_signed_and_what_is_under_way() {
    let mut village = Village::new(2).await;
    let imported = village.import(&noise(1 << 20)).await;
    let root: Cid = imported.cid.parse().unwrap();
    let action = village.publish(&imported, 2).await;
    let Member { disk, context, .. } = village.holders.remove(0);
    let has_page = |rows: &TablesRead<'_>| rows.count(OWN_PAGE);
    until(async || context.store.read(has_page).unwrap() > 0).await;
    // One that the holder has done with is gone.
    let upload = Upload {
        offer: Offer {
            action: action.clone(),
            root: raw_cid(b"another"),
            proof_root: Hash32([4; 32]),
            size: 7,
            sources: Vec::new(),
        },
        author: village.author.peer,
        accepted: UnixSeconds(1),
        state: UploadState::Queued,
    };
    let row = relayer::Row {
        digest: Hash32([1; 32]),
        revision: 1,
        charge: Charge {
            kind: Kind::Social,
            owner: address(3),
            user: ADA,
            prefix: None,
            gas: 1,
        },
        action,
        accepted: UnixSeconds(1),
        is_simulated: true,
        stage: relayer::Stage::Pending,
    };
    let written: Result<(), StoreError> = context
        .store
        .write(move |tables| {
            tables.put(
                VAULT,
                &(Hash32([2; 32]), address(3)),
                &Bytes::from_static(b"kept"),
            )?;
            tables.put(ENDED, &root, &protocol::time::Epoch(1))?;
            tables.put(UPLOADS, &upload.offer.root, &upload)?;
            Ok(tables.put(RELAYS, &row.digest, &row)?)
        })
        .await;
    written.unwrap();
    kill(&context).await;

    let folder = restored(&context, &disk);
    let both = ["old", "new"].map(|name| records_in(&folder.path().join(name)));
    check_restored(&both, storage::tables::LEASES);
    check_restored(&both, LEASE_COUNTERS);
    check_restored(&both, OWN_PAGE);
    check_restored(&both, UPLOADS);
    check_restored(&both, ENDED);
    check_restored(&both, VAULT);
    check_restored(&both, RELAYS);
    let [_, records] = both;
    let (counters, leases, page) = records
        .read::<_, TablesError>(|rows| {
            let leases = rows.range(storage::tables::LEASES, Bound::Unbounded, 10)?;
            let counters = rows.get(LEASE_COUNTERS, &newest())?;
            Ok((counters, leases, rows.get(OWN_PAGE, &newest())?))
        })
        .unwrap();
    let mark: Result<_, TablesError> = records.read(|rows| rows.get(RESTORED, &newest()));
    assert!(
        mark.unwrap().is_some(),
        "the folder says that it is restored"
    );
    let signed = page.clone().unwrap().record.epoch;
    let leases = leases.into_iter().map(|(_, lease)| lease);
    let config = BookConfig::default();
    let mut book = LeaseBook::new(config, context.peer, counters.unwrap(), leases, page);
    assert_eq!(book.draft_page(signed), None, "a second page of {signed:?}");

    let outbox = storage::tables::OUTBOX;
    let publications = storage::tables::PUBLICATIONS;
    let author = &village.author.store;
    let waits = async || author.read(|rows| rows.count(outbox)).unwrap_or(0) > 0;
    until(waits).await;
    let folder = restored(&village.author, &village.author_disk);
    let both = ["old", "new"].map(|name| records_in(&folder.path().join(name)));
    check_restored(&both, outbox);
    check_restored(&both, publications);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_holder_fetches_what_it_promised_without_being_asked() {
    let mut village = Village::new(3).await;
    let imported = village.import(&noise(3 << 20)).await;
    let root: Cid = imported.cid.parse().unwrap();
    village.publish(&imported, 3).await;
    let Member { disk, context, .. } = village.holders.remove(0);
    kill(&context).await;
    let folder = restored(&context, &disk);
    drop(context);

    let disk = MemoryBackend::new();
    let records = std::fs::read(folder.path().join("new").join(TABLES_NAME)).unwrap();
    let file = disk.open(TABLES_NAME).unwrap();
    file.write_at(0, &records).unwrap();
    file.sync().unwrap();
    let chain = village.chain.as_ref().expect("it runs");
    let context = peer(chain, 2, &disk, 3).await;
    assert_eq!(context.store.stats().blocks, 0);
    let others: Vec<&Context> = village.holders.iter().map(|one| &one.context).collect();
    introduce(&[&[&context], &others[..]].concat()).await;
    let member = Member::start(disk, context).await;
    until(async || {
        let report = member.context.store.verify(|_| true).await.unwrap();
        report.blocks == imported.blocks
    })
    .await;
    let held = member.context.store.root(root).await.unwrap().unwrap();
    assert!(held.holdings.contains_key(&Holding::Lease));
}
