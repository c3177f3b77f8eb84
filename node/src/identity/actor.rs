//! The task that owns the relayer: it feeds it requests, blocks and outcomes,
//! and does what it asks for.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use protocol::author::{SPELLING, wrong_spelling};
use protocol::chain::calls;
use protocol::codec;
use protocol::id::{Address, Hash32, UserId};
use protocol::origin::{Origin, RequestId};
use protocol::placement::{Placement, Purpose};
use protocol::records::{Envelope, PendingAction};
use protocol::registry::Registry;
use protocol::relayer::{
    Account, Accounts, Config, Event, Nonces, Refusal, RefusalCode, Relayer, Request, Response,
    Row, SendFailure, Simulation, Slot, Stage, Submission,
};
use protocol::signing::Signed;
use protocol::time::UnixSeconds;
use storage::tables::RELAYS;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::simulate::{self, Case};
use crate::chain::{ChainStatus, RpcError, SendError, Wallet};
use crate::context::Context;
use crate::index::Height;
use crate::net::{Inbound, Responder, Topic};
use crate::relay::{FreshActions, LocalRequest};
use crate::store::StoreError;

/// Starts the task.
pub(super) fn spawn(
    context: &Context,
    fresh: FreshActions,
    requests: mpsc::Receiver<Inbound>,
    inbox: mpsc::Receiver<LocalRequest>,
) -> Result<(), StoreError> {
    let rows: Vec<(Hash32, Row)> = context.store.read::<_, StoreError>(|tables| {
        Ok(tables.range(RELAYS, Bound::Unbounded, usize::MAX)?)
    })?;
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let open = rows.iter().filter_map(|row| open_row(context, row));
    let (outcomes, outcomes_in) = mpsc::channel(OUTCOMES_MAX);
    let actor = Actor {
        open: open.collect(),
        unsaved: BTreeMap::new(),
        is_empty_told: false,
        relayer: Relayer::new(config(context), rows, context.clock.now()),
        wallet: Wallet::new(context.key.clone()),
        requests,
        inbox,
        askers: BTreeMap::new(),
        asked: 0,
        outcomes,
        outcomes_in,
        simulations: Arc::new(Semaphore::new(SIMULATIONS_MAX)),
        status: context.chain.status(),
        height: context.index.height(),
        settled: context.index.settled(),
        registry: context.chain.registry(),
        block: 0,
        head: None,
        fresh,
        context: context.clone(),
    };
    tokio::spawn(actor.run());
    Ok(())
}

fn config(context: &Context) -> Config {
    let identity = &context.config.identity;
    Config {
        gas_per_hour_max: identity.gas_per_hour,
        gas_per_day_max: identity.gas_per_day,
        quota_factor: u32::try_from(identity.quota_factor).unwrap_or(u32::MAX),
        unlimited: identity.allow.iter().copied().collect(),
        ..Config::new(context.contracts.action_domain())
    }
}

/// An accepted action that is not over.
#[derive(Debug, Clone, Copy)]
struct Open {
    signer: Address,
    accepted: UnixSeconds,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    Peer(Responder),
    Local(oneshot::Sender<Response>),
}

/// What a task brought back.
#[derive(Debug)]
enum Outcome {
    Simulated(Hash32, Simulation),
    Sent(Hash32, Slot, Result<Hash32, SendFailure>),
    Wallet { nonces: Nonces, is_funded: bool },
}

struct Actor {
    context: Context,
    fresh: FreshActions,
    relayer: Relayer,
    wallet: Wallet,
    requests: mpsc::Receiver<Inbound>,
    inbox: mpsc::Receiver<LocalRequest>,
    askers: BTreeMap<RequestId, Asker>,
    asked: u64,
    outcomes: mpsc::Sender<Outcome>,
    outcomes_in: mpsc::Receiver<Outcome>,
    simulations: Arc<Semaphore>,
    open: BTreeMap<Hash32, Open>,
    /// Rows of accepted actions that the disk did not take, to be stored again.
    unsaved: BTreeMap<Hash32, Row>,
    /// The owner was told once that the wallet is empty.
    is_empty_told: bool,
    status: watch::Receiver<ChainStatus>,
    height: watch::Receiver<Height>,
    /// The last final block that the index has.
    settled: watch::Receiver<u64>,
    registry: watch::Receiver<Arc<Registry>>,
    /// Counts blocks, and pauses without one.
    block: u64,
    head: Option<u64>,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        let mut idle = tokio::time::interval(self.idle_interval());
        idle.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.show_restored().await;
        self.handle_status();
        loop {
            self.drain().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(outcome) = self.outcomes_in.recv() => self.handle_outcome(outcome),
                Ok(()) = self.height.changed() => self.look_at_index(),
                Ok(()) = self.settled.changed() => self.look_at_index(),
                Ok(()) = self.status.changed() => {
                    if self.handle_status() {
                        idle.reset();
                    }
                    self.save_again().await;
                }
                _ = idle.tick() => {
                    self.handle_idle();
                    self.save_again().await;
                }
                Some(command) = self.inbox.recv() => {
                    let asker = Asker::Local(command.reply);
                    self.handle_request(command.request, command.origin, asker);
                }
                Some(inbound) = self.requests.recv() => self.handle_inbound(inbound),
            }
        }
    }

    /// A chain that mines on demand has no blocks to count while nobody sends.
    fn idle_interval(&self) -> Duration {
        match self.context.config.chain.confirmations {
            0 => IDLE_ON_DEMAND,
            _ => IDLE,
        }
    }

    /// What an earlier run accepted is pending for this one too.
    async fn show_restored(&self) {
        for (digest, open) in &self.open {
            let row: Result<Option<Row>, StoreError> = self
                .context
                .store
                .read(|tables| Ok(tables.get(RELAYS, digest)?));
            if let Ok(Some(row)) = row {
                self.fresh.accept(row.action, open.signer).await;
            }
        }
    }

    fn handle_inbound(&mut self, inbound: Inbound) {
        let Ok(request) = Request::from_bytes(&inbound.body) else {
            // Dropping the responder refuses.
            return;
        };
        let origin = Origin {
            peer: inbound.peer,
            ip: inbound.ip,
        };
        self.handle_request(request, origin, Asker::Peer(inbound.respond));
    }

    fn handle_request(&mut self, request: Request, origin: Origin, asker: Asker) {
        let id = RequestId(self.asked);
        self.asked += 1;
        self.askers.insert(id, asker);
        match request {
            Request::Status { digest } => self.relayer.handle_status(id, &digest),
            Request::Submit { action, proof, .. } => {
                let accounts = Known::new(&self.context, &self.fresh);
                let domain = self.context.contracts.action_domain();
                if let Some(wallet) = accounts.wallet(action.action.user_id)
                    && wrong_spelling(&action, &domain, wallet)
                {
                    let refusal = Refusal::new(RefusalCode::Signature, SPELLING);
                    self.answer(id, Response::Refused(refusal));
                    return;
                }
                let rank = self.rank(&action.action.digest(&domain));
                let submission = Submission {
                    action: *action,
                    proof,
                    is_paid: false,
                    rank,
                };
                let now = self.context.clock.now();
                self.relayer
                    .handle_submit(id, origin, submission, &accounts, now);
            }
        }
    }

    fn rank(&self, digest: &Hash32) -> u64 {
        let ranked = Placement::new(&self.registry.borrow()).rank(Purpose::Relayer, &digest.0);
        let place = ranked.iter().position(|peer| *peer == self.context.peer);
        place.unwrap_or(ranked.len()) as u64
    }

    /// True when a block came.
    fn handle_status(&mut self) -> bool {
        let status = self.status.borrow_and_update().clone();
        if !status.connected {
            self.relayer.handle_chain_away();
            return false;
        }
        let head = status.head.map(|head| head.number);
        if head == self.head {
            return false;
        }
        let advance = match (self.head, head) {
            (Some(before), Some(head)) => head.saturating_sub(before).max(1),
            (None, Some(head)) => head,
            (_, None) => 0,
        };
        self.head = head;
        self.count_blocks(advance);
        true
    }

    fn handle_idle(&mut self) {
        if self.status.borrow().connected {
            self.count_blocks(1);
        }
    }

    fn count_blocks(&mut self, count: u64) {
        self.block = self.block.saturating_add(count);
        self.relayer.handle_block(self.block);
        self.look_at_wallet();
    }

    /// Tells the relayer what the index holds of the actions that are not over,
    /// whoever sent them, and up to where it is final.
    fn look_at_index(&mut self) {
        self.height.borrow_and_update();
        // Read before the snapshot, which is then at least as new.
        let settled = *self.settled.borrow_and_update();
        if self.open.is_empty() {
            return;
        }
        let Ok(snapshot) = self.context.index.snapshot() else {
            return;
        };
        for (digest, open) in &self.open {
            match simulate::receipt(&snapshot, digest, &open.signer) {
                Ok(Some(receipt)) => self.relayer.handle_mined(digest, receipt),
                Ok(None) => self.relayer.handle_undone(digest),
                Err(error) => {
                    tracing::warn!(%error, "the index could not be read");
                    return;
                }
            }
        }
        self.relayer.handle_final(settled);
    }

    fn handle_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Simulated(digest, simulation) => {
                let now = self.context.clock.now();
                self.relayer.handle_simulated(&digest, simulation, now);
            }
            Outcome::Sent(digest, slot, Ok(tx_hash)) => {
                self.relayer.handle_sent(&digest, slot, tx_hash);
            }
            Outcome::Sent(digest, slot, Err(failure)) => {
                self.relayer.handle_send_failed(&digest, slot, failure);
            }
            Outcome::Wallet { nonces, is_funded } => {
                if !is_funded && !self.is_empty_told {
                    tracing::warn!(wallet = %self.wallet.address(), "the relayer's wallet is empty; send it money for gas");
                }
                self.is_empty_told = !is_funded;
                self.relayer
                    .handle_wallet(self.wallet.address(), nonces, is_funded);
            }
        }
    }

    async fn drain(&mut self) {
        loop {
            let mut rows = Vec::new();
            let mut forgotten = Vec::new();
            while let Some(event) = self.relayer.poll_event() {
                match event {
                    Event::Persist(row) => rows.push(*row),
                    Event::Forget { digest } => forgotten.push(digest),
                    event => self.handle_event(event),
                }
            }
            while let Some(reply) = self.relayer.poll_reply() {
                self.answer(reply.id, reply.response);
            }
            if rows.is_empty() && forgotten.is_empty() {
                return;
            }
            self.persist(rows, forgotten).await;
        }
    }

    /// Stores rows in one transaction.
    async fn persist(&mut self, rows: Vec<Row>, forgotten: Vec<Hash32>) {
        let stored = rows.clone();
        let result: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| {
                for row in &stored {
                    tables.put(RELAYS, &row.digest, row)?;
                }
                for digest in &forgotten {
                    tables.remove(RELAYS, digest)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = &result {
            tracing::error!(%error, "the relayer's rows were not stored");
        }
        for row in rows {
            if result.is_err() {
                self.relayer.handle_persist_failed(&row.digest);
                // A nonce that was assigned waits for its row.
                if self.relayer.status(&row.digest).is_some() {
                    self.unsaved.insert(row.digest, row);
                }
                continue;
            }
            self.unsaved.remove(&row.digest);
            match open_row(&self.context, &row) {
                Some((digest, open)) => {
                    self.open.insert(digest, open);
                }
                None => {
                    self.open.remove(&row.digest);
                }
            }
            if row.revision == 1 && row.stage == Stage::Pending {
                self.tell(&row).await;
            }
            self.relayer.handle_persisted(&row.digest, row.revision);
        }
    }

    async fn save_again(&mut self) {
        let rows: Vec<Row> = std::mem::take(&mut self.unsaved).into_values().collect();
        if !rows.is_empty() {
            self.persist(rows, Vec::new()).await;
        }
    }

    /// Shows a fresh action to everybody.
    async fn tell(&self, row: &Row) {
        let Some(open) = self.open.get(&row.digest) else {
            return;
        };
        self.fresh.accept(row.action.clone(), open.signer).await;
        let record = PendingAction {
            digest: row.digest,
            signature: row.action.signature,
            peer: self.context.peer,
            time: row.accepted,
        };
        let envelope = Envelope {
            action: row.action.clone(),
            accepted: Signed::new(record, &self.context.contracts.domain(), &self.context.key),
        };
        let told = self
            .context
            .net
            .publish(Topic::Actions, codec::to_bytes(&envelope))
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, "a fresh action was not published; the chain tells it");
        }
    }

    fn answer(&mut self, id: RequestId, response: Response) {
        match self.askers.remove(&id) {
            Some(Asker::Peer(responder)) => responder.send(response.to_bytes()),
            Some(Asker::Local(reply)) => {
                // The client may have gone away.
                let _ = reply.send(response);
            }
            None => {}
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Simulate { digest, action } => {
                let case = Case {
                    accepted: self.open.get(&digest).map(|open| open.accepted),
                    wallet: self.wallet.address(),
                    digest,
                    action,
                };
                self.simulate(case);
            }
            Event::Send {
                digest,
                action,
                slot,
                gas,
                bumps,
            } => {
                let to = self.context.contracts.entity_manager;
                let data = calls::manage_entity(&action);
                self.send(Some(digest), to, data, slot, gas, bumps);
            }
            Event::Cancel { slot, bumps } => {
                let to = self.wallet.address();
                self.send(None, to, Vec::new(), slot, TRANSFER_GAS, bumps);
            }
            Event::Persist(_) | Event::Forget { .. } => {
                unreachable!("rows are taken out before")
            }
        }
    }

    fn simulate(&self, case: Case) {
        let (context, fresh) = (self.context.clone(), self.fresh.clone());
        let (outcomes, permits) = (self.outcomes.clone(), Arc::clone(&self.simulations));
        tokio::spawn(async move {
            let digest = case.digest;
            let _permit = permits.acquire_owned().await;
            let simulation = simulate::run(&context, &fresh, case).await;
            // The actor has gone away only when the peer stops.
            let _ = outcomes.send(Outcome::Simulated(digest, simulation)).await;
        });
    }

    fn send(
        &self,
        digest: Option<Hash32>,
        to: Address,
        data: Vec<u8>,
        slot: Slot,
        gas: u64,
        bumps: u32,
    ) {
        let chain = self.context.chain.clone();
        let wallet = self.wallet.clone();
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move {
            let sent = chain.send_at(&wallet, to, data, slot.nonce, gas, bumps);
            match (digest, sent.await) {
                (Some(digest), sent) => {
                    let sent = sent.map_err(|error| failure(&error));
                    let _ = outcomes.send(Outcome::Sent(digest, slot, sent)).await;
                }
                (None, Ok(_)) => {}
                (None, Err(error)) => {
                    tracing::debug!(nonce = slot.nonce, %error, "a nonce was not consumed");
                }
            }
        });
    }

    fn look_at_wallet(&self) {
        let client = self.context.chain.client().clone();
        let address = self.wallet.address();
        let outcomes = self.outcomes.clone();
        let final_block = self.status.borrow().final_block;
        tokio::spawn(async move {
            let settled = match final_block {
                Some(block) => client.transaction_count_at(address, block.number).await,
                None => Ok(0),
            };
            let latest = client.transaction_count(address).await;
            let balance = client.balance(address).await;
            if let (Ok(latest), Ok(settled), Ok(balance)) = (latest, settled, balance) {
                let nonces = Nonces { latest, settled };
                let is_funded = !balance.is_zero();
                let _ = outcomes.send(Outcome::Wallet { nonces, is_funded }).await;
            }
        });
    }
}

/// What the index and the pending actions say about users.
struct Known<'a> {
    context: &'a Context,
    fresh: &'a FreshActions,
}

impl<'a> Known<'a> {
    const fn new(context: &'a Context, fresh: &'a FreshActions) -> Self {
        Self { context, fresh }
    }

    fn user(&self, user: UserId) -> Option<(Address, UnixSeconds)> {
        let snapshot = self.context.index.snapshot().ok()?;
        if let Ok(Some(view)) = snapshot.user(user) {
            return Some((view.user.wallet, view.user.created_at));
        }
        let pending = self.fresh.view(&snapshot).ok()?;
        let found = pending.users.get(&user)?;
        Some((found.wallet, found.created_at))
    }

    fn wallet(&self, user: UserId) -> Option<Address> {
        self.user(user).map(|(wallet, _)| wallet)
    }
}

impl Accounts for Known<'_> {
    fn account(&self, user: UserId, signer: Address) -> Option<Account> {
        let (owner, created) = self.user(user)?;
        Some(Account {
            owner,
            created,
            is_signer_allowed: owner == signer,
        })
    }
}

fn open_row(context: &Context, row: &Row) -> Option<(Hash32, Open)> {
    if row.stage.is_over() {
        return None;
    }
    let signer = row.action.signer(&context.contracts.action_domain()).ok()?;
    let open = Open {
        signer,
        accepted: row.accepted,
    };
    Some((row.digest, open))
}

fn failure(error: &SendError) -> SendFailure {
    let reason = error.to_string();
    match error {
        SendError::Rpc(RpcError::Rejected { message, .. }) => {
            let message = message.to_lowercase();
            if message.contains("nonce too low") {
                SendFailure::NonceUsed
            } else if PASSING.iter().any(|passing| message.contains(passing)) {
                tracing::warn!(%reason, "a transaction is sent again later");
                SendFailure::Retry
            } else {
                SendFailure::Refused { reason }
            }
        }
        SendError::Rpc(error) if error.is_retryable() => SendFailure::Retry,
        SendError::Rpc(_) | SendError::Reverted { .. } => SendFailure::Refused { reason },
        SendError::Full { .. } | SendError::Stopped => SendFailure::Retry,
    }
}

/// What endpoints say of troubles that pass.
const PASSING: [&str; 6] = [
    "insufficient funds",
    "underpriced",
    "txpool",
    "limit",
    "fee cap",
    "max fee",
];

/// Simulations that are under way.
const SIMULATIONS_MAX: usize = 16;

/// Outcomes that wait for the actor.
const OUTCOMES_MAX: usize = 256;

/// Gas of a transfer.
const TRANSFER_GAS: u64 = 21_000;

/// A pause without a block counts as one.
const IDLE: Duration = Duration::from_secs(15);

/// The same, where blocks come with transactions only.
const IDLE_ON_DEMAND: Duration = Duration::from_secs(1);
