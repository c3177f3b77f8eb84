//! Relayers: an accepted action lands, once, and is paid for once.

use std::collections::{BTreeMap, BTreeSet};

use protocol::id::{Address, Hash32};
use protocol::time::Moment;

use super::{Checkers, Rule};
use crate::chain::Chain;

/// Which action was accepted, and which wallet is whose.
#[derive(Debug, Default)]
pub(super) struct RelayerChecker {
    accepted: BTreeSet<Hash32>,
    owners: BTreeMap<Address, u32>,
}

impl Checkers {
    /// Notes that a relayer took responsibility for an action.
    pub fn note_accepted(&mut self, digest: Hash32) {
        self.relayer.accepted.insert(digest);
    }

    /// Notes whose a wallet is that pays.
    pub fn note_payer(&mut self, peer: u32, wallet: Address) {
        self.relayer.owners.insert(wallet, peer);
    }

    /// Accepted actions, and whether each is in a final block.
    pub fn accepted(&self, chain: &Chain) -> impl Iterator<Item = (&Hash32, bool)> {
        let accepted = self.relayer.accepted.iter();
        let has_landed = |digest| chain.landed(digest) > 0 || chain.was_undone(digest);
        accepted.map(move |digest| (digest, has_landed(digest)))
    }

    /// Looks at the final chain once everything is over.
    pub fn judge_chain(&mut self, chain: &Chain, now: Moment) {
        for digest in &self.relayer.accepted {
            let landed = chain.landed(digest);
            self.findings
                .observe(Rule::LandedOnce, landed <= 1, now, || {
                    format!("{digest} landed {landed} times")
                });
        }
        let mut payments: BTreeMap<(Hash32, u32), u32> = BTreeMap::new();
        for ((digest, wallet), count) in chain.paid() {
            // Whoever forgot it as final may be asked again.
            if chain.was_undone(digest) {
                continue;
            }
            if let Some(owner) = self.relayer.owners.get(wallet) {
                *payments.entry((*digest, *owner)).or_default() += count;
            }
        }
        for ((digest, owner), count) in payments {
            self.findings.observe(Rule::PaidOnce, count <= 1, now, || {
                format!("peer {owner} paid {count} times for {digest}")
            });
        }
    }

    /// Final transactions beyond one for each action.
    #[must_use]
    pub fn wasted(&self, chain: &Chain) -> u64 {
        let mut all: BTreeMap<Hash32, u64> = BTreeMap::new();
        for ((digest, _), count) in chain.paid() {
            *all.entry(*digest).or_default() += u64::from(*count);
        }
        all.values().map(|count| count.saturating_sub(1)).sum()
    }
}
