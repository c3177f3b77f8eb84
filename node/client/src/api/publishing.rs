//! Files on their way to the peers that hold them.

use protocol::author;
use protocol::id::Hash32;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actions::ActionBody;
use super::schema;

/// The answer to `POST /v1/control/import`: a file that is stored at the peer and
/// held as an upload for two hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// The root of the file.
    pub cid: String,
    /// BLAKE3 root that audits check slices against.
    #[schemars(with = "schema::Hash")]
    pub proof_root: Hash32,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of its distinct blocks.
    pub dag_size: u64,
    /// How many distinct blocks there are.
    pub blocks: u64,
}

/// The body of `POST /v1/control/publish`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishBody {
    /// The action that names the roots.
    pub action: ActionBody,
    /// The roots, imported before.
    pub roots: Vec<RootBody>,
}

/// A root to publish, as its import described it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootBody {
    /// The root to publish.
    pub cid: String,
    /// BLAKE3 root that audits check slices against.
    #[schemars(with = "schema::Hash")]
    pub proof_root: Hash32,
    /// Bytes of its distinct blocks.
    pub dag_size: u64,
}

/// The answer to `POST /v1/control/publish`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishAccepted {
    /// The publication: the action's digest.
    #[schemars(with = "schema::Hash")]
    pub id: Hash32,
}

/// Where a publication stands: `GET /v1/control/publish/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Publication {
    /// The action's digest.
    #[schemars(with = "schema::Hash")]
    pub id: Hash32,
    /// How far it is.
    pub state: PublishState,
    /// How far each root is.
    pub roots: Vec<PublicationRoot>,
    /// Its transaction, once there is one.
    #[schemars(with = "Option<schema::Hash>")]
    pub tx_hash: Option<Hash32>,
    /// The block that holds it.
    pub block_number: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PublishState {
    /// Peers are asked to hold the roots.
    Offering,
    /// Each root has the minimum of leases.
    Durable,
    /// A relayer has the action.
    Relayed,
    /// The index has it.
    Confirmed,
    /// It did not work out.
    Failed,
}

/// One root of a publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicationRoot {
    /// The root that is published.
    pub cid: String,
    /// How many operators have promised to hold it.
    pub leases: usize,
    /// How many should.
    pub target: usize,
    /// How many make it durable.
    pub minimum: usize,
    /// Bytes that the furthest peer without a lease has.
    pub bytes: u64,
    /// Bytes to replicate.
    pub bytes_total: u64,
}

impl From<&Imported> for RootBody {
    fn from(imported: &Imported) -> Self {
        Self {
            cid: imported.cid.clone(),
            proof_root: imported.proof_root,
            dag_size: imported.dag_size,
        }
    }
}

impl From<author::PublishStatus> for Publication {
    fn from(status: author::PublishStatus) -> Self {
        let roots = status.roots.into_iter().map(|root| PublicationRoot {
            cid: root.cid.to_string(),
            leases: root.leases,
            target: root.target,
            minimum: root.minimum,
            bytes: root.bytes,
            bytes_total: root.bytes_total,
        });
        Self {
            id: status.id,
            state: status.state.into(),
            roots: roots.collect(),
            tx_hash: status.tx_hash,
            block_number: status.block_number,
            error: status.error,
        }
    }
}

impl From<author::PublishState> for PublishState {
    fn from(state: author::PublishState) -> Self {
        match state {
            author::PublishState::Offering => Self::Offering,
            author::PublishState::Durable => Self::Durable,
            author::PublishState::Relayed => Self::Relayed,
            author::PublishState::Confirmed => Self::Confirmed,
            author::PublishState::Failed => Self::Failed,
        }
    }
}

impl PublishState {
    /// The word in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offering => "offering",
            Self::Durable => "durable",
            Self::Relayed => "relayed",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}
