//! The discovery role: heads and batches of final blocks; and, for light
//! peers, what is made of them.

use std::sync::Arc;

use bytes::Bytes;
use gossip::heads::{CountedHead, FinalBlock};
use gossip::message::{EntriesAnswer, EntriesRequest};
use gossip::spread::Event;
use protocol::codec;
use protocol::entry::{Entry, EntryBatch};
use protocol::id::{Address, Hash32, Role};
use protocol::records::Head;
use protocol::registry::BlockRef;
use protocol::signing::{Record, Signed};
use protocol::wire;

use super::{Host, Pending};
use crate::chain::Block;
use crate::wire::Protocol;
use crate::world::Ctx;

impl Host {
    /// Takes in what became final since the last look at the chain.
    pub(super) fn handle_chain(&mut self, ctx: &mut Ctx) {
        if !self.is_staked || !ctx.is_chain_up {
            self.handle_chain_away();
            if self.is_staked {
                self.note_height(ctx);
            }
            return;
        }
        let has_much_news = ctx.chain.finalized() - self.disk.chain_block > NEWS_BLOCKS_MAX;
        while self.disk.chain_block < ctx.chain.finalized() {
            let number = self.disk.chain_block + 1;
            let block = ctx.chain.block(number).cloned();
            let block = block.expect("final blocks stay");
            self.handle_final_block(&block, ctx);
            self.disk.chain_block = number;
            if !has_much_news {
                self.note_entries(&block.entries, ctx);
            }
        }
        if has_much_news {
            self.note_entries_unknown(ctx);
        }
        self.note_height(ctx);
        self.handle_chain_tip(ctx);
    }

    fn handle_final_block(&mut self, block: &Block, ctx: &mut Ctx) {
        if block.registry_changed {
            self.registry = Arc::clone(&block.registry);
            self.spread
                .handle_registry(Arc::clone(&self.registry.registry), ctx.now);
            self.note_content_registry(ctx);
        }
        let head = self.disk.head_builder.handle_final_block(&FinalBlock {
            block: BlockRef {
                number: block.number,
                hash: block.hash,
            },
            time: block.time,
            entries: block.ids.clone(),
            registry_changed: block.registry_changed,
            registry_root: block.registry.root,
        });
        let is_discovery = self
            .registry
            .registry
            .has_role(&self.address, Role::Discovery);
        if let Some(head) = head.filter(|_| is_discovery) {
            let forged = (self.is_liar && lies_about(block)).then(|| self.forge(block, ctx));
            match forged {
                Some((head, batches)) => {
                    self.sign_head(head, ctx);
                    for batch in batches {
                        self.gossip(wire::Topic::Entries, batch.to_bytes(), ctx);
                    }
                }
                None => self.sign_head(head, ctx),
            }
        }
        let is_old = ctx.now.unix().0.saturating_sub(block.time.0) > 300;
        if !is_old || !block.entries.is_empty() {
            self.spread.handle_final_block(
                block.number,
                block.hash,
                block.time,
                block.entries.clone(),
                ctx.now,
            );
        }
    }

    fn sign_head(&mut self, head: Head, ctx: &mut Ctx) {
        let newest = self.disk.signed_heads.keys().next_back().copied();
        if newest.is_some_and(|newest| newest >= head.block_number) {
            return;
        }
        self.disk
            .signed_heads
            .insert(head.block_number, head.struct_hash());
        let signed = Signed::new(head, &ctx.params.domain, &self.key);
        if !self.is_liar {
            ctx.checkers.note_head(&signed, self.address, ctx.now);
        }
        self.gossip(wire::Topic::Heads, codec::to_bytes(&signed), ctx);
        self.spread.handle_own_head(&signed, ctx.now);
    }

    /// What liars agree to say about a block: an entry nobody signed for it.
    fn forge(&self, block: &Block, ctx: &Ctx) -> (Head, Vec<EntryBatch>) {
        let hash = protocol::entry::sha256(&block.hash.0);
        let mut entries: Vec<Entry> = block.entries.clone();
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

    pub(super) fn handle_spread_event(&mut self, event: Event, ctx: &mut Ctx) {
        match event {
            Event::Counted(counted) => {
                if !self.is_liar {
                    ctx.checkers.note_counted(&counted, &ctx.chain, ctx.now);
                }
                self.learn_registry(&counted.head, ctx);
                self.keep_counted(counted);
            }
            Event::Entries {
                entries,
                head,
                peaks,
            } => {
                ctx.checkers.note_entries(
                    self.idx,
                    self.disk.peaks.count,
                    &entries,
                    &head,
                    &ctx.chain,
                    ctx.now,
                );
                for entry in &entries {
                    let mined = ctx.chain.block(entry.position.block_number);
                    if let Some(block) = mined
                        && !ctx.is_calm
                    {
                        ctx.metrics.dissemination.push(ctx.now - block.final_at);
                    }
                }
                self.disk.peaks = peaks;
                let last = entries.last().map(|entry| entry.position.sequence());
                self.disk.sequence = last.or(self.disk.sequence);
                self.disk.followed_block = head.block_number;
                self.learn_registry(&head, ctx);
                self.handle_applied(&entries, ctx);
            }
            Event::Fetch {
                from_count,
                after,
                peer,
            } => self.ask_entries(from_count, after, peer, ctx),
            Event::Liar { .. } => ctx.metrics.offences += 1,
            Event::Diverged { .. } => unreachable!("the chain has one fork"),
            Event::Contradiction { .. } => ctx.metrics.contradictions += 1,
        }
    }

    fn keep_counted(&mut self, counted: CountedHead) {
        let is_newer = self
            .disk
            .counted
            .as_ref()
            .is_none_or(|known| known.head.block_number < counted.head.block_number);
        if is_newer {
            self.disk.counted = Some(counted);
        }
    }

    /// A light peer asks for the registry that a counted head names.
    fn learn_registry(&mut self, head: &Head, ctx: &mut Ctx) {
        if self.is_staked || head.registry_root == self.registry.root {
            return;
        }
        if let Some(peer) = self.any_discovery(ctx) {
            self.request(
                peer,
                Protocol::Registry,
                Bytes::new(),
                Pending::Registry,
                ctx,
            );
        }
    }

    /// Takes a registry; its root must be one that honest peers put into heads.
    pub(super) fn handle_registry(&mut self, data: Option<Bytes>, ctx: &mut Ctx) {
        let Some(number) = data.and_then(|data| <[u8; 8]>::try_from(&data[..]).ok()) else {
            return;
        };
        let Some(block) = ctx.chain.block(u64::from_le_bytes(number)) else {
            return;
        };
        if block.registry.registry.block().number > self.registry.registry.block().number {
            self.registry = Arc::clone(&block.registry);
            self.spread
                .handle_registry(Arc::clone(&self.registry.registry), ctx.now);
        }
    }

    fn ask_entries(
        &mut self,
        from_count: u64,
        after: Option<u64>,
        peer: Option<Address>,
        ctx: &mut Ctx,
    ) {
        match peer.or_else(|| self.any_discovery(ctx)) {
            Some(peer) => {
                let request = codec::to_bytes(&EntriesRequest { from_count, after });
                self.request(
                    peer,
                    wire::Protocol::Entries,
                    request,
                    Pending::Entries,
                    ctx,
                );
            }
            None => self.spread.handle_no_answer(ctx.now),
        }
    }

    fn any_discovery(&self, ctx: &mut Ctx) -> Option<Address> {
        let peers: Vec<Address> = self
            .registry
            .placement
            .inner()
            .peers(Role::Discovery)
            .collect();
        ctx.rng.sample(&peers, 1).first().copied()
    }

    pub(super) fn handle_entries_request(
        &mut self,
        from: u32,
        id: u64,
        data: &[u8],
        ctx: &mut Ctx,
    ) {
        let Ok(request) = EntriesRequest::from_bytes(data) else {
            return;
        };
        let Some(counted) = self.disk.counted.clone() else {
            return;
        };
        let all = ctx.chain.entries();
        let until = usize::try_from(counted.head.entry_count)
            .unwrap_or(usize::MAX)
            .min(all.len());
        let start = usize::try_from(request.from_count)
            .unwrap_or(usize::MAX)
            .min(until);
        let mut entries = all[start..until.min(start + ANSWER_ENTRIES_MAX)].to_vec();
        if self.is_liar && !entries.is_empty() && ctx.rng.chance(0.5) {
            let last = entries.len() - 1;
            entries[last].action.action.entity_id.0 += 1;
        }
        let answer = EntriesAnswer {
            entries,
            head: counted.head,
            signatures: counted.signatures,
        };
        self.respond(from, id, codec::to_bytes(&answer), ctx);
    }

    pub(super) fn handle_entries(&mut self, peer: Address, data: Option<Bytes>, ctx: &mut Ctx) {
        let answer = data.and_then(|data| EntriesAnswer::from_bytes(&data).ok());
        match answer {
            Some(answer) => {
                if self.spread.handle_answer(peer, answer, ctx.now).is_err() {
                    ctx.metrics.refused_answers += 1;
                }
            }
            None => self.spread.handle_no_answer(ctx.now),
        }
    }
}

/// Liars lie about every other block with entries.
fn lies_about(block: &Block) -> bool {
    !block.entries.is_empty() && block.hash.0[0] & 1 == 0
}

/// Blocks whose changes are told one by one; after more of them the news have
/// overflown, as in the node.
const NEWS_BLOCKS_MAX: u64 = 4;

/// Entries in one answer.
const ANSWER_ENTRIES_MAX: usize = 256;
