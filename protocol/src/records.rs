//! What peers sign: one file per record, with what is checked of it on arrival.
//!
//! A check decodes within the limit of the record's topic, recovers who signed,
//! and holds that against the registry and the present. Type strings and fields
//! stand in `docs/formats/signed.md`.

use serde::{Deserialize, Serialize};

use crate::action::ActionError;
use crate::codec::{self, DecodeError};
use crate::id::{Address, Role};
use crate::registry::Registry;
use crate::signing::{Domain, SignatureError, Signed, SigningKey};
use crate::time::Moment;
use crate::wire::Topic;

mod attestation;
mod confirm;
mod endpoint;
mod head;
mod lease;
mod page;
mod pending_action;
mod presence;
mod reply;
mod told;
mod vault;

use told::told;

pub use attestation::Attestation;
pub use confirm::Confirm;
pub use endpoint::Endpoint;
pub use head::{CheckedHead, Head, SignedHead, check_head};
pub use lease::{LEASE_EPOCHS_MAX, Lease, SignedLease};
pub use page::{PAGE_EPOCHS_MAX, Page, SignedPage};
pub use pending_action::{ENVELOPE_SKEW_SECONDS_MAX, Envelope, PendingAction, check_envelope};
pub use presence::{PRESENCE_SKEW_SECONDS_MAX, Presence, SignedPresence};
pub use reply::Reply;
pub use told::{Around, Heard, Told, told_by};
pub use vault::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, SignedVault, VaultRecord};

told! {
    /// A sign of life.
    Presence,
    /// The renewal of all leases of a holder.
    Page,
}

/// Why a record was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bytes cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The record's signature is not one, or is by somebody else.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The action is malformed.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The signer does not serve the role in the registry that is known here.
    #[error("{peer} is not a confirmed {role} peer")]
    NotConfirmed {
        /// The peer that signed.
        peer: Address,
        /// What it should be.
        role: &'static str,
    },
    /// Too old, or from the future.
    #[error("the record is {seconds} s away from the present, at most {limit} s are allowed")]
    Time {
        /// Distance from the present in seconds.
        seconds: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// A page that is known, or older than one that is.
    #[error("page {found} is not newer than page {known}")]
    Stale {
        /// The serial that was found.
        found: u64,
        /// The newest serial that is known.
        known: u64,
    },
    /// The envelope is around another action.
    #[error("the envelope names another action than the one inside")]
    Envelope,
}

impl RecordError {
    /// True when an honest peer would never have forwarded this, whatever
    /// registry and clock it has.
    #[must_use]
    pub fn is_offence(&self) -> bool {
        match self {
            Self::Decode(_) | Self::Signature(_) | Self::Action(_) | Self::Envelope => true,
            Self::NotConfirmed { .. } | Self::Time { .. } | Self::Stale { .. } => false,
        }
    }
}

fn require_role(registry: &Registry, peer: Address, role: Role) -> Result<(), RecordError> {
    if registry.has_role(&peer, role) {
        return Ok(());
    }
    Err(RecordError::NotConfirmed {
        peer,
        role: match role {
            Role::Content => "content",
            Role::Discovery => "discovery",
            Role::Identity => "identity",
        },
    })
}

fn require_time(time: u64, now: Moment, limit: u64) -> Result<(), RecordError> {
    let seconds = time.abs_diff(now.unix().0);
    if seconds <= limit {
        Ok(())
    } else {
        Err(RecordError::Time { seconds, limit })
    }
}
