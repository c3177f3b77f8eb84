//! What this peer knows of those around a root.

use cid::Cid;
use protocol::exchange::Around;
use protocol::id::{Address, Role};
use protocol::placement::Placement;
use storage::tables::LEASES_BY_HOLDER;

use crate::context::Context;
use crate::store::StoreError;

pub(super) fn around(context: &Context, root: &Cid) -> Around {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let leased = holding_by_lease(context, root, placement.peers(Role::Content));
    let connected = context.net.connected().borrow().clone();
    Around::of(&placement, root, leased, connected)
}

/// Those of `peers` whose lease for the root is known here.
pub(crate) fn holding_by_lease(
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
