//! Whether an action has landed, would be valid and would not revert.
//!
//! A trial reads all of it at one moment. What may only be late here, because the
//! index or gossip lag behind a client, is tried again when they have something
//! new, for some seconds.
//!
//! Sources have turns. Actions of users that nobody knows cost their senders nothing:
//! they have a quarter of what is tried at a time, and few may wait.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Identity, Trial, words};
use crate::action::SignedAction;
use crate::entity::Rejection;
use crate::id::{Address, Hash32};
use crate::origin::Prefix;
use crate::relayer::Simulation;
use crate::time::{Moment, UnixSeconds};

/// The actions that are being tried.
#[derive(Debug)]
pub(super) struct Trials {
    under_way_max: usize,
    cases: BTreeMap<Hash32, Case>,
    /// How many cases each source has.
    counts: BTreeMap<Source, usize>,
    waiting: BTreeMap<Source, VecDeque<Hash32>>,
    /// Whose turn it is next, each source that waits once.
    turns: VecDeque<Source>,
    /// Until when an answer is waited for.
    under_way: BTreeMap<Hash32, Moment>,
    /// What counts if nothing new comes.
    late: BTreeMap<Hash32, Simulation>,
}

/// Whom a trial is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The owner of a user that the index knows, or the signer of an accepted
    /// action or of a new user with its proof of work.
    User(Address),
    /// Whoever asks from a network, or from an unknown one, for a user that the
    /// index does not know.
    Stranger(Option<Prefix>),
}

#[derive(Debug)]
struct Case {
    action: SignedAction,
    source: Source,
    /// When it was tried first.
    since: Option<Moment>,
    /// True when there was something new since the last try began.
    is_stale: bool,
}

impl Trials {
    pub(super) fn new(under_way_max: usize) -> Self {
        Self {
            under_way_max,
            cases: BTreeMap::new(),
            counts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            under_way: BTreeMap::new(),
            late: BTreeMap::new(),
        }
    }

    /// True when a source may have one more action tried.
    pub(super) fn has_room(&self, source: &Source) -> bool {
        let own = self.counts.get(source).copied().unwrap_or(0);
        match source {
            Source::User(_) => own < USER_CASES_MAX,
            Source::Stranger(_) => {
                let strangers = self.counts.range(Source::Stranger(None)..);
                own < STRANGER_CASES_MAX
                    && strangers.map(|(_, count)| count).sum::<usize>() < STRANGERS_CASES_MAX
            }
        }
    }

    /// True while an action is tried.
    pub(super) fn has(&self, digest: &Hash32) -> bool {
        self.cases.contains_key(digest)
    }

    pub(super) fn begin(&mut self, digest: Hash32, action: SignedAction, source: Source) {
        let case = Case {
            action,
            source,
            since: None,
            is_stale: false,
        };
        let before = self.cases.insert(digest, case);
        *self.counts.entry(source).or_default() += 1;
        match before {
            Some(before) => self.lower(before.source),
            None => self.wait(digest, source),
        }
    }

    fn wait(&mut self, digest: Hash32, source: Source) {
        let queue = self.waiting.entry(source).or_default();
        if queue.is_empty() {
            self.turns.push_back(source);
        }
        queue.push_back(digest);
    }

    fn end(&mut self, digest: &Hash32) {
        if let Some(case) = self.cases.remove(digest) {
            self.lower(case.source);
        }
    }

    fn lower(&mut self, source: Source) {
        if let Entry::Occupied(mut count) = self.counts.entry(source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// The next action to try, when there is room.
    pub(super) fn begin_next(&mut self, now: Moment) -> Option<(Hash32, SignedAction)> {
        if self.under_way.len() >= self.under_way_max {
            return None;
        }
        let cases = self.under_way.keys().filter_map(|one| self.cases.get(one));
        let strangers = cases.filter(|case| case.source >= Source::Stranger(None));
        let is_open = strangers.count() < (self.under_way_max / STRANGERS_PART).max(1);
        let is_next = |source: &Source| is_open || matches!(source, Source::User(_));
        let turn = self.turns.iter().position(is_next)?;
        let source = self.turns.remove(turn)?;
        let queue = self.waiting.get_mut(&source)?;
        let digest = queue.pop_front()?;
        match queue.is_empty() {
            true => drop(self.waiting.remove(&source)),
            false => self.turns.push_back(source),
        }
        let case = self.cases.get_mut(&digest)?;
        case.since.get_or_insert(now);
        case.is_stale = false;
        self.under_way.insert(digest, now + TRIAL_PATIENCE);
        Some((digest, case.action.clone()))
    }

    /// The index or the waiting actions changed: what is late may be there.
    pub(super) fn handle_news(&mut self) {
        for digest in std::mem::take(&mut self.late).into_keys() {
            if let Some(source) = self.cases.get(&digest).map(|case| case.source) {
                self.wait(digest, source);
            }
        }
        for digest in self.under_way.keys() {
            if let Some(case) = self.cases.get_mut(digest) {
                case.is_stale = true;
            }
        }
    }

    /// Takes what was found; says what it means, unless more is waited for. An
    /// accepted action is given longer for what it builds on.
    fn handle_found(
        &mut self,
        digest: Hash32,
        found: Trial,
        accepted: Option<UnixSeconds>,
        now: Moment,
    ) -> Option<Simulation> {
        self.under_way.remove(&digest)?;
        let case = self.cases.get_mut(&digest)?;
        let (is_late, simulation) = judge(found, accepted, now);
        let since = case.since.unwrap_or(now);
        let (is_stale, source) = (case.is_stale, case.source);
        if !is_late || now >= since + LAG_PATIENCE {
            self.end(&digest);
            return Some(simulation);
        }
        match is_stale {
            true => self.wait(digest, source),
            false => drop(self.late.insert(digest, simulation)),
        }
        None
    }

    /// What counts now that nothing more is waited for.
    pub(super) fn handle_timeout(&mut self, now: Moment) -> Vec<(Hash32, Simulation)> {
        let mut over = Vec::new();
        let silent = self.under_way.iter().filter(|(_, until)| **until <= now);
        for digest in silent.map(|(digest, _)| *digest).collect::<Vec<_>>() {
            self.under_way.remove(&digest);
            self.end(&digest);
            over.push((digest, Simulation::Unavailable));
        }
        let late: Vec<Hash32> = self.late.keys().copied().collect();
        for digest in late {
            let until = self.late_until(&digest);
            if until.is_none_or(|until| until <= now)
                && let Some(simulation) = self.late.remove(&digest)
            {
                self.end(&digest);
                over.push((digest, simulation));
            }
        }
        over
    }

    pub(super) fn deadline(&self) -> Option<(Moment, &'static str)> {
        let silent = self.under_way.values().min();
        let late = self.late.keys();
        let late = late.filter_map(|digest| self.late_until(digest)).min();
        let silent = silent.map(|at| (*at, "a trial has no end"));
        let late = late.map(|at| (at, "what an action builds on is late"));
        silent.into_iter().chain(late).min()
    }

    fn late_until(&self, digest: &Hash32) -> Option<Moment> {
        Some(self.cases.get(digest)?.since? + LAG_PATIENCE)
    }
}

impl Identity {
    pub(super) fn handle_tried(&mut self, digest: Hash32, found: Trial, now: Moment) {
        let accepted = self.open.get(&digest).map(|open| open.accepted);
        let simulation = self.trials.handle_found(digest, found, accepted, now);
        if let Some(simulation) = simulation {
            self.relayer.handle_simulated(&digest, simulation, now);
        }
    }
}

/// Whether what was found may only be late, and what it means if it is not.
fn judge(found: Trial, accepted: Option<UnixSeconds>, now: Moment) -> (bool, Simulation) {
    let rejection = match found {
        Trial::Landed(receipt) => return (false, Simulation::Landed(receipt)),
        Trial::Passed { gas } => return (false, Simulation::Passed { gas }),
        Trial::Refused { message } if words::is_passing(&message) => {
            return (false, Simulation::Unavailable);
        }
        Trial::Reverted { reason } | Trial::Refused { message: reason } => {
            return (false, Simulation::Reverted { reason });
        }
        Trial::Unavailable => return (false, Simulation::Unavailable),
        Trial::Used => return (true, Simulation::Unavailable),
        Trial::Rejected(rejection) => rejection,
    };
    let is_late = is_late(&rejection);
    let age = accepted.map(|at| now.unix().0.saturating_sub(at.0));
    match is_late && age.is_some_and(|age| age < BUILD_ON_SECONDS_MAX) {
        true => (true, Simulation::Unavailable),
        false => {
            let reason = rejection.to_string();
            (is_late, Simulation::Reverted { reason })
        }
    }
}

/// True when what is missing may be on its way here.
const fn is_late(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::UnknownUser { .. } | Rejection::Unknown { .. } | Rejection::NotRelated { .. }
    )
}

/// Actions of one user that are tried at a time: chosen, a quarter of an hour's most
/// frequent kind.
const USER_CASES_MAX: usize = 64;

/// Actions for unknown users from one network, and from all of them. Chosen: who has
/// just signed up asks a few things at once, and a full queue is tried in seconds.
const STRANGER_CASES_MAX: usize = 32;
const STRANGERS_CASES_MAX: usize = 256;

/// The part of the trials that actions for unknown users may have: one in so many.
const STRANGERS_PART: usize = 4;

/// How long the index and gossip may lag behind a client: chosen, as long as a
/// person waits without doubt.
const LAG_PATIENCE: Duration = Duration::from_secs(3);

/// How long an accepted action waits for what it builds on. Chosen: tens of blocks,
/// since what it builds on may wait for its own turn.
const BUILD_ON_SECONDS_MAX: u64 = 600;

/// A trial without an end counts as one that the chain did not answer: chosen,
/// longer than an endpoint is waited for, several times over.
const TRIAL_PATIENCE: Duration = Duration::from_secs(120);
