//! What liars say in place of the truth.

use bytes::Bytes;
use gossip::message::EntriesAnswer;
use protocol::codec;
use protocol::content::listing;
use protocol::entry::{Entry, EntryBatch};
use protocol::exchange::{Answer, Response};
use protocol::id::Hash32;
use protocol::records::{Head, SignedHead};
use protocol::signing::{Signed, SigningKey};
use protocol::{publish, relayer, vault};

use crate::chain::Block;
use crate::engine::digest64;
use crate::wire::{Message, Topic};
use crate::world::Ctx;

/// What arrives in place of a message of a liar's: other bytes for half of its
/// answers, and another head and batches for its own head.
pub(super) fn tamper(message: Message, key: &SigningKey, ctx: &mut Ctx) -> Vec<Message> {
    let told = match message {
        Message::Response {
            id,
            data: Some(data),
        } => {
            let is_lie = ctx.rng.chance(0.5);
            let lie = is_lie.then(|| changed(&data, ctx)).flatten();
            let data = Some(lie.unwrap_or(data));
            return vec![Message::Response { id, data }];
        }
        Message::Gossip {
            topic: Topic::Heads,
            data,
            ..
        } => match forge(&data, key, ctx) {
            Some(told) => told,
            None => vec![(Topic::Heads, data)],
        },
        other => return vec![other],
    };
    let messages = told.into_iter().map(|(topic, data)| {
        let id = digest64(&data);
        Message::Gossip { topic, id, data }
    });
    messages.collect()
}

/// An answer with other blocks or another last entry, a list without an end, or a
/// refusal of what was taken.
fn changed(data: &Bytes, ctx: &mut Ctx) -> Option<Bytes> {
    if let Ok(listing::Response::List(mut part)) = listing::Response::from_bytes(data) {
        match ctx.rng.below(3) {
            0 => part.next = Some(vec![0].into()),
            1 => drop(part.fresh.pop()),
            _ => drop(part.listed.pop()),
        }
        return Some(listing::Response::List(part).to_bytes().into());
    }
    if let Ok(publish::Response::Lease(mut lease)) = publish::Response::from_bytes(data) {
        lease.record.size += 1;
        return Some(publish::Response::Lease(lease).to_bytes().into());
    }
    if let Ok(relayer::Response::Accepted { digest, .. }) = relayer::Response::from_bytes(data) {
        let response = match ctx.rng.chance(0.5) {
            true => {
                let reason = "so a liar says".to_owned();
                let status = relayer::Status::Failed { reason };
                relayer::Response::Accepted { digest, status }
            }
            false => {
                let code = relayer::RefusalCode::Quota;
                relayer::Response::Refused(relayer::Refusal::new(code, "so a liar says"))
            }
        };
        return Some(response.to_bytes().into());
    }
    if let Ok(vault::Response::Stored) = vault::Response::from_bytes(data) {
        return Some(
            vault::Response::Refused(vault::Refusal::Full)
                .to_bytes()
                .into(),
        );
    }
    if let Ok(mut response) = Response::decode(data) {
        for answer in &mut response.answers {
            if let Answer::Data(data) = answer {
                let mut bytes = data.to_vec();
                *bytes.last_mut()? ^= 1;
                *data = Bytes::from(bytes);
            }
        }
        return Some(response.encode());
    }
    let mut answer = EntriesAnswer::from_bytes(data).ok()?;
    answer.entries.last_mut()?.action.action.entity_id.0 += 1;
    Some(codec::to_bytes(&answer).into())
}

/// What liars agree to say about the block of a head of their own.
fn forge(head: &Bytes, key: &SigningKey, ctx: &Ctx) -> Option<Vec<(Topic, Bytes)>> {
    let limit = Topic::Heads.message_bytes_max();
    let signed: SignedHead = codec::from_bytes("head", head, limit).ok()?;
    let domain = &ctx.params.domain;
    if signed.signer(domain).ok()? != key.address() {
        return None;
    }
    let block = ctx.chain.block(signed.record.block_number)?;
    if !lies_about(block) {
        return None;
    }
    let (head, batches) = forged(block, ctx);
    let signed = Signed::new(head, domain, key);
    let mut told = vec![(Topic::Heads, codec::to_bytes(&signed).into())];
    told.extend(
        batches
            .iter()
            .map(|batch| (Topic::Entries, batch.to_bytes().into())),
    );
    Some(told)
}

/// An entry that nobody signed.
fn forged(block: &Block, ctx: &Ctx) -> (Head, Vec<EntryBatch>) {
    let hash = protocol::entry::sha256(&block.hash.0);
    let mut entries: Vec<Entry> = block.entries().to_vec();
    for entry in &mut entries {
        entry.position.block_hash = hash;
        entry.action.action.entity_id.0 += 1;
    }
    let mut peaks = block.peaks_before.clone();
    entries.iter().for_each(|entry| peaks.push(&entry.id().0));
    let previous = ctx
        .chain
        .block(block.number - 1)
        .map(|block| block.hash)
        .unwrap_or_default();
    let head = Head {
        block_number: block.number,
        block_hash: hash,
        previous_head: previous,
        entries_root: peaks.root(),
        entry_count: peaks.count,
        state_root: Hash32::ZERO,
        registry_root: block.registry.root,
    };
    (head, EntryBatch::cut(entries))
}

/// Every other block with entries.
fn lies_about(block: &Block) -> bool {
    !block.entries().is_empty() && block.hash.0[0] & 1 == 0
}
