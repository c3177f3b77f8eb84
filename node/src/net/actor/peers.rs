//! Connections, neighbours and offences.

use std::net::IpAddr;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{identify, mdns, ping};
use protocol::time::Moment;

use super::super::StakedPeer;
use super::super::identity::peer_id_of;
use super::super::message::PeerInfo;
use super::super::multiaddr::{self, ip_of, is_local, key_of, transport, without_peer};
use super::super::swarm::KAD_PROTOCOL;
use super::*;

/// A connected peer.
#[derive(Debug)]
pub(super) struct PeerState {
    connections: BTreeMap<ConnectionId, Multiaddr>,
    agent: Option<String>,
    rtt: Option<Duration>,
    /// When it last asked, answered or passed something on.
    used: Moment,
    received_bytes: u64,
    sent_bytes: u64,
}

impl Actor {
    pub(super) fn handle_connect(
        &mut self,
        peer: Address,
        reply: oneshot::Sender<Result<(), RequestError>>,
    ) {
        if self.offences.is_banned(&peer, self.clock.now()) {
            return answer(reply, Err(RequestError::Banned { peer }));
        }
        if self.connects.len() >= CONNECTS_MAX {
            let limit = CONNECTS_MAX;
            return answer(reply, Err(RequestError::Busy { limit }));
        }
        match self.dial(peer) {
            Dialling::Connected => answer(reply, Ok(())),
            Dialling::Started => self.connects.push((peer, reply)),
            Dialling::Impossible if self.want(peer) => self.connects.push((peer, reply)),
            Dialling::Impossible => answer(reply, Err(RequestError::NotConnected { peer })),
        }
    }

    /// Has somebody look for a peer; false when nobody does.
    fn want(&self, peer: Address) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.try_send(peer).is_ok())
    }

    /// Goes on with those who wait for a peer that was looked for.
    pub(super) fn dial_awaited(&mut self, peer: Address) {
        if !self.connects.iter().any(|(waiting, _)| *waiting == peer) {
            return;
        }
        let result = match self.dial(peer) {
            Dialling::Started => return,
            Dialling::Connected => Ok(()),
            Dialling::Impossible => Err(RequestError::NotConnected { peer }),
        };
        self.answer_connects(peer, &result);
    }

    fn answer_connects(&mut self, peer: Address, result: &Result<(), RequestError>) {
        let waits = |waiting: &mut (Address, _)| waiting.0 == peer;
        for (_, reply) in self.connects.extract_if(.., waits) {
            answer(reply, result.clone());
        }
    }

    fn dial(&mut self, peer: Address) -> Dialling {
        let Some(peer_id) = self.peer_id(&peer) else {
            return Dialling::Impossible;
        };
        if self.swarm.is_connected(&peer_id) {
            return Dialling::Connected;
        }
        let options = DialOpts::peer_id(peer_id)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(self.dialled_at(&peer))
            .extend_addresses_through_behaviour()
            .build();
        match self.swarm.dial(options) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => Dialling::Started,
            Err(error) => {
                tracing::debug!(%peer, %error, "cannot dial");
                Dialling::Impossible
            }
        }
    }

    pub(super) fn handle_staked(&mut self, peers: &[StakedPeer]) {
        let now = self.clock.now();
        let keys = peers.iter().filter_map(|peer| {
            let peer_id = peer_id_of(&peer.public_key)?;
            let is_own = address_of(&peer_id) == Some(peer.address);
            is_own.then(|| (peer.address, key_of(&peer_id)))
        });
        self.book.handle_staked(keys, now);
        let pairs = peers.iter().map(|peer| (peer.address, peer.operator));
        self.neighbours.handle_registry(pairs, now);
    }

    /// The peer id of an address, once anybody has told it.
    pub(super) fn peer_id(&self, peer: &Address) -> Option<PeerId> {
        multiaddr::peer_id_of(self.book.key(peer)?)
    }

    /// Where to dial a peer, the told addresses first.
    pub(super) fn dialled_at(&self, peer: &Address) -> Vec<Multiaddr> {
        let addresses = self.book.addresses(peer);
        addresses
            .filter_map(|address| Multiaddr::try_from(address.to_vec()).ok())
            .collect()
    }

    pub(super) fn drain_book(&mut self) {
        while let Some(wish) = self.book.poll() {
            let limits = &mut self.swarm.behaviour_mut().limits;
            match wish {
                addresses::Wish::Exempt(key) => {
                    if let Some(peer_id) = multiaddr::peer_id_of(&key) {
                        limits.bypass_peer_id(&peer_id);
                    }
                }
                addresses::Wish::Limit(key) => {
                    if let Some(peer_id) = multiaddr::peer_id_of(&key) {
                        limits.remove_peer_id(&peer_id);
                    }
                }
            }
        }
    }

    pub(super) fn drain_offences(&mut self) {
        while let Some(wish) = self.offences.poll() {
            match wish {
                offences::Wish::Block(key) => {
                    if let Some(peer_id) = multiaddr::peer_id_of(&key) {
                        self.swarm.behaviour_mut().blocked.block_peer(peer_id);
                        // An error means that there is no connection to close.
                        let _ = self.swarm.disconnect_peer_id(peer_id);
                    }
                }
                offences::Wish::Unblock(key) => {
                    if let Some(peer_id) = multiaddr::peer_id_of(&key) {
                        self.swarm.behaviour_mut().blocked.unblock_peer(peer_id);
                    }
                }
            }
        }
    }

    pub(super) fn drain_neighbours(&mut self) {
        while let Some(transmit) = self.neighbours.poll_transmit() {
            match transmit {
                Transmit::Dial(peer) => {
                    if matches!(self.dial(peer), Dialling::Impossible) {
                        self.want(peer);
                        self.neighbours.handle_dial_failed(peer, self.clock.now());
                    }
                }
                Transmit::Hold(peer) => {
                    if let Some(peer_id) = self.peer_id(&peer) {
                        self.swarm.behaviour_mut().hold.hold(peer_id);
                    }
                }
                Transmit::Release(peer) => {
                    if let Some(peer_id) = self.peer_id(&peer) {
                        self.swarm.behaviour_mut().hold.release(&peer_id);
                    }
                }
            }
        }
        let neighbours = self.neighbours.neighbours().count();
        self.counters
            .neighbours
            .set(i64::try_from(neighbours).unwrap_or(i64::MAX));
    }

    pub(super) fn handle_established(
        &mut self,
        peer_id: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
    ) {
        let remote = endpoint.get_remote_address().clone();
        let state = self.peers.entry(peer_id).or_insert_with(|| PeerState {
            connections: BTreeMap::new(),
            agent: None,
            rtt: None,
            used: self.clock.now(),
            received_bytes: 0,
            sent_bytes: 0,
        });
        state.connections.insert(connection, remote.clone());
        let first = state.connections.len() == 1;
        self.show_peer_count();
        let Some(peer) = address_of(&peer_id) else {
            return;
        };
        let (key, now) = (key_of(&peer_id), self.clock.now());
        if self.offences.handle_connected(peer, &key, now) {
            return;
        }
        let dialled = endpoint.is_dialer();
        let at = dialled.then(|| without_peer(remote).to_vec());
        self.book.handle_connected(peer, key, at, now);
        self.answer_connects(peer, &Ok(()));
        if first {
            self.watches.connected.send_modify(|all| {
                all.insert(peer);
            });
            self.neighbours.handle_connected(peer, now);
            self.emit(NetEvent::Connected(peer));
        }
    }

    pub(super) fn handle_closed(&mut self, peer_id: PeerId, connection: ConnectionId, left: u32) {
        if let Some(state) = self.peers.get_mut(&peer_id) {
            state.connections.remove(&connection);
        }
        if left > 0 {
            return;
        }
        self.peers.remove(&peer_id);
        self.show_peer_count();
        if let Some(peer) = address_of(&peer_id) {
            self.watches
                .connected
                .send_if_modified(|all| all.remove(&peer));
            let now = self.clock.now();
            self.book.handle_disconnected(&peer, now);
            self.neighbours.handle_disconnected(peer, now);
            self.emit(NetEvent::Disconnected(peer));
        }
    }

    pub(super) fn handle_dial_failed(&mut self, peer_id: PeerId, error: &DialError) {
        let superseded = matches!(error, DialError::DialPeerConditionFalse(_));
        if superseded || self.swarm.is_connected(&peer_id) {
            return;
        }
        let Some(peer) = address_of(&peer_id) else {
            return;
        };
        self.answer_connects(peer, &Err(RequestError::NotConnected { peer }));
        // It may be somewhere else by now.
        self.want(peer);
        self.neighbours.handle_dial_failed(peer, self.clock.now());
    }

    pub(super) fn handle_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        let Some(state) = self.peers.get_mut(&peer_id) else {
            return;
        };
        let agent = info.agent_version.chars().filter(|c| !c.is_control());
        state.agent = Some(agent.take(AGENT_CHARS_MAX).collect());
        // A stranger far away cannot send us to our own network.
        let near = state.connections.values().any(is_local);
        let addresses: Vec<Multiaddr> = info
            .listen_addrs
            .into_iter()
            .map(without_peer)
            .filter(|address| near || !is_local(address))
            .take(LEARNED_MAX)
            .collect();
        if info.protocols.contains(&KAD_PROTOCOL) {
            for address in &addresses {
                let kad = &mut self.swarm.behaviour_mut().kad;
                kad.add_address(&peer_id, address.clone());
            }
        }
        if let Some(peer) = address_of(&peer_id) {
            let learned = addresses.iter().map(Multiaddr::to_vec).collect();
            let now = self.clock.now();
            self.book
                .handle_learned(peer, key_of(&peer_id), learned, now);
        }
    }

    pub(super) fn handle_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => {
                if let Some(state) = self.peers.get_mut(&event.peer) {
                    state.rtt = Some(*rtt);
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(failure) => {
                tracing::debug!(peer = %event.peer, %failure, "no answer to a ping");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    pub(super) fn handle_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else {
            return;
        };
        for (peer_id, address) in found.into_iter().take(LEARNED_MAX) {
            if let Some(peer) = address_of(&peer_id) {
                let at = without_peer(address).to_vec();
                let now = self.clock.now();
                self.book.handle_met(peer, key_of(&peer_id), vec![at], now);
                self.neighbours.handle_address(peer, now);
                self.dial(peer);
            }
        }
    }

    pub(super) fn handle_offence(&mut self, peer: Address, weight: u32) {
        let (key, now) = (self.book.key(&peer), self.clock.now());
        if self.offences.handle_offence(peer, key, weight, now) {
            tracing::info!(%peer, "banned for its offences");
            self.counters.bans.inc();
            self.emit(NetEvent::Banned(peer));
        }
    }

    pub(super) fn peers_info(&self) -> Vec<PeerInfo> {
        let neighbours: BTreeSet<&Address> = self.neighbours.neighbours().collect();
        let mut infos: Vec<PeerInfo> = self
            .peers
            .iter()
            .filter_map(|(peer_id, state)| {
                let address = address_of(peer_id)?;
                let (_, endpoint) = state.connections.last_key_value()?;
                Some(PeerInfo {
                    address,
                    peer_id: *peer_id,
                    agent: state.agent.clone(),
                    rtt: state.rtt,
                    transport: transport(endpoint),
                    endpoint: endpoint.clone(),
                    connections: state.connections.len(),
                    neighbour: neighbours.contains(&address),
                    received_bytes: state.received_bytes,
                    sent_bytes: state.sent_bytes,
                })
            })
            .collect();
        infos.sort_by_key(|info| info.address);
        infos
    }

    /// Where a peer is at the other end of one of its connections.
    pub(super) fn ip_of(&self, peer_id: &PeerId, connection: ConnectionId) -> Option<IpAddr> {
        let endpoint = self.peers.get(peer_id)?.connections.get(&connection)?;
        ip_of(endpoint)
    }

    /// Counts bodies that went to or came from a peer.
    pub(super) fn note_use(&mut self, peer_id: &PeerId, received: usize, sent: usize) {
        let now = self.clock.now();
        if let Some(state) = self.peers.get_mut(peer_id) {
            state.used = now;
            state.received_bytes += received as u64;
            state.sent_bytes += sent as u64;
        }
    }

    /// Closes the connections that were unused longest when few are left to be
    /// had. Gossip keeps a stream open to each peer, so that connections do not
    /// end by being idle; neighbours, mesh peers and requests are spared.
    pub(super) fn trim(&mut self) {
        let connections: usize = self.peers.values().map(|peer| peer.connections.len()).sum();
        let limit = usize::try_from(self.config.connections_max).unwrap_or(usize::MAX);
        let surplus = connections.saturating_sub(limit / 4 * 3);
        if surplus == 0 {
            return;
        }
        let mut spared = self.asking_or_asked();
        spared.extend(self.swarm.behaviour().gossipsub.all_mesh_peers().copied());
        let neighbours: BTreeSet<&Address> = self.neighbours.neighbours().collect();
        let mut idle: Vec<(Moment, PeerId)> = self
            .peers
            .iter()
            .filter(|(peer_id, _)| !spared.contains(peer_id))
            .filter(|(peer_id, _)| {
                address_of(peer_id).is_none_or(|peer| !neighbours.contains(&peer))
            })
            .map(|(peer_id, state)| (state.used, *peer_id))
            .collect();
        idle.sort();
        for (_, peer_id) in idle.into_iter().take(surplus) {
            // An error means that there is no connection to close.
            let _ = self.swarm.disconnect_peer_id(peer_id);
        }
    }

    fn show_peer_count(&self) {
        let count = i64::try_from(self.peers.len()).unwrap_or(i64::MAX);
        self.counters.peers.set(count);
    }
}

/// What came of a wish to dial.
enum Dialling {
    Connected,
    Started,
    Impossible,
}

/// Peers that are to be looked for. Chosen: more than are waited for.
pub(super) const WANTED_MAX: usize = 512;

/// Callers that wait for a connection. Chosen: more than are dialled at once.
const CONNECTS_MAX: usize = 256;

/// Listen addresses taken from one peer: as many as the address book keeps.
const LEARNED_MAX: usize = 16;

/// The beginning of what a peer says about its software: a name and a version.
const AGENT_CHARS_MAX: usize = 64;
