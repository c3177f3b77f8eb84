//! The role as a whole: one peer over a disk that can lose what was not written.

use std::collections::BTreeMap;

use super::*;
use crate::action::{Action, ActionDomain};
use crate::id::{EntityId, UserId};
use crate::machine::Machine;
use crate::origin::{Origin, RequestId};
use crate::publish::{Offer, Request, Response};
use crate::records::{LEASE_EPOCHS_MAX, SignedStatement};
use crate::registry::testing::registry_of;
use crate::time::UnixSeconds;
use crate::wire::{Protocol, Topic};

mod index;
mod lists;
mod pages;

#[test]
fn an_offer_becomes_a_lease_that_is_on_disk_before_anybody_sees_it() {
    let mut peer = Peer::new(1);
    assert_eq!(peer.offer(root(1)), Some(Response::Accepted));
    peer.run();
    assert_eq!(peer.disk.leases.len(), 1);
    let Some(Response::Lease(lease)) = peer.status(root(1)) else {
        panic!("the author sees the lease");
    };
    assert_eq!(peer.disk.leases[&root(1)], *lease);
    assert_eq!(peer.content.standing(&root(1)), Standing::Pending);
    peer.name(root(1), &[7]);
    assert_eq!(peer.content.standing(&root(1)), Standing::Published);
    assert!(peer.disk.uploads.is_empty(), "the lease book has it alone");
}

#[test]
fn what_is_refused_or_known_writes_nothing() {
    let mut peer = Peer::new(1);
    peer.config.holder.uploads_max = 1;
    peer.restart();
    peer.offer(root(1));
    peer.run();
    peer.claim(root(3));
    peer.writes_left = Some(usize::MAX);
    for _ in 0..3 {
        let refused = peer.offer(root(2));
        assert!(matches!(refused, Some(Response::Refused(_))), "{refused:?}");
        assert!(matches!(peer.offer(root(1)), Some(Response::Lease(_))));
        peer.claim(root(3));
    }
    assert_eq!(peer.writes_left, Some(usize::MAX));
}

#[test]
fn a_crash_between_any_two_writes_uses_no_serial_twice() {
    for cut in 0..24 {
        let mut peer = Peer::new(cut);
        peer.writes_left = Some(usize::try_from(cut).unwrap());
        for byte in 1..=4 {
            peer.offer(root(byte));
            peer.run();
        }
        peer.writes_left = None;
        peer.restart();
        peer.wait(Duration::from_secs(3600));
        for byte in 1..=6 {
            peer.offer(root(byte));
            peer.run();
        }
        assert!((1..=6).all(|byte| peer.disk.leases.contains_key(&root(byte))));
        peer.wait(Duration::from_secs(3600));
        let mut seen = BTreeMap::new();
        for lease in &peer.signed {
            let known = seen.insert(lease.record.serial, lease.record.clone());
            assert!(
                known.is_none_or(|known| known == lease.record),
                "after {cut} writes: two leases of one serial"
            );
        }
        let mut epochs = BTreeSet::new();
        let is_new = |page: &SignedPage| epochs.insert(page.record.epoch);
        assert!(
            peer.pages.iter().all(is_new),
            "after {cut} writes: two pages"
        );
    }
}

#[test]
fn an_upload_that_is_not_published_ends_and_one_that_waits_for_the_chain_does_not() {
    let mut peer = Peer::new(2);
    peer.offer(root(1));
    peer.run();
    peer.height(false);
    peer.wait(Duration::from_secs(36_000));
    assert!(peer.disk.leases.contains_key(&root(1)), "the chain is away");
    peer.height(true);
    peer.wait(Duration::from_secs(3_600));
    assert!(peer.disk.leases.contains_key(&root(1)), "it may still land");
    peer.wait(Duration::from_secs(3_700));
    assert!(peer.disk.leases.is_empty() && peer.disk.uploads.is_empty());
    assert_eq!(peer.removed, [root(1)]);
    assert_eq!(peer.content.standing(&root(1)), Standing::Dead);
}

#[test]
fn a_promise_that_a_full_disk_keeps_is_struck_once_there_is_room() {
    let mut peer = Peer::new(2);
    peer.offer(root(1));
    peer.run();
    peer.writes_left = Some(0);
    peer.wait(Duration::from_secs(7_300));
    assert!(peer.disk.leases.contains_key(&root(1)), "the disk is full");
    peer.writes_left = None;
    peer.wait(Duration::from_secs(120));
    assert!(peer.disk.leases.is_empty());
    assert_eq!(peer.removed, [root(1)]);
}

#[test]
fn a_promise_outlasts_the_last_thing_that_names_its_root_by_a_day() {
    let mut peer = Peer::new(3);
    peer.promise(root(1), &[7, 8]);
    // Whoever else named it and takes that back changes nothing.
    peer.name(root(1), &[7]);
    peer.wait(Duration::from_secs(30 * 3600));
    assert!(peer.disk.leases.contains_key(&root(1)));
    peer.name(root(1), &[]);
    peer.wait(Duration::from_secs(22 * 3600));
    assert!(peer.disk.leases.contains_key(&root(1)));
    // Named again, the day begins anew.
    peer.name(root(1), &[8]);
    peer.name(root(1), &[]);
    peer.restart();
    peer.wait(Duration::from_secs(22 * 3600));
    assert!(peer.disk.leases.contains_key(&root(1)));
    peer.wait(Duration::from_secs(3 * 3600));
    assert!(peer.disk.leases.is_empty() && peer.disk.ended.is_empty());
    assert_eq!(peer.removed, [root(1)]);
}

#[test]
fn what_is_promised_counts_against_everybody_who_names_it() {
    let mut peer = Peer::new(4);
    peer.promise(root(1), &[7, 8]);
    let stored = |peer: &Peer, user| peer.content.stored_bytes(UserId(user));
    assert_eq!(
        (stored(&peer, 7), stored(&peer, 8), stored(&peer, 9)),
        (SIZE, SIZE, 0)
    );
    peer.name(root(1), &[9]);
    assert_eq!(
        (stored(&peer, 7), stored(&peer, 8), stored(&peer, 9)),
        (0, 0, SIZE)
    );
    peer.restart();
    assert_eq!(stored(&peer, 9), SIZE);
}

#[test]
fn a_root_whose_owners_have_no_room_is_not_repaired() {
    for (extra_bytes, is_repaired) in [(0, false), (SIZE, true)] {
        let mut peer = Peer::with_quota(5, SIZE);
        peer.extra_bytes = extra_bytes;
        peer.promise(root(1), &[7]);
        peer.claim(root(2));
        peer.name(root(2), &[7]);
        peer.wait(Duration::from_secs(600));
        assert_eq!(peer.disk.leases.contains_key(&root(2)), is_repaired);
    }
}

#[test]
fn a_claim_is_believed_from_its_holder_alone() {
    let mut peer = Peer::new(6);
    let lease = lease_of_other(root(2), peer.now.epoch());
    let announce = listing::Request::Announce {
        lease: Box::new(lease),
    };
    assert_eq!(
        peer.ask(STRANGER, Protocol::Leases, announce.to_bytes()),
        None
    );
    assert_eq!(peer.offences, [STRANGER]);
    assert_eq!(peer.content.status().repair.roots, 0);
    peer.claim(root(2));
    assert_eq!(peer.content.status().repair.roots, 1);
    peer.wait(Duration::from_secs(600));
    assert!(peer.disk.leases.is_empty(), "nothing published names it");
}

#[test]
fn a_peer_that_returns_from_a_backup_signs_nothing_twice_and_fetches_what_it_lost() {
    let mut peer = Peer::new(7);
    for byte in 1..=3 {
        peer.promise(root(byte), &[7]);
        peer.claim(root(byte));
    }
    peer.wait(Duration::from_secs(3600));
    let backup = peer.disk.clone();
    // It goes on for a while, and what it signs is not in the backup.
    peer.promise(root(4), &[7]);
    peer.wait(Duration::from_secs(7200));
    let (last_page, last_lease) = (peer.last_page(), peer.signed.last().unwrap().clone());
    let (pages, leases) = (peer.pages.len(), peer.signed.len());

    peer.disk = Disk {
        blocks: BTreeSet::from([root(1)]),
        is_restored: true,
        ..backup
    };
    peer.restart();
    assert_eq!((peer.pages.len(), peer.signed.len()), (pages, leases));
    let returning = peer.content.status().returning.unwrap();
    assert_eq!((returning.promised, returning.missing.len()), (3, 2));
    let Some(listing::Response::List(part)) = peer.list() else {
        panic!("it answers");
    };
    assert_eq!(part.released.len(), 2, "others hear what it has not got");
    assert!(
        peer.told.contains(&Topic::Presence),
        "it lives all the same"
    );
    peer.claim(root(4));
    peer.wait(Duration::from_secs(300));
    let returning = peer.content.status().returning.unwrap();
    assert_eq!(
        (returning.missing.len(), returning.waiting),
        (2, 2),
        "both are whole again, and nothing is signed in this epoch"
    );

    peer.wait(Duration::from_secs(3300));
    let page = peer.pages[pages].record;
    assert!(page.epoch > last_page.epoch && page.serial > last_page.serial + 1_000);
    for lease in &peer.signed[leases..] {
        assert!(lease.record.serial > last_lease.record.serial + 1_000);
    }
    peer.wait(Duration::from_secs(3600));
    assert_eq!(
        peer.last_page().count,
        4,
        "everything is whole again, the fourth too"
    );
    assert!(!peer.disk.is_restored);
    assert_eq!(peer.content.status().returning, None);
}

#[test]
fn nothing_is_renewed_in_the_epoch_of_a_return_from_a_backup() {
    let mut peer = Peer::new(10);
    peer.offer(root(1));
    peer.run();
    peer.config.book.renewal_epochs = LEASE_EPOCHS_MAX + 1;
    let leases = peer.signed.len();
    peer.disk.is_restored = true;
    peer.restart();
    peer.wait(Duration::from_secs(1800));
    assert_eq!(peer.signed.len(), leases, "the epoch is silent");
    peer.wait(Duration::from_secs(3600));
    assert!(peer.signed.len() > leases, "it is due");
}

#[test]
fn an_upload_that_comes_from_a_backup_is_pulled_again_before_it_is_promised() {
    for is_held in [false, true] {
        let mut peer = Peer::new(11);
        peer.offer(root(1));
        peer.run();
        let first = peer.signed[0].record.serial;
        if is_held {
            let upload = peer.disk.uploads.get_mut(&root(1)).unwrap();
            upload.state = UploadState::Held;
            peer.disk.leases.clear();
        }
        peer.disk.blocks.clear();
        peer.disk.is_restored = true;
        peer.restart();
        let upload = &peer.disk.uploads[&root(1)];
        assert_eq!(
            upload.state,
            UploadState::Held,
            "it waits for the silent epoch"
        );
        assert!(peer.disk.blocks.contains(&root(1)));
        assert_eq!(peer.signed.len(), 1);
        peer.wait(Duration::from_secs(3600));
        let lease = &peer.disk.leases[&root(1)];
        assert!(lease.record.serial > first + 1_000);
        assert_eq!(peer.content.standing(&root(1)), Standing::Pending);
        assert_eq!(peer.content.status().returning, None);
    }
}

#[test]
fn a_return_from_a_backup_ends_although_a_root_is_not_wanted_any_more() {
    let mut peer = Peer::new(12);
    peer.promise(root(1), &[7]);
    peer.promise(root(2), &[7]);
    peer.claim(root(1));
    peer.claim(root(2));
    peer.index.remove(&root(2));
    peer.disk.blocks.clear();
    peer.disk.is_restored = true;
    peer.restart();
    let missing = |peer: &Peer| peer.content.status().returning.unwrap().missing.len();
    assert_eq!(missing(&peer), 2);
    peer.wait(Duration::from_secs(2 * 3600));
    assert_eq!(peer.content.status().returning, None);
    assert!(peer.disk.leases.keys().eq([&root(1)]));
}

#[test]
fn a_block_that_is_lost_before_the_lease_is_signed_is_fetched_first() {
    for loss in [Input::BlockLost(root(1)), Input::BlocksLost] {
        let mut peer = Peer::new(13);
        peer.promise(root(1), &[7]);
        peer.claim(root(1));
        peer.disk.blocks.clear();
        peer.disk.is_restored = true;
        peer.restart();
        peer.wait(Duration::from_secs(300));
        let returning = peer.content.status().returning.unwrap();
        assert_eq!(returning.waiting, 1, "it is whole again");
        let leases = peer.signed.len();
        peer.disk.blocks.clear();
        peer.feed(loss);
        peer.wait(Duration::from_secs(2 * 3600));
        assert!(peer.disk.blocks.contains(&root(1)));
        assert!(peer.signed.len() > leases);
    }
}

#[test]
fn a_lost_block_is_fetched_again_under_the_standing_lease() {
    let mut peer = Peer::new(8);
    peer.promise(root(1), &[7]);
    peer.claim(root(1));
    let before = peer.disk.leases.clone();
    peer.disk.blocks.clear();
    peer.feed(Input::BlockLost(root(1)));
    peer.wait(Duration::from_secs(60));
    assert!(peer.disk.blocks.contains(&root(1)));
    assert_eq!(peer.disk.leases, before);
    // The same when it shows at a start.
    peer.disk.blocks.clear();
    peer.restart();
    peer.wait(Duration::from_secs(60));
    assert!(peer.disk.blocks.contains(&root(1)));
    assert_eq!(peer.disk.leases, before);
}

#[test]
fn what_changes_while_the_index_is_read_is_read_afterwards() {
    let mut peer = Peer::new(10);
    peer.promise(root(1), &[7]);
    // The reading began before the change and ends after it, without it.
    peer.content.handle(Input::RenamedUnknown, peer.now);
    while peer.content.poll().is_some() {}
    let before = vec![peer.reference(root(1))];
    peer.index.clear();
    peer.content.handle(Input::RenamedUnknown, peer.now);
    peer.feed(Input::Scanned {
        roots: before,
        is_over: true,
    });
    assert!(matches!(
        peer.content.standing(&root(1)),
        Standing::Ended(_)
    ));
}

#[test]
fn an_index_that_cannot_be_read_is_read_again_soon() {
    let mut peer = Peer::new(11);
    peer.promise(root(1), &[7]);
    peer.content.handle(Input::RenamedUnknown, peer.now);
    while peer.content.poll().is_some() {}
    peer.index.clear();
    peer.feed(Input::ScanBroken);
    assert_eq!(peer.content.standing(&root(1)), Standing::Published);
    peer.wait(Duration::from_secs(61));
    assert!(matches!(
        peer.content.standing(&root(1)),
        Standing::Ended(_)
    ));
}

#[test]
fn an_old_page_is_no_sign_of_life() {
    let mut peer = Peer::new(9);
    peer.feed(Input::Connected(BTreeSet::new()));
    peer.wait(Duration::from_secs(3 * 3600 + 1800));
    let page = page_of(
        other().address(),
        1,
        peer.now.epoch(),
        std::iter::empty::<&Lease>(),
    );
    let page = crate::codec::to_bytes(&Signed::new(page, &DOMAIN, &other()));
    for _ in 0..10 {
        peer.feed(Input::Gossip {
            token: crate::machine::Token(1),
            topic: Topic::Pages,
            body: page.clone().into(),
        });
        peer.wait(Duration::from_secs(360));
    }
    assert_eq!(peer.content.status().repair.lost, 1);
}

/// What a crash leaves behind.
#[derive(Clone, Default)]
struct Disk {
    blocks: BTreeSet<Cid>,
    uploads: BTreeMap<Cid, Upload>,
    leases: BTreeMap<Cid, SignedLease>,
    counters: Counters,
    page: Option<SignedPage>,
    claims: BTreeMap<Cid, Lease>,
    ended: BTreeMap<Cid, Epoch>,
    is_restored: bool,
}

/// One content peer; the other one holds everything that it claims.
struct Peer {
    content: Content,
    config: Config,
    disk: Disk,
    now: Moment,
    seed: u64,
    index: BTreeMap<Cid, Vec<u64>>,
    extra_bytes: u64,
    height: Height,
    /// Writes that still reach the disk before it dies.
    writes_left: Option<usize>,
    signed: Vec<SignedLease>,
    pages: Vec<SignedPage>,
    removed: Vec<Cid>,
    offences: Vec<Address>,
    told: BTreeSet<Topic>,
    /// What was signed to be told, but for pages.
    statements: Vec<Statement>,
    lister: Option<lists::Lister>,
    /// Peers whose lists were asked for.
    asked: BTreeSet<Address>,
    /// Wishes that take longer than what follows them, while they do.
    held: Option<VecDeque<Output>>,
    responses: Vec<Vec<u8>>,
}

impl Peer {
    fn new(seed: u64) -> Self {
        Self::with_holder(seed, HolderConfig::for_devnet())
    }

    fn with_quota(seed: u64, bytes: u64) -> Self {
        let holder = HolderConfig {
            user_bytes_max: Some(bytes),
            new_user_bytes_max: Some(bytes),
            ..HolderConfig::for_devnet()
        };
        Self::with_holder(seed, holder)
    }

    fn with_holder(seed: u64, holder: HolderConfig) -> Self {
        let now = Moment::from_unix(EPOCH.start()) + Duration::from_secs(60);
        let config = Config {
            peer: key().address(),
            domain: DOMAIN,
            action_domain: ACTIONS,
            holder,
            book: BookConfig::default(),
            repair: repair::Config::default(),
            presence_interval: Duration::from_secs(60),
            confirmations: 0,
            offer_grace: Duration::from_secs(10),
        };
        let content = Content::new(config.clone(), Stored::default(), registry(), seed, now);
        let mut peer = Self {
            content,
            config,
            disk: Disk::default(),
            now,
            seed,
            index: BTreeMap::new(),
            extra_bytes: 0,
            height: Height {
                applied: 1,
                head: Some(1),
                is_connected: true,
            },
            writes_left: None,
            signed: Vec::new(),
            pages: Vec::new(),
            removed: Vec::new(),
            offences: Vec::new(),
            told: BTreeSet::new(),
            statements: Vec::new(),
            lister: None,
            asked: BTreeSet::new(),
            held: None,
            responses: Vec::new(),
        };
        peer.greet();
        peer
    }

    fn greet(&mut self) {
        self.run();
        self.height(self.height.is_connected);
        self.feed(Input::Connected(BTreeSet::from([other().address()])));
    }

    fn restart(&mut self) {
        let disk = self.disk.clone();
        let stored = Stored {
            uploads: disk.uploads.into_values().collect(),
            counters: disk.counters,
            leases: disk.leases.into_values().collect(),
            page: disk.page,
            claims: disk.claims.into_values().collect(),
            ended: disk.ended.into_iter().collect(),
            is_restored: disk.is_restored,
        };
        self.seed += 1;
        self.content = Content::new(self.config.clone(), stored, registry(), self.seed, self.now);
        self.greet();
        self.wait(Duration::from_secs(1));
    }

    fn feed(&mut self, input: Input) {
        self.content.handle(input, self.now);
        self.run();
    }

    fn run(&mut self) {
        while let Some(output) = self.content.poll() {
            let takes_long = matches!(output, Output::Scan { .. } | Output::Keep { .. });
            if takes_long && let Some(held) = &mut self.held {
                held.push_back(output);
                continue;
            }
            if let Some(input) = self.carry(output) {
                self.content.handle(input, self.now);
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.content.deadline()
            && at <= end
        {
            self.now = self.now.max(at);
            self.content.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
    }

    fn carry(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Persist { id, rows } => {
                let is_done = self.writes_left != Some(0);
                if let Some(left) = &mut self.writes_left {
                    *left = left.saturating_sub(1);
                }
                if is_done {
                    rows.into_iter().for_each(|row| self.disk.put(row));
                }
                Some(Input::Persisted { id, is_done })
            }
            Output::Sign(draft) => Some(Input::Signed(self.sign(draft))),
            Output::Respond { body, .. } => {
                self.responses.push(body);
                None
            }
            Output::Offence { peer, .. } => {
                self.offences.push(peer);
                None
            }
            Output::Publish { topic, .. } => {
                self.told.insert(topic);
                None
            }
            Output::LookUp { id, .. } => Some(Input::LookedUp {
                id,
                user: Some(UserFacts {
                    created: UnixSeconds(0),
                    stored_bytes: 0,
                    extra_bytes: self.extra_bytes,
                }),
                capacity: CAPACITY,
            }),
            Output::Measure => Some(Input::Measured(CAPACITY)),
            Output::ReadReferences { roots } => {
                let references = roots.into_iter().map(|root| self.reference(root));
                Some(Input::References(references.collect()))
            }
            Output::Scan { .. } => Some(Input::Scanned {
                roots: self
                    .index
                    .keys()
                    .map(|root| self.reference(*root))
                    .collect(),
                is_over: true,
            }),
            Output::Fetch { root, purpose, .. } => {
                self.disk.blocks.insert(root);
                let result = Ok(FACTS);
                Some(Input::Fetched {
                    root,
                    purpose,
                    result,
                })
            }
            Output::Remove { root } => {
                self.disk.blocks.remove(&root);
                self.removed.push(root);
                Some(Input::Removed { root })
            }
            Output::Keep { roots } => {
                self.disk.blocks.retain(|root| roots.contains(root));
                Some(Input::Kept)
            }
            Output::Inspect { roots } => {
                let lacks = |root: &Cid| !self.disk.blocks.contains(root);
                let lacking = roots.into_iter().filter(lacks).collect();
                Some(Input::Inspected { lacking })
            }
            Output::FindListing { block } => Some(Input::Damaged { roots: vec![block] }),
            Output::Ask { id, to, body, .. } => self.answer(id, to, &body),
            Output::Draw { id, .. } => Some(Input::Drawn {
                id,
                cids: Vec::new(),
            }),
            Output::Refuse { .. }
            | Output::Judge { .. }
            | Output::Cancel { .. }
            | Output::Note(_) => None,
        }
    }

    /// What the other peer says; `None` when it takes longer than the test.
    fn answer(&mut self, id: AskId, to: Address, body: &[u8]) -> Option<Input> {
        let is_list = matches!(
            listing::Request::from_bytes(body),
            Ok(listing::Request::List { .. })
        );
        if is_list {
            self.asked.insert(to);
        }
        let body = match &mut self.lister {
            Some(lister) if is_list => Some(lister.answer(id)?),
            Some(_) | None => None,
        };
        Some(Input::Answer { id, body })
    }

    /// What takes long is over.
    fn end_held(&mut self) {
        for output in self.held.take().unwrap_or_default() {
            if let Some(input) = self.carry(output) {
                self.feed(input);
            }
        }
    }

    fn sign(&mut self, draft: Draft) -> SignedRecord {
        match draft.clone() {
            Draft::Lease(lease) => {
                assert!(
                    self.disk.counters.lease_serial >= lease.serial,
                    "counted first"
                );
                let lease = Signed::new(lease, &DOMAIN, &key());
                self.signed.push(lease.clone());
                SignedRecord::Lease(lease)
            }
            Draft::Told(Statement::Page(page)) => {
                assert_eq!(
                    self.disk.counters.epochs.get(&Topic::Pages),
                    Some(&page.epoch),
                    "counted first"
                );
                let page = Signed::new(page, &DOMAIN, &key());
                self.pages.push(page.clone());
                SignedRecord::Told(SignedStatement::Page(page))
            }
            Draft::Told(statement) => {
                self.statements.push(statement);
                draft.sign(&DOMAIN, &key())
            }
        }
    }

    fn reference(&self, root: Cid) -> Reference {
        let owner = |user: &u64| Owner {
            user: UserId(*user),
            created: UnixSeconds(0),
            extra_bytes: self.extra_bytes,
        };
        let users = self.index.get(&root).into_iter().flatten();
        Reference {
            root,
            owners: users.map(owner).collect(),
        }
    }

    /// The index says that these users' things name a root.
    fn name(&mut self, root: Cid, users: &[u64]) {
        self.index.insert(root, users.to_vec());
        self.index.retain(|_, users| !users.is_empty());
        self.feed(Input::Renamed(vec![root]));
    }

    fn promise(&mut self, root: Cid, users: &[u64]) {
        self.offer(root);
        self.run();
        self.name(root, users);
        assert!(self.disk.leases.contains_key(&root));
    }

    fn height(&mut self, is_connected: bool) {
        self.height.is_connected = is_connected;
        self.feed(Input::Height(self.height));
    }

    fn offer(&mut self, root: Cid) -> Option<Response> {
        let action = Action {
            user_id: UserId(7),
            entity_type: "Track".to_owned(),
            entity_id: EntityId(2_000_001),
            action: "Create".to_owned(),
            metadata: format!(r#"{{"data":{{"cid":"{root}"}}}}"#),
            nonce: Hash32([1; 32]),
        };
        let offer = Offer {
            action: action.sign(&ACTIONS, &other()),
            root,
            proof_root: FACTS.proof_root,
            size: FACTS.size,
            sources: Vec::new(),
        };
        let request = Request::Offer(Box::new(offer));
        let body = self.ask(STRANGER, Protocol::Publish, request.to_bytes())?;
        Response::from_bytes(&body).ok()
    }

    fn status(&mut self, root: Cid) -> Option<Response> {
        let request = Request::Status { root };
        let body = self.ask(STRANGER, Protocol::Publish, request.to_bytes())?;
        Response::from_bytes(&body).ok()
    }

    fn list(&mut self) -> Option<listing::Response> {
        let request = listing::Request::List {
            after: None,
            known: None,
        };
        let body = self.ask(other().address(), Protocol::Leases, request.to_bytes())?;
        listing::Response::from_bytes(&body).ok()
    }

    /// The other peer tells of a lease of its own.
    fn claim(&mut self, root: Cid) {
        let lease = Box::new(lease_of_other(root, self.now.epoch()));
        let announce = listing::Request::Announce { lease };
        self.ask(other().address(), Protocol::Leases, announce.to_bytes());
    }

    fn ask(&mut self, peer: Address, protocol: Protocol, body: Vec<u8>) -> Option<Vec<u8>> {
        self.responses.clear();
        self.feed(Input::Request {
            id: RequestId(1),
            protocol,
            origin: Origin { peer, ip: None },
            body: body.into(),
        });
        self.responses.pop()
    }

    fn last_page(&self) -> Page {
        self.pages.last().unwrap().record
    }
}

impl Disk {
    fn put(&mut self, row: Row) {
        match row {
            Row::Upload(root, Some(upload)) => drop(self.uploads.insert(root, *upload)),
            Row::Upload(root, None) => drop(self.uploads.remove(&root)),
            Row::Counters(counters) => self.counters = counters,
            Row::Lease(root, Some(lease)) => drop(self.leases.insert(root, *lease)),
            Row::Lease(root, None) => drop(self.leases.remove(&root)),
            Row::Page(page) => self.page = Some(*page),
            Row::Claim(_, root, Some(lease)) => drop(self.claims.insert(root, *lease)),
            Row::Claim(_, root, None) => drop(self.claims.remove(&root)),
            Row::Ended(root, Some(since)) => drop(self.ended.insert(root, since)),
            Row::Ended(root, None) => drop(self.ended.remove(&root)),
            Row::Returned => self.is_restored = false,
        }
    }
}

/// This peer and the other one, both of which every root is placed on.
fn registry() -> Arc<RegistryAt> {
    let holders = [(1, key().address()), (2, other().address())];
    let registry =
        registry_of(holders.map(|(number, wallet)| repair::tests::holder(number, wallet)));
    RegistryAt::new(Arc::new(registry))
}

fn lease_of_other(root: Cid, epoch: Epoch) -> SignedLease {
    let lease = Lease {
        root,
        proof_root: FACTS.proof_root,
        size: FACTS.size,
        holder: other().address(),
        serial: 1,
        from_epoch: epoch,
        to_epoch: epoch.plus(720),
    };
    Signed::new(lease, &DOMAIN, &other())
}

fn other() -> SigningKey {
    SigningKey::from_bytes(&[8; 32]).unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

const STRANGER: Address = Address([66; 20]);

const SIZE: u64 = 1 << 20;

const FACTS: RootFacts = RootFacts {
    proof_root: Hash32([4; 32]),
    size: SIZE,
};

const CAPACITY: Capacity = Capacity {
    bytes_max: 1 << 40,
    live_bytes: 0,
    disk_bytes: 0,
    disk_free: None,
};

const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1337,
    entity_manager: Address([9; 20]),
};
