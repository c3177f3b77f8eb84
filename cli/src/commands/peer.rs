//! One peer: its settings, its life, its backups.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use client::home;
use node::backup;
use node::builder::Node;
use node::config::Config;
use node::devnet::write_home;
use node::net::Multiaddr;
use protocol::id::Role;
use serde_json::json;

use super::operator::tidy;
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{ChainArgs, find_chain};
use crate::output::{fields, size};
use crate::paths::{CONFIG_FILE, LIGHT_FOLDER, NETWORK_FILE};
use crate::running::{
    forget_home, p2p_addresses, peer_id, peer_of_home, print_ready, roles, stop_signal,
};
use crate::session::{BEHIND, CATCH_UP_MAX, read_config};

/// Arguments of `coliving init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`--join` fills in how the chain is reached and makes the peer's key; without it both are
left to you and to the first run.

Examples:
  coliving init --data /srv/coliving
  coliving init --data /srv/coliving --join --role content --url https://oak.example
  coliving run --config /srv/coliving/config.toml")]
pub(crate) struct InitArgs {
    /// Folder of the peer [default: COLIVING_HOME]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Join the network that the commands here speak to
    #[arg(long)]
    join: bool,
    /// A role of the peer; several are possible
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// Where others will reach the peer
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where its HTTP server listens
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where its swarm listens, such as `/ip4/0.0.0.0/tcp/4001`; several are possible
    #[arg(long = "p2p", value_name = "MULTIADDRESS")]
    p2p: Vec<Multiaddr>,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Arguments of `coliving run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A peer without roles is a light peer. Every setting can also be given in the environment,
as `coliving init` writes beside it. Ctrl-C stops the peer.

Examples:
  coliving run --config /srv/coliving/config.toml
  COLIVING_ROLES='[\"content\"]' coliving run --config config.toml --json")]
pub(crate) struct RunArgs {
    /// The settings [default: config.toml here, else in COLIVING_HOME]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Arguments of `coliving backup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys, vault records, the relayer's ledger, leases and serial numbers go into one file;
blocks and the index do not: the network has them. The peer must not run.
What the peer signs after the backup is not in it: make a new one before you move.

Examples:
  coliving backup peer.backup --data /srv/coliving/coliving-data")]
pub(crate) struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data folder of the peer
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Arguments of `coliving restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving restore peer.backup --data /srv/coliving/coliving-data")]
pub(crate) struct RestoreArgs {
    /// The file that `coliving backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data folder to make; it must not hold a peer yet
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// What can be done with a data folder.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  coliving store verify --data /srv/coliving/coliving-data")]
pub(crate) enum StoreCommand {
    /// Read every block and check it against its CID; the peer must not run
    #[command(after_help = "Examples:\n  coliving store verify --data /srv/coliving/coliving-data")]
    Verify {
        /// Data folder of the peer
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

pub(crate) async fn init(context: &Context, args: &InitArgs) -> anyhow::Result<()> {
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None => home::folder()?,
    };
    let path = folder.join(CONFIG_FILE);
    if path.exists() {
        return fail(
            "exists",
            format!("`{}` exists already", path.display()),
            "change it, or choose another folder with `--data`",
        );
    }
    let mut config = Config {
        roles: args.roles.iter().copied().collect(),
        url: args.url.as_deref().map(tidy).map(ToOwned::to_owned),
        ..Config::default()
    };
    if let Some(listen) = args.listen {
        config.http.listen = listen;
    }
    if !args.p2p.is_empty() {
        config.net.listen.clone_from(&args.p2p);
    }
    let mut value = json!({ "config": path });
    let mut rows = vec![("config", path.display().to_string())];
    if args.join {
        join(context, &args.chain, &mut config).await?;
        let data = folder.join(&config.data);
        let peer = home::peer_key(&data)?.address();
        value["data"] = json!(data);
        value["peer"] = json!(peer);
        rows.push(("data", data.display().to_string()));
        rows.push(("peer", peer.to_string()));
    }
    home::write_secret(&path, config.to_commented_toml().as_bytes())?;
    context.output.result(&value, || fields(rows))?;
    if !args.join {
        context.output.hint(
            "fill in `chain.rpc`, `chain.chain_id` and `chain.contracts`, as `coliving chain info --json` of the deployment prints them; `--join` does",
        );
    }
    context.output.hint(&format!(
        "then start the peer with `coliving run --config {}`",
        path.display()
    ));
    Ok(())
}

/// Takes over how the chain is reached.
async fn join(context: &Context, args: &ChainArgs, config: &mut Config) -> anyhow::Result<()> {
    let found = find_chain(context, args).await?;
    config.chain.chain_id = found.contracts.chain_id;
    config.chain.rpc = found.rpc;
    config.chain.contracts = found.contracts;
    if let Some(confirmations) = found.confirmations {
        config.chain.confirmations = confirmations;
    }
    Ok(())
}

pub(crate) async fn run(context: &Context, args: RunArgs) -> anyhow::Result<()> {
    let path = match args.config {
        Some(path) => path,
        None if Path::new(CONFIG_FILE).exists() => PathBuf::from(CONFIG_FILE),
        None => home::folder()?.join(CONFIG_FILE),
    };
    let config = read_config(&path)?;
    let mut stop = std::pin::pin!(stop_signal());
    let starting = context.output.spinner("starting the peer");
    let node = tokio::select! {
        started = Node::start(config) => started?,
        () = &mut stop => return Ok(()),
    };
    starting.set_message("reading what the network has");
    let is_current = tokio::select! {
        is_current = node.caught_up(CATCH_UP_MAX) => is_current,
        () = &mut stop => {
            node.stop().await;
            return Ok(());
        }
    };
    starting.finish_and_clear();
    if !is_current {
        context.output.note(BEHIND);
    }
    let home = offer_home(&node).await;
    let event = json!({
        "event": "ready",
        "http": node.url(),
        "peer": node.context().peer,
        "peer_id": peer_id(&node),
        "roles": roles(&node),
        "p2p": p2p_addresses(&node),
        "is_current": is_current,
    });
    let kind = match roles(&node) {
        roles if roles.is_empty() => "light peer".to_owned(),
        roles => roles.join(" "),
    };
    let mut rows = vec![
        ("http", node.url()),
        ("peer", node.context().peer.to_string()),
        ("peer id", peer_id(&node)),
        ("roles", kind),
    ];
    rows.extend(
        p2p_addresses(&node)
            .into_iter()
            .map(|address| ("p2p", address)),
    );
    print_ready(context, &event, fields(rows))?;
    tokio::select! {
        () = &mut stop => {}
        () = node.stopping() => {}
    }
    context.output.note("stopping");
    if let Some(home) = home {
        forget_home(&home, &node.url());
    }
    node.stop().await;
    Ok(())
}

/// Lets the commands on this machine find the peer, unless another one that
/// runs is found there.
async fn offer_home(node: &Node) -> Option<PathBuf> {
    let folder = home::folder().ok()?;
    if peer_of_home(&folder).await.is_some() {
        return None;
    }
    let known = home::write_secret(&folder.join(NETWORK_FILE), network_of(node).as_bytes());
    match known.and_then(|()| write_home(node, &folder)) {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!(%error, "commands will not find this peer by themselves; use `--node`");
            None
        }
    }
}

/// Settings by which a command finds the network when no peer runs.
fn network_of(node: &Node) -> String {
    let own = &node.context().config;
    let mut config = Config {
        data: PathBuf::from(LIGHT_FOLDER),
        name: LIGHT_FOLDER.to_owned(),
        chain: own.chain.clone(),
        ..Config::default()
    };
    config.net.bootstrap = own.net.bootstrap.clone();
    config.net.upnp = own.net.upnp;
    config.net.mdns = own.net.mdns;
    config.net.private_endpoints = own.net.private_endpoints;
    config.to_commented_toml()
}

pub(crate) fn backup(context: &Context, args: &BackupArgs) -> anyhow::Result<()> {
    if args.file.exists() {
        return fail(
            "exists",
            format!("`{}` exists already", args.file.display()),
            "choose another file; nothing is overwritten",
        );
    }
    let working = context.output.spinner("copying");
    let written = backup::write(&args.data, &args.file)?;
    working.finish_and_clear();
    let value = json!({ "file": args.file, "peer": written.peer, "bytes": written.bytes });
    context.output.result(&value, || {
        format!(
            "backup of peer {} in {} ({})",
            written.peer,
            args.file.display(),
            size(written.bytes)
        )
    })?;
    context
        .output
        .hint("the file holds the peer's secret key; keep it as safely as the key");
    Ok(())
}

pub(crate) fn restore(context: &Context, args: &RestoreArgs) -> anyhow::Result<()> {
    let working = context.output.spinner("restoring");
    let restored = backup::restore(&args.file, &args.data)?;
    working.finish_and_clear();
    let value = json!({ "data": args.data, "peer": restored.peer, "rows": restored.rows });
    context.output.result(&value, || {
        format!(
            "peer {} restored to {} ({} rows)",
            restored.peer,
            args.data.display(),
            restored.rows
        )
    })?;
    context
        .output
        .hint("never run the same peer twice: its leases and heads would contradict each other");
    context.output.hint(
        "a content peer signs no lease and no page until the next full hour and fetches its roots again; `coliving status` shows how far it is",
    );
    Ok(())
}

pub(crate) async fn store(context: &Context, command: StoreCommand) -> anyhow::Result<()> {
    let StoreCommand::Verify { data } = command;
    if !data.is_dir() {
        return fail(
            "not_found",
            format!("there is no data folder `{}`", data.display()),
            "give the folder that `data` in config.toml names",
        );
    }
    let bar = context.output.bytes("verifying", None);
    let seen = bar.clone();
    let tell = move |bytes| seen.set_position(bytes);
    let report = node::store::verify_folder(&data, tell).await?;
    bar.finish_and_clear();
    let corrupt: Vec<String> = report.corrupt.iter().map(ToString::to_string).collect();
    let value = json!({
        "blocks": report.blocks,
        "bytes": report.bytes,
        "corrupt_count": report.corrupt_count,
        "corrupt": corrupt,
    });
    context.output.result(&value, || {
        let mut text = format!(
            "{} blocks, {}, {} corrupt",
            report.blocks,
            size(report.bytes),
            report.corrupt_count
        );
        for cid in &corrupt {
            text.push_str(&format!("\n{cid}"));
        }
        text
    })?;
    if corrupt.is_empty() {
        return Ok(());
    }
    fail(
        "corrupt",
        format!("{} blocks on disk are corrupt", report.corrupt_count),
        "a running peer drops them when it meets them and fetches them again",
    )
}
