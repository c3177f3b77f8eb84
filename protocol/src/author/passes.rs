//! The author's questions to relayers: about its actions, and the owner's about any.

use super::errand::Errand;
use super::job::Job;
use super::relay::End;
use super::walk::Outcome;
use super::{
    ANSWER_TIMEOUT, AskId, Asked, Author, Output, Protocol, RELAYERS_MAX, RelayError, RelayStatus,
    Reply,
};
use crate::id::Address;
use crate::id::Hash32;
use crate::origin::RequestId;
use crate::placement::Purpose;
use crate::relayer;
use crate::time::Moment;

impl Author {
    /// The relayers of a digest, first in line first.
    pub(super) fn relayers(&self, digest: &Hash32) -> Vec<Address> {
        let mut ranked = self.latest.rank(Purpose::Relayer, &digest.0);
        if self.has_relayer && !ranked.contains(&self.config.peer) {
            ranked.push(self.config.peer);
        }
        ranked.truncate(RELAYERS_MAX);
        ranked
    }

    /// Takes a relayer's answer, or its silence.
    pub(super) fn step(
        &mut self,
        digest: Hash32,
        response: Option<relayer::Response>,
        now: Moment,
    ) {
        let relay = self.errands.get_mut(&digest).and_then(Errand::relay_mut);
        let Some(walk) = relay.and_then(|relay| relay.walk.as_mut()) else {
            return;
        };
        match walk.handle_answer(response) {
            Some(outcome) => self.end_pass(digest, outcome, now),
            None => self.ask_next(digest, now),
        }
    }

    pub(super) fn ask_next(&mut self, digest: Hash32, now: Moment) {
        let id = AskId(self.take_id());
        let Some(relay) = self.errands.get_mut(&digest).and_then(Errand::relay_mut) else {
            return;
        };
        let body = relay.request().to_bytes();
        let Some(walk) = &mut relay.walk else {
            return;
        };
        if let Some(peer) = walk.poll_peer() {
            walk.handle_asked(id, now + ANSWER_TIMEOUT);
            self.asks.insert(id, Asked::Submit(digest));
            self.outputs.push_back(Output::Ask {
                id,
                peer,
                protocol: Protocol::Relayer,
                body: body.into(),
            });
        } else if let Some(outcome) = walk.end() {
            self.end_pass(digest, outcome, now);
        }
    }

    fn end_pass(&mut self, digest: Hash32, outcome: Outcome, now: Moment) {
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        let is_own = errand.job.as_ref().is_some_and(Job::is_durable);
        let Some(relay) = &mut errand.relay else {
            return;
        };
        match relay.handle_outcome(outcome, is_own, now) {
            End::Dropped(error) => {
                errand.reply_relayed(&Err(error));
                errand.relay = None;
                errand.is_dirty = true;
            }
            end => {
                let status = relay.row.status.clone();
                errand.reply_relayed(&Ok(status));
                errand.is_dirty |= end == End::Changed;
            }
        }
        errand.follow();
        self.bound_settled(now);
        self.advance(digest, now);
    }

    pub(super) fn begin_inquiry(&mut self, request: RequestId, now: Moment) {
        let Some(inquiry) = self.inquiries.get(&request) else {
            return;
        };
        let digest = inquiry.digest();
        let ranked = match inquiry.is_asked() {
            true => self.relayers(&digest),
            false => Vec::new(),
        };
        if let Some(inquiry) = self.inquiries.get_mut(&request) {
            inquiry.begin(ranked);
        }
        self.ask_about(request, now);
    }

    pub(super) fn step_inquiry(
        &mut self,
        request: RequestId,
        response: Option<relayer::Response>,
        now: Moment,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(&request) else {
            return;
        };
        match inquiry.handle_answer(response) {
            Some(reply) => self.end_inquiry(request, reply),
            None => self.ask_about(request, now),
        }
    }

    fn ask_about(&mut self, request: RequestId, now: Moment) {
        let id = AskId(self.take_id());
        let Some(inquiry) = self.inquiries.get_mut(&request) else {
            return;
        };
        if let Some((peer, question)) = inquiry.poll_question(id, now + ANSWER_TIMEOUT) {
            self.asks.insert(id, Asked::Status(request));
            self.outputs.push_back(Output::Ask {
                id,
                peer,
                protocol: Protocol::Relayer,
                body: question.to_bytes().into(),
            });
        } else {
            let reply = inquiry.known();
            self.end_inquiry(request, reply);
        }
    }

    pub(super) fn end_inquiry(
        &mut self,
        request: RequestId,
        reply: Result<RelayStatus, RelayError>,
    ) {
        if self.inquiries.remove(&request).is_some() {
            self.reply(request, Reply::Relay(reply));
        }
    }
}
