//! Answers that can be shown to others.

use serde::{Deserialize, Serialize};

use crate::id::Hash32;
use crate::signing::{Record, StructEncoder};
use crate::time::UnixSeconds;

/// A discovery peer's signature under an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// SHA-256 of the request's path and query.
    pub request: Hash32,
    /// Indexed height that was answered from.
    pub height: u64,
    /// SHA-256 of the body.
    pub body: Hash32,
    /// When it was answered.
    pub time: UnixSeconds,
}

impl Record for Reply {
    const TYPE: &'static str = "Reply(bytes32 request,uint64 height,bytes32 body,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .bytes32(&self.request)
            .uint(self.height)
            .bytes32(&self.body)
            .uint(self.time.0);
    }
}
