//! Every scenario under many seeds, and the same seed twice.

mod determinism;
mod inputs;
mod mutations;
mod rules;
mod runs;
mod seeds;
