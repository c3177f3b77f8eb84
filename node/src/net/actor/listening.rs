//! Listening, and what others can reach us by.

use std::net::{IpAddr, TcpListener, UdpSocket};

use libp2p::multiaddr::Protocol as Part;

use super::*;

/// Time for the operating system to report the ports. Chosen: it takes milliseconds.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens on `wanted` and waits until each has reported its first address.
pub(super) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    wanted: &[Multiaddr],
) -> Result<Vec<Multiaddr>, StartError> {
    let mut waiting: HashMap<ListenerId, Multiaddr> = HashMap::new();
    for address in wanted {
        probe(address).map_err(|error| StartError::Listen {
            address: address.clone(),
            reason: error.to_string(),
        })?;
        let listener = swarm
            .listen_on(address.clone())
            .map_err(|error| StartError::Listen {
                address: address.clone(),
                reason: cause(&error),
            })?;
        waiting.insert(listener, address.clone());
    }
    let mut listening = Vec::new();
    let deadline = tokio::time::Instant::now() + LISTEN_TIMEOUT;
    while !waiting.is_empty() {
        let Ok(event) = tokio::time::timeout_at(deadline, swarm.select_next_some()).await else {
            break;
        };
        match event {
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                waiting.remove(&listener_id);
                listening.push(address);
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                if let Some(address) = waiting.remove(&listener_id) {
                    let reason = match reason {
                        Ok(()) => "the listener closed".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    return Err(StartError::Listen { address, reason });
                }
            }
            _ => {}
        }
    }
    match waiting.into_values().next() {
        None => Ok(listening),
        Some(address) => Err(StartError::Listen {
            address,
            reason: "no interface has this address".to_owned(),
        }),
    }
}

/// Fails when somebody else listens on the address. The swarm's own sockets
/// allow port reuse for hole punching, and would share the port silently.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Part::Ip4(ip)) => IpAddr::V4(ip),
        Some(Part::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Part::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Part::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

/// The innermost cause of an error, which is what the operating system said.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl Actor {
    pub(super) fn handle_listening(&mut self, address: Multiaddr) {
        self.emit(NetEvent::Listening(address.clone()));
        self.watches.listening.send_if_modified(|all| {
            let new = !all.contains(&address);
            if new {
                all.push(address);
            }
            new
        });
    }

    pub(super) fn handle_external(&mut self, address: Multiaddr) {
        tracing::info!(%address, "reachable by others");
        self.emit(NetEvent::External(address.clone()));
        self.watches.external.send_if_modified(|all| {
            let new = !all.contains(&address);
            if new {
                all.push(address);
            }
            new
        });
    }

    pub(super) fn dial_bootstrap(&mut self) {
        for address in self.config.bootstrap.clone() {
            if let Err(error) = self.swarm.dial(address.clone()) {
                tracing::warn!(%address, %error, "cannot dial a bootstrap address");
            }
        }
    }

    pub(super) fn reserve_circuits(&mut self) {
        for peer in self.config.circuit_peers.clone() {
            let circuit = peer.with(Part::P2pCircuit);
            if let Err(error) = self.swarm.listen_on(circuit.clone()) {
                tracing::warn!(%circuit, %error, "cannot reserve a circuit");
            }
        }
    }
}
