//! What repair asks for: fetching, checked reads, releases.

use cid::Cid;
use rand::Rng;

use super::repair::{Event, RootFacts};
use super::{AskId, Asked, Content, FetchFailure, Note, Output, Purpose};
use crate::exchange::{Answer, Request, Response};
use crate::id::{Address, Hash32};
use crate::time::Moment;
use crate::unixfs::verify_block;
use crate::wire::Protocol;

/// A checked read under way.
#[derive(Debug, Clone)]
pub(super) struct Check {
    peer: Address,
    root: Cid,
    /// What was asked for.
    cids: Vec<Cid>,
}

impl Content {
    pub(super) fn handle_repair_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Fetch {
                root,
                facts,
                holders,
            } => self.repair(root, facts, holders, now),
            Event::CheckRead { peer, root } => self.begin_check(peer, root),
            Event::Release { root } => {
                self.note(Note::Released(root));
                self.strike(root);
            }
            Event::Starved { root, .. } => self.note(Note::Starved(root)),
            Event::Lost { peer } => {
                self.note(Note::Lost(peer));
                self.read_again(&peer);
            }
            Event::Returned { peer } => {
                self.note(Note::Back(peer));
                self.read_again(&peer);
            }
        }
    }

    fn repair(&mut self, root: Cid, facts: Option<RootFacts>, holders: Vec<Address>, now: Moment) {
        let is_promised = self.book.lease(&root).is_some();
        let size = facts.map_or(0, |facts| facts.size);
        if !is_promised && !self.covers(&root, size, now) {
            self.note(Note::OverQuota(root));
            self.repair.handle_unrequired(&root);
            self.repair.handle_fetch_hindered(&root, now);
            return;
        }
        self.note(Note::Repairing(root));
        let wish = Output::Fetch {
            root,
            purpose: Purpose::Repair,
            bytes_max: facts.map_or_else(|| self.room(&root, now), |facts| facts.size),
            holders,
            last_resort: None,
        };
        self.fetch(root, Purpose::Repair, wish);
    }

    pub(super) fn handle_repaired(
        &mut self,
        root: Cid,
        result: Result<RootFacts, FetchFailure>,
        now: Moment,
    ) {
        match result {
            // Every block was verified: this is the root, whatever its holders say.
            Ok(facts) => {
                self.repair.handle_fetched(&root, facts, now);
                if self.book.lease(&root).is_some() {
                    // A promised root that lost a block is whole again.
                    return;
                }
                if self.repair.is_required(&root) && self.covers(&root, facts.size, now) {
                    self.promise(root, facts, now);
                } else {
                    self.strike(root);
                }
            }
            Err(failure) => {
                match &failure {
                    FetchFailure::Full(_) => self.repair.handle_fetch_hindered(&root, now),
                    FetchFailure::TooLarge | FetchFailure::Failed(_) => {
                        self.repair.handle_fetch_failed(&root, now);
                    }
                }
                self.note(Note::NotRepaired(root, failure));
            }
        }
    }

    /// True when an owner of the root has room for it here.
    pub(super) fn covers(&self, root: &Cid, bytes: u64, now: Moment) -> bool {
        let holder = &self.config.holder;
        self.references
            .covers(root, bytes, |owner| holder.user_limit(owner, now))
    }

    /// Bytes that the root's owners have room for here.
    fn room(&self, root: &Cid, now: Moment) -> u64 {
        let holder = &self.config.holder;
        self.references
            .room(root, |owner| holder.user_limit(owner, now))
    }

    /// Draws blocks of a root that the peer is to show.
    fn begin_check(&mut self, peer: Address, root: Cid) {
        let id = AskId(self.next_id());
        let cids = Vec::new();
        self.checks.insert(id, Check { peer, root, cids });
        let points = (0..SAMPLES).map(|_| Hash32(self.rng.random())).collect();
        self.outputs.push_back(Output::Draw { id, root, points });
    }

    pub(super) fn handle_drawn(&mut self, id: AskId, drawn: Vec<Cid>) {
        let Some(check) = self.checks.get_mut(&id) else {
            return;
        };
        check.cids.push(check.root);
        for cid in drawn {
            if !check.cids.contains(&cid) {
                check.cids.push(cid);
            }
        }
        let request = Request {
            cids: check.cids.clone(),
        };
        let peer = check.peer;
        self.ask(peer, Protocol::Blocks, request.encode(), Asked::Check(id));
    }

    /// Judges what a peer showed of a root.
    pub(super) fn handle_shown(&mut self, id: AskId, body: Option<&[u8]>) {
        let Some(Check { peer, root, cids }) = self.checks.remove(&id) else {
            return;
        };
        let response = body.and_then(|body| {
            let body = bytes::Bytes::copy_from_slice(body);
            Response::decode(&body).ok()
        });
        let is_shown = |(answer, cid): (&Answer, &Cid)| match answer {
            Answer::Data(data) => verify_block(cid, data).is_ok(),
            Answer::Missing | Answer::Busy => false,
        };
        // A prefix is answered; the root alone would show nothing new.
        let wanted = cids.len().min(2);
        let is_held = response.is_some_and(|response| {
            response.answers.len() >= wanted && response.answers.iter().zip(&cids).all(is_shown)
        });
        if !is_held {
            self.view.remove(&peer, &root);
        }
        self.repair.handle_check(peer, &root, is_held);
    }
}

/// Blocks that a checked read draws beside the root. Chosen: a peer without a
/// tenth of a root fails one in four checks, and each costs 4 MiB at most.
const SAMPLES: usize = 3;
