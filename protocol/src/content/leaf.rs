//! What pages list: signed records of one holder, renewed together.

use crate::id::{Address, Hash32};
use crate::merkle;
use crate::signing::Record;
use crate::time::Epoch;

use crate::records::{Lease, Page};

/// A record that its holder renews by a page: a lease, a play counter, the
/// outcome of an audit.
pub trait Leaf: Record + Clone + std::fmt::Debug + PartialEq {
    /// What a holder has one leaf for.
    type Key: Ord + Clone + std::fmt::Debug;

    /// Who signed it.
    fn holder(&self) -> Address;

    /// Which of the holder's leaves it is.
    fn key(&self) -> Self::Key;

    /// What leaves are sorted by under a page's Merkle root.
    fn key_bytes(&self) -> Vec<u8>;

    /// Rises by one with each leaf of a holder.
    fn serial(&self) -> u64;

    /// What the page sums up, in bytes.
    fn size(&self) -> u64;

    /// First and last epoch that it speaks of.
    fn span(&self) -> (Epoch, Epoch);

    /// Longest span in epochs.
    const SPAN_MAX: u64;

    /// True when it spans something, and no more than is allowed.
    fn has_valid_span(&self) -> bool {
        let (from, to) = self.span();
        from <= to && to.0 - from.0 <= Self::SPAN_MAX
    }
}

impl Leaf for Lease {
    type Key = cid::Cid;

    fn holder(&self) -> Address {
        self.holder
    }

    fn key(&self) -> Self::Key {
        self.root
    }

    fn key_bytes(&self) -> Vec<u8> {
        self.root.to_bytes()
    }

    fn serial(&self) -> u64 {
        self.serial
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn span(&self) -> (Epoch, Epoch) {
        (self.from_epoch, self.to_epoch)
    }

    const SPAN_MAX: u64 = crate::records::LEASE_EPOCHS_MAX;
}

/// Makes the page that renews `leaves`, which are sorted by
/// [`Leaf::key_bytes`] and hold each key once.
pub fn page_of<'a, L: Leaf + 'a>(
    holder: Address,
    serial: u64,
    epoch: Epoch,
    leaves: impl Iterator<Item = &'a L>,
) -> Page {
    let mut size: u64 = 0;
    let hashes: Vec<Hash32> = leaves
        .map(|leaf| {
            size = size.saturating_add(leaf.size());
            leaf.struct_hash()
        })
        .collect();
    Page {
        holder,
        serial,
        epoch,
        count: hashes.len() as u64,
        size,
        leases_root: merkle::root(hashes),
    }
}

/// Checks that `leaves` are exactly what `page` lists.
///
/// # Errors
///
/// What does not fit, for people.
pub fn check_leaves<L: Leaf>(page: &Page, leaves: &[L]) -> Result<(), &'static str> {
    if leaves.len() > LEAVES_MAX || leaves.len() as u64 != page.count {
        return Err("their number differs");
    }
    let mut size = 0u64;
    let mut last: Option<Vec<u8>> = None;
    let mut hashes: Vec<Hash32> = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        if leaf.holder() != page.holder {
            return Err("one is another holder's");
        }
        if !leaf.has_valid_span() {
            return Err("one has an invalid span");
        }
        let key = leaf.key_bytes();
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err("they are not sorted, or one comes twice");
        }
        last = Some(key);
        let Some(sum) = size.checked_add(leaf.size()) else {
            return Err("their sizes exceed 64 bits");
        };
        size = sum;
        hashes.push(leaf.struct_hash());
    }
    if size != page.size {
        return Err("their sizes differ");
    }
    if merkle::root(hashes) != page.leases_root {
        return Err("their Merkle root differs");
    }
    Ok(())
}

/// Most leaves of one page. Chosen: a holder of 1 TB in files of 1 MB.
pub const LEAVES_MAX: usize = 1_000_000;
