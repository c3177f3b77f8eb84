//! Deploying the contracts, and an operator's way in.

mod operator;
mod plan;
mod sender;
mod verify;

use std::time::Duration;

use protocol::amount::{Dgc, U256};
use protocol::chain::Contracts;
use protocol::chain::calls::AnswerError;
use protocol::id::Address;
use protocol::staking::{BlockTimeError, Periods};
use rpc::{Client, Fees, RpcError, Wallet};
use serde::{Deserialize, Serialize};

pub use self::operator::{ServiceConfig, enrol, stake_and_confirm, transfer, transfer_ether};
use self::plan::{Origin, Plan};
use self::sender::{Call, Sender, StepName, at};
pub use self::verify::verify;

/// What is fixed at deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployConfig {
    /// Who gets all tokens.
    pub treasury: Address,
    /// Who may veto proposals for a time, and nothing else.
    pub guardian: Address,
    /// Blocks between two registry snapshots: 256, and 1 on a development chain.
    pub snapshot_blocks: u64,
    /// Attestations of distinct operators that verify a user's other account.
    pub attestations_min: u64,
    /// The contracts' periods in blocks of this chain.
    pub periods: Periods,
    /// What each round of claims mints.
    pub funding: Funding,
}

/// What each round of claims mints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Funding {
    /// For operators and delegators together, at most.
    pub round: Dgc,
    /// For the community pool.
    pub community: Dgc,
    /// Where the community's part goes; zero while there is no pool.
    pub community_pool: Address,
}

/// A deployment that may have begun: keep it, and what stopped half-way can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployment {
    config: DeployConfig,
    chain_id: u64,
    deployer: Address,
    first_nonce: u64,
    first_block: u64,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeployProgress<'a> {
    /// What is being done.
    pub step: &'a str,
    /// Transactions sent before.
    pub done: usize,
    /// Transactions in all.
    pub total: usize,
}

/// What a deployment takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeployCost {
    /// Transactions in all.
    pub transactions: usize,
    /// Gas of all transactions.
    pub gas: u64,
    /// Wei at the present fees.
    pub wei: U256,
}

/// Why a deployment or registration stopped half-way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// The endpoint or a contract refused.
    #[error("{step}: {source}")]
    Rpc {
        /// What was attempted.
        step: StepName,
        /// Why it failed.
        source: RpcError,
    },
    /// A transaction was mined and reverted, or never mined.
    #[error("{step}: the transaction {outcome}")]
    Transaction {
        /// What was attempted.
        step: StepName,
        /// What became of it.
        outcome: &'static str,
    },
    /// A contract's answer makes no sense.
    #[error("{step}: {source}")]
    Answer {
        /// What was attempted.
        step: StepName,
        /// What is wrong with it.
        source: AnswerError,
    },
    /// Another wallet began.
    #[error("wallet {deployer} began this deployment, {wallet} cannot go on with it")]
    OtherWallet {
        /// The wallet that began.
        deployer: Address,
        /// Who goes on.
        wallet: Address,
    },
    /// The endpoint is on another chain.
    #[error("the deployment began on chain {expected}, the endpoint is on chain {found}")]
    OtherChain {
        /// Where it began.
        expected: u64,
        /// Where the endpoint is.
        found: u64,
    },
    /// Transactions of the deployer are under way.
    #[error("{count} transactions of wallet {wallet} wait to be mined; go on when they are")]
    Waiting {
        /// The wallet that deploys.
        wallet: Address,
        /// Transactions that wait.
        count: u64,
    },
    /// The chain has too few blocks to see how fast they come.
    #[error(
        "the chain is at block {head}, too young to measure its block time; give `--block-time`"
    )]
    Young {
        /// The newest block.
        head: u64,
    },
    /// The contracts are not a whole deployment.
    #[error("the deployment is not whole: {reason}; use none of it")]
    Unfinished {
        /// What is otherwise.
        reason: String,
    },
    /// What stands is not what was planned.
    #[error(
        "cannot go on with the deployment: {reason}; begin another one, nothing of this one is used"
    )]
    Lost {
        /// What is wrong.
        reason: String,
    },
}

impl Default for Funding {
    /// Seven percent of the first supply in a year, nothing for a pool.
    fn default() -> Self {
        Self {
            round: Dgc(U256::from(FUNDING_ROUND_WEI)),
            community: Dgc::ZERO,
            community_pool: Address::ZERO,
        }
    }
}

impl DeployConfig {
    /// For a chain with this time between blocks: the wallet gets all tokens.
    ///
    /// # Errors
    ///
    /// [`BlockTimeError`] when periods cannot be counted in such blocks.
    pub fn new(
        treasury: Address,
        guardian: Address,
        block_time: Duration,
    ) -> Result<Self, BlockTimeError> {
        Ok(Self {
            treasury,
            guardian,
            snapshot_blocks: SNAPSHOT_BLOCKS,
            attestations_min: ATTESTATIONS_MIN,
            periods: Periods::from_block_time(block_time)?,
            funding: Funding::default(),
        })
    }

    /// For a development chain: one wallet holds the tokens and may veto,
    /// blocks come every second and each has a snapshot.
    #[must_use]
    pub fn development(wallet: Address) -> Self {
        Self {
            treasury: wallet,
            guardian: wallet,
            snapshot_blocks: 1,
            attestations_min: 2,
            periods: Periods::from_block_time(Duration::from_secs(1))
                .expect("a second is a possible block time"),
            funding: Funding::default(),
        }
    }
}

impl Deployment {
    /// Plans a deployment by `wallet`; sends nothing. From here to the end the
    /// wallet may send nothing else.
    ///
    /// # Errors
    ///
    /// [`DeployError::Rpc`] when the endpoint does not answer.
    pub async fn begin(
        client: &Client,
        wallet: &Wallet,
        config: DeployConfig,
    ) -> Result<Self, DeployError> {
        const STEP: &str = "start deploying";
        let sender = Sender::new(client, wallet, STEP).await?;
        let head = client.latest().await.map_err(at(STEP))?;
        Ok(Self {
            config,
            chain_id: sender.chain_id,
            deployer: wallet.address(),
            first_nonce: sender.nonce(),
            first_block: head.number,
        })
    }

    /// Where the contracts stand once the deployment is done.
    #[must_use]
    pub fn contracts(&self) -> Contracts {
        self.plan().contracts
    }

    /// What the whole deployment takes at present; the gas is that of the
    /// development chain.
    ///
    /// # Errors
    ///
    /// [`DeployError::Rpc`] when the endpoint does not answer.
    pub async fn cost(&self, client: &Client) -> Result<DeployCost, DeployError> {
        let fees = Fees::suggested(client).await;
        let fees = fees.map_err(at("ask for the fees"))?;
        let price = fees.base.saturating_add(fees.max_priority_fee);
        Ok(DeployCost {
            transactions: self.plan().steps.len(),
            gas: DEPLOY_GAS,
            wei: price.saturating_mul(U256::from(DEPLOY_GAS)),
        })
    }

    /// Sends what has not been sent yet, waits until it is mined and verifies
    /// what stands; `tell` hears of each step.
    ///
    /// # Errors
    ///
    /// [`DeployError`] names the step; call it again to go on.
    pub async fn run(
        &self,
        client: &Client,
        wallet: &Wallet,
        mut tell: impl FnMut(DeployProgress<'_>),
    ) -> Result<Contracts, DeployError> {
        let mut sender = Sender::new(client, wallet, "go on deploying").await?;
        let plan = self.plan();
        let total = plan.steps.len();
        let sent = self.sent(&sender, &plan).await?;
        for (done, step) in plan.steps.into_iter().enumerate().skip(sent) {
            tell(DeployProgress {
                step: &step.name,
                done,
                total,
            });
            let call = Call {
                step: step.name.into(),
                to: step.to,
                data: step.data,
                value: U256::zero(),
            };
            sender.submit(call).await?;
        }
        sender.settle().await?;
        verify(client, &plan.contracts).await?;
        Ok(plan.contracts)
    }

    fn plan(&self) -> Plan {
        let origin = Origin {
            chain_id: self.chain_id,
            deployer: self.deployer,
            nonce: self.first_nonce,
            block: self.first_block,
        };
        Plan::new(&self.config, &origin)
    }

    /// How many steps of the plan are mined, after a look at what they made.
    async fn sent(&self, sender: &Sender<'_>, plan: &Plan) -> Result<usize, DeployError> {
        let (wallet, found) = (sender.wallet.address(), sender.chain_id);
        if wallet != self.deployer {
            return Err(DeployError::OtherWallet {
                deployer: self.deployer,
                wallet,
            });
        }
        if found != self.chain_id {
            return Err(DeployError::OtherChain {
                expected: self.chain_id,
                found,
            });
        }
        let next = sender.client.next_nonce(wallet).await;
        let next = next.map_err(at("look for waiting transactions"))?;
        if next > sender.nonce() {
            return Err(DeployError::Waiting {
                wallet,
                count: next - sender.nonce(),
            });
        }
        let lost = |reason: String| DeployError::Lost { reason };
        let sent = sender
            .nonce()
            .checked_sub(self.first_nonce)
            .ok_or_else(|| lost("the chain has forgotten transactions of the wallet".to_owned()))?;
        let sent = usize::try_from(sent)
            .ok()
            .filter(|sent| *sent <= plan.steps.len())
            .ok_or_else(|| lost(format!("wallet {wallet} has sent other transactions since")))?;
        for step in &plan.steps[..sent] {
            let Some(created) = step.creates else {
                continue;
            };
            let code = sender.client.code(created).await;
            if code.map_err(at(step.name.clone()))?.is_empty() {
                return Err(lost(format!(
                    "there is no contract at {created}, so a transaction failed to {}",
                    step.name
                )));
            }
        }
        Ok(sent)
    }
}

/// Deploys every contract behind its proxy, wires them up and hands all of
/// them to `Governance`.
///
/// # Errors
///
/// [`DeployError`] names the step; start again, nothing is reused. Keep a
/// [`Deployment`] to go on instead.
pub async fn deploy(
    client: &Client,
    wallet: &Wallet,
    config: &DeployConfig,
) -> Result<Contracts, DeployError> {
    let deployment = Deployment::begin(client, wallet, *config).await?;
    deployment.run(client, wallet, |_| {}).await
}

/// The time between blocks, over the last thousand of them.
///
/// # Errors
///
/// [`DeployError::Young`] when there are not even [`MEASURED_BLOCKS_MIN`].
pub async fn block_time(client: &Client) -> Result<Duration, DeployError> {
    const STEP: &str = "measure the block time";
    let head = client.latest().await.map_err(at(STEP))?;
    let blocks = head.number.min(MEASURED_BLOCKS);
    let young = DeployError::Young { head: head.number };
    if blocks < MEASURED_BLOCKS_MIN {
        return Err(young);
    }
    let first = client.block(head.number - blocks).await;
    let first = first.map_err(at(STEP))?.ok_or(young)?;
    let seconds = head.time.0.saturating_sub(first.time.0);
    Ok(Duration::from_millis(
        seconds.saturating_mul(1_000) / blocks,
    ))
}

/// Gas of all transactions of a deployment on the development chain.
pub const DEPLOY_GAS: u64 = 37_090_000;

/// Blocks that the block time is the mean of.
const MEASURED_BLOCKS: u64 = 1_000;

/// Fewer blocks than this say nothing.
pub const MEASURED_BLOCKS_MIN: u64 = 100;

/// Blocks between two snapshots on a public chain.
const SNAPSHOT_BLOCKS: u64 = 256;

/// Attestations that verify a user's account elsewhere.
const ATTESTATIONS_MIN: u64 = 3;

/// 7 % of 10^9 DGC over 52.14 weeks.
const FUNDING_ROUND_WEI: u128 = 1_342_465_753_420_000_000_000_000;

#[cfg(test)]
mod tests;
