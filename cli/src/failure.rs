//! Failures as people and programs read them.

use client::ClientError;
use client::deploy::DeployError;
use client::keystore::KeystoreError;
use client::operate::OperateError;
use client::operate::governance::WordsError;
use node::backup::BackupError;
use node::builder::StartError;
use node::config::Problems;
use node::devnet::DevnetError;
use node::store::StoreError;
use protocol::action::ActionError;
use protocol::payment::SplitError;
use rpc::{RpcError, TransactError};

use crate::reasons;

/// A failure with a stable code and with what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A stable word that programs branch on.
    pub(crate) code: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What helps, for people.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure with a remedy.
    pub(crate) fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: Some(hint.into()).filter(|hint: &String| !hint.is_empty()),
        }
    }

    /// What any error says, with the code of the first cause that has one.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let message = message_of(error);
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Self>() {
                return failure.clone();
            }
            if let Some(error) = cause.downcast_ref::<ClientError>() {
                return Self {
                    code: error.code().to_owned(),
                    message,
                    hint: error.hint(),
                };
            }
            if let Some(revert) = reasons::revert_of(cause) {
                return Self {
                    code: "reverted".to_owned(),
                    message,
                    hint: reasons::hint(&revert.name).map(ToOwned::to_owned),
                };
            }
            if let Some((code, hint)) = code_of(cause) {
                return Self {
                    code: code.to_owned(),
                    message,
                    hint: hint.map(ToOwned::to_owned),
                };
            }
        }
        Self {
            code: "failed".to_owned(),
            message,
            hint: None,
        }
    }
}

/// What all causes say, without those that an earlier one has quoted already.
fn message_of(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if message.contains(&text) {
            continue;
        }
        if message.ends_with(':') {
            message.push('\n');
        } else if !message.is_empty() {
            message.push_str(": ");
        }
        message.push_str(&text);
    }
    message
}

fn code_of(
    cause: &(dyn std::error::Error + 'static),
) -> Option<(&'static str, Option<&'static str>)> {
    if let Some(error) = cause.downcast_ref::<KeystoreError>() {
        return Some(match error {
            KeystoreError::Missing { .. } => (
                "wallet_missing",
                Some("see `coliving wallet list`, or make one with `coliving wallet new`"),
            ),
            KeystoreError::Password { .. } => ("password", None),
            KeystoreError::Exists { .. } => ("wallet_exists", None),
            KeystoreError::Home(_)
            | KeystoreError::Read { .. }
            | KeystoreError::Name { .. }
            | KeystoreError::Damaged { .. }
            | KeystoreError::Phrase
            | KeystoreError::Key => ("wallet", None),
        });
    }
    if cause.is::<RpcError>() || cause.is::<TransactError>() || cause.is::<OperateError>() {
        return Some(("chain", None));
    }
    if cause.is::<DeployError>() {
        return Some(("deploy", None));
    }
    if cause.is::<SplitError>() {
        return Some(("parts", None));
    }
    if cause.is::<WordsError>() {
        return Some(("call", Some("see `coliving govern propose --help`")));
    }
    if cause.is::<Problems>() {
        return Some((
            "config",
            Some("`coliving init --data DIR` writes a config.toml that explains every setting"),
        ));
    }
    if let Some(error) = cause.downcast_ref::<DevnetError>() {
        return Some(match error {
            DevnetError::Config(_) => (USAGE, Some("see `coliving devnet --help`")),
            _ => ("devnet", None),
        });
    }
    if cause.is::<StartError>() {
        return Some(("start", None));
    }
    if cause.is::<BackupError>() {
        return Some(("backup", None));
    }
    if cause.is::<StoreError>() {
        return Some(("store", None));
    }
    if cause.is::<ActionError>() {
        return Some(("action", None));
    }
    if cause.is::<std::io::Error>() {
        return Some(("file", None));
    }
    None
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Ends a command with a failure and its remedy.
pub(crate) fn fail<T>(
    code: &str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Result<T> {
    Err(Failure::new(code, message, hint).into())
}

/// The code of failures that the command line itself explains; they end with
/// exit code 2.
pub(crate) const USAGE: &str = "usage";
