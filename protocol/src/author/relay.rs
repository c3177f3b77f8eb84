//! One action on its way to the index.

use std::time::Duration;

use super::walk::{Outcome, Verdict, Walk};
use super::{Landing, OutboxRow, RelayError, RelayState, RelayStatus};
use crate::id::{Address, Hash32};
use crate::origin::RequestId;
use crate::relayer::Request;
use crate::time::Moment;

/// A row of the outbox, and what is done for it.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) row: OutboxRow,
    /// The owner's requests that wait for the end of a pass.
    pub(super) requests: Vec<RequestId>,
    /// The pass over the relayers that is under way.
    pub(super) walk: Option<Walk>,
    /// True once the index was asked: it may have the action already.
    pub(super) is_looked: bool,
    /// True while a proof of work is looked for.
    pub(super) is_solving: bool,
    /// True while the index has the action.
    pub(super) is_landed: bool,
    /// When the relayers are asked next.
    next: Moment,
    /// Until the pass after one that nobody answers.
    pause: Duration,
    /// Relayers whose turn is over.
    turn: usize,
    /// When what is settled is forgotten.
    forget: Option<Moment>,
}

/// What the end of a pass means for the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing to store.
    Same,
    /// The row changed.
    Changed,
    /// The owner was told no, and the row is not kept.
    Dropped(RelayError),
}

impl Relay {
    /// An action that was just handed in.
    pub(super) fn new(row: OutboxRow, now: Moment) -> Self {
        Self {
            row,
            requests: Vec::new(),
            walk: None,
            is_looked: false,
            is_solving: false,
            is_landed: false,
            next: now,
            pause: ROUND_PAUSE,
            turn: 0,
            forget: None,
        }
    }

    /// Goes on with a stored row.
    pub(super) fn restore(row: OutboxRow, now: Moment) -> Self {
        let is_failed = row.status.state == RelayState::Failed;
        let forget = Moment::from_unix(row.created) + KEPT;
        let next = match row.is_accepted {
            true => Moment::from_unix(row.asked) + ACCEPTED_PAUSE,
            false => now,
        };
        Self {
            next,
            forget: is_failed.then_some(forget),
            ..Self::new(row, now)
        }
    }

    /// True when nothing is done for it but to wait until it is forgotten.
    pub(super) const fn is_settled(&self) -> bool {
        self.forget.is_some()
    }

    /// When it is forgotten, once it is settled.
    pub(super) const fn forget(&self) -> Option<Moment> {
        self.forget
    }

    /// When the relayers are to be asked; `None` while something else comes first.
    pub(super) fn pass_due(&self, is_chain_away: bool) -> Option<Moment> {
        // A relayer that keeps it sends it when the chain is back.
        let waits = self.row.is_accepted && is_chain_away && self.requests.is_empty();
        let is_busy = self.is_solving || self.walk.is_some();
        (!self.is_settled() && !is_busy && self.is_looked && !waits).then_some(self.next)
    }

    /// The owner hands the action in again, or other peers were met.
    pub(super) fn hasten(&mut self, now: Moment) {
        self.next = self.next.min(now);
        self.pause = ROUND_PAUSE;
    }

    /// Begins a pass over `ranked`.
    pub(super) fn begin(&mut self, ranked: Vec<Address>, now: Moment) {
        self.row.asked = now.unix();
        self.walk = Some(Walk::new(ranked, self.turn));
    }

    /// What a relayer is asked.
    pub(super) fn request(&self) -> Request {
        Request::Submit {
            action: Box::new(self.row.action.clone()),
            proof: self.row.proof,
            token: None,
        }
    }

    /// Takes in what a pass led to. With `is_own` the row is kept whatever the
    /// relayers say: a publication stands behind it.
    pub(super) fn handle_outcome(&mut self, outcome: Outcome, is_own: bool, now: Moment) -> End {
        self.walk = None;
        let is_kept = is_own || self.row.is_accepted || self.requests.is_empty();
        match outcome {
            Outcome::Accepted(status) => {
                // One that keeps it without an end is not asked alone for ever.
                self.turn += usize::from(self.row.is_accepted);
                self.row.is_accepted = true;
                self.row.status = RelayStatus::of(self.digest(), &status);
                self.next = now + ACCEPTED_PAUSE;
                End::Changed
            }
            Outcome::Rejected(Verdict::Refused(refusal)) if !is_kept => {
                End::Dropped(RelayError::Refused(refusal))
            }
            Outcome::Rejected(verdict) => {
                self.fail(verdict.to_string(), now);
                End::Changed
            }
            Outcome::Refused(refusal) if !is_kept => End::Dropped(RelayError::Refused(refusal)),
            Outcome::Refused(refusal) => {
                let pause = Duration::from_secs(refusal.retry_after_seconds.unwrap_or(0));
                self.next = now + pause.clamp(ROUND_PAUSE, ROUND_PAUSE_MAX);
                self.row.status.error = Some(refusal.reason);
                End::Changed
            }
            Outcome::Nobody => {
                self.next = now
                    + match self.row.is_accepted {
                        true => ACCEPTED_PAUSE,
                        false => self.pause,
                    };
                self.pause = (self.pause * 2).min(ROUND_PAUSE_MAX);
                End::Same
            }
        }
    }

    /// Notes that it will not be on chain.
    pub(super) fn fail(&mut self, reason: String, now: Moment) {
        self.row.status = RelayStatus::failed(self.digest(), reason);
        self.walk = None;
        self.forget = Some(now + KEPT);
    }

    /// Takes in what the index says; true when that is news.
    pub(super) fn handle_looked(&mut self, landing: Option<&Landing>, now: Moment) -> bool {
        self.is_looked = true;
        match landing {
            Some(landing) => {
                let status = RelayStatus::landed(landing);
                let is_news = !self.is_landed || self.row.status != status;
                if is_news {
                    self.row.status = status;
                    self.is_landed = true;
                    self.walk = None;
                    self.forget = Some(now + LANDED_KEPT);
                }
                is_news
            }
            None if self.is_landed => {
                self.undo(now);
                true
            }
            None => false,
        }
    }

    /// The chain took it back: it is on its way again.
    pub(super) fn undo(&mut self, now: Moment) {
        self.is_landed = false;
        self.forget = None;
        self.row.is_accepted = false;
        self.row.status = RelayStatus::pending(self.digest());
        self.next = now;
    }

    const fn digest(&self) -> Hash32 {
        self.row.status.digest
    }
}

/// A relayer that keeps an action is asked again after this long: some blocks, so
/// that one that does nothing costs half a minute.
const ACCEPTED_PAUSE: Duration = Duration::from_secs(30);

/// After the first pass that nobody answered; short, because a person may wait.
const ROUND_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause that silence or a refusal that passes leads to; chosen, short
/// beside the day that an action has. Whoever is met ends it.
const ROUND_PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long an action is offered, and one that failed is shown. Only time counts
/// in which the chain could have taken it.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long the chain may take back what the index has before it is forgotten
/// here: chosen, longer than any reorganisation that is not an event of its own.
const LANDED_KEPT: Duration = Duration::from_secs(600);
