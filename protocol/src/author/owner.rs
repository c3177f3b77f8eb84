//! What the owner asks of an author.

use cid::Cid;

use super::errand::Errand;
use super::inquiry::Inquiry;
use super::job::Job;
use super::{
    Author, LookId, LookedFor, Output, PublishError, PublishRoot, PublishState, REQUESTS_MAX,
    ROOTS_MAX, RelayError, RelayStatus, Reply, Wanted,
};
use crate::action::SignedAction;
use crate::id::Hash32;
use crate::origin::RequestId;
use crate::time::Moment;

impl Author {
    pub(super) fn handle_publish(
        &mut self,
        request: RequestId,
        action: SignedAction,
        roots: &[PublishRoot],
        missing: Option<Cid>,
        now: Moment,
    ) {
        match self.begin_job(request, action, roots, missing, now) {
            Ok(digest) => self.advance(digest, now),
            Err(error) => self.reply(request, Reply::Publish(Err(error))),
        }
    }

    fn begin_job(
        &mut self,
        request: RequestId,
        action: SignedAction,
        roots: &[PublishRoot],
        missing: Option<Cid>,
        now: Moment,
    ) -> Result<Hash32, PublishError> {
        action.signer(&self.config.actions)?;
        let digest = action.action.digest(&self.config.actions);
        let is_alive = |job: &Job| job.state != PublishState::Failed;
        if let Some(errand) = self.errands.get_mut(&digest)
            && errand.job.as_ref().is_some_and(is_alive)
        {
            errand.reply(request, Reply::Publish(Ok(digest)));
            return Ok(digest);
        }
        if self.ended.is_confirmed(&digest) {
            self.reply(request, Reply::Publish(Ok(digest)));
            return Ok(digest);
        }
        let running = self
            .errands
            .values()
            .filter_map(|errand| errand.job.as_ref());
        if running.filter(|job| !job.is_over()).count() >= self.config.jobs_max {
            let limit = self.config.jobs_max;
            return Err(PublishError::Busy { limit });
        }
        check_roots(roots, missing)?;
        let config = &self.config.publication;
        let job = Job::new(&action, roots, &self.snapshot, config, now);
        let job = job.ok_or(PublishError::NoPeers)?;
        self.ended.remove(&digest);
        self.asks.retain(|_, asked| !asked.is_offer_of(&digest));
        let (_, errand) = self.errand(&action).ok_or(PublishError::NoPeers)?;
        // The failure of an earlier attempt is not this one's.
        errand
            .relay
            .take_if(|relay| relay.is_settled() && !relay.is_landed);
        errand.job = Some(job);
        errand.is_dirty = true;
        errand.reply(request, Reply::Publish(Ok(digest)));
        Ok(digest)
    }

    pub(super) fn handle_published(&mut self, request: RequestId, digest: Hash32) {
        let errand = self.errands.get(&digest);
        let status = errand.and_then(|errand| errand.published(digest));
        let status = status.or_else(|| self.ended.get(&digest).cloned());
        self.reply(request, Reply::Published(status));
    }

    pub(super) fn handle_relay(
        &mut self,
        request: RequestId,
        action: SignedAction,
        proof: Option<u64>,
        now: Moment,
    ) {
        let limit = self.config.rows_max;
        let waiting = self.errands.values().filter_map(Errand::waiting).count();
        let digest = action.action.digest(&self.config.actions);
        if let Err(error) = action.signer(&self.config.actions) {
            let error = RelayError::Action(error);
            return self.reply(request, Reply::Relay(Err(error)));
        }
        if waiting >= limit && !self.errands.contains_key(&digest) {
            return self.reply(request, Reply::Relay(Err(RelayError::Full { limit })));
        }
        let Some((digest, errand)) = self.errand(&action) else {
            return;
        };
        let is_offering = |job: &Job| job.state == PublishState::Offering;
        if errand.job.as_ref().is_some_and(is_offering) {
            // Its publication hands it in when its roots are durable.
            let status = RelayStatus::pending(digest);
            return self.reply(request, Reply::Relay(Ok(status)));
        }
        errand.hand_in(proof, digest, now);
        if let Some(relay) = &mut errand.relay {
            let is_full = relay.requests.len() >= REQUESTS_MAX;
            if is_full || relay.is_landed {
                let reply = match is_full {
                    true => Err(RelayError::Full {
                        limit: REQUESTS_MAX,
                    }),
                    false => Ok(relay.row.status.clone()),
                };
                errand.reply(request, Reply::Relay(reply));
            } else {
                relay.requests.push(request);
            }
        }
        self.is_look_due = true;
        self.advance(digest, now);
    }

    pub(super) fn handle_relayed(&mut self, request: RequestId, digest: Hash32) {
        let errand = self.errands.get(&digest);
        let known = errand.and_then(|errand| errand.stored.relay.clone());
        if self.inquiries.len() >= self.config.inquiries_max {
            let reply = known.ok_or(RelayError::Unknown { digest });
            return self.reply(request, Reply::Relay(reply));
        }
        let relay = errand.and_then(|errand| errand.relay.as_ref());
        // Whoever keeps it knows more than is known here.
        let is_asked = relay.is_none_or(|relay| relay.row.is_accepted && !relay.is_settled());
        let signer = errand.map(|errand| errand.signer);
        let inquiry = Inquiry::new(digest, known, is_asked);
        self.inquiries.insert(request, inquiry);
        let id = LookId(self.take_id());
        self.looks.insert(id, LookedFor::Inquiry(request));
        let wanted = vec![Wanted { digest, signer }];
        self.outputs.push_back(Output::Look { id, wanted });
    }
}

fn check_roots(roots: &[PublishRoot], missing: Option<Cid>) -> Result<(), PublishError> {
    if roots.is_empty() || roots.len() > ROOTS_MAX {
        return Err(PublishError::Roots { count: roots.len() });
    }
    if let Some(root) = roots.iter().find(|root| root.dag_size == 0) {
        return Err(PublishError::Empty { cid: root.cid });
    }
    missing.map_or(Ok(()), |cid| Err(PublishError::NotHere { cid }))
}
