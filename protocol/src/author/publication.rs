//! One root on its way to its holders.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::id::{Address, OperatorNumber};
use crate::placement::{REPLICAS_MIN, REPLICAS_TARGET};
use crate::publish::{Offer, Refusal, Request, Response, SOURCES_MAX};
use crate::records::SignedLease;
use crate::signing::Domain;
use crate::time::{Epoch, Moment, UnixSeconds};

/// Brings one root onto enough staked peers of distinct operators.
///
/// The driver delivers each [`Transmit`] as a request and hands the answer to
/// [`Publication::handle_response`], or the lack of one to
/// [`Publication::handle_failure`].
#[derive(Debug)]
pub struct Publication {
    config: PublicationConfig,
    state: State,
    attempts: BTreeMap<Address, Attempt>,
    minimum: usize,
    target: usize,
    is_durable: bool,
    is_over: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<PublicationEvent>,
}

/// Targets, intervals and limits of a [`Publication`].
#[derive(Debug, Clone)]
pub struct PublicationConfig {
    /// Under which leases are signed.
    pub domain: Domain,
    /// Leases of distinct operators that are aimed at.
    pub target: usize,
    /// Leases of distinct operators that make the upload durable.
    pub minimum: usize,
    /// Peers that pull from the author while nobody holds the root.
    pub seeders_max: usize,
    /// A lease that promises fewer epochs than this is refused.
    pub lease_epochs_min: u64,
    /// Offers made to one peer before it is given up; one that does not answer
    /// gets further ones while too few peers hold the root.
    pub attempts_max: u32,
    /// A request without an answer for this long has failed.
    pub request_timeout: Duration,
    /// Between two questions how far a peer is.
    pub poll_interval: Duration,
    /// A peer that gains less than 256 KiB in this long has failed.
    pub stall_timeout: Duration,
    /// Before a peer is tried again, times the attempts so far.
    pub retry_interval: Duration,
    /// All in all; holders drop unpublished uploads after as long.
    pub give_up_after: Duration,
}

/// A placed peer, in rank order with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The placed peer's address.
    pub peer: Address,
    /// Who staked for it.
    pub operator: OperatorNumber,
}

/// All that a publication needs in order to go on after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is offered; `sources` is filled in for each peer.
    pub offer: Offer,
    /// The placed peers and their substitutes in rank order.
    pub candidates: Vec<Candidate>,
    /// The leases so far.
    pub leases: Vec<SignedLease>,
    /// When it began.
    pub started: UnixSeconds,
}

/// A request to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// One of the candidates.
    pub to: Address,
    /// What to say.
    pub request: Request,
}

/// What the author learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicationEvent {
    /// Something worth storing or showing changed.
    Progress {
        /// Bytes that the furthest peer without a lease has.
        bytes: u64,
        /// Leases so far.
        leases: usize,
    },
    /// Enough operators hold the root: the action may go to a relayer.
    Durable {
        /// Of distinct operators.
        leases: Vec<SignedLease>,
    },
    /// The target is reached; the machine is done.
    Complete {
        /// Of distinct operators.
        leases: Vec<SignedLease>,
    },
    /// No more candidates are left, but the minimum is reached; done. Repair
    /// brings the rest.
    Partial {
        /// Of distinct operators.
        leases: Vec<SignedLease>,
        /// What was aimed at.
        target: usize,
    },
    /// The minimum is out of reach; done.
    Failed {
        /// The leases there are.
        leases: Vec<SignedLease>,
        /// What was needed.
        minimum: usize,
        /// Each peer's cause.
        reasons: Vec<(Address, FailureReason)>,
    },
}

/// Why a peer did not give a lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailureReason {
    /// It said so.
    #[error("refused: {}", .0.reason)]
    Refused(Refusal),
    /// It could not be reached or did not answer.
    #[error("did not answer")]
    Unreachable,
    /// It accepted and then gained nothing.
    #[error("stalled")]
    Stalled,
    /// Its lease is not what was asked for.
    #[error("sent a lease that is not valid: {0}")]
    BadLease(&'static str),
    /// It answered something else than was asked.
    #[error("gave an answer that does not fit the question")]
    Protocol,
}

#[derive(Debug, Clone)]
struct Attempt {
    count: u32,
    phase: Phase,
    failure: Option<FailureReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not asked, or may be asked again from the moment on.
    Idle {
        from: Moment,
    },
    /// An offer is on its way.
    Offered {
        deadline: Moment,
    },
    /// Accepted; asked from time to time.
    Pulling {
        bytes: u64,
        /// Bytes at the last gain that counted, and its time.
        mark: u64,
        gained: Moment,
        poll: Moment,
        /// A question is on its way, and fails then.
        asked: Option<Moment>,
    },
    Leased,
    GivenUp,
}

impl PublicationConfig {
    /// The defaults under a domain: target 5, minimum 3.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            target: REPLICAS_TARGET,
            minimum: REPLICAS_MIN,
            // The author's uplink carries the file once; the others pull from the first.
            seeders_max: 1,
            // A day: repair has to notice and replace a holder before its promise ends.
            lease_epochs_min: 24,
            // Chosen: one answer may be lost and one restart be met; a substitute is next.
            attempts_max: 4,
            // Chosen: longer than a busy holder takes to look the user up.
            request_timeout: Duration::from_secs(20),
            // Chosen: short beside a pull of seconds, and a hundred bytes each.
            poll_interval: Duration::from_millis(500),
            // Longer than the slowest request of a pull: it may ask somebody else first.
            stall_timeout: Duration::from_secs(45),
            // Chosen: a peer that restarts is back by the third attempt.
            retry_interval: Duration::from_secs(3),
            // As long as holders keep an unpublished upload.
            give_up_after: Duration::from_secs(2 * 3600),
        }
    }
}

impl Publication {
    /// Starts to publish `offer` to ranked candidates.
    #[must_use]
    pub fn new(
        config: PublicationConfig,
        offer: Offer,
        candidates: Vec<Candidate>,
        now: Moment,
    ) -> Self {
        let state = State {
            offer,
            candidates,
            leases: Vec::new(),
            started: now.unix(),
        };
        Self::restore(config, state, now)
    }

    /// Goes on from a stored [`State`].
    #[must_use]
    pub fn restore(config: PublicationConfig, mut state: State, now: Moment) -> Self {
        state.candidates.truncate(CANDIDATES_MAX);
        let operators: BTreeSet<OperatorNumber> = state
            .candidates
            .iter()
            .map(|candidate| candidate.operator)
            .collect();
        let leases = std::mem::take(&mut state.leases);
        let attempts = state
            .candidates
            .iter()
            .map(|candidate| (candidate.peer, Attempt::new()))
            .collect();
        let mut publication = Self {
            minimum: config.minimum.min(operators.len()).max(1),
            target: config.target.min(operators.len()).max(1),
            config,
            state,
            attempts,
            is_durable: false,
            is_over: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        for lease in leases {
            publication.take_lease(lease.record.holder, lease, now);
        }
        publication.advance(now);
        publication
    }

    /// What to store; changes with each lease.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The root that is published.
    #[must_use]
    pub fn root(&self) -> Cid {
        self.state.offer.root
    }

    /// Takes a peer's answer.
    pub fn handle_response(&mut self, peer: Address, response: Response, now: Moment) {
        let Some(attempt) = self.attempts.get(&peer) else {
            return;
        };
        let is_expected = matches!(
            attempt.phase,
            Phase::Offered { .. } | Phase::Pulling { asked: Some(_), .. }
        );
        if self.is_over || !is_expected {
            return;
        }
        match response {
            Response::Accepted => self.handle_progress(peer, 0, now),
            Response::Progress { bytes } => self.handle_progress(peer, bytes, now),
            Response::Lease(lease) => self.take_lease(peer, *lease, now),
            Response::Refused(refusal) => {
                let retry = refusal.code.is_retryable();
                let after = refusal.retry_after_seconds.unwrap_or(0).min(600);
                let reason = FailureReason::Refused(refusal);
                self.fail(peer, reason, retry, Duration::from_secs(after), now);
            }
            // It restarted and forgot; an answer to an offer it cannot be.
            Response::Unknown => {
                self.fail(peer, FailureReason::Protocol, true, Duration::ZERO, now);
            }
        }
        self.advance(now);
    }

    /// Notes that a request was not answered.
    pub fn handle_failure(&mut self, peer: Address, now: Moment) {
        let Some(attempt) = self.attempts.get_mut(&peer) else {
            return;
        };
        match &mut attempt.phase {
            Phase::Offered { .. } => {
                self.fail(peer, FailureReason::Unreachable, true, Duration::ZERO, now);
            }
            // The pull may go on without us; the stall timeout decides.
            Phase::Pulling { asked, poll, .. } if asked.is_some() => {
                *asked = None;
                *poll = now + self.config.poll_interval;
            }
            Phase::Pulling { .. } | Phase::Idle { .. } | Phase::Leased | Phase::GivenUp => {}
        }
        self.advance(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        let due: Vec<Address> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.due(&self.config).is_some_and(|due| due <= now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            self.handle_due(peer, now);
        }
        self.advance(now);
    }

    /// When [`Publication::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        if self.is_over {
            return None;
        }
        let give_up = Moment::from_unix(self.state.started) + self.config.give_up_after;
        let due = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.due(&self.config))
            .min();
        match due {
            Some(due) if due < give_up => Some((due, "publish request")),
            Some(_) | None => Some((give_up, "publish gives up")),
        }
    }

    /// The next request to deliver.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<PublicationEvent> {
        self.events.pop_front()
    }

    fn handle_due(&mut self, peer: Address, now: Moment) {
        let config = &self.config;
        let attempt = self
            .attempts
            .get_mut(&peer)
            .expect("due peers come from the attempts");
        match &mut attempt.phase {
            Phase::Offered { .. } => {
                self.fail(peer, FailureReason::Unreachable, true, Duration::ZERO, now);
            }
            Phase::Pulling { gained, .. } if *gained + config.stall_timeout <= now => {
                self.fail(peer, FailureReason::Stalled, true, Duration::ZERO, now);
            }
            Phase::Pulling { asked, poll, .. } => {
                *poll = now + config.poll_interval;
                *asked = Some(now + config.request_timeout);
                self.transmits.push_back(Transmit {
                    to: peer,
                    request: Request::Status {
                        root: self.state.offer.root,
                    },
                });
            }
            // Its wait is over; its turn comes when a place is free.
            Phase::Idle { from } => *from = Moment::ZERO,
            Phase::Leased | Phase::GivenUp => {}
        }
    }

    fn handle_progress(&mut self, peer: Address, bytes: u64, now: Moment) {
        let size = self.state.offer.size;
        let poll = now + self.config.poll_interval;
        let attempt = self
            .attempts
            .get_mut(&peer)
            .expect("the caller looked the peer up");
        let (before, mark, gained) = match attempt.phase {
            Phase::Pulling {
                bytes,
                mark,
                gained,
                ..
            } => (bytes, mark, gained),
            Phase::Offered { .. } | Phase::Idle { .. } | Phase::Leased | Phase::GivenUp => {
                (0, 0, now)
            }
        };
        // More than the whole is a lie and no gain; a trickle is none either.
        let bytes = bytes.min(size).max(before);
        let is_gain = bytes - mark >= (size - mark).clamp(1, GAIN_BYTES_MIN);
        attempt.phase = Phase::Pulling {
            bytes,
            mark: if is_gain { bytes } else { mark },
            gained: if is_gain { now } else { gained },
            poll,
            asked: None,
        };
        if bytes > before {
            self.events.push_back(PublicationEvent::Progress {
                bytes,
                leases: self.state.leases.len(),
            });
        }
    }

    fn take_lease(&mut self, peer: Address, lease: SignedLease, now: Moment) {
        if let Err(reason) = self.check_lease(peer, &lease, now.epoch()) {
            let reason = FailureReason::BadLease(reason);
            self.fail(peer, reason, false, Duration::ZERO, now);
            return;
        }
        let Some(attempt) = self.attempts.get_mut(&peer) else {
            return;
        };
        attempt.phase = Phase::Leased;
        attempt.failure = None;
        self.state.leases.push(lease);
        self.events.push_back(PublicationEvent::Progress {
            bytes: self.state.offer.size,
            leases: self.state.leases.len(),
        });
    }

    fn check_lease(
        &self,
        peer: Address,
        lease: &SignedLease,
        epoch: Epoch,
    ) -> Result<(), &'static str> {
        let (record, offer) = (&lease.record, &self.state.offer);
        if record.holder != peer {
            return Err("it is another holder's");
        }
        if record.root != offer.root
            || record.proof_root != offer.proof_root
            || record.size != offer.size
        {
            return Err("it is for something else");
        }
        if !record.has_valid_span()
            || record.from_epoch > epoch.plus(1)
            || record.to_epoch < epoch.plus(self.config.lease_epochs_min)
        {
            return Err("its epochs are not acceptable");
        }
        lease
            .verify(&self.config.domain, peer)
            .map_err(|_| "its signature is not the holder's")
    }

    fn fail(
        &mut self,
        peer: Address,
        reason: FailureReason,
        retry: bool,
        after: Duration,
        now: Moment,
    ) {
        let Some(attempt) = self.attempts.get_mut(&peer) else {
            return;
        };
        // Whoever does not answer may be back, and its place is not filled yet.
        let is_away = matches!(reason, FailureReason::Unreachable | FailureReason::Stalled);
        let is_waited_for = is_away && !self.is_durable;
        let pause = self.config.retry_interval * attempt.count;
        attempt.failure = Some(reason);
        attempt.phase = if retry && (is_waited_for || attempt.count < self.config.attempts_max) {
            Phase::Idle {
                from: now + after.max(pause.min(PAUSE_MAX)),
            }
        } else {
            Phase::GivenUp
        };
    }

    /// Reports what was reached, then makes the offers that are missing.
    fn advance(&mut self, now: Moment) {
        if self.is_over {
            return;
        }
        self.report(now);
        if self.is_over {
            return;
        }
        let busy: BTreeSet<OperatorNumber> = self
            .candidates(|phase| !matches!(phase, Phase::Idle { .. } | Phase::GivenUp))
            .map(|candidate| candidate.operator)
            .collect();
        let leased = self.state.leases.len();
        let active = busy.len().saturating_sub(leased);
        let wanted = if leased == 0 {
            self.config.seeders_max.clamp(1, self.target)
        } else {
            self.target - leased
        };
        let mut taken = busy;
        let chosen: Vec<Address> = self
            .candidates(|phase| matches!(phase, Phase::Idle { from } if *from <= now))
            .filter(|candidate| taken.insert(candidate.operator))
            .map(|candidate| candidate.peer)
            .take(wanted.saturating_sub(active))
            .collect();
        for peer in chosen {
            self.offer(peer, now);
        }
    }

    fn offer(&mut self, peer: Address, now: Moment) {
        let attempt = self
            .attempts
            .get_mut(&peer)
            .expect("every candidate has an attempt");
        attempt.count += 1;
        attempt.phase = Phase::Offered {
            deadline: now + self.config.request_timeout,
        };
        let mut offer = self.state.offer.clone();
        // Each starts with another source, so that one holder does not feed all.
        let holders = self.state.leases.iter().map(|lease| lease.record.holder);
        offer.sources = holders.take(SOURCES_MAX).collect();
        if let Some(last) = offer.sources.len().checked_sub(1) {
            let rank = self
                .state
                .candidates
                .iter()
                .position(|candidate| candidate.peer == peer)
                .unwrap_or(0);
            offer.sources.rotate_left(rank % (last + 1));
        }
        self.transmits.push_back(Transmit {
            to: peer,
            request: Request::Offer(Box::new(offer)),
        });
    }

    fn report(&mut self, now: Moment) {
        let leases = self.state.leases.len();
        if leases >= self.minimum && !self.is_durable {
            self.is_durable = true;
            self.events.push_back(PublicationEvent::Durable {
                leases: self.state.leases.clone(),
            });
        }
        if leases >= self.target {
            self.is_over = true;
            self.events.push_back(PublicationEvent::Complete {
                leases: self.state.leases.clone(),
            });
            return;
        }
        let give_up = Moment::from_unix(self.state.started) + self.config.give_up_after;
        let leased: BTreeSet<OperatorNumber> = self.leased_operators();
        let is_exhausted = self
            .candidates(|phase| !matches!(phase, Phase::Leased | Phase::GivenUp))
            .all(|candidate| leased.contains(&candidate.operator));
        if !is_exhausted && now < give_up {
            return;
        }
        self.is_over = true;
        self.events.push_back(if self.is_durable {
            PublicationEvent::Partial {
                leases: self.state.leases.clone(),
                target: self.target,
            }
        } else {
            PublicationEvent::Failed {
                leases: self.state.leases.clone(),
                minimum: self.minimum,
                reasons: self
                    .attempts
                    .iter()
                    .filter_map(|(peer, attempt)| Some((*peer, attempt.failure.clone()?)))
                    .collect(),
            }
        });
    }

    fn leased_operators(&self) -> BTreeSet<OperatorNumber> {
        self.candidates(|phase| matches!(phase, Phase::Leased))
            .map(|candidate| candidate.operator)
            .collect()
    }

    fn candidates(&self, accept: impl Fn(&Phase) -> bool) -> impl Iterator<Item = &Candidate> {
        self.state
            .candidates
            .iter()
            .filter(move |candidate| accept(&self.attempts[&candidate.peer].phase))
    }
}

impl Attempt {
    fn new() -> Self {
        Self {
            count: 0,
            phase: Phase::Idle { from: Moment::ZERO },
            failure: None,
        }
    }

    fn due(&self, config: &PublicationConfig) -> Option<Moment> {
        match self.phase {
            // One that waits for its turn is started by the others' ends.
            Phase::Idle { from } => (from > Moment::ZERO).then_some(from),
            Phase::Offered { deadline } => Some(deadline),
            Phase::Pulling {
                gained,
                poll,
                asked,
                ..
            } => Some(asked.unwrap_or(poll).min(gained + config.stall_timeout)),
            Phase::Leased | Phase::GivenUp => None,
        }
    }
}

/// Before a peer that does not answer is offered the root again, at most: short
/// next to the time that a publication has.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Most candidates of one publication: the placed peers and their substitutes.
/// Chosen: only larger than what an author names; it bounds a stored row.
const CANDIDATES_MAX: usize = 64;

/// What a peer must gain within the stall timeout, unless less is missing. Chosen:
/// 6 kB/s, with which 40 MB would take all the time that a publication has.
const GAIN_BYTES_MIN: u64 = 256 * 1024;
