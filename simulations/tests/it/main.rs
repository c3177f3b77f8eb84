//! Every scenario under many seeds, and the same seed twice.

mod determinism;
mod inputs;
mod mutations;
mod seeds;
