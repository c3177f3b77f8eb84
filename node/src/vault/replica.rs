//! An identity peer's records and the server of `/coliving/vault/1`.

use std::ops::Bound;
use std::sync::Arc;

use protocol::codec;
use protocol::id::{Address, Hash32};
use protocol::vault::{Entry, Limiter, Request, Response, Store, WALLETS_MAX};
use storage::tables::{TablesError, TablesRead, TablesWrite, VAULT};
use tokio::sync::mpsc;

use crate::context::Context;
use crate::net::{Inbound, NetError, Protocol};
use crate::store::StoreError;

/// The records of this peer; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    context: Arc<Context>,
    rules: Store,
}

/// Starts to serve.
pub(super) async fn spawn(context: &Context) -> Result<Replica, NetError> {
    let replica = Replica {
        rules: Store::new(context.contracts.domain()),
        context: Arc::new(context.clone()),
    };
    let requests = context.net.serve(Protocol::Vault).await?;
    tokio::spawn(serve(replica.clone(), requests));
    Ok(replica)
}

/// The network bounds how many requests are under way.
async fn serve(replica: Replica, mut requests: mpsc::Receiver<Inbound>) {
    let stop = replica.context.stop.clone();
    let mut limiter = Limiter::default();
    loop {
        let inbound = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            inbound = requests.recv() => match inbound {
                Some(inbound) => inbound,
                None => return,
            },
        };
        // Dropping the responder refuses what is no request.
        let Ok(request) = Request::from_bytes(&inbound.body) else {
            continue;
        };
        let now = replica.context.clock.now().unix();
        if let Err(refusal) = limiter.check(&lookup_key(&request), None, now) {
            inbound.respond.send(Response::Refused(refusal).to_bytes());
            continue;
        }
        let replica = replica.clone();
        tokio::spawn(async move {
            if let Some(response) = replica.handle(request).await {
                inbound.respond.send(response.to_bytes());
            }
        });
    }
}

impl Replica {
    /// Answers a request, once what it changed is durable; `None` when the disk
    /// fails.
    pub(super) async fn handle(&self, request: Request) -> Option<Response> {
        let key = lookup_key(&request);
        let now = self.context.clock.now().unix();
        let rules = self.rules;
        let result: Result<Response, StoreError> = match &request {
            Request::Get { .. } => self.context.store.read(|tables| {
                let stored = entries(&key, |start, limit| read_rows(tables, start, limit))?;
                Ok(rules.handle_request(request, stored, now).response)
            }),
            Request::Put(_) => {
                let change = move |tables: &TablesWrite<'_>| {
                    let stored = entries(&key, |start, limit| tables.range(VAULT, start, limit))?;
                    let before: Vec<Address> =
                        stored.iter().map(|entry| entry.record.wallet).collect();
                    let outcome = rules.handle_request(request, stored, now);
                    if let Some(after) = outcome.store {
                        replace(tables, key, &before, &after)?;
                    }
                    Ok(outcome.response)
                };
                self.context.store.write(change).await
            }
        };
        result
            .inspect_err(|error| tracing::error!(%error, "a vault record was not kept or read"))
            .ok()
    }
}

type Rows = Vec<((Hash32, Address), bytes::Bytes)>;

fn read_rows(
    tables: &TablesRead<'_>,
    start: Bound<(Hash32, Address)>,
    limit: usize,
) -> Result<Rows, TablesError> {
    tables.range(VAULT, start, limit)
}

/// The entries of a lookup key in the order in which they came.
fn entries(
    key: &Hash32,
    range: impl FnOnce(Bound<(Hash32, Address)>, usize) -> Result<Rows, TablesError>,
) -> Result<Vec<Entry>, StoreError> {
    let start = Bound::Included((*key, Address::ZERO));
    let mut entries: Vec<Entry> = range(start, WALLETS_MAX + 1)?
        .into_iter()
        .take_while(|((of, _), _)| of == key)
        .filter_map(|(_, row)| codec::from_bytes("vault record", &row, ROW_BYTES_MAX).ok())
        .collect();
    entries.sort_by_key(|entry: &Entry| (entry.received, entry.record.wallet));
    Ok(entries)
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

fn lookup_key(request: &Request) -> Hash32 {
    match request {
        Request::Put(entry) => entry.record.lookup_key,
        Request::Get { lookup_key } => *lookup_key,
    }
}

/// A row is what came in a request.
const ROW_BYTES_MAX: usize = Protocol::Vault.limits().request_bytes_max;
