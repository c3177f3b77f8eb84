//! User wallets on a resident's own machine: web3 secret storage, one file each.
//!
//! A file is a keystore of version 3, as other Ethereum software reads it, with
//! the address beside it. A wallet that was made here also keeps the entropy of
//! its recovery phrase, encrypted in the same way, so that it can be backed up.

mod storage;

use std::fs;
use std::path::{Path, PathBuf};

use ethers_core::types::PathOrString;
use ethers_signers::MnemonicBuilder;
use ethers_signers::coins_bip39::{English, Wordlist as _};
use protocol::entry::sha256;
use protocol::id::Address;
use protocol::signing::SigningKey;
use serde::Deserialize as _;
use serde_json::{Value, json};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::storage::Cost;
use self::storage::{Password, SealError, Sealed};
use crate::home::{self, HomeError};

/// A wallet that is open.
#[derive(Debug, Clone)]
pub struct UserWallet {
    /// Signs actions and vault records.
    pub key: SigningKey,
    entropy: Option<Entropy>,
}

/// The 16 bytes that a wallet derives from; never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Entropy(pub [u8; 16]);

/// A wallet file by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletFile {
    /// The file's name without `.json`.
    pub name: String,
    /// Its address, as the file says.
    pub address: Option<Address>,
    /// True when it can be backed up to the vault.
    pub has_entropy: bool,
    /// Where it is.
    pub path: PathBuf,
}

/// Why a wallet could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The operating system refused.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file to read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A wallet of that name is there.
    #[error("a wallet `{name}` exists already; choose another name with `--wallet`")]
    Exists {
        /// Name of the wallet.
        name: String,
    },
    /// No wallet of that name.
    #[error("there is no wallet `{name}`")]
    Missing {
        /// Name of the wallet.
        name: String,
    },
    /// A name that is no file name.
    #[error(
        "`{name}` cannot name a wallet: use 1 to {NAME_CHARS_MAX} letters, digits, `-`, `_` or `.`, not beginning with `.`"
    )]
    Name {
        /// The name that was given.
        name: String,
    },
    /// The file is no keystore, or a damaged one.
    #[error("`{path}` is not a web3 secret storage file: {reason}")]
    Damaged {
        /// The file that is damaged.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The password does not open it.
    #[error("the password does not open wallet `{name}`")]
    Password {
        /// Name of the wallet.
        name: String,
    },
    /// The text is no recovery phrase.
    #[error("the recovery phrase is not 12 words of the BIP-39 English list with their checksum")]
    Phrase,
    /// The text is no secret key.
    #[error("the secret key is not 64 hexadecimal digits of a secp256k1 key")]
    Key,
}

impl Entropy {
    /// Fresh entropy from the operating system.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The 12 words.
    #[must_use]
    pub fn phrase(&self) -> String {
        let words = English::get_all();
        let checksum = sha256(&self.0).0[0] >> 4;
        let entropy = self.0.iter().flat_map(|byte| bits(usize::from(*byte), 8));
        let bits: Vec<bool> = entropy.chain(bits(usize::from(checksum), 4)).collect();
        let phrase: Vec<&str> = bits
            .chunks(WORD_BITS)
            .map(|bits| words[number(bits)])
            .collect();
        phrase.join(" ")
    }

    /// Reads 12 words back.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Phrase`] for anything else.
    pub fn from_phrase(phrase: &str) -> Result<Self, KeystoreError> {
        let words: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
        if words.len() != PHRASE_WORDS {
            return Err(KeystoreError::Phrase);
        }
        let mut all = Vec::with_capacity(PHRASE_WORDS * WORD_BITS);
        for word in &words {
            let idx = English::get_index(word).map_err(|_| KeystoreError::Phrase)?;
            all.extend(bits(idx, WORD_BITS));
        }
        let mut entropy = [0; 16];
        for (byte, bits) in entropy.iter_mut().zip(all.chunks(8)) {
            *byte = u8::try_from(number(bits)).expect("8 bits make a byte");
        }
        let entropy = Self(entropy);
        if entropy.phrase() == words.join(" ") {
            Ok(entropy)
        } else {
            Err(KeystoreError::Phrase)
        }
    }

    /// The key at m/44'/60'/0'/0/0.
    #[must_use]
    pub fn key(&self) -> SigningKey {
        let wallet = MnemonicBuilder::<English>::default()
            .phrase(PathOrString::String(self.phrase()))
            .build()
            .expect("a phrase of 16 bytes derives a key");
        let bytes: [u8; 32] = wallet.signer().to_bytes().into();
        SigningKey::from_bytes(&bytes).expect("a derived key is in range")
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy")
    }
}

impl UserWallet {
    /// The wallet of an entropy.
    #[must_use]
    pub fn from_entropy(entropy: Entropy) -> Self {
        Self {
            key: entropy.key(),
            entropy: Some(entropy),
        }
    }

    /// A wallet of a bare key; it cannot be backed up to the vault.
    #[must_use]
    pub const fn from_key(key: SigningKey) -> Self {
        Self { key, entropy: None }
    }

    /// Reads a secret key from its hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`KeystoreError::Key`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, KeystoreError> {
        let mut bytes = [0; 32];
        let digits = text.trim();
        hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut bytes)
            .map_err(|_| KeystoreError::Key)?;
        let key = SigningKey::from_bytes(&bytes).map_err(|_| KeystoreError::Key)?;
        Ok(Self::from_key(key))
    }

    /// The wallet's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// What the wallet derives from, when it was made here or recovered.
    #[must_use]
    pub const fn entropy(&self) -> Option<&Entropy> {
        self.entropy.as_ref()
    }

    /// The file's text under a password.
    #[must_use]
    pub fn to_json(&self, password: &str, cost: Cost) -> String {
        let mut password = Password::new(password);
        let mut file = json!(password.seal(&self.key.to_bytes(), cost));
        let address = self.address().to_string();
        file["address"] = json!(address.trim_start_matches("0x"));
        if let Some(entropy) = &self.entropy {
            file[ENTROPY_FIELD] = json!(password.seal(&entropy.0, cost));
        }
        format!("{file:#}\n")
    }

    /// Opens a file's text.
    ///
    /// # Errors
    ///
    /// [`KeystoreError`] for another password and for damaged files.
    pub fn from_json(
        name: &str,
        path: &Path,
        text: &str,
        password: &str,
    ) -> Result<Self, KeystoreError> {
        let damaged = |reason: &str| KeystoreError::Damaged {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let file: Value =
            serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        let mut password = Password::new(password);
        let mut open = |field: &Value| {
            let sealed = Sealed::deserialize(field).map_err(|error| damaged(&error.to_string()))?;
            password.open(&sealed).map_err(|error| match error {
                SealError::Password => KeystoreError::Password {
                    name: name.to_owned(),
                },
                SealError::Damaged(reason) => damaged(&reason),
            })
        };
        let secret = open(&file)?;
        let secret = secret
            .as_slice()
            .try_into()
            .map_err(|_| damaged("it does not hold 32 bytes"))?;
        let key = SigningKey::from_bytes(secret).map_err(|_| damaged("it holds no key"))?;
        let entropy = match file.get(ENTROPY_FIELD) {
            None => None,
            Some(field) => {
                let bytes = open(field)?;
                let bytes = bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| damaged("its entropy is not 16 bytes"))?;
                Some(Entropy(bytes)).filter(|entropy| entropy.key() == key)
            }
        };
        Ok(Self { key, entropy })
    }
}

/// Writes a new wallet file into `folder`.
///
/// # Errors
///
/// [`KeystoreError::Exists`] when the name is taken; nothing is overwritten.
pub fn save(
    folder: &Path,
    name: &str,
    wallet: &UserWallet,
    password: &str,
    cost: Cost,
) -> Result<WalletFile, KeystoreError> {
    let path = path_of(folder, name)?;
    if path.exists() {
        return Err(KeystoreError::Exists {
            name: name.to_owned(),
        });
    }
    home::write_secret(&path, wallet.to_json(password, cost).as_bytes())?;
    Ok(WalletFile {
        name: name.to_owned(),
        address: Some(wallet.address()),
        has_entropy: wallet.entropy.is_some(),
        path,
    })
}

/// Puts a wallet file under another password; the file is the old or the new one.
///
/// # Errors
///
/// [`KeystoreError`] when the name is no file name or the file cannot be written.
pub fn replace(
    folder: &Path,
    name: &str,
    wallet: &UserWallet,
    password: &str,
) -> Result<(), KeystoreError> {
    let text = wallet.to_json(password, Cost::Standard);
    Ok(home::write_secret(
        &path_of(folder, name)?,
        text.as_bytes(),
    )?)
}

/// Opens the wallet `name` of `folder`.
///
/// # Errors
///
/// [`KeystoreError`] when it is missing, damaged or under another password.
pub fn open(folder: &Path, name: &str, password: &str) -> Result<UserWallet, KeystoreError> {
    let path = path_of(folder, name)?;
    let text = read(name, &path)?;
    UserWallet::from_json(name, &path, &text, password)
}

/// What the file of a wallet says without its password.
///
/// # Errors
///
/// [`KeystoreError`] when it is missing or no keystore.
pub fn describe(folder: &Path, name: &str) -> Result<WalletFile, KeystoreError> {
    let path = path_of(folder, name)?;
    let text = read(name, &path)?;
    let file: Value = serde_json::from_str(&text).map_err(|error| KeystoreError::Damaged {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    Ok(WalletFile {
        name: name.to_owned(),
        address: file["address"].as_str().and_then(|text| text.parse().ok()),
        has_entropy: file.get(ENTROPY_FIELD).is_some(),
        path,
    })
}

/// The wallets of `folder` by name.
///
/// # Errors
///
/// [`KeystoreError::Read`] when the folder cannot be read; a missing one is empty.
pub fn list(folder: &Path) -> Result<Vec<WalletFile>, KeystoreError> {
    let failed = |source| KeystoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let name = path.file_stem().and_then(|name| name.to_str());
        if let (true, Some(name)) = (is_json, name)
            && let Ok(file) = describe(folder, name)
        {
            found.push(file);
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

fn path_of(folder: &Path, name: &str) -> Result<PathBuf, KeystoreError> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_name = !name.is_empty()
        && name.len() <= NAME_CHARS_MAX
        && !name.starts_with('.')
        && name.chars().all(is_plain);
    if is_name {
        Ok(folder.join(format!("{name}.json")))
    } else {
        Err(KeystoreError::Name {
            name: name.chars().take(80).collect(),
        })
    }
}

fn read(name: &str, path: &Path) -> Result<String, KeystoreError> {
    fs::read_to_string(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            KeystoreError::Missing {
                name: name.to_owned(),
            }
        } else {
            KeystoreError::Read {
                path: path.to_owned(),
                source,
            }
        }
    })
}

/// The lowest `count` bits of a number, the highest first.
fn bits(number: usize, count: usize) -> impl Iterator<Item = bool> {
    (0..count).rev().map(move |bit| number >> bit & 1 == 1)
}

fn number(bits: &[bool]) -> usize {
    bits.iter()
        .fold(0, |number, bit| number << 1 | usize::from(*bit))
}

const ENTROPY_FIELD: &str = "x-coliving-entropy";
const PHRASE_WORDS: usize = 12;
const WORD_BITS: usize = 11;

/// Longest name of a wallet. Chosen: it names a file, with an ending.
pub const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests;
