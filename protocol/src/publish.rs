//! Publishing: from a file on its author's disk to leases of staked peers.
//!
//! The author offers a signed action with the root that it names to the placed
//! peers ([`Publication`](crate::author::Publication)); each checks signature,
//! user and quota before a byte moves, pulls the file, commits it and answers
//! with a lease ([`Holder`](crate::content::Holder)).
//! At first one peer pulls from the author; the others pull from those that
//! hold the file already, so the author sends it about once.
//!
//! Format: `docs/formats/publish.md`.

use std::ops::RangeInclusive;

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::action::{SIGNED_ACTION_BYTES_MAX, SignedAction};
use crate::codec::{self, DecodeError};
use crate::entity;
use crate::id::{Address, Hash32};
use crate::machine::name_variants;
use crate::records::SignedLease;
use crate::refusal;
use crate::wire::{CID_BYTES_MAX, Protocol};

/// What an author says to a staked peer over `/coliving/publish/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Asks the peer to hold a root.
    Offer(Box<Offer>),
    /// Asks how far an accepted offer is.
    Status {
        /// The root of the offer.
        root: Cid,
    },
}

/// A root to hold, and the action that publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// The action, signed already; a CID field of it names the root.
    pub action: SignedAction,
    /// The root of the file or directory.
    pub root: Cid,
    /// BLAKE3 of the DAG's distinct blocks in pre-order.
    pub proof_root: Hash32,
    /// The sum of the lengths of the DAG's distinct blocks.
    pub size: u64,
    /// Peers that hold the root; pulled from before the author is.
    pub sources: Vec<Address>,
}

/// What an offer says of its root. Offers that say different things of one root are
/// different offers: only the blocks tell which is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offered {
    /// The root of the file or directory.
    pub root: Cid,
    /// The sum of the lengths of the DAG's distinct blocks.
    pub size: u64,
    /// BLAKE3 of the DAG's distinct blocks in pre-order.
    pub proof_root: Hash32,
}

/// What a staked peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// The offer passed every check; pulling starts when there is room.
    Accepted,
    /// Bytes of the root that are here.
    Progress {
        /// Bytes of the DAG that are here.
        bytes: u64,
    },
    /// The root is durable here, and promised.
    Lease(Box<SignedLease>),
    /// It will not be held here.
    Refused(Refusal),
    /// No offer of this root is known; offer it again.
    Unknown,
}

/// Why a peer does not hold a root.
pub type Refusal = refusal::Refusal<RefusalCode>;

/// The causes of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusalCode {
    /// The offer contradicts itself or a limit.
    Invalid,
    /// The action's signature is not the user's.
    Signature,
    /// The user does not exist here.
    User,
    /// The user's quota is used up.
    Quota,
    /// The network prefix's quota is used up.
    Prefix,
    /// The peer's disk is full.
    Full,
    /// Too much is going on.
    Busy,
    /// The root did not arrive, or was not what was offered.
    Pull,
}

name_variants!(Response: Accepted, Progress, Lease, Refused, Unknown);

name_variants!(RefusalCode: Invalid, Signature, User, Quota, Prefix, Full, Busy, Pull);

impl RefusalCode {
    /// True when the same offer may be accepted by this peer later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::User | Self::Busy | Self::Pull => true,
            Self::Invalid | Self::Signature | Self::Quota | Self::Prefix | Self::Full => false,
        }
    }
}

impl Offer {
    /// What it says of its root.
    #[must_use]
    pub const fn offered(&self) -> Offered {
        Offered {
            root: self.root,
            size: self.size,
            proof_root: self.proof_root,
        }
    }

    /// Checks what needs nobody's knowledge: sizes, and that a CID field of the
    /// action names the root.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of code [`RefusalCode::Invalid`].
    pub fn check(&self) -> Result<(), Refusal> {
        let invalid = |reason: String| Err(Refusal::new(RefusalCode::Invalid, reason));
        if let Err(error) = self.action.action.check_size() {
            return invalid(error.to_string());
        }
        if self.size == 0 {
            return invalid("the offer is of 0 bytes".to_owned());
        }
        if self.sources.len() > SOURCES_MAX {
            return invalid(format!(
                "the offer names {} sources, at most {SOURCES_MAX} are allowed",
                self.sources.len()
            ));
        }
        let named = match entity::roots_of(&self.action.action) {
            Ok(named) => named,
            Err(rejection) => return invalid(rejection.to_string()),
        };
        if !named.iter().any(|named| named.root == self.root) {
            return invalid(format!(
                "no CID field of the action names the root {}",
                self.root
            ));
        }
        Ok(())
    }
}

impl Offered {
    /// The range of all offers of a root.
    #[must_use]
    pub fn all_of(root: &Cid) -> RangeInclusive<Self> {
        let (first, last) = (Hash32([0; 32]), Hash32([0xff; 32]));
        let offered = |size, proof_root| Self {
            root: *root,
            size,
            proof_root,
        };
        offered(0, first)..=offered(u64::MAX, last)
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
            "publish request",
            bytes,
            Protocol::Publish.limits().request_bytes_max,
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
            "publish response",
            bytes,
            Protocol::Publish.limits().response_bytes_max,
        )
    }
}

/// Most sources that an offer names. Chosen: only larger than the replicas of a root.
pub const SOURCES_MAX: usize = 16;

// What an offer holds, against the limit of what carries it.
const _: () = {
    let offer = SIGNED_ACTION_BYTES_MAX + (SOURCES_MAX + 1) * CID_BYTES_MAX;
    assert!(offer < Protocol::Publish.limits().request_bytes_max);
};

#[cfg(test)]
mod tests;
