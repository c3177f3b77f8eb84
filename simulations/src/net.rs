//! The network between the peers: latency, bandwidth, loss, partitions.
//!
//! Peers speak over connections that retransmit, so a lost packet delays a
//! message; a peer that is down or on the other side of a partition breaks the
//! connection, and the message is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::time::Moment;
use serde::{Deserialize, Serialize};

use crate::engine::{Rng, digest64};

mod churn;
mod inbox;
mod mesh;

pub use churn::Sessions;
pub use inbox::{Gossiped, Inbox};
pub use mesh::Mesh;

/// Links between all peers.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    seed: u64,
    rng: Rng,
    /// When each peer's uplink has sent what it was given.
    uplinks: Vec<Moment>,
    bits_per_second: Vec<u64>,
    regions: Vec<u8>,
    /// The side of each peer while a partition lasts.
    sides: Option<Vec<u8>>,
    /// Whom the others do not hear.
    muted: Vec<bool>,
    slow: BTreeMap<u32, Slow>,
    is_calm: bool,
    bytes: u64,
}

/// What the links are like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Time from one peer to another.
    pub latency: Latency,
    /// Share of packets that are lost during the fault phase.
    pub loss: f64,
    /// Uplink of staked peers in Mbit/s.
    pub staked_mbit: u64,
    /// Uplink of light peers in Mbit/s.
    pub light_mbit: u64,
    /// Share of messages that arrive twice during the fault phase.
    pub duplicates: f64,
    /// Share of answers that come when nobody waits for them any more.
    pub late_answers: f64,
}

/// What a slow link is like.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    /// Its uplink has this part of its rate.
    pub divisor: u64,
    /// Whatever it sends or receives takes so much longer.
    pub delay: Duration,
}

/// Time that a message takes on a link, in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "lowercase", deny_unknown_fields)]
pub enum Latency {
    /// The same everywhere.
    Const {
        /// One way, in milliseconds.
        ms: u64,
    },
    /// Drawn once per pair of peers.
    Uniform {
        /// The shortest, in milliseconds.
        low_ms: u64,
        /// The longest, in milliseconds.
        high_ms: u64,
    },
    /// Peers live in eight regions of the world, with 10 % jitter.
    Regions,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            latency: Latency::Regions,
            loss: 0.01,
            staked_mbit: 200,
            light_mbit: 20,
            duplicates: 0.0,
            late_answers: 0.0,
        }
    }
}

impl Network {
    /// Lays links between `peers` peers, the first `staked` of them staked.
    #[must_use]
    pub fn new(config: NetworkConfig, peers: usize, staked: usize, seed: u64) -> Self {
        let mut rng = Rng::stream(seed, "network");
        let regions = (0..peers).map(|_| draw_region(&mut rng)).collect();
        let mbit = |idx| {
            if idx < staked {
                config.staked_mbit
            } else {
                config.light_mbit
            }
        };
        Self {
            bits_per_second: (0..peers).map(|idx| mbit(idx).max(1) * 1_000_000).collect(),
            uplinks: vec![Moment::ZERO; peers],
            regions,
            sides: None,
            muted: vec![false; peers],
            slow: BTreeMap::new(),
            is_calm: false,
            bytes: 0,
            config,
            seed,
            rng,
        }
    }

    /// Sends `bytes` and says when they arrive; `None` when they do not.
    pub fn send(&mut self, from: u32, to: u32, bytes: usize, now: Moment) -> Option<Moment> {
        let (source, target) = (from as usize, to as usize);
        if !self.is_connected(from, to) {
            return None;
        }
        let nanos = (bytes + OVERHEAD_BYTES) as u64 * 8 * 1_000_000_000;
        let slow = self.slow.get(&from).copied();
        let divisor = slow.map_or(1, |slow| slow.divisor);
        let sending = Duration::from_nanos(nanos * divisor / self.bits_per_second[source]);
        let start = self.uplinks[source].max(now);
        self.uplinks[source] = start + sending;
        self.bytes += (bytes + OVERHEAD_BYTES) as u64;
        let mut delay = self.latency(source, target);
        let slow = slow.into_iter().chain(self.slow.get(&to).copied());
        delay += slow.map(|slow| slow.delay).sum::<Duration>();
        if !self.is_calm {
            let mut pause = RETRANSMIT_FIRST;
            for tries in 0.. {
                if !self.rng.chance(self.config.loss) {
                    break;
                }
                if tries == RETRANSMITS_MAX {
                    return None;
                }
                delay += pause;
                pause *= 2;
            }
        }
        Some(self.uplinks[source] + delay)
    }

    /// True for a message that arrives twice.
    pub fn is_doubled(&mut self) -> bool {
        !self.is_calm && self.config.duplicates > 0.0 && self.rng.chance(self.config.duplicates)
    }

    /// How long an answer is held by whoever reads it slowly.
    pub fn lateness(&mut self) -> Duration {
        let share = self.config.late_answers;
        if self.is_calm || share <= 0.0 || !self.rng.chance(share) {
            return Duration::ZERO;
        }
        self.rng.duration(LATE_MIN, LATE_MAX)
    }

    /// True unless a cut lies between the two.
    #[must_use]
    pub fn is_connected(&self, from: u32, to: u32) -> bool {
        let sides = self.sides.as_ref();
        sides.is_none_or(|sides| sides[from as usize] == sides[to as usize])
            && !self.muted[from as usize]
    }

    /// True while nothing is cut or slow.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sides.is_none() && self.slow.is_empty() && !self.muted.contains(&true)
    }

    /// From now on nobody hears this peer, which hears everybody; or all is well.
    pub fn mute(&mut self, peer: u32, is_muted: bool) {
        self.muted[peer as usize] = is_muted;
    }

    /// Makes a peer's links slow, or as they were.
    pub fn slow(&mut self, peer: u32, slow: Option<Slow>) {
        match slow {
            Some(slow) => drop(self.slow.insert(peer, slow)),
            None => drop(self.slow.remove(&peer)),
        }
    }

    /// Splits the network: peers talk to those of their own side only.
    pub fn partition(&mut self, sides: Vec<u8>) {
        self.sides = Some(sides);
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        self.sides = None;
    }

    /// Ends loss, cuts and slowness.
    pub fn calm(&mut self) {
        self.is_calm = true;
        self.heal();
        self.muted.fill(false);
        self.slow.clear();
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn latency(&mut self, from: usize, to: usize) -> Duration {
        match self.config.latency {
            Latency::Const { ms } => Duration::from_millis(ms),
            Latency::Uniform { low_ms, high_ms } => {
                let (low, high) = (from.min(to) as u64, from.max(to) as u64);
                let mut key = [0; 24];
                key[..8].copy_from_slice(&low.to_le_bytes());
                key[8..16].copy_from_slice(&high.to_le_bytes());
                key[16..].copy_from_slice(&self.seed.to_le_bytes());
                let span_us = high_ms.saturating_sub(low_ms) * 1000 + 1;
                Duration::from_micros(low_ms * 1000 + digest64(&key) % span_us)
            }
            Latency::Regions => {
                let region = |idx: usize| usize::from(self.regions[idx]);
                let ms = REGION_MS[region(from)][region(to)];
                let base_us = u64::from(ms) * 1000;
                Duration::from_micros(base_us + self.rng.below(base_us / 10 + 1))
            }
        }
    }
}

fn draw_region(rng: &mut Rng) -> u8 {
    let total: u64 = REGION_WEIGHTS.iter().sum();
    let mut draw = rng.below(total);
    for (region, weight) in (0..).zip(REGION_WEIGHTS) {
        if draw < weight {
            return region;
        }
        draw -= weight;
    }
    0
}

/// Headers and framing of a message.
const OVERHEAD_BYTES: usize = 64;

/// A late answer is so late: longer than most questions wait.
const LATE_MIN: Duration = Duration::from_secs(4);
const LATE_MAX: Duration = Duration::from_secs(30);

/// Before a lost packet is sent again; doubles with each try.
const RETRANSMIT_FIRST: Duration = Duration::from_millis(200);

/// Losses in a row that break a connection.
const RETRANSMITS_MAX: u32 = 6;

/// How many of the world's peers live where: Europe, North America east and
/// west, East Asia, Australia, West Asia, South Africa, South America.
const REGION_WEIGHTS: [u64; 8] = [5599, 2894, 1240, 1059, 290, 161, 47, 36];

/// One way between regions in milliseconds, order as in [`REGION_WEIGHTS`].
const REGION_MS: [[u32; 8]; 8] = [
    [10, 45, 75, 115, 140, 60, 90, 100],
    [45, 8, 35, 100, 110, 90, 120, 65],
    [75, 35, 6, 65, 80, 115, 150, 90],
    [115, 100, 65, 12, 60, 80, 140, 150],
    [140, 110, 80, 60, 8, 110, 140, 155],
    [60, 90, 115, 80, 110, 10, 90, 145],
    [90, 120, 150, 140, 140, 90, 5, 170],
    [100, 65, 90, 150, 155, 145, 170, 10],
];

#[cfg(test)]
mod tests;
