//! How long light peers stay, and how long they stay away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::Rng;

/// Weibull-distributed sessions; shape 1 is the exponential distribution.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Share of light peers that come and go at all.
    pub share: f64,
    /// Shape of both distributions.
    pub shape: f64,
    /// Scale of the time online in seconds.
    pub online_seconds: u64,
    /// Scale of the time away in seconds.
    pub away_seconds: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            share: 0.0,
            shape: 0.6,
            online_seconds: 240,
            away_seconds: 60,
        }
    }
}

impl Sessions {
    /// Draws how long a peer stays, at least a second.
    pub fn online(&self, rng: &mut Rng) -> Duration {
        self.draw(rng, self.online_seconds)
    }

    /// Draws how long a peer stays away, at least a second.
    pub fn away(&self, rng: &mut Rng) -> Duration {
        self.draw(rng, self.away_seconds)
    }

    fn draw(&self, rng: &mut Rng, scale: u64) -> Duration {
        rng.weibull(self.shape.max(0.1), Duration::from_secs(scale))
            .max(Duration::from_secs(1))
    }
}
