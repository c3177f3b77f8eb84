//! What must never happen, and what must happen in the end.
//!
//! A checker looks at the world from above: it sees every disk and the whole
//! chain, and judges with arithmetic of its own where a machine's answer would
//! only repeat the machine's mistake.

use std::collections::BTreeMap;

use protocol::time::Moment;
use serde::{Deserialize, Serialize};

mod blocks;
mod gossip;
mod leases;
mod placement;
mod relayer;
mod uploads;
mod vault;

use gossip::Gossip;
use leases::Leases;
use relayer::RelayerChecker;
use uploads::Uploads;
use vault::VaultChecker;

/// All checkers and what they found.
#[derive(Debug, Default)]
pub struct Checkers {
    gossip: Gossip,
    leases: Leases,
    relayer: RelayerChecker,
    uploads: Uploads,
    vault: VaultChecker,
    findings: Findings,
}

/// Observations and violations by rule.
#[derive(Debug, Default)]
pub struct Findings {
    rules: BTreeMap<&'static str, Finding>,
    started: Moment,
}

#[derive(Debug, Default)]
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
    /// How often it was looked at.
    pub observed: u64,
    /// How often it was broken.
    pub violations: u64,
    /// The first time.
    pub first: Option<String>,
}

impl Findings {
    /// Notes that a rule was looked at, and whether it held.
    pub fn observe(
        &mut self,
        rule: &'static str,
        holds: bool,
        now: Moment,
        what: impl FnOnce() -> String,
    ) {
        let finding = self.rules.entry(rule).or_default();
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
            findings: Findings {
                started,
                ..Findings::default()
            },
            ..Self::default()
        }
    }

    /// What all rules came to.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.findings
            .rules
            .iter()
            .map(|(rule, finding)| Check {
                rule: (*rule).to_owned(),
                observed: finding.observed,
                violations: finding.violations,
                first: finding.first.clone(),
            })
            .collect()
    }

    /// Notes a rule from outside the checkers' own.
    pub fn observe(
        &mut self,
        rule: &'static str,
        holds: bool,
        now: Moment,
        what: impl FnOnce() -> String,
    ) {
        self.findings.observe(rule, holds, now, what);
    }

    /// True when a rule was broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.findings
            .rules
            .values()
            .any(|finding| finding.violations > 0)
    }
}
