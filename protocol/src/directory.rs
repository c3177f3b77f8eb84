//! When registered peers are asked where they are reached.
//!
//! A machine: their endpoints stand in the registry. A staked peer asks each at once
//! and again after a while, a few at a time; a light one asks of those alone whom it
//! is about to dial. Whoever registers an endpoint aims all peers at it: what does not
//! answer is asked less and less often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::id::Address;
use crate::machine::{Machine, name_variants};
use crate::registry::Registry;
use crate::time::Moment;

/// Looks registered peers up; see the module text.
#[derive(Debug)]
pub struct Directory {
    config: Config,
    rng: StdRng,
    registry: Arc<Registry>,
    /// When each peer is asked next; those that are being asked are left out.
    due: BTreeMap<Address, Due>,
    /// Who is being asked, with the failures before.
    under_way: BTreeMap<Address, u32>,
    outputs: VecDeque<Output>,
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// The peer itself, which is never asked.
    pub local: Address,
    /// True to ask all others, not only those that are wanted.
    pub asks_all: bool,
}

/// When a peer may be asked, and how often it failed to answer since it last did.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Moment,
    failures: u32,
    is_wanted: bool,
}

/// A fact that the directory is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The registry at the newest block.
    Registry(Arc<Registry>),
    /// A peer is to be dialled, and nobody knows where it is.
    Wanted(Address),
    /// The end of an [`Output::LookUp`].
    LookedUp {
        /// Who was asked.
        peer: Address,
        /// True when it answered, signed by itself.
        is_found: bool,
    },
}

name_variants!(Input: Registry, Wanted, LookedUp);

/// What the directory wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask an endpoint who is there and where, and answer by [`Input::LookedUp`].
    LookUp {
        /// Who registered it.
        peer: Address,
        /// The URL, as registered; see [`is_endpoint`].
        endpoint: String,
    },
    /// Whoever waits to dial a peer waits in vain.
    NotFound(Address),
}

name_variants!(Output: LookUp, NotFound);

impl Directory {
    /// Starts without a registry.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(seed),
            registry: Arc::default(),
            due: BTreeMap::new(),
            under_way: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    fn handle_registry(&mut self, registry: Arc<Registry>, now: Moment) {
        self.due.retain(|peer, _| registry.peer(peer).is_some());
        for address in registry.peer_addresses() {
            if *address == self.config.local || self.under_way.contains_key(address) {
                continue;
            }
            let fresh = Due {
                at: now,
                failures: 0,
                is_wanted: self.config.asks_all,
            };
            let due = self.due.entry(*address).or_insert(fresh);
            let endpoint = |registry: &Registry| registry.peer(address).map(|peer| peer.endpoint);
            if due.failures > 0 && endpoint(&registry) != endpoint(&self.registry) {
                *due = Due {
                    is_wanted: due.is_wanted,
                    ..fresh
                };
            }
        }
        self.registry = registry;
    }

    /// One that was asked lately is not asked again so soon.
    fn handle_wanted(&mut self, peer: Address, now: Moment) {
        if self.under_way.contains_key(&peer) {
            return;
        }
        match self.due.get_mut(&peer) {
            Some(due) if due.at <= now => due.is_wanted = true,
            Some(_) | None => self.outputs.push_back(Output::NotFound(peer)),
        }
    }

    fn handle_looked_up(&mut self, peer: Address, is_found: bool, now: Moment) {
        let Some(failures) = self.under_way.remove(&peer) else {
            return;
        };
        if !is_found {
            self.outputs.push_back(Output::NotFound(peer));
        }
        if self.registry.peer(&peer).is_none() {
            return;
        }
        let (pause, failures) = match is_found {
            true => (REFRESH_INTERVAL, 0),
            false => {
                let jitter = self.rng.random_range(JITTER);
                let pause = retry_interval(failures).mul_f64(jitter);
                (pause, failures.saturating_add(1))
            }
        };
        let due = Due {
            at: now + pause,
            failures,
            is_wanted: self.config.asks_all,
        };
        self.due.insert(peer, due);
    }

    /// Asks who is due, whoever waits the longest first.
    fn ask(&mut self, now: Moment) {
        let mut due: Vec<(Moment, Address)> = self
            .due
            .iter()
            .filter(|(_, due)| due.is_wanted && due.at <= now)
            .map(|(peer, due)| (due.at, *peer))
            .collect();
        due.sort_unstable();
        due.truncate(LOOKUPS_MAX.saturating_sub(self.under_way.len()));
        for (_, peer) in due {
            let failures = self.due.remove(&peer).map_or(0, |due| due.failures);
            let Some(endpoint) = self.registry.peer(&peer).map(|found| found.endpoint) else {
                continue;
            };
            self.under_way.insert(peer, failures);
            match is_endpoint(&endpoint) {
                true => self.outputs.push_back(Output::LookUp { peer, endpoint }),
                false => self.handle_looked_up(peer, false, now),
            }
        }
    }
}

/// True for `http(s)://host`, with a port and a path if need be: nobody is sent to
/// a place with a name or a question of somebody else's choice.
#[must_use]
pub fn is_endpoint(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let is_http = ["http", "https"]
        .iter()
        .any(|one| scheme.eq_ignore_ascii_case(one));
    let has_host = !rest.is_empty() && !rest.starts_with(['/', ':']);
    let is_plain = |c: char| c.is_ascii_graphic() && !"?#@\\".contains(c);
    is_http && has_host && rest.chars().all(is_plain)
}

/// The pause after one more failure, before it is jittered.
fn retry_interval(failures: u32) -> Duration {
    let factor = RETRY_FACTOR.saturating_pow(failures);
    RETRY_INTERVAL.saturating_mul(factor).min(RETRY_MAX)
}

impl Machine for Directory {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Registry(registry) => self.handle_registry(registry, now),
            Input::Wanted(peer) => self.handle_wanted(peer, now),
            Input::LookedUp { peer, is_found } => self.handle_looked_up(peer, is_found, now),
        }
        self.ask(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.ask(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        if self.under_way.len() >= LOOKUPS_MAX {
            return None;
        }
        let wanted = self.due.values().filter(|due| due.is_wanted);
        let first = wanted.map(|due| due.at).min()?;
        Some((first, "look a peer up"))
    }
}

/// Lookups under way at a time: sockets that strangers may keep busy.
const LOOKUPS_MAX: usize = 8;

/// An endpoint that answered is asked again after this time: addresses change
/// seldom, and connected peers tell of theirs themselves.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// An endpoint that did not answer once is asked again after this time: peers that
/// start together find each other soon.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Each further pause is so many times longer. Chosen: an endpoint that belongs to
/// somebody else is asked three times in ten minutes, and a peer that starts late is
/// found by what it dials itself.
const RETRY_FACTOR: u32 = 16;

/// The longest pause. Chosen: a hundred thousand peers ask seven times a second.
const RETRY_MAX: Duration = Duration::from_secs(4 * 3600);

/// A pause is so many times its length, so that peers do not ask together.
const JITTER: std::ops::Range<f64> = 0.75..1.25;

#[cfg(test)]
mod tests;
