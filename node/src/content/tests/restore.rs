//! What becomes of a peer that comes back from a backup.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::admission::Account;
use protocol::codec;
use protocol::content::listing::{self, Part};
use protocol::content::{BookConfig, LeaseBook, Upload, UploadState};
use protocol::id::Hash32;
use protocol::publish::Offer;
use protocol::records::{Lease, SignedPage};
use protocol::relayer::{self, Charge, Kind};
use protocol::time::{Epoch, Moment, UnixSeconds};
use protocol::unixfs::raw_cid;
use serde::de::DeserializeOwned;
use storage::backend::{Backend as _, FileBackend};
use storage::tables::{
    ENDED, LEASE_COUNTERS, OUTBOX, OWN_PAGE, PUBLICATIONS, RELAYS, RESTORED, TABLES_NAME, Table,
    TableKey, Tables, TablesError, TablesRead, UPLOADS, VAULT, newest,
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
        account: Account::Unknown,
        accepted: UnixSeconds(1),
        state: UploadState::Queued,
    };
    let written: Result<(), StoreError> = context
        .store
        .write(move |tables| {
            tables.put(ENDED, &root, &Epoch(1))?;
            Ok(tables.put(UPLOADS, &upload.offer.root, &upload)?)
        })
        .await;
    written.unwrap();
    entrust(&context, action).await;
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

    let author = &village.author.store;
    let waits = async || author.read(|rows| rows.count(OUTBOX)).unwrap_or(0) > 0;
    until(waits).await;
    let folder = restored(&village.author, &village.author_disk);
    let both = ["old", "new"].map(|name| records_in(&folder.path().join(name)));
    check_restored(&both, OUTBOX);
    check_restored(&both, PUBLICATIONS);
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

    let disk = disk_of(&folder.path().join("new"));
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

/// Everything that a peer was ever heard or seen to have signed.
#[derive(Debug, Clone, Default)]
struct Signatures {
    inner: Arc<Mutex<SignaturesInner>>,
}

#[derive(Debug, Default)]
struct SignaturesInner {
    pages: BTreeMap<Epoch, Page>,
    leases: BTreeMap<u64, Lease>,
    /// Pairs of records that contradict each other.
    twice: Vec<String>,
}

impl Signatures {
    /// Takes what `of` publishes at `by`, and what it answers to it.
    async fn watch(of: Address, by: &Context) -> Self {
        let signatures = Self::default();
        let mut pages = by.net.subscribe(Topic::Pages).await.unwrap();
        let heard = signatures.clone();
        let domain = by.contracts.domain();
        tokio::spawn(async move {
            while let Some(message) = pages.recv().await {
                let page: SignedPage = codec::from_bytes("page", &message.data, 4096).unwrap();
                if page.record.holder == of {
                    page.verify(&domain, of).unwrap();
                    heard.page(&page);
                }
                message.verdict.accept();
            }
        });
        let (seen, by) = (signatures.clone(), by.clone());
        tokio::spawn(async move {
            while !by.stop.is_cancelled() {
                if let Some(part) = list(&by, of).await {
                    part.page.iter().for_each(|page| seen.page(page));
                    part.listed.iter().for_each(|lease| seen.lease(lease));
                    let fresh = part.fresh.iter();
                    fresh.for_each(|lease| seen.lease(&lease.record));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        signatures
    }

    /// Takes what a peer keeps of what it signed.
    fn read(&self, tables: &Tables) {
        let kept = tables.read::<_, TablesError>(|rows| {
            let leases = rows.range(storage::tables::LEASES, Bound::Unbounded, 100)?;
            Ok((leases, rows.get(OWN_PAGE, &newest())?))
        });
        let (leases, page) = kept.unwrap();
        leases
            .iter()
            .for_each(|(_, lease)| self.lease(&lease.record));
        page.iter().for_each(|page| self.page(page));
    }

    fn page(&self, page: &SignedPage) {
        let mut inner = self.inner.lock().unwrap();
        let page = page.record;
        let known = *inner.pages.entry(page.epoch).or_insert(page);
        if known != page {
            inner.twice.push(format!("{known:?} and {page:?}"));
        }
    }

    fn lease(&self, lease: &Lease) {
        let mut inner = self.inner.lock().unwrap();
        let known = inner
            .leases
            .entry(lease.serial)
            .or_insert(lease.clone())
            .clone();
        if known != *lease {
            inner.twice.push(format!("{known:?} and {lease:?}"));
        }
    }

    /// Serials of leases and epochs of pages; fails when one came twice.
    #[track_caller]
    fn once(&self) -> (Vec<u64>, Vec<Epoch>) {
        let inner = self.inner.lock().unwrap();
        assert_eq!(inner.twice, [] as [String; 0]);
        (
            inner.leases.keys().copied().collect(),
            inner.pages.keys().copied().collect(),
        )
    }
}

/// What a peer says that it holds, if it answers.
async fn list(by: &Context, of: Address) -> Option<Part<Lease>> {
    let request = listing::Request::List {
        after: None,
        known: None,
    };
    let asked = by.net.request(of, Protocol::Leases, request.to_bytes());
    match listing::Response::from_bytes(&asked.await.ok()?).unwrap() {
        listing::Response::List(part) => Some(*part),
        listing::Response::Noted => None,
    }
}

/// A content peer with everything that an owner uses.
struct Used {
    member: Member,
    author: AuthorHandle,
}

impl Used {
    /// Starts over what `disk` has; `actions` are the blocks that the chain has.
    async fn start(
        village: &Village,
        seed: u8,
        disk: MemoryBackend,
        actions: &[SignedAction],
    ) -> Self {
        let chain = village.chain.as_ref().expect("it runs");
        let context = peer_on(village.terms, chain, seed, &disk, usize::from(VILLAGERS)).await;
        apply(&context, 1, &[ada_joins(&context)]).await;
        for (number, action) in (2..).zip(actions) {
            apply(&context, number, std::slice::from_ref(action)).await;
        }
        let member = Member::start(disk, context).await;
        let mut status = member.content.status();
        let is_inspected = |status: &Status| {
            let returning = status.returning.as_ref();
            returning.is_none_or(|returning| !returning.is_inspecting)
        };
        within(status.wait_for(is_inspected)).await.unwrap();
        let context = &member.context;
        let author = author::spawn(context).await.unwrap();
        let others = village.holders.iter().map(|other| &other.context);
        let all: Vec<&Context> = others.chain([context, &village.author]).collect();
        introduce(&all).await;
        Self { member, author }
    }

    /// Kills it, and hands out what is left.
    async fn kill(self) -> (MemoryBackend, Context) {
        let Member { disk, context, .. } = self.member;
        kill(&context).await;
        (disk, context)
    }
}

/// Keys of all rows of a table.
fn keys<K: TableKey, V: DeserializeOwned>(records: &Tables, table: Table<K, V>) -> Vec<K> {
    let rows = |rows: &TablesRead<'_>| rows.range(table, Bound::Unbounded, 100);
    let rows: Result<Vec<(K, V)>, TablesError> = records.read(rows);
    rows.unwrap().into_iter().map(|(key, _)| key).collect()
}

/// What is under way and what was entrusted: keys of the rows that nobody can
/// give back.
fn entrusted(records: &Tables) -> [Vec<Vec<u8>>; 4] {
    let bytes = |keys: Vec<Hash32>| keys.into_iter().map(|key| key.0.to_vec()).collect();
    let vault = keys(records, VAULT).into_iter();
    [
        bytes(keys(records, OUTBOX)),
        bytes(keys(records, PUBLICATIONS)),
        bytes(keys(records, RELAYS)),
        vault
            .map(|(key, wallet)| [&key.0[..], &wallet.0].concat())
            .collect(),
    ]
}

/// Puts a row into the vault and one among the relayer's.
async fn entrust(context: &Context, action: SignedAction) {
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
        last_slot: None,
    };
    let written: Result<(), StoreError> = context
        .store
        .write(move |tables| {
            let key = (Hash32([2; 32]), address(3));
            tables.put(VAULT, &key, &Bytes::from_static(b"kept"))?;
            Ok(tables.put(RELAYS, &row.digest, &row)?)
        })
        .await;
    written.unwrap();
}

/// The records of a folder, as the disk of a peer that has nothing else.
fn disk_of(folder: &std::path::Path) -> MemoryBackend {
    let disk = MemoryBackend::new();
    let file = disk.open(TABLES_NAME).unwrap();
    let records = std::fs::read(folder.join(TABLES_NAME)).unwrap();
    file.write_at(0, &records).unwrap();
    file.sync().unwrap();
    disk
}

/// True when a peer has all blocks of a root, of which there are `count`.
fn is_whole(peer: &Context, root: &Cid, count: u64) -> bool {
    let blocks = peer.store.reader().listed_after(root, None, 100).unwrap();
    let has = |cid: &Cid| peer.store.has(cid).unwrap();
    blocks.len() as u64 == count && blocks.iter().all(has)
}

/// Where the placement wants a root.
fn placed(village: &Village, root: Cid) -> BTreeSet<Address> {
    let registry = village.author.chain.snapshot().borrow().clone();
    let placement = protocol::placement::Placement::new(&registry);
    let placed = placement.place(&root, PLACED, &BTreeSet::new());
    placed.into_iter().collect()
}

/// A peer among others, from its first upload to its return.
struct Story {
    village: Village,
    peer: Address,
    seed: u8,
    /// The epoch of the backup and of the return.
    silent: Epoch,
    signatures: Signatures,
    /// What the chain has.
    actions: Vec<SignedAction>,
    /// What the peer has to have: roots and numbers of blocks.
    files: Vec<(Cid, u64)>,
    /// Who else held each of them when the disk was lost.
    others: Vec<BTreeSet<Address>>,
}

impl Story {
    /// A root is published, and the peer's page lists it.
    async fn begin() -> (Self, Member) {
        let start = Moment::from_unix(Clock::system().now().epoch().plus(1).start());
        let terms = Terms {
            clock: Clock::at(start + Duration::from_secs(60)).set_by(&FORWARD),
            lost_after: Duration::from_secs(4 * 3600),
        };
        let mut village = Village::on(terms, VILLAGERS).await;
        let published = village.import(&noise(300_000)).await;
        let root: Cid = published.cid.parse().unwrap();
        let holders = placed(&village, root);
        let is_placed = |member: &Member| holders.contains(&member.context.peer);
        let place = village.holders.iter().position(is_placed).unwrap();
        let (peer, seed) = (
            village.holders[place].context.peer,
            2 + u8::try_from(place).unwrap(),
        );
        let signatures = Signatures::watch(peer, &village.author).await;
        let actions = vec![village.publish(&published, PLACED).await];
        for holder in &village.holders {
            apply(&holder.context, 2, &actions).await;
        }
        FORWARD.store(3600, Ordering::SeqCst);
        let silent = terms.clock.now().epoch();
        let member = village.holders.remove(place);
        let store = &member.context.store;
        let own_page = || store.read::<_, StoreError>(|rows| Ok(rows.get(OWN_PAGE, &newest())?));
        let lists = |page: &SignedPage| page.record.epoch == silent && page.record.count > 0;
        until(async || own_page().unwrap().as_ref().is_some_and(lists)).await;
        let story = Self {
            village,
            peer,
            seed,
            silent,
            signatures,
            actions,
            files: vec![(root, published.blocks)],
            others: Vec::new(),
        };
        (story, member)
    }

    /// An upload is under way, the peer publishes something of its own, keeps
    /// what others entrusted to it, and is killed and backed up.
    async fn use_it(&mut self, member: Member) -> (MemoryBackend, tempfile::TempDir) {
        let village = &self.village;
        let pending = village.import_for(self.peer, 310_000).await;
        let action = by_ada(&village.author, song(3, &pending));
        publish_until(&village.publish, &action, &pending, PLACED).await;
        self.files
            .push((pending.cid.parse().unwrap(), pending.blocks));

        let author = author::spawn(&member.context).await.unwrap();
        let own = import(&author, &noise(320_000)).await;
        let action = by_ada(&member.context, song(4, &own));
        publish_until(&author, &action, &own, 3).await;
        entrust(&member.context, self.actions[0].clone()).await;
        let store = &member.context.store;
        until(async || store.read(|rows| rows.count(OUTBOX)).unwrap_or(0) > 0).await;
        let (disk, context) = Used { member, author }.kill().await;
        let folder = restored(&context, &disk);
        (disk, folder)
    }

    /// After the backup it goes on, and signs what the backup does not know;
    /// answers the last serial.
    async fn go_on(&mut self, disk: MemoryBackend) -> u64 {
        let used = Used::start(&self.village, self.seed, disk, &self.actions).await;
        let later = self.village.import_for(self.peer, 330_000).await;
        self.files.push((later.cid.parse().unwrap(), later.blocks));
        self.actions.push(self.village.publish_as(5, &later).await);
        for holder in self.village.holders.iter().chain([&used.member]) {
            apply(&holder.context, 3, &self.actions[1..]).await;
        }
        let (disk, context) = used.kill().await;
        drop(context);
        let roots = self.files.iter().map(|(root, _)| *root);
        self.others = roots.map(|root| self.village.leased(root)).collect();
        self.signatures.read(&Tables::open(Arc::new(disk)).unwrap());
        let (serials, epochs) = self.signatures.once();
        assert_eq!(epochs.last(), Some(&self.silent));
        *serials.last().unwrap()
    }

    /// Nobody copies a root because the peer is away, and nobody drops one. A
    /// placed peer that was slow when it was published may end its pull late.
    fn check_others(&self) {
        for ((root, _), before) in self.files.iter().zip(&self.others) {
            let now = self.village.leased(*root);
            let placed = placed(&self.village, *root);
            assert!(before.is_subset(&now), "{before:?} held it, {now:?} do");
            let more: BTreeSet<_> = now.difference(before).copied().collect();
            assert!(more.is_subset(&placed), "{more:?} copied it");
        }
    }

    /// Waits until every other peer counts, or does not count, the peer as a
    /// holder of a published root.
    async fn until_counted(&self, root: Cid, is_counted: bool) {
        for other in &self.village.holders {
            let claims = || claimants(&other.context, root).contains(&self.peer);
            until(async || claims() == is_counted).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_peer_that_is_restored_signs_nothing_twice_and_has_everything_again() {
    let (mut story, member) = Story::begin().await;
    let (disk, folder) = story.use_it(member).await;
    let old = records_in(&folder.path().join("old"));
    story.signatures.read(&old);
    let before = entrusted(&old);
    assert!(before.iter().all(|keys| !keys.is_empty()));
    assert!(keys(&old, UPLOADS).contains(&story.files[1].0));
    let last = story.go_on(disk).await;

    // Its disk is lost, the backup is what there is.
    let disk = disk_of(&folder.path().join("new"));
    let restored = Used::start(&story.village, story.seed, disk, &story.actions).await;
    let context = &restored.member.context;
    let mut status = restored.member.content.status();
    let silent = status.borrow().returning.as_ref().map(|now| now.silent);
    assert_eq!(silent, Some(story.silent));
    let [known, _, unknown] = [0, 1, 2].map(|file| story.files[file].0);
    story.until_counted(known, false).await;
    story.until_counted(unknown, false).await;
    for (root, blocks) in &story.files {
        until(async || is_whole(context, root, *blocks)).await;
    }
    let (serials, epochs) = story.signatures.once();
    assert_eq!(serials.last(), Some(&last), "the epoch is silent");
    assert_eq!(epochs.last(), Some(&story.silent));
    story.check_others();

    FORWARD.store(7200, Ordering::SeqCst);
    for (root, _) in &story.files {
        until(async || is_leased(context, *root)).await;
    }
    let is_over = |status: &Status| status.returning.is_none();
    within(status.wait_for(is_over)).await.unwrap();
    let next = story.silent.plus(1);
    until(async || story.signatures.once().1.last() == Some(&next)).await;
    story.until_counted(known, true).await;
    story.check_others();

    for id in keys(&old, PUBLICATIONS) {
        let status = restored.author.published(id).await;
        assert!(status.is_some(), "its own publication goes on");
    }
    let (disk, context) = restored.kill().await;
    drop(context);
    let records = Tables::open(Arc::new(disk)).unwrap();
    story.signatures.read(&records);
    let (serials, _) = story.signatures.once();
    let anew: Vec<u64> = serials.into_iter().filter(|one| *one > last).collect();
    assert!(
        anew.len() >= story.files.len() && anew[0] > last + FAR,
        "{anew:?}"
    );
    for (before, after) in before.iter().zip(&entrusted(&records)) {
        assert!(
            before.iter().all(|key| after.contains(key)),
            "a row is lost"
        );
    }
    let mark: Result<_, TablesError> = records.read(|rows| rows.get(RESTORED, &newest()));
    assert_eq!(mark.unwrap(), None, "the return is over");
}

impl Village {
    /// Imports a file that is placed on a peer, among others.
    async fn import_for(&self, peer: Address, bytes: usize) -> Imported {
        for extra in 0.. {
            let imported = self.import(&noise(bytes + extra)).await;
            if placed(self, imported.cid.parse().unwrap()).contains(&peer) {
                return imported;
            }
        }
        unreachable!("the placement is by chance")
    }

    /// Publishes on as many peers as are placed; answers the action.
    async fn publish_as(&self, nonce: u8, imported: &Imported) -> SignedAction {
        let action = by_ada(&self.author, song(nonce, imported));
        publish_until(&self.publish, &action, imported, PLACED).await;
        action
    }
}

/// Content peers: those that are placed, and one that is not.
const VILLAGERS: u8 = 6;

/// Peers that hold a root.
const PLACED: usize = 5;

/// Fewer serials than a return skips, more than this test uses.
const FAR: u64 = 1 << 20;

/// Seconds by which the clocks of a [`Story`] are set forward.
static FORWARD: AtomicU64 = AtomicU64::new(0);
