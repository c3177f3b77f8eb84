//! The peer, its neighbours, its roots and the chain.

use clap::Subcommand;
use protocol::id::Hash32;
use serde_json::{Value, json};

use super::Context;
use crate::failure::{Failure, fail};
use crate::output::{fields, size, table, text};

/// Arguments of `coliving root`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving root bafy…")]
pub(crate) struct RootArgs {
    /// The root
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
    let value = serde_json::to_value(&health)?;
    context.output.result(&value, || {
        let nested = |outer: &str, inner: &str| text(&value[outer], inner);
        let used = value["storage"]["used"].as_u64().map(size);
        let capacity = value["storage"]["capacity"].as_u64().map(size);
        let roles: Vec<String> = value["roles"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|role| role.as_str().map(ToOwned::to_owned))
            .collect();
        let kind = if roles.is_empty() {
            "light peer".to_owned()
        } else {
            roles.join(" ")
        };
        fields([
            ("url", url),
            ("ready", health.ready.to_string()),
            ("peer", text(&value, "peer")),
            ("peer id", text(&value, "peer_id")),
            ("roles", kind),
            ("version", text(&value, "version")),
            ("chain connected", nested("chain", "connected")),
            ("chain head", nested("chain", "head")),
            ("chain error", nested("chain", "error")),
            ("indexed block", nested("index", "height")),
            ("index lag", nested("index", "lag_blocks")),
            ("used", used.unwrap_or_default()),
            ("capacity", capacity.unwrap_or_default()),
            ("promised roots", nested("content", "promised")),
            ("uploads", nested("content", "uploads")),
            ("ended roots", nested("content", "ended")),
            ("repair", repair(&value["content"]["repair"])),
            ("returning", text(&value["content"]["returning"], "text")),
            ("peers", text(&value, "peers")),
            ("stake", text(&value, "stake")),
            ("balance", text(&value, "balance")),
        ])
    })
}

/// How far repair is; nothing where nobody repairs.
fn repair(value: &Value) -> String {
    let Some(roots) = value["roots"].as_u64() else {
        return String::new();
    };
    let part = |field: &str| text(value, field);
    format!(
        "{roots} roots known, {} queued, {} fetching, {} without a live holder, {} peers lost",
        part("queued"),
        part("fetching"),
        part("starved"),
        part("lost"),
    )
}

pub(crate) async fn peers(context: &Context) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| Ok(session.client.peers().await?))
        .await?;
    context.output.result(&json!({ "peers": rows }), || {
        let rows = rows.iter().map(|row| {
            let roles: Vec<String> = row.roles.iter().map(ToString::to_string).collect();
            [
                row.peer.to_string(),
                roles.join(" "),
                row.operator
                    .map(|operator| operator.to_string())
                    .unwrap_or_default(),
                row.address.clone().unwrap_or_default(),
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

pub(crate) async fn roots(context: &Context) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| Ok(session.client.roots().await?))
        .await?;
    context.output.result(&json!({ "roots": rows }), || {
        let rows = rows.iter().map(|row| {
            let other = |name: &str| match row.other.get(name) {
                None | Some(Value::Null) => String::new(),
                Some(Value::Array(items)) => items.len().to_string(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            [
                row.cid.clone(),
                size(row.size),
                other("leases"),
                other("target"),
                other("holders"),
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
    let value = context
        .with_peer(async |session| Ok(session.client.root(cid).await?))
        .await?;
    context.output.result(&value, || root_view(&value))
}

/// What the peers that did not answer hold is not known.
fn unanswered(silent: usize) -> String {
    match silent {
        0 => String::new(),
        _ => format!("{silent} peers; what they hold is not known, ask again"),
    }
}

/// A root, and a line for each peer that should hold it or does.
fn root_view(root: &Value) -> String {
    let list = |name: &str| root[name].as_array().map_or(&[][..], Vec::as_slice);
    let reasons = list("reasons").iter().filter_map(Value::as_str);
    let head = fields([
        ("cid", text(root, "cid")),
        ("size", root["size"].as_u64().map(size).unwrap_or_default()),
        ("held here for", reasons.collect::<Vec<_>>().join(" ")),
        ("leases", text(root, "leases")),
        ("target", text(root, "target")),
        ("missing", text(root, "missing")),
        ("without answer", unanswered(list("silent").len())),
    ]);
    let leases = list("lease_list");
    let held = leases.iter().map(|lease| {
        let is_placed = list("placed").contains(&lease["holder"]);
        [
            text(lease, "holder"),
            if is_placed { "yes" } else { "no" }.to_owned(),
            text(lease, "serial"),
            text(lease, "to_epoch"),
        ]
    });
    let is_held = |peer: &&Value| leases.iter().any(|lease| lease["holder"] == **peer);
    let lacking = list("placed").iter().filter(|peer| !is_held(peer));
    let lacking = lacking.map(|peer| {
        let peer = peer.as_str().unwrap_or_default().to_owned();
        [peer, "yes".to_owned(), String::new(), String::new()]
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
    let value = serde_json::to_value(&relayed)?;
    context.output.result(&value, || {
        let names = ["digest", "state", "tx_hash", "block_number", "error"];
        fields(names.map(|name| (name, text(&value, name))))
    })
}

pub(crate) async fn stop(context: &Context) -> anyhow::Result<()> {
    context
        .with_peer(async |session| Ok(session.client.stop().await?))
        .await?;
    context
        .output
        .result(&json!({ "stopping": true }), || "the peer stops".to_owned())
}
