//! The proof: Coliving's machines in virtual time, under faults.

pub mod engine;
pub mod net;
pub mod scenario;
