//! What Coliving peers agree on: records, rules and sans-IO machines.
//!
//! Nothing here opens a socket, reads a clock, spawns a task or draws a random
//! number. Every byte that comes from the network is decoded in this crate.

pub mod action;
pub mod addresses;
pub mod admission;
pub mod amount;
pub mod author;
pub mod chain;
pub mod codec;
pub mod content;
pub mod directory;
pub mod edge;
pub mod entity;
pub mod entry;
pub mod exchange;
pub mod hashid;
pub mod id;
pub mod identity;
pub mod machine;
pub mod memo;
pub mod merkle;
pub mod neighbours;
pub mod offences;
pub mod origin;
pub mod payment;
pub mod placement;
pub mod publish;
pub mod records;
pub mod refusal;
pub mod registry;
pub mod relayer;
pub mod signing;
pub mod staking;
pub mod time;
pub mod unixfs;
pub mod vault;
pub mod wire;
