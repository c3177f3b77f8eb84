//! Where peers listen and what their peer ids are.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId};
use protocol::id::Address;

use super::{StakedPeer, address_of, peer_id_of};

/// The address book of the swarm.
#[derive(Debug, Default)]
pub(super) struct Book {
    peers: BTreeMap<Address, Known>,
}

#[derive(Debug, Default)]
struct Known {
    peer_id: Option<PeerId>,
    staked: bool,
    /// From signed sources and the configuration.
    told: BTreeSet<Multiaddr>,
    /// From the peer itself, by identify or mDNS.
    learned: BTreeSet<Multiaddr>,
}

impl Book {
    /// Notes the keys of the confirmed peers, in place of the earlier ones.
    pub(super) fn set_staked(&mut self, peers: &[StakedPeer]) {
        for known in self.peers.values_mut() {
            known.staked = false;
        }
        for peer in peers {
            let Some(peer_id) = peer_id_of(&peer.public_key) else {
                continue;
            };
            if address_of(&peer_id) == Some(peer.address) {
                let known = self.peers.entry(peer.address).or_default();
                known.peer_id = Some(peer_id);
                known.staked = true;
            }
        }
        self.shrink();
    }

    /// Sets where a peer is said to listen.
    pub(super) fn set_told(&mut self, peer: Address, addresses: Vec<Multiaddr>) {
        let known = self.peers.entry(peer).or_default();
        known.told.clear();
        for mut address in addresses.into_iter().take(ADDRESSES_MAX) {
            if let Some(Part::P2p(named)) = address.iter().last() {
                if address_of(&named) != Some(peer) {
                    continue;
                }
                known.peer_id = Some(named);
                address.pop();
            }
            known.told.insert(address);
        }
        self.shrink();
    }

    /// Notes where a connected peer says it listens.
    pub(super) fn set_learned(&mut self, peer_id: PeerId, addresses: Vec<Multiaddr>) {
        let Some(peer) = address_of(&peer_id) else {
            return;
        };
        let known = self.peers.entry(peer).or_default();
        known.peer_id = Some(peer_id);
        known.learned = addresses.into_iter().take(ADDRESSES_MAX).collect();
        self.shrink();
    }

    /// Notes a peer id that was met, and addresses that led to it.
    pub(super) fn meet(&mut self, peer_id: PeerId, addresses: Vec<Multiaddr>) {
        let Some(peer) = address_of(&peer_id) else {
            return;
        };
        let known = self.peers.entry(peer).or_default();
        known.peer_id = Some(peer_id);
        for address in addresses {
            if known.learned.len() < ADDRESSES_MAX {
                known.learned.insert(address);
            }
        }
        self.shrink();
    }

    /// The peer id of an address, once anybody has told it.
    pub(super) fn peer_id(&self, peer: &Address) -> Option<PeerId> {
        self.peers.get(peer)?.peer_id
    }

    /// Where to dial a peer, the told addresses first.
    pub(super) fn addresses(&self, peer: &Address) -> Vec<Multiaddr> {
        self.peers.get(peer).map_or_else(Vec::new, |known| {
            known
                .told
                .iter()
                .chain(known.learned.difference(&known.told))
                .cloned()
                .collect()
        })
    }

    /// Keeps the peers that anybody told us of before those that we merely met.
    fn shrink(&mut self) {
        while self.peers.len() > PEERS_MAX {
            let met = self
                .peers
                .iter()
                .find(|(_, known)| !known.staked && known.told.is_empty())
                .or_else(|| self.peers.iter().find(|(_, known)| !known.staked))
                .map(|(peer, _)| *peer);
            let Some(peer) = met else {
                return;
            };
            self.peers.remove(&peer);
        }
    }
}

/// True for an address that only makes sense near this machine.
pub(super) fn is_local(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Part::Ip4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(Part::Ip6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        _ => false,
    }
}

/// The kind of transport that an address stands for.
pub(super) fn transport(address: &Multiaddr) -> &'static str {
    let mut name = "tcp";
    for part in address {
        match part {
            Part::P2pCircuit => return "circuit",
            Part::QuicV1 | Part::Quic => name = "quic",
            Part::Ws(_) | Part::Wss(_) => name = "ws",
            _ => {}
        }
    }
    name
}

/// Addresses of one peer that are kept, of each source.
const ADDRESSES_MAX: usize = 16;

/// Peers that are not staked are forgotten beyond this number.
const PEERS_MAX: usize = 4096;
