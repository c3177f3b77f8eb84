//! An operator's own stake: more of it, and back out.

use protocol::amount::Dgc;
use serde_json::json;

use super::{Amount, Ending, carry_out, open, refuse_early, require_claimed};
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{Plan, SendArgs};

/// Arguments of `coliving operator stake`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving operator stake 50000
  coliving operator stake max              all DGC of the wallet")]
pub(crate) struct StakeArgs {
    /// DGC to add, or `max`
    #[arg(value_name = "AMOUNT")]
    amount: Amount,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving operator unstake`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is asked back stays slashable and earns nothing until the lock-up ends; then
`--finish` takes it out. One request at a time; services keep the stake they need.

Examples:
  coliving operator unstake 50000
  coliving operator unstake --finish
  coliving operator unstake --cancel")]
pub(crate) struct UnstakeArgs {
    /// DGC to ask back, or `all` that the services do not need
    #[arg(value_name = "AMOUNT", required_unless_present_any = ["finish", "cancel"])]
    amount: Option<Amount>,
    #[command(flatten)]
    ending: Ending,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn stake(context: &Context, args: StakeArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let owned = door.deployment.balances(operator).await?.dgc;
    let amount = args.amount.of(owned, "are in the wallet")?;
    require_claimed(&door, operator).await?;
    let present = door.deployment.stake(operator).await?;
    let after = present.own.checked_add(amount).unwrap_or(present.own);
    let plan = Plan {
        command: "operator stake",
        facts: vec![
            (
                "stake",
                format!("{} DGC, {after} DGC afterwards", present.own),
            ),
            ("allowed", format!("{} to {} DGC", present.min, present.max)),
        ],
        calls: door.deployment.increase_stake(operator, amount).await?,
        value: json!({ "operator": operator, "amount": amount, "staked": after }),
    };
    let done = format!("staked {amount} DGC, {after} DGC in all");
    carry_out(context, &door, &args.send, payer, plan, &done, None).await
}

pub(crate) async fn unstake(context: &Context, args: UnstakeArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let present = door.deployment.stake(operator).await?;
    if args.ending.is_given() && args.amount.is_some() {
        return fail(
            "usage",
            "an amount is asked back, or a request ended: not both",
            "",
        );
    }
    let Some(pending) = present.pending_decrease.filter(|_| args.ending.is_given()) else {
        if args.ending.is_given() {
            return fail(
                "nothing_pending",
                format!("{operator} has asked no stake back"),
                "ask for it with `coliving operator unstake AMOUNT`",
            );
        }
        let free = match present.min == Dgc::ZERO {
            true => present.own,
            false => present.own.saturating_sub(present.min),
        };
        let amount = match args.amount {
            Some(amount) => amount.of(free, "are staked beyond what the services need")?,
            None => return fail("usage", "give an amount", ""),
        };
        let lockup = door.deployment.decrease_lockup().await?;
        let unlocks = door.after(lockup);
        let plan = Plan {
            command: "operator unstake",
            facts: vec![
                ("asks back", format!("{amount} of {} DGC", present.own)),
                ("locked until", unlocks.clone()),
            ],
            calls: vec![door.deployment.request_decrease(amount)?],
            value: json!({ "operator": operator, "amount": amount, "step": "request" }),
        };
        let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
            return Ok(());
        };
        let pending = door.deployment.pending_decrease(operator).await?;
        let unlock = pending.map(|pending| pending.unlock_block);
        let done = format!("asked {amount} DGC back, locked until {unlocks}");
        sent.print(context.output, json!({ "unlock_block": unlock }), &done)?;
        context
            .output
            .hint("take it out then with `coliving operator unstake --finish`");
        return Ok(());
    };
    let amount = pending.amount;
    let (call, step, done) = if args.ending.finish {
        refuse_early(&door, pending.unlock_block, "the stake that was asked back")?;
        (
            door.deployment.finish_decrease(amount)?,
            "finish",
            format!("{amount} DGC are back in the wallet"),
        )
    } else {
        (
            door.deployment.cancel_decrease(amount)?,
            "cancel",
            format!("{amount} DGC stay staked"),
        )
    };
    let plan = Plan {
        command: "operator unstake",
        facts: vec![("asked back", format!("{amount} DGC"))],
        calls: vec![call],
        value: json!({ "operator": operator, "amount": amount, "step": step }),
    };
    carry_out(context, &door, &args.send, payer, plan, &done, None).await
}
