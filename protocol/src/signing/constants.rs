//! Hashes of what seldom changes: type strings and domains.
//!
//! Each thread remembers the few that it meets; a peer checks every record under
//! one or two domains, and computing a separator takes longer than hashing a
//! record.

use std::cell::RefCell;

use crate::id::{Address, Hash32};

/// What a domain separator is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DomainKey {
    pub name: &'static str,
    pub version: &'static str,
    pub chain_id: u64,
    pub contract: Address,
}

/// A few answers, the newest last.
struct Recent<K>(Vec<(K, Hash32)>);

impl<K: PartialEq> Recent<K> {
    fn get_or(&mut self, key: K, compute: impl FnOnce(&K) -> Hash32) -> Hash32 {
        if let Some((_, hash)) = self.0.iter().find(|(known, _)| *known == key) {
            return *hash;
        }
        let hash = compute(&key);
        if self.0.len() == RECENT_MAX {
            self.0.remove(0);
        }
        self.0.push((key, hash));
        hash
    }
}

thread_local! {
    static TYPES: RefCell<Recent<(usize, usize)>> = const { RefCell::new(Recent(Vec::new())) };
    static DOMAINS: RefCell<Recent<DomainKey>> = const { RefCell::new(Recent(Vec::new())) };
}

/// The hash of `text`, computed by `compute` when it is not known. Static text
/// never changes, so that its place in memory and its length name it.
pub(super) fn of_type(text: &'static str, compute: impl FnOnce() -> Hash32) -> Hash32 {
    let key = (text.as_ptr().addr(), text.len());
    TYPES.with_borrow_mut(|known| known.get_or(key, |_| compute()))
}

/// The separator of `key`, computed by `compute` when it is not known.
pub(super) fn of_domain(key: DomainKey, compute: impl FnOnce(&DomainKey) -> Hash32) -> Hash32 {
    DOMAINS.with_borrow_mut(|known| known.get_or(key, compute))
}

/// Hashes that a thread remembers of each kind; there are fewer record types.
const RECENT_MAX: usize = 32;
