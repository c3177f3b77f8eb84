//! Claims: the rewards of each round.

use protocol::amount::{Dgc, U256};
use protocol::chain::ContractKind;
use protocol::chain::calls::{address, number};
use protocol::id::Address;
use serde::Serialize;

use super::{Call, Deployment, OperateError};

/// The round that rewards are claimed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Round {
    /// Its number; 0 before the first.
    pub number: u64,
    /// The block whose stakes count in it.
    pub funded_block: u64,
    /// What all claims of it may mint together.
    pub amount: Dgc,
    /// What they have minted.
    pub claimed: Dgc,
    /// The first block in which the next round can begin.
    pub next_block: u64,
}

/// What an operator can claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// True when it has not claimed in the present round.
    pub pending: bool,
    /// What a claim would bring to the operator and its delegators.
    pub rewards: Dgc,
}

impl Deployment {
    /// The present round.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn round(&self) -> Result<Round, OperateError> {
        let (mut id, mut funded, mut amount, mut claimed, mut blocks) = futures::try_join!(
            self.view(MANAGER, "getRoundNumber", &[]),
            self.view(MANAGER, "getLastFundedBlock", &[]),
            self.view(MANAGER, "getFundedAmount", &[]),
            self.view(MANAGER, "getTotalClaimedInRound", &[]),
            self.view(MANAGER, "getFundingRoundBlockDiff", &[]),
        )?;
        let funded_block = funded.number()?;
        let between = blocks.number()?;
        Ok(Round {
            number: id.number()?,
            funded_block,
            amount: amount.amount()?,
            claimed: claimed.amount()?,
            next_block: funded_block.saturating_add(between).saturating_add(1),
        })
    }

    /// True while an operator has rewards to claim; its stake and what is delegated
    /// to it do not change before.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn is_claim_pending(&self, operator: Address) -> Result<bool, OperateError> {
        let arguments = [address(operator)];
        self.view(MANAGER, "claimPending", &arguments)
            .await?
            .truth()
    }

    /// What an operator can claim; `within_bounds` is of its stake.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn claim(
        &self,
        operator: Address,
        round: &Round,
        locked: Dgc,
        within_bounds: bool,
    ) -> Result<Claim, OperateError> {
        let at = number(round.funded_block);
        let arguments = [address(operator), at.clone()];
        let (mut pending, mut stake, mut total) = futures::try_join!(
            self.view(MANAGER, "claimPending", &arguments[..1]),
            self.view(ContractKind::Staking, "totalStakedForAt", &arguments),
            self.view(
                ContractKind::Staking,
                "totalStakedAt",
                std::slice::from_ref(&at)
            ),
        )?;
        let pending = pending.truth()?;
        let rewards = match pending && within_bounds {
            true => reward(stake.amount()?, locked, round.amount, total.amount()?),
            false => Dgc::ZERO,
        };
        Ok(Claim { pending, rewards })
    }

    /// Begins the next round.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no claims.
    pub fn begin_round(&self) -> Result<Call, OperateError> {
        self.call(MANAGER, "initiateRound", &[], "begin the next round")
    }

    /// Claims an operator's rewards, for it and its delegators.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no claims.
    pub fn claim_rewards(&self, operator: Address) -> Result<Call, OperateError> {
        let what = format!("claim the rewards of {operator}");
        self.call(
            ContractKind::DelegateManager,
            "claimRewards",
            &[address(operator)],
            what,
        )
    }
}

/// An operator's share of a round, rounded down.
#[must_use]
pub fn reward(staked: Dgc, locked: Dgc, amount: Dgc, staked_by_all: Dgc) -> Dgc {
    let active = staked.saturating_sub(locked).0;
    let product = active.checked_mul(amount.0);
    let share = product.and_then(|product| product.checked_div(staked_by_all.0));
    Dgc(share.unwrap_or(U256::zero()))
}

const MANAGER: ContractKind = ContractKind::ClaimsManager;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reward_is_the_share_of_the_active_stake() {
        let funded = Dgc(U256::from_dec_str("1342465753420000000000000").unwrap());
        let stake = Dgc::whole(120);
        let of_two = |locked: u64| reward(stake, Dgc::whole(locked), funded, Dgc::whole(240));
        assert_eq!(of_two(60).0.to_string(), "335616438355000000000000");
        assert_eq!(reward(stake, Dgc::ZERO, funded, stake), funded);
        let delegated = reward(Dgc::whole(180), Dgc::ZERO, funded, Dgc::whole(300));
        assert_eq!(delegated.0.to_string(), "805479452052000000000000");
    }

    #[test]
    fn nothing_is_shared_by_nobody() {
        let one = Dgc::whole(1);
        assert_eq!(reward(one, Dgc::ZERO, one, Dgc::ZERO), Dgc::ZERO);
        assert_eq!(reward(one, Dgc::whole(2), one, one), Dgc::ZERO);
    }
}
