//! A user's signed `ManageEntity`, the only thing that changes the index.
//!
//! The type string spells `uint` and not `uint256`; libraries that rewrite it
//! produce another digest and so another signer (`docs/formats/signed.md`).

use serde::{Deserialize, Serialize};

use crate::id::{Address, EntityId, Hash32, UserId};
use crate::signing::{self, Signature, SignatureError, SigningKey, StructEncoder};

/// What a user asks the index to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// The user on whose behalf it is done.
    pub user_id: UserId,
    /// `User`, `Track`, `Playlist`, … as signed.
    pub entity_type: String,
    /// The entity that it is done to.
    pub entity_id: EntityId,
    /// `Create`, `Update`, `Follow`, … as signed.
    pub action: String,
    /// Empty, or JSON text; at most [`METADATA_BYTES_MAX`].
    pub metadata: String,
    /// Makes two equal actions two digests.
    pub nonce: Hash32,
}

/// An action with its user's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedAction {
    /// What was signed.
    pub action: Action,
    /// The signature over [`Action::digest`].
    pub signature: Signature,
}

/// Where actions are valid: one `EntityManager` on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ActionDomain {
    /// Chain id of the data chain.
    pub chain_id: u64,
    /// The `EntityManager` proxy.
    pub entity_manager: Address,
}

/// Why an action was refused before anybody looked at its meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The text fields are too long for the contract.
    #[error(
        "the action's metadata is {size} bytes, at most {METADATA_BYTES_MAX} are allowed; put long texts into a file and publish its CID"
    )]
    TooLarge {
        /// Bytes of metadata.
        size: usize,
    },
    /// Entity type or action name is absurdly long.
    #[error("the action's {field} is {size} bytes, at most {NAME_BYTES_MAX} are allowed")]
    Name {
        /// The text field that is too long.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
    },
    /// The signature is not one.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl ActionDomain {
    /// The EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> Hash32 {
        signing::domain_separator(
            DOMAIN_NAME,
            DOMAIN_VERSION,
            self.chain_id,
            self.entity_manager,
        )
    }
}

impl Action {
    /// The EIP-712 struct hash.
    #[must_use]
    pub fn struct_hash(&self) -> Hash32 {
        let mut encoder = StructEncoder::new(TYPE);
        encoder
            .uint(self.user_id.0)
            .bytes(self.entity_type.as_bytes())
            .uint(self.entity_id.0)
            .bytes(self.action.as_bytes())
            .bytes(self.metadata.as_bytes())
            .bytes32(&self.nonce);
        encoder.finish()
    }

    /// What the user signs; also the action's identity for relayers.
    #[must_use]
    pub fn digest(&self, domain: &ActionDomain) -> Hash32 {
        signing::typed_data_digest(&domain.separator(), &self.struct_hash())
    }

    /// Signs the action.
    #[must_use]
    pub fn sign(self, domain: &ActionDomain, key: &SigningKey) -> SignedAction {
        let signature = key.sign(&self.digest(domain));
        SignedAction {
            action: self,
            signature,
        }
    }

    /// Checks the sizes that the contract and the peers accept.
    ///
    /// # Errors
    ///
    /// [`ActionError`] names the field, its size and the limit.
    pub fn check_size(&self) -> Result<(), ActionError> {
        for (field, text) in [("entity type", &self.entity_type), ("name", &self.action)] {
            if text.len() > NAME_BYTES_MAX {
                return Err(ActionError::Name {
                    field,
                    size: text.len(),
                });
            }
        }
        if self.metadata.len() > METADATA_BYTES_MAX {
            return Err(ActionError::TooLarge {
                size: self.metadata.len(),
            });
        }
        Ok(())
    }
}

impl SignedAction {
    /// Checks sizes and recovers the wallet that signed.
    ///
    /// # Errors
    ///
    /// [`ActionError`] for oversized fields and malformed signatures.
    pub fn signer(&self, domain: &ActionDomain) -> Result<Address, ActionError> {
        self.action.check_size()?;
        Ok(signing::recover(
            &self.action.digest(domain),
            &self.signature,
        )?)
    }
}

/// Name of the EIP-712 domain.
pub const DOMAIN_NAME: &str = "Entity Manager";

/// Version of the EIP-712 domain.
pub const DOMAIN_VERSION: &str = "1";

/// The EIP-712 type string, hashed letter by letter.
pub const TYPE: &str = "ManageEntity(uint userId,string entityType,uint entityId,string action,string metadata,bytes32 nonce)";

/// Longest entity type or action name in bytes. Chosen: several times the longest
/// that the rules know.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest metadata in bytes: the contract refuses calls whose arguments
/// exceed 16 KiB, and the other arguments need up to 1 KiB of that.
pub const METADATA_BYTES_MAX: usize = 15 * 1024;

/// Longest encoded [`SignedAction`] in bytes. Derived: the longest metadata, and a
/// KiB in which two names, numbers, nonce and signature have room.
pub const SIGNED_ACTION_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
