//! What is made of the facts and wishes of simulated peers: the checkers judge
//! them, the measurements count them.

use cid::Cid;
use gossip::{catch_up, discovery};
use protocol::author;
use protocol::content::{self, Note, Purpose, Row, SignedRecord};
use protocol::exchange::{DownloadInput, DownloadOutput, ExchangeInput, ExchangeOutput};
use protocol::machine::Verdict;
use protocol::vault::{self, ReplicaInput, ReplicaOutput, VaultInput, VaultOutput};
use protocol::{identity, publish, relayer};

use crate::host::{Goal, Host, Watched};
use crate::index::Part;
use crate::net::Gossiped;
use crate::wire::Topic;
use crate::world::Ctx;

impl Watched for content::Input {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Fetched {
                purpose: Purpose::Repair,
                result: Ok(_),
                ..
            } => ctx.metrics.repairs += 1,
            Self::Signed(SignedRecord::Page(page)) => ctx.checkers.note_page(page, ctx.now),
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
                if let Ok(publish::Response::Refused(refusal)) = publish::Response::from_bytes(body)
                {
                    ctx.metrics.refusals.note("content", &refusal.code);
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
                host.run.lost.insert(*peer);
            }
            Self::Note(Note::Back(peer)) => drop(host.run.lost.remove(peer)),
            Self::Note(Note::Repairing(root) | Note::OverQuota(root)) => {
                let has_reason = host.disk.leases.contains_key(root)
                    || host.disk.indexed.index().was_named(root);
                ctx.checkers
                    .note_repairing(host.idx, root, has_reason, ctx.now);
            }
            _ => {}
        }
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
    let may_go = !index.is_named(root) && is_over;
    ctx.checkers.note_struck(host.idx, root, may_go, ctx.now);
}

impl Watched for discovery::Input {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        if let (Self::Signed(head), false) = (self, host.is_liar) {
            ctx.checkers.note_head(head, host.address, ctx.now);
        }
    }
}

impl Watched for discovery::Output {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        use discovery::Note;
        match self {
            Self::Keep(Some(counted)) => {
                ctx.checkers
                    .note_counted(&counted.head, &ctx.chain, ctx.now);
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

impl Watched for catch_up::Output {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        use catch_up::Note;
        match self {
            Self::Counted(head) => ctx.checkers.note_counted(head, &ctx.chain, ctx.now),
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
            _ => {}
        }
    }
}

impl Watched for identity::Output {
    fn watch(&self, host: &mut Host, ctx: &mut Ctx) {
        match self {
            Self::Send { slot, .. } | Self::Cancel { slot, .. } => {
                ctx.checkers.note_payer(host.idx, slot.wallet);
            }
            Self::Respond {
                response: relayer::Response::Refused(refusal),
                ..
            } => ctx.metrics.refusals.note("identity", &refusal.code),
            Self::Note(note) => ctx.metrics.notes.note("identity", note),
            _ => {}
        }
    }
}

impl Watched for ReplicaOutput {
    fn watch(&self, _host: &mut Host, ctx: &mut Ctx) {
        if let Self::Respond { response, .. } = self
            && let vault::Response::Refused(refusal) = response
        {
            ctx.metrics.refusals.note("replica", refusal);
        }
    }
}

impl Watched for catch_up::Input {}
impl Watched for author::Input {}
impl Watched for author::Output {}
impl Watched for identity::Input {}
impl Watched for ReplicaInput {}
impl Watched for VaultInput {}
impl Watched for VaultOutput {}
impl Watched for DownloadInput {}
impl Watched for ExchangeInput<Goal> {}
impl Watched for ExchangeOutput<Goal> {}

/// Epochs that a promise outlasts the last thing that named its root
/// (`docs/formats/lease.md`).
const ENDED_EPOCHS: u64 = 24;
