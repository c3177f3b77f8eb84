//! The driver of [`Serve`].

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::admission::Source;
use protocol::exchange::{Lookup, Request, Serve, ServeId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Counters;
use crate::context::Context;
use crate::net::{Inbound, Refusal, Responder};
use crate::store::StoreHandle;

pub(super) fn spawn(context: &Context, requests: mpsc::Receiver<Inbound>, counters: Counters) {
    let actor = Actor {
        context: context.clone(),
        counters,
        serve: Serve::default(),
        next: 0,
        responders: BTreeMap::new(),
        lookups: JoinSet::new(),
        sending: JoinSet::new(),
    };
    context.floor.spawn(actor.run(requests));
}

struct Actor {
    context: Context,
    counters: Counters,
    serve: Serve,
    next: u64,
    responders: BTreeMap<ServeId, Responder>,
    lookups: JoinSet<(ServeId, Vec<Option<Bytes>>)>,
    /// Responses on their way, whose bytes are counted until they have left or
    /// are lost.
    sending: JoinSet<(ServeId, bool)>,
}

impl Actor {
    async fn run(mut self, mut requests: mpsc::Receiver<Inbound>) {
        let stop = self.context.floor.stop().clone();
        loop {
            self.drain();
            let deadline = self.serve.poll_timeout();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(Ok((id, blocks))) = self.lookups.join_next() => {
                    self.serve.handle_blocks(id, blocks);
                }
                Some(Ok((id, is_taken))) = self.sending.join_next() => {
                    self.serve.handle_sent(id, is_taken);
                }
                request = requests.recv() => match request {
                    Some(request) => self.handle_request(request).await,
                    None => break,
                },
                () = self.context.clock.sleep_until(deadline) => {
                    self.serve.handle_timeout(self.context.clock.now());
                }
            }
        }
        // What reads the disk ends before the store does.
        self.lookups.shutdown().await;
        self.sending.shutdown().await;
    }

    async fn handle_request(&mut self, inbound: Inbound) {
        match Request::decode(&inbound.body) {
            Ok(request) => {
                let id = ServeId(self.next);
                self.next += 1;
                let registry = self.context.chain.snapshot();
                let source = Source::of(inbound.origin(), &registry.borrow());
                self.responders.insert(id, inbound.respond);
                let now = self.context.clock.now();
                self.serve.handle_request(id, source, request, now);
            }
            Err(error) => {
                tracing::debug!(peer = %inbound.peer, %error, "block request refused");
                inbound.respond.refuse(Refusal::Rejected);
                self.counters.offences.inc();
                self.context.net.report_offence(inbound.peer, OFFENCE).await;
            }
        }
    }

    fn drain(&mut self) {
        loop {
            while let Some(lookup) = self.serve.poll_lookup() {
                let store = self.context.store.clone();
                self.lookups
                    .spawn_blocking(move || (lookup.id, look_up(&store, &lookup)));
            }
            let Some(reply) = self.serve.poll_transmit() else {
                return;
            };
            let bytes = reply.response.payload_bytes() as u64;
            let Some(responder) = self.responders.remove(&reply.id) else {
                self.serve.handle_sent(reply.id, false);
                continue;
            };
            self.counters.served_bytes.inc_by(bytes);
            let gone = responder.send_tracked(reply.response.encode());
            self.sending
                .spawn(async move { (reply.id, gone.await.is_ok()) });
        }
    }
}

fn look_up(store: &StoreHandle, lookup: &Lookup) -> Vec<Option<Bytes>> {
    let mut left = lookup.bytes_max;
    let mut blocks = Vec::with_capacity(lookup.cids.len());
    for cid in &lookup.cids {
        let block = store.read_block(cid).unwrap_or_else(|error| {
            tracing::warn!(%cid, %error, "block not served");
            None
        });
        let size = block.as_ref().map_or(0, Bytes::len);
        if size > left {
            break;
        }
        left -= size;
        blocks.push(block);
    }
    blocks
}

/// What a request that does not decode weighs: a tenth of a ban.
const OFFENCE: u32 = 10;
