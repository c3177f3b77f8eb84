//! Five peers of five operators, each a process of its own, any of them killed.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use client::deploy::{DeployConfig, ServiceConfig, deploy, enrol};
use client::home;
use devchain::{DevChain, DevChainConfig, Mining};
use node::config::Config;
use protocol::amount::{Dgc, U256};
use protocol::chain::Contracts;
use protocol::id::{Role, Zone};
use protocol::signing::SigningKey;
use rpc::{Client, Clock, Wallet};

use crate::bench::{Bench, Peer, eventually, noise, write};

/// A swarm of processes on a chain of this process.
struct Swarm {
    bench: Bench,
    chain: DevChain,
    peers: Vec<Peer>,
}

impl Swarm {
    async fn start() -> Self {
        let bench = Bench::new();
        let ports = free_ports(PEERS);
        let folders: Vec<PathBuf> = (0..PEERS).map(|idx| bench.path(&folder(idx))).collect();
        let keys: Vec<SigningKey> = folders
            .iter()
            .map(|folder| home::peer_key(&folder.join("data")).unwrap())
            .collect();
        let operators: Vec<Wallet> = (0..PEERS)
            .map(|_| Wallet::new(home::random_key()))
            .collect();
        let treasury = Wallet::new(home::random_key());
        let funded = keys.iter().map(SigningKey::address);
        let funded = funded.chain(operators.iter().map(Wallet::address));
        let clock = Clock::system();
        let chain = DevChain::spawn(DevChainConfig {
            chain_id: CHAIN_ID,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: None,
            mining: Mining::Instant,
            funded: funded
                .chain([treasury.address()])
                .map(|address| (address, U256::exp10(22)))
                .collect(),
            clock: devchain::Clock::new(move || clock.now()),
        })
        .await
        .unwrap();
        let client = Client::new(&[chain.url()], Some(CHAIN_ID)).unwrap();
        let config = DeployConfig::development(treasury.address());
        let contracts = deploy(&client, &treasury, &config).await.unwrap();
        for idx in 0..PEERS {
            let service = ServiceConfig {
                endpoint: format!("http://127.0.0.1:{}", ports[idx]),
                roles: Role::ALL.to_vec(),
                zone: Zone::new(&format!("zone-{idx}")),
                stake: Dgc::whole(1_000_000),
            };
            let (operator, peer) = (&operators[idx], &keys[idx]);
            enrol(&client, &contracts, &treasury, operator, peer, &service)
                .await
                .unwrap();
            let text = config_of(&chain, contracts, ports[idx]).to_commented_toml();
            write(&folders[idx].join("config.toml"), text.as_bytes());
        }
        let peers = (0..PEERS).map(|idx| run(&bench, idx)).collect();
        Self {
            bench,
            chain,
            peers,
        }
    }

    /// Lets the next commands speak to a peer with its owner's token.
    fn speak_to(&mut self, idx: usize) {
        let url = self.peers[idx].ready["http"].as_str().unwrap().to_owned();
        let token = home::token(&self.bench.path(&folder(idx)).join("data")).unwrap();
        self.bench.use_node(&url, &token);
    }

    /// The holders of a root once there are as many as its effective target:
    /// five, or as many operators as have a peer that lives.
    fn whole(&self, cid: &str, live: usize) -> Option<BTreeSet<String>> {
        let root = self.bench.json(&["root", cid]);
        let holders: BTreeSet<String> = root["holders"]
            .as_array()?
            .iter()
            .filter_map(|holder| Some(holder.as_str()?.to_owned()))
            .collect();
        (holders.len() == live.min(PEERS)).then_some(holders)
    }
}

fn config_of(chain: &DevChain, contracts: Contracts, port: u16) -> Config {
    let mut config = Config {
        data: PathBuf::from("data"),
        roles: BTreeSet::from(Role::ALL),
        url: Some(format!("http://127.0.0.1:{port}")),
        ..Config::default()
    };
    config.http.listen = SocketAddr::from(([127, 0, 0, 1], port));
    config.net.listen = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    config.net.private_endpoints = true;
    config.chain.rpc = vec![chain.url()];
    config.chain.chain_id = CHAIN_ID;
    config.chain.contracts = contracts;
    config.chain.confirmations = 0;
    config.chain.poll_interval = Duration::from_millis(250);
    config.content.presence_interval = Duration::from_secs(1);
    config.content.lost_after = GRACE;
    config.content.unlimited_uploads = true;
    config
}

fn run(bench: &Bench, idx: usize) -> Peer {
    let config = bench.path(&folder(idx)).join("config.toml");
    bench.start(&["run", "--config", config.to_str().unwrap()])
}

fn folder(idx: usize) -> String {
    format!("peer-{idx}")
}

/// Ports that were free a moment ago; all are held until the last is drawn.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_one_of_five_operators_may_be_killed() {
    let mut swarm = Swarm::start().await;
    tokio::task::block_in_place(|| kill_each(&mut swarm));
    swarm.chain.stop().await;
}

fn kill_each(swarm: &mut Swarm) {
    swarm.speak_to(0);
    eventually("the peers meet", Duration::from_secs(30), || {
        let peers = swarm.bench.json(&["peers"]);
        let connected = peers["peers"].as_array()?.iter();
        let count = connected.filter(|row| row["connected"] == true).count();
        (count >= PEERS - 1).then_some(())
    });
    swarm.bench.json(&["wallet", "new"]);
    swarm.bench.json(&["user", "create", "--handle", "ada"]);
    let bytes = noise(5, 2 << 20);
    let file = write(&swarm.bench.path("song"), &bytes);
    let published = swarm.bench.json(&["publish", &file, "--title", "Song"]);
    let cid = published["cid"].as_str().unwrap().to_owned();
    eventually("all five hold it", GRACE + REPAIR, || {
        swarm.whole(&cid, PEERS)
    });
    for killed in 0..PEERS {
        let other = (killed + 1) % PEERS;
        let address = swarm.peers[killed].ready["peer"].as_str().unwrap();
        let address = address.to_owned();
        swarm.peers[killed].kill();
        swarm.speak_to(other);
        assert!(swarm.bench.run(&["play", &cid]).stdout == bytes);
        let holders = eventually("every root is whole again", GRACE + REPAIR, || {
            swarm.whole(&cid, PEERS - 1)
        });
        assert!(!holders.contains(&address), "a dead peer answered");
        assert!(swarm.bench.run(&["play", &cid]).stdout == bytes);

        let data = swarm.bench.path(&folder(killed)).join("data");
        let report = swarm
            .bench
            .json(&["store", "verify", "--data", data.to_str().unwrap()]);
        assert_eq!(report["corrupt_count"], 0);
        assert!(report["bytes"].as_u64().unwrap() >= bytes.len() as u64);
        swarm.peers[killed] = run(&swarm.bench, killed);
        swarm.speak_to(killed);
        assert!(swarm.bench.run(&["play", &cid]).stdout == bytes);
        eventually("it counts as a holder again", GRACE + REPAIR, || {
            swarm.whole(&cid, PEERS)
        });
    }
}

const PEERS: usize = 5;
const CHAIN_ID: u64 = 1337;

/// Silence after which a peer counts as lost.
const GRACE: Duration = Duration::from_secs(5);

/// How long repair may take after that.
const REPAIR: Duration = Duration::from_secs(30);
