//! Where an action stands, as clients see it.

use protocol::id::{Address, Hash32};
use protocol::relayer::Status;
use serde::{Deserialize, Serialize};
use storage::index::Snapshot;

use crate::index::IndexTaskError;

/// Where an action stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// Its digest.
    pub digest: Hash32,
    /// How far it is.
    pub state: RelayState,
    /// The transaction, once there is one.
    pub tx_hash: Option<Hash32>,
    /// Its block, once it is in one.
    pub block_number: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayState {
    /// Waits for a relayer or for the chain.
    Pending,
    /// In the chain's queue.
    Sent,
    /// On chain, and valid as far as the index knows it.
    Confirmed,
    /// Will not be on chain, or changed nothing there.
    Failed,
}

impl RelayStatus {
    /// An action that waits.
    #[must_use]
    pub const fn pending(digest: Hash32) -> Self {
        Self {
            digest,
            state: RelayState::Pending,
            tx_hash: None,
            block_number: None,
            error: None,
        }
    }

    /// An action that failed.
    #[must_use]
    pub fn failed(digest: Hash32, reason: String) -> Self {
        Self {
            state: RelayState::Failed,
            error: Some(reason),
            ..Self::pending(digest)
        }
    }

    /// What a relayer said.
    #[must_use]
    pub fn of(digest: Hash32, status: &Status) -> Self {
        match status {
            Status::Pending => Self::pending(digest),
            Status::Sent { tx_hash } => Self {
                state: RelayState::Sent,
                tx_hash: Some(*tx_hash),
                ..Self::pending(digest)
            },
            Status::Mined(receipt) => Self {
                state: RelayState::Confirmed,
                tx_hash: Some(receipt.tx_hash),
                block_number: Some(receipt.block_number),
                ..Self::pending(digest)
            },
            Status::Failed { reason } => Self::failed(digest, reason.clone()),
        }
    }

    /// True when nothing further will happen to it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self.state {
            RelayState::Confirmed | RelayState::Failed => true,
            RelayState::Pending | RelayState::Sent => false,
        }
    }
}

/// What the index says about an action; without a signer, a valid entry is
/// preferred to those that somebody else recorded under the digest.
pub(super) fn indexed(
    snapshot: &Snapshot,
    digest: &Hash32,
    signer: Option<&Address>,
) -> Result<Option<RelayStatus>, IndexTaskError> {
    let sequences: Vec<u64> = match signer {
        Some(signer) => snapshot.action_of(digest, signer)?.into_iter().collect(),
        None => snapshot
            .action(digest)?
            .into_iter()
            .map(|(_, sequence)| sequence)
            .collect(),
    };
    let mut found = None;
    for sequence in sequences {
        let Some(entry) = snapshot.entries(sequence..=sequence, 1)?.pop() else {
            continue;
        };
        let rejected = snapshot.rejection(sequence)?;
        let is_valid = rejected.is_none();
        found = Some(RelayStatus {
            digest: *digest,
            state: match is_valid {
                true => RelayState::Confirmed,
                false => RelayState::Failed,
            },
            tx_hash: Some(entry.position.tx_hash),
            block_number: Some(entry.position.block_number),
            error: rejected.map(|rejected| rejected.reason),
        });
        if is_valid {
            break;
        }
    }
    Ok(found)
}
