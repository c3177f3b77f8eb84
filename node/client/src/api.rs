//! Every body and every answer of a peer's HTTP server, as types.
//!
//! The server writes them, clients read them, and the OpenAPI document of
//! `GET /v1/openapi.json` is made of them: one declaration for all three.
//! Nothing here knows how a peer works.
//!
//! Names are those that existing clients read. Answers may gain fields; clients
//! ignore those that they do not know.
//!
//! Contract: `docs/formats/http.md`.

mod actions;
mod entities;
mod error;
mod peer;
mod publishing;
mod roots;
mod schema;
mod signing;
mod vault;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use actions::{ActionBody, Number, RelayAnswer, RelayState, Relayed};
pub use entities::*;
pub use error::{ErrorBody, ErrorFields};
pub use peer::{
    ChainAccess, ChainHealth, ContentHealth, EndpointHealth, Health, IndexHealth, NodeInfo,
    PeerRow, RepairHealth, ReturningHealth, Stopping, StorageHealth, WellKnown,
};
pub use publishing::{
    Imported, Publication, PublicationRoot, PublishAccepted, PublishBody, PublishState, RootBody,
};
pub use roots::{HoldReason, LeaseRow, Root, RootRow};
pub use schema::{PublicId, Timestamp};
pub use signing::{ActionFormat, ActionLimits, EntityFormat, TypedDataDomain, TypedDataField};
pub use vault::{SignedVaultFields, VaultAccepted, VaultFields};

/// The envelope of answers about the index, and of the owner's listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data<T> {
    /// What was asked for.
    pub data: T,
}

impl<T: JsonSchema> JsonSchema for Data<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Data_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let data = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "required": ["data"],
            "properties": {"data": data},
        })
    }
}

#[cfg(test)]
mod tests;
