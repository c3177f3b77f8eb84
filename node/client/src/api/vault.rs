//! Vault records, in the fields that hedgehog clients read and write.

use protocol::id::{Address, Hash32};
use protocol::signing::Signature;
use protocol::vault::HedgehogRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The body of `POST /authentication` and the answer to `GET /authentication`;
/// all fields are hexadecimal without a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultFields {
    /// The initialisation vector: 32 digits.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{32}$"))]
    pub iv: String,
    /// What only the password decrypts: 128 digits.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{128}$"))]
    pub cipher_text: String,
    /// What the record is found by: 64 digits.
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    pub lookup_key: String,
}

/// One record with everything that its wallet signed: `GET /authentication` with
/// `all=true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignedVaultFields {
    /// The record without its signature.
    #[serde(flatten)]
    pub record: VaultFields,
    /// Whose it is.
    #[schemars(with = "schema::Address")]
    pub wallet: Address,
    /// Its version, counted per wallet.
    pub version: u64,
    /// The lookup key of the record that it replaces; zero for none.
    #[schemars(with = "schema::Hash")]
    pub replaces: Hash32,
    /// The wallet's signature; null while a sign-up is provisional.
    #[schemars(with = "Option<schema::Signature>")]
    pub signature: Option<Signature>,
}

/// The answer to `POST /authentication`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAccepted {
    /// What the record is found by.
    pub lookup_key: String,
    /// After so many seconds at the latest the record is gone, unless its wallet signs
    /// it; null for a signed one.
    pub ends_in_seconds: Option<u64>,
}

impl From<HedgehogRecord> for VaultFields {
    fn from(record: HedgehogRecord) -> Self {
        Self {
            iv: record.iv,
            cipher_text: record.cipher_text,
            lookup_key: record.lookup_key,
        }
    }
}

impl From<VaultFields> for HedgehogRecord {
    fn from(record: VaultFields) -> Self {
        Self {
            iv: record.iv,
            cipher_text: record.cipher_text,
            lookup_key: record.lookup_key,
        }
    }
}
