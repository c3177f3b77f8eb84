//! Where relayers and their clients in one peer meet: the way to the peer's own
//! relayer, and the actions on gossip that wait for the chain.

mod local;
mod pending;

pub use local::{LocalRelayer, LocalRequest, Stopped};
pub use pending::{FreshActions, PENDING_MAX, listen};
