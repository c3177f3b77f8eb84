//! Offers files to every holder that it sends in drops, and many of a byte that
//! it does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::content::repair::RootFacts;
use protocol::exchange::{Answer, Request, Response};
use protocol::id::Hash32;
use protocol::publish;
use protocol::unixfs::{Importer, Leaf, Profile, raw_cid};
use protocol::wire::Protocol;

use crate::host::Host;
use crate::index::metadata_of;
use crate::wire::Message;
use crate::workload::Resident;
use crate::world::Ctx;

/// What it has, and what it was asked for.
#[derive(Debug, Default)]
pub(super) struct Drips {
    blocks: BTreeMap<Cid, Bytes>,
    asked: Vec<(u32, u64, Request)>,
    drops: u64,
}

impl Drips {
    /// Answers each question with a block of some bytes; offers now and then.
    pub(super) fn act(
        &mut self,
        resident: &mut Resident,
        host: &mut Host,
        ctx: &mut Ctx,
    ) -> Duration {
        if self.drops.is_multiple_of(DROPS) {
            for _ in 0..FILES {
                let (root, size) = self.make(ctx);
                offer(root, size, resident, host, ctx);
            }
            for _ in 0..BYTES {
                let root = raw_cid(&ctx.rng.bytes(32));
                offer(root, 1, resident, host, ctx);
            }
        }
        self.drops += 1;
        for (from, id, request) in std::mem::take(&mut self.asked) {
            let block = request.cids.first().and_then(|cid| self.blocks.get(cid));
            let answers = block.map(|data| Answer::Data(data.clone()));
            let response = Response {
                answers: answers.into_iter().collect(),
            };
            let data = Some(response.encode());
            ctx.send(host.idx, from, Message::Response { id, data });
        }
        PAUSE
    }

    /// Keeps a question for one of its own blocks; true when it is one.
    pub(super) fn takes(&mut self, from: u32, id: u64, body: &Bytes) -> bool {
        let Ok(request) = Request::decode(body) else {
            return false;
        };
        let is_own = request.cids.iter().any(|cid| self.blocks.contains_key(cid));
        if is_own {
            self.asked.push((from, id, request));
        }
        is_own
    }

    /// A file of many small blocks.
    fn make(&mut self, ctx: &mut Ctx) -> (Cid, u64) {
        let mut file = Importer::new(Profile::default());
        for _ in 0..BLOCKS {
            let chunk = Bytes::from(ctx.rng.bytes(16));
            file.push_leaf(Leaf::new(Profile::default(), chunk));
        }
        let mut blocks: Vec<_> = std::iter::from_fn(|| file.poll_block()).collect();
        let (root, last) = file.finish();
        blocks.extend(last);
        let mut size = 0;
        for (cid, data) in blocks.into_iter().map(|block| block.into_parts()) {
            size += data.len() as u64;
            self.blocks.insert(cid, data);
        }
        (root.cid, size)
    }
}

fn offer(root: Cid, size: u64, resident: &Resident, host: &mut Host, ctx: &mut Ctx) {
    let facts = RootFacts {
        proof_root: Hash32(ctx.rng.array()),
        size,
    };
    let offer = publish::Request::Offer(Box::new(publish::Offer {
        action: resident.action("Track", "Create", metadata_of(&root, &facts), ctx),
        root,
        proof_root: facts.proof_root,
        size,
        sources: Vec::new(),
    }));
    let body = Bytes::from(offer.to_bytes());
    let holders: Vec<_> = ctx.up_peers().collect();
    for to in holders {
        host.inquire((to, Protocol::Publish, body.clone()), ctx);
    }
}

/// Between two drops: shorter than any answer is waited for.
const PAUSE: Duration = Duration::from_secs(4);

/// Drops until it offers again: every hour and forty minutes, since what drips is
/// most of a run.
const DROPS: u64 = 1500;

/// Files that drip: more than a holder pulls at a time.
const FILES: usize = 20;

/// Blocks of one of them: minutes, of which a pull that is watched has one.
const BLOCKS: usize = 60;

/// Offers of a byte, which in some rounds are more than a user has places.
const BYTES: usize = 40;
