//! Signs of life.

use serde::{Deserialize, Serialize};

use super::{Around, RecordError, Told, require_time};
use crate::codec;
use crate::id::{Address, Hash32};
use crate::signing::{Record, Signed, StructEncoder};
use crate::time::UnixSeconds;
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

impl Told for Presence {
    const TOPIC: Topic = Topic::Presence;

    fn teller(&self) -> Address {
        self.peer
    }

    fn number(&self) -> u64 {
        self.time.0
    }

    fn check(data: &[u8], around: &Around<'_>) -> Result<Signed<Self>, RecordError> {
        let bytes_max = Self::TOPIC.message_bytes_max();
        let presence: SignedPresence = codec::from_bytes("presence", data, bytes_max)?;
        let record = &presence.record;
        presence.verify(around.domain, record.peer)?;
        if around.registry.peer(&record.peer).is_none() {
            return Err(RecordError::NotConfirmed {
                peer: record.peer,
                role: "staked",
            });
        }
        require_time(record.time.0, around.now, PRESENCE_SKEW_SECONDS_MAX)?;
        Ok(presence)
    }
}

/// A presence is this far from the present at most. Chosen: longer than clocks differ
/// and gossip takes, a small part of the hours after which a silent peer is lost.
pub const PRESENCE_SKEW_SECONDS_MAX: u64 = 120;
