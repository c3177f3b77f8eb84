//! A few peers on loopback with the embedded chain, for the tests of relaying
//! and of the vault.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::deploy::ServiceConfig;
use protocol::amount::Dgc;
use protocol::author::{RelayState, RelayStatus};
use protocol::chain::Contracts;
use protocol::entity::build::{Builder, UserFields};
use protocol::id::{Hash32, Role, UserId, Zone};
use protocol::origin::Origin;
use protocol::relayer::{Request, Response, Status};
use protocol::signing::SigningKey;
use rpc::{Client, Clock};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::author::{self, AuthorHandle};
use crate::chain::{ChainConfig, ChainHandle};
use crate::config::Config;
use crate::context::Context;
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::{self, NetConfig};
use crate::store::StoreHandle;
use crate::tasks::Floor;
use crate::testing::TestChain;
pub(crate) use crate::testing::key;
use crate::vault::VaultHandle;
use crate::{directory, discovery, light, vault};
use devchain::DevChain;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct TestNet {
    pub(crate) chain: DevChain,
    pub(crate) contracts: Contracts,
    pub(crate) door: Door,
    pub(crate) peers: Vec<TestPeer>,
    confirmations: u64,
}

pub(crate) struct TestPeer {
    pub(crate) context: Context,
    pub(crate) relay: AuthorHandle,
    pub(crate) vault: VaultHandle,
}

/// A way to the chain that can be shut.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    chain: SocketAddr,
    open: Option<CancellationToken>,
}

/// The key of the staked peer with this number, from 0.
fn peer_key(number: usize) -> SigningKey {
    key(100 + u8::try_from(number).unwrap())
}

impl TestNet {
    /// Staked peers with every role and, last, a light peer, all connected.
    pub(crate) async fn new(staked: usize) -> Self {
        Self::with(staked, 0, 0).await
    }

    /// As [`Self::new`], with so many blocks on top of a final one.
    pub(crate) async fn with_confirmations(staked: usize, confirmations: u64) -> Self {
        Self::with(staked, 0, confirmations).await
    }

    /// As [`Self::new`]; the first of the staked peers serve nothing of their roles.
    pub(crate) async fn with_idle(staked: usize, idle: usize) -> Self {
        Self::with(staked, idle, 0).await
    }

    async fn with(staked: usize, idle: usize, confirmations: u64) -> Self {
        let net = TestChain::new().await;
        for number in 0..staked {
            let service = ServiceConfig {
                endpoint: format!("http://127.0.0.1:1/{number}"),
                roles: Role::ALL.to_vec(),
                zone: Zone::new("eu-1"),
                stake: Dgc::whole(600_000),
            };
            let operator = 2 + u8::try_from(number).unwrap();
            net.enrol(operator, &peer_key(number), &service).await;
        }
        let TestChain {
            chain, contracts, ..
        } = net;
        let chain_address = chain.url().trim_start_matches("http://").parse().unwrap();
        let mut net = Self {
            door: Door::new(chain_address).await,
            chain,
            contracts,
            peers: Vec::new(),
            confirmations,
        };
        for number in 0..=staked {
            let context = net
                .context(number, (idle..staked).contains(&number), None)
                .await;
            net.peers.push(TestPeer::start(context).await);
        }
        for peer in &net.peers {
            // Nothing can be ranked before the registry is read.
            let mut registry = peer.context.chain.registry();
            let seen =
                registry.wait_for(|registry| registry.confirmed(Role::Identity).count() == staked);
            let seen = tokio::time::timeout(PATIENCE, seen).await;
            seen.expect("not in time").expect("the task lives");
        }
        net.connect().await;
        net
    }

    pub(crate) fn light(&self) -> &TestPeer {
        self.peers.last().unwrap()
    }

    /// Makes a context, with the store and index of an earlier run if given.
    pub(crate) async fn context(
        &self,
        number: usize,
        is_staked: bool,
        before: Option<&Context>,
    ) -> Context {
        let key = peer_key(number);
        let clock = Clock::system();
        let metrics = Metrics::new();
        let net_config = NetConfig {
            seed: [u8::try_from(number).unwrap(); 32],
            gossip_heartbeat: Duration::from_millis(100),
            ..NetConfig::default().on_loopback()
        };
        let mut config = Config::default();
        config.chain.confirmations = self.confirmations;
        if is_staked {
            config.roles = BTreeSet::from(Role::ALL);
        }
        let chain_config = ChainConfig {
            rpc: vec![format!("http://{}", self.door.address)],
            chain_id: None,
            contracts: self.contracts,
            confirmations: self.confirmations,
            poll_interval: Duration::from_millis(20),
            ..ChainConfig::default()
        };
        Context {
            peer: key.address(),
            contracts: self.contracts,
            config: Arc::new(config),
            net: net::start(net_config, &key, clock, &metrics).await.unwrap(),
            key,
            clock,
            metrics,
            store: match before {
                Some(before) => before.store.clone(),
                None => StoreHandle::in_memory().unwrap(),
            },
            index: match before {
                Some(before) => before.index.clone(),
                None => IndexHandle::in_memory().unwrap(),
            },
            chain: ChainHandle::spawn(&chain_config, clock).unwrap(),
            stop: CancellationToken::new(),
            floor: Floor::new("peer"),
        }
    }

    /// Tells every peer where the others listen, and waits until they meet.
    pub(crate) async fn connect(&self) {
        for peer in &self.peers {
            for other in &self.peers {
                if other.context.peer == peer.context.peer {
                    continue;
                }
                let local = other.context.net.local().clone();
                let listening = other.context.net.listen_addresses().borrow().clone();
                let addresses = listening
                    .into_iter()
                    .map(|address| address.with_p2p(local.peer_id).unwrap())
                    .collect();
                peer.context
                    .net
                    .set_addresses(local.address, addresses)
                    .await;
                peer.context.net.connect(local.address).await.unwrap();
            }
        }
    }

    /// A new user's signed creation.
    pub(crate) fn user(&self, number: u64, seed: u8) -> protocol::action::SignedAction {
        let fields = UserFields {
            handle: Some(format!("user{number}")),
            name: Some("User".into()),
            ..UserFields::default()
        };
        let action = builder(number, seed).create_user(&fields);
        action.sign(&self.contracts.action_domain(), &key(seed))
    }

    /// Transactions of the staked peers' wallets that were mined.
    pub(crate) async fn transactions(&self) -> u64 {
        let client = Client::new(&[self.chain.url()], None).unwrap();
        let mut count = 0;
        for peer in &self.peers {
            count += client.transaction_count(peer.context.peer).await.unwrap();
        }
        count
    }
}

pub(crate) fn builder(number: u64, nonce: u8) -> Builder {
    Builder {
        user: UserId(3_000_000 + number),
        nonce: Hash32([nonce; 32]),
    }
}

impl TestPeer {
    pub(crate) async fn start(context: Context) -> Self {
        directory::spawn(&context).await;
        let roles: Vec<Role> = context.config.roles.iter().copied().collect();
        let relay = author::spawn(&context).await.unwrap();
        if roles.is_empty() {
            light::spawn(&context).await.unwrap();
        } else {
            discovery::spawn(&context, &roles).await.unwrap();
            super::spawn(&context, &relay).await.unwrap();
        }
        let vault = vault::spawn(&context).await.unwrap();
        Self {
            context,
            relay,
            vault,
        }
    }

    pub(crate) async fn stop(&self) {
        self.context.floor.end().await;
        self.context.net.stop().await;
        self.context.chain.stop().await;
    }

    /// Waits until an action is in a state.
    pub(crate) async fn until(&self, digest: Hash32, state: RelayState) -> RelayStatus {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let status = self.relay.status(digest).await;
                if let Ok(status) = status
                    && status.state == state
                {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        match waited.await {
            Ok(status) => status,
            Err(_) => panic!("never {state:?}: {:?}", self.relay.status(digest).await),
        }
    }

    /// Waits until the relayer of this peer has seen an action on chain.
    pub(crate) async fn until_mined(&self, digest: Hash32) {
        let local = self.relay.local().unwrap();
        let origin = Origin {
            peer: self.context.peer,
            ip: None,
        };
        let seen = async {
            loop {
                let status = local.ask(Request::Status { digest }, origin).await;
                if let Ok(Response::Accepted {
                    status: Status::Mined(_),
                    ..
                }) = status
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap();
    }

    /// Waits until the index of this peer has a user.
    pub(crate) async fn until_indexed(&self, user: UserId) {
        let mut height = self.context.index.height();
        let seen = async {
            loop {
                height.borrow_and_update();
                let snapshot = self.context.index.snapshot().unwrap();
                if snapshot.user(user).unwrap().is_some() {
                    return;
                }
                height.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap();
    }
}

impl Door {
    async fn new(chain: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut door = Self {
            address: listener.local_addr().unwrap(),
            chain,
            open: None,
        };
        door.serve(listener);
        door
    }

    /// Cuts every connection and refuses new ones.
    pub(crate) fn shut(&mut self) {
        if let Some(open) = self.open.take() {
            open.cancel();
        }
    }

    pub(crate) async fn reopen(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let open = CancellationToken::new();
        self.open = Some(open.clone());
        let chain = self.chain;
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = open.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((mut inward, _)) = accepted else {
                    continue;
                };
                let open = open.clone();
                tokio::spawn(async move {
                    let Ok(mut outward) = TcpStream::connect(chain).await else {
                        return;
                    };
                    tokio::select! {
                        () = open.cancelled() => {}
                        _ = tokio::io::copy_bidirectional(&mut inward, &mut outward) => {}
                    }
                });
            }
        });
    }
}
