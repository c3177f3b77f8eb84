//! Runs of scenarios, and what came of them.

use std::time::Instant;

use protocol::memo;

use crate::scenario::Scenario;
use crate::world::{Progress, World};

mod report;

pub use report::Report;

/// What a caller chooses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Peers in all, in place of the scenario's.
    pub peers: Option<usize>,
    /// What the run is drawn from.
    pub seed: u64,
    /// True when everything is to be measured, which takes time.
    pub is_measured: bool,
}

/// Runs a scenario; `progress` is called every few virtual seconds.
pub fn run(scenario: &Scenario, options: Options, progress: impl FnMut(Progress)) -> Report {
    let mut scenario = scenario.clone();
    if let Some(peers) = options.peers {
        scenario.population.peers = peers;
    }
    // How long a run takes is measured; nothing in it depends on that.
    let begun = Instant::now();
    let bounds = scenario.bounds.of(scenario.population.peers);
    let is_measured = options.is_measured || bounds.is_some();
    let mut world = World::new(&scenario, options.seed, is_measured);
    memo::scope(|| world.run(progress));
    let mut report = Report::new(&scenario, options.seed, &world, begun.elapsed());
    if let Some(bounds) = bounds {
        report.look_at(bounds);
    }
    report
}
