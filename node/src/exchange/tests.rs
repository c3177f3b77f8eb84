use bytes::Bytes;
use protocol::id::Role;
use storage::backend::MemoryBackend;
use storage::blocks::Holding;

use super::*;
use crate::author::{self, ImportError};
use crate::config::Config;
use crate::testing::{TestChain, address, introduce, noise, until, within};

mod deaf;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_a_fetch_gets_the_owner_and_the_proof_it_asked_for() {
    let chain = TestChain::with_peers(&[2, 3], Role::Content).await;
    let disk = MemoryBackend::new();
    let author = chain.peer(2, &disk, Config::default(), 2).await;
    let disk = MemoryBackend::new();
    let reader = chain.peer(3, &disk, Config::default(), 2).await;
    introduce(&[&author, &reader]).await;
    let _exchange = spawn(&author).await.unwrap();
    let publish = author::spawn(&author).await.unwrap();

    let nothing = publish.import(futures::stream::empty()).await;
    assert!(matches!(nothing, Err(ImportError::Empty)), "{nothing:?}");
    let chunks = vec![Ok(Bytes::from(noise(3 << 20)))];
    let imported = publish.import(futures::stream::iter(chunks)).await.unwrap();
    let root: Cid = imported.cid.parse().unwrap();

    let exchange = spawn(&reader).await.unwrap();
    let plain = FetchOptions {
        holders: vec![address(2)],
        ..FetchOptions::default()
    };
    let owner = Owner {
        root,
        holding: Holding::Pin,
        expiry: None,
    };
    let whole = FetchOptions {
        owner: Some(owner),
        with_proof: true,
        ..plain.clone()
    };
    let mut first = exchange.fetch(root, plain.clone()).await.unwrap();
    let mut second = exchange.fetch(root, whole).await.unwrap();
    let mut third = exchange.fetch(root, plain).await.unwrap();
    let fetched = within(second.done()).await.unwrap();
    assert_eq!(fetched.proof_root, Some(imported.proof_root));
    assert_eq!(fetched.bytes, imported.dag_size);
    let held = reader.store.root(root).await.unwrap().unwrap();
    assert!(held.holdings.contains_key(&Holding::Pin));
    assert_eq!(held.blocks, imported.blocks);
    assert_eq!(within(first.done()).await.unwrap().proof_root, None);
    assert_eq!(within(third.done()).await.unwrap().bytes, imported.dag_size);
}
