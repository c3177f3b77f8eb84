//! The chains as peers see them: contracts, logs, entries, and how a chain is
//! followed through reorganisations.
//!
//! Everything here is pure; the driver that speaks JSON-RPC is `rpc`.

pub mod artifacts;
pub mod calls;
pub mod contracts;
pub mod endpoints;
pub mod events;
pub mod follower;
pub mod history;
pub mod inclusion;
pub mod json;
pub mod news;
pub mod revert;

pub use artifacts::{Artifact, ContractKind, artifact};
pub use contracts::Contracts;
pub use events::{LogError, Skipped, entries_from_logs, entry_from_logs, registry_event_from_log};
pub use follower::{Cursor, Follower, FollowerConfig};
pub use history::RegistryHistory;
pub use json::{BlockHeader, JsonError, Log};
pub use news::{ChainBlock, ChainEvent};
pub use revert::{Revert, explain_revert};

#[cfg(test)]
mod tests;
