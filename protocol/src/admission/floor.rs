//! The least rate that a transfer has to keep.

use std::time::Duration;

use crate::time::Moment;

/// Watches how a transfer comes on, whose slot somebody else could use.
#[derive(Debug)]
pub struct Floor {
    /// Bytes that were here when it was looked at last.
    mark: u64,
    /// When it is looked at next.
    due: Moment,
    is_whole: bool,
}

impl Floor {
    /// Of a transfer that begins.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            mark: 0,
            due: now + RATE_WINDOW,
            is_whole: false,
        }
    }

    /// When it is to be looked at.
    #[must_use]
    pub const fn due(&self) -> Moment {
        self.due
    }

    /// True unless the transfer is too slow, with `bytes` of `size` here. What is
    /// whole has as long to be checked as it had at most to arrive.
    pub fn is_kept(&mut self, bytes: u64, size: u64, now: Moment) -> bool {
        if now < self.due {
            return true;
        }
        let window = RATE_WINDOW.as_secs();
        if bytes >= size {
            self.due = now + RATE_WINDOW + Duration::from_secs(size / RATE_MIN);
            return !std::mem::replace(&mut self.is_whole, true);
        }
        let gained = bytes.saturating_sub(self.mark);
        self.mark = bytes;
        self.due = now + RATE_WINDOW;
        gained >= RATE_MIN * window
    }
}

/// Bytes a second, on the average of a window. Chosen: half a Mbit/s, which the
/// uplink of a phone has.
pub const RATE_MIN: u64 = 64 << 10;

/// Chosen: longer than a first holder takes to be found, short for those who wait.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);
