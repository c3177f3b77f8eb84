//! Publishing and relaying for the peer's owner: the hands of
//! [`protocol::author::Author`].

use std::ops::Bound;
use std::sync::Arc;

use cid::Cid;
use protocol::action::{Action, SignedAction};
use protocol::author::{
    self, Author, Change, PublishError, PublishRoot, PublishStatus, RelayError, RelayStatus,
};
use protocol::entity::Rejection;
use protocol::id::{Address, Hash32};
use protocol::relayer::solve_proof;
use storage::tables::{OUTBOX, PUBLICATIONS, Table, TableKey};
use tokio::sync::{mpsc, oneshot};

use crate::context::Context;
use crate::index::IndexTaskError;
use crate::net::NetError;
use crate::relayer::{FreshActions, LocalRelayer};
use crate::shell;
use crate::store::StoreError;

mod hands;
mod import;

pub use import::ImportError;

use hands::{Command, Hands};

/// Imports, publishes and relays; cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthorHandle {
    commands: mpsc::Sender<Command>,
    context: Context,
    fresh: FreshActions,
    local: Arc<std::sync::OnceLock<LocalRelayer>>,
}

/// Why the author's role did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Another driver took the topic of fresh actions.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What is under way cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts the author's role with what was under way, and to listen to fresh
/// actions.
///
/// # Errors
///
/// [`SpawnError`] when the topic is taken or a table cannot be read.
pub async fn spawn(context: &Context) -> Result<AuthorHandle, SpawnError> {
    let fresh = crate::relayer::listen(context).await?;
    let jobs = rows(context, PUBLICATIONS)?;
    let outbox = rows(context, OUTBOX)?;
    let config = author::Config::new(
        context.peer,
        context.contracts.domain(),
        context.contracts.action_domain(),
    );
    let machine = Author::restore(config, jobs, outbox, context.clock.now());
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let hands = Hands::new(context, inbox);
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(AuthorHandle {
        commands,
        context: context.clone(),
        fresh,
        local: Arc::default(),
    })
}

fn rows<V: serde::de::DeserializeOwned>(
    context: &Context,
    table: Table<Hash32, V>,
) -> Result<Vec<V>, StoreError>
where
    Hash32: TableKey,
{
    let mut found = Vec::new();
    let mut start = Bound::Unbounded;
    loop {
        let rows: Vec<(Hash32, V)> = context
            .store
            .read(|tables| Ok::<_, StoreError>(tables.range(table, start, ROWS_MAX)?))?;
        let Some((last, _)) = rows.last() else {
            return Ok(found);
        };
        start = Bound::Excluded(*last);
        found.extend(rows.into_iter().map(|(_, row)| row));
    }
}

impl AuthorHandle {
    /// Publishes roots that were imported here by a signed action that names
    /// them; returns the action's digest. Publishing by the same action again
    /// joins what is under way, and begins anew what failed.
    ///
    /// # Errors
    ///
    /// [`PublishError`] names what is missing.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the publication may have begun or not.
    pub async fn publish(
        &self,
        action: SignedAction,
        roots: Vec<PublishRoot>,
    ) -> Result<Hash32, PublishError> {
        let missing = self.missing(&roots);
        let missing = missing.map_err(|error| PublishError::Store(error.to_string()))?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Publish {
            action,
            roots,
            missing,
            reply,
        };
        self.tell(command).await;
        answer.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// How far a publication is; `None` when it was not started here.
    pub async fn published(&self, id: Hash32) -> Option<PublishStatus> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Published { id, reply }).await;
        answer.await.ok().flatten()
    }

    /// Hands an action to the network: stored first, then offered to the
    /// relayers in rank order. While none answers the status is pending, and the
    /// action is offered again until one does.
    ///
    /// A `User Create` costs a proof of work, which is found here.
    ///
    /// # Errors
    ///
    /// [`RelayError`]; the action is not kept then.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the action may be kept and offered on.
    pub async fn send(&self, action: SignedAction) -> Result<RelayStatus, RelayError> {
        self.send_with_proof(action, None).await
    }

    /// As [`Self::send`], with a proof of work that the client found.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_with_proof(
        &self,
        action: SignedAction,
        proof: Option<u64>,
    ) -> Result<RelayStatus, RelayError> {
        check_signer(&self.context, &action)?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Relay {
            action,
            proof,
            reply,
        };
        self.tell(command).await;
        answer.await.unwrap_or(Err(RelayError::Stopped))
    }

    /// Where an action stands: in the index, else at a relayer, else here.
    ///
    /// # Errors
    ///
    /// [`RelayError::Unknown`] when nobody who answers knows it.
    pub async fn status(&self, digest: Hash32) -> Result<RelayStatus, RelayError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Relayed { digest, reply }).await;
        answer.await.unwrap_or(Err(RelayError::Stopped))
    }

    /// Actions that identity peers vouch for and that the chain does not have.
    #[must_use]
    pub fn fresh(&self) -> &FreshActions {
        &self.fresh
    }

    /// Makes this peer's own relayer known, so that it is asked without the
    /// network. Only the first call counts.
    pub(crate) async fn set_local(&self, relayer: LocalRelayer) {
        // A second relayer in one peer is not possible: its protocol is taken.
        if self.local.set(relayer.clone()).is_ok() {
            self.tell(Command::Local(relayer)).await;
        }
    }

    pub(crate) fn local(&self) -> Option<&LocalRelayer> {
        self.local.get()
    }

    pub(crate) const fn context(&self) -> &Context {
        &self.context
    }

    /// The first root that is not stored here.
    fn missing(&self, roots: &[PublishRoot]) -> Result<Option<Cid>, StoreError> {
        for root in roots {
            if !self.context.store.has(&root.cid)? {
                return Ok(Some(root.cid));
            }
        }
        Ok(None)
    }

    async fn tell(&self, command: Command) {
        // When the peer stops, the reply's other end goes with the command.
        let _ = self.commands.send(command).await;
    }
}

/// Refuses an action whose signer may not act for its user, as far as the user is
/// known here.
pub(crate) fn check_signer(context: &Context, action: &SignedAction) -> Result<(), RelayError> {
    let domain = context.contracts.action_domain();
    let signer = action.signer(&domain)?;
    let wallet = refused_wallet(context, &action.action, signer);
    let wallet = wallet.map_err(|error| RelayError::Store(error.to_string()))?;
    wallet.map_or(Ok(()), |wallet| {
        author::check_signer(action, &domain, signer, wallet)
    })
}

/// The wallet of a known user for whom `signer` may not act.
fn refused_wallet(
    context: &Context,
    action: &Action,
    signer: Address,
) -> Result<Option<Address>, IndexTaskError> {
    let snapshot = context.index.snapshot()?;
    let height = context.index.height().borrow().block_number;
    let user = action.user_id;
    match snapshot.may_act(user, signer, action, height)? {
        Ok(_) | Err(Rejection::UnknownUser { .. }) => Ok(None),
        Err(_) => Ok(snapshot.user(user)?.map(|view| view.user.wallet)),
    }
}

/// Finds the proof of work of an action, on a thread of its own.
pub(crate) async fn solve(digest: Hash32, bits: u32) -> u64 {
    let solved = tokio::task::spawn_blocking(move || solve_proof(&digest, bits));
    // The task neither panics nor is cancelled while the runtime lives.
    solved.await.unwrap_or_default()
}

/// The changes of one write in one transaction.
fn apply(tables: &storage::tables::TablesWrite<'_>, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::Job(digest, Some(row)) => tables.put(PUBLICATIONS, digest, &**row)?,
            Change::Job(digest, None) => drop(tables.remove(PUBLICATIONS, digest)?),
            Change::Outbox(digest, Some(row)) => tables.put(OUTBOX, digest, &**row)?,
            Change::Outbox(digest, None) => drop(tables.remove(OUTBOX, digest)?),
        }
    }
    Ok(())
}

/// Commands waiting for the author; senders wait when it is full. Chosen: a burst of
/// people's requests.
const COMMANDS_MAX: usize = 16;

/// Rows that are read at once. Chosen: some MB at most, a millisecond's read.
const ROWS_MAX: usize = 256;
