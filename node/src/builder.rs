//! One peer, started in order and stopped in the reverse order.
//!
//! Order: folder and keys, store, index, chain, swarm, directory, index feed,
//! exchange, publishing, roles, housekeeping, HTTP. Each part from the directory on
//! is a floor of its own; a floor has ended before the one below is told to.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::home::{self, HomeError};
use protocol::entry::sha256;
use protocol::id::Role;
use protocol::signing::SigningKey;
use rpc::{Clock, RpcError};
use storage::blocks::BlockStoreConfig;
use tokio_util::sync::CancellationToken;

use crate::chain::{ChainConfig, ChainHandle, REGISTRY_FILE};
use crate::config::Config;
use crate::context::Context;
use crate::index::{IndexHandle, IndexTaskError};
use crate::light::LightError;
use crate::metrics::Metrics;
use crate::net::{self, NetConfig, NetError};
use crate::store::{StoreError, StoreHandle};
use crate::tasks::{Floor, Floors};
use crate::{
    author, content, directory, discovery, exchange, housekeeping, http, identity, light, vault,
};

/// A running peer.
#[derive(Debug)]
pub struct Node {
    context: Context,
    http: SocketAddr,
    token: String,
    floors: Floors,
    stopped: tokio::task::JoinHandle<()>,
}

/// Why a peer did not start; each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("cannot create the data folder `{path}`: {source}")]
    Folder {
        /// The folder that was to be used.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key or token file cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexTaskError),
    /// The swarm did not come up.
    #[error(transparent)]
    Swarm(#[from] net::StartError),
    /// A topic or protocol was taken twice.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The chain settings cannot work, or the chain is another one.
    #[error(transparent)]
    Chain(#[from] RpcError),
    /// Relaying did not start.
    #[error(transparent)]
    Author(#[from] author::SpawnError),
    /// The content role did not start.
    #[error(transparent)]
    Content(#[from] content::ContentError),
    /// The relayer did not start.
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    /// The light index did not start.
    #[error(transparent)]
    Light(#[from] LightError),
    /// The HTTP server did not start.
    #[error(
        "cannot listen on {address} for HTTP: {source}; stop the process that uses it or set another `http.listen` (port 0 takes a free one)"
    )]
    Http {
        /// The address to listen on.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Node {
    /// Starts a peer from its settings.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing runs on then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        fs::create_dir_all(&config.data).map_err(|source| StartError::Folder {
            path: config.data.clone(),
            source,
        })?;
        let key = home::peer_key(&config.data)?;
        Self::start_with_key(config, key).await
    }

    /// As [`Node::start`], with a key that is kept elsewhere.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing runs on then.
    pub async fn start_with_key(config: Config, key: SigningKey) -> Result<Self, StartError> {
        let http = config.http.listen;
        let listener = tokio::net::TcpListener::bind(http)
            .await
            .map_err(|source| StartError::Http {
                address: http,
                source,
            })?;
        let token = home::token(&config.data)?;
        let context = open(config, key).await?;
        let floors = Floors::default();
        let node = Self {
            http: listener.local_addr().unwrap_or(http),
            stopped: tokio::spawn(stop_in_order(context.clone(), floors.clone())),
            context,
            token,
            floors,
        };
        match node.spawn(listener).await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.stop().await;
                Err(error)
            }
        }
    }

    /// The handles of the peer's parts.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The URL of the HTTP server, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// What the owner's routes ask for.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until a light peer's index has what a majority has; gives up after
    /// `patience`. True when it has.
    pub async fn caught_up(&self, patience: Duration) -> bool {
        if !self.context.config.is_light() {
            return true;
        }
        let caught_up = self.context.index.caught_up();
        tokio::time::timeout(patience, caught_up).await.is_ok()
    }

    /// Resolves when somebody asked the peer to stop.
    pub async fn stopping(&self) {
        self.context.stop.cancelled().await;
    }

    /// Stops in the reverse order of the start; what was acknowledged is on disk.
    pub async fn stop(self) {
        self.context.stop.cancel();
        if self.stopped.await.is_err() {
            tracing::error!("the peer did not stop in order");
        }
        // No task is left. What reads on a thread of its own, for a task that was
        // dropped or a request that was cut off, gives its handle up when it has read.
        let index = self.context.index.file_use();
        let store = self.context.store.folder_use();
        drop(self.context);
        let closed = async {
            while !index.is_over() || !store.is_over() {
                tokio::time::sleep(CLOSE_INTERVAL).await;
            }
        };
        if tokio::time::timeout(CLOSE_PATIENCE, closed).await.is_err() {
            tracing::warn!("index or store are still open; a start in the same process would fail");
        }
    }

    async fn spawn(&self, listener: tokio::net::TcpListener) -> Result<(), StartError> {
        let on = |name| self.context.on(self.floors.add(name));
        let roles: Vec<Role> = self.context.config.roles.iter().copied().collect();
        directory::spawn(&on("directory")).await;
        if self.context.config.is_light() {
            light::spawn(&on("light")).await?;
        } else {
            discovery::spawn(&on("discovery"), &roles).await?;
        }
        let exchange = exchange::spawn(&on("exchange")).await?;
        // The exchange serves what is published: it stands before publications go on.
        let author = author::spawn(&on("author")).await?;
        let content = match roles.contains(&Role::Content) {
            true => Some(content::spawn(&on("content"), &exchange).await?),
            false => None,
        };
        if roles.contains(&Role::Identity) {
            identity::spawn(&on("identity"), &author).await?;
        }
        let vault = vault::spawn(&on("vault")).await?;
        housekeeping::spawn(&on("housekeeping"));
        let parts = http::Parts {
            routers: vec![http::relay::routes(author.clone()), vault::routes(vault)],
            owner_routers: vec![http::relay::control_routes(author.clone())],
            content,
            author: Some(author),
            network: Some(Arc::new(exchange)),
        };
        http::serve(listener, &on("http"), parts, self.token.clone());
        Ok(())
    }
}

/// Waits until the peer is to stop, then ends its parts in the reverse order of
/// the start.
async fn stop_in_order(context: Context, floors: Floors) {
    context.stop.cancelled().await;
    floors.end().await;
    context.net.stop().await;
    context.chain.stop().await;
    context.store.stop().await;
}

/// Opens everything that drivers are made from.
async fn open(config: Config, key: SigningKey) -> Result<Context, StartError> {
    let clock = Clock::system();
    let metrics = Metrics::new();
    let store = StoreHandle::open(&config.data, store_config(&config))?;
    let index = IndexHandle::open(&config.data)?;
    let chain_config = ChainConfig {
        rpc: config.chain.rpc.clone(),
        chain_id: Some(config.chain.chain_id).filter(|id| *id != 0),
        contracts: config.chain.contracts,
        confirmations: config.chain.confirmations,
        poll_interval: config.chain.poll_interval,
        rpc_ca: config.chain.rpc_ca.as_ref().map(Into::into),
        // Without confirmations it is a development chain, which mines on demand.
        block_time: Some(config.chain.block_time)
            .filter(|time| !time.is_zero() && config.chain.confirmations > 0),
    };
    let registry_file = config.data.join(REGISTRY_FILE);
    let chain = ChainHandle::spawn_from(&chain_config, clock, Some(registry_file))?;
    chain.show_in(&metrics);
    refuse_another_chain(&chain).await?;
    let net = net::start(net_config(&config, &key), &key, clock, &metrics).await?;
    Ok(Context {
        peer: key.address(),
        contracts: config.chain.contracts,
        config: Arc::new(config),
        key,
        clock,
        metrics,
        store,
        index,
        net,
        chain,
        stop: CancellationToken::new(),
        floor: Floor::new("peer"),
    })
}

/// A wrong chain is an error of the settings; an absent one is weather.
async fn refuse_another_chain(chain: &ChainHandle) -> Result<(), StartError> {
    let asked = tokio::time::timeout(CHAIN_PATIENCE, chain.client().latest()).await;
    match asked {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is_retryable() => {
            tracing::warn!(%error, "the chain is away; reading, streaming and repair go on without it");
            Ok(())
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            tracing::warn!(
                "the chain does not answer; reading, streaming and repair go on without it"
            );
            Ok(())
        }
    }
}

fn store_config(config: &Config) -> BlockStoreConfig {
    let mut store = BlockStoreConfig::with_size(config.storage.capacity.as_u64());
    store.disk_reserve_bytes = config.storage.reserve.as_u64();
    store
}

fn net_config(config: &Config, key: &SigningKey) -> NetConfig {
    let base = match config.is_light() {
        true => NetConfig::light(),
        false => NetConfig::default(),
    };
    NetConfig {
        listen: config.net.listen.clone(),
        external: config.net.external.clone(),
        bootstrap: config.net.bootstrap.clone(),
        seed: sha256(&[b"coliving/neighbours/1".as_slice(), &key.to_bytes()].concat()).0,
        circuit_server: config.net.circuit_server,
        circuit_peers: config.net.circuit_peers.clone(),
        upnp: config.net.upnp,
        mdns: config.net.mdns,
        ..base
    }
}

/// Between two looks whether the last task has ended: nobody notices so short a wait.
const CLOSE_INTERVAL: Duration = Duration::from_millis(10);

/// How long the stop waits for the last reader. Chosen: longer than a task takes
/// that is in the middle of a write.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How long the start waits for the chain to say which one it is. Chosen: some answers
/// of a slow endpoint; a known chain is not waited for at all.
const CHAIN_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
