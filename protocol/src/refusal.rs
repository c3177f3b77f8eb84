//! Why a peer does not do what it was asked: one shape for every protocol, each
//! with its own codes.

use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal<C> {
    /// The cause, for programs.
    pub code: C,
    /// The cause, for people; at most [`REASON_BYTES_MAX`].
    pub reason: String,
    /// When to try again, for causes that pass.
    pub retry_after_seconds: Option<u64>,
}

impl<C> Refusal<C> {
    /// Makes a refusal; the reason is cut to [`REASON_BYTES_MAX`].
    #[must_use]
    pub fn new(code: C, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = reason.len().min(REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self {
            code,
            reason,
            retry_after_seconds: None,
        }
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }
}

/// Longest reason of a refusal in bytes. Chosen: some sentences with their figures.
pub const REASON_BYTES_MAX: usize = 512;
