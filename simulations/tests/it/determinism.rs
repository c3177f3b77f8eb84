use coliving_simulations::run::Report;

use crate::runs::{PEERS, first_run, simulate};

#[test]
fn one_seed_makes_one_trace_and_another_seed_another() {
    let (first, second) = (simulate("publish", 7, PEERS), simulate("publish", 7, PEERS));
    assert_eq!(first.trace_hash, second.trace_hash);
    assert_eq!(first.checks, second.checks);
    assert_eq!(first.times, second.times);
    let other = simulate("publish", 8, PEERS);
    assert_ne!(first.trace_hash, other.trace_hash);
}

#[test]
fn a_report_begins_with_the_seed_and_ends_with_the_trace_hash() {
    let report = first_run("vault");
    let text = report.render();
    assert_eq!(text.lines().next(), Some("seed: 1"));
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
