//! Blocks in and out: the driver of the exchange, its downloads and [`Serve`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cid::Cid;
use protocol::content::Input;
use protocol::exchange::{
    Answer, Around, Download, DownloadInput, DownloadOutput, ExchangeInput, ExchangeOutput,
    FailReason, FetchId, FetchOptions, Local, LocalQuery, OTHERS_MAX, Order, Request, RequestId,
    Response, Serve, ServeId, Target, Ticket, Unanswered,
};
use protocol::id::{Address, Role};
use protocol::machine::Machine;
use protocol::placement::Placing;
use protocol::placement::REPLICAS_TARGET;
use protocol::time::Moment;
use protocol::unixfs::VerifiedBlock;
use protocol::wire::Protocol;

use super::{Host, Pending, is_due};
use crate::limits::Limits;
use crate::world::Ctx;

/// All transfers of one peer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) serve: Serve,
    machine: protocol::exchange::Exchange<Goal>,
    downloads: BTreeMap<FetchId, Running>,
    tickets: BTreeMap<(Cid, Goal), Ticket>,
    next_ticket: u64,
    serving: BTreeMap<ServeId, (u32, u64)>,
    next_serve: u64,
}

#[derive(Debug)]
struct Running {
    download: Box<Download>,
    /// Not driven before the end of this one.
    behind: Option<FetchId>,
}

impl Running {
    fn tell(&mut self, input: DownloadInput, ctx: &mut Ctx) {
        ctx.metrics.note_input("download", &input);
        self.download.handle(input, ctx.now);
    }
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
    pub(super) fn new(local: Address, is_staked: bool, limits: Limits) -> Self {
        Self {
            serve: Serve::new(limits.serve()),
            machine: protocol::exchange::Exchange::new(local, is_staked),
            downloads: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            serving: BTreeMap::new(),
            next_serve: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let downloads = self
            .downloads
            .values()
            .filter(|running| running.behind.is_none())
            .filter_map(|running| running.download.deadline());
        downloads
            .chain(self.serve.poll_timeout())
            .map(|(at, _)| at)
            .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Moment) {
        for running in self.downloads.values_mut() {
            if running.behind.is_none() && is_due(running.download.deadline(), now) {
                running.download.handle_timeout(now);
            }
        }
        if is_due(self.serve.poll_timeout(), now) {
            self.serve.handle_timeout(now);
        }
    }

    /// Drops a goal, and the fetch when it was the last.
    pub(super) fn cancel(&mut self, root: &Cid, goal: Goal, ctx: &mut Ctx) {
        if let Some(ticket) = self.tickets.remove(&(*root, goal)) {
            self.leave(ticket, ctx);
        }
    }

    pub(super) fn is_fetching(&self, root: Cid, goal: Goal) -> bool {
        self.tickets.contains_key(&(root, goal))
    }

    fn leave(&mut self, ticket: Ticket, ctx: &mut Ctx) {
        self.tell(ExchangeInput::Gone { ticket }, ctx);
        self.drain_machine(ctx);
    }

    fn tell(&mut self, input: ExchangeInput<Goal>, ctx: &mut Ctx) {
        ctx.metrics.note_input("exchange", &input);
        self.machine.handle(input, ctx.now);
    }

    /// Carries the wishes of the exchange out; returns whose wait is over.
    fn drain_machine(&mut self, ctx: &mut Ctx) -> Vec<Ticket> {
        let mut over = Vec::new();
        while let Some(output) = self.machine.poll() {
            match output {
                ExchangeOutput::Start {
                    id,
                    download,
                    behind,
                    ..
                } => {
                    self.downloads.insert(id, Running { download, behind });
                }
                ExchangeOutput::Hint { id, holders } => {
                    if let Some(running) = self.downloads.get_mut(&id) {
                        let hinted = DownloadInput::Hinted(holders);
                        running.tell(hinted, ctx);
                    }
                }
                ExchangeOutput::Stop { id } => {
                    self.downloads.remove(&id);
                }
                ExchangeOutput::Over { ticket, .. } => over.push(ticket),
                ExchangeOutput::Joined { .. } | ExchangeOutput::Refused { .. } => {}
            }
        }
        over
    }
}

impl Host {
    /// Starts a fetch, or gives a running one another goal and more holders.
    pub(super) fn fetch(
        &mut self,
        root: Cid,
        goal: Goal,
        options: FetchOptions<Goal>,
        ctx: &mut Ctx,
    ) {
        let exchange = &mut self.exchange;
        let ticket = Ticket(exchange.next_ticket);
        exchange.next_ticket += 1;
        let order = Order {
            ticket,
            root,
            target: Target::Dag(root),
            options,
        };
        let input = ExchangeInput::Fetch(Box::new(order));
        exchange.tell(input, ctx);
        exchange.drain_machine(ctx);
        if let Some(before) = exchange.tickets.insert((root, goal), ticket) {
            exchange.leave(before, ctx);
        }
    }

    pub(super) fn drain_exchange(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = self.drain_serve(ctx);
        let ids: Vec<FetchId> = self.exchange.downloads.keys().copied().collect();
        for id in ids {
            let Some(mut running) = self.exchange.downloads.remove(&id) else {
                continue;
            };
            let (any, end) = match running.behind {
                None => self.drain_download(id, &mut running, ctx),
                Some(_) => (false, None),
            };
            moved |= any;
            match end {
                None => {
                    self.exchange.downloads.insert(id, running);
                }
                Some(is_done) => self.end_download(id, is_done, ctx),
            }
        }
        moved
    }

    fn end_download(&mut self, id: FetchId, is_done: bool, ctx: &mut Ctx) {
        for running in self.exchange.downloads.values_mut() {
            if running.behind == Some(id) {
                running.behind = None;
            }
        }
        let ended = ExchangeInput::Ended { id };
        self.exchange.tell(ended, ctx);
        for ticket in self.exchange.drain_machine(ctx) {
            let mut tickets = self.exchange.tickets.iter();
            let found = tickets.find(|(_, known)| **known == ticket);
            if let Some((root, goal)) = found.map(|(key, _)| *key) {
                self.exchange.tickets.remove(&(root, goal));
                self.handle_fetch_end(&root, goal, is_done, ctx);
            }
        }
    }

    /// Carries the wishes of a download out; at its end returns whether
    /// everything is here.
    fn drain_download(
        &mut self,
        id: FetchId,
        running: &mut Running,
        ctx: &mut Ctx,
    ) -> (bool, Option<bool>) {
        let (root, mut moved) = (running.download.root(), false);
        while let Some(output) = running.download.poll() {
            moved = true;
            let input = match output {
                DownloadOutput::FindHolders => DownloadInput::Around(self.around(&root)),
                // There is no Kademlia here.
                DownloadOutput::FindProviders => DownloadInput::Providers(Vec::new()),
                DownloadOutput::Look(query) => self.look(query),
                DownloadOutput::Store(blocks) => self.store(root, blocks, ctx),
                DownloadOutput::List(cids) => {
                    for cid in &cids {
                        self.disk.list(root, *cid);
                    }
                    let blocks = &self.disk.blocks;
                    let missing = cids.iter().filter(|cid| !blocks.contains_key(cid));
                    let missing = missing.count() as u64;
                    DownloadInput::Listed { missing }
                }
                DownloadOutput::Prove => {
                    let proof = self.disk.proof(&root);
                    let missing = FailReason::NoHolder { cid: root };
                    DownloadInput::Proved(proof.map(|proof| proof.hash).ok_or(missing))
                }
                DownloadOutput::Ask {
                    to,
                    id: asked,
                    body,
                } => {
                    let pending = Pending::Blocks(id, asked);
                    self.request(to, Protocol::Blocks, body, pending, ctx);
                    continue;
                }
                DownloadOutput::Offence { .. } => {
                    ctx.metrics.offences += 1;
                    continue;
                }
                DownloadOutput::Ended(result) => return (moved, Some(result.is_ok())),
            };
            running.tell(input, ctx);
        }
        (moved, None)
    }

    /// Who may hold a root. Nobody is connected to anybody here, and leases are
    /// what the roles tell a fetch.
    fn around(&self, root: &Cid) -> Around {
        let placement = &self.registry.placement;
        let staked = placement.inner().peers(Role::Content);
        Around {
            placed: placement.place(root, REPLICAS_TARGET, &BTreeSet::new()),
            staked: staked.take(OTHERS_MAX).collect(),
            ..Around::default()
        }
    }

    fn look(&self, query: LocalQuery) -> DownloadInput {
        let cid = query.cid;
        let local = match self.disk.read(&cid) {
            None => Local::Absent,
            Some(data) if query.needs_data => Local::Data(data),
            Some(data) => Local::Present(data.len() as u64),
        };
        DownloadInput::Looked { cid, local }
    }

    fn store(&mut self, root: Cid, blocks: Vec<VerifiedBlock>, ctx: &mut Ctx) -> DownloadInput {
        for block in blocks {
            let (cid, data) = block.into_parts();
            ctx.checkers.note_stored(self.idx, &cid, &data, ctx.now);
            self.disk.store(root, cid, data);
        }
        DownloadInput::Stored
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
        id: FetchId,
        asked: RequestId,
        data: Option<Bytes>,
        ctx: &mut Ctx,
    ) {
        let Some(running) = self.exchange.downloads.get_mut(&id) else {
            return;
        };
        let answer = data.ok_or(Unanswered::Failed);
        let answered = DownloadInput::Answered { id: asked, answer };
        running.tell(answered, ctx);
        let (root, bytes) = (running.download.root(), running.download.progress().bytes);
        self.tell_content(Input::Progress { root, bytes }, ctx);
    }

    fn handle_fetch_end(&mut self, root: &Cid, goal: Goal, is_done: bool, ctx: &mut Ctx) {
        if goal == Goal::Own {
            let is_whole = is_done && self.disk.has_root(root);
            self.handle_own_fetched(root, is_whole, ctx);
        } else {
            self.note_fetched(*root, goal, ctx);
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
