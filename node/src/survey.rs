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

/// What asking came to.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Leases of peers that answered; their signatures were checked.
    pub leases: Vec<SignedLease>,
    /// Peers that did not answer in time.
    pub silent: BTreeSet<Address>,
}

/// Asks the placed peers, their substitutes and the other peers of the same
/// operators for their leases of `root`. This peer itself is left out.
pub async fn survey(context: &Context, root: Cid) -> Survey {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let mut asked = placement.place(&root, ASKED_MAX, &BTreeSet::new());
    let first: BTreeSet<Address> = asked.iter().copied().collect();
    asked.extend(placement.place(&root, ASKED_MAX, &first));
    asked.retain(|peer| *peer != context.peer);
    let answers = asked
        .into_iter()
        .map(|peer| async move { (peer, ask(context, peer, root).await) });
    let mut survey = Survey::default();
    for (peer, answer) in join_all(answers).await {
        match answer {
            Some(Response::Lease(lease)) if is_valid(context, &lease, peer, root) => {
                survey.leases.push(*lease);
            }
            Some(_) => {}
            None => {
                survey.silent.insert(peer);
            }
        }
    }
    survey
}

async fn ask(context: &Context, peer: Address, root: Cid) -> Option<Response> {
    let body = Request::Status { root }.to_bytes();
    let request = context.net.request(peer, Protocol::Publish, body);
    let answer = tokio::time::timeout(PATIENCE, request).await.ok()?.ok()?;
    Response::from_bytes(&answer).ok()
}

fn is_valid(context: &Context, lease: &SignedLease, peer: Address, root: Cid) -> bool {
    let domain = context.contracts.domain();
    lease.record.root == root && lease.verify(&domain, peer).is_ok()
}

/// Operators that are asked.
const ASKED_MAX: usize = 15;

/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
