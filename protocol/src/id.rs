//! Identifiers that cross crates, each its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethereum address; a peer's identity and a user's wallet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

/// A 32-byte hash or nonce.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash32(pub [u8; 32]);

/// A user's number in the index.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UserId(pub u64);

/// The number of a digital content, a content list, a comment or another entity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EntityId(pub u64);

/// The sequence number that `PeerRegistry` gave an operator; counts from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OperatorNumber(pub u64);

/// The number that `ServiceProviderFactory` gave a service within its type; counts from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ServiceId(pub u64);

/// A job that a staked peer does, and the service type it registers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Keeps content available.
    Content,
    /// Indexes the chain and answers queries.
    Discovery,
    /// Keeps vault records and relays actions.
    Identity,
}

/// A zone that an operator declared for a peer, at most 32 bytes, zero-padded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(pub Hash32);

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// What was read, cut to 80 characters.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

impl Address {
    /// No address: the zero address.
    pub const ZERO: Self = Self([0; 20]);

    /// The address of an uncompressed public key without its `0x04` prefix.
    #[must_use]
    pub fn from_public_key(key: &[u8; 64]) -> Self {
        let hash = ethers_core::utils::keccak256(key);
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Self(address)
    }
}

impl Hash32 {
    /// 32 zero bytes.
    pub const ZERO: Self = Self([0; 32]);
}

impl Role {
    /// Every role, in order.
    pub const ALL: [Self; 3] = [Self::Content, Self::Discovery, Self::Identity];

    /// The service type that the contracts know the role by.
    #[must_use]
    pub const fn service_type(self) -> &'static str {
        match self {
            Self::Content => "content-node",
            Self::Discovery => "discovery-node",
            Self::Identity => "identity-node",
        }
    }

    /// The service type as `bytes32`, zero-padded on the right.
    #[must_use]
    pub fn service_type_bytes(self) -> Hash32 {
        pad(self.service_type())
    }

    /// The role of a `bytes32` service type.
    #[must_use]
    pub fn from_service_type(bytes: &Hash32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.service_type_bytes() == *bytes)
    }
}

impl Zone {
    /// Makes a zone of a short text, cut to 32 bytes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(pad(text))
    }
}

fn pad(text: &str) -> Hash32 {
    let mut bytes = [0; 32];
    let length = text.len().min(32);
    bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
    Hash32(bytes)
}

fn parse_hex<const N: usize>(text: &str, expected: &'static str) -> Result<[u8; N], ParseIdError> {
    let mut bytes = [0; N];
    let digits = text.strip_prefix("0x").unwrap_or(text);
    match hex::decode_to_slice(digits, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(ParseIdError {
            text: text.chars().take(80).collect(),
            expected,
        }),
    }
}

impl FromStr for Address {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text, "an address: 40 hexadecimal digits after `0x`").map(Self)
    }
}

impl FromStr for Hash32 {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_hex(text, "a hash: 64 hexadecimal digits after `0x`").map(Self)
    }
}

impl FromStr for Role {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        match text {
            "content" => Ok(Self::Content),
            "discovery" => Ok(Self::Discovery),
            "identity" => Ok(Self::Identity),
            _ => Err(ParseIdError {
                text: text.chars().take(80).collect(),
                expected: "a role: `content`, `discovery` or `identity`",
            }),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Content => "content",
            Self::Discovery => "discovery",
            Self::Identity => "identity",
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.0.0;
        let length = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        f.write_str(&String::from_utf8_lossy(&bytes[..length]))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

/// Text is `0x` and lower-case hexadecimal; binary formats carry a byte string.
macro_rules! hex_id {
    ($name:ident, $length:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", hex::encode(self.0))
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteArray::<$length>::deserialize(deserializer)?;
                    Ok(Self(bytes.into_array()))
                }
            }
        }
    };
}
pub(crate) use hex_id;

hex_id!(Address, 20);
hex_id!(Hash32, 32);

macro_rules! decimal_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

decimal_id!(UserId);
decimal_id!(EntityId);
decimal_id!(OperatorNumber);
decimal_id!(ServiceId);

#[cfg(test)]
mod tests;
