//! Where the chain reads the time.

use std::fmt;
use std::sync::Arc;

use protocol::time::Moment;

/// Tells the present moment; cheap to clone.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Moment + Send + Sync>,
}

impl Clock {
    /// Reads the time by calling `read`, which never goes back.
    pub fn new(read: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self {
            read: Arc::new(read),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        (self.read)()
    }

    /// Sleeps until a machine's deadline, for ever when it has none.
    pub(crate) async fn sleep_until(&self, deadline: Option<(Moment, &'static str)>) {
        match deadline {
            Some((at, _reason)) => tokio::time::sleep(at.saturating_since(self.now())).await,
            None => std::future::pending().await,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
