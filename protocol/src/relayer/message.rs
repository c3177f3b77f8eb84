//! What clients and relayers say to each other.

use serde::{Deserialize, Serialize};

use crate::action::SignedAction;
use crate::codec::{self, DecodeError};
use crate::id::Hash32;
use crate::machine::name_variants;
use crate::refusal;
use crate::wire::Protocol;

/// What a client asks over `/coliving/relayer/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Relay an action.
    Submit {
        /// Signed by the user.
        action: Box<SignedAction>,
        /// The proof of work of a `User Create`.
        proof: Option<u64>,
        /// A paying app's token, instead of the proof; at most 512 bytes.
        token: Option<String>,
    },
    /// Where an action stands.
    Status {
        /// Digest of the action.
        digest: Hash32,
    },
}

/// What a relayer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// The action is stored and will be sent.
    Accepted {
        /// Digest of the action.
        digest: Hash32,
        /// Where it stands.
        status: Status,
    },
    /// The action will not be relayed.
    Refused(Refusal),
    /// No action of this digest is known.
    Unknown,
}

/// Where an accepted action stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waits to be sent.
    Pending,
    /// In the chain's queue.
    #[serde(rename_all = "camelCase")]
    Sent {
        /// The transaction that carries it.
        tx_hash: Hash32,
    },
    /// On chain, in this block.
    Mined(Receipt),
    /// Will not be on chain.
    Failed {
        /// What went wrong, for people.
        reason: String,
    },
}

/// Where on chain an action is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction that carries it.
    pub tx_hash: Hash32,
    /// Number of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: Hash32,
}

/// Why an action is not relayed.
pub type Refusal = refusal::Refusal<RefusalCode>;

/// The causes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalCode {
    /// The signature is not the user's, or a field is too long.
    Signature,
    /// Not on the allow-list.
    NotAllowed,
    /// The call would revert.
    Simulation,
    /// A new user without proof of work.
    Proof,
    /// The relayer has spent what it may.
    Budget,
    /// The owner has sent as many as it may.
    Quota,
    /// Too much is going on.
    Busy,
}

name_variants!(Response: Accepted, Refused, Unknown);

name_variants!(RefusalCode: Signature, NotAllowed, Simulation, Proof, Budget, Quota, Busy);

impl RefusalCode {
    /// True when another relayer may accept the same action.
    #[must_use]
    pub const fn is_local(self) -> bool {
        match self {
            Self::Budget | Self::Quota | Self::Busy => true,
            Self::Signature | Self::NotAllowed | Self::Simulation | Self::Proof => false,
        }
    }
}

impl Request {
    /// Encodes the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a request within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(
            "relayer request",
            bytes,
            Protocol::Relayer.limits().request_bytes_max,
        )
    }
}

impl Response {
    /// Encodes the response.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a response within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(
            "relayer response",
            bytes,
            Protocol::Relayer.limits().response_bytes_max,
        )
    }
}
