//! Heads: what discovery peers sign about a final block, and how light peers
//! count the signatures (`docs/formats/head.md`).

use serde::{Deserialize, Serialize};

use std::sync::OnceLock;

use super::{RecordError, require_role};
use crate::codec::{self, DecodeError};
use crate::id::{Address, Hash32, Role};
use crate::memo;
use crate::registry::Registry;
use crate::signing::{
    Domain, Record, SignatureError, Signed, StructEncoder, recover, typed_data_digest,
};
use crate::wire::Topic;

/// What the network agrees on at one final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: Hash32,
    /// Struct hash of the head before; zero for the first.
    pub previous_head: Hash32,
    /// RFC 6962 root over all entry ids since deployment in chain order.
    pub entries_root: Hash32,
    /// How many entries that root covers.
    pub entry_count: u64,
    /// Sparse Merkle root over the index; zero until it is computed.
    pub state_root: Hash32,
    /// Sparse Merkle root over operators and confirmed peers.
    pub registry_root: Hash32,
}

/// A head with one discovery peer's signature.
pub type SignedHead = Signed<Head>;

impl Record for Head {
    const TYPE: &'static str = "Head(uint64 blockNumber,bytes32 blockHash,bytes32 previousHead,bytes32 entriesRoot,uint64 entryCount,bytes32 stateRoot,bytes32 registryRoot)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .uint(self.block_number)
            .bytes32(&self.block_hash)
            .bytes32(&self.previous_head)
            .bytes32(&self.entries_root)
            .uint(self.entry_count)
            .bytes32(&self.state_root)
            .bytes32(&self.registry_root);
    }
}

/// A head whose signature is that of a confirmed discovery peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHead {
    /// As it arrived.
    pub signed: SignedHead,
    /// Its struct hash.
    pub hash: Hash32,
    /// Who signed it.
    pub signer: Address,
}

/// A decoded head.
struct Opened {
    signed: SignedHead,
    hash: Hash32,
    /// Who signed it where heads are signed in this domain.
    signer: OnceLock<(Domain, Result<Address, SignatureError>)>,
}

impl Opened {
    fn new(data: &[u8]) -> Result<Self, DecodeError> {
        let limit = Topic::Heads.message_bytes_max();
        let signed: SignedHead = codec::from_bytes("head", data, limit)?;
        Ok(Self {
            hash: signed.record.struct_hash(),
            signed,
            signer: OnceLock::new(),
        })
    }

    fn signer(&self, domain: &Domain) -> Result<Address, SignatureError> {
        let anew = || {
            let digest = typed_data_digest(&domain.separator(), &self.hash);
            recover(&digest, &self.signed.signature)
        };
        match self.signer.get_or_init(|| (*domain, anew())) {
            (known, signer) if known == domain => *signer,
            _ => anew(),
        }
    }
}

/// Decodes and checks a gossiped head.
///
/// # Errors
///
/// [`RecordError`]; see [`RecordError::is_offence`].
pub fn check_head(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
) -> Result<CheckedHead, RecordError> {
    let opened = memo::of_bytes(data, || Opened::new(data));
    let opened = opened.as_ref().as_ref().map_err(DecodeError::clone)?;
    let signer = opened.signer(domain)?;
    require_role(registry, signer, Role::Discovery)?;
    Ok(CheckedHead {
        signed: opened.signed.clone(),
        hash: opened.hash,
        signer,
    })
}
