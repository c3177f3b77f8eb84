//! What a peer without a chain does: applies batches under counted heads, asks
//! for what is missing, and notices when the chain was reorganised.
//!
//! Answers are checked against a head that a majority signed. A head so far
//! ahead that the entries below it do not fit into memory is reached in two
//! passes: the first hashes all of them and keeps the tree's right edge every
//! few thousand entries, the second takes them piece by piece, each checked
//! against its edge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::entry::{Entry, Measure, ReceivedBatch, batch_lengths};
use protocol::id::{Address, Hash32, Role};
use protocol::merkle::Peaks;
use protocol::records::Head;
use protocol::signing::{Record, Signature, recover};
use protocol::time::Moment;

use super::{AnswerError, Event, HeldEntries, Spread, Verdict};
use crate::limits::Limits;
use crate::message::{EntriesAnswer, SIGNATURES_MAX};

#[derive(Debug)]
pub(super) struct Follower {
    limits: Limits,
    pub(super) peaks: Peaks,
    /// Chain position of the last verified entry.
    sequence: Option<u64>,
    pub(super) block_number: u64,
    /// Heads below this number belong to an abandoned fork.
    head_number_min: u64,
    /// Counted heads above `block_number`.
    heads: BTreeMap<u64, Head>,
    /// Entries from answers of one peer that no counted head covers yet.
    unverified: Vec<Entry>,
    /// Who sent `unverified` or what is surveyed.
    source: Option<Address>,
    /// Since when it does not answer.
    silent_since: Option<Moment>,
    survey: Option<Survey>,
    /// What a survey found to be under a counted head, nearest first.
    proven: VecDeque<Mark>,
    /// The head that `proven` leads to.
    proven_head: Option<Head>,
    /// Who sent nothing (false) or something (true) that leads to no counted head.
    disputing: BTreeMap<Address, bool>,
    is_diverged: bool,
    gap_since: Option<Moment>,
    /// Nobody has said yet what there is.
    is_fresh: bool,
    /// From which entry on an answer is awaited.
    fetching: Option<u64>,
    next_fetch: Moment,
}

/// The first pass over more entries than fit into memory.
#[derive(Debug)]
struct Survey {
    peaks: Peaks,
    /// Position of the last entry: its sequence and block.
    last: (u64, u64),
    marks: VecDeque<Mark>,
}

/// The tree's right edge at the end of a block.
#[derive(Debug, Clone)]
struct Mark {
    peaks: Peaks,
    block_number: u64,
}

/// Entries that follow those that are here.
#[derive(Debug)]
struct Verified {
    entries: Vec<Entry>,
    /// Of each of them.
    measures: Vec<Measure>,
    /// The tree's right edge after them.
    peaks: Peaks,
}

impl Verified {
    /// What entries lead to; to be compared with what a majority signed.
    fn after(peaks: &Peaks, entries: Vec<Entry>) -> Self {
        let mut peaks = peaks.clone();
        let measures: Vec<Measure> = entries.iter().map(Entry::measure).collect();
        measures
            .iter()
            .for_each(|measure| peaks.push(&measure.id.0));
        Self {
            entries,
            measures,
            peaks,
        }
    }

    /// A block's entries as they are cut into batches.
    fn cut(&self, block_hash: &Hash32) -> Vec<&[Measure]> {
        let is_own = |entry: &Entry| entry.position.block_hash == *block_hash;
        let start = self.entries.iter().position(is_own);
        let start = start.unwrap_or(self.entries.len());
        let own = self.entries[start..].iter();
        let len = own.take_while(|entry| is_own(entry)).count();
        let mut rest = &self.measures[start..start + len];
        let lengths = batch_lengths(rest.iter().map(|measure| measure.bytes));
        let next = |length| {
            let (batch, others) = rest.split_at(length);
            rest = others;
            batch
        };
        lengths.into_iter().map(next).collect()
    }
}

impl Follower {
    pub(super) fn new(held: HeldEntries, limits: Limits, now: Moment) -> Self {
        Self {
            limits,
            peaks: held.peaks,
            sequence: held.sequence,
            block_number: held.block_number,
            head_number_min: held.head_number_min,
            heads: BTreeMap::new(),
            unverified: Vec::new(),
            source: None,
            silent_since: None,
            survey: None,
            proven: VecDeque::new(),
            proven_head: None,
            disputing: BTreeMap::new(),
            is_diverged: false,
            gap_since: None,
            is_fresh: true,
            fetching: None,
            next_fetch: now,
        }
    }

    pub(super) fn handle_head(&mut self, head: Head) {
        if head.block_number <= self.block_number || head.block_number < self.head_number_min {
            return;
        }
        self.heads.insert(head.block_number, head);
        // The newest covers all others.
        while self.heads.len() > self.limits.follower_heads_max {
            self.heads.pop_first();
        }
    }

    /// Forgets what was not verified.
    fn start_over(&mut self) {
        self.unverified.clear();
        self.survey = None;
        self.source = None;
        self.silent_since = None;
    }

    /// How many entries are here or on their way to be verified.
    fn reached(&self) -> u64 {
        match &self.survey {
            Some(survey) => survey.peaks.count,
            None => self.peaks.count + self.unverified.len() as u64,
        }
    }

    fn reached_sequence(&self) -> Option<u64> {
        match (&self.survey, self.unverified.last()) {
            (Some(survey), _) => Some(survey.last.0),
            (None, Some(entry)) => Some(entry.position.sequence()),
            (None, None) => self.sequence,
        }
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self
            .unverified
            .iter()
            .map(|entry| entry.action.action.metadata.len() + ENTRY_BYTES)
            .sum();
        self.unverified.len() > self.limits.entries_unverified_max || bytes > UNVERIFIED_BYTES_MAX
    }

    /// A head that says something else about the entries that are here.
    fn contradiction(&self) -> Option<Head> {
        let contradicts = |head: &&Head| {
            head.entry_count < self.peaks.count
                || head.entry_count == self.peaks.count && head.entries_root != self.peaks.root()
        };
        self.heads.values().find(contradicts).copied()
    }

    /// Moves `unverified` into the survey.
    fn survey(&mut self) -> Result<(), AnswerError> {
        let mut survey = match self.survey.take() {
            Some(survey) => survey,
            None => Survey {
                peaks: self.peaks.clone(),
                last: (self.sequence.unwrap_or(0), self.block_number),
                marks: VecDeque::new(),
            },
        };
        let mut marked = survey.marks.back().map_or(self.peaks.count, count_of);
        for entry in self.unverified.drain(..) {
            let number = entry.position.block_number;
            let is_due = survey.peaks.count - marked >= self.limits.mark_entries_min;
            if is_due && number != survey.last.1 {
                if survey.marks.len() == MARKS_MAX {
                    return Err(AnswerError::TooMany);
                }
                marked = survey.peaks.count;
                survey.marks.push_back(Mark {
                    peaks: survey.peaks.clone(),
                    block_number: survey.last.1,
                });
            }
            survey.peaks.push(&entry.id().0);
            survey.last = (entry.position.sequence(), number);
        }
        self.survey = Some(survey);
        Ok(())
    }

    /// The fields of the next [`Event::Fetch`].
    fn fetch(&mut self) -> Event {
        let from_count = self.reached();
        self.fetching = Some(from_count);
        Event::Fetch {
            from_count,
            after: self.reached_sequence(),
            peer: self.source,
        }
    }
}

fn count_of(mark: &Mark) -> u64 {
    mark.peaks.count
}

#[cfg(test)]
impl Spread {
    pub(super) fn follower_entries(&self) -> usize {
        self.follower.unverified.len()
    }
}

impl Spread {
    /// Takes the answer of a peer to [`Event::Fetch`].
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer is of no use; the machine asks again
    /// later, and the driver should ask somebody else.
    pub fn handle_answer(
        &mut self,
        peer: Address,
        answer: EntriesAnswer,
        now: Moment,
    ) -> Result<(), AnswerError> {
        let asked_from = self.follower.fetching.take();
        self.follower.silent_since = None;
        self.follower.next_fetch = now + FETCH_RETRY;
        if asked_from != Some(self.follower.reached()) || self.follower.is_diverged {
            // Gossip was faster: the answer continues from somewhere else.
            return Ok(());
        }
        if self.follower.source.is_some_and(|source| source != peer) {
            self.follower.start_over();
            return Err(AnswerError::Mixed);
        }
        let result = self.take_answer(peer, answer, now);
        match &result {
            Ok(()) => self.follower.is_fresh = false,
            Err(_) => self.follower.start_over(),
        }
        match result {
            Err(AnswerError::Root) => self.dispute(peer, true),
            Err(AnswerError::Empty) => self.dispute(peer, false),
            _ => {}
        }
        result
    }

    /// Notes that nobody answered.
    ///
    /// Whoever sent a part may have answered as many requests as it answers one
    /// peer for now: it is asked again for a while, since nobody else's entries
    /// may follow.
    pub fn handle_no_answer(&mut self, now: Moment) {
        let follower = &mut self.follower;
        follower.fetching = None;
        follower.next_fetch = now + FETCH_RETRY;
        let since = *follower.silent_since.get_or_insert(now);
        if follower.source.is_none() || now.saturating_since(since) >= SILENCE_MAX {
            follower.start_over();
        }
    }

    /// Notes entries that do not lead to a counted head. Either the peer lies, or
    /// what was proven or taken here is of a fork that was abandoned: a majority
    /// decides.
    fn dispute(&mut self, peer: Address, is_wrong: bool) {
        let follower = &mut self.follower;
        *follower.disputing.entry(peer).or_default() |= is_wrong;
        let registry = &self.registry;
        follower
            .disputing
            .retain(|peer, _| registry.has_role(peer, Role::Discovery));
        if !self.counter.is_majority(follower.disputing.keys()) {
            return;
        }
        if !follower.proven.is_empty() {
            // Some of them signed what the marks were proven by.
            follower.proven.clear();
            follower.disputing.clear();
            return;
        }
        let newest = follower.heads.values().next_back().copied();
        if let Some(head) = newest.filter(|_| self.follower.peaks.count > 0) {
            self.diverge(head);
        }
    }

    fn diverge(&mut self, head: Head) {
        if !self.follower.is_diverged {
            self.follower.is_diverged = true;
            self.events.push_back(Event::Diverged { head });
        }
    }

    /// Applies held batches under counted heads for as long as they fit.
    pub(super) fn advance(&mut self, now: Moment) {
        if self.chain.is_some() || self.follower.is_diverged {
            return;
        }
        if let Some(head) = self.follower.contradiction() {
            return self.diverge(head);
        }
        // A head of an abandoned fork may lie among them and never fit.
        while let Some((head, verified)) = self.applicable() {
            self.commit(verified, head, head.block_number);
            if let Some(head) = self.follower.contradiction() {
                return self.diverge(head);
            }
        }
        let has_gap = !self.follower.heads.is_empty();
        if !has_gap {
            self.follower.gap_since = None;
        } else if self.follower.gap_since.is_none() {
            self.follower.gap_since = Some(now);
        }
        self.fetch_if_due(now);
    }

    fn applicable(&self) -> Option<(Head, Verified)> {
        let mut heads = self.follower.heads.values();
        heads.find_map(|head| Some((*head, self.entries_under(head)?)))
    }

    /// The entries of held batches of the head's block, when they lead to it.
    fn entries_under(&self, head: &Head) -> Option<Verified> {
        let mut count = self.follower.peaks.count;
        let mut held = Vec::new();
        for idx in 0.. {
            if count >= head.entry_count {
                break;
            }
            let key = (head.block_number, head.block_hash, idx);
            let received = &self.held.get(&key)?.batch;
            count += received.batch.entries.len() as u64;
            held.push(received);
        }
        if count != head.entry_count {
            return None;
        }
        let mut peaks = self.follower.peaks.clone();
        let measures = held.iter().flat_map(|received| received.measures());
        measures.for_each(|measure| peaks.push(&measure.id.0));
        if peaks.root() != head.entries_root {
            return None;
        }
        let entries = held.iter().flat_map(|received| &received.batch.entries);
        Some(Verified {
            entries: entries.cloned().collect(),
            measures: held
                .iter()
                .flat_map(|received| received.measures())
                .copied()
                .collect(),
            peaks,
        })
    }

    /// Takes entries that were verified up to the end of block `number`.
    fn commit(&mut self, verified: Verified, head: Head, number: u64) {
        self.settle_held(&verified, number);
        let Verified { entries, peaks, .. } = verified;
        let follower = &mut self.follower;
        follower.peaks = peaks.clone();
        if let Some(last) = entries.last() {
            follower.sequence = Some(last.position.sequence());
        }
        follower.start_over();
        while follower.proven.front().map(count_of) <= Some(peaks.count)
            && follower.proven.pop_front().is_some()
        {}
        follower.block_number = number;
        // Collected anew, since a map that was not empty once keeps 2 KiB.
        let heads = std::mem::take(&mut follower.heads).into_iter();
        follower.heads = heads.skip_while(|(head, _)| *head <= number).collect();
        for (peer, is_wrong) in std::mem::take(&mut follower.disputing) {
            if is_wrong {
                self.events.push_back(Event::Liar { peer });
            }
        }
        self.events.push_back(Event::Entries {
            entries,
            head,
            peaks,
        });
    }

    /// Gives verdicts on the held batches up to block `number`, whose entries
    /// were verified.
    fn settle_held(&mut self, verified: &Verified, number: u64) {
        let later = self.held.split_off(&(number + 1, Hash32::ZERO, 0));
        let due = std::mem::replace(&mut self.held, later);
        let mut cut: BTreeMap<Hash32, Vec<&[Measure]>> = BTreeMap::new();
        for (_, held) in due {
            let hash = held.batch.batch.block_hash;
            let cut = cut.entry(hash).or_insert_with(|| verified.cut(&hash));
            let verdict = match is_among(&held.batch, cut) {
                true => Verdict::Accept,
                false => Verdict::Ignore,
            };
            self.verdicts.push_back((held.token, verdict));
        }
    }

    fn take_answer(
        &mut self,
        peer: Address,
        answer: EntriesAnswer,
        now: Moment,
    ) -> Result<(), AnswerError> {
        let EntriesAnswer {
            entries,
            head,
            signatures,
        } = answer;
        self.require_counted(&head, &signatures)?;
        let follower = &mut self.follower;
        let behind = AnswerError::Behind {
            found: head.block_number,
            held: follower.block_number,
        };
        if head.block_number < follower.block_number.max(follower.head_number_min) {
            return Err(behind);
        }
        follower.handle_head(head);
        if let Some(head) = follower.contradiction() {
            self.diverge(head);
            return Ok(());
        }
        let reached = follower.reached() + entries.len() as u64;
        if reached > head.entry_count {
            // An honest peer sends no more than its head covers; it may have
            // fallen back behind what it sent before.
            return Err(behind);
        }
        let is_empty = entries.is_empty();
        follower.unverified.extend(entries);
        follower.source = Some(peer);
        if follower.proven.is_empty() {
            if reached < head.entry_count {
                return self.go_on(is_empty, now);
            }
            if self.follower.survey.is_some() {
                return self.finish_survey(head, now);
            }
            return self.finish(head, now);
        }
        let is_next_whole = follower.proven.front().map(count_of) <= Some(reached);
        if !is_next_whole {
            return self.go_on(is_empty, now);
        }
        self.take_proven(peer, now)
    }

    fn require_counted(&self, head: &Head, signatures: &[Signature]) -> Result<(), AnswerError> {
        let digest = head.digest(&self.config.domain);
        let signers: BTreeSet<Address> = signatures
            .iter()
            .take(SIGNATURES_MAX)
            .filter_map(|signature| recover(&digest, signature).ok())
            .collect();
        if self.counter.is_majority(&signers) {
            return Ok(());
        }
        Err(AnswerError::NotCounted {
            block_number: head.block_number,
        })
    }

    /// Asks the same peer for what follows.
    fn go_on(&mut self, is_empty: bool, now: Moment) -> Result<(), AnswerError> {
        if is_empty {
            return Err(AnswerError::Empty);
        }
        let follower = &mut self.follower;
        // On the way to a mark the entries are few: it was placed that way.
        if follower.proven.is_empty() && (follower.survey.is_some() || follower.is_full()) {
            follower.survey()?;
        }
        follower.next_fetch = now;
        self.fetch_if_due(now);
        Ok(())
    }

    /// All entries up to the head are here.
    fn finish(&mut self, head: Head, now: Moment) -> Result<(), AnswerError> {
        let entries = std::mem::take(&mut self.follower.unverified);
        let next = Verified::after(&self.follower.peaks, entries);
        if next.peaks.root() != head.entries_root {
            return Err(AnswerError::Root);
        }
        self.follower.source = None;
        if !next.entries.is_empty() || head.block_number > self.follower.block_number {
            self.commit(next, head, head.block_number);
        }
        self.advance(now);
        Ok(())
    }

    /// All entries up to the head were hashed: the marks hold.
    fn finish_survey(&mut self, head: Head, now: Moment) -> Result<(), AnswerError> {
        let follower = &mut self.follower;
        follower.survey()?;
        let Some(survey) = follower.survey.take() else {
            return Ok(());
        };
        if survey.peaks.root() != head.entries_root {
            return Err(AnswerError::Root);
        }
        follower.start_over();
        follower.proven = survey.marks;
        follower.proven.push_back(Mark {
            peaks: survey.peaks,
            block_number: head.block_number,
        });
        follower.proven_head = Some(head);
        follower.next_fetch = now;
        self.fetch_if_due(now);
        Ok(())
    }

    /// Takes the entries up to every mark that they reach.
    fn take_proven(&mut self, peer: Address, now: Moment) -> Result<(), AnswerError> {
        let mut entries = std::mem::take(&mut self.follower.unverified);
        while let Some(mark) = self.follower.proven.front().cloned() {
            let missing = mark.peaks.count.saturating_sub(self.follower.peaks.count);
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            if missing > entries.len() {
                break;
            }
            let rest = entries.split_off(missing);
            let part = std::mem::replace(&mut entries, rest);
            let next = Verified::after(&self.follower.peaks, part);
            if next.peaks != mark.peaks {
                return Err(AnswerError::Root);
            }
            let head = self.follower.proven_head.expect("set with the marks");
            self.commit(next, head, mark.block_number);
        }
        let follower = &mut self.follower;
        follower.source = (!entries.is_empty()).then_some(peer);
        follower.unverified = entries;
        follower.next_fetch = now;
        self.advance(now);
        Ok(())
    }

    pub(super) fn fetch_due(&self) -> Option<Moment> {
        let follower = &self.follower;
        if self.chain.is_some() || follower.fetching.is_some() || follower.is_diverged {
            return None;
        }
        let gap = follower
            .gap_since
            .map(|since| since + self.config.gap_patience);
        let is_new = follower.peaks.count == 0 && follower.block_number == 0;
        let is_midway = follower.source.is_some() || !follower.proven.is_empty();
        if is_new || is_midway || follower.is_fresh {
            return Some(follower.next_fetch);
        }
        match gap {
            Some(at) => Some(at.max(follower.next_fetch)),
            None => Some(follower.next_fetch + self.config.idle_interval),
        }
    }

    pub(super) fn fetch_if_due(&mut self, now: Moment) {
        if self.fetch_due().is_some_and(|at| at <= now) {
            let event = self.follower.fetch();
            self.events.push_back(event);
        }
    }
}

/// True when a batch is one of those that its block's entries are cut into.
fn is_among(received: &Arc<ReceivedBatch>, cut: &[&[Measure]]) -> bool {
    let index = usize::try_from(received.batch.index).ok();
    let own = index.and_then(|index| cut.get(index));
    own.is_some_and(|own| *own == received.measures())
}

/// Bytes that may wait for the head that covers them, before they are hashed: four
/// times what the entries above take without metadata.
const UNVERIFIED_BYTES_MAX: usize = 64 << 20;

/// About what an entry takes beside its metadata.
const ENTRY_BYTES: usize = 512;

/// Marks of a survey, about 1 KiB each. Derived: 16 MiB, for 67 million entries.
const MARKS_MAX: usize = 16_384;

/// How long whoever sent a part is asked for the next without an answer. Derived:
/// longer than the ten seconds in which a discovery peer counts requests.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Pause between two requests for the same entries. Chosen: longer than a round trip,
/// shorter than a person notices.
const FETCH_RETRY: Duration = Duration::from_secs(1);
