//! Blocks in and out, over a virtual disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use cid::Cid;
use protocol::admission::Source;
use protocol::content::{Content, Input, Purpose};
use protocol::exchange::{
    Download, DownloadInput, DownloadOutput, Exchange, ExchangeInput, ExchangeOutput, FailReason,
    FetchId, FetchOptions, Order, Request, Serve, ServeId, Target, Ticket, Unanswered,
};
use protocol::id::Address;
use protocol::origin::{Origin, RequestId};
use protocol::wire::Protocol;

use super::role::Roles;
use super::{Deed, Host, News, REQUEST_TIMEOUT, Role, Slot, Watched};
use crate::world::{Ctx, Local};

/// What a root is fetched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// The content role wants it.
    Role(Purpose),
    /// Whoever sits at the peer does.
    Own,
}

/// All transfers of one peer.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    pub(super) serve: Serve,
    downloads: BTreeMap<FetchId, Running>,
    /// Who waits for which fetch, and for how many bytes at most.
    tickets: BTreeMap<(Cid, Goal), (Ticket, u64)>,
    next_ticket: u64,
    /// True when the download that ended last brought everything.
    is_done: bool,
}

/// A download, and the fetch at whose end it begins.
#[derive(Debug)]
struct Running(Box<Download>, Option<FetchId>);

impl Slot for Download {
    type Key = FetchId;

    fn keys(roles: &Roles) -> Vec<FetchId> {
        let all = roles.transfers.downloads.iter();
        let driven = all.filter(|(_, Running(_, behind))| behind.is_none());
        driven.map(|(id, _)| *id).collect()
    }

    fn slot(roles: &mut Roles, id: FetchId) -> Option<&mut Self> {
        let running = roles.transfers.downloads.get_mut(&id);
        running.map(|Running(download, _)| &mut **download)
    }
}

impl Role for Exchange<Goal> {
    const NAME: &'static str = "exchange";

    fn carry(host: &mut Host, (): (), wish: ExchangeOutput<Goal>, _: &mut Ctx) {
        let transfers = &mut host.run.roles.transfers;
        match wish {
            ExchangeOutput::Start {
                id,
                download,
                behind,
                ..
            } => drop(transfers.downloads.insert(id, Running(download, behind))),
            ExchangeOutput::Hint { id, holders } => {
                host.tell_at::<Download>(id, DownloadInput::Hinted(holders));
            }
            ExchangeOutput::Stop { id } => drop(transfers.downloads.remove(&id)),
            ExchangeOutput::Over { ticket, .. } => {
                let is_done = transfers.is_done;
                let mut over = transfers
                    .tickets
                    .extract_if(.., |_, (waits, _)| *waits == ticket);
                let over = over.next();
                if let Some(((root, goal), (_, bytes_max))) = over {
                    let is_whole = is_done && host.disk.has_root(&root);
                    match goal {
                        Goal::Role(purpose) => host.note_fetched(root, purpose, bytes_max),
                        Goal::Own => host.run.news.push(News::Fetched(root, is_whole)),
                    }
                }
            }
            ExchangeOutput::Joined { .. } | ExchangeOutput::Refused { .. } => {}
        }
    }
}

impl Role for Download {
    const NAME: &'static str = "download";

    fn carry(host: &mut Host, id: FetchId, wish: DownloadOutput, ctx: &mut Ctx) {
        let Some(download) = Self::slot(&mut host.run.roles, id) else {
            return;
        };
        let (root, bytes) = (download.root(), download.progress().bytes);
        let fact = match wish {
            DownloadOutput::FindHolders => DownloadInput::Around(host.registry.around(&root)),
            // There is no Kademlia here.
            DownloadOutput::FindProviders => DownloadInput::Providers(Vec::new()),
            DownloadOutput::Look(query) => {
                let (cid, local) = (query.cid, host.disk.look(&query));
                DownloadInput::Looked { cid, local }
            }
            DownloadOutput::Store(_) if host.disk.is_full => return host.end(id, false, ctx),
            DownloadOutput::Store(blocks) => {
                for (cid, data) in blocks.into_iter().map(|block| block.into_parts()) {
                    host.disk.store(root, cid, data);
                }
                host.tell::<Content>(Input::Progress { root, bytes });
                DownloadInput::Stored
            }
            DownloadOutput::List(cids) => DownloadInput::Listed {
                missing: host.disk.list_all(root, &cids),
            },
            DownloadOutput::Prove => {
                let missing = FailReason::NoHolder { cid: root };
                let proof = host.disk.proof(&root);
                DownloadInput::Proved(proof.map(|proof| proof.hash).ok_or(missing))
            }
            DownloadOutput::Ask {
                to,
                id: asked,
                body,
            } => {
                let question = (to, Protocol::Blocks, body);
                return host.ask::<Self>(id, question, ctx, move |body| {
                    let answer = body.ok_or(Unanswered::Failed);
                    DownloadInput::Answered { id: asked, answer }
                });
            }
            DownloadOutput::Offence { .. } => return,
            DownloadOutput::Ended(result) => return host.end(id, result.is_ok(), ctx),
        };
        host.tell_at::<Self>(id, fact);
    }
}

impl Host {
    /// Starts a fetch, or gives a running one another goal and more holders.
    pub fn fetch(
        &mut self,
        root: Cid,
        goal: Goal,
        bytes_max: u64,
        mut options: FetchOptions<Goal>,
    ) {
        let transfers = &mut self.run.roles.transfers;
        let ticket = Ticket(transfers.next_ticket);
        transfers.next_ticket += 1;
        let before = transfers.tickets.insert((root, goal), (ticket, bytes_max));
        options.owner = Some(goal);
        let target = Target::Dag(root);
        let order = Order {
            ticket,
            root,
            target,
            options,
        };
        self.tell::<Exchange<Goal>>(ExchangeInput::Fetch(Box::new(order)));
        self.leave(before);
    }

    /// True while a root is fetched for this.
    #[must_use]
    pub fn is_fetching(&self, root: Cid, goal: Goal) -> bool {
        self.run.roles.transfers.tickets.contains_key(&(root, goal))
    }

    /// Drops a goal, and the fetch when it was the last.
    pub fn cancel(&mut self, root: Cid, goal: Goal) {
        let before = self.run.roles.transfers.tickets.remove(&(root, goal));
        self.leave(before);
    }

    /// Ends a download, which brought everything or not.
    fn end(&mut self, id: FetchId, is_done: bool, ctx: &mut Ctx) {
        let transfers = &mut self.run.roles.transfers;
        transfers.is_done = is_done;
        transfers.downloads.remove(&id);
        for Running(_, behind) in transfers.downloads.values_mut() {
            behind.take_if(|before| *before == id);
        }
        // Who waited hears of it before another download ends.
        self.give::<Exchange<Goal>>((), ExchangeInput::Ended { id }, ctx);
        self.drain::<Exchange<Goal>>((), ctx);
    }

    fn leave(&mut self, before: Option<(Ticket, u64)>) {
        if let Some((ticket, _)) = before {
            self.tell::<Exchange<Goal>>(ExchangeInput::Gone { ticket });
        }
    }

    pub(super) fn serve(&mut self, id: RequestId, peer: Address, body: &Bytes, ctx: &mut Ctx) {
        if let Ok(request) = Request::decode(body) {
            let source = Source::of(Origin { peer, ip: None }, &self.registry.registry);
            let serve = &mut self.run.roles.transfers.serve;
            serve.handle_request(ServeId(id.0), source, request, ctx.now);
        }
    }

    pub(super) fn drain_serve(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = false;
        while let Some(lookup) = self.run.roles.transfers.serve.poll_lookup() {
            moved = true;
            let blocks = self.disk.read_all(&lookup.cids, lookup.bytes_max);
            (&lookup, &blocks[..]).watch(self, ctx);
            let serve = &mut self.run.roles.transfers.serve;
            serve.handle_blocks(lookup.id, blocks);
        }
        while let Some(reply) = self.run.roles.transfers.serve.poll_transmit() {
            moved = true;
            let body = Some(reply.response.encode());
            let late = self.answer(RequestId(reply.id.0), body, ctx);
            let (id, is_taken) = (reply.id, late < REQUEST_TIMEOUT);
            // A reader that stalls holds it.
            let sent = Deed::new(move |(), host, _| {
                host.run.roles.transfers.serve.handle_sent(id, is_taken);
            });
            ctx.local(self, late, Local::Deed(sent));
        }
        moved
    }

    pub(super) fn wake_serve(&mut self, ctx: &mut Ctx) {
        let serve = &mut self.run.roles.transfers.serve;
        if let Some((_, reason)) = serve.poll_timeout().filter(|(at, _)| *at <= ctx.now) {
            serve.handle_timeout(ctx.now);
            ctx.note_due((self.idx, "serve", reason), serve.poll_timeout());
        }
    }
}
