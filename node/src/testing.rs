//! Peers in one process over a development chain, for tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::deploy::{DeployConfig, ServiceConfig, deploy, enrol};
use protocol::action::{Action, SignedAction};
use protocol::amount::{Dgc, U256};
use protocol::chain::Contracts;
use protocol::entity::build::{Builder, UserFields};
use protocol::entry::{Entry, Position};
use protocol::id::{Address, Hash32, Role, ServiceId, UserId, Zone};
use protocol::registry::Registry;
use protocol::signing::SigningKey;
use protocol::time::UnixSeconds;
use rpc::{Client, Clock, Wallet};
use storage::backend::MemoryBackend;
use storage::blocks::BlockStoreConfig;
use storage::index::{BlockEntry, RecoveredBlock};
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainConfig, ChainHandle};
use crate::config::Config;
use crate::context::Context;
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::{self, NetConfig, Protocol};
use crate::store::StoreHandle;
use crate::tasks::Floor;
use devchain::{DevChain, DevChainConfig, Mining};

/// A development chain with the contracts on it; the wallet with seed 1 holds
/// the tokens, those with seeds up to 50 and from 100 to 149 hold ether.
pub(crate) struct TestChain {
    pub(crate) chain: DevChain,
    pub(crate) client: Client,
    pub(crate) contracts: Contracts,
}

impl TestChain {
    pub(crate) async fn new() -> Self {
        Self::with_config(&DeployConfig::development(treasury().address())).await
    }

    /// A chain whose registry has a snapshot every so many blocks.
    pub(crate) async fn with_snapshots(snapshot_blocks: u64) -> Self {
        Self::with_config(&DeployConfig {
            snapshot_blocks,
            ..DeployConfig::development(treasury().address())
        })
        .await
    }

    /// A chain whose contracts are deployed in another way.
    pub(crate) async fn with_config(config: &DeployConfig) -> Self {
        let funded = (1..=50)
            .chain(100..150)
            .map(|seed| (key(seed).address(), U256::exp10(24)))
            .collect();
        let clock = Clock::system();
        let chain = DevChain::spawn(DevChainConfig {
            chain_id: CHAIN_ID,
            listen: ([127, 0, 0, 1], 0).into(),
            data: None,
            mining: Mining::Instant,
            funded,
            clock: devchain::Clock::new(move || clock.now()),
        })
        .await
        .unwrap();
        let client = Client::new(&[chain.url()], None).unwrap();
        let contracts = deploy(&client, &treasury(), config).await.unwrap();
        Self {
            chain,
            client,
            contracts,
        }
    }

    /// A chain on which the peers with these seeds are confirmed, each of an
    /// operator of its own.
    pub(crate) async fn with_peers(seeds: &[u8], role: Role) -> Self {
        let net = Self::new().await;
        for seed in seeds {
            let service = ServiceConfig {
                endpoint: format!("http://peer-{seed}"),
                roles: vec![role],
                zone: Zone::new(&format!("zone-{seed}")),
                stake: Dgc::whole(200_000),
            };
            net.enrol(*seed, &peer_key(*seed), &service).await;
        }
        net
    }

    /// Stakes for a peer as the operator with this seed.
    pub(crate) async fn enrol(
        &self,
        seed: u8,
        peer: &SigningKey,
        service: &ServiceConfig,
    ) -> Vec<(Role, ServiceId)> {
        let (client, contracts) = (&self.client, &self.contracts);
        let operator = Wallet::new(key(seed));
        enrol(client, contracts, &treasury(), &operator, peer, service)
            .await
            .unwrap()
    }

    /// The parts of the peer with this seed over a store in `disk`, once it
    /// knows `confirmed` peers.
    pub(crate) async fn peer(
        &self,
        seed: u8,
        disk: &MemoryBackend,
        config: Config,
        confirmed: usize,
    ) -> Context {
        self.peer_by(Clock::system(), seed, disk, config, confirmed)
            .await
    }

    /// As [`TestChain::peer`], with another clock.
    pub(crate) async fn peer_by(
        &self,
        clock: Clock,
        seed: u8,
        disk: &MemoryBackend,
        config: Config,
        confirmed: usize,
    ) -> Context {
        let (metrics, key) = (Metrics::new(), peer_key(seed));
        let store_config = BlockStoreConfig {
            disk_reserve_bytes: 0,
            ..BlockStoreConfig::with_size(1 << 30)
        };
        // Whoever still has the store of a former life open closes it in its own time.
        disk.end_process();
        let store = StoreHandle::with_backend(Arc::new(disk.clone()), store_config).unwrap();
        let chain_config = ChainConfig {
            rpc: vec![self.chain.url()],
            chain_id: None,
            contracts: self.contracts,
            confirmations: 0,
            poll_interval: Duration::from_millis(50),
            ..ChainConfig::default()
        };
        let chain = ChainHandle::spawn(&chain_config, clock).unwrap();
        let net_config = NetConfig {
            seed: [seed; 32],
            gossip_heartbeat: Duration::from_millis(100),
            ..NetConfig::default().on_loopback()
        };
        let net = net::start(net_config, &key, clock, &metrics).await.unwrap();
        let has_all = |registry: &Arc<Registry>| registry.peer_addresses().count() == confirmed;
        within(chain.snapshot().wait_for(has_all)).await.unwrap();
        let registry = chain.snapshot().borrow().clone();
        net.set_registry(&registry).await;
        Context {
            config: Arc::new(config),
            peer: key.address(),
            contracts: self.contracts,
            clock,
            metrics,
            store,
            index: IndexHandle::in_memory().unwrap(),
            net,
            chain,
            stop: CancellationToken::new(),
            floor: Floor::new("peer"),
            key,
        }
    }

    /// Ends the chain; peers find it away.
    pub(crate) async fn stop(self) {
        self.chain.stop().await;
    }
}

/// Tells every peer where the others listen.
pub(crate) async fn introduce(peers: &[&Context]) {
    for peer in peers {
        for other in peers {
            if peer.peer != other.peer {
                let addresses = other.net.listen_addresses().borrow().clone();
                let named = addresses.into_iter().map(|address| {
                    address
                        .with_p2p(other.net.local().peer_id)
                        .expect("the address names no other peer")
                });
                peer.net.set_addresses(other.peer, named.collect()).await;
            }
        }
    }
}

/// Ends a peer at once, as when its process is killed.
pub(crate) async fn kill(peer: &Context) {
    peer.stop.cancel();
    peer.floor.end().await;
    peer.net.stop().await;
    peer.chain.stop().await;
    peer.store.stop().await;
}

/// Puts blocks of actions into a peer's index, as if the chain had them.
pub(crate) async fn apply(peer: &Context, number: u64, actions: &[SignedAction]) {
    let hash = |number: u64| Hash32([u8::try_from(number).unwrap(); 32]);
    let time = peer.clock.now().unix();
    let domain = peer.contracts.action_domain();
    let entries = (0..).zip(actions).map(|(log_index, action)| {
        let position = Position {
            chain_id: CHAIN_ID,
            block_number: number,
            block_hash: hash(number),
            block_time: time,
            tx_hash: hash(number),
            log_index,
        };
        let entry = Entry {
            action: action.clone(),
            position,
        };
        BlockEntry::recover(entry, &domain)
    });
    let block = RecoveredBlock {
        number,
        hash: hash(number),
        parent: None,
        time: UnixSeconds(time.0),
        entries: entries.collect(),
    };
    let applied = peer.index.apply(vec![block]).await.unwrap();
    assert_eq!(applied.rejected, 0);
}

/// Signs an action as the user [`ADA`].
pub(crate) fn by_ada(peer: &Context, action: Action) -> SignedAction {
    action.sign(&peer.contracts.action_domain(), &key(90))
}

/// Makes actions of [`ADA`].
pub(crate) fn ada(nonce: u8) -> Builder {
    Builder {
        user: ADA,
        nonce: Hash32([nonce; 32]),
    }
}

/// The action that makes [`ADA`].
pub(crate) fn ada_joins(peer: &Context) -> SignedAction {
    let fields = UserFields {
        handle: Some("ada".to_owned()),
        ..UserFields::default()
    };
    by_ada(peer, ada(1).create_user(&fields))
}

/// Bytes that do not repeat within a block.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The wallet that holds all tokens of a [`TestChain`].
pub(crate) fn treasury() -> Wallet {
    Wallet::new(key(1))
}

/// A wallet's key.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

/// A peer's key.
pub(crate) fn peer_key(seed: u8) -> SigningKey {
    key(seed + 100)
}

/// A peer's address.
pub(crate) fn address(seed: u8) -> Address {
    peer_key(seed).address()
}

/// Gives up after a minute.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens within a minute")
}

/// The answer to a request that is safe to repeat. A connection of two that just
/// met may be closed for its twin, and one to a former life ends: asked again.
pub(crate) async fn ask(by: &Context, of: Address, protocol: Protocol, body: Vec<u8>) -> Bytes {
    within(async {
        loop {
            match by.net.request(of, protocol, body.clone()).await {
                Ok(answer) => return answer,
                Err(error) if error.is_retryable() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

/// Looks again and again until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    within(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// A user.
pub(crate) const ADA: UserId = UserId(3_000_001);

/// The chain id of a [`TestChain`].
pub(crate) const CHAIN_ID: u64 = 1337;
