//! What must never happen, and what must happen in the end.
//!
//! A checker looks at the world from above: it sees every disk and the whole
//! chain, and judges with arithmetic of its own where a machine's answer would
//! only repeat the machine's mistake.

use protocol::time::Moment;
use serde::{Deserialize, Serialize};

mod blocks;
mod gossip;
mod kept;
mod leases;
mod losses;
mod placement;
mod questions;
mod relayer;
mod replicas;
mod rule;
mod uploads;
mod vault;

pub use rule::Rule;

use gossip::Gossip;
use leases::Leases;
use losses::Losses;
use questions::Questions;
use relayer::RelayerChecker;
use replicas::Replicas;
use uploads::Uploads;
use vault::VaultChecker;

/// All checkers and what they found.
#[derive(Debug)]
pub struct Checkers {
    gossip: Gossip,
    leases: Leases,
    losses: Losses,
    questions: Questions,
    relayer: RelayerChecker,
    replicas: Replicas,
    uploads: Uploads,
    vault: VaultChecker,
    findings: Findings,
}

/// Observations and violations by rule.
#[derive(Debug)]
pub struct Findings {
    /// In the order of [`Rule::ALL`].
    rules: Vec<Finding>,
    started: Moment,
}

#[derive(Debug, Clone, Default)]
struct Finding {
    observed: u64,
    violations: u64,
    first: Option<String>,
}

/// What a run says about one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The rule as a sentence.
    pub rule: String,
    /// How often it was looked at; what was never looked at proves nothing.
    pub observed: u64,
    /// How often it was broken.
    pub violations: u64,
    /// The first time.
    pub first: Option<String>,
}

impl Findings {
    fn new(started: Moment) -> Self {
        Self {
            rules: vec![Finding::default(); Rule::ALL.len()],
            started,
        }
    }

    /// Notes that a rule was looked at, and whether it held.
    pub fn observe(&mut self, rule: Rule, holds: bool, now: Moment, what: impl FnOnce() -> String) {
        let finding = &mut self.rules[rule as usize];
        finding.observed += 1;
        if !holds {
            finding.violations += 1;
            if finding.first.is_none() {
                let seconds = (now - self.started).as_secs();
                finding.first = Some(format!("at {seconds} s: {}", what()));
            }
        }
    }
}

impl Checkers {
    /// Creates checkers that know who lies.
    #[must_use]
    pub fn new(liars: Vec<bool>, started: Moment) -> Self {
        Self {
            gossip: Gossip::new(liars),
            leases: Leases::default(),
            losses: Losses::default(),
            questions: Questions::default(),
            relayer: RelayerChecker::default(),
            replicas: Replicas::default(),
            uploads: Uploads::default(),
            vault: VaultChecker::default(),
            findings: Findings::new(started),
        }
    }

    /// What every rule came to.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        let rules = Rule::ALL.iter().zip(&self.findings.rules);
        rules
            .map(|(rule, finding)| Check {
                rule: rule.sentence().to_owned(),
                observed: finding.observed,
                violations: finding.violations,
                first: finding.first.clone(),
            })
            .collect()
    }

    /// Notes a rule from outside the checkers' own.
    pub fn observe(&mut self, rule: Rule, holds: bool, now: Moment, what: impl FnOnce() -> String) {
        self.findings.observe(rule, holds, now, what);
    }

    /// True when a rule was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let mut rules = self.findings.rules.iter();
        rules.any(|finding| finding.violations > 0)
    }
}

#[cfg(test)]
mod tests;
