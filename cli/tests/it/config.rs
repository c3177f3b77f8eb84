//! Settings, and what is said about wrong ones.

use crate::bench::{Bench, write};

#[test]
fn init_writes_a_commented_file_once() {
    let bench = Bench::new();
    bench.json(&["init", "--data", "peer"]);
    let text = std::fs::read_to_string(bench.path("peer/config.toml")).unwrap();
    assert!(text.contains("[chain]") && text.contains("# "), "{text}");
    assert_eq!(bench.error(&["init", "--data", "peer"])["code"], "exists");
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let bench = Bench::new();
    let file = write(
        &bench.path("config.toml"),
        b"nmae = \"x\"\n\n[http]\nlisten = \"nowhere\"\n\n[chian]\nrpc = []\n",
    );
    let error = bench.error(&["run", "--config", &file]);
    assert_eq!(error["code"], "config");
    let message = error["message"].as_str().unwrap();
    assert!(!message.contains("::"), "{message}");
    for expected in [
        "line 1: `nmae`",
        "line 4: `http.listen`",
        "line 6: `[chian]`",
    ] {
        assert!(message.contains(expected), "{expected} in {message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let bench = Bench::new();
    let error = bench.error(&["run", "--config", "nowhere.toml"]);
    assert!(error["message"].as_str().unwrap().contains("nowhere.toml"));
}

#[test]
fn a_fresh_file_says_what_is_still_missing() {
    let bench = Bench::new();
    bench.json(&["init", "--data", "peer"]);
    let error = bench.error(&["run", "--config", "peer/config.toml"]);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`chain.rpc`"), "{message}");
    assert!(message.contains("`chain.contracts`"), "{message}");
}

#[test]
fn a_backup_needs_a_peer_and_a_folder_without_one() {
    let bench = Bench::new();
    let error = bench.error(&["backup", "file", "--data", "nowhere"]);
    assert!(error["message"].as_str().unwrap().contains("no file `key`"));
    let error = bench.error(&["restore", "absent", "--data", "new"]);
    let message = error["message"].as_str().unwrap();
    assert_eq!(message.matches("os error").count(), 1, "{message}");
    write(&bench.path("broken"), b"coliving backup 1 00\n{}");
    let error = bench.error(&["restore", "broken", "--data", "new"]);
    assert!(error["message"].as_str().unwrap().contains("checksum"));
    assert!(!bench.path("new").exists());
}
