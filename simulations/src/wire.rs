//! What the simulated peers say to each other: production bytes in thin frames.

use bytes::Bytes;
pub use protocol::wire::{Audience, Protocol, Topic};

use crate::engine::{Rng, digest64};

/// A message on its way.
#[derive(Debug, Clone)]
pub enum Message {
    /// A topic's message to a mesh neighbour.
    Gossip {
        /// Where it was published.
        topic: Topic,
        /// The first bytes of its hash.
        id: u64,
        /// The message as published.
        data: Bytes,
    },
    /// A question to one peer.
    Request {
        /// Answered under this number.
        id: u64,
        /// The protocol that is asked over.
        protocol: Protocol,
        /// The encoded question.
        data: Bytes,
    },
    /// An answer; `None` when the connection was refused.
    Response {
        /// The question's number.
        id: u64,
        /// The encoded answer.
        data: Option<Bytes>,
    },
}

impl Message {
    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Gossip { data, .. } | Self::Request { data, .. } => data.len(),
            Self::Response { data, .. } => data.as_ref().map_or(0, Bytes::len),
        }
    }

    /// True for an answer without bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flips bits of it, cuts it off, or adds to it.
    pub fn garble(&mut self, rng: &mut Rng) {
        match self {
            Self::Gossip { id, data, .. } => {
                *data = garbled(data, rng);
                *id = digest64(data);
            }
            Self::Request { data, .. }
            | Self::Response {
                data: Some(data), ..
            } => *data = garbled(data, rng),
            Self::Response { data: None, .. } => {}
        }
    }

    /// The kind in the trace.
    #[must_use]
    pub fn kind(&self) -> u8 {
        let kind = match self {
            Self::Gossip { topic, .. } => 1 + topic.idx(),
            Self::Request { protocol, .. } => 16 + protocol.idx(),
            Self::Response { data: Some(_), .. } => 32,
            Self::Response { data: None, .. } => 33,
        };
        u8::try_from(kind).expect("there are few topics and protocols")
    }

    /// What it is of, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gossip { topic, .. } => topic.name(),
            Self::Request { protocol, .. } => question_name(*protocol),
            Self::Response { data: Some(_), .. } => "answers",
            Self::Response { data: None, .. } => "refusals",
        }
    }

    /// A hash of what is said.
    #[must_use]
    pub fn digest(&self) -> u64 {
        match self {
            Self::Gossip { id, .. } => *id,
            Self::Request { id, data, .. }
            | Self::Response {
                id,
                data: Some(data),
            } => digest64(data) ^ id,
            Self::Response { id, data: None } => *id,
        }
    }
}

/// What questions of a protocol are called.
#[must_use]
pub const fn question_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Blocks => "questions for blocks",
        Protocol::Publish => "offers",
        Protocol::Leases => "questions for leases",
        Protocol::Entries => "questions for entries",
        Protocol::Relayer => "questions to relayers",
        Protocol::Vault => "questions to replicas",
    }
}

fn garbled(data: &[u8], rng: &mut Rng) -> Bytes {
    let mut data = data.to_vec();
    match rng.below(3) {
        0 => data.truncate(rng.index(data.len().max(1))),
        1 => {
            let len = 1 + rng.index(GARBAGE_BYTES_MAX);
            data.extend(rng.bytes(len));
        }
        _ => {
            for _ in 0..=rng.below(3) {
                let place = rng.index(data.len().max(1));
                if let Some(byte) = data.get_mut(place) {
                    *byte ^= 1 << rng.below(8);
                }
            }
        }
    }
    data.into()
}

/// Random bytes that are added to a message.
const GARBAGE_BYTES_MAX: usize = 64;
