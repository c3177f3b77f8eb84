//! A simulated peer: the production machines, and one shell around them in
//! virtual time.
//!
//! The shell decides nothing about the protocols. It carries bytes between
//! machines, network, disk and chain as `node` does, with a disk and a chain
//! that a crash and a seed can reach. A [`Role`] says what a wish means here; the
//! rest is written once for all. Who uses the peer stands outside: gives facts by
//! [`Host::tell`], hears by [`Run::news`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::id::Address;
use protocol::machine::{Token, Verdict};
use protocol::origin::RequestId;
use protocol::signing::SigningKey;
use protocol::time::Moment;

use crate::chain::RegistryAt;
use crate::chain::client::Client;
use crate::disk::Disk;
use crate::engine::digest64;
use crate::net::Inbox;
use crate::wire::{Message, Protocol, Topic};
use crate::world::{Ctx, Local};

mod content;
mod discovery;
mod dispatch;
mod exchange;
mod identity;
mod role;
mod user;

pub use exchange::Goal;
pub use role::{Deed, News, Role, Slot, Watched};

use role::{Roles, TURNS, Turn};

/// One peer: a disk, a key, and machines while it is up.
#[derive(Debug)]
pub struct Host {
    /// Its place among all peers.
    pub idx: u32,
    /// The address of its key.
    pub address: Address,
    /// What survives a crash.
    pub disk: Disk,
    /// True for a peer whose words are not those of its machines.
    pub is_liar: bool,
    /// True for a peer that keeps nothing, whatever it promises.
    pub is_hollow: bool,
    /// True for a peer that staked.
    pub is_staked: bool,
    /// False while it is down.
    pub is_up: bool,
    /// Rises with each start; events of an earlier life are void.
    pub life: u32,
    /// When it started last.
    pub started: Moment,
    /// Its key; the simulation's keys guard nothing.
    pub key: SigningKey,
    /// The registry that it knows.
    pub registry: Arc<RegistryAt>,
    /// What a crash takes away.
    pub run: Run,
}

/// What a peer has in memory.
#[derive(Debug, Default)]
pub struct Run {
    /// Peers that the content role counts as lost.
    pub lost: BTreeSet<Address>,
    /// Roots that the content role releases after checked reads.
    pub released: BTreeSet<Cid>,
    /// What came of what the user did.
    pub news: Vec<News>,
    roles: Roles,
    /// Access to the chain; staked peers.
    chain: Client,
    is_chain_away: bool,
    /// What the machines are told next.
    facts: VecDeque<Deed>,
    inbox: Inbox,
    /// Who waits for answers of the machines.
    asked: BTreeMap<RequestId, u32>,
    /// What answers of others are for.
    pending: BTreeMap<u64, Deed<Option<Bytes>>>,
    wake_at: Option<Moment>,
}

impl Host {
    /// Creates an honest peer that is down.
    #[must_use]
    pub fn new(idx: u32, key: SigningKey, is_staked: bool, ctx: &Ctx) -> Self {
        Self {
            idx,
            address: key.address(),
            disk: Disk::default(),
            is_liar: false,
            is_hollow: false,
            is_staked,
            is_up: false,
            life: 0,
            started: ctx.now,
            key,
            registry: ctx.registry(),
            run: Run::default(),
        }
    }

    /// Starts the peer with what is on its disk.
    pub fn start(&mut self, ctx: &mut Ctx) {
        self.is_up = true;
        ctx.up[self.idx as usize] = true;
        self.life += 1;
        self.started = ctx.time;
        self.registry = ctx.registry();
        if self.is_staked {
            let seed = ctx.rng.below(u64::MAX);
            self.run.chain = Client::new(self.idx, ctx.params.endpoints(seed));
        }
        self.run.roles = Roles::new(self, ctx);
        self.note_registry();
        ctx.local(self, Duration::ZERO, Local::Chain);
        ctx.local(self, Duration::ZERO, Local::Connected);
        self.finish(ctx);
    }

    /// Loses everything that is not on the disk.
    pub fn crash(&mut self, ctx: &mut Ctx) {
        self.is_up = false;
        ctx.up[self.idx as usize] = false;
        self.life += 1;
        ctx.seen.forget(self.idx);
        self.run = Run::default();
    }

    /// Loses its machines while the disk goes on for a moment.
    pub fn forget(&mut self) {
        self.run.roles = Roles::default();
    }

    /// Takes a message from another peer.
    pub fn handle_message(&mut self, from: u32, message: Message, ctx: &mut Ctx) {
        match message {
            Message::Gossip { topic, id, data } => {
                ctx.seen.note(self.idx, id, ctx.time);
                ctx.metrics.gossip_deliveries += 1;
                let token = self.run.inbox.keep(from, topic, id, data.clone());
                self.handle_gossip(token, topic, data, ctx);
            }
            Message::Request { id, protocol, data } => {
                self.run.asked.insert(RequestId(id), from);
                self.handle_request(from, RequestId(id), protocol, data, ctx);
            }
            Message::Response { id, data } => self.handle_answer(id, data, ctx),
        }
        self.finish(ctx);
    }

    /// Takes an event of its own.
    pub fn handle_local(&mut self, local: Local, ctx: &mut Ctx) {
        match local {
            Local::Wake if self.run.wake_at.is_some_and(|at| at <= ctx.now) => {
                self.run.wake_at = None;
                TURNS.iter().for_each(|turn| (turn.wake)(self, ctx));
            }
            Local::Timeout(id) => self.handle_answer(id, None, ctx),
            Local::Deed(deed) | Local::Write(deed) => deed.run((), self, ctx),
            Local::Chain => self.handle_chain(ctx),
            Local::Connected => self.note_connected(ctx),
            // What is overtaken; and the world's, and whoever's sits here.
            Local::Wake | Local::Scrub(_) | Local::Person(_) => {}
        }
        self.finish(ctx);
    }

    /// True while the author has something to do.
    #[must_use]
    pub fn is_author_busy(&self) -> bool {
        (self.run.roles.author.as_ref()).is_some_and(|author| author.is_busy())
    }

    fn decide(&mut self, token: Token, verdict: Verdict, ctx: &mut Ctx) {
        if let Some(message) = self.run.inbox.settle(token) {
            (&message, verdict).watch(self, ctx);
            if verdict == Verdict::Accept {
                self.forward(message.topic, message.id, &message.data, message.from, ctx);
            }
        }
    }

    /// Publishes on a topic.
    pub fn gossip(&mut self, topic: Topic, data: Vec<u8>, ctx: &mut Ctx) {
        let id = digest64(&data);
        ctx.seen.note(self.idx, id, ctx.time);
        self.forward(topic, id, &Bytes::from(data), self.idx, ctx);
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
        (to, protocol, data): (Address, Protocol, Bytes),
        answer: Deed<Option<Bytes>>,
        ctx: &mut Ctx,
    ) {
        let id = ctx.next_id();
        self.run.pending.insert(id, answer);
        if let Some(idx) = ctx.peer(&to) {
            ctx.send(self.idx, idx, Message::Request { id, protocol, data });
        }
        ctx.local(self, REQUEST_TIMEOUT, Local::Timeout(id));
    }

    fn handle_answer(&mut self, id: u64, data: Option<Bytes>, ctx: &mut Ctx) {
        if let Some(answer) = self.run.pending.remove(&id) {
            answer.run(data, self, ctx);
        }
    }

    fn respond(&mut self, id: RequestId, body: impl Into<Bytes>, ctx: &mut Ctx) {
        self.answer(id, Some(body.into()), ctx);
    }

    fn refuse(&mut self, id: RequestId, ctx: &mut Ctx) {
        self.answer(id, None, ctx);
    }

    /// Answers a question; says by how much the answer is late.
    fn answer(&mut self, id: RequestId, data: Option<Bytes>, ctx: &mut Ctx) -> Duration {
        let to = self.run.asked.remove(&id);
        let send = |to| ctx.send(self.idx, to, Message::Response { id: id.0, data });
        to.map(send).unwrap_or_default()
    }

    /// Drains every machine, then sleeps until the next deadline.
    pub fn finish(&mut self, ctx: &mut Ctx) {
        self.note_chain_away(ctx);
        // Draining one machine may feed another; each round has less to do.
        for _ in 0..DRAIN_ROUNDS_MAX {
            let drain = |moved, turn: &Turn| (turn.drain)(self, ctx) | moved;
            let mut moved = TURNS.iter().fold(false, drain);
            while let Some(fact) = self.run.facts.pop_front() {
                moved = true;
                fact.run((), self, ctx);
            }
            if !moved {
                break;
            }
        }
        let due = TURNS.iter().filter_map(|turn| (turn.deadline)(self)).min();
        if let Some(due) = due.map(|due| due.max(ctx.now + WAKE_STEP))
            && self.run.wake_at.is_none_or(|known| due < known)
        {
            self.run.wake_at = Some(due);
            ctx.local(self, due - ctx.now, Local::Wake);
        }
    }
}

/// A question without an answer for this long has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A machine is not woken more often.
const WAKE_STEP: Duration = Duration::from_millis(1);

/// Rounds of draining after one input.
const DRAIN_ROUNDS_MAX: usize = 64;
