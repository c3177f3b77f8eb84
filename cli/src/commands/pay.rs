//! `coliving pay` and `coliving tip`: tokens from wallet to wallets.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use client::Client;
use client::operate::payments::Payment;
use protocol::amount::Dgc;
use protocol::id::{Address, UserId};
use protocol::payment::{Percent, TipMemo, split};
use serde_json::json;

use super::find::resolve_user;
use crate::context::Context;
use crate::failure::{Failure, fail};
use crate::onchain::{Door, Plan, SendArgs};
use crate::session;

/// Arguments of `coliving pay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
PAYEE is a handle, a user's id or an address, with an amount (`ada=2.5`) or a percentage of
`--amount` (`ada=70%`). Percentages are divided to the last unit; nothing is left over.
One transaction pays all; the wallet signs a permit instead of approving first.

Examples:
  coliving pay ada=12.5
  coliving pay ada=70% bob=30% --amount 100 --memo \"concert, 12 May\"
  coliving pay 0x…=1 0x…=2 --dry-run")]
pub(crate) struct PayArgs {
    /// Who gets how much
    #[arg(value_name = "PAYEE=PART", required = true)]
    payees: Vec<Part>,
    /// DGC to divide, when the parts are percentages
    #[arg(long, value_name = "AMOUNT")]
    amount: Option<Dgc>,
    /// What it is for, up to 1024 bytes; everybody can read it
    #[arg(long, value_name = "TEXT", default_value = "")]
    memo: String,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving tip`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving tip ada 5
  coliving tip ada 5 --message \"for the bass line\"")]
pub(crate) struct TipArgs {
    /// Handle or id of the user
    #[arg(value_name = "HANDLE|ID")]
    user: String,
    /// Amount in DGC
    #[arg(value_name = "AMOUNT")]
    amount: Dgc,
    /// A few words; everybody can read them
    #[arg(long, value_name = "TEXT", default_value = "")]
    message: String,
    #[command(flatten)]
    send: SendArgs,
}

/// `PAYEE=PART`.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    payee: String,
    share: Share,
}

#[derive(Debug, Clone, Copy)]
enum Share {
    Amount(Dgc),
    Percent(Percent),
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write `PAYEE=AMOUNT` or `PAYEE=PERCENT%`, such as `ada=2.5` or `ada=70%`";
        let (payee, part) = text.rsplit_once('=').ok_or(form)?;
        if payee.is_empty() {
            return Err(form.to_owned());
        }
        let share = match part.ends_with('%') {
            true => Share::Percent(part.parse().map_err(|error| format!("{error}"))?),
            false => Share::Amount(part.parse().map_err(|error| format!("{error}"))?),
        };
        Ok(Self {
            payee: payee.to_owned(),
            share,
        })
    }
}

/// A payee by name and address.
struct Payee {
    name: String,
    address: Address,
    user: Option<UserId>,
}

pub(crate) async fn pay(context: &Context, args: PayArgs) -> anyhow::Result<()> {
    let amounts = amounts(&args)?;
    let names = args.payees.iter().map(|part| part.payee.as_str());
    let payees = find_payees(context, names).await?;
    let mut payment = Payment {
        payees: Vec::new(),
        memo: args.memo,
    };
    for (payee, amount) in payees.iter().zip(&amounts) {
        payment.payees.push((payee.address, *amount));
    }
    send(context, "pay", &payees, payment, &args.send).await
}

pub(crate) async fn tip(context: &Context, args: TipArgs) -> anyhow::Result<()> {
    let payees = find_payees(context, [args.user.as_str()]).await?;
    let sender = own_user(context).await;
    let Some((payee, receiver)) = payees.first().and_then(|payee| Some((payee, payee.user?)))
    else {
        return fail(
            "user_missing",
            format!("`{}` is no user", args.user),
            "pay an address with `coliving pay ADDRESS=AMOUNT`",
        );
    };
    let memo = TipMemo {
        receiver,
        sender,
        message: args.message,
    };
    let payment = Payment {
        payees: vec![(payee.address, args.amount)],
        memo: memo.to_string(),
    };
    send(context, "tip", &payees, payment, &args.send).await
}

/// What each payee gets, in order.
fn amounts(args: &PayArgs) -> anyhow::Result<Vec<Dgc>> {
    let shares = args.payees.iter().map(|part| part.share);
    let fixed: Vec<Dgc> = shares
        .clone()
        .filter_map(|share| match share {
            Share::Amount(amount) => Some(amount),
            Share::Percent(_) => None,
        })
        .collect();
    let percents: Vec<Percent> = shares
        .filter_map(|share| match share {
            Share::Percent(percent) => Some(percent),
            Share::Amount(_) => None,
        })
        .collect();
    match (fixed.is_empty(), percents.is_empty(), args.amount) {
        (false, false, _) => fail("parts", "the parts are either amounts or percentages", ""),
        (false, true, None) => Ok(fixed),
        (false, true, Some(_)) => fail(
            "parts",
            "`--amount` is divided by percentages, and the parts are amounts",
            "leave `--amount` out, or write the parts as `ada=70%`",
        ),
        (true, _, None) => fail(
            "parts",
            "the parts are percentages of nothing",
            "give what is divided with `--amount AMOUNT`",
        ),
        (true, _, Some(amount)) => {
            let found = split(amount.0, Percent::ZERO, &percents)?;
            Ok(found.amounts.into_iter().map(Dgc).collect())
        }
    }
}

/// Addresses stand for themselves; handles and ids are asked of the peer.
async fn find_payees<'a>(
    context: &Context,
    names: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Vec<Payee>> {
    let names: Vec<&str> = names.into_iter().collect();
    let is_address = |name: &str| name.starts_with("0x");
    let parsed = |name: &str| -> anyhow::Result<Payee> {
        Ok(Payee {
            name: name.to_owned(),
            address: name
                .parse()
                .map_err(|error| Failure::new("payee", format!("{error}"), ""))?,
            user: None,
        })
    };
    if names.iter().all(|name| is_address(name)) {
        return names.into_iter().map(parsed).collect();
    }
    context
        .with_peer(async |session| {
            let mut payees = Vec::new();
            for name in names {
                payees.push(match is_address(name) {
                    true => parsed(name)?,
                    false => user(&session.client, name).await?,
                });
            }
            Ok(payees)
        })
        .await
}

async fn user(client: &Client, name: &str) -> anyhow::Result<Payee> {
    let found = resolve_user(client, name).await?;
    Ok(Payee {
        name: name.to_owned(),
        address: found.wallet,
        user: Some(UserId(found.user_id)),
    })
}

/// The user of the paying wallet, if the index knows one.
async fn own_user(context: &Context) -> Option<UserId> {
    let wallet = session::wallet_file(&context.global).ok()?.address?;
    let found = context
        .with_peer(async |session| Ok(session.client.users_by_wallet(wallet).await?))
        .await;
    let found = found.ok()?;
    found.first().map(|user| UserId(user.user_id))
}

async fn send(
    context: &Context,
    command: &'static str,
    payees: &[Payee],
    payment: Payment,
    args: &SendArgs,
) -> anyhow::Result<()> {
    let total = payment
        .total()
        .map_err(|error| Failure::new("payment", error.to_string(), ""))?;
    let door = Door::open(context, &args.chain).await?;
    // The permit is signed before the cost can be estimated.
    let (_, wallet) = session::unlock(&context.global)?;
    let payer = wallet.address();
    let owned = door.deployment.balances(payer).await?.dgc;
    if owned < total {
        return fail(
            "balance",
            format!("{payer} owns {owned} DGC, {total} DGC are to be paid"),
            "on a development chain `coliving chain fund` sends some",
        );
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now
        .unwrap_or_default()
        .as_secs()
        .max(door.pace.head.seconds);
    let deadline = now.saturating_add(PERMIT_SECONDS);
    let permit = door.deployment.permit(payer, total, deadline).await?;
    let call = door
        .deployment
        .pay_with_permit(&payment, &permit, &wallet.key)?;
    let rows = payees.iter().zip(&payment.payees);
    let mut facts: Vec<(&'static str, String)> = rows
        .clone()
        .map(|(payee, (address, amount))| {
            let who = match payee.name.starts_with("0x") {
                true => payee.name.clone(),
                false => format!("{} ({address})", payee.name),
            };
            ("pays", format!("{amount} DGC to {who}"))
        })
        .collect();
    facts.push(("in all", format!("{total} DGC of {owned} DGC")));
    facts.push(("memo", payment.memo.clone()));
    let parts = rows.map(|(payee, (address, amount))| {
        json!({ "payee": payee.name, "address": address, "amount": amount })
    });
    let plan = Plan {
        command,
        facts,
        calls: vec![call],
        value: json!({
            "amount": total,
            "payees": parts.collect::<Vec<_>>(),
            "memo": payment.memo,
        }),
    };
    let payer = crate::onchain::Payer::Key(wallet.key);
    if let Some(sent) = door.carry_out(context, args, payer, plan).await? {
        let done = format!("paid {total} DGC");
        sent.print(context.output, json!({}), &done)?;
    }
    Ok(())
}

/// How long a permit holds.
const PERMIT_SECONDS: u64 = 3_600;
