use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use coliving_simulations::run::{Options, Report, run};
use coliving_simulations::scenario::Scenario;

type Runs = Mutex<BTreeMap<&'static str, Arc<OnceLock<Report>>>>;

/// The run of a preset that several tests look at.
pub(crate) fn first_run(name: &'static str) -> Report {
    static RUNS: Runs = Mutex::new(BTreeMap::new());
    let run = Arc::clone(
        RUNS.lock()
            .expect("no test panics here")
            .entry(name)
            .or_default(),
    );
    run.get_or_init(|| simulate_with(name, SEED, PEERS, true))
        .clone()
}

pub(crate) fn simulate(name: &str, seed: u64, peers: usize) -> Report {
    simulate_with(name, seed, peers, false)
}

fn simulate_with(name: &str, seed: u64, peers: usize, is_measured: bool) -> Report {
    let scenario = Scenario::preset(name).expect("the preset exists");
    let options = Options {
        peers: Some(peers),
        seed,
        is_measured,
    };
    run(&scenario, options, |_| {})
}

pub(crate) const SEED: u64 = 1;

/// As few as the presets' faults leave room for.
pub(crate) const PEERS: usize = 40;
