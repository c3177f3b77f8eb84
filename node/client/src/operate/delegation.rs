//! Delegations: what holders of tokens lend to operators.

use ethers_core::abi::Token;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use protocol::amount::Dgc;
use protocol::chain::ContractKind;
use protocol::chain::calls::{address, number};
use protocol::id::Address;
use serde::Serialize;

use super::{Call, Deployment, OperateError, Pending};

/// What the contracts allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DelegationRules {
    /// Most delegators of one operator.
    pub delegators_max: u64,
    /// The least that a delegation may be, unless the operator asks for more.
    pub amount_min: Dgc,
    /// Blocks from a request to undelegate to the undelegation.
    pub undelegate_lockup: u64,
    /// Blocks from a request to remove a delegator to the removal, which locks the
    /// delegation as a request to undelegate does.
    pub remove_lockup: u64,
    /// Blocks after that notice in which the delegator can be removed.
    pub remove_blocks: u64,
}

/// One delegator's stake behind one operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delegation {
    /// The wallet that lends.
    pub delegator: Address,
    /// The operator that it is lent to.
    pub operator: Address,
    /// How much is lent.
    pub amount: Dgc,
}

/// A delegation that was asked back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PendingUndelegation {
    /// The operator that gives it back.
    pub operator: Address,
    /// How much and from which block on.
    #[serde(flatten)]
    pub pending: Pending,
}

impl Deployment {
    /// What the contracts allow.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegation_rules(&self) -> Result<DelegationRules, OperateError> {
        let (mut most, mut least, mut undelegate, mut remove, mut blocks) = futures::try_join!(
            self.view(MANAGER, "getMaxDelegators", &[]),
            self.view(MANAGER, "getMinDelegationAmount", &[]),
            self.view(MANAGER, "getUndelegateLockupDuration", &[]),
            self.view(MANAGER, "getRemoveDelegatorLockupDuration", &[]),
            self.view(MANAGER, "getRemoveDelegatorEvalDuration", &[]),
        )?;
        Ok(DelegationRules {
            delegators_max: most.number()?,
            amount_min: least.amount()?,
            undelegate_lockup: undelegate.number()?,
            remove_lockup: remove.number()?,
            remove_blocks: blocks.number()?,
        })
    }

    /// The least that may be delegated to an operator.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegation_min(&self, operator: Address) -> Result<Dgc, OperateError> {
        let arguments = [address(operator)];
        let (mut own, mut every) = futures::try_join!(
            self.view(MANAGER, "getSPMinDelegationAmount", &arguments),
            self.view(MANAGER, "getMinDelegationAmount", &[]),
        )?;
        Ok(own.amount()?.max(every.amount()?))
    }

    /// What was delegated to an operator, in all.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegated_to(&self, operator: Address) -> Result<Dgc, OperateError> {
        let arguments = [address(operator)];
        let mut answer = self
            .view(MANAGER, "getTotalDelegatedToServiceProvider", &arguments)
            .await?;
        answer.amount()
    }

    /// Who delegated to an operator.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegations_to(&self, operator: Address) -> Result<Vec<Delegation>, OperateError> {
        let mut answer = self
            .view(MANAGER, "getDelegatorsList", &[address(operator)])
            .await?;
        let delegators = answer.addresses()?.into_iter().take(LIST_MAX);
        try_join_all(delegators.map(|delegator| self.delegation(delegator, operator))).await
    }

    /// To which of the operators that ever confirmed a peer a holder delegated.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegations_of(
        &self,
        delegator: Address,
    ) -> Result<Vec<Delegation>, OperateError> {
        let arguments = [address(delegator)];
        let mut total = self
            .view(MANAGER, "getTotalDelegatorStake", &arguments)
            .await?;
        if total.amount()? == Dgc::ZERO {
            return Ok(Vec::new());
        }
        let found: Vec<Delegation> = stream::iter(self.operators().await?)
            .map(|operator| self.delegation(delegator, operator))
            .buffered(PARALLEL_MAX)
            .try_collect()
            .await?;
        let is_there = |delegation: &Delegation| delegation.amount != Dgc::ZERO;
        Ok(found.into_iter().filter(is_there).collect())
    }

    /// One delegation; of nothing when there is none.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegation(
        &self,
        delegator: Address,
        operator: Address,
    ) -> Result<Delegation, OperateError> {
        let arguments = [address(delegator), address(operator)];
        let mut answer = self
            .view(MANAGER, "getDelegatorStakeForServiceProvider", &arguments)
            .await?;
        Ok(Delegation {
            delegator,
            operator,
            amount: answer.amount()?,
        })
    }

    /// The operators that ever confirmed a peer, by number.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn operators(&self) -> Result<Vec<Address>, OperateError> {
        let mut answer = self
            .view(ContractKind::PeerRegistry, "operatorCount", &[])
            .await?;
        let count = answer.number()?.min(OPERATORS_MAX);
        stream::iter(1..=count)
            .map(async |id| {
                let arguments = [number(id)];
                let mut answer = self
                    .view(ContractKind::PeerRegistry, "operatorOfNumber", &arguments)
                    .await?;
                answer.address()
            })
            .buffered(PARALLEL_MAX)
            .try_collect()
            .await
    }

    /// What a holder asked back and has not taken out.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn pending_undelegation(
        &self,
        delegator: Address,
    ) -> Result<Option<PendingUndelegation>, OperateError> {
        let mut answer = self
            .view(
                MANAGER,
                "getPendingUndelegateRequest",
                &[address(delegator)],
            )
            .await?;
        let operator = answer.address()?;
        let pending = answer.pending()?;
        Ok(pending.map(|pending| PendingUndelegation { operator, pending }))
    }

    /// The block from which a delegator can be removed; `None` without a request.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn pending_removal(
        &self,
        operator: Address,
        delegator: Address,
    ) -> Result<Option<u64>, OperateError> {
        let arguments = [address(operator), address(delegator)];
        let mut answer = self
            .view(MANAGER, "getPendingRemoveDelegatorRequest", &arguments)
            .await?;
        Ok(Some(answer.number()?).filter(|block| *block != 0))
    }

    /// The delegation that an operator sent away; `None` when it did not.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn removed_delegation(
        &self,
        operator: Address,
        delegator: Address,
    ) -> Result<Option<Pending>, OperateError> {
        let arguments = [address(operator), address(delegator)];
        let mut answer = self
            .view(MANAGER, "getRemovedDelegation", &arguments)
            .await?;
        answer.pending()
    }

    /// The calls that delegate.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn delegate(
        &self,
        delegator: Address,
        operator: Address,
        amount: Dgc,
    ) -> Result<Vec<Call>, OperateError> {
        let approve = self.approve_stake(delegator, amount).await?;
        let what = format!("delegate {amount} DGC to {operator}");
        let arguments = [address(operator), Token::Uint(amount.0)];
        let delegate = self.call(MANAGER, "delegateStake", &arguments, what)?;
        Ok(approve.into_iter().chain([delegate]).collect())
    }

    /// Asks a delegation back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment takes no delegations.
    pub fn request_undelegation(
        &self,
        operator: Address,
        amount: Dgc,
    ) -> Result<Call, OperateError> {
        let what = format!("ask {amount} DGC back from {operator}");
        let arguments = [address(operator), Token::Uint(amount.0)];
        self.call(MANAGER, "requestUndelegateStake", &arguments, what)
    }

    /// Takes out what was asked back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment takes no delegations.
    pub fn finish_undelegation(&self, pending: &PendingUndelegation) -> Result<Call, OperateError> {
        let (amount, operator) = (pending.pending.amount, pending.operator);
        let what = format!("take {amount} DGC back from {operator}");
        self.call(MANAGER, "undelegateStake", &[], what)
    }

    /// Leaves with the operator what was asked back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment takes no delegations.
    pub fn cancel_undelegation(&self, pending: &PendingUndelegation) -> Result<Call, OperateError> {
        let (amount, operator) = (pending.pending.amount, pending.operator);
        let what = format!("leave {amount} DGC with {operator}");
        self.call(MANAGER, "cancelUndelegateStakeRequest", &[], what)
    }

    /// A step in the removal of a delegator.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment takes no delegations.
    pub fn remove_delegator(
        &self,
        operator: Address,
        delegator: Address,
        step: Removal,
    ) -> Result<Call, OperateError> {
        let (function, what) = match step {
            Removal::Request => (
                "requestRemoveDelegator",
                format!("ask for the removal of {delegator}"),
            ),
            Removal::Finish => ("removeDelegator", format!("send {delegator} away")),
            Removal::Release => (
                "releaseDelegator",
                format!("give {delegator} its delegation back"),
            ),
            Removal::Cancel => ("cancelRemoveDelegatorRequest", format!("keep {delegator}")),
        };
        let arguments = [address(operator), address(delegator)];
        self.call(MANAGER, function, &arguments, what)
    }

    /// Sets the least that may be delegated to an operator.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment takes no delegations.
    pub fn set_delegation_min(&self, operator: Address, amount: Dgc) -> Result<Call, OperateError> {
        let what = format!("take delegations of {amount} DGC or more");
        let arguments = [address(operator), Token::Uint(amount.0)];
        self.call(MANAGER, "updateSPMinDelegationAmount", &arguments, what)
    }
}

/// A step in the removal of a delegator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Tells the delegator, which begins the notice.
    Request,
    /// Carries it out after the notice, which begins the lock-up.
    Finish,
    /// Gives the delegation back after the lock-up.
    Release,
    /// Drops the request.
    Cancel,
}

const MANAGER: ContractKind = ContractKind::DelegateManager;

/// Most delegators of one operator that are listed. Chosen: what people read.
const LIST_MAX: usize = 1_000;

/// Most operators that are looked through. Chosen: more than are expected; each costs
/// a call.
const OPERATORS_MAX: u64 = 10_000;

/// Requests that are under way at a time. Chosen: providers limit rates.
const PARALLEL_MAX: usize = 16;
