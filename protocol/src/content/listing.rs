//! What a holder lists over `/coliving/leases/1`: the leaves of its newest
//! page, those that it signed since, and those that it gave up since.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::leaf::{Leaf, check_leaves, page_of};
use crate::codec::{self, DecodeError};
use crate::id::Address;
use crate::records::{Lease, Page, SignedLease, SignedPage};
use crate::signing::Signed;
use crate::time::Epoch;
use crate::wire::{CID_BYTES_MAX, LEASE_BYTES_MAX, Protocol};

/// A question or a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Asks for the answering peer's own leases.
    List {
        /// The bytes of the root that the answer before ended with.
        after: Option<ByteBuf>,
        /// Serial of the page whose leases the asker has checked already; they
        /// are left out when it is still the newest.
        known: Option<u64>,
    },
    /// Tells of a lease that was just given.
    Announce {
        /// The sender's lease.
        lease: Box<SignedLease>,
    },
}

/// An answer to a listing request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Response {
    /// Leases of the answering peer.
    List(Box<Part<Lease>>),
    /// The notice was taken.
    Noted,
}

/// A part of a listing: every leaf with a key in a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "L: DeserializeOwned"))]
pub struct Part<L> {
    /// The newest page, which covers `listed` by its Merkle root.
    pub page: Option<SignedPage>,
    /// What the page lists, sorted by key bytes; the signatures are the page's.
    pub listed: Vec<L>,
    /// What was signed since, sorted by key bytes.
    pub fresh: Vec<Signed<L>>,
    /// Keys of `listed` that were given up since, as bytes.
    pub released: Vec<ByteBuf>,
    /// The key bytes after which the next part goes on; `None` at the end.
    pub next: Option<ByteBuf>,
}

/// A holder's own leaves, as its newest page and what came since.
#[derive(Debug, Clone)]
pub(super) struct Listing<L> {
    page: Option<SignedPage>,
    leaves: BTreeMap<Vec<u8>, Entry<L>>,
    /// What is not as the page lists it: all that somebody hears who knows the page.
    changed: BTreeSet<Vec<u8>>,
    standing_count: usize,
}

/// The leaves of one key; mostly they are the same one.
#[derive(Debug, Clone)]
struct Entry<L> {
    /// What stands; nothing when it was given up.
    standing: Option<Arc<Signed<L>>>,
    /// In the newest signed page.
    listed: Option<Arc<Signed<L>>>,
    /// In the page that is being signed.
    drafted: Option<Arc<Signed<L>>>,
}

impl<L: Leaf> Entry<L> {
    /// What stands and is not what the page lists.
    fn fresh(&self) -> Option<&Signed<L>> {
        let standing = self.standing.as_deref()?;
        let is_listed =
            |listed: &Arc<Signed<L>>| listed.record.serial() == standing.record.serial();
        (!self.listed.as_ref().is_some_and(is_listed)).then_some(standing)
    }

    const fn is_released(&self) -> bool {
        self.listed.is_some() && self.standing.is_none()
    }

    /// True when it is not as the page lists it.
    fn is_changed(&self) -> bool {
        self.is_released() || self.fresh().is_some()
    }

    const fn is_over(&self) -> bool {
        self.standing.is_none() && self.listed.is_none() && self.drafted.is_none()
    }
}

impl<L: Leaf> Listing<L> {
    /// Puts stored leaves and the stored page together. A page that lists
    /// others is left out, and every leaf counts as signed since: each carries
    /// a signature.
    pub(super) fn restore(
        leaves: impl IntoIterator<Item = Signed<L>>,
        page: Option<(SignedPage, u64)>,
    ) -> Self {
        let mut listing = Self {
            page: None,
            leaves: BTreeMap::new(),
            changed: BTreeSet::new(),
            standing_count: 0,
        };
        for leaf in leaves {
            listing.insert(leaf);
        }
        let Some((page, serial_max)) = page else {
            return listing;
        };
        let is_listed = |leaf: &Signed<L>| leaf.record.serial() <= serial_max;
        let listed: Vec<L> = listing
            .standing()
            .filter(|leaf| is_listed(leaf))
            .map(|leaf| leaf.record.clone())
            .collect();
        if check_leaves(&page.record, &listed).is_ok() {
            for entry in listing.leaves.values_mut() {
                entry.listed = entry.standing.clone().filter(|leaf| is_listed(leaf));
            }
            listing.page = Some(page);
            listing.find_changed();
        }
        listing
    }

    /// Enters a leaf, in place of an older one of its key.
    pub(super) fn insert(&mut self, leaf: Signed<L>) {
        let key = leaf.record.key_bytes();
        let entry = self.leaves.entry(key.clone()).or_insert(Entry {
            standing: None,
            listed: None,
            drafted: None,
        });
        let before = entry.standing.replace(Arc::new(leaf));
        self.standing_count += usize::from(before.is_none());
        self.note_changed(key);
    }

    /// Gives a leaf up.
    pub(super) fn release(&mut self, key: &[u8]) -> Option<Signed<L>> {
        let entry = self.leaves.get_mut(key)?;
        let leaf = entry.standing.take()?;
        self.standing_count -= 1;
        if entry.is_over() {
            self.leaves.remove(key);
        }
        self.note_changed(key.to_vec());
        Some(Arc::unwrap_or_clone(leaf))
    }

    /// What stands, sorted by key bytes.
    pub(super) fn standing(&self) -> impl Iterator<Item = &Signed<L>> {
        self.leaves
            .values()
            .filter_map(|entry| entry.standing.as_deref())
    }

    /// How many stand.
    pub(super) fn len(&self) -> usize {
        self.standing_count
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Signed<L>> {
        self.leaves.get(key)?.standing.as_deref()
    }

    /// The newest page whose leaves are known.
    pub(super) fn page(&self) -> Option<&SignedPage> {
        self.page.as_ref()
    }

    /// The page over everything that stands.
    pub(super) fn draft(&mut self, holder: Address, serial: u64, epoch: Epoch) -> Page {
        for entry in self.leaves.values_mut() {
            entry.drafted.clone_from(&entry.standing);
        }
        page_of(
            holder,
            serial,
            epoch,
            self.standing().map(|leaf| &leaf.record),
        )
    }

    /// Enters the signed page of the last draft.
    pub(super) fn handle_page(&mut self, page: SignedPage) {
        self.page = Some(page);
        self.leaves.retain(|_, entry| {
            entry.listed = entry.drafted.take();
            !entry.is_over()
        });
        self.find_changed();
    }

    fn note_changed(&mut self, key: Vec<u8>) {
        match self.leaves.get(&key).is_some_and(Entry::is_changed) {
            true => drop(self.changed.insert(key)),
            false => drop(self.changed.remove(&key)),
        }
    }

    fn find_changed(&mut self) {
        let changed = self.leaves.iter().filter(|(_, entry)| entry.is_changed());
        self.changed = changed.map(|(key, _)| key.clone()).collect();
    }

    /// The part after a key; without what the page of serial `known` lists.
    pub(super) fn part(&self, after: Option<&[u8]>, known: Option<u64>) -> Part<L> {
        let from = match after {
            Some(key) => Bound::Excluded(key.to_vec()),
            None => Bound::Unbounded,
        };
        let page = self.page.as_ref();
        let mut part = Part {
            page: page.cloned(),
            listed: Vec::new(),
            fresh: Vec::new(),
            released: Vec::new(),
            next: None,
        };
        let range = (from, Bound::Unbounded);
        if known.is_some() && known == page.map(|page| page.record.serial) {
            let changed = self.changed.range(range);
            part.fill(
                changed.filter_map(|key| Some((key, self.leaves.get(key)?))),
                true,
            );
        } else {
            part.fill(self.leaves.range(range), false);
        }
        part
    }
}

impl<L: Leaf> Part<L> {
    /// Takes entries until there is no room for one.
    fn fill<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a Vec<u8>, &'a Entry<L>)>,
        is_known: bool,
    ) where
        L: 'a,
    {
        let mut last: Option<&Vec<u8>> = None;
        let mut room = LISTED_MAX;
        for (key, entry) in entries {
            let listed = entry.listed.as_deref().filter(|_| !is_known);
            let is_released = entry.is_released();
            let fresh = entry.fresh();
            let taken = usize::from(listed.is_some() || is_released) + usize::from(fresh.is_some());
            if taken > room {
                self.next = last.map(|key| ByteBuf::from(key.clone()));
                return;
            }
            room -= taken;
            self.listed.extend(listed.map(|leaf| leaf.record.clone()));
            self.fresh.extend(fresh.cloned());
            if is_released {
                self.released.push(ByteBuf::from(key.clone()));
            }
            last = Some(key);
        }
    }
}

impl Request {
    /// Encodes the request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a request.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form within the limit.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Leases.limits().request_bytes_max;
        codec::from_bytes("lease request", bytes, limit)
    }
}

impl Response {
    /// Encodes the response.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Decodes a response.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the canonical form within the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let limit = Protocol::Leases.limits().response_bytes_max;
        let response = codec::from_bytes("lease response", bytes, limit)?;
        let count = match &response {
            Self::List(part) => part.listed.len().max(part.released.len()) + part.fresh.len(),
            Self::Noted => 0,
        };
        if count > LISTED_MAX {
            return Err(DecodeError::TooLarge {
                what: "list of leases",
                size: count,
                limit: LISTED_MAX,
            });
        }
        Ok(response)
    }
}

/// Leaves in one response. Chosen: a list of a million is read in a thousand
/// answers of less than a MiB.
pub const LISTED_MAX: usize = 1024;

// What a response holds, against the limit of what carries it.
const _: () = {
    let leaves = (LISTED_MAX + 2) * (LEASE_BYTES_MAX + CID_BYTES_MAX);
    assert!(leaves <= Protocol::Leases.limits().response_bytes_max);
};
