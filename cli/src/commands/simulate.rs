//! `coliving simulate`: the protocol's machines in virtual time.

use clap::Subcommand;
use serde_json::{Value, json};
use simulations::scenario::{self, Options, Report, Scenario};

use super::Context;
use crate::failure::{Failure, fail};
use crate::output::{self, table};

/// What can be done with simulations.
#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Run a scenario; exit code 1 when a checker found a broken rule
    Run(RunArgs),
    /// List the built-in scenarios
    #[command(after_help = "Examples:\n  coliving simulate list")]
    List,
}

/// Arguments of `coliving simulate` and `coliving simulate run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A run is determined by its scenario and its seed: the same two give the same trace hash
on every machine.

Examples:
  coliving simulate run --scenario churn --peers 1000 --seed 7
  coliving simulate run --scenario my-scenario.toml --json")]
pub(crate) struct RunArgs {
    /// A built-in scenario, or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "churn")]
    scenario: String,
    /// Peers in all [default: what the scenario says]
    #[arg(long, value_name = "N")]
    peers: Option<usize>,
    /// What the run is drawn from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// Arguments of `coliving simulate`: `run` is what is meant without a word.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SimulateArgs {
    #[command(subcommand)]
    command: Option<SimulateCommand>,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) async fn run(context: &Context, args: SimulateArgs) -> anyhow::Result<()> {
    match args.command.unwrap_or(SimulateCommand::Run(args.run)) {
        SimulateCommand::Run(args) => run_one(context, args).await,
        SimulateCommand::List => list(context),
    }
}

async fn run_one(context: &Context, args: RunArgs) -> anyhow::Result<()> {
    let output = context.output;
    let scenario = Scenario::load(&args.scenario).map_err(|error| {
        Failure::new(
            "scenario",
            format!("{error:#}"),
            "`coliving simulate list` names the built-in scenarios",
        )
    })?;
    if args.peers.is_some_and(|peers| peers < PEERS_MIN) {
        return fail(
            "peers",
            format!(
                "--peers is {}, at least {PEERS_MIN} are needed",
                args.peers.unwrap_or(0)
            ),
            "leave it out for the scenario's own number",
        );
    }
    let seed_line = format!("seed: {}", args.seed);
    if !output.is_json() {
        // Before the run, so that a run that fails can be repeated.
        output::line(&seed_line)?;
    }
    let options = Options {
        peers: args.peers,
        seed: args.seed,
    };
    let style = "{msg} {wide_bar} {pos}/{len} virtual s, {elapsed}";
    let name = scenario.name.clone();
    let bar = output.bar(
        &name,
        Some(scenario.fault_seconds + scenario.calm_seconds),
        style,
    );
    let seen = bar.clone();
    let report = tokio::task::spawn_blocking(move || {
        scenario::run(&scenario, options, |progress| {
            seen.set_length(progress.limit.as_secs());
            seen.set_position(progress.elapsed.as_secs());
        })
    })
    .await?;
    bar.finish_and_clear();
    print(context, &report, &seed_line)?;
    if report.is_passed() {
        return Ok(());
    }
    fail(
        "broken",
        format!("rules were broken: {}", report.failures().join("; ")),
        format!(
            "the same run again: `coliving simulate run --scenario {} --peers {} --seed {}`",
            args.scenario, report.peers, report.seed
        ),
    )
}

fn print(context: &Context, report: &Report, seed_line: &str) -> anyhow::Result<()> {
    let value = serde_json::to_value(report)?;
    context.output.result(&value, || {
        let text = report.render();
        text.strip_prefix(seed_line)
            .map_or(text.as_str(), |rest| rest.trim_start_matches('\n'))
            .to_owned()
    })
}

fn list(context: &Context) -> anyhow::Result<()> {
    let scenarios = Scenario::presets()
        .into_iter()
        .map(Scenario::preset)
        .collect::<Result<Vec<_>, _>>()?;
    let rows: Vec<Value> = scenarios
        .iter()
        .map(|scenario| json!({ "name": scenario.name, "description": scenario.description }))
        .collect();
    context.output.result(&json!({ "scenarios": rows }), || {
        let rows = scenarios
            .iter()
            .map(|scenario| [scenario.name.clone(), scenario.description.clone()]);
        table(&["scenario", "about"], rows)
    })
}

/// A staked peer and a light one.
const PEERS_MIN: usize = 2;
