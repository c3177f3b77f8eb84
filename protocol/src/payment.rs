//! Payments: how a price is divided among payees, what counts as paid, and what
//! memos say.
//!
//! Amounts are integers in the token's smallest unit, percentages integers in
//! millionths of a percent: two peers that judge the same payment agree.
//!
//! Format of memos: `docs/formats/payment.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::amount::U256;
use crate::id::Address;

mod memo;

pub use memo::{Access, Location, MemoError, PurchaseMemo, TipMemo};

/// A percentage in millionths of a percent, between 0 and 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent(u64);

/// A price in cents, within [`PRICE_CENTS_MIN`] and [`PRICE_CENTS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(u64);

/// A price divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What the network takes first.
    pub network: U256,
    /// What each payee gets, in the order of the shares; nothing is left over.
    pub amounts: Vec<U256>,
}

/// Whether a payment buys what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The index has not reached the block from which the terms hold.
    Pending,
    /// Every payee got at least its amount.
    Valid {
        /// What was paid beyond the price.
        surplus: U256,
    },
    /// A payee got too little.
    Short {
        /// The payee that is short.
        payee: Address,
        /// What it should have got.
        expected: U256,
        /// What it got.
        paid: U256,
    },
}

/// Why a text is not a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a percentage: a number between 0 and 100 with at most 6 decimal places, such as `33.3333`"
)]
pub struct ParsePercentError {
    /// What was read, cut to 80 characters.
    pub text: String,
}

/// Why an amount cannot be divided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Nobody to divide it among.
    #[error("nobody is to be paid; name at least one payee")]
    Empty,
    /// Too many for one payment.
    #[error("{count} payees are too many, a payment has at most {PAYEES_MAX}")]
    TooMany {
        /// How many were named.
        count: usize,
    },
    /// The shares are not the whole.
    #[error("the shares add up to {sum} %, they must add up to 100 %")]
    Sum {
        /// What they add up to.
        sum: Percent,
    },
    /// A payee would get nothing.
    #[error("share {number} of {share} % is less than the smallest unit of the amount")]
    Nothing {
        /// Which share, counted from 1.
        number: usize,
        /// How much it is.
        share: Percent,
    },
    /// The amount is beyond any supply.
    #[error("the amount {amount} is too large to be divided")]
    TooLarge {
        /// The amount that is too large.
        amount: U256,
    },
    /// The price is out of bounds.
    #[error(
        "a price of {cents} cents is out of bounds: at least {PRICE_CENTS_MIN}, at most {PRICE_CENTS_MAX}"
    )]
    Price {
        /// The price in hundredths of a dollar.
        cents: u64,
    },
}

impl Percent {
    /// Nothing of the price.
    pub const ZERO: Self = Self(0);

    /// The whole price.
    pub const WHOLE: Self = Self(WHOLE);

    /// A whole number of percents; `None` above 100.
    #[must_use]
    pub fn new(percents: u64) -> Option<Self> {
        (percents <= 100).then(|| Self(percents * ONE))
    }
}

impl Price {
    /// A price within its bounds.
    ///
    /// # Errors
    ///
    /// [`SplitError::Price`] names the bounds.
    pub fn from_cents(cents: u64) -> Result<Self, SplitError> {
        if (PRICE_CENTS_MIN..=PRICE_CENTS_MAX).contains(&cents) {
            Ok(Self(cents))
        } else {
            Err(SplitError::Price { cents })
        }
    }

    /// The price in base units of a token with six decimals.
    #[must_use]
    pub fn base_units(self) -> U256 {
        U256::from(self.0) * CENT_UNITS
    }
}

/// Divides an amount: the network takes its part first, the rest is divided by
/// percentage and rounded down, and what is left goes unit by unit to the
/// largest fractions first; of equal ones to the earlier.
///
/// # Errors
///
/// [`SplitError`] when the shares are not within [`TOLERANCE`] of the whole, or
/// somebody would get nothing.
pub fn split(total: U256, take: Percent, shares: &[Percent]) -> Result<Split, SplitError> {
    check(shares)?;
    let whole = U256::from(WHOLE);
    let times = |amount: U256, share: Percent| {
        let product = amount.checked_mul(U256::from(share.0));
        product.ok_or(SplitError::TooLarge { amount })
    };
    let network = times(total, take)? / whole;
    let rest = total - network;
    let mut amounts = Vec::with_capacity(shares.len());
    let mut fractions = Vec::with_capacity(shares.len());
    let mut given = U256::zero();
    for (idx, share) in shares.iter().enumerate() {
        let (amount, fraction) = times(rest, *share)?.div_mod(whole);
        given += amount;
        amounts.push(amount);
        fractions.push((fraction, idx));
    }
    let Some(left) = rest.checked_sub(given) else {
        return Err(SplitError::Sum { sum: sum(shares) });
    };
    fractions.sort_by(|(left, first), (right, second)| right.cmp(left).then(first.cmp(second)));
    let (each, extra) = left.div_mod(U256::from(shares.len()));
    for (rank, (_, idx)) in fractions.into_iter().enumerate() {
        amounts[idx] += each + U256::from(u64::from(U256::from(rank) < extra));
    }
    match amounts.iter().position(U256::is_zero) {
        Some(idx) => Err(SplitError::Nothing {
            number: idx + 1,
            share: shares[idx],
        }),
        None => Ok(Split { network, amounts }),
    }
}

/// Judges what was paid against what was asked. A payee may occur several
/// times; who gets more than asked makes nobody else's share smaller.
#[must_use]
pub fn judge(
    asked: &[(Address, U256)],
    paid: &[(Address, U256)],
    valid_after_block: u64,
    indexed_block: u64,
) -> Verdict {
    if valid_after_block > indexed_block {
        return Verdict::Pending;
    }
    let (asked, mut paid) = (totals(asked), totals(paid));
    let mut surplus = U256::zero();
    for (payee, expected) in asked {
        let got = paid.remove(&payee).unwrap_or_default();
        if got < expected {
            return Verdict::Short {
                payee,
                expected,
                paid: got,
            };
        }
        surplus = surplus.saturating_add(got - expected);
    }
    let others = paid.into_values();
    Verdict::Valid {
        surplus: others.fold(surplus, U256::saturating_add),
    }
}

fn totals(amounts: &[(Address, U256)]) -> BTreeMap<Address, U256> {
    let mut totals = BTreeMap::new();
    for (payee, amount) in amounts {
        let total: &mut U256 = totals.entry(*payee).or_default();
        *total = total.saturating_add(*amount);
    }
    totals
}

fn check(shares: &[Percent]) -> Result<(), SplitError> {
    if shares.is_empty() {
        return Err(SplitError::Empty);
    }
    if shares.len() > PAYEES_MAX {
        let count = shares.len();
        return Err(SplitError::TooMany { count });
    }
    let sum = sum(shares);
    if sum.0.abs_diff(WHOLE) > TOLERANCE {
        return Err(SplitError::Sum { sum });
    }
    Ok(())
}

fn sum(shares: &[Percent]) -> Percent {
    Percent(shares.iter().map(|share| share.0).sum())
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / ONE, self.0 % ONE);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:06}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Percent {
    type Err = ParsePercentError;

    fn from_str(text: &str) -> Result<Self, ParsePercentError> {
        let refused = || ParsePercentError {
            text: text.chars().take(80).collect(),
        };
        let digits = text.trim_end_matches('%').trim_end();
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_empty = whole.is_empty() && part.is_empty();
        let is_long = whole.len() > 3 || part.len() > PLACES;
        if is_empty || is_long || !is_digits(whole) || !is_digits(part) {
            return Err(refused());
        }
        let parsed = format!("{whole}{part:0<PLACES$}").parse();
        match parsed {
            Ok(millionths) if millionths <= WHOLE => Ok(Self(millionths)),
            Ok(_) | Err(_) => Err(refused()),
        }
    }
}

impl Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Most payees of one payment, as `PaymentRouter` has it.
pub const PAYEES_MAX: usize = 64;

/// Longest memo in bytes, as `PaymentRouter` has it.
pub const MEMO_BYTES_MAX: usize = 1024;

/// The lowest price in cents.
pub const PRICE_CENTS_MIN: u64 = 100;

/// The highest price in cents.
pub const PRICE_CENTS_MAX: u64 = 150_000;

/// Base units of a cent in a token with six decimals.
const CENT_UNITS: u64 = 10_000;

/// Decimal places of a percentage.
const PLACES: usize = 6;

/// One percent, in units of the last of the [`PLACES`].
const ONE: u64 = 1_000_000;

/// A hundred percent.
const WHOLE: u64 = 100 * ONE;

/// How far shares may miss the whole, in millionths of a percent: thirds are
/// written as `33.3333`.
pub const TOLERANCE: u64 = 10_000;

#[cfg(test)]
mod tests;
