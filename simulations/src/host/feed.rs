//! What a peer follows of the chain, through an endpoint that takes its time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocol::chain::follower::{Event, REORG_BLOCKS_MAX, Request};
use protocol::chain::{ChainBlock, ChainEvent, Cursor, Follower, FollowerConfig};
use protocol::id::Hash32;
use protocol::registry::BlockRef;
use protocol::time::Moment;

use super::Host;
use crate::chain::Chain;
use crate::limits::Limits;
use crate::world::{Ctx, Local};

/// A subscription to the chain's blocks.
#[derive(Debug, Default)]
pub(super) struct Feed {
    follower: Option<Box<Follower>>,
    /// Blocks that were answered and are not told yet, by hash.
    answered: BTreeMap<Hash32, Arc<ChainBlock>>,
    told: VecDeque<ChainEvent>,
    /// The last final block that the index holds everything up to.
    pub(super) followed: u64,
}

impl Feed {
    /// Follows the chain from its first block on.
    pub(super) fn subscribe(&mut self, chain: &Chain, limits: Limits) {
        let config = FollowerConfig {
            start: Cursor::at(0),
            confirmations: chain.confirmations(),
            undo_blocks_max: REORG_BLOCKS_MAX,
            range_blocks_max: RANGE_BLOCKS_MAX,
            // No block is passed over.
            span_blocks_max: 0,
            epochs: false,
        };
        let mut follower = Follower::new(limits.follower(config));
        follower.handle_head(head(chain));
        *self = Self {
            follower: Some(Box::new(follower)),
            ..Self::default()
        };
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        Some(self.follower.as_ref()?.poll_timeout()?.0)
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) {
        if let Some(follower) = &mut self.follower {
            follower.handle_timeout(now);
        }
    }

    fn handle_head(&mut self, chain: &Chain) {
        if let Some(follower) = &mut self.follower {
            follower.handle_head(head(chain));
        }
    }

    /// Takes an answer of the endpoint, or that there is none.
    fn handle_rpc(&mut self, request: Request, chain: Option<&Chain>, now: Moment) {
        let Some(follower) = &mut self.follower else {
            return;
        };
        match request {
            Request::Blocks { id, from, to } => {
                let blocks = chain.and_then(|chain| {
                    let numbers = from..=to;
                    numbers
                        .map(|number| chain.block(number))
                        .collect::<Option<Vec<_>>>()
                });
                let Some(blocks) = blocks else {
                    return follower.handle_failure(id, now);
                };
                let told = blocks
                    .iter()
                    .map(|block| (block.hash, Arc::clone(&block.told)));
                self.answered.extend(told);
                let headers = blocks.iter().map(|block| block.header()).collect();
                follower.handle_blocks(id, headers, Vec::new(), now);
            }
            Request::Header { id, number } => match chain {
                Some(chain) => {
                    let header = chain.block(number).map(crate::chain::Block::header);
                    follower.handle_header(id, header, now);
                }
                None => follower.handle_failure(id, now),
            },
            Request::Span { id, .. } | Request::Headers { id, .. } => {
                follower.handle_failure(id, now);
            }
        }
    }

    fn drain(&mut self) -> Option<Request> {
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
    pub(super) fn take(&mut self) -> Vec<ChainEvent> {
        let count = self.told.len().min(EVENTS_MAX);
        self.told.drain(..count).collect()
    }
}

impl Host {
    /// The endpoint has a new head.
    pub(super) fn follow_head(&mut self, ctx: &mut Ctx) {
        self.feed.handle_head(&ctx.chain);
    }

    /// The endpoint answers, if it is there.
    pub(super) fn answer_rpc(&mut self, request: Request, ctx: &mut Ctx) {
        let chain = ctx.is_chain_up.then_some(&ctx.chain);
        self.feed.handle_rpc(request, chain, ctx.now);
    }

    /// Asks the endpoint for what is to follow; true when something was told.
    pub(super) fn drain_feed(&mut self, ctx: &mut Ctx) -> bool {
        if let Some(request) = self.feed.drain() {
            ctx.local(self, RPC_DELAY, Local::Rpc(request));
        }
        !self.feed.told.is_empty()
    }
}

fn head(chain: &Chain) -> BlockRef {
    chain.tip().told.block
}

/// To the chain's endpoint and back.
const RPC_DELAY: Duration = Duration::from_millis(30);

/// Blocks of one answer, as in the node.
const RANGE_BLOCKS_MAX: u64 = 64;

/// Events that are handled together, as in the node.
const EVENTS_MAX: usize = 256;
