//! The registry along the chain: latest, undone after a reorganisation, and at
//! the last snapshot block.

use std::collections::VecDeque;

use crate::registry::{BlockRef, Registry, RegistryEvent};

/// Registries of the blocks that a reorganisation may still reach.
#[derive(Debug, Clone)]
pub struct RegistryHistory {
    snapshot_blocks: u64,
    /// Everything up to the block before the first of `blocks`.
    base: Registry,
    /// At most [`HISTORY_BLOCKS_MAX`] blocks with their events.
    blocks: VecDeque<(BlockRef, Vec<RegistryEvent>)>,
    latest: Registry,
    snapshot: Registry,
}

impl RegistryHistory {
    /// Starts with an empty registry; `snapshot_blocks` is the contract's.
    #[must_use]
    pub fn new(snapshot_blocks: u64) -> Self {
        Self {
            snapshot_blocks: snapshot_blocks.max(1),
            base: Registry::default(),
            blocks: VecDeque::new(),
            latest: Registry::default(),
            snapshot: Registry::default(),
        }
    }

    /// The registry at the last block.
    #[must_use]
    pub const fn latest(&self) -> &Registry {
        &self.latest
    }

    /// The registry at the last final block divisible by the snapshot distance;
    /// empty before there is one.
    #[must_use]
    pub const fn snapshot(&self) -> &Registry {
        &self.snapshot
    }

    /// Applies a block's events.
    pub fn handle_block(&mut self, block: BlockRef, events: Vec<RegistryEvent>) {
        apply(&mut self.latest, block, &events);
        self.blocks.push_back((block, events));
        if self.blocks.len() > HISTORY_BLOCKS_MAX
            && let Some((block, events)) = self.blocks.pop_front()
        {
            apply(&mut self.base, block, &events);
        }
    }

    /// Forgets the blocks above `to`.
    pub fn handle_rollback(&mut self, to: BlockRef) {
        while self
            .blocks
            .back()
            .is_some_and(|(block, _)| block.number > to.number)
        {
            self.blocks.pop_back();
        }
        self.latest = self.at(to.number);
        if self.snapshot.block().number > to.number {
            self.snapshot = self.at(to.number - to.number % self.snapshot_blocks);
        }
    }

    /// Notes that `block` is final; true when the snapshot changed.
    pub fn handle_final(&mut self, block: BlockRef) -> bool {
        let number = block.number - block.number % self.snapshot_blocks;
        let present = self.snapshot.block();
        let is_taken = number == present.number && present != BlockRef::default();
        if is_taken || number < present.number || number < self.base.block().number {
            return false;
        }
        if self.base.block().number > present.number {
            self.snapshot = self.base.clone();
        }
        let taken = self.snapshot.block();
        let from = self.blocks.partition_point(|(block, _)| {
            taken != BlockRef::default() && block.number <= taken.number
        });
        for (block, events) in self.blocks.range(from..) {
            if block.number > number {
                break;
            }
            apply(&mut self.snapshot, *block, events);
        }
        self.snapshot.block() != present
    }

    fn at(&self, number: u64) -> Registry {
        let mut registry = self.base.clone();
        for (block, events) in &self.blocks {
            if block.number > number {
                break;
            }
            apply(&mut registry, *block, events);
        }
        registry
    }
}

fn apply(registry: &mut Registry, block: BlockRef, events: &[RegistryEvent]) {
    for event in events {
        registry.apply(event);
    }
    registry.set_block(block);
}

/// Blocks whose events can be undone. A snapshot lies at most `confirmations`
/// plus the snapshot distance below the head, which must stay within this.
pub const HISTORY_BLOCKS_MAX: usize = 1024;
