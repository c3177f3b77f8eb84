//! What of a peer cannot be fetched again, in one file.
//!
//! ```text
//! coliving backup <version> <SHA-256 of the rest, 64 hexadecimal digits>\n
//! {"key": "…", "token": "…", "tables": "…"}
//! ```
//!
//! `tables` holds the hexadecimal digits of the rows of all tables that are
//! backed up (`docs/formats/state.md`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use client::home::{self, HomeError};
use protocol::entry::sha256;
use protocol::id::Address;
use protocol::signing::SigningKey;
use rpc::Clock;
use serde::{Deserialize, Serialize};
use storage::backend::FileBackend;
use storage::tables::{Restoration, Tables, TablesError};

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The peer whose backup it is.
    pub peer: Address,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Who was restored.
    pub peer: Address,
    /// Rows of its tables.
    pub rows: u64,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system refused.
    #[error("{what} `{path}`: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// What was to be read or written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No peer lives in the folder.
    #[error("there is no peer in `{path}`: it has no file `key`; give the peer's data folder")]
    NoPeer {
        /// The folder that was named.
        path: PathBuf,
    },
    /// A peer lives in the folder.
    #[error("`{path}` holds a peer already; restore into another folder")]
    Taken {
        /// The folder that is in use.
        path: PathBuf,
    },
    /// The file is no backup.
    #[error("`{path}` is not a backup: {reason}")]
    Damaged {
        /// The file that was named.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program wrote it.
    #[error(
        "`{path}` has backup format {found}, this program reads {BACKUP_VERSION}; restore it with the program that wrote it"
    )]
    Version {
        /// The file that was named.
        path: PathBuf,
        /// The format that it names.
        found: String,
    },
    /// The folder cannot be used, as while its peer runs.
    #[error("cannot use the data folder `{path}`: {source}")]
    Folder {
        /// The folder that was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tables cannot be read or written.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// A key or token file cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    key: String,
    token: Option<String>,
    tables: String,
}

/// Copies a peer's key, token and tables into one file of its owner's.
///
/// # Errors
///
/// [`BackupError`] when the peer runs, or there is none.
pub fn write(data: &Path, file: &Path) -> Result<Written, BackupError> {
    if !data.join(KEY_FILE).exists() {
        return Err(BackupError::NoPeer {
            path: data.to_owned(),
        });
    }
    let key = home::peer_key(data)?;
    let tables = open(data)?;
    let contents = Contents {
        key: hex::encode(key.to_bytes()),
        token: fs::read_to_string(data.join(TOKEN_FILE)).ok(),
        tables: hex::encode(tables.export()?),
    };
    let body = serde_json::to_string(&contents).expect("texts have a JSON form");
    let hash = hex::encode(sha256(body.as_bytes()).0);
    let text = format!("{MAGIC} {BACKUP_VERSION} {hash}\n{body}");
    home::write_secret(file, text.as_bytes())?;
    Ok(Written {
        peer: key.address(),
        bytes: text.len() as u64,
    })
}

/// Makes a data folder of a backup.
///
/// # Errors
///
/// [`BackupError`] for a folder that holds a peer and for a file that is
/// damaged; nothing is written then.
pub fn restore(file: &Path, data: &Path) -> Result<Restored, BackupError> {
    let contents = read(file)?;
    let damaged = |reason: &str| BackupError::Damaged {
        path: file.to_owned(),
        reason: reason.to_owned(),
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(&contents.key, &mut secret).map_err(|_| damaged("its key is not one"))?;
    let key = SigningKey::from_bytes(&secret).map_err(|_| damaged("its key is not one"))?;
    let rows = hex::decode(&contents.tables).map_err(|_| damaged("its tables are not readable"))?;
    if data.join(KEY_FILE).exists() {
        return Err(BackupError::Taken {
            path: data.to_owned(),
        });
    }
    fs::create_dir_all(data).map_err(|source| BackupError::Io {
        what: "cannot create",
        path: data.to_owned(),
        source,
    })?;
    let restoration = Restoration::new(Clock::system().now().unix());
    let rows = open(data)?.import(&rows, restoration)?;
    if let Some(token) = &contents.token {
        home::write_secret(&data.join(TOKEN_FILE), token.trim().as_bytes())?;
    }
    // The key comes last: with it the folder is a peer.
    home::write_secret(&data.join(KEY_FILE), contents.key.as_bytes())?;
    Ok(Restored {
        peer: key.address(),
        rows,
    })
}

fn read(file: &Path) -> Result<Contents, BackupError> {
    let damaged = |reason: String| BackupError::Damaged {
        path: file.to_owned(),
        reason,
    };
    let text = fs::read_to_string(file).map_err(|source| BackupError::Io {
        what: "cannot read",
        path: file.to_owned(),
        source,
    })?;
    let (head, body) = text
        .split_once('\n')
        .ok_or_else(|| damaged("it has no first line".to_owned()))?;
    let fields = head.strip_prefix(MAGIC).map(str::trim);
    let (version, hash) = fields
        .and_then(|fields| fields.split_once(' '))
        .ok_or_else(|| damaged(format!("it does not begin with `{MAGIC}`")))?;
    if version != BACKUP_VERSION.to_string() {
        return Err(BackupError::Version {
            path: file.to_owned(),
            found: version.to_owned(),
        });
    }
    if hash != hex::encode(sha256(body.as_bytes()).0) {
        return Err(damaged(
            "its checksum is wrong; it was cut off or changed".to_owned(),
        ));
    }
    serde_json::from_str(body).map_err(|error| damaged(error.to_string()))
}

fn open(data: &Path) -> Result<Tables, BackupError> {
    let backend = FileBackend::open(data).map_err(|source| BackupError::Folder {
        path: data.to_owned(),
        source,
    })?;
    Ok(Tables::open(Arc::new(backend))?)
}

const MAGIC: &str = "coliving backup";
const KEY_FILE: &str = "key";
const TOKEN_FILE: &str = "token";

/// The format of the file; another one is refused.
pub const BACKUP_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
