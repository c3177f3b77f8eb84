//! One pass over the relayers of an action.

use std::collections::VecDeque;

use super::AskId;
use crate::id::Address;
use crate::relayer::{Refusal, Response, Status};
use crate::time::Moment;

/// Asks the relayers one after the other until one keeps the action or
/// [`FINAL_MIN`] say that none ever will.
#[derive(Debug)]
pub(super) struct Walk {
    peers: VecDeque<Address>,
    asked: Option<(AskId, Moment)>,
    /// Of the refusals that pass the one that passes soonest.
    passing: Option<Refusal>,
    /// The first word that is meant for all, and how many gave one.
    last_word: Option<Verdict>,
    last_words: usize,
    /// How many such words end it.
    final_min: usize,
}

/// What a pass led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// One keeps the action.
    Accepted(Status),
    /// It will not be on chain.
    Rejected(Verdict),
    /// All that answered refused for now.
    Refused(Refusal),
    /// Nobody answered, or nobody knows it.
    Nobody,
}

/// Why an action will not be on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No relayer will take it.
    Refused(Refusal),
    /// A relayer took it and failed.
    Failed(String),
}

impl Walk {
    /// A pass that begins with the relayer after `turn` others.
    pub(super) fn new(mut ranked: Vec<Address>, turn: usize) -> Self {
        let final_min = FINAL_MIN.min(ranked.len());
        if let Some(start) = turn.checked_rem(ranked.len()) {
            ranked.rotate_left(start);
        }
        Self {
            peers: ranked.into(),
            asked: None,
            passing: None,
            last_word: None,
            last_words: 0,
            final_min,
        }
    }

    /// Whom to ask next, unless somebody is being asked.
    pub(super) fn poll_peer(&mut self) -> Option<Address> {
        match self.asked {
            Some(_) => None,
            None => self.peers.pop_front(),
        }
    }

    /// Notes that the peer is being asked until `until`.
    pub(super) const fn handle_asked(&mut self, id: AskId, until: Moment) {
        self.asked = Some((id, until));
    }

    /// The question that is open, and when the next relayer's turn comes.
    pub(super) const fn asked(&self) -> Option<(AskId, Moment)> {
        self.asked
    }

    /// Takes an answer, or that there is none; says what it led to when that
    /// ends the pass.
    pub(super) fn handle_answer(&mut self, response: Option<Response>) -> Option<Outcome> {
        self.asked = None;
        match response {
            Some(Response::Accepted {
                status: Status::Failed { reason },
                ..
            }) => self.note(Verdict::Failed(reason)),
            Some(Response::Accepted { status, .. }) => return Some(Outcome::Accepted(status)),
            Some(Response::Refused(refusal)) if refusal.code.is_local() => {
                let is_sooner = self
                    .passing
                    .as_ref()
                    .is_none_or(|known| refusal.retry_after_seconds < known.retry_after_seconds);
                if is_sooner {
                    self.passing = Some(refusal);
                }
            }
            Some(Response::Refused(refusal)) => self.note(Verdict::Refused(refusal)),
            Some(Response::Unknown) | None => {}
        }
        self.end()
    }

    /// What the pass led to, once it is over.
    pub(super) fn end(&mut self) -> Option<Outcome> {
        let is_out = self.asked.is_none() && self.peers.is_empty();
        let is_final = self.last_words >= self.final_min;
        if !is_final && !is_out {
            return None;
        }
        let outcome = match (self.last_word.take(), self.passing.take()) {
            (Some(verdict), _) if is_final => Outcome::Rejected(verdict),
            // One alone said no: the others are asked again.
            (Some(Verdict::Refused(refusal)), _) | (_, Some(refusal)) => Outcome::Refused(refusal),
            (_, None) => Outcome::Nobody,
        };
        Some(outcome)
    }

    fn note(&mut self, verdict: Verdict) {
        self.last_words += 1;
        self.last_word.get_or_insert(verdict);
    }
}

/// Relayers that have to say that an action will never be on chain, where there are
/// as many: one that lies does not keep a user's action away, a second one costs a
/// round trip.
const FINAL_MIN: usize = 2;

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the relayer refused: {}", refusal.reason),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}
