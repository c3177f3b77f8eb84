//! Placement: which staked peers should hold a root, and who goes first at
//! other jobs. A pure function of the subject and a registry snapshot, in
//! integers throughout (`docs/formats/placement.md`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;
use std::sync::Arc;

use cid::Cid;
use siphasher::sip::SipHasher24;

use crate::entry::sha256;
use crate::id::{Address, OperatorNumber, Role, ServiceId, Zone};
use crate::registry::Registry;

/// A registry snapshot, arranged for ranking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    roles: BTreeMap<Role, Vec<Candidate>>,
    /// The operator of each confirmed peer.
    operators: BTreeMap<Address, OperatorNumber>,
}

/// An operator with the peers that it may be drawn with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    number: OperatorNumber,
    weight: u64,
    peers: Vec<CandidatePeer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CandidatePeer {
    service: ServiceId,
    address: Address,
    zone: Zone,
}

/// A job whose candidates are ranked by the subject of the job alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Publishing the entry batches of a block; the subject is its hash.
    Entries,
    /// Relaying an action; the subject is its digest.
    Relayer,
    /// Keeping a vault record; the subject is its lookup key.
    Vault,
}

/// Who should hold a root; [`Placement`], or whoever remembers its answers.
pub trait Placing: std::fmt::Debug + Send + Sync {
    /// The wanted peers in rank order, those in `lost` left out.
    fn place(&self, root: &Cid, target: usize, lost: &BTreeSet<Address>) -> Vec<Address>;

    /// The operator of a confirmed peer; `None` for anybody else.
    fn operator_of(&self, peer: &Address) -> Option<OperatorNumber>;

    /// Every confirmed content peer.
    fn peers(&self) -> Vec<Address>;
}

/// A registry snapshot with the placement that follows from it, made once and
/// handed round.
#[derive(Debug)]
pub struct RegistryAt {
    /// The operators and their confirmed peers.
    pub registry: Arc<Registry>,
    /// Who should hold what.
    pub placement: Arc<Placement>,
    /// The same question to somebody who may remember the answers.
    pub place: Arc<dyn Placing>,
}

impl RegistryAt {
    /// Works the placement of a snapshot out.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Arc<Self> {
        let placement = Arc::new(Placement::new(&registry));
        Arc::new(Self {
            registry,
            place: Arc::clone(&placement) as _,
            placement,
        })
    }
}

impl Placing for Placement {
    fn place(&self, root: &Cid, target: usize, lost: &BTreeSet<Address>) -> Vec<Address> {
        self.place(root, target, lost)
    }

    fn operator_of(&self, peer: &Address) -> Option<OperatorNumber> {
        self.operator_of(peer)
    }

    fn peers(&self) -> Vec<Address> {
        self.peers(Role::Content).collect()
    }
}

impl Placement {
    /// Arranges a snapshot; unconfirmed services and unnumbered operators are
    /// left out.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let mut placement = Self::default();
        for role in Role::ALL {
            let mut candidates: BTreeMap<OperatorNumber, Candidate> = BTreeMap::new();
            for service in registry.confirmed(role) {
                let number = registry
                    .operator(&service.operator)
                    .and_then(|operator| operator.number);
                let (Some(number), Some(confirmation)) = (number, &service.confirmation) else {
                    continue;
                };
                placement.operators.insert(service.wallet, number);
                let peer = CandidatePeer {
                    service: service.id,
                    address: service.wallet,
                    zone: confirmation.zone,
                };
                candidates
                    .entry(number)
                    .or_insert_with(|| Candidate {
                        number,
                        weight: registry.weight(&service.operator),
                        peers: Vec::new(),
                    })
                    .peers
                    .push(peer);
            }
            placement
                .roles
                .insert(role, candidates.into_values().collect());
        }
        placement
    }

    /// The peers that should hold `root`, best first, one per operator, at most
    /// `target`, leaving out the peers in `lost`.
    #[must_use]
    pub fn place(&self, root: &Cid, target: usize, lost: &BTreeSet<Address>) -> Vec<Address> {
        let subject = root.hash().to_bytes();
        let peer_key = SipKey::new("placement/peer", &subject);
        let live = |candidate: &Candidate| {
            let peers = candidate.peers.iter();
            let mut live: Vec<CandidatePeer> = peers
                .filter(|peer| !lost.contains(&peer.address))
                .copied()
                .collect();
            sort_peers(&peer_key, &mut live);
            live
        };
        // Few of the operators are reached by the walk.
        let ranked = self.weighted(&subject).map(live);
        walk(ranked.filter(|peers| !peers.is_empty()), target)
    }

    /// One peer per operator of the purpose's role, first in line first.
    #[must_use]
    pub fn rank(&self, purpose: Purpose, subject: &[u8]) -> Vec<Address> {
        let (role, name, peer_name) = purpose.parts();
        let key = SipKey::new(name, subject);
        let peer_key = SipKey::new(peer_name, subject);
        let mut candidates: Vec<&Candidate> = self.candidates(role).iter().collect();
        candidates.sort_by_key(|candidate| {
            (
                std::cmp::Reverse(key.hash(candidate.number.0)),
                candidate.number,
            )
        });
        candidates
            .into_iter()
            .filter_map(|candidate| {
                candidate
                    .peers
                    .iter()
                    .min_by_key(|peer| {
                        (
                            std::cmp::Reverse(peer_key.hash(peer.service.0)),
                            peer.service,
                        )
                    })
                    .map(|peer| peer.address)
            })
            .collect()
    }

    /// min(`target`, operators with a confirmed content peer outside `lost`).
    #[must_use]
    pub fn effective_target(&self, target: usize, lost: &BTreeSet<Address>) -> usize {
        self.candidates(Role::Content)
            .iter()
            .filter(|candidate| {
                candidate
                    .peers
                    .iter()
                    .any(|peer| !lost.contains(&peer.address))
            })
            .take(target)
            .count()
    }

    /// The operator of a confirmed peer.
    #[must_use]
    pub fn operator_of(&self, peer: &Address) -> Option<OperatorNumber> {
        self.operators.get(peer).copied()
    }

    /// All confirmed peers of a role, by operator and service number.
    pub fn peers(&self, role: Role) -> impl Iterator<Item = Address> {
        self.candidates(role)
            .iter()
            .flat_map(|candidate| candidate.peers.iter().map(|peer| peer.address))
    }

    fn candidates(&self, role: Role) -> &[Candidate] {
        self.roles.get(&role).map_or(&[], Vec::as_slice)
    }

    /// Content operators by weight / L, higher first, ties to the smaller number.
    fn weighted(&self, subject: &[u8]) -> impl Iterator<Item = &Candidate> {
        let key = SipKey::new("placement", subject);
        let mut scored: Vec<(u64, &Candidate)> = self
            .candidates(Role::Content)
            .iter()
            .filter(|candidate| candidate.weight > 0)
            .map(|candidate| (negative_log2(key.hash(candidate.number.0)), candidate))
            .collect();
        scored.sort_by(|(left_log, left), (right_log, right)| {
            let left_score = u128::from(left.weight) * u128::from(*right_log);
            let right_score = u128::from(right.weight) * u128::from(*left_log);
            right_score
                .cmp(&left_score)
                .then(left.number.cmp(&right.number))
        });
        scored.into_iter().map(|(_, candidate)| candidate)
    }
}

impl Purpose {
    const fn parts(self) -> (Role, &'static str, &'static str) {
        match self {
            Self::Entries => (Role::Discovery, "entries", "entries/peer"),
            Self::Relayer => (Role::Identity, "relayer", "relayer/peer"),
            Self::Vault => (Role::Identity, "vault", "vault/peer"),
        }
    }
}

/// The first walk keeps each zone to a third of the target, the second fills up.
fn walk(ranked: impl Iterator<Item = Vec<CandidatePeer>>, target: usize) -> Vec<Address> {
    let zone_max = target.div_ceil(3);
    let mut zones: BTreeMap<Zone, usize> = BTreeMap::new();
    let mut chosen = Vec::with_capacity(target);
    let mut left_over = Vec::new();
    if target == 0 {
        return chosen;
    }
    for peers in ranked {
        let has_room =
            |peer: &&CandidatePeer| zones.get(&peer.zone).is_none_or(|count| *count < zone_max);
        match peers.iter().find(has_room) {
            Some(peer) => {
                *zones.entry(peer.zone).or_default() += 1;
                chosen.push(peer.address);
            }
            None => left_over.push(peers[0].address),
        }
        if chosen.len() == target {
            return chosen;
        }
    }
    let missing = target - chosen.len();
    chosen.extend(left_over.into_iter().take(missing));
    chosen
}

fn sort_peers(key: &SipKey, peers: &mut [CandidatePeer]) {
    peers.sort_by(
        |left, right| match key.hash(right.service.0).cmp(&key.hash(left.service.0)) {
            Ordering::Equal => left.service.cmp(&right.service),
            other => other,
        },
    );
}

/// SipHash-2-4 under a key drawn from purpose and subject.
struct SipKey([u8; 16]);

impl SipKey {
    fn new(purpose: &str, subject: &[u8]) -> Self {
        let mut text = format!("coliving/{purpose}/1").into_bytes();
        text.extend(subject);
        let mut key = [0; 16];
        key.copy_from_slice(&sha256(&text).0[..16]);
        Self(key)
    }

    fn hash(&self, number: u64) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&number.to_le_bytes());
        hasher.finish()
    }
}

/// floor(−log2((2h + 1) / 2^65)) in Q32.32, at least 1.
///
/// The binary digits of the logarithm come from squaring a 128-bit mantissa 32
/// times; its truncation error stays below 2^−90, so that the digits are those
/// of the exact logarithm.
#[must_use]
pub fn negative_log2(h: u64) -> u64 {
    let odd = 2 * u128::from(h) + 1;
    let exponent = u128::BITS - 1 - odd.leading_zeros();
    let mut mantissa = odd << (u128::BITS - 1 - exponent);
    let mut fraction = 0;
    for _ in 0..32 {
        let (high, low) = square(mantissa);
        let is_two_or_more = high >> 127 == 1;
        mantissa = if is_two_or_more {
            high
        } else {
            high << 1 | low >> 127
        };
        fraction = fraction << 1 | u64::from(is_two_or_more);
    }
    let log2 = u64::from(exponent) << 32 | fraction;
    // The logarithm of an odd number above 1 is irrational: its floor is below
    // it, so that the negative rounds down by one more.
    let rounding = u64::from(odd > 1);
    ((65 << 32) - log2 - rounding).max(1)
}

/// The 256-bit square of `value` as (high, low).
fn square(value: u128) -> (u128, u128) {
    let mask = u128::from(u64::MAX);
    let (a, b) = (value >> 64, value & mask);
    let (aa, ab, bb) = (a * a, a * b, b * b);
    // value² = aa·2^128 + 2·ab·2^64 + bb.
    let (low, carry_low) = bb.overflowing_add(ab << 65);
    let high = aa + (ab >> 63) + u128::from(carry_low);
    (high, low)
}

/// Peers that should hold each root. Derived: two may be lost before a root has less
/// than [`REPLICAS_MIN`].
pub const REPLICAS_TARGET: usize = 5;

/// Leases from distinct operators that make an upload durable. Chosen: as the
/// ancestor has it; one may lie and one be lost.
pub const REPLICAS_MIN: usize = 3;

#[cfg(test)]
mod tests;
