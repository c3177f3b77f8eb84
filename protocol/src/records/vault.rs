//! Encrypted entropies (`docs/formats/vault.md`).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32, hex_id};
use crate::signing::{Record, Signed, StructEncoder};

/// One wallet's encrypted entropy under one lookup key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultRecord {
    /// How the cipher text came to be: [`SCHEME_HEDGEHOG`].
    pub scheme: u8,
    /// Where it is found; derived from user name and password.
    pub lookup_key: Hash32,
    /// The initialisation vector, and the salt of the key.
    pub iv: Iv,
    /// 64 bytes, or empty in a tombstone.
    #[serde(with = "serde_bytes")]
    pub cipher_text: Vec<u8>,
    /// The wallet that the entropy derives; zero in an unsigned sign-up.
    pub wallet: Address,
    /// Counts from 1 and rises with each change.
    pub version: u64,
    /// The lookup key of the password before, or zero.
    pub replaces: Hash32,
}

/// A record with its wallet's signature.
pub type SignedVault = Signed<VaultRecord>;

/// The initialisation vector of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Iv(pub [u8; 16]);

impl VaultRecord {
    /// The permanent end of `wallet`'s use of a lookup key.
    #[must_use]
    pub fn tombstone(lookup_key: Hash32, wallet: Address, version: u64) -> Self {
        Self {
            scheme: SCHEME_HEDGEHOG,
            lookup_key,
            iv: Iv::default(),
            cipher_text: Vec::new(),
            wallet,
            version,
            replaces: Hash32::ZERO,
        }
    }

    /// True for the end of a lookup key's use.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.cipher_text.is_empty()
    }

    /// True when this record wins against `other` of the same lookup key and
    /// wallet: tombstones first, then the higher version, then the smaller hash.
    #[must_use]
    pub fn wins(&self, other: &Self) -> bool {
        let rank = |record: &Self| {
            (
                record.is_tombstone(),
                record.version,
                std::cmp::Reverse(record.struct_hash()),
            )
        };
        rank(self) > rank(other)
    }
}

impl Record for VaultRecord {
    const TYPE: &'static str = "Vault(uint8 scheme,bytes32 lookupKey,bytes16 iv,bytes cipherText,address wallet,uint64 version,bytes32 replaces)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .uint(u64::from(self.scheme))
            .bytes32(&self.lookup_key)
            .fixed_bytes(&self.iv.0)
            .bytes(&self.cipher_text)
            .address(&self.wallet)
            .uint(self.version)
            .bytes32(&self.replaces);
    }
}

impl std::str::FromStr for Iv {
    type Err = crate::id::ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).map_err(
            |_| crate::id::ParseIdError {
                text: text.chars().take(80).collect(),
                expected: "an initialisation vector: 32 hexadecimal digits",
            },
        )?;
        Ok(Self(bytes))
    }
}

hex_id!(Iv, 16);

/// The scheme of facts §1: scrypt and AES-256-CBC.
pub const SCHEME_HEDGEHOG: u8 = 1;

/// 51 bytes of text with their padding.
pub const CIPHER_TEXT_BYTES: usize = 64;
