//! How a peer is doing, who it is and whom it knows.

use protocol::chain::Contracts;
use protocol::id::{Address, Role};
use protocol::records::{Endpoint, Statement};
use protocol::signing::{Signature, Signed};
use protocol::time::UnixSeconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{self, Timestamp};
use super::signing::ActionFormat;

/// `GET /health`: how a peer is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The process runs.
    pub live: bool,
    /// The peer serves; the status is 503 while it does not.
    pub ready: bool,
    /// Version of the software.
    pub version: String,
    /// The peer's address.
    #[schemars(with = "schema::Address")]
    pub peer: Address,
    /// Its libp2p name.
    pub peer_id: String,
    /// What it does.
    #[schemars(with = "Vec<schema::RoleName>")]
    pub roles: Vec<Role>,
    /// The chain as it sees it.
    pub chain: ChainHealth,
    /// How far its index is.
    pub index: IndexHealth,
    /// Its block store.
    pub storage: StorageHealth,
    /// The content role, where the peer has it.
    pub content: Option<ContentHealth>,
    /// How many peers it is connected to.
    pub peers: usize,
    /// Stake of its operator in DGC, as the registry has it.
    pub stake: Option<String>,
    /// What the peer can spend on transactions in whole coins, while the chain can
    /// be asked.
    pub balance: Option<String>,
}

/// The chain as a peer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainHealth {
    /// An endpoint answers and keeps up.
    pub connected: bool,
    /// Id of the chain.
    pub chain_id: u64,
    /// The newest block.
    pub head: Option<u64>,
    /// The newest block that is final.
    pub final_block: Option<u64>,
    /// What is wrong.
    pub error: Option<String>,
    /// Time of the newest block of a chain that stands still, in Unix seconds.
    #[schemars(with = "Option<u64>")]
    pub stalled_since: Option<UnixSeconds>,
    /// Every endpoint by which it is reached, the preferred first.
    pub endpoints: Vec<EndpointHealth>,
}

/// One endpoint of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointHealth {
    /// Its URL without what may be a provider's key.
    pub endpoint: String,
    /// `healthy`, `unknown`, `slow`, `lagging`, `stalled`, `failing` or `other chain`.
    pub state: String,
    /// The newest block that it has shown.
    pub head: Option<u64>,
    /// Usual time to an answer in milliseconds.
    pub latency_ms: Option<u64>,
    /// When it last answered.
    pub answered: Option<Timestamp>,
    /// Requests that it answered.
    pub answers: u64,
    /// Requests that failed there.
    pub failures: u64,
    /// The last failure, until it answers again.
    pub error: Option<String>,
    /// How many blocks it is behind, when it lags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_blocks: Option<u64>,
    /// Which chain it serves, when that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
}

/// A peer's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IndexHealth {
    /// The newest block that it has applied.
    pub height: u64,
    /// How many entries it holds.
    pub entries: u64,
    /// Why it stands still.
    pub error: Option<String>,
    /// Final blocks that it has not applied.
    pub lag_blocks: Option<u64>,
}

/// A peer's block store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorageHealth {
    /// Bytes of blocks.
    pub used: u64,
    /// Most bytes of blocks.
    pub capacity: u64,
}

/// The content role in counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentHealth {
    /// Roots that the peer has promised to hold.
    pub promised: usize,
    /// Uploads under way.
    pub uploads: usize,
    /// Promised roots whose content was taken away.
    pub ended: usize,
    /// The repair of what others lost.
    pub repair: RepairHealth,
    /// The return from a backup, while it lasts.
    pub returning: Option<ReturningHealth>,
}

/// Repair in counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairHealth {
    /// Roots that are known.
    pub roots: usize,
    /// Roots that wait to be fetched.
    pub queued: usize,
    /// Roots that are being fetched.
    pub fetching: usize,
    /// Roots that no live peer is known to hold.
    pub starved: usize,
    /// Peers that are lost.
    pub lost: usize,
}

/// A peer's return from a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReturningHealth {
    /// Roots that it had promised.
    pub promised: usize,
    /// Roots of these that are not whole here.
    pub missing: usize,
    /// Roots of these that are whole and wait to be promised anew.
    pub waiting: usize,
    /// From when it signs leases and pages again, in Unix seconds.
    #[schemars(with = "u64")]
    pub signs_from: UnixSeconds,
    /// The same for people.
    pub text: String,
}

/// `GET /v1/node`: who a peer is, and what a client needs in order to sign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeInfo {
    /// The peer's address.
    #[schemars(with = "schema::Address")]
    pub peer: Address,
    /// Its libp2p name.
    pub peer_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Version of the software.
    pub version: String,
    /// What it does.
    #[schemars(with = "Vec<schema::RoleName>")]
    pub roles: Vec<Role>,
    /// The wallet that staked for it.
    #[schemars(with = "Option<schema::Address>")]
    pub operator: Option<Address>,
    /// Its registered or local URL.
    pub url: String,
    /// Id of the chain.
    pub chain_id: u64,
    /// Addresses of the contracts.
    #[schemars(with = "schema::Deployment")]
    pub contracts: Contracts,
    /// How actions are signed, and which there are.
    pub action_format: ActionFormat,
    /// Multiaddresses that it is reached at.
    pub addresses: Vec<String>,
}

/// `GET /.well-known/coliving`: where a peer can be reached, signed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WellKnown {
    /// The peer that is reached.
    #[schemars(with = "schema::Address")]
    pub peer: Address,
    /// Its registered URL.
    pub url: String,
    /// Its multiaddresses, with `/p2p/…` at the end.
    pub addresses: Vec<String>,
    /// When it signed this, in Unix seconds.
    #[schemars(with = "u64")]
    pub time: UnixSeconds,
    /// Its signature over the `Endpoint` record of these fields.
    #[schemars(with = "schema::Signature")]
    pub signature: Signature,
}

impl From<WellKnown> for Signed<Endpoint> {
    fn from(found: WellKnown) -> Self {
        Self {
            record: Endpoint {
                peer: found.peer,
                url: found.url,
                addresses: found.addresses,
                time: found.time,
            },
            signature: found.signature,
        }
    }
}

impl From<Signed<Endpoint>> for WellKnown {
    fn from(signed: Signed<Endpoint>) -> Self {
        let Signed { record, signature } = signed;
        Self {
            peer: record.peer,
            url: record.url,
            addresses: record.addresses,
            time: record.time,
            signature,
        }
    }
}

/// `GET /v1/control/chain`: how a peer reaches its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainAccess {
    /// Id of the chain.
    pub chain_id: u64,
    /// JSON-RPC endpoints, the preferred first; they may hold a provider's key.
    pub rpc: Vec<String>,
    /// Blocks on top of a block that make it final.
    pub confirmations: u64,
    /// Addresses of the contracts.
    #[schemars(with = "schema::Deployment")]
    pub contracts: Contracts,
}

/// One row of `GET /v1/control/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerRow {
    /// The peer's address.
    #[schemars(with = "schema::Address")]
    pub peer: Address,
    /// Its libp2p name.
    pub peer_id: String,
    /// What it does.
    #[schemars(with = "Vec<schema::RoleName>")]
    pub roles: Vec<Role>,
    /// The wallet that staked for it.
    #[schemars(with = "Option<schema::Address>")]
    pub operator: Option<Address>,
    /// What its program calls itself.
    pub agent: Option<String>,
    /// The multiaddress by which it is reached.
    pub address: String,
    /// The transport of the connection.
    pub transport: String,
    /// Round trip in milliseconds.
    pub rtt_ms: Option<f64>,
    /// True while there is a connection.
    pub connected: bool,
    /// Bytes that came from it.
    pub received_bytes: u64,
    /// Bytes that went to it.
    pub sent_bytes: u64,
    /// The newest of each kind that it told everybody, where the content role
    /// listens.
    #[serde(default)]
    #[schemars(with = "Vec<schema::Statement>")]
    pub heard: Vec<Statement>,
}

/// `POST /v1/control/stop`: the peer stops in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    /// Always true: it has begun.
    pub stopping: bool,
}
