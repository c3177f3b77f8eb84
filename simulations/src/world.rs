//! The world of one run: peers, links, chain, faults and the order of events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use protocol::action::ActionDomain;
use protocol::id::{Address, Hash32};
use protocol::machine::Machine;
use protocol::origin::Origin;
use protocol::records::SignedLease;
use protocol::signing::Domain;
use protocol::time::Moment;

use crate::chain::client::Rpc;
use crate::chain::endpoints::Endpoints;
use crate::chain::{Chain, RegistryAt};
use crate::checkers::{Checkers, Rule};
use crate::disk::Disk;
use crate::engine::{Queue, Rng, Seen, TraceHash, TraceRecord};
use crate::host::{Deed, Host};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::net::{Mesh, Network};
use crate::scenario::Scenario;
use crate::wire::{Audience, Message, Topic};
use crate::workload::{Person, Plan};

mod build;
mod clocks;
mod faults;
mod judge;
mod people;

use clocks::Clocks;
pub use faults::WorldEvent;

/// One run of a scenario.
#[derive(Debug)]
pub struct World {
    /// Everything that the peers share.
    pub ctx: Ctx,
    hosts: Vec<Host>,
    /// Who sits at each peer, if anybody.
    people: Vec<Option<Box<dyn Person>>>,
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
    /// Folders made of backups, for peers that are about to lose theirs.
    backups: BTreeMap<u32, Disk>,
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
    /// How often each fault happened, by its key.
    happened: BTreeMap<&'static str, u64>,
    /// Since when light peers lack final entries.
    behind: BTreeMap<u32, Moment>,
    started: Moment,
    calm_at: Moment,
    end_at: Moment,
    is_over: bool,
    /// When what the machines hold was counted last.
    counted_at: Moment,
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
    /// The RPC endpoints of the chain.
    pub endpoints: Endpoints,
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
    /// How often machines were woken.
    wakes: u64,
    durable: Vec<(Cid, Vec<SignedLease>)>,
    written: Vec<Written>,
}

/// A vault record that was acknowledged just now.
#[derive(Debug)]
pub struct Written {
    /// Where it is kept.
    pub replicas: Vec<Address>,
    /// Under which key.
    pub lookup_key: Hash32,
    /// Whose it is.
    pub wallet: Address,
    /// At least this version of it.
    pub version: u64,
}

/// Domains and intervals of one run.
#[derive(Debug, Clone)]
pub struct Params {
    /// Of peers' records.
    pub domain: Domain,
    /// Of users' actions.
    pub actions: ActionDomain,
    /// Blocks above a final one.
    pub confirmations: u64,
    /// The usual time between two blocks.
    pub block_time: Duration,
    /// Between two signs of life.
    pub presence_interval: Duration,
    /// Silence after which a peer counts as lost.
    pub lost_after: Duration,
    /// Share of new roots that a light peer fetches.
    pub fetch_share: f64,
    /// KiB of the largest files.
    pub file_kib: usize,
    /// Share of publications that are deleted.
    pub deleted_share: f64,
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
    /// True when nobody is to send anything that makes no sense.
    pub is_honest: bool,
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
    /// Others came or went.
    Connected,
    /// Look for bad blocks of a root.
    Scrub(Box<Cid>),
    /// What a role waits for has come.
    Deed(Deed),
    /// A write of a role reaches the disk.
    Write(Deed),
    /// Whoever sits at the peer does something.
    Person(Plan),
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

    /// What calls to the chain's endpoints go over.
    pub fn rpc(&mut self) -> Rpc<'_> {
        Rpc {
            chain: &self.chain,
            endpoints: self.endpoints,
            is_up: self.is_chain_up,
            is_calm: self.is_calm,
            now: self.now,
            metrics: &mut self.metrics,
        }
    }

    /// Puts a message on the network; says by how much it is late.
    pub fn send(&mut self, from: u32, to: u32, mut message: Message) -> Duration {
        let garbled = self.params.garbled_share;
        if garbled > 0.0 && self.checkers.is_liar(from) && self.rng.chance(garbled) {
            message.garble(&mut self.rng);
        }
        let copies = 1 + usize::from(self.net.is_doubled());
        self.metrics.note_message(&message);
        let mut late = Duration::ZERO;
        if let Message::Response { id, .. } = &message {
            self.note_answered(*id);
            late = self.net.lateness();
        }
        for message in std::iter::repeat_n(message, copies) {
            if let Some(at) = self.net.send(from, to, message.len(), self.time) {
                let event = Event::Deliver { from, to, message };
                self.queue.push(at + late, event);
            }
        }
        late
    }

    /// Notes that a question is answered, which somebody waited for.
    pub fn note_answered(&mut self, id: u64) {
        if let Some((what, took)) = self.checkers.note_answered(id, self.time) {
            self.metrics.note_lag(what, took);
        }
    }

    /// Notes that a machine did what was due; looks at its tables now and then.
    pub fn note_woken(
        &mut self,
        (peer, name, reason): (u32, &'static str, &'static str),
        machine: &impl Machine,
    ) {
        self.note_due((peer, name, reason), machine.deadline());
        self.wakes += 1;
        if self.wakes.is_multiple_of(TABLES_PART) {
            let wrong = machine.contradiction();
            let now = self.now;
            self.checkers
                .observe(Rule::TablesAgree, wrong.is_none(), now, || {
                    let table = wrong.unwrap_or_default();
                    format!("{table} of peer {peer}, {name}, after: {reason}")
                });
        }
    }

    /// Notes that what was due is done.
    pub fn note_due(
        &mut self,
        (peer, machine, reason): (u32, &'static str, &'static str),
        next: Option<(Moment, &'static str)>,
    ) {
        self.metrics.note_woken((peer, machine, reason), self.time);
        self.checkers
            .note_woken((peer, machine, reason), next, self.now);
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
        match topic.audience() {
            Audience::Indexes => &self.everybody,
            Audience::Holders | Audience::Staked => &self.staked_only,
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

    /// Who asks, where addresses count: each peer has one of its own.
    #[must_use]
    pub fn origin(&self, idx: u32) -> Origin {
        Origin {
            peer: self.address(idx),
            ip: Some(Ipv4Addr::from(0x0a00_0000 + idx).into()),
        }
    }

    /// Notes that an author was told that a root is durable.
    pub fn durable(&mut self, root: Cid, leases: &[SignedLease]) {
        self.durable.push((root, leases.to_vec()));
    }

    /// Notes that a user was told that a vault record is safe.
    pub fn written(&mut self, written: Written) {
        self.written.push(written);
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
            if !self.ctx.written.is_empty() {
                self.check_written();
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

    /// How many of each fault and adversary were asked for, and there were.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<String, [u64; 2]> {
        let mut all = BTreeMap::new();
        for (key, asked) in self.scenario.asked() {
            let happened = self.happened.get(key.as_str()).copied().unwrap_or(0);
            all.insert(key, [asked, happened]);
        }
        all
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                self.record(from, to, message.kind(), message.digest());
                self.deliver(from, to, message);
            }
            Event::Local { peer, life, local } => {
                let host = &self.hosts[peer as usize];
                if host.life == life && host.is_up {
                    let kind = local_kind(&local);
                    self.record(peer, peer, kind, u64::from(life));
                    match local {
                        Local::Write(_) => self.write(peer, local),
                        Local::Person(plan) => self.act(peer, plan),
                        Local::Scrub(root) => self.scrub(peer, &root),
                        _ => self.happen(peer, local),
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
}

fn local_kind(local: &Local) -> u8 {
    match local {
        Local::Wake => 40,
        Local::Timeout(_) => 41,
        Local::Chain => 42,
        Local::Deed(_) => 43,
        Local::Write(_) => 52,
        Local::Connected => 53,
        Local::Scrub(_) => 44,
        Local::Person(Plan::Impatient(_)) => 57,
        Local::Person(Plan::Publish) => 45,
        Local::Person(Plan::Delete(_)) => 59,
        Local::Person(Plan::Act) => 46,
        Local::Person(Plan::Attack) => 54,
        Local::Person(Plan::Vault) => 47,
        Local::Person(Plan::Pay) => 48,
        Local::Person(Plan::Look) => 49,
        Local::Person(Plan::Survey) => 60,
        Local::Person(Plan::Again(_)) => 51,
        Local::Person(Plan::Err) => 58,
    }
}

/// After so many wakes the tables of the machine are looked at. Chosen: all machines
/// have their turn in a run, and looking takes a small part of its time.
const TABLES_PART: u64 = 32;

/// Virtual time between two looks at the progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
