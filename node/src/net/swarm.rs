//! The libp2p swarm: transports, behaviours and their limits.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::gossipsub::{
    self, ConfigBuilder, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, autonat, dcutr, identify, kad, mdns,
    memory_connection_limits, noise, ping, relay, tcp, upnp, yamux,
};
use protocol::entry::sha256;
use protocol::exchange::{PROVIDED_MAX, PROVIDER_TTL, PROVIDERS_MAX};
use protocol::wire::GOSSIP_FRAME_BYTES_MAX;

use super::codec::FrameCodec;
use super::names::{ident_topic, stream_protocol};
use super::{NetConfig, Protocol, StartError, Topic, hold};
use crate::metrics::{Counter, Metrics};

/// Everything the swarm does, the refusals first: a connection that a later
/// behaviour refuses would stay known to the earlier ones.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    pub(super) limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    pub(super) gossipsub: Gossipsub,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    pub(super) requests: Requests,
    pub(super) hold: hold::Behaviour,
    circuit_server: Toggle<relay::Behaviour>,
    circuit_client: relay::client::Behaviour,
    dcutr: dcutr::Behaviour,
    autonat_client: Toggle<autonat::v2::client::Behaviour>,
    autonat_server: Toggle<autonat::v2::server::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// One request-response behaviour for each [`Protocol`], since timeout and
/// streams are settings of a behaviour.
#[derive(NetworkBehaviour)]
pub(super) struct Requests {
    blocks: FrameBehaviour,
    publish: FrameBehaviour,
    leases: FrameBehaviour,
    entries: FrameBehaviour,
    relayer: FrameBehaviour,
    vault: FrameBehaviour,
}

pub(super) type FrameBehaviour = request_response::Behaviour<FrameCodec>;
pub(super) type FrameEvent =
    request_response::Event<Bytes, super::codec::Response, super::codec::Response>;
type Gossipsub = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

impl Requests {
    fn new(refused: &Counter) -> Self {
        let make = |protocol: Protocol| {
            let limits = protocol.limits();
            let config = request_response::Config::default()
                .with_request_timeout(limits.timeout)
                .with_max_concurrent_streams(limits.inbound_per_peer_max + OUTBOUND_PER_PEER_MAX);
            FrameBehaviour::with_codec(
                FrameCodec::new(protocol, refused.clone()),
                [(stream_protocol(protocol), ProtocolSupport::Full)],
                config,
            )
        };
        Self {
            blocks: make(Protocol::Blocks),
            publish: make(Protocol::Publish),
            leases: make(Protocol::Leases),
            entries: make(Protocol::Entries),
            relayer: make(Protocol::Relayer),
            vault: make(Protocol::Vault),
        }
    }

    /// The behaviour of one protocol.
    pub(super) fn of(&mut self, protocol: Protocol) -> &mut FrameBehaviour {
        match protocol {
            Protocol::Blocks => &mut self.blocks,
            Protocol::Publish => &mut self.publish,
            Protocol::Leases => &mut self.leases,
            Protocol::Entries => &mut self.entries,
            Protocol::Relayer => &mut self.relayer,
            Protocol::Vault => &mut self.vault,
        }
    }
}

impl RequestsEvent {
    /// The protocol an event belongs to, and the event.
    pub(super) fn split(self) -> (Protocol, FrameEvent) {
        match self {
            Self::Blocks(event) => (Protocol::Blocks, event),
            Self::Publish(event) => (Protocol::Publish, event),
            Self::Leases(event) => (Protocol::Leases, event),
            Self::Entries(event) => (Protocol::Entries, event),
            Self::Relayer(event) => (Protocol::Relayer, event),
            Self::Vault(event) => (Protocol::Vault, event),
        }
    }
}

/// Builds the swarm; it does not listen yet.
pub(super) async fn build(
    config: &NetConfig,
    keypair: Keypair,
    agent: &str,
    metrics: &Metrics,
    refused: &Counter,
) -> Result<Swarm<Behaviour>, StartError> {
    let builder = SwarmBuilder::with_existing_identity(keypair.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(setup("the TCP transport"))?
        .with_quic()
        .with_dns()
        .map_err(setup("name resolution"))?
        .with_websocket(noise::Config::new, yamux::Config::default)
        .await
        .map_err(setup("the WebSocket transport"))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(setup("the circuit transport"))?;
    let gossipsub = gossipsub(config, &keypair, metrics).map_err(setup("gossip"))?;
    let swarm = metrics.with_registry(|registry| {
        let swarm = builder
            .with_bandwidth_metrics(registry)
            .with_behaviour(|key, circuit_client| {
                behaviour(config, key, circuit_client, gossipsub, agent, refused)
                    .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
            })
            .map_err(setup("the behaviours"))?
            .with_swarm_config(|swarm| {
                swarm
                    .with_idle_connection_timeout(config.idle_timeout)
                    .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
            })
            .with_connection_timeout(config.dial_timeout)
            .build();
        Ok(swarm)
    })?;
    Ok(swarm)
}

fn behaviour(
    config: &NetConfig,
    key: &Keypair,
    circuit_client: relay::client::Behaviour,
    gossipsub: Gossipsub,
    agent: &str,
    refused: &Counter,
) -> Result<Behaviour, String> {
    let local = key.public().to_peer_id();
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(config.connections_pending_max))
        .with_max_pending_outgoing(Some(config.connections_pending_max))
        .with_max_established(Some(config.connections_max))
        .with_max_established_incoming(Some(config.connections_inbound_max))
        .with_max_established_per_peer(Some(config.connections_per_peer_max));
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.into(), key.public())
        .with_agent_version(agent.to_owned())
        .with_push_listen_addr_updates(true);
    let ping = ping::Config::new().with_interval(config.ping_interval);
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), local))
        .transpose()
        .map_err(|error| format!("cannot announce in the local network: {error}"))?;
    Ok(Behaviour {
        blocked: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.memory_bytes_max),
        ping: ping::Behaviour::new(ping),
        identify: identify::Behaviour::new(identify),
        gossipsub,
        kad: kademlia(config, local),
        requests: Requests::new(refused),
        hold: hold::Behaviour::default(),
        circuit_server: Toggle::from(
            config
                .circuit_server
                .then(|| relay::Behaviour::new(local, circuit_limits())),
        ),
        circuit_client,
        dcutr: dcutr::Behaviour::new(local),
        autonat_client: Toggle::from(
            config
                .autonat_client
                .then(autonat::v2::client::Behaviour::default),
        ),
        autonat_server: Toggle::from(
            config
                .autonat_server
                .then(autonat::v2::server::Behaviour::default),
        ),
        upnp: Toggle::from(config.upnp.then(upnp::tokio::Behaviour::default)),
        mdns: Toggle::from(mdns),
    })
}

fn gossipsub(config: &NetConfig, key: &Keypair, metrics: &Metrics) -> Result<Gossipsub, String> {
    let settings = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(GOSSIP_FRAME_BYTES_MAX)
        .heartbeat_interval(config.gossip_heartbeat)
        .heartbeat_initial_delay(config.gossip_heartbeat)
        // A verdict may take this many heartbeats.
        .history_length(12)
        .history_gossip(4)
        .duplicate_cache_time(GOSSIP_SEEN_TIME)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .build()
        .map_err(|error| format!("the gossip settings contradict each other: {error}"))?;
    let topics: HashSet<_> = Topic::ALL
        .into_iter()
        .map(|topic| ident_topic(topic).hash())
        .collect();
    let mut gossipsub = Gossipsub::new_with_subscription_filter(
        MessageAuthenticity::Signed(key.clone()),
        settings,
        WhitelistSubscriptionFilter(topics),
    )?;
    gossipsub.with_peer_score(score_params(), score_thresholds())?;
    Ok(metrics.with_registry(|registry| {
        gossipsub.with_metrics(
            registry.sub_registry_with_prefix("libp2p_gossipsub_mesh"),
            gossipsub::MetricsConfig::default(),
        )
    }))
}

/// SHA-256 of topic and data: the same data of two publishers is one message,
/// and a refusal on one topic does not hide the same bytes on another.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let topic = message.topic.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(topic.len() + 1 + message.data.len());
    bytes.extend_from_slice(topic);
    bytes.push(0);
    bytes.extend_from_slice(&message.data);
    MessageId::new(&sha256(&bytes).0)
}

/// Topics are quiet for long stretches, so nothing is asked of a mesh peer's
/// delivery rate; first deliveries earn a little, refused messages cost much.
fn score_params() -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    };
    let topics: HashMap<_, _> = Topic::ALL
        .into_iter()
        .map(|name| (ident_topic(name).hash(), topic.clone()))
        .collect();
    PeerScoreParams {
        topics,
        topic_score_cap: 50.0,
        app_specific_weight: 1.0,
        ip_colocation_factor_whitelist: HashSet::from([
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]),
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.8,
        decay_interval: Duration::from_secs(10),
        slow_peer_threshold: 50.0,
        ..PeerScoreParams::default()
    }
}

/// Four refused messages in a row are beyond the last threshold.
fn score_thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -80.0,
        graylist_threshold: -160.0,
        accept_px_threshold: 10.0,
        opportunistic_graft_threshold: 1.0,
    }
}

fn kademlia(config: &NetConfig, local: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let store = MemoryStore::with_config(
        local,
        MemoryStoreConfig {
            max_records: 0,
            max_value_bytes: 0,
            max_providers_per_key: PROVIDERS_MAX,
            max_provided_keys: PROVIDED_MAX,
        },
    );
    let mut settings = kad::Config::new(KAD_PROTOCOL);
    settings
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_query_timeout(KAD_QUERY_TIMEOUT)
        .set_replication_factor(NonZeroUsize::new(PROVIDERS_MAX).expect("it is not zero"))
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        .set_max_packet_size(KAD_PACKET_BYTES_MAX);
    let mut kad = kad::Behaviour::with_config(local, store, settings);
    kad.set_mode(Some(if config.kad_server {
        kad::Mode::Server
    } else {
        kad::Mode::Client
    }));
    kad
}

/// What a peer carries for others at most. Chosen: a circuit is the way to a direct
/// connection, so that it need not last; twice as many peers may wait for one as can
/// have one, and nobody takes more than two of either.
fn circuit_limits() -> relay::Config {
    relay::Config {
        max_reservations: 128,
        max_reservations_per_peer: 2,
        max_circuits: 64,
        max_circuits_per_peer: 2,
        max_circuit_duration: Duration::from_secs(30 * 60),
        max_circuit_bytes: 256 * 1024 * 1024,
        ..relay::Config::default()
    }
}

fn setup<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> StartError {
    move |error| StartError::Setup {
        part,
        reason: error.to_string(),
    }
}

/// The name of the swarm's Kademlia.
pub(super) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/coliving/kad/1");

/// Requests of ours to one peer on one protocol at once. Chosen: four times what a
/// fetch has under way with one holder; the machines' own bounds are smaller.
pub(super) const OUTBOUND_PER_PEER_MAX: usize = 64;

const IDENTIFY_PROTOCOL: &str = "/coliving/1";
/// Chosen: as long as a fetch waits for a first holder.
const KAD_QUERY_TIMEOUT: Duration = Duration::from_secs(20);

/// As the IPFS network has it: twenty providers with their addresses fit.
const KAD_PACKET_BYTES_MAX: usize = 16 * 1024;

/// Inbound streams of one connection that have not agreed on a protocol. Chosen: more
/// than all protocols let one peer ask at once.
const NEGOTIATING_STREAMS_MAX: usize = 128;

/// A message that comes again within this time is a duplicate. Derived: nobody
/// publishes a batch that is older.
const GOSSIP_SEEN_TIME: Duration = Duration::from_secs(300);

/// Messages that wait for one slow peer. Chosen: some MB at usual sizes.
const GOSSIP_QUEUE_MAX: usize = 1024;
