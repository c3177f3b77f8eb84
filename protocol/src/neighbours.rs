//! Which staked peers to stay connected to.
//!
//! A peer that knows only those who came to it can be surrounded. So each peer
//! draws its neighbours itself, with a secret seed, from the registry: one per
//! operator, uniformly over operators, whoever is connected already. One is
//! replaced at each rotation, the new connection before the old one goes. When
//! there are fewer operators than neighbours wanted, further peers of the same
//! operators fill up.
//!
//! This is a sans-IO machine: after each `handle_*`, drain
//! [`Neighbours::poll_transmit`], then sleep until [`Neighbours::poll_timeout`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::id::Address;
use crate::time::Moment;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Draws neighbours and says whom to dial and to hold.
#[derive(Debug)]
pub struct Neighbours {
    config: Config,
    rng: StdRng,
    /// Confirmed peers with their operators, ourselves left out.
    candidates: BTreeMap<Address, Address>,
    connected: BTreeSet<Address>,
    drawn: BTreeMap<Address, Drawn>,
    rests: BTreeMap<Address, Rest>,
    next_rotation: Moment,
    transmits: VecDeque<Transmit>,
}

/// Limits and intervals of [`Neighbours`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Ourselves, never drawn.
    pub local: Address,
    /// How many neighbours to have.
    pub neighbours_min: usize,
    /// Time between two replacements.
    pub rotation: Duration,
    /// Rest of a peer after its first failed dial; doubles with each further one.
    pub rest_min: Duration,
    /// The longest rest.
    pub rest_max: Duration,
}

/// What the driver has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// Connect, and answer by `handle_connected` or `handle_dial_failed`.
    Dial(Address),
    /// Keep the connection open.
    Hold(Address),
    /// Leave the connection to the idle timeout.
    Release(Address),
}

#[derive(Debug, Clone, Copy)]
struct Drawn {
    operator: Address,
    /// `None` while it is dialled.
    held_since: Option<Moment>,
    /// Who goes when this one is connected.
    replaces: Option<Address>,
}

#[derive(Debug, Clone, Copy)]
struct Rest {
    until: Moment,
    failures: u32,
}

impl Neighbours {
    /// Creates a machine without candidates.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Moment) -> Self {
        let next_rotation = now + config.rotation;
        Self {
            config,
            rng: StdRng::from_seed(seed),
            candidates: BTreeMap::new(),
            connected: BTreeSet::new(),
            drawn: BTreeMap::new(),
            rests: BTreeMap::new(),
            next_rotation,
            transmits: VecDeque::new(),
        }
    }

    /// Replaces the candidates by (peer, operator) pairs of a registry.
    pub fn handle_registry(
        &mut self,
        peers: impl IntoIterator<Item = (Address, Address)>,
        now: Moment,
    ) {
        self.candidates = peers
            .into_iter()
            .filter(|(peer, _)| *peer != self.config.local)
            .collect();
        let candidates = &self.candidates;
        self.rests.retain(|peer, _| candidates.contains_key(peer));
        let gone: Vec<Address> = self
            .drawn
            .iter()
            .filter(|(peer, drawn)| candidates.get(peer) != Some(&drawn.operator))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in gone {
            self.let_go(peer);
        }
        self.spread_over_operators(now);
        self.fill(now);
    }

    /// The first connection to a peer stands.
    pub fn handle_connected(&mut self, peer: Address, now: Moment) {
        self.connected.insert(peer);
        self.rests.remove(&peer);
        if let Some(drawn) = self.drawn.get_mut(&peer)
            && drawn.held_since.is_none()
        {
            drawn.held_since = Some(now);
            let replaced = drawn.replaces.take();
            self.transmits.push_back(Transmit::Hold(peer));
            if let Some(old) = replaced {
                self.let_go(old);
            }
        }
    }

    /// The last connection to a peer is gone.
    pub fn handle_disconnected(&mut self, peer: Address, now: Moment) {
        self.connected.remove(&peer);
        if self.let_go(peer) {
            self.rest(peer, now);
            self.fill(now);
        }
    }

    /// A dial that was asked for, or any other, reached nobody.
    pub fn handle_dial_failed(&mut self, peer: Address, now: Moment) {
        let dialled = self
            .drawn
            .get(&peer)
            .is_some_and(|drawn| drawn.held_since.is_none());
        if dialled {
            self.drawn.remove(&peer);
            self.rest(peer, now);
            self.fill(now);
        }
    }

    /// A new way to reach a peer is known: its rest is over.
    pub fn handle_address(&mut self, peer: Address, now: Moment) {
        if self.rests.remove(&peer).is_some() {
            self.fill(now);
        }
    }

    /// Wakes rested peers and replaces the oldest neighbour when its time has come.
    pub fn handle_timeout(&mut self, now: Moment) {
        if now >= self.next_rotation {
            self.next_rotation = now + self.config.rotation;
            self.rotate(now);
        }
        self.spread_over_operators(now);
        self.fill(now);
    }

    /// Returns when [`Self::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let rested = self.rests.values().map(|rest| rest.until).min();
        match rested {
            Some(at) if at < self.next_rotation && self.drawn.len() < self.wanted() => {
                Some((at, "a rested neighbour may be dialled"))
            }
            _ => Some((self.next_rotation, "neighbour rotation")),
        }
    }

    /// Returns the next thing to do.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The drawn peers that are connected.
    pub fn neighbours(&self) -> impl Iterator<Item = &Address> {
        self.drawn
            .iter()
            .filter(|(_, drawn)| drawn.held_since.is_some())
            .map(|(peer, _)| peer)
    }

    fn wanted(&self) -> usize {
        self.config.neighbours_min.min(self.candidates.len())
    }

    fn fill(&mut self, now: Moment) {
        let replacements = self
            .drawn
            .values()
            .filter(|drawn| drawn.replaces.is_some())
            .count();
        while self.drawn.len() - replacements < self.config.neighbours_min {
            let Some(peer) = self.draw(now).or_else(|| self.draw_any(now)) else {
                return;
            };
            self.take(peer, None, now);
        }
    }

    /// Draws an operator that no neighbour belongs to, then one of its peers.
    fn draw(&mut self, now: Moment) -> Option<Address> {
        let taken: BTreeSet<Address> = self.drawn.values().map(|drawn| drawn.operator).collect();
        let mut operators: BTreeMap<Address, Vec<Address>> = BTreeMap::new();
        for (peer, operator) in &self.candidates {
            if !taken.contains(operator) && self.is_free(peer, now) {
                operators.entry(*operator).or_default().push(*peer);
            }
        }
        let operators: Vec<Vec<Address>> = operators.into_values().collect();
        operators
            .choose(&mut self.rng)
            .and_then(|peers| peers.choose(&mut self.rng))
            .copied()
    }

    fn draw_any(&mut self, now: Moment) -> Option<Address> {
        let free: Vec<Address> = self
            .candidates
            .keys()
            .filter(|peer| self.is_free(peer, now))
            .copied()
            .collect();
        free.choose(&mut self.rng).copied()
    }

    fn is_free(&self, peer: &Address, now: Moment) -> bool {
        !self.drawn.contains_key(peer) && self.rests.get(peer).is_none_or(|rest| rest.until <= now)
    }

    fn take(&mut self, peer: Address, replaces: Option<Address>, now: Moment) {
        let Some(operator) = self.candidates.get(&peer).copied() else {
            return;
        };
        let drawn = Drawn {
            operator,
            held_since: None,
            replaces,
        };
        self.drawn.insert(peer, drawn);
        if self.connected.contains(&peer) {
            self.handle_connected(peer, now);
        } else {
            self.transmits.push_back(Transmit::Dial(peer));
        }
    }

    /// Replaces the neighbour that was held longest, if another operator is there to draw.
    fn rotate(&mut self, now: Moment) {
        let oldest = self
            .drawn
            .iter()
            .filter_map(|(peer, drawn)| Some((drawn.held_since?, *peer)))
            .min()
            .map(|(_, peer)| peer);
        let full = self.drawn.len() >= self.config.neighbours_min;
        if let Some(oldest) = oldest
            && full
            && let Some(peer) = self.draw(now)
        {
            self.take(peer, Some(oldest), now);
        }
    }

    /// Makes room for operators without a neighbour where one operator has two.
    fn spread_over_operators(&mut self, now: Moment) {
        let mut seen = BTreeSet::new();
        let twins: Vec<Address> = self
            .drawn
            .iter()
            .filter(|(_, drawn)| !seen.insert(drawn.operator))
            .map(|(peer, _)| *peer)
            .collect();
        for twin in twins {
            if self.drawn.len() < self.config.neighbours_min {
                return;
            }
            let Some(peer) = self.draw(now) else {
                return;
            };
            self.let_go(twin);
            self.take(peer, None, now);
        }
    }

    fn let_go(&mut self, peer: Address) -> bool {
        let Some(drawn) = self.drawn.remove(&peer) else {
            return false;
        };
        if drawn.held_since.is_some() {
            self.transmits.push_back(Transmit::Release(peer));
        }
        for other in self.drawn.values_mut() {
            if other.replaces == Some(peer) {
                other.replaces = None;
            }
        }
        true
    }

    fn rest(&mut self, peer: Address, now: Moment) {
        if !self.candidates.contains_key(&peer) {
            return;
        }
        let failures = self.rests.get(&peer).map_or(0, |rest| rest.failures);
        let factor = 1 << failures.min(DOUBLINGS_MAX);
        let time = (self.config.rest_min * factor).min(self.config.rest_max);
        let rest = Rest {
            until: now + time,
            failures: failures.saturating_add(1),
        };
        self.rests.insert(peer, rest);
    }
}

/// Doublings of a rest that are counted; the maximum is reached long before.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests;
