//! What helps when a contract refuses; the reason itself is a sentence already.

use std::error::Error;

use client::operate::OperateError;
use protocol::chain::Revert;
use rpc::{RpcError, TransactError};

/// The revert that an error is about.
pub(crate) fn revert_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Revert> {
    let rpc = |error: &'a RpcError| match error {
        RpcError::Revert(revert) => Some(revert),
        _ => None,
    };
    if let Some(error) = error.downcast_ref::<RpcError>() {
        return rpc(error);
    }
    if let Some(OperateError::Rpc(error)) = error.downcast_ref::<OperateError>() {
        return rpc(error);
    }
    match error.downcast_ref::<TransactError>()? {
        TransactError::Rpc(error) => rpc(error),
        TransactError::Reverted { reason, .. } => Some(reason),
        TransactError::Failed { .. } => None,
    }
}

/// The next command after a contract's error.
pub(crate) fn hint(name: &str) -> Option<&'static str> {
    let found = HINTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, hint)| *hint)
}

/// By the error's name.
const HINTS: &[(&str, &str)] = &[
    (
        "StakeIsOutOfBounds",
        "`coliving operator status` shows the stake and its bounds; `coliving operator stake` adds to it",
    ),
    (
        "EndpointIsTaken",
        "`coliving operator status` lists the services; `coliving operator endpoint OLD NEW` moves one",
    ),
    (
        "EndpointIsAnotherOperators",
        "register the URL of your own peer",
    ),
    (
        "ServiceIsUnknown",
        "`coliving operator status` lists the services and their endpoints",
    ),
    (
        "DecreaseIsPending",
        "`coliving operator unstake --finish` or `--cancel`",
    ),
    ("DecreaseIsLocked", LOCKED),
    (
        "NoDecreaseIsPending",
        "ask for one with `coliving operator unstake AMOUNT`",
    ),
    ("ClaimIsPending", "claim first: `coliving claim OPERATOR`"),
    (
        "AlreadyClaimed",
        "`coliving operator status` shows when the next round begins",
    ),
    (
        "RoundIsTooEarly",
        "`coliving operator status` shows when the next round begins; on a development chain `coliving chain mine 7d` gets there",
    ),
    (
        "CallerIsNotStaker",
        "`coliving operator stake` or `coliving delegate` makes a staker of the wallet",
    ),
    (
        "DeployerCutUpdateIsPending",
        "`coliving operator cut --finish` or `--cancel`",
    ),
    ("DeployerCutUpdateIsLocked", LOCKED),
    (
        "NoDeployerCutUpdateIsPending",
        "ask for one with `coliving operator cut PERCENT`",
    ),
    (
        "UndelegationIsPending",
        "`coliving undelegate --finish` or `--cancel`",
    ),
    (
        "UndelegationIsLocked",
        "`coliving delegate --list` shows when it ends; on a development chain `coliving chain mine N` gets there",
    ),
    (
        "NoUndelegationIsPending",
        "ask for one with `coliving undelegate OPERATOR AMOUNT`",
    ),
    (
        "DelegationIsTooSmall",
        "`coliving operator status OPERATOR` shows the least that it takes",
    ),
    (
        "DelegationIsLess",
        "`coliving delegate --list` shows what you delegated",
    ),
    (
        "OperatorIsUnknown",
        "an operator has a registered service: `coliving operator status OPERATOR`",
    ),
    ("RemovalIsLocked", LOCKED),
    (
        "RemovalHasLapsed",
        "ask for it again: `coliving operator remove-delegator ADDRESS`",
    ),
    (
        "WalletIsAnotherOperators",
        "one peer serves one operator; make another key for this one with `coliving init --data DIR --join`",
    ),
    (
        "NonceIsWrong",
        "confirm again: another confirmation of the peer came in between",
    ),
    (
        "ProposalAwaitsEvaluation",
        "close it first with `coliving govern execute ID`; `coliving govern list` names it",
    ),
    (
        "ProposalIsNotEvaluable",
        "`coliving govern show ID` says from which block on; on a development chain `coliving chain mine N` gets there",
    ),
    (
        "ProposalIsUnknown",
        "`coliving govern list --all` lists the proposals",
    ),
    (
        "VotingIsClosed",
        "`coliving govern show ID` says how long votes are taken",
    ),
    (
        "VoterHasNoStake",
        "only stake that was there when the proposal was submitted votes",
    ),
    (
        "ProposersStakeIsTooSmall",
        "`coliving operator stake` or `coliving delegate` adds to what you vote with",
    ),
    (
        "TargetIsUnknown",
        "name a contract as `coliving chain info` lists them, such as `DelegateManager`",
    ),
    (
        "ERC20InsufficientBalance",
        "`coliving wallet show` names the address that needs tokens; on a development chain `coliving chain fund` sends some",
    ),
];

/// For requests of operators that cannot be carried out yet.
const LOCKED: &str = "`coliving operator status` shows when it ends; on a development chain `coliving chain mine N` gets there";

#[cfg(test)]
mod tests {
    use protocol::chain::{ContractKind, artifact};

    use super::*;

    #[test]
    fn every_hint_is_for_an_error_that_a_contract_has() {
        let known: Vec<String> = ContractKind::ALL
            .into_iter()
            .flat_map(|kind| artifact(kind).abi.errors())
            .map(|error| error.name.clone())
            .collect();
        for (name, _) in HINTS {
            assert!(known.iter().any(|error| error == name), "{name}");
        }
    }
}
