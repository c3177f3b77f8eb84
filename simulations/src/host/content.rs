//! The content role: uploads, leases, pages, presence and repair.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use gossip::spread::Verdict;
use protocol::codec;
use protocol::exchange::Request as BlockRequest;
use protocol::id::{Address, Role, UserId};
use protocol::lease::{BookConfig, Grant, LeaseBook, PageView};
use protocol::origin::{Origin, RequestId};
use protocol::publish::{Holder, HolderConfig, HolderEvent, Lookup, Request, UserFacts};
use protocol::records::{Lease, Presence, SignedLease, SignedPage, check_presence};
use protocol::repair::{Config as RepairConfig, Event as RepairEvent, Repair, RootFacts};
use protocol::signing::{Record, Signed};
use protocol::time::{Moment, UnixSeconds};
use protocol::wire::{self, RECORD_BYTES_MAX};
use serde::{Deserialize, Serialize};

use super::exchange::Goal;
use super::{Disk, Host, Pending, is_due};
use crate::chain::Chain;
use crate::wire::{Protocol, Topic};
use crate::world::{Ctx, Local};

/// The machines of the content role, and what the driver keeps beside them.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) holder: Holder,
    pub(super) book: LeaseBook,
    pub(super) pages: PageView,
    pub(super) repair: Repair,
    heard: BTreeMap<Address, Moment>,
    asked: BTreeMap<RequestId, (u32, u64)>,
    next_request: u64,
    presence_at: Moment,
    sync_at: Moment,
}

/// A holder's leases as one peer tells another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holdings {
    /// The newest page.
    pub page: Option<SignedPage>,
    /// What it lists, sorted by root bytes.
    pub listed: Vec<Lease>,
    /// What was given since.
    pub fresh: Vec<SignedLease>,
}

/// The index and the lease book as a holder asks them.
struct Known<'a> {
    chain: &'a Chain,
    disk: &'a Disk,
}

impl Lookup for Known<'_> {
    fn user(&self, user: UserId, signer: Address) -> Option<UserFacts> {
        (self.chain.wallet_of(user)? == signer).then_some(UserFacts {
            created: UnixSeconds(0),
            stored_bytes: 0,
            extra_bytes: 0,
        })
    }

    fn lease(&self, root: &Cid) -> Option<SignedLease> {
        self.disk.leases.get(root).cloned()
    }
}

impl Content {
    pub(super) fn deadline(&self) -> Option<Moment> {
        [
            Some(self.presence_at),
            Some(self.sync_at),
            self.holder.poll_timeout().map(|(at, _)| at),
            self.repair.poll_timeout().map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Host {
    pub(super) fn start_content(&mut self, ctx: &mut Ctx) {
        let params = &ctx.params;
        let now = ctx.now;
        let mut holder = Holder::new(
            HolderConfig::for_devnet(params.actions),
            std::mem::take(&mut self.disk.uploads),
            now,
        );
        holder.handle_capacity(CAPACITY_BYTES, 0);
        let book = LeaseBook::new(
            BookConfig::default(),
            self.address,
            self.disk.counters,
            self.disk.leases.values().cloned(),
            self.disk.page.clone(),
        );
        let config = RepairConfig {
            lost_after: params.lost_after,
            pass_interval: Duration::from_secs(120),
            step_interval: Duration::from_millis(200),
            ..RepairConfig::default()
        };
        let placement = Arc::clone(&self.registry.placement);
        let mut repair = Repair::new(config, self.address, placement, now);
        for lease in self.disk.leases.values() {
            let facts = RootFacts {
                proof_root: lease.record.proof_root,
                size: lease.record.size,
            };
            repair.handle_holding(self.address, lease.record.root, facts);
            // A bad block was dropped, and the crash came before its fetch.
            if !self.disk.has_stored(&lease.record.root) {
                repair.handle_corrupt(&lease.record.root);
            }
        }
        let published = ctx
            .chain
            .entries()
            .iter()
            .take_while(|entry| entry.position.block_number <= self.disk.chain_block);
        for (root, facts) in
            published.filter_map(|entry| published_root(&entry.action.action.metadata))
        {
            repair.handle_required(root, facts);
            holder.handle_published(&root);
        }
        let first = ctx.rng.duration(Duration::ZERO, params.presence_interval);
        self.content = Some(Content {
            holder,
            book,
            pages: PageView::new(params.domain, 100_000),
            repair,
            heard: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_request: 0,
            presence_at: now + first,
            sync_at: now + SYNC_INTERVAL,
        });
        let peers: Vec<Address> = self
            .registry
            .placement
            .inner()
            .peers(Role::Content)
            .collect();
        for peer in peers {
            self.ask_holdings(peer, ctx);
        }
    }

    pub(super) fn wake_content(&mut self, ctx: &mut Ctx) {
        let Some(content) = &mut self.content else {
            return;
        };
        if is_due(content.holder.poll_timeout(), ctx.now) {
            content.holder.handle_timeout(ctx.now);
        }
        if is_due(content.repair.poll_timeout(), ctx.now) {
            content.repair.handle_timeout(ctx.now);
        }
        let is_sync = content.sync_at <= ctx.now;
        if is_sync {
            content.sync_at = ctx.now + SYNC_INTERVAL;
        }
        if content.presence_at <= ctx.now {
            content.presence_at = ctx.now + ctx.params.presence_interval;
            self.renew(ctx);
            self.announce(ctx);
        }
        if is_sync {
            let peers: Vec<Address> = self
                .registry
                .placement
                .inner()
                .peers(Role::Content)
                .collect();
            for peer in ctx.rng.sample(&peers, 1) {
                self.ask_holdings(peer, ctx);
            }
        }
    }

    pub(super) fn drain_content(&mut self, ctx: &mut Ctx) -> bool {
        let Some(mut content) = self.content.take() else {
            return false;
        };
        let mut moved = false;
        let mut replies = Vec::new();
        while let Some(reply) = content.holder.poll_reply() {
            if let Some((to, id)) = content.asked.remove(&reply.id) {
                replies.push((to, id, reply.response.to_bytes()));
            }
        }
        let mut holder_events = Vec::new();
        while let Some(event) = content.holder.poll_event() {
            holder_events.push(event);
        }
        let mut repair_events = Vec::new();
        while let Some(event) = content.repair.poll_event() {
            repair_events.push(event);
        }
        if !replies.is_empty() || !holder_events.is_empty() {
            // Offers are durable before they are answered.
            self.disk.uploads = content.holder.uploads().cloned().collect();
        }
        self.content = Some(content);
        for (to, id, data) in replies {
            moved = true;
            self.respond(to, id, data, ctx);
        }
        for event in holder_events {
            moved = true;
            self.handle_holder_event(event, ctx);
        }
        for event in repair_events {
            moved = true;
            self.handle_repair_event(event, ctx);
        }
        moved
    }

    pub(super) fn handle_offer(&mut self, from: u32, id: u64, data: &[u8], ctx: &mut Ctx) {
        let (Some(content), Ok(request)) = (&mut self.content, Request::from_bytes(data)) else {
            return;
        };
        let request_id = RequestId(content.next_request);
        content.next_request += 1;
        content.asked.insert(request_id, (from, id));
        let origin = Origin {
            peer: ctx.address(from),
            ip: None,
        };
        let known = Known {
            chain: &ctx.chain,
            disk: &self.disk,
        };
        content
            .holder
            .handle_request(request_id, origin, request, &known, ctx.now);
    }

    fn handle_holder_event(&mut self, event: HolderEvent, ctx: &mut Ctx) {
        match event {
            HolderEvent::Pull {
                root,
                sources,
                author,
                ..
            } => {
                let mut holders = sources;
                holders.push(author);
                self.fetch(root, Goal::Upload, &holders, ctx);
            }
            HolderEvent::Grant {
                root,
                proof_root,
                size,
            } => self.grant(root, RootFacts { proof_root, size }, ctx),
            HolderEvent::Drop { root } => {
                self.exchange.cancel(&root, Goal::Upload, ctx.now);
                self.strike(&root);
            }
        }
    }

    fn handle_repair_event(&mut self, event: RepairEvent, ctx: &mut Ctx) {
        match event {
            RepairEvent::Fetch { root, holders, .. } => {
                self.fetch(root, Goal::Repair, &holders, ctx);
            }
            RepairEvent::CheckRead { peer, root } => {
                let cids = self.disk.dag(&root);
                if cids.is_empty() {
                    return;
                }
                let cid = cids[ctx.rng.index(cids.len())];
                let request = BlockRequest { cids: vec![cid] };
                let pending = Pending::Check(root, cid);
                self.request(peer, wire::Protocol::Blocks, request.encode(), pending, ctx);
            }
            RepairEvent::Release { root } => {
                ctx.metrics.releases += 1;
                self.strike(&root);
            }
            RepairEvent::Lost { .. } => ctx.metrics.lost_peers += 1,
            RepairEvent::Starved { .. } | RepairEvent::Returned { .. } => {}
        }
    }

    /// Gives a lease up and deletes the blocks.
    fn strike(&mut self, root: &Cid) {
        if let Some(content) = &mut self.content {
            content.book.release(root);
        }
        self.disk.leases.remove(root);
        if !self.exchange.is_fetching(root) {
            self.disk.delete(root);
        }
    }

    fn grant(&mut self, root: Cid, facts: RootFacts, ctx: &mut Ctx) {
        let Some(content) = &mut self.content else {
            return;
        };
        let epoch = ctx.now.epoch();
        match content
            .book
            .grant(root, facts.proof_root, facts.size, epoch)
        {
            Grant::Standing(lease) => self.enter_lease(lease, ctx),
            Grant::Draft { lease, counters } => {
                // Stored first, signed later: a crash in between skips a serial.
                self.disk.counters = counters;
                ctx.local(self, DISK_DELAY, Local::Sign(Box::new(lease)));
            }
            Grant::Full => {}
        }
    }

    pub(super) fn sign_lease(&mut self, lease: Lease, ctx: &mut Ctx) {
        let signed = Signed::new(lease, &ctx.params.domain, &self.key);
        ctx.checkers.note_lease(&signed, ctx.now);
        let is_whole = self.disk.has_root(&signed.record.root);
        ctx.checkers
            .note_promise(self.idx, &signed.record.root, is_whole, ctx.now);
        self.disk.leases.insert(signed.record.root, signed.clone());
        if let Some(content) = &mut self.content {
            content.book.handle_signed(signed.clone());
        }
        self.enter_lease(signed.clone(), ctx);
        self.gossip(Topic::Leases, codec::to_bytes(&signed), ctx);
    }

    fn enter_lease(&mut self, lease: SignedLease, ctx: &Ctx) {
        let Some(content) = &mut self.content else {
            return;
        };
        let record = &lease.record;
        let facts = RootFacts {
            proof_root: record.proof_root,
            size: record.size,
        };
        content
            .repair
            .handle_holding(self.address, record.root, facts);
        let root = record.root;
        content.holder.handle_lease(lease);
        if ctx.chain.entries().iter().any(|entry| {
            entry.position.block_number <= self.disk.chain_block
                && published_root(&entry.action.action.metadata).is_some_and(|(cid, _)| cid == root)
        }) {
            content.holder.handle_published(&root);
        }
        self.disk.uploads = content.holder.uploads().cloned().collect();
    }

    /// Takes a repaired root; `facts` are of what is on the disk.
    pub(super) fn handle_repaired(&mut self, root: &Cid, facts: Option<RootFacts>, ctx: &mut Ctx) {
        let Some(content) = &mut self.content else {
            return;
        };
        match facts {
            Some(facts) => {
                ctx.metrics.repairs += 1;
                content.repair.handle_fetched(root, facts, ctx.now);
                self.grant(*root, facts, ctx);
            }
            None => content.repair.handle_fetch_failed(root, ctx.now),
        }
    }

    /// Finds bad blocks of a root and has them fetched again.
    pub(super) fn scrub(&mut self, root: &Cid, _ctx: &mut Ctx) {
        let bad: Vec<Cid> = self
            .disk
            .dag(root)
            .into_iter()
            .filter(|cid| self.disk.rotten.contains(cid))
            .collect();
        if bad.is_empty() || !self.disk.leases.contains_key(root) {
            return;
        }
        for cid in bad {
            self.disk.rotten.remove(&cid);
            self.disk.blocks.remove(&cid);
        }
        if let Some(content) = &mut self.content {
            content.repair.handle_corrupt(root);
        }
    }

    /// Takes what a final block publishes.
    pub(super) fn handle_published(&mut self, metadata: &str) {
        if let (Some((root, facts)), Some(content)) = (published_root(metadata), &mut self.content)
        {
            content.repair.handle_required(root, facts);
            content.holder.handle_published(&root);
            self.disk.uploads = content.holder.uploads().cloned().collect();
        }
    }

    pub(super) fn handle_placement(&mut self, ctx: &Ctx) {
        if let Some(content) = &mut self.content {
            let placement = Arc::clone(&self.registry.placement);
            content.repair.handle_placement(placement, ctx.now);
        }
    }

    /// Signs the epoch's page if it is due.
    fn renew(&mut self, ctx: &mut Ctx) {
        let Some(content) = &mut self.content else {
            return;
        };
        let Some(draft) = content.book.draft_page(ctx.now.epoch()) else {
            return;
        };
        self.disk.counters = draft.counters;
        let signed = Signed::new(draft.page, &ctx.params.domain, &self.key);
        ctx.checkers.note_page(&signed, ctx.now);
        content.book.handle_page_signed(signed.clone());
        let mut listed: Vec<Lease> = content
            .book
            .leases()
            .map(|lease| lease.record.clone())
            .collect();
        listed.sort_by_key(|lease| lease.root.to_bytes());
        self.disk.page_leases = listed;
        self.disk.page = Some(signed);
    }

    fn announce(&mut self, ctx: &mut Ctx) {
        let page = self.disk.page.as_ref().map(|page| &page.record);
        let presence = Presence {
            peer: self.address,
            time: ctx.now.unix(),
            page_serial: page.map_or(0, |page| page.serial),
            page_hash: page.map(Record::struct_hash).unwrap_or_default(),
            capacity: CAPACITY_BYTES,
            used: 0,
        };
        let signed = Signed::new(presence, &ctx.params.domain, &self.key);
        self.gossip(wire::Topic::Presence, codec::to_bytes(&signed), ctx);
    }

    pub(super) fn handle_presence(&mut self, data: &[u8], ctx: &mut Ctx) -> Verdict {
        let registry = Arc::clone(&self.registry.registry);
        let presence = match check_presence(data, &registry, &ctx.params.domain, ctx.now) {
            Ok(presence) => presence.record,
            Err(error) if error.is_offence() => return Verdict::Reject,
            Err(_) => return Verdict::Ignore,
        };
        let Some(content) = &mut self.content else {
            return Verdict::Ignore;
        };
        let at = Moment::from_unix(presence.time).min(ctx.now);
        content.repair.handle_presence(presence.peer, at);
        let before = content.heard.insert(presence.peer, ctx.now);
        let was_away =
            before.is_none_or(|before| ctx.now - before > ctx.params.presence_interval * 5 / 2);
        let serial = content
            .pages
            .page(&presence.peer)
            .map_or(0, |page| page.record.serial);
        if was_away || serial < presence.page_serial {
            self.ask_holdings(presence.peer, ctx);
        }
        Verdict::Accept
    }

    pub(super) fn handle_lease(&mut self, data: &[u8], ctx: &mut Ctx) -> Verdict {
        let Ok(lease) = codec::from_bytes::<SignedLease>("lease", data, RECORD_BYTES_MAX) else {
            return Verdict::Reject;
        };
        if self.take_lease(&lease, ctx) {
            Verdict::Accept
        } else {
            Verdict::Ignore
        }
    }

    fn take_lease(&mut self, lease: &SignedLease, ctx: &mut Ctx) -> bool {
        let holder = lease.record.holder;
        let Some(content) = &mut self.content else {
            return false;
        };
        if !self.registry.registry.has_role(&holder, Role::Content) {
            return false;
        }
        let Ok(change) = content.pages.handle_lease(lease, ctx.now.epoch()) else {
            return false;
        };
        for lease in change.added {
            let facts = facts_of(&lease);
            content.repair.handle_holding(holder, lease.root, facts);
        }
        true
    }

    fn ask_holdings(&mut self, peer: Address, ctx: &mut Ctx) {
        if peer != self.address {
            self.request(
                peer,
                Protocol::Holdings,
                Bytes::new(),
                Pending::Holdings,
                ctx,
            );
        }
    }

    pub(super) fn handle_holdings_request(&mut self, from: u32, id: u64, ctx: &mut Ctx) {
        let page_epoch = self.disk.page.as_ref().map(|page| page.record.epoch);
        let listed: &[Lease] = &self.disk.page_leases;
        let holdings = Holdings {
            page: self.disk.page.clone(),
            listed: listed.to_vec(),
            fresh: self
                .disk
                .leases
                .values()
                .filter(|lease| page_epoch.is_none_or(|epoch| lease.record.from_epoch >= epoch))
                .cloned()
                .collect(),
        };
        self.respond(from, id, codec::to_bytes(&holdings), ctx);
    }

    pub(super) fn handle_holdings(&mut self, peer: Address, data: Option<Bytes>, ctx: &mut Ctx) {
        let Some(data) = data else {
            return;
        };
        let Ok(holdings) = codec::from_bytes::<Holdings>("holdings", &data, HOLDINGS_BYTES_MAX)
        else {
            return;
        };
        let Some(content) = &mut self.content else {
            return;
        };
        content.repair.handle_presence(peer, ctx.now);
        if let Some(page) = holdings.page.filter(|page| page.record.holder == peer) {
            match content
                .pages
                .handle_page(page, &holdings.listed, ctx.now.epoch())
            {
                Ok(change) => {
                    for lease in change.added {
                        let facts = facts_of(&lease);
                        content.repair.handle_holding(peer, lease.root, facts);
                    }
                    for root in change.removed {
                        content.repair.handle_released(&peer, &root);
                    }
                }
                Err(error) => ctx.checkers.note_page_error(&error, ctx.now),
            }
        }
        for lease in holdings.fresh {
            if lease.record.holder == peer {
                self.take_lease(&lease, ctx);
            }
        }
    }
}

fn facts_of(lease: &Lease) -> RootFacts {
    RootFacts {
        proof_root: lease.proof_root,
        size: lease.size,
    }
}

/// What the metadata of a `Track Create` names, as [`metadata_of`] writes it.
#[must_use]
pub(crate) fn published_root(metadata: &str) -> Option<(Cid, RootFacts)> {
    let (root, rest) = metadata
        .strip_prefix(METADATA_CID)?
        .split_once(METADATA_PROOF_ROOT)?;
    let (proof_root, size) = rest.split_once(METADATA_SIZE)?;
    let facts = RootFacts {
        proof_root: proof_root.parse().ok()?,
        size: size.strip_suffix(METADATA_END)?.parse().ok()?,
    };
    Some((root.parse().ok()?, facts))
}

/// Writes what [`published_root`] reads.
#[must_use]
pub(crate) fn metadata_of(root: &Cid, facts: &RootFacts) -> String {
    format!(
        "{METADATA_CID}{root}{METADATA_PROOF_ROOT}{}{METADATA_SIZE}{}{METADATA_END}",
        facts.proof_root, facts.size
    )
}

const METADATA_CID: &str = r#"{"data":{"cid":""#;
const METADATA_PROOF_ROOT: &str = r#"","proof_root":""#;
const METADATA_SIZE: &str = r#"","size":"#;
const METADATA_END: &str = "}}";

/// Bytes that every simulated peer offers.
const CAPACITY_BYTES: u64 = 1 << 40;

/// Longest encoded [`Holdings`].
const HOLDINGS_BYTES_MAX: usize = 16 << 20;

/// From the decision to sign to the signature on the disk.
const DISK_DELAY: Duration = Duration::from_millis(4);

/// Between two peers that are asked for their holdings.
const SYNC_INTERVAL: Duration = Duration::from_secs(60);
