//! What may be spent: gas in all, gas of new users, quotas of owners.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Config, Kind, Refusal, RefusalCode};
use crate::id::{Address, UserId};
use crate::origin::Prefix;
use crate::time::{Moment, UnixSeconds};

/// What an action is charged to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// What it counts as.
    pub kind: Kind,
    /// Against whose quota.
    pub owner: Address,
    /// For which user.
    pub user: UserId,
    /// The network prefix, for users younger than a day.
    pub prefix: Option<Prefix>,
    /// How much gas.
    pub gas: u64,
}

/// What was spent in the hour and the day that are counted.
#[derive(Debug)]
pub struct Budget {
    hour: u64,
    hour_gas: u64,
    /// Actions of the hour by owner and kind.
    counts: BTreeMap<(Address, Kind), u32>,
    day: u64,
    day_gas: u64,
    deactivation_gas: u64,
    deactivated: BTreeSet<UserId>,
    prefixes: BTreeMap<Prefix, u64>,
}

impl Budget {
    /// An unspent budget.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            hour: hour(now.unix()),
            hour_gas: 0,
            counts: BTreeMap::new(),
            day: day(now.unix()),
            day_gas: 0,
            deactivation_gas: 0,
            deactivated: BTreeSet::new(),
            prefixes: BTreeMap::new(),
        }
    }

    /// Spends a charge, or says which limit is in the way and until when.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; nothing is spent.
    pub fn charge(&mut self, charge: &Charge, config: &Config, now: Moment) -> Result<(), Refusal> {
        self.turn(now.unix());
        self.check(charge, config, now.unix())?;
        self.spend(charge, true, true);
        Ok(())
    }

    /// Spends again what was accepted before a restart.
    pub fn restore(&mut self, charge: &Charge, accepted: UnixSeconds) {
        self.spend(
            charge,
            hour(accepted) == self.hour,
            day(accepted) == self.day,
        );
    }

    fn check(&self, charge: &Charge, config: &Config, now: UnixSeconds) -> Result<(), Refusal> {
        let until_hour = HOUR_SECONDS - now.0 % HOUR_SECONDS;
        let until_day = DAY_SECONDS - now.0 % DAY_SECONDS;
        let over = |code, what: &str, limit: u64, wait| {
            Err(Refusal::new(code, format!("{what} is used up, at most {limit}")).retry_after(wait))
        };
        if charge.kind == Kind::Deactivate {
            if self.deactivated.contains(&charge.user) {
                return over(
                    RefusalCode::Quota,
                    "a user's deactivations of the day",
                    1,
                    until_day,
                );
            }
            let limit = config.deactivation_gas_per_day_max;
            if self.deactivation_gas.saturating_add(charge.gas) > limit {
                return over(
                    RefusalCode::Budget,
                    "the day's gas for deactivations",
                    limit,
                    until_day,
                );
            }
            return Ok(());
        }
        let limit = config.gas_per_hour_max;
        if self.hour_gas.saturating_add(charge.gas) > limit {
            return over(
                RefusalCode::Budget,
                "the relayer's gas of the hour",
                limit,
                until_hour,
            );
        }
        let limit = config.gas_per_day_max;
        if self.day_gas.saturating_add(charge.gas) > limit {
            return over(
                RefusalCode::Budget,
                "the relayer's gas of the day",
                limit,
                until_day,
            );
        }
        if let Some(prefix) = &charge.prefix {
            let limit = config.new_user_gas_per_day_max;
            let spent = self.prefixes.get(prefix).copied();
            let is_full = spent.is_none() && self.prefixes.len() >= PREFIXES_MAX;
            if is_full || spent.unwrap_or(0).saturating_add(charge.gas) > limit {
                return over(
                    RefusalCode::Budget,
                    "the day's gas for new users of this network address",
                    limit,
                    until_day,
                );
            }
        }
        if config.unlimited.contains(&charge.owner) {
            return Ok(());
        }
        let limit = charge
            .kind
            .per_hour_max()
            .saturating_mul(config.quota_factor);
        let count = self.counts.get(&(charge.owner, charge.kind)).copied();
        let is_full = count.is_none() && self.counts.len() >= COUNTS_MAX;
        if is_full || count.unwrap_or(0) >= limit {
            return over(
                RefusalCode::Quota,
                "the owner's quota of the hour for actions of this kind",
                u64::from(limit),
                until_hour,
            );
        }
        Ok(())
    }

    fn spend(&mut self, charge: &Charge, in_hour: bool, in_day: bool) {
        if charge.kind == Kind::Deactivate {
            if in_day {
                self.deactivated.insert(charge.user);
                self.deactivation_gas = self.deactivation_gas.saturating_add(charge.gas);
            }
            return;
        }
        if in_hour {
            self.hour_gas = self.hour_gas.saturating_add(charge.gas);
            *self.counts.entry((charge.owner, charge.kind)).or_default() += 1;
        }
        if in_day {
            self.day_gas = self.day_gas.saturating_add(charge.gas);
            if let Some(prefix) = charge.prefix {
                let spent = self.prefixes.entry(prefix).or_default();
                *spent = spent.saturating_add(charge.gas);
            }
        }
    }

    fn turn(&mut self, now: UnixSeconds) {
        if self.hour != hour(now) {
            self.hour = hour(now);
            self.hour_gas = 0;
            self.counts.clear();
        }
        if self.day != day(now) {
            self.day = day(now);
            self.day_gas = 0;
            self.deactivation_gas = 0;
            self.deactivated.clear();
            self.prefixes.clear();
        }
    }
}

fn hour(at: UnixSeconds) -> u64 {
    at.0 / HOUR_SECONDS
}

fn day(at: UnixSeconds) -> u64 {
    at.0 / DAY_SECONDS
}

const HOUR_SECONDS: u64 = 3600;

const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// Network prefixes that are counted in a day. Derived: more than the day's actions,
/// some MB.
const PREFIXES_MAX: usize = 100_000;

/// Pairs of owner and kind that are counted in an hour. Derived: more than the hour's
/// actions, some MB.
const COUNTS_MAX: usize = 100_000;
