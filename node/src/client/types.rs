//! What a peer's routes answer with, as far as clients act on it.

use protocol::author::{PublishState, RelayState};
use protocol::chain::Contracts;
use protocol::id::{Address, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `GET /health`; fields beyond the ones that clients act on stay in `other`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Health {
    /// The process runs.
    #[serde(default)]
    pub live: bool,
    /// The peer serves.
    #[serde(default)]
    pub ready: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `GET /v1/node`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct NodeInfo {
    /// The peer's address.
    pub peer: Address,
    /// Its libp2p name.
    #[serde(default)]
    pub peer_id: String,
    /// What it does.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The wallet that staked for it.
    #[serde(default)]
    pub operator: Option<Address>,
    /// Its registered or local URL.
    #[serde(default)]
    pub url: Option<String>,
    /// The chain.
    pub chain_id: u64,
    /// The deployment.
    pub contracts: Contracts,
    /// Its multiaddresses.
    #[serde(default)]
    pub addresses: Vec<String>,
}

/// `GET /v1/control/chain`: how the peer reaches its chain.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct ChainAccess {
    /// The chain.
    pub chain_id: u64,
    /// JSON-RPC endpoints, the preferred first; they may hold a provider's key.
    pub rpc: Vec<String>,
    /// Blocks on top of a block that make it final.
    pub confirmations: u64,
    /// The deployment.
    pub contracts: Contracts,
}

/// Where an action stands.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Relayed {
    /// The action.
    pub digest: String,
    /// How far it is.
    pub state: RelayState,
    /// Its transaction.
    #[serde(default)]
    pub tx_hash: Option<String>,
    /// The block that holds it.
    #[serde(default)]
    pub block_number: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Value>,
}

/// Where a publication stands.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Publication {
    /// The action's digest.
    pub id: String,
    /// How far it is.
    pub state: PublishState,
    /// Its roots.
    #[serde(default)]
    pub roots: Vec<PublicationRoot>,
    /// Its transaction.
    #[serde(default)]
    pub tx_hash: Option<String>,
    /// The block that holds it.
    #[serde(default)]
    pub block_number: Option<u64>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Value>,
}

/// One root of a publication.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct PublicationRoot {
    /// Which.
    pub cid: String,
    /// Who has promised to hold it, or how many.
    #[serde(default)]
    pub leases: Value,
    /// How many should.
    #[serde(default)]
    pub target: u64,
    /// How many make it durable.
    #[serde(default)]
    pub minimum: u64,
    /// Bytes that have been replicated.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes to replicate.
    #[serde(default)]
    pub bytes_total: u64,
}

impl PublicationRoot {
    /// How many leases there are.
    #[must_use]
    pub fn leases_count(&self) -> u64 {
        match &self.leases {
            Value::Array(leases) => leases.len() as u64,
            other => other.as_u64().unwrap_or_default(),
        }
    }
}

/// One row of `GET /v1/control/peers`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct PeerRow {
    /// The peer's address.
    pub peer: Address,
    /// Its libp2p name.
    #[serde(default)]
    pub peer_id: Option<String>,
    /// What it does.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The wallet that staked for it.
    #[serde(default)]
    pub operator: Option<Address>,
    /// Its program.
    #[serde(default)]
    pub agent: Option<String>,
    /// Where it is reached.
    #[serde(default)]
    pub address: Option<String>,
    /// Round trip in milliseconds.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
    /// True while there is a connection.
    #[serde(default)]
    pub connected: bool,
}

/// One row of `GET /v1/control/roots`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct RootRow {
    /// Which root.
    pub cid: String,
    /// Bytes of its blocks.
    #[serde(default)]
    pub size: u64,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
