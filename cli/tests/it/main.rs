//! The command as its users run it: as a process.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod bench;
mod config;
mod help;
mod operator;
mod path;
mod simulate;
mod swarm;
mod wallet;
