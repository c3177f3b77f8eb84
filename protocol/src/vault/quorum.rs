//! Writing to and reading from a majority of the replicas.
//!
//! Both machines ask every placed replica and are done once a majority of each
//! placed set has answered; while the registry changes the placed set, the old
//! and the new one are both given. Any majority of writers meets any majority of
//! readers, and a reader writes back what it saw somebody miss.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Entry, REPLICAS_MAX, Refusal, Request, Response, SignedVault, WALLETS_MAX};
use crate::id::{Address, Hash32};
use crate::signing::Domain;
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
    events: VecDeque<ReadEvent>,
    is_over: bool,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadEvent {
    /// The living records, the earliest wallet first; empty when there are none.
    /// The client takes the one whose entropy derives the record's wallet.
    Found {
        /// At most [`WALLETS_MAX`] and a provisional one.
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
            Response::Stored => {
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

    /// Notes that a replica did not answer; it is asked again while the write is
    /// not over.
    pub(crate) fn handle_failure(&mut self, from: Address, now: Moment) {
        if self.is_over {
            self.asked.waiting.remove(&from);
            return;
        }
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
        let deadline = self.asked.deadline().filter(|_| !self.is_over);
        deadline.map(|at| (at, "vault write"))
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
            events: VecDeque::new(),
            is_over: false,
        };
        read.judge(now.unix());
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
                // It came after the majority: it only may need what it missed.
                let winners = self.winners(now.unix());
                self.repair(from, &winners);
            }
        }
        self.judge(now.unix());
    }

    /// Notes that a replica did not answer; it is asked again while the read is
    /// not over.
    pub(crate) fn handle_failure(&mut self, from: Address, now: Moment) {
        if self.is_over {
            self.asked.waiting.remove(&from);
            return;
        }
        self.asked.retry(from, now);
        self.judge(now.unix());
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Moment) {
        self.asked.expire(now);
        self.judge(now.unix());
    }

    /// True when it is over and nobody is still to answer.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.is_over && self.asked.waiting.is_empty()
    }

    /// When [`Read::handle_timeout`] is due, and why.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let deadline = self.asked.deadline().filter(|_| !self.is_over);
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

    fn judge(&mut self, now: UnixSeconds) {
        if self.is_over {
            return;
        }
        if self.asked.has_majority() {
            self.is_over = true;
            self.finish(now);
        } else if !self.asked.can_reach_majority() {
            self.is_over = true;
            self.events.push_back(ReadEvent::Failed);
        }
    }

    fn finish(&mut self, now: UnixSeconds) {
        let winners = self.winners(now);
        for replica in self.answers.keys().copied().collect::<Vec<_>>() {
            self.repair(replica, &winners);
        }
        let entries: Vec<Entry> = winners
            .iter()
            .filter(|entry| !entry.record.is_tombstone())
            .cloned()
            .collect();
        for entry in &entries {
            if entry.record.replaces == Hash32::ZERO {
                continue;
            }
            self.events.push_back(match &entry.burial {
                Some(burial) => ReadEvent::Bury(burial.clone()),
                None => ReadEvent::Unburied {
                    lookup_key: entry.record.replaces,
                    wallet: entry.record.wallet,
                },
            });
        }
        self.events.push_back(ReadEvent::Found { entries });
    }

    /// The winning entry of each wallet, the earliest first. When a wallet's was
    /// received nobody signs: the median of the answers counts, and what most of
    /// them are without comes last.
    fn winners(&self, now: UnixSeconds) -> Vec<Entry> {
        let mut winners: BTreeMap<Address, (Entry, Vec<UnixSeconds>)> = BTreeMap::new();
        for answer in self.answers.values() {
            let mut heard = BTreeSet::new();
            for entry in answer.iter().filter(|entry| !entry.is_over(now)) {
                let wallet = entry.record.wallet;
                let (known, received) = winners
                    .entry(wallet)
                    .or_insert_with(|| (entry.clone(), Vec::new()));
                if heard.insert(wallet) {
                    received.push(entry.received);
                }
                if entry.record.wins(&known.record)
                    || (entry.record == known.record && known.burial.is_none())
                {
                    *known = entry.clone();
                }
            }
        }
        let middle = self.answers.len() / 2;
        let mut ranked: Vec<(bool, Entry)> = winners
            .into_values()
            .map(|(mut entry, mut received)| {
                received.sort_unstable();
                let is_rare = received.len() <= middle;
                entry.received = received[middle.min(received.len() - 1)];
                (is_rare, entry)
            })
            .collect();
        ranked.sort_by_key(|(is_rare, entry)| (*is_rare, entry.received, entry.record.wallet));
        let mut winners: Vec<Entry> = ranked.into_iter().map(|(_, entry)| entry).collect();
        let mut signed = 0;
        winners.retain(|entry| {
            signed += usize::from(entry.signature.is_some());
            entry.signature.is_none() || signed <= WALLETS_MAX
        });
        winners
    }

    /// Writes to a replica what it answered without.
    fn repair(&mut self, replica: Address, winners: &[Entry]) {
        let known = &self.answers[&replica];
        for winner in winners.iter().filter(|winner| winner.signature.is_some()) {
            let has = known.iter().any(|entry| {
                entry.record == winner.record && (entry.burial.is_some() || winner.burial.is_none())
            });
            if !has {
                self.asked.transmits.push_back(Transmit {
                    to: replica,
                    request: Request::Put(Box::new(winner.clone())),
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
                !set.is_empty() && count > set.len() / 2
            })
    }
}

/// The placed set, and the one before or after a change of the registry.
const SETS_MAX: usize = 2;

/// Requests to one replica. Chosen: a request may be lost and a replica restart.
const TRIES_MAX: u32 = 3;

/// A third of what the protocol gives an answer: a person waits.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
