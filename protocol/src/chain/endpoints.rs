//! Which of several RPC endpoints to ask.
//!
//! The machine hears how every request went and what head each endpoint shows.
//! From that it puts the endpoints in the order in which to try them: those that
//! answer, in the configured order; then those that are slow, lag or stall; then
//! those that fail. An endpoint that failed is left alone for a while that
//! doubles, and one that nobody asks is probed, so that it comes back by itself.
//!
//! A head proves nothing about a single endpoint: one that claims blocks that no
//! other has would make all others look late. Lag is therefore measured against
//! the upper median of the heads.

use std::time::Duration;

use crate::id::Hash32;
use crate::time::{Moment, UnixSeconds};

/// When an endpoint counts as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointsConfig {
    /// The chain that they must serve; the first answer decides when `None`.
    pub chain_id: Option<u64>,
    /// The usual time between two blocks; `None` on a chain that mines on
    /// demand, where silence says nothing.
    pub block_time: Option<Duration>,
    /// Seed of the jitter.
    pub seed: u64,
}

/// The machine; see the module text.
#[derive(Debug)]
pub struct Endpoints {
    config: EndpointsConfig,
    chain_id: Option<u64>,
    endpoints: Vec<Endpoint>,
    random: u64,
}

/// How an endpoint is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointHealth {
    /// In one word and what belongs to it.
    pub state: EndpointState,
    /// The newest block that it has shown.
    pub head: Option<u64>,
    /// Usual time to an answer.
    pub latency: Option<Duration>,
    /// When it last answered.
    pub answered_at: Option<Moment>,
    /// Requests that it answered.
    pub answers: u64,
    /// Requests that failed there.
    pub failures: u64,
    /// The last failure, until it answers again.
    pub error: Option<String>,
}

/// The state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndpointState {
    /// It answers and keeps up.
    Healthy,
    /// It has not been asked yet.
    Unknown,
    /// It answers late.
    Slow,
    /// It is this many blocks behind the others.
    Lagging {
        /// Blocks behind the highest head that was seen.
        blocks: u64,
    },
    /// It answers, and has shown no new block since.
    Stalled {
        /// When it last showed a new block.
        since: UnixSeconds,
    },
    /// It failed and is tried again after `until`.
    Failing {
        /// When it may be tried again.
        until: Moment,
    },
    /// It serves this chain.
    OtherChain {
        /// Its chain id.
        found: u64,
    },
}

#[derive(Debug, Clone, Default)]
struct Endpoint {
    /// Its chain id was compared since it last failed.
    is_checked: bool,
    other_chain: Option<u64>,
    head: Option<Head>,
    /// Blocks behind the others when its head was last seen.
    lag: u64,
    latency: Option<Duration>,
    answered_at: Option<Moment>,
    answers: u64,
    failures: u64,
    failures_in_a_row: u32,
    error: Option<String>,
    retry_at: Option<Moment>,
    /// It said itself when to come back.
    wants_rest: bool,
    probe_at: Moment,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    number: u64,
    hash: Hash32,
    /// When it was first seen; for the very first, when it was mined.
    since: Moment,
    seen_at: Moment,
}

impl Endpoints {
    /// Starts with `count` endpoints in the order of preference.
    #[must_use]
    pub fn new(count: usize, config: EndpointsConfig) -> Self {
        Self {
            config,
            chain_id: config.chain_id,
            endpoints: vec![Endpoint::default(); count],
            random: config.seed,
        }
    }

    /// The chain's id, when it is known.
    #[must_use]
    pub const fn chain_id(&self) -> Option<u64> {
        self.chain_id
    }

    /// Whom to ask, the first first. Endpoints of other chains and those that
    /// asked for patience are left out until they may be tried again.
    #[must_use]
    pub fn order(&self, now: Moment) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.endpoints.len())
            .filter(|idx| {
                let endpoint = &self.endpoints[*idx];
                let is_barred = endpoint.other_chain.is_some() || endpoint.wants_rest;
                !is_barred || endpoint.retry_at.is_none_or(|at| at <= now)
            })
            .collect();
        order.sort_by_key(|idx| (self.state(*idx).rank(), *idx));
        order
    }

    /// True when the endpoint must show its chain id before its answers count.
    #[must_use]
    pub fn needs_check(&self, idx: usize) -> bool {
        !self.endpoints[idx].is_checked
    }

    /// Takes an endpoint's chain id; false when it is another chain's.
    pub fn handle_chain_id(&mut self, idx: usize, found: u64, now: Moment) -> bool {
        let expected = *self.chain_id.get_or_insert(found);
        let is_same = found == expected;
        let wait = self.jitter(PROBE_INTERVAL);
        let endpoint = &mut self.endpoints[idx];
        endpoint.is_checked = is_same;
        endpoint.other_chain = (!is_same).then_some(found);
        if !is_same {
            endpoint.head = None;
            endpoint.retry_at = Some(now + wait);
            endpoint.probe_at = now + wait;
        }
        is_same
    }

    /// Notes that a request is on its way.
    pub fn handle_asked(&mut self, idx: usize, now: Moment) {
        let wait = self.jitter(PROBE_INTERVAL);
        let endpoint = &mut self.endpoints[idx];
        endpoint.probe_at = now + wait;
    }

    /// Notes an answer and how long it took.
    pub fn handle_answer(&mut self, idx: usize, latency: Duration, now: Moment) {
        let endpoint = &mut self.endpoints[idx];
        endpoint.answers = endpoint.answers.saturating_add(1);
        endpoint.answered_at = Some(now);
        endpoint.failures_in_a_row = 0;
        endpoint.retry_at = None;
        endpoint.error = None;
        endpoint.latency = Some(match endpoint.latency {
            None => latency,
            // An average that forgets: a quarter is the newest.
            Some(before) => (before * 3 + latency) / 4,
        });
    }

    /// Notes that a request failed, be it unanswered or with nonsense;
    /// `retry_after` is what the endpoint asks for.
    pub fn handle_failure(
        &mut self,
        idx: usize,
        error: String,
        retry_after: Option<Duration>,
        now: Moment,
    ) {
        let doublings = self.endpoints[idx]
            .failures_in_a_row
            .min(RETRY_DOUBLINGS_MAX);
        let wait = self.jitter(RETRY_MIN * (1 << doublings));
        let wait = wait.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
        let endpoint = &mut self.endpoints[idx];
        endpoint.failures = endpoint.failures.saturating_add(1);
        endpoint.failures_in_a_row = endpoint.failures_in_a_row.saturating_add(1);
        endpoint.is_checked = false;
        endpoint.wants_rest = retry_after.is_some();
        endpoint.error = Some(error);
        endpoint.retry_at = Some(now + wait);
        endpoint.probe_at = now + wait;
    }

    /// Takes the newest block that an endpoint shows and when it was mined.
    pub fn handle_head(
        &mut self,
        idx: usize,
        number: u64,
        hash: Hash32,
        mined: UnixSeconds,
        now: Moment,
    ) {
        let known = &mut self.endpoints[idx].head;
        let since = match known {
            Some(known) if (known.number, known.hash) == (number, hash) => known.since,
            Some(_) => now,
            // The first that is seen may be old.
            None => now.min(Moment::from_unix(mined)),
        };
        *known = Some(Head {
            number,
            hash,
            since,
            seen_at: now,
        });
        self.endpoints[idx].lag = self.lag(number, now);
    }

    /// An endpoint that is due to be asked for its chain id and head.
    pub fn poll_probe(&mut self, now: Moment) -> Option<usize> {
        let due = |endpoint: &Endpoint| endpoint.probe_at <= now;
        let idx = self.endpoints.iter().position(due)?;
        let wait = self.jitter(PROBE_INTERVAL);
        self.endpoints[idx].probe_at = now + wait;
        Some(idx)
    }

    /// How long to wait before the `round`-th repetition of a request that no
    /// endpoint answered, with jitter.
    pub fn pause(&mut self, round: u32) -> Duration {
        self.jitter(PAUSE_MIN * (1 << round.min(RETRY_DOUBLINGS_MAX)))
    }

    /// Since when the chain has stood still: every endpoint that answers and is
    /// level with the others shows an old block.
    #[must_use]
    pub fn stalled_since(&self) -> Option<UnixSeconds> {
        let mut since = None;
        for idx in 0..self.endpoints.len() {
            match self.state(idx) {
                EndpointState::Healthy | EndpointState::Slow => return None,
                EndpointState::Stalled { since: at } => since = since.max(Some(at)),
                EndpointState::Unknown
                | EndpointState::Lagging { .. }
                | EndpointState::Failing { .. }
                | EndpointState::OtherChain { .. } => {}
            }
        }
        since
    }

    /// How every endpoint is doing, in the configured order.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        let health = |(idx, endpoint): (usize, &Endpoint)| EndpointHealth {
            state: self.state(idx),
            head: endpoint.head.map(|head| head.number),
            latency: endpoint.latency,
            answered_at: endpoint.answered_at,
            answers: endpoint.answers,
            failures: endpoint.failures,
            error: endpoint.error.clone(),
        };
        self.endpoints.iter().enumerate().map(health).collect()
    }

    fn state(&self, idx: usize) -> EndpointState {
        let endpoint = &self.endpoints[idx];
        if let Some(found) = endpoint.other_chain {
            return EndpointState::OtherChain { found };
        }
        if let Some(until) = endpoint.retry_at {
            return EndpointState::Failing { until };
        }
        if endpoint.answered_at.is_none() {
            return EndpointState::Unknown;
        }
        if endpoint.lag > LAG_BLOCKS_MAX {
            let blocks = endpoint.lag;
            return EndpointState::Lagging { blocks };
        }
        if let Some(head) = endpoint.head
            && let Some(block_time) = self.config.block_time
            && head.seen_at.saturating_since(head.since) > block_time * STALL_BLOCKS
        {
            let since = head.since.unix();
            return EndpointState::Stalled { since };
        }
        match endpoint.latency {
            Some(latency) if latency > LATENCY_MAX => EndpointState::Slow,
            _ => EndpointState::Healthy,
        }
    }

    /// Blocks between a head and the upper median of those seen lately.
    fn lag(&self, number: u64, now: Moment) -> u64 {
        let is_fresh = |head: &Head| now.saturating_since(head.seen_at) <= HEAD_AGE_MAX;
        let fresh = self.endpoints.iter().filter_map(|other| other.head);
        let mut heads: Vec<u64> = fresh.filter(is_fresh).map(|head| head.number).collect();
        heads.sort_unstable();
        let median = heads.get(heads.len() / 2).copied().unwrap_or(number);
        median.saturating_sub(number)
    }

    /// Between three quarters and five quarters of `duration`.
    fn jitter(&mut self, duration: Duration) -> Duration {
        // splitmix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        let share = u32::try_from(word % 513).unwrap_or_default();
        duration * (768 + share) / 1024
    }
}

impl EndpointState {
    /// Lower is asked first.
    const fn rank(self) -> (u8, u64) {
        match self {
            Self::Healthy => (0, 0),
            Self::Unknown => (1, 0),
            Self::Slow => (2, 0),
            Self::Stalled { .. } => (3, 0),
            Self::Lagging { blocks } => (4, blocks),
            Self::Failing { until } => (5, until.as_nanos()),
            Self::OtherChain { .. } => (6, 0),
        }
    }

    /// The state in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
            Self::Lagging { .. } => "lagging",
            Self::Stalled { .. } => "stalled",
            Self::Failing { .. } => "failing",
            Self::OtherChain { .. } => "other chain",
        }
    }
}

/// Block times without a new block after which an endpoint counts as stalled.
/// Derived: where blocks come at random, so long a gap is met once in 5 · 10^8.
pub const STALL_BLOCKS: u32 = 20;

/// Blocks behind the others that are no matter: heads are seen one after the
/// other.
pub const LAG_BLOCKS_MAX: u64 = 3;

/// An endpoint whose answers usually take longer is asked after the others. Chosen:
/// it orders endpoints and excludes none, so it only has to exceed usual answers.
pub const LATENCY_MAX: Duration = Duration::from_secs(3);

/// An endpoint that nobody asked for this long is probed. Chosen: providers bill
/// requests, and who recovered is noticed within half a minute.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// Older heads are not compared. Derived: three times [`PROBE_INTERVAL`], so that a
/// lost probe makes no head old.
const HEAD_AGE_MAX: Duration = Duration::from_secs(90);

/// The first wait after a failure. Chosen: an endpoint that only dropped a
/// connection is missed for no longer than a block.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest wait is 1 s · 2^6 = 64 s and a quarter.
const RETRY_DOUBLINGS_MAX: u32 = 6;

/// The longest wait that an endpoint can ask for. Chosen: limits of rates are counted
/// in minutes, and no answer of its may silence a peer for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The first pause between two rounds over all endpoints; doubles as waits do.
/// Chosen: somebody waits for the answer.
const PAUSE_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
