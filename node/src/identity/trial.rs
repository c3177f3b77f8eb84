//! What would become of an action: read, not judged.

use protocol::action::SignedAction;
use protocol::chain::calls;
use protocol::entity::Rejection;
use protocol::id::{Address, Hash32};
use protocol::identity::Trial;
use rpc::{CallRequest, RpcError};

use super::hands::receipt;
use crate::context::Context;
use crate::index::IndexTaskError;
use crate::relayer::FreshActions;

/// An action to try.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) digest: Hash32,
    pub(super) action: SignedAction,
    pub(super) signer: Address,
    /// Who would pay.
    pub(super) wallet: Address,
}

/// Tries an action: by the index rules, in the contract, and whether it is there
/// already, which is read last so that nothing lands in between unseen.
pub(super) async fn run(context: &Context, fresh: &FreshActions, case: Case) -> Trial {
    let Case {
        digest,
        action,
        signer,
        wallet,
    } = case;
    let found = match judged(context, fresh, action.clone(), signer).await {
        Some(rejection) => Trial::Rejected(rejection),
        None => call(context, &action, wallet).await,
    };
    match landed(context, &digest, &signer).await {
        Ok(landed) => landed.unwrap_or(found),
        Err(reason) => {
            tracing::debug!(reason, "a simulation is put off");
            Trial::Unavailable
        }
    }
}

async fn call(context: &Context, action: &SignedAction, wallet: Address) -> Trial {
    let request = CallRequest {
        from: Some(wallet),
        ..CallRequest::view(
            context.contracts.entity_manager,
            calls::manage_entity(action),
        )
    };
    match context.chain.simulate(&request).await {
        Ok(gas) => Trial::Passed { gas },
        Err(error @ RpcError::Revert(_)) => Trial::Reverted {
            reason: error.to_string(),
        },
        Err(error @ RpcError::Rejected { .. }) => Trial::Refused {
            message: error.to_string(),
        },
        Err(error) => {
            tracing::debug!(%error, "a simulation is put off");
            Trial::Unavailable
        }
    }
}

/// Looks in the index, and asks the contract.
async fn landed(
    context: &Context,
    digest: &Hash32,
    signer: &Address,
) -> Result<Option<Trial>, String> {
    let snapshot = context
        .index
        .snapshot()
        .map_err(|error| error.to_string())?;
    let found = receipt(&snapshot, digest, signer).map_err(|error| error.to_string())?;
    if let Some(receipt) = found {
        return Ok(Some(Trial::Landed(receipt)));
    }
    let data = calls::is_used(*digest, *signer);
    let answer = context.chain.call(context.contracts.entity_manager, data);
    let answer = answer.await.map_err(|error| error.to_string())?;
    Ok((answer.last() == Some(&1)).then_some(Trial::Used))
}

/// Why the rules of the index reject an action on top of the index and of what is
/// pending.
async fn judged(
    context: &Context,
    fresh: &FreshActions,
    action: SignedAction,
    signer: Address,
) -> Option<Rejection> {
    let mut actions = fresh.watch().borrow().as_ref().clone();
    let (index, now) = (context.index.clone(), context.clock.now().unix());
    let judged = tokio::task::spawn_blocking(move || {
        let hash = action.action.struct_hash();
        // A set that is full does not judge; the contract does.
        if actions.insert(action, signer, now).is_err() {
            return Ok(None);
        }
        let mut view = actions.view(&index.snapshot()?)?;
        Ok::<_, IndexTaskError>(view.rejected.remove(&hash))
    });
    match judged.await {
        Ok(Ok(rejection)) => rejection,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the index could not be read");
            None
        }
        // The runtime ends.
        Err(_) => None,
    }
}
