//! Everything that a person's machine needs: a peer's answers as types, a client
//! of its HTTP server, keys in files, and what the contracts can be asked for.
//!
//! It runs no peer: a peer's server speaks through [`api`] too, and keeps its own
//! key as [`home`] says.

pub mod api;
mod client;
pub mod deploy;
pub mod home;
pub mod keystore;
pub mod link;
pub mod operate;
pub mod well_known;

#[cfg(test)]
mod testing;

pub use client::{
    Client, ClientError, Download, DownloadConfig, Page, Progress, builder, draw_id, escape,
};
