//! Clocks that are off.
//!
//! A peer's clock is set when the peer starts, as far off as the scenario allows,
//! and then runs a little too fast or too slow: within a process it never goes
//! back, over a restart it may.

use std::time::Duration;

use protocol::time::Moment;

use crate::engine::Rng;

/// The clocks of all peers.
#[derive(Debug)]
pub(super) struct Clocks {
    clocks: Vec<Clock>,
    skew: Duration,
    drift_ppm: u64,
    rng: Rng,
}

/// How one clock runs.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    /// The true time at which it was set.
    set_at: Moment,
    /// What it showed then.
    shown: Moment,
    /// Nanoseconds that it gains in a million.
    gain: u64,
    /// Nanoseconds that it loses in a million.
    loss: u64,
}

impl Clocks {
    pub(super) fn new(peers: usize, skew: Duration, drift_ppm: u64, rng: Rng) -> Self {
        Self {
            clocks: vec![Clock::default(); peers],
            skew,
            drift_ppm,
            rng,
        }
    }

    /// Sets a clock as a peer starts.
    pub(super) fn set(&mut self, peer: u32, now: Moment) {
        if self.skew.is_zero() && self.drift_ppm == 0 {
            return;
        }
        let off = self.rng.duration(Duration::ZERO, self.skew);
        let ppm = self.rng.below(self.drift_ppm + 1);
        let (is_ahead, is_fast) = (self.rng.chance(0.5), self.rng.chance(0.5));
        self.clocks[peer as usize] = Clock {
            set_at: now,
            shown: match is_ahead {
                true => now + off,
                false => Moment::ZERO + (now - Moment::ZERO).saturating_sub(off),
            },
            gain: if is_fast { ppm } else { 0 },
            loss: if is_fast { 0 } else { ppm },
        };
    }

    /// What a peer's clock shows.
    pub(super) fn read(&self, peer: u32, now: Moment) -> Moment {
        let clock = self.clocks[peer as usize];
        if clock.set_at == Moment::ZERO {
            return now;
        }
        let run = now - clock.set_at;
        let part = |ppm: u64| Duration::from_nanos(nanos(run) / 1_000_000 * ppm);
        let shown = clock.shown + (run + part(clock.gain));
        Moment::ZERO + (shown - Moment::ZERO).saturating_sub(part(clock.loss))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_its_skew_and_drifts_and_never_goes_back() {
        let skew = Duration::from_secs(60);
        let mut clocks = Clocks::new(100, skew, 200, Rng::stream(1, "clocks"));
        let start = Moment::ZERO + Duration::from_secs(1_000_000);
        let hour = Duration::from_secs(3600);
        for peer in 0..100 {
            assert_eq!(clocks.read(peer, start), start);
            clocks.set(peer, start);
            let first = clocks.read(peer, start);
            let later = clocks.read(peer, start + hour);
            assert!((first - start).max(start - first) <= skew);
            let run = later - first;
            let drift = Duration::from_millis(720);
            assert!(run + drift >= hour && run <= hour + drift);
        }
        let shown: std::collections::BTreeSet<_> =
            (0..100).map(|peer| clocks.read(peer, start)).collect();
        assert!(shown.len() > 90);
    }
}
