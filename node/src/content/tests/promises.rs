//! What a content peer promises and keeps, as others see it: over its protocols,
//! on its disk, and through the hours that a test lets pass.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use cid::multihash::Multihash;
use client::api::Imported;
use protocol::action::SignedAction;
use protocol::content::listing;
use protocol::entity::build::{Builder, ContentFields, UserFields};
use protocol::entry::{Entry, Position, sha256};
use protocol::id::{EntityId, Hash32, Role, UserId};
use protocol::placement::{Placement, REPLICAS_TARGET};
use protocol::publish::{Offer, RefusalCode, Request, Response};
use protocol::records::Lease;
use protocol::signing::Signed;
use protocol::time::{Epoch, Moment};
use rpc::Clock;
use storage::backend::MemoryBackend;
use storage::blocks::Holding;
use storage::index::{BlockEntry, RecoveredBlock};

use crate::author::{self, AuthorHandle};
use crate::config::Config;
use crate::context::Context;
use crate::net::Protocol;
use crate::testing::{
    ADA, CHAIN_ID, TestChain, address, ask, introduce, key, kill, noise, peer_key, until,
};
use crate::{content, exchange};

/// A content peer that lives again and again on one disk, and those around it.
struct Stage {
    chain: TestChain,
    disk: MemoryBackend,
    begun: Moment,
    /// Staked peers that the test plays.
    others: Vec<Other>,
    author: Other,
}

/// A peer that the test plays: it has blocks, hands them out, and promises what
/// it is told to.
struct Other {
    seed: u8,
    context: Context,
    publish: AuthorHandle,
}

impl Stage {
    async fn new(others: u8) -> Self {
        let seeds: Vec<u8> = (HOLDER..=HOLDER + others).collect();
        let chain = TestChain::with_peers(&seeds, Role::Content).await;
        let author = Other::start(&chain, AUTHOR, seeds.len()).await;
        let mut played = Vec::new();
        for seed in &seeds[1..] {
            played.push(Other::start(&chain, *seed, seeds.len()).await);
        }
        Self {
            chain,
            disk: MemoryBackend::new(),
            begun: Clock::system().now(),
            others: played,
            author,
        }
    }

    /// Starts the content peer so many hours after the beginning, with these
    /// blocks in its index.
    async fn live(&self, hours: u64, blocks: &[Vec<SignedAction>]) -> Context {
        let since = Duration::from_secs(hours * 3600);
        self.live_at(self.begun + since, blocks).await
    }

    async fn live_at(&self, now: Moment, blocks: &[Vec<SignedAction>]) -> Context {
        let mut config = Config::default();
        config.roles.insert(Role::Content);
        config.content.presence_interval = Duration::from_millis(300);
        config.content.unlimited_uploads = true;
        let confirmed = self.others.len() + 1;
        let mut holder = self.chain.peer(HOLDER, &self.disk, config, confirmed).await;
        holder.clock = Clock::at(now);
        // An index far behind the chain would not know what was never published.
        let head = self.chain.client.latest().await.unwrap().number;
        for (number, actions) in (head..).zip(blocks) {
            index(&holder, number, actions).await;
        }
        let others = self.others.iter().chain([&self.author]);
        let all: Vec<&Context> = others
            .map(|other| &other.context)
            .chain([&holder])
            .collect();
        introduce(&all).await;
        let exchange = exchange::spawn(&holder).await.unwrap();
        content::spawn(&holder, &exchange).await.unwrap();
        holder
    }

    /// Lives for as long as it takes to renew the promises of an epoch.
    async fn renew_at(&self, hours: u64, blocks: &[Vec<SignedAction>]) {
        let holder = self.live(hours, blocks).await;
        let epoch = holder.clock.now().epoch();
        until(async || {
            let listed = self.list().await;
            listed.is_some_and(|(page, _)| page == Some(epoch))
        })
        .await;
        kill(&holder).await;
    }

    /// The epoch of the content peer's page, and the roots that it promises;
    /// `None` without an answer.
    async fn list(&self) -> Option<(Option<Epoch>, BTreeSet<Cid>)> {
        let request = listing::Request::List {
            after: None,
            known: None,
        }
        .to_bytes();
        let net = &self.author.context.net;
        let answer = net
            .request(address(HOLDER), Protocol::Leases, request)
            .await;
        let Ok(listing::Response::List(part)) = listing::Response::from_bytes(&answer.ok()?) else {
            return None;
        };
        let listed = part.listed.iter().map(|lease| lease.root);
        let fresh = part.fresh.iter().map(|lease| lease.record.root);
        let is_released = |root: &Cid| part.released.iter().any(|gone| **gone == root.to_bytes());
        let roots = listed.chain(fresh).filter(|root| !is_released(root));
        let roots = roots.collect();
        Some((part.page.map(|page| page.record.epoch), roots))
    }

    async fn until_promised(&self, root: Cid, is_promised: bool) {
        until(async || {
            let listed = self.list().await;
            listed.is_some_and(|(_, roots)| roots.contains(&root) == is_promised)
        })
        .await;
    }

    async fn ask(&self, request: &Request) -> Response {
        let (by, body) = (&self.author.context, request.to_bytes());
        let answer = ask(by, address(HOLDER), Protocol::Publish, body).await;
        Response::from_bytes(&answer).unwrap()
    }

    /// Offers a file of the author's with its action; answers the first answer.
    async fn offer(&self, imported: &Imported, action: &SignedAction) -> Response {
        let offer = Offer {
            action: action.clone(),
            root: root_of(imported),
            proof_root: imported.proof_root,
            size: imported.dag_size,
            sources: Vec::new(),
        };
        self.ask(&Request::Offer(Box::new(offer))).await
    }

    /// Offers a file of the author's until it is promised.
    async fn upload(&self, imported: &Imported, action: &SignedAction) {
        let answer = self.offer(imported, action).await;
        assert_eq!(answer, Response::Accepted);
        let root = root_of(imported);
        until(async || {
            let answer = self.ask(&Request::Status { root }).await;
            assert!(!matches!(answer, Response::Refused(_)), "{answer:?}");
            matches!(answer, Response::Lease(_))
        })
        .await;
    }
}

impl Other {
    async fn start(chain: &TestChain, seed: u8, confirmed: usize) -> Self {
        let config = Config::default();
        let context = chain
            .peer(seed, &MemoryBackend::new(), config, confirmed)
            .await;
        exchange::spawn(&context).await.unwrap();
        let publish = author::spawn(&context).await.unwrap();
        Self {
            seed,
            context,
            publish,
        }
    }

    async fn import(&self, bytes: Vec<u8>) -> Imported {
        let chunks = vec![Ok(Bytes::from(bytes))];
        let imported = self.publish.import(futures::stream::iter(chunks)).await;
        imported.unwrap()
    }

    /// Tells the content peer of a lease of its own.
    async fn announce(&self, root: Cid, size: u64, proof_root: Hash32, span: (Epoch, Epoch)) {
        let lease = Lease {
            root,
            proof_root,
            size,
            holder: address(self.seed),
            serial: u64::from(self.seed) << 32 | u64::from(sha256(&root.to_bytes()).0[0]),
            from_epoch: span.0,
            to_epoch: span.1,
        };
        let domain = self.context.contracts.domain();
        let lease = Box::new(Signed::new(lease, &domain, &peer_key(self.seed)));
        let request = listing::Request::Announce { lease }.to_bytes();
        let answer = ask(&self.context, address(HOLDER), Protocol::Leases, request).await;
        let answer = listing::Response::from_bytes(&answer).unwrap();
        assert_eq!(answer, listing::Response::Noted);
    }

    /// As [`Other::announce`], of a file that is here, for a month from an epoch on.
    async fn announce_file(&self, imported: &Imported, from: Epoch) {
        let span = (from, from.plus(MONTH_EPOCHS));
        let (root, size) = (root_of(imported), imported.dag_size);
        self.announce(root, size, imported.proof_root, span).await;
    }
}

/// Puts a block of actions into a peer's index; answers how many the rules reject.
async fn index(peer: &Context, number: u64, actions: &[SignedAction]) -> u64 {
    let hash = sha256(&number.to_be_bytes());
    let (time, domain) = (peer.clock.now().unix(), peer.contracts.action_domain());
    let entries = (0..).zip(actions).map(|(log_index, action)| {
        let position = Position {
            chain_id: CHAIN_ID,
            block_number: number,
            block_hash: hash,
            block_time: time,
            tx_hash: hash,
            log_index,
        };
        let action = action.clone();
        BlockEntry::recover(Entry { action, position }, &domain)
    });
    let block = RecoveredBlock {
        number,
        hash,
        parent: None,
        time,
        entries: entries.collect(),
    };
    let applied = peer.index.apply(vec![block]).await.unwrap();
    applied.rejected as u64
}

/// Who signs, with the key of which seed.
#[derive(Clone, Copy)]
struct User {
    id: UserId,
    key: u8,
}

impl User {
    fn builder(self, nonce: u8) -> Builder {
        Builder {
            user: self.id,
            nonce: Hash32([nonce; 32]),
        }
    }

    fn joins(self, stage: &Stage, handle: &str) -> SignedAction {
        let fields = UserFields {
            handle: Some(handle.to_owned()),
            ..UserFields::default()
        };
        self.sign(stage, self.builder(1).create_user(&fields))
    }

    /// Makes a digital content, told apart by its number, of a file.
    fn publishes(self, stage: &Stage, number: u8, file: &Imported) -> SignedAction {
        let fields = ContentFields {
            cid: Some(file.cid.clone()),
            ..titled()
        };
        self.creates(stage, number, &fields)
    }

    fn creates(self, stage: &Stage, number: u8, fields: &ContentFields) -> SignedAction {
        let action = self
            .builder(number)
            .create_digital_content(entity(number), fields);
        self.sign(stage, action)
    }

    fn deletes(self, stage: &Stage, number: u8) -> SignedAction {
        let builder = self.builder(number + 100);
        self.sign(stage, builder.delete_digital_content(entity(number)))
    }

    fn sign(self, stage: &Stage, action: protocol::action::Action) -> SignedAction {
        let contracts = stage.chain.contracts;
        action.sign(&contracts.action_domain(), &key(self.key))
    }
}

fn titled() -> ContentFields {
    ContentFields {
        title: Some("Night song".to_owned()),
        mime: Some("audio/mpeg".to_owned()),
        ..ContentFields::default()
    }
}

fn entity(number: u8) -> EntityId {
    EntityId(2_000_000 + u64::from(number))
}

fn root_of(imported: &Imported) -> Cid {
    imported.cid.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_names_and_deletes_a_cover_does_not_end_its_leases() {
    let stage = Stage::new(0).await;
    let song = stage.author.import(noise(50_000)).await;
    let cover = stage.author.import(noise(40_000)).await;
    let other = stage.author.import(noise(30_000)).await;
    let fields = ContentFields {
        cid: Some(song.cid.clone()),
        cover_art: Some(cover.cid.clone()),
        ..titled()
    };
    let publishes = BEN.creates(&stage, 2, &fields);
    let publishes_other = BEN.publishes(&stage, 3, &other);
    let joins = vec![BEN.joins(&stage, "ben"), EVE.joins(&stage, "eve")];
    let names = EVE.publishes(&stage, 4, &cover);

    let holder = stage.live(0, std::slice::from_ref(&joins)).await;
    stage.upload(&song, &publishes).await;
    stage.upload(&cover, &publishes).await;
    stage.upload(&other, &publishes_other).await;
    kill(&holder).await;

    let named = vec![publishes, publishes_other, names];
    let deleted = vec![EVE.deletes(&stage, 4), BEN.deletes(&stage, 3)];
    let before = [joins.clone(), named.clone()];
    let after = [joins, named, deleted];
    for hours in 1..3 {
        stage.renew_at(hours, &before).await;
    }
    for hours in [3, 4, 30, 31] {
        stage.renew_at(hours, &after).await;
    }
    // What its author deleted ends a day after; what somebody else named stays.
    let _holder = stage.live(32, &after).await;
    stage.until_promised(root_of(&other), false).await;
    stage.until_promised(root_of(&song), true).await;
    let (_, promised) = stage.list().await.unwrap();
    assert!(promised.contains(&root_of(&cover)), "{promised:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_of_a_root_that_only_a_description_names_is_refused() {
    let stage = Stage::new(0).await;
    let song = stage.author.import(noise(50_000)).await;
    let stowaway = stage.author.import(noise(40_000)).await;
    let fields = ContentFields {
        cid: Some(song.cid.clone()),
        description: Some(format!("as heard in {}", stowaway.cid)),
        ..titled()
    };
    let action = BEN.creates(&stage, 2, &fields);
    let _holder = stage.live(0, &[vec![BEN.joins(&stage, "ben")]]).await;
    match stage.offer(&stowaway, &action).await {
        Response::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::Invalid),
        answer => panic!("{answer:?}"),
    }
    stage.upload(&song, &action).await;
}

/// An upload ends after two hours when what the index has of its action is no
/// publication.
async fn check_unpublished(make: impl Fn(&Stage, &Imported) -> (SignedAction, Vec<SignedAction>)) {
    let stage = Stage::new(0).await;
    let song = stage.author.import(noise(50_000)).await;
    let joins = vec![BEN.joins(&stage, "ben"), EVE.joins(&stage, "eve")];
    let (offered, indexed) = make(&stage, &song);
    let holder = stage.live(0, std::slice::from_ref(&joins)).await;
    stage.upload(&song, &offered).await;
    let rejected = index(&holder, 1_000_000, &indexed).await;
    assert_eq!(rejected, 1);
    kill(&holder).await;

    let _holder = stage.live(3, &[joins, indexed]).await;
    stage.until_promised(root_of(&song), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_the_rules_reject_publishes_nothing() {
    check_unpublished(|stage, song| {
        // Its number is taken.
        let offered = BEN.publishes(stage, 2, song);
        let action = EVE
            .builder(9)
            .create_digital_content(entity(2), &titled_without_file());
        let taken = EVE.sign(stage, action);
        (offered.clone(), vec![taken, offered])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_that_a_stranger_signed_publishes_nothing() {
    check_unpublished(|stage, song| {
        let offered = BEN.publishes(stage, 2, song);
        let by_eve = User {
            key: EVE.key,
            ..BEN
        };
        (offered, vec![by_eve.publishes(stage, 2, song)])
    })
    .await;
}

/// A digital content needs a file, whichever.
fn titled_without_file() -> ContentFields {
    ContentFields {
        cid: Some(invented(9).to_string()),
        ..titled()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roots_that_a_staked_peer_promises_and_nobody_published_are_not_fetched() {
    let stage = Stage::new(2).await;
    let [liar, honest] = &stage.others[..] else {
        panic!("two are played");
    };
    let song = honest.import(noise(50_000)).await;
    let mut unpublished = Vec::new();
    for size in 1_000..1_020 {
        unpublished.push(liar.import(noise(size)).await);
    }
    let blocks = [
        vec![BEN.joins(&stage, "ben")],
        vec![BEN.publishes(&stage, 2, &song)],
    ];
    let holder = stage.live(0, &blocks).await;
    let epoch = holder.clock.now().epoch();
    for file in &unpublished {
        liar.announce_file(file, epoch).await;
    }
    honest.announce_file(&song, epoch).await;
    stage.until_promised(root_of(&song), true).await;
    let kept = holder.store.roots(Some(Holding::Lease)).await.unwrap();
    let kept: Vec<Cid> = kept.into_iter().map(|info| info.root).collect();
    assert_eq!(kept, [root_of(&song)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promises_of_invented_roots_do_not_stop_the_repair_of_published_ones() {
    let stage = Stage::new(2).await;
    let [liar, honest] = &stage.others[..] else {
        panic!("two are played");
    };
    let song = honest.import(noise(50_000)).await;
    let blocks = [
        vec![BEN.joins(&stage, "ben")],
        vec![BEN.publishes(&stage, 2, &song)],
    ];
    let holder = stage.live(0, &blocks).await;
    let epoch = holder.clock.now().epoch();
    let span = (epoch, epoch.plus(MONTH_EPOCHS));
    for number in 0..200 {
        let root = invented(number);
        liar.announce(root, 1_000, Hash32([7; 32]), span).await;
    }
    honest.announce_file(&song, epoch).await;
    stage.until_promised(root_of(&song), true).await;
}

/// The CID of nothing, before most others.
fn invented(number: u8) -> Cid {
    let mut digest = [0; 32];
    digest[31] = number;
    let hash = Multihash::wrap(0x12, &digest).expect("32 bytes fit");
    Cid::new_v1(0x55, hash)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_root_that_no_lease_names_is_looked_for() {
    let stage = Stage::new(1).await;
    // It has the file and promises nothing.
    let song = stage.others[0].import(noise(50_000)).await;
    let blocks = [
        vec![BEN.joins(&stage, "ben")],
        vec![BEN.publishes(&stage, 2, &song)],
    ];
    let _holder = stage.live(0, &blocks).await;
    stage.until_promised(root_of(&song), true).await;
}

/// The content peer is no replica of two files that five others hold, and gives up
/// the one whose five leases bind; one lease of the other file does not.
async fn check_release(now: impl Fn(Moment) -> Moment, unbound: impl Fn(Epoch) -> (Epoch, Epoch)) {
    let stage = Stage::new(5).await;
    let registry = stage.author.context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let mut files = Vec::new();
    for size in 20_000.. {
        let bytes = noise(size);
        let file = stage.author.import(bytes.clone()).await;
        let placed = placement.place(&root_of(&file), REPLICAS_TARGET, &BTreeSet::new());
        if !placed.contains(&address(HOLDER)) {
            for other in &stage.others {
                other.import(bytes.clone()).await;
            }
            files.push(file);
        }
        if files.len() == 2 {
            break;
        }
    }
    let [bound, kept] = &files[..] else {
        panic!("two were found");
    };
    let publishes = [
        BEN.publishes(&stage, 2, bound),
        BEN.publishes(&stage, 3, kept),
    ];
    let blocks = [vec![BEN.joins(&stage, "ben")], publishes.to_vec()];
    let holder = stage.live_at(now(stage.begun), &blocks).await;
    for (file, action) in files.iter().zip(&publishes) {
        stage.upload(file, action).await;
    }
    let epoch = holder.clock.now().epoch();
    let (last, others) = stage.others.split_last().expect("five");
    let span = unbound(epoch);
    last.announce(root_of(kept), kept.dag_size, kept.proof_root, span)
        .await;
    if span.1 == epoch {
        until(async || holder.clock.now().epoch() > epoch).await;
    }
    for other in others {
        other.announce_file(kept, epoch).await;
    }
    for other in &stage.others {
        other.announce_file(bound, epoch).await;
    }
    stage.until_promised(root_of(bound), false).await;
    let (_, promised) = stage.list().await.unwrap();
    assert!(promised.contains(&root_of(kept)), "{promised:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_not_renewed_for_more_than_a_day_is_no_replica() {
    let old = |epoch: Epoch| (Epoch(epoch.0 - 30), epoch.plus(MONTH_EPOCHS - 30));
    check_release(|now| now, old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_span_is_over_is_no_replica() {
    // Half a minute before the end of an epoch, which is the last of the lease.
    let late = |now: Moment| {
        let end = now.epoch().plus(1).start();
        Moment::from_unix(protocol::time::UnixSeconds(end.0 - 30))
    };
    check_release(late, |epoch| (Epoch(epoch.0 - 1), epoch)).await;
}

/// The content peer under test.
const HOLDER: u8 = 2;

/// A light peer that has files and no role.
const AUTHOR: u8 = 60;

const BEN: User = User { id: ADA, key: 90 };
const EVE: User = User {
    id: UserId(3_000_002),
    key: 91,
};

/// What a lease promises by default.
const MONTH_EPOCHS: u64 = 720;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_chain_where_nothing_happens_what_was_not_published_is_dropped_too() {
    let stage = Stage::new(0).await;
    let song = stage.author.import(noise(50_000)).await;
    let holder = stage.live(0, &[vec![BEN.joins(&stage, "ben")]]).await;
    stage.upload(&song, &BEN.publishes(&stage, 2, &song)).await;
    kill(&holder).await;

    let head = stage.chain.chain.control().mine(1_000).await.unwrap();
    let holder = stage.live(3, &[]).await;
    // The index has followed the chain through all these blocks.
    holder.index.set_settled(head);
    stage.until_promised(root_of(&song), false).await;
}
