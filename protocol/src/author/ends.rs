//! What comes back to an author: answers, writes, looks, proofs.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::job::Job;
use super::{
    AskId, Asked, Author, Landing, LookId, LookedFor, Output, PublishState, RelayError,
    RelayStatus, WRITE_PAUSE, WriteId,
};
use crate::id::Hash32;
use crate::relayer;
use crate::time::Moment;

impl Author {
    pub(super) fn handle_answered(&mut self, id: AskId, body: Option<&Bytes>, now: Moment) {
        let relayer_says = |body: &Bytes| relayer::Response::from_bytes(body).ok();
        match self.asks.remove(&id) {
            Some(Asked::Offer { digest, idx, peer }) => {
                let errand = self.errands.get_mut(&digest);
                if let Some(job) = errand.and_then(|errand| errand.job.as_mut()) {
                    job.handle_answer(idx, peer, body.map(|body| &body[..]), now);
                }
                self.advance(digest, now);
            }
            Some(Asked::Submit(digest)) => self.step(digest, body.and_then(relayer_says), now),
            Some(Asked::Status(request)) => {
                self.step_inquiry(request, body.and_then(relayer_says), now);
            }
            // Its time was over.
            None => {}
        }
    }

    pub(super) fn handle_persisted(&mut self, id: WriteId, error: Option<String>, now: Moment) {
        let Some(digest) = self.writes.remove(&id) else {
            return;
        };
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        let (replies, events) = match error {
            None => errand.handle_stored(id, digest),
            Some(error) => {
                let retry = now + WRITE_PAUSE;
                (errand.handle_not_stored(&error, retry), Vec::new())
            }
        };
        for (request, reply) in replies {
            self.reply(request, reply);
        }
        self.outputs.extend(events.into_iter().map(Output::Event));
        self.advance(digest, now);
    }

    pub(super) fn handle_looked(
        &mut self,
        id: LookId,
        found: Result<Vec<Landing>, String>,
        now: Moment,
    ) {
        match (self.looks.remove(&id), found) {
            (Some(LookedFor::Errands(digests)), Ok(found)) => {
                let found: BTreeMap<Hash32, Landing> = found
                    .into_iter()
                    .map(|landing| (landing.digest, landing))
                    .collect();
                for digest in digests {
                    self.take_landing(digest, found.get(&digest), now);
                }
            }
            // The next change of the index brings another look.
            (Some(LookedFor::Errands(digests)), Err(error)) => {
                for digest in digests {
                    self.refuse_unstored(digest, &error);
                    self.advance(digest, now);
                }
            }
            (Some(LookedFor::Inquiry(request)), Ok(found)) => {
                match found.first() {
                    Some(landing) => {
                        let status = RelayStatus::landed(landing);
                        self.end_inquiry(request, Ok(status));
                    }
                    None => self.begin_inquiry(request, now),
                };
            }
            (Some(LookedFor::Inquiry(request)), Err(error)) => {
                self.end_inquiry(request, Err(RelayError::Store(error)));
            }
            (None, _) => {}
        }
    }

    /// Without the index an action is not taken in: it may be there already.
    fn refuse_unstored(&mut self, digest: Hash32, error: &str) {
        if let Some(errand) = self.errands.get_mut(&digest)
            && errand.stored.relay.is_none()
            && errand.job.is_none()
        {
            errand.reply_relayed(&Err(RelayError::Store(error.to_owned())));
            errand.relay = None;
        }
    }

    fn take_landing(&mut self, digest: Hash32, landing: Option<&Landing>, now: Moment) {
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        let Some(relay) = &mut errand.relay else {
            return;
        };
        let was_looked = relay.is_looked;
        let mut is_news = relay.handle_looked(landing, now);
        let is_confirmed = |job: &Job| job.state == PublishState::Confirmed;
        if landing.is_none() && !is_news && errand.job.as_ref().is_some_and(is_confirmed) {
            relay.undo(now);
            is_news = true;
        }
        if relay.is_landed && is_news {
            let status = relay.row.status.clone();
            errand.reply_relayed(&Ok(status));
        }
        let is_kept = errand.stored.relay.is_some() || errand.job.is_some();
        if landing.is_some() && !is_kept {
            // It was there before it was handed in.
            errand.relay = None;
        } else {
            errand.is_dirty |= is_news || !was_looked && errand.stored.relay.is_none();
        }
        errand.follow();
        self.bound_settled(now);
        self.advance(digest, now);
    }

    pub(super) fn handle_solved(&mut self, digest: Hash32, proof: u64, now: Moment) {
        if let Some(errand) = self.errands.get_mut(&digest)
            && let Some(relay) = &mut errand.relay
            && relay.is_solving
        {
            relay.is_solving = false;
            relay.row.proof = Some(proof);
            errand.is_dirty = true;
            self.advance(digest, now);
        }
    }

    pub(super) fn handle_chain(&mut self, is_away: bool, now: Moment) {
        if self.is_chain_away && !is_away {
            self.counted_from = now.unix();
        }
        self.is_chain_away = is_away;
    }

    /// Whom nobody answered, perhaps somebody does.
    pub(super) fn handle_connected(&mut self, now: Moment) {
        for errand in self.errands.values_mut() {
            if let Some(relay) = errand.relay.as_mut().filter(|relay| !relay.row.is_accepted) {
                relay.hasten(now);
            }
        }
    }
}
