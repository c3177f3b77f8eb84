//! Actions that this peer has handed on or still has to: on disk until the index
//! has them, and offered again while no relayer answers.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use protocol::action::SignedAction;
use protocol::id::Hash32;
use protocol::time::UnixSeconds;
use serde::{Deserialize, Serialize};
use storage::tables::{self, Table, TablesError};

use super::{Attempt, RelayError, RelayHandle, RelayState, RelayStatus};
use crate::context::Context;
use crate::store::{StoreError, StoreHandle};

const OUTBOX: Table<Hash32, OutboxRow> = tables::OUTBOX.of();

/// An action on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// What to relay.
    pub action: SignedAction,
    /// The proof of work of a `User Create`.
    pub proof: Option<u64>,
    /// When it was handed in.
    pub created: UnixSeconds,
    /// When a relayer was asked last.
    pub asked: UnixSeconds,
    /// True once a relayer keeps it.
    pub is_accepted: bool,
    /// Where it stood then.
    pub status: RelayStatus,
}

/// The rows, with their number.
#[derive(Debug)]
pub(super) struct Outbox {
    store: StoreHandle,
    count: Arc<AtomicUsize>,
}

impl OutboxRow {
    pub(super) const fn new(
        action: SignedAction,
        proof: Option<u64>,
        digest: Hash32,
        now: UnixSeconds,
    ) -> Self {
        Self {
            action,
            proof,
            created: now,
            asked: now,
            is_accepted: false,
            status: RelayStatus::pending(digest),
        }
    }

    /// True when a relayer is to be asked about it.
    const fn is_due(&self, now: UnixSeconds) -> bool {
        let pause = match self.is_accepted {
            true => ACCEPTED_PAUSE_SECONDS,
            false => 0,
        };
        !self.status.is_over() && now.0 >= self.asked.0.saturating_add(pause)
    }
}

impl Outbox {
    pub(super) fn open(context: &Context) -> Result<Self, StoreError> {
        let outbox = Self {
            store: context.store.clone(),
            count: Arc::default(),
        };
        let count = outbox.rows()?.len();
        outbox.count.store(count, Ordering::Relaxed);
        Ok(outbox)
    }

    /// Stores a row; one of the same digest is replaced.
    pub(super) async fn insert(&self, row: &OutboxRow) -> Result<(), RelayError> {
        if self.count.load(Ordering::Relaxed) >= OUTBOX_MAX {
            return Err(RelayError::Full { limit: OUTBOX_MAX });
        }
        Ok(self.put(row.clone()).await?)
    }

    /// Notes that a relayer keeps the action.
    pub(super) async fn accepted(
        &self,
        row: &OutboxRow,
        status: RelayStatus,
    ) -> Result<(), StoreError> {
        let mut row = row.clone();
        row.is_accepted = true;
        row.status = status;
        self.put(row).await
    }

    pub(super) async fn remove(&self, digest: Hash32) -> Result<(), StoreError> {
        let removed: bool = self
            .store
            .write(move |tables| {
                let is_there = tables.get(OUTBOX, &digest)?.is_some();
                tables.remove(OUTBOX, &digest)?;
                Ok::<_, StoreError>(is_there)
            })
            .await?;
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) fn row(&self, digest: &Hash32) -> Result<Option<OutboxRow>, StoreError> {
        self.store.read(|tables| Ok(tables.get(OUTBOX, digest)?))
    }

    async fn put(&self, row: OutboxRow) -> Result<(), StoreError> {
        let is_new: bool = self
            .store
            .write(move |tables| {
                let digest = row.status.digest;
                let is_new = tables.get(OUTBOX, &digest)?.is_none();
                tables.put(OUTBOX, &digest, &row)?;
                Ok::<_, StoreError>(is_new)
            })
            .await?;
        if is_new {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn rows(&self) -> Result<Vec<OutboxRow>, StoreError> {
        let rows: Result<Vec<(Hash32, OutboxRow)>, TablesError> = self
            .store
            .read(|tables| tables.range(OUTBOX, Bound::Unbounded, OUTBOX_MAX));
        Ok(rows?.into_iter().map(|(_, row)| row).collect())
    }
}

/// Offers what waits, and forgets what the index has.
pub(super) async fn run(relay: RelayHandle) {
    let context = relay.context().clone();
    let mut connected = context.net.connected();
    let mut ticks = tokio::time::interval(ROUND_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            _ = ticks.tick() => {}
            Ok(()) = connected.changed() => {}
        }
        tokio::select! {
            biased;
            () = context.stop.cancelled() => return,
            () = round(&relay) => {}
        }
    }
}

async fn round(relay: &RelayHandle) {
    let rows = match relay.inner.outbox.rows() {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(%error, "the actions that wait cannot be read");
            return;
        }
    };
    futures::stream::iter(rows)
        .for_each_concurrent(OFFERS_MAX, |row| async move {
            let digest = row.status.digest;
            if let Err(error) = settle(relay, row).await {
                tracing::warn!(%digest, %error, "an action was not followed");
            }
        })
        .await;
}

/// Does what is due for one row.
async fn settle(relay: &RelayHandle, mut row: OutboxRow) -> Result<(), RelayError> {
    let context = relay.context();
    let outbox = &relay.inner.outbox;
    let now = context.clock.now().unix();
    let signer = row.action.signer(&context.contracts.action_domain())?;
    let digest = row.status.digest;
    let is_old = now.0.saturating_sub(row.created.0) >= KEPT_SECONDS;
    if is_old || relay.indexed(&digest, Some(&signer))?.is_some() {
        return Ok(outbox.remove(digest).await?);
    }
    if !row.is_due(now) {
        return Ok(());
    }
    row.asked = now;
    match relay.attempt(&row).await {
        Attempt::Accepted(status) => {
            let status = RelayStatus::of(digest, &status);
            outbox.accepted(&row, status).await?;
        }
        Attempt::Refused(refusal) if refusal.code.is_local() => {
            row.status.state = RelayState::Pending;
            row.status.error = Some(refusal.reason);
            outbox.put(row).await?;
        }
        Attempt::Refused(refusal) => {
            row.status = RelayStatus::failed(digest, refusal.reason);
            outbox.put(row).await?;
        }
        Attempt::Unreachable => {}
    }
    Ok(())
}

/// Actions of one peer that are on their way.
const OUTBOX_MAX: usize = 1024;

/// Actions that are offered at once.
const OFFERS_MAX: usize = 8;

/// Pause between two rounds over the actions that wait.
const ROUND_INTERVAL: Duration = Duration::from_secs(2);

/// A relayer that keeps an action is asked again after this long.
const ACCEPTED_PAUSE_SECONDS: u64 = 30;

/// What is not on chain after this long is forgotten.
const KEPT_SECONDS: u64 = 24 * 3600;
