//! Housekeeping on disk: lapsed reasons, loose blocks, half-dead segments.
//!
//! Touches blocks only; never the index, the vault or keys.

use std::time::Duration;

use protocol::time::UnixSeconds;

use crate::context::Context;

/// Starts to keep house, a little at a time.
pub fn spawn(context: &Context) {
    let context = context.clone();
    let floor = context.floor.clone();
    floor.spawn(async move {
        // Not at once: publications that go on hold their roots first.
        let first = tokio::time::Instant::now() + ROUND_INTERVAL;
        let mut rounds = tokio::time::interval_at(first, ROUND_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = context.floor.stop().cancelled() => return,
                _ = rounds.tick() => {
                    let now = context.clock.now().unix();
                    let loose_before = UnixSeconds(now.0.saturating_sub(LOOSE_SECONDS_MAX));
                    if let Err(error) = context.store.keep_house(loose_before).await {
                        tracing::warn!(%error, "housekeeping was put off");
                    }
                }
            }
        }
    });
}

/// Pause between two rounds. Chosen: what it clears away lapses in hours.
const ROUND_INTERVAL: Duration = Duration::from_secs(60);

/// Blocks that no root claims are kept this long: an import or a fetch of more
/// than that claims them as it goes on.
const LOOSE_SECONDS_MAX: u64 = 6 * 3600;
