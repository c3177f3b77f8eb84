//! The roots of one action on their way to their holders.

use cid::Cid;

use super::{
    Candidate, FailureReason, JobRow, Publication, PublicationConfig, PublicationEvent,
    PublishRoot, PublishState, PublishStatus, RootStatus, State, Transmit,
};
use crate::action::SignedAction;
use crate::id::{Address, Hash32};
use crate::placement::Placement;
use crate::publish::{Offer, Response};
use crate::records::SignedLease;
use crate::time::Moment;

/// A publication: one [`Publication`] for each root of the action.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) state: PublishState,
    pub(super) error: Option<String>,
    roots: Vec<Root>,
    /// True once its turn has come.
    is_started: bool,
    /// When the roots are to be held again; `None` once they need not be.
    pub(super) hold: Option<Moment>,
}

#[derive(Debug)]
struct Root {
    /// What was restored or begins.
    state: State,
    /// What became of it; from the job's start on.
    run: Option<Publication>,
    is_durable: bool,
    is_over: bool,
    bytes: u64,
    minimum: usize,
    target: usize,
}

impl Job {
    /// Begins to publish; `None` without a single candidate.
    pub(super) fn new(
        action: &SignedAction,
        roots: &[PublishRoot],
        placement: &Placement,
        config: &PublicationConfig,
        now: Moment,
    ) -> Option<Self> {
        let begin = |root: &PublishRoot| {
            Some(State {
                candidates: candidates(placement, &root.cid)?,
                offer: Offer {
                    action: action.clone(),
                    root: root.cid,
                    proof_root: root.proof_root,
                    size: root.dag_size,
                    sources: Vec::new(),
                },
                leases: Vec::new(),
                started: now.unix(),
            })
        };
        let states = roots.iter().map(begin).collect::<Option<Vec<State>>>()?;
        Some(Self {
            state: PublishState::Offering,
            error: None,
            roots: states
                .into_iter()
                .map(|state| Root::new(state, config))
                .collect(),
            is_started: false,
            hold: Some(now),
        })
    }

    /// Goes on with what was stored.
    pub(super) fn restore(row: JobRow, config: &PublicationConfig, now: Moment) -> Self {
        let mut roots: Vec<Root> = row
            .roots
            .into_iter()
            .map(|state| Root::new(state, config))
            .collect();
        // What a publication that is over lacks is brought by repair.
        for root in &mut roots {
            root.is_over = row.state.is_over();
            root.is_durable = row.state != PublishState::Offering;
        }
        Self {
            state: row.state,
            error: row.error,
            roots,
            is_started: false,
            hold: (!row.state.is_over()).then_some(now),
        }
    }

    /// The row that a restart goes on with.
    pub(super) fn row(&self, action: SignedAction) -> JobRow {
        JobRow {
            action,
            roots: self.roots.iter().map(|root| root.state().clone()).collect(),
            state: self.state,
            error: self.error.clone(),
        }
    }

    /// True until its turn has come.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.is_started && !self.state.is_over()
    }

    /// True while roots of it that are not durable are offered.
    pub(super) fn is_offering(&self) -> bool {
        self.is_started && matches!(self.state, PublishState::Offering)
    }

    /// True when no root needs anything more.
    pub(super) fn is_over(&self) -> bool {
        self.state == PublishState::Failed
            || (self.state == PublishState::Confirmed && self.roots.iter().all(|root| root.is_over))
    }

    /// True when every root is held by enough operators.
    pub(super) fn is_durable(&self) -> bool {
        self.roots.iter().all(|root| root.is_durable)
    }

    /// Offers the roots; false when there is nobody to offer them to yet.
    pub(super) fn start(
        &mut self,
        placement: &Placement,
        config: &PublicationConfig,
        now: Moment,
    ) -> bool {
        for root in &mut self.roots {
            if self.state == PublishState::Offering && !root.renew(placement, config, now) {
                return false;
            }
        }
        for root in self.roots.iter_mut().filter(|root| !root.is_over) {
            let run = Publication::restore(config.clone(), root.state.clone(), now);
            root.run = Some(run);
        }
        self.is_started = true;
        true
    }

    /// Ends the job as failed.
    pub(super) fn fail(&mut self, error: String) {
        self.state = PublishState::Failed;
        self.error = Some(error);
        self.hold = None;
        for root in &mut self.roots {
            root.end();
        }
    }

    pub(super) fn handle_answer(
        &mut self,
        idx: usize,
        peer: Address,
        body: Option<&[u8]>,
        now: Moment,
    ) {
        let Some(run) = self.roots.get_mut(idx).and_then(|root| root.run.as_mut()) else {
            return;
        };
        match body.and_then(|body| Response::from_bytes(body).ok()) {
            Some(response) => run.handle_response(peer, response, now),
            None => run.handle_failure(peer, now),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) {
        for run in self.roots.iter_mut().filter_map(|root| root.run.as_mut()) {
            if run.poll_timeout().is_some_and(|(at, _)| at <= now) {
                run.handle_timeout(now);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.roots
            .iter()
            .filter_map(|root| root.run.as_ref()?.poll_timeout())
            .min()
    }

    /// The next question, with the place of its root.
    pub(super) fn poll_transmit(&mut self) -> Option<(usize, Transmit)> {
        let mut roots = self.roots.iter_mut().enumerate();
        roots.find_map(|(idx, root)| Some((idx, root.run.as_mut()?.poll_transmit()?)))
    }

    /// Takes in what the roots report; true when there is something to store.
    pub(super) fn absorb(&mut self) -> bool {
        let mut is_news = false;
        let mut failure = None;
        for root in &mut self.roots {
            is_news |= root.absorb(&mut failure);
        }
        if self.state != PublishState::Offering {
            return is_news;
        }
        if let Some(error) = failure {
            self.fail(error);
            return true;
        }
        if self.is_durable() {
            self.state = PublishState::Durable;
            return true;
        }
        is_news
    }

    /// Each root with its leases.
    pub(super) fn leases(&self) -> Vec<(Cid, Vec<SignedLease>)> {
        self.roots
            .iter()
            .map(|root| (root.cid(), root.state().leases.clone()))
            .collect()
    }

    /// The roots that are published.
    pub(super) fn cids(&self) -> impl Iterator<Item = Cid> {
        self.roots.iter().map(Root::cid)
    }

    /// How far it is, as if `state` and `error` were where it stands.
    pub(super) fn status(
        &self,
        id: Hash32,
        state: PublishState,
        error: Option<String>,
    ) -> PublishStatus {
        PublishStatus {
            id,
            state,
            roots: self.roots.iter().map(Root::status).collect(),
            tx_hash: None,
            block_number: None,
            error,
        }
    }
}

impl Root {
    fn new(state: State, config: &PublicationConfig) -> Self {
        let operators = state.candidates.len();
        Self {
            state,
            run: None,
            is_durable: false,
            is_over: false,
            bytes: 0,
            minimum: config.minimum.min(operators),
            target: config.target.min(operators),
        }
    }

    fn cid(&self) -> Cid {
        self.state.offer.root
    }

    fn state(&self) -> &State {
        self.run.as_ref().map_or(&self.state, Publication::state)
    }

    /// Its time runs from its turn on. What was begun longer ago than holders
    /// keep an upload begins anew with the peers of today.
    fn renew(&mut self, placement: &Placement, config: &PublicationConfig, now: Moment) -> bool {
        let end = Moment::from_unix(self.state.started) + config.give_up_after;
        if end > now && !self.state.leases.is_empty() {
            return true;
        }
        let Some(candidates) = candidates(placement, &self.cid()) else {
            return false;
        };
        let state = State {
            candidates,
            leases: Vec::new(),
            started: now.unix(),
            offer: self.state.offer.clone(),
        };
        *self = Self::new(state, config);
        true
    }

    fn end(&mut self) {
        self.is_over = true;
        if let Some(run) = self.run.take() {
            self.state = run.state().clone();
        }
    }

    /// True when there is something to store.
    fn absorb(&mut self, failure: &mut Option<String>) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let mut is_news = false;
        while let Some(event) = run.poll_event() {
            match event {
                PublicationEvent::Progress { bytes, leases } => {
                    self.bytes = bytes;
                    is_news |= leases > self.state.leases.len();
                }
                PublicationEvent::Durable { .. } => self.is_durable = true,
                PublicationEvent::Complete { .. } | PublicationEvent::Partial { .. } => {
                    self.is_durable = true;
                    self.is_over = true;
                }
                PublicationEvent::Failed {
                    leases,
                    minimum,
                    reasons,
                } => {
                    self.is_over = true;
                    let text = describe(&run.root(), leases.len(), minimum, &reasons);
                    failure.get_or_insert(text);
                }
            }
        }
        if is_news {
            self.state.clone_from(run.state());
        }
        if self.is_over {
            self.end();
            is_news = true;
        }
        is_news
    }

    fn status(&self) -> RootStatus {
        RootStatus {
            cid: self.cid(),
            leases: self.state().leases.len(),
            target: self.target,
            minimum: self.minimum,
            bytes: self.bytes,
            bytes_total: self.state.offer.size,
        }
    }
}

/// The placed peers of a root and their substitutes; `None` without a single one.
fn candidates(placement: &Placement, root: &Cid) -> Option<Vec<Candidate>> {
    let none = std::collections::BTreeSet::new();
    let found: Vec<Candidate> = placement
        .place(root, CANDIDATES, &none)
        .into_iter()
        .filter_map(|peer| {
            let operator = placement.operator_of(&peer)?;
            Some(Candidate { peer, operator })
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

fn describe(
    root: &Cid,
    leases: usize,
    minimum: usize,
    reasons: &[(Address, FailureReason)],
) -> String {
    let causes: Vec<String> = reasons
        .iter()
        .map(|(peer, reason)| format!("{peer} {reason}"))
        .collect();
    format!(
        "{root} has {leases} of {minimum} leases and no peer is left to ask: {}",
        causes.join("; ")
    )
}

/// The target of 5 and two substitutes for each, so that the minimum of 3 is
/// reached while four of five placed peers are away.
const CANDIDATES: usize = 15;
