//! Provider records in the swarm's own Kademlia.

use cid::Cid;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult, RecordKey};
use protocol::exchange::{PROVIDED_MAX, ProviderSearch};

use super::super::multiaddr::key_of;
use super::*;

/// A search for providers.
pub(super) struct Query {
    search: ProviderSearch,
    reply: oneshot::Sender<Result<Vec<Address>, NetError>>,
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
        let search = ProviderSearch::new(self.local);
        self.queries.insert(id, Query { search, reply });
    }

    pub(super) fn handle_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } => {
                let provider = address_of(&record.provider);
                if provider.is_some_and(|provider| self.records.admit(provider)) {
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
            } => self.carry_providers(id, result, step.last),
            _ => {}
        }
    }

    fn carry_providers(&mut self, id: QueryId, result: kad::GetProvidersResult, last: bool) {
        let now = self.clock.now();
        let Some(query) = self.queries.get_mut(&id) else {
            return;
        };
        if let Ok(GetProvidersOk::FoundProviders { providers, .. }) = result {
            for peer_id in providers {
                if let Some(peer) = address_of(&peer_id)
                    && query.search.handle_found(peer)
                {
                    let key = key_of(&peer_id);
                    self.book.handle_met(peer, key, Vec::new(), now);
                }
            }
        }
        let is_over = last || query.search.is_enough() || query.reply.is_closed();
        if !is_over {
            return;
        }
        if let Some(mut running) = self.swarm.behaviour_mut().kad.query_mut(&id) {
            running.finish();
        }
        if let Some(query) = self.queries.remove(&id) {
            answer(query.reply, Ok(query.search.finish()));
        }
    }
}

/// Provider records are found by multihash, whatever the codec of the CID.
fn key(cid: &Cid) -> Vec<u8> {
    cid.hash().to_bytes()
}

/// Searches for providers at once. Chosen: each asks some twenty peers.
const QUERIES_MAX: usize = 64;
