//! What `COLIVING_TESTS` asks for, and the tools that some tests need.

use std::io::Write as _;
use std::process::Command;

/// True when tests whose tools are missing must fail.
pub(crate) fn all() -> bool {
    std::env::var("COLIVING_TESTS").is_ok_and(|tests| tests == "all" || tests == "long")
}

/// True when the counts of the acceptance runs are asked for.
pub(crate) fn long() -> bool {
    std::env::var("COLIVING_TESTS").is_ok_and(|tests| tests == "long")
}

/// True when `program` can be started; a missing one fails the test when all
/// tests are asked for, and is told of in one line otherwise.
#[track_caller]
pub(crate) fn has(program: &str, needed_for: &str) -> bool {
    answers(program, "--version", needed_for)
}

/// As [`has`], for a program that tells its version by another flag.
#[track_caller]
pub(crate) fn answers(program: &str, flag: &str, needed_for: &str) -> bool {
    let found = Command::new(program)
        .arg(flag)
        .output()
        .is_ok_and(|output| output.status.success());
    assert!(
        found || !all(),
        "`{program}` is missing, and COLIVING_TESTS asks for everything: install it for {needed_for}"
    );
    if !found {
        skipped(needed_for, &format!("`{program}` is missing"));
    }
    found
}

/// Says past the test harness, which keeps the prints of passing tests, what
/// has not been tested.
pub(crate) fn skipped(what: &str, why: &str) {
    let line = format!("skipped: {what} ({why})\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
