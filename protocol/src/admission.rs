//! Whom what is asked of a peer counts against, and whose turn it is.
//!
//! Keys are free, networks are not, and stake is neither: who asks counts as its
//! operator when it is confirmed, else with all others of its network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Address, OperatorNumber};
use crate::origin::{Origin, Prefix};
use crate::registry::Registry;

mod floor;
mod turns;

pub use floor::{Floor, RATE_MIN, RATE_WINDOW};
pub use turns::Turns;

/// Who asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The asking peer's key.
    pub peer: Address,
    /// Who staked for it, when it is confirmed in some role.
    pub operator: Option<OperatorNumber>,
    /// Where it asks from.
    pub network: Network,
}

/// Where somebody asks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Network {
    /// The machine of this peer.
    Local,
    /// An address that is known.
    Prefix(Prefix),
    /// Behind a circuit, or nobody knows.
    Unknown,
}

/// What is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Account {
    /// All confirmed peers of an operator.
    Operator(OperatorNumber),
    /// A user that the index knows, or whose proof of work holds.
    User(Address),
    /// A peer of this machine.
    Local(Address),
    /// Everybody of a network.
    Prefix(Prefix),
    /// All of those of whom nothing is known.
    Unknown,
}

impl Source {
    /// Who asks, with its operator if the caller knows one.
    #[must_use]
    pub fn new(origin: Origin, operator: Option<OperatorNumber>) -> Self {
        Self {
            peer: origin.peer,
            operator,
            network: Network::of(origin.ip),
        }
    }

    /// Who asks, as a registry has it.
    #[must_use]
    pub fn of(origin: Origin, registry: &Registry) -> Self {
        let peer = registry.peer(&origin.peer);
        Self::new(origin, peer.map(|peer| peer.operator_number))
    }

    /// What its requests count against.
    #[must_use]
    pub const fn account(&self) -> Account {
        match (self.operator, self.network) {
            (Some(operator), _) => Account::Operator(operator),
            (None, Network::Local) => Account::Local(self.peer),
            (None, Network::Prefix(prefix)) => Account::Prefix(prefix),
            (None, Network::Unknown) => Account::Unknown,
        }
    }
}

impl Network {
    /// The network of an address, if one is known.
    #[must_use]
    pub fn of(ip: Option<IpAddr>) -> Self {
        ip.map_or(Self::Unknown, |ip| {
            Prefix::of(ip).map_or(Self::Local, Self::Prefix)
        })
    }
}
