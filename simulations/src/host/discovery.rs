//! The discovery role and the catch-up of light peers, over virtual disks.

use std::sync::Arc;

use gossip::catch_up::{self, CatchUp};
use gossip::discovery::{self, Config, Discovery, IndexFailure, plan};
use gossip::spread::{self, HeldEntries};
use protocol::chain::ChainBlock;
use protocol::codec;
use protocol::entry::{Entry, EntryBatch};
use protocol::id::{Address, Hash32};
use protocol::machine::Machine;
use protocol::origin::{Origin, RequestId};
use protocol::records::Head;
use protocol::signing::{Record, Signed};
use protocol::time::Moment;
use protocol::wire::{Protocol, Topic};

use super::identity::DISK_DELAY;
use super::{Disk, Host, Pending, is_due};
use crate::chain::Block;
use crate::world::{Ctx, IndexStep, Local, Part};

impl Host {
    pub(super) fn start_discovery(&mut self, ctx: &mut Ctx) {
        let spread = spread::Config {
            final_is_firm: ctx.chain.confirmations() > 0,
            ..spread::Config::new(self.address, ctx.params.domain)
        };
        let config = Config {
            spread: ctx.params.limits.spread(spread),
            signs_heads: true,
            confirmations: ctx.chain.confirmations(),
        };
        let counted = self.disk.counted.clone();
        let discovery = Discovery::new(config, counted, ctx.now);
        self.discovery = Some(Box::new(discovery));
        self.note_registry(ctx);
    }

    /// Tells the machines which registry counts.
    pub(super) fn note_registry(&mut self, ctx: &mut Ctx) {
        let registry = Arc::clone(&self.registry.registry);
        match self.is_staked {
            true => self.tell_discovery(discovery::Input::Registry(registry), ctx),
            false => self.tell_catch_up(catch_up::Input::Registry(registry), ctx),
        }
    }

    /// The chain's endpoint has news, or is away.
    pub(super) fn handle_chain(&mut self, ctx: &mut Ctx) {
        if ctx.is_chain_up {
            let registry = ctx.registry();
            if registry.root != self.registry.root {
                self.registry = registry;
                self.note_registry(ctx);
                if self.is_staked {
                    self.note_content_registry(ctx);
                }
            }
        }
        if !self.is_staked {
            return;
        }
        if ctx.is_chain_up {
            let tip = ctx.chain.tip().number;
            self.tell_discovery(discovery::Input::Tip(tip), ctx);
            self.follow_head(ctx);
            self.handle_chain_tip(ctx);
        } else {
            self.handle_chain_away();
        }
        self.note_height(ctx);
    }

    pub(super) fn tell_discovery(&mut self, input: discovery::Input, ctx: &mut Ctx) {
        ctx.metrics.note_input("discovery", &input);
        if let Some(discovery) = &mut self.discovery {
            discovery.handle(input, ctx.now);
        }
    }

    pub(super) fn tell_catch_up(&mut self, input: catch_up::Input, ctx: &mut Ctx) {
        ctx.metrics.note_input("catch-up", &input);
        if let Some(light) = &mut self.light {
            light.catch_up.handle(input, ctx.now);
        }
    }

    pub(super) fn discovery_deadline(&self) -> Option<Moment> {
        let discovery = self.discovery.as_deref().and_then(Machine::deadline);
        let discovery = discovery.map(|(at, _)| at);
        discovery.into_iter().chain(self.feed.deadline()).min()
    }

    pub(super) fn wake_discovery(&mut self, ctx: &mut Ctx) {
        self.feed.handle_timeout(ctx.now);
        if let Some(discovery) = &mut self.discovery
            && is_due(discovery.deadline(), ctx.now)
        {
            discovery.handle_timeout(ctx.now);
        }
    }

    pub(super) fn note_discovery_connected(&mut self, ctx: &mut Ctx) {
        if !self.is_staked {
            let connected = ctx.up_peers().collect();
            self.tell_catch_up(catch_up::Input::Connected(connected), ctx);
        }
    }

    pub(super) fn drain_discovery(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = false;
        while let Some(wish) = self.discovery.as_deref_mut().and_then(Machine::poll) {
            moved = true;
            self.carry_discovery(wish, ctx);
        }
        while let Some(wish) = self.light.as_mut().and_then(|light| light.catch_up.poll()) {
            moved = true;
            self.carry_catch_up(wish, ctx);
        }
        let is_ready = |discovery: &Discovery| !discovery.is_indexing();
        if self.drain_feed(ctx) && self.discovery.as_deref().is_some_and(is_ready) {
            moved = true;
            let events = self.feed.take();
            self.tell_discovery(discovery::Input::Chain(events), ctx);
        }
        moved
    }

    fn carry_discovery(&mut self, wish: discovery::Output, ctx: &mut Ctx) {
        use discovery::Output;
        match wish {
            Output::Index(blocks) => self.index_later(IndexStep::Apply(blocks), ctx),
            Output::Unindex { to } => self.index_later(IndexStep::Unindex(to), ctx),
            Output::Clear => self.index_later(IndexStep::Clear, ctx),
            Output::Subscribe => self.feed.subscribe(&ctx.chain, ctx.params.limits),
            Output::Settled(number) => {
                self.feed.followed = number;
                self.note_height(ctx);
            }
            Output::Fault(_) => {}
            Output::Sign(head) => ctx.local(self, DISK_DELAY, Local::Sign(Box::new(head))),
            Output::Keep(counted) => {
                if let Some(counted) = &counted
                    && !self.is_liar
                {
                    ctx.checkers
                        .note_counted(&counted.head, &ctx.chain, ctx.now);
                }
                self.disk.counted = counted.map(|counted| *counted);
            }
            Output::Publish { topic, body } => self.gossip(topic, body, ctx),
            Output::Judge { token, verdict } => self.decide(token, verdict, ctx),
            Output::Read {
                id,
                sequences,
                limit,
            } => {
                let entries = self.disk.indexed.values().flat_map(|block| &block.entries);
                let in_range =
                    entries.filter(|entry| sequences.contains(&entry.position.sequence()));
                let mut entries: Vec<Entry> = in_range.take(limit).cloned().collect();
                if self.is_liar
                    && ctx.rng.chance(0.5)
                    && let Some(last) = entries.last_mut()
                {
                    last.action.action.entity_id.0 += 1;
                }
                let entries = Some(entries);
                self.tell_discovery(discovery::Input::Read { id, entries }, ctx);
            }
            Output::Respond { id, body } => {
                if let Some(to) = self.asked_entries.remove(&id) {
                    self.respond(to, id.0, body, ctx);
                }
            }
            Output::Refuse { id } => {
                if let Some(to) = self.asked_entries.remove(&id) {
                    self.refuse(to, id.0, ctx);
                }
            }
            Output::Note(note) => match note {
                discovery::Note::Contradiction { .. } => ctx.metrics.contradictions += 1,
                discovery::Note::MajorityDiffers { block_number } => {
                    ctx.checkers.note_forged(block_number, &ctx.chain, ctx.now);
                }
                discovery::Note::FinalUndone { .. } => ctx.metrics.finals_undone += 1,
            },
        }
    }

    fn index_later(&self, step: IndexStep, ctx: &mut Ctx) {
        ctx.local(self, DISK_DELAY, Local::Index(step));
    }

    /// The index has done a step.
    pub(super) fn index_step(&mut self, step: IndexStep, ctx: &mut Ctx) {
        if let Some(failure) = self.index_failure() {
            self.tell_discovery(discovery::Input::Indexed(Err(failure)), ctx);
            return;
        }
        match step {
            IndexStep::Apply(run) => self.index_blocks(&run, ctx),
            IndexStep::Unindex(to) => {
                if !self.disk.indexed.split_off(&(to + 1)).is_empty() {
                    self.note_entries_unknown(ctx);
                }
            }
            IndexStep::Clear => {
                self.disk.indexed.clear();
                self.note_entries_unknown(ctx);
            }
        }
        self.tell_discovery(discovery::Input::Indexed(Ok(())), ctx);
    }

    fn index_failure(&mut self) -> Option<IndexFailure> {
        let is_lost = self.disk.fails.take()?;
        Some(IndexFailure {
            reason: "the disk does not write".to_owned(),
            is_lost,
        })
    }

    fn index_blocks(&mut self, run: &[Arc<ChainBlock>], ctx: &mut Ctx) {
        let indexed = &mut self.disk.indexed;
        let cursor = indexed.keys().next_back().copied();
        let known = |number: u64| {
            let block = indexed.get(&number);
            Ok::<_, std::convert::Infallible>(block.map(|block| block.block.hash))
        };
        let Ok(plan) = plan(run, cursor, known);
        if let Some(to) = plan.rollback {
            indexed.split_off(&(to + 1));
        }
        let blocks = plan.blocks.iter();
        indexed.extend(blocks.map(|block| (block.block.number, Arc::clone(block))));
        if plan.rollback.is_some() || plan.blocks.len() > NEWS_BLOCKS_MAX {
            self.note_entries_unknown(ctx);
        } else if !plan.blocks.is_empty() {
            self.note_entries(&plan.blocks, ctx);
        }
    }

    /// The claim to sign a head is on disk; liars sign something else.
    pub(super) fn sign_head(&mut self, head: Head, ctx: &mut Ctx) {
        let number = head.block_number;
        let newest = self.disk.signed_heads.keys().next_back().copied();
        if newest.is_some_and(|newest| newest >= number) {
            self.tell_discovery(discovery::Input::Unsigned { number }, ctx);
            return;
        }
        let hash = head.struct_hash();
        self.disk.signed_heads.insert(number, hash);
        if self.is_liar
            && let Some(block) = ctx.chain.block(number)
            && lies_about(block)
        {
            let (head, batches) = forge(block, ctx);
            let signed = Signed::new(head, &ctx.params.domain, &self.key);
            self.gossip(Topic::Heads, codec::to_bytes(&signed), ctx);
            for batch in batches {
                self.gossip(Topic::Entries, batch.to_bytes(), ctx);
            }
            return;
        }
        let signed = Signed::new(head, &ctx.params.domain, &self.key);
        if !self.is_liar {
            ctx.checkers.note_head(&signed, self.address, ctx.now);
        }
        self.tell_discovery(discovery::Input::Signed(Box::new(signed)), ctx);
    }

    fn carry_catch_up(&mut self, wish: catch_up::Output, ctx: &mut Ctx) {
        use catch_up::Output;
        match wish {
            Output::Index {
                entries,
                head,
                peaks,
            } => {
                let part = Part {
                    entries,
                    head,
                    peaks,
                };
                ctx.local(self, DISK_DELAY, Local::Apply(Box::new(part)));
            }
            Output::Clear => {
                self.disk.peaks = Default::default();
                self.disk.sequence = None;
                self.disk.followed_block = 0;
                self.tell_catch_up(catch_up::Input::Indexed(Ok(())), ctx);
            }
            Output::Open => {
                let held = held(&self.disk);
                self.tell_catch_up(catch_up::Input::Opened(held), ctx);
            }
            Output::Ask { id, peer, body } => {
                self.request(peer, Protocol::Entries, body, Pending::Entries(id), ctx);
            }
            Output::Judge { token, verdict } => self.decide(token, verdict, ctx),
            Output::Counted(head) => {
                if !self.is_liar {
                    ctx.checkers.note_counted(&head, &ctx.chain, ctx.now);
                }
            }
            Output::Offence { peer, .. } => {
                ctx.metrics.offences += 1;
                if let Some(idx) = ctx.peer(&peer)
                    && !self.is_liar
                {
                    ctx.checkers.note_disputed(idx, &ctx.chain, ctx.now);
                }
            }
            Output::Goal(_) | Output::Fault(_) => {}
            Output::Note(note) => match note {
                catch_up::Note::Contradiction { .. } => ctx.metrics.contradictions += 1,
                catch_up::Note::Useless { .. } => ctx.metrics.refused_answers += 1,
                catch_up::Note::Diverged { .. } => ctx.metrics.divergences += 1,
            },
        }
    }

    /// A light peer's index has taken entries in.
    pub(super) fn apply_part(&mut self, part: Part, ctx: &mut Ctx) {
        let Part {
            entries,
            head,
            peaks,
        } = part;
        if let Some(failure) = self.index_failure() {
            self.tell_catch_up(catch_up::Input::Indexed(Err(failure)), ctx);
            return;
        }
        let before = self.disk.peaks.count;
        ctx.checkers
            .note_entries(self.idx, before, &entries, &head, &ctx.chain, ctx.now);
        for entry in &entries {
            let position = &entry.position;
            let mined = ctx
                .chain
                .once_final(position.block_number, &position.block_hash);
            if let Some(block) = mined
                && !ctx.is_calm
            {
                ctx.metrics.dissemination.push(ctx.now - block.final_at);
            }
        }
        self.disk.peaks = peaks;
        // The index knows its last entry, and not what follows under the head.
        if let Some(last) = entries.last() {
            self.disk.sequence = Some(last.position.sequence());
            self.disk.followed_block = last.position.block_number;
        }
        self.tell_catch_up(catch_up::Input::Indexed(Ok(())), ctx);
        self.handle_applied(&entries, ctx);
    }

    pub(super) fn handle_entries_request(
        &mut self,
        from: u32,
        id: u64,
        data: &bytes::Bytes,
        ctx: &mut Ctx,
    ) {
        let (id, body) = (RequestId(id), data.clone());
        self.asked_entries.insert(id, from);
        let origin = Origin {
            peer: ctx.address(from),
            ip: None,
        };
        self.tell_discovery(discovery::Input::Request { id, origin, body }, ctx);
    }
}

/// The machine of a light peer, with what is on its disk.
pub(super) fn catch_up(peer: Address, disk: &Disk, ctx: &mut Ctx) -> CatchUp {
    let config = spread::Config {
        follows_chain: false,
        ..spread::Config::new(peer, ctx.params.domain)
    };
    let config = ctx.params.limits.spread(config);
    CatchUp::new(config, held(disk), ctx.rng.below(u64::MAX), ctx.now)
}

fn held(disk: &Disk) -> HeldEntries {
    HeldEntries {
        peaks: disk.peaks.clone(),
        block_number: disk.followed_block,
        sequence: disk.sequence,
        head_number_min: 0,
    }
}

/// What liars agree to say about a block: an entry nobody signed for it.
fn forge(block: &Block, ctx: &Ctx) -> (Head, Vec<EntryBatch>) {
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

/// Liars lie about every other block with entries.
fn lies_about(block: &Block) -> bool {
    !block.entries().is_empty() && block.hash.0[0] & 1 == 0
}

/// Blocks whose changes are told one by one; after more of them the news have
/// overflown, as in the node.
const NEWS_BLOCKS_MAX: usize = 4;
