//! Registering peers, their consent, and moving them.

use client::operate::endpoint::{self, Expected, Fault, Report};
use client::operate::operator::{Registration, Service, shares};
use protocol::amount::Dgc;
use protocol::id::{Address, Role, Zone};
use serde_json::json;

use super::{KeyArgs, carry_out, open, own_services, role_names, tidy};
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{Door, Payer, Plan, SendArgs};

/// Arguments of `coliving operator register`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The peer's address comes from its key (`--data`, `--key`), from `--peer`, or from the peer
itself, which is asked at its endpoint. The stake defaults to what the services still need.
Afterwards the peer consents: `coliving operator confirm`.

Examples:
  coliving operator register --endpoint https://oak.example --data /srv/coliving/coliving-data
  coliving operator register --endpoint https://oak.example --role content --stake 250000
  coliving operator register --endpoint https://oak.example --dry-run --json")]
pub(crate) struct RegisterArgs {
    /// Where others reach the peer
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// A role to register for; several are possible [default: those that the peer runs with]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// DGC to stake [default: what is missing to the minima]
    #[arg(long, value_name = "AMOUNT")]
    stake: Option<Dgc>,
    /// Address of the peer [default: ask the peer at its endpoint]
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<Address>,
    #[command(flatten)]
    key: KeyArgs,
    /// Register an endpoint that does not work yet
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving operator confirm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The peer's key signs its consent; the operator's wallet sends it and pays. With
`--as-peer` the peer's key sends it, on a machine without the operator's wallet.
The zone names what fails together, such as a data centre; copies are spread over zones.

Examples:
  coliving operator confirm --data /srv/coliving/coliving-data --zone frankfurt
  coliving operator confirm --data /srv/coliving/coliving-data --zone frankfurt --as-peer")]
pub(crate) struct ConfirmArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Where the peer stands; at most 32 bytes
    #[arg(long, value_name = "NAME")]
    zone: String,
    /// A role to confirm; several are possible [default: all that are registered]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    /// The operator [default: the wallet; with `--as-peer` it must be given]
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<Address>,
    /// Send it from the peer's own key, which then needs gas
    #[arg(long, requires = "operator")]
    as_peer: bool,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving operator deregister`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Stake above what the remaining services allow is asked back at once; after the last one
that is all of it. `coliving operator unstake --finish` takes it out after the lock-up.

Examples:
  coliving operator deregister https://oak.example
  coliving operator deregister https://oak.example --role identity")]
pub(crate) struct DeregisterArgs {
    /// The registered URL
    #[arg(value_name = "URL")]
    endpoint: String,
    /// A role to give up; several are possible [default: all]
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<Role>,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving operator endpoint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Another URL keeps the peer's confirmation; another peer has to confirm for itself.

Examples:
  coliving operator endpoint https://oak.example https://oak.example:8443
  coliving operator endpoint https://oak.example --peer 0x…")]
pub(crate) struct EndpointArgs {
    /// The registered URL
    #[arg(value_name = "OLD")]
    old: String,
    /// The URL from here on
    #[arg(value_name = "NEW", required_unless_present = "peer")]
    new: Option<String>,
    /// Address of the peer that serves from here on
    #[arg(long, value_name = "ADDRESS", conflicts_with = "new")]
    peer: Option<Address>,
    /// Register a URL that does not work yet
    #[arg(long)]
    unchecked: bool,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn register(context: &Context, args: RegisterArgs) -> anyhow::Result<()> {
    let key = args.key.read()?;
    let (door, payer) = open(context, &args.send.chain).await?;
    let endpoint = tidy(&args.endpoint).to_owned();
    let expected = Expected {
        peer: args.peer.or(key.map(|key| key.address())),
        roles: args.roles.clone(),
    };
    let report = try_endpoint(context, &door, &endpoint, &expected).await;
    if !args.unchecked {
        refuse_faulty(&report)?;
    }
    let Some(peer) = expected.peer.or(report.peer) else {
        return fail(
            "peer_unknown",
            format!("nobody at {endpoint} says which peer it is"),
            "give its key with `--data DIR`, or its address with `--peer ADDRESS`",
        );
    };
    let mut roles: Vec<Role> = match args.roles.is_empty() {
        true => report
            .roles
            .iter()
            .filter_map(|role| role.parse().ok())
            .collect(),
        false => args.roles,
    };
    roles.sort();
    roles.dedup();
    if roles.is_empty() {
        return fail(
            "roles_unknown",
            format!("the peer at {endpoint} runs without a role"),
            "set `roles` in its config.toml, or give them as `--role content`",
        );
    }
    let operator = payer.address();
    let roles = unregistered(&door, operator, &endpoint, roles).await?;
    let (stake, parts) = needed_stake(&door, operator, &roles, args.stake).await?;
    let registration = Registration {
        endpoint: endpoint.clone(),
        roles: roles.clone(),
        peer,
        stake,
    };
    let calls = door
        .deployment
        .register(operator, &registration, &parts)
        .await?;
    let lockup = door.deployment.decrease_lockup().await?;
    let plan = Plan {
        command: "operator register",
        facts: vec![
            ("endpoint", endpoint.clone()),
            ("endpoint check", verdict(&report)),
            ("peer", peer.to_string()),
            ("roles", role_names(roles.iter().copied())),
            ("stake", format!("{stake} DGC more")),
            (
                "lock-up",
                format!(
                    "stake that is asked back is locked for {lockup} blocks, about {}",
                    door.span(lockup)
                ),
            ),
        ],
        calls,
        value: json!({
            "operator": operator,
            "endpoint": endpoint,
            "peer": peer,
            "roles": roles,
            "staked": stake,
            "endpoint_report": report,
        }),
    };
    let hint = "let the peer consent: `coliving operator confirm --data DIR --zone NAME`";
    let done = format!("registered {endpoint} as {}", role_names(roles));
    carry_out(
        context,
        &door,
        &args.send,
        payer,
        plan,
        &done,
        Some(hint.to_owned()),
    )
    .await
}

/// The roles that the operator has not registered the endpoint for yet.
async fn unregistered(
    door: &Door,
    operator: Address,
    endpoint: &str,
    mut roles: Vec<Role>,
) -> anyhow::Result<Vec<Role>> {
    let services = door.deployment.services(operator).await?;
    let is_there = |role: &Role| {
        let mut services = services.iter();
        services.any(|service| service.role == *role && tidy(&service.endpoint) == endpoint)
    };
    let names = role_names(roles.iter().copied());
    roles.retain(|role| !is_there(role));
    if roles.is_empty() {
        return fail(
            "registered",
            format!("{operator} has registered {endpoint} as {names} already"),
            "`coliving operator status` shows whether its peer has confirmed it; `coliving operator endpoint` moves it to another URL or peer",
        );
    }
    Ok(roles)
}

/// What is staked with each registration.
async fn needed_stake(
    door: &Door,
    operator: Address,
    roles: &[Role],
    wanted: Option<Dgc>,
) -> anyhow::Result<(Dgc, Vec<Dgc>)> {
    let mut minima = Vec::new();
    for role in roles {
        let Some(bounds) = door.deployment.bounds(*role).await? else {
            return fail(
                "role_closed",
                format!("the contracts take no registrations of {role} peers"),
                "",
            );
        };
        minima.push(bounds.min);
    }
    let present = door.deployment.stake(operator).await?;
    // Only the operator's own stake covers the minima.
    let locked = present
        .pending_decrease
        .map_or(Dgc::ZERO, |pending| pending.amount);
    let own = present.own.saturating_sub(locked);
    let all = minima.iter().fold(present.min, |sum, minimum| {
        sum.checked_add(*minimum).unwrap_or(sum)
    });
    let needed = all.saturating_sub(own);
    let stake = wanted.unwrap_or(needed);
    if stake < needed {
        return fail(
            "stake_too_small",
            format!(
                "{stake} DGC are too little: with these roles the operator's services need {all} DGC, {own} DGC are staked"
            ),
            format!("stake {needed} DGC or more"),
        );
    }
    let owned = door.deployment.balances(operator).await?.dgc;
    if owned < stake {
        return fail(
            "balance",
            format!("{operator} owns {owned} DGC, {stake} DGC are to be staked"),
            "get more DGC; on a development chain `coliving chain fund` sends some",
        );
    }
    Ok((stake, shares(stake, own, present.min, &minima)))
}

pub(crate) async fn confirm(context: &Context, args: ConfirmArgs) -> anyhow::Result<()> {
    if args.zone.is_empty() || args.zone.len() > ZONE_BYTES_MAX {
        return fail(
            "zone",
            format!(
                "a zone has 1 to {ZONE_BYTES_MAX} bytes, `{}` has {}",
                args.zone,
                args.zone.len()
            ),
            "",
        );
    }
    let Some(key) = args.key.read()? else {
        return fail(
            "key_missing",
            "the peer's key signs the consent",
            "give the peer's data folder with `--data DIR`, or the key with `--key FILE`",
        );
    };
    let payer = match args.as_peer {
        true => Payer::Key(key.clone()),
        false => Payer::wallet(context)?,
    };
    let door = Door::open(context, &args.send.chain).await?;
    let operator = args.operator.unwrap_or_else(|| payer.address());
    let peer = key.address();
    let services = unconfirmed(&door, operator, peer, &args.roles, &args.zone).await?;
    let zone = Zone::new(&args.zone);
    let calls = match args.as_peer {
        true => {
            let calls = services.iter();
            let calls = calls.map(|service| door.deployment.confirm_as_peer(service, &key, zone));
            calls.collect::<Result<Vec<_>, _>>()?
        }
        false => {
            let signed = door
                .deployment
                .sign_confirmations(&key, &services, zone)
                .await?;
            let calls = signed.iter();
            let calls = calls.map(|(record, signature)| door.deployment.confirm(record, signature));
            calls.collect::<Result<Vec<_>, _>>()?
        }
    };
    let roles: Vec<Role> = services.iter().map(|service| service.role).collect();
    let names = role_names(roles.iter().copied());
    let plan = Plan {
        command: "operator confirm",
        facts: vec![
            ("peer", peer.to_string()),
            ("operator", operator.to_string()),
            ("roles", names.clone()),
            ("zone", args.zone.clone()),
        ],
        calls,
        value: json!({
            "operator": operator,
            "peer": peer,
            "roles": roles,
            "zone": args.zone,
        }),
    };
    let done = format!("the peer serves as {names} in zone {}", args.zone);
    let hint = "placement takes it into account from the next snapshot on; `coliving operator status` shows how it does";
    carry_out(
        context,
        &door,
        &args.send,
        payer,
        plan,
        &done,
        Some(hint.to_owned()),
    )
    .await
}

/// The services of a peer that do not stand confirmed in this zone.
async fn unconfirmed(
    door: &Door,
    operator: Address,
    peer: Address,
    roles: &[Role],
    zone: &str,
) -> anyhow::Result<Vec<Service>> {
    let found = door.deployment.services(operator).await?;
    let own: Vec<Service> = found
        .into_iter()
        .filter(|service| service.peer == peer)
        .filter(|service| roles.is_empty() || roles.contains(&service.role))
        .collect();
    if own.is_empty() {
        return fail(
            "service_missing",
            format!("{operator} has registered no such service for the peer {peer}"),
            "register it with `coliving operator register`, or name the operator with `--operator ADDRESS`",
        );
    }
    let open: Vec<Service> = own
        .into_iter()
        .filter(|service| {
            let confirmed = service.confirmation.as_ref();
            confirmed.is_none_or(|confirmed| confirmed.zone != zone)
        })
        .collect();
    if open.is_empty() {
        return fail(
            "confirmed",
            format!("the peer {peer} stands confirmed in zone {zone} already"),
            "",
        );
    }
    Ok(open)
}

pub(crate) async fn deregister(context: &Context, args: DeregisterArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let endpoint = tidy(&args.endpoint);
    let services = own_services(&door, operator, endpoint, &args.roles).await?;
    let roles: Vec<Role> = services.iter().map(|service| service.role).collect();
    let calls = services.iter();
    let calls = calls.map(|service| door.deployment.deregister(service));
    let lockup = door.deployment.decrease_lockup().await?;
    let plan = Plan {
        command: "operator deregister",
        facts: vec![
            ("endpoint", endpoint.to_owned()),
            ("roles", role_names(roles.iter().copied())),
            (
                "lock-up",
                format!(
                    "stake that no service needs is asked back, until {}",
                    door.after(lockup)
                ),
            ),
        ],
        calls: calls.collect::<Result<Vec<_>, _>>()?,
        value: json!({ "operator": operator, "endpoint": endpoint, "roles": roles }),
    };
    let done = format!("gave up {} at {endpoint}", role_names(roles));
    let hint = "`coliving operator status` shows what was asked back; `coliving operator unstake --finish` takes it out";
    carry_out(
        context,
        &door,
        &args.send,
        payer,
        plan,
        &done,
        Some(hint.to_owned()),
    )
    .await
}

pub(crate) async fn endpoint(context: &Context, args: EndpointArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let old = tidy(&args.old);
    let services = own_services(&door, operator, old, &[]).await?;
    let roles: Vec<Role> = services.iter().map(|service| service.role).collect();
    let mut facts = vec![
        ("endpoint", old.to_owned()),
        ("roles", role_names(roles.iter().copied())),
    ];
    let mut value = json!({ "operator": operator, "endpoint": old, "roles": roles });
    let (calls, done, hint) = match (&args.new, args.peer) {
        (Some(new), _) => {
            let new = tidy(new);
            let expected = Expected {
                peer: services.first().map(|service| service.peer),
                roles,
            };
            let report = try_endpoint(context, &door, new, &expected).await;
            if !args.unchecked {
                refuse_faulty(&report)?;
            }
            facts.push(("moves to", new.to_owned()));
            facts.push(("endpoint check", verdict(&report)));
            value["new_endpoint"] = json!(new);
            value["endpoint_report"] = json!(report);
            let calls = services.iter();
            let calls = calls.map(|service| door.deployment.move_service(service, new));
            (
                calls.collect::<Result<Vec<_>, _>>()?,
                format!("moved {old} to {new}"),
                "set `url` in the peer's config.toml to the same and restart it",
            )
        }
        (None, Some(peer)) => {
            facts.push(("goes to the peer", peer.to_string()));
            value["peer"] = json!(peer);
            let calls = services.iter();
            let calls = calls.map(|service| door.deployment.change_peer(service, peer));
            (
                calls.collect::<Result<Vec<_>, _>>()?,
                format!("gave {old} to the peer {peer}"),
                "the new peer has to consent: `coliving operator confirm`",
            )
        }
        (None, None) => return fail("usage", "give the new URL, or `--peer ADDRESS`", ""),
    };
    let plan = Plan {
        command: "operator endpoint",
        facts,
        calls,
        value,
    };
    carry_out(
        context,
        &door,
        &args.send,
        payer,
        plan,
        &done,
        Some(hint.to_owned()),
    )
    .await
}

async fn try_endpoint(context: &Context, door: &Door, url: &str, expected: &Expected) -> Report {
    let trying = context.output.spinner(&format!("trying {url}"));
    let domain = door.deployment.contracts().domain();
    let report = endpoint::check(url, expected, &domain).await;
    trying.finish_and_clear();
    report
}

/// An endpoint that others cannot use is not registered by mistake.
fn refuse_faulty(report: &Report) -> anyhow::Result<()> {
    let Some(fault) = report.faults.iter().find(|fault| !fault.is_warning()) else {
        return Ok(());
    };
    let hint = match fault {
        Fault::Url { .. } => "",
        _ => "`--unchecked` registers it all the same",
    };
    fail(
        "endpoint",
        format!("{} does not work: {fault}", report.url),
        hint,
    )
}

/// What was found, in words.
fn verdict(report: &Report) -> String {
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    match (report.is_good(), faults.is_empty()) {
        (true, true) => "works".to_owned(),
        (true, false) => format!("works; mind: {}", faults.join("; ")),
        (false, _) => faults.join("; "),
    }
}

const ZONE_BYTES_MAX: usize = 32;
