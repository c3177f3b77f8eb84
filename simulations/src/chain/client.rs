//! A peer's access to the chain: which endpoint it asks, and what it follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::chain::endpoints::{Endpoints, EndpointsConfig};
use protocol::chain::follower::{Event, REORG_BLOCKS_MAX, Request};
use protocol::chain::{BlockHeader, ChainBlock, ChainEvent, Cursor, Follower, FollowerConfig};
use protocol::id::Hash32;
use protocol::time::Moment;

use super::Chain;
use super::endpoints::{self, View};
use crate::limits::Limits;
use crate::metrics::Metrics;

/// What a call goes over.
#[derive(Debug)]
pub struct Rpc<'a> {
    /// The chain that endpoints show.
    pub chain: &'a Chain,
    /// What each shows of it.
    pub endpoints: endpoints::Endpoints,
    /// False while none of them answers.
    pub is_up: bool,
    /// True when none of them is ill any more.
    pub is_calm: bool,
    /// When the call is made.
    pub now: Moment,
    /// Counts what failed.
    pub metrics: &'a mut Metrics,
}

/// The machines of a peer's access to the chain.
#[derive(Debug, Default)]
pub struct Client {
    /// Its place among all peers.
    peer: u32,
    endpoints: Option<Endpoints>,
    follower: Option<Follower>,
    /// The newest block that was shown.
    pub head: Option<u64>,
    /// True while an endpoint answers and blocks come.
    pub is_connected: bool,
    /// Blocks that were answered and are not told yet, by hash.
    answered: BTreeMap<Hash32, Arc<ChainBlock>>,
    told: VecDeque<ChainEvent>,
    /// The last final block that the index holds everything up to.
    pub followed: u64,
}

impl Client {
    /// Access over the endpoints of a peer.
    #[must_use]
    pub fn new(peer: u32, config: EndpointsConfig) -> Self {
        let count = endpoints::Endpoints::count(peer);
        Self {
            peer,
            endpoints: Some(Endpoints::new(count, config)),
            ..Self::default()
        }
    }

    /// The last block that is final here.
    #[must_use]
    pub fn final_block(&self) -> Option<u64> {
        let block = self.follower.as_ref()?.final_block()?;
        Some(block.number)
    }

    /// True when an endpoint answers.
    pub fn is_reached(&mut self, rpc: &mut Rpc<'_>) -> bool {
        self.call(rpc, |_| Some(())).is_some()
    }

    /// Makes a call at one endpoint after the other, in the machine's order, until
    /// one answers.
    pub fn call<T>(
        &mut self,
        rpc: &mut Rpc<'_>,
        read: impl Fn(&View<'_>) -> Option<T>,
    ) -> Option<T> {
        let order = self.endpoints.as_ref()?.order(rpc.now);
        order.into_iter().find_map(|idx| self.ask(idx, rpc, &read))
    }

    /// Makes a call at one endpoint, after its chain id where that is not known.
    fn ask<T>(
        &mut self,
        idx: usize,
        rpc: &mut Rpc<'_>,
        read: impl Fn(&View<'_>) -> Option<T>,
    ) -> Option<T> {
        let (now, endpoints) = (rpc.now, self.endpoints.as_mut()?);
        endpoints.handle_asked(idx, now);
        let endpoint = rpc.endpoints.of(self.peer, idx);
        let shown = rpc.endpoints.view(endpoint, rpc.chain, rpc.is_calm, now);
        let Some(view) = shown.filter(|_| rpc.is_up) else {
            rpc.metrics.endpoint_failures += 1;
            endpoints.handle_failure(idx, "no answer".to_owned(), None, now);
            return None;
        };
        endpoints.handle_answer(idx, view.latency(), now);
        if endpoints.needs_check(idx) && !endpoints.handle_chain_id(idx, view.chain_id(), now) {
            rpc.metrics.other_chains += 1;
            return None;
        }
        let answer = read(&view);
        if answer.is_none() {
            rpc.metrics.endpoint_failures += 1;
            endpoints.handle_failure(idx, "the answer makes no sense".to_owned(), None, now);
        }
        answer
    }

    /// Asks for the newest block, and endpoints that nobody asked for a while how
    /// they are doing.
    pub fn look(&mut self, rpc: &mut Rpc<'_>) {
        let order = self.endpoints.as_ref().map(|all| all.order(rpc.now));
        let mut order = order.unwrap_or_default().into_iter();
        let head = order.find_map(|idx| self.look_at(idx, rpc));
        while let Some(idx) = self.due(rpc.now) {
            self.look_at(idx, rpc);
        }
        let stalled = self.endpoints.as_ref().and_then(Endpoints::stalled_since);
        self.is_connected = head.is_some() && stalled.is_none();
        if let Some(head) = head {
            self.head = Some(head.number);
            if let Some(follower) = &mut self.follower {
                follower.handle_head(head.block());
            }
        }
    }

    fn due(&mut self, now: Moment) -> Option<usize> {
        self.endpoints.as_mut()?.poll_probe(now)
    }

    fn look_at(&mut self, idx: usize, rpc: &mut Rpc<'_>) -> Option<BlockHeader> {
        let head = self.ask(idx, rpc, |view| view.header(view.head()))?;
        let endpoints = self.endpoints.as_mut()?;
        endpoints.handle_head(idx, head.number, head.hash, head.time, rpc.now);
        Some(head)
    }

    /// Follows the chain from its first block on.
    pub fn subscribe(&mut self, confirmations: u64, limits: Limits) {
        let config = FollowerConfig {
            start: Cursor::at(0),
            confirmations,
            undo_blocks_max: REORG_BLOCKS_MAX,
            range_blocks_max: RANGE_BLOCKS_MAX,
            // No block is passed over.
            span_blocks_max: 0,
            epochs: false,
        };
        self.follower = Some(Follower::new(limits.follower(config)));
        self.answered.clear();
        self.told.clear();
        self.followed = 0;
    }

    /// When something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        Some(self.follower.as_ref()?.poll_timeout()?.0)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        if let Some(follower) = &mut self.follower {
            follower.handle_timeout(now);
        }
    }

    /// Has a request of the follower answered.
    pub fn fetch(&mut self, request: Request, rpc: &mut Rpc<'_>) {
        let now = rpc.now;
        rpc.metrics.note_fetched(&request);
        let blocks = match request {
            Request::Blocks { from, to, .. } => self.call(rpc, |view| {
                if to - from >= view.blocks_max() {
                    return Some(None);
                }
                let told = |number| {
                    let block = view.block(number)?;
                    let told = (!view.is_forked(number)).then(|| Arc::clone(&block.told));
                    Some((view.header(number)?, told))
                };
                (from..=to).map(told).collect::<Option<Vec<_>>>().map(Some)
            }),
            Request::Header { number, .. } => {
                let header = self.call(rpc, |view| Some(view.header(number)));
                if let (Some(header), Some(follower)) = (header, &mut self.follower) {
                    return follower.handle_header(request.id(), header, now);
                }
                None
            }
            Request::Span { .. } | Request::Headers { .. } => None,
        };
        let Some(follower) = &mut self.follower else {
            return;
        };
        let Some(blocks) = blocks else {
            return follower.handle_failure(request.id(), now);
        };
        let Some(blocks) = blocks else {
            return follower.handle_too_large(request.id(), now);
        };
        let headers = blocks.iter().map(|(header, _)| *header).collect();
        for (header, told) in blocks {
            let told = told.unwrap_or_else(|| Arc::new(empty(&header)));
            self.answered.insert(header.hash, told);
        }
        follower.handle_blocks(request.id(), headers, Vec::new(), now);
    }

    /// What to ask for next, after all that was told.
    pub fn poll_request(&mut self) -> Option<Request> {
        let follower = self.follower.as_mut()?;
        while let Some(event) = follower.poll_event() {
            self.told.push_back(match event {
                Event::Block { header, .. } => match self.answered.remove(&header.hash) {
                    Some(block) => ChainEvent::Block(block),
                    None => continue,
                },
                Event::Rollback { to } => ChainEvent::Rollback { to },
                Event::Final { block } => ChainEvent::Final { block },
                Event::TooDeep(error) => ChainEvent::TooDeep(error),
            });
        }
        if self.told.is_empty() {
            self.answered.clear();
        }
        follower.poll_request()
    }

    /// What was told since, a step of the index at most.
    pub fn take(&mut self) -> Vec<ChainEvent> {
        let count = self.told.len().min(EVENTS_MAX);
        self.told.drain(..count).collect()
    }
}

/// A block of another fork, in which nothing happened.
fn empty(header: &BlockHeader) -> ChainBlock {
    ChainBlock {
        block: header.block(),
        parent: header.parent,
        time: header.time,
        entries: Vec::new(),
        registry: Vec::new(),
    }
}

/// Blocks of one answer, as in the node.
const RANGE_BLOCKS_MAX: u64 = 64;

/// Events that are handled together, as in the node.
const EVENTS_MAX: usize = 256;
