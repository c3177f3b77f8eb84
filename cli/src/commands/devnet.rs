//! `coliving devnet`: a whole network in one process.

use std::path::PathBuf;

use client::home;
use node::devnet::{Devnet, DevnetConfig, Ports, write_home};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::table;
use crate::running::{forget_home, p2p_addresses, peer_id, peer_of_home, roles, stop_signal};

/// Arguments of `coliving devnet`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts an embedded development chain with all contracts, staked and confirmed peers that
have every role, and one light peer, and prints where they listen. Without `--data`
everything is gone at the end, and other commands on this machine find the light peer
by themselves. Ctrl-C stops.

Examples:
  coliving devnet
  coliving devnet --peers 8 --operators 5
  coliving devnet --rpc-port 8545 --http-port 4000
  coliving devnet --data my-network        starting again resumes it")]
pub(crate) struct DevnetArgs {
    /// Staked peers to start
    #[arg(long, value_name = "N", default_value_t = 5)]
    peers: usize,
    /// Operators that the peers belong to [default: 4, or the number of peers]
    #[arg(long, value_name = "M")]
    operators: Option<usize>,
    /// Keep everything in this folder, and resume what is there
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Draws all keys
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Port of the chain's RPC [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    rpc_port: Option<u16>,
    /// HTTP port of the light peer, before those of the staked peers [default: free ones]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    http_port: Option<u16>,
    /// libp2p port of the light peer, before those of the staked peers [default: free ones]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    p2p_port: Option<u16>,
    /// What a block counts for in lock-ups and votes of a new network [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    block_time: Option<std::time::Duration>,
}

pub(crate) async fn run(context: &Context, args: DevnetArgs) -> anyhow::Result<()> {
    let output = context.output;
    // Removed when the network has stopped.
    let temporary = match &args.data {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("coliving-devnet-")
                .tempdir()?,
        ),
    };
    let data = match (&args.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("a folder was given or made"),
    };
    let defaults = DevnetConfig::default();
    let config = DevnetConfig {
        peers: args.peers,
        operators: args.operators.unwrap_or(defaults.operators.min(args.peers)),
        data,
        seed: args.seed,
        ports: Ports {
            rpc: args.rpc_port,
            http: args.http_port,
            p2p: args.p2p_port,
        },
        block_time: args.block_time.unwrap_or(defaults.block_time),
        ..defaults
    };
    let mut stop = std::pin::pin!(stop_signal());
    let starting = output.spinner("starting");
    let tell = |what: &str| starting.set_message(what.to_owned());
    let start = async {
        let devnet = Devnet::start(config, tell).await?;
        starting.set_message("connecting the peers");
        devnet.ready().await;
        anyhow::Ok(devnet)
    };
    let devnet = tokio::select! {
        started = start => started?,
        () = &mut stop => return Ok(()),
    };
    starting.finish_and_clear();
    let home = if temporary.is_some() {
        offer_home(context, &devnet).await?
    } else {
        None
    };
    show(context, &devnet)?;
    tokio::select! {
        () = &mut stop => {}
        () = devnet.stopping() => {}
    }
    output.note("stopping");
    if let Some(home) = home {
        forget_home(&home, &devnet.light().url());
    }
    devnet.stop().await;
    Ok(())
}

/// Lets the commands on this machine find the light peer, unless another one that
/// runs is found there.
async fn offer_home(context: &Context, devnet: &Devnet) -> anyhow::Result<Option<PathBuf>> {
    let folder = home::folder()?;
    if let Some(url) = peer_of_home(&folder).await {
        let output = context.output;
        output.note(&format!(
            "commands find the peer at {url}, which runs already"
        ));
        output.hint("give this network and its commands a COLIVING_HOME of their own");
        return Ok(None);
    }
    write_home(devnet.light(), &folder)?;
    Ok(Some(folder))
}

fn show(context: &Context, devnet: &Devnet) -> anyhow::Result<()> {
    let light = devnet.light();
    let rows = devnet.peers().iter().map(|peer| {
        [
            peer.name.clone(),
            peer.node.url(),
            peer_id(&peer.node),
            roles(&peer.node).join(" "),
            peer.operator.clone(),
            peer.zone.clone(),
            format!("{} DGC", peer.stake),
        ]
    });
    let rows = rows.chain([[
        "light".to_owned(),
        light.url(),
        peer_id(light),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
    ]]);
    let header = [
        "peer", "http", "peer id", "roles", "operator", "zone", "stake",
    ];
    context.output.result(&ready_event(devnet), || {
        format!(
            "chain  {} (chain id {})\n\n{}",
            devnet.chain().url(),
            devnet.chain().chain_id(),
            table(&header, rows)
        )
    })?;
    let output = context.output;
    if !output.is_json() {
        output.note("");
    }
    output.hint("in another terminal, make a wallet with `coliving wallet new`");
    output.hint("then `coliving user create --handle ada`; Ctrl-C here stops everything");
    Ok(())
}

fn ready_event(devnet: &Devnet) -> Value {
    let peers: Vec<Value> = devnet
        .peers()
        .iter()
        .map(|peer| {
            json!({
                "name": peer.name,
                "peer_id": peer_id(&peer.node),
                "peer": peer.node.context().peer,
                "http": peer.node.url(),
                "p2p": p2p_addresses(&peer.node),
                "roles": roles(&peer.node),
                "operator": peer.operator,
                "zone": peer.zone,
                "stake": peer.stake,
            })
        })
        .collect();
    json!({
        "event": "ready",
        "chain": {
            "rpc": devnet.chain().url(),
            "chain_id": devnet.chain().chain_id(),
            "contracts": devnet.contracts(),
        },
        "peers": peers,
        "light": {
            "http": devnet.light().url(),
            "token": devnet.light().token(),
            "peer_id": peer_id(devnet.light()),
            "p2p": p2p_addresses(devnet.light()),
        },
    })
}
