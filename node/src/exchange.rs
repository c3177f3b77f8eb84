//! The exchange of blocks: serving what is here and fetching what is not.
//!
//! Every peer serves `/coliving/blocks/1`, light peers too: others pull from an
//! author what it publishes. Who joins which fetch, and whom a fetch asks, the
//! machines of [`protocol::exchange`] decide; each download has a task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cid::Cid;
use prometheus_client::metrics::counter::Counter;
use protocol::exchange::{
    Download, Exchange, ExchangeInput, ExchangeOutput, FailReason, FetchId, Order, Progress,
    Target, Ticket,
};
use protocol::id::Address;
use protocol::machine::Machine;
use storage::blocks::Owner;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::context::Context;
use crate::net::{NetError, Protocol};
use crate::store::StoreError;
use fetcher::Fetcher;

pub(crate) mod around;
mod fetcher;
mod reading;
mod server;

pub use protocol::exchange::Fetched;
pub use reading::{FileReader, ReadError};

/// How a root is fetched.
pub type FetchOptions = protocol::exchange::FetchOptions<Owner>;

/// Fetches blocks; cheap to clone.
#[derive(Debug, Clone)]
pub struct ExchangeHandle {
    commands: mpsc::Sender<Command>,
    context: Context,
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
    /// Too many fetches are under way.
    #[error("{limit} fetches are under way, at most as many are at once")]
    Busy {
        /// The most that may be under way.
        limit: usize,
    },
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// A wait for a fetch; dropping it leaves the fetch to others who wait, or ends it.
#[derive(Debug)]
pub struct Fetching {
    progress: watch::Receiver<Progress>,
    outcome: oneshot::Receiver<Result<Fetched, FetchError>>,
    /// What came, once it was asked for.
    over: Option<Result<Fetched, FetchError>>,
    _waits: oneshot::Sender<()>,
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
        root: Cid,
        target: Target,
        options: FetchOptions,
        reply: Reply,
    },
}

type Reply = oneshot::Sender<Result<Fetching, FetchError>>;

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
    server::spawn(context, requests, counters.clone());
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let shell = Shell {
        machine: Exchange::new(context.peer, !context.config.is_light()),
        context: context.clone(),
        counters,
        next_ticket: 0,
        asking: BTreeMap::new(),
        waiting: BTreeMap::new(),
        left: JoinSet::new(),
        running: BTreeMap::new(),
        names: HashMap::new(),
        downloads: JoinSet::new(),
    };
    context.floor.spawn(shell.run(inbox));
    Ok(ExchangeHandle {
        commands,
        context: context.clone(),
    })
}

impl ExchangeHandle {
    /// Fetches everything below `root`, or joins who does.
    ///
    /// # Errors
    ///
    /// [`FetchError::Busy`], or [`FetchError::Stopped`] when the peer stops.
    pub async fn fetch(&self, root: Cid, options: FetchOptions) -> Result<Fetching, FetchError> {
        self.order(root, Target::Dag(root), options).await
    }

    /// Fetches some blocks below `root`.
    ///
    /// # Errors
    ///
    /// [`FetchError::Busy`], or [`FetchError::Stopped`] when the peer stops.
    pub async fn fetch_blocks(
        &self,
        root: Cid,
        cids: Vec<Cid>,
        options: FetchOptions,
    ) -> Result<Fetching, FetchError> {
        self.order(root, Target::Blocks(cids), options).await
    }

    /// Opens a range of the file below `root` for reading; what is missing is
    /// fetched while it is read when `may_fetch` is set.
    #[must_use]
    pub fn open(&self, root: Cid, range: std::ops::Range<u64>, may_fetch: bool) -> FileReader {
        FileReader::new(self.clone(), root, range, may_fetch)
    }

    /// The handles that the exchange works with.
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    async fn order(
        &self,
        root: Cid,
        target: Target,
        options: FetchOptions,
    ) -> Result<Fetching, FetchError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Fetch {
            root,
            target,
            options,
            reply,
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| FetchError::Stopped)?;
        answer.await.map_err(|_| FetchError::Stopped)?
    }
}

impl Fetching {
    /// How far the fetch is, as it goes on.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn is_over(&mut self) -> bool {
        if self.over.is_none() {
            self.over = match self.outcome.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(FetchError::Stopped)),
            };
        }
        self.over.is_some()
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
        if let Some(over) = &self.over {
            return over.clone();
        }
        let outcome = (&mut self.outcome).await;
        let outcome = outcome.unwrap_or(Err(FetchError::Stopped));
        self.over.insert(outcome).clone()
    }
}

/// Drives the [`Exchange`] and owns the tasks of its downloads.
struct Shell {
    context: Context,
    counters: Counters,
    machine: Exchange<Owner>,
    next_ticket: u64,
    /// Who has not heard yet which fetch serves it.
    asking: BTreeMap<Ticket, Reply>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Fetched, FetchError>>>,
    /// Each ends when its [`Fetching`] is dropped.
    left: JoinSet<Ticket>,
    running: BTreeMap<FetchId, Running>,
    names: HashMap<Id, FetchId>,
    downloads: JoinSet<Result<Fetched, FetchError>>,
}

/// The task of a download.
struct Running {
    hints: mpsc::Sender<Vec<Address>>,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

impl Shell {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let stop = self.context.floor.stop().clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.downloads.join_next_with_id() => self.handle_ended(ended),
                Some(Ok(ticket)) = self.left.join_next() => {
                    self.waiting.remove(&ticket);
                    self.handle(ExchangeInput::Gone { ticket }, None);
                }
                command = inbox.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
            }
        }
        self.left.shutdown().await;
        self.downloads.shutdown().await;
    }

    fn handle_command(&mut self, command: Command) {
        let Command::Fetch {
            root,
            target,
            options,
            reply,
        } = command;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.asking.insert(ticket, reply);
        let order = Order {
            ticket,
            root,
            target,
            options,
        };
        self.handle(ExchangeInput::Fetch(Box::new(order)), None);
    }

    fn handle_ended(&mut self, ended: Result<(Id, Result<Fetched, FetchError>), JoinError>) {
        let (task, result) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "the task of a fetch failed");
                }
                (error.id(), Err(FetchError::Stopped))
            }
        };
        if let Some(id) = self.names.remove(&task) {
            self.running.remove(&id);
            self.handle(ExchangeInput::Ended { id }, Some(result));
        }
    }

    /// Gives one input and carries the wishes out; `result` is that of the
    /// download which the input is about.
    fn handle(&mut self, input: ExchangeInput<Owner>, result: Option<Result<Fetched, FetchError>>) {
        self.machine.handle(input, self.context.clock.now());
        while let Some(output) = self.machine.poll() {
            match output {
                ExchangeOutput::Start {
                    id,
                    download,
                    owner,
                    behind,
                } => self.spawn(id, *download, owner, behind),
                ExchangeOutput::Joined { ticket, id } => self.join(ticket, id),
                ExchangeOutput::Hint { id, holders } => {
                    if let Some(running) = self.running.get(&id) {
                        // A full queue means that the fetch knows enough holders.
                        let _ = running.hints.try_send(holders);
                    }
                }
                ExchangeOutput::Stop { id } => {
                    if let Some(running) = self.running.remove(&id) {
                        running.task.abort();
                    }
                }
                ExchangeOutput::Over { ticket, .. } => {
                    let result = result.clone().unwrap_or(Err(FetchError::Stopped));
                    if let Some(waiting) = self.waiting.remove(&ticket) {
                        // Who waited may have gone this moment.
                        let _ = waiting.send(result);
                    }
                }
                ExchangeOutput::Refused { ticket, limit } => {
                    if let Some(reply) = self.asking.remove(&ticket) {
                        // Who asked may have gone away.
                        let _ = reply.send(Err(FetchError::Busy { limit }));
                    }
                }
            }
        }
    }

    fn spawn(
        &mut self,
        id: FetchId,
        download: Download,
        owner: Option<Owner>,
        behind: Option<FetchId>,
    ) {
        let (hints, hinted) = mpsc::channel(HOLDER_HINTS_MAX);
        let (shown, progress) = watch::channel(Progress::default());
        let (context, counters) = (self.context.clone(), self.counters.clone());
        let fetcher = Fetcher::new(context, counters, download, owner, shown);
        let before = behind.and_then(|id| Some(self.running.get(&id)?.progress.clone()));
        let task = self.downloads.spawn(fetcher.run(before, hinted));
        self.names.insert(task.id(), id);
        let running = Running {
            hints,
            progress,
            task,
        };
        self.running.insert(id, running);
    }

    fn join(&mut self, ticket: Ticket, id: FetchId) {
        let (Some(reply), Some(running)) = (self.asking.remove(&ticket), self.running.get(&id))
        else {
            return;
        };
        let (tell, outcome) = oneshot::channel();
        let (waits, left) = oneshot::channel();
        self.waiting.insert(ticket, tell);
        self.left.spawn(async move {
            // An error, too, means that nobody waits.
            let _: Result<(), _> = left.await;
            ticket
        });
        let fetching = Fetching {
            progress: running.progress.clone(),
            outcome,
            over: None,
            _waits: waits,
        };
        // Who asked may have gone away; then the fetch ends by itself.
        let _ = reply.send(Ok(fetching));
    }
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Commands waiting for the task; senders wait when it is full. Chosen: a burst.
const COMMANDS_MAX: usize = 64;

/// Hints of those who join that wait for one download. Chosen: what does not fit is
/// found without them.
const HOLDER_HINTS_MAX: usize = 16;

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
