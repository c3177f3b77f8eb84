//! Whom a fetch asks: placement first, then leases, then everybody else who
//! stores; Kademlia's providers are hints, and the author goes last.

use std::collections::BTreeSet;

use cid::Cid;

use crate::id::{Address, Role};
use crate::placement::{Placement, REPLICAS_TARGET};

/// What is known of the peers around a root, as the driver finds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Around {
    /// The peers that placement names for the root.
    pub placed: Vec<Address>,
    /// Staked peers whose lease for the root is known here.
    pub leased: Vec<Address>,
    /// Other peers that store for the network; [`OTHERS_MAX`] of them count.
    pub staked: Vec<Address>,
    /// The peers with a connection, which are asked before others of their kind.
    pub connected: BTreeSet<Address>,
}

impl Around {
    /// What `placement` says about `root`, beside the holders by lease and the
    /// connected peers.
    #[must_use]
    pub fn of(
        placement: &Placement,
        root: &Cid,
        leased: Vec<Address>,
        connected: BTreeSet<Address>,
    ) -> Self {
        Self {
            placed: placement.place(root, REPLICAS_TARGET, &BTreeSet::new()),
            leased,
            staked: placement.peers(Role::Content).take(OTHERS_MAX).collect(),
            connected,
        }
    }
}

/// Peers to ask with their priorities, the smaller number first, each once and
/// `local` never.
#[must_use]
pub fn candidates(local: &Address, around: &Around) -> Vec<(Address, u32)> {
    let mut seen = BTreeSet::from([*local]);
    let placed = around.placed.iter().map(|peer| (peer, PLACED));
    let leased = around.leased.iter().map(|peer| (peer, LEASED));
    let others = around.staked.iter().take(OTHERS_MAX);
    placed
        .chain(leased)
        .chain(others.map(|peer| (peer, OTHER)))
        .filter(|(peer, _)| seen.insert(**peer))
        .map(|(peer, priority)| {
            let penalty = u32::from(!around.connected.contains(peer));
            (*peer, priority + penalty)
        })
        .collect()
}

/// Peers that whoever wants the root knows to hold it. The priorities are two
/// apart: a peer without a connection comes one later than its kind.
pub(super) const HINTED: u32 = 0;
const PLACED: u32 = 2;
const LEASED: u32 = 4;
const OTHER: u32 = 6;
/// Peers that Kademlia names, which anybody may have told it.
pub(super) const PROVIDER: u32 = 8;
/// Peers that are spared as long as anybody else answers, as an author.
pub(super) const LAST_RESORT: u32 = 10;

/// Peers asked without any reason to think that they hold the root. With the
/// placed ones they stay below the holders that a fetch keeps in mind.
pub const OTHERS_MAX: usize = 32;

#[cfg(test)]
mod tests;
