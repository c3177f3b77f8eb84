//! Runs a scenario: `simulate NAME [PEERS] [FIRST_SEED] [SEEDS] [measures]`.
//!
//! With one seed it prints the report, with several a line for each, with `measures`
//! a line of JSON with all that was measured; it fails when a rule was broken.

use std::io::{self, Write};
use std::process::ExitCode;

use coliving_simulations::run::{Options, run};
use coliving_simulations::scenario::Scenario;

/// Machines make and drop many small values; `docs/decisions/0010`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "churn".to_owned());
    let peers = args.next().map(|text| text.parse()).transpose()?;
    let first: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let seeds: u64 = args.next().map_or(Ok(1), |text| text.parse())?;
    let is_measured = args.next().is_some_and(|text| text == "measures");
    let scenario = Scenario::load(&name, &[])?;
    let mut is_passed = true;
    let mut out = io::stdout();
    for seed in first..first + seeds {
        let options = Options {
            peers,
            seed,
            is_measured,
        };
        let report = run(&scenario, options, |_| {});
        is_passed &= report.is_passed();
        if is_measured {
            let measured = serde_json::json!({
                "seed": seed,
                "peers": report.peers,
                "seconds": report.virtual_seconds,
                "failures": report.failures(),
                "measures": report.measures,
            });
            writeln!(out, "{measured}")?;
        } else if seeds == 1 {
            write!(out, "{}", report.render())?;
        } else {
            let verdict = if report.is_passed() { "ok" } else { "BROKEN" };
            writeln!(
                out,
                "{name} seed {seed}: {verdict}, {:.0} virtual s, {} events in {:.2} s",
                report.virtual_seconds, report.events, report.wall_seconds
            )?;
            for failure in report.failures() {
                writeln!(out, "  {failure}")?;
            }
        }
    }
    Ok(if is_passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
