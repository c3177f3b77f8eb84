//! An identity peer's records: what its replica's facts and wishes are in this
//! process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use protocol::codec;
use protocol::id::{Address, Hash32};
use protocol::origin::{Origin, RequestId};
use protocol::registry::Registry;
use protocol::vault::{Entry, Replica, ReplicaInput, ReplicaOutput, Response, WALLETS_MAX};
use storage::tables::{TablesRead, TablesWrite, VAULT};
use tokio::sync::{mpsc, oneshot, watch};

use super::hands::placement;
use crate::context::Context;
use crate::net::{Inbound, NetError, Protocol, Responder};
use crate::shell::{self, Driver, Work};
use crate::store::{StoreError, StoreHandle};

/// Asks this peer's own replica; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ReplicaHandle {
    requests: mpsc::Sender<Own>,
}

#[derive(Debug)]
struct Own {
    body: Bytes,
    reply: oneshot::Sender<Bytes>,
}

/// Who waits for an answer.
enum Asker {
    Peer(Responder),
    Own(oneshot::Sender<Bytes>),
}

struct Hands {
    store: StoreHandle,
    requests: mpsc::Receiver<Inbound>,
    own: mpsc::Receiver<Own>,
    snapshot: watch::Receiver<Arc<Registry>>,
    latest: watch::Receiver<Arc<Registry>>,
    askers: BTreeMap<RequestId, Asker>,
    next_request: u64,
}

/// Starts to serve.
pub(super) async fn spawn(context: &Context) -> Result<ReplicaHandle, NetError> {
    let (requests, own) = mpsc::channel(OWN_MAX);
    let mut hands = Hands {
        store: context.store.clone(),
        requests: context.net.serve(Protocol::Vault).await?,
        own,
        snapshot: context.chain.snapshot(),
        latest: context.chain.registry(),
        askers: BTreeMap::new(),
        next_request: 0,
    };
    // What they show at the start is news to the machine.
    hands.snapshot.mark_changed();
    hands.latest.mark_changed();
    let machine = Replica::new(context.contracts.domain(), context.peer);
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(ReplicaHandle { requests })
}

impl ReplicaHandle {
    /// Asks; `None` when the disk fails or the node is stopping.
    pub(super) async fn ask(&self, body: Bytes) -> Option<Bytes> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Own { body, reply }).await.ok()?;
        answer.await.ok()
    }
}

impl Hands {
    fn ask(&mut self, body: Bytes, origin: Option<Origin>, asker: Asker) -> ReplicaInput {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.askers.insert(request, asker);
        ReplicaInput::Request {
            request,
            origin,
            body,
        }
    }

    fn respond(&mut self, request: RequestId, response: &Response) {
        match self.askers.remove(&request) {
            Some(Asker::Peer(responder)) => responder.send(response.to_bytes()),
            Some(Asker::Own(reply)) => drop(reply.send(response.to_bytes().into())),
            None => {}
        }
    }
}

impl Driver<Replica> for Hands {
    async fn next(&mut self) -> Option<ReplicaInput> {
        tokio::select! {
            biased;
            Ok(()) = self.snapshot.changed() => {
                Some(ReplicaInput::Snapshot(placement(&mut self.snapshot)))
            }
            Ok(()) = self.latest.changed() => {
                Some(ReplicaInput::Latest(placement(&mut self.latest)))
            }
            Some(own) = self.own.recv() => Some(self.ask(own.body, None, Asker::Own(own.reply))),
            Some(inbound) = self.requests.recv() => {
                let origin = inbound.origin();
                Some(self.ask(inbound.body, Some(origin), Asker::Peer(inbound.respond)))
            }
            else => None,
        }
    }

    fn carry(&mut self, wish: ReplicaOutput, work: &mut Work<ReplicaInput>) {
        let store = self.store.clone();
        match wish {
            ReplicaOutput::Respond { request, response } => self.respond(request, &response),
            // Dropping a responder refuses.
            ReplicaOutput::Refuse { request } => drop(self.askers.remove(&request)),
            ReplicaOutput::Read { lookup_key } => {
                work.beside(async move {
                    let read = tokio::task::spawn_blocking(move || {
                        store.read(|tables| {
                            Ok::<_, StoreError>((
                                entries(tables, &lookup_key)?,
                                tables.count(VAULT)?,
                            ))
                        })
                    });
                    let (entries, rows) = read.await.ok().and_then(noted).unzip();
                    Some(ReplicaInput::Read {
                        lookup_key,
                        entries,
                        rows: rows.unwrap_or(0),
                    })
                });
            }
            ReplicaOutput::Persist {
                lookup_key,
                before,
                after,
            } => work.in_order(async move {
                let written =
                    store.write(move |tables| replace(tables, lookup_key, &before, &after));
                let is_stored = noted(written.await).is_some();
                Some(ReplicaInput::Persisted {
                    lookup_key,
                    is_stored,
                })
            }),
        }
    }
}

fn noted<T>(done: Result<T, StoreError>) -> Option<T> {
    done.inspect_err(|error| tracing::error!(%error, "a vault record was not kept or read"))
        .ok()
}

/// What is kept under a lookup key.
fn entries(tables: &TablesRead<'_>, key: &Hash32) -> Result<Vec<Entry>, StoreError> {
    let start = Bound::Included((*key, Address::ZERO));
    let rows: Vec<((Hash32, Address), Bytes)> = tables.range(VAULT, start, WALLETS_MAX + 1)?;
    let entries = rows
        .into_iter()
        .take_while(|((of, _), _)| of == key)
        .filter_map(|(_, row)| codec::from_bytes("vault record", &row, ROW_BYTES_MAX).ok());
    Ok(entries.collect())
}

fn replace(
    tables: &TablesWrite<'_>,
    key: Hash32,
    before: &[Address],
    after: &[Entry],
) -> Result<(), StoreError> {
    for wallet in before {
        tables.remove(VAULT, &(key, *wallet))?;
    }
    for entry in after {
        let row = codec::to_bytes(entry).into();
        tables.put(VAULT, &(key, entry.record.wallet), &row)?;
    }
    Ok(())
}

/// A row is what came in a request.
const ROW_BYTES_MAX: usize = Protocol::Vault.limits().request_bytes_max;

/// Own requests that wait for the replica; the vault asks a few for each record.
const OWN_MAX: usize = 64;
