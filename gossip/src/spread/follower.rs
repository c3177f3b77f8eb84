//! What a peer without a chain does: applies batches under counted heads, asks
//! for what is missing, and notices when the chain was reorganised.
//!
//! Answers are checked against a head that a majority signed. A head so far
//! ahead that the entries below it do not fit into memory is reached in two
//! passes: the first hashes all of them and keeps the tree's right edge every
//! few thousand entries, the second takes them piece by piece, each checked
//! against its edge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::entry::{Entry, EntryBatch};
use protocol::id::{Address, Hash32, Role};
use protocol::merkle::Peaks;
use protocol::records::Head;
use protocol::signing::{Record, Signature, recover};
use protocol::time::Moment;

use super::{AnswerError, Event, HeldEntries, Spread, Verdict};
use crate::heads::is_majority;
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
    pub fn handle_no_answer(&mut self, now: Moment) {
        self.follower.fetching = None;
        self.follower.start_over();
        self.follower.next_fetch = now + FETCH_RETRY;
    }

    /// Notes entries that do not lead to a counted head. Either the peer lies,
    /// or the entries here are of a fork that was abandoned: a majority decides.
    fn dispute(&mut self, peer: Address, is_wrong: bool) {
        let follower = &mut self.follower;
        if !follower.proven.is_empty() {
            // What comes next is known: no fork explains other entries.
            if is_wrong {
                self.events.push_back(Event::Liar { peer });
            }
            return;
        }
        *follower.disputing.entry(peer).or_default() |= is_wrong;
        let registry = &self.registry;
        follower
            .disputing
            .retain(|peer, _| registry.has_role(peer, Role::Discovery));
        let newest = follower.heads.values().next_back().copied();
        if follower.peaks.count == 0 || !is_majority(follower.disputing.keys(), registry) {
            return;
        }
        if let Some(head) = newest {
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
        while let Some((head, entries, peaks)) = self.applicable() {
            self.commit(entries, head, head.block_number, peaks);
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

    fn applicable(&self) -> Option<(Head, Vec<Entry>, Peaks)> {
        self.follower.heads.values().find_map(|head| {
            let (entries, peaks) = self.entries_under(head)?;
            Some((*head, entries, peaks))
        })
    }

    /// The entries of held batches of the head's block, when they lead to it.
    fn entries_under(&self, head: &Head) -> Option<(Vec<Entry>, Peaks)> {
        let mut count = self.follower.peaks.count;
        let mut held = Vec::new();
        for idx in 0.. {
            if count >= head.entry_count {
                break;
            }
            let key = (head.block_number, head.block_hash, idx);
            let batch = &self.held.get(&key)?.batch;
            count += batch.entries.len() as u64;
            held.push(batch);
        }
        if count != head.entry_count {
            return None;
        }
        let entries: Vec<Entry> = held
            .into_iter()
            .flat_map(|batch| batch.entries.iter().cloned())
            .collect();
        let mut peaks = self.follower.peaks.clone();
        entries.iter().for_each(|entry| peaks.push(&entry.id().0));
        (peaks.root() == head.entries_root).then_some((entries, peaks))
    }

    /// Takes entries that were verified up to the end of block `number`.
    fn commit(&mut self, entries: Vec<Entry>, head: Head, number: u64, peaks: Peaks) {
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
        follower.heads = follower.heads.split_off(&(number + 1));
        for (peer, is_wrong) in std::mem::take(&mut follower.disputing) {
            if is_wrong {
                self.events.push_back(Event::Liar { peer });
            }
        }
        self.settle_held(&entries, number);
        self.events.push_back(Event::Entries {
            entries,
            head,
            peaks,
        });
    }

    /// Gives verdicts on the held batches up to block `number`, whose entries
    /// are among `entries`.
    fn settle_held(&mut self, entries: &[Entry], number: u64) {
        let later = self.held.split_off(&(number + 1, Hash32::ZERO, 0));
        let due = std::mem::replace(&mut self.held, later);
        let mut known: BTreeMap<Hash32, BTreeSet<Hash32>> = BTreeMap::new();
        for (_, held) in due {
            let hash = held.batch.block_hash;
            let ids = known
                .entry(hash)
                .or_insert_with(|| batch_ids(entries, &hash));
            let verdict = match ids.contains(&held.id) {
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
        if is_majority(&signers, &self.registry) {
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
        let mut peaks = self.follower.peaks.clone();
        entries.iter().for_each(|entry| peaks.push(&entry.id().0));
        if peaks.root() != head.entries_root {
            return Err(AnswerError::Root);
        }
        self.follower.source = None;
        if !entries.is_empty() || head.block_number > self.follower.block_number {
            self.commit(entries, head, head.block_number, peaks);
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
            let mut peaks = self.follower.peaks.clone();
            entries.iter().for_each(|entry| peaks.push(&entry.id().0));
            if peaks != mark.peaks {
                return Err(AnswerError::Root);
            }
            let head = self.follower.proven_head.expect("set with the marks");
            let part = std::mem::replace(&mut entries, rest);
            self.commit(part, head, mark.block_number, peaks);
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

/// The ids of a block's batches, when its entries are among `entries`.
fn batch_ids(entries: &[Entry], block_hash: &Hash32) -> BTreeSet<Hash32> {
    let of_block = entries
        .iter()
        .filter(|entry| entry.position.block_hash == *block_hash)
        .cloned()
        .collect();
    EntryBatch::cut(of_block)
        .iter()
        .map(EntryBatch::id)
        .collect()
}

/// Bytes that may wait for the head that covers them, before they are hashed: four
/// times what the entries above take without metadata.
const UNVERIFIED_BYTES_MAX: usize = 64 << 20;

/// About what an entry takes beside its metadata.
const ENTRY_BYTES: usize = 512;

/// Marks of a survey, about 1 KiB each. Derived: 16 MiB, for 67 million entries.
const MARKS_MAX: usize = 16_384;

/// Pause between two requests for the same entries. Chosen: longer than a round trip,
/// shorter than a person notices.
const FETCH_RETRY: Duration = Duration::from_secs(1);
