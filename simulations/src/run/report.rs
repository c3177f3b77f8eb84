//! What came of a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::{Bounds, OF_RUNS};
use crate::checkers::{Check, Rule};
use crate::metrics::{Metrics, Percentiles};
use crate::scenario::Scenario;
use crate::world::World;

/// The outcome of one run.
///
/// Everything but `wall_seconds` and `events_per_second` follows from scenario
/// and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the run was drawn from.
    pub seed: u64,
    /// The scenario's name.
    pub scenario: String,
    /// The scenario with every value, as a file.
    pub resolved: String,
    /// The version of the program.
    pub version: String,
    /// Peers in all.
    pub peers: usize,
    /// Staked ones among them.
    pub staked: usize,
    /// Virtual seconds that the run took.
    pub virtual_seconds: f64,
    /// Real seconds that the run took.
    pub wall_seconds: f64,
    /// Events that were delivered.
    pub events: u64,
    /// Events in a second of real time.
    pub events_per_second: f64,
    /// Bytes on the network.
    pub bytes: u64,
    /// Blocks that were mined.
    pub blocks: u64,
    /// Entries in final blocks.
    pub entries: u64,
    /// Transactions that were paid for and changed nothing.
    pub wasted_transactions: u64,
    /// Transactions that gave way to others that pay more.
    pub evicted_transactions: u64,
    /// How many of each fault and adversary were asked for, and how many there were.
    #[serde(default)]
    pub faults: BTreeMap<String, [u64; 2]>,
    /// What the checkers found, by rule.
    pub checks: Vec<Check>,
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Times by name.
    pub times: BTreeMap<String, Percentiles>,
    /// Inputs that the shells gave, by machine and name.
    pub inputs: BTreeMap<String, BTreeMap<String, u64>>,
    /// Requests that were refused, by machine and reason; the limits that a run
    /// reached are among them, and what never happened counts 0.
    pub refusals: BTreeMap<String, BTreeMap<String, u64>>,
    /// What the machines told their owners, by machine and name.
    pub notes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Everything that was measured, by the names that bounds have; empty when nobody
    /// looks at it.
    pub measures: BTreeMap<String, u64>,
    /// BLAKE3 over every delivered event, 64 hexadecimal digits.
    pub trace_hash: String,
}

impl Report {
    pub(super) fn new(scenario: &Scenario, seed: u64, world: &World, wall: Duration) -> Self {
        let ctx = &world.ctx;
        let events = world.trace().events();
        let wall_seconds = wall.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let events_per_second = events as f64 / wall_seconds.max(1e-9);
        let mut report = Self {
            seed,
            scenario: scenario.name.clone(),
            resolved: scenario.to_toml().unwrap_or_default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            peers: scenario.population.peers,
            staked: scenario.staked(),
            virtual_seconds: world.progress().elapsed.as_secs_f64(),
            wall_seconds,
            events,
            events_per_second,
            bytes: world.bytes(),
            blocks: ctx.chain.tip().number,
            entries: ctx.chain.entries().len() as u64,
            wasted_transactions: ctx.checkers.wasted(&ctx.chain),
            evicted_transactions: ctx.chain.evicted(),
            faults: world.faults(),
            checks: ctx.checkers.checks(),
            counters: ctx.metrics.counters(),
            times: ctx.metrics.percentiles(),
            inputs: ctx.metrics.named()[0].all(),
            refusals: ctx.metrics.refusals.all(),
            notes: ctx.metrics.notes.all(),
            measures: BTreeMap::new(),
            trace_hash: world.trace().finish(),
        };
        if ctx.metrics.is_measured {
            report.measures = report.measured(&ctx.metrics);
        }
        report
    }

    /// Looks whether what was measured is within bounds.
    pub(super) fn look_at(&mut self, bounds: &Bounds) {
        let check = &mut self.checks[Rule::Bounds as usize];
        for (name, value, [low, high]) in bounds.measured(&self.measures) {
            check.observed += 1;
            if !(low..=high).contains(&value) {
                check.violations += 1;
                let text = || format!("{name} is {value}, not {low} to {high}");
                check.first.get_or_insert_with(text);
            }
        }
    }

    /// Everything that was measured, by the names that bounds have.
    fn measured(&self, metrics: &Metrics) -> BTreeMap<String, u64> {
        let mut all = self.counters.clone();
        let mut put = |name: String, count: u64| {
            all.insert(name, count);
        };
        let of_run = [
            Duration::from_secs_f64(self.virtual_seconds).as_secs(),
            self.blocks,
            self.entries,
            self.wasted_transactions,
            self.evicted_transactions,
        ];
        for (name, count) in OF_RUNS.into_iter().zip(of_run) {
            put(name.to_owned(), count);
        }
        for (name, times) in self.times.iter().chain(&metrics.pauses()) {
            put(format!("{name} times"), times.count);
            put(format!("{name} min ms"), times.min_ms);
            put(format!("{name} p50 ms"), times.p50_ms);
            put(format!("{name} p95 ms"), times.p95_ms);
            put(format!("{name} max ms"), times.max_ms);
        }
        let [inputs, outputs, responses] = metrics.named();
        for (what, by_machine) in [
            ("in", inputs.all()),
            ("out", outputs.all()),
            ("answered", responses.all()),
            ("refused", self.refusals.clone()),
            ("told", self.notes.clone()),
        ] {
            for (machine, counts) in by_machine {
                for (name, count) in counts {
                    put(format!("{machine} {what} {name}"), count);
                }
            }
        }
        for ((machine, reason), count) in metrics.wakes() {
            put(format!("{machine} due {reason}"), *count);
        }
        for (name, count) in metrics.kinds() {
            put(name.clone(), *count);
        }
        for (name, count, bytes) in metrics.sent().all() {
            put(format!("sent {name}"), count);
            put(format!("bytes {name}"), bytes);
        }
        for (name, [last, peak, mean]) in metrics.tables().all() {
            put(format!("held {name}"), last);
            put(format!("peak {name}"), peak);
            put(format!("mean {name}"), mean);
        }
        all
    }

    /// True when no rule was broken.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.checks.iter().all(|check| check.violations == 0)
    }

    /// The rules that were broken, each with its first time.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.checks
            .iter()
            .filter(|check| check.violations > 0)
            .map(|check| format!("{}: {}", check.rule, check.first.as_deref().unwrap_or("")))
            .collect()
    }

    /// The report as text: the seed first, the trace hash last.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("seed: {}\n", self.seed);
        self.write(&mut text)
            .expect("writing into a string does not fail");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "scenario: {}, {} peers, {} of them staked",
            self.scenario, self.peers, self.staked
        )?;
        writeln!(
            text,
            "virtual time: {:.0} s in {:.2} s, {} events ({:.0} a second), {} MB sent",
            self.virtual_seconds,
            self.wall_seconds,
            self.events,
            self.events_per_second,
            self.bytes / 1_000_000
        )?;
        writeln!(
            text,
            "chain: {} blocks, {} entries, {} transactions in vain, {} evicted",
            self.blocks, self.entries, self.wasted_transactions, self.evicted_transactions
        )?;
        let faults = self.faults.iter();
        let faults = faults.map(|(key, [asked, happened])| format!("{key} {happened} of {asked}"));
        let faults: Vec<String> = faults.collect();
        if !faults.is_empty() {
            writeln!(text, "faults: {}", faults.join(", "))?;
        }
        for (name, times) in &self.times {
            writeln!(
                text,
                "{name}: {} times, p50 {} ms, p95 {} ms, max {} ms",
                times.count, times.p50_ms, times.p95_ms, times.max_ms
            )?;
        }
        for (name, value) in self.counters.iter().filter(|(_, value)| **value > 0) {
            writeln!(text, "{name}: {value}")?;
        }
        write_counts(text, "refused by", &self.refusals)?;
        write_counts(text, "told by", &self.notes)?;
        for check in &self.checks {
            let verdict = match (check.observed, check.violations) {
                (0, _) => "not looked at",
                (_, 0) => "ok",
                _ => "BROKEN",
            };
            writeln!(text, "{verdict}: {} ({} looks)", check.rule, check.observed)?;
            if let Some(first) = &check.first {
                writeln!(text, "  {first}, {} in all", check.violations)?;
            }
        }
        writeln!(text, "trace hash: {}", self.trace_hash)
    }
}

/// A line for each machine: what happened with its count, what never did without.
fn write_counts(
    text: &mut String,
    what: &str,
    all: &BTreeMap<String, BTreeMap<String, u64>>,
) -> std::fmt::Result {
    for (machine, counts) in all {
        let (seen, never): (Vec<_>, Vec<_>) = counts.iter().partition(|(_, count)| **count > 0);
        let seen: Vec<String> = seen
            .into_iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let never: Vec<&str> = never.into_iter().map(|(name, _)| name.as_str()).collect();
        write!(text, "{what} {machine}: {}", seen.join(", "))?;
        if !never.is_empty() {
            let pause = if seen.is_empty() { "" } else { "; " };
            write!(text, "{pause}never {}", never.join(", "))?;
        }
        writeln!(text)?;
    }
    Ok(())
}
