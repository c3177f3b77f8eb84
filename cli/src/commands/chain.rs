//! `coliving chain`: the chain, its contracts, and what development chains can do.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Subcommand;
use client::deploy::{self, DeployConfig, Deployment as Deploying, transfer, transfer_ether};
use client::home;
use client::operate::Deployment;
use node::devnet::treasury_key;
use protocol::amount::Dgc;
use protocol::id::Address;
use rpc::{Client as RpcClient, Wallet};
use serde_json::json;

use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{ChainArgs, Door, Payer, ask, coin};
use crate::output::{fields, text};
use crate::session;

/// What can be asked of the chain.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  coliving chain info\n  coliving chain fund")]
pub(crate) enum ChainCommand {
    /// Chain id, head and the addresses of the contracts
    #[command(
        after_help = "Examples:\n  coliving chain info\n  coliving chain info --json > contracts.json"
    )]
    Info(InfoArgs),
    /// Check that the contracts are a whole deployment of this version
    #[command(
        after_help = "Examples:\n  coliving chain verify\n  coliving chain verify --rpc https://rpc.example --contracts contracts.json"
    )]
    Verify(InfoArgs),
    /// Deploy all contracts
    Deploy(DeployArgs),
    /// Mine blocks on a development chain, to get past lock-ups
    Mine(MineArgs),
    /// Send tokens and coin from the treasury of a development network
    Fund(FundArgs),
}

/// Arguments of `coliving chain info` and `coliving chain verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    chain: ChainArgs,
}

/// Arguments of `coliving chain deploy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The wallet deploys and ends without any right: governance owns the contracts. Periods of
weeks and days become blocks by the chain's block time. What stopped half-way goes on when
the command is given again with the same file, as long as the wallet sent nothing else.

Examples:
  coliving chain deploy --rpc http://127.0.0.1:8545 --block-time 12s --out contracts.json
  coliving operator status --rpc http://127.0.0.1:8545 --contracts contracts.json")]
pub(crate) struct DeployArgs {
    /// JSON-RPC endpoint of the chain
    #[arg(
        long,
        value_name = "URL",
        env = "COLIVING_RPC",
        required = true,
        value_delimiter = ','
    )]
    rpc: Vec<String>,
    /// The file to write the addresses to
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Time between two blocks of the chain, such as `12s` [default: the mean of its latest blocks]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    block_time: Option<Duration>,
    /// Who gets all tokens [default: the wallet]
    #[arg(long, value_name = "ADDRESS")]
    treasury: Option<Address>,
    /// Who may veto proposals in the first year [default: the wallet]
    #[arg(long, value_name = "ADDRESS")]
    guardian: Option<Address>,
    /// Blocks between two registry snapshots
    #[arg(long, value_name = "N", default_value_t = 256)]
    snapshot_blocks: u64,
    /// Deploy without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Arguments of `coliving chain mine`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A time is as many blocks as the contracts count for it: after `7d` stake that was asked back
is unlocked, whatever a block counts for.

Examples:
  coliving chain mine 10
  coliving chain mine 7d")]
pub(crate) struct MineArgs {
    /// How many blocks, or a time such as `7d`
    #[arg(value_name = "N|TIME")]
    blocks: Blocks,
    #[command(flatten)]
    chain: ChainArgs,
}

/// So many blocks, or as many as a time takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Blocks {
    Count(u64),
    Time(Duration),
}

impl FromStr for Blocks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Self::Count(count));
        }
        let time = humantime::parse_duration(text);
        time.map(Self::Time)
            .map_err(|_| "write a number of blocks, or a time such as `7d`".to_owned())
    }
}

/// Arguments of `coliving chain fund`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The treasury's key follows from the network's seed, as `coliving devnet --seed` draws it.

Examples:
  coliving chain fund                    the wallet
  coliving chain fund 0x… --dgc 50 --ether 1
  coliving chain fund --data oak/coliving-data --dgc 0    gas for a peer")]
pub(crate) struct FundArgs {
    /// Whom [default: the wallet]
    #[arg(value_name = "ADDRESS")]
    address: Option<Address>,
    /// The peer whose data folder this is
    #[arg(long, value_name = "DIR", conflicts_with = "address")]
    data: Option<PathBuf>,
    /// DGC to send
    #[arg(long, value_name = "AMOUNT", default_value = "1000000")]
    dgc: Dgc,
    /// Coin to send, for gas
    #[arg(long, value_name = "AMOUNT", default_value = "10")]
    ether: Dgc,
    /// Seed of the development network
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(context: &Context, command: ChainCommand) -> anyhow::Result<()> {
    match command {
        ChainCommand::Info(args) => info(context, &args).await,
        ChainCommand::Verify(args) => verify(context, &args).await,
        ChainCommand::Deploy(args) => deploy(context, args).await,
        ChainCommand::Mine(args) => mine(context, &args).await,
        ChainCommand::Fund(args) => fund(context, &args).await,
    }
}

async fn info(context: &Context, args: &InfoArgs) -> anyhow::Result<()> {
    if args.chain.contracts.is_some() || !args.chain.rpc.is_empty() {
        return info_of_chain(context, args).await;
    }
    let (info, health, access) = context
        .with_peer(async |session| {
            let access = session.client.chain().await.ok();
            Ok((
                session.client.node().await?,
                session.client.health().await?,
                access,
            ))
        })
        .await?;
    let chain = health.chain;
    let contracts = serde_json::to_value(info.contracts)?;
    let rpc = access.map(|access| access.rpc).unwrap_or_default();
    let value = json!({
        "chain_id": info.chain_id,
        "connected": chain.connected,
        "head": chain.head,
        "final_block": chain.final_block,
        "rpc": rpc,
        "contracts": contracts,
    });
    context.output.result(&value, || {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let number = |of| number(of).unwrap_or_default();
        let mut rows = vec![
            ("chain id", info.chain_id.to_string()),
            ("connected", chain.connected.to_string()),
            ("head", number(chain.head)),
            ("final block", number(chain.final_block)),
            ("rpc", rpc.join(" ")),
        ];
        rows.extend(address_rows(&contracts));
        fields(rows)
    })
}

/// The same, asked of an endpoint instead of a peer.
async fn info_of_chain(context: &Context, args: &InfoArgs) -> anyhow::Result<()> {
    let door = Door::open(context, &args.chain).await?;
    let contracts = serde_json::to_value(door.deployment.contracts())?;
    let chain_id = door.deployment.client().chain_id().await?;
    let head = door.pace.head.number;
    let value = json!({
        "chain_id": chain_id,
        "connected": true,
        "head": head,
        "block_seconds": door.pace.block_time.as_secs_f64(),
        "contracts": contracts,
    });
    context.output.result(&value, || {
        let mut rows = vec![
            ("chain id", chain_id.to_string()),
            ("head", head.to_string()),
        ];
        rows.extend(address_rows(&contracts));
        fields(rows)
    })
}

async fn verify(context: &Context, args: &InfoArgs) -> anyhow::Result<()> {
    let door = Door::open(context, &args.chain).await?;
    let contracts = door.deployment.contracts();
    deploy::verify(door.deployment.client(), contracts).await?;
    let verified = contracts.proxies().len();
    context.output.result(&json!({ "verified": verified }), || {
        format!("all {verified} contracts have the code of this version, are wired up and governed by votes")
    })
}

fn address_rows(contracts: &serde_json::Value) -> Vec<(&str, String)> {
    let names = contracts.as_object().into_iter().flatten();
    names
        .map(|(name, _)| (name.as_str(), text(contracts, name)))
        .collect()
}

async fn deploy(context: &Context, args: DeployArgs) -> anyhow::Result<()> {
    if args.out.exists() {
        return fail(
            "exists",
            format!("`{}` exists already", args.out.display()),
            "choose another file; nothing is overwritten",
        );
    }
    let (_, wallet) = session::unlock(&context.global)?;
    let wallet = Wallet::new(wallet.key);
    let client = RpcClient::new(&args.rpc, None)?;
    let block_time = match args.block_time {
        Some(time) => time,
        None => deploy::block_time(&client).await?,
    };
    let treasury = args.treasury.unwrap_or(wallet.address());
    let guardian = args.guardian.unwrap_or(wallet.address());
    let config = DeployConfig {
        snapshot_blocks: args.snapshot_blocks,
        ..DeployConfig::new(treasury, guardian, block_time)?
    };
    let periods = config.periods;
    let begun = begun_file(&args.out);
    let (deploying, goes_on) = begin(&client, &wallet, config, &begun).await?;
    let ether = Dgc(client.balance(wallet.address()).await?);
    let chain_id = client.chain_id().await?;
    let cost = deploying.cost(&client).await?;
    if ether.0 < cost.wei {
        return fail(
            "no_gas",
            format!(
                "{} has {ether} of the chain's coin, the deployment costs about {}",
                wallet.address(),
                coin(Dgc(cost.wei))
            ),
            "send it some",
        );
    }
    context.output.note(&fields([
        ("deploys to", format!("chain {chain_id}")),
        (
            "from",
            format!("{}, which has {ether} of its coin", wallet.address()),
        ),
        ("treasury", config.treasury.to_string()),
        ("guardian", config.guardian.to_string()),
        (
            "costs",
            format!(
                "about {} gas in {} transactions, about {} of its coin",
                cost.gas,
                cost.transactions,
                coin(Dgc(cost.wei))
            ),
        ),
        (
            "block time",
            humantime::format_duration(block_time).to_string(),
        ),
        ("voting", format!("{} blocks", periods.voting)),
        (
            "lock-ups",
            format!("{} blocks and more", periods.decrease_lockup),
        ),
        (
            "goes on",
            if goes_on {
                begun.display().to_string()
            } else {
                String::new()
            },
        ),
    ]));
    if !args.yes {
        ask()?;
    }
    home::write_secret(&begun, serde_json::to_string_pretty(&deploying)?.as_bytes())?;
    let progress = context.output.spinner("deploying");
    let contracts = deploying
        .run(&client, &wallet, |step| {
            progress.set_message(format!(
                "{} of {}: {}",
                step.done + 1,
                step.total,
                step.step
            ));
        })
        .await?;
    progress.finish_and_clear();
    let value = serde_json::to_value(contracts)?;
    std::fs::write(&args.out, serde_json::to_string_pretty(&value)?)?;
    // Whatever stays of it is refused as another wallet's or an ended deployment.
    let _ = std::fs::remove_file(&begun);
    let printed = json!({ "file": args.out, "chain_id": chain_id, "contracts": value });
    context
        .output
        .result(&printed, || fields(address_rows(&value)))?;
    context.output.hint(&format!(
        "give peers these addresses as `chain.contracts`; commands take them with `--contracts {}`",
        args.out.display()
    ));
    Ok(())
}

/// A new deployment, or the one that was begun.
async fn begin(
    client: &RpcClient,
    wallet: &Wallet,
    config: DeployConfig,
    begun: &Path,
) -> anyhow::Result<(Deploying, bool)> {
    match std::fs::read_to_string(begun) {
        Ok(text) => match serde_json::from_str(&text) {
            Ok(deploying) => Ok((deploying, true)),
            Err(error) => fail(
                "deployment",
                format!("`{}` is no begun deployment: {error}", begun.display()),
                "delete it to begin another one",
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok((Deploying::begin(client, wallet, config).await?, false))
        }
        Err(error) => Err(error.into()),
    }
}

fn begun_file(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".begun");
    PathBuf::from(name)
}

async fn mine(context: &Context, args: &MineArgs) -> anyhow::Result<()> {
    let door = Door::open(context, &args.chain).await?;
    let client = door.deployment.client();
    refuse_real(client).await?;
    let blocks = match args.blocks {
        Blocks::Count(count) => count,
        Blocks::Time(time) => {
            let blocks = time
                .as_nanos()
                .div_ceil(door.pace.block_time.as_nanos().max(1));
            u64::try_from(blocks).unwrap_or(u64::MAX)
        }
    };
    if blocks == 0 || blocks > MINE_BLOCKS_MAX {
        return fail(
            "blocks",
            format!("{blocks} blocks were asked for, between 1 and {MINE_BLOCKS_MAX} are possible"),
            "",
        );
    }
    let style = "{msg} {wide_bar} {pos}/{len} blocks";
    let mining = context.output.bar("mining", Some(blocks), style);
    let mut left = blocks;
    let mut step = STEP_BLOCKS;
    while left > 0 {
        let part = left.min(step);
        let count = json!(format!("{part:#x}"));
        let begun = Instant::now();
        client.request("anvil_mine", vec![count]).await?;
        // An answer that takes long would be taken for none.
        step = match begun.elapsed() < STEP_TIME {
            true => step.saturating_mul(2).min(STEP_BLOCKS_MAX),
            false => (step / 2).max(STEP_BLOCKS),
        };
        left -= part;
        mining.inc(part);
    }
    let head = client.latest().await?;
    mining.finish_and_clear();
    let value = json!({ "mined": blocks, "head": head.number, "time": head.time });
    context.output.result(&value, || {
        format!("mined {blocks} blocks, the head is {}", head.number)
    })
}

async fn fund(context: &Context, args: &FundArgs) -> anyhow::Result<()> {
    let address = match (args.address, &args.data) {
        (Some(address), _) => address,
        (None, Some(data)) => home::read_peer_key(&data.join("key"))?.address(),
        (None, None) => Payer::wallet(context)?.address(),
    };
    let door = Door::open(context, &args.chain).await?;
    refuse_real(door.deployment.client()).await?;
    let treasury = Wallet::new(treasury_key(args.seed));
    let owned = door.deployment.balances(treasury.address()).await?;
    if owned.dgc < args.dgc || owned.ether < args.ether {
        return fail(
            "treasury",
            format!(
                "the treasury of seed {} owns {} DGC and {} of the coin here",
                args.seed, owned.dgc, owned.ether
            ),
            "give the seed that the network was started with, as `--seed S`, or ask for less",
        );
    }
    let sending = context.output.spinner("sending");
    send(&door.deployment, &treasury, address, args).await?;
    let balances = door.deployment.balances(address).await?;
    sending.finish_and_clear();
    let value = json!({
        "address": address,
        "dgc": args.dgc,
        "ether": args.ether,
        "balances": balances,
    });
    context.output.result(&value, || {
        fields([
            ("address", address.to_string()),
            ("dgc", balances.dgc.to_string()),
            ("ether", balances.ether.to_string()),
        ])
    })
}

async fn send(
    deployment: &Deployment,
    treasury: &Wallet,
    to: Address,
    args: &FundArgs,
) -> anyhow::Result<()> {
    let (client, contracts) = (deployment.client(), deployment.contracts());
    if args.ether != Dgc::ZERO {
        transfer_ether(client, treasury, to, args.ether.0).await?;
    }
    if args.dgc != Dgc::ZERO {
        transfer(client, contracts, treasury, to, args.dgc).await?;
    }
    Ok(())
}

/// Blocks are made up and coins given away on development chains only.
async fn refuse_real(client: &RpcClient) -> anyhow::Result<()> {
    let version = client::operate::client_version(client).await?;
    if client::operate::is_development(&version) {
        return Ok(());
    }
    fail(
        "no_development_chain",
        format!(
            "the endpoint runs `{}`, which is no development chain",
            version.chars().take(80).collect::<String>()
        ),
        "`coliving devnet` starts one; on a real chain blocks and coins come by themselves",
    )
}

/// Most blocks of one command.
const MINE_BLOCKS_MAX: u64 = 4_000_000;

/// Blocks that the first request mines.
const STEP_BLOCKS: u64 = 1_000;

/// Most blocks that one request mines.
const STEP_BLOCKS_MAX: u64 = 100_000;

/// A request that is answered sooner is followed by a larger one.
const STEP_TIME: Duration = Duration::from_secs(1);
