//! Where a peer can be reached.

use serde::{Deserialize, Serialize};

use crate::id::Address;
use crate::signing::{Record, StructEncoder};
use crate::time::UnixSeconds;

/// Where a peer can be reached; served at `/.well-known/coliving`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The peer that signs and is reached.
    pub peer: Address,
    /// Its registered URL.
    pub url: String,
    /// Its multiaddresses, with `/p2p/…` at the end.
    pub addresses: Vec<String>,
    /// When this was signed.
    pub time: UnixSeconds,
}

impl Record for Endpoint {
    const TYPE: &'static str = "Endpoint(address peer,string url,string[] addresses,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .address(&self.peer)
            .bytes(self.url.as_bytes())
            .strings(self.addresses.iter().map(String::as_str))
            .uint(self.time.0);
    }
}
