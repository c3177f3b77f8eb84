//! One publication: the driver of a [`Publication`] for each root, then of the
//! relay.

use std::time::Duration;

use protocol::action::SignedAction;
use protocol::author::{
    Candidate, FailureReason, Publication, PublicationConfig, PublicationEvent as Event, State,
};
use protocol::id::{Address, Hash32};
use protocol::placement::Placement;
use protocol::publish::{Offer, Response};
use storage::blocks::{Holding, Owner};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::import::UPLOAD_HOLD;
use super::{JOBS, JobRow, PublishError, PublishRoot, PublishState, PublishStatus, RootStatus};
use crate::context::Context;
use crate::net::{Protocol, RequestError};
use crate::relay::{RelayError, RelayHandle, RelayState, RelayStatus};
use crate::store::StoreError;

/// What a publication of `roots` begins with.
///
/// # Errors
///
/// [`PublishError::NoPeers`] without a single candidate.
pub(super) fn states(
    context: &Context,
    action: &SignedAction,
    roots: &[PublishRoot],
) -> Result<Vec<State>, PublishError> {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let none = std::collections::BTreeSet::new();
    let started = context.clock.now().unix();
    let state = |root: &PublishRoot| {
        let candidates: Vec<Candidate> = placement
            .place(&root.cid, CANDIDATES, &none)
            .into_iter()
            .filter_map(|peer| {
                let operator = placement.operator_of(&peer)?;
                Some(Candidate { peer, operator })
            })
            .collect();
        if candidates.is_empty() {
            return Err(PublishError::NoPeers);
        }
        Ok(State {
            offer: Offer {
                action: action.clone(),
                root: root.cid,
                proof_root: root.proof_root,
                size: root.dag_size,
                sources: Vec::new(),
            },
            candidates,
            leases: Vec::new(),
            started,
        })
    };
    roots.iter().map(state).collect()
}

/// The status that a stored job has.
pub(super) fn status_of(id: Hash32, row: &JobRow) -> PublishStatus {
    let roots = row.roots.iter().map(|state| {
        let operators = state.candidates.len();
        RootStatus {
            cid: state.offer.root.to_string(),
            leases: state.leases.len(),
            target: protocol::placement::REPLICAS_TARGET.min(operators),
            minimum: protocol::placement::REPLICAS_MIN.min(operators),
            bytes: 0,
            bytes_total: state.offer.size,
        }
    });
    PublishStatus {
        id,
        state: row.state,
        roots: roots.collect(),
        tx_hash: None,
        block_number: None,
        error: row.error.clone(),
    }
}

pub(super) struct Job {
    context: Context,
    relay: RelayHandle,
    id: Hash32,
    row: JobRow,
    status: watch::Sender<PublishStatus>,
    publications: Vec<Publication>,
    requests: JoinSet<Answer>,
    /// Roots that have the minimum of leases.
    durable: Vec<bool>,
    /// Roots that need no more.
    over: Vec<bool>,
    /// When the roots were held last.
    held: Option<Instant>,
}

struct Answer {
    idx: usize,
    peer: Address,
    result: Result<Vec<u8>, RequestError>,
}

impl Job {
    pub(super) fn new(
        context: Context,
        relay: RelayHandle,
        id: Hash32,
        row: JobRow,
        status: watch::Sender<PublishStatus>,
    ) -> Self {
        let now = context.clock.now();
        let config = PublicationConfig::new(context.contracts.domain());
        let publications: Vec<Publication> = row
            .roots
            .iter()
            .map(|state| Publication::restore(config.clone(), state.clone(), now))
            .collect();
        Self {
            durable: vec![false; publications.len()],
            over: vec![false; publications.len()],
            held: None,
            context,
            relay,
            id,
            row,
            status,
            publications,
            requests: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.context.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        if self.row.state == PublishState::Offering && !self.replicate().await {
            return;
        }
        self.relay_action().await;
        // The rest of the leases beyond the minimum, for as long as peers answer.
        while !self.is_over() && self.row.state != PublishState::Failed {
            self.step(None).await;
        }
    }

    /// Offers the roots until each is durable; false when one cannot be.
    async fn replicate(&mut self) -> bool {
        while !self.is_durable() {
            if self.row.state == PublishState::Failed {
                return false;
            }
            self.step(None).await;
        }
        self.set_state(PublishState::Durable, None).await;
        true
    }

    fn is_durable(&self) -> bool {
        self.durable.iter().all(|durable| *durable)
    }

    fn is_over(&self) -> bool {
        self.over.iter().all(|over| *over)
    }

    /// Carries outputs out, then waits for one input, until `end` at most.
    async fn step(&mut self, end: Option<Instant>) {
        self.hold().await;
        self.drain().await;
        let is_settled = self.is_over()
            || self.row.state == PublishState::Failed
            || (self.row.state == PublishState::Offering && self.is_durable());
        if is_settled && end.is_none() {
            return;
        }
        let clock = self.context.clock;
        let deadline = self
            .publications
            .iter()
            .filter_map(Publication::poll_timeout)
            .min();
        let ended = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            Some(answer) = self.requests.join_next() => {
                if let Ok(answer) = answer {
                    self.handle_answer(answer);
                }
            }
            () = clock.sleep_until(deadline) => {
                for publication in &mut self.publications {
                    publication.handle_timeout(clock.now());
                }
            }
        }
    }

    /// Keeps what is published for as long as that takes: an uplink may need
    /// longer than an import is held.
    async fn hold(&mut self) {
        if self.held.is_some_and(|held| held.elapsed() < HOLD_INTERVAL) {
            return;
        }
        self.held = Some(Instant::now());
        let expiry = self.context.clock.now() + UPLOAD_HOLD;
        for state in &self.row.roots {
            let root = state.offer.root;
            let owner = Owner {
                root,
                holding: Holding::Upload,
                expiry: Some(expiry.unix()),
            };
            if let Err(error) = self.context.store.add_root(owner, Vec::new()).await {
                tracing::warn!(%root, %error, "what is being published is not held any longer");
            }
        }
    }

    fn handle_answer(&mut self, Answer { idx, peer, result }: Answer) {
        let now = self.context.clock.now();
        let publication = &mut self.publications[idx];
        let response = result
            .ok()
            .and_then(|body| Response::from_bytes(&body).ok());
        match response {
            Some(response) => publication.handle_response(peer, response, now),
            None => publication.handle_failure(peer, now),
        }
    }

    async fn drain(&mut self) {
        for idx in 0..self.publications.len() {
            while let Some(transmit) = self.publications[idx].poll_transmit() {
                let net = self.context.net.clone();
                self.requests.spawn(async move {
                    let body = transmit.request.to_bytes();
                    let result = net.request(transmit.to, Protocol::Publish, body).await;
                    Answer {
                        idx,
                        peer: transmit.to,
                        result: result.map(Into::into),
                    }
                });
            }
            while let Some(event) = self.publications[idx].poll_event() {
                self.handle_event(idx, event).await;
            }
        }
    }

    async fn handle_event(&mut self, idx: usize, event: Event) {
        match event {
            Event::Progress { bytes, leases } => {
                self.status.send_modify(|status| {
                    status.roots[idx].bytes = bytes;
                    status.roots[idx].leases = leases;
                });
                if leases > self.row.roots[idx].leases.len() {
                    self.save().await;
                }
            }
            Event::Durable { leases } => {
                self.durable[idx] = true;
                self.note_leases(idx, leases.len()).await;
            }
            Event::Complete { leases } | Event::Partial { leases, .. } => {
                self.durable[idx] = true;
                self.over[idx] = true;
                self.note_leases(idx, leases.len()).await;
            }
            Event::Failed {
                leases,
                minimum,
                reasons,
            } => {
                self.over[idx] = true;
                let text = failure(&self.publications[idx], leases.len(), minimum, &reasons);
                self.set_state(PublishState::Failed, Some(text)).await;
            }
        }
    }

    async fn note_leases(&mut self, idx: usize, leases: usize) {
        self.status
            .send_modify(|status| status.roots[idx].leases = leases);
        self.save().await;
    }

    /// Hands the action to the relayers and follows it into the index.
    async fn relay_action(&mut self) {
        loop {
            match self.relay.send(self.row.action.clone()).await {
                Ok(status) => {
                    self.set_state(PublishState::Relayed, None).await;
                    if self.note_relay(status).await || self.follow().await {
                        return;
                    }
                }
                Err(error) if is_passing(&error) => {
                    tracing::info!(%error, "the action waits");
                    self.pause(RETRY_INTERVAL).await;
                }
                Err(error) => {
                    let text = error.to_string();
                    self.set_state(PublishState::Failed, Some(text)).await;
                    return;
                }
            }
        }
    }

    /// Follows a relayed action; false when nobody knows it any longer.
    async fn follow(&mut self) -> bool {
        let mut interval = POLL_INTERVAL;
        loop {
            self.pause(interval).await;
            interval = (interval * 5 / 4).min(POLL_INTERVAL_MAX);
            match self.relay.status(self.id).await {
                Ok(status) => {
                    if self.note_relay(status).await {
                        return true;
                    }
                }
                Err(RelayError::Unknown { .. }) => return false,
                Err(_) => {}
            }
        }
    }

    /// True when the action's fate is known.
    async fn note_relay(&mut self, status: RelayStatus) -> bool {
        self.status.send_modify(|shown| {
            shown.tx_hash = status.tx_hash;
            shown.block_number = status.block_number;
        });
        match status.state {
            RelayState::Pending | RelayState::Sent => false,
            RelayState::Confirmed => {
                self.set_state(PublishState::Confirmed, None).await;
                true
            }
            RelayState::Failed => {
                self.set_state(PublishState::Failed, status.error).await;
                true
            }
        }
    }

    /// Waits, and goes on collecting leases meanwhile.
    async fn pause(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.step(Some(end)).await;
        }
    }

    async fn set_state(&mut self, state: PublishState, error: Option<String>) {
        self.row.state = state;
        self.row.error.clone_from(&error);
        self.save().await;
        self.status.send_modify(|status| {
            status.state = state;
            status.error = error;
        });
    }

    async fn save(&mut self) {
        for (state, publication) in self.row.roots.iter_mut().zip(&self.publications) {
            state.clone_from(publication.state());
        }
        let (id, row) = (self.id, self.row.clone());
        let saved: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.put(JOBS, &id, &row)?))
            .await;
        if let Err(error) = saved {
            tracing::warn!(%error, "a publication was not saved; a restart begins it again");
        }
    }
}

/// True for refusals that time cures.
fn is_passing(error: &RelayError) -> bool {
    match error {
        RelayError::Refused(refusal) => refusal.retry_after_seconds.is_some(),
        RelayError::Full { .. } | RelayError::Store(_) | RelayError::Index(_) => true,
        RelayError::Action(_) | RelayError::Signer { .. } | RelayError::Unknown { .. } => false,
    }
}

fn failure(
    publication: &Publication,
    leases: usize,
    minimum: usize,
    reasons: &[(Address, FailureReason)],
) -> String {
    let causes: Vec<String> = reasons
        .iter()
        .map(|(peer, reason)| format!("{peer} {reason}"))
        .collect();
    format!(
        "{} has {leases} of {minimum} leases and no peer is left to ask: {}",
        publication.root(),
        causes.join("; ")
    )
}

/// The target and as many substitutes again, twice over.
const CANDIDATES: usize = 15;

/// Pause between two times that the roots are held for [`UPLOAD_HOLD`].
const HOLD_INTERVAL: Duration = Duration::from_secs(1800);

/// Pause between two looks at a relayed action, at first.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// The same for an action that takes long.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(3);

/// Pause before an action is offered to the relayers again.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);
