//! The client's side: from user name and password to lookup key and entropy.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};

use super::{Entry, Iv, Refusal, SCHEME_HEDGEHOG, VaultRecord};
use crate::id::{Address, Hash32};
use crate::time::UnixSeconds;

/// A record as hedgehog clients hold it; all fields are hexadecimal without a
/// prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HedgehogRecord {
    /// Initialisation vector, 32 digits.
    pub iv: String,
    /// Encrypted entropy, 128 digits.
    pub cipher_text: String,
    /// What the record is kept under, 64 digits.
    pub lookup_key: String,
}

/// Why an entropy was not recovered, or a password not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The password, the vector or the cipher text does not fit the others.
    #[error("the password does not decrypt the record")]
    Password,
    /// An identity peer could guess it.
    #[error(
        "the password is too easy to guess: use at least {PASSWORD_CHARS_MIN} characters, {PASSWORD_DISTINCT_MIN} of them different, and not the user name"
    )]
    Weak,
}

/// Where a record is found: scrypt of lower-case user name and password.
#[must_use]
pub fn lookup_key(username: &str, password: &str) -> Hash32 {
    let text = format!("{}:::{password}", username.to_lowercase());
    Hash32(scrypt(text.as_bytes(), LOOKUP_SALT.as_bytes()))
}

/// The AES key of a password: the salt is the vector's hexadecimal text.
#[must_use]
pub fn derive_key(password: &str, iv: &Iv) -> [u8; 32] {
    scrypt(password.as_bytes(), hex::encode(iv.0).as_bytes())
}

/// Encrypts 16 bytes of entropy.
#[must_use]
pub fn encrypt_entropy(entropy: &[u8; 16], password: &str, iv: &Iv) -> Vec<u8> {
    let text = format!("{PREFIX}{}", hex::encode(entropy));
    let key = derive_key(password, iv);
    cbc::Encryptor::<aes::Aes256>::new(&key.into(), &iv.0.into())
        .encrypt_padded_vec_mut::<Pkcs7>(text.as_bytes())
}

/// Decrypts the entropy of a record.
///
/// # Errors
///
/// [`CipherError::Password`] when the plain text does not begin as it must.
pub fn decrypt_entropy(
    cipher_text: &[u8],
    password: &str,
    iv: &Iv,
) -> Result<[u8; 16], CipherError> {
    let key = derive_key(password, iv);
    let text = cbc::Decryptor::<aes::Aes256>::new(&key.into(), &iv.0.into())
        .decrypt_padded_vec_mut::<Pkcs7>(cipher_text)
        .map_err(|_| CipherError::Password)?;
    let digits = text
        .strip_prefix(PREFIX.as_bytes())
        .ok_or(CipherError::Password)?;
    let mut entropy = [0; 16];
    hex::decode_to_slice(digits, &mut entropy).map_err(|_| CipherError::Password)?;
    Ok(entropy)
}

/// Refuses passwords that an identity peer would guess at scrypt's price.
///
/// # Errors
///
/// [`CipherError::Weak`] names the rule.
pub fn check_password(username: &str, password: &str) -> Result<(), CipherError> {
    let distinct: std::collections::BTreeSet<char> = password.chars().collect();
    let is_name = password.to_lowercase() == username.to_lowercase();
    if password.chars().count() < PASSWORD_CHARS_MIN
        || distinct.len() < PASSWORD_DISTINCT_MIN
        || is_name
    {
        return Err(CipherError::Weak);
    }
    Ok(())
}

impl HedgehogRecord {
    /// The unsigned sign-up that these fields are.
    ///
    /// # Errors
    ///
    /// [`Refusal::Malformed`] names the field.
    pub fn sign_up(&self, now: UnixSeconds) -> Result<Entry, Refusal> {
        let malformed = |field: &str| Refusal::Malformed {
            field: field.to_owned(),
        };
        let record = VaultRecord {
            scheme: SCHEME_HEDGEHOG,
            lookup_key: self
                .lookup_key
                .parse()
                .map_err(|_| malformed("lookupKey"))?,
            iv: self.iv.parse().map_err(|_| malformed("iv"))?,
            cipher_text: hex::decode(&self.cipher_text).map_err(|_| malformed("cipherText"))?,
            wallet: Address::ZERO,
            version: 0,
            replaces: Hash32::ZERO,
        };
        Ok(Entry {
            record,
            signature: None,
            burial: None,
            received: now,
        })
    }
}

impl From<&VaultRecord> for HedgehogRecord {
    fn from(record: &VaultRecord) -> Self {
        Self {
            iv: hex::encode(record.iv.0),
            cipher_text: hex::encode(&record.cipher_text),
            lookup_key: hex::encode(record.lookup_key.0),
        }
    }
}

fn scrypt(password: &[u8], salt: &[u8]) -> [u8; 32] {
    let params = scrypt::Params::new(15, 8, 1, 32).expect("the parameters are in range");
    let mut key = [0; 32];
    scrypt::scrypt(password, salt, &params, &mut key).expect("32 bytes are a valid length");
    key
}

/// The salt is this text, prefix included, not the bytes that it spells.
const LOOKUP_SALT: &str = "0x4f7242b39969c3ac4c6712524d633ce9";

const PREFIX: &str = "hedgehog-entropy:::";

/// Shortest password that clients take. Chosen: an identity peer can guess at the
/// price of scrypt, which is a deterrent for nothing shorter.
const PASSWORD_CHARS_MIN: usize = 8;

/// Fewest different characters of a password. Chosen: against eight of the same.
const PASSWORD_DISTINCT_MIN: usize = 5;
