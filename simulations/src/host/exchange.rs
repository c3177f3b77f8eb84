//! Blocks in and out: the driver of [`Fetch`] and [`Serve`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cid::Cid;
use protocol::exchange::{
    Answer, Event, Fetch, FetchConfig, Local, Request, RequestId, Response, Serve, ServeConfig,
    ServeId, Target,
};
use protocol::id::Address;
use protocol::repair::RootFacts;
use protocol::time::Moment;
use protocol::unixfs::verify_block;

use super::{Host, Pending, is_due};
use crate::wire::Protocol;
use crate::world::Ctx;

/// All transfers of one peer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) serve: Serve,
    fetches: BTreeMap<Cid, Download>,
    serving: BTreeMap<ServeId, (u32, u64)>,
    next_serve: u64,
}

#[derive(Debug)]
struct Download {
    fetch: Fetch,
    goals: BTreeSet<Goal>,
}

/// What a root is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goal {
    /// An accepted offer.
    Upload,
    /// A missing replica.
    Repair,
    /// A light peer wants it.
    Own,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            serve: Serve::new(ServeConfig::default()),
            fetches: BTreeMap::new(),
            serving: BTreeMap::new(),
            next_serve: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let fetches = self
            .fetches
            .values()
            .filter_map(|download| download.fetch.poll_timeout());
        fetches
            .chain(self.serve.poll_timeout())
            .map(|(at, _)| at)
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) {
        for download in self.fetches.values_mut() {
            if is_due(download.fetch.poll_timeout(), now) {
                download.fetch.handle_timeout(now);
            }
        }
        if is_due(self.serve.poll_timeout(), now) {
            self.serve.handle_timeout(now);
        }
    }

    /// Drops a goal, and the fetch when it was the last.
    pub(super) fn cancel(&mut self, root: &Cid, goal: Goal) {
        if let Some(download) = self.fetches.get_mut(root) {
            download.goals.remove(&goal);
            if download.goals.is_empty() {
                self.fetches.remove(root);
            }
        }
    }

    pub(super) fn is_fetching(&self, root: &Cid) -> bool {
        self.fetches.contains_key(root)
    }
}

impl Host {
    /// Starts a fetch, or gives a running one another goal and more holders.
    pub(super) fn fetch(&mut self, root: Cid, goal: Goal, holders: &[Address], ctx: &Ctx) {
        let config = if self.is_staked {
            FetchConfig::staked()
        } else {
            FetchConfig::light()
        };
        let download = self
            .exchange
            .fetches
            .entry(root)
            .or_insert_with(|| Download {
                fetch: Fetch::new(config, &Target::Dag(root), ctx.now),
                goals: BTreeSet::new(),
            });
        download.goals.insert(goal);
        for (priority, holder) in (0..).zip(holders) {
            if *holder != self.address {
                download.fetch.handle_holder(*holder, priority, ctx.now);
            }
        }
    }

    /// Takes the bytes that a fetch gained, for the holder's progress.
    pub(super) fn fetched_bytes(&self, root: &Cid) -> Option<u64> {
        Some(self.exchange.fetches.get(root)?.fetch.progress().bytes)
    }

    pub(super) fn drain_exchange(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = self.drain_serve(ctx);
        let roots: Vec<Cid> = self.exchange.fetches.keys().copied().collect();
        for root in roots {
            let Some(mut download) = self.exchange.fetches.remove(&root) else {
                continue;
            };
            let (any, end) = self.drain_fetch(&root, &mut download.fetch, ctx);
            moved |= any;
            match end {
                None => {
                    self.exchange.fetches.insert(root, download);
                }
                Some(is_done) => {
                    for goal in download.goals {
                        self.handle_fetch_end(&root, goal, is_done, ctx);
                    }
                }
            }
        }
        moved
    }

    fn drain_fetch(
        &mut self,
        root: &Cid,
        fetch: &mut Fetch,
        ctx: &mut Ctx,
    ) -> (bool, Option<bool>) {
        let (mut moved, mut end) = (false, None);
        loop {
            let mut any = false;
            while let Some(query) = fetch.poll_local() {
                any = true;
                let local = match self.disk.read(&query.cid) {
                    None => Local::Absent,
                    Some(data) if query.needs_data => Local::Data(data),
                    Some(data) => Local::Present(data.len() as u64),
                };
                fetch.handle_local(&query.cid, local, ctx.now);
            }
            let mut stored = 0;
            while let Some(block) = fetch.poll_block() {
                ctx.checkers
                    .note_stored(self.idx, &block.cid, &block.data, ctx.now);
                self.disk.rotten.remove(&block.cid);
                self.disk.blocks.insert(block.cid, block.data);
                stored += 1;
            }
            if stored > 0 {
                any = true;
                fetch.handle_stored(stored, ctx.now);
            }
            while let Some(transmit) = fetch.poll_transmit() {
                any = true;
                let data = transmit.request.encode();
                let pending = Pending::Blocks(*root, transmit.id);
                self.request(transmit.to, Protocol::Blocks, data, pending, ctx);
            }
            while let Some(event) = fetch.poll_event() {
                any = true;
                match event {
                    Event::Done { .. } => end = Some(true),
                    Event::Failed { .. } => end = Some(false),
                    Event::Offence { .. } => ctx.metrics.offences += 1,
                    Event::Starved { .. } => {
                        for (priority, holder) in (100..).zip(self.substitutes(root)) {
                            fetch.handle_holder(holder, priority, ctx.now);
                        }
                    }
                }
            }
            if !any {
                return (moved, end);
            }
            moved = true;
        }
    }

    /// Peers that may hold a root besides those that a fetch began with.
    fn substitutes(&self, root: &Cid) -> Vec<Address> {
        let placement = self.registry.placement.inner();
        let mut peers = placement.place(root, SUBSTITUTES_MAX, &BTreeSet::new());
        peers.retain(|peer| *peer != self.address);
        peers
    }

    fn drain_serve(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = false;
        loop {
            let mut any = false;
            while let Some(lookup) = self.exchange.serve.poll_lookup() {
                any = true;
                let mut left = lookup.bytes_max;
                let mut blocks = Vec::new();
                for cid in &lookup.cids {
                    let data = self.disk.read(cid);
                    let size = data.as_ref().map_or(0, Bytes::len);
                    if size > left {
                        break;
                    }
                    left -= size;
                    blocks.push(data);
                }
                if !self.is_liar {
                    for (cid, data) in lookup.cids.iter().zip(&blocks) {
                        if let Some(data) = data {
                            ctx.checkers.note_served(self.idx, cid, data, ctx.now);
                        }
                    }
                }
                self.exchange.serve.handle_blocks(lookup.id, blocks);
            }
            while let Some(reply) = self.exchange.serve.poll_transmit() {
                any = true;
                let mut response = reply.response;
                if self.is_liar && ctx.rng.chance(0.5) {
                    corrupt(&mut response);
                }
                if let Some((to, id)) = self.exchange.serving.remove(&reply.id) {
                    self.respond(to, id, response.encode(), ctx);
                }
                self.exchange.serve.handle_sent(reply.id);
            }
            if !any {
                return moved;
            }
            moved = true;
        }
    }

    pub(super) fn handle_block_request(&mut self, from: u32, id: u64, data: &[u8], ctx: &mut Ctx) {
        let Ok(request) = Request::decode(data) else {
            return;
        };
        let serve_id = ServeId(self.exchange.next_serve);
        self.exchange.next_serve += 1;
        self.exchange.serving.insert(serve_id, (from, id));
        let peer = ctx.address(from);
        self.exchange
            .serve
            .handle_request(serve_id, peer, request, ctx.now);
    }

    pub(super) fn handle_blocks(
        &mut self,
        root: &Cid,
        id: RequestId,
        data: Option<Bytes>,
        ctx: &Ctx,
    ) {
        let Some(download) = self.exchange.fetches.get_mut(root) else {
            return;
        };
        match data.map(|data| Response::decode(&data)) {
            None => download.fetch.handle_failure(id, ctx.now),
            Some(Ok(response)) => download.fetch.handle_response(id, response, ctx.now),
            Some(Err(error)) => download
                .fetch
                .handle_garbage(id, error.to_string(), ctx.now),
        }
        self.note_upload_progress(root);
    }

    /// Takes the block of a checked read.
    pub(super) fn handle_checked(
        &mut self,
        peer: Address,
        root: &Cid,
        cid: &Cid,
        data: Option<Bytes>,
        _ctx: &mut Ctx,
    ) {
        let is_held = data
            .and_then(|data| Response::decode(&data).ok())
            .and_then(|response| response.answers.into_iter().next())
            .is_some_and(|answer| match answer {
                Answer::Data(data) => verify_block(cid, &data).is_ok(),
                Answer::Missing | Answer::Busy => false,
            });
        if let Some(content) = &mut self.content {
            content.repair.handle_check(peer, root, is_held);
        }
    }

    fn handle_fetch_end(&mut self, root: &Cid, goal: Goal, is_done: bool, ctx: &mut Ctx) {
        let proof = self.disk.proof(root).filter(|_| is_done);
        match goal {
            Goal::Own => self.handle_own_fetched(root, proof.is_some(), ctx),
            Goal::Upload => {
                if let Some(content) = &mut self.content {
                    match proof {
                        Some(proof) => content.holder.handle_pulled(root, proof.hash, proof.size),
                        None => content.holder.handle_pull_failed(root),
                    }
                }
            }
            Goal::Repair => {
                let facts = proof.map(|proof| RootFacts {
                    proof_root: proof.hash,
                    size: proof.size,
                });
                self.handle_repaired(root, facts, ctx);
            }
        }
    }
}

/// What a lying peer does to an answer.
fn corrupt(response: &mut Response) {
    for answer in &mut response.answers {
        if let Answer::Data(data) = answer {
            let mut bytes = data.to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            *data = Bytes::from(bytes);
        }
    }
}

/// Peers that a starving fetch asks.
const SUBSTITUTES_MAX: usize = 16;
