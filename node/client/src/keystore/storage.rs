//! Web3 secret storage, version 3: secrets under a password, in JSON.
//!
//! Source: <https://ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage/>

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use ethers_core::utils::keccak256;
use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret as it is in a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    id: String,
    version: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

/// How a password becomes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        dklen: u64,
        n: u64,
        p: u32,
        r: u32,
        salt: String,
    },
    Pbkdf2 {
        c: u32,
        dklen: u64,
        prf: String,
        salt: String,
    },
}

/// What guessing a password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// A second of a processor and 256 MiB, as other Ethereum software has it.
    Standard,
    /// A thirtieth of it, for wallets with nothing in them.
    Light,
}

/// Why a secret stays where it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    #[error("the password is another")]
    Password,
    #[error("{0}")]
    Damaged(String),
}

/// A password with the key that was made of it: the secrets of one file share it.
pub(super) struct Password<'a> {
    text: &'a str,
    known: Option<(Kdf, Key)>,
}

type Key = Zeroizing<[u8; KEY_BYTES]>;

impl<'a> Password<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, known: None }
    }

    /// Encrypts a secret; the first decides what all cost.
    pub(super) fn seal(&mut self, secret: &[u8], cost: Cost) -> Sealed {
        let kdf = match &self.known {
            Some((kdf, _)) => kdf.clone(),
            None => Kdf::scrypt(cost),
        };
        let key = self
            .key(&kdf)
            .expect("the parameters of our own are in range");
        let iv: [u8; IV_BYTES] = rand::random();
        let mut text = secret.to_vec();
        apply(&key, &iv, &mut text);
        Sealed {
            crypto: Crypto {
                cipher: CIPHER.to_owned(),
                cipherparams: CipherParams {
                    iv: hex::encode(iv),
                },
                mac: hex::encode(mac(&key, &text)),
                ciphertext: hex::encode(text),
                kdf,
            },
            id: random_id(),
            version: VERSION,
        }
    }

    /// Decrypts a secret.
    pub(super) fn open(&mut self, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let Sealed {
            crypto, version, ..
        } = sealed;
        if *version != VERSION {
            return Err(damaged(format!("version {version} is not {VERSION}")));
        }
        if crypto.cipher != CIPHER {
            return Err(damaged(format!("the cipher is not {CIPHER}")));
        }
        let iv = bytes::<IV_BYTES>("iv", &crypto.cipherparams.iv)?;
        let known = bytes::<32>("mac", &crypto.mac)?;
        let text = hex::decode(&crypto.ciphertext);
        let mut text = Zeroizing::new(text.map_err(|_| damaged("ciphertext".to_owned()))?);
        let key = self.key(&crypto.kdf)?;
        if mac(&key, &text) != known {
            return Err(SealError::Password);
        }
        apply(&key, &iv, &mut text);
        Ok(text)
    }

    fn key(&mut self, kdf: &Kdf) -> Result<Key, SealError> {
        if let Some((known, key)) = &self.known
            && known == kdf
        {
            return Ok(key.clone());
        }
        let key = kdf.derive(self.text)?;
        self.known = Some((kdf.clone(), key.clone()));
        Ok(key)
    }
}

impl Kdf {
    fn scrypt(cost: Cost) -> Self {
        Self::Scrypt {
            dklen: KEY_BYTES as u64,
            n: match cost {
                Cost::Standard => 1 << 18,
                Cost::Light => 1 << 13,
            },
            p: 1,
            r: 8,
            salt: hex::encode(rand::random::<[u8; 32]>()),
        }
    }

    fn derive(&self, password: &str) -> Result<Key, SealError> {
        let mut key = Key::default();
        match self {
            Self::Scrypt {
                dklen,
                n,
                p,
                r,
                salt,
            } => {
                let salt = salt_of(*dklen, salt)?;
                let memory = 128_u64.saturating_mul(*n).saturating_mul((*r).into());
                if !n.is_power_of_two() || memory > MEMORY_MAX || *p > PARALLEL_MAX {
                    return Err(damaged("its scrypt parameters are out of range".to_owned()));
                }
                let log_n = u8::try_from(n.trailing_zeros()).expect("below 64");
                let params = scrypt::Params::new(log_n, *r, *p, KEY_BYTES);
                let params = params.map_err(|error| damaged(error.to_string()))?;
                scrypt::scrypt(password.as_bytes(), &salt, &params, key.as_mut())
                    .map_err(|error| damaged(error.to_string()))?;
            }
            Self::Pbkdf2 {
                c,
                dklen,
                prf,
                salt,
            } => {
                let salt = salt_of(*dklen, salt)?;
                if prf != PRF || *c == 0 || *c > ROUNDS_MAX {
                    return Err(damaged("its pbkdf2 parameters are out of range".to_owned()));
                }
                pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, *c, key.as_mut());
            }
        }
        Ok(key)
    }
}

fn salt_of(dklen: u64, salt: &str) -> Result<Vec<u8>, SealError> {
    if dklen != KEY_BYTES as u64 {
        return Err(damaged(format!("dklen is not {KEY_BYTES}")));
    }
    hex::decode(salt).map_err(|_| damaged("salt".to_owned()))
}

/// The first half of the key encrypts.
fn apply(key: &Key, iv: &[u8; IV_BYTES], text: &mut [u8]) {
    let (key, _) = key.split_at(KEY_BYTES / 2);
    let cipher = Ctr128BE::<Aes128>::new_from_slices(key, iv);
    cipher
        .expect("the lengths are the cipher's")
        .apply_keystream(text);
}

/// The second half of the key tells whether the password is right.
fn mac(key: &Key, text: &[u8]) -> [u8; 32] {
    keccak256([&key[KEY_BYTES / 2..], text].concat())
}

fn bytes<const N: usize>(name: &str, text: &str) -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| damaged(format!("its {name} is not {N} bytes")))?;
    Ok(bytes)
}

fn damaged(reason: String) -> SealError {
    SealError::Damaged(reason)
}

/// A UUID of version 4.
fn random_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex::encode(bytes);
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    parts.join("-")
}

const VERSION: u64 = 3;
const CIPHER: &str = "aes-128-ctr";
const PRF: &str = "hmac-sha256";
const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// Memory that a file may ask for: four times what files usually do.
const MEMORY_MAX: u64 = 1 << 30;

/// Runs of scrypt that a file may ask for: other software's light files have 6.
const PARALLEL_MAX: u32 = 16;

/// Rounds that a file may ask for: forty times what files usually do, ten seconds.
const ROUNDS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use protocol::signing::SigningKey;

    use super::*;

    /// An example of the format's description, and a file of Geth.
    #[test]
    fn what_other_software_wrote_opens() {
        let pbkdf2 = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
        let sealed: Sealed = serde_json::from_str(pbkdf2).unwrap();
        let secret = Password::new("testpassword").open(&sealed).unwrap();
        let known = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
        assert_eq!(hex::encode(&*secret), known);
        let refused = Password::new("testpasswort").open(&sealed);
        assert!(matches!(refused, Err(SealError::Password)));

        let scrypt = r#"{"address":"88a5c2d9919e46f883eb62f7b8dd9d0cc45bc290","Crypto":{"cipher":"aes-128-ctr","ciphertext":"10adcc8bcaf49474c6710460e0dc974331f71ee4c7baa7314b4a23d25fd6c406","cipherparams":{"iv":"1dcdf13e49cea706994ed38804f6d171"},"kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"p":1,"r":8,"salt":"bbfa53547e3e3bfcc9786a2cbef8504a5031d82734ecef02153e29daeed658fd"},"mac":"1cf53b5ae8d75f8c037b453e7c3c61b010225d916768a6b145adf5cf9cb3a703"},"id":"fb1280c0-d646-4e40-9550-7026b1be504a","version":3}"#;
        let sealed: Sealed = serde_json::from_str(scrypt).unwrap();
        let secret = Password::new("foo").open(&sealed).unwrap();
        let key = SigningKey::from_bytes(secret.as_slice().try_into().unwrap()).unwrap();
        let address = "0x88a5c2d9919e46f883eb62f7b8dd9d0cc45bc290";
        assert_eq!(key.address().to_string(), address);
    }

    #[test]
    fn what_is_sealed_asks_for_the_standard_work() {
        let mut password = Password::new("correct horse");
        let sealed = serde_json::to_value(password.seal(&[7; 32], Cost::Standard)).unwrap();
        assert_eq!(sealed["crypto"]["kdfparams"]["n"], 262_144);
        assert_eq!(sealed["crypto"]["kdfparams"]["r"], 8);
        let sealed: Sealed = serde_json::from_value(sealed).unwrap();
        let opened = Password::new("correct horse").open(&sealed).unwrap();
        assert_eq!(*opened, [7; 32]);
    }

    #[test]
    fn secrets_of_one_file_share_the_work_and_nothing_else() {
        let mut password = Password::new("correct horse");
        let [one, two] = [(); 2].map(|()| password.seal(&[7; 32], Cost::Light));
        assert_eq!(one.crypto.kdf, two.crypto.kdf);
        assert_ne!(one.crypto.ciphertext, two.crypto.ciphertext);
        assert_ne!(one.id, two.id);
    }

    #[test]
    fn a_file_that_asks_for_too_much_is_refused() {
        let sealed = Password::new("one").seal(&[7; 32], Cost::Light);
        let sealed = serde_json::to_value(sealed).unwrap();
        for (field, value) in [
            ("n", 1_u64 << 40),
            ("n", 8191),
            ("n", 0),
            ("r", 1 << 20),
            ("r", 0),
            ("p", 17),
            ("p", 0),
            ("dklen", 64),
        ] {
            let mut asks = sealed.clone();
            asks["crypto"]["kdfparams"][field] = value.into();
            let asks: Sealed = serde_json::from_value(asks).unwrap();
            let refused = Password::new("one").open(&asks);
            assert!(
                matches!(refused, Err(SealError::Damaged(_))),
                "{field} {value}"
            );
        }
    }
}
