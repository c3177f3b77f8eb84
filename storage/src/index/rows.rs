//! Values of the tables. Entities are CBOR that this peer wrote itself; counts
//! are plain numbers, because they change most.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use protocol::id::{EntityId, Hash32, UserId};
use protocol::merkle::Peaks;
use protocol::time::UnixSeconds;

use super::IndexError;

/// A block that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedBlock {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: Hash32,
    /// The block's timestamp.
    pub time: UnixSeconds,
    /// Entries in the block.
    pub entry_count: u64,
    /// The right edge of the tree over all entry ids up to and with the block.
    pub peaks: Peaks,
}

/// An entry that changed nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Chain position of the entry.
    pub sequence: u64,
    /// Number of the entry's block.
    pub block_number: u64,
    /// The transaction with the entry.
    pub tx_hash: Hash32,
    /// On whose behalf.
    pub user_id: UserId,
    /// The entity type as signed.
    pub entity_type: String,
    /// The entity's number as signed.
    pub entity_id: EntityId,
    /// The verb as signed.
    pub action: String,
    /// A stable word.
    pub code: String,
    /// The reason in words.
    pub reason: String,
}

/// How often an entity was followed, saved, …; a kind uses some of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of a user: who follows it.
    pub followers: u64,
    /// Of a user: whom it follows.
    pub following: u64,
    /// Of a digital content or list: who saved it. Of a user: what it saved.
    pub saves: u64,
    /// Of a digital content or list: who reposted it. Of a user: what it
    /// reposted.
    pub reposts: u64,
    /// Of a digital content: its comments.
    pub comments: u64,
    /// Of a user: its public digital contents.
    pub contents: u64,
    /// Of a user: its public playlists.
    pub playlists: u64,
    /// Of a user: its public albums.
    pub albums: u64,
}

impl Counts {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [
            self.followers,
            self.following,
            self.saves,
            self.reposts,
            self.comments,
            self.contents,
            self.playlists,
            self.albums,
        ]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: [[u8; 8]; 8] = words
            .try_into()
            .map_err(|_| IndexError::Damaged { what: "counts" })?;
        if !rest.is_empty() {
            return Err(IndexError::Damaged { what: "counts" });
        }
        let [
            followers,
            following,
            saves,
            reposts,
            comments,
            contents,
            playlists,
            albums,
        ] = words.map(u64::from_le_bytes);
        Ok(Self {
            followers,
            following,
            saves,
            reposts,
            comments,
            contents,
            playlists,
            albums,
        })
    }
}

/// Encodes a row.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::ser::to_vec_packed(value).expect("rows hold only values that CBOR can write")
}

/// Decodes a row that [`encode`] wrote.
pub(super) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, IndexError> {
    serde_cbor::from_slice(bytes).map_err(|_| IndexError::Damaged { what })
}

/// Reads a number that was stored big-endian.
pub(super) fn number(what: &'static str, bytes: &[u8]) -> Result<u64, IndexError> {
    bytes
        .try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| IndexError::Damaged { what })
}
