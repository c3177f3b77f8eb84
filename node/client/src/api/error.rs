//! The one shape of an error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct ErrorBody {
    /// What went wrong, and what helps.
    pub error: ErrorFields,
}

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorFields {
    /// A stable word that programs branch on.
    pub code: String,
    /// What is wrong, for people.
    pub message: String,
    /// What helps; empty when nothing is known to.
    #[serde(default)]
    pub hint: String,
}
