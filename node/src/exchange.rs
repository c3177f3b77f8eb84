//! The exchange of blocks: serving what is here and fetching what is not.
//!
//! Every peer serves `/coliving/blocks/1`, light peers too: others pull from an
//! author what it publishes. A root comes over the network once at a time: who
//! asks for it meanwhile joins, or goes over it afterwards when more is asked
//! of it than the first fetch does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use prometheus_client::metrics::counter::Counter;
use protocol::exchange::{FailReason, FetchConfig, Progress};
use protocol::id::{Address, Hash32};
use storage::blocks::Owner;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::context::Context;
use crate::net::{NetError, Protocol};
use crate::store::StoreError;

mod fetcher;
pub(crate) mod holders;
mod reading;
mod server;

pub use reading::{FileReader, ReadError};

/// Fetches blocks; cheap to clone.
#[derive(Debug, Clone)]
pub struct ExchangeHandle {
    commands: mpsc::Sender<Command>,
    damaged: broadcast::Sender<Cid>,
    context: Context,
}

/// How a root is fetched.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// Peers that are known to hold it, asked first.
    pub holders: Vec<Address>,
    /// Asked when nobody else answers, as the author of an upload.
    pub last_resort: Vec<Address>,
    /// The reason to keep it for; without one the blocks are loose.
    pub owner: Option<Owner>,
    /// Work the proof root out when everything is here.
    pub with_proof: bool,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Distinct blocks.
    pub blocks: u64,
    /// The sum of their lengths.
    pub bytes: u64,
    /// The BLAKE3 proof root, when it was asked for.
    pub proof_root: Option<Hash32>,
}

/// Why a fetch ended without everything. What arrived is kept; another fetch
/// goes on from there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Nobody has it, or it is malformed.
    #[error(transparent)]
    Failed(#[from] FailReason),
    /// It cannot be stored.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// A fetch under way; dropping it leaves the fetch to others who joined, or ends it.
#[derive(Debug)]
pub struct Fetching {
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Option<Result<Fetched, FetchError>>>,
}

/// Numbers for `/metrics`.
#[derive(Debug, Clone)]
struct Counters {
    fetched_bytes: Counter,
    served_bytes: Counter,
    offences: Counter,
}

#[derive(Debug)]
enum Command {
    Fetch {
        target: Target,
        options: FetchOptions,
        reply: oneshot::Sender<Fetching>,
    },
}

/// What is fetched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Dag(Cid),
    Blocks { root: Cid, cids: Vec<Cid> },
}

/// Starts to serve and to fetch.
///
/// # Errors
///
/// [`NetError`] when another driver serves the protocol.
pub async fn spawn(context: &Context) -> Result<ExchangeHandle, NetError> {
    let counters = Counters {
        fetched_bytes: context.metrics.counter(
            "blocks_fetched_bytes",
            "Bytes of blocks that came from other peers",
        ),
        served_bytes: context.metrics.counter(
            "blocks_served_bytes",
            "Bytes of blocks that were sent to other peers",
        ),
        offences: context.metrics.counter(
            "blocks_offences",
            "Answers that were not what was asked for",
        ),
    };
    let requests = context.net.serve(Protocol::Blocks).await?;
    let (damaged, _) = broadcast::channel(DAMAGED_MAX);
    server::spawn(context, requests, counters.clone(), damaged.clone());
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let manager = Manager {
        context: context.clone(),
        counters,
        under_way: BTreeMap::new(),
    };
    tokio::spawn(manager.run(inbox));
    Ok(ExchangeHandle {
        commands,
        damaged,
        context: context.clone(),
    })
}

impl ExchangeHandle {
    /// Fetches everything below `root`, or joins who does.
    ///
    /// # Errors
    ///
    /// [`FetchError::Stopped`] when the peer stops.
    pub async fn fetch(&self, root: Cid, options: FetchOptions) -> Result<Fetching, FetchError> {
        self.start(Target::Dag(root), options).await
    }

    /// Fetches some blocks below `root`.
    ///
    /// # Errors
    ///
    /// [`FetchError::Stopped`] when the peer stops.
    pub async fn fetch_blocks(
        &self,
        root: Cid,
        cids: Vec<Cid>,
        options: FetchOptions,
    ) -> Result<Fetching, FetchError> {
        self.start(Target::Blocks { root, cids }, options).await
    }

    /// Opens a range of the file below `root` for reading; what is missing is
    /// fetched while it is read when `may_fetch` is set.
    #[must_use]
    pub fn open(&self, root: Cid, range: std::ops::Range<u64>, may_fetch: bool) -> FileReader {
        FileReader::new(self.clone(), root, range, may_fetch)
    }

    /// Blocks that are found damaged on disk from here on, when they are served
    /// or read.
    #[must_use]
    pub fn damaged(&self) -> broadcast::Receiver<Cid> {
        self.damaged.subscribe()
    }

    /// The handles that the exchange works with.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    async fn start(&self, target: Target, options: FetchOptions) -> Result<Fetching, FetchError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Fetch {
            target,
            options,
            reply,
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| FetchError::Stopped)?;
        answer.await.map_err(|_| FetchError::Stopped)
    }
}

impl Fetching {
    /// How far the fetch is, as it goes on.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// [`FetchError`] says what is missing.
    ///
    /// # Cancel safety
    ///
    /// The fetch goes on while this value lives.
    pub async fn done(&mut self) -> Result<Fetched, FetchError> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(FetchError::Stopped)),
            Err(_) => Err(FetchError::Stopped),
        }
    }
}

/// Knows which fetches are under way.
struct Manager {
    context: Context,
    counters: Counters,
    under_way: BTreeMap<Target, Vec<Shared>>,
}

/// A fetch under way, for others to join. Only those who wait hold receivers, so
/// that the fetch notices when nobody does.
#[derive(Debug, Clone)]
struct Shared {
    owner: Option<Owner>,
    with_proof: bool,
    progress: Arc<watch::Sender<Progress>>,
    outcome: Arc<watch::Sender<Option<Result<Fetched, FetchError>>>>,
    holders: mpsc::Sender<Vec<Address>>,
}

impl Shared {
    fn join(&self) -> Fetching {
        Fetching {
            progress: self.progress.subscribe(),
            outcome: self.outcome.subscribe(),
        }
    }

    /// True when its outcome is all that `options` ask for.
    fn serves(&self, options: &FetchOptions) -> bool {
        (options.owner.is_none() || options.owner == self.owner)
            && (self.with_proof || !options.with_proof)
    }

    /// A full queue means that the fetch knows enough holders.
    fn hint(&self, holders: &[Address]) {
        let _ = self.holders.try_send(holders.to_vec());
    }

    fn is_over(&self) -> bool {
        self.outcome.is_closed() || self.outcome.borrow().is_some()
    }
}

impl Manager {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let stop = self.context.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = inbox.recv() => match command {
                    Some(Command::Fetch { target, options, reply }) => {
                        // Who asked may have gone away; then the fetch ends by itself.
                        let _ = reply.send(self.start(target, options));
                    }
                    None => return,
                },
            }
        }
    }

    fn start(&mut self, target: Target, options: FetchOptions) -> Fetching {
        self.under_way.retain(|_, fetches| {
            fetches.retain(|shared| !shared.is_over());
            !fetches.is_empty()
        });
        let fetches = self.under_way.get(&target).map_or(&[][..], Vec::as_slice);
        for shared in fetches.iter().filter(|shared| shared.serves(&options)) {
            let fetching = shared.join();
            // It ends when nobody waits, which may have been a moment ago.
            if !shared.is_over() {
                shared.hint(&options.holders);
                return fetching;
            }
        }
        // What another fetch brings for another reason is not brought twice.
        let before = fetches.last().map(|shared| {
            shared.hint(&options.holders);
            shared.join()
        });
        let (shared, fetching) = fetcher::spawn(
            self.context.clone(),
            self.counters.clone(),
            self.config(&target),
            target.clone(),
            options,
            before,
        );
        self.under_way.entry(target).or_default().push(shared);
        fetching
    }

    fn config(&self, target: &Target) -> FetchConfig {
        let base = if self.context.config.roles.is_empty() {
            FetchConfig::light()
        } else {
            FetchConfig::staked()
        };
        // Several fetches share one process of less than 300 MiB.
        FetchConfig {
            in_flight_bytes_max: base.in_flight_bytes_max.min(IN_FLIGHT_BYTES_MAX),
            buffered_bytes_max: base.buffered_bytes_max.min(IN_FLIGHT_BYTES_MAX),
            starve_timeout: match target {
                // Somebody waits for these.
                Target::Blocks { .. } => READING_PATIENCE,
                Target::Dag(_) => base.starve_timeout,
            },
            ..base
        }
    }
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// How long somebody who reads waits for a first holder.
const READING_PATIENCE: Duration = Duration::from_secs(8);

/// Commands waiting for the manager; senders wait when it is full.
const COMMANDS_MAX: usize = 64;

/// Damaged blocks that are not looked at yet; the next read finds the others.
const DAMAGED_MAX: usize = 64;

/// Bytes in flight, and bytes waiting to be stored, of one fetch.
const IN_FLIGHT_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
