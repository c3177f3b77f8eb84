//! Leases: a staked peer's signed promise to hold a root until an epoch
//! (`docs/formats/lease.md`).

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32};
use crate::signing::{Record, Signed, StructEncoder};
use crate::time::Epoch;

/// A promise to hold `root` and everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The root of the file or directory.
    pub root: Cid,
    /// BLAKE3 of the DAG's distinct blocks in pre-order.
    pub proof_root: Hash32,
    /// The sum of the lengths of the DAG's distinct blocks.
    pub size: u64,
    /// The peer that promises.
    pub holder: Address,
    /// The holder's lease counter; rises by one with each lease.
    pub serial: u64,
    /// First epoch of the promise.
    pub from_epoch: Epoch,
    /// Last epoch of the promise; at most [`LEASE_EPOCHS_MAX`] after the first.
    pub to_epoch: Epoch,
}

/// A signed lease as it travels.
pub type SignedLease = Signed<Lease>;

impl Lease {
    /// True when the promise spans no more than is allowed and is not empty.
    #[must_use]
    pub fn has_valid_span(&self) -> bool {
        self.from_epoch <= self.to_epoch && self.to_epoch.0 - self.from_epoch.0 <= LEASE_EPOCHS_MAX
    }
}

impl Record for Lease {
    const TYPE: &'static str = "Lease(bytes root,bytes32 proofRoot,uint64 size,address holder,uint64 serial,uint64 fromEpoch,uint64 toEpoch)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .bytes(&self.root.to_bytes())
            .bytes32(&self.proof_root)
            .uint(self.size)
            .address(&self.holder)
            .uint(self.serial)
            .uint(self.from_epoch.0)
            .uint(self.to_epoch.0);
    }
}

/// Longest promise: 90 days. Chosen: a page that does not come ends a promise within
/// a day, so this only bounds what a stolen key can promise.
pub const LEASE_EPOCHS_MAX: u64 = 90 * 24;
