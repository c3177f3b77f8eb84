//! One hash over everything that happened.

use std::fmt;

use protocol::time::Moment;

/// BLAKE3 over a fixed-layout record of every delivered event.
///
/// Two runs with equal hashes delivered the same bytes between the same peers
/// at the same moments.
#[derive(Debug, Clone, Default)]
pub struct TraceHash {
    hasher: blake3::Hasher,
    /// Records that are not hashed yet: long inputs are hashed several blocks at a
    /// time.
    pending: Vec<u8>,
    events: u64,
}

/// A delivered event: 25 bytes under the hash, little-endian, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceRecord {
    /// When it was delivered.
    pub at: Moment,
    /// From which peer; `u32::MAX` for the world.
    pub from: u32,
    /// To which peer; `u32::MAX` for the world.
    pub to: u32,
    /// What kind of event.
    pub kind: u8,
    /// [`digest64`] of its payload.
    pub payload: u64,
}

impl TraceHash {
    /// Adds an event.
    pub fn record(&mut self, record: TraceRecord) {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&record.at.as_nanos().to_le_bytes());
        bytes[8..12].copy_from_slice(&record.from.to_le_bytes());
        bytes[12..16].copy_from_slice(&record.to.to_le_bytes());
        bytes[16] = record.kind;
        bytes[17..].copy_from_slice(&record.payload.to_le_bytes());
        self.pending.extend_from_slice(&bytes);
        if self.pending.len() >= PENDING_BYTES_MAX {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        self.events += 1;
    }

    /// How many events were added.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The hash so far as 64 hexadecimal digits.
    #[must_use]
    pub fn finish(&self) -> String {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.pending);
        hasher.finalize().to_hex().to_string()
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finish())
    }
}

/// The first eight bytes of BLAKE3.
#[must_use]
pub fn digest64(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

const RECORD_BYTES: usize = 25;

/// Chosen: more than the hash takes at a time, and little beside a run's memory.
const PENDING_BYTES_MAX: usize = 64 << 10;
