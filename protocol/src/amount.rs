//! Amounts of tokens: integers in the token's smallest unit.

use std::fmt;
use std::str::FromStr;

pub use ethers_core::types::U256;
use serde::{Deserialize, Serialize};

/// An amount of DGC in its smallest unit (10^-18 DGC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dgc(pub U256);

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Something else than digits and one point.
    #[error("`{text}` is not an amount: write a decimal number such as `200000` or `0.5`")]
    NotDecimal {
        /// What was read, cut to 80 characters.
        text: String,
    },
    /// Commas or spaces between the digits mean different things to different people.
    #[error("`{text}` is not an amount: write it with a point and without separators, as `1234.5`")]
    Separator {
        /// What was read, cut to 80 characters.
        text: String,
    },
    /// Finer than the smallest unit.
    #[error("`{text}` has {places} decimal places, at most {DGC_DECIMALS} are possible")]
    TooFine {
        /// What was read, cut to 80 characters.
        text: String,
        /// Its decimal places.
        places: usize,
    },
    /// Beyond 256 bits.
    #[error("`{text}` is more than any token has")]
    TooLarge {
        /// What was read, cut to 80 characters.
        text: String,
    },
}

impl Dgc {
    /// An amount of no tokens.
    pub const ZERO: Self = Self(U256([0; 4]));

    /// A whole number of tokens.
    #[must_use]
    pub fn whole(tokens: u64) -> Self {
        Self(U256::from(tokens) * unit())
    }

    /// The sum; `None` beyond 256 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; zero when `other` is more.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole tokens, rounded down; `u64::MAX` when there are more.
    #[must_use]
    pub fn whole_floor(self) -> u64 {
        let tokens = self.0 / unit();
        if tokens > U256::from(u64::MAX) {
            u64::MAX
        } else {
            tokens.as_u64()
        }
    }
}

const fn unit() -> U256 {
    U256([UNIT, 0, 0, 0])
}

impl fmt::Display for Dgc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / unit(), self.0 % unit());
        if part.is_zero() {
            return write!(f, "{whole}");
        }
        let digits = format!("{:0>18}", part.to_string());
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Dgc {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let shown = || text.chars().take(80).collect::<String>();
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if text.contains([',', '_', ' ', '\'']) {
            return Err(ParseAmountError::Separator { text: shown() });
        }
        if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
            return Err(ParseAmountError::NotDecimal { text: shown() });
        }
        if part.len() > DGC_DECIMALS {
            return Err(ParseAmountError::TooFine {
                text: shown(),
                places: part.len(),
            });
        }
        let digits = format!("{whole}{part:0<DGC_DECIMALS$}");
        U256::from_dec_str(&digits)
            .map(Self)
            .map_err(|_| ParseAmountError::TooLarge { text: shown() })
    }
}

impl Serialize for Dgc {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dgc {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Decimal places of the staking token.
pub const DGC_DECIMALS: usize = 18;

/// One DGC in its smallest unit: 10 to the power of [`DGC_DECIMALS`].
const UNIT: u64 = 1_000_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_survive_text() {
        for text in ["0", "200000", "0.5", "1.000000000000000001", "1000000000"] {
            assert_eq!(text.parse::<Dgc>().unwrap().to_string(), text);
        }
        assert_eq!("1.50".parse::<Dgc>().unwrap().to_string(), "1.5");
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for (text, reason) in [
            ("", "not an amount"),
            (".5", "not an amount"),
            ("-1", "not an amount"),
            ("1e3", "not an amount"),
            ("1.2.3", "not an amount"),
            ("0.0000000000000000001", "has 19 decimal places, at most 18"),
            ("1,5", "without separators"),
            ("1_000", "without separators"),
        ] {
            let error = text.parse::<Dgc>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let huge = "9".repeat(80).parse::<Dgc>().unwrap_err();
        assert!(huge.to_string().contains("more than any token"));
    }
}
