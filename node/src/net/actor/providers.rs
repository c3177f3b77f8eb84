//! Provider records in the swarm's own Kademlia.

use cid::Cid;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult, RecordKey};
use protocol::time::Moment;

use super::super::PROVIDERS_MAX;
use super::super::swarm::{PROVIDED_MAX, PROVIDER_TTL};
use super::*;

/// A search for providers.
pub(super) struct Query {
    found: BTreeSet<Address>,
    reply: oneshot::Sender<Result<Vec<Address>, NetError>>,
}

/// Bounds the provider records that are kept for others.
#[derive(Debug, Default)]
pub(super) struct Records {
    taken: usize,
    by_provider: BTreeMap<PeerId, usize>,
    reset: Option<Moment>,
}

impl Records {
    /// True when one more record of `provider` is to be kept.
    fn admit(&mut self, provider: PeerId) -> bool {
        let of_provider = self.by_provider.entry(provider).or_default();
        if self.taken >= RECORDS_MAX || *of_provider >= PROVIDED_MAX {
            return false;
        }
        *of_provider += 1;
        self.taken += 1;
        true
    }

    /// Begins to count anew once the records of the last period have expired.
    pub(super) fn handle_timeout(&mut self, now: Moment) {
        let reset = *self.reset.get_or_insert(now + PROVIDER_TTL);
        if now >= reset {
            *self = Self::default();
        }
    }
}

impl Actor {
    pub(super) fn handle_provide(&mut self, cid: &Cid) -> Result<(), NetError> {
        let too_many = NetError::TooManyProvided {
            limit: PROVIDED_MAX,
        };
        let key = key(cid);
        if self.provided.len() >= PROVIDED_MAX && !self.provided.contains(&key) {
            return Err(too_many);
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        kad.start_providing(RecordKey::new(&key))
            .map_err(|_| too_many)?;
        self.provided.insert(key);
        Ok(())
    }

    pub(super) fn handle_stop_providing(&mut self, cid: &Cid) {
        let key = key(cid);
        if self.provided.remove(&key) {
            let kad = &mut self.swarm.behaviour_mut().kad;
            kad.stop_providing(&RecordKey::new(&key));
        }
    }

    pub(super) fn handle_find_providers(
        &mut self,
        cid: &Cid,
        reply: oneshot::Sender<Result<Vec<Address>, NetError>>,
    ) {
        if self.queries.len() >= QUERIES_MAX {
            let limit = QUERIES_MAX;
            return answer(reply, Err(NetError::TooManyQueries { limit }));
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        let id = kad.get_providers(RecordKey::new(&key(cid)));
        let found = BTreeSet::new();
        self.queries.insert(id, Query { found, reply });
    }

    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => {
                let known = address_of(&record.provider).is_some();
                if known && self.records.admit(record.provider) {
                    let store = self.swarm.behaviour_mut().kad.store_mut();
                    if let Err(error) = store.add_provider(record) {
                        tracing::debug!(?error, "no room for a provider record");
                    }
                }
            }
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            } => self.handle_providers(id, result, step.last),
            _ => {}
        }
    }

    fn handle_providers(&mut self, id: QueryId, result: kad::GetProvidersResult, last: bool) {
        let local = self.local;
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
            for peer_id in providers {
                if let Some(peer) = address_of(&peer_id)
                    && peer != local
                {
                    query.found.insert(peer);
                    self.book.meet(peer_id, Vec::new());
                }
            }
        }
        let enough = query.found.len() >= PROVIDERS_MAX || query.reply.is_closed();
        if !last && !enough {
            return;
        }
        if let Some(mut running) = self.swarm.behaviour_mut().kad.query_mut(&id) {
            running.finish();
        }
        if let Some(query) = self.queries.remove(&id) {
            let found = query.found.into_iter().take(PROVIDERS_MAX).collect();
            answer(query.reply, Ok(found));
        }
    }
}

/// Provider records are found by multihash, whatever the codec of the CID.
fn key(cid: &Cid) -> Vec<u8> {
    cid.hash().to_bytes()
}

/// Searches for providers at once.
const QUERIES_MAX: usize = 64;

/// Provider records of others taken within the time a record lives.
const RECORDS_MAX: usize = 100_000;
