//! The store under faults: power cuts, failing writes, full disks, damage.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

extern crate coliving_storage as storage;

mod blocks;
mod faults;
mod folder;
mod support;
mod tables;
