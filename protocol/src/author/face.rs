//! What an author is told and what it wishes.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::{Change, PublishRoot, PublishStatus, RelayStatus};
use crate::action::{ActionError, SignedAction};
use crate::id::{Address, Hash32};
use crate::machine::name_variants;
use crate::origin::RequestId;
use crate::placement::Placement;
use crate::records::SignedLease;
use crate::relayer::Refusal;
use crate::time::UnixSeconds;
use crate::wire::Protocol;

/// A question to another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// A change of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// A look into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookId(pub u64);

/// What an author learns.
#[derive(Debug, Clone)]
pub enum Input {
    /// The owner publishes roots by an action that names them.
    Publish {
        /// Answered by [`Reply::Publish`].
        request: RequestId,
        /// Signed by the user.
        action: SignedAction,
        /// What it names.
        roots: Vec<PublishRoot>,
        /// The first root that is not stored here.
        missing: Option<Cid>,
    },
    /// The owner asks how far a publication is.
    Published {
        /// Answered by [`Reply::Published`].
        request: RequestId,
        /// The digest of its action.
        digest: Hash32,
    },
    /// The owner hands in an action.
    Relay {
        /// Answered by [`Reply::Relay`] after the first pass over the relayers.
        request: RequestId,
        /// Signed by the user.
        action: SignedAction,
        /// A proof of work that the owner found.
        proof: Option<u64>,
    },
    /// The owner asks where an action stands.
    Relayed {
        /// Answered by [`Reply::Relay`].
        request: RequestId,
        /// The action's digest.
        digest: Hash32,
    },
    /// The end of an [`Output::Ask`].
    Answered {
        /// Of the question.
        id: AskId,
        /// As it arrived; `None` without an answer.
        body: Option<Bytes>,
    },
    /// The end of an [`Output::Persist`].
    Persisted {
        /// Of the write.
        id: WriteId,
        /// Why nothing of it was stored.
        error: Option<String>,
    },
    /// The end of an [`Output::Look`].
    Looked {
        /// Of the look.
        id: LookId,
        /// Those that the index has; or why it cannot be read.
        found: Result<Vec<Landing>, String>,
    },
    /// The end of an [`Output::Solve`].
    Solved {
        /// The action's digest.
        digest: Hash32,
        /// What was found.
        proof: u64,
    },
    /// The index has grown, or something in it was undone.
    Index,
    /// The chain went away or is back.
    Chain {
        /// True while it has no new blocks for this peer.
        is_away: bool,
    },
    /// The registry that placement works on.
    Snapshot(Arc<Placement>),
    /// The registry at the last block, which ranks relayers.
    Latest(Arc<Placement>),
    /// Other peers were met.
    Connected,
    /// This peer has a relayer of its own.
    Relayer,
}

name_variants!(Output: Ask, Persist, Hold, Look, Solve, Reply, Event);

name_variants!(Event: Durable, Accepted, Confirmed, Failed);

name_variants!(Input: Publish, Published, Relay, Relayed, Answered, Persisted, Looked, Solved, Index, Chain, Snapshot, Latest, Connected, Relayer);

/// What an author wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask a peer, this one perhaps; answer each with [`Input::Answered`].
    Ask {
        /// Of the question.
        id: AskId,
        /// The peer to ask.
        peer: Address,
        /// In which protocol.
        protocol: Protocol,
        /// The encoded question.
        body: Bytes,
    },
    /// Store all of the changes or none, after those that were wished before;
    /// answer with [`Input::Persisted`].
    Persist {
        /// Of the write.
        id: WriteId,
        /// To one or both rows of a digest.
        changes: Vec<Change>,
    },
    /// Keep the blocks of a root.
    Hold {
        /// The root of the upload.
        root: Cid,
        /// At least so long.
        until: UnixSeconds,
    },
    /// Look which actions the index has; answer with [`Input::Looked`].
    Look {
        /// Of the look.
        id: LookId,
        /// Digests of actions, and what is awaited of each.
        wanted: Vec<Wanted>,
    },
    /// Find a proof of work; answer with [`Input::Solved`].
    Solve {
        /// The action's digest.
        digest: Hash32,
        /// Leading zero bits.
        bits: u32,
    },
    /// Answer the owner.
    Reply {
        /// Of the request.
        request: RequestId,
        /// What the owner is told.
        reply: Reply,
    },
    /// Something that is on disk, for whoever watches.
    Event(Event),
}

/// An action that is looked for in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The action's digest.
    pub digest: Hash32,
    /// Who signed it, when that is known: others may record the same digest.
    pub signer: Option<Address>,
}

/// Where in the index an action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The action's digest.
    pub digest: Hash32,
    /// The transaction that brought it.
    pub tx_hash: Hash32,
    /// Number of its block.
    pub block_number: u64,
    /// Why it changed nothing.
    pub rejected: Option<String>,
}

/// An answer to the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The publication's id, which is the action's digest.
    Publish(Result<Hash32, PublishError>),
    /// `None` when it was not started here, or long ago.
    Published(Option<PublishStatus>),
    /// Where the action stands.
    Relay(Result<RelayStatus, RelayError>),
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Enough operators hold every root.
    Durable {
        /// The action's digest.
        digest: Hash32,
        /// Each root with its leases.
        roots: Vec<(Cid, Vec<SignedLease>)>,
    },
    /// A relayer keeps the action.
    Accepted {
        /// The action's digest.
        digest: Hash32,
    },
    /// The index has the action, and it is valid.
    Confirmed {
        /// The action's digest.
        digest: Hash32,
    },
    /// The action or its publication did not work out.
    Failed {
        /// The action's digest.
        digest: Hash32,
        /// A text for people.
        error: String,
    },
}

/// Why a publication did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The action is too long, or its signature is not one.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Nothing to publish, or too much.
    #[error("a publication names {count} roots, between 1 and {max} are allowed", max = super::ROOTS_MAX)]
    Roots {
        /// How many it names.
        count: usize,
    },
    /// A root without a single byte.
    #[error("{cid} has no bytes; publish a file that is not empty")]
    Empty {
        /// The root whose file is empty.
        cid: Cid,
    },
    /// Too many publications are under way.
    #[error("{limit} publications are under way, which is the most; wait for one to end")]
    Busy {
        /// How many may be.
        limit: usize,
    },
    /// A root was not imported here.
    #[error("{cid} is not stored here; import the file first")]
    NotHere {
        /// The root without a finished import.
        cid: Cid,
    },
    /// No staked peer is known.
    #[error("no content peer is known; wait for the chain, or check `chain.rpc`")]
    NoPeers,
    /// It could not be stored.
    #[error("{0}")]
    Store(String),
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why an action was not relayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// It is too long, or its signature is not one.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The signature is somebody else's.
    #[error("{message}")]
    Signer {
        /// Who signed and who should have.
        message: String,
        /// What probably went wrong.
        hint: &'static str,
    },
    /// Every relayer that answered refused.
    #[error("the relayer refused: {}", .0.reason)]
    Refused(Refusal),
    /// Nobody knows the action.
    #[error("no relayer that answers knows an action with the digest {digest}")]
    Unknown {
        /// The digest that was asked for.
        digest: Hash32,
    },
    /// Too many actions wait for a relayer.
    #[error("{limit} actions wait for a relayer already; check the connection to the network")]
    Full {
        /// How many may wait.
        limit: usize,
    },
    /// The action could not be stored, or the index not be read.
    #[error("{0}")]
    Store(String),
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}
