//! An action that was handed in, and where it stands.

use serde::{Deserialize, Serialize};

use super::{Charge, Receipt, Slot, Status};
use crate::action::SignedAction;
use crate::id::{Address, Hash32};
use crate::origin::RequestId;
use crate::time::UnixSeconds;

/// An accepted action as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The action's digest.
    pub digest: Hash32,
    /// Rises by one with each change; answered back.
    pub revision: u64,
    /// What to relay.
    pub action: SignedAction,
    /// What it counted as, for whom and how much.
    pub charge: Charge,
    /// When it was accepted.
    pub accepted: UnixSeconds,
    /// False while it has to be simulated before it is sent.
    pub is_simulated: bool,
    /// Where it stands.
    pub stage: Stage,
    /// The last slot that it was given. Until the chain has consumed that, what was
    /// sent in it may come back, and no other slot is used.
    #[serde(default)]
    pub last_slot: Option<Slot>,
}

/// Where an accepted action stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Waits for its block and a wallet.
    Pending,
    /// Has a nonce; may have been sent.
    Assigned {
        /// The wallet that pays.
        wallet: Address,
        /// With which nonce.
        nonce: u64,
        /// The last transaction that was sent.
        tx_hash: Option<Hash32>,
    },
    /// In a block that a reorganisation may undo, by whomever.
    Included {
        /// Where on chain it is.
        receipt: Receipt,
        /// Where its own transaction stands in the wallet's order, if it was sent.
        sent: Option<Slot>,
    },
    /// In a final block, by whomever.
    Mined(Receipt),
    /// Will not be on chain.
    Failed {
        /// What went wrong, for people.
        reason: String,
    },
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) row: Row,
    pub(super) rank: u64,
    /// Requests that are answered when the row is stored.
    pub(super) waiters: Vec<RequestId>,
    /// False until the first row is stored.
    pub(super) is_accepted: bool,
    pub(super) is_simulating: bool,
    /// True while its transaction is on its way to the chain's queue.
    pub(super) is_sending: bool,
    /// The revision whose storing something waits for.
    pub(super) awaited: Option<u64>,
    pub(super) bumps: u32,
}

impl Stage {
    /// True when nothing more will happen to the action.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match self {
            Self::Mined(_) | Self::Failed { .. } => true,
            Self::Pending | Self::Assigned { .. } | Self::Included { .. } => false,
        }
    }
}

impl Job {
    pub(super) fn new(row: Row, rank: u64, waiter: RequestId) -> Self {
        Self {
            row,
            rank,
            waiters: vec![waiter],
            is_accepted: false,
            is_simulating: false,
            is_sending: false,
            awaited: None,
            bumps: 0,
        }
    }

    /// The slot that it was given, as long as it may be used for it.
    pub(super) fn slot(&self) -> Option<Slot> {
        match &self.row.stage {
            Stage::Assigned { wallet, nonce, .. } => Some(Slot::new(*wallet, *nonce)),
            Stage::Included { sent, .. } => *sent,
            Stage::Pending | Stage::Mined(_) | Stage::Failed { .. } => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        match &self.row.stage {
            Stage::Pending => Status::Pending,
            Stage::Assigned { tx_hash, .. } => match tx_hash {
                Some(tx_hash) => Status::Sent { tx_hash: *tx_hash },
                None => Status::Pending,
            },
            Stage::Included { receipt, .. } | Stage::Mined(receipt) => {
                Status::Mined(receipt.clone())
            }
            Stage::Failed { reason } => Status::Failed {
                reason: reason.clone(),
            },
        }
    }
}
