//! Other holders' pages and leaves, verified.

use std::collections::{BTreeMap, BTreeSet};

use super::leaf::{LEAVES_MAX, Leaf, check_leaves};
use crate::id::Address;
use crate::records::SignedPage;
use crate::signing::{Domain, SignatureError, Signed};
use crate::time::Epoch;

/// The newest page of every holder with the leaves that it renews.
///
/// Which addresses are confirmed holders is the caller's question to the
/// registry; a holder here is anybody whose signature fits.
#[derive(Debug)]
pub struct View<L: Leaf> {
    domain: Domain,
    holders_max: usize,
    holders: BTreeMap<Address, Holdings<L>>,
}

/// What a page or a leaf changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<L: Leaf> {
    /// Leaves that were not known before.
    pub added: Vec<L>,
    /// What the holder released.
    pub removed: Vec<L::Key>,
}

/// A holder's whole listing, put together from its parts.
#[derive(Debug, Clone)]
pub struct Listed<L> {
    /// The newest page.
    pub page: Option<SignedPage>,
    /// What it lists, sorted by key bytes; empty when its page is known.
    pub listed: Vec<L>,
    /// What was signed since.
    pub fresh: Vec<Signed<L>>,
    /// Keys that were given up since, as bytes.
    pub released: Vec<Vec<u8>>,
}

/// Why a page or a leaf was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Somebody else signed, or nobody.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The record is another holder's than the one that listed it.
    #[error("the record is {found}'s and was listed by {expected}")]
    Holder {
        /// Whose it is.
        found: Address,
        /// Who listed it.
        expected: Address,
    },
    /// The record is dated in the future.
    #[error("the record is of epoch {found}, at most {limit} is accepted")]
    Future {
        /// The epoch that the record names.
        found: Epoch,
        /// The latest that is accepted.
        limit: Epoch,
    },
    /// The leaf spans nothing, too much, or has ended.
    #[error("the record spans epochs {from} to {to}, which is empty, over or too long")]
    Span {
        /// First epoch of the leaf.
        from: Epoch,
        /// Last epoch of the leaf.
        to: Epoch,
    },
    /// The leaves are not those of the page.
    #[error("the {found} records do not fit the page: {reason}")]
    Leaves {
        /// How many came.
        found: usize,
        /// What does not fit.
        reason: &'static str,
    },
    /// Two different pages of one holder for one epoch: evidence of an offence.
    #[error("{holder} signed two pages for epoch {epoch}")]
    Equivocation {
        /// The holder that signed both.
        holder: Address,
        /// For which epoch.
        epoch: Epoch,
        /// The page that was known before.
        known: Box<SignedPage>,
    },
    /// An older page, or one with a serial that does not rise.
    #[error("page {found} of epoch {epoch} is not newer than page {known}")]
    Stale {
        /// The serial that was found.
        found: u64,
        /// The epoch that it is for.
        epoch: Epoch,
        /// The serial that is known.
        known: u64,
    },
    /// No room for another holder or leaf.
    #[error("{limit} are known already, which is the most that are kept")]
    Full {
        /// The most that are kept.
        limit: usize,
    },
}

#[derive(Debug)]
struct Holdings<L: Leaf> {
    page: Option<SignedPage>,
    /// When the holder renewed all of them: by its page, or by a list without one.
    renewed: Option<Epoch>,
    leaves: BTreeMap<L::Key, Known<L>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Known<L> {
    leaf: L,
    /// Covered by the holder's newest page; else signed since.
    is_listed: bool,
}

impl<L: Leaf> Default for Holdings<L> {
    fn default() -> Self {
        Self {
            page: None,
            renewed: None,
            leaves: BTreeMap::new(),
        }
    }
}

impl<L> Default for Listed<L> {
    fn default() -> Self {
        Self {
            page: None,
            listed: Vec::new(),
            fresh: Vec::new(),
            released: Vec::new(),
        }
    }
}

impl<L: Leaf> Default for Change<L> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
        }
    }
}

impl ViewError {
    /// True when the holder itself would have to lie for this to arrive over
    /// its own connection.
    #[must_use]
    pub const fn is_offence(&self) -> bool {
        match self {
            Self::Signature(_)
            | Self::Holder { .. }
            | Self::Leaves { .. }
            | Self::Equivocation { .. } => true,
            Self::Future { .. } | Self::Span { .. } | Self::Stale { .. } | Self::Full { .. } => {
                false
            }
        }
    }
}

impl<L: Leaf> View<L> {
    /// Creates an empty view of at most `holders_max` holders.
    #[must_use]
    pub fn new(domain: Domain, holders_max: usize) -> Self {
        Self {
            domain,
            holders_max,
            holders: BTreeMap::new(),
        }
    }

    /// Enters what was kept of an earlier run; it was verified then.
    /// What stands behind a page is not kept: the next listing brings it whole.
    pub fn restore(&mut self, leaf: L) {
        let known = Known {
            leaf,
            is_listed: false,
        };
        let holdings = self.holders.entry(known.leaf.holder()).or_default();
        holdings.leaves.insert(known.leaf.key(), known);
    }

    /// Takes a holder's whole listing, as it told it itself: what it does not
    /// name is released, and what it names is renewed. The page's signature
    /// covers `listed` through their Merkle root; what was signed since carries
    /// signatures of its own.
    ///
    /// # Errors
    ///
    /// [`ViewError`]; the view is unchanged.
    pub fn handle_listing(
        &mut self,
        holder: Address,
        listing: Listed<L>,
        epoch: Epoch,
    ) -> Result<Change<L>, ViewError> {
        self.check_room(&holder)?;
        let mut leaves = match &listing.page {
            Some(page) => self.check_page(holder, page, &listing.listed, epoch)?,
            None => BTreeMap::new(),
        };
        let released: BTreeSet<Vec<u8>> = listing.released.into_iter().collect();
        let renewed = listing
            .page
            .as_ref()
            .map_or(epoch, |page| page.record.epoch);
        leaves.retain(|_, known| !released.contains(&known.leaf.key_bytes()));
        for leaf in listing.fresh {
            let key = leaf.record.key();
            let is_known = self.is_known(&holder, &leaf.record);
            if !is_known {
                self.check_leaf(holder, &leaf, epoch)?;
            }
            let known = Known {
                leaf: leaf.record,
                is_listed: false,
            };
            leaves.insert(key, known);
        }
        leaves.retain(|_, known| binds(Some(renewed), &known.leaf, epoch));
        if leaves.len() > LEAVES_MAX {
            return Err(ViewError::Full { limit: LEAVES_MAX });
        }
        let known = self.holders.entry(holder).or_default();
        let change = Change {
            added: leaves
                .iter()
                .filter(|(key, new)| {
                    known.leaves.get(key).map(|known| &known.leaf) != Some(&new.leaf)
                })
                .map(|(_, new)| new.leaf.clone())
                .collect(),
            removed: known
                .leaves
                .keys()
                .filter(|key| !leaves.contains_key(key))
                .cloned()
                .collect(),
        };
        known.page = listing.page;
        known.renewed = Some(renewed);
        known.leaves = leaves;
        Ok(change)
    }

    /// Takes one leaf that its holder tells of by itself.
    ///
    /// # Errors
    ///
    /// [`ViewError`]; the view is unchanged.
    pub fn handle_leaf(&mut self, leaf: &Signed<L>, epoch: Epoch) -> Result<Change<L>, ViewError> {
        let holder = leaf.record.holder();
        self.check_leaf(holder, leaf, epoch)?;
        self.check_room(&holder)?;
        let known = self.holders.entry(holder).or_default();
        let key = leaf.record.key();
        if known.leaves.len() >= LEAVES_MAX && !known.leaves.contains_key(&key) {
            return Err(ViewError::Full { limit: LEAVES_MAX });
        }
        let page = known.page.as_ref().map(|page| page.record.epoch);
        // What its page does not list was released, unless it is newer.
        let is_released = page.is_some_and(|page| leaf.record.span().0 < page);
        let is_over = !binds(known.renewed, &leaf.record, epoch);
        let is_older = known
            .leaves
            .get(&key)
            .is_some_and(|known| known.leaf.serial() >= leaf.record.serial());
        let mut change = Change::default();
        if !is_released && !is_older && !is_over {
            let new = Known {
                leaf: leaf.record.clone(),
                is_listed: false,
            };
            known.leaves.insert(key, new);
            change.added.push(leaf.record.clone());
        }
        Ok(change)
    }

    /// Drops what does not bind its holder in `epoch`: leaves that ended, and
    /// all that were not renewed for [`PAGE_EPOCHS_MAX`] epochs.
    ///
    /// [`PAGE_EPOCHS_MAX`]: crate::records::PAGE_EPOCHS_MAX
    pub fn expire(&mut self, holder: &Address, epoch: Epoch) -> Vec<L::Key> {
        let Some(known) = self.holders.get_mut(holder) else {
            return Vec::new();
        };
        let renewed = known.renewed;
        let over: Vec<L::Key> = known
            .leaves
            .iter()
            .filter(|(_, known)| !binds(renewed, &known.leaf, epoch))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &over {
            known.leaves.remove(key);
        }
        over
    }

    /// Forgets one leaf of a holder: it says so, or showed that it has it not.
    pub fn remove(&mut self, holder: &Address, key: &L::Key) -> bool {
        self.holders
            .get_mut(holder)
            .is_some_and(|known| known.leaves.remove(key).is_some())
    }

    /// Every holder of whom something is known.
    pub fn holders(&self) -> impl Iterator<Item = Address> {
        self.holders.keys().copied()
    }

    /// The newest page of a holder.
    #[must_use]
    pub fn page(&self, holder: &Address) -> Option<&SignedPage> {
        self.holders.get(holder)?.page.as_ref()
    }

    /// A holder's leaf of a key, if it binds in `epoch`.
    #[must_use]
    pub fn binding(&self, holder: &Address, key: &L::Key, epoch: Epoch) -> Option<&L> {
        let known = self.holders.get(holder)?;
        let leaf = &known.leaves.get(key)?.leaf;
        binds(known.renewed, leaf, epoch).then_some(leaf)
    }

    /// The known leaves of a holder, binding or not.
    pub fn leaves(&self, holder: &Address) -> impl Iterator<Item = &L> {
        self.holders
            .get(holder)
            .into_iter()
            .flat_map(|view| view.leaves.values().map(|known| &known.leaf))
    }

    /// The leaves of a page that may be taken; those that are known already
    /// when the page is the one that is known.
    fn check_page(
        &self,
        holder: Address,
        page: &SignedPage,
        listed: &[L],
        epoch: Epoch,
    ) -> Result<BTreeMap<L::Key, Known<L>>, ViewError> {
        if page.record.holder != holder {
            return Err(ViewError::Holder {
                found: page.record.holder,
                expected: holder,
            });
        }
        let known = self.holders.get(&holder);
        if let Some(known) = known
            && known.page.as_ref() == Some(page)
            && listed.is_empty()
        {
            let is_listed = |(_, known): &(&L::Key, &Known<L>)| known.is_listed;
            let listed = known.leaves.iter().filter(is_listed);
            return Ok(listed
                .map(|(key, known)| (key.clone(), known.clone()))
                .collect());
        }
        page.verify(&self.domain, holder)?;
        check_future(page.record.epoch, epoch)?;
        if let Some(before) = known.and_then(|known| known.page.as_ref()) {
            check_newer(before, page)?;
        }
        check_leaves(&page.record, listed).map_err(|reason| ViewError::Leaves {
            found: listed.len(),
            reason,
        })?;
        let known = |leaf: &L| Known {
            leaf: leaf.clone(),
            is_listed: true,
        };
        Ok(listed
            .iter()
            .map(|leaf| (leaf.key(), known(leaf)))
            .collect())
    }

    /// True when the same record was verified before.
    fn is_known(&self, holder: &Address, leaf: &L) -> bool {
        let known = self.holders.get(holder);
        known
            .and_then(|known| known.leaves.get(&leaf.key()))
            .is_some_and(|known| known.leaf == *leaf)
    }

    fn check_leaf(&self, holder: Address, leaf: &Signed<L>, epoch: Epoch) -> Result<(), ViewError> {
        if leaf.record.holder() != holder {
            return Err(ViewError::Holder {
                found: leaf.record.holder(),
                expected: holder,
            });
        }
        leaf.verify(&self.domain, holder)?;
        let (from, to) = leaf.record.span();
        check_future(from, epoch)?;
        if !leaf.record.has_valid_span() || to < epoch {
            return Err(ViewError::Span { from, to });
        }
        Ok(())
    }

    fn check_room(&self, holder: &Address) -> Result<(), ViewError> {
        if self.holders.len() >= self.holders_max && !self.holders.contains_key(holder) {
            return Err(ViewError::Full {
                limit: self.holders_max,
            });
        }
        Ok(())
    }
}

/// True when a leaf binds in `epoch`: it has not ended, and it was signed or
/// renewed with all others at most [`PAGE_EPOCHS_MAX`](crate::records::PAGE_EPOCHS_MAX)
/// epochs ago.
fn binds<L: Leaf>(renewed: Option<Epoch>, leaf: &L, epoch: Epoch) -> bool {
    let (from, to) = leaf.span();
    let renewed = renewed.map_or(from, |renewed| renewed.max(from));
    to >= epoch && epoch.0.saturating_sub(renewed.0) <= crate::records::PAGE_EPOCHS_MAX
}

fn check_future(found: Epoch, epoch: Epoch) -> Result<(), ViewError> {
    let limit = epoch.plus(1);
    if found > limit {
        return Err(ViewError::Future { found, limit });
    }
    Ok(())
}

/// The same page again is fine; another one has to be of a later epoch and to
/// carry a higher serial.
fn check_newer(known: &SignedPage, page: &SignedPage) -> Result<(), ViewError> {
    if known.record == page.record {
        return Ok(());
    }
    if known.record.epoch == page.record.epoch {
        return Err(ViewError::Equivocation {
            holder: page.record.holder,
            epoch: page.record.epoch,
            known: Box::new(known.clone()),
        });
    }
    if page.record.epoch < known.record.epoch || page.record.serial <= known.record.serial {
        return Err(ViewError::Stale {
            found: page.record.serial,
            epoch: page.record.epoch,
            known: known.record.serial,
        });
    }
    Ok(())
}
