//! Where a publication and an action stand, as clients see them.

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::Landing;
use crate::id::Hash32;
use crate::relayer::Status;

/// Where an action stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// The action's EIP-712 digest.
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

/// A root that an action publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRoot {
    /// The root of the file or directory.
    pub cid: Cid,
    /// Its BLAKE3 proof root.
    pub proof_root: Hash32,
    /// The sum of the lengths of its distinct blocks.
    pub dag_size: u64,
}

/// How far a publication is, and each of its roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishStatus {
    /// The action's digest.
    pub id: Hash32,
    /// How far the publication is as a whole.
    pub state: PublishState,
    /// Each root's leases.
    pub roots: Vec<RootStatus>,
    /// The transaction, once there is one.
    pub tx_hash: Option<Hash32>,
    /// Its block, once it is in one.
    pub block_number: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishState {
    /// Peers are asked to hold the roots.
    Offering,
    /// Each root has the minimum of leases.
    Durable,
    /// A relayer has the action.
    Relayed,
    /// The index has it.
    Confirmed,
    /// It did not work out.
    Failed,
}

/// How far one root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootStatus {
    /// The root that is published.
    pub cid: Cid,
    /// Leases of distinct operators.
    pub leases: usize,
    /// Leases that are aimed at.
    pub target: usize,
    /// Leases that make it durable.
    pub minimum: usize,
    /// Bytes that the furthest peer without a lease has.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_total: u64,
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

    /// What the index has.
    #[must_use]
    pub fn landed(landing: &Landing) -> Self {
        Self {
            digest: landing.digest,
            state: match landing.rejected {
                None => RelayState::Confirmed,
                Some(_) => RelayState::Failed,
            },
            tx_hash: Some(landing.tx_hash),
            block_number: Some(landing.block_number),
            error: landing.rejected.clone(),
        }
    }
}

impl PublishState {
    /// True when nothing further is done for the action.
    #[must_use]
    pub const fn is_over(self) -> bool {
        match self {
            Self::Confirmed | Self::Failed => true,
            Self::Offering | Self::Durable | Self::Relayed => false,
        }
    }
}
