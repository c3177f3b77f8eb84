//! Why a signature is not the user's: most often a library has rewritten the
//! type string.

use protocol::action::{Action, ActionDomain, SignedAction};
use protocol::id::Address;
use protocol::signing::{self, StructEncoder};

use super::RelayError;
use crate::context::Context;

/// Refuses an action that the user's wallet did not sign, as far as the user is
/// known here.
pub(crate) fn check_signer(
    context: &Context,
    action: &SignedAction,
    signer: Address,
) -> Result<(), RelayError> {
    let Some(view) = context
        .index
        .snapshot()?
        .user(action.action.user_id)
        .map_err(crate::index::IndexTaskError::from)?
    else {
        return Ok(());
    };
    let wallet = view.user.wallet;
    if wallet == signer {
        return Ok(());
    }
    let is_spelling = wrong_spelling(action, &context.contracts.action_domain(), wallet);
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
pub(crate) fn wrong_spelling(
    action: &SignedAction,
    domain: &ActionDomain,
    wallet: Address,
) -> bool {
    let digest = signing::typed_data_digest(&domain.separator(), &struct_hash(&action.action));
    signing::recover(&digest, &action.signature) == Ok(wallet)
}

fn struct_hash(action: &Action) -> protocol::id::Hash32 {
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
pub(crate) const SPELLING: &str = "the action was signed with `uint256` where the EIP-712 type string spells `uint`; ethers.js rewrites the type and viem refuses it: hash the type string as `ManageEntity(uint userId,string entityType,uint entityId,string action,string metadata,bytes32 nonce)` and sign the digest";

const WALLET: &str = "sign with the user's wallet, over the domain `Entity Manager` version `1` with the chain id and contract of `/v1/node`";

/// The type string that ethers.js makes of the action's.
const REWRITTEN_TYPE: &str = "ManageEntity(uint256 userId,string entityType,uint256 entityId,string action,string metadata,bytes32 nonce)";
