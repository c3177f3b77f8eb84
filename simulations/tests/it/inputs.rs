use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use coliving_simulations::scenario::{Options, Scenario, run};
use protocol::content::Input;

/// Inputs of the content machine that no simulated peer gives, with the reason.
const NOT_SIMULATED: [(&str, &str); 1] = [(
    "ScanBroken",
    "the simulated index is read from memory and always answers",
)];

#[test]
fn hardly_an_input_of_the_content_machine_is_left_out_of_the_simulation() {
    assert!(NOT_SIMULATED.len() * 20 <= Input::NAMES.len());
}

#[test]
fn every_input_of_the_content_machine_is_given_in_some_preset() {
    let mut given = BTreeSet::new();
    for name in Scenario::presets() {
        // The long ones are run by `seeds`, and bring nothing that others lack.
        if ["orphan", "halt"].contains(&name) {
            continue;
        }
        let scenario = Scenario::preset(name).expect("the preset exists");
        let options = Options {
            peers: Some(40),
            seed: 1,
        };
        let mut report = run(&scenario, options, |_| {});
        given.extend(report.inputs.remove("content").into_iter().flatten());
    }
    let given: BTreeSet<String> = given.into_iter().map(|(name, _)| name).collect();
    let excused = NOT_SIMULATED.map(|(name, _)| name);
    let missing: Vec<&str> = Input::NAMES
        .into_iter()
        .filter(|name| !given.contains(*name) && !excused.contains(name))
        .collect();
    assert!(missing.is_empty(), "no preset gives {missing:?}");
}

#[test]
fn both_shells_construct_every_input_of_the_content_machine() {
    let node = sources(&["node/src/content.rs", "node/src/content"]);
    let host = sources(&["simulations/src/host.rs", "simulations/src/host/content.rs"])
        + &sources(&["simulations/src/host/exchange.rs"]);
    let excused = NOT_SIMULATED.map(|(name, _)| name);
    for name in Input::NAMES {
        assert!(constructs(&node, name), "node constructs no `{name}`");
        let is_excused = excused.contains(&name);
        assert!(
            constructs(&host, name) != is_excused,
            "the simulated shell and the excuse disagree about `{name}`"
        );
    }
}

/// True when a text names an input as a whole word.
fn constructs(text: &str, name: &str) -> bool {
    let call = format!("Input::{name}");
    text.match_indices(&call).any(|(at, _)| {
        let next = text[at + call.len()..].chars().next();
        !next.is_some_and(char::is_alphanumeric)
    })
}

/// The text of files, and of those in folders but their tests.
fn sources(names: &[&str]) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace");
    let mut text = String::new();
    for name in names {
        let path = workspace.join(name);
        let mut files: Vec<PathBuf> = match path.is_dir() {
            true => fs::read_dir(&path)
                .expect("the folder is readable")
                .map(|entry| entry.expect("the folder is readable").path())
                .collect(),
            false => vec![path],
        };
        files.retain(|file| file.is_file() && !file.ends_with("tests.rs"));
        for file in files {
            text += &fs::read_to_string(file).expect("the source is readable");
        }
    }
    text
}
