//! Why a request to a peer failed, for people and for programs.

use std::io;
use std::path::PathBuf;

use protocol::unixfs::{BlockError, DagError};
use reqwest::StatusCode;

use crate::api::ErrorBody;

/// Why something that was asked of a peer did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be one of a peer.
    #[error("`{url}` is not the URL of a peer, such as `http://127.0.0.1:4000`")]
    Url {
        /// What was given.
        url: String,
    },
    /// Nobody answers there.
    #[error("the peer at {url} does not answer: {reason}")]
    Away {
        /// URL of the peer.
        url: String,
        /// What the connection failed with.
        reason: String,
    },
    /// The peer refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable word of the error.
        code: String,
        /// What is wrong.
        message: String,
        /// What helps, for people.
        hint: String,
        /// Seconds after which asking again makes sense.
        retry_after: Option<u64>,
    },
    /// The answer is not what the contract says.
    #[error("the answer of {url} makes no sense: {reason}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file on this machine cannot be used.
    #[error("{what} `{path}`: {source}")]
    File {
        /// What was attempted.
        what: &'static str,
        /// The file that was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path is a directory or a device.
    #[error("`{path}` is not a file; give one file, or pack a directory into an archive first")]
    NotAFile {
        /// The path that was named.
        path: PathBuf,
    },
    /// The file changed or vanished while it was read.
    #[error("`{path}` changed while it was read: {read} of {expected} bytes came")]
    Changed {
        /// The file that changed.
        path: PathBuf,
        /// Bytes that were read.
        read: u64,
        /// Bytes that it had at first.
        expected: u64,
    },
    /// The download ended early.
    #[error("the download of {cid} ended at {received} of {expected} bytes")]
    Incomplete {
        /// What was asked for.
        cid: String,
        /// Bytes that came.
        received: u64,
        /// Bytes that it has.
        expected: u64,
    },
    /// A text that should be a CID.
    #[error("`{text}` is not a CID")]
    Cid {
        /// The text that was given.
        text: String,
    },
    /// A block is not what its CID says.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The blocks are not a file.
    #[error(transparent)]
    Dag(#[from] DagError),
}

impl ClientError {
    /// Reads the body of a refusal.
    pub(super) fn from_body(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<u64>,
        path: &str,
    ) -> Self {
        let said: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let Some(ErrorBody { error }) = said else {
            return Self::Refused {
                status: status.as_u16(),
                code: "http".to_owned(),
                message: format!("the peer answered {status} to {path}"),
                hint: String::new(),
                retry_after,
            };
        };
        Self::Refused {
            status: status.as_u16(),
            code: error.code,
            message: error.message,
            hint: error.hint,
            retry_after,
        }
    }

    /// A stable word that programs branch on.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Url { .. } => "url",
            Self::Away { .. } => "unreachable",
            Self::Refused { code, .. } => code,
            Self::Unexpected { .. } => "unexpected_answer",
            Self::File { .. } => "file",
            Self::NotAFile { .. } => "not_a_file",
            Self::Changed { .. } => "file_changed",
            Self::Incomplete { .. } => "incomplete",
            Self::Cid { .. } => "cid",
            Self::Block(_) | Self::Dag(_) => "corrupt",
        }
    }

    /// What helps; `None` when nothing is known to.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Away { .. } => Some(
                "start a peer with `coliving devnet` or `coliving run`, or give `--node URL`"
                    .to_owned(),
            ),
            // The peer's words are for those who write the request themselves.
            Self::Refused { code, .. } if code == "token_needed" => Some(TOKEN_HINT.to_owned()),
            Self::Refused { hint, .. } if !hint.is_empty() => Some(hint.clone()),
            Self::Refused {
                status: 401 | 403,
                code,
                ..
            } if code != "notAllowed" => Some(TOKEN_HINT.to_owned()),
            Self::Refused {
                retry_after: Some(seconds),
                ..
            } => Some(format!("try again in {seconds} seconds")),
            Self::Incomplete { .. } => {
                Some("run the same command again: it goes on where it ended".to_owned())
            }
            Self::Changed { .. } => Some("do it again once nothing writes to the file".to_owned()),
            Self::Refused { .. }
            | Self::Url { .. }
            | Self::Unexpected { .. }
            | Self::File { .. }
            | Self::NotAFile { .. }
            | Self::Cid { .. }
            | Self::Block(_)
            | Self::Dag(_) => None,
        }
    }

    /// True when there is no such thing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// True when the same request may work later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Incomplete { .. } => true,
            // 504: the network has no such block; 507: no room. Neither passes soon.
            Self::Refused { status, .. } => {
                *status == 429 || (*status >= 500 && !matches!(*status, 504 | 507))
            }
            Self::Url { .. }
            | Self::Unexpected { .. }
            | Self::File { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Cid { .. }
            | Self::Block(_)
            | Self::Dag(_) => false,
        }
    }
}

const TOKEN_HINT: &str = "give the peer's token with `--token` or COLIVING_TOKEN; it stands in the file `token` of the peer's data folder, which `data` of its config.toml names";
