//! The author's role as one machine: offered → durable → relayed → confirmed.
//!
//! The owner publishes roots by a signed action, or hands in an action alone.
//! [`Author`] offers each root to the placed peers ([`Publication`]); once every
//! root is durable it hands the action to the relayers in rank order and follows
//! it into the index. Whatever is told, to others or to the owner, is on disk
//! first, and both rows of an action change in one write: a crash between any two
//! writes leaves a state to go on from. An action is relayed only after its roots
//! are durable, and is kept until the index has it, it is refused for good, or a
//! day of a chain that works has passed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::action::{ActionDomain, SignedAction};
use crate::entity::{EntityType, Verb};
use crate::id::{Address, Hash32};
use crate::machine::Machine;
use crate::origin::RequestId;
use crate::placement::Placement;
use crate::relayer;
use crate::signing::Domain;
use crate::time::{Moment, UnixSeconds};
use crate::wire::Protocol;

mod ended;
mod ends;
mod errand;
mod explain;
mod face;
mod inquiry;
mod job;
mod owner;
mod passes;
mod publication;
mod relay;
mod rows;
mod status;
mod turns;
mod walk;

pub use explain::{SPELLING, check_signer, wrong_spelling};
pub use face::{
    AskId, Event, Input, Landing, LookId, Output, PublishError, RelayError, Reply, Wanted, WriteId,
};
pub use publication::{
    Candidate, FailureReason, Publication, PublicationConfig, PublicationEvent, State, Transmit,
};
pub use rows::{Change, JobRow, OutboxRow};
pub use status::{PublishRoot, PublishState, PublishStatus, RelayState, RelayStatus, RootStatus};

use ended::Ended;
use errand::Errand;
use inquiry::Inquiry;
use job::Job;
use relay::Relay;

/// Publishes and relays for the owner of a peer.
#[derive(Debug)]
pub struct Author {
    config: Config,
    /// Where roots belong.
    snapshot: Arc<Placement>,
    /// The newest placement; its identity peers relay.
    latest: Arc<Placement>,
    has_relayer: bool,
    is_chain_away: bool,
    /// The time that an action is given is not counted from earlier than this.
    counted_from: UnixSeconds,
    errands: BTreeMap<Hash32, Errand>,
    ended: Ended,
    inquiries: BTreeMap<RequestId, Inquiry>,
    asks: BTreeMap<AskId, Asked>,
    writes: BTreeMap<WriteId, Hash32>,
    looks: BTreeMap<LookId, LookedFor>,
    /// True when the index may have something new.
    is_look_due: bool,
    next_id: u64,
    outputs: VecDeque<Output>,
}

/// Domains and limits of an [`Author`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The peer that publishes.
    pub peer: Address,
    /// Under which actions are signed.
    pub actions: ActionDomain,
    /// How a root is published.
    pub publication: PublicationConfig,
    /// Leading zero bits of the proof of work for `User Create`.
    pub proof_bits: u32,
    /// Publications that are under way.
    pub jobs_max: usize,
    /// Publications that are offered at the same time; the others wait.
    pub offering_max: usize,
    /// Actions without a publication that are on their way.
    pub rows_max: usize,
    /// Actions that the relayers are being asked about.
    pub passes_max: usize,
    /// Proofs of work that are looked for at the same time.
    pub solves_max: usize,
    /// Actions that landed or failed and are still followed.
    pub settled_max: usize,
    /// Ended publications whose status is kept.
    pub ended_max: usize,
    /// Questions of the owner that the relayers are being asked.
    pub inquiries_max: usize,
}

/// What a question to a peer was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Offer {
        digest: Hash32,
        idx: usize,
        peer: Address,
    },
    Submit(Hash32),
    Status(RequestId),
}

/// What a look into the index was for.
#[derive(Debug)]
enum LookedFor {
    Errands(Vec<Hash32>),
    Inquiry(RequestId),
}

impl Config {
    /// The defaults of a peer.
    #[must_use]
    pub fn new(peer: Address, domain: Domain, actions: ActionDomain) -> Self {
        Self {
            peer,
            actions,
            publication: PublicationConfig::new(domain),
            proof_bits: relayer::Config::new(actions).proof_bits,
            // Of some 3 KiB each in memory and on disk.
            jobs_max: 1024,
            // A holder pulls four uploads of one author at a time.
            offering_max: 64,
            // The relayers take 2,000 small actions of a user in an hour.
            rows_max: 1024,
            // Each waits ten seconds for a relayer that is silent.
            passes_max: 8,
            // Each takes a processor for about a second.
            solves_max: 2,
            // As many as can be on their way.
            settled_max: 1024,
            // As many as can be under way; the owner's programs ask soon after the end.
            ended_max: 1024,
            // More than people ask, fewer than connections of the owner's programs.
            inquiries_max: 64,
        }
    }
}

impl Machine for Author {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Publish {
                request,
                action,
                roots,
                missing,
            } => self.handle_publish(request, action, &roots, missing, now),
            Input::Published { request, digest } => self.handle_published(request, digest),
            Input::Relay {
                request,
                action,
                proof,
            } => self.handle_relay(request, action, proof, now),
            Input::Relayed { request, digest } => self.handle_relayed(request, digest),
            Input::Answered { id, body } => self.handle_answered(id, body.as_ref(), now),
            Input::Persisted { id, error } => self.handle_persisted(id, error, now),
            Input::Looked { id, found } => self.handle_looked(id, found, now),
            Input::Solved { digest, proof } => self.handle_solved(digest, proof, now),
            Input::Index => self.is_look_due = true,
            Input::Chain { is_away } => self.handle_chain(is_away, now),
            Input::Snapshot(placement) => self.snapshot = placement,
            Input::Latest(placement) => self.latest = placement,
            Input::Connected => self.handle_connected(now),
            Input::Relayer => self.has_relayer = true,
        }
        self.fill(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        let digests: Vec<Hash32> = self.errands.keys().copied().collect();
        for digest in digests {
            self.handle_due(digest, now);
        }
        let is_due = |inquiry: &Inquiry| inquiry.deadline().is_some_and(|at| at <= now);
        let silent: Vec<RequestId> = self
            .inquiries
            .iter()
            .filter(|(_, inquiry)| is_due(inquiry))
            .map(|(request, _)| *request)
            .collect();
        for request in silent {
            self.step_inquiry(request, None, now);
        }
        self.fill(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let has_pass = self.passes() < self.config.passes_max;
        let errands = self
            .errands
            .values()
            .filter_map(|errand| self.errand_deadline(errand, has_pass));
        let inquiries = self
            .inquiries
            .values()
            .filter_map(|inquiry| Some((inquiry.deadline()?, "a relayer is silent")));
        errands.chain(inquiries).min()
    }
}

impl Author {
    /// Begins with nothing.
    #[must_use]
    pub fn new(config: Config, now: Moment) -> Self {
        Self::restore(config, Vec::new(), Vec::new(), now)
    }

    /// Goes on with what is on disk.
    #[must_use]
    pub fn restore(
        config: Config,
        jobs: impl IntoIterator<Item = JobRow>,
        rows: impl IntoIterator<Item = OutboxRow>,
        now: Moment,
    ) -> Self {
        let mut author = Self {
            snapshot: Arc::default(),
            latest: Arc::default(),
            has_relayer: false,
            is_chain_away: false,
            // An action that waited while the peer was off has not had its day.
            counted_from: now.unix(),
            errands: BTreeMap::new(),
            ended: Ended::new(config.ended_max),
            inquiries: BTreeMap::new(),
            asks: BTreeMap::new(),
            writes: BTreeMap::new(),
            looks: BTreeMap::new(),
            is_look_due: true,
            next_id: 0,
            outputs: VecDeque::new(),
            config,
        };
        for row in rows {
            if let Some((_, errand)) = author.errand(&row.action) {
                errand.relay = Some(Relay::restore(row, now));
            }
        }
        let mut jobs: Vec<JobRow> = jobs.into_iter().collect();
        jobs.sort_by_key(JobRow::started);
        for row in jobs {
            author.restore_job(row, now);
        }
        let digests: Vec<Hash32> = author.errands.keys().copied().collect();
        for digest in digests {
            author.restore_errand(digest, now);
        }
        author.fill(now);
        author
    }

    /// True while something is done for an action that is neither settled nor lost.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errands.values().any(|errand| {
            let is_running = errand.job.as_ref().is_some_and(|job| !job.is_over());
            let is_on_its_way = errand.relay.as_ref().is_some_and(|row| !row.is_settled());
            is_running || is_on_its_way
        })
    }

    fn restore_job(&mut self, row: JobRow, now: Moment) {
        let config = self.config.publication.clone();
        let Some((_, errand)) = self.errand(&row.action) else {
            return;
        };
        errand.job = Some(Job::restore(row, &config, now));
    }

    fn restore_errand(&mut self, digest: Hash32, now: Moment) {
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        errand.restored();
        let is_relayable = |job: &Job| job.is_durable() && !job.state.is_over();
        if errand.relay.is_none() && errand.job.as_ref().is_some_and(is_relayable) {
            errand.hand_in(None, digest, now);
            errand.is_dirty = true;
        }
        self.advance(digest, now);
    }

    /// The errand of an action; `None` when nobody signed it.
    fn errand(&mut self, action: &SignedAction) -> Option<(Hash32, &mut Errand)> {
        let signer = action.signer(&self.config.actions).ok()?;
        let digest = action.action.digest(&self.config.actions);
        let number = self.take_id();
        let errand = self
            .errands
            .entry(digest)
            .or_insert_with(|| Errand::new(number, action.clone(), signer));
        Some((digest, errand))
    }

    /// Carries on with an errand after something in it changed.
    fn advance(&mut self, digest: Hash32, now: Moment) {
        self.advance_job(digest, now);
        let id = WriteId(self.take_id());
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        if let Some(changes) = errand.begin_write(id, digest, now) {
            self.writes.insert(id, digest);
            self.outputs.push_back(Output::Persist { id, changes });
        }
        for (request, reply) in errand.take_replies() {
            self.outputs.push_back(Output::Reply { request, reply });
        }
        if errand.is_over() {
            self.end(digest);
        }
    }

    fn advance_job(&mut self, digest: Hash32, now: Moment) {
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        let Some(job) = &mut errand.job else {
            return;
        };
        if job.hold.is_some_and(|at| at <= now) {
            job.hold = Some(now + HOLD_INTERVAL);
            let until = (now + HOLD).unix();
            self.outputs
                .extend(job.cids().map(|root| Output::Hold { root, until }));
        }
        while let Some((idx, transmit)) = job.poll_transmit() {
            let id = AskId(self.next_id);
            self.next_id += 1;
            let peer = transmit.to;
            self.asks.insert(id, Asked::Offer { digest, idx, peer });
            self.outputs.push_back(Output::Ask {
                id,
                peer,
                protocol: Protocol::Publish,
                body: transmit.request.to_bytes().into(),
            });
        }
        let was_offering = job.state == PublishState::Offering;
        errand.is_dirty |= job.absorb();
        if was_offering && job.state == PublishState::Durable {
            errand.hand_in(None, digest, now);
            errand.follow();
            self.is_look_due = true;
        }
        if let Some(job) = errand.job.as_mut().filter(|job| job.is_over()) {
            job.hold = None;
        }
    }

    fn end(&mut self, digest: Hash32) {
        let Some(errand) = self.errands.remove(&digest) else {
            return;
        };
        let Some(status) = errand.published(digest) else {
            return;
        };
        // The oldest that is not kept in mind is not kept on disk.
        if let Some(digest) = self.ended.insert(status) {
            let id = WriteId(self.take_id());
            let changes = vec![Change::Job(digest, None)];
            self.outputs.push_back(Output::Persist { id, changes });
        }
    }

    /// Forgets the oldest of what is settled beyond the bound.
    fn bound_settled(&mut self, now: Moment) {
        let is_settled = |errand: &Errand| errand.relay.as_ref().is_some_and(Relay::is_settled);
        let settled = self.in_turn(is_settled);
        let surplus = settled.len().saturating_sub(self.config.settled_max);
        for digest in settled.into_iter().take(surplus) {
            if let Some(errand) = self.errands.get_mut(&digest) {
                errand.relay = None;
                errand.is_dirty = true;
                self.advance(digest, now);
            }
        }
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        self.outputs.push_back(Output::Reply { request, reply });
    }

    const fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }
}

impl Asked {
    fn is_offer_of(&self, wanted: &Hash32) -> bool {
        matches!(self, Self::Offer { digest, .. } if digest == wanted)
    }
}

/// True for actions that cost a proof of work.
#[must_use]
pub fn needs_proof(action: &SignedAction) -> bool {
    let kind = action.action.entity_type.parse();
    let verb = action.action.action.parse();
    (kind, verb) == (Ok(EntityType::User), Ok(Verb::Create))
}

/// Roots of one action: the file, its image and what belongs to it. Chosen: only
/// larger than the fields of any entity that name one, which are seven in all.
pub const ROOTS_MAX: usize = 16;

/// How long an import waits for its publication, and for what goes on with it.
/// Derived: holders keep an unpublished upload for as long.
pub const HOLD: Duration = Duration::from_secs(2 * 3600);

/// Between two times that the roots are held for [`HOLD`]: several may fail.
const HOLD_INTERVAL: Duration = Duration::from_secs(1800);

/// How long one relayer is waited for: it simulates the action on its chain.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Relayers that are asked about one action. Chosen: most of them may be away, and
/// a pass over silent ones still ends within three minutes.
const RELAYERS_MAX: usize = 16;

/// Requests of the owner that wait for one action; chosen, one is the rule.
const REQUESTS_MAX: usize = 64;

/// Before a write that failed is tried again: the owner may make room meanwhile.
const WRITE_PAUSE: Duration = Duration::from_secs(3);

const NOT_TAKEN: &str =
    "no relayer brought the action on chain within 24 hours; check the connection and try again";

#[cfg(test)]
mod tests;
