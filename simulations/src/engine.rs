//! Virtual time: what happens when, in one order for one seed.
//!
//! Nothing in a simulation reads a clock or draws from the machine's random
//! source, so that a seed reproduces every event of a run.

mod queue;
mod rng;
mod seen;
mod trace;

pub use queue::Queue;
pub use rng::Rng;
pub use seen::Seen;
pub use trace::{TraceHash, TraceRecord, digest64};

#[cfg(test)]
mod tests;
