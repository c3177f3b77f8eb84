//! Following a chain by number and hash through reorganisations.
//!
//! The machine asks for headers and logs, checks that each block's parent is
//! the block before, and reports blocks in order. When a parent differs it
//! searches the last block that both forks share and rolls back to it; a fork
//! below the last [`REORG_BLOCKS_MAX`] blocks ends it.
//!
//! One request is under way at a time; the driver answers each with one of
//! `handle_blocks`, `handle_header` and `handle_failure`, and drains all events
//! before it polls for the next request.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::chain::json::{BlockHeader, Log};
use crate::id::Hash32;
use crate::registry::BlockRef;
use crate::time::Moment;

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
    /// Blocks on top of a block that make it final; at most [`REORG_BLOCKS_MAX`].
    pub confirmations: u64,
    /// Most blocks in one request; at least 1.
    pub range_blocks_max: u64,
}

/// The machine; see the module text.
#[derive(Debug)]
pub struct Follower {
    config: FollowerConfig,
    state: State,
    head: Option<BlockRef>,
    next: u64,
    /// The last [`REORG_BLOCKS_MAX`] + 1 reported blocks.
    recent: BTreeMap<u64, Hash32>,
    final_block: Option<BlockRef>,
    range_blocks: u64,
    under_way: Option<Request>,
    requests: u64,
    failures: u32,
    retry_at: Option<Moment>,
    events: VecDeque<Event>,
}

/// What the driver is to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Headers and logs of `from..=to`. Logs of a single block are asked for by
    /// the hash in its header, so that both are of one fork.
    Blocks {
        /// To be given back with the answer.
        id: RequestId,
        /// First block.
        from: u64,
        /// Last block.
        to: u64,
    },
    /// One header by number.
    Header {
        /// To be given back with the answer.
        id: RequestId,
        /// Which block.
        number: u64,
    },
}

/// Tells answers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(u64);

/// What happened on the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next block, with its logs in log order.
    Block {
        /// The block.
        header: BlockHeader,
        /// Its logs.
        logs: Vec<Log>,
    },
    /// Every block above `to` is undone. Blocks that were final are among them
    /// only when the fork is deeper than the configured confirmations.
    Rollback {
        /// The last block that stands.
        to: BlockRef,
    },
    /// `block` has its confirmations; reported once for each block, in order.
    Final {
        /// The block.
        block: BlockRef,
    },
    /// The chain forked below every block that is remembered; nothing follows.
    TooDeep(TooDeep),
}

/// A fork deeper than can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the chain forked below block {oldest}, more than {REORG_BLOCKS_MAX} blocks or everything since the start would have to be undone; delete the index and replay it from the deployment block"
)]
pub struct TooDeep {
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
            range_blocks: RANGE_BLOCKS_START.min(config.range_blocks_max).max(1),
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
        self.range_blocks = (self.range_blocks.saturating_mul(2)).min(self.range_blocks_max());
        for (header, logs) in blocks {
            self.report(header, logs);
        }
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
        let request = match self.state {
            State::Following if head.number >= self.next => Request::Blocks {
                id,
                from: self.next,
                to: self.range_end(head.number),
            },
            State::Searching { below, matched } => Request::Header {
                id,
                number: self.probe(below, matched)?,
            },
            State::Following | State::Ended => return None,
        };
        self.requests += 1;
        self.under_way = Some(request);
        self.under_way
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

    /// True when everything up to the newest known head has been reported.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.state == State::Following && self.head.is_some_and(|head| head.number < self.next)
    }

    fn report(&mut self, header: BlockHeader, logs: Vec<Log>) {
        self.next = header.number + 1;
        self.recent.insert(header.number, header.hash);
        self.events.push_back(Event::Block { header, logs });
        let finality = header.number.checked_sub(self.config.confirmations);
        if let Some((number, hash)) = finality.and_then(|number| self.recent.get_key_value(&number))
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
            self.events.push_back(Event::TooDeep(TooDeep { oldest }));
            return;
        };
        let to = BlockRef { number, hash };
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

    /// Several blocks at once only where a fork is out of sight.
    fn range_end(&self, head: u64) -> u64 {
        let deep = head.saturating_sub(RANGE_DEPTH_BLOCKS);
        let last = self.next.saturating_add(self.range_blocks - 1);
        last.min(deep).max(self.next)
    }

    fn range_blocks_max(&self) -> u64 {
        self.config.range_blocks_max.max(1)
    }

    fn take_under_way(&mut self, id: RequestId) -> Option<Request> {
        self.under_way.take_if(|request| request.id() == id)
    }

    fn succeed(&mut self) {
        self.failures = 0;
    }

    fn fail(&mut self, now: Moment) {
        self.range_blocks = (self.range_blocks / 2).max(1);
        let wait = RETRY_MIN.saturating_mul(1 << self.failures.min(RETRY_DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn forget_old(&mut self) {
        while self.recent.len() > RECENT_BLOCKS_MAX {
            self.recent.pop_first();
        }
    }
}

impl Request {
    /// What tells its answer apart.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        match self {
            Self::Blocks { id, .. } | Self::Header { id, .. } => *id,
        }
    }
}

/// Puts logs to their blocks; `None` when the answer does not hold together.
fn join(
    from: u64,
    to: u64,
    headers: Vec<BlockHeader>,
    logs: Vec<Log>,
) -> Option<Vec<(BlockHeader, Vec<Log>)>> {
    let mut blocks: Vec<(BlockHeader, Vec<Log>)> = Vec::with_capacity(headers.len());
    let mut numbers = from..=to;
    for header in headers {
        let is_linked = blocks
            .last()
            .is_none_or(|(before, _)| before.hash == header.parent);
        if numbers.next() != Some(header.number) || !is_linked {
            return None;
        }
        blocks.push((header, Vec::new()));
    }
    if numbers.next().is_some() {
        return None;
    }
    for log in logs {
        let idx = usize::try_from(log.block_number.checked_sub(from)?).ok()?;
        let (header, logs) = blocks.get_mut(idx)?;
        let is_in_order = logs
            .last()
            .is_none_or(|before: &Log| before.log_index < log.log_index);
        if header.hash != log.block_hash || !is_in_order {
            return None;
        }
        logs.push(log);
    }
    Some(blocks)
}

/// The deepest reorganisation that is undone, in blocks.
pub const REORG_BLOCKS_MAX: u64 = 512;

#[allow(
    clippy::cast_possible_truncation,
    reason = "a constant that fits every usize"
)]
const RECENT_BLOCKS_MAX: usize = REORG_BLOCKS_MAX as usize + 1;

/// Closer to the head than this, blocks are fetched one by one with their logs
/// by hash.
const RANGE_DEPTH_BLOCKS: u64 = 64;

/// The first range; it doubles with every answer and halves with every failure.
const RANGE_BLOCKS_START: u64 = 16;

const RETRY_MIN: Duration = Duration::from_millis(250);

/// The longest wait between retries is 250 ms · 2^6 = 16 s.
const RETRY_DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests;
