//! What operators and holders of tokens read from the contracts and send to them.
//!
//! A [`Deployment`] is spoken to over JSON-RPC, without a peer in between: an
//! operator's wallet need not be where its peers run. Reading answers with
//! plain data in tokens and blocks; sending starts with a [`Call`] that says
//! what it does, and ends in [`rpc::transact()`].

use std::time::Duration;

use ethers_core::abi::Token;
use protocol::amount::{Dgc, U256};
use protocol::chain::calls::{self, address};
use protocol::chain::{BlockHeader, ContractKind, Contracts, artifact};
use protocol::id::Address;
use rpc::{CallRequest, Client, Estimate, RpcError, estimate};

mod answer;
pub mod claims;
pub mod delegation;
pub mod endpoint;
pub mod governance;
pub mod operator;
pub mod payments;
pub mod state;

pub use answer::Answer;

/// The contracts on one chain; cheap to clone.
#[derive(Debug, Clone)]
pub struct Deployment {
    client: Client,
    contracts: Contracts,
}

/// A transaction before anybody signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it does, for people: "stake 5 DGC".
    pub what: String,
    /// What it calls: `ServiceProviderFactory.increaseStake`.
    pub function: String,
    /// Whom it calls.
    pub to: Address,
    /// Its call data.
    pub data: Vec<u8>,
    /// Gas that such calls use, for when an earlier one must be mined before
    /// it can be estimated.
    pub gas_typical: u64,
}

/// Why something could not be read or prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// The chain did not answer, or the contract refused.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The contract's answer is not what its ABI promises.
    #[error("the answer of {function} is not {expected}; check the contract addresses")]
    Answer {
        /// The view that was called.
        function: &'static str,
        /// What it should have answered.
        expected: &'static str,
    },
    /// The deployment does not have this contract.
    #[error("the deployment has no {name}; its addresses come from an older deployment")]
    Missing {
        /// Name of the contract.
        name: &'static str,
    },
}

/// What a wallet owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Balances {
    /// Tokens that it has.
    pub dgc: Dgc,
    /// The chain's coin, which pays for gas.
    pub ether: Dgc,
}

/// A request that can be carried out from a block on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Pending {
    /// How many tokens.
    pub amount: Dgc,
    /// The first block in which it can be carried out.
    pub unlock_block: u64,
}

/// How fast a chain goes, to say when a block will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The newest block.
    pub head: BlockAt,
    /// Time between two blocks, over the last [`PACE_BLOCKS`]; on a development
    /// chain what the contracts count a block for.
    pub block_time: Duration,
    /// True when blocks come by transactions and on request alone.
    pub is_development: bool,
}

/// A block and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockAt {
    /// Number of the block.
    pub number: u64,
    /// Its Unix time in seconds.
    pub seconds: u64,
}

impl Deployment {
    /// The contracts at these addresses, over this client.
    #[must_use]
    pub const fn new(client: Client, contracts: Contracts) -> Self {
        Self { client, contracts }
    }

    /// The way to the chain.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Addresses of the contracts.
    #[must_use]
    pub const fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// Asks a view of a contract.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer as the ABI promises.
    pub async fn view(
        &self,
        kind: ContractKind,
        function: &'static str,
        arguments: &[Token],
    ) -> Result<Answer, OperateError> {
        let data = calls::encode(kind, function, arguments);
        let request = CallRequest::view(self.address_of(kind)?, data);
        let bytes = self.client.call(&request).await?;
        let tokens = artifact(kind)
            .abi
            .function(function)
            .ok()
            .and_then(|function| function.decode_output(&bytes).ok())
            .ok_or(OperateError::Answer {
                function,
                expected: "what its ABI promises",
            })?;
        Ok(Answer::new(function, tokens))
    }

    /// Prepares a call of a contract.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment does not have it.
    pub fn call(
        &self,
        kind: ContractKind,
        function: &'static str,
        arguments: &[Token],
        what: impl Into<String>,
    ) -> Result<Call, OperateError> {
        Ok(Call {
            what: what.into(),
            function: format!("{}.{function}", kind.name()),
            to: self.address_of(kind)?,
            data: calls::encode(kind, function, arguments),
            gas_typical: gas_typical(function),
        })
    }

    /// Lets `Staking` take `amount` from a wallet; `None` when it may already.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn approve_stake(
        &self,
        wallet: Address,
        amount: Dgc,
    ) -> Result<Option<Call>, OperateError> {
        let staking = self.contracts.staking;
        let arguments = [address(wallet), address(staking)];
        let mut answer = self
            .view(ContractKind::ColivingToken, "allowance", &arguments)
            .await?;
        if answer.amount()? >= amount {
            return Ok(None);
        }
        let arguments = [address(staking), Token::Uint(amount.0)];
        let what = format!("let the staking contract take {amount} DGC");
        self.call(ContractKind::ColivingToken, "approve", &arguments, what)
            .map(Some)
    }

    /// What a wallet owns.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn balances(&self, wallet: Address) -> Result<Balances, OperateError> {
        let tokens = [address(wallet)];
        let (mut tokens, ether) = futures::try_join!(
            self.view(ContractKind::ColivingToken, "balanceOf", &tokens),
            async { Ok(self.client.balance(wallet).await?) },
        )?;
        Ok(Balances {
            dgc: tokens.amount()?,
            ether: Dgc(ether),
        })
    }

    /// What a call would cost.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when it would revert.
    pub async fn estimate(&self, from: Address, call: &Call) -> Result<Estimate, RpcError> {
        estimate(&self.client, from, call.to, call.data.clone(), U256::zero()).await
    }

    /// How fast the chain goes.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn pace(&self) -> Result<Pace, OperateError> {
        let (head, version) =
            futures::try_join!(self.client.latest(), client_version(&self.client))?;
        let blocks = head.number.min(PACE_BLOCKS);
        let before = self.client.block(head.number - blocks).await?;
        let pace = Pace::between(before.as_ref().unwrap_or(&head), &head);
        if !is_development(&version) {
            return Ok(pace);
        }
        // Such a chain makes blocks when it is asked to. What one counts for
        // follows from the week that stake is locked.
        let week = self.decrease_lockup().await?;
        let week = u32::try_from(week).unwrap_or(u32::MAX).max(1);
        Ok(Pace {
            block_time: WEEK / week,
            is_development: true,
            ..pace
        })
    }

    fn address_of(&self, kind: ContractKind) -> Result<Address, OperateError> {
        let found = address_in(&self.contracts, kind);
        found.ok_or(OperateError::Missing { name: kind.name() })
    }
}

/// Where a contract of a deployment stands.
fn address_in(contracts: &Contracts, kind: ContractKind) -> Option<Address> {
    let found = contracts.proxies().into_iter();
    let mut found = found.filter(|(known, address)| *known == kind && *address != Address::ZERO);
    found.next().map(|(_, address)| address)
}

impl Pace {
    fn between(before: &BlockHeader, head: &BlockHeader) -> Self {
        let blocks = head.number.saturating_sub(before.number);
        let seconds = head.time.0.saturating_sub(before.time.0);
        let millis = (seconds * 1000).checked_div(blocks);
        Self {
            head: BlockAt {
                number: head.number,
                seconds: head.time.0,
            },
            block_time: millis.map_or(BLOCK_TIME_GUESS, Duration::from_millis),
            is_development: false,
        }
    }

    /// Blocks from the head to `block`; 0 when it has been.
    #[must_use]
    pub const fn blocks_to(&self, block: u64) -> u64 {
        block.saturating_sub(self.head.number)
    }

    /// About how long it is from the head to `block`.
    #[must_use]
    pub fn time_to(&self, block: u64) -> Duration {
        let blocks = u32::try_from(self.blocks_to(block)).unwrap_or(u32::MAX);
        self.block_time.saturating_mul(blocks)
    }
}

/// What an endpoint runs, as `web3_clientVersion` says; empty when it does not.
///
/// # Errors
///
/// [`RpcError`] when nobody answers.
pub async fn client_version(client: &Client) -> Result<String, RpcError> {
    match client.request("web3_clientVersion", Vec::new()).await {
        Ok(version) => Ok(version.as_str().unwrap_or_default().to_owned()),
        Err(RpcError::Rejected { .. }) => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// True for programs that are development chains.
#[must_use]
pub fn is_development(version: &str) -> bool {
    let name = version.split('/').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    DEVELOPMENT.contains(&name.as_str())
}

/// Gas that calls of a function use, from the contracts' gas snapshot, rounded up.
fn gas_typical(function: &str) -> u64 {
    match function {
        "register" => 450_000,
        "increaseStake" | "delegateStake" => 300_000,
        "confirm" | "confirmWithSignature" => 350_000,
        "claimRewards" => 400_000,
        _ => 200_000,
    }
}

/// Development chains, as the first part of `web3_clientVersion` names them.
const DEVELOPMENT: [&str; 3] = ["coliving-devchain", "anvil", "hardhatnetwork"];

/// Blocks over which the time between two is measured.
pub const PACE_BLOCKS: u64 = 256;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Time between two blocks of a chain that has one.
const BLOCK_TIME_GUESS: Duration = Duration::from_secs(1);
