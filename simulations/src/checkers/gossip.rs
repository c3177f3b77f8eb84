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
    /// True for a peer that breaks the rules.
    #[must_use]
    pub fn is_liar(&self, peer: u32) -> bool {
        self.gossip.is_liar(peer)
    }

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

    /// Notes that a message was held against its sender. Where final blocks were
    /// undone, peers on either side cannot know of each other's blocks.
    pub fn note_rejected(
        &mut self,
        topic: Topic,
        data: &[u8],
        from: u32,
        chain: &Chain,
        now: Moment,
    ) {
        if topic == Topic::Entries
            && let Some(lowest) = chain.lowest_undone()
            && ReceivedBatch::from_bytes(data)
                .is_ok_and(|received| received.batch.block_number >= lowest)
        {
            return;
        }
        let is_liar = self.gossip.is_liar(from);
        self.findings
            .observe(Rule::NothingRejected, is_liar, now, || {
                format!("a message of peer {from} on {topic:?} was rejected")
            });
    }

    /// Notes that entries of a peer were held against it.
    pub fn note_disputed(&mut self, peer: u32, chain: &Chain, now: Moment) {
        if chain.lowest_undone().is_some() {
            return;
        }
        let is_liar = self.gossip.is_liar(peer);
        self.findings
            .observe(Rule::NothingDisputed, is_liar, now, || {
                format!("entries of peer {peer} were taken for lies")
            });
    }

    /// Notes a batch that an honest peer forwarded.
    pub fn note_forwarded(&mut self, data: &[u8], follows: bool, chain: &Chain, now: Moment) {
        let is_true = ReceivedBatch::from_bytes(data).is_ok_and(|received| {
            let batch = &received.batch;
            let block = chain.once_final(batch.block_number, &batch.block_hash);
            let mut entries = batch.entries.iter();
            block.is_some_and(|block| entries.all(|entry| block.entries().contains(entry)))
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
    /// Where final blocks were undone, it may be the other fork's.
    pub fn note_forged(&mut self, block_number: u64, chain: &Chain, now: Moment) {
        let lowest = chain.lowest_undone();
        let was_undone = lowest.is_some_and(|lowest| lowest <= block_number);
        self.findings
            .observe(Rule::CountedHead, was_undone, now, || {
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
        let is_prefix = chain
            .chains()
            .any(|known| known.get(start..end) == Some(entries));
        self.findings.observe(
            Rule::AppliedEntries,
            is_prefix && head.entry_count >= end as u64,
            now,
            || format!("peer {peer} applied something else after {count} entries"),
        );
        self.findings
            .observe(Rule::CoveredEntries, is_canonical(head, chain), now, || {
                format!("peer {peer} applied entries under a forged head")
            });
    }
}

/// True for a head of a block that is final, or was.
fn is_canonical(head: &Head, chain: &Chain) -> bool {
    let block = chain.once_final(head.block_number, &head.block_hash);
    block.is_some_and(|block| head.entry_count == block.peaks_before.count + block.ids.len() as u64)
}
