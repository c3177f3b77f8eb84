//! The peer, its neighbours, its roots and the chain.

use clap::Subcommand;
use client::api::{PeerRow, RepairHealth, Root, RootRow};
use protocol::id::{Address, Hash32, Role};
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Failure, fail};
use crate::output::{fields, size, table};

/// Arguments of `coliving root`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving root bafy…")]
pub(crate) struct RootArgs {
    /// The root to look for
    #[arg(value_name = "CID")]
    cid: String,
}

/// What can be asked about actions.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  coliving relay status 0x…")]
pub(crate) enum RelayCommand {
    /// Where an action stands: pending, sent, confirmed or failed
    #[command(after_help = "Examples:\n  coliving relay status 0x…")]
    Status {
        /// The digest that the command printed
        #[arg(value_name = "DIGEST")]
        digest: String,
    },
}

pub(crate) async fn status(context: &Context) -> anyhow::Result<()> {
    let (health, url) = context
        .with_peer(async |session| {
            let url = session.client.url().to_owned();
            Ok((session.client.health().await?, url))
        })
        .await?;
    context.output.result(&health, || {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let count = |count: Option<usize>| count.map(|count| count.to_string());
        let content = health.content.as_ref();
        let returning = content.and_then(|content| content.returning.as_ref());
        let kind = match health.roles.is_empty() {
            true => "light peer".to_owned(),
            false => names(&health.roles),
        };
        let (chain, index, storage) = (&health.chain, &health.index, &health.storage);
        let rows = [
            ("url", Some(url)),
            ("ready", Some(health.ready.to_string())),
            ("peer", Some(health.peer.to_string())),
            ("peer id", Some(health.peer_id.clone())),
            ("roles", Some(kind)),
            ("version", Some(health.version.clone())),
            ("chain connected", Some(chain.connected.to_string())),
            ("chain head", number(chain.head)),
            ("chain error", chain.error.clone()),
            ("indexed block", Some(index.height.to_string())),
            ("index lag", number(index.lag_blocks)),
            ("used", Some(size(storage.used))),
            ("capacity", Some(size(storage.capacity))),
            (
                "promised roots",
                count(content.map(|content| content.promised)),
            ),
            ("uploads", count(content.map(|content| content.uploads))),
            ("ended roots", count(content.map(|content| content.ended))),
            ("repair", content.map(|content| repair(&content.repair))),
            (
                "returning",
                returning.map(|returning| returning.text.clone()),
            ),
            ("peers", Some(health.peers.to_string())),
            ("stake", health.stake.clone()),
            ("balance", health.balance.clone()),
        ];
        fields(rows.map(|(name, value)| (name, value.unwrap_or_default())))
    })
}

fn names(roles: &[Role]) -> String {
    let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
    names.join(" ")
}

/// How far repair is.
fn repair(repair: &RepairHealth) -> String {
    let RepairHealth {
        roots,
        queued,
        fetching,
        starved,
        lost,
    } = repair;
    format!(
        "{roots} roots known, {queued} queued, {fetching} fetching, {starved} without a live holder, {lost} peers lost"
    )
}

/// What `coliving peers` prints.
#[derive(Debug, Serialize)]
struct Neighbours<'a> {
    peers: &'a [PeerRow],
}

pub(crate) async fn peers(context: &Context) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| Ok(session.client.peers().await?))
        .await?;
    context.output.result(&Neighbours { peers: &rows }, || {
        let rows = rows.iter().map(|row| {
            [
                row.peer.to_string(),
                names(&row.roles),
                row.operator
                    .map(|operator| operator.to_string())
                    .unwrap_or_default(),
                row.address.clone(),
                row.rtt_ms
                    .map(|rtt| format!("{rtt:.1} ms"))
                    .unwrap_or_default(),
                if row.connected { "yes" } else { "no" }.to_owned(),
            ]
        });
        table(
            &["peer", "roles", "operator", "address", "rtt", "connected"],
            rows,
        )
    })
}

/// What `coliving roots` prints.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    roots: &'a [RootRow],
}

pub(crate) async fn roots(context: &Context) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| Ok(session.client.roots().await?))
        .await?;
    context.output.result(&Listed { roots: &rows }, || {
        let rows = rows.iter().map(|row| {
            [
                row.cid.clone(),
                row.size.map(size).unwrap_or_default(),
                row.leases.to_string(),
                row.target.to_string(),
                row.holders.len().to_string(),
            ]
        });
        table(&["root", "size", "leases", "target", "holders"], rows)
    })
}

pub(crate) async fn root(context: &Context, args: RootArgs) -> anyhow::Result<()> {
    show_root(context, &args.cid).await
}

/// Prints who holds a root.
pub(crate) async fn show_root(context: &Context, cid: &str) -> anyhow::Result<()> {
    if cid.parse::<cid::Cid>().is_err() {
        return fail(
            "cid",
            format!("`{cid}` is not a CID"),
            "`coliving show ID` names the CID of a digital content",
        );
    }
    let root = context
        .with_peer(async |session| Ok(session.client.root(cid).await?))
        .await?;
    context.output.result(&root, || root_view(&root))
}

/// What the peers that did not answer hold is not known.
fn unanswered(silent: usize) -> String {
    match silent {
        0 => String::new(),
        _ => format!("{silent} peers; what they hold is not known, ask again"),
    }
}

/// A root, and a line for each peer that should hold it or does.
fn root_view(root: &Root) -> String {
    let row = &root.row;
    let reasons: Vec<&str> = row.reasons.iter().map(|reason| reason.name()).collect();
    let head = fields([
        ("cid", row.cid.clone()),
        ("size", row.size.map(size).unwrap_or_default()),
        ("held here for", reasons.join(" ")),
        ("leases", row.leases.to_string()),
        ("target", row.target.to_string()),
        ("missing", root.missing.to_string()),
        ("without answer", unanswered(root.silent.len())),
    ]);
    let held = root.lease_list.iter().map(|lease| {
        let is_placed = row.placed.contains(&lease.holder);
        [
            lease.holder.to_string(),
            if is_placed { "yes" } else { "no" }.to_owned(),
            lease.serial.to_string(),
            lease.to_epoch.to_string(),
        ]
    });
    let is_held = |peer: &&Address| root.lease_list.iter().any(|lease| lease.holder == **peer);
    let lacking = row.placed.iter().filter(|peer| !is_held(peer));
    let lacking = lacking.map(|peer| {
        [
            peer.to_string(),
            "yes".to_owned(),
            String::new(),
            String::new(),
        ]
    });
    let rows = held.chain(lacking);
    let header = ["peer", "placed", "lease", "until epoch"];
    format!("{head}\n\n{}", table(&header, rows))
}

pub(crate) async fn relay(context: &Context, command: RelayCommand) -> anyhow::Result<()> {
    let RelayCommand::Status { digest } = command;
    let parsed: Hash32 = digest.parse().map_err(|_| {
        Failure::new(
            "digest",
            format!("`{digest}` is not a digest"),
            "a digest is 64 hexadecimal digits after `0x`, as commands with `--json` print it",
        )
    })?;
    let relayed = context
        .with_peer(async |session| Ok(session.client.relay_status(&parsed).await?))
        .await?;
    context.output.result(&relayed, || {
        let block = relayed.block_number.map(|number| number.to_string());
        fields([
            ("digest", relayed.digest.to_string()),
            ("state", relayed.state.name().to_owned()),
            (
                "tx_hash",
                relayed
                    .tx_hash
                    .map(|hash| hash.to_string())
                    .unwrap_or_default(),
            ),
            ("block_number", block.unwrap_or_default()),
            ("error", relayed.error.clone().unwrap_or_default()),
        ])
    })
}

pub(crate) async fn stop(context: &Context) -> anyhow::Result<()> {
    let stopping = context
        .with_peer(async |session| Ok(session.client.stop().await?))
        .await?;
    context
        .output
        .result(&stopping, || "the peer stops".to_owned())
}
