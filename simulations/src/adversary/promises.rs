//! Tells of leases of roots that nobody has, and of published ones that it does
//! not have itself; shows none of them. What it is offered it offers to others with
//! another size.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::codec;
use protocol::content::listing::{Part, Request, Response};
use protocol::content::repair::RootFacts;
use protocol::id::Hash32;
use protocol::publish;
use protocol::records::{Lease, Presence, SignedLease};
use protocol::signing::{Signed, SigningKey};
use protocol::unixfs::raw_cid;
use protocol::wire::Protocol;

use crate::host::Host;
use crate::wire::Topic;
use crate::world::Ctx;

/// What it promised.
#[derive(Debug, Default)]
pub(super) struct Promises {
    promised: BTreeSet<Cid>,
    leases: Vec<SignedLease>,
}

impl Promises {
    pub(super) fn act(&mut self, key: &SigningKey, host: &mut Host, ctx: &mut Ctx) -> Duration {
        if self.leases.is_empty() {
            for _ in 0..INVENTED {
                let root = raw_cid(&ctx.rng.bytes(32));
                let facts = RootFacts {
                    proof_root: Hash32(ctx.rng.array()),
                    size: 1 + ctx.rng.below(1 << 16),
                };
                self.promise(root, facts, key, host, ctx);
            }
        }
        for (root, facts) in host.disk.indexed.index().roots() {
            if !self.promised.contains(&root) {
                self.promise(root, facts, key, host, ctx);
            }
        }
        let presence = Presence {
            peer: host.address,
            time: ctx.now.unix(),
            page_serial: 0,
            page_hash: Hash32::ZERO,
            capacity: u64::MAX,
            used: 0,
        };
        let presence = Signed::new(presence, &ctx.params.domain, key);
        host.gossip(Topic::Presence, codec::to_bytes(&presence), ctx);
        ctx.params.presence_interval
    }

    fn promise(
        &mut self,
        root: Cid,
        facts: RootFacts,
        key: &SigningKey,
        host: &mut Host,
        ctx: &mut Ctx,
    ) {
        let epoch = ctx.now.epoch();
        let lease = Lease {
            root,
            proof_root: facts.proof_root,
            size: facts.size,
            holder: host.address,
            serial: self.leases.len() as u64 + 1,
            from_epoch: epoch,
            to_epoch: epoch.plus(LEASE_EPOCHS),
        };
        let lease = Signed::new(lease, &ctx.params.domain, key);
        self.promised.insert(root);
        self.leases.push(lease.clone());
        let lease = Box::new(lease);
        let notice = Request::Announce { lease }.to_bytes();
        let peers: Vec<_> = ctx
            .up_peers()
            .filter(|peer| *peer != host.address)
            .collect();
        for to in peers {
            host.inquire((to, Protocol::Leases, notice.clone().into()), ctx);
        }
    }

    /// Offers what it was offered to all others, with another size.
    pub(super) fn offer_again(&mut self, body: &Bytes, host: &mut Host, ctx: &mut Ctx) {
        let Ok(publish::Request::Offer(mut offer)) = publish::Request::from_bytes(body) else {
            return;
        };
        offer.size += 1;
        let body = Bytes::from(publish::Request::Offer(offer).to_bytes());
        let peers: Vec<_> = ctx
            .up_peers()
            .filter(|peer| *peer != host.address)
            .collect();
        for to in peers {
            host.inquire((to, Protocol::Publish, body.clone()), ctx);
        }
    }

    /// All of them, as signed since a page that it does not have.
    pub(super) fn list(&self) -> Vec<u8> {
        let mut fresh = self.leases.clone();
        fresh.sort_by_key(|lease| lease.record.root.to_bytes());
        let part = Part {
            page: None,
            listed: Vec::new(),
            fresh,
            released: Vec::new(),
            next: None,
        };
        Response::List(Box::new(part)).to_bytes()
    }
}

/// Roots that nobody has. Chosen: many times what is published, and few enough
/// for one part of a list.
const INVENTED: usize = 300;

/// Epochs of a promise: a month.
const LEASE_EPOCHS: u64 = 30 * 24;
