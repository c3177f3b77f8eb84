//! An author among holders and relayers, some of which lie, over a disk that a
//! crash can reach between any two writes.

use std::collections::VecDeque;

use bytes::Bytes;
use cid::Cid;

use super::super::*;
use crate::action::Action;
use crate::amount::Dgc;
use crate::entry::sha256;
use crate::id::{EntityId, Role, UserId};
use crate::placement::Purpose;
use crate::publish;
use crate::records::Lease;
use crate::refusal::Refusal;
use crate::registry::Registry;
use crate::registry::testing::{Enrolment, registry_of};
use crate::relayer::{Receipt, RefusalCode, Request, Response, Status};
use crate::signing::{Signed, SigningKey};
use crate::time::Epoch;

pub(super) struct World {
    pub(super) now: Moment,
    pub(super) author: Author,
    pub(super) jobs: BTreeMap<Hash32, JobRow>,
    pub(super) rows: BTreeMap<Hash32, OutboxRow>,
    pub(super) index: BTreeMap<Hash32, Landing>,
    pub(super) holders: BTreeMap<Address, Holder>,
    pub(super) relayers: BTreeMap<Address, Relayer>,
    pub(super) held: BTreeMap<Cid, UnixSeconds>,
    /// The write that a crash falls upon; taken when it has.
    pub(super) crash_at: Option<usize>,
    pub(super) is_disk_full: bool,
    pub(super) missing: Option<Cid>,
    pub(super) solved: usize,
    /// Draws the order in which things end.
    pub(super) seed: u64,
    keys: BTreeMap<Address, SigningKey>,
    placement: Arc<Placement>,
    facts: Vec<Input>,
    writes: VecDeque<(WriteId, Vec<Change>)>,
    written: usize,
    /// Taken by a relayer that does its work.
    taken: BTreeMap<Hash32, SignedAction>,
    replies: BTreeMap<RequestId, Reply>,
    events: Vec<(Hash32, &'static str)>,
    requests: u64,
    blocks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Silent,
    Stalls,
    Lies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relayer {
    Silent,
    Busy,
    Refuses,
    /// Took it and failed.
    Fails,
    /// Accepts and does nothing.
    Keeps,
    /// Says that it is on chain.
    Claims,
}

impl World {
    /// So many peers of as many operators, each with every role.
    pub(super) fn new(peers: u8) -> Self {
        let keys: Vec<SigningKey> = (1..=peers).map(key).collect();
        let placement = Arc::new(Placement::new(&registry(&keys)));
        let now = Moment::from_unix(UnixSeconds(1_700_000_000));
        let mut world = Self {
            now,
            author: Author::new(config(), now),
            jobs: BTreeMap::new(),
            rows: BTreeMap::new(),
            index: BTreeMap::new(),
            holders: BTreeMap::new(),
            relayers: BTreeMap::new(),
            held: BTreeMap::new(),
            crash_at: None,
            is_disk_full: false,
            missing: None,
            solved: 0,
            seed: 1,
            keys: keys.into_iter().map(|key| (key.address(), key)).collect(),
            placement,
            facts: Vec::new(),
            writes: VecDeque::new(),
            written: 0,
            taken: BTreeMap::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            requests: 0,
            blocks: 100,
        };
        world.introduce();
        world
    }

    fn introduce(&mut self) {
        self.give(Input::Snapshot(Arc::clone(&self.placement)));
        self.give(Input::Latest(Arc::clone(&self.placement)));
    }

    /// Loses what is not on disk, and starts again.
    pub(super) fn crash(&mut self) {
        self.writes.clear();
        self.facts.clear();
        let config = self.author.config.clone();
        let jobs = self.jobs.values().cloned();
        let rows = self.rows.values().cloned();
        self.author = Author::restore(config, jobs, rows, self.now);
        self.introduce();
    }

    /// Each third peer holds badly, each third relays badly.
    pub(super) fn faults(&mut self, seed: u64) {
        let holders = [Holder::Silent, Holder::Stalls, Holder::Lies];
        let relayers = [
            Relayer::Silent,
            Relayer::Busy,
            Relayer::Refuses,
            Relayer::Keeps,
            Relayer::Claims,
        ];
        for (idx, peer) in self.keys.keys().enumerate() {
            let drawn = usize::try_from(seed % 15).unwrap() + idx;
            if idx % 3 == 0 {
                self.holders.insert(*peer, holders[drawn % 3]);
            }
            if idx % 5 == 1 {
                self.relayers.insert(*peer, relayers[drawn % 5]);
            }
        }
    }

    pub(super) fn holders_are(&mut self, holders: &[Holder]) {
        self.holders = self
            .keys
            .keys()
            .copied()
            .zip(holders.iter().copied())
            .collect();
    }

    /// The first in line for an action behave like this.
    pub(super) fn relayers_are(&mut self, action: &SignedAction, relayers: &[Relayer]) {
        let ranked = self.placement.rank(Purpose::Relayer, &digest_of(action).0);
        self.relayers = ranked.into_iter().zip(relayers.iter().copied()).collect();
    }

    pub(super) fn give(&mut self, input: Input) {
        self.author.handle(input, self.now);
        self.drain();
    }

    pub(super) fn publish(
        &mut self,
        action: &SignedAction,
        roots: u8,
    ) -> Result<Hash32, PublishError> {
        let request = self.request();
        let roots = (0..roots)
            .map(|number| PublishRoot {
                cid: root(number),
                proof_root: PROOF,
                dag_size: SIZE,
            })
            .collect();
        let (action, missing) = (action.clone(), self.missing);
        self.give(Input::Publish {
            request,
            action,
            roots,
            missing,
        });
        match self.reply(request) {
            Some(Reply::Publish(reply)) => reply,
            // A crash broke the connection of who asked.
            None => Err(PublishError::Stopped),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn relay(&mut self, action: &SignedAction) -> Result<RelayStatus, RelayError> {
        let request = self.request();
        let action = action.clone();
        self.give(Input::Relay {
            request,
            action,
            proof: None,
        });
        self.relay_reply(request)
    }

    pub(super) fn relayed(&mut self, digest: Hash32) -> Result<RelayStatus, RelayError> {
        let request = self.request();
        self.give(Input::Relayed { request, digest });
        self.relay_reply(request)
    }

    fn relay_reply(&mut self, request: RequestId) -> Result<RelayStatus, RelayError> {
        match self.reply(request) {
            Some(Reply::Relay(reply)) => reply,
            None => Err(RelayError::Stopped),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn published(&mut self, digest: Hash32) -> Option<PublishStatus> {
        let request = self.request();
        self.give(Input::Published { request, digest });
        match self.reply(request) {
            Some(Reply::Published(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    /// What became known of an action, in order.
    pub(super) fn told(&self, digest: Hash32) -> Vec<&'static str> {
        let of_it = self.events.iter().filter(|(id, _)| *id == digest);
        of_it.map(|(_, event)| *event).collect()
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn reply(&mut self, request: RequestId) -> Option<Reply> {
        for _ in 0..10_000 {
            if let Some(reply) = self.replies.remove(&request) {
                return Some(reply);
            }
            if !self.step() {
                return None;
            }
        }
        None
    }

    /// Runs until nothing is left to do for any action.
    #[track_caller]
    pub(super) fn run(&mut self) {
        let is_open = |world: &Self| {
            world.author.is_busy() || !world.writes.is_empty() || !world.facts.is_empty()
        };
        for _ in 0..200_000 {
            if !is_open(self) {
                return;
            }
            self.step();
        }
        panic!("it does not end: {:?}", self.author.deadline());
    }

    pub(super) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let is_over = !self.writes.is_empty() || !self.facts.is_empty();
            let due = self.author.deadline().map(|(at, _)| at);
            if !is_over && due.is_none_or(|at| at > end) {
                self.now = end;
                return;
            }
            self.step();
        }
    }

    /// One thing ends, or time passes to the next deadline; false when nothing
    /// is left.
    pub(super) fn step(&mut self) -> bool {
        let count = self.facts.len() + usize::from(!self.writes.is_empty());
        if count > 0 {
            self.seed = self
                .seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let drawn = usize::try_from(self.seed >> 33).unwrap() % count;
            if drawn < self.facts.len() {
                let fact = self.facts.remove(drawn);
                self.give(fact);
            } else {
                self.write();
            }
            return true;
        }
        if self.mine() {
            self.give(Input::Index);
            return true;
        }
        let Some((at, _)) = self.author.deadline() else {
            return false;
        };
        self.now = self.now.max(at);
        self.author.handle_timeout(self.now);
        self.drain();
        true
    }

    fn write(&mut self) {
        if self.crash_at == Some(self.written) {
            self.crash_at = None;
            return self.crash();
        }
        let Some((id, changes)) = self.writes.pop_front() else {
            return;
        };
        let error = self.is_disk_full.then(|| "the disk is full".to_owned());
        if error.is_none() {
            self.written += 1;
            for change in changes {
                match change {
                    Change::Job(digest, Some(row)) => drop(self.jobs.insert(digest, *row)),
                    Change::Job(digest, None) => drop(self.jobs.remove(&digest)),
                    Change::Outbox(digest, Some(row)) => drop(self.rows.insert(digest, *row)),
                    Change::Outbox(digest, None) => drop(self.rows.remove(&digest)),
                }
            }
        }
        self.give(Input::Persisted { id, error });
    }

    /// A block with what the relayers took.
    fn mine(&mut self) -> bool {
        self.blocks += 1;
        let taken = std::mem::take(&mut self.taken);
        let is_news = !taken.is_empty();
        for digest in taken.into_keys() {
            let landing = Landing {
                digest,
                tx_hash: sha256(&digest.0),
                block_number: self.blocks,
                rejected: None,
            };
            self.index.insert(digest, landing);
        }
        is_news
    }

    fn drain(&mut self) {
        while let Some(output) = self.author.poll() {
            match output {
                Output::Ask {
                    id,
                    peer,
                    protocol,
                    body,
                } => {
                    let body = self.answer(peer, protocol, &body);
                    self.facts.push(Input::Answered { id, body });
                }
                Output::Persist { id, changes } => self.writes.push_back((id, changes)),
                Output::Hold { root, until } => drop(self.held.insert(root, until)),
                Output::Look { id, wanted } => {
                    let found = wanted
                        .iter()
                        .filter_map(|wanted| self.index.get(&wanted.digest).cloned())
                        .collect();
                    self.facts.push(Input::Looked {
                        id,
                        found: Ok(found),
                    });
                }
                Output::Solve { digest, .. } => {
                    self.solved += 1;
                    self.facts.push(Input::Solved { digest, proof: 7 });
                }
                Output::Reply { request, reply } => {
                    if let Reply::Publish(Ok(digest)) = &reply {
                        assert!(self.jobs.contains_key(digest), "told before it is stored");
                    }
                    drop(self.replies.insert(request, reply));
                }
                Output::Event(event) => self.note(event),
            }
        }
    }

    fn note(&mut self, event: Event) {
        let noted = match event {
            Event::Durable { digest, roots } => {
                assert!(roots.iter().all(|(_, leases)| leases.len() >= 3));
                (digest, "durable")
            }
            Event::Accepted { digest } => (digest, "accepted"),
            Event::Confirmed { digest } => (digest, "confirmed"),
            Event::Failed { digest, .. } => (digest, "failed"),
        };
        self.events.push(noted);
    }

    fn answer(&mut self, peer: Address, protocol: Protocol, body: &[u8]) -> Option<Bytes> {
        match protocol {
            Protocol::Publish => {
                let request = publish::Request::from_bytes(body).unwrap();
                Some(self.hold(peer, request)?.to_bytes().into())
            }
            Protocol::Relayer => {
                let request = Request::from_bytes(body).unwrap();
                Some(self.take(peer, request)?.to_bytes().into())
            }
            other => panic!("{other:?} is not an author's"),
        }
    }

    fn hold(&self, peer: Address, request: publish::Request) -> Option<publish::Response> {
        let root = match request {
            publish::Request::Offer(offer) => offer.root,
            publish::Request::Status { root } => root,
        };
        let signer = match self.holders.get(&peer) {
            Some(Holder::Silent) => return None,
            Some(Holder::Stalls) => return Some(publish::Response::Progress { bytes: 10 }),
            Some(Holder::Lies) => &key(99),
            None => &self.keys[&peer],
        };
        let epoch = self.now.epoch();
        let lease = Lease {
            root,
            proof_root: PROOF,
            size: SIZE,
            holder: peer,
            serial: 1,
            from_epoch: epoch,
            to_epoch: Epoch(epoch.0 + 48),
        };
        let lease = Signed::new(lease, &DOMAIN, signer);
        Some(publish::Response::Lease(Box::new(lease)))
    }

    fn take(&mut self, peer: Address, request: Request) -> Option<Response> {
        let digest = match &request {
            Request::Submit { action, proof, .. } => {
                self.check_submitted(action, *proof);
                digest_of(action)
            }
            Request::Status { digest } => *digest,
        };
        let status = match self.relayers.get(&peer) {
            Some(Relayer::Silent) => return None,
            Some(Relayer::Busy) => {
                let refusal = Refusal::new(RefusalCode::Busy, "busy").retry_after(3);
                return Some(Response::Refused(refusal));
            }
            Some(Relayer::Refuses) => {
                return Some(Response::Refused(Refusal::new(
                    RefusalCode::Simulation,
                    "it would revert",
                )));
            }
            Some(Relayer::Claims) => Status::Mined(Receipt {
                tx_hash: PROOF,
                block_number: 1,
                block_hash: PROOF,
            }),
            Some(Relayer::Fails) => Status::Failed {
                reason: "it reverted".to_owned(),
            },
            Some(Relayer::Keeps) => Status::Pending,
            None => match request {
                Request::Submit { action, .. } => {
                    if !self.index.contains_key(&digest) {
                        self.taken.insert(digest, *action);
                    }
                    Status::Pending
                }
                Request::Status { .. } => return Some(Response::Unknown),
            },
        };
        Some(Response::Accepted { digest, status })
    }

    /// What a relayer is told is on disk, and every root of it is held.
    #[track_caller]
    fn check_submitted(&self, action: &SignedAction, proof: Option<u64>) {
        let digest = digest_of(action);
        assert!(self.rows.contains_key(&digest), "told before it is stored");
        assert_eq!(proof.is_some(), needs_proof(action));
        if let Some(job) = self.jobs.get(&digest) {
            assert_ne!(job.state, PublishState::Offering);
            assert!(job.roots.iter().all(|root| root.leases.len() >= 3));
        }
    }
}

pub(super) fn digest_of(action: &SignedAction) -> Hash32 {
    action.action.digest(&ACTIONS)
}

/// An action that names as many roots.
pub(super) fn published(number: u8, roots: u8) -> SignedAction {
    let names: Vec<String> = (0..roots).map(|number| root(number).to_string()).collect();
    signed("Track", "Create", names.join(" "), number)
}

pub(super) fn action(number: u8) -> SignedAction {
    signed("Track", "Save", String::new(), number)
}

pub(super) fn new_user() -> SignedAction {
    signed("User", "Create", String::new(), 1)
}

fn signed(kind: &str, verb: &str, metadata: String, number: u8) -> SignedAction {
    Action {
        user_id: UserId(7),
        entity_type: kind.to_owned(),
        entity_id: EntityId(2_000_001),
        action: verb.to_owned(),
        metadata,
        nonce: Hash32([number; 32]),
    }
    .sign(&ACTIONS, &key(200))
}

pub(super) fn root(number: u8) -> Cid {
    let hash = multihash::Multihash::wrap(0x12, &[number; 32]).unwrap();
    Cid::new_v1(0x55, hash)
}

fn config() -> Config {
    Config::new(key(201).address(), DOMAIN, ACTIONS)
}

fn registry(keys: &[SigningKey]) -> Registry {
    registry_of((1..).zip(keys).map(|(number, key)| Enrolment {
        number,
        roles: &Role::ALL,
        wallet: key.address(),
        public_key: key.public_key().to_vec(),
        stake: Dgc::whole(1000),
    }))
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

const SIZE: u64 = 10 << 20;

const PROOF: Hash32 = Hash32([4; 32]);

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([1; 20]),
};

const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1338,
    entity_manager: Address([2; 20]),
};
