//! Sends transactions of one wallet in order, many of them before the first is mined.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use protocol::amount::U256;
use protocol::id::{Address, Hash32};
use rpc::{CallRequest, Client, Fees, Receipt, RpcError, Transaction, Wallet, gas_limit};

use super::DeployError;

/// A wallet that nobody else sends from meanwhile.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) wallet: &'a Wallet,
    pub(super) chain_id: u64,
    nonce: u64,
    /// Sent and not known to be mined, oldest first.
    waiting: VecDeque<Sent>,
}

/// What is attempted, for people.
pub(super) type StepName = Cow<'static, str>;

/// A transaction to send.
pub(super) struct Call {
    pub(super) step: StepName,
    pub(super) to: Option<Address>,
    pub(super) data: Vec<u8>,
    pub(super) value: U256,
}

struct Sent {
    step: StepName,
    hash: Hash32,
}

impl Call {
    pub(super) fn new(step: impl Into<StepName>, to: Address, data: Vec<u8>) -> Self {
        Self {
            step: step.into(),
            to: Some(to),
            data,
            value: U256::zero(),
        }
    }
}

impl<'a> Sender<'a> {
    pub(super) async fn new(
        client: &'a Client,
        wallet: &'a Wallet,
        step: &'static str,
    ) -> Result<Self, DeployError> {
        let chain_id = client.chain_id().await.map_err(at(step))?;
        let nonce = client.transaction_count(wallet.address()).await;
        Ok(Self {
            client,
            wallet,
            chain_id,
            nonce: nonce.map_err(at(step))?,
            waiting: VecDeque::new(),
        })
    }

    /// The nonce of the next transaction.
    pub(super) fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Sends a transaction and does not wait for it, but for those before it
    /// when there are too many or it cannot be estimated without them.
    pub(super) async fn submit(&mut self, call: Call) -> Result<Hash32, DeployError> {
        if self.waiting.len() >= WAITING_MAX {
            self.oldest().await?;
        }
        let request = CallRequest {
            from: Some(self.wallet.address()),
            to: call.to,
            data: call.data,
            value: call.value,
        };
        let mut estimate = self.client.estimate_gas(&request).await;
        if matches!(estimate, Err(RpcError::Revert(_))) && !self.waiting.is_empty() {
            self.settle().await?;
            estimate = self.client.estimate_gas(&request).await;
        }
        let step = call.step;
        let gas = estimate.map_err(at(step.clone()))?;
        let fees = Fees::suggested(self.client).await;
        let fees = fees.map_err(at(step.clone()))?;
        let raw = self.wallet.sign(&Transaction {
            chain_id: self.chain_id,
            nonce: self.nonce,
            to: request.to,
            value: request.value,
            data: request.data,
            gas_limit: gas_limit(gas),
            max_fee: fees.max_fee,
            max_priority_fee: fees.max_priority_fee,
        });
        let sent = self.client.send_raw(&raw.bytes).await;
        sent.map_err(at(step.clone()))?;
        self.nonce += 1;
        let hash = raw.hash;
        self.waiting.push_back(Sent { step, hash });
        Ok(hash)
    }

    /// Sends a transaction and waits until it and all before it are mined.
    pub(super) async fn transact(&mut self, call: Call) -> Result<Receipt, DeployError> {
        self.submit(call).await?;
        self.settle().await.map(|last| {
            // Something was submitted just now.
            last.expect("a receipt for what was waiting")
        })
    }

    /// Waits until everything sent is mined; returns the last receipt.
    pub(super) async fn settle(&mut self) -> Result<Option<Receipt>, DeployError> {
        let mut last = None;
        while !self.waiting.is_empty() {
            last = self.oldest().await?;
        }
        Ok(last)
    }

    async fn oldest(&mut self) -> Result<Option<Receipt>, DeployError> {
        let Some(Sent { step, hash }) = self.waiting.pop_front() else {
            return Ok(None);
        };
        for _ in 0..RECEIPT_POLLS_MAX {
            let found = self.client.receipt(hash).await;
            match found.map_err(at(step.clone()))? {
                Some(receipt) if receipt.succeeded => return Ok(Some(receipt)),
                Some(_) => {
                    return Err(DeployError::Transaction {
                        step,
                        outcome: "was mined and reverted",
                    });
                }
                None => tokio::time::sleep(RECEIPT_INTERVAL).await,
            }
        }
        Err(DeployError::Transaction {
            step,
            outcome: "was not mined within five minutes; is the chain halted?",
        })
    }
}

pub(super) fn at(step: impl Into<StepName>) -> impl FnOnce(RpcError) -> DeployError {
    let step = step.into();
    move |source| DeployError::Rpc { step, source }
}

/// Endpoints take at least this many transactions of a wallet at once.
const WAITING_MAX: usize = 16;

/// Chosen: shorter than any block.
const RECEIPT_INTERVAL: Duration = Duration::from_millis(250);

/// Five minutes of polling.
const RECEIPT_POLLS_MAX: usize = 1_200;
