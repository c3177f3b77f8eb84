//! Spreading entries: who publishes a block's batches, which batches are
//! forwarded, and how a peer without a chain comes to trust them.
//!
//! A sans-IO machine. Peers that follow the chain forward exactly the batches
//! that they compute themselves. Peers that do not hold batches back until a
//! counted head covers them; when something is missing they ask for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::entry::{Entry, EntryBatch};
use protocol::head::Head;
use protocol::id::{Address, Hash32};
use protocol::merkle::Peaks;
use protocol::placement::{Placement, Purpose};
use protocol::registry::Registry;
use protocol::signing::{Domain, Record, recover};
use protocol::time::{Moment, UnixSeconds};

use crate::heads::{Counted, CountedHead, HeadCounter, is_majority};
use crate::message::{self, EntriesAnswer, MessageError, SIGNATURES_MAX};

/// Decides about entry batches and heads.
#[derive(Debug)]
pub struct Spread {
    config: Config,
    registry: Arc<Registry>,
    placement: Placement,
    counter: HeadCounter,
    /// Ids of the batches of recent final blocks; `None` without a chain.
    chain: Option<ChainView>,
    follower: Follower,
    /// Batches that wait for a verdict, by block and position.
    held: BTreeMap<BatchKey, Held>,
    scheduled: BTreeMap<(Moment, Hash32), Vec<u8>>,
    seen: RecentIds,
    transmits: VecDeque<Transmit>,
    verdicts: VecDeque<(Token, Verdict)>,
    events: VecDeque<Event>,
}

/// Who this peer is, and its limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// This peer.
    pub peer: Address,
    /// Where heads are signed.
    pub domain: Domain,
    /// True for peers that follow the chain themselves.
    pub follows_chain: bool,
    /// Rank r publishes r times this later.
    pub rank_delay: Duration,
    /// How long a gap is left to gossip before it is asked for.
    pub gap_patience: Duration,
}

/// The verified entries that a peer without a chain holds already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldEntries {
    /// The right edge of the tree over them.
    pub peaks: Peaks,
    /// The block that they reach to.
    pub block_number: u64,
    /// Chain position of the last one.
    pub sequence: Option<u64>,
}

/// Names a message whose verdict is still open; chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What becomes of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Drop it silently.
    Ignore,
    /// Drop it and hold it against who sent it.
    Reject,
}

/// A batch to publish on the entries topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// An encoded [`EntryBatch`].
    pub data: Vec<u8>,
}

/// What the driver should do or tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A majority stands behind the head.
    Counted(CountedHead),
    /// The next entries, verified against a counted head. Only without a chain.
    Entries {
        /// In chain order, directly after those before.
        entries: Vec<Entry>,
        /// The head that covers them.
        head: Head,
        /// The tree's right edge after them, to be kept with them.
        peaks: Peaks,
    },
    /// Ask a discovery peer for the entries after the first `from_count`, and
    /// answer with [`Spread::handle_answer`] or [`Spread::handle_no_answer`].
    Fetch {
        /// How many entries are here.
        from_count: u64,
        /// Chain position of the last of them.
        after: Option<u64>,
    },
    /// A discovery peer signed two heads of one number.
    Contradiction {
        /// Who.
        signer: Address,
        /// The number of both.
        block_number: u64,
    },
}

/// Why an answer to [`Event::Fetch`] was refused; always an offence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The signatures are not those of a majority.
    #[error("the head of block {block_number} is not signed by a majority of operators")]
    NotCounted {
        /// The head's number.
        block_number: u64,
    },
    /// The head is behind what is here.
    #[error("the head covers {found} entries, {held} are here")]
    Behind {
        /// Entries under the head.
        found: u64,
        /// Entries here.
        held: u64,
    },
    /// The entries do not lead to the head.
    #[error("the entries do not hash to the head's entries root")]
    Root,
    /// More than is kept unverified.
    #[error("more than {ENTRIES_UNVERIFIED_MAX} entries precede the next counted head")]
    TooMany,
}

#[derive(Debug, Default)]
struct ChainView {
    final_block: u64,
    batches: BTreeMap<u64, BTreeSet<Hash32>>,
}

#[derive(Debug)]
struct Follower {
    peaks: Peaks,
    /// Chain position of the last verified entry.
    sequence: Option<u64>,
    block_number: u64,
    /// Counted heads above `block_number`.
    heads: BTreeMap<u64, Head>,
    /// Entries from answers that no counted head covers yet.
    unverified: Vec<Entry>,
    gap_since: Option<Moment>,
    /// From which entry on an answer is awaited.
    fetching: Option<u64>,
    next_fetch: Moment,
}

type BatchKey = (u64, Hash32, u64);

#[derive(Debug)]
struct Held {
    batch: EntryBatch,
    id: Hash32,
    token: Token,
}

/// The ids seen last, in two generations.
#[derive(Debug, Default)]
struct RecentIds {
    young: BTreeSet<Hash32>,
    old: BTreeSet<Hash32>,
}

impl Spread {
    /// Creates the machine. A peer without a chain passes what it holds; it asks
    /// for more at once.
    #[must_use]
    pub fn new(config: Config, held: HeldEntries, now: Moment) -> Self {
        let HeldEntries {
            peaks,
            block_number,
            sequence,
        } = held;
        Self {
            chain: config.follows_chain.then(ChainView::default),
            config,
            registry: Arc::default(),
            placement: Placement::default(),
            counter: HeadCounter::default(),
            follower: Follower {
                peaks,
                sequence,
                block_number,
                heads: BTreeMap::new(),
                unverified: Vec::new(),
                gap_since: None,
                fetching: None,
                next_fetch: now,
            },
            held: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            seen: RecentIds::default(),
            transmits: VecDeque::new(),
            verdicts: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes the registry to judge signers by.
    pub fn handle_registry(&mut self, registry: Arc<Registry>) {
        self.placement = Placement::new(&registry);
        self.registry = registry;
    }

    /// Takes a final block of the own chain, its entries in log order, and
    /// schedules its batches. Blocks come in rising order.
    pub fn handle_final_block(
        &mut self,
        number: u64,
        hash: Hash32,
        time: UnixSeconds,
        entries: Vec<Entry>,
        now: Moment,
    ) {
        let batches = EntryBatch::cut(entries);
        let is_fresh = now.unix().0.saturating_sub(time.0) <= PUBLISH_AGE_SECONDS_MAX;
        let rank = self
            .placement
            .rank(Purpose::Entries, &hash.0)
            .iter()
            .position(|peer| *peer == self.config.peer);
        let mut ids = BTreeSet::new();
        for batch in &batches {
            let data = batch.to_bytes();
            let id = protocol::entry::sha256(&data);
            ids.insert(id);
            if let Some(rank) = rank
                && is_fresh
                && !self.seen.contains(&id)
                && self.scheduled.len() < SCHEDULED_MAX
            {
                let delay = self.config.rank_delay * u32::try_from(rank).unwrap_or(u32::MAX);
                self.scheduled.insert((now + delay, id), data);
            }
        }
        let Some(chain) = &mut self.chain else {
            return;
        };
        chain.final_block = number;
        if !ids.is_empty() {
            chain.batches.insert(number, ids);
        }
        while chain.batches.len() > CHAIN_BLOCKS_MAX {
            chain.batches.pop_first();
        }
        self.judge_held(number);
    }

    /// Forgets final blocks above `number`: the chain was reorganised deeper
    /// than its confirmations.
    pub fn handle_rollback(&mut self, number: u64) {
        if let Some(chain) = &mut self.chain {
            chain.final_block = chain.final_block.min(number);
            chain.batches.split_off(&(number + 1));
        }
    }

    /// Takes a message of the entries topic.
    pub fn handle_batch(&mut self, data: &[u8], token: Token, now: Moment) {
        let Ok(batch) = EntryBatch::from_bytes(data) else {
            self.verdicts.push_back((token, Verdict::Reject));
            return;
        };
        let id = protocol::entry::sha256(data);
        self.seen.insert(id);
        self.scheduled.retain(|(_, scheduled), _| *scheduled != id);
        let done_until = match &self.chain {
            Some(chain) => chain.final_block,
            None => self.follower.block_number,
        };
        if batch.block_number <= done_until {
            let verdict = self.judge(batch.block_number, &id);
            self.verdicts.push_back((token, verdict));
            return;
        }
        self.hold(batch, id, token);
        self.advance(now);
    }

    /// Takes a message of the heads topic.
    pub fn handle_head(&mut self, data: &[u8], token: Token, now: Moment) {
        match message::check_head(data, &self.registry, &self.config.domain) {
            Ok((head, signer)) => {
                let counted = self.counter.handle_head(&head, signer, &self.registry);
                let verdict = match counted {
                    Counted::Nothing => Verdict::Ignore,
                    Counted::More | Counted::Now(_) | Counted::Contradiction { .. } => {
                        Verdict::Accept
                    }
                };
                self.verdicts.push_back((token, verdict));
                self.note_counted(counted, now);
            }
            Err(error) => self.verdicts.push_back((token, verdict_of(&error))),
        }
    }

    /// Takes a head that this peer signed itself.
    pub fn handle_own_head(&mut self, head: &protocol::head::SignedHead, now: Moment) {
        let counted = self
            .counter
            .handle_head(head, self.config.peer, &self.registry);
        self.note_counted(counted, now);
    }

    /// Takes the answer to [`Event::Fetch`].
    ///
    /// # Errors
    ///
    /// [`AnswerError`] when the answer is wrong; the machine asks again later,
    /// and the driver should ask somebody else.
    pub fn handle_answer(&mut self, answer: EntriesAnswer, now: Moment) -> Result<(), AnswerError> {
        let asked_from = self.follower.fetching.take();
        self.follower.next_fetch = now + FETCH_RETRY;
        if asked_from != Some(self.fetch_from()) {
            // Gossip was faster: the answer continues from somewhere else.
            return Ok(());
        }
        let result = self.take_answer(answer, now);
        if result.is_err() {
            self.follower.unverified.clear();
        }
        result
    }

    /// Notes that nobody answered.
    pub fn handle_no_answer(&mut self, now: Moment) {
        self.follower.fetching = None;
        self.follower.unverified.clear();
        self.follower.next_fetch = now + FETCH_RETRY;
    }

    /// Publishes and asks for what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(entry) = self.scheduled.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.seen.insert(entry.key().1);
            let data = entry.remove();
            self.transmits.push_back(Transmit { data });
        }
        self.fetch_if_due(now);
    }

    /// When [`Spread::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let publish = self
            .scheduled
            .first_key_value()
            .map(|((at, _), _)| (*at, "publish entry batch"));
        let fetch = self.fetch_due().map(|at| (at, "fetch missing entries"));
        publish.into_iter().chain(fetch).min()
    }

    /// The next batch to publish.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next verdict.
    #[must_use]
    pub fn poll_verdict(&mut self) -> Option<(Token, Verdict)> {
        self.verdicts.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many entries are verified; only without a chain.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.follower.peaks.count
    }

    fn note_counted(&mut self, counted: Counted, now: Moment) {
        match counted {
            Counted::Now(counted) => {
                if self.chain.is_none() && counted.head.block_number > self.follower.block_number {
                    self.follower
                        .heads
                        .insert(counted.head.block_number, counted.head);
                    while self.follower.heads.len() > FOLLOWER_HEADS_MAX {
                        self.follower.heads.pop_first();
                    }
                }
                self.events.push_back(Event::Counted(counted));
                self.advance(now);
            }
            Counted::Contradiction {
                signer,
                block_number,
            } => self.events.push_back(Event::Contradiction {
                signer,
                block_number,
            }),
            Counted::Nothing | Counted::More => {}
        }
    }

    /// The verdict on a batch of a block that is final here.
    fn judge(&self, block_number: u64, id: &Hash32) -> Verdict {
        let Some(chain) = &self.chain else {
            return Verdict::Ignore;
        };
        let oldest = chain.batches.first_key_value().map(|(number, _)| *number);
        match chain.batches.get(&block_number) {
            Some(ids) if ids.contains(id) => Verdict::Accept,
            _ if oldest.is_some_and(|oldest| oldest <= block_number) => Verdict::Reject,
            _ => Verdict::Ignore,
        }
    }

    fn judge_held(&mut self, final_block: u64) {
        let later = self.held.split_off(&(final_block + 1, Hash32::ZERO, 0));
        let due = std::mem::replace(&mut self.held, later);
        for (_, held) in due {
            let verdict = self.judge(held.batch.block_number, &held.id);
            self.verdicts.push_back((held.token, verdict));
        }
    }

    fn hold(&mut self, batch: EntryBatch, id: Hash32, token: Token) {
        let key = (batch.block_number, batch.block_hash, batch.index);
        let held = Held { batch, id, token };
        if let Some(rival) = self.held.insert(key, held) {
            self.verdicts.push_back((rival.token, Verdict::Ignore));
        }
        // The farthest block goes first: it is the least likely to be next.
        while self.held.len() > HELD_MAX {
            if let Some((_, held)) = self.held.pop_last() {
                self.verdicts.push_back((held.token, Verdict::Ignore));
            }
        }
    }

    /// Applies held batches under counted heads for as long as they fit.
    fn advance(&mut self, now: Moment) {
        if self.chain.is_some() {
            return;
        }
        while let Some(head) = self.follower.heads.values().next().copied() {
            if !self.apply_under(&head) {
                break;
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

    /// True when the held batches of the head's block lead from here to the head.
    fn apply_under(&mut self, head: &Head) -> bool {
        let mut peaks = self.follower.peaks.clone();
        let mut entries = Vec::new();
        for idx in 0.. {
            if peaks.count >= head.entry_count {
                break;
            }
            let key = (head.block_number, head.block_hash, idx);
            let Some(held) = self.held.get(&key) else {
                return false;
            };
            for entry in &held.batch.entries {
                peaks.push(&entry.id().0);
                entries.push(entry.clone());
            }
        }
        if peaks.count != head.entry_count || peaks.root() != head.entries_root {
            return false;
        }
        self.commit(entries, *head, peaks);
        true
    }

    fn commit(&mut self, entries: Vec<Entry>, head: Head, peaks: Peaks) {
        self.follower.peaks = peaks.clone();
        if let Some(last) = entries.last() {
            self.follower.sequence = Some(last.position.sequence());
        }
        self.follower.unverified.clear();
        self.follower.block_number = head.block_number;
        self.follower.heads = self.follower.heads.split_off(&(head.block_number + 1));
        let covered: BTreeSet<Hash32> = entries
            .iter()
            .map(|entry| entry.position.block_hash)
            .collect();
        let later = self
            .held
            .split_off(&(head.block_number + 1, Hash32::ZERO, 0));
        let due = std::mem::replace(&mut self.held, later);
        for (_, held) in due {
            let verdict = if covered.contains(&held.batch.block_hash) {
                Verdict::Accept
            } else {
                Verdict::Ignore
            };
            self.verdicts.push_back((held.token, verdict));
        }
        self.events.push_back(Event::Entries {
            entries,
            head,
            peaks,
        });
    }

    fn take_answer(&mut self, answer: EntriesAnswer, now: Moment) -> Result<(), AnswerError> {
        let EntriesAnswer {
            entries,
            head,
            signatures,
        } = answer;
        let held = self.follower.peaks.count;
        if head.entry_count < held {
            return Err(AnswerError::Behind {
                found: head.entry_count,
                held,
            });
        }
        let digest = head.digest(&self.config.domain);
        let signers: BTreeSet<Address> = signatures
            .iter()
            .take(SIGNATURES_MAX)
            .filter_map(|signature| recover(&digest, signature).ok())
            .collect();
        if !is_majority(&signers, &self.registry) {
            return Err(AnswerError::NotCounted {
                block_number: head.block_number,
            });
        }
        if self.follower.unverified.len() + entries.len() > ENTRIES_UNVERIFIED_MAX {
            return Err(AnswerError::TooMany);
        }
        let is_empty = entries.is_empty();
        self.follower.unverified.extend(entries);
        let reached = held + self.follower.unverified.len() as u64;
        if reached < head.entry_count {
            if is_empty {
                return Err(AnswerError::Root);
            }
            // More of the same follows.
            self.follower.next_fetch = now;
            self.follower.heads.insert(head.block_number, head);
            self.fetch_if_due(now);
            return Ok(());
        }
        let entries = std::mem::take(&mut self.follower.unverified);
        let mut peaks = self.follower.peaks.clone();
        entries.iter().for_each(|entry| peaks.push(&entry.id().0));
        if peaks.count != head.entry_count || peaks.root() != head.entries_root {
            return Err(AnswerError::Root);
        }
        let is_news = !entries.is_empty() || head.block_number > self.follower.block_number;
        if is_news {
            self.commit(entries, head, peaks);
        }
        self.advance(now);
        Ok(())
    }

    fn fetch_due(&self) -> Option<Moment> {
        if self.chain.is_some() || self.follower.fetching.is_some() {
            return None;
        }
        let gap = self
            .follower
            .gap_since
            .map(|since| since + self.config.gap_patience);
        let is_new = self.follower.peaks.count == 0 && self.follower.block_number == 0;
        match gap {
            Some(at) => Some(at.max(self.follower.next_fetch)),
            None if is_new || !self.follower.unverified.is_empty() => {
                Some(self.follower.next_fetch)
            }
            None => Some(self.follower.next_fetch + FETCH_IDLE),
        }
    }

    fn fetch_if_due(&mut self, now: Moment) {
        if self.fetch_due().is_some_and(|at| at <= now) {
            let from_count = self.fetch_from();
            self.follower.fetching = Some(from_count);
            let unverified = self.follower.unverified.last();
            self.events.push_back(Event::Fetch {
                from_count,
                after: unverified
                    .map(|entry| entry.position.sequence())
                    .or(self.follower.sequence),
            });
        }
    }

    fn fetch_from(&self) -> u64 {
        self.follower.peaks.count + self.follower.unverified.len() as u64
    }
}

impl RecentIds {
    fn contains(&self, id: &Hash32) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    fn insert(&mut self, id: Hash32) {
        if self.young.len() == RECENT_IDS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }
}

fn verdict_of(error: &MessageError) -> Verdict {
    if error.is_offence() {
        Verdict::Reject
    } else {
        Verdict::Ignore
    }
}

/// Batches that may wait for a counted head or a final block.
pub const HELD_MAX: usize = 1024;

/// Own batches that may wait for their turn.
const SCHEDULED_MAX: usize = 4096;

/// Blocks with entries whose batch ids are remembered.
const CHAIN_BLOCKS_MAX: usize = 4096;

/// Counted heads that may wait for their entries.
const FOLLOWER_HEADS_MAX: usize = 1024;

/// Entries that may wait for the head that covers them: 64 MiB at 1 KiB each.
pub const ENTRIES_UNVERIFIED_MAX: usize = 65_536;

/// Ids in one generation of [`RecentIds`].
const RECENT_IDS_MAX: usize = 8192;

/// Blocks older than this are history: peers fetch them, nobody publishes them.
const PUBLISH_AGE_SECONDS_MAX: u64 = 300;

/// Pause between two requests for the same entries.
const FETCH_RETRY: Duration = Duration::from_secs(1);

/// A peer that heard of nothing asks this often all the same.
const FETCH_IDLE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
