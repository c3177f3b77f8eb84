//! What a peer holds, and who else does.

use protocol::id::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// One row of `GET /v1/control/roots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootRow {
    /// The root that is held.
    pub cid: String,
    /// Bytes of the file, or of what a directory says is below it; null when the
    /// root block is not here.
    pub size: Option<u64>,
    /// Why it is held here.
    pub reasons: Vec<HoldReason>,
    /// How many leases bind.
    pub leases: usize,
    /// Who should hold it, the first ranked first.
    #[schemars(with = "Vec<schema::Address>")]
    pub placed: Vec<Address>,
    /// Who has a lease.
    #[schemars(with = "Vec<schema::Address>")]
    pub holders: Vec<Address>,
    /// How many should hold it.
    pub target: usize,
}

/// Why a root is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldReason {
    /// The peer promised it.
    Lease,
    /// The peer's owner wants it kept.
    Pin,
    /// It is being published or uploaded.
    Upload,
    /// It was fetched to be read.
    Cache,
    /// It was made from another root.
    Derived,
}

/// One root with its leases: `GET /v1/control/root/{cid}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Root {
    /// What a row of the listing says.
    #[serde(flatten)]
    pub row: RootRow,
    /// The leases that bind.
    pub lease_list: Vec<LeaseRow>,
    /// Peers that did not answer: what they hold is not known, and they do not
    /// count in `target`.
    #[schemars(with = "Vec<schema::Address>")]
    pub silent: Vec<Address>,
    /// How many replicas are missing.
    pub missing: usize,
    /// How many blocks of it are here.
    pub blocks: u64,
}

/// One lease of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseRow {
    /// The peer that promised.
    #[schemars(with = "schema::Address")]
    pub holder: Address,
    /// Its number among the holder's leases.
    pub serial: u64,
    /// The first epoch that it binds in.
    pub from_epoch: u64,
    /// The last epoch of the promise.
    pub to_epoch: u64,
}

impl HoldReason {
    /// The word in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Pin => "pin",
            Self::Upload => "upload",
            Self::Cache => "cache",
            Self::Derived => "derived",
        }
    }
}
