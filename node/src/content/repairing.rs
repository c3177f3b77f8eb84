//! What repair asks for: fetching, checked reads, releases.

use cid::Cid;
use cid::multihash::Multihash;
use protocol::exchange::{Answer, Request, Response};
use protocol::id::Address;
use protocol::repair::{Event, RootFacts};
use protocol::unixfs::verify_block;
use storage::blocks::BlockReader;

use super::uploads::{fetch_at_most, lease_owner};
use super::{Actor, Outcome, Purpose};
use crate::context::Context;
use crate::exchange::{FetchError, FetchOptions, Fetched};
use crate::net::Protocol;

impl Actor {
    pub(super) async fn handle_repair_event(&mut self, event: Event) {
        match event {
            Event::Fetch {
                root,
                facts,
                holders,
            } => {
                if self.is_deleted(&root) {
                    self.repair.handle_unwanted(&root);
                    let now = self.context.clock.now();
                    self.repair.handle_fetch_failed(&root, now);
                    return;
                }
                tracing::info!(%root, holders = holders.len(), "a root is repaired to here");
                self.fetch_for_repair(root, facts.size, holders);
            }
            Event::CheckRead { peer, root } => {
                let context = self.context.clone();
                self.tasks.spawn(async move {
                    let is_held = check_read(&context, peer, root).await;
                    Outcome::Checked {
                        peer,
                        root,
                        is_held,
                    }
                });
            }
            Event::Release { root } => {
                tracing::info!(%root, "a root that others hold is released");
                self.strike(root).await;
            }
            Event::Starved { root, lost_holders } => {
                tracing::warn!(%root, lost = lost_holders.len(), "no live peer is known to hold a root");
            }
            Event::Lost { peer } => {
                tracing::info!(%peer, "a peer counts as lost");
                self.listed.remove(&peer);
            }
            Event::Returned { peer } => {
                tracing::info!(%peer, "a lost peer is back");
                self.listed.remove(&peer);
                self.list_unlisted();
            }
        }
    }

    fn fetch_for_repair(&mut self, root: Cid, size: u64, holders: Vec<Address>) {
        let exchange = self.exchange.clone();
        let options = FetchOptions {
            holders,
            owner: Some(lease_owner(root)),
            with_proof: true,
            ..FetchOptions::default()
        };
        self.repairing.insert(root);
        self.tasks.spawn(async move {
            let result = fetch_at_most(&exchange, root, options, size, |_| {}).await;
            Outcome::Fetched {
                root,
                purpose: Purpose::Repair,
                result,
            }
        });
    }

    pub(super) async fn handle_repaired(&mut self, root: Cid, result: Result<Fetched, FetchError>) {
        let now = self.context.clock.now();
        match result {
            // Every block was verified: this is the root, whatever its holders say.
            Ok(Fetched {
                bytes: size,
                proof_root: Some(proof_root),
                ..
            }) => {
                if self.promise(root, proof_root, size).await.is_some() {
                    let facts = RootFacts { proof_root, size };
                    self.repair.handle_fetched(&root, facts, now);
                } else {
                    self.repair.handle_fetch_failed(&root, now);
                }
            }
            Ok(_) => {
                tracing::warn!(%root, "a root is larger than its holders promised");
                self.repair.handle_fetch_failed(&root, now);
            }
            Err(error) => {
                tracing::info!(%root, %error, "a root was not repaired; it is tried again");
                self.repair.handle_fetch_failed(&root, now);
            }
        }
    }
}

/// True when `peer` hands out blocks of the root, drawn afresh.
async fn check_read(context: &Context, peer: Address, root: Cid) -> bool {
    let reader = context.store.reader();
    let mut cids = vec![root];
    for _ in 0..SAMPLES {
        match draw(&reader, &root) {
            Some(drawn) if !cids.contains(&drawn) => cids.push(drawn),
            Some(_) | None => {}
        }
    }
    let request = Request { cids: cids.clone() };
    let answer = context
        .net
        .request(peer, Protocol::Blocks, request.encode())
        .await;
    let Some(response) = answer.ok().and_then(|body| Response::decode(&body).ok()) else {
        return false;
    };
    // A prefix is answered; the root alone would show nothing new.
    let wanted = cids.len().min(2);
    let is_shown = |(answer, cid): (&Answer, &Cid)| match answer {
        Answer::Data(data) => verify_block(cid, data).is_ok(),
        Answer::Missing | Answer::Busy => false,
    };
    response.answers.len() >= wanted && response.answers.iter().zip(&cids).all(is_shown)
}

/// A block that the root lists: the first one after a random place.
fn draw(reader: &BlockReader, root: &Cid) -> Option<Cid> {
    let place = Multihash::wrap(SHA2_256, &rand::random::<[u8; 32]>()).ok()?;
    let place = Cid::new_v1(root.codec(), place);
    let next = |after| reader.listed_after(root, after, 1).ok()?.pop();
    next(Some(&place)).or_else(|| next(None))
}

/// Blocks that a checked read draws beside the root.
const SAMPLES: usize = 3;

/// The multihash code of the hash that blocks are listed by.
const SHA2_256: u64 = 0x12;
