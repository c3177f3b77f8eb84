//! Signs of life.

use serde::{Deserialize, Serialize};

use super::{RecordError, require_time};
use crate::codec;
use crate::id::{Address, Hash32};
use crate::registry::Registry;
use crate::signing::{Domain, Record, Signed, StructEncoder};
use crate::time::{Moment, UnixSeconds};
use crate::wire::Topic;

/// "I am here": gossiped by staked peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Who says so.
    pub peer: Address,
    /// When it was signed.
    pub time: UnixSeconds,
    /// Serial of the newest lease page, 0 without one.
    pub page_serial: u64,
    /// Struct hash of the newest lease page, zero without one.
    pub page_hash: Hash32,
    /// Bytes the peer offers in all.
    pub capacity: u64,
    /// Bytes it holds.
    pub used: u64,
}

/// A signed presence as it travels.
pub type SignedPresence = Signed<Presence>;

impl Record for Presence {
    const TYPE: &'static str = "Presence(address peer,uint64 time,uint64 pageSerial,bytes32 pageHash,uint64 capacity,uint64 used)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .address(&self.peer)
            .uint(self.time.0)
            .uint(self.page_serial)
            .bytes32(&self.page_hash)
            .uint(self.capacity)
            .uint(self.used);
    }
}

/// Decodes and checks a gossiped presence.
///
/// # Errors
///
/// [`RecordError`]; see [`RecordError::is_offence`].
pub fn check_presence(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
    now: Moment,
) -> Result<SignedPresence, RecordError> {
    let presence: SignedPresence =
        codec::from_bytes("presence", data, Topic::Presence.message_bytes_max())?;
    presence.verify(domain, presence.record.peer)?;
    if registry.peer(&presence.record.peer).is_none() {
        return Err(RecordError::NotConfirmed {
            peer: presence.record.peer,
            role: "staked",
        });
    }
    require_time(presence.record.time.0, now, PRESENCE_SKEW_SECONDS_MAX)?;
    Ok(presence)
}

/// A presence is this far from the present at most. Chosen: longer than clocks differ
/// and gossip takes, a small part of the hours after which a silent peer is lost.
pub const PRESENCE_SKEW_SECONDS_MAX: u64 = 120;
