//! Following a chain by number and hash through reorganisations.
//!
//! The machine asks for headers and logs, checks that each block's parent is
//! the block before, and reports blocks in order. When a parent differs it
//! searches the last block that both forks share and rolls back to it; a fork
//! below the last `undo_blocks_max` blocks ends it.
//!
//! Far below the head most blocks are empty for us. There the machine asks for
//! the logs of many blocks at once and for the headers of those that have any,
//! and passes over the others. Where epochs matter it also searches the first
//! block of each between two headers.
//!
//! One request is under way at a time; the driver answers each with one of
//! `handle_blocks`, `handle_span`, `handle_headers`, `handle_header`,
//! `handle_too_large` and `handle_failure`, and drains all events
//! before it polls for the next request.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::chain::json::{BlockHeader, Log};
use crate::id::Hash32;
use crate::registry::BlockRef;
use crate::time::Moment;

mod span;

use span::{Gathered, Span, join};

/// Where following goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    next: u64,
    recent: BTreeMap<u64, Hash32>,
}

/// How a chain is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerConfig {
    /// The first block to report and what is known about those before.
    pub start: Cursor,
    /// Blocks on top of a block that make it final; at most `undo_blocks_max`.
    pub confirmations: u64,
    /// The deepest reorganisation that is undone; [`REORG_BLOCKS_MAX`] in production.
    pub undo_blocks_max: u64,
    /// Most blocks in one request for all of them; at least 1.
    pub range_blocks_max: u64,
    /// Most blocks in one request for those that have logs; with 0 no block is
    /// passed over.
    pub span_blocks_max: u64,
    /// The first block of each epoch is reported, be it empty or not.
    pub epochs: bool,
}

/// The machine; see the module text.
#[derive(Debug)]
pub struct Follower {
    config: FollowerConfig,
    state: State,
    head: Option<BlockRef>,
    next: u64,
    /// The last `undo_blocks_max` + 1 reported blocks.
    recent: BTreeMap<u64, Hash32>,
    final_block: Option<BlockRef>,
    range: Span,
    span: Span,
    /// A long stretch whose epochs are being searched.
    gathered: Option<Gathered>,
    under_way: Option<Request>,
    requests: u64,
    failures: u32,
    retry_at: Option<Moment>,
    events: VecDeque<Event>,
}

/// What the driver is to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Headers and logs of `from..=to`. Logs of a single block are asked for by
    /// the hash in its header, so that both are of one fork.
    Blocks {
        /// To be given back with the answer.
        id: RequestId,
        /// The first block wanted.
        from: u64,
        /// The last block wanted, itself included.
        to: u64,
    },
    /// Logs of `from..=to` and the headers of `from`, of `to` and of every block
    /// with a log, all of one fork: an endpoint that does not have `to` yet must
    /// not be believed.
    Span {
        /// To be given back with the answer.
        id: RequestId,
        /// The first block wanted.
        from: u64,
        /// The last block wanted, itself included.
        to: u64,
    },
    /// Headers by number; at most [`HEADERS_MAX`].
    Headers {
        /// To be given back with the answer.
        id: RequestId,
        /// Which blocks, in rising order.
        numbers: Vec<u64>,
    },
    /// One header by number.
    Header {
        /// To be given back with the answer.
        id: RequestId,
        /// The block's number.
        number: u64,
    },
}

/// Tells answers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// What happened on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next block, with its logs in log order. Far below the head, blocks
    /// without logs are passed over.
    Block {
        /// The block's header, on top of the one reported before.
        header: BlockHeader,
        /// Its logs in log order.
        logs: Vec<Log>,
    },
    /// Every block above `to` is undone. Blocks that were final are among them
    /// only when the fork is deeper than the configured confirmations.
    Rollback {
        /// The last block that stands.
        to: BlockRef,
    },
    /// `block` and all before it have their confirmations; in rising order, each
    /// a block that was reported.
    Final {
        /// The block that is final.
        block: BlockRef,
    },
    /// The chain forked below every block that is remembered; nothing follows.
    TooDeep(TooDeep),
}

/// A fork deeper than can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the chain forked below block {oldest}, more than {undo_blocks_max} blocks or everything since the start would have to be undone; delete the index and replay it from the deployment block"
)]
pub struct TooDeep {
    /// How many blocks are undone at most.
    pub undo_blocks_max: u64,
    /// The oldest block that is remembered.
    pub oldest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Following,
    /// Remembered blocks from `below` on are known to differ, those up to
    /// `matched` to be the same.
    Searching {
        below: u64,
        matched: Option<u64>,
    },
    Ended,
}

impl Cursor {
    /// Starts with block `number`, whatever its parent is.
    #[must_use]
    pub const fn at(number: u64) -> Self {
        Self {
            next: number,
            recent: BTreeMap::new(),
        }
    }

    /// Goes on after `block`.
    #[must_use]
    pub fn after(block: BlockRef) -> Self {
        Self::after_recent([block])
    }

    /// Goes on after the newest of `blocks`; the others are older ones that
    /// were applied and can be rolled back to. Without any it starts at 0.
    #[must_use]
    pub fn after_recent(blocks: impl IntoIterator<Item = BlockRef>) -> Self {
        let recent: BTreeMap<u64, Hash32> = blocks
            .into_iter()
            .map(|block| (block.number, block.hash))
            .collect();
        Self {
            next: recent.keys().next_back().map_or(0, |number| number + 1),
            recent,
        }
    }

    /// The number of the first block that will be reported.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }
}

impl Follower {
    /// Starts at the configured cursor.
    #[must_use]
    pub fn new(config: FollowerConfig) -> Self {
        let mut follower = Self {
            state: State::Following,
            head: None,
            next: config.start.next,
            recent: config.start.recent.clone(),
            final_block: None,
            range: Span::new(RANGE_BLOCKS_START, config.range_blocks_max),
            span: Span::new(SPAN_BLOCKS_START, config.span_blocks_max),
            gathered: None,
            under_way: None,
            requests: 0,
            failures: 0,
            retry_at: None,
            events: VecDeque::new(),
            config,
        };
        follower.forget_old();
        follower
    }

    /// Notes the newest block of the endpoint.
    pub fn handle_head(&mut self, head: BlockRef) {
        self.head = Some(head);
    }

    /// Takes the answer to [`Request::Blocks`]: one header per block in order,
    /// and their logs in chain order.
    pub fn handle_blocks(
        &mut self,
        id: RequestId,
        headers: Vec<BlockHeader>,
        logs: Vec<Log>,
        now: Moment,
    ) {
        let Some(Request::Blocks { from, to, .. }) = self.take_under_way(id) else {
            return;
        };
        let Some(blocks) = join(from, to, headers, logs) else {
            self.fail(now);
            return;
        };
        self.succeed();
        if let (Some((first, _)), Some((number, hash))) = (blocks.first(), self.parent_of(from))
            && first.parent != hash
        {
            self.search(number);
            return;
        }
        self.range.grow();
        for (header, logs) in blocks {
            self.report(header, logs);
        }
    }

    /// Takes the answer to [`Request::Span`]: headers in rising order and the
    /// logs in chain order.
    pub fn handle_span(
        &mut self,
        id: RequestId,
        headers: Vec<BlockHeader>,
        logs: Vec<Log>,
        now: Moment,
    ) {
        let Some(Request::Span { from, to, .. }) = self.take_under_way(id) else {
            return;
        };
        let Some(gathered) = Gathered::new(from, to, headers, logs) else {
            self.fail(now);
            return;
        };
        self.succeed();
        if let Some((number, hash)) = self.parent_of(from)
            && gathered.parent() != Some(hash)
        {
            self.search(number);
            return;
        }
        self.span.grow();
        self.gathered = Some(gathered);
        self.report_gathered();
    }

    /// Takes the answer to [`Request::Headers`], in the order of the numbers.
    pub fn handle_headers(&mut self, id: RequestId, headers: Vec<BlockHeader>, now: Moment) {
        let Some(Request::Headers { numbers, .. }) = self.take_under_way(id) else {
            return;
        };
        let is_complete = headers.iter().map(|header| header.number).eq(numbers);
        let fits = is_complete
            && self
                .gathered
                .as_mut()
                .is_some_and(|gathered| gathered.insert(headers));
        if !fits {
            self.gathered = None;
            self.fail(now);
            return;
        }
        self.succeed();
        self.report_gathered();
    }

    /// Takes the answer to [`Request::Header`]; `None` when the endpoint has no
    /// such block.
    pub fn handle_header(&mut self, id: RequestId, header: Option<BlockHeader>, now: Moment) {
        let Some(Request::Header { number, .. }) = self.take_under_way(id) else {
            return;
        };
        let State::Searching { below, matched } = self.state else {
            return;
        };
        let Some(header) = header.filter(|header| header.number == number) else {
            self.state = State::Following;
            self.fail(now);
            return;
        };
        self.succeed();
        self.state = if self.recent.get(&number) == Some(&header.hash) {
            State::Searching {
                below,
                matched: Some(number),
            }
        } else {
            State::Searching {
                below: number,
                matched,
            }
        };
        self.finish_search();
    }

    /// Notes that a request could not be answered; ranges get smaller.
    pub fn handle_failure(&mut self, id: RequestId, now: Moment) {
        if self.take_under_way(id).is_some() {
            self.fail(now);
        }
    }

    /// Notes that the endpoint gives less at once: half as much is asked for
    /// without waiting.
    pub fn handle_too_large(&mut self, id: RequestId, now: Moment) {
        match self.take_under_way(id) {
            Some(Request::Blocks { from, to, .. }) if from < to => self.range.shrink(to - from + 1),
            Some(Request::Span { from, to, .. }) if from < to => self.span.shrink(to - from + 1),
            Some(_) => self.fail(now),
            None => {}
        }
    }

    /// Lets a retry go ahead that has waited long enough.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    /// The next thing to fetch, once all events are drained.
    pub fn poll_request(&mut self) -> Option<Request> {
        if self.under_way.is_some() || self.retry_at.is_some() || !self.events.is_empty() {
            return None;
        }
        let head = self.head?;
        if self.state == State::Following && self.is_off(head) {
            self.search(head.number);
        }
        let id = RequestId(self.requests);
        let open_epochs = self.gathered.as_ref().map(Gathered::open_epochs);
        let request = match self.state {
            State::Following if open_epochs.is_some() => Request::Headers {
                id,
                numbers: open_epochs.unwrap_or_default(),
            },
            State::Following if head.number >= self.next => self.next_range(id, head.number),
            State::Searching { below, matched } => Request::Header {
                id,
                number: self.probe(below, matched)?,
            },
            State::Following | State::Ended => return None,
        };
        self.requests += 1;
        self.under_way = Some(request.clone());
        Some(request)
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True when no event waits to be polled.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.events.is_empty()
    }

    /// When a failed request may be repeated.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.retry_at.map(|at| (at, "repeat a failed request"))
    }

    /// The last reported block.
    #[must_use]
    pub fn tip(&self) -> Option<BlockRef> {
        let (&number, &hash) = self.recent.last_key_value()?;
        Some(BlockRef { number, hash })
    }

    /// The last final block.
    #[must_use]
    pub const fn final_block(&self) -> Option<BlockRef> {
        self.final_block
    }

    fn report(&mut self, header: BlockHeader, logs: Vec<Log>) {
        self.next = header.number + 1;
        self.recent.insert(header.number, header.hash);
        self.events.push_back(Event::Block { header, logs });
        let finality = header.number.checked_sub(self.config.confirmations);
        if let Some((number, hash)) =
            finality.and_then(|number| self.recent.range(..=number).next_back())
            && self.final_block.is_none_or(|block| block.number < *number)
        {
            let block = BlockRef {
                number: *number,
                hash: *hash,
            };
            self.final_block = Some(block);
            self.events.push_back(Event::Final { block });
        }
        self.forget_old();
    }

    /// Reports a stretch when no epoch in it is left to search.
    fn report_gathered(&mut self) {
        let is_open =
            |gathered: &Gathered| self.config.epochs && !gathered.open_epochs().is_empty();
        let Some(gathered) = self.gathered.take_if(|gathered| !is_open(gathered)) else {
            return;
        };
        for (header, logs) in gathered.into_blocks() {
            self.report(header, logs);
        }
    }

    /// True when the endpoint's head is a block that was reported with another
    /// hash. A lower head with the same hash is an endpoint that lags.
    fn is_off(&self, head: BlockRef) -> bool {
        self.recent
            .get(&head.number)
            .is_some_and(|hash| *hash != head.hash)
    }

    fn parent_of(&self, number: u64) -> Option<(u64, Hash32)> {
        let parent = number.checked_sub(1)?;
        self.recent.get(&parent).map(|hash| (parent, *hash))
    }

    /// Starts the search for the fork; the remembered block `differing` is on
    /// the abandoned side.
    fn search(&mut self, differing: u64) {
        self.state = State::Searching {
            below: differing,
            matched: None,
        };
        self.finish_search();
    }

    fn finish_search(&mut self) {
        let State::Searching { below, matched } = self.state else {
            return;
        };
        if self.probe(below, matched).is_some() {
            return;
        }
        let found = matched.and_then(|number| Some((number, *self.recent.get(&number)?)));
        let Some((number, hash)) = found else {
            let oldest = self.recent.keys().next().copied().unwrap_or(self.next);
            self.state = State::Ended;
            let undo_blocks_max = self.config.undo_blocks_max;
            self.events.push_back(Event::TooDeep(TooDeep {
                undo_blocks_max,
                oldest,
            }));
            return;
        };
        let to = BlockRef { number, hash };
        self.gathered = None;
        self.recent.split_off(&(number + 1));
        self.next = number + 1;
        if self.final_block.is_some_and(|block| block.number > number) {
            self.final_block = Some(to);
        }
        self.state = State::Following;
        self.events.push_back(Event::Rollback { to });
    }

    /// The middle of the remembered blocks whose side is not known.
    fn probe(&self, below: u64, matched: Option<u64>) -> Option<u64> {
        let from = matched.map_or(0, |number| number + 1);
        let open = || self.recent.range(from..below.max(from));
        let count = open().count();
        open().nth(count / 2).map(|(number, _)| *number)
    }

    /// Several blocks at once only where a fork is out of sight, and none passed
    /// over where one may have to be undone.
    fn next_range(&self, id: RequestId, head: u64) -> Request {
        let from = self.next;
        let deepest = head.saturating_sub(self.config.undo_blocks_max);
        if self.config.span_blocks_max > 0 && from.saturating_add(SPAN_BLOCKS_MIN) <= deepest {
            let to = self.span.end(from).min(deepest);
            return Request::Span { id, from, to };
        }
        let deep = head.saturating_sub(RANGE_DEPTH_BLOCKS);
        let to = self.range.end(from).min(deep).max(from);
        Request::Blocks { id, from, to }
    }

    fn take_under_way(&mut self, id: RequestId) -> Option<Request> {
        self.under_way.take_if(|request| request.id() == id)
    }

    fn succeed(&mut self) {
        self.failures = 0;
    }

    fn fail(&mut self, now: Moment) {
        self.range.retreat();
        self.span.retreat();
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(RETRY_DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn forget_old(&mut self) {
        while self.recent.len() as u64 > self.config.undo_blocks_max + 1 {
            self.recent.pop_first();
        }
    }
}

impl Request {
    /// What tells its answer apart.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        match self {
            Self::Blocks { id, .. }
            | Self::Span { id, .. }
            | Self::Headers { id, .. }
            | Self::Header { id, .. } => *id,
        }
    }
}

/// The deepest reorganisation that is undone, in blocks. Derived: the index keeps
/// its undo log for as many.
pub const REORG_BLOCKS_MAX: u64 = 512;

/// Closer to the head than this, blocks are fetched one by one with their logs
/// by hash. Chosen: deeper than the forks of a chain that is in order; a range that
/// is torn by one all the same is refused and asked again.
const RANGE_DEPTH_BLOCKS: u64 = 64;

/// The first range; it doubles with every answer and halves with every failure.
/// Chosen: small enough for any provider, and six answers make it a thousand.
const RANGE_BLOCKS_START: u64 = 16;

/// The first span; it grows as ranges do. Chosen: what providers with narrow limits
/// take.
const SPAN_BLOCKS_START: u64 = 1024;

/// The least that is worth a span. Chosen: fewer blocks fit one range.
const SPAN_BLOCKS_MIN: u64 = 32;

/// Most headers in one [`Request::Headers`]. Chosen: providers limit batches to some
/// hundreds.
pub const HEADERS_MAX: usize = 128;

/// The first wait after a failure. Chosen: shorter than a block.
const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between retries is 250 ms · 2^6 = 16 s.
const RETRY_DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests;
