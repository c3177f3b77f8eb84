//! What every driver of a peer is made from.

use std::sync::Arc;

use protocol::chain::Contracts;
use protocol::id::Address;
use protocol::signing::SigningKey;
use rpc::Clock;
use tokio_util::sync::CancellationToken;

use crate::chain::ChainHandle;
use crate::config::Config;
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::NetHandle;
use crate::store::StoreHandle;
use crate::tasks::Floor;

/// The handles that drivers meet through; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Settings as they were read.
    pub config: Arc<Config>,
    /// The peer's hot key.
    pub key: SigningKey,
    /// The peer that runs.
    pub peer: Address,
    /// Addresses of the contracts.
    pub contracts: Contracts,
    /// Where the present comes from.
    pub clock: Clock,
    /// Numbers for `/metrics`.
    pub metrics: Metrics,
    /// Blocks and tables.
    pub store: StoreHandle,
    /// The index and its search.
    pub index: IndexHandle,
    /// The swarm and its protocols.
    pub net: NetHandle,
    /// The chain and its registry.
    pub chain: ChainHandle,
    /// Cancelled when somebody asked the peer to stop.
    pub stop: CancellationToken,
    /// Where the tasks of what is started with this run, and what ends them.
    pub floor: Floor,
}

impl Context {
    /// The same for a part whose tasks run on another floor.
    #[must_use]
    pub fn on(&self, floor: Floor) -> Self {
        Self {
            floor,
            ..self.clone()
        }
    }
}
