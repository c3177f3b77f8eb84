//! All that there is to know about one operator.

use protocol::amount::Dgc;
use protocol::chain::ContractKind;
use protocol::chain::calls::address;
use protocol::id::Address;
use protocol::registry::weight_of;
use serde::Serialize;

use super::claims::{Claim, Round};
use super::delegation::Delegation;
use super::operator::{Service, Stake};
use super::{Balances, Call, Deployment, OperateError};

/// An operator with its services and stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorState {
    /// The operator's wallet.
    pub operator: Address,
    /// Its number; `None` before its first confirmation.
    pub number: Option<u64>,
    /// What the wallet owns.
    pub balances: Balances,
    /// Its services, by role and number.
    pub services: Vec<Service>,
    /// What stands behind it.
    pub stake: Stake,
    /// What it keeps of its delegators' rewards.
    pub cut: Cut,
    /// Who delegated to it.
    pub delegations: Vec<Delegation>,
    /// The least that may be delegated to it.
    pub delegation_min: Dgc,
    /// What it votes with.
    pub voting_stake: Dgc,
    /// The present round.
    pub round: Round,
    /// What it can claim.
    pub claim: Claim,
    /// What its peers weigh in placement; 0 without a confirmed content peer.
    pub placement_weight: u64,
    /// All stake of all operators.
    pub total_staked: Dgc,
}

/// The part of delegators' rewards that an operator keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// In per cent.
    pub percent: u64,
    /// A change of it.
    pub pending: Option<PendingCut>,
}

/// A change of the cut that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PendingCut {
    /// In per cent.
    pub percent: u64,
    /// The first block in which it can be carried out.
    pub unlock_block: u64,
}

impl Deployment {
    /// All that there is to know about an operator.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn operator(&self, operator: Address) -> Result<OperatorState, OperateError> {
        let (number, balances, services, stake, cut, delegations, delegation_min) = futures::try_join!(
            self.operator_number(operator),
            self.balances(operator),
            self.services(operator),
            self.stake(operator),
            self.cut(operator),
            self.delegations_to(operator),
            self.delegation_min(operator),
        )?;
        let (voting_stake, round, mut total) = futures::try_join!(
            self.voting_stake(operator),
            self.round(),
            self.view(ContractKind::Staking, "totalStaked", &[]),
        )?;
        let claim = self
            .claim(operator, &round, stake.locked, stake.within_bounds)
            .await?;
        let is_placed = services.iter().any(|service| {
            service.role == protocol::id::Role::Content && service.confirmation.is_some()
        });
        Ok(OperatorState {
            operator,
            number,
            balances,
            placement_weight: if is_placed {
                weight_of(stake.active)
            } else {
                0
            },
            services,
            stake,
            cut,
            delegations,
            delegation_min,
            voting_stake,
            round,
            claim,
            total_staked: total.amount()?,
        })
    }

    /// An operator's stake.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn stake(&self, operator: Address) -> Result<Stake, OperateError> {
        let arguments = [address(operator)];
        let (mut details, delegated, mut total, mut locked, pending_decrease) = futures::try_join!(
            self.view(FACTORY, "getServiceProviderDetails", &arguments),
            self.delegated_to(operator),
            self.view(ContractKind::Staking, "totalStakedFor", &arguments),
            self.view(ContractKind::Staking, "lockedFor", &arguments),
            self.pending_decrease(operator),
        )?;
        let own = details.amount()?;
        let _cut = details.number()?;
        let within_bounds = details.truth()?;
        let _services = details.number()?;
        let locked = locked.amount()?;
        Ok(Stake {
            own,
            delegated,
            locked,
            active: total.amount()?.saturating_sub(locked),
            min: details.amount()?,
            max: details.amount()?,
            within_bounds,
            pending_decrease,
        })
    }

    /// An operator's cut.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn cut(&self, operator: Address) -> Result<Cut, OperateError> {
        let arguments = [address(operator)];
        let (mut details, mut pending) = futures::try_join!(
            self.view(FACTORY, "getServiceProviderDetails", &arguments),
            self.view(FACTORY, "getPendingUpdateDeployerCutRequest", &arguments),
        )?;
        let _own = details.amount()?;
        let percent = details.number()?;
        let asked = PendingCut {
            percent: pending.number()?,
            unlock_block: pending.number()?,
        };
        Ok(Cut {
            percent,
            pending: (asked.unlock_block != 0).then_some(asked),
        })
    }

    /// Blocks from a request to change the cut to the change.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn cut_lockup(&self) -> Result<u64, OperateError> {
        let mut answer = self
            .view(FACTORY, "getDeployerCutLockupDuration", &[])
            .await?;
        answer.number()
    }

    /// Asks for another cut.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn request_cut(&self, operator: Address, percent: u64) -> Result<Call, OperateError> {
        let what = format!("ask for a cut of {percent} %");
        let arguments = [address(operator), protocol::chain::calls::number(percent)];
        self.call(FACTORY, "requestUpdateDeployerCut", &arguments, what)
    }

    /// Makes the cut that was asked for the operator's own.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn finish_cut(&self, operator: Address, percent: u64) -> Result<Call, OperateError> {
        let what = format!("take a cut of {percent} %");
        self.call(FACTORY, "updateDeployerCut", &[address(operator)], what)
    }

    /// Keeps the cut as it is.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn cancel_cut(&self, operator: Address) -> Result<Call, OperateError> {
        let what = "keep the cut as it is";
        self.call(
            FACTORY,
            "cancelUpdateDeployerCut",
            &[address(operator)],
            what,
        )
    }
}

const FACTORY: ContractKind = ContractKind::ServiceProviderFactory;
