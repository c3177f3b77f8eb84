//! Whether an action has landed, would be valid and would not revert.

use std::time::Duration;

use protocol::action::SignedAction;
use protocol::chain::calls;
use protocol::entity::Rejection;
use protocol::id::{Address, Hash32};
use protocol::relayer::{Receipt, Simulation};
use protocol::time::UnixSeconds;
use storage::index::Snapshot;
use tokio::time::Instant;

use crate::chain::{CallRequest, RpcError};
use crate::context::Context;
use crate::index::IndexTaskError;
use crate::relay::FreshActions;

/// An action to simulate.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) digest: Hash32,
    pub(super) action: SignedAction,
    /// Who would pay.
    pub(super) wallet: Address,
    /// When it was accepted, if it was.
    pub(super) accepted: Option<UnixSeconds>,
}

/// Simulates an action: in the index, by the index rules, in the contract.
pub(super) async fn run(context: &Context, fresh: &FreshActions, case: Case) -> Simulation {
    let domain = context.contracts.action_domain();
    let Ok(signer) = case.action.signer(&domain) else {
        let reason = "the signature does not recover a wallet".to_owned();
        return Simulation::Reverted { reason };
    };
    match landed(context, &case.digest, &signer).await {
        Ok(Some(receipt)) => return Simulation::Landed(receipt),
        Ok(None) => {}
        Err(reason) => {
            tracing::debug!(reason, "a simulation is put off");
            return Simulation::Unavailable;
        }
    }
    if let Some(rejection) = judged(context, fresh, &case, signer).await {
        let now = context.clock.now().unix();
        let may_pass = case
            .accepted
            .is_some_and(|at| now.0.saturating_sub(at.0) < LAG_SECONDS_MAX);
        return match is_late(&rejection) && may_pass {
            true => Simulation::Unavailable,
            false => reverted(context, &case.digest, &signer, rejection.to_string()).await,
        };
    }
    let request = CallRequest {
        from: Some(case.wallet),
        ..CallRequest::view(
            context.contracts.entity_manager,
            calls::manage_entity(&case.action),
        )
    };
    match context.chain.simulate(&request).await {
        Ok(gas) => Simulation::Passed { gas },
        Err(error @ (RpcError::Revert(_) | RpcError::Rejected { .. })) => {
            reverted(context, &case.digest, &signer, error.to_string()).await
        }
        Err(error) => {
            tracing::debug!(%error, "a simulation is put off");
            Simulation::Unavailable
        }
    }
}

/// What would revert may have landed since it was looked for, sent by another
/// relayer.
async fn reverted(
    context: &Context,
    digest: &Hash32,
    signer: &Address,
    reason: String,
) -> Simulation {
    match landed(context, digest, signer).await {
        Ok(Some(receipt)) => Simulation::Landed(receipt),
        Ok(None) => Simulation::Reverted { reason },
        Err(_) => Simulation::Unavailable,
    }
}

/// Where the index has an action.
pub(super) fn receipt(
    snapshot: &Snapshot,
    digest: &Hash32,
    signer: &Address,
) -> Result<Option<Receipt>, IndexTaskError> {
    let Some(sequence) = snapshot.action_of(digest, signer)? else {
        return Ok(None);
    };
    let entry = snapshot.entries(sequence..=sequence, 1)?.pop();
    Ok(entry.map(|entry| Receipt {
        tx_hash: entry.position.tx_hash,
        block_number: entry.position.block_number,
        block_hash: entry.position.block_hash,
    }))
}

/// Looks in the index, and asks the contract; what the contract has used is
/// waited for.
async fn landed(
    context: &Context,
    digest: &Hash32,
    signer: &Address,
) -> Result<Option<Receipt>, String> {
    let mut height = context.index.height();
    let until = Instant::now() + INDEX_PATIENCE;
    let mut is_used = false;
    loop {
        height.borrow_and_update();
        let snapshot = context
            .index
            .snapshot()
            .map_err(|error| error.to_string())?;
        let found = receipt(&snapshot, digest, signer).map_err(|error| error.to_string())?;
        if found.is_some() {
            return Ok(found);
        }
        if !is_used {
            let data = calls::is_used(*digest, *signer);
            let answer = context.chain.call(context.contracts.entity_manager, data);
            let answer = answer.await.map_err(|error| error.to_string())?;
            is_used = answer.last() == Some(&1);
            if !is_used {
                return Ok(None);
            }
        }
        match tokio::time::timeout_at(until, height.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                return Err("the contract has used the action, the index has it not yet".to_owned());
            }
        }
    }
}

/// Judges the action on top of the index and of what is pending; what may only
/// be late here is waited for.
async fn judged(
    context: &Context,
    fresh: &FreshActions,
    case: &Case,
    signer: Address,
) -> Option<Rejection> {
    let mut height = context.index.height();
    let mut pending = fresh.watch();
    let until = Instant::now() + INDEX_PATIENCE;
    loop {
        height.borrow_and_update();
        let mut actions = pending.borrow_and_update().as_ref().clone();
        let now = context.clock.now().unix();
        // A set that is full does not judge; the contract does.
        actions.insert(case.action.clone(), signer, now).ok()?;
        let view = context
            .index
            .snapshot()
            .and_then(|snapshot| Ok(actions.view(&snapshot)?));
        let rejection = match view {
            Ok(mut view) => view.rejected.remove(&case.action.action.struct_hash())?,
            Err(error) => {
                tracing::warn!(%error, "the index could not be read");
                return None;
            }
        };
        if !is_late(&rejection) {
            return Some(rejection);
        }
        let changed = async {
            tokio::select! {
                Ok(()) = height.changed() => {}
                Ok(()) = pending.changed() => {}
                else => {}
            }
        };
        if tokio::time::timeout_at(until, changed).await.is_err() {
            return Some(rejection);
        }
    }
}

/// True when what is missing may be on its way here.
const fn is_late(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::UnknownUser { .. } | Rejection::Unknown { .. } | Rejection::NotRelated { .. }
    )
}

/// How long the index and gossip may lag behind a client.
const INDEX_PATIENCE: Duration = Duration::from_secs(3);

/// How long an accepted action waits for what it builds on.
const LAG_SECONDS_MAX: u64 = 600;
