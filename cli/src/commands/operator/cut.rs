//! What an operator keeps of its delegators' rewards.

use serde_json::json;

use super::{Ending, carry_out, open, refuse_early};
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{Plan, SendArgs};

/// Arguments of `coliving operator cut`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The cut is the part of your delegators' rewards that you keep, in whole per cent. A change
is announced first, so that delegators can leave before it holds.

Examples:
  coliving operator cut 10
  coliving operator cut --finish
  coliving operator cut --cancel")]
pub(crate) struct CutArgs {
    /// The new cut, 0 to 100
    #[arg(
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u64).range(0..=100),
        required_unless_present_any = ["finish", "cancel"]
    )]
    percent: Option<u64>,
    #[command(flatten)]
    ending: Ending,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn cut(context: &Context, args: CutArgs) -> anyhow::Result<()> {
    if args.ending.is_given() && args.percent.is_some() {
        return fail(
            "usage",
            "a cut is asked for, or a request ended: not both",
            "",
        );
    }
    let (door, payer) = open(context, &args.send.chain).await?;
    let operator = payer.address();
    let present = door.deployment.cut(operator).await?;
    let mut facts = vec![("cut", format!("{} %", present.percent))];
    let (call, percent, step, done) = if let Some(percent) = args.percent {
        let unlocks = door.after(door.deployment.cut_lockup().await?);
        facts.push(("changes to", format!("{percent} %")));
        facts.push(("locked until", unlocks.clone()));
        (
            door.deployment.request_cut(operator, percent)?,
            percent,
            "request",
            format!("asked for a cut of {percent} %, locked until {unlocks}"),
        )
    } else {
        let Some(pending) = present.pending else {
            return fail(
                "nothing_pending",
                format!("{operator} has asked for no other cut"),
                "ask for one with `coliving operator cut PERCENT`",
            );
        };
        let percent = pending.percent;
        facts.push(("asked for", format!("{percent} %")));
        if args.ending.finish {
            refuse_early(&door, pending.unlock_block, "the new cut")?;
            let call = door.deployment.finish_cut(operator, percent)?;
            (call, percent, "finish", format!("the cut is {percent} %"))
        } else {
            let call = door.deployment.cancel_cut(operator)?;
            let done = format!("the cut stays {} %", present.percent);
            (call, percent, "cancel", done)
        }
    };
    let plan = Plan {
        command: "operator cut",
        facts,
        calls: vec![call],
        value: json!({ "operator": operator, "percent": percent, "step": step }),
    };
    let hint = (step == "request")
        .then(|| "make it hold then with `coliving operator cut --finish`".to_owned());
    carry_out(context, &door, &args.send, payer, plan, &done, hint).await
}
