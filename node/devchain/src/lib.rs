//! The embedded development chain: an EVM with blocks, receipts, logs and base
//! fees behind Ethereum's JSON-RPC.
//!
//! The chain is a pure machine ([`executor::Chain`]) owned by one thread, which
//! takes commands from a bounded inbox, writes each down before it answers and
//! then publishes an immutable [`view::View`] that all queries read. With a data
//! folder, the journal there is replayed on start and must give the same block
//! hashes. Beyond what wallets and libraries ask for, it can be told to rewind,
//! to stall and to mine many blocks at once.
//!
//! Not a replica of the main network: state, transaction and receipt roots are
//! plain hashes, system calls (EIP-2935, EIP-4788) are not made, blocks may share
//! a second, and tips go to the zero address.

pub mod block;
mod clock;
pub mod error;
pub mod executor;
pub mod filters;
pub mod journal;
pub mod json;
pub mod limits;
mod rpc;
pub mod state;
pub mod transaction;
pub mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use jsonrpsee::server::{BatchRequestConfig, Server, ServerConfig, ServerHandle};
use protocol::amount::U256;
use protocol::id::Address;
use protocol::time::Moment;
use revm::primitives::{Address as EvmAddress, U256 as EvmU256};
use tokio::sync::{mpsc, oneshot, watch};
use tower_http::cors::CorsLayer;

use error::ChainError;
use executor::{Chain, ChainConfig, Command, Outcome, ReplayError};
use journal::{Journal, JournalError};
use limits::STATES_MAX;
use view::View;

pub use clock::Clock;
pub use executor::Mining;

/// How to start a development chain.
#[derive(Debug, Clone)]
pub struct DevChainConfig {
    /// Chain id; a data folder keeps the one it was made with and refuses others.
    pub chain_id: u64,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the chain is kept; in memory only when none.
    pub data: Option<PathBuf>,
    /// When blocks are mined.
    pub mining: Mining,
    /// First balances in wei; only a new chain takes them.
    pub funded: Vec<(Address, U256)>,
    /// The clock that blocks are stamped with.
    pub clock: Clock,
}

/// A running development chain; dropping it stops it too.
#[derive(Debug)]
pub struct DevChain {
    address: SocketAddr,
    control: DevControl,
    server: ServerHandle,
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// Commands to a running chain; cheap to clone.
#[derive(Debug, Clone)]
pub struct DevControl {
    requests: mpsc::Sender<Request>,
    views: watch::Receiver<Arc<View>>,
    clock: Clock,
}

/// Why a development chain does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevChainError {
    /// The address cannot be listened on.
    #[error(
        "the development chain cannot listen on {listen}: {error}; port {} may be taken by another process, choose another or 0 for a free one",
        listen.port()
    )]
    Listen {
        /// The address to listen on.
        listen: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal does not give its chain.
    #[error(
        "the chain in {path} cannot be rebuilt: {error}; move the file away to start a new chain"
    )]
    Replay {
        /// Path of the journal.
        path: PathBuf,
        /// What cannot be replayed.
        error: ReplayError,
    },
    /// The folder holds another chain.
    #[error(
        "{path} holds the chain with id {found}, not {chain_id}; use that chain id or another folder"
    )]
    ChainId {
        /// Path of the journal.
        path: PathBuf,
        /// Whose chain it is.
        found: u64,
        /// What was configured.
        chain_id: u64,
    },
    /// The first block cannot be written, or a thread cannot be started.
    #[error("cannot {action}: {error}")]
    Io {
        /// What was attempted.
        action: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A method name is taken twice.
    #[error(transparent)]
    Methods(#[from] jsonrpsee::server::RegisterMethodError),
}

#[derive(Debug)]
struct Request {
    command: Command,
    reply: oneshot::Sender<Result<Outcome, ChainError>>,
}

struct Actor {
    chain: Chain,
    journal: Option<Journal>,
    clock: Clock,
    views: watch::Sender<Arc<View>>,
}

impl DevChain {
    /// Opens or starts the chain and serves it.
    ///
    /// # Errors
    ///
    /// [`DevChainError`] with the address, folder or file and the remedy.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing running.
    pub async fn spawn(config: DevChainConfig) -> Result<Self, DevChainError> {
        let listen = config.listen;
        let failed = |error| DevChainError::Listen { listen, error };
        // Bound first: what takes long comes after what can be wrong.
        let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let clock = config.clock.clone();
        let (chain, journal) = tokio::task::spawn_blocking(move || open(&config))
            .await
            .map_err(|error| io_error("open the chain", std::io::Error::other(error)))??;

        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (views, latest) = watch::channel(Arc::new(chain.view().clone()));
        let control = DevControl {
            requests,
            views: latest,
            clock: clock.clone(),
        };
        let module = rpc::module(rpc::Context {
            control: control.clone(),
        })?;
        let server = Server::builder()
            .set_config(server_config())
            .set_http_middleware(tower::ServiceBuilder::new().layer(CorsLayer::permissive()))
            .build_from_tcp(listener)
            .map_err(failed)?
            .start(module);
        let actor = Actor {
            chain,
            journal,
            clock,
            views,
        };
        let (stop, stopping) = oneshot::channel();
        let (done, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        // A thread of its own: executing and synchronising block.
        thread::Builder::new()
            .name("devchain".to_owned())
            .spawn(move || {
                runtime.block_on(actor.run(inbox, stopping));
                let _ = done.send(());
            })
            .map_err(|error| io_error("start the chain's thread", error))?;
        Ok(Self {
            address,
            control,
            server,
            stop,
            stopped,
        })
    }

    /// Where JSON-RPC is spoken over HTTP, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where JSON-RPC is spoken over WebSocket, without a trailing slash.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The chain id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.control.view().chain_id
    }

    /// A handle for commands.
    #[must_use]
    pub fn control(&self) -> DevControl {
        self.control.clone()
    }

    /// Stops serving, then the chain; returns when its files are closed.
    pub async fn stop(self) {
        // An error means that it was stopped before.
        let _ = self.server.stop();
        self.server.stopped().await;
        let _ = self.stop.send(());
        let _ = self.stopped.await;
    }
}

impl DevControl {
    /// Mines blocks and gives the height.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub async fn mine(&self, count: u64) -> Result<u64, ChainError> {
        self.number(Command::mine(count)).await
    }

    /// Replaces the last `depth` blocks by a longer branch, with their
    /// transactions or without, and gives the height.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub async fn reorg(&self, depth: u64, keep: bool) -> Result<u64, ChainError> {
        self.number(Command::Reorg { depth, keep }).await
    }

    /// Stops or resumes mining.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub async fn stall(&self, stalled: bool) -> Result<(), ChainError> {
        self.command(Command::Stall(stalled)).await.map(drop)
    }

    /// Lets the chain's clock run further ahead.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub async fn increase_time(&self, seconds: u64) -> Result<(), ChainError> {
        self.command(Command::IncreaseTime { seconds })
            .await
            .map(drop)
    }

    /// Sets a balance in wei.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    pub async fn set_balance(&self, address: Address, balance: U256) -> Result<(), ChainError> {
        let command = Command::SetBalance {
            address: EvmAddress::from(address.0),
            balance: EvmU256::from_limbs(balance.0),
        };
        self.command(command).await.map(drop)
    }

    /// The chain as it was last published.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Carries out a command; its effects are safe and visible when it returns.
    ///
    /// # Errors
    ///
    /// [`ChainError`].
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the command may have been carried out or not.
    pub async fn command(&self, command: Command) -> Result<Outcome, ChainError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request { command, reply })
            .await
            .map_err(|_| ChainError::Stopped)?;
        answer.await.unwrap_or(Err(ChainError::Stopped))
    }

    async fn number(&self, command: Command) -> Result<u64, ChainError> {
        match self.command(command).await? {
            Outcome::Number(number) => Ok(number),
            _ => Ok(self.view().height()),
        }
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>, mut stop: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return,
                request = inbox.recv() => match request {
                    Some(request) => self.handle_request(request),
                    None => return,
                },
                () = self.clock.sleep_until(self.chain.poll_timeout()) => self.handle_timeout(),
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        let before = self.chain.clone();
        let now = self.clock.now();
        let outcome = match self.chain.handle_command(request.command, now) {
            Ok(outcome) => self.settle(before).map(|()| outcome),
            Err(error) => {
                self.chain = before;
                Err(error)
            }
        };
        // The asker may have left.
        let _ = request.reply.send(outcome);
    }

    fn handle_timeout(&mut self) {
        let before = self.chain.clone();
        let mined = self.chain.handle_timeout(self.clock.now());
        if let Err(error) = self.settle(before).and(mined) {
            tracing::error!(%error, "no block was mined");
            // Mining again at once would fail again at once.
            let _ = self
                .chain
                .handle_command(Command::Stall(true), self.clock.now());
        }
    }

    /// Writes down what happened and shows it, or takes it back.
    fn settle(&mut self, before: Chain) -> Result<(), ChainError> {
        let ops = self.chain.take_ops();
        if let Some(journal) = &mut self.journal
            && !ops.is_empty()
            && let Err(error) = journal.append(&ops)
        {
            let path = journal.path().display().to_string();
            self.chain = before;
            return Err(ChainError::Journal { path, error });
        }
        self.views.send_replace(Arc::new(self.chain.view().clone()));
        Ok(())
    }
}

fn open(config: &DevChainConfig) -> Result<(Chain, Option<Journal>), DevChainError> {
    let chain_config = ChainConfig {
        chain_id: config.chain_id,
        mining: config.mining,
        funded: config
            .funded
            .iter()
            .map(|(address, balance)| {
                let address = EvmAddress::from(address.0);
                (address, EvmU256::from_limbs(balance.0))
            })
            .collect(),
        states_max: STATES_MAX,
    };
    let now = config.clock.now();
    let Some(folder) = &config.data else {
        let mut chain = Chain::new(&chain_config, now);
        chain.take_ops();
        return Ok((chain, None));
    };
    let (mut journal, ops, torn_bytes) = Journal::open(folder)?;
    let path = journal.path().to_owned();
    if torn_bytes > 0 {
        tracing::warn!(path = %path.display(), torn_bytes, "removed a half-written record");
    }
    if ops.is_empty() {
        let mut chain = Chain::new(&chain_config, now);
        journal
            .append(&chain.take_ops())
            .map_err(|error| io_error(&format!("write {}", path.display()), error))?;
        return Ok((chain, Some(journal)));
    }
    let chain = Chain::replay(&chain_config, ops, now).map_err(|error| DevChainError::Replay {
        path: path.clone(),
        error,
    })?;
    let (found, chain_id) = (chain.view().chain_id, config.chain_id);
    if found != chain_id {
        return Err(DevChainError::ChainId {
            path,
            found,
            chain_id,
        });
    }
    Ok((chain, Some(journal)))
}

fn server_config() -> ServerConfig {
    ServerConfig::builder()
        .set_id_provider(rpc::HexIds)
        .set_batch_request_config(BatchRequestConfig::Limit(BATCH_REQUESTS_MAX))
        .max_connections(CONNECTIONS_MAX)
        .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
        .max_request_body_size(REQUEST_BYTES_MAX)
        .max_response_body_size(RESPONSE_BYTES_MAX)
        .build()
}

fn io_error(action: &str, error: std::io::Error) -> DevChainError {
    DevChainError::Io {
        action: action.to_owned(),
        error,
    }
}

/// Commands that wait for the chain. Chosen: who sends more waits for a place.
const REQUESTS_MAX: usize = 256;

/// Requests of one batch, as geth has it.
const BATCH_REQUESTS_MAX: u32 = 1_000;

/// Connections at once. Chosen: more than a machine's tests open, fewer than the
/// files that a process may have.
const CONNECTIONS_MAX: u32 = 1_024;

/// Subscriptions of one connection. Chosen: programs need one for each kind of log.
const SUBSCRIPTIONS_MAX: u32 = 256;

/// Bytes of one request. Derived: a deployment's transactions in one batch are less.
const REQUEST_BYTES_MAX: u32 = 10 << 20;

/// Bytes of one answer. Derived: a full one to `eth_getLogs` has 20,000 logs, some
/// with the 17 KiB of an action in hexadecimal.
const RESPONSE_BYTES_MAX: u32 = 256 << 20;

#[cfg(test)]
mod tests;
