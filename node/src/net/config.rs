//! The settings of the network.

use std::time::Duration;

use libp2p::Multiaddr;

/// Settings of [`start`](super::start).
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Where to listen; port 0 takes a free one. Default: TCP, QUIC and
    /// WebSocket on every interface, free ports. Empty: dial only.
    pub listen: Vec<Multiaddr>,
    /// Addresses to tell others beside what AutoNAT confirms, as of a forwarded
    /// port. Default: none.
    pub external: Vec<Multiaddr>,
    /// Peers to dial at the start, each address ending in `/p2p/<peer id>`.
    /// Default: none; with a registry none is needed.
    pub bootstrap: Vec<Multiaddr>,
    /// Confirmed peers of distinct operators to stay connected to. More resist
    /// eclipse better and cost about 0.2 MiB each. Default: 8.
    pub neighbours_min: usize,
    /// How often one neighbour is replaced. Default: an hour.
    pub neighbour_rotation: Duration,
    /// Decides which neighbours are drawn; secret, of this peer only.
    pub seed: [u8; 32],
    /// Answer Kademlia queries and keep others' provider records. Default: true;
    /// a light peer only asks.
    pub kad_server: bool,
    /// Accept reservations and carry circuits for peers behind NAT. Costs
    /// uplink. Default: false.
    pub circuit_server: bool,
    /// Peers to keep a circuit reservation at, as addresses ending in
    /// `/p2p/<peer id>`. Default: none.
    pub circuit_peers: Vec<Multiaddr>,
    /// Find out whether our addresses can be reached. Default: true.
    pub autonat_client: bool,
    /// Try addresses out for others, which costs a dial each. Default: true.
    pub autonat_server: bool,
    /// Ask the router for a forwarded port. Default: false.
    pub upnp: bool,
    /// Announce this peer and find others in the local network. Default: false.
    pub mdns: bool,
    /// Established connections in all. Default: 512.
    pub connections_max: u32,
    /// Inbound established connections. Default: 384.
    pub connections_inbound_max: u32,
    /// Connections being negotiated, inbound and outbound each. Default: 128.
    pub connections_pending_max: u32,
    /// Connections to one peer; AutoNAT dials make a second one. Default: 4.
    pub connections_per_peer_max: u32,
    /// No connection is accepted while the process holds more memory; several
    /// peers in one process share it. Default: 1 GiB.
    pub memory_bytes_max: usize,
    /// A connection that nothing uses is closed after this time. Default: 15 s.
    pub idle_timeout: Duration,
    /// Time between two pings of a connection; one that fails closes it. Default: 15 s.
    pub ping_interval: Duration,
    /// Time for one dial, all addresses of a peer together. Default: 10 s.
    pub dial_timeout: Duration,
    /// The gossip heartbeat; shorter repairs meshes faster and costs more
    /// control messages. Default: 700 ms.
    pub gossip_heartbeat: Duration,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listen: addresses(&[
                "/ip4/0.0.0.0/tcp/0",
                "/ip4/0.0.0.0/udp/0/quic-v1",
                "/ip4/0.0.0.0/tcp/0/ws",
            ]),
            external: Vec::new(),
            bootstrap: Vec::new(),
            neighbours_min: 8,
            neighbour_rotation: Duration::from_secs(3600),
            seed: [0; 32],
            kad_server: true,
            circuit_server: false,
            circuit_peers: Vec::new(),
            autonat_client: true,
            autonat_server: true,
            upnp: false,
            mdns: false,
            connections_max: 512,
            connections_inbound_max: 384,
            connections_pending_max: 128,
            connections_per_peer_max: 4,
            memory_bytes_max: 1024 * 1024 * 1024,
            idle_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(15),
            dial_timeout: Duration::from_secs(10),
            gossip_heartbeat: Duration::from_millis(700),
        }
    }
}

impl NetConfig {
    /// The settings of a light peer: fewer neighbours, serves nobody's NAT and
    /// no Kademlia queries.
    #[must_use]
    pub fn light() -> Self {
        Self {
            neighbours_min: 4,
            kad_server: false,
            autonat_server: false,
            connections_max: 64,
            connections_inbound_max: 32,
            connections_pending_max: 32,
            ..Self::default()
        }
    }

    /// Listens on the loopback interface only, on free TCP and QUIC ports, and
    /// leaves NAT alone: for development networks and tests.
    #[must_use]
    pub fn on_loopback(self) -> Self {
        Self {
            listen: addresses(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]),
            autonat_client: false,
            autonat_server: false,
            upnp: false,
            mdns: false,
            ..self
        }
    }
}

fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
    texts
        .iter()
        .map(|text| text.parse().expect("a constant address is valid"))
        .collect()
}
