//! Keeps the connections to chosen peers open while nothing else uses them.
//!
//! Idle connections are closed by either side, so a wish to keep one has to be
//! known to both: it is a stream of `/coliving/hold/1` that carries nothing and
//! stays open. Closing it gives the connection back to the idle timeout.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::AsyncRead;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, Stream, SubstreamProtocol, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, StreamProtocol};

/// Holds one connection to each chosen peer.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    held: BTreeSet<PeerId>,
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    notices: VecDeque<(PeerId, ConnectionId, bool)>,
}

/// The hold on one connection.
#[derive(Debug, Default)]
pub(super) struct Handler {
    wanted: bool,
    /// The stream was asked for, and is open, on its way, or refused.
    asked: bool,
    ours: Option<Stream>,
    theirs: Option<Stream>,
}

impl Behaviour {
    /// Keeps a connection to `peer` open from the moment there is one.
    pub(super) fn hold(&mut self, peer: PeerId) {
        if self.held.insert(peer) {
            self.notify_first(peer, true);
        }
    }

    /// Leaves the connections of `peer` to the idle timeout.
    pub(super) fn release(&mut self, peer: &PeerId) {
        if self.held.remove(peer) {
            self.notify_first(*peer, false);
        }
    }

    fn notify_first(&mut self, peer: PeerId, wanted: bool) {
        let first = self.connections.get(&peer).and_then(BTreeSet::first);
        if let Some(connection) = first {
            self.notices.push_back((peer, *connection, wanted));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let peer = established.peer_id;
                let connections = self.connections.entry(peer).or_default();
                connections.insert(established.connection_id);
                if connections.len() == 1 && self.held.contains(&peer) {
                    self.notify_first(peer, true);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                let peer = closed.peer_id;
                let Some(connections) = self.connections.get_mut(&peer) else {
                    return;
                };
                let was_first = connections.first() == Some(&closed.connection_id);
                connections.remove(&closed.connection_id);
                if connections.is_empty() {
                    self.connections.remove(&peer);
                } else if was_first && self.held.contains(&peer) {
                    self.notify_first(peer, true);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.notices.pop_front() {
            Some((peer_id, connection, wanted)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: wanted,
            }),
            None => Poll::Pending,
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = bool;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.wanted
    }

    fn on_behaviour_event(&mut self, wanted: bool) {
        self.wanted = wanted;
        if !wanted {
            self.asked = false;
            self.ours = None;
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if self.wanted && !self.asked {
            self.asked = true;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()),
            });
        }
        drop_when_closed(&mut self.ours, cx);
        drop_when_closed(&mut self.theirs, cx);
        Poll::Pending
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.theirs = Some(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol, ..
            }) if self.wanted => self.ours = Some(protocol),
            _ => {}
        }
    }
}

/// Nothing is ever sent on the stream, so anything but waiting is its end.
fn drop_when_closed(stream: &mut Option<Stream>, cx: &mut Context<'_>) {
    let mut byte = [0];
    if let Some(open) = stream
        && Pin::new(open).poll_read(cx, &mut byte).is_ready()
    {
        *stream = None;
    }
}

const PROTOCOL: StreamProtocol = StreamProtocol::new("/coliving/hold/1");
