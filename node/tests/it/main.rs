//! Whole peers and the embedded chain, tried with other people's tools.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

extern crate coliving_node as node;

mod life;
mod npm;
mod parity;
mod proxies;
mod tools;
#[allow(dead_code, reason = "shared with the tests of another crate")]
#[path = "../../../protocol/tests/it/wanted.rs"]
mod wanted;
