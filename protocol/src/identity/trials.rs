//! Whether an action has landed, would be valid and would not revert.
//!
//! A trial reads all of it at one moment. What may only be late here, because the
//! index or gossip lag behind a client, is tried again when they have something
//! new, for some seconds.
//!
//! Users have turns. Actions of users that nobody knows cost their senders nothing:
//! they have a quarter of what is tried at a time, and few may wait.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::{Identity, Trial, words};
use crate::action::SignedAction;
use crate::admission::{Account, Turns};
use crate::entity::Rejection;
use crate::id::Hash32;
use crate::relayer::Simulation;
use crate::time::{Moment, UnixSeconds};

/// The actions that are being tried.
#[derive(Debug)]
pub(super) struct Trials {
    under_way_max: usize,
    cases: BTreeMap<Hash32, Case>,
    /// How many cases each account has.
    counts: BTreeMap<Account, usize>,
    waiting: Turns<Account, Hash32>,
    /// Until when an answer is waited for.
    under_way: BTreeMap<Hash32, Moment>,
    /// What counts if nothing new comes.
    late: BTreeMap<Hash32, Simulation>,
}

#[derive(Debug)]
struct Case {
    action: SignedAction,
    account: Account,
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
            waiting: Turns::default(),
            under_way: BTreeMap::new(),
            late: BTreeMap::new(),
        }
    }

    /// True when one more action of an account may be tried.
    pub(super) fn has_room(&self, account: &Account) -> bool {
        let own = self.counts.get(account).copied().unwrap_or(0);
        if is_known(account) {
            return own < USER_CASES_MAX;
        }
        let strangers = self.counts.iter().filter(|(of, _)| !is_known(of));
        own < STRANGER_CASES_MAX
            && strangers.map(|(_, count)| count).sum::<usize>() < STRANGERS_CASES_MAX
    }

    /// True while an action is tried.
    pub(super) fn has(&self, digest: &Hash32) -> bool {
        self.cases.contains_key(digest)
    }

    pub(super) fn begin(&mut self, digest: Hash32, action: SignedAction, account: Account) {
        let case = Case {
            action,
            account,
            since: None,
            is_stale: false,
        };
        let before = self.cases.insert(digest, case);
        *self.counts.entry(account).or_default() += 1;
        match before {
            Some(before) => self.lower(before.account),
            None => self.waiting.push(account, digest),
        }
    }

    fn end(&mut self, digest: &Hash32) {
        if let Some(case) = self.cases.remove(digest) {
            self.lower(case.account);
        }
    }

    fn lower(&mut self, account: Account) {
        if let Entry::Occupied(mut count) = self.counts.entry(account) {
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
        let strangers = cases.filter(|case| !is_known(&case.account));
        let is_open = strangers.count() < (self.under_way_max / STRANGERS_PART).max(1);
        let mut fronts = self.waiting.fronts();
        let (account, _) = fronts.find(|(account, _)| is_open || is_known(account))?;
        let account = *account;
        drop(fronts);
        let digest = self.waiting.take(&account)?;
        let case = self.cases.get_mut(&digest)?;
        case.since.get_or_insert(now);
        case.is_stale = false;
        self.under_way.insert(digest, now + TRIAL_PATIENCE);
        Some((digest, case.action.clone()))
    }

    /// The index or the waiting actions changed: what is late may be there.
    pub(super) fn handle_news(&mut self) {
        for digest in std::mem::take(&mut self.late).into_keys() {
            if let Some(case) = self.cases.get(&digest) {
                self.waiting.push(case.account, digest);
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
        let (is_stale, account) = (case.is_stale, case.account);
        if !is_late || now >= since + LAG_PATIENCE {
            self.end(&digest);
            return Some(simulation);
        }
        match is_stale {
            true => self.waiting.push(account, digest),
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

/// True for users that are known; all others cost their senders nothing.
const fn is_known(account: &Account) -> bool {
    matches!(account, Account::User(_))
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
