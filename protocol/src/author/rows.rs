//! What an author keeps on disk: a row for each publication and a row for each
//! action on its way, both under the action's digest.

use serde::{Deserialize, Serialize};

use super::{PublishState, RelayStatus, State};
use crate::action::SignedAction;
use crate::id::Hash32;
use crate::time::UnixSeconds;

/// A publication as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// The action that publishes the roots.
    pub action: SignedAction,
    /// What each root's [`Publication`](super::Publication) goes on with.
    pub roots: Vec<State>,
    /// How far it is.
    pub state: PublishState,
    /// Why it failed.
    pub error: Option<String>,
}

/// An action on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// What to relay.
    pub action: SignedAction,
    /// The proof of work of a `User Create`.
    pub proof: Option<u64>,
    /// When it was handed in.
    pub created: UnixSeconds,
    /// When a relayer was asked last.
    pub asked: UnixSeconds,
    /// True once a relayer keeps it.
    pub is_accepted: bool,
    /// Where it stood then.
    pub status: RelayStatus,
}

/// A change of one row; `None` deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Of a publication.
    Job(Hash32, Option<Box<JobRow>>),
    /// Of an action on its way.
    Outbox(Hash32, Option<Box<OutboxRow>>),
}

impl JobRow {
    /// When it began.
    #[must_use]
    pub fn started(&self) -> UnixSeconds {
        self.roots
            .first()
            .map_or(UnixSeconds(0), |root| root.started)
    }
}

impl OutboxRow {
    /// An action that was just handed in.
    #[must_use]
    pub const fn new(
        action: SignedAction,
        proof: Option<u64>,
        digest: Hash32,
        now: UnixSeconds,
    ) -> Self {
        Self {
            action,
            proof,
            created: now,
            asked: now,
            is_accepted: false,
            status: RelayStatus::pending(digest),
        }
    }
}
