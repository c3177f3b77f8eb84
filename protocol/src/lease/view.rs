//! Other holders' pages and leases, verified.

use std::collections::BTreeMap;

use cid::Cid;

use super::{LEASES_MAX, Lease, PAGE_EPOCHS_MAX, SignedLease, SignedPage};
use crate::id::{Address, Hash32};
use crate::merkle;
use crate::signing::{Domain, Record, SignatureError};
use crate::time::Epoch;

/// The newest page of every holder with the leases that it renews.
///
/// Which addresses are confirmed holders is the caller's question to the
/// registry; a holder here is anybody whose signature fits.
#[derive(Debug)]
pub struct PageView {
    domain: Domain,
    holders_max: usize,
    holders: BTreeMap<Address, HolderView>,
}

/// What a page or a lease changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageChange {
    /// Leases that were not known before.
    pub added: Vec<Lease>,
    /// Roots that the holder released.
    pub removed: Vec<Cid>,
}

/// Why a page or a lease was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Somebody else signed, or nobody.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The record is dated in the future.
    #[error("the record is of epoch {found}, at most {limit} is accepted")]
    Future {
        /// Its epoch.
        found: Epoch,
        /// The latest that is accepted.
        limit: Epoch,
    },
    /// The lease promises nothing, too much, or has ended.
    #[error("the lease spans epochs {from} to {to}, which is empty, over or too long")]
    Span {
        /// First epoch.
        from: Epoch,
        /// Last epoch.
        to: Epoch,
    },
    /// The leases are not those of the page.
    #[error("the {found} leases do not fit the page: {reason}")]
    Leases {
        /// How many came.
        found: usize,
        /// What does not fit.
        reason: &'static str,
    },
    /// Two different pages of one holder for one epoch: evidence of an offence.
    #[error("{holder} signed two pages for epoch {epoch}")]
    Equivocation {
        /// Who.
        holder: Address,
        /// For which epoch.
        epoch: Epoch,
        /// The page that was known before.
        known: Box<SignedPage>,
    },
    /// An older page, or one with a serial that does not rise.
    #[error("page {found} of epoch {epoch} is not newer than page {known}")]
    Stale {
        /// Its serial.
        found: u64,
        /// Its epoch.
        epoch: Epoch,
        /// The serial that is known.
        known: u64,
    },
    /// No room for another holder.
    #[error("{limit} holders are known already, which is the most that are kept")]
    Full {
        /// The most that are kept.
        limit: usize,
    },
}

#[derive(Debug, Default)]
struct HolderView {
    page: Option<SignedPage>,
    leases: BTreeMap<Cid, Lease>,
}

impl PageView {
    /// Creates an empty view of at most `holders_max` holders.
    #[must_use]
    pub fn new(domain: Domain, holders_max: usize) -> Self {
        Self {
            domain,
            holders_max,
            holders: BTreeMap::new(),
        }
    }

    /// Takes a page with all the leases that it renews, sorted by root bytes.
    /// The page's signature covers them through their Merkle root.
    ///
    /// # Errors
    ///
    /// [`PageError`]; the view is unchanged.
    pub fn handle_page(
        &mut self,
        page: SignedPage,
        leases: &[Lease],
        epoch: Epoch,
    ) -> Result<PageChange, PageError> {
        let holder = page.record.holder;
        page.verify(&self.domain, holder)?;
        check_future(page.record.epoch, epoch)?;
        self.check_newer(&page)?;
        check_leases(&page, leases)?;
        self.check_room(&holder)?;

        let view = self.holders.entry(holder).or_default();
        let page_epoch = page.record.epoch;
        let mut change = PageChange::default();
        let listed: BTreeMap<Cid, Lease> = leases
            .iter()
            .map(|lease| (lease.root, lease.clone()))
            .collect();
        // A lease given since the page is not in it and stands until the next.
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut view.leases)
            .into_values()
            .filter(|lease| !listed.contains_key(&lease.root))
            .partition(|lease| lease.from_epoch >= page_epoch);
        change.removed = gone.iter().map(|lease| lease.root).collect();
        change.added = leases.to_vec();
        view.leases = listed;
        for lease in kept {
            view.leases.insert(lease.root, lease);
        }
        view.page = Some(page);
        Ok(change)
    }

    /// Takes one lease that was given since its holder's newest page.
    ///
    /// # Errors
    ///
    /// [`PageError`]; the view is unchanged.
    pub fn handle_lease(
        &mut self,
        lease: &SignedLease,
        epoch: Epoch,
    ) -> Result<PageChange, PageError> {
        let record = &lease.record;
        lease.verify(&self.domain, record.holder)?;
        check_future(record.from_epoch, epoch)?;
        if !record.has_valid_span() || record.to_epoch < epoch {
            return Err(PageError::Span {
                from: record.from_epoch,
                to: record.to_epoch,
            });
        }
        self.check_room(&record.holder)?;
        let view = self.holders.entry(record.holder).or_default();
        if view.leases.len() >= LEASES_MAX && !view.leases.contains_key(&record.root) {
            return Err(PageError::Full { limit: LEASES_MAX });
        }
        let is_released = view
            .page
            .as_ref()
            .is_some_and(|page| record.from_epoch < page.record.epoch);
        let is_older = view
            .leases
            .get(&record.root)
            .is_some_and(|known| known.serial >= record.serial);
        let mut change = PageChange::default();
        if !is_released && !is_older {
            view.leases.insert(record.root, record.clone());
            change.added.push(record.clone());
        }
        Ok(change)
    }

    /// Forgets a holder and returns the roots that it held.
    pub fn remove(&mut self, holder: &Address) -> Vec<Cid> {
        self.holders
            .remove(holder)
            .map(|view| view.leases.into_keys().collect())
            .unwrap_or_default()
    }

    /// The newest page of a holder.
    #[must_use]
    pub fn page(&self, holder: &Address) -> Option<&SignedPage> {
        self.holders.get(holder)?.page.as_ref()
    }

    /// The known leases of a holder, binding or not.
    pub fn leases(&self, holder: &Address) -> impl Iterator<Item = &Lease> {
        self.holders
            .get(holder)
            .into_iter()
            .flat_map(|view| view.leases.values())
    }

    /// True when `holder` is bound to hold `root` in `epoch`: a lease that is
    /// listed in its newest page, or was given since, and a renewal that is at
    /// most [`PAGE_EPOCHS_MAX`] epochs old.
    #[must_use]
    pub fn binds(&self, holder: &Address, root: &Cid, epoch: Epoch) -> bool {
        let Some(view) = self.holders.get(holder) else {
            return false;
        };
        let Some(lease) = view.leases.get(root) else {
            return false;
        };
        let renewed = view
            .page
            .as_ref()
            .map_or(lease.from_epoch, |page| page.record.epoch)
            .max(lease.from_epoch);
        lease.to_epoch >= epoch && epoch.0.saturating_sub(renewed.0) <= PAGE_EPOCHS_MAX
    }

    fn check_newer(&self, page: &SignedPage) -> Result<(), PageError> {
        let Some(known) = self.page(&page.record.holder) else {
            return Ok(());
        };
        if known.record.epoch == page.record.epoch && known.record != page.record {
            return Err(PageError::Equivocation {
                holder: page.record.holder,
                epoch: page.record.epoch,
                known: Box::new(known.clone()),
            });
        }
        if page.record.epoch <= known.record.epoch || page.record.serial <= known.record.serial {
            return Err(PageError::Stale {
                found: page.record.serial,
                epoch: page.record.epoch,
                known: known.record.serial,
            });
        }
        Ok(())
    }

    fn check_room(&self, holder: &Address) -> Result<(), PageError> {
        if self.holders.len() >= self.holders_max && !self.holders.contains_key(holder) {
            return Err(PageError::Full {
                limit: self.holders_max,
            });
        }
        Ok(())
    }
}

fn check_future(found: Epoch, epoch: Epoch) -> Result<(), PageError> {
    let limit = epoch.plus(1);
    if found > limit {
        return Err(PageError::Future { found, limit });
    }
    Ok(())
}

fn check_leases(page: &SignedPage, leases: &[Lease]) -> Result<(), PageError> {
    let refuse = |reason| {
        Err(PageError::Leases {
            found: leases.len(),
            reason,
        })
    };
    let page = &page.record;
    if leases.len() > LEASES_MAX || leases.len() as u64 != page.count {
        return refuse("their number differs");
    }
    let mut size = 0u64;
    let mut last: Option<Vec<u8>> = None;
    let mut hashes: Vec<Hash32> = Vec::with_capacity(leases.len());
    for lease in leases {
        if lease.holder != page.holder {
            return refuse("one is another holder's");
        }
        if !lease.has_valid_span() {
            return refuse("one has an invalid span");
        }
        let root = lease.root.to_bytes();
        if last.as_ref().is_some_and(|last| *last >= root) {
            return refuse("their roots are not sorted, or one comes twice");
        }
        last = Some(root);
        let Some(sum) = size.checked_add(lease.size) else {
            return refuse("their sizes exceed 64 bits");
        };
        size = sum;
        hashes.push(lease.struct_hash());
    }
    if size != page.size {
        return refuse("their sizes differ");
    }
    if merkle::root(hashes) != page.leases_root {
        return refuse("their Merkle root differs");
    }
    Ok(())
}
