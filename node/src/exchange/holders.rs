//! Who may hold a root: placement first, then leases, then everybody else who
//! stores, and Kademlia's providers as hints.

use std::collections::BTreeSet;

use cid::Cid;
use protocol::id::{Address, Role};
use protocol::placement::{Placement, REPLICAS_TARGET};
use storage::tables::LEASES_BY_HOLDER;

use crate::context::Context;
use crate::store::StoreError;

/// Peers to ask, the smaller number first.
pub(crate) fn candidates(context: &Context, root: &Cid) -> Vec<(Address, u32)> {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let connected = context.net.connected().borrow().clone();
    let placed = placement.place(root, REPLICAS_TARGET, &BTreeSet::new());
    let mut found: Vec<(Address, u32)> = Vec::new();
    let mut add = |peer: Address, priority: u32| {
        let is_known = found.iter().any(|(known, _)| *known == peer);
        if peer != context.peer && !is_known {
            let penalty = u32::from(!connected.contains(&peer));
            found.push((peer, priority + penalty));
        }
    };
    for peer in placed {
        add(peer, PLACED);
    }
    for peer in lease_holders(context, root, placement.peers(Role::Content)) {
        add(peer, LEASED);
    }
    for peer in placement.peers(Role::Content).take(OTHERS_MAX) {
        add(peer, OTHER);
    }
    found
}

/// Staked peers whose lease for the root is known here.
pub(crate) fn lease_holders(
    context: &Context,
    root: &Cid,
    peers: impl Iterator<Item = Address>,
) -> Vec<Address> {
    let peers: Vec<Address> = peers.collect();
    let found: Result<Vec<Address>, StoreError> = context.store.read(|tables| {
        let mut found = Vec::new();
        for peer in peers {
            if tables.get(LEASES_BY_HOLDER, &(peer, *root))?.is_some() {
                found.push(peer);
            }
        }
        Ok(found)
    });
    found.unwrap_or_default()
}

/// Priorities; a peer without a connection comes one later.
pub(super) const HINTED: u32 = 0;
const PLACED: u32 = 2;
const LEASED: u32 = 4;
const OTHER: u32 = 6;
pub(super) const PROVIDER: u32 = 8;
pub(super) const LAST_RESORT: u32 = 10;

/// Peers that are asked without any reason to think they hold the root.
const OTHERS_MAX: usize = 32;
