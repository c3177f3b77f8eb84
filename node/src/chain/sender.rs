//! The one task that sends transactions, so that nonces never collide.
//!
//! Nonces are counted here. What has been sent is kept until the chain has
//! counted it and [`MINED_MAX`] later ones; whatever the chain does not count,
//! be it lost on the way or undone by a reorganisation, is broadcast again.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::amount::U256;
use protocol::chain::BlockHeader;
use protocol::id::{Address, Hash32};
use rpc::{CallRequest, Client, Fees, RawTransaction, RpcError, Transaction, Wallet, gas_limit};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::SendError;

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Simulates, signs and broadcasts a transaction.
    Send {
        wallet: Wallet,
        to: Option<Address>,
        data: Vec<u8>,
        value: U256,
        reply: oneshot::Sender<Result<Hash32, SendError>>,
    },
    /// Signs and broadcasts with a nonce that the caller counts, in place of
    /// what was sent with it before.
    SendAt {
        wallet: Wallet,
        to: Address,
        data: Vec<u8>,
        nonce: u64,
        gas: u64,
        bumps: u32,
        reply: oneshot::Sender<Result<Hash32, SendError>>,
    },
}

#[derive(Debug)]
pub(super) struct Actor {
    client: Client,
    commands: mpsc::Receiver<Command>,
    heads: watch::Receiver<Option<BlockHeader>>,
    wallets: BTreeMap<Address, Nonces>,
}

/// A wallet's latest transactions.
#[derive(Debug, Default)]
struct Nonces {
    /// How many the chain had counted when it was last asked.
    mined: u64,
    /// By nonce; at most [`PENDING_MAX`] that are not counted and
    /// [`MINED_MAX`] that are.
    sent: BTreeMap<u64, RawTransaction>,
}

impl Actor {
    pub(super) fn new(
        client: Client,
        commands: mpsc::Receiver<Command>,
        heads: watch::Receiver<Option<BlockHeader>>,
    ) -> Self {
        Self {
            client,
            commands,
            heads,
            wallets: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(BROADCAST_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.handle_tick().await,
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => return,
                },
            }
        }
    }

    async fn handle_command(&mut self, command: Command) {
        match command {
            Command::Send {
                wallet,
                to,
                data,
                value,
                reply,
            } => {
                let answer = self.send(&wallet, to, data, value).await;
                // The asker may have left; the transaction is out all the same.
                let _ = reply.send(answer);
            }
            Command::SendAt {
                wallet,
                to,
                data,
                nonce,
                gas,
                bumps,
                reply,
            } => {
                let answer = self.send_at(&wallet, to, data, nonce, gas, bumps).await;
                let _ = reply.send(answer);
            }
        }
    }

    async fn send(
        &mut self,
        wallet: &Wallet,
        to: Option<Address>,
        data: Vec<u8>,
        value: U256,
    ) -> Result<Hash32, SendError> {
        let request = CallRequest {
            from: Some(wallet.address()),
            to,
            data,
            value,
        };
        let gas = self.client.estimate_gas(&request).await?;
        let nonce = self.next_nonce(wallet.address()).await?;
        let fees = self.fees().await?;
        let transaction = Transaction {
            chain_id: self.client.chain_id().await?,
            nonce,
            to,
            value,
            data: request.data,
            gas_limit: gas_limit(gas),
            max_fee: fees.max_fee,
            max_priority_fee: fees.max_priority_fee,
        };
        let raw = wallet.sign(&transaction);
        match self.client.send_raw(&raw.bytes).await {
            Ok(()) => {}
            // Whether it arrived is not known; it is broadcast again.
            Err(error) if error.is_retryable() => {
                debug!(tx = %raw.hash, %error, "broadcast is put off");
            }
            Err(error) => return Err(error.into()),
        }
        let hash = raw.hash;
        let nonces = self.wallets.entry(wallet.address()).or_default();
        nonces.sent.insert(nonce, raw);
        Ok(hash)
    }

    async fn send_at(
        &mut self,
        wallet: &Wallet,
        to: Address,
        data: Vec<u8>,
        nonce: u64,
        gas: u64,
        bumps: u32,
    ) -> Result<Hash32, SendError> {
        let fees = self.fees().await?.bumped(bumps);
        let transaction = Transaction {
            chain_id: self.client.chain_id().await?,
            nonce,
            to: Some(to),
            value: U256::zero(),
            data,
            gas_limit: gas_limit(gas),
            max_fee: fees.max_fee,
            max_priority_fee: fees.max_priority_fee,
        };
        let raw = wallet.sign(&transaction);
        match self.client.send_raw(&raw.bytes).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() || error.is_known_transaction() => {
                debug!(tx = %raw.hash, %error, "broadcast is put off");
            }
            Err(error) => return Err(error.into()),
        }
        let hash = raw.hash;
        let nonces = self.wallets.entry(wallet.address()).or_default();
        nonces.sent.insert(nonce, raw);
        Ok(hash)
    }

    /// The first nonce that is neither counted by the chain nor under way.
    async fn next_nonce(&mut self, wallet: Address) -> Result<u64, SendError> {
        let mined = self.client.transaction_count(wallet).await?;
        let nonces = self.wallets.entry(wallet).or_default();
        if nonces.handle_count(mined) {
            broadcast(&self.client, wallet, nonces).await;
        }
        let count = nonces.pending().count();
        if count >= PENDING_MAX {
            return Err(SendError::Full { wallet, count });
        }
        Ok(nonces.next())
    }

    /// The suggested fees, without asking for the head again.
    async fn fees(&self) -> Result<Fees, RpcError> {
        let known = *self.heads.borrow();
        match known {
            Some(head) => {
                let base = head.base_fee.unwrap_or_default();
                Ok(Fees::new(base.into(), rpc::tip(&self.client).await?))
            }
            None => Fees::suggested(&self.client).await,
        }
    }

    /// Broadcasts again what the chain has not counted.
    async fn handle_tick(&mut self) {
        for (wallet, nonces) in &mut self.wallets {
            if nonces.sent.is_empty() {
                continue;
            }
            let Ok(mined) = self.client.transaction_count(*wallet).await else {
                return;
            };
            nonces.handle_count(mined);
            broadcast(&self.client, *wallet, nonces).await;
        }
        if self.wallets.len() > WALLETS_MAX {
            self.wallets
                .retain(|_, nonces| nonces.pending().next().is_some());
        }
    }
}

impl Nonces {
    /// Notes how many transactions the chain counts; true when it has lost some
    /// that it had counted.
    fn handle_count(&mut self, mined: u64) -> bool {
        let has_lost = mined < self.mined;
        self.mined = mined;
        self.sent = self.sent.split_off(&mined.saturating_sub(MINED_MAX));
        has_lost
    }

    fn pending(&self) -> impl Iterator<Item = (&u64, &RawTransaction)> {
        self.sent.range(self.mined..)
    }

    /// Fills a gap first: nothing behind one is ever mined.
    fn next(&self) -> u64 {
        let mut next = self.mined;
        while self.sent.contains_key(&next) {
            next += 1;
        }
        next
    }
}

async fn broadcast(client: &Client, wallet: Address, nonces: &Nonces) {
    for (nonce, raw) in nonces.pending().take(BROADCASTS_MAX) {
        match client.send_raw(&raw.bytes).await {
            Ok(()) => debug!(%wallet, nonce, tx = %raw.hash, "broadcast again"),
            Err(error) if error.is_retryable() => return,
            // "already known" is the usual answer and a good one.
            Err(error) => debug!(%wallet, nonce, %error, "broadcast was refused"),
        }
    }
}

/// Most transactions of one wallet that wait to be mined. Chosen: several times what
/// pools promise to keep of one account; broadcasting again brings in the others.
pub(super) const PENDING_MAX: usize = 256;

/// Mined transactions of one wallet that are kept for a reorganisation. Chosen: the
/// latest blocks' worth, since only those are undone.
const MINED_MAX: u64 = 64;

/// Wallets beyond this are forgotten when none of their transactions waits. Chosen:
/// far more than a peer has.
const WALLETS_MAX: usize = 1024;

/// Transactions of one wallet that are broadcast again at once: as many as usual
/// pools promise to keep of one account.
const BROADCASTS_MAX: usize = 16;

/// Chosen: endpoints lose transactions seldom, and forget them within blocks.
const BROADCAST_INTERVAL: Duration = Duration::from_secs(5);
