use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use coliving_simulations::scenario::Scenario;
use gossip::{catch_up, discovery};
use protocol::author;
use protocol::content;
use protocol::exchange::{DownloadInput, ExchangeInput};
use protocol::identity;
use protocol::machine::Named;
use protocol::vault::{ReplicaInput, VaultInput};

use crate::runs::first_run;

/// A role machine with an enum of inputs, and who gives them.
struct Role {
    /// As the report calls it.
    name: &'static str,
    inputs: &'static [&'static str],
    /// As the shells spell the enum.
    spelling: &'static str,
    node: &'static [&'static str],
    /// The simulated role, and who uses it.
    host: &'static [&'static str],
    /// As files spell the enum that several roles share.
    path: &'static str,
}

/// Where the simulated shell speaks to several roles.
const SHARED: [&str; 2] = [
    "simulations/src/host/dispatch.rs",
    "simulations/src/host/discovery.rs",
];

const ROLES: [Role; 9] = [
    Role {
        name: "content",
        inputs: <content::Input as Named>::NAMES,
        spelling: "Input",
        node: &["node/src/content.rs", "node/src/content"],
        host: &[
            "simulations/src/disk.rs",
            "simulations/src/host/content.rs",
            "simulations/src/host/exchange.rs",
            "simulations/src/world/people.rs",
        ],
        path: "content::Input",
    },
    Role {
        name: "author",
        inputs: <author::Input as Named>::NAMES,
        spelling: "Input",
        node: &["node/src/author.rs", "node/src/author"],
        host: &[
            "simulations/src/host/user.rs",
            "simulations/src/workload.rs",
        ],
        path: "author::Input",
    },
    Role {
        name: "identity",
        inputs: <identity::Input as Named>::NAMES,
        spelling: "Input",
        node: &["node/src/identity.rs", "node/src/identity"],
        host: &["simulations/src/host/identity.rs"],
        path: "identity::Input",
    },
    Role {
        name: "vault",
        inputs: <VaultInput as Named>::NAMES,
        spelling: "VaultInput",
        node: &["node/src/vault.rs", "node/src/vault"],
        host: &[
            "simulations/src/host/user.rs",
            "simulations/src/workload/records.rs",
        ],
        path: "VaultInput",
    },
    Role {
        name: "replica",
        inputs: <ReplicaInput as Named>::NAMES,
        spelling: "ReplicaInput",
        node: &["node/src/vault.rs", "node/src/vault"],
        host: &[
            "simulations/src/disk.rs",
            "simulations/src/host/identity.rs",
        ],
        path: "ReplicaInput",
    },
    Role {
        name: "exchange",
        inputs: <ExchangeInput<()> as Named>::NAMES,
        spelling: "ExchangeInput",
        node: &["node/src/exchange.rs", "node/src/exchange"],
        host: &["simulations/src/host/exchange.rs"],
        path: "ExchangeInput",
    },
    Role {
        name: "download",
        inputs: <DownloadInput as Named>::NAMES,
        spelling: "DownloadInput",
        node: &["node/src/exchange.rs", "node/src/exchange"],
        host: &["simulations/src/host/exchange.rs"],
        path: "DownloadInput",
    },
    Role {
        name: "discovery",
        inputs: <discovery::Input as Named>::NAMES,
        spelling: "Input",
        node: &["node/src/discovery.rs"],
        host: &["simulations/src/host/discovery.rs"],
        path: "discovery::Input",
    },
    Role {
        name: "catch-up",
        inputs: <catch_up::Input as Named>::NAMES,
        spelling: "Input",
        node: &["node/src/light.rs"],
        host: &["simulations/src/host/discovery.rs"],
        path: "catch_up::Input",
    },
];

/// Inputs that no simulated peer gives, by machine, with the reason.
const NOT_SIMULATED: [(&str, &str, &str); 1] = [(
    "author",
    "Relayer",
    "simulated residents are light peers, without a relayer of their own",
)];

#[test]
fn hardly_an_input_of_a_role_machine_is_left_out_of_the_simulation() {
    let all: usize = ROLES.iter().map(|role| role.inputs.len()).sum();
    assert!(NOT_SIMULATED.len() * 20 <= all, "{all} inputs");
}

#[test]
fn every_input_of_the_role_machines_is_given_in_some_preset() {
    let mut given: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in Scenario::presets() {
        for (machine, inputs) in first_run(name).inputs {
            let inputs = inputs.into_iter().filter(|(_, count)| *count > 0);
            let names = inputs.map(|(name, _)| name);
            given.entry(machine).or_default().extend(names);
        }
    }
    for role in &ROLES {
        let given = given.remove(role.name).unwrap_or_default();
        let mut missing = role.inputs.iter().filter(|name| !given.contains(**name));
        let left_out = missing.find(|name| !is_excused(role.name, name));
        assert_eq!(left_out, None, "no preset gives it to {}", role.name);
    }
    assert!(
        given.is_empty(),
        "nothing is known of the inputs of {given:?}"
    );
}

#[test]
fn both_shells_construct_every_input_of_the_role_machines() {
    let shared = sources(&SHARED);
    for role in &ROLES {
        let (node, host) = (sources(role.node), sources(role.host));
        for name in role.inputs {
            let call = format!("{}::{name}", role.spelling);
            assert!(constructs(&node, &call), "node constructs no `{call}`");
            let path = format!("{}::{name}", role.path);
            let is_given = constructs(&host, &call) || constructs(&shared, &path);
            assert!(
                is_given != is_excused(role.name, name),
                "the simulated shell and the excuse disagree about `{call}` of {}",
                role.name
            );
        }
    }
}

fn is_excused(machine: &str, input: &str) -> bool {
    let mut excuses = NOT_SIMULATED.iter();
    excuses.any(|(of, name, _)| *of == machine && *name == input)
}

/// True when a text names an input as a whole word.
fn constructs(text: &str, call: &str) -> bool {
    text.match_indices(call).any(|(at, _)| {
        let is_part = |char: char| char.is_alphanumeric() || char == '_';
        let before = text[..at].chars().next_back();
        let next = text[at + call.len()..].chars().next();
        !before.is_some_and(is_part) && !next.is_some_and(is_part)
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
