use coliving_simulations::run::{Options, Report, run};
use coliving_simulations::scenario::Scenario;

fn simulate(name: &str, seed: u64) -> Report {
    let scenario = Scenario::preset(name).expect("the preset exists");
    let options = Options {
        peers: Some(40),
        seed,
    };
    run(&scenario, options, |_| {})
}

#[test]
fn one_seed_makes_one_trace_and_another_seed_another() {
    let (first, second) = (simulate("publish", 7), simulate("publish", 7));
    assert_eq!(first.trace_hash, second.trace_hash);
    assert_eq!(first.checks, second.checks);
    assert_eq!(first.times, second.times);
    let other = simulate("publish", 8);
    assert_ne!(first.trace_hash, other.trace_hash);
}

#[test]
fn a_report_begins_with_the_seed_and_ends_with_the_trace_hash() {
    let report = simulate("vault", 3);
    let text = report.render();
    assert_eq!(text.lines().next(), Some("seed: 3"));
    let last = text.lines().last().expect("a report has lines");
    let hash = last.strip_prefix("trace hash: ").expect("it is named");
    assert_eq!(hash, report.trace_hash);
    assert_eq!(hash.len(), 64);
    let json = serde_json::to_string(&report).expect("a report is JSON");
    let back: Report = serde_json::from_str(&json).expect("and back");
    assert_eq!(back.trace_hash, report.trace_hash);
    assert_eq!(back.checks, report.checks);
    assert_eq!(back.times, report.times);
}
