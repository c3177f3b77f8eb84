//! Requests in both directions.

use std::net::IpAddr;

use bytes::Bytes;
use libp2p::request_response::{
    InboundFailure, InboundRequestId, Message, OutboundFailure, OutboundRequestId, ResponseChannel,
};

use super::super::codec::Response;
use super::super::message::Responder;
use super::super::swarm::{FrameEvent, OUTBOUND_PER_PEER_MAX};
use super::super::{Refusal, address_of};
use super::gossiping::RequestLabels;
use super::*;

/// A request of ours that waits for its answer.
pub(super) struct Outbound {
    peer: Address,
    peer_id: PeerId,
    reply: oneshot::Sender<Result<Bytes, RequestError>>,
}

/// A request of a peer that waits for our answer.
pub(super) struct Open {
    protocol: Protocol,
    request: InboundRequestId,
    peer_id: PeerId,
    channel: ResponseChannel<Response>,
}

impl Actor {
    pub(super) fn handle_request(
        &mut self,
        peer: Address,
        protocol: Protocol,
        body: Bytes,
        reply: oneshot::Sender<Result<Bytes, RequestError>>,
    ) {
        if self.offences.is_banned(&peer, self.clock.now()) {
            return answer(reply, Err(RequestError::Banned { peer }));
        }
        let Some(peer_id) = self.peer_id(&peer) else {
            return answer(reply, Err(RequestError::NotConnected { peer }));
        };
        let of_peer = self
            .outbound
            .iter()
            .filter(|((of, _), open)| *of == protocol && open.peer_id == peer_id)
            .count();
        if of_peer >= OUTBOUND_PER_PEER_MAX || self.outbound.len() >= OUTBOUND_MAX {
            let limit = OUTBOUND_PER_PEER_MAX;
            return answer(reply, Err(RequestError::Busy { limit }));
        }
        self.note_use(&peer_id, 0, body.len());
        let addresses = self.dialled_at(&peer);
        let requests = self.swarm.behaviour_mut().requests.of(protocol);
        let id = requests.send_request_with_addresses(&peer_id, body, addresses);
        let outbound = Outbound {
            peer,
            peer_id,
            reply,
        };
        self.outbound.insert((protocol, id), outbound);
    }

    pub(super) fn handle_serve(
        &mut self,
        protocol: Protocol,
    ) -> Result<mpsc::Receiver<Inbound>, NetError> {
        let server = &mut self.servers[protocol.idx()];
        if server.as_ref().is_some_and(|server| !server.is_closed()) {
            return Err(NetError::Served(protocol));
        }
        let (requests, receiver) = mpsc::channel(protocol.limits().inbound_max);
        *server = Some(requests);
        Ok(receiver)
    }

    pub(super) fn handle_frames(&mut self, protocol: Protocol, event: FrameEvent) {
        match event {
            FrameEvent::Message {
                peer,
                connection_id,
                message,
            } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                } => {
                    let ip = self.ip_of(&peer, connection_id);
                    self.handle_inbound(protocol, (peer, ip), request_id, request, channel);
                }
                Message::Response {
                    request_id,
                    response,
                } => self.handle_response(protocol, request_id, response),
            },
            FrameEvent::OutboundFailure {
                request_id, error, ..
            } => self.handle_outbound_failure(protocol, request_id, error),
            FrameEvent::InboundFailure {
                peer,
                request_id,
                error,
                ..
            } => {
                self.unsent.remove(&(protocol, request_id));
                tracing::debug!(%peer, %error, protocol = protocol.label(), "answer was lost");
                let answered_late = matches!(error, InboundFailure::Timeout);
                let outcome = if answered_late { "timeout" } else { "lost" };
                self.count(protocol, "in", outcome);
            }
            FrameEvent::ResponseSent { request_id, .. } => {
                if let Some(sent) = self.unsent.remove(&(protocol, request_id)) {
                    // An error means that nobody tracks it.
                    let _ = sent.send(());
                }
            }
        }
    }

    fn handle_inbound(
        &mut self,
        protocol: Protocol,
        (peer_id, ip): (PeerId, Option<IpAddr>),
        request: InboundRequestId,
        body: Bytes,
        channel: ResponseChannel<Response>,
    ) {
        self.note_use(&peer_id, body.len(), 0);
        match self.admit(protocol, peer_id) {
            Ok((peer, id, server, permit)) => {
                let respond = Responder::new(id, permit);
                let open = Open {
                    protocol,
                    request,
                    peer_id,
                    channel,
                };
                self.open.insert(id, open);
                server.send(Inbound {
                    peer,
                    ip,
                    body,
                    respond,
                });
            }
            Err(refusal) => {
                self.count(protocol, "in", refusal_label(refusal));
                let requests = self.swarm.behaviour_mut().requests.of(protocol);
                // An error means that the asker is gone.
                let _ = requests.send_response(channel, Err(refusal));
            }
        }
    }

    /// Finds room for a request: a place at the server and one for the answer.
    fn admit(&mut self, protocol: Protocol, peer_id: PeerId) -> Result<Admitted, Refusal> {
        let peer = address_of(&peer_id).ok_or(Refusal::NotServed)?;
        let server = self.servers[protocol.idx()].clone();
        let server = server.ok_or(Refusal::NotServed)?;
        let limits = protocol.limits();
        let same = self.open.values().filter(|open| open.protocol == protocol);
        let (all, of_peer) = same.fold((0, 0), |(all, of_peer), open| {
            (all + 1, of_peer + usize::from(open.peer_id == peer_id))
        });
        if all >= limits.inbound_max || of_peer >= limits.inbound_per_peer_max {
            return Err(Refusal::Busy);
        }
        let server = server.try_reserve_owned().map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::Busy,
            mpsc::error::TrySendError::Closed(_) => Refusal::NotServed,
        })?;
        let answers = self.answers.0.clone();
        let permit = answers.try_reserve_owned().map_err(|_| Refusal::Busy)?;
        let id = self.open_next;
        self.open_next += 1;
        Ok((peer, id, server, permit))
    }

    pub(super) fn handle_answer(&mut self, answer: Answer) {
        let Some(open) = self.open.remove(&answer.id) else {
            return;
        };
        let limit = open.protocol.limits().response_bytes_max;
        let response = match answer.result {
            Ok(body) if body.len() > limit => {
                let protocol = open.protocol.name();
                tracing::warn!(
                    size = body.len(),
                    limit,
                    protocol,
                    "our response is too long"
                );
                Err(Refusal::Rejected)
            }
            response => response,
        };
        let outcome = match &response {
            Ok(_) => "ok",
            Err(refusal) => refusal_label(*refusal),
        };
        self.count(open.protocol, "in", outcome);
        let sent = response.as_ref().map_or(0, Bytes::len);
        self.note_use(&open.peer_id, 0, sent);
        let requests = self.swarm.behaviour_mut().requests.of(open.protocol);
        // An error means that the asker is gone, or that the answer came too late.
        let is_on_its_way = requests.send_response(open.channel, response).is_ok();
        if let Some(sent) = answer.sent.filter(|_| is_on_its_way) {
            self.unsent.insert((open.protocol, open.request), sent);
        }
    }

    fn handle_response(&mut self, protocol: Protocol, id: OutboundRequestId, response: Response) {
        let Some(outbound) = self.outbound.remove(&(protocol, id)) else {
            return;
        };
        let peer = outbound.peer;
        let result = match response {
            Ok(body) => {
                self.note_use(&outbound.peer_id, body.len(), 0);
                self.count(protocol, "out", "ok");
                Ok(body)
            }
            Err(refusal) => {
                self.count(protocol, "out", refusal_label(refusal));
                Err(RequestError::Refused {
                    peer,
                    protocol,
                    refusal,
                })
            }
        };
        answer(outbound.reply, result);
    }

    fn handle_outbound_failure(
        &mut self,
        protocol: Protocol,
        id: OutboundRequestId,
        error: OutboundFailure,
    ) {
        let Some(outbound) = self.outbound.remove(&(protocol, id)) else {
            return;
        };
        let peer = outbound.peer;
        let (outcome, error) = match error {
            OutboundFailure::DialFailure => ("not_connected", RequestError::NotConnected { peer }),
            OutboundFailure::Timeout => ("timeout", RequestError::Timeout { peer, protocol }),
            OutboundFailure::UnsupportedProtocols => {
                let refusal = Refusal::NotServed;
                let error = RequestError::Refused {
                    peer,
                    protocol,
                    refusal,
                };
                (refusal_label(refusal), error)
            }
            OutboundFailure::ConnectionClosed => {
                let reason = "the connection closed".to_owned();
                ("broken", broken(peer, protocol, reason))
            }
            OutboundFailure::Io(error) => {
                if error.kind() == std::io::ErrorKind::InvalidData {
                    self.handle_offence(peer, BAD_FRAME_WEIGHT);
                }
                ("broken", broken(peer, protocol, error.to_string()))
            }
        };
        self.count(protocol, "out", outcome);
        answer(outbound.reply, Err(error));
    }

    /// Forgets requests whose asker gave up and answers that nobody waits for.
    pub(super) fn sweep_requests(&mut self) {
        self.outbound.retain(|_, open| !open.reply.is_closed());
        self.open.retain(|_, open| open.channel.is_open());
    }

    /// The peers that a request is under way with.
    pub(super) fn asking_or_asked(&self) -> BTreeSet<PeerId> {
        let asked = self.outbound.values().map(|open| open.peer_id);
        let asking = self.open.values().map(|open| open.peer_id);
        asked.chain(asking).collect()
    }

    fn count(&self, protocol: Protocol, direction: &'static str, outcome: &'static str) {
        let labels = RequestLabels {
            protocol: protocol.label(),
            direction,
            outcome,
        };
        self.counters.requests.get_or_create(&labels).inc();
    }
}

type Admitted = (
    Address,
    u64,
    mpsc::OwnedPermit<Inbound>,
    mpsc::OwnedPermit<Answer>,
);

fn broken(peer: Address, protocol: Protocol, reason: String) -> RequestError {
    RequestError::Broken {
        peer,
        protocol,
        reason,
    }
}

fn refusal_label(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotServed => "not_served",
        Refusal::Busy => "busy",
        Refusal::Rejected => "rejected",
    }
}

/// Requests of ours under way in all. Derived: sixteen peers at their most.
const OUTBOUND_MAX: usize = 1024;

/// Requests of peers being answered in all.
pub(super) const OPEN_MAX: usize = protocol::wire::INBOUND_MAX;

/// The weight of a frame that breaks a limit or the format: a fifth of a ban, since no
/// honest program sends one.
const BAD_FRAME_WEIGHT: u32 = 20;
