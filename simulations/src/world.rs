//! The world of one run: peers, links, chain, faults and the order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::action::ActionDomain;
use protocol::author::{Change, WriteId};
use protocol::chain::{ChainBlock, follower};
use protocol::content::{Input, PersistId, Row as ContentRow};
use protocol::entry::Entry;
use protocol::id::{Address, Hash32};
use protocol::identity;
use protocol::merkle::Peaks;
use protocol::records::{Head, SignedLease};
use protocol::signing::Domain;
use protocol::time::Moment;
use protocol::vault::ReplicaOutput;

use crate::chain::{Chain, RegistryAt};
use crate::checkers::Checkers;
use crate::engine::{Queue, Rng, Seen, TraceHash, TraceRecord};
use crate::host::Host;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::net::{Mesh, Network};
use crate::scenario::Scenario;
use crate::wire::{Message, Topic};

mod build;
mod clocks;
mod faults;
mod judge;

use clocks::Clocks;
pub use faults::WorldEvent;

/// One run of a scenario.
#[derive(Debug)]
pub struct World {
    /// Everything that the peers share.
    pub ctx: Ctx,
    hosts: Vec<Host>,
    /// The operator of each staked peer.
    operators: Vec<Address>,
    scenario: Scenario,
    staked: usize,
    faults: Rng,
    /// Roots that were acknowledged as durable.
    roots: BTreeSet<Cid>,
    short_since: BTreeMap<Cid, Moment>,
    killed: BTreeSet<u32>,
    /// Who is about to crash at a write.
    fuses: BTreeMap<u32, faults::Fuse>,
    /// Roots of which a block went bad, and on whose disk.
    rotted: BTreeSet<(u32, Cid)>,
    left: BTreeSet<u32>,
    /// Since when staked peers are down.
    down: BTreeMap<u32, Moment>,
    adversaries: BTreeSet<u32>,
    clocks: Clocks,
    /// Who deregistered, to register again.
    returning: BTreeSet<u32>,
    /// Root of the registry that everybody was told of last.
    registry_told: Hash32,
    joined: usize,
    started: Moment,
    calm_at: Moment,
    end_at: Moment,
    is_over: bool,
}

/// What a peer reaches outside of itself.
#[derive(Debug)]
pub struct Ctx {
    /// The present: the true one, or by the clock of the peer that is being driven.
    pub now: Moment,
    /// The true present, in virtual time.
    pub time: Moment,
    /// The chain that all peers follow.
    pub chain: Chain,
    /// False while the chain does not answer.
    pub is_chain_up: bool,
    /// True from the end of the faults on.
    pub is_calm: bool,
    /// What watches for broken promises.
    pub checkers: Checkers,
    /// What is measured on the way.
    pub metrics: Metrics,
    /// The peers' chance.
    pub rng: Rng,
    /// Which peers are up.
    pub up: Vec<bool>,
    /// Domains and intervals.
    pub params: Params,
    /// Which messages they know.
    pub seen: Seen,
    queue: Queue<Event>,
    net: Network,
    trace: TraceHash,
    addresses: Vec<Address>,
    /// Those that may stake, in the order of their addresses.
    staked: Vec<(Address, u32)>,
    index: BTreeMap<Address, u32>,
    everybody: Arc<Mesh>,
    staked_only: Arc<Mesh>,
    ids: u64,
    durable: Vec<(Cid, Vec<SignedLease>)>,
}

/// Domains and intervals of one run.
#[derive(Debug, Clone)]
pub struct Params {
    /// Of peers' records.
    pub domain: Domain,
    /// Of users' actions.
    pub actions: ActionDomain,
    /// Between two signs of life.
    pub presence_interval: Duration,
    /// Silence after which a peer counts as lost.
    pub lost_after: Duration,
    /// Share of new roots that a light peer fetches.
    pub fetch_share: f64,
    /// What clocks gain or lose at most, in millionths.
    pub drift_ppm: u64,
    /// Share of what liars send that is not what they meant to say.
    pub garbled_share: f64,
    /// How many epochs a lease promises.
    pub lease_epochs: u64,
    /// A lease that ends within so many epochs is renewed.
    pub renewal_epochs: u64,
    /// How much machines hold at a time.
    pub limits: Limits,
}

/// What happens at a moment of the run.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// The peer that sent it.
        from: u32,
        /// The peer that gets it.
        to: u32,
        /// The message that arrives.
        message: Message,
    },
    /// Something inside a peer.
    Local {
        /// The peer that it is inside of.
        peer: u32,
        /// In which of its lives.
        life: u32,
        /// What happens in the peer.
        local: Local,
    },
    /// Something that befalls the world.
    World(WorldEvent),
}

/// What happens inside a peer.
#[derive(Debug)]
pub enum Local {
    /// A machine's deadline.
    Wake,
    /// A question was not answered.
    Timeout(u64),
    /// The chain has news.
    Chain,
    /// The chain's endpoint answers.
    Rpc(follower::Request),
    /// The index has done a step.
    Index(IndexStep),
    /// A head's claim is durable.
    Sign(Box<Head>),
    /// A light peer's index takes entries in.
    Apply(Box<Part>),
    /// The content role's disk or index answers.
    Content(Box<Input>),
    /// Rows of the content role reach the disk.
    Write(PersistId, Vec<ContentRow>),
    /// Others came or went.
    Connected,
    /// Look for bad blocks of a root.
    Scrub(Box<Cid>),
    /// The resident has no patience for a fetch any more.
    Impatient(Box<Cid>),
    /// The resident publishes.
    Publish,
    /// The resident saves something.
    Act,
    /// The adversary acts.
    Adversary,
    /// The resident writes or reads the vault.
    Vault,
    /// A relayer's wish reaches the disk or the chain.
    Identity(Box<identity::Output>),
    /// A vault replica's wish reaches the disk.
    Replica(Box<ReplicaOutput>),
    /// The resident repeats a question to a relayer.
    Ask(Box<Ask>),
    /// A proof of work for an action was found.
    Solved(Hash32, u64),
    /// An author's write is durable.
    Stored(WriteId, Vec<Change>),
}

impl Local {
    /// True when it changes the disk.
    fn is_write(&self) -> bool {
        match self {
            Self::Index(_)
            | Self::Sign(_)
            | Self::Apply(_)
            | Self::Write(..)
            | Self::Replica(_)
            | Self::Stored(..) => true,
            Self::Identity(wish) => matches!(**wish, identity::Output::Persist(_)),
            _ => false,
        }
    }
}

/// What the index of a peer that follows the chain does next.
#[derive(Debug)]
pub enum IndexStep {
    /// Takes these blocks in.
    Apply(Vec<Arc<ChainBlock>>),
    /// Takes back what is above this block.
    Unindex(u64),
    /// It becomes empty.
    Clear,
}

/// Entries that a light peer's index takes in.
#[derive(Debug)]
pub struct Part {
    /// In chain order.
    pub entries: Vec<Entry>,
    /// The head that covers them.
    pub head: Head,
    /// The tree's right edge after them.
    pub peaks: Peaks,
}

/// A submission to a relayer.
#[derive(Debug)]
pub struct Ask {
    /// The relayer that is asked.
    pub to: Address,
    /// The encoded question.
    pub data: Bytes,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Virtual time since the start.
    pub elapsed: Duration,
    /// Virtual time that the run takes at most.
    pub limit: Duration,
    /// Events that were delivered.
    pub events: u64,
}

impl Ctx {
    /// The registry at the last final block.
    #[must_use]
    pub fn registry(&self) -> Arc<RegistryAt> {
        let last = self.chain.block(self.chain.finalized());
        Arc::clone(&last.unwrap_or_else(|| self.chain.tip()).registry)
    }

    /// Puts a message on the network.
    pub fn send(&mut self, from: u32, to: u32, mut message: Message) {
        let garbled = self.params.garbled_share;
        if garbled > 0.0 && self.checkers.is_liar(from) && self.rng.chance(garbled) {
            message.garble(&mut self.rng);
        }
        let copies = 1 + usize::from(self.net.is_doubled());
        for message in std::iter::repeat_n(message, copies) {
            if let Some(at) = self.net.send(from, to, message.len(), self.time) {
                self.queue.push(at, Event::Deliver { from, to, message });
            }
        }
    }

    /// Schedules something inside a peer.
    pub fn local(&mut self, host: &Host, after: Duration, local: Local) {
        let event = Event::Local {
            peer: host.idx,
            life: host.life,
            local,
        };
        self.queue.push(self.time + after + self.late(after), event);
    }

    /// So much later than by the true clock a slow clock shows the end of a pause.
    fn late(&self, after: Duration) -> Duration {
        match self.params.drift_ppm {
            0 => Duration::ZERO,
            ppm => {
                let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                Duration::from_micros(1 + micros / 1_000_000 * 2 * ppm + 2 * ppm)
            }
        }
    }

    /// A number that is used once.
    pub fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// The mesh of a topic.
    #[must_use]
    pub fn mesh(&self, topic: Topic) -> &Arc<Mesh> {
        match topic {
            Topic::Entries | Topic::Heads => &self.everybody,
            Topic::Presence | Topic::Pages | Topic::Actions => &self.staked_only,
        }
    }

    /// The staked peers that are up, by address.
    pub fn up_peers(&self) -> impl Iterator<Item = Address> {
        let staked = self.staked.iter();
        let up = staked.filter(|(_, idx)| self.up[*idx as usize]);
        up.map(|(peer, _)| *peer)
    }

    /// The peer of an address.
    #[must_use]
    pub fn peer(&self, address: &Address) -> Option<u32> {
        self.index.get(address).copied()
    }

    /// The address of a peer.
    #[must_use]
    pub fn address(&self, idx: u32) -> Address {
        self.addresses[idx as usize]
    }

    /// Notes that an author was told that a root is durable.
    pub fn durable(&mut self, root: Cid, leases: &[SignedLease]) {
        self.durable.push((root, leases.to_vec()));
    }

    fn schedule(&mut self, at: Moment, event: WorldEvent) {
        self.queue.push(at, Event::World(event));
    }
}

impl World {
    /// Runs to the end.
    pub fn run(&mut self, mut progress: impl FnMut(Progress)) {
        let mut next = self.started;
        while !self.is_over
            && let Some((now, event)) = self.ctx.queue.pop()
        {
            self.ctx.now = now;
            self.ctx.time = now;
            if now >= next {
                next = now + PROGRESS_INTERVAL;
                progress(self.progress());
            }
            self.handle(event);
            if !self.ctx.durable.is_empty() {
                self.check_durable();
            }
        }
        self.judge();
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            elapsed: self.ctx.now - self.started,
            limit: self.end_at - self.started,
            events: self.ctx.trace.events(),
        }
    }

    /// The hash over everything that happened.
    #[must_use]
    pub fn trace(&self) -> &TraceHash {
        &self.ctx.trace
    }

    /// Bytes that went over the network.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ctx.net.bytes()
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                self.record(from, to, message.kind(), message.digest());
                self.deliver(from, to, message);
            }
            Event::Local { peer, life, local } => {
                let host = &mut self.hosts[peer as usize];
                if host.life == life && host.is_up {
                    let kind = local_kind(&local);
                    self.record(peer, peer, kind, u64::from(life));
                    match local.is_write() {
                        true => self.write(peer, local),
                        false => self.drive(peer, |host, ctx| host.handle_local(local, ctx)),
                    }
                }
            }
            Event::World(event) => {
                self.record(u32::MAX, u32::MAX, 64, event.digest());
                self.handle_world(event);
            }
        }
    }

    /// Has a peer do something, by its own clock.
    fn drive(&mut self, idx: u32, act: impl FnOnce(&mut Host, &mut Ctx)) {
        self.ctx.now = self.clocks.read(idx, self.ctx.time);
        act(&mut self.hosts[idx as usize], &mut self.ctx);
        self.ctx.now = self.ctx.time;
    }

    fn record(&mut self, from: u32, to: u32, kind: u8, payload: u64) {
        self.ctx.trace.record(TraceRecord {
            at: self.ctx.now,
            from,
            to,
            kind,
            payload,
        });
    }

    fn deliver(&mut self, from: u32, to: u32, message: Message) {
        // A cut takes along what is on its way.
        if !self.ctx.net.is_connected(from, to) {
            return;
        }
        let is_up = self.ctx.up[to as usize];
        let ctx = &mut self.ctx;
        // Most of what arrives are copies, so that the peer is not looked at for them.
        if let Message::Gossip { id, .. } = message
            && is_up
            && ctx.seen.has(to, id, ctx.time)
        {
            ctx.metrics.duplicates += 1;
        } else if is_up {
            self.drive(to, |host, ctx| host.handle_message(from, message, ctx));
        } else if let Message::Request { id, .. } = message {
            // The address answers that nobody listens.
            self.ctx
                .send(to, from, Message::Response { id, data: None });
        }
    }
}

fn local_kind(local: &Local) -> u8 {
    match local {
        Local::Wake => 40,
        Local::Timeout(_) => 41,
        Local::Chain => 42,
        Local::Rpc(_) => 58,
        Local::Index(_) => 59,
        Local::Sign(_) => 60,
        Local::Apply(_) => 61,
        Local::Content(_) => 43,
        Local::Write(..) => 52,
        Local::Connected => 53,
        Local::Scrub(_) => 44,
        Local::Impatient(_) => 57,
        Local::Publish => 45,
        Local::Act => 46,
        Local::Adversary => 54,
        Local::Vault => 47,
        Local::Replica(_) => 48,
        Local::Identity(_) => 49,
        Local::Ask(_) => 51,
        Local::Stored(..) => 55,
        Local::Solved(..) => 56,
    }
}

/// Virtual time between two looks at the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
