//! A holder's own leases: counters, grants, releases, expiry and pages.

use std::collections::BTreeMap;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::{LEASE_EPOCHS_MAX, LEASES_MAX, Lease, Page, SignedLease, SignedPage};
use crate::id::{Address, Hash32};
use crate::time::Epoch;

/// The leases that this peer has given.
///
/// A grant or a page is *drafted* first: the draft carries the counters as they
/// stand after it, which the driver stores before it signs. A crash between the
/// two skips a serial and never uses one twice.
#[derive(Debug)]
pub struct LeaseBook {
    config: BookConfig,
    holder: Address,
    counters: Counters,
    leases: BTreeMap<Cid, SignedLease>,
    page: Option<SignedPage>,
}

/// Spans and limits of a [`LeaseBook`].
#[derive(Debug, Clone)]
pub struct BookConfig {
    /// How many epochs a lease promises; at most [`LEASE_EPOCHS_MAX`].
    pub lease_epochs: u64,
    /// A lease that ends within this many epochs is due for renewal.
    pub renewal_epochs: u64,
    /// Leases that are held at most; at most [`LEASES_MAX`].
    pub leases_max: usize,
}

/// The last serials that were used, and the epoch of the last page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Serial of the last lease, 0 before the first.
    pub lease_serial: u64,
    /// Serial of the last page, 0 before the first.
    pub page_serial: u64,
    /// Epoch of the last page; a second one for it would be an offence.
    pub page_epoch: Option<Epoch>,
}

/// What a holder should do to promise a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// It has promised already.
    Standing(SignedLease),
    /// Store `counters`, sign `lease`, store it and hand it to [`LeaseBook::handle_signed`].
    Draft {
        /// What to sign.
        lease: Lease,
        /// What to store first.
        counters: Counters,
    },
    /// No room for another lease.
    Full,
}

/// A page to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageDraft {
    /// What to sign.
    pub page: Page,
    /// What to store first.
    pub counters: Counters,
}

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            lease_epochs: LEASE_EPOCHS_MAX,
            renewal_epochs: 7 * 24,
            leases_max: LEASES_MAX,
        }
    }
}

impl LeaseBook {
    /// Opens a book with what was stored of it: counters, leases and the newest
    /// page. The counters never fall below what the records show.
    #[must_use]
    pub fn new(
        config: BookConfig,
        holder: Address,
        mut counters: Counters,
        leases: impl IntoIterator<Item = SignedLease>,
        page: Option<SignedPage>,
    ) -> Self {
        let mut newest: BTreeMap<Cid, SignedLease> = BTreeMap::new();
        for lease in leases {
            let serial = lease.record.serial;
            counters.lease_serial = counters.lease_serial.max(serial);
            if newest
                .get(&lease.record.root)
                .is_none_or(|known| known.record.serial < serial)
            {
                newest.insert(lease.record.root, lease);
            }
        }
        if let Some(page) = &page {
            counters.page_serial = counters.page_serial.max(page.record.serial);
            counters.page_epoch = counters.page_epoch.max(Some(page.record.epoch));
        }
        Self {
            config,
            holder,
            counters,
            leases: newest,
            page,
        }
    }

    /// Promises a root from `epoch` on. A standing lease that says the same and
    /// is not due for renewal is returned as it is.
    pub fn grant(&mut self, root: Cid, proof_root: Hash32, size: u64, epoch: Epoch) -> Grant {
        match self.leases.get(&root) {
            Some(standing)
                if standing.record.proof_root == proof_root
                    && standing.record.size == size
                    && !self.is_due(&standing.record, epoch) =>
            {
                return Grant::Standing(standing.clone());
            }
            None if self.leases.len() >= self.config.leases_max.min(LEASES_MAX) => {
                return Grant::Full;
            }
            Some(_) | None => {}
        }
        self.counters.lease_serial += 1;
        let lease = Lease {
            root,
            proof_root,
            size,
            holder: self.holder,
            serial: self.counters.lease_serial,
            from_epoch: epoch,
            to_epoch: epoch.plus(self.config.lease_epochs.min(LEASE_EPOCHS_MAX)),
        };
        Grant::Draft {
            lease,
            counters: self.counters,
        }
    }

    /// Enters a signed lease in place of an older one of its root. Leases of
    /// somebody else, or with a serial that was never drawn, are ignored.
    pub fn handle_signed(&mut self, lease: SignedLease) {
        let record = &lease.record;
        if record.holder != self.holder || record.serial > self.counters.lease_serial {
            return;
        }
        if self
            .leases
            .get(&record.root)
            .is_none_or(|known| known.record.serial < record.serial)
        {
            self.leases.insert(record.root, lease);
        }
    }

    /// Strikes the lease of a root; the next page releases it.
    pub fn release(&mut self, root: &Cid) -> Option<SignedLease> {
        self.leases.remove(root)
    }

    /// Strikes the leases whose last epoch has passed and returns their roots.
    pub fn expire(&mut self, epoch: Epoch) -> Vec<Cid> {
        let expired: Vec<Cid> = self
            .leases
            .values()
            .filter(|lease| lease.record.to_epoch < epoch)
            .map(|lease| lease.record.root)
            .collect();
        for root in &expired {
            self.leases.remove(root);
        }
        expired
    }

    /// The roots whose leases should be granted anew, at most `roots_max`.
    #[must_use]
    pub fn renewals(&self, epoch: Epoch, roots_max: usize) -> Vec<Cid> {
        self.leases
            .values()
            .filter(|lease| self.is_due(&lease.record, epoch))
            .map(|lease| lease.record.root)
            .take(roots_max)
            .collect()
    }

    /// Drafts the page of `epoch`, unless one was drafted for it or a later one.
    pub fn draft_page(&mut self, epoch: Epoch) -> Option<PageDraft> {
        if self.counters.page_epoch.is_some_and(|last| last >= epoch) {
            return None;
        }
        self.counters.page_serial += 1;
        self.counters.page_epoch = Some(epoch);
        let leases = self.leases.values().map(|lease| &lease.record);
        Some(PageDraft {
            page: Page::new(self.holder, self.counters.page_serial, epoch, leases),
            counters: self.counters,
        })
    }

    /// Enters a signed page as the newest.
    pub fn handle_page_signed(&mut self, page: SignedPage) {
        if page.record.holder == self.holder && page.record.serial <= self.counters.page_serial {
            self.page = Some(page);
        }
    }

    /// The newest signed page.
    #[must_use]
    pub fn page(&self) -> Option<&SignedPage> {
        self.page.as_ref()
    }

    /// The standing lease of a root.
    #[must_use]
    pub fn lease(&self, root: &Cid) -> Option<&SignedLease> {
        self.leases.get(root)
    }

    /// All standing leases.
    pub fn leases(&self) -> impl Iterator<Item = &SignedLease> {
        self.leases.values()
    }

    /// How many leases stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// True when no lease stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// The counters as they stand.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn is_due(&self, lease: &Lease, epoch: Epoch) -> bool {
        lease.to_epoch.0 < epoch.plus(self.config.renewal_epochs).0
    }
}
