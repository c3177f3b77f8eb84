//! What peers say over `/coliving/leases/1`.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::{SignedLease, SignedPage};
use crate::codec::{self, DecodeError};
use crate::wire::Protocol;

/// A question or a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Asks for the answering peer's own leases after a root, by root bytes.
    List {
        /// The last root of the answer before.
        after: Option<Cid>,
    },
    /// Tells of a lease that was just given.
    Announce {
        /// The sender's lease.
        lease: Box<SignedLease>,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// Leases of the answering peer, sorted by root bytes.
    List {
        /// Its newest page.
        page: Option<SignedPage>,
        /// At most [`LISTED_MAX`] leases.
        leases: Vec<SignedLease>,
        /// False when more follow.
        is_last: bool,
    },
    /// The notice was taken.
    Noted,
}

impl Request {
    /// Encodes the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a request.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form within the limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(
            "lease request",
            bytes,
            Protocol::Leases.limits().request_bytes_max,
        )
    }
}

impl Response {
    /// Encodes the response.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a response.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form within the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response = codec::from_bytes(
            "lease response",
            bytes,
            Protocol::Leases.limits().response_bytes_max,
        )?;
        match &response {
            Self::List { leases, .. } if leases.len() > LISTED_MAX => Err(DecodeError::TooLarge {
                what: "list of leases",
                size: leases.len(),
                limit: LISTED_MAX,
            }),
            Self::List { .. } | Self::Noted => Ok(response),
        }
    }
}

/// Leases in one response.
pub const LISTED_MAX: usize = 1024;
