//! The peers that a fetch asks, and what it has learnt about their speed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Address;
use crate::time::Moment;

/// What is known about a holder.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    /// Lower is asked first when speed does not decide.
    pub(super) priority: u32,
    pub(super) requests: usize,
    pub(super) bytes: u64,
    /// Not asked before.
    pub(super) rests_until: Moment,
    failures: u32,
    latency: Duration,
    bytes_per_second: u64,
    /// How much is asked for at once.
    pub(super) batch_bytes: u64,
    last_response: Moment,
    is_measured: bool,
}

impl Holder {
    pub(super) fn new(priority: u32, batch_bytes_max: u64) -> Self {
        Self {
            priority,
            requests: 0,
            bytes: 0,
            rests_until: Moment::ZERO,
            failures: 0,
            latency: LATENCY_GUESS,
            bytes_per_second: RATE_GUESS,
            batch_bytes: BATCH_FIRST_BYTES.min(batch_bytes_max),
            last_response: Moment::ZERO,
            is_measured: false,
        }
    }

    /// How many requests it may have at once; few until its speed is known.
    pub(super) fn requests_max(&self, requests_max: usize) -> usize {
        if self.is_measured {
            requests_max
        } else {
            requests_max.min(2)
        }
    }

    /// When a further request for `bytes` would be answered.
    pub(super) fn expected(&self, bytes: u64) -> Duration {
        let queued = self.bytes.saturating_add(bytes);
        let nanos = queued.saturating_mul(1_000_000_000) / self.bytes_per_second.max(1);
        self.latency + Duration::from_nanos(nanos)
    }

    pub(super) fn handle_sent(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
    }

    /// Takes back what [`Holder::handle_sent`] counted.
    pub(super) fn handle_over(&mut self, bytes: u64) {
        self.requests = self.requests.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn handle_answer(&mut self, sent: Moment, bytes: u64, batch_max: u64, now: Moment) {
        self.failures = 0;
        self.is_measured = true;
        let took = now - sent;
        if self.requests == 0 {
            self.latency = (self.latency * 3 + took.min(LATENCY_MAX)) / 4;
        }
        if bytes > 0 {
            let busy = now - sent.max(self.last_response);
            let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX).max(1000);
            let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos);
            let rate = u64::try_from(rate).unwrap_or(u64::MAX).min(RATE_MAX);
            self.bytes_per_second = (self.bytes_per_second * 3 + rate) / 4;
            if took < BATCH_GROWS_BELOW {
                self.batch_bytes = (self.batch_bytes * 2).min(batch_max);
            }
        }
        self.last_response = now;
    }

    /// Rests longer after each failure in a row; true when it is given up.
    pub(super) fn handle_failure(&mut self, now: Moment) -> bool {
        self.rest(now);
        self.bytes_per_second = (self.bytes_per_second / 2).max(RATE_MIN);
        self.batch_bytes = (self.batch_bytes / 2).max(BATCH_MIN_BYTES);
        self.failures >= FAILURES_MAX
    }

    pub(super) fn rest(&mut self, now: Moment) {
        let rest = REST_FIRST * (1 << self.failures.min(REST_DOUBLINGS_MAX));
        self.failures += 1;
        self.rests_until = self.rests_until.max(now + rest);
    }
}

/// The holder that would answer soonest among those that `may` be asked.
pub(super) fn best(
    holders: &BTreeMap<Address, Holder>,
    bytes: u64,
    may: impl Fn(&Address, &Holder) -> bool,
) -> Option<Address> {
    holders
        .iter()
        .filter(|(address, holder)| may(address, holder))
        .min_by_key(|(address, holder)| {
            let penalty = PRIORITY_COST * holder.priority.min(1000);
            (holder.expected(bytes) + penalty, **address)
        })
        .map(|(address, _)| *address)
}

/// Failures in a row after which a holder is given up. Derived: by then it has
/// rested for six seconds in all.
const FAILURES_MAX: u32 = 6;

/// The first rest. Chosen: some round trips, after which a queue is shorter.
const REST_FIRST: Duration = Duration::from_millis(200);

/// The longest rest is 200 ms · 2^5 = 6.4 s.
const REST_DOUBLINGS_MAX: u32 = 5;

/// What a step of priority is worth. Chosen: it decides between holders of one
/// region, and a slow placed peer still yields to a fast other one.
const PRIORITY_COST: Duration = Duration::from_millis(10);

// Until the first answers tell: a round trip within a continent, a tenth of a gigabit.
const LATENCY_GUESS: Duration = Duration::from_millis(50);
const RATE_GUESS: u64 = 10 << 20;

// What an estimate stays within, so that one odd answer does not rule a holder out
// for long, or in: a queue of seconds, a modem, more than any link.
const LATENCY_MAX: Duration = Duration::from_secs(2);
const RATE_MIN: u64 = 8 << 10;
const RATE_MAX: u64 = 10 << 30;

/// The first request: a file's chunk, which is a tenth of a second at the guess.
const BATCH_FIRST_BYTES: u64 = 1 << 20;

/// The smallest request. Derived: at [`RATE_MIN`] it takes 8 s, so that most of them
/// end before their time is up.
const BATCH_MIN_BYTES: u64 = 64 << 10;

/// Answers faster than this let a holder's batches grow. Chosen: a small part of the
/// time that a request has, so that one larger by double fits as well.
const BATCH_GROWS_BELOW: Duration = Duration::from_secs(1);
