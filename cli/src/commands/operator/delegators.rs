//! An operator's delegators.

use client::operate::delegation::Removal;
use protocol::amount::Dgc;
use protocol::id::Address;
use serde_json::json;

use super::{Ending, carry_out, open, refuse_early};
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{Plan, SendArgs};

/// Arguments of `coliving operator min-delegation`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coliving operator min-delegation 1000")]
pub(crate) struct MinArgs {
    /// Amount in DGC
    #[arg(value_name = "AMOUNT")]
    amount: Dgc,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving operator remove-delegator`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The delegator is told first. `--finish` has to follow soon after that notice ends, and locks the delegation;
a second `--finish` gives it back after the lock-up.

Examples:
  coliving operator remove-delegator 0x…
  coliving operator remove-delegator 0x… --finish")]
pub(crate) struct RemoveArgs {
    /// The delegator to remove
    #[arg(value_name = "ADDRESS")]
    delegator: Address,
    #[command(flatten)]
    ending: Ending,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn minimum(context: &Context, args: MinArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let present = door.deployment.delegation_min(operator).await?;
    let amount = args.amount;
    let plan = Plan {
        command: "operator min-delegation",
        facts: vec![("least", format!("{present} DGC, {amount} DGC afterwards"))],
        calls: vec![door.deployment.set_delegation_min(operator, amount)?],
        value: json!({ "operator": operator, "amount": amount }),
    };
    let done = format!("delegations have {amount} DGC or more from here on");
    carry_out(context, &door, &args.send, payer, plan, &done, None).await
}

pub(crate) async fn remove(context: &Context, args: RemoveArgs) -> anyhow::Result<()> {
    let (door, payer) = open(context, &args.send.chain).await?;
    let (operator, delegator) = (payer.address(), args.delegator);
    let deployment = &door.deployment;
    let delegation = deployment.delegation(delegator, operator).await?;
    if delegation.amount == Dgc::ZERO {
        return fail(
            "delegation_missing",
            format!("{delegator} has delegated nothing to {operator}"),
            "`coliving operator status` lists the delegators",
        );
    }
    let rules = deployment.delegation_rules().await?;
    let (unlock, sent_away) = futures::try_join!(
        deployment.pending_removal(operator, delegator),
        deployment.removed_delegation(operator, delegator),
    )?;
    let mut facts = vec![
        ("delegator", delegator.to_string()),
        ("delegated", format!("{} DGC", delegation.amount)),
    ];
    let (step, word, done) = match (args.ending.finish, args.ending.cancel, unlock, sent_away) {
        (true, _, _, Some(pending)) => {
            refuse_early(&door, pending.unlock_block, "the delegation")?;
            let done = format!("gave {delegator} its delegation back");
            (Removal::Release, "release", done)
        }
        (false, false, ..) => {
            facts.push(("told until", door.after(rules.remove_lockup)));
            let done = format!("asked for the removal of {delegator}");
            (Removal::Request, "request", done)
        }
        (_, _, None, _) => {
            return fail(
                "nothing_pending",
                format!("no removal of {delegator} is pending"),
                format!("ask for it with `coliving operator remove-delegator {delegator}`"),
            );
        }
        (true, _, Some(block), None) => {
            refuse_early(&door, block, "the removal")?;
            let last = block.saturating_add(rules.remove_blocks);
            facts.push(("possible until", door.when(last)));
            facts.push(("locked until", door.after(rules.undelegate_lockup)));
            let done = format!(
                "sent {delegator} away; `--finish` after the lock-up gives the delegation back"
            );
            (Removal::Finish, "finish", done)
        }
        (false, true, Some(_), _) => (Removal::Cancel, "cancel", format!("kept {delegator}")),
    };
    let plan = Plan {
        command: "operator remove-delegator",
        facts,
        calls: vec![deployment.remove_delegator(operator, delegator, step)?],
        value: json!({
            "operator": operator,
            "delegator": delegator,
            "amount": delegation.amount,
            "step": word,
        }),
    };
    carry_out(context, &door, &args.send, payer, plan, &done, None).await
}
