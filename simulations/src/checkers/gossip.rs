//! Heads and entries: what is counted, forwarded and applied is the chain's.

use std::collections::BTreeMap;

use protocol::entry::{Entry, ReceivedBatch};
use protocol::id::{Address, Hash32};
use protocol::records::{Head, SignedHead};
use protocol::signing::Record;
use protocol::time::Moment;

use super::{Checkers, Rule};
use crate::chain::Chain;
use crate::wire::Topic;

/// Who lies, and what the honest signed.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    liars: Vec<bool>,
    heads: BTreeMap<(Address, u64), Hash32>,
}

impl Gossip {
    pub(super) fn is_liar(&self, peer: u32) -> bool {
        self.liars.get(peer as usize).copied().unwrap_or(false)
    }

    pub(super) fn new(liars: Vec<bool>) -> Self {
        Self {
            liars,
            heads: BTreeMap::new(),
        }
    }
}

impl Checkers {
    /// Notes a head that an honest peer signed.
    pub fn note_head(&mut self, head: &SignedHead, signer: Address, now: Moment) {
        let number = head.record.block_number;
        let hash = head.record.struct_hash();
        let known = self.gossip.heads.insert((signer, number), hash);
        self.findings.observe(
            Rule::HeadPerBlock,
            known.is_none_or(|known| known == hash),
            now,
            || format!("{signer} signed two of block {number}"),
        );
    }

    /// Notes that a message was held against its sender.
    pub fn note_rejected(&mut self, topic: Topic, from: u32, now: Moment) {
        let is_liar = self.gossip.is_liar(from);
        self.findings
            .observe(Rule::NothingRejected, is_liar, now, || {
                format!("a message of peer {from} on {topic:?} was rejected")
            });
    }

    /// Notes a batch that an honest peer forwarded.
    pub fn note_forwarded(&mut self, data: &[u8], follows: bool, chain: &Chain, now: Moment) {
        let is_true = ReceivedBatch::from_bytes(data).is_ok_and(|received| {
            let batch = &received.batch;
            chain.block(batch.block_number).is_some_and(|block| {
                block.hash == batch.block_hash
                    && batch
                        .entries
                        .iter()
                        .all(|entry| block.entries().contains(entry))
            })
        });
        let rule = if follows {
            Rule::ForwardedByChain
        } else {
            Rule::ForwardedByHead
        };
        self.findings.observe(rule, is_true, now, || {
            "a forged batch was forwarded".to_owned()
        });
    }

    /// Notes a head that an honest peer counted.
    pub fn note_counted(&mut self, head: &Head, chain: &Chain, now: Moment) {
        self.findings
            .observe(Rule::CountedHead, is_canonical(head, chain), now, || {
                format!("a forged head of block {} was counted", head.block_number)
            });
    }

    /// Notes that a majority signed another head than an honest peer computed.
    pub fn note_forged(&mut self, block_number: u64, now: Moment) {
        self.findings.observe(Rule::CountedHead, false, now, || {
            format!("a majority signed another head of block {block_number}")
        });
    }

    /// Notes entries that a light peer applied after its first `count`.
    pub fn note_entries(
        &mut self,
        peer: u32,
        count: u64,
        entries: &[Entry],
        head: &Head,
        chain: &Chain,
        now: Moment,
    ) {
        let start = usize::try_from(count).unwrap_or(usize::MAX);
        let end = start.saturating_add(entries.len());
        let is_prefix = chain.entries().get(start..end) == Some(entries);
        self.findings.observe(
            Rule::AppliedEntries,
            is_prefix && head.entry_count == end as u64,
            now,
            || format!("peer {peer} applied something else after {count} entries"),
        );
        self.findings
            .observe(Rule::CoveredEntries, is_canonical(head, chain), now, || {
                format!("peer {peer} applied entries under a forged head")
            });
    }
}

fn is_canonical(head: &Head, chain: &Chain) -> bool {
    chain.block(head.block_number).is_some_and(|block| {
        block.number <= chain.finalized()
            && block.hash == head.block_hash
            && head.entry_count == block.peaks_before.count + block.ids.len() as u64
    })
}
