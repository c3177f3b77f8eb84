//! Spreading entries: who publishes a block's batches, which batches are
//! forwarded, and how a peer without a chain comes to trust them.
//!
//! A sans-IO machine. Peers that follow the chain forward exactly the batches
//! that they compute themselves. Peers that do not hold batches back until a
//! counted head covers them; when something is missing they ask for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::entry::{Entry, EntryBatch, ReceivedBatch};
use protocol::id::{Address, Hash32};
pub use protocol::machine::{Token, Verdict};
use protocol::merkle::Peaks;
use protocol::placement::{Placement, Purpose};
use protocol::records::{CheckedHead, Head, RecordError, SignedHead, check_head};
use protocol::registry::Registry;
use protocol::signing::{Domain, Record};
use protocol::time::{Moment, UnixSeconds};

use crate::heads::{Counted, CountedHead, HeadCounter};
use crate::limits::Limits;

mod follower;

use follower::Follower;

/// Decides about entry batches and heads.
#[derive(Debug)]
pub struct Spread {
    config: Config,
    registry: Arc<Registry>,
    /// Who publishes first; worked out when it is asked.
    placement: Option<Placement>,
    counter: HeadCounter,
    /// Ids of the batches of recent final blocks; `None` without a chain.
    chain: Option<ChainView>,
    follower: Follower,
    /// Batches that wait for a verdict, by block and position.
    held: BTreeMap<BatchKey, Held>,
    scheduled: BTreeMap<(Moment, Hash32), Vec<u8>>,
    /// Heads whose signers the registry does not know yet, oldest first.
    early_heads: VecDeque<Vec<u8>>,
    seen: RecentIds,
    transmits: VecDeque<Transmit>,
    verdicts: VecDeque<(Token, Verdict)>,
    events: VecDeque<Event>,
}

/// Who this peer is, and its limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The peer that gossips.
    pub peer: Address,
    /// Where heads are signed.
    pub domain: Domain,
    /// True for peers that follow the chain themselves.
    pub follows_chain: bool,
    /// True when final blocks are never undone. Otherwise a batch of another
    /// block than the own final one is of another fork, and nobody's offence.
    pub final_is_firm: bool,
    /// Rank r publishes r times this later.
    pub rank_delay: Duration,
    /// How long a gap is left to gossip before it is asked for.
    pub gap_patience: Duration,
    /// A peer that heard of nothing asks this often all the same.
    pub idle_interval: Duration,
    /// How much is kept.
    pub limits: Limits,
}

impl Config {
    /// The limits in production, of a peer that follows the chain.
    #[must_use]
    pub const fn new(peer: Address, domain: Domain) -> Self {
        Self {
            peer,
            domain,
            follows_chain: true,
            final_is_firm: true,
            // Longer than a batch takes to reach everybody, as a rule.
            rank_delay: Duration::from_millis(150),
            // A batch that gossip brings at all is here by then.
            gap_patience: Duration::from_secs(2),
            // What gossip lost shows after it at the latest.
            idle_interval: Duration::from_secs(30),
            limits: Limits::DEFAULT,
        }
    }
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
    /// Heads below this number are not taken: after [`Event::Diverged`] the
    /// number of its head, else 0.
    pub head_number_min: u64,
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
    /// A majority stands behind the head; told again when it has more signatures
    /// to those who follow the chain, who hand them on.
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
        /// Who sent the part before and has to send this one too.
        peer: Option<Address>,
    },
    /// The entries here are of a fork that was abandoned: delete them and
    /// start over with a new machine.
    Diverged {
        /// What a majority signed instead.
        head: Head,
    },
    /// The peer sent entries that are not on the chain: an offence.
    Liar {
        /// The peer that sent them.
        peer: Address,
    },
    /// A discovery peer signed two heads of one number.
    Contradiction {
        /// The peer that signed both.
        signer: Address,
        /// The number of both.
        block_number: u64,
    },
}

/// Why an answer to [`Event::Fetch`] was refused. None is an offence by itself:
/// registries differ for a while after a change, and a fork that was abandoned
/// makes honest entries look wrong. [`Event::Liar`] names offenders.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The signatures are not those of a majority.
    #[error("the head of block {block_number} is not signed by a majority of operators")]
    NotCounted {
        /// The head's number.
        block_number: u64,
    },
    /// The peer is behind what is here.
    #[error("the answer reaches to block {found}, block {held} is here")]
    Behind {
        /// Number of the answer's head.
        found: u64,
        /// The block that is held.
        held: u64,
    },
    /// The entries do not lead to the head.
    #[error("the entries do not hash to the head's entries root")]
    Root,
    /// Nothing, although the head covers more.
    #[error("the answer holds no entries, although its head covers more")]
    Empty,
    /// Another peer sent the part before.
    #[error("the answer continues what another peer began; the first part is asked for again")]
    Mixed,
    /// More than is kept.
    #[error("more entries precede the next counted head than are kept unverified")]
    TooMany,
}

#[derive(Debug, Default)]
struct ChainView {
    final_block: u64,
    /// Hash and batch ids of each block that has entries.
    batches: BTreeMap<u64, (Hash32, BTreeSet<Hash32>)>,
}

type BatchKey = (u64, Hash32, u64);

#[derive(Debug)]
struct Held {
    batch: Arc<ReceivedBatch>,
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
        Self {
            chain: config.follows_chain.then(ChainView::default),
            registry: Arc::default(),
            placement: None,
            counter: HeadCounter::new(config.limits),
            follower: Follower::new(held, config.limits, now),
            held: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            early_heads: VecDeque::new(),
            seen: RecentIds::default(),
            transmits: VecDeque::new(),
            verdicts: VecDeque::new(),
            events: VecDeque::new(),
            config,
        }
    }

    /// Takes the registry to judge signers by.
    pub fn handle_registry(&mut self, registry: Arc<Registry>, now: Moment) {
        self.placement = None;
        self.registry = registry;
        for counted in self.counter.handle_registry(&self.registry) {
            self.note_counted(Counted::Now(counted), now);
        }
        for data in std::mem::take(&mut self.early_heads) {
            // The message has had its verdict.
            self.take_head(&data, now);
        }
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
        // Ranking everybody costs more than all the rest of a block's replay.
        let rank = match is_fresh && !batches.is_empty() {
            true => self.rank(&hash),
            false => None,
        };
        let mut ids = BTreeSet::new();
        for batch in &batches {
            let data = batch.to_bytes();
            let id = protocol::entry::sha256(&data);
            ids.insert(id);
            if let Some(rank) = rank
                && !self.seen.contains(&id)
                && self.scheduled.len() < self.config.limits.scheduled_max
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
            chain.batches.insert(number, (hash, ids));
        }
        while chain.batches.len() > self.config.limits.chain_blocks_max {
            chain.batches.pop_first();
        }
        self.judge_held(number);
    }

    fn rank(&mut self, block: &Hash32) -> Option<usize> {
        let registry = &self.registry;
        let placement = self
            .placement
            .get_or_insert_with(|| Placement::new(registry));
        let ranked = placement.rank(Purpose::Entries, &block.0);
        ranked.iter().position(|peer| *peer == self.config.peer)
    }

    /// Forgets final blocks above `number`: the chain was reorganised deeper
    /// than its confirmations.
    pub fn handle_rollback(&mut self, number: u64) {
        if let Some(chain) = &mut self.chain {
            chain.final_block = chain.final_block.min(number);
            chain.batches.split_off(&(number.saturating_add(1)));
        }
    }

    /// Takes a message of the entries topic.
    pub fn handle_batch(&mut self, data: &[u8], token: Token, now: Moment) {
        let Ok(received) = ReceivedBatch::from_bytes(data) else {
            self.verdicts.push_back((token, Verdict::Reject));
            return;
        };
        if self.chain.is_some() {
            self.seen.insert(received.id);
            let is_other = |id: &Hash32| *id != received.id;
            self.scheduled.retain(|(_, id), _| is_other(id));
        }
        let done_until = match &self.chain {
            Some(chain) => chain.final_block,
            None => self.follower.block_number,
        };
        if received.batch.block_number <= done_until {
            let verdict = self.judge(&received);
            self.verdicts.push_back((token, verdict));
            return;
        }
        self.hold(received, token);
        self.advance(now);
    }

    /// Takes a message of the heads topic.
    pub fn handle_head(&mut self, data: &[u8], token: Token, now: Moment) {
        let verdict = self.take_head(data, now);
        self.verdicts.push_back((token, verdict));
    }

    fn take_head(&mut self, data: &[u8], now: Moment) -> Verdict {
        match check_head(data, &self.registry, &self.config.domain) {
            Ok(CheckedHead {
                signed,
                hash,
                signer,
            }) => {
                let counted = self.counter.handle_head(&signed, hash, signer);
                let is_news = counted != Counted::Nothing;
                self.note_counted(counted, now);
                match is_news {
                    true => Verdict::Accept,
                    false => Verdict::Ignore,
                }
            }
            Err(RecordError::NotConfirmed { .. }) => {
                if self.early_heads.len() >= self.config.limits.early_heads_max {
                    self.early_heads.pop_front();
                }
                self.early_heads.push_back(data.to_vec());
                Verdict::Ignore
            }
            Err(error) => verdict_of(&error),
        }
    }

    /// Takes a head that this peer signed itself.
    pub fn handle_own_head(&mut self, head: &SignedHead, now: Moment) {
        let hash = head.record.struct_hash();
        let counted = self.counter.handle_head(head, hash, self.config.peer);
        self.note_counted(counted, now);
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

    /// Which of its tables does not agree with the others, or holds too much.
    #[must_use]
    pub fn contradiction(&self) -> Option<&'static str> {
        let limits = &self.config.limits;
        let mut scheduled = self.scheduled.keys();
        [
            ("signed heads", self.counter.is_counted()),
            (
                "scheduled batches",
                !scheduled.any(|(_, id)| self.seen.contains(id)),
            ),
            ("held batches", self.held.len() <= limits.held_max),
            (
                "early heads",
                self.early_heads.len() <= limits.early_heads_max,
            ),
        ]
        .into_iter()
        .find_map(|(table, agrees)| (!agrees).then_some(table))
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

    /// Ends the machine: the verdicts that it owes, those of no use among them.
    pub fn abandon(self) -> impl Iterator<Item = (Token, Verdict)> {
        let useless = |held: Held| (held.token, Verdict::Ignore);
        let held = self.held.into_values().map(useless);
        self.verdicts.into_iter().chain(held)
    }

    /// How many entries are verified; only without a chain.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.follower.peaks.count
    }

    /// How many batches wait for a verdict.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    fn note_counted(&mut self, counted: Counted, now: Moment) {
        match counted {
            Counted::Now(counted) => {
                if self.chain.is_none() {
                    self.follower.handle_head(counted.head);
                }
                self.events.push_back(Event::Counted(counted));
                self.advance(now);
            }
            Counted::Grown if self.chain.is_some() => {
                let counted = self.counter.newest_signed();
                self.events.extend(counted.map(Event::Counted));
            }
            Counted::Contradiction {
                signer,
                block_number,
            } => self.events.push_back(Event::Contradiction {
                signer,
                block_number,
            }),
            Counted::Nothing | Counted::More | Counted::Grown => {}
        }
    }

    /// The verdict on a batch of a block that is final here.
    fn judge(&self, received: &ReceivedBatch) -> Verdict {
        let Some(chain) = &self.chain else {
            return Verdict::Ignore;
        };
        let ReceivedBatch { batch, id, .. } = received;
        let number = batch.block_number;
        let oldest = chain.batches.first_key_value().map(|(number, _)| *number);
        match chain.batches.get(&number) {
            Some((_, ids)) if ids.contains(id) => Verdict::Accept,
            Some((hash, _)) if *hash == batch.block_hash => Verdict::Reject,
            _ if !self.config.final_is_firm => Verdict::Ignore,
            _ if oldest.is_some_and(|oldest| oldest <= number) => Verdict::Reject,
            _ => Verdict::Ignore,
        }
    }

    fn judge_held(&mut self, final_block: u64) {
        let later = self.held.split_off(&(final_block + 1, Hash32::ZERO, 0));
        let due = std::mem::replace(&mut self.held, later);
        for (_, held) in due {
            let verdict = self.judge(&held.batch);
            self.verdicts.push_back((held.token, verdict));
        }
    }

    fn hold(&mut self, received: Arc<ReceivedBatch>, token: Token) {
        let EntryBatch {
            block_number,
            block_hash,
            index,
            ..
        } = received.batch;
        let key = (block_number, block_hash, index);
        let batch = received;
        let held = Held { batch, token };
        if let Some(rival) = self.held.insert(key, held) {
            self.verdicts.push_back((rival.token, Verdict::Ignore));
        }
        // The farthest block goes first: it is the least likely to be next.
        while self.held.len() > self.config.limits.held_max {
            if let Some((_, held)) = self.held.pop_last() {
                self.verdicts.push_back((held.token, Verdict::Ignore));
            }
        }
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

fn verdict_of(error: &RecordError) -> Verdict {
    if error.is_offence() {
        Verdict::Reject
    } else {
        Verdict::Ignore
    }
}

/// Ids in one generation of [`RecentIds`]. Chosen: several times the batches that may
/// wait, at 32 bytes each.
const RECENT_IDS_MAX: usize = 8192;

/// Blocks older than this are history: peers fetch them, nobody publishes them.
/// Chosen: longer than the turns of all ranks take, so that one of them is in time.
const PUBLISH_AGE_SECONDS_MAX: u64 = 300;

#[cfg(test)]
mod tests;
