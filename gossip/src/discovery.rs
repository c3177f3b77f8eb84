//! The discovery role: what every staked peer makes of the chain, and what those
//! with the role tell of it.
//!
//! A machine. It has the chain's blocks indexed, computes the heads of final
//! ones, signs those near the tip, tells and counts heads, spreads entry batches
//! (with [`Spread`]), answers `/coliving/entries/1`.
//!
//! It replays the chain from the deployment at each start. What is indexed
//! already is passed over ([`plan`]), and heads come out the same, so that
//! nothing derived has to be stored beside the index but the newest counted head.
//! When a final block is undone, or the index fails, it replays likewise: what
//! was right stays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::chain::{ChainBlock, ChainEvent};
use protocol::codec;
use protocol::entry::Entry;
use protocol::id::{Hash32, Role};
use protocol::machine::{Machine, Token, Verdict};
use protocol::merkle::SparseTree;
use protocol::records::{Head, SignedHead};
use protocol::registry::{BlockRef, Registry, RegistryEvent};
use protocol::signing::Record;
use protocol::time::{Moment, UnixSeconds};
use protocol::wire::Topic;

use crate::heads::{CountedHead, FinalBlock, HeadBuilder};
use crate::spread::{self, Event, HeldEntries, Spread};

mod face;
mod plan;
mod requests;

pub use face::{IndexFailure, Input, Note, Output};
pub use plan::{Plan, plan};
use requests::Requests;

/// Follows the chain; see the module text.
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    spread: Spread,
    requests: Requests,
    /// The registry at the newest block.
    registry: Arc<Registry>,
    tip: u64,
    /// What the chain told and is not indexed yet.
    news: VecDeque<ChainEvent>,
    step: Step,
    history: History,
    /// The newest head that a majority signed and this peer computed.
    counted: Option<CountedHead>,
    retell_at: Moment,
    outputs: VecDeque<Output>,
}

/// Who this peer is.
#[derive(Debug, Clone)]
pub struct Config {
    /// How batches and heads are spread.
    pub spread: spread::Config,
    /// True for a peer that is to sign heads.
    pub signs_heads: bool,
    /// Blocks on top of a block that make it final.
    pub confirmations: u64,
}

/// What was made of the blocks since the deployment.
#[derive(Debug, Default)]
struct History {
    builder: HeadBuilder,
    registry: RegistryFold,
    /// Blocks that are not final.
    recent: VecDeque<Arc<ChainBlock>>,
    final_number: u64,
    /// Struct hashes of the heads that were computed last, by number.
    computed: BTreeMap<u64, Hash32>,
    /// Counted heads of blocks that are not final here.
    candidates: BTreeMap<u64, CountedHead>,
    /// The newest head of blocks that are being caught up with.
    skipped: Option<(Head, UnixSeconds)>,
    /// Heads that are being signed, with the times of their blocks.
    signing: BTreeMap<u64, (Hash32, UnixSeconds)>,
    /// The newest head that this peer signed.
    own_head: Option<SignedHead>,
}

/// The registry as of the last final block, with its root worked out on demand.
#[derive(Debug, Default)]
struct RegistryFold {
    registry: Registry,
    tree: SparseTree,
    root: Option<Hash32>,
}

/// What the index is about.
#[derive(Debug)]
enum Step {
    /// It waits for the chain.
    Idle,
    /// It takes blocks in; `finalized` is the last final one by then.
    Indexing {
        blocks: Vec<Arc<ChainBlock>>,
        finalized: Option<BlockRef>,
    },
    /// It takes back what is above a block.
    Undoing { to: BlockRef },
    /// It failed, and is left alone for a moment.
    Resting { until: Moment, is_lost: bool },
    /// It is being emptied.
    Clearing,
}

impl Discovery {
    /// Starts with the counted head of the run before.
    #[must_use]
    pub fn new(config: Config, counted: Option<CountedHead>, now: Moment) -> Self {
        Self {
            spread: Spread::new(config.spread.clone(), HeldEntries::default(), now),
            requests: Requests::new(config.spread.limits),
            config,
            registry: Arc::default(),
            tip: 0,
            news: VecDeque::new(),
            step: Step::Idle,
            history: History::default(),
            counted,
            retell_at: now + RETELL_INTERVAL,
            outputs: VecDeque::from([Output::Subscribe]),
        }
    }

    /// The newest counted head that this peer has all entries of.
    #[must_use]
    pub const fn counted(&self) -> Option<&CountedHead> {
        self.counted.as_ref()
    }

    /// Batches that wait for a final block.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.spread.held_count()
    }

    /// True while nothing more is to be taken from the chain.
    #[must_use]
    pub const fn is_indexing(&self) -> bool {
        !matches!(self.step, Step::Idle)
    }

    fn handle_chain(&mut self, events: Vec<ChainEvent>, now: Moment) {
        // While it recovers, what comes is of a subscription that ends.
        if !matches!(self.step, Step::Resting { .. } | Step::Clearing) {
            self.news.extend(events);
            self.advance(now);
        }
    }

    /// Hands the index what it may take next.
    fn advance(&mut self, now: Moment) {
        while matches!(self.step, Step::Idle) {
            let Some(event) = self.news.pop_front() else {
                return;
            };
            match event {
                ChainEvent::Rollback { to } => {
                    self.outputs.push_back(Output::Unindex { to: to.number });
                    self.step = Step::Undoing { to };
                }
                ChainEvent::TooDeep(error) => self.rest(error.to_string(), true, now),
                event => self.index_run(event, now),
            }
        }
    }

    /// Has blocks indexed in one transaction, up to the next rollback.
    fn index_run(&mut self, first: ChainEvent, now: Moment) {
        let (mut blocks, mut finalized) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                ChainEvent::Block(block) => blocks.push(block),
                ChainEvent::Final { block } => finalized = Some(block),
                ChainEvent::Rollback { .. } | ChainEvent::TooDeep(_) => {}
            }
            let is_of_run = |event: &ChainEvent| {
                matches!(event, ChainEvent::Block(_) | ChainEvent::Final { .. })
            };
            let goes_on = self.news.front().is_some_and(is_of_run);
            next = goes_on.then(|| self.news.pop_front()).flatten();
        }
        if blocks.is_empty() {
            self.finish_run(blocks, finalized, now);
            return;
        }
        self.outputs.push_back(Output::Index(blocks.clone()));
        self.step = Step::Indexing { blocks, finalized };
    }

    fn handle_indexed(&mut self, result: Result<(), IndexFailure>, now: Moment) {
        let step = std::mem::replace(&mut self.step, Step::Idle);
        match (step, result) {
            (Step::Indexing { blocks, finalized }, Ok(())) => {
                self.outputs.push_back(Output::Fault(None));
                self.finish_run(blocks, finalized, now);
            }
            (Step::Undoing { to }, Ok(())) => self.handle_undone(to, now),
            (Step::Indexing { .. } | Step::Undoing { .. }, Err(failure)) => {
                self.rest(failure.reason, failure.is_lost, now);
            }
            // Whether it is empty is seen when it is written to.
            (Step::Clearing, result) => {
                if let Err(failure) = result {
                    self.outputs.push_back(Output::Fault(Some(failure.reason)));
                }
                self.start_over(now);
            }
            (step @ (Step::Idle | Step::Resting { .. }), _) => self.step = step,
        }
        self.advance(now);
    }

    fn finish_run(
        &mut self,
        blocks: Vec<Arc<ChainBlock>>,
        finalized: Option<BlockRef>,
        now: Moment,
    ) {
        self.history.recent.extend(blocks);
        let Some(finalized) = finalized else {
            return;
        };
        self.outputs.push_back(Output::Settled(finalized.number));
        while let Some(block) = self.history.recent.pop_front() {
            if block.block.number > finalized.number {
                self.history.recent.push_front(block);
                return;
            }
            self.handle_final_block(Arc::unwrap_or_clone(block), now);
        }
    }

    fn handle_undone(&mut self, to: BlockRef, now: Moment) {
        let number = to.number;
        self.history
            .recent
            .retain(|recent| recent.block.number <= number);
        self.spread.handle_rollback(number);
        if self.counted_number() > Some(number) {
            self.forget_counted();
        }
        let from = self.history.final_number;
        if number < from {
            let undone = Note::FinalUndone { to: number, from };
            self.outputs.push_back(Output::Note(undone));
            self.start_over(now);
        }
    }

    /// Leaves the index alone for a moment.
    fn rest(&mut self, reason: String, is_lost: bool, now: Moment) {
        self.outputs.push_back(Output::Fault(Some(reason)));
        self.news.clear();
        self.step = Step::Resting {
            until: now + RECOVERY_PAUSE,
            is_lost,
        };
    }

    fn end_rest(&mut self, now: Moment) {
        let Step::Resting { until, is_lost } = self.step else {
            return;
        };
        if until > now {
            return;
        }
        self.forget_counted();
        if is_lost {
            self.outputs.push_back(Output::Settled(0));
            self.outputs.push_back(Output::Clear);
            self.step = Step::Clearing;
        } else {
            self.start_over(now);
        }
    }

    /// Replays the chain; what the index holds already is passed over.
    fn start_over(&mut self, now: Moment) {
        self.news.clear();
        self.step = Step::Idle;
        self.history = History::default();
        let config = self.config.spread.clone();
        let fresh = Spread::new(config, HeldEntries::default(), now);
        let ended = std::mem::replace(&mut self.spread, fresh).abandon();
        for (token, verdict) in ended {
            self.outputs.push_back(Output::Judge { token, verdict });
        }
        self.outputs.push_back(Output::Settled(0));
        self.outputs.push_back(Output::Subscribe);
        self.spread.handle_registry(Arc::clone(&self.registry), now);
    }

    fn handle_final_block(&mut self, next: ChainBlock, now: Moment) {
        let ChainBlock {
            block,
            time,
            entries,
            registry,
            ..
        } = next;
        let number = block.number;
        let history = &mut self.history;
        history.registry.apply(&registry);
        let head = history.builder.handle_final_block(&FinalBlock {
            block,
            time,
            entries: entries.iter().map(Entry::id).collect(),
            registry_changed: !registry.is_empty(),
            registry_root: history.registry.root(),
        });
        history.final_number = number;
        self.spread
            .handle_final_block(number, block.hash, time, entries, now);
        self.compare(number, head.as_ref());
        if let Some(head) = head {
            self.history.skipped = Some((head, time));
        }
        if self.is_near_tip(number)
            && let Some((head, time)) = self.history.skipped.take()
        {
            self.sign(head, time);
        }
    }

    /// Heads of a long history are computed and left unsigned, except the last.
    fn is_near_tip(&self, number: u64) -> bool {
        let margin = self.config.confirmations + SIGNED_BEHIND_MAX;
        number.saturating_add(margin) >= self.tip
    }

    /// Compares what this peer computed with what a majority signed.
    fn compare(&mut self, number: u64, head: Option<&Head>) {
        let hash = head.map(Head::struct_hash);
        let history = &mut self.history;
        if let Some(hash) = hash {
            history.computed.insert(number, hash);
            while history.computed.len() > COMPUTED_MAX {
                history.computed.pop_first();
            }
        }
        let later = history.candidates.split_off(&(number + 1));
        let due = std::mem::replace(&mut history.candidates, later);
        if let Some(kept) = &self.counted
            && kept.head.block_number == number
            && hash != Some(kept.head.struct_hash())
        {
            self.forget_counted();
        }
        for (_, candidate) in due {
            self.handle_counted(candidate);
        }
    }

    fn sign(&mut self, head: Head, time: UnixSeconds) {
        let peer = self.config.spread.peer;
        if self.config.signs_heads && self.registry.has_role(&peer, Role::Discovery) {
            let signing = (head.struct_hash(), time);
            self.history.signing.insert(head.block_number, signing);
            self.outputs.push_back(Output::Sign(head));
        }
    }

    fn handle_signed(&mut self, head: SignedHead, now: Moment) {
        let number = head.record.block_number;
        let Some((hash, time)) = self.history.signing.remove(&number) else {
            return;
        };
        if head.record.struct_hash() != hash {
            return;
        }
        self.spread.handle_own_head(&head, now);
        self.history.own_head = Some(head);
        if now.unix().0.saturating_sub(time.0) <= FRESH_SECONDS_MAX {
            self.tell_own_head();
        }
    }

    fn tell_own_head(&mut self) {
        if let Some(head) = &self.history.own_head {
            self.outputs.push_back(Output::Publish {
                topic: Topic::Heads,
                body: codec::to_bytes(head),
            });
        }
    }

    /// Tells the newest head again while it has no majority: signatures that were
    /// made while nobody listened are not lost.
    fn retell(&mut self, now: Moment) {
        if self.retell_at > now {
            return;
        }
        self.retell_at = now + RETELL_INTERVAL;
        let own = self.history.own_head.as_ref();
        if own.map(|head| head.record.block_number) > self.counted_number() {
            self.tell_own_head();
        }
    }

    fn handle_gossip(&mut self, token: Token, topic: Topic, body: &[u8], now: Moment) {
        match topic {
            Topic::Entries => self.spread.handle_batch(body, token, now),
            Topic::Heads => self.spread.handle_head(body, token, now),
            _ => self.outputs.push_back(Output::Judge {
                token,
                verdict: Verdict::Ignore,
            }),
        }
    }

    /// Takes a counted head that is what this peer computed: it has the entries.
    fn handle_counted(&mut self, counted: CountedHead) {
        let block_number = counted.head.block_number;
        let history = &mut self.history;
        if block_number > history.final_number {
            history.candidates.insert(block_number, counted);
            while history.candidates.len() > self.config.spread.limits.candidates_max {
                history.candidates.pop_last();
            }
            return;
        }
        match history.computed.get(&block_number) {
            Some(hash) if *hash == counted.head.struct_hash() => {}
            Some(_) => {
                let note = Note::MajorityDiffers { block_number };
                self.outputs.push_back(Output::Note(note));
                return;
            }
            None => return,
        }
        if self.counted_number() > Some(block_number) {
            return;
        }
        let known = self.counted.replace(counted.clone());
        // One more signature is not worth a write.
        if known.map(|known| known.head) != Some(counted.head) {
            self.outputs
                .push_back(Output::Keep(Some(Box::new(counted))));
        }
    }

    fn counted_number(&self) -> Option<u64> {
        self.counted
            .as_ref()
            .map(|counted| counted.head.block_number)
    }

    /// Serves no more what lies on an abandoned fork.
    fn forget_counted(&mut self) {
        if self.counted.take().is_some() {
            self.outputs.push_back(Output::Keep(None));
        }
    }

    /// Turns the wishes of the spread into this machine's.
    fn drain_spread(&mut self) {
        while let Some((token, verdict)) = self.spread.poll_verdict() {
            self.outputs.push_back(Output::Judge { token, verdict });
        }
        while let Some(transmit) = self.spread.poll_transmit() {
            self.outputs.push_back(Output::Publish {
                topic: Topic::Entries,
                body: transmit.data,
            });
        }
        while let Some(event) = self.spread.poll_event() {
            match event {
                Event::Counted(counted) => self.handle_counted(counted),
                Event::Contradiction {
                    signer,
                    block_number,
                } => self.outputs.push_back(Output::Note(Note::Contradiction {
                    signer,
                    block_number,
                })),
                Event::Entries { .. }
                | Event::Fetch { .. }
                | Event::Diverged { .. }
                | Event::Liar { .. } => {
                    unreachable!("a peer that follows the chain fetches no entries")
                }
            }
        }
    }
}

impl Machine for Discovery {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Chain(events) => self.handle_chain(events, now),
            Input::Tip(number) => self.tip = number,
            Input::Registry(registry) => {
                self.registry = Arc::clone(&registry);
                self.spread.handle_registry(registry, now);
            }
            Input::Gossip { token, topic, body } => self.handle_gossip(token, topic, &body, now),
            Input::Indexed(result) => self.handle_indexed(result, now),
            Input::Signed(head) => self.handle_signed(*head, now),
            Input::Unsigned { number } => {
                self.history.signing.remove(&number);
            }
            Input::Request { id, origin, body } => {
                let counted = self.counted.as_ref();
                let answer = self
                    .requests
                    .handle_request(id, origin, &body, counted, now);
                self.outputs.extend(answer);
            }
            Input::Read { id, entries } => {
                self.outputs.extend(self.requests.handle_read(id, entries));
                while let Some(next) = self.requests.next(self.counted.as_ref()) {
                    self.outputs.push_back(next);
                }
            }
        }
        self.drain_spread();
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.end_rest(now);
        self.retell(now);
        self.spread.handle_timeout(now);
        self.drain_spread();
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let rest = match self.step {
            Step::Resting { until, .. } => Some((until, "the index is tried again")),
            _ => None,
        };
        let retell = Some((self.retell_at, "the own head is told again"));
        let spread = self.spread.poll_timeout();
        [rest, retell, spread].into_iter().flatten().min()
    }

    fn contradiction(&self) -> Option<&'static str> {
        self.spread.contradiction()
    }
}

impl RegistryFold {
    fn apply(&mut self, events: &[RegistryEvent]) {
        for event in events {
            self.registry.apply(event);
            self.root = None;
        }
    }

    fn root(&mut self) -> Hash32 {
        *self
            .root
            .get_or_insert_with(|| self.registry.root_in(&mut self.tree))
    }
}

/// Heads of older blocks are history: they are told only when they lack a majority.
/// Chosen: longer than a block takes to be final and its head to be counted.
const FRESH_SECONDS_MAX: u64 = 300;

/// Pause between two announcements of a head that lacks a majority: rare next to
/// the seconds in which a head is counted.
const RETELL_INTERVAL: Duration = Duration::from_secs(20);

/// Heads of blocks this far behind the chain's newest final one are signed. Chosen:
/// a peer that was away for minutes still helps, one that replays a chain signs nothing.
const SIGNED_BEHIND_MAX: u64 = 64;

/// Own heads that counted ones are compared with; as many as are counted.
const COMPUTED_MAX: usize = 4096;

/// Pause before indexing starts over after an error: a full disk is not filled
/// with log lines.
const RECOVERY_PAUSE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
