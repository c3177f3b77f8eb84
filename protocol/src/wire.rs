//! The closed set of what peers ask each other and tell everybody, with all limits.
//!
//! Frames are drawn in `docs/formats/frames.md`.

use std::time::Duration;

use crate::action::SIGNED_ACTION_BYTES_MAX;
use crate::entry::BATCH_BYTES_MAX;
use crate::refusal::REASON_BYTES_MAX;

mod topic;

pub use topic::{Audience, Topic};

/// A request-response protocol between peers.
///
/// The body of a request or response is opaque here; the module that serves the
/// protocol decodes it. Frames are drawn in `docs/formats/frames.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Blocks by CID.
    Blocks,
    /// Requests to keep an upload, answered by leases.
    Publish,
    /// Lease pages and single leases.
    Leases,
    /// Ranges of entries and heads.
    Entries,
    /// Actions for a relayer to pay for.
    Relayer,
    /// Vault records, read and written.
    Vault,
}

/// The limits of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolLimits {
    /// A longer request is refused before it is read.
    pub request_bytes_max: usize,
    /// A longer response is refused before it is read.
    pub response_bytes_max: usize,
    /// From the first byte of the request to the last of the response.
    pub timeout: Duration,
    /// Requests of one peer being answered at once; more are refused as busy.
    pub inbound_per_peer_max: usize,
    /// Requests of all peers being answered at once; more are refused as busy.
    pub inbound_max: usize,
}

impl Protocol {
    /// Every protocol, in order.
    pub const ALL: [Self; 6] = [
        Self::Blocks,
        Self::Publish,
        Self::Leases,
        Self::Entries,
        Self::Relayer,
        Self::Vault,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "/coliving/blocks/1",
            Self::Publish => "/coliving/publish/1",
            Self::Leases => "/coliving/leases/1",
            Self::Entries => "/coliving/entries/1",
            Self::Relayer => "/coliving/relayer/1",
            Self::Vault => "/coliving/vault/1",
        }
    }

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Publish => "publish",
            Self::Leases => "leases",
            Self::Entries => "entries",
            Self::Relayer => "relayer",
            Self::Vault => "vault",
        }
    }

    /// Sizes, times and numbers that bound the protocol.
    ///
    /// Sizes are the largest that a message of the protocol can have. Times and
    /// numbers are chosen: longer than the slowest honest answer takes, and more
    /// than an honest peer asks at once.
    #[must_use]
    pub const fn limits(self) -> ProtocolLimits {
        let (request_bytes_max, response_bytes_max, seconds, inbound_per_peer_max, inbound_max) =
            match self {
                // 64 CIDs; 4 MiB of blocks and what stands around 64 of them.
                Self::Blocks => (16 * KIB, 4 * MIB + 1040, 60, 32, 256),
                // An action and the other fields of an offer; a lease or a reason.
                Self::Publish => (20 * KIB, 4 * KIB, 300, 4, 64),
                // A lease; a page, and 1,024 leases each with the key of its release.
                Self::Leases => (2 * KIB, 642 * KIB, 30, 8, 64),
                // Two numbers; about 8,000 entries, a head and its signatures.
                Self::Entries => (64, 4 * MIB, 60, 8, 64),
                // An action, a token and a number; a receipt or a reason.
                Self::Relayer => (17 * KIB, 4 * KIB, 30, 8, 128),
                // A record and a tombstone; those of four wallets and a sign-up.
                Self::Vault => (2 * KIB, 8 * KIB, 15, 8, 64),
            };
        ProtocolLimits {
            request_bytes_max,
            response_bytes_max,
            timeout: Duration::from_secs(seconds),
            inbound_per_peer_max,
            inbound_max,
        }
    }

    /// The place in [`Self::ALL`].
    #[must_use]
    pub const fn idx(self) -> usize {
        self as usize
    }
}

/// From the opening of a stream to the last byte of the request. Chosen: the longest
/// takes a third of a second at 64 KiB/s.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Piece of a body whose writing is timed in bytes.
pub const PIECE_BYTES: usize = 64 * KIB;

/// How long the other side may take to accept a piece. Chosen: ten transfers beside
/// each other over a link of 64 KiB/s.
pub const PIECE_PATIENCE: Duration = Duration::from_secs(10);

/// Requests of all peers on all protocols that are answered at once.
pub const INBOUND_MAX: usize = {
    let mut sum = 0;
    let mut idx = 0;
    while idx < Protocol::ALL.len() {
        sum += Protocol::ALL[idx].limits().inbound_max;
        idx += 1;
    }
    sum
};

/// Longest signed record on a topic in bytes; the largest, a head, has 400.
pub const RECORD_BYTES_MAX: usize = 1024;

/// Longest message on a topic in bytes: gossipsub's frame less a KiB for author,
/// signature and topic.
pub const GOSSIP_BYTES_MAX: usize = GOSSIP_FRAME_BYTES_MAX - KIB;

/// A longer gossipsub frame is not sent and ends the stream that brings it;
/// gossipsub's own default, so that other implementations take part.
pub const GOSSIP_FRAME_BYTES_MAX: usize = 64 * KIB;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// What the messages hold, against the limits of what carries them; the modules of
// larger messages do the same for theirs.
const _: () = {
    let publish = Protocol::Publish.limits();
    assert!(LEASE_BYTES_MAX + REASON_BYTES_MAX < publish.response_bytes_max);
    let leases = Protocol::Leases.limits();
    assert!(LEASE_BYTES_MAX < leases.request_bytes_max);
    let relayer = Protocol::Relayer.limits();
    assert!(SIGNED_ACTION_BYTES_MAX + REASON_BYTES_MAX < relayer.request_bytes_max);
    assert!(REASON_BYTES_MAX < relayer.response_bytes_max);
    let mut idx = 0;
    while idx < Topic::ALL.len() {
        assert!(Topic::ALL[idx].message_bytes_max() <= GOSSIP_BYTES_MAX);
        idx += 1;
    }
    assert!(LEASE_BYTES_MAX <= RECORD_BYTES_MAX);
    // An entry too large for the batches of others travels alone.
    assert!(SIGNED_ACTION_BYTES_MAX + RECORD_BYTES_MAX <= BATCH_BYTES_MAX);
    // A response of entries carries at least one batch beside its head.
    assert!(2 * BATCH_BYTES_MAX < Protocol::Entries.limits().response_bytes_max);
};

/// A CID of a known hash takes less in DAG-CBOR; an address in a list too.
pub(crate) const CID_BYTES_MAX: usize = 128;

/// A signed lease takes less.
pub(crate) const LEASE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests;
