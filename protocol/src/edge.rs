//! The edge: who is let in by HTTP, and who asks too often.
//!
//! Nobody signs an HTTP request, so both parts count by where it comes from. A source
//! that is not known is one small source that all share: it is never without a limit.

use std::net::IpAddr;

use crate::origin::Prefix;

mod budget;
mod connections;

pub use budget::{Budget, TooMany};
pub use connections::{Config, ConnectionId, Connections, Full, Opened};

/// What connections and requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A proxy that carries many clients, each with an address of its own.
    Proxy,
    /// A network; each address of the loopback network is one.
    Network(Prefix),
    /// All of those whose address is not known.
    Unknown,
}

impl Source {
    /// Where a client with this address comes from.
    #[must_use]
    pub fn of(ip: Option<IpAddr>) -> Self {
        ip.map_or(Self::Unknown, |ip| Self::Network(Prefix::network(ip)))
    }
}

#[cfg(test)]
mod tests;
