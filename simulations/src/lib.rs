//! The proof: Coliving's machines in virtual time, under faults.
//!
//! [`run::run`] takes a [`scenario::Scenario`] and a seed, lets a swarm of
//! production machines live through a fault phase and a calm phase, and returns
//! a [`run::Report`] of what the checkers saw.

pub mod adversary;
pub mod bounds;
pub mod census;
pub mod chain;
pub mod checkers;
pub mod disk;
pub mod engine;
pub mod host;
pub mod index;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod params;
pub mod run;
pub mod scenario;
pub mod wire;
mod witness;
pub mod workload;
pub mod world;
