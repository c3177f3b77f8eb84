use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use client::api::Imported;
use protocol::action::{Action, SignedAction};
use protocol::entity::build::ContentFields;
use protocol::exchange::{Answer, Request, Response};
use protocol::id::{EntityId, Role};
use protocol::records::Page;
use protocol::signing::Signed;
use rpc::Clock;
use storage::backend::MemoryBackend;
use storage::blocks::{Holding, Owner};
use storage::tables::LEASES_BY_HOLDER;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::author::{self, AuthorHandle};
use crate::config::Config;
use crate::exchange::{self, FetchOptions};
use crate::testing::{
    TestChain, ada, ada_joins, address, apply, ask, by_ada, introduce, kill, noise, peer_key,
    until, within,
};
use protocol::author::{PublishRoot, PublishState};

mod crowd;
mod hands;
mod promises;
mod restore;

const LIGHT: u8 = 60;

/// A peer with the content role.
struct Member {
    disk: MemoryBackend,
    context: Context,
    content: ContentHandle,
}

/// Whose time it is, and how patient peers are.
#[derive(Debug, Clone, Copy)]
struct Terms {
    clock: Clock,
    lost_after: Duration,
}

/// Several content peers and one light peer that publishes.
struct Village {
    terms: Terms,
    chain: Option<TestChain>,
    holders: Vec<Member>,
    author: Context,
    author_disk: MemoryBackend,
    exchange: ExchangeHandle,
    publish: AuthorHandle,
}

impl Village {
    async fn new(holders: u8) -> Self {
        Self::on(Terms::default(), holders).await
    }

    async fn on(terms: Terms, holders: u8) -> Self {
        let seeds: Vec<u8> = (2..2 + holders).collect();
        let chain = TestChain::with_peers(&seeds, Role::Content).await;
        let mut contexts = Vec::new();
        for seed in seeds {
            let disk = MemoryBackend::new();
            let context = peer_on(terms, &chain, seed, &disk, usize::from(holders)).await;
            contexts.push((disk, context));
        }
        let author_disk = MemoryBackend::new();
        let author = peer_on(terms, &chain, LIGHT, &author_disk, usize::from(holders)).await;
        let all: Vec<&Context> = contexts
            .iter()
            .map(|(_, context)| context)
            .chain([&author])
            .collect();
        introduce(&all).await;
        for context in &all {
            apply(context, 1, &[ada_joins(context)]).await;
        }
        let exchange = exchange::spawn(&author).await.unwrap();
        let publish = author::spawn(&author).await.unwrap();
        let mut holders = Vec::new();
        for (disk, context) in contexts {
            holders.push(Member::start(disk, context).await);
        }
        Self {
            terms,
            chain: Some(chain),
            holders,
            author,
            author_disk,
            exchange,
            publish,
        }
    }

    async fn import(&self, bytes: &[u8]) -> Imported {
        import(&self.publish, bytes).await
    }

    /// Publishes until `leases` leases are there; answers the action.
    async fn publish(&self, imported: &Imported, leases: usize) -> SignedAction {
        let action = by_ada(&self.author, song(2, imported));
        publish_until(&self.publish, &action, imported, leases).await;
        action
    }

    /// The live peers that hold a root by a lease of their own.
    fn leased(&self, root: Cid) -> BTreeSet<Address> {
        let mut leased = BTreeSet::new();
        for holder in &self.holders {
            if is_leased(&holder.context, root) {
                leased.insert(holder.context.peer);
            }
        }
        leased
    }
}

impl Member {
    async fn start(disk: MemoryBackend, context: Context) -> Self {
        let exchange = exchange::spawn(&context).await.unwrap();
        let content = spawn(&context, &exchange).await.unwrap();
        Self {
            disk,
            context,
            content,
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            lost_after: Duration::from_secs(4),
        }
    }
}

async fn import(author: &AuthorHandle, bytes: &[u8]) -> Imported {
    let chunks: Vec<_> = bytes
        .chunks(100_000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let imported = author.import(futures::stream::iter(chunks)).await;
    imported.unwrap()
}

/// The action that publishes a file, different for each `nonce`.
fn song(nonce: u8, imported: &Imported) -> Action {
    let fields = ContentFields {
        title: Some("Night song".to_owned()),
        cid: Some(imported.cid.clone()),
        mime: Some("audio/mpeg".to_owned()),
        ..ContentFields::default()
    };
    let id = EntityId(1_999_999 + u64::from(nonce));
    ada(nonce).create_digital_content(id, &fields)
}

/// Publishes until `leases` leases are there.
async fn publish_until(
    author: &AuthorHandle,
    action: &SignedAction,
    imported: &Imported,
    leases: usize,
) {
    let root = PublishRoot {
        cid: imported.cid.parse().unwrap(),
        proof_root: imported.proof_root,
        dag_size: imported.dag_size,
    };
    let id = author.publish(action.clone(), vec![root]).await.unwrap();
    until(async || {
        let status = author.published(id).await.unwrap();
        assert_ne!(status.state, PublishState::Failed, "{:?}", status.error);
        status.roots[0].leases >= leases
    })
    .await;
}

async fn peer(chain: &TestChain, seed: u8, disk: &MemoryBackend, confirmed: usize) -> Context {
    peer_on(Terms::default(), chain, seed, disk, confirmed).await
}

async fn peer_on(
    terms: Terms,
    chain: &TestChain,
    seed: u8,
    disk: &MemoryBackend,
    confirmed: usize,
) -> Context {
    let mut config = Config::default();
    if seed != LIGHT {
        config.roles.insert(Role::Content);
    }
    config.content.presence_interval = Duration::from_millis(300);
    config.content.lost_after = terms.lost_after;
    config.content.unlimited_uploads = true;
    chain
        .peer_by(terms.clock, seed, disk, config, confirmed)
        .await
}

async fn read_all(exchange: &ExchangeHandle, root: Cid) -> Vec<u8> {
    let mut reader = exchange.open(root, 0..u64::MAX, true);
    let mut bytes = Vec::new();
    while let Some(chunk) = within(reader.next()).await.unwrap() {
        bytes.extend(chunk);
    }
    bytes
}

/// True when a peer promises a root.
fn is_leased(peer: &Context, root: Cid) -> bool {
    let own: Result<_, StoreError> = peer
        .store
        .read(|tables| Ok(tables.get(storage::tables::LEASES, &root)?));
    own.unwrap().is_some()
}

/// The other peers whose promise a peer knows.
fn claimants(peer: &Context, root: Cid) -> BTreeSet<Address> {
    let claims: Result<Vec<_>, StoreError> = peer
        .store
        .read(|tables| Ok(tables.range(LEASES_BY_HOLDER, Bound::Unbounded, 100)?));
    let claims = claims.unwrap().into_iter().map(|(key, _)| key);
    claims
        .filter(|(_, claimed)| *claimed == root)
        .map(|(holder, _)| holder)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_file_is_leased_read_back_and_repaired_while_the_chain_is_away() {
    let mut village = Village::new(6).await;
    let file = noise(3 << 20);
    let imported = village.import(&file).await;
    let root: Cid = imported.cid.parse().unwrap();
    let action = village.publish(&imported, 5).await;
    for holder in &village.holders {
        apply(&holder.context, 2, std::slice::from_ref(&action)).await;
    }
    let before = village.leased(root);
    assert_eq!(before.len(), 5, "as many as are placed");

    let registry = village.author.chain.snapshot().borrow().clone();
    let placement = protocol::placement::Placement::new(&registry);
    let placed = placement.place(&root, 5, &BTreeSet::new());
    assert_eq!(before, placed.into_iter().collect());
    let is_holder = |member: &&Member| before.contains(&member.context.peer);
    assert_eq!(village.holders.iter().filter(is_holder).count(), 5);

    village
        .author
        .store
        .remove_root(root, Holding::Upload)
        .await
        .unwrap();
    assert!(!village.author.store.has(&root).unwrap());
    assert_eq!(read_all(&village.exchange, root).await, file);
    let cached = village.author.store.root(root).await.unwrap().unwrap();
    assert!(cached.holdings.contains_key(&Holding::Cache));

    village.chain.take().expect("it runs").stop().await;
    let victim = village
        .holders
        .iter()
        .position(|holder| before.contains(&holder.context.peer))
        .unwrap();
    let victim = village.holders.remove(victim);
    kill(&victim.context).await;
    until(async || village.leased(root).len() == village.holders.len()).await;
    // Each hears of the new replica soon after.
    for holder in &village.holders {
        let others = village.holders.iter().map(|other| other.context.peer);
        let others: BTreeSet<Address> = others
            .filter(|other| *other != holder.context.peer)
            .collect();
        until(async || others.is_subset(&claimants(&holder.context, root))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_lies_is_passed_over_and_a_damaged_block_is_fetched_again() {
    let seeds = [2, 3, 4];
    let chain = TestChain::with_peers(&seeds, Role::Content).await;
    let disk = MemoryBackend::new();
    let honest = peer(&chain, 2, &MemoryBackend::new(), 3).await;
    let liar = peer(&chain, 3, &MemoryBackend::new(), 3).await;
    let reader = peer(&chain, 4, &disk, 3).await;
    introduce(&[&honest, &liar, &reader]).await;
    let mut questions = liar.net.serve(Protocol::Blocks).await.unwrap();
    tokio::spawn(async move {
        while let Some(inbound) = questions.recv().await {
            let request = Request::decode(&inbound.body).unwrap();
            let lie = Answer::Data(Bytes::from_static(b"no such block"));
            let response = Response::all(&lie, request.cids.len());
            inbound.respond.send(response.encode());
        }
    });
    let _exchange = exchange::spawn(&honest).await.unwrap();
    let publish = author::spawn(&honest).await.unwrap();
    let file = noise(5 << 20);
    let chunks = vec![Ok(Bytes::from(file.clone()))];
    let imported = publish.import(futures::stream::iter(chunks)).await.unwrap();
    let root: Cid = imported.cid.parse().unwrap();

    let exchange = exchange::spawn(&reader).await.unwrap();
    let options = FetchOptions {
        holders: vec![address(3), address(2)],
        owner: Some(Owner {
            root,
            holding: Holding::Pin,
            expiry: None,
        }),
        with_proof: true,
        ..FetchOptions::default()
    };
    let mut fetching = exchange.fetch(root, options).await.unwrap();
    let fetched = within(fetching.done()).await.unwrap();
    assert_eq!(fetched.proof_root, Some(imported.proof_root));
    assert_eq!(fetched.bytes, imported.dag_size);
    assert_eq!(fetched.blocks, imported.blocks);

    kill(&reader).await;
    drop((exchange, reader));
    for offset in (0..5).map(|block| 500_000 + block * 1_000_000) {
        disk.flip_bit("segment-00000001", offset);
    }
    let reader = peer(&chain, 4, &disk, 3).await;
    introduce(&[&honest, &reader]).await;
    let report = reader.store.verify(|_| true).await.unwrap();
    assert!(report.corrupt_count > 0);
    let exchange = exchange::spawn(&reader).await.unwrap();
    assert_eq!(read_all(&exchange, root).await, file);
    let report = reader.store.verify(|_| true).await.unwrap();
    assert_eq!(report.corrupt_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_comes_back_with_its_promises_and_mends_its_disk() {
    let mut village = Village::new(3).await;
    let imported = village.import(&noise(3 << 20)).await;
    let root: Cid = imported.cid.parse().unwrap();
    village.publish(&imported, 3).await;

    let Member { disk, context, .. } = village.holders.remove(0);
    let cids = context
        .store
        .reader()
        .listed_after(&root, None, 64)
        .unwrap();
    kill(&context).await;
    drop(context);
    disk.flip_bit("segment-00000001", 1_500_000);
    let chain = village.chain.as_ref().expect("it runs");
    let context = peer(chain, 2, &disk, 3).await;
    let others: Vec<&Context> = village.holders.iter().map(|one| &one.context).collect();
    introduce(&[&[&context], &others[..]].concat()).await;
    let member = Member::start(disk, context).await;
    assert!(is_leased(&member.context, root));
    let others: BTreeSet<Address> = others.iter().map(|other| other.peer).collect();
    assert!(others.is_subset(&claimants(&member.context, root)));

    let asking = &village.holders[0].context;
    let (mut asked, mut is_hurt) = (cids.clone(), false);
    while !asked.is_empty() {
        let request = Request {
            cids: asked.clone(),
        };
        let answer = ask(asking, address(2), Protocol::Blocks, request.encode()).await;
        let response = Response::decode(&answer).unwrap();
        is_hurt |= response.answers.contains(&Answer::Missing);
        asked.drain(..response.answers.len());
    }
    assert!(is_hurt, "the damage is noticed");
    let store = &member.context.store;
    until(async || {
        let report = store.verify(|_| true).await.unwrap();
        report.corrupt_count == 0 && report.blocks == cids.len() as u64
    })
    .await;
    assert!(is_leased(&member.context, root));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_stopped_before_a_dropped_block_was_fetched_fetches_it_after_its_start() {
    let mut village = Village::new(3).await;
    let imported = village.import(&noise(3 << 20)).await;
    let root: Cid = imported.cid.parse().unwrap();
    village.publish(&imported, 3).await;

    let Member { disk, context, .. } = village.holders.remove(0);
    let reader = context.store.reader();
    let cids = reader.listed_after(&root, None, 64).unwrap();
    kill(&context).await;
    drop((reader, context));
    disk.flip_bit("segment-00000001", 1_500_000);
    let chain = village.chain.as_ref().expect("it runs");
    let context = peer(chain, 2, &disk, 3).await;
    for cid in &cids {
        context.store.drop_block(*cid).await.unwrap();
    }
    let report = context.store.verify(|_| true).await.unwrap();
    assert!(report.blocks < cids.len() as u64);

    let others: Vec<&Context> = village.holders.iter().map(|one| &one.context).collect();
    introduce(&[&[&context], &others[..]].concat()).await;
    let member = Member::start(disk, context).await;
    until(async || {
        let report = member.context.store.verify(|_| true).await.unwrap();
        report.blocks == cids.len() as u64
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_pages_that_a_stranger_repeats_do_not_keep_a_silent_holder_alive() {
    let chain = TestChain::with_peers(&[2, 3], Role::Content).await;
    let context = peer(&chain, 2, &MemoryBackend::new(), 2).await;
    let stranger = peer(&chain, LIGHT, &MemoryBackend::new(), 2).await;
    introduce(&[&context, &stranger]).await;
    let member = Member::start(MemoryBackend::new(), context).await;
    within(stranger.net.connect(address(2))).await.unwrap();

    let epoch = stranger.clock.now().epoch();
    let ages = std::cell::Cell::new(0);
    until(async || {
        let age = ages.get() + 1;
        ages.set(age);
        let page = Page {
            holder: address(3),
            serial: 1_000 - age,
            epoch: protocol::time::Epoch(epoch.0 - 100 - age),
            count: 0,
            size: 0,
            leases_root: protocol::merkle::root([]),
        };
        let page = Signed::new(page, &stranger.contracts.domain(), &peer_key(3));
        // Who has not subscribed yet hears the next one.
        let _ = stranger
            .net
            .publish(Topic::Pages, protocol::codec::to_bytes(&page))
            .await;
        member.content.status().borrow().repair.lost == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_block_that_a_visitor_meets_is_fetched_again_while_the_holder_runs() {
    let mut village = Village::new(3).await;
    let imported = village.import(&noise(3 << 20)).await;
    let root: Cid = imported.cid.parse().unwrap();
    village.publish(&imported, 3).await;

    // A block that was read once is not checked again in the same life.
    let Member { disk, context, .. } = village.holders.remove(0);
    let whole = context.store.verify(|_| true).await.unwrap();
    kill(&context).await;
    drop(context);
    disk.flip_bit("segment-00000001", 1_500_000);
    let chain = village.chain.as_ref().expect("it runs");
    let context = peer(chain, 2, &disk, 3).await;
    let others: Vec<&Context> = village.holders.iter().map(|one| &one.context).collect();
    introduce(&[&[&context], &others[..]].concat()).await;
    let member = Member::start(disk, context).await;
    let store = &member.context.store;
    let hurt = store.verify(|_| true).await.unwrap();
    assert_eq!((hurt.blocks, hurt.corrupt_count), (whole.blocks, 1));
    visit(&member.context, &format!("/ipfs/{root}")).await;
    until(async || {
        let report = store.verify(|_| true).await.unwrap();
        report.corrupt_count == 0 && report.blocks == whole.blocks
    })
    .await;
}

/// Asks a peer's gateway for a path as somebody for whom it fetches nothing,
/// until the answer ends.
async fn visit(context: &Context, path: &str) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    crate::http::serve(
        listener,
        context,
        crate::http::Parts::default(),
        String::new(),
    );
    let mut visitor = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    visitor.write_all(request.as_bytes()).await.unwrap();
    // It is broken off at the damaged block.
    let _ = within(visitor.read_to_end(&mut Vec::new())).await;
}
