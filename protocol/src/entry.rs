//! Entries: actions with their position in the chain, and the batches that
//! carry them between peers.
//!
//! An entry batch is a pure function of a block (`docs/formats/entries.md`):
//! whoever makes it makes the same bytes.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::action::SignedAction;
use crate::codec::{self, DecodeError};
use crate::id::Hash32;
use crate::memo;
use crate::time::UnixSeconds;

/// An action plus its position in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The action and its user's signature.
    pub action: SignedAction,
    /// Where the chain recorded it.
    pub position: Position,
}

/// Where the chain recorded an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Chain id of the data chain.
    pub chain_id: u64,
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: Hash32,
    /// Timestamp of the block.
    pub block_time: UnixSeconds,
    /// Hash of the transaction.
    pub tx_hash: Hash32,
    /// Index in the block of the `ManageEntity` log.
    pub log_index: u64,
}

/// SHA-256 of an entry's DAG-CBOR.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct EntryId(pub Hash32);

/// A run of a final block's entries in log order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryBatch {
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: Hash32,
    /// Position of this batch among the block's batches, from 0.
    pub index: u64,
    /// The entries, by rising log index.
    pub entries: Vec<Entry>,
}

/// A batch as it arrived, with what its bytes say.
#[derive(Debug)]
pub struct ReceivedBatch {
    /// What the bytes decode to.
    pub batch: EntryBatch,
    /// SHA-256 of the bytes; the gossip message id.
    pub id: Hash32,
    measures: OnceLock<Vec<Measure>>,
}

/// What an entry's DAG-CBOR says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// SHA-256 of the bytes.
    pub id: EntryId,
    /// How many bytes they are.
    pub bytes: usize,
}

/// Why a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not decodable, or larger than a batch can be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No entries, or more than fit.
    #[error("an entry batch holds {count} entries, between 1 and {BATCH_ENTRIES_MAX} are allowed")]
    Count {
        /// How many it holds.
        count: usize,
    },
    /// An entry that is not of the batch's block.
    #[error("entry {idx} of the batch belongs to another block")]
    Foreign {
        /// Position in the batch.
        idx: usize,
    },
    /// Log indexes do not rise.
    #[error("entry {idx} of the batch is out of log order")]
    Order {
        /// Position of the entry that does not rise.
        idx: usize,
    },
}

impl Entry {
    /// The entry's identity.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.measure().id
    }

    /// The entry's identity and size.
    #[must_use]
    pub fn measure(&self) -> Measure {
        let data = codec::to_bytes(self);
        Measure {
            id: EntryId(sha256(&data)),
            bytes: data.len(),
        }
    }
}

impl Position {
    /// Orders entries by chain position: the block's number, then
    /// twenty bits of log index.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.block_number << LOG_INDEX_BITS | self.log_index
    }

    /// True when [`Self::sequence`] keeps the block's number and the log's index apart.
    #[must_use]
    pub const fn has_sequence(&self) -> bool {
        self.block_number <= BLOCK_NUMBER_MAX && self.log_index <= LOG_INDEX_MAX
    }
}

impl EntryBatch {
    /// Cuts a final block's entries, given in log order, into batches; a batch
    /// is closed before the entry that would exceed its limits.
    ///
    /// An entry that alone is larger than [`BATCH_BYTES_MAX`] gets a batch of
    /// its own; it fits because an action is limited.
    #[must_use]
    pub fn cut(entries: Vec<Entry>) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        let mut room = Room::default();
        for entry in entries {
            if room.take(codec::to_bytes(&entry).len()) {
                batches.push(Self {
                    block_number: entry.position.block_number,
                    block_hash: entry.position.block_hash,
                    index: batches.len() as u64,
                    entries: Vec::new(),
                });
            }
            batches
                .last_mut()
                .expect("the first entry begins a batch")
                .entries
                .push(entry);
        }
        batches
    }

    /// The batch's wire form.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a batch and checks its shape; signatures are the caller's.
    ///
    /// # Errors
    ///
    /// [`BatchError`] names what is wrong; all of them are offences.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BatchError> {
        let batch: Self = codec::from_bytes("entry batch", bytes, BATCH_BYTES_MAX)?;
        if batch.entries.is_empty() || batch.entries.len() > BATCH_ENTRIES_MAX {
            return Err(BatchError::Count {
                count: batch.entries.len(),
            });
        }
        for (idx, entry) in batch.entries.iter().enumerate() {
            let position = &entry.position;
            if position.block_number != batch.block_number
                || position.block_hash != batch.block_hash
                || !position.has_sequence()
            {
                return Err(BatchError::Foreign { idx });
            }
            if idx > 0 && batch.entries[idx - 1].position.log_index >= position.log_index {
                return Err(BatchError::Order { idx });
            }
        }
        Ok(batch)
    }

    /// SHA-256 of the wire form; the gossip message id.
    #[must_use]
    pub fn id(&self) -> Hash32 {
        sha256(&self.to_bytes())
    }
}

impl ReceivedBatch {
    /// Decodes a batch as [`EntryBatch::from_bytes`] does.
    ///
    /// # Errors
    ///
    /// [`BatchError`] names what is wrong; all of them are offences.
    pub fn from_bytes(data: &[u8]) -> Result<Arc<Self>, BatchError> {
        struct Opened(Result<Arc<ReceivedBatch>, BatchError>);
        let opened = memo::of_bytes(data, || {
            Opened(EntryBatch::from_bytes(data).map(|batch| {
                Arc::new(Self {
                    batch,
                    id: sha256(data),
                    measures: OnceLock::new(),
                })
            }))
        });
        opened.0.clone()
    }

    /// The identities and sizes of its entries.
    #[must_use]
    pub fn measures(&self) -> &[Measure] {
        self.measures.get_or_init(|| {
            let entries = self.batch.entries.iter();
            entries.map(Entry::measure).collect()
        })
    }
}

/// How full the batch is that is being filled.
#[derive(Debug, Default)]
struct Room {
    entries: usize,
    bytes: usize,
}

impl Room {
    /// Makes room for an entry; true when it begins a batch.
    fn take(&mut self, bytes: usize) -> bool {
        let is_new = self.entries == 0
            || self.entries == BATCH_ENTRIES_MAX
            || self.bytes + bytes > BATCH_BYTES_MAX - BATCH_HEADER_BYTES;
        if is_new {
            *self = Self::default();
        }
        self.entries += 1;
        self.bytes += bytes;
        is_new
    }
}

/// How many entries the batches of a block hold, as [`EntryBatch::cut`] makes
/// them of entries of these sizes.
#[must_use]
pub fn batch_lengths(sizes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut room = Room::default();
    for bytes in sizes {
        if room.take(bytes) {
            lengths.push(0);
        }
        if let Some(last) = lengths.last_mut() {
            *last += 1;
        }
    }
    lengths
}

/// The block's number in a sequence.
#[must_use]
pub const fn block_of(sequence: u64) -> u64 {
    sequence >> LOG_INDEX_BITS
}

/// The sequences that entries of blocks may have; blocks beyond
/// [`BLOCK_NUMBER_MAX`] have none.
#[must_use]
pub fn sequences_of(blocks: RangeInclusive<u64>) -> RangeInclusive<u64> {
    let (first, last) = blocks.into_inner();
    if first > BLOCK_NUMBER_MAX {
        return RangeInclusive::new(1, 0);
    }
    let last = last.min(BLOCK_NUMBER_MAX);
    first << LOG_INDEX_BITS..=last << LOG_INDEX_BITS | LOG_INDEX_MAX
}

/// SHA-256 of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash32 {
    let mut hash = Hash32::ZERO;
    hash.0.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Most entries in one batch. Chosen: at usual sizes they reach [`BATCH_BYTES_MAX`].
pub const BATCH_ENTRIES_MAX: usize = 64;

/// Most bytes in one batch: half of what a gossip message may have.
pub const BATCH_BYTES_MAX: usize = 32 * 1024;

/// Room for the fields around the entries: four keys, two integers, a hash.
const BATCH_HEADER_BYTES: usize = 128;

/// The last block whose entries have a sequence.
pub const BLOCK_NUMBER_MAX: u64 = u64::MAX >> LOG_INDEX_BITS;

/// The last log of a block that has a sequence; a log costs 375 gas, so a block
/// of 393 million gas could not pass it.
pub const LOG_INDEX_MAX: u64 = (1 << LOG_INDEX_BITS) - 1;

/// Bits of a sequence that hold the log index.
const LOG_INDEX_BITS: u32 = 20;

#[cfg(test)]
mod tests;
