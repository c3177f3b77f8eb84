//! Writing to and reading from a majority of the replicas.
//!
//! Both machines ask every placed replica and are done once a majority of each
//! placed set has answered; while the registry changes the placed set, the old
//! and the new one are both given. Any majority of writers meets any majority of
//! readers; since some of where they meet may lie, a write goes on to the rest, a
//! read waits a little for them, and nothing that anybody shows is left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Entry, REPLICAS_MAX, Refusal, Request, Response, SignedVault, WALLETS_MAX};
use crate::id::{Address, Hash32};
use crate::signing::{Domain, Record as _};
use crate::time::{Moment, UnixSeconds};

/// A request to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transmit {
    /// One of the replicas.
    pub(crate) to: Address,
    /// What to say.
    pub(crate) request: Request,
}

/// Brings one record onto a majority of its replicas.
#[derive(Debug)]
pub(crate) struct Write {
    domain: Domain,
    entry: Entry,
    asked: Asked,
    refusals: BTreeMap<Address, Refusal>,
    events: VecDeque<WriteEvent>,
    is_over: bool,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteEvent {
    /// A majority of each placed set has it durably.
    Stored,
    /// Somebody has a record that wins: read, and sign a higher version.
    Outdated(Box<Entry>),
    /// Too few took it.
    Failed {
        /// What the others said; those that are absent did not answer.
        refusals: BTreeMap<Address, Refusal>,
    },
}

/// Reads the records of one lookup key from a majority of its replicas.
#[derive(Debug)]
pub(crate) struct Read {
    domain: Domain,
    lookup_key: Hash32,
    asked: Asked,
    answers: BTreeMap<Address, Vec<Entry>>,
    /// How long those that are left are waited for once a majority has answered.
    until: Option<Moment>,
    events: VecDeque<ReadEvent>,
    is_over: bool,
}

/// A wallet's record, as the replicas show it.
#[derive(Debug)]
struct Shown {
    /// The one that wins.
    entry: Entry,
    /// When each replica says that the wallet's first came.
    by: BTreeMap<Address, UnixSeconds>,
}

/// Replicas that are lacking to a majority, then when it came.
type Standing = (usize, UnixSeconds);

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadEvent {
    /// The living records, those that a majority shows first, of these the earliest;
    /// empty when there are none. The client takes the one whose entropy derives the
    /// record's wallet.
    Found {
        /// Of each replica at most [`WALLETS_MAX`] and a provisional one.
        entries: Vec<Entry>,
    },
    /// A password change whose tombstone may be missing at the old lookup key:
    /// write it there.
    Bury(Box<SignedVault>),
    /// A password change without a tombstone: the client, who has the wallet's
    /// key, signs one.
    Unburied {
        /// The old lookup key.
        lookup_key: Hash32,
        /// Whose record is to end there.
        wallet: Address,
    },
    /// Too few replicas answered.
    Failed,
}

/// Whom a request went to, and who is still to answer.
#[derive(Debug)]
struct Asked {
    sets: Vec<BTreeSet<Address>>,
    answered: BTreeSet<Address>,
    waiting: BTreeMap<Address, (Moment, u32)>,
    request: Request,
    transmits: VecDeque<Transmit>,
}

impl Write {
    /// Starts to write `entry` to each of the placed `sets`, one or two.
    #[must_use]
    pub(crate) fn new(domain: Domain, entry: Entry, sets: &[Vec<Address>], now: Moment) -> Self {
        let request = Request::Put(Box::new(entry.clone()));
        let mut write = Self {
            domain,
            entry,
            asked: Asked::new(sets, request, now),
            refusals: BTreeMap::new(),
            events: VecDeque::new(),
            is_over: false,
        };
        write.judge();
        write
    }

    /// Takes a replica's answer.
    pub(crate) fn handle_response(&mut self, from: Address, response: Response) {
        if self.asked.waiting.remove(&from).is_none() {
            return;
        }
        match response {
            Response::Stored | Response::Provisional { .. } => {
                self.asked.answered.insert(from);
            }
            Response::Outdated(entry) if self.is_newer(&entry) => {
                if !self.is_over {
                    self.is_over = true;
                    self.events.push_back(WriteEvent::Outdated(entry));
                }
            }
            Response::Refused(refusal) => {
                self.refusals.insert(from, refusal);
            }
            // Not an answer to what was asked: as good as none.
            Response::Outdated(_) | Response::Entries(_) => {}
        }
        self.judge();
    }

    /// Notes that a replica did not answer; it is asked again, also when enough
    /// have stored the record: a majority may have liars in it.
    pub(crate) fn handle_failure(&mut self, from: Address, now: Moment) {
        self.asked.retry(from, now);
        self.judge();
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        self.asked.expire(now);
        self.judge();
    }

    /// True when it is over and nobody is still to answer.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.is_over && self.asked.waiting.is_empty()
    }

    /// When [`Write::handle_timeout`] is due, and why.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.asked.deadline().map(|at| (at, "vault write"))
    }

    /// The next request to deliver.
    #[must_use]
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.asked.transmits.pop_front()
    }

    /// The next event.
    #[must_use]
    pub(crate) fn poll_event(&mut self) -> Option<WriteEvent> {
        self.events.pop_front()
    }

    /// True when the wallet itself signed something newer: one replica can show it,
    /// and none can make it up.
    fn is_newer(&self, entry: &Entry) -> bool {
        entry.record.lookup_key == self.entry.record.lookup_key
            && entry.record.wallet == self.entry.record.wallet
            && entry.record.wins(&self.entry.record)
            && entry.signature.is_some()
            && entry.check(&self.domain).is_ok()
    }

    fn judge(&mut self) {
        if self.is_over {
            return;
        }
        if self.asked.has_majority() {
            self.is_over = true;
            self.events.push_back(WriteEvent::Stored);
        } else if !self.asked.can_reach_majority() {
            self.is_over = true;
            self.events.push_back(WriteEvent::Failed {
                refusals: self.refusals.clone(),
            });
        }
    }
}

impl Read {
    /// Starts to read `lookup_key` from each of the placed `sets`, one or two.
    #[must_use]
    pub(crate) fn new(
        domain: Domain,
        lookup_key: Hash32,
        sets: &[Vec<Address>],
        now: Moment,
    ) -> Self {
        let mut read = Self {
            domain,
            lookup_key,
            asked: Asked::new(sets, Request::Get { lookup_key }, now),
            answers: BTreeMap::new(),
            until: None,
            events: VecDeque::new(),
            is_over: false,
        };
        read.judge(now);
        read
    }

    /// Takes a replica's answer. One that holds a record of another key, or one
    /// that its wallet did not sign, is no answer.
    pub(crate) fn handle_response(&mut self, from: Address, response: Response, now: Moment) {
        if self.asked.waiting.remove(&from).is_none() {
            return;
        }
        if let Response::Entries(entries) = response
            && entries.len() <= WALLETS_MAX + 1
            && entries.iter().all(|entry| self.is_valid(entry))
        {
            self.asked.answered.insert(from);
            self.answers.insert(from, entries);
            if self.is_over {
                // It came too late to be told, and may need what it missed.
                let shown = self.shown(now.unix());
                self.repair(from, &shown);
            }
        }
        self.judge(now);
    }

    /// Notes that a replica did not answer; it is asked again while the read is
    /// not over.
    pub(crate) fn handle_failure(&mut self, from: Address, now: Moment) {
        if self.is_over {
            self.asked.waiting.remove(&from);
            return;
        }
        self.asked.retry(from, now);
        self.judge(now);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        self.asked.expire(now);
        self.judge(now);
    }

    /// True when it is over and nobody is still to answer.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.is_over && self.asked.waiting.is_empty()
    }

    /// When [`Read::handle_timeout`] is due, and why.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let deadline = self.asked.deadline().into_iter().chain(self.until).min();
        let deadline = deadline.filter(|_| !self.is_over);
        deadline.map(|at| (at, "vault read"))
    }

    /// The next request to deliver; the answers to a [`Request::Put`] are not
    /// needed.
    #[must_use]
    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.asked.transmits.pop_front()
    }

    /// The next event.
    #[must_use]
    pub(crate) fn poll_event(&mut self) -> Option<ReadEvent> {
        self.events.pop_front()
    }

    fn is_valid(&self, entry: &Entry) -> bool {
        entry.record.lookup_key == self.lookup_key && entry.check(&self.domain).is_ok()
    }

    /// A majority is enough to tell what is there; who is left is waited for a
    /// little, since of three answers of five two may be lies.
    fn judge(&mut self, now: Moment) {
        if self.is_over {
            return;
        }
        if self.asked.has_majority() {
            let until = *self.until.get_or_insert(now + PATIENCE);
            if self.asked.waiting.is_empty() || until <= now {
                self.is_over = true;
                self.finish(now.unix());
            }
        } else if !self.asked.can_reach_majority() {
            self.is_over = true;
            self.events.push_back(ReadEvent::Failed);
        }
    }

    fn finish(&mut self, now: UnixSeconds) {
        let shown = self.shown(now);
        for replica in self.answers.keys().copied().collect::<Vec<_>>() {
            self.repair(replica, &shown);
        }
        let mut entries = Vec::new();
        for ((lacking, received), Shown { mut entry, .. }) in shown {
            if entry.record.is_tombstone() {
                continue;
            }
            if entry.record.replaces != Hash32::ZERO && lacking == 0 {
                self.events.push_back(match &entry.burial {
                    Some(burial) => ReadEvent::Bury(burial.clone()),
                    None => ReadEvent::Unburied {
                        lookup_key: entry.record.replaces,
                        wallet: entry.record.wallet,
                    },
                });
            }
            entry.received = received;
            entries.push(entry);
        }
        self.events.push_back(ReadEvent::Found { entries });
    }

    /// The winning entry of each wallet and each unsigned sign-up, best first. What
    /// fewer than a majority show comes after all that a majority does, the least
    /// shown last. Nobody signs when a wallet came, so the majority-th of the times
    /// counts, which no minority can choose. Nothing is cut: whoever has the password
    /// knows which one is its own.
    fn shown(&self, now: UnixSeconds) -> Vec<(Standing, Shown)> {
        let mut shown: BTreeMap<(Address, Option<Hash32>), Shown> = BTreeMap::new();
        for (replica, answer) in &self.answers {
            for entry in answer.iter().filter(|entry| !entry.is_over(now)) {
                // Anybody may show an unsigned one: each stands for itself.
                let is_unsigned = entry.signature.is_none();
                let text = is_unsigned.then(|| entry.record.struct_hash());
                let known = shown
                    .entry((entry.record.wallet, text))
                    .or_insert_with(|| Shown {
                        entry: entry.clone(),
                        by: BTreeMap::new(),
                    });
                known.by.entry(*replica).or_insert(entry.received);
                if entry.record.wins(&known.entry.record)
                    || (entry.record == known.entry.record && known.entry.burial.is_none())
                {
                    known.entry = entry.clone();
                }
            }
        }
        let mut shown: Vec<(Standing, Shown)> = shown
            .into_values()
            .map(|shown| (self.standing(&shown.by), shown))
            .collect();
        shown.sort_by_key(|(standing, shown)| (*standing, shown.entry.record.wallet));
        shown
    }

    /// Where a wallet stands; while the placed set changes, in the better of both.
    fn standing(&self, by: &BTreeMap<Address, UnixSeconds>) -> Standing {
        let of = |set: &BTreeSet<Address>| {
            let majority = majority_of(set.len());
            let mut received: Vec<UnixSeconds> = by
                .iter()
                .filter(|(replica, _)| set.contains(replica))
                .map(|(_, received)| *received)
                .collect();
            received.sort_unstable();
            received.truncate(majority);
            let at = received.last().copied();
            (
                majority - received.len(),
                at.unwrap_or(UnixSeconds(u64::MAX)),
            )
        };
        let standings = self.asked.sets.iter().map(of);
        standings
            .min()
            .expect("there is a set where somebody answered")
    }

    /// Writes to a replica what it answered without: a newer record of a wallet that
    /// it has, and what a majority shows. More would let one replica fill the key at
    /// the others through its readers.
    fn repair(&mut self, replica: Address, shown: &[(Standing, Shown)]) {
        let known = &self.answers[&replica];
        for ((lacking, _), Shown { entry, by }) in shown {
            let has = known.iter().any(|known| {
                known.record == entry.record && (known.burial.is_some() || entry.burial.is_none())
            });
            let is_wanted = *lacking == 0 || by.contains_key(&replica);
            if entry.signature.is_some() && is_wanted && !has {
                self.asked.transmits.push_back(Transmit {
                    to: replica,
                    request: Request::Put(Box::new(entry.clone())),
                });
            }
        }
    }
}

impl Asked {
    fn new(sets: &[Vec<Address>], request: Request, now: Moment) -> Self {
        let sets: Vec<BTreeSet<Address>> = sets
            .iter()
            .take(SETS_MAX)
            .map(|set| set.iter().take(REPLICAS_MAX).copied().collect())
            .collect();
        let all: BTreeSet<Address> = sets.iter().flatten().copied().collect();
        let mut asked = Self {
            sets,
            answered: BTreeSet::new(),
            waiting: all
                .iter()
                .map(|replica| (*replica, (now + REQUEST_TIMEOUT, 1)))
                .collect(),
            request,
            transmits: VecDeque::new(),
        };
        all.into_iter().for_each(|replica| asked.send(replica));
        asked
    }

    fn send(&mut self, to: Address) {
        self.transmits.push_back(Transmit {
            to,
            request: self.request.clone(),
        });
    }

    fn retry(&mut self, from: Address, now: Moment) {
        let Some((deadline, tries)) = self.waiting.get_mut(&from) else {
            return;
        };
        if *tries >= TRIES_MAX {
            self.waiting.remove(&from);
            return;
        }
        *tries += 1;
        *deadline = now + REQUEST_TIMEOUT;
        self.send(from);
    }

    fn expire(&mut self, now: Moment) {
        let due: Vec<Address> = self
            .waiting
            .iter()
            .filter(|(_, (deadline, _))| *deadline <= now)
            .map(|(replica, _)| *replica)
            .collect();
        for replica in due {
            self.retry(replica, now);
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.waiting.values().map(|(deadline, _)| *deadline).min()
    }

    fn has_majority(&self) -> bool {
        self.reaches(|replica| self.answered.contains(replica))
    }

    fn can_reach_majority(&self) -> bool {
        self.reaches(|replica| {
            self.answered.contains(replica) || self.waiting.contains_key(replica)
        })
    }

    fn reaches(&self, accept: impl Fn(&Address) -> bool) -> bool {
        !self.sets.is_empty()
            && self.sets.iter().all(|set| {
                let count = set.iter().filter(|replica| accept(replica)).count();
                !set.is_empty() && count >= majority_of(set.len())
            })
    }
}

/// Any two majorities meet.
const fn majority_of(count: usize) -> usize {
    count / 2 + 1
}

/// The placed set, and the one before or after a change of the registry.
const SETS_MAX: usize = 2;

/// Requests to one replica. Chosen: a request may be lost and a replica restart.
const TRIES_MAX: u32 = 3;

/// A third of what the protocol gives an answer: a person waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a read waits for the rest once a majority has answered. Chosen: longer
/// than the slowest honest answer takes as a rule, and a person hardly notices.
const PATIENCE: Duration = Duration::from_secs(1);
