//! Transactions of a wallet of this machine: shown, asked for, sent, waited for.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use client::operate::{Call, Deployment, Pace};
use client::{Client, ClientError};
use protocol::amount::{Dgc, U256};
use protocol::chain::Contracts;
use protocol::id::Address;
use protocol::signing::SigningKey;
use rpc::{Client as RpcClient, Estimate, Progress, Receipt, RpcError, Wallet, transact};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, fail};
use crate::output::{Output, fields, printable};
use crate::session;

/// How a command reaches the chain.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Chain options")]
pub(crate) struct ChainArgs {
    /// JSON-RPC endpoint of the chain [default: the peer's own]
    #[arg(long, value_name = "URL", env = "COLIVING_RPC", value_delimiter = ',')]
    pub(crate) rpc: Vec<String>,
    /// File with the contracts' addresses, as `coliving chain info --json` prints them [default: the peer's own]
    #[arg(long, value_name = "FILE", env = "COLIVING_CONTRACTS")]
    pub(crate) contracts: Option<PathBuf>,
}

/// How a command sends.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sending options")]
pub(crate) struct SendArgs {
    /// Send without asking
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// Show what would be sent and what it costs, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
}

/// How a chain is reached, and the contracts on it.
pub(crate) struct Chain {
    pub(crate) rpc: Vec<String>,
    pub(crate) contracts: Contracts,
    /// What the peer waits for, where one was asked.
    pub(crate) confirmations: Option<u64>,
}

/// The contracts, reached, and how fast their chain goes.
pub(crate) struct Door {
    pub(crate) deployment: Deployment,
    pub(crate) pace: Pace,
}

/// Who pays for a transaction.
pub(crate) enum Payer {
    /// The wallet that is meant; opened when everything was agreed to.
    Wallet(Address),
    /// A key at hand.
    Key(SigningKey),
}

/// What a command is going to do.
pub(crate) struct Plan {
    /// The command's words.
    pub(crate) command: &'static str,
    /// What will be so, by name.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The transactions, in order.
    pub(crate) calls: Vec<Call>,
    /// Fields of the command's result beside those of every transaction.
    pub(crate) value: Value,
}

/// What was sent and mined.
pub(crate) struct Sent {
    pub(crate) receipts: Vec<Receipt>,
    value: Value,
}

/// What a call costs, or what such calls cost.
struct Cost {
    gas: u64,
    fee_max: U256,
    is_guess: bool,
}

impl Door {
    /// Finds the chain and the contracts: by flags, by the peer, by config.toml.
    pub(crate) async fn open(context: &Context, args: &ChainArgs) -> anyhow::Result<Self> {
        let found = find_chain(context, args).await?;
        let chain_id = Some(found.contracts.chain_id).filter(|id| *id != 0);
        let client = RpcClient::new(&found.rpc, chain_id)?;
        let deployment = Deployment::new(client, found.contracts);
        let pace = deployment.pace().await?;
        Ok(Self { deployment, pace })
    }

    /// When a block will be, in words.
    pub(crate) fn when(&self, block: u64) -> String {
        match self.pace.blocks_to(block) {
            0 => format!("block {block} (reached)"),
            blocks => format!(
                "block {block} (in {blocks} blocks, about {})",
                about(self.pace.time_to(block))
            ),
        }
    }

    /// How long so many blocks take, in words.
    pub(crate) fn span(&self, blocks: u64) -> String {
        about(
            self.pace
                .time_to(self.pace.head.number.saturating_add(blocks)),
        )
    }

    /// When a lock-up that begins in the next block ends.
    pub(crate) fn after(&self, blocks: u64) -> String {
        self.when(
            self.pace
                .head
                .number
                .saturating_add(1)
                .saturating_add(blocks),
        )
    }

    /// Shows a plan, asks, sends its transactions one after the other and waits
    /// for each. Nothing is sent in a dry run, whose result is printed here.
    pub(crate) async fn carry_out(
        &self,
        context: &Context,
        args: &SendArgs,
        payer: Payer,
        plan: Plan,
    ) -> anyhow::Result<Option<Sent>> {
        let output = context.output;
        let address = payer.address();
        let estimating = output.spinner("estimating the cost");
        let costs = self.costs(address, &plan.calls).await?;
        let balances = self.deployment.balances(address).await?;
        estimating.finish_and_clear();
        let fee_max = costs
            .iter()
            .fold(U256::zero(), |sum, cost| sum + cost.fee_max);
        if args.dry_run {
            let value = dry_run_value(&plan, address, &costs, fee_max);
            let text = || plan_text(&plan, address, &costs, fee_max);
            output.result(&value, text)?;
            return Ok(None);
        }
        if balances.ether.0 < fee_max {
            return fail(
                "no_gas",
                format!(
                    "{address} has {} of the chain's coin, the transactions cost up to {}",
                    balances.ether,
                    coin(Dgc(fee_max))
                ),
                "send it some; on a development chain `coliving chain fund` does",
            );
        }
        let is_asked = !args.yes;
        if is_asked || !output.is_json() {
            output.note(&plan_text(&plan, address, &costs, fee_max));
        }
        if is_asked {
            ask()?;
        }
        let wallet = payer.open(context)?;
        let mut receipts = Vec::new();
        for call in &plan.calls {
            receipts.push(self.send(output, &wallet, call).await?);
        }
        let value = sent_value(&plan, address, &receipts);
        Ok(Some(Sent { receipts, value }))
    }

    async fn send(&self, output: Output, wallet: &Wallet, call: &Call) -> anyhow::Result<Receipt> {
        let progress = output.spinner(&call.what);
        let tell = |step: Progress| progress.set_message(progress_line(&call.what, &step));
        self.await_next_block(wallet.address(), call).await?;
        let client = self.deployment.client();
        let data = call.data.clone();
        let sent = transact(client, wallet, call.to, data, U256::zero(), tell).await;
        progress.finish_and_clear();
        let receipt = sent.with_context(|| format!("cannot {}", call.what))?;
        if !output.is_json() {
            output.note(&format!(
                "done: {} (block {}, {} gas)",
                call.what, receipt.block.number, receipt.gas_used
            ));
        }
        Ok(receipt)
    }

    /// Waits for the next block when the contract says that the newest one is
    /// too early: a round and a vote begin one block after they were asked for.
    async fn await_next_block(&self, from: Address, call: &Call) -> anyhow::Result<()> {
        let is_early = match self.deployment.estimate(from, call).await {
            Err(RpcError::Revert(revert)) => EARLY.contains(&revert.name.as_str()),
            _ => false,
        };
        if !is_early {
            return Ok(());
        }
        let client = self.deployment.client();
        let early = client.latest().await?.number;
        if self.pace.is_development {
            client.request("anvil_mine", vec![json!("0x1")]).await?;
        }
        let begun = Instant::now();
        while client.latest().await?.number <= early && begun.elapsed() < BLOCK_PATIENCE {
            tokio::time::sleep(BLOCK_INTERVAL).await;
        }
        Ok(())
    }

    /// Estimates each call; one that needs an earlier one first is guessed.
    async fn costs(&self, from: Address, calls: &[Call]) -> anyhow::Result<Vec<Cost>> {
        let mut costs: Vec<Cost> = Vec::new();
        let mut price = U256::zero();
        if let Some(first) = calls.first() {
            self.await_next_block(from, first).await?;
        }
        for (idx, call) in calls.iter().enumerate() {
            match self.deployment.estimate(from, call).await {
                Ok(estimate) => {
                    price = price_of(&estimate);
                    costs.push(Cost {
                        gas: estimate.gas,
                        fee_max: estimate.fee_max,
                        is_guess: false,
                    });
                }
                Err(RpcError::Revert(_)) if idx > 0 => costs.push(Cost {
                    gas: call.gas_typical,
                    fee_max: price.saturating_mul(call.gas_typical.into()),
                    is_guess: true,
                }),
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot {}", call.what));
                }
            }
        }
        Ok(costs)
    }
}

impl Payer {
    /// The wallet that is meant.
    pub(crate) fn wallet(context: &Context) -> anyhow::Result<Self> {
        let file = session::wallet_file(&context.global)?;
        match file.address {
            Some(address) => Ok(Self::Wallet(address)),
            None => {
                let (_, wallet) = session::unlock(&context.global)?;
                Ok(Self::Key(wallet.key))
            }
        }
    }

    /// The payer's address.
    pub(crate) fn address(&self) -> Address {
        match self {
            Self::Wallet(address) => *address,
            Self::Key(key) => key.address(),
        }
    }

    fn open(self, context: &Context) -> anyhow::Result<Wallet> {
        match self {
            Self::Key(key) => Ok(Wallet::new(key)),
            Self::Wallet(expected) => {
                let (file, wallet) = session::unlock(&context.global)?;
                let found = wallet.address();
                if found != expected {
                    return fail(
                        "wallet",
                        format!(
                            "wallet `{}` says that it is {expected}, and holds the key of {found}",
                            file.name
                        ),
                        "restore the file from a backup",
                    );
                }
                Ok(Wallet::new(wallet.key))
            }
        }
    }
}

impl Sent {
    /// Prints the result: `more` fields beside those of every transaction.
    pub(crate) fn print(mut self, output: Output, more: Value, text: &str) -> anyhow::Result<()> {
        merge(&mut self.value, more);
        output.result(&self.value, || text.to_owned())
    }
}

/// Finds the endpoints and the contracts: by flags, by the peer, by config.toml.
pub(crate) async fn find_chain(context: &Context, args: &ChainArgs) -> anyhow::Result<Chain> {
    let given = args.contracts.as_deref().map(read_contracts).transpose()?;
    if let Some(contracts) = given
        && !args.rpc.is_empty()
    {
        return Ok(Chain {
            rpc: args.rpc.clone(),
            contracts,
            confirmations: None,
        });
    }
    let mut found = match session::running_peer(&context.global)? {
        Some(client) => match ask_peer(&client, !args.rpc.is_empty()).await {
            Ok(found) => found,
            Err(error) => match config_chain()? {
                Some(found) if is_away(&error) && context.global.node.is_none() => found,
                _ => return Err(error),
            },
        },
        None => match config_chain()? {
            Some(found) => found,
            None => {
                return fail(
                    "no_chain",
                    "no peer runs on this machine that knows the chain",
                    "start one, such as by `coliving devnet`, or give `--rpc URL` and `--contracts FILE`",
                );
            }
        },
    };
    if !args.rpc.is_empty() {
        found.rpc.clone_from(&args.rpc);
    }
    if let Some(contracts) = given {
        found.contracts = contracts;
    }
    Ok(found)
}

/// What the peer says; its endpoints are for its owner only.
async fn ask_peer(client: &Client, has_rpc: bool) -> anyhow::Result<Chain> {
    if has_rpc {
        return Ok(Chain {
            rpc: Vec::new(),
            contracts: client.node().await?.contracts,
            confirmations: None,
        });
    }
    match client.chain().await {
        Ok(found) => Ok(Chain {
            rpc: found.rpc,
            contracts: found.contracts,
            confirmations: Some(found.confirmations),
        }),
        Err(error) if matches!(error, ClientError::Away { .. }) || client.has_token() => {
            Err(error.into())
        }
        Err(_) => fail(
            "no_chain",
            format!(
                "{} tells its chain's endpoints to its owner only",
                client.url()
            ),
            "give `--rpc URL`, or the peer's `--token`",
        ),
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    let found = error.downcast_ref::<ClientError>();
    matches!(found, Some(ClientError::Away { .. }))
}

/// What the home folder says about the network.
fn config_chain() -> anyhow::Result<Option<Chain>> {
    let Some(path) = session::network_file()? else {
        return Ok(None);
    };
    let chain = session::read_config(&path)?.chain;
    Ok(Some(Chain {
        rpc: chain.rpc,
        contracts: chain.contracts,
        confirmations: Some(chain.confirmations),
    }))
}

/// Reads addresses: those alone, or the whole answer of `coliving chain info`.
pub(crate) fn read_contracts(path: &Path) -> anyhow::Result<Contracts> {
    let refused = |reason: String| {
        Failure::new(
            "contracts",
            format!(
                "cannot read the contracts' addresses from `{}`: {reason}",
                path.display()
            ),
            "write them with `coliving chain info --json > FILE`, asked at a peer of the deployment",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let mut value: Value =
        serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    if value["contracts"].is_object() {
        value = value["contracts"].take();
    }
    let contracts = serde_json::from_value(value);
    Ok(contracts.map_err(|error| refused(error.to_string()))?)
}

/// Asks on the terminal whether to send.
pub(crate) fn ask() -> anyhow::Result<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return fail(
            "not_confirmed",
            "nothing was sent: there is no terminal to ask on",
            "give `--yes` to send it, or `--dry-run` to see it only",
        );
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "\nSend? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => fail("not_confirmed", "nothing was sent", ""),
    }
}

fn price_of(estimate: &Estimate) -> U256 {
    estimate.fee_max / U256::from(estimate.gas.max(1))
}

fn plan_text(plan: &Plan, payer: Address, costs: &[Cost], fee_max: U256) -> String {
    let mut rows = plan.facts.clone();
    rows.push(("from", payer.to_string()));
    let gas: u64 = costs.iter().map(|cost| cost.gas).sum();
    let is_guess = costs.iter().any(|cost| cost.is_guess);
    let about = if is_guess { "about " } else { "" };
    rows.push((
        "costs",
        format!(
            "{about}{gas} gas, at most {} of the chain's coin",
            coin(Dgc(fee_max))
        ),
    ));
    let mut text = format!("{}\n{}", plan.command, indented(&fields(rows)));
    for (idx, call) in plan.calls.iter().enumerate() {
        text.push_str(&format!("\n  {}. {}", idx + 1, printable(&call.what)));
    }
    text
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

fn progress_line(what: &str, step: &Progress) -> String {
    match step {
        Progress::Sent {
            tx_hash, bumps: 0, ..
        } => format!("{what}: sent as {tx_hash}"),
        Progress::Sent { tx_hash, bumps, .. } => {
            format!("{what}: fee raised {bumps} times, sent as {tx_hash}")
        }
        Progress::Waiting { head } => format!("{what}: not mined yet at block {head}"),
        Progress::Mined(mined) => format!("{what}: mined in block {}", mined.block.number),
        Progress::Confirmed { count, of } => format!("{what}: {count} of {of} confirmations"),
        Progress::Undone { block } => {
            format!("{what}: block {} was undone, waiting again", block.number)
        }
        Progress::Unreachable { error } => format!("{what}: waiting ({error})"),
    }
}

fn dry_run_value(plan: &Plan, payer: Address, costs: &[Cost], fee_max: U256) -> Value {
    let calls = plan.calls.iter().zip(costs);
    let transactions: Vec<Value> = calls
        .map(|(call, cost)| {
            json!({
                "what": call.what,
                "function": call.function,
                "to": call.to,
                "data": format!("0x{}", hex::encode(&call.data)),
                "gas": cost.gas,
                "gas_is_guess": cost.is_guess,
            })
        })
        .collect();
    let mut value = json!({
        "command": plan.command,
        "dry_run": true,
        "wallet": payer,
        "fee_max": Dgc(fee_max),
        "transactions": transactions,
    });
    merge(&mut value, plan.value.clone());
    value
}

fn sent_value(plan: &Plan, payer: Address, receipts: &[Receipt]) -> Value {
    let sent = plan.calls.iter().zip(receipts);
    let transactions: Vec<Value> = sent
        .map(|(call, receipt)| {
            json!({
                "what": call.what,
                "function": call.function,
                "tx_hash": receipt.tx_hash,
                "block_number": receipt.block.number,
                "gas_used": receipt.gas_used,
            })
        })
        .collect();
    let mut value = json!({
        "command": plan.command,
        "dry_run": false,
        "wallet": payer,
        "transactions": transactions,
    });
    merge(&mut value, plan.value.clone());
    value
}

fn merge(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}

/// An amount of the chain's coin in four digits that count, rounded up.
pub(crate) fn coin(amount: Dgc) -> Dgc {
    let digits = amount.0.to_string().len();
    let unit = U256::exp10(digits.saturating_sub(4));
    Dgc((amount.0 + unit - U256::one()) / unit * unit)
}

/// A time span in its largest unit that is not too coarse, rounded.
fn about(span: Duration) -> String {
    let seconds = span.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => ((seconds + 30) / 60, "minute"),
        7_200..172_800 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

/// Errors of contracts that the next block may end.
const EARLY: [&str; 1] = ["VotingIsClosed"];

/// How long the next block is waited for.
const BLOCK_PATIENCE: Duration = Duration::from_secs(120);
const BLOCK_INTERVAL: Duration = Duration::from_millis(500);
