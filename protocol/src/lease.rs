//! Leases: a staked peer's signed promise to hold a root until an epoch, and
//! the pages that renew all of a holder's leases with one signature.
//!
//! Formats: `docs/formats/lease.md`.

use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32};
use crate::merkle;
use crate::signing::{Record, Signed, StructEncoder};
use crate::time::Epoch;

mod book;
mod view;
pub mod wire;

pub use book::{BookConfig, Counters, Grant, LeaseBook, PageDraft};
pub use view::{PageChange, PageError, PageView};

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

/// The renewal of all leases of one holder in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The peer that renews.
    pub holder: Address,
    /// The holder's page counter; rises by one with each page.
    pub serial: u64,
    /// The epoch of the renewal.
    pub epoch: Epoch,
    /// How many leases the page renews.
    pub count: u64,
    /// The sum of their sizes in bytes.
    pub size: u64,
    /// RFC 6962 root over the struct hashes of the leases, sorted by root bytes.
    pub leases_root: Hash32,
}

/// A signed page as it travels.
pub type SignedPage = Signed<Page>;

impl Lease {
    /// True when the promise spans no more than is allowed and is not empty.
    #[must_use]
    pub fn has_valid_span(&self) -> bool {
        self.from_epoch <= self.to_epoch && self.to_epoch.0 - self.from_epoch.0 <= LEASE_EPOCHS_MAX
    }
}

impl Page {
    /// Makes the page that renews `leases`, which may come in any order but
    /// hold each root once.
    #[must_use]
    pub fn new<'a>(
        holder: Address,
        serial: u64,
        epoch: Epoch,
        leases: impl IntoIterator<Item = &'a Lease>,
    ) -> Self {
        let mut leases: Vec<&Lease> = leases.into_iter().collect();
        leases.sort_by_key(|lease| lease.root.to_bytes());
        Self {
            holder,
            serial,
            epoch,
            count: leases.len() as u64,
            size: leases.iter().map(|lease| lease.size).sum(),
            leases_root: merkle::root(leases.iter().map(|lease| lease.struct_hash())),
        }
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

impl Record for Page {
    const TYPE: &'static str = "Page(address holder,uint64 serial,uint64 epoch,uint64 count,uint64 size,bytes32 leasesRoot)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .address(&self.holder)
            .uint(self.serial)
            .uint(self.epoch.0)
            .uint(self.count)
            .uint(self.size)
            .bytes32(&self.leases_root);
    }
}

/// Longest promise: 90 days.
pub const LEASE_EPOCHS_MAX: u64 = 90 * 24;

/// A lease binds while its holder's newest page is at most this old.
pub const PAGE_EPOCHS_MAX: u64 = 24;

/// Most leases that one holder may list in a page.
pub const LEASES_MAX: usize = 1_000_000;

#[cfg(test)]
mod tests;
