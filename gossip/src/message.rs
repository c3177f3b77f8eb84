//! What travels on the gossip topics and over `/coliving/entries/1`, decoded
//! with limits and checked against the registry.

use protocol::action::{ActionDomain, ActionError, SignedAction};
use protocol::codec::{self, DecodeError};
use protocol::entry::Entry;
use protocol::head::{Head, SignedHead};
use protocol::id::{Address, Role};
use protocol::lease::SignedPage;
use protocol::presence::{PendingAction, SignedPresence};
use protocol::registry::Registry;
use protocol::signing::{Domain, Signature, SignatureError, Signed};
use protocol::time::{EPOCH_SECONDS, Epoch, Moment};
use protocol::wire::{Protocol, Topic};
use serde::{Deserialize, Serialize};

/// A fresh action in the envelope of the identity peer that accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The user's action.
    pub action: SignedAction,
    /// The identity peer's word for it.
    pub accepted: Signed<PendingAction>,
}

/// Asks a discovery peer for the entries after the first `from_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntriesRequest {
    /// How many entries the asker has.
    pub from_count: u64,
    /// Chain position of the last of them.
    pub after: Option<u64>,
}

/// Entries up to a head, with the signatures that make it count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntriesAnswer {
    /// The entries that follow, in chain order; they may end before `head`.
    pub entries: Vec<Entry>,
    /// A counted head at or after the last entry.
    pub head: Head,
    /// Signatures of discovery peers over `head`.
    pub signatures: Vec<Signature>,
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not decodable.
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
        /// Who signed.
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
        /// Its serial.
        found: u64,
        /// The newest serial that is known.
        known: u64,
    },
    /// The envelope is around another action.
    #[error("the envelope names another action than the one inside")]
    Envelope,
}

impl EntriesRequest {
    /// Decodes a request within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Entries.limits().request_bytes_max;
        codec::from_bytes("entries request", bytes, limit)
    }
}

impl EntriesAnswer {
    /// Decodes an answer within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Entries.limits().response_bytes_max;
        codec::from_bytes("entries answer", bytes, limit)
    }
}

impl MessageError {
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

/// Decodes and checks a gossiped head; returns it with its signer.
///
/// # Errors
///
/// [`MessageError`]; see [`MessageError::is_offence`].
pub fn check_head(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
) -> Result<(SignedHead, Address), MessageError> {
    let head: SignedHead = codec::from_bytes("head", data, Topic::Heads.message_bytes_max())?;
    let signer = head.signer(domain)?;
    require_role(registry, signer, Role::Discovery)?;
    Ok((head, signer))
}

/// Decodes and checks a gossiped presence.
///
/// # Errors
///
/// [`MessageError`]; see [`MessageError::is_offence`].
pub fn check_presence(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
    now: Moment,
) -> Result<SignedPresence, MessageError> {
    let presence: SignedPresence =
        codec::from_bytes("presence", data, Topic::Presence.message_bytes_max())?;
    presence.verify(domain, presence.record.peer)?;
    if registry.peer(&presence.record.peer).is_none() {
        return Err(MessageError::NotConfirmed {
            peer: presence.record.peer,
            role: "staked",
        });
    }
    require_time(presence.record.time.0, now, PRESENCE_SKEW_SECONDS_MAX)?;
    Ok(presence)
}

/// Decodes and checks a gossiped lease page; `newest` is the serial of the
/// newest page that is known of a holder.
///
/// A page says that its holder renewed its leases, not that it lives: anybody
/// can send it again at any time. Only news is passed on, so that what is sent
/// again stops at the first peer.
///
/// # Errors
///
/// [`MessageError`]; see [`MessageError::is_offence`].
pub fn check_page(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
    now: Moment,
    newest: impl FnOnce(&Address) -> Option<u64>,
) -> Result<SignedPage, MessageError> {
    let page: SignedPage = codec::from_bytes("lease page", data, Topic::Pages.message_bytes_max())?;
    let record = &page.record;
    // The cheap questions come first: a page that is sent again costs no signature.
    require_role(registry, record.holder, Role::Content)?;
    require_page_epoch(record.epoch, now)?;
    if let Some(known) = newest(&record.holder)
        && record.serial <= known
    {
        return Err(MessageError::Stale {
            found: record.serial,
            known,
        });
    }
    page.verify(domain, record.holder)?;
    Ok(page)
}

/// Decodes and checks a fresh action in its envelope; returns it with the
/// wallet that signed the action.
///
/// # Errors
///
/// [`MessageError`]; see [`MessageError::is_offence`].
pub fn check_envelope(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
    actions: &ActionDomain,
    now: Moment,
) -> Result<(Envelope, Address), MessageError> {
    let envelope: Envelope = codec::from_bytes("action", data, Topic::Actions.message_bytes_max())?;
    let record = &envelope.accepted.record;
    let is_this_action = record.digest == envelope.action.action.digest(actions)
        && record.signature == envelope.action.signature;
    if !is_this_action {
        return Err(MessageError::Envelope);
    }
    envelope.accepted.verify(domain, record.peer)?;
    require_role(registry, record.peer, Role::Identity)?;
    require_time(record.time.0, now, ENVELOPE_SKEW_SECONDS_MAX)?;
    let wallet = envelope.action.signer(actions)?;
    Ok((envelope, wallet))
}

fn require_role(registry: &Registry, peer: Address, role: Role) -> Result<(), MessageError> {
    if registry.has_role(&peer, role) {
        return Ok(());
    }
    Err(MessageError::NotConfirmed {
        peer,
        role: match role {
            Role::Content => "content",
            Role::Discovery => "discovery",
            Role::Identity => "identity",
        },
    })
}

/// Takes pages of the running epoch and the one before, which travelled across
/// its end, and of the next one from a clock that is ahead.
fn require_page_epoch(epoch: Epoch, now: Moment) -> Result<(), MessageError> {
    let start = epoch.start().0;
    let is_ahead = start > now.unix().0.saturating_add(PRESENCE_SKEW_SECONDS_MAX);
    let limit = match is_ahead {
        true => PRESENCE_SKEW_SECONDS_MAX,
        false if epoch.plus(1) < now.epoch() => 2 * EPOCH_SECONDS,
        false => return Ok(()),
    };
    Err(MessageError::Time {
        seconds: start.abs_diff(now.unix().0),
        limit,
    })
}

fn require_time(time: u64, now: Moment, limit: u64) -> Result<(), MessageError> {
    let seconds = time.abs_diff(now.unix().0);
    if seconds <= limit {
        Ok(())
    } else {
        Err(MessageError::Time { seconds, limit })
    }
}

/// Most signatures that are looked at in an [`EntriesAnswer`].
pub const SIGNATURES_MAX: usize = 1024;

/// A presence is this far from the present at most.
pub const PRESENCE_SKEW_SECONDS_MAX: u64 = 120;

/// A pending action was accepted this far from the present at most.
pub const ENVELOPE_SKEW_SECONDS_MAX: u64 = 600;

#[cfg(test)]
mod tests;
