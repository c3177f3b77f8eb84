//! What an identity peer is told and what it wishes.

use std::sync::Arc;

use bytes::Bytes;

use crate::action::{Action, SignedAction};
use crate::entity::Rejection;
use crate::id::{Address, Hash32};
use crate::machine::name_variants;
use crate::origin::{Origin, RequestId};
use crate::placement::Placement;
use crate::records::PendingAction;
use crate::relayer::{Account, Nonces, Receipt, Response, Row, Slot};
use crate::signing::Signed;

/// What an identity peer learns.
#[derive(Debug, Clone)]
pub enum Input {
    /// Somebody asks something over [`Protocol::Relayer`](crate::wire::Protocol).
    Request {
        /// Answered by [`Output::Respond`] or [`Output::Refuse`].
        request: RequestId,
        /// The peer that asks.
        origin: Origin,
        /// As it arrived.
        body: Bytes,
    },
    /// The end of an [`Output::LookUp`].
    LookedUp {
        /// Of the request.
        request: RequestId,
        /// The user's account; `None` while nobody here knows the user.
        account: Option<Account>,
    },
    /// The registry at the last block, which ranks relayers.
    Latest(Arc<Placement>),
    /// The chain went on, went away or is back.
    Chain(Chain),
    /// The index has grown, something in it was undone, or more of it is final.
    Index,
    /// The actions that wait for the chain are others than before.
    Fresh,
    /// The end of an [`Output::Look`].
    Looked {
        /// The last final block, read before the index was.
        settled: u64,
        /// Those that the index has; `None` when it cannot be read.
        landed: Option<Vec<(Hash32, Receipt)>>,
    },
    /// The end of an [`Output::Try`].
    Tried {
        /// The action's digest.
        digest: Hash32,
        /// What was found.
        found: Trial,
    },
    /// The end of an [`Output::Send`].
    Sent {
        /// The action's digest.
        digest: Hash32,
        /// In which slot.
        slot: Slot,
        /// The transaction's hash, or why an endpoint did not take it.
        sent: Result<Hash32, Unsent>,
    },
    /// The end of an [`Output::LookAtWallet`].
    Wallet {
        /// Of the look.
        id: LookId,
        /// What was seen; `None` when the chain did not answer.
        seen: Option<WalletSeen>,
    },
    /// The end of the [`Output::Persist`] that is under way.
    Persisted {
        /// Why nothing of it was stored.
        error: Option<String>,
    },
    /// The end of an [`Output::Sign`].
    Signed(Signed<PendingAction>),
}

name_variants!(Output: Respond, Refuse, LookUp, Look, Try, Send, Cancel, LookAtWallet, Persist, Show, Sign, Publish, Note);

name_variants!(Input: Request, LookedUp, Latest, Chain, Index, Fresh, Looked, Tried, Sent, Wallet, Persisted, Signed);

/// What an identity peer wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Answer a request.
    Respond {
        /// The request to answer.
        request: RequestId,
        /// The answer to send.
        response: Response,
    },
    /// Refuse a request without an answer of its protocol.
    Refuse {
        /// The request to refuse.
        request: RequestId,
    },
    /// Look the user of an action up in the index and in the actions that wait for
    /// the chain; answer with [`Input::LookedUp`].
    LookUp {
        /// For this request.
        request: RequestId,
        /// The action whose user is looked up.
        action: Box<Action>,
        /// Who signed it.
        signer: Address,
    },
    /// Look which actions the index has; answer with [`Input::Looked`].
    Look {
        /// Which, with who signed each: others may record the same digest.
        wanted: Vec<(Hash32, Address)>,
    },
    /// Find out what would become of an action: judge it on top of the index and
    /// of the actions that wait for the chain, simulate the call if it passes, and
    /// look afterwards whether it has landed; answer with [`Input::Tried`].
    Try {
        /// The action's digest.
        digest: Hash32,
        /// What to call.
        action: SignedAction,
        /// Who signed it.
        signer: Address,
        /// Who would pay.
        wallet: Address,
    },
    /// Send an action as a transaction; answer with [`Input::Sent`]. Sending the
    /// same nonce again replaces.
    Send {
        /// The action's digest.
        digest: Hash32,
        /// What to call.
        action: SignedAction,
        /// In which slot.
        slot: Slot,
        /// What it may use.
        gas: u64,
        /// How many times to raise the usual fee.
        bumps: u32,
    },
    /// Consume a slot by a transfer of nothing to the wallet itself; there is no
    /// answer.
    Cancel {
        /// The slot to consume.
        slot: Slot,
        /// What it may use.
        gas: u64,
        /// How many times to raise the usual fee.
        bumps: u32,
    },
    /// Look at a wallet; answer with [`Input::Wallet`].
    LookAtWallet {
        /// Of the look.
        id: LookId,
        /// The wallet to look at.
        wallet: Address,
        /// The last final block; `None` while there is none.
        final_block: Option<u64>,
    },
    /// Store all of the changes in their order or none; answer with
    /// [`Input::Persisted`]. One is under way at a time.
    Persist(Vec<Change>),
    /// Show an accepted action among those that wait for the chain.
    Show {
        /// What was accepted.
        action: SignedAction,
        /// Who signed it.
        signer: Address,
    },
    /// Sign the word for an accepted action; answer with [`Input::Signed`].
    Sign(PendingAction),
    /// Publish a message on [`Topic::Actions`](crate::wire::Topic).
    Publish(Bytes),
    /// Something that people want to know.
    Note(Note),
}

/// A look at a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookId(pub u64);

/// Where the chain is for this peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// True while it does not answer, or has no new blocks where it should.
    pub is_away: bool,
    /// Number of its newest block; `None` before one was seen.
    pub head: Option<u64>,
    /// Number of the last final block.
    pub final_block: Option<u64>,
}

/// What is found out about an action before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// The index has it.
    Landed(Receipt),
    /// The contract has used it, and the index does not have it.
    Used,
    /// The rules of the index reject it.
    Rejected(Rejection),
    /// The call would pass.
    Passed {
        /// What it would use.
        gas: u64,
    },
    /// The call would revert.
    Reverted {
        /// The reason as the contract words it.
        reason: String,
    },
    /// An endpoint refused the call.
    Refused {
        /// In its own words.
        message: String,
    },
    /// The index or the chain did not answer.
    Unavailable,
}

/// Why an endpoint did not take a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// Nobody answered in time.
    Unanswered,
    /// An endpoint refused it.
    Rejected {
        /// In its own words.
        message: String,
    },
    /// It is not one that could be sent.
    Impossible {
        /// The reason as the endpoint words it.
        reason: String,
    },
}

/// What a look at a wallet shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalletSeen {
    /// Its next nonces.
    pub nonces: Nonces,
    /// True when it has money.
    pub is_funded: bool,
}

/// A change of the stored rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key of the row.
    pub digest: Hash32,
    /// The row; `None` deletes it.
    pub row: Option<Box<Row>>,
}

/// What people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A wallet has no money for gas.
    WalletEmpty(Address),
    /// A transaction was refused for a reason that passes; it is sent again.
    SentLater {
        /// In the endpoint's words.
        reason: String,
    },
}

name_variants!(Note: WalletEmpty, SentLater);
