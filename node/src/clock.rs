//! The real clock: the wall clock read once, then the monotonic clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use protocol::time::Moment;

/// Hands out [`Moment`]s; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Moment,
    started: Instant,
}

impl Clock {
    /// Anchors a clock at the present wall time.
    #[must_use]
    pub fn system() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            anchor: Moment::ZERO + wall,
            started: Instant::now(),
        }
    }

    /// Begins at another moment, from which time goes on as it does.
    #[cfg(test)]
    pub(crate) fn at(anchor: Moment) -> Self {
        Self {
            anchor,
            started: Instant::now(),
        }
    }

    /// The present moment; never goes back.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.anchor + self.started.elapsed()
    }

    /// Sleeps until a machine's deadline, for ever when it has none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn sleep_until(&self, deadline: Option<(Moment, &'static str)>) {
        match deadline {
            Some((at, _reason)) => {
                tokio::time::sleep(at.saturating_since(self.now())).await;
            }
            None => std::future::pending().await,
        }
    }
}
