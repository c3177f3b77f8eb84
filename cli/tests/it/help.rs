//! Every command explains itself.

use crate::bench::{Bench, stderr, stdout};

/// The commands below `words`, read from its help.
fn below(bench: &Bench, words: &[String]) -> Vec<Vec<String>> {
    let mut arguments = words.to_vec();
    arguments.push("--help".to_owned());
    let output = bench.run(&arguments);
    assert!(output.status.success(), "{words:?}: {}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("Usage: coliving"), "{words:?}: {text}");
    assert!(text.contains("\nExamples:\n"), "{words:?} shows no example");
    assert!(
        !text.contains("see a summary with '-h'"),
        "{words:?} is laid out unlike the others: {text}"
    );
    let about = text.lines().next().unwrap_or_default();
    assert!(about.len() > 10, "{words:?} says nothing: `{about}`");
    let Some((_, commands)) = text.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let names = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let child = |name: &str| [words, &[name.to_owned()]].concat();
    names.map(child).collect()
}

#[test]
fn every_command_has_help() {
    let bench = Bench::new();
    let mut open = vec![Vec::new()];
    let mut count = 0;
    while let Some(words) = open.pop() {
        open.extend(below(&bench, &words));
        count += 1;
    }
    assert!(count > 45, "only {count} commands were found");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let bench = Bench::new();
    for arguments in [&["nonsense"][..], &["publish"], &["get", "a", "--nonsense"]] {
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = bench.error(arguments);
        assert_eq!(error["code"], "usage", "{arguments:?}");
    }
}

#[test]
fn wrong_usage_says_what_is_wrong() {
    let bench = Bench::new();
    for (arguments, expected) in [
        (&["publish"][..], "<FILE>"),
        (&["devnet", "--operators", "0"], "--operators"),
        (
            &["devnet", "--peers", "3", "--http-port", "65534"],
            "--http-port",
        ),
    ] {
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = bench.error(arguments);
        assert_eq!(error["code"], "usage", "{arguments:?}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_is_made_for_shells_and_readers_has_a_json_form() {
    let bench = Bench::new();
    let made = bench.json(&["completions", "fish"]);
    assert!(made["script"].as_str().unwrap().contains("publish"));
    let page = bench.json(&["man"]);
    assert!(page["page"].as_str().unwrap().contains(".TH coliving"));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = stdout(&bench.run(&["completions", shell]));
        assert!(text.contains("publish"), "{shell}");
    }
    assert!(stdout(&bench.run(&["man"])).contains(".TH coliving"));
    let written = bench.json(&["man", "--dir", "man"]);
    assert!(written["files"].as_array().unwrap().len() > 45);
    let page = std::fs::read_to_string(bench.path("man/coliving-wallet-new.1")).unwrap();
    assert!(page.contains("coliving"), "{page}");
}

#[test]
fn a_command_without_a_peer_says_how_to_get_one() {
    let bench = Bench::new();
    let error = bench.error(&["status"]);
    assert_eq!(error["code"], "no_peer");
    assert!(error["hint"].as_str().unwrap().contains("coliving devnet"));
}

#[test]
fn an_absent_peer_is_named() {
    let bench = Bench::new();
    let error = bench.error(&["status", "--node", "http://127.0.0.1:9"]);
    assert_eq!(error["code"], "unreachable");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("http://127.0.0.1:9")
    );
}
