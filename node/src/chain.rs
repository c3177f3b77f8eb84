//! Access to the chain: following it, reading the registry, sending transactions.
//!
//! [`ChainHandle`] is the door. While the endpoints are away its status says
//! so, nothing ends, and following goes on where it was when they are back.

mod endpoints;
mod kept;
mod sender;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::amount::U256;
use protocol::chain::follower::REORG_BLOCKS_MAX;
use protocol::chain::{ChainEvent, Contracts, Cursor};
use protocol::id::{Address, Hash32};
use protocol::registry::{BlockRef, Registry};
use protocol::time::UnixSeconds;
use rpc::{CallRequest, Client, ClientConfig, Clock, Receipt, RpcError, Wallet};
use tokio::sync::{mpsc, watch as tokio_watch};
use tokio_util::sync::DropGuard;

use crate::metrics::Metrics;
use crate::tasks::Floor;

/// How the chain is reached and followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainConfig {
    /// Endpoints, tried in order; at most [`rpc::ENDPOINTS_MAX`].
    pub rpc: Vec<String>,
    /// Refuses endpoints of another chain; the contracts' chain id when `None`.
    pub chain_id: Option<u64>,
    /// Where the contracts stand.
    pub contracts: Contracts,
    /// Blocks on top of a block that make it final; 0 on the development chain,
    /// at most [`REORG_BLOCKS_MAX`].
    pub confirmations: u64,
    /// How often the newest block is asked for; every request costs the
    /// provider's quota.
    pub poll_interval: Duration,
    /// A file of PEM certificates whose authorities are trusted beside the
    /// usual ones.
    pub rpc_ca: Option<PathBuf>,
    /// The usual time between two blocks; `None` on a chain that mines on
    /// demand, which never counts as stalled.
    pub block_time: Option<Duration>,
}

/// The door to the chain; cheap to clone. Its tasks end with the last clone or
/// at [`ChainHandle::stop`].
#[derive(Debug, Clone)]
pub struct ChainHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: watch::Source,
    registry: tokio_watch::Receiver<Arc<Registry>>,
    snapshot: tokio_watch::Receiver<Arc<Registry>>,
    status: tokio_watch::Receiver<ChainStatus>,
    sender: mpsc::Sender<sender::Command>,
    floor: Floor,
    _stop: DropGuard,
}

/// How the chain is doing, as seen from here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainStatus {
    /// False while no endpoint answers, and while none has a new block.
    pub connected: bool,
    /// The endpoint's newest block.
    pub head: Option<BlockRef>,
    /// The last block that the registry was read at.
    pub followed: Option<BlockRef>,
    /// The last final block among those.
    pub final_block: Option<BlockRef>,
    /// Since when no endpoint has shown a new block.
    pub stalled_since: Option<UnixSeconds>,
    /// Why it is not connected.
    pub error: Option<String>,
}

/// Why a transaction did not get through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The endpoint, or the contract in the simulation before sending.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It was mined and reverted.
    #[error("transaction {tx_hash} was mined and reverted")]
    Reverted {
        /// The transaction that reverted.
        tx_hash: Hash32,
    },
    /// Too many transactions wait to be mined.
    #[error(
        "wallet {wallet} has {count} transactions waiting to be mined, at most {max} are kept; wait for the chain",
        max = sender::PENDING_MAX
    )]
    Full {
        /// The wallet that sends.
        wallet: Address,
        /// Transactions that are under way.
        count: usize,
    },
    /// The chain tasks have ended.
    #[error("the node is stopping")]
    Stopped,
}

impl ChainHandle {
    /// Starts to follow the chain. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`RpcError::Endpoint`] when an endpoint is not a URL. An endpoint that
    /// does not answer is no error; [`Self::status`] tells.
    pub fn spawn(config: &ChainConfig, clock: Clock) -> Result<Self, RpcError> {
        Self::spawn_from(config, clock, None)
    }

    /// As [`ChainHandle::spawn`], with the registry kept in a file: it is known
    /// at once after a restart, be the chain there or not.
    ///
    /// # Errors
    ///
    /// As [`ChainHandle::spawn`]. A file that cannot be read is passed over.
    pub fn spawn_from(
        config: &ChainConfig,
        clock: Clock,
        file: Option<PathBuf>,
    ) -> Result<Self, RpcError> {
        let chain_id = config.chain_id.unwrap_or(config.contracts.chain_id);
        let client = Client::with_config(&ClientConfig {
            urls: config.rpc.clone(),
            chain_id: Some(chain_id),
            authorities: config.rpc_ca.clone(),
            block_time: config.block_time,
            // Peers that lose an endpoint together do not come back together.
            seed: clock.now().as_nanos(),
        })?;
        let floor = Floor::new("chain");
        let stop = floor.stop().clone();
        let (heads_in, heads) = tokio_watch::channel(None);
        let kept = kept::RegistryFile::open(file, &config.contracts);
        let (registry_in, registry) = tokio_watch::channel(Arc::clone(&kept.registry));
        let (snapshot_in, snapshot) = tokio_watch::channel(Arc::clone(&kept.snapshot));
        // What was kept was read at its block.
        let followed =
            Some(registry.borrow().block()).filter(|block| *block != BlockRef::default());
        let (status_in, status) = tokio_watch::channel(ChainStatus {
            followed,
            ..ChainStatus::default()
        });
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let status_in = Arc::new(status_in);
        let source = watch::Source {
            client: client.clone(),
            contracts: config.contracts,
            confirmations: config.confirmations.min(REORG_BLOCKS_MAX),
            clock,
            heads,
            stop: stop.clone(),
        };
        let poller = watch::HeadPoller {
            client: client.clone(),
            interval: config.poll_interval,
            heads: heads_in,
            status: Arc::clone(&status_in),
            floor: floor.clone(),
        };
        let actor = watch::RegistryActor {
            source: source.clone(),
            registry: registry_in,
            snapshot: snapshot_in,
            kept,
            status: status_in,
        };
        floor.spawn(poller.run());
        floor.spawn(actor.run());
        let sending = sender::Actor::new(client, commands, source.heads.clone());
        floor.spawn(sending.run(stop.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                source,
                registry,
                snapshot,
                status,
                sender,
                floor,
                _stop: stop.drop_guard(),
            }),
        })
    }

    /// Shows every endpoint in the metrics.
    pub fn show_in(&self, metrics: &Metrics) {
        let collector = endpoints::EndpointCollector::new(self.client().clone());
        metrics.with_registry(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Ends the tasks and waits for them; subscriptions end, calls still work.
    pub async fn stop(&self) {
        self.inner.floor.end().await;
    }

    /// Where the contracts stand.
    #[must_use]
    pub fn contracts(&self) -> &Contracts {
        &self.inner.source.contracts
    }

    /// The JSON-RPC client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.inner.source.client
    }

    /// The registry at the last block.
    #[must_use]
    pub fn registry(&self) -> tokio_watch::Receiver<Arc<Registry>> {
        self.inner.registry.clone()
    }

    /// The registry at the last final block divisible by the contract's
    /// `snapshotBlocks`: what placement and counting work on.
    #[must_use]
    pub fn snapshot(&self) -> tokio_watch::Receiver<Arc<Registry>> {
        self.inner.snapshot.clone()
    }

    /// How the chain is doing.
    #[must_use]
    pub fn status(&self) -> tokio_watch::Receiver<ChainStatus> {
        self.inner.status.clone()
    }

    /// Follows the chain from a cursor of the subscriber's own. The channel is
    /// bounded: a slow subscriber slows its own subscription and nothing else.
    #[must_use]
    pub fn subscribe_entries(&self, from: Cursor) -> mpsc::Receiver<ChainEvent> {
        let (events, receiver) = mpsc::channel(SUBSCRIPTION_EVENTS_MAX);
        let subscription = watch::Subscription {
            source: self.inner.source.clone(),
            events,
        };
        self.inner.floor.spawn(subscription.run(from));
        receiver
    }

    /// Reads a contract at the newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when the contract refuses.
    pub async fn call(&self, to: Address, data: Vec<u8>) -> Result<Vec<u8>, RpcError> {
        self.client().call(&CallRequest::view(to, data)).await
    }

    /// Runs a transaction without sending it; returns the gas that it would use.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when it would revert.
    pub async fn simulate(&self, request: &CallRequest) -> Result<u64, RpcError> {
        self.client().estimate_gas(request).await
    }

    /// Simulates, signs and broadcasts a transaction and returns its hash. It
    /// is broadcast again until it is mined or the handle goes.
    ///
    /// # Errors
    ///
    /// [`SendError::Rpc`] when it would revert or nobody takes it.
    pub async fn send(
        &self,
        wallet: &Wallet,
        to: Option<Address>,
        data: Vec<u8>,
        value: U256,
    ) -> Result<Hash32, SendError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = sender::Command::Send {
            wallet: wallet.clone(),
            to,
            data,
            value,
            reply,
        };
        let sent = self.inner.sender.send(command).await;
        sent.map_err(|_| SendError::Stopped)?;
        answer.await.map_err(|_| SendError::Stopped)?
    }

    /// Signs and broadcasts a call with a nonce that the caller counts; the same
    /// nonce again replaces what was sent with it, for a fee that `bumps` raise
    /// by a quarter each. Nothing is simulated; `gas` gets a margin of a quarter.
    ///
    /// # Errors
    ///
    /// [`SendError::Rpc`] when nobody takes it.
    pub async fn send_at(
        &self,
        wallet: &Wallet,
        to: Address,
        data: Vec<u8>,
        nonce: u64,
        gas: u64,
        bumps: u32,
    ) -> Result<Hash32, SendError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = sender::Command::SendAt {
            wallet: wallet.clone(),
            to,
            data,
            nonce,
            gas,
            bumps,
            reply,
        };
        let sent = self.inner.sender.send(command).await;
        sent.map_err(|_| SendError::Stopped)?;
        answer.await.map_err(|_| SendError::Stopped)?
    }

    /// Waits until a transaction is mined with `confirmations` blocks on top.
    /// There is no deadline; wrap it in one.
    ///
    /// # Errors
    ///
    /// [`SendError::Reverted`] when it was mined and reverted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the transaction.
    pub async fn receipt(&self, tx_hash: Hash32, confirmations: u64) -> Result<Receipt, SendError> {
        let mut heads = self.inner.source.heads.clone();
        loop {
            let head = heads.borrow_and_update().map(|head| head.number);
            match self.client().receipt(tx_hash).await {
                // What reverted may go through in another order, and the other
                // way round, until it has its confirmations.
                Ok(Some(receipt))
                    if confirmations == 0
                        || head.is_some_and(|head| {
                            head >= receipt.block.number.saturating_add(confirmations)
                        }) =>
                {
                    return match receipt.succeeded {
                        true => Ok(receipt),
                        false => Err(SendError::Reverted { tx_hash }),
                    };
                }
                Ok(_) => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error.into()),
            }
            // A receipt may be late behind its block on some endpoints.
            let news = tokio::time::timeout(RECEIPT_INTERVAL, heads.changed());
            if let Ok(Err(_)) = news.await {
                return Err(SendError::Stopped);
            }
        }
    }
}

/// Name of the file in the data folder that the registry is kept in.
pub const REGISTRY_FILE: &str = kept::FILE_NAME;

/// Commands that wait for the sender. Chosen: as many as a wallet may have under way.
const COMMANDS_MAX: usize = 256;

/// Events that wait for a slow subscriber. Chosen: as many as the index takes in one
/// step; the follower waits for whoever is slower.
const SUBSCRIPTION_EVENTS_MAX: usize = 256;

/// How long a missing receipt is waited for before it is asked for again. Chosen: a
/// short block.
const RECEIPT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
