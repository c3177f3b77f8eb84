//! How much the machines of this crate keep, and for whom.

/// Bounds of [`crate::spread::Spread`], [`crate::heads::HeadCounter`] and
/// [`crate::discovery::Discovery`].
///
/// [`Limits::DEFAULT`] is what peers use. Smaller ones show in little time what
/// happens where they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Batches that may wait for a counted head or a final block.
    pub held_max: usize,
    /// Own batches that may wait for their turn.
    pub scheduled_max: usize,
    /// Blocks with entries whose batch ids are remembered.
    pub chain_blocks_max: usize,
    /// Heads by unknown signers that wait for a newer registry, 400 bytes each.
    pub early_heads_max: usize,
    /// Heads of one signer that are counted at a time; the newest stay.
    pub signer_heads_max: usize,
    /// Tallies this many blocks below the newest counted head are forgotten.
    pub heads_behind_max: u64,
    /// Counted heads that may wait for their entries.
    pub follower_heads_max: usize,
    /// Entries that may wait for the head that covers them; more are hashed first
    /// and taken in a second pass.
    pub entries_unverified_max: usize,
    /// Entries between two marks of such a first pass, at least.
    pub mark_entries_min: u64,
    /// Counted heads that wait for the own chain.
    pub candidates_max: usize,
    /// Most entries in one answer.
    pub answer_entries_max: usize,
    /// Requests that are answered at a time: each may hold an answer in memory.
    pub reads_max: usize,
    /// Requests of one peer in ten seconds.
    pub peer_requests_max: u32,
}

impl Limits {
    /// What peers use.
    pub const DEFAULT: Self = Self {
        // Derived: 32 MiB at most.
        held_max: 1024,
        // Chosen: those of the freshest blocks; what does not fit is published by
        // the other ranks.
        scheduled_max: 4096,
        // Chosen: hours of blocks, since nobody publishes a batch that is older than
        // minutes.
        chain_blocks_max: 4096,
        // Chosen: more than discovery peers that join at a time.
        early_heads_max: 256,
        // Chosen: as many as a peer that catches up signs behind the chain's newest
        // block.
        signer_heads_max: 64,
        // Chosen: hours of blocks, longer than a signer that still matters is behind.
        heads_behind_max: 4096,
        // Chosen: as many as batches may wait; the newest covers what the others did.
        follower_heads_max: 1024,
        // Chosen: sixteen full answers, 16 MiB without their metadata.
        entries_unverified_max: 32_768,
        // Two full answers, so that a piece that turns out wrong costs that much.
        mark_entries_min: 4096,
        // Chosen: a follower is some blocks behind the others; whoever is further
        // behind hears of newer ones.
        candidates_max: 64,
        // At about 500 bytes each they fill a quarter of an answer.
        answer_entries_max: 2048,
        // Each may hold an answer of 4 MiB.
        reads_max: 4,
        // 65,536 entries, which take a core some seconds to verify.
        peer_requests_max: 32,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
