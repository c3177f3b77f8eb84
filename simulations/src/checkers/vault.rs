//! The vault: a read returns the last acknowledged write, or a later one. What it
//! finds beyond that counts once whoever reads has written it again.

use std::collections::BTreeMap;

use protocol::id::Hash32;
use protocol::time::Moment;

use super::{Checkers, Rule};

/// The highest acknowledged version of each lookup key.
#[derive(Debug, Default)]
pub(super) struct VaultChecker {
    acknowledged: BTreeMap<Hash32, u64>,
}

impl Checkers {
    /// Notes that a write was acknowledged.
    pub fn note_written(&mut self, lookup_key: Hash32, version: u64) {
        let known = self.vault.acknowledged.entry(lookup_key).or_default();
        *known = (*known).max(version);
    }

    /// What a read that begins here has to find at least.
    #[must_use]
    pub fn acknowledged(&self, lookup_key: &Hash32) -> u64 {
        let known = self.vault.acknowledged.get(lookup_key);
        known.copied().unwrap_or(0)
    }

    /// Notes what a read found that had to find `floor`.
    pub fn note_read(&mut self, lookup_key: Hash32, floor: u64, found: u64, now: Moment) {
        self.findings
            .observe(Rule::VaultRead, found >= floor, now, || {
                format!("{lookup_key} was acknowledged in version {floor} and read in {found}")
            });
    }
}
