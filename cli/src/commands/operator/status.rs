//! Everything about an operator, and whether its endpoints work.

use client::operate::endpoint::{self, Expected, Report};
use client::operate::operator::Service;
use client::operate::state::OperatorState;
use protocol::amount::Dgc;
use protocol::id::{Address, Role};
use serde_json::{Value, json};

use super::{Whom, role_names};
use crate::context::Context;
use crate::onchain::{ChainArgs, Door, Payer};
use crate::output::{fields, table};

/// Arguments of `coliving operator status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each endpoint is tried from this machine: its name, its port, who answers, whether that peer
is the registered one, has the roles and is ready. `--offline` leaves that out.

Examples:
  coliving operator status
  coliving operator status 0x… --json")]
pub(crate) struct StatusArgs {
    /// The operator: its address, or the name of its wallet here [default: the wallet]
    #[arg(value_name = "OPERATOR")]
    operator: Option<Whom>,
    /// Do not try the endpoints
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    chain: ChainArgs,
}

/// A peer of the operator: an endpoint with its services.
struct Peer {
    address: Address,
    endpoint: String,
    services: Vec<Service>,
    /// What its key has for gas.
    gas: Dgc,
    report: Option<Report>,
}

pub(crate) async fn status(context: &Context, args: StatusArgs) -> anyhow::Result<()> {
    let operator = match &args.operator {
        Some(operator) => operator.find()?,
        None => Payer::wallet(context)?.address(),
    };
    let door = Door::open(context, &args.chain).await?;
    let asking = context.output.spinner("asking the contracts");
    let state = door.deployment.operator(operator).await?;
    asking.set_message("trying the endpoints");
    let peers = peers(&door, &state, args.offline).await?;
    asking.finish_and_clear();
    let value = value(&door, &state, &peers)?;
    context
        .output
        .result(&value, || text(&door, &state, &peers))?;
    for hint in hints(&door, &state, &peers) {
        context.output.hint(&hint);
    }
    Ok(())
}

async fn peers(door: &Door, state: &OperatorState, is_offline: bool) -> anyhow::Result<Vec<Peer>> {
    let mut peers: Vec<Peer> = Vec::new();
    for service in &state.services {
        let known = peers
            .iter_mut()
            .find(|peer| peer.address == service.peer && peer.endpoint == service.endpoint);
        match known {
            Some(peer) => peer.services.push(service.clone()),
            None => peers.push(Peer {
                address: service.peer,
                endpoint: service.endpoint.clone(),
                services: vec![service.clone()],
                gas: Dgc::ZERO,
                report: None,
            }),
        }
    }
    let domain = door.deployment.contracts().domain();
    let trying = peers.into_iter().map(async |mut peer| {
        peer.gas = Dgc(door.deployment.client().balance(peer.address).await?);
        if !is_offline {
            let expected = Expected {
                peer: Some(peer.address),
                roles: peer.services.iter().map(|service| service.role).collect(),
            };
            peer.report = Some(endpoint::check(&peer.endpoint, &expected, &domain).await);
        }
        anyhow::Ok(peer)
    });
    futures::future::try_join_all(trying).await
}

fn value(door: &Door, state: &OperatorState, peers: &[Peer]) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(state)?;
    value["block"] = json!(door.pace.head.number);
    value["block_seconds"] = json!(door.pace.block_time.as_secs_f64());
    value["round_due"] = json!(is_round_due(door, state));
    let peers = peers.iter().map(|peer| {
        json!({
            "peer": peer.address,
            "endpoint": peer.endpoint,
            "roles": peer.services.iter().map(|service| service.role).collect::<Vec<_>>(),
            "ether": peer.gas,
            "endpoint_report": peer.report,
        })
    });
    value["peers"] = peers.collect();
    Ok(value)
}

fn is_round_due(door: &Door, state: &OperatorState) -> bool {
    door.pace.head.number.saturating_add(1) >= state.round.next_block
}

fn text(door: &Door, state: &OperatorState, peers: &[Peer]) -> String {
    let mut text = fields(rows(door, state));
    for peer in peers {
        text.push_str("\n\n");
        text.push_str(&peer_text(peer));
    }
    if !state.delegations.is_empty() {
        let rows = state.delegations.iter();
        let rows = rows.map(|row| [row.delegator.to_string(), format!("{} DGC", row.amount)]);
        text.push_str("\n\n");
        text.push_str(&table(&["delegator", "delegated"], rows));
    }
    text
}

fn rows(door: &Door, state: &OperatorState) -> Vec<(&'static str, String)> {
    let stake = &state.stake;
    let number = state.number.map(|number| format!("number {number}"));
    let number =
        number.unwrap_or_else(|| "without a number before its first peer consents".to_owned());
    let within = match (state.services.is_empty(), stake.within_bounds) {
        (true, _) => "no services".to_owned(),
        (false, true) => format!("{} to {} DGC", stake.min, stake.max),
        (false, false) => format!(
            "{} to {} DGC; it is outside and earns nothing",
            stake.min, stake.max
        ),
    };
    let mut rows = vec![
        ("operator", format!("{} ({number})", state.operator)),
        ("owns", format!("{} DGC", state.balances.dgc)),
        ("coin for gas", state.balances.ether.to_string()),
        ("own stake", format!("{} DGC", stake.own)),
        (
            "delegated",
            format!("{} DGC by {}", stake.delegated, state.delegations.len()),
        ),
        ("locked", format!("{} DGC", stake.locked)),
        ("active", format!("{} DGC", stake.active)),
        ("allowed", within),
    ];
    if let Some(pending) = stake.pending_decrease {
        let when = door.when(pending.unlock_block);
        rows.push((
            "asked back",
            format!("{} DGC, locked until {when}", pending.amount),
        ));
    }
    rows.push(("cut", format!("{} %", state.cut.percent)));
    if let Some(pending) = state.cut.pending {
        let when = door.when(pending.unlock_block);
        rows.push((
            "next cut",
            format!("{} %, locked until {when}", pending.percent),
        ));
    }
    let claim = match (state.claim.pending, state.round.number) {
        (_, 0) => "no round has begun".to_owned(),
        (true, number) => format!("{} DGC in round {number}", state.claim.rewards),
        (false, number) => format!("nothing in round {number}"),
    };
    let next = match is_round_due(door, state) {
        true => "can begin".to_owned(),
        false => format!("from {}", door.when(state.round.next_block)),
    };
    rows.extend([
        ("least delegation", format!("{} DGC", state.delegation_min)),
        ("votes with", format!("{} DGC", state.voting_stake)),
        ("can claim", claim),
        ("next round", next),
        ("placement weight", state.placement_weight.to_string()),
    ]);
    rows
}

fn peer_text(peer: &Peer) -> String {
    let roles = peer.services.iter().map(|service| {
        let confirmed = match &service.confirmation {
            Some(confirmed) => format!("confirmed in zone {}", confirmed.zone),
            None => "not confirmed".to_owned(),
        };
        format!("{} {} ({confirmed})", service.role, service.id)
    });
    let mut rows = vec![
        ("endpoint", peer.endpoint.clone()),
        ("peer", peer.address.to_string()),
        ("services", roles.collect::<Vec<_>>().join(", ")),
        ("coin for gas", peer.gas.to_string()),
    ];
    if let Some(report) = &peer.report {
        let version = report.version.clone().unwrap_or_default();
        let state = match (report.is_good(), report.latency_ms) {
            (true, Some(ms)) => format!("works: version {version}, {ms} ms"),
            (true, None) => "works".to_owned(),
            (false, _) => "does not work".to_owned(),
        };
        rows.push(("from outside", state));
        for fault in &report.faults {
            let name = if fault.is_warning() { "mind" } else { "wrong" };
            rows.push((name, fault.to_string()));
        }
    }
    fields(rows)
}

/// The next commands that the state asks for.
fn hints(door: &Door, state: &OperatorState, peers: &[Peer]) -> Vec<String> {
    let mut hints = Vec::new();
    if state.services.is_empty() {
        hints.push("register a peer with `coliving operator register`".to_owned());
        return hints;
    }
    for peer in peers {
        let open = peer
            .services
            .iter()
            .filter(|service| service.confirmation.is_none());
        let open: Vec<Role> = open.map(|service| service.role).collect();
        if !open.is_empty() {
            hints.push(format!(
                "{} does not serve as {} before its peer consents: `coliving operator confirm --data DIR --zone NAME`",
                peer.endpoint,
                role_names(open)
            ));
        }
        let relays = peer
            .services
            .iter()
            .any(|service| service.role == Role::Identity);
        if relays && peer.gas == Dgc::ZERO {
            hints.push(format!(
                "an identity peer pays for users' actions: send some of the chain's coin to {}",
                peer.address
            ));
        }
    }
    if state.claim.pending || is_round_due(door, state) {
        hints.push("`coliving claim` brings the rewards".to_owned());
    }
    let is_unlocked = |block: u64| door.pace.blocks_to(block) <= 1;
    let pending = state.stake.pending_decrease;
    if pending.is_some_and(|pending| is_unlocked(pending.unlock_block)) {
        hints.push("`coliving operator unstake --finish` takes out what was asked back".to_owned());
    }
    let pending = state.cut.pending;
    if pending.is_some_and(|pending| is_unlocked(pending.unlock_block)) {
        hints.push("`coliving operator cut --finish` makes the new cut hold".to_owned());
    }
    hints
}
