//! Simulations from the command line.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::bench::{Bench, stderr, stdout};

#[test]
fn the_seed_comes_first_and_the_trace_hash_last() {
    let bench = Bench::new();
    let arguments = [
        "simulate",
        "run",
        "--scenario",
        "churn",
        "--peers",
        "20",
        "--seed",
        "7",
    ];
    let output = bench.run(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().next(), Some("seed: 7"));
    let last = text.lines().last().unwrap();
    let hash = last.strip_prefix("trace hash: ").unwrap();
    assert_eq!(hash.len(), 64);
    let report = bench.json(&arguments);
    assert_eq!(report["trace_hash"], hash);
}

#[test]
fn run_may_be_left_out() {
    let bench = Bench::new();
    let report = bench.json(&["simulate", "--peers", "20", "--seed", "8"]);
    assert_eq!(report["seed"], 8);
}

#[test]
fn scenarios_are_listed() {
    let bench = Bench::new();
    let listed = bench.json(&["simulate", "list"]);
    let names: Vec<&str> = listed["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"churn"), "{names:?}");
    let error = bench.error(&["simulate", "--scenario", "nonsense"]);
    assert!(error["message"].as_str().unwrap().contains("churn"));
}

#[test]
fn a_broken_rule_is_told_to_whoever_closes_the_pipe_too() {
    let bench = Bench::new();
    // Nothing is done after two seconds.
    let short = ["--set", "fault_seconds=1", "--set", "calm_seconds=1"];
    for seeds in [["--seed", "1"], ["--seeds", "1..2"]] {
        let scenario = ["simulate", "run", "--scenario", "churn", "--peers", "40"];
        let arguments = [&scenario[..], &short, &seeds].concat();
        let mut command = bench.command(&arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut first).unwrap();
        assert!(first.starts_with("seed"), "{first}");
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{seeds:?}");
    }
}
