//! `coliving delegate`, `undelegate` and `claim`: what holders lend, and what it brings.

use client::operate::delegation::PendingUndelegation;
use protocol::amount::Dgc;
use protocol::id::Address;
use serde_json::{Value, json};

use super::operator::{Amount, Ending, Whom, refuse_early, require_claimed};
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{Door, Payer, Plan, SendArgs};
use crate::output::{fields, table};

/// Arguments of `coliving delegate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A delegation stays yours: it earns its share of the operator's rewards without the
operator's cut, votes with your wallet, and can be slashed with the operator's stake.

Examples:
  coliving delegate 0x… 5000
  coliving delegate 0x… max               all DGC of the wallet
  coliving delegate --list                 what you delegated, and what you asked back")]
pub(crate) struct DelegateArgs {
    /// The operator: its address, or the name of its wallet here
    #[arg(value_name = "OPERATOR", required_unless_present = "list")]
    operator: Option<Whom>,
    /// DGC, or `max`
    #[arg(value_name = "AMOUNT", required_unless_present = "list")]
    amount: Option<Amount>,
    /// List your delegations
    #[arg(long, conflicts_with_all = ["operator", "amount"])]
    list: bool,
    /// List those of another wallet
    #[arg(long, value_name = "ADDRESS", requires = "list")]
    of: Option<Address>,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving undelegate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is asked back stays slashable and earns nothing until the lock-up ends; then
`--finish` takes it out. One request at a time.

Examples:
  coliving undelegate 0x… 5000
  coliving undelegate 0x… all
  coliving undelegate --finish
  coliving undelegate --cancel
  coliving delegate --list                 shows when the lock-up ends")]
pub(crate) struct UndelegateArgs {
    /// The operator: its address, or the name of its wallet here
    #[arg(value_name = "OPERATOR", required_unless_present_any = ["finish", "cancel"])]
    operator: Option<Whom>,
    /// DGC, or `all`
    #[arg(value_name = "AMOUNT", required_unless_present_any = ["finish", "cancel"])]
    amount: Option<Amount>,
    #[command(flatten)]
    ending: Ending,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving claim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Begins the next round if it is due, then claims the operator's rewards: they become stake
of the operator and of its delegators. Anybody may claim for any operator.

Examples:
  coliving claim
  coliving claim 0x…                       for the operator that you delegated to")]
pub(crate) struct ClaimArgs {
    /// The operator: its address, or the name of its wallet here [default: the wallet]
    #[arg(value_name = "OPERATOR")]
    operator: Option<Whom>,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn delegate(context: &Context, args: DelegateArgs) -> anyhow::Result<()> {
    if args.list {
        return list(context, &args).await;
    }
    let (Some(operator), Some(amount)) = (&args.operator, args.amount) else {
        return fail("usage", "give an operator and an amount", "");
    };
    let operator = operator.find()?;
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let (deployment, delegator) = (&door.deployment, payer.address());
    if operator == delegator {
        return fail(
            "own_operator",
            "an operator does not delegate to itself",
            "add to your own stake with `coliving operator stake`",
        );
    }
    let owned = deployment.balances(delegator).await?.dgc;
    let amount = amount.of(owned, "are in the wallet")?;
    if deployment.stake(operator).await?.own == Dgc::ZERO {
        return fail(
            "operator_unknown",
            format!("{operator} has staked nothing: it is no operator"),
            "`coliving peers` shows the operators of those that are there",
        );
    }
    require_claimed(&door, operator).await?;
    let least = deployment.delegation_min(operator).await?;
    let present = deployment.delegation(delegator, operator).await?.amount;
    let after = present.checked_add(amount).unwrap_or(present);
    if after < least {
        return fail(
            "amount",
            format!(
                "{operator} takes delegations of {least} DGC or more, {after} DGC would be delegated"
            ),
            "",
        );
    }
    let cut = deployment.cut(operator).await?.percent;
    let rules = deployment.delegation_rules().await?;
    let plan = Plan {
        command: "delegate",
        facts: vec![
            ("operator", operator.to_string()),
            ("delegates", format!("{amount} DGC, {after} DGC afterwards")),
            ("its cut", format!("{cut} % of your rewards")),
            (
                "lock-up",
                format!(
                    "what you ask back is locked for {} blocks, about {}",
                    rules.undelegate_lockup,
                    door.span(rules.undelegate_lockup)
                ),
            ),
        ],
        calls: deployment.delegate(delegator, operator, amount).await?,
        value: json!({ "operator": operator, "amount": amount, "delegated": after }),
    };
    if let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? {
        let done = format!("delegated {amount} DGC to {operator}");
        sent.print(context.output, json!({}), &done)?;
    }
    Ok(())
}

async fn list(context: &Context, args: &DelegateArgs) -> anyhow::Result<()> {
    let delegator = match args.of {
        Some(delegator) => delegator,
        None => Payer::wallet(context)?.address(),
    };
    let door = Door::open(context, &args.send.chain).await?;
    let (delegations, pending, voting, balances) = futures::try_join!(
        door.deployment.delegations_of(delegator),
        door.deployment.pending_undelegation(delegator),
        door.deployment.voting_stake(delegator),
        door.deployment.balances(delegator),
    )?;
    let value = json!({
        "delegator": delegator,
        "balances": balances,
        "voting_stake": voting,
        "delegations": delegations,
        "pending": pending,
        "block": door.pace.head.number,
    });
    context.output.result(&value, || {
        let rows = delegations.iter();
        let rows = rows.map(|row| [row.operator.to_string(), format!("{} DGC", row.amount)]);
        let mut text = fields([
            ("delegator", delegator.to_string()),
            ("owns", format!("{} DGC", balances.dgc)),
            ("votes with", format!("{voting} DGC")),
            (
                "asked back",
                pending
                    .as_ref()
                    .map(|pending| pending_text(&door, pending))
                    .unwrap_or_default(),
            ),
        ]);
        text.push_str("\n\n");
        text.push_str(&table(&["operator", "delegated"], rows));
        text
    })
}

fn pending_text(door: &Door, pending: &PendingUndelegation) -> String {
    format!(
        "{} DGC from {}, locked until {}",
        pending.pending.amount,
        pending.operator,
        door.when(pending.pending.unlock_block)
    )
}

pub(crate) async fn undelegate(context: &Context, args: UndelegateArgs) -> anyhow::Result<()> {
    if args.ending.is_given() && args.operator.is_some() {
        return fail(
            "usage",
            "a delegation is asked back, or a request ended: not both",
            "",
        );
    }
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let delegator = payer.address();
    let deployment = &door.deployment;
    let (Some(operator), Some(amount)) = (&args.operator, args.amount) else {
        return end(context, &args, &door, payer).await;
    };
    let operator = operator.find()?;
    let present = deployment.delegation(delegator, operator).await?.amount;
    let amount = amount.of(present, &format!("are delegated to {operator}"))?;
    let rules = deployment.delegation_rules().await?;
    let unlocks = door.after(rules.undelegate_lockup);
    let plan = Plan {
        command: "undelegate",
        facts: vec![
            ("operator", operator.to_string()),
            ("asks back", format!("{amount} of {present} DGC")),
            ("locked until", unlocks.clone()),
        ],
        calls: vec![deployment.request_undelegation(operator, amount)?],
        value: json!({ "operator": operator, "amount": amount, "step": "request" }),
    };
    let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
        return Ok(());
    };
    let pending = deployment.pending_undelegation(delegator).await?;
    let unlock = pending.map(|pending| pending.pending.unlock_block);
    let done = format!("asked {amount} DGC back, locked until {unlocks}");
    sent.print(context.output, json!({ "unlock_block": unlock }), &done)?;
    context
        .output
        .hint("take it out then with `coliving undelegate --finish`");
    Ok(())
}

/// Takes out what was asked back, or leaves it.
async fn end(
    context: &Context,
    args: &UndelegateArgs,
    door: &Door,
    payer: Payer,
) -> anyhow::Result<()> {
    let deployment = &door.deployment;
    let Some(pending) = deployment.pending_undelegation(payer.address()).await? else {
        return fail(
            "nothing_pending",
            format!("{} has asked no delegation back", payer.address()),
            "ask for it with `coliving undelegate OPERATOR AMOUNT`",
        );
    };
    let (operator, amount) = (pending.operator, pending.pending.amount);
    let (call, step, done) = if args.ending.finish {
        refuse_early(door, pending.pending.unlock_block, "what was asked back")?;
        (
            deployment.finish_undelegation(&pending)?,
            "finish",
            format!("{amount} DGC are back in the wallet"),
        )
    } else {
        (
            deployment.cancel_undelegation(&pending)?,
            "cancel",
            format!("{amount} DGC stay with {operator}"),
        )
    };
    let plan = Plan {
        command: "undelegate",
        facts: vec![
            ("operator", operator.to_string()),
            ("asked back", format!("{amount} DGC")),
        ],
        calls: vec![call],
        value: json!({ "operator": operator, "amount": amount, "step": step }),
    };
    if let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? {
        sent.print(context.output, json!({}), &done)?;
    }
    Ok(())
}

pub(crate) async fn claim(context: &Context, args: ClaimArgs) -> anyhow::Result<()> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let operator = match &args.operator {
        Some(operator) => operator.find()?,
        None => payer.address(),
    };
    let deployment = &door.deployment;
    let (round, stake) = futures::try_join!(deployment.round(), deployment.stake(operator))?;
    let is_due = door.pace.head.number.saturating_add(1) >= round.next_block;
    let claim = deployment
        .claim(operator, &round, stake.locked, stake.within_bounds)
        .await?;
    if !is_due && !claim.pending {
        return fail(
            "nothing_to_claim",
            format!("{operator} has nothing to claim in round {}", round.number),
            format!(
                "the next round can begin at {}",
                door.when(round.next_block)
            ),
        );
    }
    // What is not claimed before the next round begins is lost.
    let mut calls = Vec::new();
    if claim.pending {
        calls.push(deployment.claim_rewards(operator)?);
    }
    if is_due {
        calls.push(deployment.begin_round()?);
        calls.push(deployment.claim_rewards(operator)?);
    }
    let expected = match (claim.pending, is_due) {
        (true, true) => format!("{} DGC, and its share of the new round", claim.rewards),
        (true, false) => format!("{} DGC", claim.rewards),
        (false, _) => "its share of the new round".to_owned(),
    };
    let plan = Plan {
        command: "claim",
        facts: vec![
            ("operator", operator.to_string()),
            ("brings", expected),
            (
                "becomes",
                "stake of the operator and of its delegators".to_owned(),
            ),
        ],
        calls,
        value: json!({ "operator": operator, "round_begun": is_due }),
    };
    let before = total(&door, operator).await?;
    let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
        return Ok(());
    };
    let after = total(&door, operator).await?;
    let rewards = after.saturating_sub(before);
    let round = deployment.round().await?.number;
    let more: Value = json!({ "rewards": rewards, "round": round });
    let done = format!("claimed {rewards} DGC in round {round}");
    sent.print(context.output, more, &done)
}

/// All stake of an operator, its own and its delegators'.
async fn total(door: &Door, operator: Address) -> anyhow::Result<Dgc> {
    let stake = door.deployment.stake(operator).await?;
    let total = stake.active.checked_add(stake.locked);
    Ok(total.unwrap_or(stake.active))
}
