//! Gossip in both directions, and the counters of the network.

use bytes::Bytes;
use libp2p::gossipsub::{self, MessageAcceptance, MessageId};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use protocol::entry::sha256;
use protocol::wire::GOSSIP_BYTES_MAX;

use super::super::PublishError;
use super::super::message::{Judgement, Verdict};
use super::super::names::{ident_topic, topic_of};
use super::*;
use crate::metrics::{Counter, Gauge};

/// What the network counts.
pub(super) struct Counters {
    pub(super) peers: Gauge,
    pub(super) neighbours: Gauge,
    pub(super) bans: Counter,
    pub(super) frames_refused: Counter,
    pub(super) requests: Family<RequestLabels, Counter>,
    received: Family<TopicLabels, Counter>,
    published: Family<TopicLabels, Counter>,
    dropped: Family<TopicLabels, Counter>,
    rejected: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) protocol: &'static str,
    pub(super) direction: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: &'static str,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            peers: metrics.gauge("net_peers", "Connected peers"),
            neighbours: metrics.gauge("net_neighbours", "Connected neighbours that were drawn"),
            bans: metrics.counter("net_bans", "Peers banned for their offences"),
            frames_refused: metrics.counter(
                "net_frames_refused",
                "Frames that broke a limit or the format",
            ),
            requests: metrics.counters("net_requests", "Requests by protocol and outcome"),
            received: metrics.counters("net_gossip_received", "Gossip messages received"),
            published: metrics.counters("net_gossip_published", "Gossip messages published"),
            dropped: metrics.counters(
                "net_gossip_dropped",
                "Gossip messages ignored because their consumer lagged",
            ),
            rejected: metrics.counter("net_gossip_rejected", "Gossip messages that were offences"),
        }
    }
}

impl Actor {
    pub(super) fn handle_publish(&mut self, topic: Topic, data: Bytes) -> Result<(), PublishError> {
        let size = data.len();
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        match gossipsub.publish(ident_topic(topic), Vec::from(data)) {
            Ok(_) => {
                self.counters.published.get_or_create(&labels(topic)).inc();
                Ok(())
            }
            Err(gossipsub::PublishError::Duplicate) => Ok(()),
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => {
                Err(PublishError::NoPeers(topic))
            }
            Err(gossipsub::PublishError::MessageTooLarge) => Err(PublishError::TooLarge {
                size,
                limit: GOSSIP_BYTES_MAX,
            }),
            Err(
                gossipsub::PublishError::AllQueuesFull(_)
                | gossipsub::PublishError::SigningError(_)
                | gossipsub::PublishError::TransformFailed(_),
            ) => Err(PublishError::Busy),
        }
    }

    pub(super) fn handle_subscribe(
        &mut self,
        topic: Topic,
    ) -> Result<mpsc::Receiver<Gossip>, NetError> {
        let subscriber = &mut self.subscribers[topic.idx()];
        if subscriber.as_ref().is_some_and(|known| !known.is_closed()) {
            return Err(NetError::Subscribed(topic));
        }
        let (messages, receiver) = mpsc::channel(SUBSCRIPTION_MAX);
        *subscriber = Some(messages);
        if let Err(error) = self
            .swarm
            .behaviour_mut()
            .gossipsub
            .subscribe(&ident_topic(topic))
        {
            tracing::warn!(%error, topic = topic.label(), "the subscription was not sent");
        }
        Ok(receiver)
    }

    /// Leaves the topics whose consumer is gone.
    pub(super) fn sweep_subscribers(&mut self) {
        for topic in Topic::ALL {
            let subscriber = &mut self.subscribers[topic.idx()];
            if subscriber.as_ref().is_some_and(mpsc::Sender::is_closed) {
                *subscriber = None;
                self.swarm
                    .behaviour_mut()
                    .gossipsub
                    .unsubscribe(&ident_topic(topic));
            }
        }
    }

    pub(super) fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                if let Err(message) = self.deliver(propagation_source, message_id, message) {
                    self.report(&message, &propagation_source, MessageAcceptance::Ignore);
                }
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(%peer_id, "cannot keep up with gossip");
            }
            gossipsub::Event::Subscribed { .. }
            | gossipsub::Event::Unsubscribed { .. }
            | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// Hands a message to its consumer; gives its id back when there is no room.
    fn deliver(
        &mut self,
        source: PeerId,
        id: MessageId,
        message: gossipsub::Message,
    ) -> Result<(), MessageId> {
        let Some(topic) = topic_of(&message.topic) else {
            return Err(id);
        };
        self.counters.received.get_or_create(&labels(topic)).inc();
        self.note_use(&source, message.data.len(), 0);
        let dropped = self.counters.dropped.get_or_create(&labels(topic)).clone();
        let room = self.subscribers[topic.idx()]
            .clone()
            .and_then(|subscriber| subscriber.try_reserve_owned().ok());
        let verdict = self.verdicts.0.clone().try_reserve_owned().ok();
        let (Some(room), Some(verdict)) = (room, verdict) else {
            dropped.inc();
            return Err(id);
        };
        room.send(Gossip {
            topic,
            source: address_of(&source),
            author: message.source.as_ref().and_then(address_of),
            id: sha256(&message.data),
            data: message.data.into(),
            verdict: Verdict::new(id, source, verdict),
        });
        Ok(())
    }

    pub(super) fn handle_verdict(&mut self, judged: &Judged) {
        let acceptance = match judged.judgement {
            Judgement::Accept => MessageAcceptance::Accept,
            Judgement::Ignore => MessageAcceptance::Ignore,
            Judgement::Reject => {
                self.counters.rejected.inc();
                if let Some(source) = address_of(&judged.source) {
                    self.handle_offence(source, BAD_GOSSIP_WEIGHT);
                }
                MessageAcceptance::Reject
            }
        };
        self.report(&judged.message, &judged.source, acceptance);
    }

    fn report(&mut self, message: &MessageId, source: &PeerId, acceptance: MessageAcceptance) {
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        gossipsub.report_message_validation_result(message, source, acceptance);
    }
}

fn labels(topic: Topic) -> TopicLabels {
    TopicLabels {
        topic: topic.label(),
    }
}

/// Messages that wait for one consumer. Chosen: seconds of a busy network; what does
/// not fit is ignored, and others bring it or it is asked for.
const SUBSCRIPTION_MAX: usize = 512;

/// Messages that wait for a verdict. Derived: more than all consumers have waiting.
pub(super) const VERDICTS_MAX: usize = 4096;

/// The weight of a gossip message that was rejected: a tenth of a ban.
const BAD_GOSSIP_WEIGHT: u32 = 10;
