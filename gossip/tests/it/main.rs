//! Gossip against strangers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

extern crate coliving_gossip as gossip;

mod hostile;
