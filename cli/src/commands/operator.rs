//! `coliving operator`: peers that stake, from the wallet that staked.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use client::keystore;
use client::operate::operator::Service;
use protocol::amount::{Dgc, ParseAmountError};
use protocol::id::{Address, Role};
use serde_json::json;

use crate::context::Context;
use crate::failure::{Failure, fail};
use crate::onchain::{ChainArgs, Door, Payer, Plan, SendArgs};
use crate::session;

mod cut;
mod delegators;
mod register;
mod stake;
mod status;

/// What operators do.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
An operator's wallet (`--wallet`) holds the stake and registers peers; it may be on another
machine than they are. Amounts are in DGC, as `200000` or `0.5`. Every command shows what
it is going to do, what it costs and when a lock-up ends, and asks; `--yes` answers.

Examples:
  coliving operator register --endpoint https://oak.example --data /srv/coliving/coliving-data
  coliving operator confirm --data /srv/coliving/coliving-data --zone frankfurt
  coliving operator status")]
pub(crate) enum OperatorCommand {
    /// Stake for a peer and register it
    Register(register::RegisterArgs),
    /// Let a registered peer consent to serve
    Confirm(register::ConfirmArgs),
    /// Give services of a peer up
    Deregister(register::DeregisterArgs),
    /// Add to your own stake
    Stake(stake::StakeArgs),
    /// Ask stake back, and take it out after the lock-up
    Unstake(stake::UnstakeArgs),
    /// Move a peer's services to another URL, or to another peer
    Endpoint(register::EndpointArgs),
    /// Change what you keep of your delegators' rewards
    Cut(cut::CutArgs),
    /// Set the least that may be delegated to you
    MinDelegation(delegators::MinArgs),
    /// Give a delegator its delegation back
    RemoveDelegator(delegators::RemoveArgs),
    /// Everything about an operator, and whether its endpoints work
    Status(status::StatusArgs),
}

pub(crate) async fn run(context: &Context, command: OperatorCommand) -> anyhow::Result<()> {
    match command {
        OperatorCommand::Register(args) => register::register(context, args).await,
        OperatorCommand::Confirm(args) => register::confirm(context, args).await,
        OperatorCommand::Deregister(args) => register::deregister(context, args).await,
        OperatorCommand::Stake(args) => stake::stake(context, args).await,
        OperatorCommand::Unstake(args) => stake::unstake(context, args).await,
        OperatorCommand::Endpoint(args) => register::endpoint(context, args).await,
        OperatorCommand::Cut(args) => cut::cut(context, args).await,
        OperatorCommand::MinDelegation(args) => delegators::minimum(context, args).await,
        OperatorCommand::RemoveDelegator(args) => delegators::remove(context, args).await,
        OperatorCommand::Status(args) => status::status(context, args).await,
    }
}

/// An operator: its address, or the name of its wallet on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Whom(String);

impl FromStr for Whom {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Whom {
    /// The address that was named.
    pub(crate) fn find(&self) -> anyhow::Result<Address> {
        if let Ok(address) = self.0.parse() {
            return Ok(address);
        }
        let refused = || {
            Failure::new(
                "operator",
                format!(
                    "`{}` is neither an address (40 hexadecimal digits after `0x`) nor a wallet on this machine",
                    self.0
                ),
                "`coliving wallet list` shows those that are here",
            )
        };
        let file = keystore::describe(&session::wallets()?, &self.0).map_err(|_| refused())?;
        Ok(file.address.ok_or_else(refused)?)
    }
}

/// An amount, or all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// `all` or `max`.
    All,
    /// So many tokens.
    Exactly(Dgc),
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        match text {
            "all" | "max" => Ok(Self::All),
            _ => text.parse().map(Self::Exactly),
        }
    }
}

impl Amount {
    /// The amount, of so many that there are.
    ///
    /// # Errors
    ///
    /// Nothing, and more than there are, are refused.
    pub(crate) fn of(self, there: Dgc, what: &str) -> anyhow::Result<Dgc> {
        let amount = match self {
            Self::All => there,
            Self::Exactly(amount) => amount,
        };
        if amount == Dgc::ZERO {
            return fail(
                "amount",
                format!("there is nothing to do for 0 DGC: {there} DGC {what}"),
                "",
            );
        }
        if amount > there {
            return fail(
                "amount",
                format!("{amount} DGC are asked for, {there} DGC {what}"),
                "`all` takes everything that there is",
            );
        }
        Ok(amount)
    }
}

/// Whether a request is made, carried out or dropped.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(multiple = false)]
pub(crate) struct Ending {
    /// Carry out what was asked for, after its lock-up
    #[arg(long)]
    pub(crate) finish: bool,
    /// Drop what was asked for
    #[arg(long)]
    pub(crate) cancel: bool,
}

impl Ending {
    pub(crate) const fn is_given(self) -> bool {
        self.finish || self.cancel
    }
}

/// Which peer's key: in a data folder, or in a file of its own.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
pub(crate) struct KeyArgs {
    /// Data folder of the peer, with its file `key`
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// File with the peer's key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

impl KeyArgs {
    /// The key, when a folder or file was named.
    pub(crate) fn read(&self) -> anyhow::Result<Option<protocol::signing::SigningKey>> {
        let path = match (&self.data, &self.key) {
            (Some(data), _) => data.join("key"),
            (None, Some(key)) => key.clone(),
            (None, None) => return Ok(None),
        };
        if !path.is_file() {
            return fail(
                "key_missing",
                format!("there is no peer's key at `{}`", path.display()),
                "give the folder that `data` in the peer's config.toml names; a peer makes its key when it first runs",
            );
        }
        Ok(Some(client::home::read_peer_key(&path)?))
    }
}

/// The wallet that is meant, and the chain.
async fn open(context: &Context, args: &ChainArgs) -> anyhow::Result<(Door, Payer)> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, args).await?;
    Ok((door, payer))
}

/// Carries out a plan of one operator and prints its end.
async fn carry_out(
    context: &Context,
    door: &Door,
    args: &SendArgs,
    payer: Payer,
    plan: Plan,
    done: &str,
    hint: Option<String>,
) -> anyhow::Result<()> {
    if let Some(sent) = door.carry_out(context, args, payer, plan).await? {
        sent.print(context.output, json!({}), done)?;
        if let Some(hint) = hint {
            context.output.hint(&hint);
        }
    }
    Ok(())
}

/// The operator's own services at an endpoint, of these roles or of all.
async fn own_services(
    door: &Door,
    operator: Address,
    endpoint: &str,
    roles: &[Role],
) -> anyhow::Result<Vec<Service>> {
    let found = door.deployment.services(operator).await?;
    let services: Vec<Service> = found
        .iter()
        .filter(|service| service.endpoint == endpoint)
        .filter(|service| roles.is_empty() || roles.contains(&service.role))
        .cloned()
        .collect();
    if services.is_empty() {
        let mut known: Vec<String> = found.into_iter().map(|service| service.endpoint).collect();
        known.dedup();
        let hint = match known.is_empty() {
            true => "register one with `coliving operator register`".to_owned(),
            false => format!("its endpoints are {}", known.join(", ")),
        };
        return fail(
            "service_missing",
            format!("{operator} has no such service at `{endpoint}`"),
            hint,
        );
    }
    Ok(services)
}

/// An endpoint as it is registered: without a slash at its end.
pub(crate) fn tidy(endpoint: &str) -> &str {
    endpoint.trim_end_matches('/')
}

/// Names of roles, one after the other.
pub(crate) fn role_names(roles: impl IntoIterator<Item = Role>) -> String {
    let names: Vec<String> = roles.into_iter().map(|role| role.to_string()).collect();
    names.join(" ")
}

/// A request that cannot be carried out yet.
pub(crate) fn refuse_early(door: &Door, block: u64, what: &str) -> anyhow::Result<()> {
    // The transaction is mined in the next block at the earliest.
    let blocks = door.pace.blocks_to(block).saturating_sub(1);
    if blocks == 0 {
        return Ok(());
    }
    Err(Failure::new(
        "locked",
        format!("{what} is locked until {}", door.when(block)),
        format!("wait; on a development chain `coliving chain mine {blocks}` gets there"),
    )
    .into())
}

/// Refuses, before any fee, what the contracts refuse while rewards wait.
pub(crate) async fn require_claimed(door: &Door, operator: Address) -> anyhow::Result<()> {
    match door.deployment.is_claim_pending(operator).await? {
        false => Ok(()),
        true => fail(
            "claim_pending",
            format!("rewards of {operator} wait; its stake changes after they are claimed"),
            format!("claim them with `coliving claim {operator}`"),
        ),
    }
}
