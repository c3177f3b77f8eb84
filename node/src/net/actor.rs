//! The task that owns the swarm.

use protocol::signing::SigningKey;

use super::{NetConfig, NetHandle, StartError};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Starts the task.
#[allow(
    clippy::unused_async,
    reason = "listening waits for the operating system"
)]
pub(super) async fn start(
    _config: NetConfig,
    _key: &SigningKey,
    _clock: Clock,
    _metrics: &Metrics,
) -> Result<NetHandle, StartError> {
    Err(StartError::Setup {
        part: "the swarm",
        reason: "not available".into(),
    })
}
