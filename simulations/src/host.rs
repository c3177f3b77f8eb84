//! A simulated peer: the production machines, and their driver in virtual time.
//!
//! The driver decides nothing about the protocols. It carries bytes between
//! machines, network, disk and chain as `node` does, with a disk and a chain
//! that a crash and a seed can reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use gossip::catch_up;
use gossip::discovery::{self as discovery_role, Discovery};
use protocol::author;
use protocol::content::repair::RootFacts;
use protocol::content::{AskId, Content, Input, Purpose};
use protocol::id::{Address, Hash32};
use protocol::machine::{Machine as _, Token, Verdict};
use protocol::origin::RequestId;
use protocol::signing::SigningKey;
use protocol::time::Moment;

use crate::chain::RegistryAt;
use crate::engine::digest64;
use crate::wire::{Message, Protocol, Topic};
use crate::world::{Ctx, Local};

mod adversary;
mod content;
mod discovery;
mod disk;
mod exchange;
mod feed;
mod identity;
mod light;
mod vault;

pub use adversary::Kind;
pub(crate) use content::published_root;
pub use disk::{Disk, Wish};

use adversary::Adversary;
use exchange::Exchange;
use feed::Feed;
use identity::Identity;
use light::Light;
use vault::Resident;

/// One peer of a run.
#[derive(Debug)]
pub struct Host {
    /// Its place among all peers.
    pub idx: u32,
    /// The address of its key.
    pub address: Address,
    /// What survives a crash.
    pub disk: Disk,
    /// True for a peer that breaks the rules of exchange and gossip.
    pub is_liar: bool,
    /// True for a peer that staked.
    pub is_staked: bool,
    /// False while it is down.
    pub is_up: bool,
    /// Rises with each start; events of an earlier life are void.
    pub life: u32,
    /// When it started last.
    pub started: Moment,
    /// Peers that its content role counts as lost.
    pub lost: BTreeSet<Address>,
    key: SigningKey,
    registry: Arc<RegistryAt>,
    adversary: Option<Adversary>,
    /// Roots that the content role releases after checked reads.
    released: BTreeSet<Cid>,
    tokens: BTreeMap<Token, Gossiped>,
    next_token: u64,
    pending: BTreeMap<u64, Pending>,
    wake_at: Option<Moment>,
    discovery: Option<Box<Discovery>>,
    /// Follows the chain; staked peers.
    feed: Feed,
    exchange: Exchange,
    content: Option<Box<Content>>,
    /// Who waits for the content role's answers.
    asked: BTreeMap<RequestId, u32>,
    /// Who waits for entries.
    asked_entries: BTreeMap<RequestId, u32>,
    /// What the content role fetches, with the bytes that it expects.
    fetching: BTreeMap<(Cid, Purpose), u64>,
    identity: Option<Box<Identity>>,
    light: Option<Light>,
    resident: Option<Resident>,
}

/// What a peer is, from the first moment on.
#[derive(Debug)]
pub struct Character {
    /// Its place among all peers.
    pub idx: u32,
    /// What it signs with.
    pub key: SigningKey,
    /// True for a peer that staked.
    pub is_staked: bool,
    /// True for a peer that breaks the rules.
    pub is_liar: bool,
    /// What it does against the others.
    pub adversary: Option<Kind>,
}

/// A gossiped message whose verdict is open.
#[derive(Debug)]
struct Gossiped {
    topic: Topic,
    id: u64,
    data: Bytes,
    from: u32,
}

/// What an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pending {
    Author(author::AskId),
    Blocks(protocol::exchange::FetchId, protocol::exchange::RequestId),
    Content(AskId),
    /// Nothing depends on it.
    Told,
    Entries(catch_up::AskId),
    Vault(protocol::vault::AskId),
    Repeated,
}

impl Host {
    /// Creates a peer that is down.
    #[must_use]
    pub fn new(character: Character, ctx: &Ctx) -> Self {
        let address = character.key.address();
        let registry = Arc::clone(&ctx.chain.block(0).expect("there is a genesis").registry);
        let disk = Disk::default();
        Self {
            idx: character.idx,
            address,
            disk,
            is_liar: character.is_liar,
            is_staked: character.is_staked,
            is_up: false,
            life: 0,
            started: ctx.now,
            lost: BTreeSet::new(),
            key: character.key,
            registry,
            adversary: character.adversary.map(Adversary::new),
            released: BTreeSet::new(),
            tokens: BTreeMap::new(),
            next_token: 0,
            pending: BTreeMap::new(),
            wake_at: None,
            discovery: None,
            feed: Feed::default(),
            exchange: Exchange::new(address, character.is_staked, ctx.params.limits),
            content: None,
            asked: BTreeMap::new(),
            asked_entries: BTreeMap::new(),
            fetching: BTreeMap::new(),
            identity: None,
            light: None,
            resident: None,
        }
    }

    /// Starts the peer with what is on its disk.
    pub fn start(&mut self, ctx: &mut Ctx) {
        if self.is_up {
            return;
        }
        self.is_up = true;
        ctx.up[self.idx as usize] = true;
        self.life += 1;
        self.started = ctx.time;
        self.registry = ctx.registry();
        self.exchange = Exchange::new(self.address, self.is_staked, ctx.params.limits);
        if self.is_staked {
            self.start_discovery(ctx);
            self.start_content(ctx);
            let identity = Identity::new(self.address, &self.disk, ctx);
            self.identity = Some(Box::new(identity));
            ctx.local(self, Duration::ZERO, Local::Chain);
        } else {
            self.light = Some(Light::new(self.address, &self.disk, ctx));
            self.resident = Some(Resident::new(ctx));
            self.note_registry(ctx);
            self.start_light(ctx);
            ctx.local(self, Duration::ZERO, Local::Connected);
        }
        self.start_adversary(ctx);
        self.finish(ctx);
    }

    /// Loses everything that is not on the disk.
    pub fn crash(&mut self, ctx: &mut Ctx) {
        self.is_up = false;
        ctx.up[self.idx as usize] = false;
        self.life += 1;
        ctx.seen.forget(self.idx);
        self.tokens.clear();
        self.pending.clear();
        self.wake_at = None;
        self.forget();
        self.feed = Feed::default();
        self.lost.clear();
        self.released.clear();
        self.asked.clear();
        self.asked_entries.clear();
        self.fetching.clear();
        self.exchange = Exchange::new(self.address, self.is_staked, ctx.params.limits);
    }

    /// Loses its memory while the disk goes on for a moment.
    pub fn forget(&mut self) {
        self.content = None;
        self.discovery = None;
        self.identity = None;
        self.light = None;
        self.resident = None;
    }

    /// Takes a message from another peer.
    pub fn handle_message(&mut self, from: u32, message: Message, ctx: &mut Ctx) {
        match message {
            Message::Gossip { topic, id, data } => self.handle_gossip(from, topic, id, data, ctx),
            Message::Request { id, protocol, data } => {
                self.handle_request(from, id, protocol, &data, ctx);
            }
            Message::Response { id, data } => {
                if let Some(pending) = self.pending.remove(&id) {
                    if matches!(pending, Pending::Content(_)) && data.is_some() && !self.is_liar {
                        ctx.checkers.note_heard(from, ctx.now);
                    }
                    self.handle_answer(pending, data, ctx);
                }
            }
        }
        self.finish(ctx);
    }

    /// Takes an event of its own.
    pub fn handle_local(&mut self, local: Local, ctx: &mut Ctx) {
        match local {
            Local::Wake => self.handle_wake(ctx),
            Local::Timeout(id) => {
                if let Some(pending) = self.pending.remove(&id) {
                    self.handle_answer(pending, None, ctx);
                }
            }
            Local::Chain => self.handle_chain(ctx),
            Local::Rpc(request) => self.answer_rpc(request, ctx),
            Local::Index(step) => self.index_step(step, ctx),
            Local::Sign(head) => self.sign_head(*head, ctx),
            Local::Apply(part) => self.apply_part(*part, ctx),
            Local::Content(input) => self.tell_content(*input, ctx),
            Local::Write(id, rows) => self.write_rows(id, rows, ctx),
            Local::Connected => {
                self.note_connected(ctx);
                self.tell_author(author::Input::Connected, ctx);
                self.note_discovery_connected(ctx);
            }
            Local::Impatient(root) => self.lose_patience(*root, ctx),
            Local::Scrub(root) => self.scrub(&root, ctx),
            Local::Publish => self.publish(ctx),
            Local::Act => self.act(ctx),
            Local::Adversary => self.act_against(ctx),
            Local::Vault => self.use_vault(ctx),
            Local::Identity(wish) => self.reach_identity(*wish, ctx),
            Local::Replica(wish) => self.reach_replica(*wish, ctx),
            Local::Ask(ask) => self.ask_again(*ask, ctx),
            Local::Solved(digest, proof) => {
                self.tell_author(author::Input::Solved { digest, proof }, ctx);
            }
            Local::Stored(id, changes) => self.handle_stored(id, changes, ctx),
        }
        self.finish(ctx);
    }

    /// The secret of its key; the simulation's keys guard nothing.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// What it signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// True when every block of a root is on the disk and readable.
    #[must_use]
    pub fn has_root(&self, root: &Cid) -> bool {
        self.disk.has_root(root)
    }

    /// What a light peer still has to do, for people; without relayers its actions
    /// have nowhere to go.
    #[must_use]
    pub fn unfinished(&self, has_relayers: bool) -> Option<String> {
        if let Some((root, _)) = self.disk.wanted.first_key_value() {
            return Some(format!("fetch {root}"));
        }
        let can_be_done = |(_, wish): &(&Hash32, &Wish)| {
            has_relayers || (wish.root.is_some() && wish.handed_in.is_none())
        };
        if let Some((digest, wish)) = self.disk.wishes.iter().find(can_be_done) {
            return Some(match &wish.root {
                Some(root) => format!("publish {}", root.cid),
                None => format!("relay {digest}"),
            });
        }
        let is_busy = self.light.as_ref().is_some_and(Light::is_busy);
        (has_relayers && is_busy).then(|| "bring a root to all its holders".to_owned())
    }

    fn handle_gossip(&mut self, from: u32, topic: Topic, id: u64, data: Bytes, ctx: &mut Ctx) {
        ctx.seen.note(self.idx, id, ctx.time);
        self.overhear(topic, &data);
        ctx.metrics.gossip_deliveries += 1;
        let token = Token(self.next_token);
        self.next_token += 1;
        self.tokens.insert(
            token,
            Gossiped {
                topic,
                id,
                data: data.clone(),
                from,
            },
        );
        match topic {
            Topic::Entries | Topic::Heads => {
                let body = data;
                match self.is_staked {
                    true => self
                        .tell_discovery(discovery_role::Input::Gossip { token, topic, body }, ctx),
                    false => {
                        self.tell_catch_up(catch_up::Input::Gossip { token, topic, body }, ctx);
                    }
                }
            }
            Topic::Presence | Topic::Pages => {
                let body = data;
                self.tell_content(Input::Gossip { token, topic, body }, ctx);
            }
            // Pending actions are shown nowhere here.
            Topic::Actions => {
                self.tell_identity(protocol::identity::Input::Fresh, ctx);
                self.decide(token, Verdict::Ignore, ctx);
            }
        }
    }

    fn decide(&mut self, token: Token, verdict: Verdict, ctx: &mut Ctx) {
        let Some(gossiped) = self.tokens.remove(&token) else {
            return;
        };
        if verdict == Verdict::Reject && !self.is_liar {
            ctx.checkers.note_rejected(
                gossiped.topic,
                &gossiped.data,
                gossiped.from,
                &ctx.chain,
                ctx.now,
            );
        }
        if verdict != Verdict::Accept {
            return;
        }
        if gossiped.topic == Topic::Entries && !self.is_liar {
            ctx.checkers
                .note_forwarded(&gossiped.data, self.is_staked, &ctx.chain, ctx.now);
        }
        self.forward(
            gossiped.topic,
            gossiped.id,
            &gossiped.data,
            gossiped.from,
            ctx,
        );
    }

    /// Publishes on a topic.
    fn gossip(&mut self, topic: impl Into<Topic>, data: Vec<u8>, ctx: &mut Ctx) {
        let id = digest64(&data);
        ctx.seen.note(self.idx, id, ctx.time);
        self.forward(topic.into(), id, &Bytes::from(data), self.idx, ctx);
    }

    fn forward(&self, topic: Topic, id: u64, data: &Bytes, except: u32, ctx: &mut Ctx) {
        let mesh = Arc::clone(ctx.mesh(topic));
        for to in mesh.neighbours(self.idx) {
            if *to != except {
                let data = data.clone();
                ctx.send(self.idx, *to, Message::Gossip { topic, id, data });
            }
        }
    }

    fn request(
        &mut self,
        to: Address,
        protocol: Protocol,
        data: impl Into<Bytes>,
        pending: Pending,
        ctx: &mut Ctx,
    ) {
        let id = ctx.next_id();
        self.pending.insert(id, pending);
        if let Some(idx) = ctx.peer(&to) {
            let data = data.into();
            ctx.send(self.idx, idx, Message::Request { id, protocol, data });
        }
        ctx.local(self, REQUEST_TIMEOUT, Local::Timeout(id));
    }

    fn respond(&self, to: u32, id: u64, data: impl Into<Bytes>, ctx: &mut Ctx) {
        let data = Some(data.into());
        ctx.send(self.idx, to, Message::Response { id, data });
    }

    fn refuse(&self, to: u32, id: u64, ctx: &mut Ctx) {
        ctx.send(self.idx, to, Message::Response { id, data: None });
    }

    /// Notes that the content role holds something against a peer.
    fn charge(&self, peer: Address, ctx: &mut Ctx) {
        ctx.metrics.offences += 1;
        if let Some(idx) = ctx.peer(&peer)
            && !self.is_liar
        {
            ctx.checkers.note_charged(idx, ctx.now);
        }
    }

    fn handle_request(
        &mut self,
        from: u32,
        id: u64,
        protocol: Protocol,
        data: &Bytes,
        ctx: &mut Ctx,
    ) {
        if self.answer_falsely(from, id, protocol, ctx) {
            return;
        }
        match protocol {
            Protocol::Publish | Protocol::Leases => {
                self.handle_content_request(from, id, protocol, data, ctx);
            }
            Protocol::Blocks => self.handle_block_request(from, id, data, ctx),
            Protocol::Entries => self.handle_entries_request(from, id, data, ctx),
            Protocol::Vault | Protocol::Relayer => {
                self.handle_identity_request(from, id, protocol, data, ctx);
            }
        }
    }

    fn handle_answer(&mut self, pending: Pending, data: Option<Bytes>, ctx: &mut Ctx) {
        match pending {
            Pending::Author(id) => self.handle_author_answer(id, data, ctx),
            Pending::Blocks(id, asked) => self.handle_blocks(id, asked, data, ctx),
            Pending::Content(id) => self.tell_content(Input::Answer { id, body: data }, ctx),
            Pending::Entries(id) => {
                self.tell_catch_up(catch_up::Input::Answered { id, body: data }, ctx);
            }
            Pending::Vault(id) => self.handle_vault_answer(id, data, ctx),
            Pending::Told | Pending::Repeated => {}
        }
    }

    fn handle_wake(&mut self, ctx: &mut Ctx) {
        let now = ctx.now;
        if self.wake_at.is_none_or(|at| at > now) {
            return;
        }
        self.wake_at = None;
        self.wake_discovery(ctx);
        self.exchange.handle_timeout(now);
        self.wake_content(ctx);
        self.wake_identity(ctx);
        self.wake_light(ctx);
        self.wake_vault(ctx);
    }

    /// Drains every machine, then sleeps until the next deadline.
    fn finish(&mut self, ctx: &mut Ctx) {
        if !self.is_up {
            return;
        }
        // Draining one machine may feed another; each round has less to do.
        for _ in 0..DRAIN_ROUNDS_MAX {
            let moved = self.drain_discovery(ctx)
                | self.drain_exchange(ctx)
                | self.drain_content(ctx)
                | self.drain_identity(ctx)
                | self.drain_light(ctx)
                | self.drain_vault(ctx);
            if !moved {
                break;
            }
        }
        self.sleep(ctx);
    }

    fn sleep(&mut self, ctx: &mut Ctx) {
        let deadlines = [
            self.discovery_deadline(),
            self.exchange.deadline(),
            self.content
                .as_ref()
                .and_then(|content| content.deadline())
                .map(|(at, _)| at),
            self.identity.as_deref().and_then(Identity::deadline),
            self.light.as_ref().and_then(Light::deadline),
            self.resident.as_ref().and_then(Resident::deadline),
        ];
        let Some(due) = deadlines.into_iter().flatten().min() else {
            return;
        };
        let at = due.max(ctx.now + WAKE_STEP);
        if self.wake_at.is_none_or(|known| at < known) {
            self.wake_at = Some(at);
            ctx.local(self, at - ctx.now, Local::Wake);
        }
    }

    fn facts(&self, root: &Cid) -> Option<RootFacts> {
        let proof = self.disk.proof(root)?;
        Some(RootFacts {
            proof_root: proof.hash,
            size: proof.size,
        })
    }
}

fn is_due(deadline: Option<(Moment, &'static str)>, now: Moment) -> bool {
    deadline.is_some_and(|(at, _)| at <= now)
}

/// A question without an answer for this long has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A machine is not woken more often.
const WAKE_STEP: Duration = Duration::from_millis(1);

/// Rounds of draining after one input.
const DRAIN_ROUNDS_MAX: usize = 64;
