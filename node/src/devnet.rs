//! A whole network in one process: an embedded chain with the contracts, staked
//! and confirmed peers of several operators and zones, and one light peer.
//!
//! Everything is made from a seed, so that a data folder can be resumed: keys
//! are drawn from it, ports and contracts are written to `devnet.json` once
//! they stand.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use client::deploy::{DeployConfig, DeployError, ServiceConfig, deploy, enrol, verify};
use client::home::{self, HomeError};
use protocol::amount::{Dgc, U256};
use protocol::chain::Contracts;
use protocol::entry::sha256;
use protocol::id::{Role, Zone};
use protocol::signing::SigningKey;
use protocol::staking::Periods;
use rpc::{Client, Clock, RpcError, Wallet};
use serde::{Deserialize, Serialize};

use crate::builder::{Node, StartError};
use crate::config::Config;
use devchain::{DevChain, DevChainConfig, DevChainError, Mining};

/// What to start.
#[derive(Debug, Clone)]
pub struct DevnetConfig {
    /// Staked peers, each with all roles; at most [`PEERS_MAX`].
    pub peers: usize,
    /// Operators that the peers belong to; at most as many as peers.
    pub operators: usize,
    /// Zones that the peers stand in.
    pub zones: usize,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Draws all keys.
    pub seed: u64,
    /// The chain id of the embedded chain.
    pub chain_id: u64,
    /// Where to listen.
    pub ports: Ports,
    /// What a block of a new network counts for: the contracts' weeks and days
    /// are so many blocks of it, which come by transactions alone.
    pub block_time: Duration,
}

/// Ports that were asked for; the others are free ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ports {
    /// The chain's RPC.
    pub rpc: Option<u16>,
    /// The light peer's HTTP; the staked peers take the ports after it.
    pub http: Option<u16>,
    /// The light peer's libp2p, TCP and UDP; the staked peers take the ports
    /// after it.
    pub p2p: Option<u16>,
}

/// A running network.
#[derive(Debug)]
pub struct Devnet {
    chain: DevChain,
    contracts: Contracts,
    peers: Vec<DevnetPeer>,
    light: Node,
    /// Held while the network runs.
    _lock: fs::File,
}

/// One staked peer of a [`Devnet`].
#[derive(Debug)]
pub struct DevnetPeer {
    /// `peer-1`, `peer-2`, …
    pub name: String,
    /// `operator-1`, … : who staked for it.
    pub operator: String,
    /// The zone that it confirmed.
    pub zone: String,
    /// Its stake in DGC.
    pub stake: Dgc,
    /// The peer that runs.
    pub node: Node,
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The numbers do not fit together.
    #[error("{0}")]
    Config(String),
    /// The data folder cannot be used.
    #[error("cannot use the data folder `{path}`: {reason}")]
    Folder {
        /// The folder that was named.
        path: PathBuf,
        /// What cannot be done with it.
        reason: String,
    },
    /// The folder was made with other options.
    #[error(
        "the data folder `{path}` was made with {found}; use the same options or another folder"
    )]
    Other {
        /// The folder that was named.
        path: PathBuf,
        /// The options that it was made with.
        found: String,
    },
    /// The embedded chain did not start.
    #[error(transparent)]
    Chain(Box<DevChainError>),
    /// The chain did not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The contracts did not deploy, or a peer was not registered.
    #[error(transparent)]
    Deploy(#[from] DeployError),
    /// A peer did not start.
    #[error("{name} did not start: {source}")]
    Peer {
        /// Name of the peer.
        name: String,
        /// Why it does not start.
        source: Box<StartError>,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<DevChainError> for DevnetError {
    fn from(error: DevChainError) -> Self {
        Self::Chain(Box::new(error))
    }
}

/// What stands already, in `devnet.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    peers: usize,
    operators: usize,
    zones: usize,
    seed: u64,
    chain_id: u64,
    chain_port: u16,
    light_port: u16,
    peer_ports: Vec<u16>,
    /// Set when every peer is registered and confirmed.
    contracts: Option<Contracts>,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            peers: 5,
            operators: 4,
            zones: 3,
            data: PathBuf::from("devnet-data"),
            seed: 1,
            chain_id: 1337,
            ports: Ports::default(),
            block_time: BLOCK_TIME,
        }
    }
}

impl Devnet {
    /// Starts the network, or resumes the one in the data folder; `tell` hears
    /// what is being done.
    ///
    /// # Errors
    ///
    /// [`DevnetError`]; what was started is stopped.
    pub async fn start(config: DevnetConfig, tell: impl Fn(&str)) -> Result<Self, DevnetError> {
        config.check()?;
        let lock = config.lock()?;
        let mut plan = config.plan()?;
        tell("starting the chain");
        let clock = Clock::system();
        let chain = DevChain::spawn(DevChainConfig {
            chain_id: plan.chain_id,
            listen: loopback(plan.chain_port),
            data: Some(config.data.join("chain")),
            mining: Mining::Instant,
            funded: config.funded(),
            clock: devchain::Clock::new(move || clock.now()),
        })
        .await?;
        let client = Client::new(&[chain.url()], Some(plan.chain_id))?;
        let contracts = match plan.contracts {
            Some(contracts) => {
                if let Err(error) = verify(&client, &contracts).await {
                    chain.stop().await;
                    return Err(foreign(&config.data, error));
                }
                contracts
            }
            None => {
                let contracts = config.deploy(&client, &plan, &tell).await?;
                plan.contracts = Some(contracts);
                config.save(&plan)?;
                contracts
            }
        };
        let mut peers = Vec::new();
        for (idx, port) in plan.peer_ports.iter().enumerate() {
            tell(&format!("starting peer {} of {}", idx + 1, plan.peers));
            let started = config.start_peer(idx, *port, &chain, contracts).await;
            match started {
                Ok(peer) => peers.push(peer),
                Err(error) => {
                    stop_all(peers, chain).await;
                    return Err(error);
                }
            }
        }
        tell("starting the light peer");
        match config.start_light(plan.light_port, &chain, contracts).await {
            Ok(light) => Ok(Self {
                chain,
                contracts,
                peers,
                light,
                _lock: lock,
            }),
            Err(error) => {
                stop_all(peers, chain).await;
                Err(error)
            }
        }
    }

    /// The embedded chain.
    #[must_use]
    pub fn chain(&self) -> &DevChain {
        &self.chain
    }

    /// Addresses of the contracts.
    #[must_use]
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The staked peers.
    #[must_use]
    pub fn peers(&self) -> &[DevnetPeer] {
        &self.peers
    }

    /// The light peer.
    #[must_use]
    pub fn light(&self) -> &Node {
        &self.light
    }

    /// Waits until the peers are connected and the light peer has indexed what
    /// they have.
    pub async fn ready(&self) {
        let wanted = self.peers.len().saturating_sub(1).min(NEIGHBOURS_READY);
        for node in self.peers.iter().map(|peer| &peer.node) {
            wait_connected(node, wanted).await;
        }
        wait_connected(&self.light, wanted.max(1)).await;
        let entries = |node: &Node| node.context().index.height().borrow().entries;
        let known = self.peers.iter().map(|peer| entries(&peer.node)).max();
        let mut height = self.light.context().index.height();
        let _ = height
            .wait_for(|height| height.entries >= known.unwrap_or_default())
            .await;
    }

    /// Resolves when a peer was asked to stop.
    pub async fn stopping(&self) {
        self.light.stopping().await;
    }

    /// Stops the light peer, the staked peers and the chain, in that order.
    pub async fn stop(self) {
        self.light.stop().await;
        stop_all(self.peers, self.chain).await;
    }
}

/// Why a folder's network does not start with this program's contracts.
fn foreign(folder: &Path, error: DeployError) -> DevnetError {
    match error {
        DeployError::Unfinished { reason } => DevnetError::Folder {
            path: folder.to_owned(),
            reason: format!(
                "its contracts are not those of this version ({reason}); use another folder or delete this one"
            ),
        },
        error => error.into(),
    }
}

async fn stop_all(peers: Vec<DevnetPeer>, chain: DevChain) {
    for peer in peers {
        peer.node.stop().await;
    }
    chain.stop().await;
}

async fn wait_connected(node: &Node, wanted: usize) {
    let mut connected = node.context().net.connected();
    // An error means that the peer is stopping: nothing to wait for.
    let _ = connected.wait_for(|peers| peers.len() >= wanted).await;
}

impl DevnetConfig {
    fn check(&self) -> Result<(), DevnetError> {
        let refused = |text: String| Err(DevnetError::Config(text));
        if self.peers == 0 || self.peers > PEERS_MAX {
            return refused(format!(
                "--peers is {}, between 1 and {PEERS_MAX} are possible",
                self.peers
            ));
        }
        if self.operators == 0 || self.operators > self.peers {
            return refused(format!(
                "--operators is {}, between 1 and the number of peers ({}) are possible",
                self.operators, self.peers
            ));
        }
        for (flag, first) in [
            ("--http-port", self.ports.http),
            ("--p2p-port", self.ports.p2p),
        ] {
            if let Some(first) = first
                && usize::from(u16::MAX - first) < self.peers
            {
                return refused(format!(
                    "{flag} is {first}, which leaves no ports after it for {} peers",
                    self.peers
                ));
            }
        }
        Ok(())
    }

    /// Locks the folder against other processes.
    fn lock(&self) -> Result<fs::File, DevnetError> {
        fs::create_dir_all(&self.data).map_err(|error| self.folder_error(&error))?;
        let file =
            fs::File::create(self.data.join("lock")).map_err(|error| self.folder_error(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(_) => Err(DevnetError::Folder {
                path: self.data.clone(),
                reason: "another coliving process uses it; stop that one or choose another folder"
                    .to_owned(),
            }),
        }
    }

    /// Reads `devnet.json`, or draws free ports for a new network.
    fn plan(&self) -> Result<Plan, DevnetError> {
        fs::create_dir_all(&self.data).map_err(|error| self.folder_error(&error))?;
        let path = self.data.join(PLAN_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let plan = self.new_plan()?;
                self.save(&plan)?;
                return Ok(plan);
            }
            Err(error) => return Err(self.folder_error(&error)),
        };
        let plan: Plan = serde_json::from_str(&text).map_err(|error| DevnetError::Folder {
            path: path.clone(),
            reason: format!("{PLAN_FILE} is damaged ({error}); use another folder"),
        })?;
        let is_same = plan.peers == self.peers
            && plan.operators == self.operators
            && plan.zones == self.zones
            && plan.seed == self.seed
            && plan.chain_id == self.chain_id
            && self.ports.rpc.is_none_or(|port| port == plan.chain_port)
            && self.ports.http.is_none_or(|port| port == plan.light_port);
        if is_same {
            return Ok(plan);
        }
        Err(DevnetError::Other {
            path: self.data.clone(),
            found: format!(
                "--peers {} --operators {} --seed {} --rpc-port {} --http-port {}",
                plan.peers, plan.operators, plan.seed, plan.chain_port, plan.light_port
            ),
        })
    }

    fn new_plan(&self) -> Result<Plan, DevnetError> {
        let mut ports = free_ports(self.peers + 2).map_err(|error| self.folder_error(&error))?;
        let mut peer_ports = ports.split_off(2);
        if let Some(first) = self.ports.http {
            ports[1] = first;
            peer_ports = (first + 1..).take(self.peers).collect();
        }
        Ok(Plan {
            peers: self.peers,
            operators: self.operators,
            zones: self.zones,
            seed: self.seed,
            chain_id: self.chain_id,
            chain_port: self.ports.rpc.unwrap_or(ports[0]),
            light_port: ports[1],
            peer_ports,
            contracts: None,
        })
    }

    fn save(&self, plan: &Plan) -> Result<(), DevnetError> {
        let text = serde_json::to_vec_pretty(plan).expect("a plan has a JSON form");
        home::write_secret(&self.data.join(PLAN_FILE), &text)?;
        Ok(())
    }

    fn folder_error(&self, error: &std::io::Error) -> DevnetError {
        DevnetError::Folder {
            path: self.data.clone(),
            reason: error.to_string(),
        }
    }

    /// The key that the seed draws for a name.
    fn key(&self, name: &str) -> SigningKey {
        let text = format!("coliving/devnet/{}/{name}", self.seed);
        // One hash in 2^128 is not a key; the next one is.
        let mut hash = sha256(text.as_bytes());
        loop {
            match SigningKey::from_bytes(&hash.0) {
                Ok(key) => return key,
                Err(_) => hash = sha256(&hash.0),
            }
        }
    }

    fn funded(&self) -> Vec<(protocol::id::Address, U256)> {
        let names = (0..self.peers)
            .map(peer_name)
            .chain((0..self.operators).map(operator_name))
            .chain([TREASURY.to_owned()]);
        names
            .map(|name| (self.key(&name).address(), U256::exp10(22)))
            .collect()
    }

    async fn deploy(
        &self,
        client: &Client,
        plan: &Plan,
        tell: &impl Fn(&str),
    ) -> Result<Contracts, DevnetError> {
        tell("deploying the contracts");
        let treasury = Wallet::new(self.key(TREASURY));
        let config = DeployConfig {
            periods: Periods::from_block_time(self.block_time)
                .map_err(|error| DevnetError::Config(error.to_string()))?,
            ..DeployConfig::development(treasury.address())
        };
        let contracts = deploy(client, &treasury, &config).await?;
        for (idx, port) in plan.peer_ports.iter().enumerate() {
            tell(&format!("staking for peer {} of {}", idx + 1, plan.peers));
            let operator = Wallet::new(self.key(&operator_name(idx % self.operators)));
            let service = ServiceConfig {
                endpoint: format!("http://127.0.0.1:{port}"),
                roles: Role::ALL.to_vec(),
                zone: Zone::new(&zone_name(idx % self.zones)),
                stake: Dgc::whole(STAKE_DGC),
            };
            let peer = self.key(&peer_name(idx));
            enrol(client, &contracts, &treasury, &operator, &peer, &service).await?;
        }
        Ok(contracts)
    }

    async fn start_peer(
        &self,
        idx: usize,
        port: u16,
        chain: &DevChain,
        contracts: Contracts,
    ) -> Result<DevnetPeer, DevnetError> {
        let name = peer_name(idx);
        let mut config = self.peer_config(&name, port, idx + 1, chain, contracts);
        config.roles = BTreeSet::from(Role::ALL);
        config.url = Some(format!("http://127.0.0.1:{port}"));
        let started = Node::start_with_key(config, self.key(&name)).await;
        let node = started.map_err(|source| DevnetError::Peer {
            name: name.clone(),
            source: Box::new(source),
        })?;
        Ok(DevnetPeer {
            operator: operator_name(idx % self.operators),
            zone: zone_name(idx % self.zones),
            stake: Dgc::whole(STAKE_DGC),
            name,
            node,
        })
    }

    async fn start_light(
        &self,
        port: u16,
        chain: &DevChain,
        contracts: Contracts,
    ) -> Result<Node, DevnetError> {
        let config = self.peer_config(LIGHT, port, 0, chain, contracts);
        Node::start_with_key(config, self.key(LIGHT))
            .await
            .map_err(|source| DevnetError::Peer {
                name: LIGHT.to_owned(),
                source: Box::new(source),
            })
    }

    /// The settings of the peer of a number, 0 for the light one.
    fn peer_config(
        &self,
        name: &str,
        port: u16,
        number: usize,
        chain: &DevChain,
        contracts: Contracts,
    ) -> Config {
        let mut config = Config {
            data: self.data.join(name),
            name: name.to_owned(),
            ..Config::default()
        };
        config.http.listen = loopback(port);
        // Port 0 takes a free one.
        let p2p = self
            .ports
            .p2p
            .map_or(0, |first| usize::from(first) + number);
        config.net.listen = [
            format!("/ip4/127.0.0.1/tcp/{p2p}"),
            format!("/ip4/127.0.0.1/udp/{p2p}/quic-v1"),
        ]
        .iter()
        .map(|text| text.parse().expect("a multiaddress of a checked port"))
        .collect();
        config.net.private_endpoints = true;
        config.chain.rpc = vec![chain.url()];
        config.chain.chain_id = self.chain_id;
        config.chain.contracts = contracts;
        config.chain.confirmations = 0;
        config.chain.poll_interval = Duration::from_millis(250);
        config.storage.reserve = ByteSize::mib(64);
        config.content.presence_interval = Duration::from_secs(1);
        config.content.lost_after = Duration::from_secs(8);
        config.content.unlimited_uploads = true;
        config.identity.quota_factor = 100;
        config
    }
}

/// The key that owns the tokens of a development network with this seed.
#[must_use]
pub fn treasury_key(seed: u64) -> SigningKey {
    let config = DevnetConfig {
        seed,
        ..DevnetConfig::default()
    };
    config.key(TREASURY)
}

fn peer_name(idx: usize) -> String {
    format!("peer-{}", idx + 1)
}

fn operator_name(idx: usize) -> String {
    format!("operator-{}", idx + 1)
}

fn zone_name(idx: usize) -> String {
    format!("zone-{}", idx + 1)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports that nobody listens on at the moment; all are held until the last is drawn.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(loopback(0)))
        .collect::<Result<_, _>>()?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect()
}

/// Writes the URL and token of a peer where the command line looks by default.
///
/// # Errors
///
/// [`HomeError`] names the file.
pub fn write_home(node: &Node, home: &Path) -> Result<(), HomeError> {
    home::write_secret(&home.join("node"), node.url().as_bytes())?;
    home::write_secret(&home.join("token"), node.token().as_bytes())
}

const PLAN_FILE: &str = "devnet.json";
const TREASURY: &str = "treasury";
const LIGHT: &str = "light";

/// More peers than this do not fit into one process's memory comfortably: each has
/// caches and queues of tens of MB.
pub const PEERS_MAX: usize = 50;

/// Stake per peer: above the sum of the three minima of 200,000 DGC.
const STAKE_DGC: u64 = 1_000_000;

/// A week of it is mined in a moment.
const BLOCK_TIME: Duration = Duration::from_secs(60);

/// A peer with this many neighbours is in the swarm. Chosen: gossip reaches it even
/// when one of them is busy.
const NEIGHBOURS_READY: usize = 3;

#[cfg(test)]
mod tests;
