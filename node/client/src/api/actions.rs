//! Signed actions on their way to the chain.

use protocol::action::SignedAction;
use protocol::author;
use protocol::id::Hash32;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// A signed action: the body of `POST /relay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionBody {
    /// The user on whose behalf it is done.
    pub user_id: Number,
    /// `User`, `Track`, `Playlist` or `Comment`, as signed.
    pub entity_type: String,
    /// The entity that it is done to.
    pub entity_id: Number,
    /// `Create`, `Update`, `Follow`, …, as signed.
    pub action: String,
    /// Empty, or JSON text, as signed.
    #[serde(default)]
    pub metadata: String,
    /// 32 bytes as 64 hexadecimal digits after `0x`, as signed.
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{64}$"))]
    pub nonce: String,
    /// The signature: 130 hexadecimal digits after `0x`.
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{130}$"))]
    pub signature: String,
    /// The proof of work of a `User Create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<u64>,
    /// The wallet that signed; checked when it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{40}$"))]
    pub wallet: Option<String>,
}

/// A number, its decimal text or its public id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Number {
    /// The number itself.
    Plain(u64),
    /// Its decimal text or its public id.
    Text(#[schemars(regex(pattern = r"^[0-9A-Za-z]+$"))] String),
}

/// The answer to `POST /relay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RelayAnswer {
    /// The action's digest.
    #[schemars(with = "schema::Hash")]
    pub digest: Hash32,
    /// How far it is.
    pub state: RelayState,
}

/// Where an action stands: `GET /relay/{digest}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relayed {
    /// The action's digest.
    #[schemars(with = "schema::Hash")]
    pub digest: Hash32,
    /// How far it is.
    pub state: RelayState,
    /// Its transaction, once there is one.
    #[schemars(with = "Option<schema::Hash>")]
    pub tx_hash: Option<Hash32>,
    /// The block that holds it.
    pub block_number: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RelayState {
    /// Waits for a relayer or for the chain.
    Pending,
    /// In the chain's queue.
    Sent,
    /// On chain, and valid as far as the index knows it.
    Confirmed,
    /// Will not be on chain, or changed nothing there.
    Failed,
}

impl From<&SignedAction> for ActionBody {
    fn from(signed: &SignedAction) -> Self {
        let action = &signed.action;
        Self {
            user_id: Number::Plain(action.user_id.0),
            entity_type: action.entity_type.clone(),
            entity_id: Number::Plain(action.entity_id.0),
            action: action.action.clone(),
            metadata: action.metadata.clone(),
            nonce: action.nonce.to_string(),
            signature: signed.signature.to_string(),
            proof: None,
            wallet: None,
        }
    }
}

impl From<RelayAnswer> for Relayed {
    fn from(answer: RelayAnswer) -> Self {
        Self {
            digest: answer.digest,
            state: answer.state,
            tx_hash: None,
            block_number: None,
            error: None,
        }
    }
}

impl From<author::RelayStatus> for Relayed {
    fn from(status: author::RelayStatus) -> Self {
        Self {
            digest: status.digest,
            state: status.state.into(),
            tx_hash: status.tx_hash,
            block_number: status.block_number,
            error: status.error,
        }
    }
}

impl From<author::RelayState> for RelayState {
    fn from(state: author::RelayState) -> Self {
        match state {
            author::RelayState::Pending => Self::Pending,
            author::RelayState::Sent => Self::Sent,
            author::RelayState::Confirmed => Self::Confirmed,
            author::RelayState::Failed => Self::Failed,
        }
    }
}

impl RelayState {
    /// The word in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}
