//! What peers may ask each other, with the limits of each question.

use std::time::Duration;

mod topic;

pub use topic::Topic;

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
    /// Vault records.
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
    #[must_use]
    pub const fn limits(self) -> ProtocolLimits {
        let (request_bytes_max, response_bytes_max, seconds, inbound_per_peer_max, inbound_max) =
            match self {
                // 4 MiB of blocks, and room for 64 CIDs with their lengths.
                Self::Blocks => (16 * KIB, 4 * MIB + 64 * KIB, 60, 32, 256),
                // The answer comes after the holder has pulled the upload.
                Self::Publish => (256 * KIB, 64 * KIB, 300, 4, 64),
                Self::Leases => (64 * KIB, MIB, 30, 8, 64),
                Self::Entries => (64 * KIB, 4 * MIB, 60, 8, 64),
                Self::Relayer => (64 * KIB, 16 * KIB, 30, 8, 128),
                Self::Vault => (64 * KIB, 64 * KIB, 15, 8, 64),
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

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[cfg(test)]
mod tests;
