//! Why a signature is not the user's: most often a library has rewritten the
//! type string.

use super::RelayError;
use crate::action::{Action, ActionDomain, SignedAction};
use crate::id::{Address, Hash32};
use crate::signing::{self, StructEncoder};

/// Refuses an action that was signed by somebody else than the user's `wallet`.
///
/// # Errors
///
/// [`RelayError::Signer`] says who signed and what to do about it.
pub fn check_signer(
    action: &SignedAction,
    domain: &ActionDomain,
    signer: Address,
    wallet: Address,
) -> Result<(), RelayError> {
    if wallet == signer {
        return Ok(());
    }
    let is_spelling = wrong_spelling(action, domain, wallet);
    Err(RelayError::Signer {
        message: format!(
            "the signature recovers {signer}, which may not act for user {}: its wallet is {wallet}",
            action.action.user_id
        ),
        hint: if is_spelling { SPELLING } else { WALLET },
    })
}

/// True when `wallet` signed the action under the type string with `uint256` in
/// place of `uint`.
#[must_use]
pub fn wrong_spelling(action: &SignedAction, domain: &ActionDomain, wallet: Address) -> bool {
    let digest = signing::typed_data_digest(&domain.separator(), &struct_hash(&action.action));
    signing::recover(&digest, &action.signature) == Ok(wallet)
}

fn struct_hash(action: &Action) -> Hash32 {
    let mut encoder = StructEncoder::new(REWRITTEN_TYPE);
    encoder
        .uint(action.user_id.0)
        .bytes(action.entity_type.as_bytes())
        .uint(action.entity_id.0)
        .bytes(action.action.as_bytes())
        .bytes(action.metadata.as_bytes())
        .bytes32(&action.nonce);
    encoder.finish()
}

/// What to do about [`wrong_spelling`].
pub const SPELLING: &str = "the action was signed with `uint256` where the EIP-712 type string spells `uint`; ethers.js rewrites the type and viem refuses it: hash the type string as `ManageEntity(uint userId,string entityType,uint entityId,string action,string metadata,bytes32 nonce)` and sign the digest";

const WALLET: &str = "sign with the user's wallet, over the domain `Entity Manager` version `1` with the chain id and the entity manager that peers name";

/// The type string that ethers.js makes of the action's.
const REWRITTEN_TYPE: &str = "ManageEntity(uint256 userId,string entityType,uint256 entityId,string action,string metadata,bytes32 nonce)";
