//! What is due, and what there is room for.

use super::errand::Errand;
use super::job::Job;
use super::relay::{KEPT, Relay};
use super::walk::Walk;
use super::{Author, LookId, LookedFor, NOT_TAKEN, Output, PublishState, Wanted, needs_proof};
use crate::id::Hash32;
use crate::time::Moment;

impl Author {
    pub(super) fn handle_due(&mut self, digest: Hash32, now: Moment) {
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        if let Some(job) = &mut errand.job {
            job.handle_timeout(now);
        }
        let give_up = self.give_up(digest);
        let Some(errand) = self.errands.get_mut(&digest) else {
            return;
        };
        let Some(relay) = &mut errand.relay else {
            return self.advance(digest, now);
        };
        let silent = relay.walk.as_ref().and_then(Walk::asked);
        if relay.forget().is_some_and(|at| at <= now) {
            errand.relay = None;
            errand.is_dirty = true;
        } else if give_up.is_some_and(|at| at <= now) {
            relay.fail(NOT_TAKEN.to_owned(), now);
            errand.follow();
            errand.is_dirty = true;
        } else if let Some((id, until)) = silent
            && until <= now
        {
            self.asks.remove(&id);
            return self.step(digest, None, now);
        }
        self.advance(digest, now);
    }

    /// When an action has had its time.
    fn give_up(&self, digest: Hash32) -> Option<Moment> {
        let relay = self.errands.get(&digest)?.relay.as_ref()?;
        let since = relay.row.created.max(self.counted_from);
        let counts = !self.is_chain_away && !relay.is_settled();
        counts.then(|| Moment::from_unix(since) + KEPT)
    }

    pub(super) fn errand_deadline(
        &self,
        errand: &Errand,
        has_pass: bool,
    ) -> Option<(Moment, &'static str)> {
        let job = errand.job.as_ref();
        let relay = errand.relay.as_ref();
        let digest = relay.map(|relay| relay.row.status.digest);
        let pass = relay.filter(|_| has_pass && errand.may_be_relayed());
        let asked = relay.and_then(|relay| relay.walk.as_ref()?.asked());
        [
            job.and_then(Job::poll_timeout),
            job.and_then(|job| Some((job.hold?, "roots are to be held"))),
            errand.retry.map(|at| (at, "a write is tried again")),
            asked.map(|(_, until)| (until, "a relayer is silent")),
            pass.and_then(|relay| Some((self.pass_due(relay)?, "relayers are to be asked"))),
            relay.and_then(|relay| Some((relay.forget()?, "an action is forgotten"))),
            digest.and_then(|digest| Some((self.give_up(digest)?, "an action is given up"))),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn pass_due(&self, relay: &Relay) -> Option<Moment> {
        let lacks_proof = relay.row.proof.is_none() && needs_proof(&relay.row.action);
        relay.pass_due(self.is_chain_away).filter(|_| !lacks_proof)
    }

    /// Begins what there is room for.
    pub(super) fn fill(&mut self, now: Moment) {
        self.fill_jobs(now);
        self.fill_looks();
        self.fill_solves();
        self.fill_passes(now);
    }

    fn fill_jobs(&mut self, now: Moment) {
        let mut offering = self.count(|errand| errand.job.as_ref().is_some_and(Job::is_offering));
        let is_waiting = |errand: &Errand| {
            errand.stored.job.is_some() && errand.job.as_ref().is_some_and(Job::is_waiting)
        };
        for digest in self.in_turn(is_waiting) {
            let Some(job) = self
                .errands
                .get_mut(&digest)
                .and_then(|errand| errand.job.as_mut())
            else {
                continue;
            };
            let is_new = job.state == PublishState::Offering;
            if is_new && offering >= self.config.offering_max {
                continue;
            }
            if job.start(&self.snapshot, &self.config.publication, now) {
                offering += usize::from(is_new);
                self.advance(digest, now);
            }
        }
    }

    fn fill_looks(&mut self) {
        let is_looking = |look: &LookedFor| matches!(look, LookedFor::Errands(_));
        if !self.is_look_due || self.looks.values().any(is_looking) {
            return;
        }
        self.is_look_due = false;
        let wanted: Vec<Wanted> = self
            .errands
            .iter()
            .filter(|(_, errand)| errand.relay.is_some())
            .map(|(digest, errand)| Wanted {
                digest: *digest,
                signer: Some(errand.signer),
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let id = LookId(self.take_id());
        let digests = wanted.iter().map(|wanted| wanted.digest).collect();
        self.looks.insert(id, LookedFor::Errands(digests));
        self.outputs.push_back(Output::Look { id, wanted });
    }

    fn fill_solves(&mut self) {
        let is_solving = |errand: &Errand| errand.relay.as_ref().is_some_and(|row| row.is_solving);
        let mut solving = self.count(is_solving);
        let lacks_proof = |errand: &Errand| {
            let relay = errand.relay.as_ref();
            let is_wanted = |relay: &Relay| {
                let is_open = relay.is_looked && !relay.is_settled() && !relay.is_solving;
                is_open && relay.row.proof.is_none() && needs_proof(&relay.row.action)
            };
            errand.may_be_relayed() && relay.is_some_and(is_wanted)
        };
        for digest in self.in_turn(lacks_proof) {
            if solving >= self.config.solves_max {
                return;
            }
            if let Some(relay) = self.errands.get_mut(&digest).and_then(Errand::relay_mut) {
                relay.is_solving = true;
                solving += 1;
                let bits = self.config.proof_bits;
                self.outputs.push_back(Output::Solve { digest, bits });
            }
        }
    }

    fn fill_passes(&mut self, now: Moment) {
        let mut passes = self.passes();
        let is_due = |errand: &Errand| {
            let due = errand.relay.as_ref().and_then(|relay| self.pass_due(relay));
            errand.may_be_relayed() && due.is_some_and(|at| at <= now)
        };
        for digest in self.in_turn(is_due) {
            if passes >= self.config.passes_max {
                return;
            }
            let ranked = self.relayers(&digest);
            if let Some(relay) = self.errands.get_mut(&digest).and_then(Errand::relay_mut) {
                relay.begin(ranked, now);
                passes += 1;
                self.ask_next(digest, now);
            }
        }
    }

    pub(super) fn passes(&self) -> usize {
        self.count(|errand| errand.relay.as_ref().is_some_and(|row| row.walk.is_some()))
    }

    pub(super) fn count(&self, accept: impl Fn(&Errand) -> bool) -> usize {
        self.errands
            .values()
            .filter(|errand| accept(errand))
            .count()
    }

    /// Those that are accepted, the oldest first.
    pub(super) fn in_turn(&self, accept: impl Fn(&Errand) -> bool) -> Vec<Hash32> {
        let mut found: Vec<(u64, Hash32)> = self
            .errands
            .iter()
            .filter(|(_, errand)| accept(errand))
            .map(|(digest, errand)| (errand.number, *digest))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, digest)| digest).collect()
    }
}
