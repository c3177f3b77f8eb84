//! A running Coliving peer: the only crate with tasks, sockets, HTTP and chain access.
//!
//! Roles never import each other; they meet through the `store`, `net` and
//! `chain` handles. See `docs/architecture.md`.

pub mod author;
pub mod backup;
pub mod builder;
pub mod chain;
pub mod config;
pub mod content;
pub mod context;
#[cfg(feature = "devchain")]
pub mod devnet;
pub mod directory;
pub mod discovery;
pub mod exchange;
pub mod housekeeping;
pub mod http;
pub mod identity;
pub mod index;
pub mod light;
pub mod metrics;
pub mod net;
pub mod relayer;
pub mod shell;
pub mod store;
pub mod survey;
pub mod tasks;
#[cfg(test)]
#[cfg(feature = "devchain")]
mod testing;
pub mod vault;
