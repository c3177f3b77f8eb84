//! A holder's own leases: counters, grants, releases, expiry and pages.

use std::collections::BTreeMap;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::leaf::LEAVES_MAX;
use super::listing::{Listing, Part};
use crate::id::{Address, Hash32};
use crate::records::{LEASE_EPOCHS_MAX, Lease, Page, SignedLease, SignedPage};
use crate::time::Epoch;
use crate::wire::{Audience, Topic};

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
    listing: Listing<Lease>,
}

/// Spans and limits of a [`LeaseBook`].
#[derive(Debug, Clone)]
pub struct BookConfig {
    /// How many epochs a lease promises; at most [`LEASE_EPOCHS_MAX`].
    pub lease_epochs: u64,
    /// A lease that ends within this many epochs is due for renewal.
    pub renewal_epochs: u64,
    /// Leases that are held at most; at most [`LEAVES_MAX`].
    pub leases_max: usize,
}

/// The last serials that were used, and the epochs that have their record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Serial of the last lease, 0 before the first.
    pub lease_serial: u64,
    /// Serial of the last page, 0 before the first.
    pub page_serial: u64,
    /// Epoch of the last record on each topic that carries one an epoch; a second
    /// one for it would be an offence.
    pub epochs: BTreeMap<Topic, Epoch>,
    /// The highest serial of a lease that the last page lists.
    #[serde(default)]
    pub listed_serial: u64,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageDraft {
    /// What to sign.
    pub page: Page,
    /// What to store first.
    pub counters: Counters,
}

impl BookConfig {
    /// Leases that are renewed in one epoch at most: a full book is renewed in
    /// time even when all of it ends together.
    #[must_use]
    pub fn renewals_max(&self) -> usize {
        let epochs = usize::try_from(self.renewal_epochs).unwrap_or(usize::MAX);
        LEAVES_MAX.div_ceil(epochs.max(1))
    }
}

impl Counters {
    /// Leaves the epochs of a topic up to `epoch` without another record.
    fn raise(&mut self, topic: Topic, epoch: Epoch) {
        let last = self.epochs.entry(topic).or_insert(epoch);
        *last = epoch.max(*last);
    }
}

impl Default for BookConfig {
    fn default() -> Self {
        Self {
            lease_epochs: LEASE_EPOCHS_MAX,
            // A week before its end: a holder may be away for days and renews in time.
            renewal_epochs: 7 * 24,
            // As many as a page can list.
            leases_max: LEAVES_MAX,
        }
    }
}

impl LeaseBook {
    /// Opens a book with what was stored of it: counters, leases, and the newest
    /// page with the lease serial at its draft. The counters never fall below
    /// what the records show.
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
            counters.raise(Topic::Pages, page.record.epoch);
        }
        let page = page.map(|page| (page, counters.listed_serial));
        Self {
            config,
            holder,
            counters,
            listing: Listing::restore(newest.into_values(), page),
        }
    }

    /// Draws serials far above all that a former self may have used, and keeps
    /// the epoch in which it may have signed without a page: what comes back
    /// from a backup does not know what was signed after it was made. The
    /// counters are to be stored before anything is signed.
    pub fn return_from_backup(&mut self, epoch: Epoch) -> Counters {
        self.counters.lease_serial += RETURN_SERIALS;
        self.counters.page_serial += RETURN_SERIALS;
        for topic in Topic::of(Audience::Holders) {
            self.counters.raise(topic, epoch);
        }
        self.counters.clone()
    }

    /// Draws the one record of an epoch on a topic; false when one was drawn for
    /// it or a later one. The counters are to be stored before it is signed.
    pub fn draw(&mut self, topic: Topic, epoch: Epoch) -> bool {
        let last = self.counters.epochs.get(&topic);
        if last.is_some_and(|last| *last >= epoch) {
            return false;
        }
        self.counters.epochs.insert(topic, epoch);
        true
    }

    /// Promises a root from `epoch` on; a standing lease is returned as it is.
    pub fn grant(&mut self, root: Cid, proof_root: Hash32, size: u64, epoch: Epoch) -> Grant {
        match self.lease(&root) {
            Some(standing)
                if standing.record.proof_root == proof_root && standing.record.size == size =>
            {
                Grant::Standing(standing.clone())
            }
            None if self.len() >= self.config.leases_max.min(LEAVES_MAX) => Grant::Full,
            Some(_) | None => self.draft(root, proof_root, size, epoch),
        }
    }

    /// Drafts leases anew that end soon and are wanted, at most `roots_max`:
    /// what ends first comes first.
    pub fn renew(
        &mut self,
        epoch: Epoch,
        roots_max: usize,
        is_wanted: impl Fn(&Cid) -> bool,
    ) -> Vec<(Lease, Counters)> {
        let mut due: Vec<&Lease> = self
            .leases()
            .map(|lease| &lease.record)
            .filter(|lease| self.is_due(lease, epoch) && is_wanted(&lease.root))
            .collect();
        due.sort_by_key(|lease| lease.to_epoch);
        due.truncate(roots_max);
        let due: Vec<Lease> = due.into_iter().cloned().collect();
        due.into_iter()
            .filter_map(|lease| {
                let drafted = self.draft(lease.root, lease.proof_root, lease.size, epoch);
                match drafted {
                    Grant::Draft { lease, counters } => Some((lease, counters)),
                    Grant::Standing(_) | Grant::Full => None,
                }
            })
            .collect()
    }

    /// Enters a signed lease in place of an older one of its root. Leases of
    /// somebody else, or with a serial that was never drawn, are ignored.
    pub fn handle_signed(&mut self, lease: SignedLease) {
        let record = &lease.record;
        if record.holder != self.holder || record.serial > self.counters.lease_serial {
            return;
        }
        if self
            .lease(&record.root)
            .is_none_or(|known| known.record.serial < record.serial)
        {
            self.listing.insert(lease);
        }
    }

    /// Strikes the lease of a root; the next page releases it, and until then
    /// listings name it as given up.
    pub fn release(&mut self, root: &Cid) -> Option<SignedLease> {
        self.listing.release(&root.to_bytes())
    }

    /// The roots whose leases have ended.
    #[must_use]
    pub fn expired(&self, epoch: Epoch) -> Vec<Cid> {
        self.leases()
            .filter(|lease| lease.record.to_epoch < epoch)
            .map(|lease| lease.record.root)
            .collect()
    }

    /// Drafts the page of `epoch`, unless one was drafted for it or a later one.
    pub fn draft_page(&mut self, epoch: Epoch) -> Option<PageDraft> {
        if !self.draw(Topic::Pages, epoch) {
            return None;
        }
        self.counters.page_serial += 1;
        // A lease that is being signed has a higher serial, and is not listed.
        let serials = self.leases().map(|lease| lease.record.serial);
        self.counters.listed_serial = serials.max().unwrap_or(0);
        let serial = self.counters.page_serial;
        Some(PageDraft {
            page: self.listing.draft(self.holder, serial, epoch),
            counters: self.counters.clone(),
        })
    }

    /// Enters a signed page as the newest.
    pub fn handle_page_signed(&mut self, page: SignedPage) {
        if page.record.holder == self.holder && page.record.serial <= self.counters.page_serial {
            self.listing.handle_page(page);
        }
    }

    /// A part of what this holder lists; see [`Part`].
    #[must_use]
    pub fn part(&self, after: Option<&[u8]>, known: Option<u64>) -> Part<Lease> {
        self.listing.part(after, known)
    }

    /// The newest signed page, when it is known what it lists.
    #[must_use]
    pub fn page(&self) -> Option<&SignedPage> {
        self.listing.page()
    }

    /// The standing lease of a root.
    #[must_use]
    pub fn lease(&self, root: &Cid) -> Option<&SignedLease> {
        self.listing.get(&root.to_bytes())
    }

    /// All standing leases, by root bytes.
    pub fn leases(&self) -> impl Iterator<Item = &SignedLease> {
        self.listing.standing()
    }

    /// How many leases stand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listing.len()
    }

    /// True when no lease stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters as they stand.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    fn draft(&mut self, root: Cid, proof_root: Hash32, size: u64, epoch: Epoch) -> Grant {
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
            counters: self.counters.clone(),
        }
    }

    fn is_due(&self, lease: &Lease, epoch: Epoch) -> bool {
        lease.to_epoch.0 < epoch.plus(self.config.renewal_epochs).0
    }
}

/// Serials that a return from a backup skips. Chosen: more than a holder can
/// have used since, and a backup may be restored 2^40 times.
const RETURN_SERIALS: u64 = 1 << 24;
