//! Heads: what discovery peers sign about a final block, and how light peers
//! count the signatures (`docs/formats/head.md`).

use serde::{Deserialize, Serialize};

use crate::id::Hash32;
use crate::signing::{Record, Signed, StructEncoder};

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
