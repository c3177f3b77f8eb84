//! The swarm: one task owns libp2p, everybody else holds a [`NetHandle`].
//!
//! Above this module a peer is its Ethereum [`Address`]; peer ids and
//! multiaddresses stay here. Peers ask each other over the closed set of
//! [`Protocol`]s and tell everybody over the closed set of [`Topic`]s. Bodies
//! are opaque bytes: the module that serves a protocol decodes them.
//!
//! What a remote peer does never ends the task: a bad frame closes its stream,
//! an offence is counted, and too many of them ban the peer for a time.

use std::collections::BTreeSet;

use bytes::Bytes;
use cid::Cid;
use protocol::id::Address;
use protocol::offences::OFFENCE_LIMIT;
use protocol::registry::Registry;
use protocol::signing::SigningKey;
use rpc::Clock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::metrics::Metrics;

pub use config::NetConfig;
pub use error::{NetError, PublishError, Refusal, RequestError, StartError};
pub use identity::{address_of, peer_id, peer_id_of};
pub use libp2p::{Multiaddr, PeerId};
pub use message::{Gossip, Inbound, LocalPeer, Messages, NetEvent, PeerInfo, Responder, Verdict};
pub(crate) use open::{Responders, Verdicts};
pub use protocol::wire::{Audience, Protocol, Topic};

mod actor;
mod codec;
mod config;
mod error;
mod hold;
mod identity;
mod message;
mod multiaddr;
mod names;
mod open;
mod swarm;

/// Talks to the network task; cheap to clone.
///
/// Every method that returns [`NetError::Stopped`] or its like does so only
/// after [`NetHandle::stop`].
#[derive(Debug, Clone)]
pub struct NetHandle {
    commands: mpsc::Sender<Command>,
    local: LocalPeer,
    connected: watch::Receiver<BTreeSet<Address>>,
    listening: watch::Receiver<Vec<Multiaddr>>,
    external: watch::Receiver<Vec<Multiaddr>>,
    events: broadcast::Sender<NetEvent>,
}

/// What the network task is asked to do.
#[derive(Debug)]
enum Command {
    Request {
        peer: Address,
        protocol: Protocol,
        body: Bytes,
        reply: oneshot::Sender<Result<Bytes, RequestError>>,
    },
    Serve {
        protocol: Protocol,
        reply: oneshot::Sender<Result<mpsc::Receiver<Inbound>, NetError>>,
    },
    Publish {
        topic: Topic,
        data: Bytes,
        reply: oneshot::Sender<Result<(), PublishError>>,
    },
    Subscribe {
        topic: Topic,
        reply: oneshot::Sender<Result<mpsc::Receiver<Gossip>, NetError>>,
    },
    Connect {
        peer: Address,
        reply: oneshot::Sender<Result<(), RequestError>>,
    },
    SetAddresses {
        peer: Address,
        addresses: Vec<Multiaddr>,
    },
    NotFound {
        peer: Address,
    },
    Wanted {
        reply: oneshot::Sender<mpsc::Receiver<Address>>,
    },
    SetStaked {
        peers: Vec<StakedPeer>,
    },
    Provide {
        cid: Cid,
        reply: oneshot::Sender<Result<(), NetError>>,
    },
    StopProviding {
        cid: Cid,
    },
    FindProviders {
        cid: Cid,
        reply: oneshot::Sender<Result<Vec<Address>, NetError>>,
    },
    PeersInfo {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    Offence {
        peer: Address,
        weight: u32,
    },
    Stop,
}

/// A confirmed peer as far as the network needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StakedPeer {
    /// The peer's address.
    pub address: Address,
    /// Who staked for it.
    pub operator: Address,
    /// Its uncompressed public key without prefix.
    pub public_key: Vec<u8>,
}

/// Starts the network: listens, and spawns the task that owns the swarm.
///
/// # Errors
///
/// [`StartError`] when a listen address is taken or a transport does not come up.
pub async fn start(
    config: NetConfig,
    key: &SigningKey,
    clock: Clock,
    metrics: &Metrics,
) -> Result<NetHandle, StartError> {
    actor::start(config, key, clock, metrics).await
}

impl NetHandle {
    /// Asks `peer` and waits for the answer; dials first when there is no connection.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; `is_retryable` tells whether to try again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the answer; the request may have been sent.
    pub async fn request(
        &self,
        peer: Address,
        protocol: Protocol,
        body: impl Into<Bytes>,
    ) -> Result<Bytes, RequestError> {
        let body = body.into();
        let limit = protocol.limits().request_bytes_max;
        if body.len() > limit {
            return Err(RequestError::TooLarge {
                protocol,
                size: body.len(),
                limit,
            });
        }
        self.ask(|reply| Command::Request {
            peer,
            protocol,
            body,
            reply,
        })
        .await
        .unwrap_or(Err(RequestError::Stopped))
    }

    /// Makes a connection to `peer` unless there is one.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotConnected`] when no known address answers.
    pub async fn connect(&self, peer: Address) -> Result<(), RequestError> {
        self.ask(|reply| Command::Connect { peer, reply })
            .await
            .unwrap_or(Err(RequestError::Stopped))
    }

    /// Begins to serve `protocol`: the receiver gets its requests until it is
    /// dropped. Requests that find the queue full are refused as busy.
    ///
    /// # Errors
    ///
    /// [`NetError::Served`] when the receiver of an earlier call still lives.
    pub async fn serve(&self, protocol: Protocol) -> Result<mpsc::Receiver<Inbound>, NetError> {
        self.ask(|reply| Command::Serve { protocol, reply })
            .await
            .unwrap_or(Err(NetError::Stopped))
    }

    /// Tells everybody who subscribed to `topic`. A message that was published
    /// or seen before is not sent again, which is not an error.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; nothing is kept to be sent later.
    pub async fn publish(&self, topic: Topic, data: impl Into<Bytes>) -> Result<(), PublishError> {
        let data = data.into();
        let limit = topic.message_bytes_max();
        if data.len() > limit {
            let size = data.len();
            return Err(PublishError::TooLarge { size, limit });
        }
        self.ask(|reply| Command::Publish { topic, data, reply })
            .await
            .unwrap_or(Err(PublishError::Stopped))
    }

    /// Subscribes to `topic` until the receiver is dropped. What arrives while
    /// the queue is full is ignored and counted in
    /// `coliving_net_gossip_dropped_total`. Our own messages do not come back.
    ///
    /// # Errors
    ///
    /// [`NetError::Subscribed`] when the receiver of an earlier call still lives.
    pub async fn subscribe(&self, topic: Topic) -> Result<mpsc::Receiver<Gossip>, NetError> {
        self.ask(|reply| Command::Subscribe { topic, reply })
            .await
            .unwrap_or(Err(NetError::Stopped))
    }

    /// Subscribes to every topic of an audience, as [`Self::subscribe`] does to one.
    ///
    /// # Errors
    ///
    /// [`NetError::Subscribed`] as there.
    pub async fn subscribe_to(&self, audience: Audience) -> Result<Messages, NetError> {
        let mut topics = Vec::new();
        for topic in Topic::of(audience) {
            topics.push(self.subscribe(topic).await?);
        }
        Ok(Messages::new(topics))
    }

    /// Notes where `peer` listens, in place of what was set before. At least one
    /// of the addresses ends in `/p2p/<peer id>` unless the peer is in the
    /// registry; addresses that name another peer are left out.
    pub async fn set_addresses(&self, peer: Address, addresses: Vec<Multiaddr>) {
        self.tell(Command::SetAddresses { peer, addresses }).await;
    }

    /// Whom the network would dial if it knew where; each is answered by
    /// [`Self::set_addresses`] or [`Self::not_found`].
    pub async fn wanted(&self) -> mpsc::Receiver<Address> {
        let wanted = self.ask(|reply| Command::Wanted { reply }).await;
        wanted.unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Tells that nobody knows where a peer is.
    pub async fn not_found(&self, peer: Address) {
        self.tell(Command::NotFound { peer }).await;
    }

    /// Hands over the confirmed peers of a registry: neighbours are drawn from
    /// them, and their keys make them diallable by address.
    pub async fn set_registry(&self, registry: &Registry) {
        let peers = registry
            .peer_addresses()
            .filter_map(|address| registry.peer(address))
            .map(|peer| StakedPeer {
                address: peer.address,
                operator: peer.operator,
                public_key: peer.public_key,
            })
            .collect();
        self.set_staked(peers).await;
    }

    /// As [`Self::set_registry`], from a list.
    pub async fn set_staked(&self, peers: Vec<StakedPeer>) {
        self.tell(Command::SetStaked { peers }).await;
    }

    /// Announces in Kademlia that we hold `cid`, until told otherwise.
    ///
    /// # Errors
    ///
    /// [`NetError::TooManyProvided`].
    pub async fn provide(&self, cid: Cid) -> Result<(), NetError> {
        self.ask(|reply| Command::Provide { cid, reply })
            .await
            .unwrap_or(Err(NetError::Stopped))
    }

    /// Stops to announce `cid`; others forget it within two days.
    pub async fn stop_providing(&self, cid: Cid) {
        self.tell(Command::StopProviding { cid }).await;
    }

    /// Asks Kademlia who holds `cid`; at most
    /// [`protocol::exchange::PROVIDERS_MAX`] answers, ourselves
    /// left out. What it says is a hint: blocks are checked when they arrive.
    ///
    /// # Errors
    ///
    /// [`NetError::TooManyQueries`].
    pub async fn find_providers(&self, cid: Cid) -> Result<Vec<Address>, NetError> {
        self.ask(|reply| Command::FindProviders { cid, reply })
            .await
            .unwrap_or(Err(NetError::Stopped))
    }

    /// The connected peers, by address.
    pub async fn peers_info(&self) -> Vec<PeerInfo> {
        self.ask(|reply| Command::PeersInfo { reply })
            .await
            .unwrap_or_default()
    }

    /// Counts an offence of `peer`. At a sum of [`OFFENCE_LIMIT`], which halves
    /// every ten minutes, the peer is disconnected and refused for an hour.
    pub async fn report_offence(&self, peer: Address, weight: u32) {
        self.tell(Command::Offence { peer, weight }).await;
    }

    /// Disconnects `peer` and refuses it for an hour.
    pub async fn ban(&self, peer: Address) {
        self.report_offence(peer, OFFENCE_LIMIT).await;
    }

    /// The addresses with at least one connection, as they change.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<BTreeSet<Address>> {
        self.connected.clone()
    }

    /// Where we listen, with the ports that were taken, without `/p2p`.
    #[must_use]
    pub fn listen_addresses(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.listening.clone()
    }

    /// Where others can reach us: configured, confirmed by AutoNAT, or through circuits.
    #[must_use]
    pub fn external_addresses(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.external.clone()
    }

    /// What happens from here on. A receiver that lags loses the oldest events.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.events.subscribe()
    }

    /// What this peer is called and reached by.
    #[must_use]
    pub fn local(&self) -> &LocalPeer {
        &self.local
    }

    /// Closes every connection and waits until the task has ended. Requests
    /// under way end with [`RequestError::Stopped`].
    pub async fn stop(&self) {
        self.tell(Command::Stop).await;
        self.commands.closed().await;
    }

    async fn tell(&self, command: Command) {
        // An error means that the task has stopped, and then there is nobody to tell.
        let _ = self.commands.send(command).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests;
