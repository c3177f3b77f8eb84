//! The real clock: the wall clock read once, then the monotonic clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::time::Moment;

/// Hands out [`Moment`]s; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Moment,
    started: Instant,
    /// Seconds by which somebody has set it forward.
    forward: Option<&'static AtomicU64>,
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
            forward: None,
        }
    }

    /// Begins at another moment, from which time goes on as it does.
    #[must_use]
    pub fn at(anchor: Moment) -> Self {
        Self {
            anchor,
            ..Self::system()
        }
    }

    /// Is ahead by the seconds that `forward` holds, at each moment: what takes
    /// days can be seen to happen.
    #[must_use]
    pub const fn set_by(self, forward: &'static AtomicU64) -> Self {
        Self {
            forward: Some(forward),
            ..self
        }
    }

    /// The present moment; never goes back.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.anchor + self.started.elapsed() + self.forward()
    }

    fn forward(&self) -> Duration {
        let seconds = self.forward.map(|seconds| seconds.load(Ordering::SeqCst));
        Duration::from_secs(seconds.unwrap_or(0))
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
