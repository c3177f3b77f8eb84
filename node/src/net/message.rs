//! What the network hands to the roles.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use protocol::id::{Address, Hash32};
use protocol::origin::Origin;
use tokio::sync::{mpsc, oneshot};

use super::{Refusal, Topic};

/// A request of a peer.
#[derive(Debug)]
pub struct Inbound {
    /// Who asks; proved by the connection.
    pub peer: Address,
    /// Its IP address; `None` behind a circuit and where only a name is known.
    pub ip: Option<IpAddr>,
    /// What it asks.
    pub body: Bytes,
    /// Answers the request, once.
    pub respond: Responder,
}

impl Inbound {
    /// Who asks, and from where.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        Origin {
            peer: self.peer,
            ip: self.ip,
        }
    }
}

/// Answers one request; dropping it refuses the request.
pub struct Responder {
    id: u64,
    outlet: Option<mpsc::OwnedPermit<Answer>>,
}

/// The answer to an inbound request, on its way to the network task.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) result: Result<Bytes, Refusal>,
    /// Told when the response has left, dropped when it is lost.
    pub(super) sent: Option<oneshot::Sender<()>>,
}

/// A gossip message that waits for a verdict.
#[derive(Debug)]
pub struct Gossip {
    /// Topic of the message.
    pub topic: Topic,
    /// Who handed it to us; `None` for a peer without an Ethereum address.
    pub source: Option<Address>,
    /// Who published and signed it; `None` as for `source`.
    pub author: Option<Address>,
    /// SHA-256 of `data`.
    pub id: Hash32,
    /// The encoded message.
    pub data: Bytes,
    /// Decides whether it is passed on.
    pub verdict: Verdict,
}

/// The messages of several topics; each topic has its turn.
#[derive(Debug)]
pub struct Messages {
    topics: VecDeque<mpsc::Receiver<Gossip>>,
}

/// Says what a gossip message is worth; dropping it ignores the message.
///
/// A message is passed on only when it is accepted, within about five seconds.
pub struct Verdict {
    message: MessageId,
    source: PeerId,
    outlet: Option<mpsc::OwnedPermit<Judged>>,
}

/// A verdict on its way to the network task.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) message: MessageId,
    pub(super) source: PeerId,
    pub(super) judgement: Judgement,
}

/// What a gossip message is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Accept,
    Ignore,
    Reject,
}

/// What happened in the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// The first connection to a peer stands.
    Connected(Address),
    /// The last connection to a peer is gone.
    Disconnected(Address),
    /// We listen on another address.
    Listening(Multiaddr),
    /// An address at which others can reach us.
    External(Multiaddr),
    /// A peer offended too often and is refused for a time.
    Banned(Address),
}

/// What this peer is called and reached by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPeer {
    /// The peer's address.
    pub address: Address,
    /// Its libp2p name.
    pub peer_id: PeerId,
    /// What it tells others about its software.
    pub agent: String,
}

/// A connected peer, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's address.
    pub address: Address,
    /// Its libp2p name.
    pub peer_id: PeerId,
    /// Its software, once it has said so; not to be trusted.
    pub agent: Option<String>,
    /// The last ping.
    pub rtt: Option<Duration>,
    /// `tcp`, `quic`, `ws` or `circuit`.
    pub transport: &'static str,
    /// The remote end of its newest connection.
    pub endpoint: Multiaddr,
    /// How many connections stand.
    pub connections: usize,
    /// True when it is one of the drawn neighbours.
    pub neighbour: bool,
    /// Bodies of requests, responses and gossip received from it.
    pub received_bytes: u64,
    /// Bodies of requests and responses sent to it.
    pub sent_bytes: u64,
}

impl Messages {
    pub(super) fn new(topics: impl IntoIterator<Item = mpsc::Receiver<Gossip>>) -> Self {
        Self {
            topics: topics.into_iter().collect(),
        }
    }

    /// The next message; `None` when the network has stopped.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Gossip> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Gossip>> {
        let mut is_open = false;
        for idx in 0..self.topics.len() {
            match self.topics[idx].poll_recv(context) {
                Poll::Ready(Some(message)) => {
                    self.topics.rotate_left(idx + 1);
                    return Poll::Ready(Some(message));
                }
                Poll::Ready(None) => {}
                Poll::Pending => is_open = true,
            }
        }
        match is_open {
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }
}

impl Responder {
    pub(super) fn new(id: u64, outlet: mpsc::OwnedPermit<Answer>) -> Self {
        Self {
            id,
            outlet: Some(outlet),
        }
    }

    /// Sends the response. One longer than the protocol allows becomes a refusal.
    pub fn send(self, body: impl Into<Bytes>) {
        self.finish(Ok(body.into()));
    }

    /// As [`Self::send`]; what is returned resolves with a value when the response
    /// has left this process, and without when it never will.
    pub fn send_tracked(self, body: impl Into<Bytes>) -> oneshot::Receiver<()> {
        let (sent, gone) = oneshot::channel();
        self.finish_tracked(Ok(body.into()), Some(sent));
        gone
    }

    /// Refuses the request.
    pub fn refuse(self, refusal: Refusal) {
        self.finish(Err(refusal));
    }

    fn finish(self, result: Result<Bytes, Refusal>) {
        self.finish_tracked(result, None);
    }

    fn finish_tracked(mut self, result: Result<Bytes, Refusal>, sent: Option<oneshot::Sender<()>>) {
        if let Some(outlet) = self.outlet.take() {
            outlet.send(Answer {
                id: self.id,
                result,
                sent,
            });
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            outlet.send(Answer {
                id: self.id,
                result: Err(Refusal::Rejected),
                sent: None,
            });
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Responder({})", self.id)
    }
}

impl Verdict {
    pub(super) fn new(
        message: MessageId,
        source: PeerId,
        outlet: mpsc::OwnedPermit<Judged>,
    ) -> Self {
        Self {
            message,
            source,
            outlet: Some(outlet),
        }
    }

    /// The message is good: pass it on.
    pub fn accept(self) {
        self.finish(Judgement::Accept);
    }

    /// The message is of no use, through nobody's fault: do not pass it on.
    pub fn ignore(self) {
        self.finish(Judgement::Ignore);
    }

    /// The message is an offence: do not pass it on, and lower its senders' scores.
    pub fn reject(self) {
        self.finish(Judgement::Reject);
    }

    fn finish(mut self, judgement: Judgement) {
        self.send(judgement);
    }

    fn send(&mut self, judgement: Judgement) {
        if let Some(outlet) = self.outlet.take() {
            outlet.send(Judged {
                message: self.message.clone(),
                source: self.source,
                judgement,
            });
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        self.send(Judgement::Ignore);
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verdict({})", self.message)
    }
}
