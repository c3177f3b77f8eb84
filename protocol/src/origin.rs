//! Who asks something of a peer, and from where.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::Address;

/// Who asks, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The asking peer's key.
    pub peer: Address,
    /// Its network address, when it is not behind a circuit.
    pub ip: Option<IpAddr>,
}

/// What per-address limits count by: an IPv4 address or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prefix([u8; 6]);

/// A driver's handle of a request that awaits its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

impl Prefix {
    /// The prefix of an address; `None` for loopback, which is not limited.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        let is_loopback = ip.to_canonical().is_loopback();
        (!is_loopback).then(|| Self::network(ip))
    }

    /// The prefix of an address, each loopback address with one of its own.
    #[must_use]
    pub fn network(ip: IpAddr) -> Self {
        let mut prefix = [0; 6];
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                // 0:0:: is not a routed IPv6 /48, so the two do not meet.
                prefix[2..].copy_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => prefix.copy_from_slice(&v6.octets()[..6]),
        }
        Self(prefix)
    }

    /// True for the prefix of a loopback address.
    #[must_use]
    pub(crate) const fn is_loopback(self) -> bool {
        // `::1` is all that lies in 0:0:0::/48.
        matches!(self.0, [0, 0, 127, ..] | [0, 0, 0, 0, 0, 0])
    }
}
