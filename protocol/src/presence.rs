//! Small signed statements of a peer: about itself, and about what it saw.

use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32, UserId};
use crate::signing::{Record, Signature, Signed, StructEncoder};
use crate::time::UnixSeconds;

/// "I am here": gossiped by staked peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Who says so.
    pub peer: Address,
    /// When.
    pub time: UnixSeconds,
    /// Serial of the newest lease page, 0 without one.
    pub page_serial: u64,
    /// Struct hash of the newest lease page, zero without one.
    pub page_hash: Hash32,
    /// Bytes the peer offers in all.
    pub capacity: u64,
    /// Bytes it holds.
    pub used: u64,
}

/// A signed presence as it travels.
pub type SignedPresence = Signed<Presence>;

/// Where a peer can be reached; served at `/.well-known/coliving`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The peer.
    pub peer: Address,
    /// Its registered URL.
    pub url: String,
    /// Its multiaddresses, with `/p2p/…` at the end.
    pub addresses: Vec<String>,
    /// When this was signed.
    pub time: UnixSeconds,
}

/// An identity peer's envelope around a fresh action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingAction {
    /// The action's digest.
    pub digest: Hash32,
    /// The user's signature.
    pub signature: Signature,
    /// The identity peer that vouches for it.
    pub peer: Address,
    /// When it was accepted.
    pub time: UnixSeconds,
}

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

/// An identity peer saw that an account elsewhere belongs to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// The user.
    pub user_id: UserId,
    /// The user's wallet.
    pub wallet: Address,
    /// Where the account is, 1 to 64 bytes.
    pub provider: String,
    /// keccak256 of the account's identifier, as the provider writes it.
    pub subject: Hash32,
    /// When the peer saw it.
    pub time: UnixSeconds,
}

impl Record for Presence {
    const TYPE: &'static str = "Presence(address peer,uint64 time,uint64 pageSerial,bytes32 pageHash,uint64 capacity,uint64 used)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .address(&self.peer)
            .uint(self.time.0)
            .uint(self.page_serial)
            .bytes32(&self.page_hash)
            .uint(self.capacity)
            .uint(self.used);
    }
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

impl Record for PendingAction {
    const TYPE: &'static str =
        "PendingAction(bytes32 digest,bytes signature,address peer,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .bytes32(&self.digest)
            .bytes(&self.signature.0)
            .address(&self.peer)
            .uint(self.time.0);
    }
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

impl Record for Attestation {
    const TYPE: &'static str =
        "Attestation(uint256 userId,address wallet,string provider,bytes32 subject,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .uint(self.user_id.0)
            .address(&self.wallet)
            .bytes(self.provider.as_bytes())
            .bytes32(&self.subject)
            .uint(self.time.0);
    }
}

#[cfg(test)]
mod tests;
