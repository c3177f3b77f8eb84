//! What the content machine hears and what it wishes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::book::Counters;
use super::holder::{Upload, UserFacts};
use super::references::Reference;
use super::repair::RootFacts;
use crate::action::Action;
use crate::id::{Address, Hash32};
use crate::machine::{Token, Verdict, name_variants};
use crate::origin::{Origin, RequestId};
use crate::placement::RegistryAt;
use crate::records::{Lease, SignedLease, SignedPage, SignedStatement, Statement};
use crate::signing::{Domain, Signed, SigningKey};
use crate::time::Epoch;
use crate::wire::{Protocol, Topic};

/// A fact that a content peer is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// Another registry snapshot counts.
    Registry(Arc<RegistryAt>),
    /// These peers are connected, and no others.
    Connected(BTreeSet<Address>),
    /// The index or the chain went on, or stopped.
    Height(Height),
    /// What names these roots changed; the index was read on.
    Renamed(Vec<Cid>),
    /// What names some roots changed, and nobody remembers of which.
    RenamedUnknown,
    /// An answer to [`Output::ReadReferences`].
    References(Vec<Reference>),
    /// An answer to [`Output::Scan`]: the next roots that something names, and
    /// whether others follow.
    Scanned {
        /// In the order of the index.
        roots: Vec<Reference>,
        /// True after the last root.
        is_over: bool,
    },
    /// An [`Output::Scan`] could not be answered.
    ScanBroken,
    /// A peer asks something over [`Protocol::Publish`] or [`Protocol::Leases`].
    Request {
        /// Answered under this name.
        id: RequestId,
        /// How it came.
        protocol: Protocol,
        /// Who asks, and from where.
        origin: Origin,
        /// As it came.
        body: Bytes,
    },
    /// A message on one of the role's topics waits for its verdict.
    Gossip {
        /// Judged under this name.
        token: Token,
        /// Where it was published.
        topic: Topic,
        /// As it came.
        body: Bytes,
    },
    /// An answer to [`Output::Ask`]; `None` when none came.
    Answer {
        /// The question's name.
        id: AskId,
        /// As it came.
        body: Option<Bytes>,
    },
    /// An answer to [`Output::LookUp`].
    LookedUp {
        /// The question's name.
        id: AskId,
        /// The user, if it exists and the signer may act for it.
        user: Option<UserFacts>,
        /// What the store has room for.
        capacity: Capacity,
    },
    /// An answer to [`Output::Measure`].
    Measured(Capacity),
    /// The rows of an [`Output::Persist`] are durable, or could not be written.
    Persisted {
        /// The write that is over.
        id: PersistId,
        /// True when they are durable.
        is_done: bool,
    },
    /// An answer to [`Output::Sign`].
    Signed(SignedRecord),
    /// So many bytes of a pull are here.
    Progress {
        /// The root that is pulled.
        root: Cid,
        /// Bytes of it that are here.
        bytes: u64,
    },
    /// An answer to [`Output::Fetch`].
    Fetched {
        /// The root that was wanted.
        root: Cid,
        /// As it was wished.
        purpose: Purpose,
        /// What is durable here, as it was verified.
        result: Result<RootFacts, FetchFailure>,
    },
    /// An [`Output::Remove`] was carried out, as far as it goes.
    Removed {
        /// What is gone.
        root: Cid,
    },
    /// An [`Output::Keep`] was carried out, as far as it goes.
    Kept,
    /// An answer to [`Output::Draw`]: blocks that the root lists.
    Drawn {
        /// The question's name.
        id: AskId,
        /// Nothing when the root is not here.
        cids: Vec<Cid>,
    },
    /// An answer to [`Output::Inspect`].
    Inspected {
        /// The roots that are not whole here.
        lacking: Vec<Cid>,
    },
    /// A block was found damaged and is gone.
    BlockLost(Cid),
    /// Blocks were found damaged and are gone, and nobody remembers which.
    BlocksLost,
    /// An answer to [`Output::FindListing`].
    Damaged {
        /// Held for whatever reason.
        roots: Vec<Cid>,
    },
}

/// A wish. What takes time may be carried out while others are; the writes of
/// [`Output::Persist`] keep their order, and so do the answers of
/// [`Output::ReadReferences`] and [`Output::Scan`].
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Answer a request.
    Respond {
        /// The request to answer.
        id: RequestId,
        /// What to say.
        body: Vec<u8>,
    },
    /// Refuse a request without an answer of its protocol.
    Refuse {
        /// The request to refuse.
        id: RequestId,
        /// True when asking again makes sense.
        is_busy: bool,
    },
    /// Say what is to become of a message.
    Judge {
        /// The message to judge.
        token: Token,
        /// Whether it is passed on.
        verdict: Verdict,
    },
    /// Publish a message.
    Publish {
        /// The topic to publish on.
        topic: Topic,
        /// The encoded message.
        body: Vec<u8>,
    },
    /// Ask a peer; answer by [`Input::Answer`].
    Ask {
        /// The question's name.
        id: AskId,
        /// The peer to ask.
        to: Address,
        /// The protocol to ask over.
        protocol: Protocol,
        /// The encoded request.
        body: Vec<u8>,
    },
    /// Charge a peer with an offence.
    Offence {
        /// The peer to charge.
        peer: Address,
        /// How much it weighs.
        weight: u32,
    },
    /// Look a user up in the index; answer by [`Input::LookedUp`].
    LookUp {
        /// The question's name.
        id: AskId,
        /// What is to be done for it.
        action: Box<Action>,
        /// Who wants to act for it.
        signer: Address,
    },
    /// Read what names these roots; answer by [`Input::References`], with nobody
    /// for those that nothing names.
    ReadReferences {
        /// Roots to look up.
        roots: Vec<Cid>,
    },
    /// Find the roots that list a block; answer by [`Input::Damaged`].
    FindListing {
        /// The damaged block.
        block: Cid,
    },
    /// Read the next roots that something names; answer by [`Input::Scanned`].
    Scan {
        /// The last root of the answer before.
        after: Option<Cid>,
    },
    /// Measure the store; answer by [`Input::Measured`].
    Measure,
    /// Write rows in one transaction, after all that were wished before; answer
    /// by [`Input::Persisted`].
    Persist {
        /// The name of the wish.
        id: PersistId,
        /// Rows to write together.
        rows: Vec<Row>,
    },
    /// Sign a record; answer by [`Input::Signed`].
    Sign(Draft),
    /// Fetch, verify and commit everything below a root under a lease's hold;
    /// answer by [`Input::Fetched`].
    Fetch {
        /// The root to fetch.
        root: Cid,
        /// What it is fetched for.
        purpose: Purpose,
        /// End with [`FetchFailure::TooLarge`] beyond it.
        bytes_max: u64,
        /// Who may hold it, first in line first.
        holders: Vec<Address>,
        /// Asked when nobody else answers.
        last_resort: Option<Address>,
    },
    /// Break off a fetch for [`Purpose::Upload`]; it is not answered.
    Cancel {
        /// The root that is no longer wanted.
        root: Cid,
    },
    /// Give up what is held of a root under a lease's hold; answer by
    /// [`Input::Removed`].
    Remove {
        /// The root to give up.
        root: Cid,
    },
    /// Give up everything that is held under a lease's hold but these roots;
    /// answer by [`Input::Kept`].
    Keep {
        /// Roots that stay held.
        roots: BTreeSet<Cid>,
    },
    /// Name the first block at or after each point that a root lists; answer by
    /// [`Input::Drawn`].
    Draw {
        /// The question's name.
        id: AskId,
        /// The root to draw from.
        root: Cid,
        /// Places in the order of digests.
        points: Vec<Hash32>,
    },
    /// Find out which of these roots are not whole here; answer by
    /// [`Input::Inspected`].
    Inspect {
        /// Roots to inspect.
        roots: Vec<Cid>,
    },
    /// Something that people want to know.
    Note(Note),
}

name_variants!(Output: Respond, Refuse, Judge, Publish, Ask, Offence, LookUp, ReadReferences, FindListing, Scan, Measure, Persist, Sign, Fetch, Cancel, Remove, Keep, Draw, Inspect, Note);

name_variants!(Input: Registry, Connected, Height, Renamed, RenamedUnknown, References, Scanned, ScanBroken, Request, Gossip, Answer, LookedUp, Measured, Persisted, Signed, Progress, Fetched, Removed, Kept, Drawn, Inspected, BlockLost, BlocksLost, Damaged);

/// The name of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// The name of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// How far the index and the chain are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Height {
    /// The last block that the index has.
    pub applied: u64,
    /// The newest block of the chain, as far as is known.
    pub head: Option<u64>,
    /// True while the chain answers and goes on.
    pub is_connected: bool,
}

/// What the store holds and has room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// The cap on the store in bytes.
    pub bytes_max: u64,
    /// Bytes of live blocks.
    pub live_bytes: u64,
    /// Bytes that the store takes on the disk.
    pub disk_bytes: u64,
    /// Bytes that are free on the disk beyond the reserve; `None` when unknown.
    pub disk_free: Option<u64>,
}

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// An accepted offer.
    Upload,
    /// A missing replica.
    Repair,
}

/// Why a fetch did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// More came than was wished.
    #[error("there is more than was promised")]
    TooLarge,
    /// There is no room here.
    #[error("there is no room: {0}")]
    Full(String),
    /// Nobody delivered it, or it is malformed.
    #[error("{0}")]
    Failed(String),
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// An accepted upload, or the end of one.
    Upload(Cid, Option<Box<Upload>>),
    /// The counters of the lease book.
    Counters(Counters),
    /// An own lease, or its end.
    Lease(Cid, Option<Box<SignedLease>>),
    /// The newest own page.
    Page(Box<SignedPage>),
    /// Another holder's lease, or its end.
    Claim(Address, Cid, Option<Box<Lease>>),
    /// Since when nothing names a promised root; `None` when something does, or
    /// the promise is over.
    Ended(Cid, Option<Epoch>),
    /// The return from a backup is over.
    Returned,
}

/// What is kept of an earlier run.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Uploads that were accepted.
    pub uploads: Vec<Upload>,
    /// The counters of the lease book.
    pub counters: Counters,
    /// Leases of this peer.
    pub leases: Vec<SignedLease>,
    /// The newest own page.
    pub page: Option<SignedPage>,
    /// Other holders' leases.
    pub claims: Vec<Lease>,
    /// Since when nothing names promised roots.
    pub ended: Vec<(Cid, Epoch)>,
    /// True when all this comes from a backup and the return is not over.
    pub is_restored: bool,
}

/// What is to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Draft {
    /// A lease of one root.
    Lease(Lease),
    /// What everybody is told.
    Told(Statement),
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedRecord {
    /// A lease of one root.
    Lease(SignedLease),
    /// What everybody is told.
    Told(SignedStatement),
}

impl Draft {
    /// Signs it with the key of its peer.
    #[must_use]
    pub fn sign(self, domain: &Domain, key: &SigningKey) -> SignedRecord {
        match self {
            Self::Lease(lease) => SignedRecord::Lease(Signed::new(lease, domain, key)),
            Self::Told(statement) => SignedRecord::Told(statement.sign(domain, key)),
        }
    }
}

/// Something that people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An upload was not pulled.
    NotPulled(Cid, FetchFailure),
    /// A root is repaired to here.
    Repairing(Cid),
    /// A root was not repaired; it is tried again.
    NotRepaired(Cid, FetchFailure),
    /// A promised root lost a block and is fetched again.
    Damaged(Cid),
    /// A root that others hold is released.
    Released(Cid),
    /// Nothing names a root any more and its time is over.
    Ended(Cid),
    /// Its owners have no room for a root, so it is not kept.
    OverQuota(Cid),
    /// No live peer is known to hold a root.
    Starved(Cid),
    /// A peer counts as lost.
    Lost(Address),
    /// A lost peer is back.
    Back(Address),
    /// No room for another lease.
    BookFull(Cid),
    /// Rows could not be written; nothing is signed that depends on them.
    NotPersisted,
    /// This peer signed another page for one epoch than the one that is known.
    Equivocation(Address, Epoch),
}

name_variants!(Note: NotPulled, Repairing, NotRepaired, Damaged, Released, Ended, OverQuota, Starved, Lost, Back, BookFull, NotPersisted, Equivocation);
