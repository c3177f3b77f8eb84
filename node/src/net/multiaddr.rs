//! libp2p's addresses and peer ids, as the machines of `protocol` name them.

use std::net::IpAddr;

use libp2p::multiaddr::Protocol as Part;
use libp2p::{Multiaddr, PeerId};
use protocol::addresses::{Listening, Named, PeerKey};

use super::address_of;

/// The name of a peer for the machines, which is its peer id.
pub(super) fn key_of(peer_id: &PeerId) -> PeerKey {
    PeerKey(peer_id.to_bytes())
}

/// The peer id behind a name; `None` for one that [`key_of`] did not make.
pub(super) fn peer_id_of(key: &PeerKey) -> Option<PeerId> {
    PeerId::from_bytes(&key.0).ok()
}

/// Takes an address apart into where it leads and whom it names.
pub(super) fn listening(mut address: Multiaddr) -> Listening {
    let named = match address.iter().last() {
        Some(Part::P2p(peer_id)) => {
            address.pop();
            Some(Named {
                key: key_of(&peer_id),
                peer: address_of(&peer_id),
            })
        }
        _ => None,
    };
    Listening {
        at: address.to_vec(),
        named,
    }
}

/// Leaves out the peer that an address names.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Part::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
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

/// The IP address of the peer at the other end of a connection; `None` behind a
/// circuit, where the address is its carrier's, and for a name.
pub(super) fn ip_of(endpoint: &Multiaddr) -> Option<IpAddr> {
    if transport(endpoint) == "circuit" {
        return None;
    }
    match endpoint.iter().next()? {
        Part::Ip4(ip) => Some(ip.into()),
        Part::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}
