//! Wallets on one machine, without a peer.

use crate::bench::{Bench, stdout, write};

#[test]
fn a_wallet_is_made_shown_exported_and_taken_in_again() {
    let bench = Bench::new();
    let made = bench.json(&["wallet", "new"]);
    assert_eq!(made["wallet"], "default");
    let shown = bench.json(&["wallet", "show", "--phrase"]);
    assert_eq!(shown["address"], made["address"]);
    let phrase = shown["phrase"].as_str().unwrap();
    assert_eq!(phrase.split(' ').count(), 12);

    bench.json(&["wallet", "export", "copy.json"]);
    let copied = bench.json(&["wallet", "import", "copy.json", "--wallet", "copy"]);
    assert_eq!(copied["address"], made["address"]);

    let words = write(&bench.path("words"), phrase.as_bytes());
    let spoken = bench.json(&["wallet", "import", &words, "--wallet", "words"]);
    assert_eq!(spoken["address"], made["address"]);

    let listed = bench.json(&["wallet", "list"]);
    let names: Vec<&str> = listed["wallets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["wallet"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["copy", "default", "words"]);
}

#[test]
fn a_wallet_is_not_overwritten() {
    let bench = Bench::new();
    bench.json(&["wallet", "new"]);
    assert_eq!(bench.error(&["wallet", "new"])["code"], "wallet_exists");
}

#[test]
fn another_password_does_not_open_it() {
    let bench = Bench::new();
    bench.json(&["wallet", "new"]);
    let wrong = write(&bench.path("wrong"), b"something else\n");
    let error = bench.error(&["wallet", "show", "--phrase", "--password-file", &wrong]);
    assert_eq!(error["code"], "password");
}

#[test]
fn a_password_that_is_easy_to_guess_is_refused_at_once() {
    let bench = Bench::new();
    let weak = write(&bench.path("weak"), b"abc\n");
    let mut command = bench.command(&["wallet", "new", "--password-file", &weak]);
    let output = command
        .env_remove("COLIVING_WALLET_LIGHT")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(!bench.path("home/wallets").exists());
}

#[test]
fn a_password_is_changed_and_the_file_costs_as_much_as_others() {
    let bench = Bench::new();
    let made = bench.json(&["wallet", "new"]);
    let new = write(&bench.path("new"), b"staple battery horse\n");
    let change = ["wallet", "password", "--new-password-file"];
    let weak = write(&bench.path("weak"), b"abc\n");
    for refused in [
        &weak,
        &write(&bench.path("same"), b"correct horse battery\n"),
    ] {
        bench.error(&[&change[..], &[refused]].concat());
    }
    bench.json(&[&change[..], &[&new]].concat());
    let kept = std::fs::read_to_string(bench.path("home/wallets/default.json")).unwrap();
    assert!(kept.contains("\"n\": 262144"), "{kept}");
    assert_eq!(
        bench.error(&["wallet", "show", "--phrase"])["code"],
        "password"
    );
    let shown = bench.json(&["wallet", "show", "--phrase", "--password-file", &new]);
    assert_eq!(shown["address"], made["address"]);
}

#[test]
fn without_a_terminal_a_password_needs_a_file() {
    let bench = Bench::new();
    let mut command = bench.command(&["wallet", "new", "--json"]);
    let output = command
        .env_remove("COLIVING_PASSWORD_FILE")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = crate::bench::stderr(&output);
    assert!(text.contains("COLIVING_PASSWORD_FILE"), "{text}");
    assert!(!bench.path("home/wallets").exists());
}

#[test]
fn a_secret_key_never_appears() {
    let bench = Bench::new();
    let key = "4f".repeat(32);
    let file = write(&bench.path("key"), key.as_bytes());
    let output = bench.run(&["wallet", "import", &file]);
    assert!(!stdout(&output).contains(&key));
    let kept = std::fs::read_to_string(bench.path("home/wallets/default.json")).unwrap();
    assert!(!kept.contains(&key));
    let error = bench.error(&["wallet", "show", "--phrase"]);
    assert_eq!(error["code"], "wallet_without_entropy");
}

#[cfg(unix)]
#[test]
fn wallet_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    bench.json(&["wallet", "new"]);
    let file = std::fs::metadata(bench.path("home/wallets/default.json")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}
