//! One transaction from its estimate to its confirmations.
//!
//! [`transact`] is for whoever waits for the outcome: commands, deployments,
//! tests. A peer's relayer, which has many transactions under way, sends
//! through a queue of its own with the same fees.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::amount::U256;
use protocol::chain::Revert;
use protocol::chain::inclusion::{Action, Event, Failure, Inclusion, InclusionConfig, Look, Mined};
use protocol::id::{Address, Hash32};
use protocol::registry::BlockRef;

use crate::client::{CallRequest, Client, Receipt, RpcError};
use crate::clock::Clock;
use crate::fees::{Fees, gas_limit};
use crate::wallet::{RawTransaction, Transaction, Wallet};

/// How patiently a transaction is sent and waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactConfig {
    /// Blocks on top of its block before it counts; 0 takes the first receipt.
    pub confirmations: u64,
    /// Blocks without it after which the fee is raised by a quarter.
    pub bump_blocks: u64,
    /// How often the fee is raised at most.
    pub bumps_max: u32,
    /// Time after which an unmined transaction is given up.
    pub patience: Duration,
    /// Longest pause between two looks at the chain.
    pub poll_interval: Duration,
}

/// What a transaction would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Gas that it uses if it were mined in the present state.
    pub gas: u64,
    /// Wei that this gas costs in the next block.
    pub fee: U256,
    /// Most wei that the gas can cost: its limit at the highest price, before
    /// any raise.
    pub fee_max: U256,
}

/// How far a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An attempt is on its way; the hash changes when the fee is raised.
    Sent {
        /// Hash of the attempt.
        tx_hash: Hash32,
        /// The wallet's nonce, the same for every attempt.
        nonce: u64,
        /// How often the fee was raised.
        bumps: u32,
    },
    /// Not mined yet; told once for each block that passes.
    Waiting {
        /// The newest block.
        head: u64,
    },
    /// In a block.
    Mined(Mined),
    /// Blocks on top of its block.
    Confirmed {
        /// How many there are.
        count: u64,
        /// How many it takes.
        of: u64,
    },
    /// A reorganisation undid its block; it is waited for again.
    Undone {
        /// The block that is gone.
        block: BlockRef,
    },
    /// The endpoints are away; it is waited for all the same.
    Unreachable {
        /// What the endpoints said.
        error: RpcError,
    },
}

/// Why a transaction did not do what it was sent for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactError {
    /// Nothing was sent: the endpoint refuses, or the contract would
    /// ([`RpcError::Revert`] with the reason in words).
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Mined, and the contract refused; the fee is spent.
    #[error("transaction {tx_hash} was mined in block {} and reverted: {reason}", block.number)]
    Reverted {
        /// The transaction that reverted.
        tx_hash: Hash32,
        /// The block that it is in.
        block: BlockRef,
        /// Why, in words.
        reason: Revert,
    },
    /// Sent and not mined.
    #[error("transaction {tx_hash}: {failure}")]
    Failed {
        /// The newest attempt.
        tx_hash: Hash32,
        /// Why it was given up.
        failure: Failure,
    },
}

/// Says what a transaction would cost.
///
/// # Errors
///
/// [`RpcError::Revert`] with the reason in words when it would revert.
pub async fn estimate(
    client: &Client,
    from: Address,
    to: impl Into<Option<Address>>,
    data: Vec<u8>,
    value: U256,
) -> Result<Estimate, RpcError> {
    let request = CallRequest {
        from: Some(from),
        to: to.into(),
        data,
        value,
    };
    let gas = client.estimate_gas(&request).await?;
    let fees = Fees::suggested(client).await?;
    Ok(Estimate::new(gas, fees))
}

/// Sends a transaction and waits for its receipt, with the settings of
/// [`TransactConfig::default`]. `to` is an address, or `None` to create a
/// contract; `progress` is told every step.
///
/// # Errors
///
/// [`TransactError::Rpc`] when nothing was sent, the others when something was.
///
/// # Cancel safety
///
/// Dropping the future leaves an attempt that was sent where it is; it may be
/// mined at any time.
pub async fn transact(
    client: &Client,
    wallet: &Wallet,
    to: impl Into<Option<Address>>,
    data: Vec<u8>,
    value: U256,
    progress: impl FnMut(Progress),
) -> Result<Receipt, TransactError> {
    let config = TransactConfig::default();
    transact_with(client, wallet, to, data, value, &config, progress).await
}

/// As [`transact`], with settings of the caller's.
///
/// # Errors
///
/// As [`transact`].
///
/// # Cancel safety
///
/// As [`transact`].
pub async fn transact_with(
    client: &Client,
    wallet: &Wallet,
    to: impl Into<Option<Address>>,
    data: Vec<u8>,
    value: U256,
    config: &TransactConfig,
    mut progress: impl FnMut(Progress),
) -> Result<Receipt, TransactError> {
    let request = CallRequest {
        from: Some(wallet.address()),
        to: to.into(),
        data,
        value,
    };
    let mut sending = Sending::start(client, wallet, request, *config).await?;
    progress(sending.sent());
    sending.wait(&mut progress).await
}

/// A transaction under way.
struct Sending<'a> {
    client: &'a Client,
    wallet: &'a Wallet,
    config: TransactConfig,
    request: CallRequest,
    clock: Clock,
    first: Transaction,
    fees: Fees,
    newest: RawTransaction,
    bumps: u32,
    machine: Inclusion,
    receipts: BTreeMap<Hash32, Receipt>,
}

impl<'a> Sending<'a> {
    /// Estimates, signs and sends.
    async fn start(
        client: &'a Client,
        wallet: &'a Wallet,
        request: CallRequest,
        config: TransactConfig,
    ) -> Result<Self, TransactError> {
        let gas = client.estimate_gas(&request).await?;
        let fees = Fees::suggested(client).await?;
        let mut first = Transaction {
            chain_id: client.chain_id().await?,
            nonce: 0,
            to: request.to,
            value: request.value,
            data: request.data.clone(),
            gas_limit: gas_limit(gas),
            max_fee: fees.max_fee,
            max_priority_fee: fees.max_priority_fee,
        };
        let newest = send_first(client, wallet, &mut first).await?;
        let clock = Clock::system();
        let inclusion = InclusionConfig {
            confirmations: config.confirmations,
            bump_blocks: config.bump_blocks,
            bumps_max: config.bumps_max,
            broadcast_interval: BROADCAST_INTERVAL,
            patience: config.patience,
        };
        Ok(Self {
            client,
            wallet,
            config,
            request,
            clock,
            fees,
            bumps: 0,
            machine: Inclusion::new(inclusion, first.nonce, newest.hash, clock.now()),
            first,
            newest,
            receipts: BTreeMap::new(),
        })
    }

    fn sent(&self) -> Progress {
        Progress::Sent {
            tx_hash: self.newest.hash,
            nonce: self.first.nonce,
            bumps: self.bumps,
        }
    }

    /// Looks at the chain until the machine has done.
    async fn wait(
        &mut self,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Receipt, TransactError> {
        let started = self.clock.now();
        let mut pause = POLL_INTERVAL_MIN;
        let mut head = None;
        loop {
            match self.look().await {
                Ok(look) => {
                    if head != Some(look.head) && look.mined.is_none() {
                        progress(Progress::Waiting { head: look.head });
                    }
                    head = Some(look.head);
                    self.machine.handle_look(look, self.clock.now());
                }
                Err(error) if !error.is_retryable() => return Err(error.into()),
                Err(error) => {
                    let waited = self.clock.now().saturating_since(started);
                    if waited >= self.config.patience {
                        return Err(self.failed(Failure::NotMined { waited }));
                    }
                    progress(Progress::Unreachable { error });
                }
            }
            if let Some(action) = self.machine.poll_action() {
                self.act(action, progress).await;
            }
            while let Some(event) = self.machine.poll_event() {
                match event {
                    Event::Mined(mined) => progress(Progress::Mined(mined)),
                    Event::Confirmed { count, of } => progress(Progress::Confirmed { count, of }),
                    Event::Undone { block } => progress(Progress::Undone { block }),
                    Event::Done(mined) => return self.finish(mined).await,
                    Event::Failed(failure) => return Err(self.failed(failure)),
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(self.config.poll_interval);
        }
    }

    async fn look(&mut self) -> Result<Look, RpcError> {
        let count = self.client.transaction_count(self.wallet.address()).await?;
        let mut mined = None;
        let attempts: Vec<Hash32> = self.machine.attempts().collect();
        for tx_hash in attempts {
            if let Some(receipt) = self.client.receipt(tx_hash).await? {
                mined = Some(Mined {
                    tx_hash,
                    block: receipt.block,
                    succeeded: receipt.succeeded,
                });
                self.receipts.insert(tx_hash, receipt);
                break;
            }
        }
        // Asked for last: a block on top of the receipt's is never missed.
        let head = self.client.latest().await?.number;
        Ok(Look { head, count, mined })
    }

    async fn act(&mut self, action: Action, progress: &mut impl FnMut(Progress)) {
        match action {
            Action::Broadcast => {
                let answer = self.client.send_raw(&self.newest.bytes).await;
                match answer {
                    Ok(()) => self.machine.handle_broadcast(None),
                    Err(error) if error.is_known_transaction() => {
                        self.machine.handle_broadcast(None);
                    }
                    // Whoever used the nonce, the next look tells.
                    Err(error) if error.is_retryable() || error.is_nonce_used() => {}
                    Err(error) => self.machine.handle_broadcast(Some(error.to_string())),
                }
            }
            Action::Bump { bumps } => {
                let raised = self.fees.bumped(bumps);
                let fees = match Fees::suggested(self.client).await {
                    Ok(suggested) => raised.at_least(suggested),
                    Err(_) => raised,
                };
                let raw = self.wallet.sign(&Transaction {
                    max_fee: fees.max_fee,
                    max_priority_fee: fees.max_priority_fee,
                    ..self.first.clone()
                });
                match self.client.send_raw(&raw.bytes).await {
                    Err(error) if !error.is_retryable() && !error.is_known_transaction() => {
                        tracing::debug!(%error, bumps, "a raised fee was refused");
                        self.machine.handle_bump_refused();
                    }
                    _ => {
                        self.machine.handle_sent(raw.hash, self.clock.now());
                        self.newest = raw;
                        self.bumps = bumps;
                        progress(self.sent());
                    }
                }
            }
        }
    }

    async fn finish(&mut self, mined: Mined) -> Result<Receipt, TransactError> {
        let receipt = self
            .receipts
            .remove(&mined.tx_hash)
            .expect("a mined attempt was seen with its receipt");
        if mined.succeeded {
            return Ok(receipt);
        }
        Err(TransactError::Reverted {
            tx_hash: mined.tx_hash,
            block: mined.block,
            reason: self.reason(&receipt).await,
        })
    }

    /// Runs it again where it was mined, to learn why it reverted.
    async fn reason(&self, receipt: &Receipt) -> Revert {
        if receipt.gas_used >= self.first.gas_limit {
            return Revert {
                name: String::new(),
                text: format!("it ran out of gas at {}", self.first.gas_limit),
            };
        }
        let again = self.client.call_at(&self.request, receipt.block.number);
        match again.await {
            Err(RpcError::Revert(reason)) => reason,
            _ => protocol::chain::explain_revert(&[]),
        }
    }

    fn failed(&self, failure: Failure) -> TransactError {
        TransactError::Failed {
            tx_hash: self.newest.hash,
            failure,
        }
    }
}

/// Sends the first attempt, with another nonce when a transaction of the same
/// wallet came in between.
async fn send_first(
    client: &Client,
    wallet: &Wallet,
    transaction: &mut Transaction,
) -> Result<RawTransaction, RpcError> {
    let mut attempt = 1;
    loop {
        transaction.nonce = client.next_nonce(wallet.address()).await?;
        let raw = wallet.sign(transaction);
        match client.send_raw(&raw.bytes).await {
            Ok(()) => return Ok(raw),
            // It may have arrived; it is broadcast again.
            Err(error) if error.is_retryable() || error.is_known_transaction() => return Ok(raw),
            Err(error) if error.is_nonce_used() && attempt < NONCE_ATTEMPTS_MAX => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

impl Estimate {
    fn new(gas: u64, fees: Fees) -> Self {
        let price = fees.max_fee.min(fees.base + fees.max_priority_fee);
        Self {
            gas,
            fee: price.saturating_mul(gas.into()),
            fee_max: fees.max_fee.saturating_mul(gas_limit(gas).into()),
        }
    }
}

impl Default for TransactConfig {
    /// The first receipt counts, the fee rises every 5 blocks, and it is given
    /// up after 10 minutes.
    fn default() -> Self {
        Self {
            confirmations: 0,
            bump_blocks: 5,
            bumps_max: 8,
            patience: Duration::from_secs(600),
            poll_interval: Duration::from_secs(2),
        }
    }
}

/// Chosen: a block of a slow chain.
const BROADCAST_INTERVAL: Duration = Duration::from_secs(15);

/// Chosen: shorter than any block, for chains that mine on demand.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Nonces that are tried while other transactions of the wallet come in between.
/// Chosen: one more program may send with the same wallet, not many.
const NONCE_ATTEMPTS_MAX: u32 = 3;
