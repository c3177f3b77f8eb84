//! What the memo of a payment says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::MEMO_BYTES_MAX;
use crate::id::{EntityId, UserId};

/// What a purchase is for: `track:1:2:3:download`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseMemo {
    /// True for a content list (`album`), false for a digital content (`track`).
    pub is_list: bool,
    /// What was bought.
    pub content: EntityId,
    /// The terms of this block count.
    pub valid_after_block: u64,
    /// Who bought it.
    pub buyer: UserId,
    /// What it may be used for.
    pub access: Access,
}

/// What a purchase may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Playing it, without the file.
    Stream,
    /// Keeping a copy.
    Download,
}

/// Where a buyer is: `geo:{"city":"Minneapolis","region":"MN","country":"USA"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The city's name.
    #[serde(default)]
    pub city: String,
    /// The region or state.
    #[serde(default)]
    pub region: String,
    /// The country's name.
    #[serde(default)]
    pub country: String,
}

/// Whom a tip is for: `tip:RECEIVER:SENDER`, or `tip:RECEIVER:SENDER:words`;
/// a sender without a user is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TipMemo {
    /// Who gets it.
    pub receiver: UserId,
    /// Who gives it.
    pub sender: Option<UserId>,
    /// A few words.
    pub message: String,
}

/// Why a memo is not of a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoError {
    /// Longer than the contract takes.
    #[error("a memo of {size} bytes is too long, at most {MEMO_BYTES_MAX} are possible")]
    TooLong {
        /// Bytes of the memo.
        size: usize,
    },
    /// It does not begin or go on as this kind does.
    #[error("the memo `{text}` is not of the form `{form}`")]
    Form {
        /// The memo, cut to 80 characters.
        text: String,
        /// What it should look like.
        form: &'static str,
    },
    /// A field is not a number.
    #[error("the {field} `{text}` in the memo is not a number")]
    Number {
        /// The field that is no number.
        field: &'static str,
        /// What stands there, cut to 80 characters.
        text: String,
    },
    /// The location is broken JSON.
    #[error("the memo's location is not JSON: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
}

impl FromStr for PurchaseMemo {
    type Err = MemoError;

    fn from_str(text: &str) -> Result<Self, MemoError> {
        check_size(text)?;
        let wrong = || form(text, "track:CONTENT:BLOCK:BUYER:download");
        let parts: Vec<&str> = text.split(':').collect();
        let [kind, content, block, buyer, access] = parts[..] else {
            return Err(wrong());
        };
        Ok(Self {
            is_list: match kind {
                "track" => false,
                "album" => true,
                _ => return Err(wrong()),
            },
            content: EntityId(number("content id", content)?),
            valid_after_block: number("block", block)?,
            buyer: UserId(number("buyer id", buyer)?),
            access: match access {
                "stream" => Access::Stream,
                "download" => Access::Download,
                _ => return Err(wrong()),
            },
        })
    }
}

impl fmt::Display for PurchaseMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_list { "album" } else { "track" };
        let access = match self.access {
            Access::Stream => "stream",
            Access::Download => "download",
        };
        let (content, block, buyer) = (self.content, self.valid_after_block, self.buyer);
        write!(f, "{kind}:{content}:{block}:{buyer}:{access}")
    }
}

impl FromStr for Location {
    type Err = MemoError;

    fn from_str(text: &str) -> Result<Self, MemoError> {
        check_size(text)?;
        let json = text
            .strip_prefix("geo:")
            .ok_or_else(|| form(text, "geo:{\"city\":…,\"region\":…,\"country\":…}"))?;
        serde_json::from_str(json).map_err(|error| MemoError::Json {
            reason: error.to_string(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(f, "geo:{json}")
    }
}

impl FromStr for TipMemo {
    type Err = MemoError;

    fn from_str(text: &str) -> Result<Self, MemoError> {
        check_size(text)?;
        let wrong = || form(text, "tip:RECEIVER:SENDER");
        let mut parts = text.splitn(4, ':');
        if parts.next() != Some("tip") {
            return Err(wrong());
        }
        let receiver = number("receiver", parts.next().ok_or_else(wrong)?)?;
        let sender = number("sender", parts.next().ok_or_else(wrong)?)?;
        Ok(Self {
            receiver: UserId(receiver),
            sender: Some(UserId(sender)).filter(|sender| sender.0 != 0),
            message: parts.next().unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for TipMemo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sender = self.sender.unwrap_or_default();
        write!(f, "tip:{}:{sender}", self.receiver)?;
        if self.message.is_empty() {
            return Ok(());
        }
        write!(f, ":{}", self.message)
    }
}

fn check_size(text: &str) -> Result<(), MemoError> {
    if text.len() > MEMO_BYTES_MAX {
        return Err(MemoError::TooLong { size: text.len() });
    }
    Ok(())
}

fn form(text: &str, form: &'static str) -> MemoError {
    MemoError::Form {
        text: text.chars().take(80).collect(),
        form,
    }
}

fn number(field: &'static str, text: &str) -> Result<u64, MemoError> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_digits);
    number.ok_or_else(|| MemoError::Number {
        field,
        text: text.chars().take(80).collect(),
    })
}
