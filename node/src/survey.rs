//! Who holds a root at this moment: asked at the peers themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;
use futures::future::join_all;
use protocol::id::Address;
use protocol::lease::SignedLease;
use protocol::placement::Placement;
use protocol::publish::{Request, Response};

use crate::context::Context;
use crate::net::Protocol;

/// Asks the placed peers, their substitutes and the other peers of the same
/// operators for their leases of `root`; those that do not answer in time hold
/// nothing as far as the answer goes. Signatures are checked.
pub async fn survey(context: &Context, root: Cid) -> Vec<SignedLease> {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let mut asked = placement.place(&root, ASKED_MAX, &BTreeSet::new());
    let first: BTreeSet<Address> = asked.iter().copied().collect();
    asked.extend(placement.place(&root, ASKED_MAX, &first));
    let answers = asked.into_iter().map(|peer| ask(context, peer, root));
    join_all(answers).await.into_iter().flatten().collect()
}

async fn ask(context: &Context, peer: Address, root: Cid) -> Option<SignedLease> {
    let body = Request::Status { root }.to_bytes();
    let request = context.net.request(peer, Protocol::Publish, body);
    let answer = tokio::time::timeout(PATIENCE, request).await.ok()?.ok()?;
    let Ok(Response::Lease(lease)) = Response::from_bytes(&answer) else {
        return None;
    };
    let domain = context.contracts.domain();
    let is_valid = lease.record.root == root && lease.verify(&domain, peer).is_ok();
    is_valid.then_some(*lease)
}

/// Operators that are asked.
const ASKED_MAX: usize = 15;

/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
