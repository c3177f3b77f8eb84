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
use protocol::id::{Address, Hash32, Role};
use protocol::identity;
use protocol::merkle::Peaks;
use protocol::placement::{REPLICAS_MIN, REPLICAS_TARGET};
use protocol::records::{Head, SignedLease};
use protocol::signing::Domain;
use protocol::time::Moment;
use protocol::vault::ReplicaOutput;

use crate::chain::{Chain, RegistryAt};
use crate::checkers::Checkers;
use crate::engine::{Queue, Rng, Seen, TraceHash, TraceRecord};
use crate::host::Host;
use crate::index::Index;
use crate::metrics::Metrics;
use crate::net::{Mesh, Network};
use crate::scenario::Scenario;
use crate::wire::{Message, Topic};

mod build;
mod faults;

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
    joined: usize,
    started: Moment,
    calm_at: Moment,
    end_at: Moment,
    is_over: bool,
}

/// What a peer reaches outside of itself.
#[derive(Debug)]
pub struct Ctx {
    /// The present, in virtual time.
    pub now: Moment,
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
    pub fn send(&mut self, from: u32, to: u32, message: Message) {
        if let Some(at) = self.net.send(from, to, message.len(), self.now) {
            self.queue.push(at, Event::Deliver { from, to, message });
        }
    }

    /// Schedules something inside a peer.
    pub fn local(&mut self, host: &Host, after: Duration, local: Local) {
        let event = Event::Local {
            peer: host.idx,
            life: host.life,
            local,
        };
        self.queue.push(self.now + after, event);
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
                        false => self.hosts[peer as usize].handle_local(local, &mut self.ctx),
                    }
                }
            }
            Event::World(event) => {
                self.record(u32::MAX, u32::MAX, 64, event.digest());
                self.handle_world(event);
            }
        }
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
        let is_up = self.ctx.up[to as usize];
        let ctx = &mut self.ctx;
        // Most of what arrives are copies, so that the peer is not looked at for them.
        if let Message::Gossip { id, .. } = message
            && is_up
            && ctx.seen.has(to, id, ctx.now)
        {
            ctx.metrics.duplicates += 1;
        } else if is_up {
            self.hosts[to as usize].handle_message(from, message, ctx);
        } else if let Message::Request { id, .. } = message {
            // The address answers that nobody listens.
            self.ctx
                .send(to, from, Message::Response { id, data: None });
        }
    }

    /// An acknowledged upload is on enough disks at the moment it is acknowledged.
    fn check_durable(&mut self) {
        for (root, leases) in std::mem::take(&mut self.ctx.durable) {
            // Repair may have moved a replica in the meantime, so all disks count,
            // as do those that lost it since by no fault of a protocol.
            let operators: BTreeSet<Address> = self.hosts[..self.staked]
                .iter()
                .filter(|host| {
                    host.disk.has_stored(&root) || self.rotted.contains(&(host.idx, root))
                })
                .map(|host| self.operators[host.idx as usize])
                .collect();
            let promised: BTreeSet<Address> = leases
                .iter()
                .filter_map(|lease| self.ctx.peer(&lease.record.holder))
                .map(|holder| self.operators[holder as usize])
                .collect();
            let now = self.ctx.now;
            self.ctx.checkers.observe(
                "a durable upload is on the disks of the minimum of operators",
                operators.len() >= REPLICAS_MIN,
                now,
                || format!("{root} is on the disks of {} operators", operators.len()),
            );
            self.ctx.checkers.observe(
                "a durable upload has leases of the minimum of operators",
                promised.len() >= REPLICAS_MIN,
                now,
                || format!("{root} has leases of {} operators", promised.len()),
            );
            self.roots.insert(root);
        }
    }

    /// Distinct operators whose live, confirmed peers hold a root.
    fn replicas(&self, root: &Cid, is_exact: bool) -> usize {
        let registry = &self.ctx.chain.tip().registry.registry;
        self.hosts[..self.staked]
            .iter()
            .filter(|host| host.is_up && host.disk.leases.contains_key(root))
            .filter(|host| !is_exact || host.has_root(root))
            .filter(|host| registry.has_role(&host.address, Role::Content))
            .filter_map(|host| Some(registry.peer(&host.address)?.operator))
            .collect::<BTreeSet<Address>>()
            .len()
    }

    /// Staked peers that are up and have promised a root, or have its first block.
    fn disks(&self, root: &Cid) -> usize {
        let hosts = self.hosts[..self.staked].iter().filter(|host| host.is_up);
        let has = |host: &&Host| {
            host.disk.leases.contains_key(root) || host.disk.blocks.contains_key(root)
        };
        hosts.filter(has).count()
    }

    /// Durable roots that something alive names, with their targets: only they have
    /// to stay. A placed peer that lies about what it has counts as a replica for
    /// the others, who look only at those that give something up.
    fn targets(&self) -> BTreeMap<Cid, usize> {
        let staked = self.hosts[..self.staked].iter();
        let down: BTreeSet<Address> = staked
            .clone()
            .filter(|host| !host.is_up)
            .map(|host| host.address)
            .collect();
        let hollow: BTreeSet<Address> = staked
            .filter(|host| host.is_hollow())
            .map(|host| host.address)
            .collect();
        let placement = self.ctx.chain.tip().registry.placement.inner();
        let target = placement.effective_target(REPLICAS_TARGET, &down);
        let index = Index::of(self.ctx.chain.entries());
        let named = self.roots.iter().filter(|root| index.is_named(root));
        let without = |root: &Cid| {
            if hollow.is_empty() {
                return target;
            }
            let placed = placement.place(root, REPLICAS_TARGET, &down);
            let lying = placed.iter().filter(|peer| hollow.contains(peer)).count();
            target.saturating_sub(lying)
        };
        named.map(|root| (*root, without(root))).collect()
    }

    /// Looks whether peers that are down count as lost at those that are up.
    fn judge_lost(&mut self) {
        let now = self.ctx.now;
        let patience = self.ctx.params.lost_after + LOST_GRACE;
        for (down, since) in &self.down {
            let peer = self.hosts[*down as usize].address;
            let registry = &self.ctx.chain.tip().registry.registry;
            if !registry.has_role(&peer, Role::Content) {
                continue;
            }
            for host in self.hosts[..self.staked].iter() {
                let is_asked = host.is_up && !host.is_hollow();
                if is_asked && now >= host.started.max(*since) + patience {
                    let is_lost = host.lost.contains(&peer);
                    self.ctx.checkers.observe(LOST, is_lost, now, || {
                        format!("peer {} does not count peer {down} as lost", host.idx)
                    });
                }
            }
        }
    }

    /// Measures how long roots are short of replicas.
    fn measure_repair(&mut self) {
        let targets = self.targets();
        self.short_since
            .retain(|root, _| targets.contains_key(root));
        for (root, target) in targets {
            let is_short = self.replicas(&root, false) < target;
            match (is_short, self.short_since.contains_key(&root)) {
                (true, false) => {
                    self.short_since.insert(root, self.ctx.now);
                }
                (false, true) => {
                    if let Some(since) = self.short_since.remove(&root) {
                        self.ctx.metrics.repair.push(self.ctx.now - since);
                    }
                }
                (true, true) | (false, false) => {}
            }
        }
        self.judge_repair();
    }

    /// Looks whether roots are short of replicas for too long. Who starts anew has
    /// everybody's silence before it.
    fn judge_repair(&mut self) {
        let seconds = self.scenario.content.repair_seconds;
        if seconds == 0 {
            return;
        }
        let now = self.ctx.now;
        let staked = self.hosts[..self.staked].iter();
        let started = staked.map(|host| host.started).max().unwrap_or(now);
        let patience = self.ctx.params.lost_after + Duration::from_secs(seconds);
        for (root, since) in &self.short_since {
            let is_soon = now <= started.max(*since) + patience;
            self.ctx.checkers.observe(REPAIR, is_soon, now, || {
                format!("{root} is short since {} s", (now - *since).as_secs())
            });
        }
    }

    /// What is still missing of everything that must happen in the end.
    fn unfinished(&self, is_exact: bool) -> Vec<(&'static str, String)> {
        let mut missing = Vec::new();
        let (checkers, chain) = (&self.ctx.checkers, &self.ctx.chain);
        let abandoned = checkers.abandoned(chain, self.ctx.now);
        for root in abandoned {
            let disks = self.disks(&root);
            if disks > 0 {
                missing.push((UPLOADS, format!("{root} is on {disks} disks")));
            }
        }
        for (root, target) in self.targets() {
            let replicas = self.replicas(&root, is_exact);
            if replicas < target {
                let text = format!("{root} has {replicas} of {target} replicas");
                missing.push((ROOTS, text));
            }
        }
        let all = self.ctx.chain.entries().len() as u64;
        let has_relayers = self.scenario.population.identity_max > 0;
        for host in &self.hosts[self.staked..] {
            if host.entry_count() != all {
                let text = format!(
                    "peer {} has {} of {all} entries",
                    host.idx,
                    host.entry_count()
                );
                missing.push((ENTRIES, text));
            }
            if let Some(what) = host.unfinished(has_relayers) {
                missing.push((RESIDENTS, format!("peer {} has to {what}", host.idx)));
            }
        }
        let unlanded = self.ctx.checkers.unlanded(&self.ctx.chain);
        if unlanded > 0 {
            missing.push((ACTIONS, format!("{unlanded} accepted actions did not land")));
        }
        missing
    }

    fn judge(&mut self) {
        let now = self.ctx.now;
        let missing = self.unfinished(true);
        for rule in [ROOTS, UPLOADS, ENTRIES, RESIDENTS, ACTIONS] {
            let mut of_rule = missing.iter().filter(|(broken, _)| *broken == rule);
            let first = of_rule.next().map(|(_, text)| text.clone());
            self.ctx.checkers.observe(rule, first.is_none(), now, || {
                first.clone().unwrap_or_default()
            });
        }
        self.ctx.checkers.judge_chain(&self.ctx.chain, now);
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

const ROOTS: &str = "in the end every root is back at its effective target";
const UPLOADS: &str = "an upload whose action never lands is gone from every disk in the end";
const ENTRIES: &str = "in the end every light peer has every entry";
const RESIDENTS: &str = "in the end every fetch, publication and action is done";
const ACTIONS: &str = "in the end every accepted action has landed";

const LOST: &str =
    "whoever is down counts as lost everywhere soon after its silence is long enough";
const REPAIR: &str = "a root is back at its target soon after a holder counts as lost";

/// From the end of the silence to the moment that everybody knows. Chosen: more
/// than an answer under way takes, and much less than an hour of a page.
const LOST_GRACE: Duration = Duration::from_secs(30);

/// Virtual time between two looks at the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
