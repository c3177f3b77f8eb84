//! The numbers of staking: periods in blocks, and what a slash proposal asks for.
//!
//! The contracts count time in blocks. The reference deployment stands on a
//! chain of 13-second blocks (a week is 46,523 of them); every other chain gets
//! the same spans of time in its own blocks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::amount::{Dgc, U256};

/// The contracts' periods, in blocks of one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Periods {
    /// Between two rounds of claims: a week.
    pub funding_round: u64,
    /// From a request to decrease stake to the decrease: a week.
    pub decrease_lockup: u64,
    /// From a request to undelegate to the undelegation: a week.
    pub undelegate_lockup: u64,
    /// From a request to remove a delegator to the removal: a week.
    pub remove_delegator_lockup: u64,
    /// How long after its lock-up a delegator may be removed: a day.
    pub remove_delegator_evaluation: u64,
    /// From a request to change the deployer's cut to the change: eight days.
    pub deployer_cut_lockup: u64,
    /// How long a proposal is voted on: two days.
    pub voting: u64,
    /// From the end of the vote to the execution: a day.
    pub execution_delay: u64,
    /// From the deployment to the guardian's last veto: a year.
    pub guardianship: u64,
}

/// A block time that periods cannot be counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a block time of {} ms cannot be used, between 1 ms and {} ms are possible; give the chain's own",
    block_time.as_millis(),
    BLOCK_TIME_MAX.as_millis()
)]
pub struct BlockTimeError {
    /// The block time.
    pub block_time: Duration,
}

impl Periods {
    /// Counts the periods in blocks of a chain, rounded down.
    ///
    /// # Errors
    ///
    /// [`BlockTimeError`] when blocks are shorter than a millisecond or longer
    /// than [`BLOCK_TIME_MAX`]: rounding would upset how the periods relate.
    pub fn from_block_time(block_time: Duration) -> Result<Self, BlockTimeError> {
        let is_possible = block_time >= Duration::from_millis(1) && block_time <= BLOCK_TIME_MAX;
        let millis = u64::try_from(block_time.as_millis())
            .ok()
            .filter(|_| is_possible)
            .ok_or(BlockTimeError { block_time })?;
        let hours = |hours: u64| hours * 3_600_000 / millis;
        Ok(Self {
            funding_round: hours(WEEK_HOURS),
            decrease_lockup: hours(WEEK_HOURS),
            undelegate_lockup: hours(WEEK_HOURS),
            remove_delegator_lockup: hours(WEEK_HOURS),
            remove_delegator_evaluation: hours(24),
            deployer_cut_lockup: hours(8 * 24),
            voting: hours(48),
            execution_delay: hours(24),
            guardianship: hours(365 * 24),
        })
    }
}

/// What to ask for in a proposal to slash an operator whose peers missed
/// `missed` of `total` duties in `days` days: the yearly 200,000 DGC for each
/// endpoint, in proportion, in whole DGC rounded down.
///
/// Nothing when there were no duties; never more than for all of them missed.
#[must_use]
pub fn slash_recommendation(endpoints: u32, days: u32, missed: u32, total: u32) -> Dgc {
    if total == 0 {
        return Dgc::ZERO;
    }
    // Four factors of 32 bits at most fit.
    let yearly = U256::from(SLASH_ENDPOINT_YEAR_DGC) * endpoints;
    let tokens = yearly * days * missed.min(total) / (U256::from(365) * total);
    Dgc(tokens * Dgc::whole(1).0)
}

/// The longest block time that periods are counted in. Derived: with an hour a day is
/// 24 blocks, and the periods still relate as they must.
pub const BLOCK_TIME_MAX: Duration = Duration::from_hours(1);

/// Below this a slash is not worth a proposal, as the ancestor's console has it.
pub const SLASH_PROPOSAL_MIN_DGC: u64 = 10_000;

/// What an endpoint that misses everything for a year is slashed by: the
/// smallest stake of a service type.
const SLASH_ENDPOINT_YEAR_DGC: u64 = 200_000;

const WEEK_HOURS: u64 = 7 * 24;

#[cfg(test)]
mod tests;
