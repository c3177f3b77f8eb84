//! The store under faults: power cuts, failing writes, full disks, damage.

#![allow(missing_docs, reason = "tests")]

extern crate coliving_storage as storage;

mod blocks;
mod faults;
mod folder;
mod support;
mod tables;
