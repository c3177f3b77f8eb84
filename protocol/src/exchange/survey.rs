//! Who holds a root at this moment: asked at the peers themselves.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;

use crate::id::Address;
use crate::machine::Machine;
use crate::placement::Placement;
use crate::publish::{Request, Response};
use crate::records::SignedLease;
use crate::signing::Domain;
use crate::time::Moment;

/// Asks the placed peers, their substitutes and the other peers of the same
/// operators for their leases of a root.
#[derive(Debug)]
pub struct Survey {
    root: Cid,
    domain: Domain,
    waiting: BTreeSet<Address>,
    found: Surveyed,
    until: Moment,
    outputs: VecDeque<SurveyOutput>,
}

/// What asking came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Leases of peers that answered; their signatures were checked.
    pub leases: Vec<SignedLease>,
    /// Peers that did not answer in time.
    pub silent: BTreeSet<Address>,
}

/// What a survey is told: the body of a peer's response, `None` when it was not
/// reached.
#[derive(Debug, Clone)]
pub struct Surveying {
    /// Who was asked.
    pub peer: Address,
    /// What it said.
    pub answer: Option<Bytes>,
}

/// What a survey wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SurveyOutput {
    /// Deliver a request of `/coliving/publish/1`.
    Ask {
        /// The peer to ask.
        peer: Address,
        /// The encoded request.
        body: Vec<u8>,
    },
    /// It is over. The last output.
    Ended(Surveyed),
}

impl Survey {
    /// Starts to ask everybody at once; `local` is left out.
    #[must_use]
    pub fn new(
        root: Cid,
        domain: Domain,
        placement: &Placement,
        local: Address,
        now: Moment,
    ) -> Self {
        let first = placement.place(&root, ASKED_MAX, &BTreeSet::new());
        let mut waiting: BTreeSet<Address> = first.into_iter().collect();
        waiting.extend(placement.place(&root, ASKED_MAX, &waiting));
        waiting.remove(&local);
        let body = Request::Status { root }.to_bytes();
        let ask = |peer: &Address| SurveyOutput::Ask {
            peer: *peer,
            body: body.clone(),
        };
        let mut survey = Self {
            root,
            domain,
            outputs: waiting.iter().map(ask).collect(),
            waiting,
            found: Surveyed::default(),
            until: now + PATIENCE,
        };
        survey.end_unless_waiting();
        survey
    }

    /// True for a lease of the peer itself for the root that was asked about.
    fn is_valid(&self, lease: &SignedLease, peer: Address) -> bool {
        lease.record.root == self.root && lease.verify(&self.domain, peer).is_ok()
    }

    fn end_unless_waiting(&mut self) {
        if self.waiting.is_empty() {
            let found = std::mem::take(&mut self.found);
            self.outputs.push_back(SurveyOutput::Ended(found));
        }
    }
}

impl Machine for Survey {
    type Input = Surveying;
    type Output = SurveyOutput;

    fn handle(&mut self, Surveying { peer, answer }: Surveying, _now: Moment) {
        if !self.waiting.remove(&peer) {
            return;
        }
        match answer.map(|body| Response::from_bytes(&body)) {
            Some(Ok(Response::Lease(lease))) if self.is_valid(&lease, peer) => {
                self.found.leases.push(*lease);
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => {
                self.found.silent.insert(peer);
            }
        }
        self.end_unless_waiting();
    }

    fn handle_timeout(&mut self, now: Moment) {
        if now >= self.until && !self.waiting.is_empty() {
            self.found.silent.append(&mut self.waiting);
            self.end_unless_waiting();
        }
    }

    fn poll(&mut self) -> Option<SurveyOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let is_waiting = !self.waiting.is_empty();
        is_waiting.then_some((self.until, "peers are silent about a root"))
    }
}

/// Operators that are asked, twice: three times as many as hold a root, so that
/// those who held it before others joined are among them.
const ASKED_MAX: usize = 15;

/// How long a peer may take to answer: somebody looks at a page meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
