//! All that is done for one action: its publication, its relaying, and the one
//! write at a time that keeps both rows of it the same age.

use super::job::Job;
use super::relay::Relay;
use super::{
    Change, Event, OutboxRow, PublishError, PublishState, PublishStatus, RelayError, RelayState,
    RelayStatus, Reply, WriteId,
};
use crate::action::SignedAction;
use crate::id::{Address, Hash32};
use crate::origin::RequestId;
use crate::time::Moment;

/// One action with everything that goes on for it.
#[derive(Debug)]
pub(super) struct Errand {
    /// Errands get a turn in the order of their numbers.
    pub(super) number: u64,
    pub(super) action: SignedAction,
    pub(super) signer: Address,
    pub(super) job: Option<Job>,
    pub(super) relay: Option<Relay>,
    /// What the disk has, and so what may be told.
    pub(super) stored: Stored,
    /// True when the disk lacks something.
    pub(super) is_dirty: bool,
    /// When a write that failed is tried again.
    pub(super) retry: Option<Moment>,
    writing: Option<Writing>,
    /// What the owner is told after the next write.
    replies: Vec<(RequestId, Reply)>,
}

/// What the disk has of an errand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) job: Option<(PublishState, Option<String>)>,
    pub(super) relay: Option<RelayStatus>,
    is_accepted: bool,
    is_landed: bool,
}

#[derive(Debug)]
struct Writing {
    id: WriteId,
    stored: Stored,
    replies: Vec<(RequestId, Reply)>,
}

impl Errand {
    pub(super) fn new(number: u64, action: SignedAction, signer: Address) -> Self {
        Self {
            number,
            action,
            signer,
            job: None,
            relay: None,
            stored: Stored::default(),
            is_dirty: false,
            retry: None,
            writing: None,
            replies: Vec::new(),
        }
    }

    /// What is relayed.
    pub(super) const fn relay_mut(&mut self) -> Option<&mut Relay> {
        self.relay.as_mut()
    }

    /// The row, when it is on its way and no publication stands behind it.
    pub(super) fn waiting(&self) -> Option<&Relay> {
        let relay = self.relay.as_ref().filter(|relay| !relay.is_settled());
        relay.filter(|_| self.job.is_none())
    }

    /// Notes that the rows are on disk as they are here.
    pub(super) fn restored(&mut self) {
        self.stored = self.present();
    }

    /// Has the owner told something once what goes with it is stored.
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.replies.push((request, reply));
    }

    /// Answers everybody who waits for the end of a pass.
    pub(super) fn reply_relayed(&mut self, reply: &Result<RelayStatus, RelayError>) {
        let Some(relay) = &mut self.relay else {
            return;
        };
        for request in std::mem::take(&mut relay.requests) {
            self.replies.push((request, Reply::Relay(reply.clone())));
        }
    }

    /// Puts the action on its way, unless it is.
    pub(super) fn hand_in(&mut self, proof: Option<u64>, digest: Hash32, now: Moment) {
        let is_under_way = |relay: &Relay| relay.row.status.state != RelayState::Failed;
        match &mut self.relay {
            Some(relay) if is_under_way(relay) => {
                relay.row.proof = proof.or(relay.row.proof);
                relay.hasten(now);
            }
            relay => {
                let row = OutboxRow::new(self.action.clone(), proof, digest, now.unix());
                let requests = relay.take().map(|relay| relay.requests);
                let mut fresh = Relay::new(row, now);
                fresh.requests = requests.unwrap_or_default();
                *relay = Some(fresh);
            }
        }
    }

    /// Brings the publication to where its action stands.
    pub(super) fn follow(&mut self) {
        let (Some(job), Some(relay)) = (&mut self.job, &self.relay) else {
            return;
        };
        if job.state == PublishState::Offering || !job.is_durable() {
            return;
        }
        let status = &relay.row.status;
        match status.state {
            RelayState::Failed if job.state != PublishState::Failed => {
                let reason = status.error.clone().unwrap_or_default();
                job.fail(reason);
            }
            RelayState::Confirmed if relay.is_landed => {
                job.state = PublishState::Confirmed;
                job.error = None;
            }
            _ if job.state == PublishState::Failed => {}
            _ if relay.row.is_accepted => job.state = PublishState::Relayed,
            _ => job.state = PublishState::Durable,
        }
    }

    /// True when the row is on disk and no root lacks a holder.
    pub(super) fn may_be_relayed(&self) -> bool {
        let is_stored = self.stored.relay.is_some();
        let is_offering = |state: PublishState| state == PublishState::Offering;
        let is_job_offering = self.job.as_ref().is_some_and(|job| is_offering(job.state));
        let is_offering_stored = self
            .stored
            .job
            .as_ref()
            .is_some_and(|(state, _)| is_offering(*state));
        is_stored && !is_job_offering && !is_offering_stored
    }

    /// The changes that bring the disk up to date, with what the owner is told
    /// after them; `None` while a write is under way or nothing is to be written.
    pub(super) fn begin_write(
        &mut self,
        id: WriteId,
        digest: Hash32,
        now: Moment,
    ) -> Option<Vec<Change>> {
        let is_early = self.retry.is_some_and(|at| at > now);
        if !self.is_dirty || self.writing.is_some() || is_early {
            return None;
        }
        self.is_dirty = false;
        self.retry = None;
        let mut changes = Vec::new();
        if let Some(job) = &self.job {
            let row = job.row(self.action.clone());
            changes.push(Change::Job(digest, Some(Box::new(row))));
        }
        match &self.relay {
            Some(relay) => {
                let row = Box::new(relay.row.clone());
                changes.push(Change::Outbox(digest, Some(row)));
            }
            None if self.stored.relay.is_some() => changes.push(Change::Outbox(digest, None)),
            None => {}
        }
        if changes.is_empty() {
            return None;
        }
        self.writing = Some(Writing {
            id,
            stored: self.present(),
            replies: std::mem::take(&mut self.replies),
        });
        Some(changes)
    }

    /// The write is on disk: what may be told.
    pub(super) fn handle_stored(
        &mut self,
        id: WriteId,
        digest: Hash32,
    ) -> (Vec<(RequestId, Reply)>, Vec<Event>) {
        let Some(writing) = self.writing.take_if(|writing| writing.id == id) else {
            return (Vec::new(), Vec::new());
        };
        let before = std::mem::replace(&mut self.stored, writing.stored);
        (writing.replies, self.events(&before, digest))
    }

    /// The write failed: what was never stored is dropped and the owner is told
    /// so, the rest is written again.
    pub(super) fn handle_not_stored(
        &mut self,
        error: &str,
        retry: Moment,
    ) -> Vec<(RequestId, Reply)> {
        let mut replies = std::mem::take(&mut self.replies);
        if let Some(writing) = self.writing.take() {
            replies.extend(writing.replies);
        }
        if self.stored.job.is_none() {
            self.job = None;
        }
        if self.stored.relay.is_none() && self.job.is_none() {
            let waiting = self.relay.take().map(|relay| relay.requests);
            let failed = || Reply::Relay(Err(RelayError::Store(error.to_owned())));
            let waiting = waiting.unwrap_or_default();
            replies.extend(waiting.into_iter().map(|request| (request, failed())));
        }
        self.is_dirty = true;
        self.retry = Some(retry);
        for (_, reply) in &mut replies {
            *reply = match reply {
                Reply::Publish(_) => Reply::Publish(Err(PublishError::Store(error.to_owned()))),
                Reply::Relay(_) => Reply::Relay(Err(RelayError::Store(error.to_owned()))),
                Reply::Published(status) => Reply::Published(status.take()),
            };
        }
        replies
    }

    /// What is told without a write; nothing while one is due or under way.
    pub(super) fn take_replies(&mut self) -> Vec<(RequestId, Reply)> {
        match self.is_dirty || self.writing.is_some() {
            true => Vec::new(),
            false => std::mem::take(&mut self.replies),
        }
    }

    /// True when nothing is done for it any longer and the disk knows that.
    pub(super) fn is_over(&self) -> bool {
        let is_idle = !self.is_dirty && self.writing.is_none() && self.replies.is_empty();
        is_idle && self.relay.is_none() && self.job.as_ref().is_none_or(Job::is_over)
    }

    /// How far the publication is, as it stands on disk.
    pub(super) fn published(&self, digest: Hash32) -> Option<PublishStatus> {
        let (state, error) = self.stored.job.clone()?;
        let mut status = self.job.as_ref()?.status(digest, state, error);
        if let Some(relay) = &self.stored.relay {
            status.tx_hash = relay.tx_hash;
            status.block_number = relay.block_number;
        }
        Some(status)
    }

    fn present(&self) -> Stored {
        Stored {
            job: self.job.as_ref().map(|job| (job.state, job.error.clone())),
            relay: self.relay.as_ref().map(|relay| relay.row.status.clone()),
            is_accepted: self
                .relay
                .as_ref()
                .is_some_and(|relay| relay.row.is_accepted),
            is_landed: self.relay.as_ref().is_some_and(|relay| relay.is_landed),
        }
    }

    fn events(&self, before: &Stored, digest: Hash32) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(job) = &self.job
            && self.stored.is_durable()
            && !before.is_durable()
        {
            let roots = job.leases();
            events.push(Event::Durable { digest, roots });
        }
        if self.stored.is_accepted && !before.is_accepted {
            events.push(Event::Accepted { digest });
        }
        if self.stored.is_confirmed() && !before.is_confirmed() {
            events.push(Event::Confirmed { digest });
        }
        if let Some(error) = self.stored.failure()
            && before.failure().is_none()
        {
            events.push(Event::Failed { digest, error });
        }
        events
    }
}

impl Stored {
    fn is_durable(&self) -> bool {
        matches!(
            self.job,
            Some((
                PublishState::Durable | PublishState::Relayed | PublishState::Confirmed,
                _
            ))
        )
    }

    fn is_confirmed(&self) -> bool {
        let is_confirmed = |status: &RelayStatus| status.state == RelayState::Confirmed;
        self.is_landed && self.relay.as_ref().is_some_and(is_confirmed)
    }

    fn failure(&self) -> Option<String> {
        if let Some((PublishState::Failed, error)) = &self.job {
            return Some(error.clone().unwrap_or_default());
        }
        let status = self.relay.as_ref()?;
        (status.state == RelayState::Failed).then(|| status.error.clone().unwrap_or_default())
    }
}
