//! The task that owns the swarm.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::kad::QueryId;
use libp2p::metrics::{Metrics as SwarmMetrics, Recorder};
use libp2p::request_response::InboundRequestId;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, Swarm};
use protocol::addresses::{self, AddressBook};
use protocol::exchange::ProviderRecords;
use protocol::id::Address;
use protocol::neighbours::{self, Neighbours, Transmit};
use protocol::offences::{self, Offences};
use protocol::signing::SigningKey;
use rpc::Clock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::message::{Answer, Gossip, Inbound, Judged, LocalPeer, NetEvent};
use super::swarm::{self, Behaviour, BehaviourEvent};
use super::{
    Command, NetConfig, NetError, NetHandle, Protocol, RequestError, StartError, Topic, address_of,
    identity, multiaddr,
};
use crate::metrics::Metrics;
use gossiping::Counters;
use peers::{PeerState, WANTED_MAX};
use requests::{OPEN_MAX, Open, Outbound};

mod gossiping;
mod listening;
mod peers;
mod providers;
mod requests;

/// Owns the swarm and everything that is known about peers.
struct Actor {
    swarm: Swarm<Behaviour>,
    config: NetConfig,
    clock: Clock,
    local: Address,
    commands: mpsc::Receiver<Command>,
    book: AddressBook,
    neighbours: Neighbours,
    offences: Offences,
    peers: BTreeMap<PeerId, PeerState>,
    connects: Vec<(Address, oneshot::Sender<Result<(), RequestError>>)>,
    /// Where peers are named that are to be looked for, when somebody does.
    wanted: Option<mpsc::Sender<Address>>,
    outbound: BTreeMap<(Protocol, libp2p::request_response::OutboundRequestId), Outbound>,
    servers: [Option<mpsc::Sender<Inbound>>; Protocol::ALL.len()],
    open: BTreeMap<u64, Open>,
    open_next: u64,
    /// Who waits for responses to have left; dropping one tells so. At most as
    /// many as streams may be open.
    unsent: BTreeMap<(Protocol, InboundRequestId), oneshot::Sender<()>>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    subscribers: [Option<mpsc::Sender<Gossip>>; Topic::ALL.len()],
    verdicts: (mpsc::Sender<Judged>, mpsc::Receiver<Judged>),
    queries: HashMap<QueryId, providers::Query>,
    provided: BTreeSet<Vec<u8>>,
    records: ProviderRecords,
    watches: Watches,
    counters: Counters,
    swarm_metrics: SwarmMetrics,
}

/// What handles can watch.
struct Watches {
    connected: watch::Sender<BTreeSet<Address>>,
    listening: watch::Sender<Vec<Multiaddr>>,
    external: watch::Sender<Vec<Multiaddr>>,
    events: broadcast::Sender<NetEvent>,
}

/// Listens, spawns the task and hands out its handle.
pub(super) async fn start(
    config: NetConfig,
    key: &SigningKey,
    clock: Clock,
    metrics: &Metrics,
) -> Result<NetHandle, StartError> {
    let local = LocalPeer {
        address: key.address(),
        peer_id: identity::peer_id(key),
        agent: concat!("coliving/", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let counters = Counters::new(metrics);
    let swarm_metrics = metrics.with_registry(SwarmMetrics::new);
    let keypair = identity::keypair(key);
    let refused = &counters.frames_refused;
    let mut swarm = swarm::build(&config, keypair, &local.agent, metrics, refused).await?;
    let listening = listening::listen(&mut swarm, &config.listen).await?;
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }

    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let watches = Watches {
        connected: watch::Sender::new(BTreeSet::new()),
        listening: watch::Sender::new(listening),
        external: watch::Sender::new(config.external.clone()),
        events: broadcast::Sender::new(EVENTS_MAX),
    };
    let handle = NetHandle {
        commands,
        local: local.clone(),
        connected: watches.connected.subscribe(),
        listening: watches.listening.subscribe(),
        external: watches.external.subscribe(),
        events: watches.events.clone(),
    };
    let machine = neighbours::Config {
        local: local.address,
        neighbours_min: config.neighbours_min,
        rotation: config.neighbour_rotation,
        rest_min: NEIGHBOUR_REST_MIN,
        rest_max: NEIGHBOUR_REST_MAX,
    };
    let spared = [local.address];
    let actor = Actor {
        swarm,
        clock,
        local: local.address,
        commands: inbox,
        book: AddressBook::default(),
        neighbours: Neighbours::new(machine, config.seed, clock.now()),
        offences: Offences::new(spared),
        peers: BTreeMap::new(),
        connects: Vec::new(),
        wanted: None,
        outbound: BTreeMap::new(),
        servers: [const { None }; Protocol::ALL.len()],
        open: BTreeMap::new(),
        open_next: 0,
        unsent: BTreeMap::new(),
        answers: mpsc::channel(OPEN_MAX),
        subscribers: [const { None }; Topic::ALL.len()],
        verdicts: mpsc::channel(gossiping::VERDICTS_MAX),
        queries: HashMap::new(),
        provided: BTreeSet::new(),
        records: ProviderRecords::default(),
        watches,
        counters,
        swarm_metrics,
        config,
    };
    tokio::spawn(actor.run());
    Ok(handle)
}

impl Actor {
    async fn run(mut self) {
        self.dial_bootstrap();
        self.reserve_circuits();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let deadline = self.neighbours.poll_timeout();
            tokio::select! {
                biased;
                Some(answer) = self.answers.1.recv() => self.handle_answer(answer),
                Some(judged) = self.verdicts.1.recv() => self.handle_verdict(&judged),
                command = self.commands.recv() => match command {
                    Some(Command::Stop) | None => break,
                    Some(command) => self.handle_command(command),
                },
                event = self.swarm.select_next_some() => self.handle_event(event),
                () = self.clock.sleep_until(deadline) => {
                    self.neighbours.handle_timeout(self.clock.now());
                }
                _ = tick.tick() => self.handle_tick(),
            }
            self.drain_neighbours();
            self.drain_book();
            self.drain_offences();
        }
        self.finish().await;
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Request {
                peer,
                protocol,
                body,
                reply,
            } => self.handle_request(peer, protocol, body, reply),
            Command::Serve { protocol, reply } => answer(reply, self.handle_serve(protocol)),
            Command::Publish { topic, data, reply } => {
                answer(reply, self.handle_publish(topic, data));
            }
            Command::Subscribe { topic, reply } => answer(reply, self.handle_subscribe(topic)),
            Command::Connect { peer, reply } => self.handle_connect(peer, reply),
            Command::SetAddresses { peer, addresses } => {
                let told = addresses.into_iter().map(multiaddr::listening).collect();
                let now = self.clock.now();
                self.book.handle_told(peer, told, now);
                self.neighbours.handle_address(peer, now);
                self.dial_awaited(peer);
            }
            Command::NotFound { peer } => self.dial_awaited(peer),
            Command::Wanted { reply } => {
                let (wanted, receiver) = mpsc::channel(WANTED_MAX);
                self.wanted = Some(wanted);
                answer(reply, receiver);
            }
            Command::SetStaked { peers } => self.handle_staked(&peers),
            Command::Provide { cid, reply } => answer(reply, self.handle_provide(&cid)),
            Command::StopProviding { cid } => self.handle_stop_providing(&cid),
            Command::FindProviders { cid, reply } => self.handle_find_providers(&cid, reply),
            Command::PeersInfo { reply } => answer(reply, self.peers_info()),
            Command::Offence { peer, weight } => self.handle_offence(peer, weight),
            Command::Stop => {}
        }
    }

    fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.swarm_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.handle_established(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                ..
            } => self.handle_closed(peer_id, connection_id, num_established),
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "dial failed");
                if let Some(peer) = peer_id {
                    self.handle_dial_failed(peer, &error);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.handle_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.watches
                    .listening
                    .send_modify(|all| all.retain(|known| *known != address));
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                tracing::warn!(?reason, "a listener closed");
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.handle_external(address),
            SwarmEvent::ExternalAddrExpired { address } => {
                self.watches
                    .external
                    .send_modify(|all| all.retain(|known| *known != address));
            }
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Requests(event) => {
                let (protocol, event) = event.split();
                self.handle_frames(protocol, event);
            }
            BehaviourEvent::Gossipsub(event) => {
                self.swarm_metrics.record(&event);
                self.handle_gossip(event);
            }
            BehaviourEvent::Kad(event) => {
                self.swarm_metrics.record(&event);
                self.handle_kad(event);
            }
            BehaviourEvent::Identify(event) => {
                self.swarm_metrics.record(&event);
                self.handle_identify(event);
            }
            BehaviourEvent::Ping(event) => {
                self.swarm_metrics.record(&event);
                self.handle_ping(&event);
            }
            BehaviourEvent::CircuitServer(event) => self.swarm_metrics.record(&event),
            BehaviourEvent::Dcutr(event) => self.swarm_metrics.record(&event),
            BehaviourEvent::Mdns(event) => self.handle_mdns(event),
            BehaviourEvent::CircuitClient(event) => tracing::debug!(?event, "circuit"),
            BehaviourEvent::AutonatClient(event) => tracing::debug!(?event, "reachability"),
            BehaviourEvent::AutonatServer(event) => tracing::trace!(?event, "dial-back"),
            BehaviourEvent::Upnp(event) => tracing::debug!(?event, "port mapping"),
            BehaviourEvent::Blocked(never)
            | BehaviourEvent::Limits(never)
            | BehaviourEvent::Memory(never)
            | BehaviourEvent::Hold(never) => match never {},
        }
    }

    fn handle_tick(&mut self) {
        let now = self.clock.now();
        self.offences.handle_timeout(now);
        self.records.handle_timeout(now);
        self.sweep_requests();
        self.sweep_subscribers();
        self.trim();
        self.connects.retain(|(_, reply)| !reply.is_closed());
        if self.peers.is_empty() {
            self.dial_bootstrap();
        }
    }

    /// Closes every connection; what is still on its way is lost.
    async fn finish(mut self) {
        self.commands.close();
        self.outbound.clear();
        self.servers = [const { None }; Protocol::ALL.len()];
        self.subscribers = [const { None }; Topic::ALL.len()];
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error means that the peer is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, closing).await.is_err() {
            tracing::debug!("connections were cut at the stop");
        }
    }

    fn emit(&self, event: NetEvent) {
        // An error means that nobody listens.
        let _ = self.watches.events.send(event);
    }
}

/// Answers a command whose asker may have gone.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}

/// Commands that wait for the task. Chosen: senders wait when it is full.
const COMMANDS_MAX: usize = 256;

/// Events that a lagging receiver may miss none of. Chosen: half as many connections
/// as there may be come or go at once.
const EVENTS_MAX: usize = 256;

/// How often what has no deadline of its own is looked after. Chosen: none of it is
/// awaited by anybody.
const TICK: Duration = Duration::from_secs(5);

/// Time for connections to close at the stop. Chosen: some round trips; who does not
/// close is cut off.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Chosen: peers that start together find each other soon.
const NEIGHBOUR_REST_MIN: Duration = Duration::from_secs(2);

/// Chosen: a peer that was away for long is back within minutes, for a dial each.
const NEIGHBOUR_REST_MAX: Duration = Duration::from_secs(300);
