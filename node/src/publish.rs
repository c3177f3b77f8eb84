//! Publishing for the peer's owner: a file becomes blocks, the blocks get
//! leases, the action goes to a relayer.
//!
//! A publication is a job of its own that survives a restart: what is offered
//! and which leases there are stands on disk after each lease.

use std::collections::BTreeMap;
use std::ops::Bound;

use cid::Cid;
use protocol::action::{ActionError, SignedAction};
use protocol::author::State;
use protocol::id::Hash32;
use serde::{Deserialize, Serialize};
use storage::tables::{self, Table};
use tokio::sync::{mpsc, oneshot, watch};

use crate::context::Context;
use crate::exchange::ExchangeHandle;
use crate::relay::RelayHandle;
use crate::store::StoreError;

mod import;
mod job;

pub use import::{ImportError, Imported};

/// Imports and publishes; cheap to clone.
#[derive(Debug, Clone)]
pub struct PublishHandle {
    commands: mpsc::Sender<Command>,
    context: Context,
}

/// A root that an action publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRoot {
    /// The root.
    pub cid: Cid,
    /// Its BLAKE3 proof root.
    pub proof_root: Hash32,
    /// The sum of the lengths of its distinct blocks.
    pub dag_size: u64,
}

/// How far a publication is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublishStatus {
    /// The action's digest.
    pub id: Hash32,
    /// How far it is.
    pub state: PublishState,
    /// Each root's leases.
    pub roots: Vec<RootStatus>,
    /// The transaction, once there is one.
    pub tx_hash: Option<Hash32>,
    /// Its block, once it is in one.
    pub block_number: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishState {
    /// Peers are asked to hold the roots.
    Offering,
    /// Each root has the minimum of leases.
    Durable,
    /// A relayer has the action.
    Relayed,
    /// The index has it.
    Confirmed,
    /// It did not work out.
    Failed,
}

/// How far one root is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootStatus {
    /// The root.
    pub cid: String,
    /// Leases of distinct operators.
    pub leases: usize,
    /// Leases that are aimed at.
    pub target: usize,
    /// Leases that make it durable.
    pub minimum: usize,
    /// Bytes that the furthest peer without a lease has.
    pub bytes: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Why a publication did not start.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The action is too long, or its signature is not one.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Nothing to publish, or too much.
    #[error("a publication names {count} roots, between 1 and {ROOTS_MAX} are allowed")]
    Roots {
        /// How many it names.
        count: usize,
    },
    /// A root without a single byte.
    #[error("{cid} has no bytes; publish a file that is not empty")]
    Empty {
        /// Which root.
        cid: Cid,
    },
    /// Too many publications are under way.
    #[error("{JOBS_MAX} publications are under way, which is the most; wait for one to end")]
    Busy,
    /// A root was not imported here.
    #[error("{cid} is not stored here; import the file first")]
    NotHere {
        /// Which root.
        cid: Cid,
    },
    /// No staked peer is known.
    #[error("no content peer is known; wait for the chain, or check `chain.rpc`")]
    NoPeers,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// What a job needs in order to go on after a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct JobRow {
    action: SignedAction,
    roots: Vec<State>,
    state: PublishState,
    error: Option<String>,
}

const JOBS: Table<Hash32, JobRow> = tables::PUBLICATIONS.of();

enum Command {
    Start {
        action: SignedAction,
        roots: Vec<PublishRoot>,
        reply: oneshot::Sender<Result<Hash32, PublishError>>,
    },
    Status {
        id: Hash32,
        reply: oneshot::Sender<Option<PublishStatus>>,
    },
}

/// Starts to publish, and goes on with what was under way.
///
/// # Errors
///
/// [`StoreError`] when the jobs cannot be read.
pub fn spawn(
    context: &Context,
    exchange: &ExchangeHandle,
    relay: &RelayHandle,
) -> Result<PublishHandle, StoreError> {
    // The exchange serves what is published: it has to stand before jobs start.
    let _ = exchange;
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let mut jobs = Jobs {
        context: context.clone(),
        relay: relay.clone(),
        running: BTreeMap::new(),
    };
    for (id, row) in unfinished(context)? {
        jobs.run_job(id, row);
    }
    tokio::spawn(jobs.run(inbox));
    Ok(PublishHandle {
        commands,
        context: context.clone(),
    })
}

/// The jobs that are to go on.
fn unfinished(context: &Context) -> Result<Vec<(Hash32, JobRow)>, StoreError> {
    let mut found = Vec::new();
    let mut start = Bound::Unbounded;
    loop {
        let rows: Vec<(Hash32, JobRow)> = context
            .store
            .read(|tables| Ok::<_, StoreError>(tables.range(JOBS, start, ROWS_MAX)?))?;
        let Some((last, _)) = rows.last() else {
            return Ok(found);
        };
        start = Bound::Excluded(*last);
        let open = rows.into_iter().filter(|(_, row)| !row.is_over());
        found.extend(open.take(JOBS_MAX - found.len()));
    }
}

impl JobRow {
    const fn is_over(&self) -> bool {
        match self.state {
            PublishState::Confirmed | PublishState::Failed => true,
            PublishState::Offering | PublishState::Durable | PublishState::Relayed => false,
        }
    }
}

impl PublishHandle {
    /// Publishes roots that were imported here by a signed action that names
    /// them; returns the action's digest. Starting the same action again joins
    /// the job that runs, and begins one that failed anew.
    ///
    /// # Errors
    ///
    /// [`PublishError`] names what is missing.
    pub async fn start(
        &self,
        action: SignedAction,
        roots: Vec<PublishRoot>,
    ) -> Result<Hash32, PublishError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Start {
            action,
            roots,
            reply,
        };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| PublishError::Stopped)?;
        answer.await.map_err(|_| PublishError::Stopped)?
    }

    /// How far a publication is; `None` when it was not started here.
    pub async fn status(&self, id: Hash32) -> Option<PublishStatus> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Status { id, reply })
            .await
            .ok()?;
        answer.await.ok().flatten()
    }
}

struct Jobs {
    context: Context,
    relay: RelayHandle,
    running: BTreeMap<Hash32, watch::Receiver<PublishStatus>>,
}

impl Jobs {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let stop = self.context.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = inbox.recv() => match command {
                    Some(Command::Start { action, roots, reply }) => {
                        let result = self.start(action, &roots).await;
                        // Who asked may have gone away; the job runs all the same.
                        let _ = reply.send(result);
                    }
                    Some(Command::Status { id, reply }) => {
                        let _ = reply.send(self.status(id));
                    }
                    None => return,
                },
            }
        }
    }

    async fn start(
        &mut self,
        action: SignedAction,
        roots: &[PublishRoot],
    ) -> Result<Hash32, PublishError> {
        let domain = self.context.contracts.action_domain();
        action.signer(&domain)?;
        let id = action.action.digest(&domain);
        self.forget_ended();
        let is_confirmed = |status: PublishStatus| status.state == PublishState::Confirmed;
        if self.running.get(&id).is_some_and(is_running)
            || self.status(id).is_some_and(is_confirmed)
        {
            return Ok(id);
        }
        if self.running.len() >= JOBS_MAX {
            return Err(PublishError::Busy);
        }
        if roots.is_empty() || roots.len() > ROOTS_MAX {
            return Err(PublishError::Roots { count: roots.len() });
        }
        if let Some(root) = roots.iter().find(|root| root.dag_size == 0) {
            return Err(PublishError::Empty { cid: root.cid });
        }
        for root in roots {
            if !self.context.store.has(&root.cid)? {
                return Err(PublishError::NotHere { cid: root.cid });
            }
        }
        let row = JobRow {
            roots: job::states(&self.context, &action, roots)?,
            action,
            state: PublishState::Offering,
            error: None,
        };
        let stored = row.clone();
        self.context
            .store
            .write(move |tables| Ok::<_, StoreError>(tables.put(JOBS, &id, &stored)?))
            .await?;
        self.run_job(id, row);
        Ok(id)
    }

    fn run_job(&mut self, id: Hash32, row: JobRow) {
        let (status, seen) = watch::channel(job::status_of(id, &row));
        let job = job::Job::new(self.context.clone(), self.relay.clone(), id, row, status);
        tokio::spawn(job.run());
        self.running.insert(id, seen);
    }

    /// Makes room: what ended is on disk.
    fn forget_ended(&mut self) {
        if self.running.len() >= JOBS_MAX {
            self.running.retain(|_, status| is_running(status));
        }
    }

    fn status(&self, id: Hash32) -> Option<PublishStatus> {
        if let Some(status) = self.running.get(&id) {
            return Some(status.borrow().clone());
        }
        let row: Option<JobRow> = self
            .context
            .store
            .read(|tables| Ok::<_, StoreError>(tables.get(JOBS, &id)?))
            .ok()
            .flatten();
        row.map(|row| job::status_of(id, &row))
    }
}

/// A job that ended has dropped its side.
fn is_running(status: &watch::Receiver<PublishStatus>) -> bool {
    status.has_changed().is_ok()
}

/// Commands waiting for the jobs; senders wait when it is full.
const COMMANDS_MAX: usize = 16;

/// Jobs that are kept in mind.
const JOBS_MAX: usize = 1024;

/// Rows of jobs that are read at once.
const ROWS_MAX: usize = 256;

/// Roots of one action: the file, its image and what belongs to it.
pub const ROOTS_MAX: usize = 16;
