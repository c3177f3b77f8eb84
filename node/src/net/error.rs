//! Why the network said no.

use libp2p::Multiaddr;
use protocol::id::Address;

use super::{Protocol, Topic};

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address is not to be had.
    #[error(
        "cannot listen on {address}: {reason}; \
         stop the process that uses it or set another address in `net.listen` (port 0 takes a free one)"
    )]
    Listen {
        /// The address from the configuration.
        address: Multiaddr,
        /// What the operating system said.
        reason: String,
    },
    /// A transport or behaviour did not come up.
    #[error("cannot set up {part}: {reason}")]
    Setup {
        /// What was set up.
        part: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// Why a command to the network failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
    /// The protocol has a live server already.
    #[error("{} is served already", .0.name())]
    Served(Protocol),
    /// The topic has a live subscriber already.
    #[error("{} has a subscriber already", .0.name())]
    Subscribed(Topic),
    /// Too many searches for providers at once.
    #[error(
        "too many searches for providers at once, at most {limit} are allowed; try again later"
    )]
    TooManyQueries {
        /// The most that may be under way.
        limit: usize,
    },
    /// No room for another provider record.
    #[error("too many roots are announced, at most {limit} are allowed")]
    TooManyProvided {
        /// The most that are kept.
        limit: usize,
    },
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection and none could be made.
    #[error("{peer} is not connected and could not be dialled")]
    NotConnected {
        /// The peer that was meant.
        peer: Address,
    },
    /// No answer within the protocol's time.
    #[error("{peer} did not answer on {} in time", .protocol.name())]
    Timeout {
        /// The peer that was asked.
        peer: Address,
        /// The protocol that it was asked over.
        protocol: Protocol,
    },
    /// The connection broke, or the peer sent something that is no answer.
    #[error("the answer of {peer} on {} broke off: {reason}", .protocol.name())]
    Broken {
        /// The peer that was asked.
        peer: Address,
        /// The protocol that it was asked over.
        protocol: Protocol,
        /// What happened, for people.
        reason: String,
    },
    /// The peer refused.
    #[error("{peer} refused the request on {}: {refusal}", .protocol.name())]
    Refused {
        /// The peer that was asked.
        peer: Address,
        /// The protocol that it was asked over.
        protocol: Protocol,
        /// The reason that it gave.
        refusal: Refusal,
    },
    /// Our request is longer than the protocol allows.
    #[error("the request is {size} bytes, at most {limit} are allowed on {}", .protocol.name())]
    TooLarge {
        /// The protocol of the request.
        protocol: Protocol,
        /// Bytes of the request.
        size: usize,
        /// The most that are allowed.
        limit: usize,
    },
    /// Too many of our own requests are under way.
    #[error("{limit} requests are under way already; wait for one to end")]
    Busy {
        /// The most that may be under way.
        limit: usize,
    },
    /// The peer is banned here.
    #[error("{peer} is banned for its offences")]
    Banned {
        /// The peer that is banned.
        peer: Address,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a peer refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not serve the protocol.
    #[error("it does not serve the protocol")]
    NotServed,
    /// It has too much to do.
    #[error("it is busy")]
    Busy,
    /// It understood the request and will not answer it.
    #[error("it rejected the request")]
    Rejected,
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Longer than gossip carries.
    #[error("the message is {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// The most that are allowed.
        limit: usize,
    },
    /// Nobody that we know of listens to the topic.
    #[error("no connected peer listens to {}", .0.name())]
    NoPeers(Topic),
    /// The queues to all peers are full.
    #[error("the queues to all peers are full; try again later")]
    Busy,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

impl RequestError {
    /// True when the same request to the same peer may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Busy { .. }
            | Self::Refused {
                refusal: Refusal::Busy,
                ..
            } => true,
            Self::Refused {
                refusal: Refusal::NotServed | Refusal::Rejected,
                ..
            }
            | Self::TooLarge { .. }
            | Self::Banned { .. }
            | Self::Stopped => false,
        }
    }
}
