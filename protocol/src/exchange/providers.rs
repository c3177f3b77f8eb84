//! Provider records of Kademlia: which ones are kept for others, and when a
//! search has found enough.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::Address;
use crate::time::Moment;

/// Bounds the provider records that are kept for others.
#[derive(Debug, Default)]
pub struct ProviderRecords {
    taken: usize,
    by_provider: BTreeMap<Address, usize>,
    reset: Option<Moment>,
}

impl ProviderRecords {
    /// True when one more record of `provider` is to be kept.
    pub fn admit(&mut self, provider: Address) -> bool {
        let of_provider = self.by_provider.get(&provider).copied().unwrap_or(0);
        if self.taken >= RECORDS_MAX || of_provider >= PROVIDED_MAX {
            return false;
        }
        self.by_provider.insert(provider, of_provider + 1);
        self.taken += 1;
        true
    }

    /// Begins to count anew once the records of the last period have expired.
    pub fn handle_timeout(&mut self, now: Moment) {
        let reset = *self.reset.get_or_insert(now + PROVIDER_TTL);
        if now >= reset {
            *self = Self::default();
        }
    }
}

/// A search for the providers of one root.
#[derive(Debug)]
pub struct ProviderSearch {
    local: Address,
    found: BTreeSet<Address>,
}

impl ProviderSearch {
    /// Starts a search by `local`, which never finds itself.
    #[must_use]
    pub const fn new(local: Address) -> Self {
        Self {
            local,
            found: BTreeSet::new(),
        }
    }

    /// Takes a provider that somebody named; false when it does not count.
    pub fn handle_found(&mut self, provider: Address) -> bool {
        let counts = provider != self.local && !self.is_enough();
        if counts {
            self.found.insert(provider);
        }
        counts
    }

    /// True when asking further brings nothing.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.found.len() >= PROVIDERS_MAX
    }

    /// Whom it found, at most [`PROVIDERS_MAX`].
    #[must_use]
    pub fn finish(self) -> Vec<Address> {
        self.found.into_iter().collect()
    }
}

/// Providers of one root: Kademlia's own replication factor.
pub const PROVIDERS_MAX: usize = 20;

/// Roots that one peer provides, and records of one peer that are kept. Chosen:
/// who holds more is found by placement and leases.
pub const PROVIDED_MAX: usize = 16_384;

/// How long a record lives, as the IPFS network has it.
pub const PROVIDER_TTL: Duration = Duration::from_secs(48 * 3600);

/// Records of others taken within the time that a record lives: at some 200
/// bytes each, 20 MB.
pub const RECORDS_MAX: usize = 100_000;

const _: () = assert!(
    PROVIDED_MAX < RECORDS_MAX,
    "one provider cannot fill the store of records"
);

#[cfg(test)]
mod tests;
