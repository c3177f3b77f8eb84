//! `coliving simulate`: the protocol's machines in virtual time.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;

use clap::Subcommand;
use futures::StreamExt as _;
use serde_json::{Value, json};
use simulations::run::{self, Options, Report};
use simulations::scenario::Scenario;

use crate::context::Context;
use crate::failure::{Failure, fail};
use crate::output::{self, table};

/// What can be done with simulations.
#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Run a scenario; exit code 1 when a checker found a broken rule
    Run(RunArgs),
    /// Print a scenario with every value, as a file to start from
    Show(ShowArgs),
    /// List the built-in scenarios
    #[command(after_help = "Examples:\n  coliving simulate list")]
    List,
}

/// The scenario that was named.
#[derive(Debug, clap::Args)]
struct Chosen {
    /// A built-in scenario, or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "churn")]
    scenario: String,
    /// Replace a value of the scenario; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = change)]
    changes: Vec<(String, String)>,
}

/// Arguments of `coliving simulate` and `coliving simulate run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A run is determined by its scenario and its seed: the same two give the same trace hash
on every machine.

Examples:
  coliving simulate run --scenario churn --peers 1000 --seed 7
  coliving simulate run --scenario churn --seeds 1..100
  coliving simulate run --scenario churn --set faults.crashes=40 --set network.loss=0.2
  coliving simulate run --scenario my-scenario.toml --json")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Peers in all [default: what the scenario says]
    #[arg(long, value_name = "N")]
    peers: Option<usize>,
    /// What the run is drawn from
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Run once for each of these seeds and print a line for each
    #[arg(long, value_name = "FIRST..LAST", value_parser = seeds, conflicts_with = "seed")]
    seeds: Option<RangeInclusive<u64>>,
}

/// Arguments of `coliving simulate show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving simulate show churn > my-scenario.toml
  coliving simulate show churn --set faults.kills=5")]
pub(crate) struct ShowArgs {
    /// A built-in scenario, or a TOML file
    #[arg(value_name = "NAME|FILE")]
    scenario: String,
    /// Replace a value of the scenario; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = change)]
    changes: Vec<(String, String)>,
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
        SimulateCommand::Run(args) => {
            let scenario = load(&args.chosen.scenario, &args.chosen.changes)?;
            check_peers(args.peers)?;
            match args.seeds.clone() {
                Some(seeds) => run_many(context, args, scenario, seeds).await,
                None => run_one(context, args, scenario).await,
            }
        }
        SimulateCommand::Show(args) => {
            let scenario = load(&args.scenario, &args.changes)?;
            let text = scenario.to_toml()?;
            let value = serde_json::to_value(&scenario)?;
            context.output.result(&value, || text.trim_end().to_owned())
        }
        SimulateCommand::List => list(context),
    }
}

fn load(name: &str, changes: &[(String, String)]) -> anyhow::Result<Scenario> {
    let loaded = Scenario::load(name, changes);
    Ok(loaded.map_err(|error| {
        Failure::new(
            "scenario",
            format!("{error:#}"),
            "`coliving simulate list` names the built-in scenarios, `coliving simulate show NAME` their keys",
        )
    })?)
}

fn check_peers(peers: Option<usize>) -> anyhow::Result<()> {
    match peers {
        Some(peers) if peers < PEERS_MIN => fail(
            "peers",
            format!("--peers is {peers}, at least {PEERS_MIN} are needed"),
            "leave it out for the scenario's own number",
        ),
        _ => Ok(()),
    }
}

fn change(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = text.split_once("..").ok_or("write FIRST..LAST")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
    match first <= last {
        true => Ok(first..=last),
        false => Err("the last seed comes before the first".to_owned()),
    }
}

async fn run_one(context: &Context, args: RunArgs, scenario: Scenario) -> anyhow::Result<()> {
    let output = context.output;
    let seed_line = format!("seed: {}", args.seed);
    if !output.is_json() {
        // Before the run, so that a run that fails can be repeated.
        output::line(&seed_line)?;
    }
    let options = Options {
        peers: args.peers,
        seed: args.seed,
        is_measured: output.is_json(),
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
        run::run(&scenario, options, |progress| {
            seen.set_length(progress.limit.as_secs());
            seen.set_position(progress.elapsed.as_secs());
        })
    })
    .await?;
    bar.finish_and_clear();
    let told = print(context, &report, &seed_line);
    if report.is_passed() {
        return told;
    }
    // Also when nobody reads the report.
    fail(
        "broken",
        format!("rules were broken: {}", report.failures().join("; ")),
        again(&args.chosen, &report),
    )
}

/// Runs every seed, one on each core, and tells of each as it ends.
async fn run_many(
    context: &Context,
    args: RunArgs,
    scenario: Scenario,
    seeds: RangeInclusive<u64>,
) -> anyhow::Result<()> {
    let output = context.output;
    let (first, last) = (*seeds.start(), *seeds.end());
    let count = last.saturating_sub(first).saturating_add(1);
    let style = "{msg} {wide_bar} {pos}/{len} seeds, {elapsed}";
    let bar = output.bar(&scenario.name, Some(count), style);
    let scenario = Arc::new(scenario);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut reports = futures::stream::iter(seeds)
        .map(|seed| {
            let scenario = Arc::clone(&scenario);
            let options = Options {
                peers: args.peers,
                seed,
                is_measured: output.is_json(),
            };
            tokio::task::spawn_blocking(move || run::run(&scenario, options, |_| {}))
        })
        .buffered(cores);
    let mut broken = Vec::new();
    let mut told = Ok(());
    while told.is_ok()
        && let Some(report) = reports.next().await
    {
        let report = report?;
        bar.inc(1);
        let value = serde_json::to_value(&report)?;
        told = bar.suspend(|| output.result(&value, || line_of(&report)));
        if !report.is_passed() {
            broken.push(report);
        }
    }
    bar.finish_and_clear();
    let Some(report) = broken.first() else {
        return told;
    };
    fail(
        "broken",
        format!("{} of {count} seeds broke a rule", broken.len()),
        again(&args.chosen, report),
    )
}

fn line_of(report: &Report) -> String {
    let verdict = match report.is_passed() {
        true => "ok".to_owned(),
        false => format!("BROKEN: {}", report.failures().join("; ")),
    };
    format!(
        "seed {}: {verdict}, {:.0} virtual s, {} events in {:.2} s",
        report.seed, report.virtual_seconds, report.events, report.wall_seconds
    )
}

/// The command that repeats a run.
fn again(chosen: &Chosen, report: &Report) -> String {
    let changes = chosen.changes.iter();
    let changes: String = changes
        .map(|(key, value)| format!(" --set '{key}={value}'"))
        .collect();
    format!(
        "the same run again: `coliving simulate run --scenario {} --peers {} --seed {}{changes}`",
        chosen.scenario, report.peers, report.seed
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
