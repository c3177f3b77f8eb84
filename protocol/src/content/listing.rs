//! What a holder lists over `/coliving/leases/1`: the leaves of its newest
//! page, those that it signed since, and those that it gave up since.

use std::collections::BTreeMap;
use std::ops::Bound;

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
    /// True when the leaves that the page lists are all here.
    is_proved: bool,
    leaves: BTreeMap<Vec<u8>, Entry<L>>,
    standing_count: usize,
}

#[derive(Debug, Clone)]
struct Entry<L> {
    /// The leaf that the newest page lists, else the only one.
    leaf: Signed<L>,
    /// Signed since in place of a listed one.
    renewed: Option<Signed<L>>,
    /// In the newest signed page.
    is_listed: bool,
    /// Serial of what is in the page that is being signed.
    drafted: Option<u64>,
    /// Given up; kept for as long as the newest page lists it.
    is_released: bool,
}

impl<L> Entry<L> {
    fn standing(&self) -> Option<&Signed<L>> {
        let newest = self.renewed.as_ref().unwrap_or(&self.leaf);
        (!self.is_released).then_some(newest)
    }
}

impl<L: Leaf> Listing<L> {
    /// Puts stored leaves and the stored page together. Leaves that are not
    /// exactly the page's count as signed since: each carries a signature.
    pub(super) fn restore(
        leaves: impl IntoIterator<Item = Signed<L>>,
        page: Option<(SignedPage, u64)>,
    ) -> Self {
        let mut listing = Self {
            page: None,
            is_proved: false,
            leaves: BTreeMap::new(),
            standing_count: 0,
        };
        for leaf in leaves {
            listing.insert(leaf);
        }
        if let Some((page, serial_max)) = page {
            let listed: Vec<L> = listing
                .standing()
                .filter(|leaf| leaf.record.serial() <= serial_max)
                .map(|leaf| leaf.record.clone())
                .collect();
            listing.is_proved = check_leaves(&page.record, &listed).is_ok();
            if listing.is_proved {
                for entry in listing.leaves.values_mut() {
                    entry.is_listed = entry.leaf.record.serial() <= serial_max;
                }
            }
            listing.page = Some(page);
        }
        listing
    }

    /// Enters a leaf, in place of an older one of its key.
    pub(super) fn insert(&mut self, leaf: Signed<L>) {
        let key = leaf.record.key_bytes();
        if let Some(entry) = self.leaves.get_mut(&key)
            && entry.is_listed
        {
            self.standing_count += usize::from(std::mem::take(&mut entry.is_released));
            entry.renewed = Some(leaf);
            return;
        }
        let entry = Entry {
            leaf,
            renewed: None,
            is_listed: false,
            drafted: None,
            is_released: false,
        };
        let before = self.leaves.insert(key, entry);
        self.standing_count += usize::from(before.is_none_or(|before| before.is_released));
    }

    /// Gives a leaf up.
    pub(super) fn release(&mut self, key: &[u8]) -> Option<Signed<L>> {
        let entry = self.leaves.get_mut(key)?;
        let leaf = entry.standing()?.clone();
        entry.is_released = true;
        self.standing_count -= 1;
        if !entry.is_listed && entry.drafted.is_none() {
            self.leaves.remove(key);
        }
        Some(leaf)
    }

    /// What stands, sorted by key bytes.
    pub(super) fn standing(&self) -> impl Iterator<Item = &Signed<L>> {
        self.leaves.values().filter_map(Entry::standing)
    }

    /// How many stand.
    pub(super) fn len(&self) -> usize {
        self.standing_count
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Signed<L>> {
        self.leaves.get(key)?.standing()
    }

    pub(super) fn page(&self) -> Option<&SignedPage> {
        self.page.as_ref()
    }

    /// The page over everything that stands.
    pub(super) fn draft(&mut self, holder: Address, serial: u64, epoch: Epoch) -> Page {
        for entry in self.leaves.values_mut() {
            entry.drafted = entry.standing().map(|leaf| leaf.record.serial());
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
        self.is_proved = true;
        self.leaves.retain(|_, entry| {
            let drafted = entry.drafted.take();
            entry.is_listed = drafted.is_some();
            if let Some(renewed) = entry
                .renewed
                .take_if(|new| drafted.is_none_or(|serial| serial == new.record.serial()))
            {
                entry.leaf = renewed;
            }
            entry.is_listed || !entry.is_released
        });
    }

    /// The part after a key; without what the page of serial `known` lists.
    pub(super) fn part(&self, after: Option<&[u8]>, known: Option<u64>) -> Part<L> {
        let from = match after {
            Some(key) => Bound::Excluded(key.to_vec()),
            None => Bound::Unbounded,
        };
        let page = self.page.as_ref().filter(|_| self.is_proved);
        let is_known = known.is_some() && known == page.map(|page| page.record.serial);
        let mut part = Part {
            page: page.cloned(),
            listed: Vec::new(),
            fresh: Vec::new(),
            released: Vec::new(),
            next: None,
        };
        let mut last: Option<&Vec<u8>> = None;
        let mut room = LISTED_MAX;
        for (key, entry) in self.leaves.range((from, Bound::Unbounded)) {
            let is_listed = entry.is_listed && !is_known;
            let fresh = match entry.is_listed {
                true => entry.renewed.as_ref(),
                false => Some(&entry.leaf),
            };
            let fresh = fresh.filter(|_| !entry.is_released);
            let is_released = entry.is_listed && entry.is_released;
            let taken = usize::from(is_listed || is_released) + usize::from(fresh.is_some());
            if taken > room {
                part.next = last.map(|key| ByteBuf::from(key.clone()));
                return part;
            }
            room -= taken;
            if is_listed {
                part.listed.push(entry.leaf.record.clone());
            }
            part.fresh.extend(fresh.cloned());
            if is_released {
                part.released.push(ByteBuf::from(key.clone()));
            }
            last = Some(key);
        }
        part
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
