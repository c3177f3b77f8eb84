//! The owner's question where an action stands, on its way over the relayers.

use super::walk::{Outcome, Verdict, Walk};
use super::{AskId, RelayError, RelayStatus};
use crate::id::{Address, Hash32};
use crate::relayer::{Request, Response};
use crate::time::Moment;

/// One question to some peers, and the answers so far.
#[derive(Debug)]
pub(super) struct Inquiry {
    digest: Hash32,
    /// Where the action stands as far as this peer knows.
    known: Option<RelayStatus>,
    is_asked: bool,
    walk: Option<Walk>,
}

impl Inquiry {
    pub(super) const fn new(digest: Hash32, known: Option<RelayStatus>, is_asked: bool) -> Self {
        Self {
            digest,
            known,
            is_asked,
            walk: None,
        }
    }

    pub(super) const fn digest(&self) -> Hash32 {
        self.digest
    }

    /// True when relayers may know more than this peer.
    pub(super) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    pub(super) fn begin(&mut self, ranked: Vec<Address>) {
        self.walk = Some(Walk::new(ranked, 0));
    }

    /// Whom to ask next and what.
    pub(super) fn poll_question(&mut self, id: AskId, until: Moment) -> Option<(Address, Request)> {
        let walk = self.walk.as_mut()?;
        let peer = walk.poll_peer()?;
        walk.handle_asked(id, until);
        let digest = self.digest;
        Some((peer, Request::Status { digest }))
    }

    /// Takes a relayer's answer, or its silence; says what the owner is told.
    pub(super) fn handle_answer(
        &mut self,
        response: Option<Response>,
    ) -> Option<Result<RelayStatus, RelayError>> {
        let outcome = self.walk.as_mut()?.handle_answer(response)?;
        Some(match outcome {
            Outcome::Accepted(status) => Ok(RelayStatus::of(self.digest, &status)),
            Outcome::Rejected(Verdict::Failed(reason)) => {
                Ok(RelayStatus::failed(self.digest, reason))
            }
            Outcome::Rejected(Verdict::Refused(_)) | Outcome::Refused(_) | Outcome::Nobody => {
                self.known()
            }
        })
    }

    /// What is known without the relayers.
    pub(super) fn known(&self) -> Result<RelayStatus, RelayError> {
        let digest = self.digest;
        self.known.clone().ok_or(RelayError::Unknown { digest })
    }

    /// When the next relayer's turn comes.
    pub(super) fn deadline(&self) -> Option<Moment> {
        Some(self.walk.as_ref()?.asked()?.1)
    }
}
