//! What a transaction pays, and what makes an endpoint take another in its place.

use protocol::amount::U256;

use crate::client::{Client, RpcError};

/// Prices of an EIP-1559 transaction in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fees {
    /// What every transaction of the next block pays at least.
    pub base: U256,
    /// Most that is paid, the tip included.
    pub max_fee: U256,
    /// The tip, at most.
    pub max_priority_fee: U256,
}

impl Fees {
    /// Fees under a base fee and with a tip: twice the base fee plus the tip
    /// stays valid through five full blocks.
    #[must_use]
    pub fn new(base: U256, tip: U256) -> Self {
        Self {
            base,
            max_fee: base.saturating_mul(U256::from(2)).saturating_add(tip),
            max_priority_fee: tip,
        }
    }

    /// The fees that the endpoint suggests at present.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers.
    pub async fn suggested(client: &Client) -> Result<Self, RpcError> {
        let base = client.latest().await?.base_fee.unwrap_or_default();
        Ok(Self::new(base.into(), tip(client).await?))
    }

    /// The fees raised by a quarter `bumps` times: endpoints take a replacement
    /// when it pays a tenth more.
    #[must_use]
    pub fn bumped(self, bumps: u32) -> Self {
        let bumps = bumps.min(protocol::chain::inclusion::BUMPS_MAX);
        Self {
            base: self.base,
            max_fee: raised(self.max_fee, bumps),
            max_priority_fee: raised(self.max_priority_fee, bumps),
        }
    }

    /// The higher of both, price by price.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            base: self.base,
            max_fee: self.max_fee.max(other.max_fee),
            max_priority_fee: self.max_priority_fee.max(other.max_priority_fee),
        }
    }
}

/// The tip that the endpoint suggests; some endpoints do not have the method.
///
/// # Errors
///
/// [`RpcError`] when nobody answers.
pub async fn tip(client: &Client) -> Result<U256, RpcError> {
    match client.max_priority_fee().await {
        Ok(tip) => Ok(tip.into()),
        Err(RpcError::Rejected { .. }) => Ok(TIP_DEFAULT.into()),
        Err(error) => Err(error),
    }
}

/// The gas limit for an estimate: what it needs may grow until it is mined.
#[must_use]
pub const fn gas_limit(gas: u64) -> u64 {
    gas.saturating_add(gas / GAS_MARGIN_DIVISOR)
        .saturating_add(GAS_MARGIN)
}

fn raised(fee: U256, bumps: u32) -> U256 {
    (0..bumps).fold(fee, |fee, _| {
        fee.saturating_add(fee / 4).saturating_add(U256::one())
    })
}

/// The gas limit is the estimate, a quarter of it, and [`GAS_MARGIN`].
const GAS_MARGIN_DIVISOR: u64 = 4;

/// Room for a few storage slots more: what a transaction writes by block number
/// may stand there already for the newest block, in which it is estimated, and
/// not for the block that it is mined in.
const GAS_MARGIN: u64 = 150_000;

/// The tip where an endpoint names none: one gwei, as wallets do.
const TIP_DEFAULT: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bump_pays_a_tenth_more_and_never_overflows() {
        let mut before = Fees::new(U256::from(7), U256::zero());
        for bumps in 1..=20 {
            let after = Fees::new(U256::from(7), U256::zero()).bumped(bumps);
            assert!(after.max_fee * 10 >= before.max_fee * 11 || bumps > 16);
            before = after;
        }
        let most = Fees::new(U256::MAX, U256::MAX).bumped(16);
        assert_eq!(most.max_fee, U256::MAX);
    }
}
