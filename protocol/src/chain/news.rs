//! What those who follow the chain are told of it, decoded.

use std::sync::Arc;

use super::follower::TooDeep;
use crate::entry::Entry;
use crate::id::Hash32;
use crate::registry::{BlockRef, RegistryEvent};
use crate::time::UnixSeconds;

/// What a subscriber is told, in chain order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainEvent {
    /// The next block, be it empty or not.
    Block(Arc<ChainBlock>),
    /// Every block above `to` is undone.
    Rollback {
        /// The last block that stands.
        to: BlockRef,
    },
    /// This block has its confirmations; told once for each block, in order.
    Final {
        /// The block that is final.
        block: BlockRef,
    },
    /// The chain forked below every block of the subscriber's cursor; the
    /// subscription ends. Delete what was derived and subscribe from the start.
    TooDeep(TooDeep),
}

/// A block, as far as it concerns Coliving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainBlock {
    /// The block's number and hash.
    pub block: BlockRef,
    /// Hash of the block before.
    pub parent: Hash32,
    /// The block's timestamp.
    pub time: UnixSeconds,
    /// Its entries, in log order; signatures are checked.
    pub entries: Vec<Entry>,
    /// Its registry events, in log order.
    pub registry: Vec<RegistryEvent>,
}
