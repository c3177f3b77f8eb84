//! Protocols and topics in the words of libp2p.

use libp2p::StreamProtocol;
use libp2p::gossipsub::{IdentTopic, TopicHash};

use super::{Protocol, Topic};

pub(super) const fn stream_protocol(protocol: Protocol) -> StreamProtocol {
    StreamProtocol::new(protocol.name())
}

pub(super) fn ident_topic(topic: Topic) -> IdentTopic {
    IdentTopic::new(topic.name())
}

/// The topic of a hash; topics are not hashed, so it is the name.
pub(super) fn topic_of(hash: &TopicHash) -> Option<Topic> {
    Topic::ALL
        .into_iter()
        .find(|topic| topic.name() == hash.as_str())
}
