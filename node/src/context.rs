//! What every driver of a peer is made from.

use std::sync::Arc;

use protocol::id::Address;
use protocol::signing::SigningKey;
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainHandle, Contracts};
use crate::clock::Clock;
use crate::config::Config;
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::NetHandle;
use crate::store::StoreHandle;

/// The handles that drivers meet through; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The settings.
    pub config: Arc<Config>,
    /// The peer's hot key.
    pub key: SigningKey,
    /// The peer.
    pub peer: Address,
    /// The deployment.
    pub contracts: Contracts,
    /// The time.
    pub clock: Clock,
    /// Numbers for `/metrics`.
    pub metrics: Metrics,
    /// Blocks and tables.
    pub store: StoreHandle,
    /// The index and its search.
    pub index: IndexHandle,
    /// The swarm.
    pub net: NetHandle,
    /// The chain.
    pub chain: ChainHandle,
    /// Cancelled when the peer stops; every driver's loop ends then.
    pub stop: CancellationToken,
}
