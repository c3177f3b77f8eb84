//! The vault: encrypted entropies under keys that only a password gives.
//!
//! Records are kept by the placed identity peers of their lookup key
//! ([`Replica`]), written to and read from a majority of them ([`Vault`]). Versions and tombstones count
//! per lookup key and wallet, so that somebody else's record cannot bury the
//! owner's.
//!
//! Format: `docs/formats/vault.md`.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError};
use crate::id::{Address, Hash32};
use crate::machine::name_variants;
use crate::records::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, SignedVault, VaultRecord};
use crate::signing::{Domain, Record as _, Signature, recover};
use crate::time::UnixSeconds;
use crate::wire::Protocol;

mod client;
mod hedgehog;
mod quorum;
mod replica;
mod rules;

pub use client::{AskId, Vault, VaultError, VaultInput, VaultOutput, VaultReply};
pub use hedgehog::{
    CipherError, HedgehogRecord, check_password, decrypt_entropy, derive_key, encrypt_entropy,
    lookup_key,
};
pub use replica::{Replica, ReplicaInput, ReplicaOutput};

use quorum::{Read, ReadEvent, Transmit, Write, WriteEvent};
use rules::{Limiter, Store};

/// A record as a replica keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What is kept.
    pub record: VaultRecord,
    /// The wallet's; `None` in a provisional sign-up.
    pub signature: Option<Signature>,
    /// The tombstone of the password before, so that whoever sees the record can
    /// finish the change.
    pub burial: Option<Box<SignedVault>>,
    /// When the first record of its wallet came.
    pub received: UnixSeconds,
}

/// What is asked over `/coliving/vault/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Keep a record. `received` is taken as this replica's own time.
    Put(Box<Entry>),
    /// What is kept under a lookup key?
    #[serde(rename_all = "camelCase")]
    Get {
        /// The key to look under.
        lookup_key: Hash32,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// The record is durable here.
    Stored,
    /// The unsigned sign-up is in memory here, and ends unless its wallet signs it.
    #[serde(rename_all = "camelCase")]
    Provisional {
        /// How long it is kept.
        ends_in_seconds: u64,
    },
    /// A record that wins against it is.
    Outdated(Box<Entry>),
    /// What is kept, the earliest wallet first; at most [`WALLETS_MAX`] and one
    /// provisional.
    Entries(Vec<Entry>),
    /// It is not kept, or not told.
    Refused(Refusal),
}

/// Why a record is not kept or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The signature is not the wallet's.
    #[error("the record is not signed by its wallet")]
    Signature,
    /// A field is not as the scheme wants it.
    #[error("the record's {field} is not what its scheme asks for")]
    #[serde(rename_all = "camelCase")]
    Malformed {
        /// The field that is malformed.
        field: String,
    },
    /// The scheme is unknown or reserved.
    #[error("scheme {scheme} is not supported; use scheme 1")]
    Scheme {
        /// The scheme that was named.
        scheme: u8,
    },
    /// The wallet has given this lookup key up for ever.
    #[error("this wallet has given the lookup key up; choose another password")]
    Buried,
    /// Other wallets fill the key.
    #[error("{WALLETS_MAX} wallets use this lookup key already; choose another password")]
    Full,
    /// An unsigned sign-up came to a key that is in use.
    #[error("the lookup key is in use; sign the record")]
    Taken,
    /// The lookup key belongs to other identity peers.
    #[error("the lookup key is kept by other identity peers")]
    Elsewhere,
    /// The table is full.
    #[error("this identity peer has no room for another record")]
    NoRoom,
    /// Asked too often.
    #[error("asked too often; try again in {retry_after_seconds} seconds")]
    #[serde(rename_all = "camelCase")]
    Busy {
        /// When to try again.
        retry_after_seconds: u64,
    },
}

name_variants!(Response: Stored, Provisional, Outdated, Entries, Refused);

name_variants!(Refusal: Signature, Malformed, Scheme, Buried, Full, Taken, Elsewhere, NoRoom, Busy);

impl Entry {
    /// A signed record, with the tombstone of the password before if it changed.
    #[must_use]
    pub fn signed(vault: SignedVault, burial: Option<SignedVault>, now: UnixSeconds) -> Self {
        Self {
            record: vault.record,
            signature: Some(vault.signature),
            burial: burial.map(Box::new),
            received: now,
        }
    }

    /// Checks everything that needs nobody's knowledge.
    ///
    /// # Errors
    ///
    /// [`Refusal`] names what is wrong.
    pub fn check(&self, domain: &Domain) -> Result<(), Refusal> {
        let record = &self.record;
        check_shape(record)?;
        let malformed = |field: &str| {
            Err(Refusal::Malformed {
                field: field.to_owned(),
            })
        };
        let Some(signature) = self.signature else {
            let is_plain = record.wallet == Address::ZERO
                && record.version == 0
                && record.replaces == Hash32::ZERO
                && self.burial.is_none()
                && !record.is_tombstone();
            return if is_plain {
                Ok(())
            } else {
                Err(Refusal::Signature)
            };
        };
        verify(record, signature, domain)?;
        if let Some(burial) = &self.burial {
            check_shape(&burial.record)?;
            verify(&burial.record, burial.signature, domain)?;
            let fits = burial.record.is_tombstone()
                && burial.record.wallet == record.wallet
                && burial.record.lookup_key == record.replaces
                && record.replaces != record.lookup_key;
            if !fits {
                return malformed("burial");
            }
        }
        Ok(())
    }

    /// True when nobody may read an unsigned sign-up any more.
    #[must_use]
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        self.signature.is_none() && now.0.saturating_sub(self.received.0) >= PROVISIONAL_SECONDS
    }
}

impl Request {
    /// The lookup key that it is about.
    #[must_use]
    pub fn lookup_key(&self) -> Hash32 {
        match self {
            Self::Put(entry) => entry.record.lookup_key,
            Self::Get { lookup_key } => *lookup_key,
        }
    }

    /// Encodes the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a request within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(
            "vault request",
            bytes,
            Protocol::Vault.limits().request_bytes_max,
        )
    }
}

impl Response {
    /// Encodes the response.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a response within its limit.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::from_bytes(
            "vault response",
            bytes,
            Protocol::Vault.limits().response_bytes_max,
        )
    }
}

/// Checks what needs no signature.
fn check_shape(record: &VaultRecord) -> Result<(), Refusal> {
    if record.scheme != SCHEME_HEDGEHOG {
        return Err(Refusal::Scheme {
            scheme: record.scheme,
        });
    }
    if !record.is_tombstone() && record.cipher_text.len() != CIPHER_TEXT_BYTES {
        return Err(Refusal::Malformed {
            field: "cipherText".to_owned(),
        });
    }
    Ok(())
}

/// Checks that the record's wallet signed.
fn verify(record: &VaultRecord, signature: Signature, domain: &Domain) -> Result<(), Refusal> {
    let digest = record.digest(domain);
    match recover(&digest, &signature) {
        Ok(signer) if signer == record.wallet && signer != Address::ZERO => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::Signature),
    }
}

/// Wallets whose records one lookup key keeps. Chosen: the owner's and a few of those
/// who guess its name; all of them fit one answer.
pub const WALLETS_MAX: usize = 4;

/// How long an unsigned sign-up is kept. Chosen: the client signs in the same session.
pub const PROVISIONAL_SECONDS: u64 = 600;

/// Unsigned sign-ups that a replica keeps, of less than 1 KiB. Chosen: a hundred in a
/// minute, or what a hundred addresses may bring.
pub const PROVISIONAL_MAX: usize = 1000;

/// Records that a replica keeps. Chosen: a few GB of disk; what one address may bring
/// in an hour fills it in nineteen years.
pub const ROWS_MAX: u64 = 10_000_000;

/// Replicas of a record, each of another operator: as of a root. Derived: a majority
/// of three is reached while two are away.
pub const REPLICAS_MAX: usize = 5;

/// A record with its tombstone takes less.
const ENTRY_BYTES_MAX: usize = 1024;

// What messages hold, against the limits of what carries them.
const _: () = {
    let limits = Protocol::Vault.limits();
    assert!(ENTRY_BYTES_MAX < limits.request_bytes_max);
    assert!((WALLETS_MAX + 1) * ENTRY_BYTES_MAX < limits.response_bytes_max);
};

#[cfg(test)]
mod tests;
