//! Time as the machines see it: handed in by a driver, never read.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on a driver's clock, in nanoseconds since the Unix epoch.
///
/// A real driver anchors it at the wall clock once and then follows the
/// monotonic clock, so it never goes back within a process; a simulation starts
/// wherever it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

/// Seconds since the Unix epoch, as records carry them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

/// An hour of network time: floor(Unix seconds / 3600).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Moment {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);

    /// Makes a moment from nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Makes a moment from Unix seconds, saturating in the year 2554.
    #[must_use]
    pub const fn from_unix(seconds: UnixSeconds) -> Self {
        Self(seconds.0.saturating_mul(NANOS_PER_SECOND))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn unix(self) -> UnixSeconds {
        UnixSeconds(self.0 / NANOS_PER_SECOND)
    }

    /// The epoch that this moment lies in.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.unix().epoch()
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl UnixSeconds {
    /// The epoch that this second lies in.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch(self.0 / EPOCH_SECONDS)
    }
}

impl Epoch {
    /// The first second of the epoch.
    #[must_use]
    pub const fn start(self) -> UnixSeconds {
        UnixSeconds(self.0.saturating_mul(EPOCH_SECONDS))
    }

    /// The epoch `count` epochs later.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Length of an epoch in seconds.
pub const EPOCH_SECONDS: u64 = 3600;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_an_hour_of_unix_time() {
        assert_eq!(UnixSeconds(3599).epoch(), Epoch(0));
        assert_eq!(UnixSeconds(3600).epoch(), Epoch(1));
        assert_eq!(Epoch(2).start(), UnixSeconds(7200));
        assert_eq!(Moment::from_unix(UnixSeconds(7201)).epoch(), Epoch(2));
    }

    #[test]
    fn arithmetic_saturates() {
        let last = Moment::from_nanos(u64::MAX);
        assert_eq!(last + Duration::from_secs(1), last);
        assert_eq!(Moment::ZERO - last, Duration::ZERO);
    }
}
