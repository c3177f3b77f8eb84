//! What is made of the facts and wishes of simulated peers: the checkers judge
//! them, the measurements count them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use gossip::heads::CountedHead;
use gossip::{catch_up, discovery};
use protocol::author::{self, Event, PublicationConfig, PublishState};
use protocol::chain::ChainEvent;
use protocol::content::{self, Note, Purpose, Row, SignedRecord};
use protocol::exchange::{DownloadInput, DownloadOutput, ExchangeInput, ExchangeOutput, Lookup};
use protocol::id::{Address, Role};
use protocol::machine::Verdict;
use protocol::origin::RequestId;
use protocol::records::{Head, SignedStatement};
use protocol::signing::Signed;
use protocol::time::Moment;
use protocol::vault::{self, ReplicaInput, ReplicaOutput, VaultInput, VaultOutput};
use protocol::{identity, publish, relayer};

use crate::host::{Goal, Host, Watched};
use crate::index::Part;
use crate::net::Gossiped;
use crate::wire::{Protocol, Topic};
use crate::world::Ctx;

impl Watched for content::Input {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Fetched {
                purpose: Purpose::Repair,
                result: Ok(_),
                ..
            } => ctx.metrics.repairs += 1,
            Self::Signed(SignedRecord::Told(SignedStatement::Page(page))) => {
                ctx.checkers.note_page(page, ctx.now);
            }
            Self::Request { origin, .. } => {
                if let Some(idx) = ctx.peer(&origin.peer) {
                    ctx.checkers.note_heard(idx, ctx.now);
                }
            }
            _ => {}
        }
    }
}

impl Watched for content::Output {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        if let Self::Note(note) = self {
            ctx.metrics.notes.note("content", note);
        }
        match self {
            Self::Respond { body, .. } => {
                let response = publish::Response::from_bytes(body).ok();
                if let Some(response) = &response {
                    ctx.metrics.note_response("content", response);
                }
                match response {
                    Some(publish::Response::Refused(refusal)) => {
                        use publish::RefusalCode::{Invalid, Signature};
                        ctx.metrics.refusals.note("content", &refusal.code);
                        let is_false = matches!(refusal.code, Invalid | Signature);
                        note_refusal(host.idx, is_false, &refusal, ctx);
                    }
                    Some(publish::Response::Lease(lease)) => {
                        let kept = host.disk.leases.get(&lease.record.root);
                        let is_kept = kept.is_some_and(|kept| *kept == *lease);
                        ctx.checkers.note_handed_out(host.idx, is_kept, ctx.now);
                    }
                    _ => {}
                }
            }
            Self::Offence { peer, .. } => {
                ctx.metrics.offences += 1;
                if let Some(idx) = ctx.peer(peer) {
                    ctx.checkers.note_charged(idx, ctx.now);
                }
            }
            Self::Note(Note::Released(root)) => {
                ctx.metrics.releases += 1;
                host.run.released.insert(*root);
            }
            Self::Note(Note::Lost(peer)) => {
                ctx.metrics.lost_peers += 1;
                note_lost(peer, host, ctx);
                host.run.lost.insert(*peer);
            }
            Self::Note(Note::Back(peer)) => drop(host.run.lost.remove(peer)),
            Self::Note(Note::Repairing(root) | Note::OverQuota(root)) => {
                let has_reason =
                    host.disk.leases.contains_key(root) || host.disk.indexed.was_named(root);
                ctx.checkers
                    .note_repairing(host.idx, root, has_reason, ctx.now);
            }
            _ => {}
        }
    }
}

/// Notes whether a peer that counts as lost may.
fn note_lost(peer: &Address, host: &Host, ctx: &mut Ctx) {
    let is_member = host.registry.registry.has_role(peer, Role::Content);
    if let (true, Some(lost)) = (is_member, ctx.peer(peer)) {
        let lost_after = ctx.params.lost_after;
        ctx.checkers.note_lost(host.idx, lost, lost_after, ctx.time);
    }
}

/// Seen when it reaches the disk.
impl Watched for Row {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Lease(root, Some(lease)) => {
                ctx.checkers.note_lease(lease, ctx.now);
                let is_whole = host.disk.has_root(root);
                ctx.checkers.note_promise(host.idx, root, is_whole, ctx.now);
            }
            Self::Lease(root, None) => note_struck(root, host, ctx),
            _ => {}
        }
    }
}

/// Notes whether a promise that is taken back may be.
fn note_struck(root: &Cid, host: &mut Host, ctx: &mut Ctx) {
    let is_released = host.run.released.remove(root);
    if is_released || !host.disk.leases.contains_key(root) {
        return;
    }
    let index = host.disk.indexed.index();
    let day = index.ended(root).map(|at| at.epoch().plus(ENDED_EPOCHS));
    let is_over = day.is_none_or(|day| ctx.now.epoch() >= day);
    // Its blocks went with the disk: whoever looks for it is not to look here.
    let is_lost = host.disk.is_restored && !host.disk.has_root(root);
    // What nothing names is not renewed.
    let lease = host.disk.leases.get(root);
    let has_ended = lease.is_some_and(|lease| lease.record.to_epoch < ctx.now.epoch());
    let may_go = (!index.is_named(root) && (is_over || has_ended)) || is_lost;
    ctx.checkers.note_struck(host.idx, root, may_go, ctx.now);
}

impl Watched for discovery::Input {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Signed(head) if !host.is_liar => {
                ctx.checkers.note_head(head, host.address, ctx.now);
            }
            Self::Chain(events) => {
                for event in events {
                    if let ChainEvent::Block(block) = event {
                        let mined = Moment::from_unix(block.time);
                        let lag = ctx.time.saturating_since(mined);
                        ctx.metrics.note_lag("blocks to be followed", lag);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Watched for discovery::Output {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        use discovery::Note;
        if let Self::Note(note) = self {
            ctx.metrics.notes.note("discovery", note);
        }
        match self {
            Self::Keep(Some(counted)) => {
                ctx.checkers
                    .note_counted(&counted.head, &ctx.chain, ctx.now);
                note_behind(counted, host, ctx);
            }
            Self::Note(Note::Contradiction { .. }) => ctx.metrics.contradictions += 1,
            Self::Note(Note::MajorityDiffers { block_number }) => {
                ctx.checkers.note_forged(*block_number, &ctx.chain, ctx.now);
            }
            Self::Note(Note::FinalUndone { .. }) => ctx.metrics.finals_undone += 1,
            _ => {}
        }
    }
}

/// Notes how long a head took that counts now.
fn note_lag(what: &'static str, head: &Head, ctx: &mut Ctx) {
    let block = ctx.chain.once_final(head.block_number, &head.block_hash);
    if let Some(block) = block {
        let lag = ctx.time.saturating_since(block.final_at);
        ctx.metrics.note_lag(what, lag);
    }
}

/// Notes how much of the weight stands behind a head that a peer begins to count.
fn note_behind(counted: &CountedHead, host: &Host, ctx: &mut Ctx) {
    let before = host.disk.counted.as_ref();
    if before.is_some_and(|before| before.head.block_number >= counted.head.block_number) {
        return;
    }
    note_lag("heads to count", &counted.head, ctx);
    // While the registry changes, peers know this one or that; a head may have been
    // counted long before it is kept.
    let root = ctx.registry().root;
    let settled = counted
        .head
        .block_number
        .saturating_sub(REGISTRY_SETTLED_BLOCKS);
    let was_known = (ctx.chain.block(settled)).is_some_and(|block| block.registry.root == root);
    if !was_known || host.registry.root != root || ctx.chain.tip().registry.root != root {
        return;
    }
    let registry = &host.registry.registry;
    let mut weights: BTreeMap<Address, u64> = BTreeMap::new();
    let mut operators: BTreeMap<Address, Address> = BTreeMap::new();
    for service in registry.confirmed(Role::Discovery) {
        weights.insert(service.operator, registry.weight(&service.operator));
        operators.insert(service.wallet, service.operator);
    }
    let total: u64 = weights.values().sum();
    let cap = match weights.len() {
        // Docs: from ten operators on (`docs/formats/head.md`).
        10.. => total / 10,
        _ => u64::MAX,
    };
    let signed = counted.signatures.iter().filter_map(|signature| {
        let head = Signed {
            record: counted.head,
            signature: *signature,
        };
        operators.get(&head.signer(&ctx.params.domain).ok()?)
    });
    let signed: BTreeSet<&Address> = signed.collect();
    let behind = signed
        .into_iter()
        .map(|operator| weights[operator].min(cap));
    let (behind, all) = (
        behind.sum(),
        weights.values().map(|weight| (*weight).min(cap)).sum(),
    );
    ctx.checkers.note_behind(host.idx, behind, all, ctx.now);
}

impl Watched for catch_up::Output {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        use catch_up::Note;
        if let Self::Note(note) = self {
            ctx.metrics.notes.note("catch-up", note);
        }
        match self {
            Self::Counted(head) => {
                ctx.checkers.note_counted(head, &ctx.chain, ctx.now);
                note_lag("heads to count at light peers", head, ctx);
            }
            Self::Offence { peer, .. } => {
                ctx.metrics.offences += 1;
                if let Some(idx) = ctx.peer(peer) {
                    ctx.checkers.note_disputed(idx, &ctx.chain, ctx.now);
                }
            }
            Self::Note(Note::Contradiction { .. }) => ctx.metrics.contradictions += 1,
            Self::Note(Note::Useless { .. }) => ctx.metrics.refused_answers += 1,
            Self::Note(Note::Diverged { .. }) => ctx.metrics.divergences += 1,
            _ => {}
        }
    }
}

/// Seen when it reaches the index.
impl Watched for Part {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        let before = host.disk.peaks.count;
        let (entries, head) = (&self.entries, &self.head);
        ctx.checkers
            .note_entries(host.idx, before, entries, head, &ctx.chain, ctx.now);
        for entry in entries {
            let (number, hash) = (entry.position.block_number, &entry.position.block_hash);
            let mined = ctx.chain.once_final(number, hash);
            if let (Some(block), false) = (mined, ctx.is_calm) {
                ctx.metrics.dissemination.push(ctx.now - block.final_at);
            }
        }
    }
}

impl Watched for (&Gossiped, Verdict) {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        let (message, verdict) = self;
        match verdict {
            Verdict::Reject => {
                let (topic, data, from) = (message.topic, &message.data, message.from);
                ctx.checkers
                    .note_rejected(topic, data, from, &ctx.chain, ctx.now);
            }
            Verdict::Accept if message.topic == Topic::Entries => {
                let data = &message.data;
                ctx.checkers
                    .note_forwarded(data, host.is_staked, &ctx.chain, ctx.now);
            }
            Verdict::Accept | Verdict::Ignore => {}
        }
    }
}

impl Watched for DownloadOutput {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Store(blocks) => {
                for block in blocks {
                    ctx.checkers
                        .note_stored(host.idx, block.cid(), block.data(), ctx.now);
                }
            }
            Self::Offence { .. } => ctx.metrics.offences += 1,
            Self::Ended(Err(_)) => ctx.metrics.failed_downloads += 1,
            _ => {}
        }
    }
}

/// What a look-up for whoever asked for blocks found.
impl Watched for (&Lookup, &[Option<Bytes>]) {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        let (lookup, blocks) = self;
        for (cid, data) in lookup.cids.iter().zip(*blocks) {
            if let Some(data) = data {
                ctx.checkers.note_served(host.idx, cid, data, ctx.now);
            }
        }
    }
}

impl Watched for author::Input {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        let (request, what) = match self {
            Self::Publish { request, .. } => (request, "what to publish"),
            Self::Published { request, .. } | Self::Relayed { request, .. } => {
                (request, "how far something is")
            }
            Self::Relay { request, .. } => (request, "what to relay"),
            _ => return,
        };
        note_owner(*request, what, host, ctx);
    }
}

impl Watched for author::Output {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Ask {
                peer,
                protocol: Protocol::Publish,
                body,
                ..
            } => note_offer(peer, body, host, ctx),
            Self::Reply { request, .. } => ctx.note_answered(request.0),
            Self::Event(event) => {
                ctx.metrics.notes.note("author", event);
                if let Event::Confirmed { digest } = event {
                    let chain = &ctx.chain;
                    let is_landed = chain.landed(digest) > 0 || chain.burned(digest).is_some();
                    let is_landed = is_landed || chain.was_undone(digest);
                    ctx.checkers.note_confirmed(digest, is_landed, ctx.now);
                }
            }
            _ => {}
        }
    }
}

impl Watched for VaultInput {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Put { request, .. } => note_owner(*request, "records to write", host, ctx),
            Self::Get { request, .. } => note_owner(*request, "records to read", host, ctx),
            _ => {}
        }
    }
}

impl Watched for VaultOutput {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        if let Self::Reply { request, .. } = self {
            ctx.note_answered(request.0);
        }
    }
}

/// Notes that a machine refuses something, and whether as false.
fn note_refusal(peer: u32, is_false: bool, refusal: &impl fmt::Debug, ctx: &mut Ctx) {
    if ctx.params.is_honest {
        let false_as = is_false.then(|| format!("{refusal:?}"));
        ctx.checkers.note_refusal(peer, false_as, ctx.now);
    }
}

/// Notes that an author offers a root.
fn note_offer(peer: &Address, body: &[u8], host: &Host, ctx: &mut Ctx) {
    let Ok(publish::Request::Offer(offer)) = publish::Request::from_bytes(body) else {
        return;
    };
    let patience = PublicationConfig::new(ctx.params.domain).give_up_after;
    // One that failed may begin anew before its row says so.
    let jobs = host.disk.jobs.values();
    let jobs = jobs.filter(|job| job.state == PublishState::Offering);
    let mut states = jobs.flat_map(|job| &job.roots);
    let is_promised = states.any(|state| {
        let is_fresh = ctx.now < Moment::from_unix(state.started) + patience;
        let mut leases = state.leases.iter();
        is_fresh
            && state.offer.root == offer.root
            && leases.any(|lease| lease.record.holder == *peer)
    });
    ctx.checkers
        .note_offer(host.idx, &offer.root, is_promised, ctx.now);
}

/// Notes that whoever sits at a peer asks it something.
fn note_owner(request: RequestId, what: &'static str, host: &Host, ctx: &mut Ctx) {
    ctx.checkers
        .note_asked(request.0, (host.idx, what), OWNER_PATIENCE, ctx.time);
}

impl Watched for identity::Output {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        if let Self::Respond { response, .. } = self {
            ctx.metrics.note_response("identity", response);
        }
        if let Self::Send { digest, bumps, .. } = self {
            ctx.metrics.note_sent(host.idx, *digest, *bumps, ctx.time);
        }
        if let Self::Send { bumps, .. } | Self::Cancel { bumps, .. } = self {
            ctx.metrics.bumps += u64::from(*bumps);
        }
        match self {
            Self::Send { slot, .. } | Self::Cancel { slot, .. } => {
                ctx.checkers.note_payer(host.idx, slot.wallet);
            }
            Self::Respond {
                response: relayer::Response::Refused(refusal),
                ..
            } => {
                use relayer::RefusalCode::{NotAllowed, Proof, Signature};
                ctx.metrics.refusals.note("identity", &refusal.code);
                let is_false = matches!(refusal.code, Signature | NotAllowed | Proof);
                note_refusal(host.idx, is_false, refusal, ctx);
            }
            Self::Respond {
                response: relayer::Response::Accepted { digest, status },
                ..
            } => {
                if matches!(status, relayer::Status::Pending) {
                    ctx.metrics.note_accepted(host.idx, *digest, ctx.time);
                }
                let is_kept = host.disk.rows.contains_key(digest)
                    || ctx.chain.burned(digest).is_some()
                    || ctx.chain.was_undone(digest);
                ctx.checkers
                    .note_relayed(host.idx, digest, is_kept, ctx.now);
            }
            Self::Note(note) => ctx.metrics.notes.note("identity", note),
            _ => {}
        }
    }
}

impl Watched for ReplicaOutput {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        if let Self::Respond { response, .. } = self {
            ctx.metrics.note_response("replica", response);
            if let vault::Response::Refused(refusal) = response {
                use vault::Refusal::{Malformed, Scheme, Signature};
                ctx.metrics.refusals.note("replica", refusal);
                let is_false = matches!(refusal, Signature | Malformed { .. } | Scheme { .. });
                note_refusal(host.idx, is_false, refusal, ctx);
            }
        }
    }
}

impl Watched for catch_up::Input {}
impl Watched for identity::Input {}
impl Watched for ReplicaInput {}
impl Watched for DownloadInput {}
impl Watched for ExchangeInput<Goal> {}
impl Watched for ExchangeOutput<Goal> {}

/// Epochs that a promise outlasts the last thing that named its root
/// (`docs/formats/lease.md`).
const ENDED_EPOCHS: u64 = 24;

/// Within this time a peer answers whoever sits at it. Chosen: longer than all peers
/// take that it may ask in turn.
const OWNER_PATIENCE: Duration = Duration::from_secs(120);

/// After so many blocks everybody knows what the registry became. Chosen: more than
/// any preset's confirmations and the blocks of a crash.
const REGISTRY_SETTLED_BLOCKS: u64 = 32;
