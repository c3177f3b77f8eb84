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
/// signatures of others. The heads themselves and their signatures are kept only
/// while they can still come to count, and for the newest one that does.
#[derive(Debug, Default)]
pub struct HeadCounter {
    limits: Limits,
    electorate: Electorate,
    /// What is said about each block, by its number.
    tallies: BTreeMap<u64, Vec<Tally>>,
    /// Which of the tallies each signer's newest heads are in, by number.
    signed: BTreeMap<Address, BTreeMap<u64, u32>>,
    /// Signers of two heads of one number, as told already.
    contradicted: BTreeSet<Address>,
    newest_counted: Option<Head>,
}

/// Who stands behind one head. Without signers it is a free place: signers know
/// tallies by their places.
#[derive(Debug)]
struct Tally {
    /// Struct hash of the head.
    hash: Hash32,
    signers: u32,
    /// `None` once the head counts, unless it is the newest that does.
    support: Option<Box<Support>>,
}

#[derive(Debug)]
struct Support {
    head: Head,
    /// In the order of their signers.
    signatures: Vec<(Address, Signature)>,
    is_counted: bool,
}

/// The operators whose discovery peers sign heads, with what each one counts for.
#[derive(Debug, Default)]
struct Electorate {
    /// Confirmed discovery peers with the places of their operators, in order.
    peers: Vec<(Address, u32)>,
    /// What each operator counts for, capped.
    weights: Vec<u64>,
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
    /// The newest head that counts already has one more signature; see
    /// [`HeadCounter::newest_signed`].
    Grown,
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

    /// Takes a head with its struct hash, whose signature was checked to be by
    /// `signer`, a confirmed discovery peer of the registry.
    pub fn handle_head(&mut self, signed: &SignedHead, hash: Hash32, signer: Address) -> Counted {
        let number = signed.record.block_number;
        if number < self.oldest() {
            return Counted::Nothing;
        }
        let heads = self.signed.entry(signer).or_default();
        let tallies = self.tallies.entry(number).or_default();
        if let Some(place) = heads.get(&number) {
            let is_known = tally(tallies, *place).is_some_and(|known| known.hash == hash);
            if is_known || !self.contradicted.insert(signer) {
                return Counted::Nothing;
            }
            return Counted::Contradiction {
                signer,
                block_number: number,
            };
        }
        let place = Tally::place(tallies, &signed.record, hash);
        heads.insert(number, place);
        let surplus = (heads.len() > self.limits.signer_heads_max)
            .then(|| heads.pop_first())
            .flatten();
        if let Some(tally) = tally(tallies, place) {
            tally.add(signer, signed.signature);
        }
        let counted = self.count(number, place);
        if let Some((number, place)) = surplus {
            self.withdraw(signer, number, place);
        }
        counted
    }

    /// Counts again after a change of the registry; returns the heads that a
    /// majority stands behind by it.
    pub fn handle_registry(&mut self, registry: &Registry) -> Vec<CountedHead> {
        self.electorate = Electorate::new(registry);
        let left: Vec<Address> = self
            .signed
            .keys()
            .filter(|signer| !registry.has_role(signer, Role::Discovery))
            .copied()
            .collect();
        for signer in left {
            self.contradicted.remove(&signer);
            for (number, place) in self.signed.remove(&signer).unwrap_or_default() {
                self.withdraw(signer, number, place);
            }
        }
        let open: Vec<(u64, u32)> = self
            .tallies
            .iter()
            .flat_map(|(number, tallies)| {
                let open = (0..).zip(tallies).filter(|(_, tally)| tally.is_open());
                open.map(|(place, _)| (*number, place))
            })
            .collect();
        let mut heads = Vec::new();
        for (number, place) in open {
            if let Counted::Now(counted) = self.count(number, place) {
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

    /// The same with its signatures, unless all who signed it left.
    #[must_use]
    pub fn newest_signed(&self) -> Option<CountedHead> {
        let newest = self.newest_counted.as_ref()?;
        let mut tallies = self.tallies.get(&newest.block_number)?.iter();
        let support = tallies.find_map(|tally| {
            let support = tally.support.as_ref()?;
            (support.head == *newest).then_some(support)
        });
        support.map(|support| support.counted())
    }

    /// True when the signers' operators hold more than half of the weight.
    #[must_use]
    pub fn is_majority<'a>(&self, signers: impl IntoIterator<Item = &'a Address>) -> bool {
        self.electorate.is_majority(signers)
    }

    /// True when each tally counts those who signed its head.
    pub(crate) fn is_counted(&self) -> bool {
        let mut signers: BTreeMap<(u64, u32), u32> = BTreeMap::new();
        for heads in self.signed.values() {
            for (number, place) in heads {
                *signers.entry((*number, *place)).or_default() += 1;
            }
        }
        let all = self.tallies.iter().flat_map(|(number, tallies)| {
            let placed = (0..).zip(tallies);
            placed.map(|(place, tally)| ((*number, place), tally))
        });
        let told: BTreeMap<(u64, u32), u32> = all
            .filter(|(_, tally)| tally.signers > 0)
            .map(|(place, tally)| (place, tally.signers))
            .collect();
        signers == told
    }

    fn count(&mut self, number: u64, place: u32) -> Counted {
        let tallies = self.tallies.get_mut(&number);
        let Some(tally) = tallies.and_then(|tallies| tally(tallies, place)) else {
            return Counted::Nothing;
        };
        let Some(support) = &mut tally.support else {
            return Counted::More;
        };
        if support.is_counted {
            return Counted::Grown;
        }
        let signers = support.signatures.iter().map(|(signer, _)| signer);
        if !self.electorate.is_majority(signers) {
            return Counted::More;
        }
        support.is_counted = true;
        let counted = support.counted();
        let newest = self.newest_counted;
        if newest.is_none_or(|newest| newest.block_number < number) {
            self.newest_counted = Some(counted.head);
            if let Some(before) = newest {
                self.let_go(before.block_number);
            }
            self.forget_old();
        } else if newest != Some(counted.head) {
            tally.support = None;
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

    /// Drops the signatures of what counts.
    fn let_go(&mut self, number: u64) {
        for tally in self.tallies.get_mut(&number).into_iter().flatten() {
            tally.support.take_if(|support| support.is_counted);
        }
    }

    fn forget_old(&mut self) {
        let oldest = self.oldest();
        forget_below(&mut self.tallies, oldest);
        for heads in self.signed.values_mut() {
            forget_below(heads, oldest);
        }
    }

    fn withdraw(&mut self, signer: Address, number: u64, place: u32) {
        let Some(tallies) = self.tallies.get_mut(&number) else {
            return;
        };
        if let Some(tally) = tally(tallies, place) {
            tally.remove(&signer);
        }
        if tallies.iter().all(|tally| tally.signers == 0) {
            self.tallies.remove(&number);
        }
    }
}

impl Tally {
    /// The place of a head among the tallies of its number.
    fn place(tallies: &mut Vec<Self>, head: &Head, hash: Hash32) -> u32 {
        let known = |tally: &Self| tally.signers > 0 && tally.hash == hash;
        let idx = match tallies.iter().position(known) {
            Some(idx) => idx,
            None => {
                let fresh = Self {
                    hash,
                    signers: 0,
                    support: Some(Box::new(Support {
                        head: *head,
                        signatures: Vec::new(),
                        is_counted: false,
                    })),
                };
                // Free places are taken first, or one signer could make many.
                match tallies.iter().position(|tally| tally.signers == 0) {
                    Some(idx) => {
                        tallies[idx] = fresh;
                        idx
                    }
                    None => {
                        // As a rule a number has one.
                        tallies.reserve_exact(1);
                        tallies.push(fresh);
                        tallies.len() - 1
                    }
                }
            }
        };
        u32::try_from(idx).expect("fewer tallies than signers")
    }

    fn is_open(&self) -> bool {
        let support = self.support.as_ref();
        self.signers > 0 && support.is_some_and(|support| !support.is_counted)
    }

    fn add(&mut self, signer: Address, signature: Signature) {
        self.signers += 1;
        if let Some(support) = &mut self.support {
            let signatures = &mut support.signatures;
            let place = signatures.partition_point(|(known, _)| *known < signer);
            signatures.insert(place, (signer, signature));
        }
    }

    fn remove(&mut self, signer: &Address) {
        self.signers -= 1;
        if self.signers == 0 {
            self.support = None;
        }
        if let Some(support) = &mut self.support {
            support.signatures.retain(|(known, _)| known != signer);
        }
    }
}

impl Support {
    fn counted(&self) -> CountedHead {
        let signatures = self.signatures.iter();
        CountedHead {
            head: self.head,
            signatures: signatures.map(|(_, signature)| *signature).collect(),
        }
    }
}

impl Electorate {
    /// The operators of a registry that have a confirmed discovery peer.
    fn new(registry: &Registry) -> Self {
        let mut operators: BTreeMap<Address, u32> = BTreeMap::new();
        let mut weights = Vec::new();
        let mut peers = Vec::new();
        for service in registry.confirmed(Role::Discovery) {
            let place = *operators.entry(service.operator).or_insert_with(|| {
                weights.push(registry.weight(&service.operator));
                u32::try_from(weights.len() - 1).expect("fewer than 2^32 operators")
            });
            peers.push((service.wallet, place));
        }
        peers.sort_unstable();
        let cap = match weights.len() >= CAP_OPERATORS_MIN {
            true => weights.iter().sum::<u64>() / 10,
            false => u64::MAX,
        };
        for weight in &mut weights {
            *weight = (*weight).min(cap);
        }
        Self { peers, weights }
    }

    fn is_majority<'a>(&self, signers: impl IntoIterator<Item = &'a Address>) -> bool {
        let mut signed = Vec::new();
        for signer in signers {
            let start = self.peers.partition_point(|(peer, _)| peer < signer);
            let own = self.peers[start..].iter();
            let own = own.take_while(|(peer, _)| peer == signer);
            signed.extend(own.map(|(_, place)| *place));
        }
        signed.sort_unstable();
        signed.dedup();
        let behind = signed.iter().map(|place| self.weights[*place as usize]);
        behind.sum::<u64>() * 2 > self.weights.iter().sum()
    }
}

fn forget_below<T>(numbered: &mut BTreeMap<u64, T>, oldest: u64) {
    while let Some(first) = numbered.first_entry()
        && *first.key() < oldest
    {
        first.remove();
    }
}

fn tally(tallies: &mut [Tally], place: u32) -> Option<&mut Tally> {
    tallies.get_mut(place as usize)
}

/// True when the signers' operators hold more than half of the capped weight of
/// all operators with a confirmed discovery peer.
#[must_use]
pub fn is_majority<'a>(
    signers: impl IntoIterator<Item = &'a Address>,
    registry: &Registry,
) -> bool {
    Electorate::new(registry).is_majority(signers)
}

/// From this many operators on, one counts for a tenth at most; with fewer the
/// cap would make nearly all of them alike.
const CAP_OPERATORS_MIN: usize = 10;

#[cfg(test)]
mod tests;
