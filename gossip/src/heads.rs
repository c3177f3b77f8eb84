//! Heads: built by peers that follow the chain, counted by everybody.
//!
//! Formats and the counting rule: `docs/formats/head.md`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::entry::EntryId;
use protocol::id::{Address, Hash32, Role};
use protocol::merkle::Peaks;
use protocol::records::{Head, SignedHead};
use protocol::registry::{BlockRef, Registry};
use protocol::signing::{Record, Signature};
use protocol::time::{Epoch, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// Computes the heads of a chain, block by final block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadBuilder {
    previous: Hash32,
    peaks: Peaks,
    epoch: Epoch,
}

/// What a head says about one final block.
#[derive(Debug, Clone)]
pub struct FinalBlock {
    /// The block's number and hash.
    pub block: BlockRef,
    /// The block's timestamp.
    pub time: UnixSeconds,
    /// Its entries in log order.
    pub entries: Vec<EntryId>,
    /// True when the block holds a registry event.
    pub registry_changed: bool,
    /// The registry root after it.
    pub registry_root: Hash32,
}

/// Counts signatures under heads until a majority of operators stands behind one.
///
/// Memory is bounded per signer, so that one who lies cannot push out the
/// signatures of others.
#[derive(Debug, Default)]
pub struct HeadCounter {
    limits: Limits,
    tallies: BTreeMap<(u64, Hash32), Tally>,
    /// What each signer's newest heads say, by number.
    signed: BTreeMap<Address, BTreeMap<u64, Hash32>>,
    /// Signers of two heads of one number, as told already.
    contradicted: BTreeSet<Address>,
    newest_counted: Option<Head>,
}

#[derive(Debug)]
struct Tally {
    head: Head,
    signatures: BTreeMap<Address, Signature>,
    is_counted: bool,
}

/// A head that counts, with the signatures that make it so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedHead {
    /// The head that counts.
    pub head: Head,
    /// Signatures of distinct discovery peers.
    pub signatures: Vec<Signature>,
}

/// What a signature changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// Nothing: known already, or too far behind to matter.
    Nothing,
    /// The head has one more signature.
    More,
    /// The signature made the head count.
    Now(CountedHead),
    /// The newest head that counts already has one more signature.
    Grown(CountedHead),
    /// The signer signed two heads of one number: evidence.
    Contradiction {
        /// The peer that signed both.
        signer: Address,
        /// The number of both.
        block_number: u64,
    },
}

impl HeadBuilder {
    /// Takes the next final block; returns its head when it has one.
    pub fn handle_final_block(&mut self, block: &FinalBlock) -> Option<Head> {
        let epoch = block.time.epoch();
        let is_first_of_epoch = epoch > self.epoch;
        if block.entries.is_empty() && !block.registry_changed && !is_first_of_epoch {
            return None;
        }
        self.epoch = self.epoch.max(epoch);
        block.entries.iter().for_each(|id| self.peaks.push(&id.0));
        let head = Head {
            block_number: block.block.number,
            block_hash: block.block.hash,
            previous_head: self.previous,
            entries_root: self.peaks.root(),
            entry_count: self.peaks.count,
            state_root: Hash32::ZERO,
            registry_root: block.registry_root,
        };
        self.previous = head.struct_hash();
        Some(head)
    }

    /// How many entries all heads so far cover.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.peaks.count
    }
}

impl HeadCounter {
    /// Counts within limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a head whose signature was checked to be by `signer`, a confirmed
    /// discovery peer of `registry`.
    pub fn handle_head(
        &mut self,
        signed: &SignedHead,
        signer: Address,
        registry: &Registry,
    ) -> Counted {
        let head = signed.record;
        if head.block_number < self.oldest() {
            return Counted::Nothing;
        }
        let hash = head.struct_hash();
        let heads = self.signed.entry(signer).or_default();
        match heads.get(&head.block_number) {
            Some(known) if *known == hash => return Counted::Nothing,
            Some(_) if !self.contradicted.insert(signer) => return Counted::Nothing,
            Some(_) => {
                return Counted::Contradiction {
                    signer,
                    block_number: head.block_number,
                };
            }
            None => {}
        }
        heads.insert(head.block_number, hash);
        let surplus = (heads.len() > self.limits.signer_heads_max)
            .then(|| heads.pop_first())
            .flatten();
        let key = (head.block_number, hash);
        let tally = self.tallies.entry(key).or_insert_with(|| Tally {
            head,
            signatures: BTreeMap::new(),
            is_counted: false,
        });
        tally.signatures.insert(signer, signed.signature);
        let counted = self.count(key, registry);
        if let Some(key) = surplus {
            self.withdraw(signer, key);
        }
        counted
    }

    /// Counts again after a change of the registry; returns the heads that a
    /// majority stands behind by it.
    pub fn handle_registry(&mut self, registry: &Registry) -> Vec<CountedHead> {
        let left: Vec<Address> = self
            .signed
            .keys()
            .filter(|signer| !registry.has_role(signer, Role::Discovery))
            .copied()
            .collect();
        for signer in left {
            self.contradicted.remove(&signer);
            for key in self.signed.remove(&signer).unwrap_or_default() {
                self.withdraw(signer, key);
            }
        }
        let open: Vec<(u64, Hash32)> = self
            .tallies
            .iter()
            .filter(|(_, tally)| !tally.is_counted)
            .map(|(key, _)| *key)
            .collect();
        let mut heads = Vec::new();
        for key in open {
            if let Counted::Now(counted) = self.count(key, registry) {
                heads.push(counted);
            }
        }
        heads
    }

    /// The counted head with the highest number.
    #[must_use]
    pub fn newest(&self) -> Option<&Head> {
        self.newest_counted.as_ref()
    }

    fn count(&mut self, key: (u64, Hash32), registry: &Registry) -> Counted {
        let Some(tally) = self.tallies.get_mut(&key) else {
            return Counted::Nothing;
        };
        if tally.is_counted {
            return match self.newest_counted {
                Some(newest) if newest == tally.head => Counted::Grown(tally.counted()),
                _ => Counted::More,
            };
        }
        if !is_majority(tally.signatures.keys(), registry) {
            return Counted::More;
        }
        tally.is_counted = true;
        let counted = tally.counted();
        if self
            .newest_counted
            .is_none_or(|newest| newest.block_number < counted.head.block_number)
        {
            self.newest_counted = Some(counted.head);
            self.forget_old();
        }
        Counted::Now(counted)
    }

    fn oldest(&self) -> u64 {
        self.newest_counted.map_or(0, |newest| {
            newest
                .block_number
                .saturating_sub(self.limits.heads_behind_max)
        })
    }

    fn forget_old(&mut self) {
        let oldest = self.oldest();
        self.tallies = self.tallies.split_off(&(oldest, Hash32::ZERO));
        for heads in self.signed.values_mut() {
            *heads = heads.split_off(&oldest);
        }
    }

    fn withdraw(&mut self, signer: Address, key: (u64, Hash32)) {
        if let Some(tally) = self.tallies.get_mut(&key) {
            tally.signatures.remove(&signer);
            if tally.signatures.is_empty() {
                self.tallies.remove(&key);
            }
        }
    }
}

impl Tally {
    fn counted(&self) -> CountedHead {
        CountedHead {
            head: self.head,
            signatures: self.signatures.values().copied().collect(),
        }
    }
}

/// True when the signers' operators hold more than half of the capped weight of
/// all operators with a confirmed discovery peer.
#[must_use]
pub fn is_majority<'a>(
    signers: impl IntoIterator<Item = &'a Address>,
    registry: &Registry,
) -> bool {
    let signers: BTreeSet<&Address> = signers.into_iter().collect();
    let mut weights: BTreeMap<Address, u64> = BTreeMap::new();
    let mut signed: BTreeSet<Address> = BTreeSet::new();
    for service in registry.confirmed(Role::Discovery) {
        weights.insert(service.operator, registry.weight(&service.operator));
        if signers.contains(&service.wallet) {
            signed.insert(service.operator);
        }
    }
    let total: u64 = weights.values().sum();
    let cap = if weights.len() >= CAP_OPERATORS_MIN {
        total / 10
    } else {
        u64::MAX
    };
    let capped = |weight: &u64| (*weight).min(cap);
    let all: u64 = weights.values().map(capped).sum();
    let behind: u64 = signed
        .iter()
        .filter_map(|operator| weights.get(operator))
        .map(capped)
        .sum();
    behind * 2 > all
}

/// From this many operators on, one counts for a tenth at most; with fewer the
/// cap would make nearly all of them alike.
const CAP_OPERATORS_MIN: usize = 10;

#[cfg(test)]
mod tests;
