//! What a peer that follows the chain hears and what it wishes.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use protocol::chain::{ChainBlock, ChainEvent};
use protocol::entry::Entry;
use protocol::id::Address;
use protocol::machine::{Token, Verdict, name_variants};
use protocol::origin::{Origin, RequestId};
use protocol::records::{Head, SignedHead};
use protocol::registry::Registry;
use protocol::wire::Topic;

use crate::heads::CountedHead;

/// A fact that a discovery peer is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The chain went on, in this order. No more is taken from the chain before
    /// [`Input::Indexed`].
    Chain(Vec<ChainEvent>),
    /// Number of the newest block of the chain's endpoint.
    Tip(u64),
    /// The registry at the newest block.
    Registry(Arc<Registry>),
    /// A message of [`Topic::Entries`] or [`Topic::Heads`].
    Gossip {
        /// For the verdict.
        token: Token,
        /// Where it was told.
        topic: Topic,
        /// The encoded message.
        body: Bytes,
    },
    /// The end of [`Output::Index`], [`Output::Unindex`] or [`Output::Clear`].
    Indexed(Result<(), IndexFailure>),
    /// The head of an [`Output::Sign`] is on disk and signed.
    Signed(Box<SignedHead>),
    /// Nothing may be signed for a block, or it could not be stored.
    Unsigned {
        /// The block's number.
        number: u64,
    },
    /// A request of `/coliving/entries/1`, answered by [`Output::Respond`] or
    /// [`Output::Refuse`].
    Request {
        /// For the answer.
        id: RequestId,
        /// The peer that asks.
        origin: Origin,
        /// The encoded request.
        body: Bytes,
    },
    /// The end of [`Output::Read`]; `None` when the index cannot be read.
    Read {
        /// Of the request.
        id: RequestId,
        /// In chain order.
        entries: Option<Vec<Entry>>,
    },
}

name_variants!(Output: Index, Unindex, Clear, Subscribe, Settled, Fault, Sign, Keep, Publish, Judge, Read, Respond, Refuse, Note);

name_variants!(Note: Contradiction, FinalUndone, MajorityDiffers);

name_variants!(Input: Chain, Tip, Registry, Gossip, Indexed, Signed, Unsigned, Request, Read);

/// Why the index did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFailure {
    /// The reason, for people.
    pub reason: String,
    /// True when the index has to be made again.
    pub is_lost: bool,
}

/// A wish of the discovery peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Index the blocks as [`super::plan`] says, in one transaction; answer by
    /// [`Input::Indexed`].
    Index(Vec<Arc<ChainBlock>>),
    /// Take back what is indexed above this block; answer by [`Input::Indexed`].
    Unindex {
        /// The last block that stands.
        to: u64,
    },
    /// Empty the index; answer by [`Input::Indexed`].
    Clear,
    /// Follow the chain from the deployment on, anew: what was under way from an
    /// earlier subscription is dropped.
    Subscribe,
    /// The index holds everything up to this final block. It falls to 0 before
    /// the index is emptied or the chain is followed anew.
    Settled(u64),
    /// The index does not go on, for this reason; `None` when it does.
    Fault(Option<String>),
    /// Store that this head is signed, then sign it; answer by [`Input::Signed`]
    /// or [`Input::Unsigned`]. One of the same number that says something else
    /// must never be signed.
    Sign(Head),
    /// Keep the newest counted head over a restart, or none any more.
    Keep(Option<Box<CountedHead>>),
    /// Publish a message on a topic.
    Publish {
        /// The topic to publish on.
        topic: Topic,
        /// The encoded message.
        body: Vec<u8>,
    },
    /// Settle a gossiped message.
    Judge {
        /// The message to settle.
        token: Token,
        /// Whether it is passed on.
        verdict: Verdict,
    },
    /// Read entries of the index by their sequence; answer by [`Input::Read`].
    Read {
        /// Of the request.
        id: RequestId,
        /// The sequences of the entries.
        sequences: RangeInclusive<u64>,
        /// At most so many entries.
        limit: usize,
    },
    /// Answer a request.
    Respond {
        /// The request to answer.
        id: RequestId,
        /// The encoded answer.
        body: Vec<u8>,
    },
    /// Leave a request without an answer.
    Refuse {
        /// The request to refuse.
        id: RequestId,
    },
    /// Something that people want to know.
    Note(Note),
}

/// What people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A discovery peer signed two heads of one number.
    Contradiction {
        /// The peer that signed both.
        signer: Address,
        /// The number of both.
        block_number: u64,
    },
    /// Blocks that were final were undone; everything is computed again.
    FinalUndone {
        /// The last block that stands.
        to: u64,
        /// The last one that was final.
        from: u64,
    },
    /// A majority signed another head than this peer computes.
    MajorityDiffers {
        /// The number of both.
        block_number: u64,
    },
}
