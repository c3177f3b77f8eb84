//! A token bucket over virtual time.

use std::time::Duration;

use crate::time::Moment;

/// Lets through a number of bytes a second. A taker larger than the burst waits
/// for a full bucket and leaves it in debt, so that nothing waits for ever; the
/// debt is at most `DEBT_BURSTS_MAX` bursts.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    bytes_per_second: u64,
    burst_bytes_max: u64,
    /// When the bucket was, or will be, full.
    full_at: Moment,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(bytes_per_second: u64, burst_bytes_max: u64, now: Moment) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            burst_bytes_max: burst_bytes_max.max(1),
            full_at: now,
        }
    }

    /// Takes `bytes` if they are there at `now`, and says how many were counted.
    pub fn take(&mut self, bytes: u64, now: Moment) -> Option<u64> {
        if self.ready_at(bytes) > now {
            return None;
        }
        let counted = bytes.min(self.burst_bytes_max.saturating_mul(DEBT_BURSTS_MAX));
        self.full_at = self.full_at.max(now) + self.time_for(counted);
        Some(counted)
    }

    /// Puts back what was taken in vain.
    pub fn give_back(&mut self, bytes: u64) {
        let early = u64::try_from(self.time_for(bytes).as_nanos()).unwrap_or(u64::MAX);
        self.full_at = Moment::from_nanos(self.full_at.as_nanos().saturating_sub(early));
    }

    /// When `bytes` will be there.
    #[must_use]
    pub fn ready_at(&self, bytes: u64) -> Moment {
        let spare = self.burst_bytes_max - bytes.min(self.burst_bytes_max);
        let early = u64::try_from(self.time_for(spare).as_nanos()).unwrap_or(u64::MAX);
        Moment::from_nanos(self.full_at.as_nanos().saturating_sub(early))
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one taker may owe, in bursts: its size is somebody else's word.
const DEBT_BURSTS_MAX: u64 = 64;
