//! When registered peers are asked where they are reached.
//!
//! A machine: their endpoints stand in the registry; each is asked at once, again
//! after a while, and sooner when it did not answer, a few at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::id::Address;
use crate::machine::{Machine, name_inputs};
use crate::registry::Registry;
use crate::time::Moment;

/// Looks registered peers up; see the module text.
#[derive(Debug)]
pub struct Directory {
    local: Address,
    registry: Arc<Registry>,
    /// When each peer is asked next; those that are being asked are left out.
    due: BTreeMap<Address, Moment>,
    under_way: BTreeSet<Address>,
    outputs: VecDeque<LookUp>,
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

name_inputs!(Input: Registry, LookedUp);

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
            under_way: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    fn handle_registry(&mut self, registry: Arc<Registry>, now: Moment) {
        self.due.retain(|peer, _| registry.peer(peer).is_some());
        let others = registry
            .peer_addresses()
            .filter(|peer| **peer != self.local);
        for peer in others {
            if !self.under_way.contains(peer) {
                self.due.entry(*peer).or_insert(now);
            }
        }
        self.registry = registry;
    }

    fn handle_looked_up(&mut self, peer: Address, is_found: bool, now: Moment) {
        let is_registered = self.registry.peer(&peer).is_some();
        if self.under_way.remove(&peer) && is_registered {
            let pause = match is_found {
                true => REFRESH_INTERVAL,
                false => RETRY_INTERVAL,
            };
            self.due.insert(peer, now + pause);
        }
    }

    fn ask(&mut self, now: Moment) {
        let due: Vec<Address> = self
            .due
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(peer, _)| *peer)
            .take(LOOKUPS_MAX.saturating_sub(self.under_way.len()))
            .collect();
        for peer in due {
            self.due.remove(&peer);
            if let Some(found) = self.registry.peer(&peer) {
                self.under_way.insert(peer);
                let endpoint = found.endpoint.clone();
                self.outputs.push_back(LookUp { peer, endpoint });
            }
        }
    }
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
        let first = self.due.values().min()?;
        Some((*first, "look a peer up"))
    }
}

/// Lookups under way at a time: sockets that strangers may keep busy.
const LOOKUPS_MAX: usize = 8;

/// An endpoint that answered is asked again after this time: addresses change
/// seldom, and connected peers tell of theirs themselves.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// An endpoint that did not answer is asked again after this time: peers that
/// start together find each other soon.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
