//! `coliving govern`: what stakers decide.

use clap::Subcommand;
use client::operate::governance::{
    Draft, FunctionCall, Outcome, Proposal, Vote, VotingRules, slash,
};
use protocol::amount::Dgc;
use protocol::chain::ContractKind;
use serde_json::{Value, json};

use super::operator::Whom;
use crate::context::Context;
use crate::failure::fail;
use crate::onchain::{ChainArgs, Door, Payer, Plan, SendArgs};
use crate::output::{fields, printable, table};

/// What stakers do.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A proposal is one call of one contract. Stakers vote for some days with what they had staked
or delegated when it was submitted; after a delay anybody carries it out, if it passed.

Examples:
  coliving govern list
  coliving govern propose slash 0x… 10000 --name \"Missed audits\" --description \"…\"
  coliving govern vote 1 yes
  coliving govern execute 1")]
pub(crate) enum GovernCommand {
    /// Submit a proposal
    Propose(ProposeArgs),
    /// Vote on a proposal, or change your vote
    Vote(VoteArgs),
    /// List the proposals
    List(ListArgs),
    /// Show one proposal
    Show(ShowArgs),
    /// Close a proposal after its delay, and carry it out if it passed
    Execute(IdArgs),
    /// Close a proposal as the guardian
    Veto(IdArgs),
}

/// Arguments of `coliving govern propose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
CONTRACT is a name that `coliving chain info` lists; `slash OPERATOR AMOUNT` is short for
`DelegateManager \"slash(uint256,address)\" \"AMOUNT DGC\" OPERATOR`. Arguments are written in
words: numbers, amounts as `1000 DGC`, addresses or names of contracts, texts, `true`,
bytes as `0x…`, 32 bytes as a short text, lists as `[a,b]`.

Examples:
  coliving govern propose slash 0x… 10000 --name \"Missed audits\" --description \"…\"
  coliving govern propose DelegateManager \"updateMaxDelegators(uint256)\" 200 \\
      --name \"More delegators\" --description \"…\"
  coliving govern propose ClaimsManager \"updateFundingAmount(uint256)\" \"1000000 DGC\" \\
      --name \"Smaller rounds\" --description \"…\" --dry-run")]
pub(crate) struct ProposeArgs {
    /// The contract to call, or `slash`
    #[arg(value_name = "CONTRACT")]
    target: String,
    /// The function with its types; for `slash` the operator
    #[arg(value_name = "FUNCTION")]
    function: String,
    /// Its arguments; for `slash` the amount
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// What it is called, up to 128 bytes
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What it is for, up to 4096 bytes
    #[arg(long, value_name = "TEXT")]
    description: String,
    #[command(flatten)]
    send: SendArgs,
}

/// Arguments of `coliving govern vote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving govern vote 1 yes
  coliving govern vote 1 no                  changes the vote while it is open")]
pub(crate) struct VoteArgs {
    /// Number of the proposal
    #[arg(value_name = "ID")]
    id: u64,
    /// For or against
    #[arg(value_name = "yes|no")]
    vote: VoteWord,
    #[command(flatten)]
    send: SendArgs,
}

/// For or against.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum VoteWord {
    Yes,
    No,
}

/// Arguments of `coliving govern list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving govern list
  coliving govern list --all --json")]
pub(crate) struct ListArgs {
    /// Closed ones too, the newest first
    #[arg(long)]
    all: bool,
    /// Most proposals of `--all`
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Arguments of `coliving govern show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coliving govern show 1")]
pub(crate) struct ShowArgs {
    /// Number of the proposal
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Arguments of `coliving govern execute` and `coliving govern veto`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving govern execute 1
  coliving govern veto 1")]
pub(crate) struct IdArgs {
    /// Number of the proposal
    #[arg(value_name = "ID")]
    id: u64,
    #[command(flatten)]
    send: SendArgs,
}

pub(crate) async fn run(context: &Context, command: GovernCommand) -> anyhow::Result<()> {
    match command {
        GovernCommand::Propose(args) => propose(context, args).await,
        GovernCommand::Vote(args) => vote(context, args).await,
        GovernCommand::List(args) => list(context, args).await,
        GovernCommand::Show(args) => show(context, args).await,
        GovernCommand::Execute(args) => execute(context, args).await,
        GovernCommand::Veto(args) => veto(context, args).await,
    }
}

async fn propose(context: &Context, args: ProposeArgs) -> anyhow::Result<()> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let deployment = &door.deployment;
    let (target, call) = read_call(&door, &args)?;
    if deployment.registered(&target).await?.is_none() {
        return fail(
            "target_unknown",
            format!("the registry knows no contract `{target}`"),
            "name one as `coliving chain info` lists them, such as `DelegateManager`",
        );
    }
    let rules = deployment.voting_rules().await?;
    let voting = deployment.voting_stake(payer.address()).await?;
    if voting == Dgc::ZERO {
        return fail(
            "no_stake",
            format!(
                "{} has neither staked nor delegated: only stakers propose",
                payer.address()
            ),
            "`coliving delegate OPERATOR AMOUNT` makes one of you",
        );
    }
    refuse_unfinished(&door).await?;
    let draft = Draft {
        target: target.clone(),
        call,
        name: args.name.clone(),
        description: args.description.clone(),
    };
    let plan = Plan {
        command: "govern propose",
        facts: vec![
            ("name", args.name.clone()),
            ("calls", format!("{target}.{}", draft.call)),
            ("votes until", door.after(rules.voting_period)),
            (
                "executed from",
                door.after(rules.voting_period.saturating_add(rules.execution_delay)),
            ),
            ("quorum", format!("{} % of all stake", rules.quorum_percent)),
            ("you vote with", format!("{voting} DGC")),
        ],
        calls: vec![deployment.propose(&draft)?],
        value: json!({
            "name": args.name,
            "target": target,
            "function": draft.call.signature(),
            "arguments": draft.call.arguments_in_words(),
            "call_data": format!("0x{}", hex::encode(draft.call.encode())),
        }),
    };
    let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
        return Ok(());
    };
    let block = sent.receipts.last().map(|receipt| receipt.block.number);
    let id = submitted_id(&door, block, &args.name).await?;
    let done = format!("submitted proposal {id}");
    sent.print(context.output, json!({ "id": id }), &done)?;
    context
        .output
        .hint(&format!("vote with `coliving govern vote {id} yes`"));
    Ok(())
}

/// The number of the proposal that was submitted in a block.
async fn submitted_id(door: &Door, block: Option<u64>, name: &str) -> anyhow::Result<u64> {
    let newest = door.deployment.proposals_newest(NEWEST_MAX).await?;
    let found = newest
        .iter()
        .find(|proposal| Some(proposal.submitted_block) == block && proposal.name == name);
    match found.or(newest.first()) {
        Some(proposal) => Ok(proposal.id),
        None => fail("unexpected_answer", "governance knows no proposal", ""),
    }
}

/// The target and the call, from words or from a template.
fn read_call(door: &Door, args: &ProposeArgs) -> anyhow::Result<(String, FunctionCall)> {
    let contracts = door.deployment.contracts();
    if args.target != "slash" {
        let call = FunctionCall::parse(&args.function, &args.arguments, contracts)?;
        return Ok((target_name(&args.target), call));
    }
    let [amount] = args.arguments.as_slice() else {
        return fail(
            "usage",
            "`slash` takes an operator and an amount",
            "as in `coliving govern propose slash 0x… 10000 --name TEXT --description TEXT`",
        );
    };
    let Ok(operator) = args.function.parse::<Whom>();
    let operator = operator.find()?;
    let amount: Dgc = amount.trim_end_matches("DGC").trim_end().parse()?;
    Ok((
        "DelegateManager".to_owned(),
        slash(operator, amount, contracts)?,
    ))
}

/// The registry's name of a contract, in whichever case it was written.
fn target_name(text: &str) -> String {
    let known = ContractKind::ALL.into_iter().map(ContractKind::name);
    let mut found = known.filter(|name| name.eq_ignore_ascii_case(text));
    found.next().unwrap_or(text).to_owned()
}

/// A proposal that can be closed comes before a new one.
async fn refuse_unfinished(door: &Door) -> anyhow::Result<()> {
    let open = door.deployment.proposals_in_progress().await?;
    let next = door.pace.head.number.saturating_add(1);
    let found = open
        .iter()
        .find(|proposal| proposal.execution_block <= next);
    match found {
        None => Ok(()),
        Some(proposal) => fail(
            "proposal_unfinished",
            format!(
                "proposal {} can be closed, which comes before a new one",
                proposal.id
            ),
            format!("close it with `coliving govern execute {}`", proposal.id),
        ),
    }
}

async fn vote(context: &Context, args: VoteArgs) -> anyhow::Result<()> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let (deployment, voter) = (&door.deployment, payer.address());
    let vote = match args.vote {
        VoteWord::Yes => Vote::Yes,
        VoteWord::No => Vote::No,
    };
    let proposal = deployment.proposal(args.id).await?;
    let before = deployment.vote_of(args.id, voter).await?;
    if before.is_some_and(|(found, _)| found == vote) {
        return fail(
            "voted",
            format!(
                "{voter} has voted {} on proposal {} already",
                vote.word(),
                args.id
            ),
            "",
        );
    }
    let mut facts = vec![
        ("proposal", format!("{}: {}", args.id, proposal.name)),
        ("calls", call_text(&proposal)),
        ("votes until", door.when(proposal.last_vote_block)),
    ];
    let voting = deployment.voting_stake(voter).await?;
    match before {
        Some((found, weight)) => facts.push((
            "your vote",
            format!(
                "{} instead of {}, still with {weight} DGC",
                vote.word(),
                found.word()
            ),
        )),
        None => facts.push((
            "your vote",
            format!("{}, with at most {voting} DGC", vote.word()),
        )),
    }
    let plan = Plan {
        command: "govern vote",
        facts,
        calls: vec![deployment.vote(args.id, voter, vote).await?],
        value: json!({ "id": args.id, "vote": vote }),
    };
    let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
        return Ok(());
    };
    let weight = deployment.vote_of(args.id, voter).await?;
    let weight = weight.map_or(Dgc::ZERO, |(_, weight)| weight);
    let done = format!(
        "voted {} with {weight} DGC on proposal {}",
        vote.word(),
        args.id
    );
    sent.print(context.output, json!({ "weight": weight }), &done)
}

async fn list(context: &Context, args: ListArgs) -> anyhow::Result<()> {
    let door = Door::open(context, &args.chain).await?;
    let deployment = &door.deployment;
    let proposals = match args.all {
        true => {
            deployment
                .proposals_newest(args.limit.min(LIST_MAX))
                .await?
        }
        false => deployment.proposals_in_progress().await?,
    };
    let rules = deployment.voting_rules().await?;
    let value = json!({
        "block": door.pace.head.number,
        "rules": rules,
        "proposals": proposals,
    });
    context.output.result(&value, || {
        let rows = proposals.iter().map(|proposal| {
            [
                proposal.id.to_string(),
                stage(&door, proposal),
                format!(
                    "{} / {}",
                    percent(proposal.yes, proposal),
                    percent(proposal.no, proposal)
                ),
                printable(&proposal.name),
                call_text(proposal),
            ]
        });
        let rules = rules_text(&door, &rules);
        format!(
            "{rules}\n\n{}",
            table(&["id", "state", "yes / no", "name", "call"], rows)
        )
    })
}

fn rules_text(door: &Door, rules: &VotingRules) -> String {
    let blocks = |blocks: u64| format!("{blocks} blocks, about {}", door.span(blocks));
    let guardian = match door.pace.blocks_to(rules.guardian_until_block) {
        0 => "nobody can veto".to_owned(),
        _ => format!(
            "{} until {}",
            rules.guardian,
            door.when(rules.guardian_until_block)
        ),
    };
    fields([
        ("voting", blocks(rules.voting_period)),
        ("then", blocks(rules.execution_delay)),
        ("quorum", format!("{} % of all stake", rules.quorum_percent)),
        ("guardian", guardian),
    ])
}

async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<()> {
    let voter = Payer::wallet(context).ok().map(|payer| payer.address());
    let door = Door::open(context, &args.chain).await?;
    let proposal = door.deployment.proposal(args.id).await?;
    let own = match voter {
        Some(voter) => door.deployment.vote_of(args.id, voter).await?,
        None => None,
    };
    let mut value = serde_json::to_value(&proposal)?;
    value["block"] = json!(door.pace.head.number);
    value["own_vote"] = own.map_or(
        Value::Null,
        |(vote, weight)| json!({ "vote": vote, "weight": weight }),
    );
    context.output.result(&value, || {
        let side = |stake: Dgc| format!("{stake} DGC, {}", percent(stake, &proposal));
        let own = own.map(|(vote, weight)| format!("{} with {weight} DGC", vote.word()));
        fields([
            ("proposal", format!("{}: {}", proposal.id, proposal.name)),
            ("for", proposal.description.clone()),
            ("proposer", proposal.proposer.to_string()),
            ("calls", call_text(&proposal)),
            ("state", stage(&door, &proposal)),
            ("yes", side(proposal.yes)),
            ("no", side(proposal.no)),
            ("voters", proposal.votes.to_string()),
            (
                "quorum",
                format!("{} % of {} DGC", proposal.quorum_percent, proposal.staked),
            ),
            ("votes until", door.when(proposal.last_vote_block)),
            ("executed from", door.when(proposal.execution_block)),
            ("your vote", own.unwrap_or_default()),
        ])
    })
}

async fn execute(context: &Context, args: IdArgs) -> anyhow::Result<()> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let proposal = open_proposal(&door, args.id).await?;
    super::operator::refuse_early(&door, proposal.execution_block, "the execution")?;
    let plan = Plan {
        command: "govern execute",
        facts: vec![
            ("proposal", format!("{}: {}", proposal.id, proposal.name)),
            ("calls", call_text(&proposal)),
            ("yes", percent(proposal.yes, &proposal)),
            ("no", percent(proposal.no, &proposal)),
        ],
        calls: vec![door.deployment.execute(args.id)?],
        value: json!({ "id": args.id }),
    };
    let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? else {
        return Ok(());
    };
    let outcome = door.deployment.proposal(args.id).await?.outcome;
    let done = format!("proposal {} is {}", args.id, outcome.words());
    sent.print(context.output, json!({ "outcome": outcome }), &done)
}

async fn veto(context: &Context, args: IdArgs) -> anyhow::Result<()> {
    let payer = Payer::wallet(context)?;
    let door = Door::open(context, &args.send.chain).await?;
    let rules = door.deployment.voting_rules().await?;
    if payer.address() != rules.guardian {
        return fail(
            "not_guardian",
            format!("only the guardian {} vetoes", rules.guardian),
            "vote no instead: `coliving govern vote ID no`",
        );
    }
    let proposal = open_proposal(&door, args.id).await?;
    let plan = Plan {
        command: "govern veto",
        facts: vec![
            ("proposal", format!("{}: {}", proposal.id, proposal.name)),
            ("calls", call_text(&proposal)),
        ],
        calls: vec![door.deployment.veto(args.id)?],
        value: json!({ "id": args.id, "outcome": Outcome::Vetoed }),
    };
    if let Some(sent) = door.carry_out(context, &args.send, payer, plan).await? {
        let done = format!("vetoed proposal {}", args.id);
        sent.print(context.output, json!({}), &done)?;
    }
    Ok(())
}

async fn open_proposal(door: &Door, id: u64) -> anyhow::Result<Proposal> {
    let proposal = door.deployment.proposal(id).await?;
    if proposal.outcome != Outcome::InProgress {
        return fail(
            "proposal_closed",
            format!("proposal {id} is closed: {}", proposal.outcome.words()),
            "",
        );
    }
    Ok(proposal)
}

/// What it calls, in words where they can be read.
fn call_text(proposal: &Proposal) -> String {
    let name = proposal.function.split('(').next().unwrap_or_default();
    let arguments = match &proposal.arguments {
        Some(arguments) => arguments.join(", "),
        None => format!("0x{}", hex::encode(&proposal.call_data)),
    };
    printable(&format!("{}.{name}({arguments})", proposal.target))
}

/// Where it stands, and until when.
fn stage(door: &Door, proposal: &Proposal) -> String {
    if proposal.outcome != Outcome::InProgress {
        return proposal.outcome.words().to_owned();
    }
    let head = door.pace.head.number;
    if head <= proposal.last_vote_block {
        return format!(
            "open for votes until {}",
            door.when(proposal.last_vote_block)
        );
    }
    if head.saturating_add(1) < proposal.execution_block {
        return format!(
            "voted, executed from {}",
            door.when(proposal.execution_block)
        );
    }
    "can be executed".to_owned()
}

/// A part of all stake, in per cent with one decimal place.
fn percent(part: Dgc, proposal: &Proposal) -> String {
    let permille = part
        .0
        .saturating_mul(1000.into())
        .checked_div(proposal.staked.0);
    let permille = permille.unwrap_or_default().low_u64();
    format!("{}.{} %", permille / 10, permille % 10)
}

/// Newest proposals among which a submitted one is looked for.
const NEWEST_MAX: usize = 10;

/// Most proposals that are listed.
const LIST_MAX: usize = 200;
