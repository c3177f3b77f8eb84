//! Where a peer and its owner keep things: `COLIVING_HOME` and data folders.
//!
//! ```text
//! COLIVING_HOME/            default: ~/.coliving
//!   node                    URL of the running local peer
//!   token                   what its owner's routes ask for (0600)
//!   network.toml            settings of the network that a peer ran in last
//!   light/                  data folder of the light peer of commands
//!   wallets/<name>.json     web3 secret storage (0600)
//! data folder of a peer/
//!   config.toml  key        the peer's secret key (0600)
//!   token                   a copy of what the owner's routes ask for (0600)
//!   blocks/  state.redb  index.redb  search/
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::signing::SigningKey;

/// Why a file of a home or data folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The operating system refused.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What was to be read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file does not hold a key.
    #[error(
        "the key file `{path}` does not hold 64 hexadecimal digits of a secret key; restore it from a backup"
    )]
    Key {
        /// The file of the key.
        path: PathBuf,
    },
    /// There is no home folder.
    #[error(
        "neither COLIVING_HOME nor HOME is set; set COLIVING_HOME to a folder for wallets and tokens"
    )]
    NoHome,
}

/// The folder of the owner: `COLIVING_HOME`, else `~/.coliving`.
///
/// # Errors
///
/// [`HomeError::NoHome`] when neither variable is set.
pub fn folder() -> Result<PathBuf, HomeError> {
    if let Some(home) = std::env::var_os("COLIVING_HOME").filter(|home| !home.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(|home| PathBuf::from(home).join(".coliving"))
        .ok_or(HomeError::NoHome)
}

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
///
/// [`HomeError::Io`] names the file.
pub fn write_secret(path: &Path, contents: &[u8]) -> Result<(), HomeError> {
    let failed = |what: &'static str| {
        move |source: io::Error| HomeError::Io {
            what,
            path: path.to_owned(),
            source,
        }
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed("cannot create the folder of"))?;
    }
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary).map_err(failed("cannot create"))?;
    file.write_all(contents)
        .and_then(|()| file.sync_all())
        .map_err(failed("cannot write"))?;
    fs::rename(&temporary, path).map_err(failed("cannot replace"))
}

/// Reads the peer's key from `folder/key`, or makes one.
///
/// # Errors
///
/// [`HomeError`] names the file and what is wrong with it.
pub fn peer_key(folder: &Path) -> Result<SigningKey, HomeError> {
    let path = folder.join("key");
    match fs::read_to_string(&path) {
        Ok(text) => read_key(&path, text.trim()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = random_key();
            write_secret(&path, hex::encode(key.to_bytes()).as_bytes())?;
            Ok(key)
        }
        Err(source) => Err(HomeError::Io {
            what: "cannot read",
            path,
            source,
        }),
    }
}

/// Reads a peer's key from a file; makes none.
///
/// # Errors
///
/// [`HomeError`] names the file and what is wrong with it.
pub fn read_peer_key(path: &Path) -> Result<SigningKey, HomeError> {
    let text = fs::read_to_string(path).map_err(|source| HomeError::Io {
        what: "cannot read",
        path: path.to_owned(),
        source,
    })?;
    read_key(path, text.trim())
}

/// Reads the owner's token from `folder/token`, or makes one.
///
/// # Errors
///
/// [`HomeError`] names the file.
pub fn token(folder: &Path) -> Result<String, HomeError> {
    let path = folder.join("token");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Ok(_) => new_token(&path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_token(&path),
        Err(source) => Err(HomeError::Io {
            what: "cannot read",
            path,
            source,
        }),
    }
}

fn new_token(path: &Path) -> Result<String, HomeError> {
    let token = hex::encode(rand::random::<[u8; 24]>());
    write_secret(path, token.as_bytes())?;
    Ok(token)
}

fn read_key(path: &Path, text: &str) -> Result<SigningKey, HomeError> {
    let refused = || HomeError::Key {
        path: path.to_owned(),
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(text, &mut secret).map_err(|_| refused())?;
    SigningKey::from_bytes(&secret).map_err(|_| refused())
}

/// Draws a secret key from the operating system's random source.
#[must_use]
pub fn random_key() -> SigningKey {
    loop {
        // One draw in 2^128 is not a key.
        if let Ok(key) = SigningKey::from_bytes(&rand::random()) {
            return key;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_token_are_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = peer_key(folder.path()).unwrap();
        assert_eq!(peer_key(folder.path()).unwrap(), key);
        let token_text = token(folder.path()).unwrap();
        assert_eq!(token(folder.path()).unwrap(), token_text);
    }

    #[test]
    fn a_broken_key_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "not a key").unwrap();
        let error = peer_key(folder.path()).unwrap_err().to_string();
        assert!(error.contains("key`"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        write_secret(&path, b"secret").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
