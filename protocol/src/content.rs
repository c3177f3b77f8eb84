//! The content role: taking uploads, promising roots, keeping them on enough
//! peers.
//!
//! One machine puts the parts of the role together: [`Holder`] judges offers,
//! [`LeaseBook`] counts promises, a [`View`] knows those of others, [`Repair`]
//! decides what to fetch and what to release. Three rules tie them:
//!
//! - **References decide, claims only locate.** What the index says of a root
//!   decides whether it is kept, repaired, and whose quota it fills. A lease of
//!   somebody else only says where it may be.
//! - **Draft, persist, sign, hand out.** Counters are durable before anything
//!   is signed, and what was signed is durable before anybody sees it.
//! - **An upload is published, pending or dead**, and [`Standing`] alone says
//!   which.
//!
//! Formats: `docs/formats/lease.md`, `docs/formats/publish.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::action::ActionDomain;
use crate::id::Address;
use crate::machine::Machine;
use crate::placement::RegistryAt;
use crate::records::{Heard, Lease, Statement};
use crate::signing::Domain;
use crate::time::{Epoch, Moment};

mod book;
mod checks;
mod ends;
mod face;
mod holder;
mod leaf;
pub mod listing;
mod lists;
mod promises;
mod references;
pub mod repair;
mod report;
mod telling;
mod uploads;
mod view;

pub use book::{BookConfig, Counters, Grant, LeaseBook, PageDraft};
pub use face::{
    AskId, Capacity, Draft, FetchFailure, Height, Input, Note, Output, PersistId, Purpose, Row,
    SignedRecord, Stored,
};
pub use holder::{
    Holder, HolderConfig, HolderEvent, IndexState, Reply, Upload, UploadState, UserFacts,
};
pub use leaf::{LEAVES_MAX, Leaf, check_leaves, page_of};
pub use references::{Owner, Reference};
pub use report::{Returning, Standing, Status};
pub use view::{Change, Listed, View, ViewError};

use checks::Check;
use lists::Lists;
use promises::{Promise, Renewal};
use references::References;
use repair::{Repair, RootFacts};
use uploads::LookUp;

/// The content role of one peer.
#[derive(Debug)]
pub struct Content {
    config: Config,
    rng: StdRng,
    registry: Arc<RegistryAt>,
    connected: BTreeSet<Address>,
    holder: Holder,
    book: LeaseBook,
    view: View<Lease>,
    repair: Repair,
    references: References,
    lists: Lists,
    heard: Arc<Heard>,
    /// Roots that are whole here and wait for their lease.
    promises: BTreeMap<Cid, Promise>,
    /// Since when nothing names a promised root.
    ended: BTreeMap<Cid, Epoch>,
    /// Leases that are being renewed together.
    renewal: Option<Renewal>,
    /// Roots that are being fetched.
    fetches: BTreeSet<(Cid, Purpose)>,
    /// Roots that are being given up; none is fetched meanwhile.
    removing: BTreeSet<Cid>,
    /// How often everything is being given up that nobody promised; nothing is
    /// fetched meanwhile.
    keeping_count: usize,
    /// Fetches that wait for either.
    waiting: BTreeMap<(Cid, Purpose), Output>,
    look_ups: BTreeMap<AskId, LookUp>,
    checks: BTreeMap<AskId, Check>,
    asked: BTreeMap<AskId, Asked>,
    persists: BTreeMap<PersistId, After>,
    capacity: Capacity,
    full_until: Option<Moment>,
    is_current: bool,
    /// True when the index was read as a whole since it is current.
    is_index_read: bool,
    scan: Scan,
    epoch: Epoch,
    is_page_due: bool,
    is_renewal_due: bool,
    /// What is to be taken back and could not be written.
    unstruck: BTreeSet<Cid>,
    returning: Option<Returning>,
    presence_at: Moment,
    relist_at: Moment,
    next_id: u64,
    outputs: VecDeque<Output>,
}

/// Who the peer is, and the settings of the parts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The peer that has the role.
    pub peer: Address,
    /// Under which peers sign their records.
    pub domain: Domain,
    /// Under which users sign their actions.
    pub action_domain: ActionDomain,
    /// Limits of uploads.
    pub holder: HolderConfig,
    /// Spans of leases.
    pub book: BookConfig,
    /// Targets and limits of repair.
    pub repair: repair::Config,
    /// Between two signs of life.
    pub presence_interval: Duration,
    /// Blocks that the index may be behind the chain by its settings.
    pub confirmations: u64,
    /// From the moment that an action lands until repair fetches its roots: the
    /// author's offers come first.
    pub offer_grace: Duration,
}

/// What an answer of a peer is for.
#[derive(Debug, Clone)]
enum Asked {
    List(Address),
    Check(AskId),
    /// Nothing depends on it.
    Told,
}

/// What is done when rows are durable.
#[derive(Debug, Clone)]
enum After {
    Nothing,
    Reply(crate::origin::RequestId, Vec<u8>),
    SignLeases(Vec<Lease>),
    GiveLease(crate::records::SignedLease),
    GiveRenewed(Vec<crate::records::SignedLease>),
    Sign(Statement),
    TellPage(crate::records::SignedPage),
    Remove(Cid),
}

/// How far the index is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    /// Nothing is being read.
    Idle,
    Reading,
    /// Being read, and to be read again: what changed meanwhile is not known.
    Outdated,
    /// Reading failed; it is tried again with the next sign of life.
    Broken,
}

impl Content {
    /// Puts the role together with what was kept of an earlier run.
    #[must_use]
    pub fn new(
        config: Config,
        stored: Stored,
        registry: Arc<RegistryAt>,
        seed: u64,
        now: Moment,
    ) -> Self {
        let placement = Arc::clone(&registry.place);
        let mut repair = Repair::new(config.repair.clone(), config.peer, placement, now);
        let book = LeaseBook::new(
            config.book.clone(),
            config.peer,
            stored.counters,
            stored.leases,
            stored.page,
        );
        for lease in book.leases() {
            let facts = RootFacts::of(&lease.record);
            repair.handle_holding(config.peer, lease.record.root, facts);
        }
        let mut view = View::new(config.domain, HOLDERS_MAX);
        for lease in stored.claims {
            repair.handle_holding(lease.holder, lease.root, RootFacts::of(&lease));
            view.restore(lease);
        }
        let is_restored = stored.is_restored;
        let uploads = stored.uploads.into_iter().map(|mut upload| {
            if is_restored {
                upload.state = UploadState::Queued;
            }
            upload
        });
        let mut content = Self {
            rng: StdRng::seed_from_u64(seed),
            connected: BTreeSet::new(),
            holder: Holder::new(config.holder.clone(), uploads, now),
            book,
            view,
            repair,
            references: References::default(),
            lists: Lists::default(),
            heard: Arc::default(),
            promises: BTreeMap::new(),
            renewal: None,
            ended: stored.ended.into_iter().collect(),
            fetches: BTreeSet::new(),
            removing: BTreeSet::new(),
            keeping_count: 0,
            waiting: BTreeMap::new(),
            look_ups: BTreeMap::new(),
            checks: BTreeMap::new(),
            asked: BTreeMap::new(),
            persists: BTreeMap::new(),
            capacity: Capacity::default(),
            full_until: None,
            is_current: false,
            is_index_read: false,
            scan: Scan::Idle,
            epoch: now.epoch(),
            is_page_due: true,
            is_renewal_due: true,
            unstruck: BTreeSet::new(),
            returning: None,
            presence_at: now,
            relist_at: now + RELIST_INTERVAL,
            next_id: 0,
            outputs: VecDeque::new(),
            registry,
            config,
        };
        content.open(is_restored, now);
        content.settle(now);
        content
    }

    fn open(&mut self, is_restored: bool, now: Moment) {
        let promised: Vec<Cid> = self.book.leases().map(|lease| lease.record.root).collect();
        if is_restored {
            self.begin_return(&promised, now);
        }
        self.keep();
        if promised.is_empty() {
            self.handle_inspected(Vec::new(), now);
        } else {
            self.inspect();
        }
        self.begin_scan();
    }

    /// Finds out which promised roots are not whole here.
    fn inspect(&mut self) {
        let promised = self.book.leases().map(|lease| lease.record.root);
        let waiting = self.promises.keys().copied();
        let roots = promised.chain(waiting).collect();
        self.outputs.push_back(Output::Inspect { roots });
    }

    /// Hands the parts' wishes on until none is left.
    fn settle(&mut self, now: Moment) {
        loop {
            let mut is_idle = true;
            while let Some(reply) = self.holder.poll_reply() {
                let body = reply.response.to_bytes();
                self.outputs
                    .push_back(Output::Respond { id: reply.id, body });
            }
            while let Some(event) = self.holder.poll_event() {
                is_idle = false;
                self.handle_holder_event(event, now);
            }
            while let Some(event) = self.repair.poll_event() {
                is_idle = false;
                self.handle_repair_event(event, now);
            }
            if is_idle {
                return;
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn persist(&mut self, rows: Vec<Row>, after: After) {
        let id = PersistId(self.next_id());
        self.persists.insert(id, after);
        self.outputs.push_back(Output::Persist { id, rows });
    }

    fn note(&mut self, note: Note) {
        self.outputs.push_back(Output::Note(note));
    }

    fn handle_persisted(&mut self, id: PersistId, is_done: bool, now: Moment) {
        let Some(after) = self.persists.remove(&id) else {
            return;
        };
        if !is_done {
            self.note(Note::NotPersisted);
            self.handle_not_persisted(after, now);
            return;
        }
        match after {
            After::Nothing => {}
            After::Reply(id, body) => self.outputs.push_back(Output::Respond { id, body }),
            After::SignLeases(leases) => {
                let drafts = leases.into_iter().map(Draft::Lease);
                self.outputs.extend(drafts.map(Output::Sign));
            }
            After::GiveLease(lease) => self.give_lease(lease, now),
            After::GiveRenewed(leases) => self.give_renewed(leases, now),
            After::Sign(statement) => self.sign(statement),
            After::TellPage(page) => self.tell_page(page),
            After::Remove(root) => self.remove(root),
        }
    }

    /// What waited for the rows goes another way, or is tried again.
    fn handle_not_persisted(&mut self, after: After, now: Moment) {
        match after {
            // The next whole look at what is kept does it again.
            After::Nothing | After::TellPage(_) | After::Sign(_) => {}
            After::Remove(root) => drop(self.unstruck.insert(root)),
            After::Reply(id, _) => {
                self.outputs.push_back(Output::Refuse { id, is_busy: true });
            }
            After::SignLeases(leases) => self.put_off(leases.iter(), now),
            After::GiveLease(lease) => self.put_off([&lease.record].into_iter(), now),
            After::GiveRenewed(leases) => {
                self.put_off(leases.iter().map(|lease| &lease.record), now);
            }
        }
    }

    fn handle_answer(&mut self, id: AskId, body: Option<&[u8]>, now: Moment) {
        match self.asked.remove(&id) {
            Some(Asked::List(peer)) => self.handle_list(peer, body, now),
            Some(Asked::Check(check)) => self.handle_shown(check, body),
            Some(Asked::Told) | None => {}
        }
    }
}

impl Machine for Content {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        self.note_epoch(now);
        match input {
            Input::Registry(registry) => self.handle_registry(registry, now),
            Input::Connected(peers) => self.handle_connected(peers),
            Input::Height(height) => self.handle_height(height, now),
            Input::Renamed(roots) => self.outputs.push_back(Output::ReadReferences { roots }),
            Input::RenamedUnknown => self.handle_renamed_unknown(now),
            Input::References(changed) => self.handle_references(changed, now),
            Input::Scanned { roots, is_over } => self.handle_scanned(roots, is_over, now),
            Input::ScanBroken => self.scan = Scan::Broken,
            Input::Request {
                id,
                protocol,
                origin,
                body,
            } => self.handle_request(id, protocol, origin, &body, now),
            Input::Gossip { token, topic, body } => self.handle_gossip(token, topic, &body, now),
            Input::Answer { id, body } => self.handle_answer(id, body.as_deref(), now),
            Input::LookedUp { id, user, capacity } => {
                self.capacity = capacity;
                self.handle_looked_up(id, user, now);
            }
            Input::Measured(capacity) => {
                self.capacity = capacity;
                self.tell_presence(now);
            }
            Input::Persisted { id, is_done } => self.handle_persisted(id, is_done, now),
            Input::Signed(record) => self.handle_signed(record),
            Input::Progress { root, bytes } => self.holder.handle_progress(&root, bytes, now),
            Input::Fetched {
                root,
                purpose,
                result,
            } => self.handle_fetched(root, purpose, result, now),
            Input::Removed { root } => {
                self.removing.remove(&root);
                self.start_waiting();
            }
            Input::Kept => {
                self.keeping_count = self.keeping_count.saturating_sub(1);
                self.start_waiting();
            }
            Input::Drawn { id, cids } => self.handle_drawn(id, cids),
            Input::Inspected { lacking } => self.handle_inspected(lacking, now),
            Input::BlockLost(block) => self.outputs.push_back(Output::FindListing { block }),
            Input::BlocksLost => self.inspect(),
            Input::Damaged { roots } => self.handle_damaged(&roots),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.note_epoch(now);
        if now >= self.presence_at {
            self.presence_at = now + self.config.presence_interval;
            self.strike_again();
            self.draft_page(now);
            if self.scan == Scan::Broken {
                self.begin_scan();
            }
            self.outputs.push_back(Output::Measure);
        }
        if now >= self.relist_at {
            self.relist_at = now + RELIST_INTERVAL;
            self.relist_one();
        }
        self.retry_promises(now);
        self.holder.handle_timeout(now);
        self.repair.handle_timeout(now);
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let mut next = (self.presence_at, "sign of life").min((self.relist_at, "lists of leases"));
        let epoch_end = Moment::from_unix(self.epoch.plus(1).start());
        next = next.min((epoch_end, "epoch"));
        let promise = self.promises.values().filter_map(Promise::retry_at).min();
        if let Some(at) = promise {
            next = next.min((at, "a lease is signed"));
        }
        [self.holder.poll_timeout(), self.repair.poll_timeout()]
            .into_iter()
            .flatten()
            .chain([next])
            .min()
    }

    fn contradiction(&self) -> Option<&'static str> {
        let stored = (!self.references.are_counted()).then_some("stored bytes");
        self.repair.contradiction().or(stored)
    }
}

/// Holders whose leases are known. Chosen: more than operators are expected.
const HOLDERS_MAX: usize = 10_000;

/// Pause between two peers whose leases are read again. Chosen: at a hundred
/// peers each is read about every quarter of an hour.
const RELIST_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
