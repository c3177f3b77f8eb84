//! What a Coliving peer keeps: blocks, tables, the index and search.
//!
//! Synchronous: no tokio, no libp2p. One thread writes, readers hold snapshots.

pub mod backend;
pub mod blocks;
mod database;
pub mod files;
pub mod index;
pub mod search;
pub mod tables;
