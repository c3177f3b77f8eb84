//! Signatures: EIP-712 typed data, and nothing else.
//!
//! Every record that a peer or a user signs implements [`Record`]; its type
//! string and fields stand in `docs/formats/signed.md`, and the `Records`
//! contract computes the same hashes.

use std::fmt;

use ethers_core::utils::keccak256;
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32, hex_id};
use crate::memo;

mod constants;

/// The EIP-712 domain {"Coliving", "1"} of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Domain {
    /// Chain id of the eth chain.
    pub chain_id: u64,
    /// The `PeerRegistry` proxy.
    pub verifying_contract: Address,
}

/// A record that is signed as EIP-712 typed data under [`Domain`].
///
/// Two different signed records where only one may be (two heads of a number, two
/// leases of a serial, two pages of an epoch) prove an offence. So what is signed
/// is persisted first: a machine drafts the record with the counters as they stand
/// after it, the driver stores both and only then calls [`Signed::new`]. A crash in
/// between skips a number and never uses one twice.
pub trait Record {
    /// The EIP-712 type string.
    const TYPE: &'static str;

    /// Appends the members in the order of [`Self::TYPE`].
    fn encode(&self, encoder: &mut StructEncoder);

    /// The EIP-712 struct hash.
    fn struct_hash(&self) -> Hash32 {
        let mut encoder = StructEncoder::new(Self::TYPE);
        self.encode(&mut encoder);
        encoder.finish()
    }

    /// What is signed: keccak256(0x1901 ‖ domain separator ‖ struct hash).
    fn digest(&self, domain: &Domain) -> Hash32 {
        typed_data_digest(&domain.separator(), &self.struct_hash())
    }
}

/// A record with its signature; who signed is recovered, not claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<R> {
    /// What was signed.
    pub record: R,
    /// The signature over [`Record::digest`].
    pub signature: Signature,
}

/// A 65-byte recoverable signature r ‖ s ‖ v with v of 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 65]);

/// A secp256k1 secret key; prints as its address only.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(SecretKey);

/// Why a signature or key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a point, not a scalar, or a recovery byte other than 27 and 28.
    #[error("the signature is malformed")]
    Malformed,
    /// The twin of a valid signature; only the lower s is accepted.
    #[error("the signature has a high s value; sign with the lower one")]
    HighS,
    /// Not a secret key.
    #[error("the secret key is not a number between 1 and the order of secp256k1")]
    SecretKey,
    /// Somebody else signed.
    #[error("the signature is by {found}, not by {expected}")]
    Signer {
        /// Who should have signed.
        expected: Address,
        /// The address that did sign.
        found: Address,
    },
}

/// Builds the `encodeData` of EIP-712, member by member.
#[derive(Debug)]
pub struct StructEncoder {
    buffer: Vec<u8>,
}

impl Domain {
    /// The EIP-712 domain separator.
    #[must_use]
    pub fn separator(&self) -> Hash32 {
        domain_separator("Coliving", "1", self.chain_id, self.verifying_contract)
    }
}

impl<R: Record> Signed<R> {
    /// Signs `record` with `key`.
    #[must_use]
    pub fn new(record: R, domain: &Domain, key: &SigningKey) -> Self {
        let signature = key.sign(&record.digest(domain));
        Self { record, signature }
    }

    /// Recovers who signed.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] when the signature is not one.
    pub fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        recover(&self.record.digest(domain), &self.signature)
    }

    /// Checks that `expected` signed.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Signer`] when somebody else did.
    pub fn verify(&self, domain: &Domain, expected: Address) -> Result<(), SignatureError> {
        let found = self.signer(domain)?;
        if found == expected {
            Ok(())
        } else {
            Err(SignatureError::Signer { expected, found })
        }
    }
}

impl SigningKey {
    /// Reads a 32-byte secret.
    ///
    /// # Errors
    ///
    /// [`SignatureError::SecretKey`] for zero and for numbers beyond the order.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, SignatureError> {
        SecretKey::from_byte_array(*secret)
            .map(Self)
            .map_err(|_| SignatureError::SecretKey)
    }

    /// The 32-byte secret; handle with care.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }

    /// The uncompressed public key without its `0x04` prefix.
    #[must_use]
    pub fn public_key(&self) -> [u8; 64] {
        uncompressed(&PublicKey::from_secret_key(SECP256K1, &self.0))
    }

    /// The address of the key.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::from_public_key(&self.public_key())
    }

    /// Signs a 32-byte digest (RFC 6979, low s).
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature {
        let message = Message::from_digest(digest.0);
        let (id, compact) = SECP256K1
            .sign_ecdsa_recoverable(message, &self.0)
            .serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = if id == RecoveryId::One { 28 } else { 27 };
        Signature(bytes)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.address())
    }
}

impl StructEncoder {
    /// Starts a struct of the given EIP-712 type string.
    #[must_use]
    pub fn new(type_string: &'static str) -> Self {
        let hash = constants::of_type(type_string, || Hash32(keccak256(type_string)));
        let mut buffer = Vec::with_capacity(ENCODED_BYTES_TYPICAL);
        buffer.extend(hash.0);
        Self { buffer }
    }

    /// Appends an unsigned integer of up to 64 bits.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        self.buffer.extend([0; 24]);
        self.buffer.extend(value.to_be_bytes());
        self
    }

    /// Appends an address.
    pub fn address(&mut self, value: &Address) -> &mut Self {
        self.buffer.extend([0; 12]);
        self.buffer.extend(value.0);
        self
    }

    /// Appends a `bytes32`.
    pub fn bytes32(&mut self, value: &Hash32) -> &mut Self {
        self.buffer.extend(value.0);
        self
    }

    /// Appends a `bytesN` with N ≤ 32, padded on the right.
    pub fn fixed_bytes(&mut self, value: &[u8]) -> &mut Self {
        debug_assert!(
            value.len() <= 32,
            "a fixed byte string has at most 32 bytes"
        );
        self.buffer.extend(value);
        self.buffer.extend(std::iter::repeat_n(0, 32 - value.len()));
        self
    }

    /// Appends a `bytes` or a `string`.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.buffer.extend(keccak256(value));
        self
    }

    /// Appends a `string[]`.
    pub fn strings<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        let hashes: Vec<u8> = values.into_iter().flat_map(keccak256).collect();
        self.buffer.extend(keccak256(hashes));
        self
    }

    /// The struct hash.
    #[must_use]
    pub fn finish(self) -> Hash32 {
        Hash32(keccak256(self.buffer))
    }
}

/// keccak256(0x1901 ‖ `separator` ‖ `struct_hash`).
#[must_use]
pub fn typed_data_digest(separator: &Hash32, struct_hash: &Hash32) -> Hash32 {
    let mut bytes = [0; 66];
    bytes[..2].copy_from_slice(&[0x19, 0x01]);
    bytes[2..34].copy_from_slice(&separator.0);
    bytes[34..].copy_from_slice(&struct_hash.0);
    Hash32(keccak256(bytes))
}

/// The separator of an EIP-712 domain with name, version, chain id and contract.
#[must_use]
pub fn domain_separator(
    name: &'static str,
    version: &'static str,
    chain_id: u64,
    contract: Address,
) -> Hash32 {
    let key = constants::DomainKey {
        name,
        version,
        chain_id,
        contract,
    };
    constants::of_domain(key, |key| {
        let mut encoder = StructEncoder::new(DOMAIN_TYPE);
        encoder
            .bytes(key.name.as_bytes())
            .bytes(key.version.as_bytes())
            .uint(key.chain_id)
            .address(&key.contract);
        encoder.finish()
    })
}

/// Recovers the address whose key signed `digest`.
///
/// # Errors
///
/// [`SignatureError`] for a malformed or a high-s signature.
pub fn recover(digest: &Hash32, signature: &Signature) -> Result<Address, SignatureError> {
    let mut key = [0; 97];
    key[..32].copy_from_slice(&digest.0);
    key[32..].copy_from_slice(&signature.0);
    memo::of_bytes(&key, || Recovered(recover_anew(digest, signature))).0
}

/// What [`recover`] remembers.
struct Recovered(Result<Address, SignatureError>);

fn recover_anew(digest: &Hash32, signature: &Signature) -> Result<Address, SignatureError> {
    let bytes = &signature.0;
    let id = match bytes[64] {
        27 => RecoveryId::Zero,
        28 => RecoveryId::One,
        _ => return Err(SignatureError::Malformed),
    };
    if bytes[32..64] > HALF_ORDER[..] {
        return Err(SignatureError::HighS);
    }
    let recoverable = RecoverableSignature::from_compact(&bytes[..64], id)
        .map_err(|_| SignatureError::Malformed)?;
    let key = SECP256K1
        .recover_ecdsa(Message::from_digest(digest.0), &recoverable)
        .map_err(|_| SignatureError::Malformed)?;
    Ok(Address::from_public_key(&uncompressed(&key)))
}

fn uncompressed(key: &PublicKey) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(&key.serialize_uncompressed()[1..]);
    bytes
}

impl Default for Signature {
    fn default() -> Self {
        Self([0; 65])
    }
}

impl std::str::FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut bytes = [0; 65];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes)
            .map_err(|_| SignatureError::Malformed)?;
        Ok(Self(bytes))
    }
}

hex_id!(Signature, 65);

/// Room for the members of most records, so that encoding one allocates once.
const ENCODED_BYTES_TYPICAL: usize = 12 * 32;

const DOMAIN_TYPE: &str =
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";

/// Half the order of secp256k1, big-endian; a larger s has a smaller twin.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

#[cfg(test)]
mod tests;
