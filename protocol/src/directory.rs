//! When registered peers are asked where they are reached.
//!
//! A machine: their endpoints stand in the registry; each is asked at once, again
//! after a while, and sooner when it did not answer, a few at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::id::Address;
use crate::machine::{Machine, name_variants};
use crate::registry::Registry;
use crate::time::Moment;

/// Looks registered peers up; see the module text.
#[derive(Debug)]
pub struct Directory {
    local: Address,
    registry: Arc<Registry>,
    /// When each peer is asked next; those that are being asked are left out.
    due: BTreeMap<Address, Due>,
    /// Who is being asked, with the failures before.
    under_way: BTreeMap<Address, u32>,
    outputs: VecDeque<LookUp>,
}

/// When a peer is asked, and how often it failed to answer since it last did.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Moment,
    failures: u32,
}

/// A fact that the directory is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The registry at the newest block.
    Registry(Arc<Registry>),
    /// The end of a [`LookUp`].
    LookedUp {
        /// Who was asked.
        peer: Address,
        /// True when it answered, signed by itself.
        is_found: bool,
    },
}

name_variants!(Input: Registry, LookedUp);

/// A wish: ask an endpoint who is there and where, and answer by
/// [`Input::LookedUp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// Who registered it.
    pub peer: Address,
    /// The URL, as registered.
    pub endpoint: String,
}

impl Directory {
    /// Starts without a registry; `local` is never asked.
    #[must_use]
    pub fn new(local: Address) -> Self {
        Self {
            local,
            registry: Arc::default(),
            due: BTreeMap::new(),
            under_way: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    fn handle_registry(&mut self, registry: Arc<Registry>, now: Moment) {
        self.due.retain(|peer, _| registry.peer(peer).is_some());
        for address in registry.peer_addresses() {
            if *address == self.local || self.under_way.contains_key(address) {
                continue;
            }
            let fresh = Due {
                at: now,
                failures: 0,
            };
            let due = self.due.entry(*address).or_insert(fresh);
            let endpoint = |registry: &Registry| registry.peer(address).map(|peer| peer.endpoint);
            if due.failures > 0 && endpoint(&registry) != endpoint(&self.registry) {
                *due = fresh;
            }
        }
        self.registry = registry;
    }

    fn handle_looked_up(&mut self, peer: Address, is_found: bool, now: Moment) {
        let Some(failures) = self.under_way.remove(&peer) else {
            return;
        };
        if self.registry.peer(&peer).is_none() {
            return;
        }
        let due = match is_found {
            true => Due {
                at: now + REFRESH_INTERVAL,
                failures: 0,
            },
            false => Due {
                at: now + retry_interval(failures),
                failures: failures.saturating_add(1),
            },
        };
        self.due.insert(peer, due);
    }

    /// Asks who is due, whoever waits the longest first.
    fn ask(&mut self, now: Moment) {
        let mut due: Vec<(Moment, Address)> = self
            .due
            .iter()
            .filter(|(_, due)| due.at <= now)
            .map(|(peer, due)| (due.at, *peer))
            .collect();
        due.sort_unstable();
        due.truncate(LOOKUPS_MAX.saturating_sub(self.under_way.len()));
        for (_, peer) in due {
            let failures = self.due.remove(&peer).map_or(0, |due| due.failures);
            if let Some(found) = self.registry.peer(&peer) {
                self.under_way.insert(peer, failures);
                let endpoint = found.endpoint.clone();
                self.outputs.push_back(LookUp { peer, endpoint });
            }
        }
    }
}

/// The pause after one more failure: twice the one before, so that endpoints which
/// never answer do not keep others from being asked.
fn retry_interval(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    RETRY_INTERVAL.saturating_mul(factor).min(REFRESH_INTERVAL)
}

impl Machine for Directory {
    type Input = Input;
    type Output = LookUp;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Registry(registry) => self.handle_registry(registry, now),
            Input::LookedUp { peer, is_found } => self.handle_looked_up(peer, is_found, now),
        }
        self.ask(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.ask(now);
    }

    fn poll(&mut self) -> Option<LookUp> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        if self.under_way.len() >= LOOKUPS_MAX {
            return None;
        }
        let first = self.due.values().map(|due| due.at).min()?;
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

#[cfg(test)]
mod tests;
