//! What is asked and answered over `/coliving/entries/1`, decoded with limits.

use protocol::codec::{self, DecodeError};
use protocol::entry::Entry;
use protocol::records::Head;
use protocol::signing::Signature;
use protocol::wire::Protocol;
use serde::{Deserialize, Serialize};

/// Asks a discovery peer for the entries after the first `from_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntriesRequest {
    /// How many entries the asker has.
    pub from_count: u64,
    /// Chain position of the last of them.
    pub after: Option<u64>,
}

/// Entries up to a head, with the signatures that make it count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntriesAnswer {
    /// The entries that follow, in chain order; they may end before `head`.
    pub entries: Vec<Entry>,
    /// A counted head at or after the last entry.
    pub head: Head,
    /// Signatures of discovery peers over `head`.
    pub signatures: Vec<Signature>,
}

impl EntriesRequest {
    /// Decodes a request within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Entries.limits().request_bytes_max;
        codec::from_bytes("entries request", bytes, limit)
    }
}

impl EntriesAnswer {
    /// Decodes an answer within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Entries.limits().response_bytes_max;
        codec::from_bytes("entries answer", bytes, limit)
    }
}

/// Most signatures that are looked at in an [`EntriesAnswer`]. Derived: some 90
/// bytes each, they fit beside the head in what an answer keeps free of entries.
pub const SIGNATURES_MAX: usize = 1024;
