//! Where peers listen and what their keys are: the book that a driver dials from.
//!
//! A driver's own name of a peer and its transport addresses are opaque bytes
//! here; what they mean is told beside them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::Address;
use crate::time::Moment;

/// The driver's name of a peer, which holds its public key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub Vec<u8>);

/// An address where a peer is said to listen, as the driver has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The transport address, without the name of the peer.
    pub at: Vec<u8>,
    /// The peer that the address names, if it names one.
    pub named: Option<Named>,
}

/// A peer as an address names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The driver's name of it.
    pub key: PeerKey,
    /// Its address; `None` for a key that no Coliving peer has.
    pub peer: Option<Address>,
}

/// Remembers peers by their address. Staked and connected ones always, as many
/// as the registry and the driver's connections allow; of all others those that
/// were met last, until there are [`PEERS_MAX`] in all.
#[derive(Debug, Default)]
pub struct AddressBook {
    peers: BTreeMap<Address, Known>,
    wishes: VecDeque<Wish>,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Free a peer, which is staked, from the limits on connections.
    Exempt(PeerKey),
    /// Hold a peer that has left the stake to the limits again.
    Limit(PeerKey),
}

#[derive(Debug)]
struct Known {
    key: Option<PeerKey>,
    is_staked: bool,
    is_connected: bool,
    /// When it was last told of, met or connected.
    seen: Moment,
    /// From signed sources and the configuration.
    told: BTreeSet<Vec<u8>>,
    /// From the peer itself, by identify or mDNS.
    learned: BTreeSet<Vec<u8>>,
}

impl AddressBook {
    /// Takes the confirmed peers and their keys, in place of the earlier ones.
    pub fn handle_staked(
        &mut self,
        peers: impl IntoIterator<Item = (Address, PeerKey)>,
        now: Moment,
    ) {
        let mut lapsed = BTreeMap::new();
        for (peer, known) in &mut self.peers {
            if std::mem::replace(&mut known.is_staked, false) {
                lapsed.insert(*peer, known.key.clone());
            }
        }
        for (peer, key) in peers {
            let known = self.entry(peer, now);
            known.key = Some(key.clone());
            known.is_staked = true;
            if lapsed.remove(&peer).is_none() {
                self.wishes.push_back(Wish::Exempt(key));
            }
        }
        let limited = lapsed.into_values().flatten().map(Wish::Limit);
        self.wishes.extend(limited);
        self.shrink();
    }

    /// Takes where a peer is said to listen, in place of what was said before;
    /// addresses that name another peer are left out.
    pub fn handle_told(&mut self, peer: Address, addresses: Vec<Listening>, now: Moment) {
        let known = self.entry(peer, now);
        known.told.clear();
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            if let Some(named) = address.named {
                if named.peer != Some(peer) {
                    continue;
                }
                known.key = Some(named.key);
            }
            known.told.insert(address.at);
        }
        self.shrink();
    }

    /// Takes where a peer itself says that it listens.
    pub fn handle_learned(
        &mut self,
        peer: Address,
        key: PeerKey,
        addresses: Vec<Vec<u8>>,
        now: Moment,
    ) {
        let known = self.entry(peer, now);
        known.key = Some(key);
        known.learned = addresses.into_iter().take(ADDRESSES_MAX).collect();
        self.shrink();
    }

    /// Takes a peer that was met or heard of, and addresses that lead to it.
    pub fn handle_met(
        &mut self,
        peer: Address,
        key: PeerKey,
        addresses: Vec<Vec<u8>>,
        now: Moment,
    ) {
        let known = self.entry(peer, now);
        known.key = Some(key);
        for address in addresses {
            if known.learned.len() < ADDRESSES_MAX {
                known.learned.insert(address);
            }
        }
        self.shrink();
    }

    /// A connection to a peer stands, over this address when it was dialled.
    pub fn handle_connected(
        &mut self,
        peer: Address,
        key: PeerKey,
        address: Option<Vec<u8>>,
        now: Moment,
    ) {
        self.entry(peer, now).is_connected = true;
        self.handle_met(peer, key, address.into_iter().collect(), now);
    }

    /// The last connection to a peer is gone.
    pub fn handle_disconnected(&mut self, peer: &Address, now: Moment) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.is_connected = false;
            known.seen = now;
        }
        self.shrink();
    }

    /// The driver's name of a peer, once anybody has told it.
    #[must_use]
    pub fn key(&self, peer: &Address) -> Option<&PeerKey> {
        self.peers.get(peer)?.key.as_ref()
    }

    /// Where to dial a peer, the told addresses first.
    pub fn addresses(&self, peer: &Address) -> impl Iterator<Item = &[u8]> {
        let known = self.peers.get(peer);
        known.into_iter().flat_map(|known| {
            let learned = known.learned.difference(&known.told);
            known.told.iter().chain(learned).map(Vec::as_slice)
        })
    }

    /// Returns the next thing to do.
    pub fn poll(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    fn entry(&mut self, peer: Address, now: Moment) -> &mut Known {
        let known = self.peers.entry(peer).or_insert_with(|| Known {
            key: None,
            is_staked: false,
            is_connected: false,
            seen: now,
            told: BTreeSet::new(),
            learned: BTreeSet::new(),
        });
        known.seen = now;
        known
    }

    /// Forgets the peers that were merely met before those that somebody told
    /// of, and the oldest first; staked and connected ones never.
    fn shrink(&mut self) {
        while self.peers.len() > PEERS_MAX {
            let oldest = self
                .peers
                .iter()
                .filter(|(_, known)| !known.is_staked && !known.is_connected)
                .min_by_key(|(_, known)| (!known.told.is_empty(), known.seen))
                .map(|(peer, _)| *peer);
            let Some(peer) = oldest else {
                return;
            };
            self.peers.remove(&peer);
        }
    }
}

/// Addresses of one peer that are kept, of each source: several transports over
/// two families of addresses and some circuits.
pub const ADDRESSES_MAX: usize = 16;

/// Peers beyond which those that are neither staked nor connected are forgotten.
/// Chosen: eight times the connections of a staked peer, some MiB.
pub const PEERS_MAX: usize = 4096;

#[cfg(test)]
mod tests;
