//! Twelve one-line defects in the production machines, each of which the
//! simulation has to find within a hundred seeds.
//!
//! The patches are applied to a copy of the workspace, never to the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A line of a machine, what is made of it, and the scenario that finds it.
struct Mutation {
    name: &'static str,
    scenario: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

#[test]
fn every_mutation_applies_to_exactly_one_line() {
    for mutation in MUTATIONS {
        mutated(mutation);
        assert!(!mutation.from.contains('\n') && !mutation.to.contains('\n'));
        assert_ne!(mutation.from, mutation.to);
    }
}

#[test]
fn every_mutation_is_caught_within_a_hundred_seeds() {
    if std::env::var("COLIVING_TESTS").as_deref() != Ok("long") {
        return;
    }
    let copy = Copy::new();
    let (mut found, mut missed) = (Vec::new(), Vec::new());
    for mutation in MUTATIONS {
        fs::write(copy.root.join(mutation.file), mutated(mutation)).expect("the copy is writable");
        copy.build();
        let caught = (1..=SEEDS_MAX).find(|seed| !copy.passes(mutation.scenario, *seed));
        fs::copy(
            workspace().join(mutation.file),
            copy.root.join(mutation.file),
        )
        .expect("the copy is writable");
        let Some(seed) = caught else {
            missed.push(mutation.name);
            continue;
        };
        tell(&format!(
            "{}: caught by {} with seed {seed}",
            mutation.name, mutation.scenario
        ));
        found.push((mutation.scenario, seed));
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
    // The same seeds pass without: it was the mutation that they found.
    copy.build();
    for (scenario, seed) in found {
        assert!(copy.passes(scenario, seed), "{scenario}, seed {seed}");
    }
}

fn mutated(mutation: &Mutation) -> String {
    let path = workspace().join(mutation.file);
    let text = fs::read_to_string(&path).expect("the mutated file exists");
    let count = text.matches(mutation.from).count();
    assert_eq!(
        count, 1,
        "`{}` occurs {count} times in {}; name a line that occurs once",
        mutation.from, mutation.file
    );
    text.replace(mutation.from, mutation.to)
}

/// A copy of the workspace's sources with a target folder of its own.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let root = workspace().join("target/mutations/workspace");
        let _ = fs::remove_dir_all(&root);
        for name in ["Cargo.toml", "Cargo.lock"] {
            copy(&workspace().join(name), &root.join(name));
        }
        for name in MEMBERS {
            copy(&workspace().join(name), &root.join(name));
        }
        Self { root }
    }

    /// Builds the copy: its own crates for fast building, its dependencies for
    /// fast running.
    fn build(&self) {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--offline", "--quiet"])
            .args(["-p", "coliving-simulations", "--example", "simulate"])
            .args(
                MEMBERS_MUTATED
                    .map(|name| format!("--config=profile.release.package.{name}.opt-level=1")),
            )
            .env("CARGO_INCREMENTAL", "1")
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", target())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "a mutation does not compile");
    }

    fn passes(&self, scenario: &str, seed: u64) -> bool {
        Command::new(target().join("release/examples/simulate"))
            .args([scenario, PEERS, &seed.to_string()])
            .current_dir(&self.root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("the simulation runs")
            .success()
    }
}

fn target() -> PathBuf {
    workspace().join("target/mutations/target")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).expect("the folder is readable") {
            let name = entry.expect("the folder is readable").file_name();
            if name != "node_modules" && name != "target" {
                copy(&from.join(&name), &to.join(&name));
            }
        }
    } else {
        let folder = to.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("the copy is writable");
        fs::copy(from, to).expect("the copy is writable");
    }
}

#[expect(clippy::print_stderr, reason = "which seed finds what is the result")]
fn tell(text: &str) {
    eprintln!("{text}");
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
        .to_path_buf()
}

const MEMBERS: [&str; 6] = [
    "protocol",
    "storage",
    "gossip",
    "node",
    "cli",
    "simulations",
];

const MEMBERS_MUTATED: [&str; 3] = [
    "coliving-protocol",
    "coliving-gossip",
    "coliving-simulations",
];

const SEEDS_MAX: u64 = 100;

const PEERS: &str = "60";

const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "placement: a zone may hold all replicas",
        scenario: "publish",
        file: "protocol/src/placement.rs",
        from: "let zone_max = target.div_ceil(3);",
        to: "let zone_max = target;",
    },
    Mutation {
        name: "repair: a wanted peer does not fetch",
        scenario: "repair",
        file: "protocol/src/content/repair/looking.rs",
        from: "&& (known.is_owed || (known.is_required && self.is_wanted(root)))",
        to: "&& known.is_owed",
    },
    Mutation {
        name: "exchange: received blocks are not checked",
        scenario: "publish",
        file: "protocol/src/unixfs.rs",
        from: "verify_block(&cid, &data)?;",
        to: "let _ = verify_block(&cid, &data);",
    },
    Mutation {
        name: "blocks: every hash fits",
        scenario: "publish",
        file: "protocol/src/unixfs.rs",
        from: "SHA2_256 => sha256(data).as_ref() == hash.digest(),",
        to: "SHA2_256 => sha256(data).as_ref() != b\"\",",
    },
    Mutation {
        name: "heads: an eighth is a majority",
        scenario: "gossip",
        file: "gossip/src/heads.rs",
        from: "behind.sum::<u64>() * 2 > self.weights.iter().sum()",
        to: "behind.sum::<u64>() * 8 > self.weights.iter().sum()",
    },
    Mutation {
        name: "spread: a batch that is not the chain's is forwarded",
        scenario: "gossip",
        file: "gossip/src/spread.rs",
        from: "_ if oldest.is_some_and(|oldest| oldest <= number) => Verdict::Reject,",
        to: "_ if oldest.is_some_and(|oldest| oldest <= number) => Verdict::Accept,",
    },
    Mutation {
        name: "vault: one replica is a quorum",
        scenario: "vault",
        file: "protocol/src/vault/quorum.rs",
        from: "!set.is_empty() && count >= majority_of(set.len())",
        to: "!set.is_empty() && count > 0",
    },
    Mutation {
        name: "relayer: an accepted action is accepted anew",
        scenario: "relayer",
        file: "protocol/src/relayer.rs",
        from: "if let Some(job) = self.jobs.get_mut(&digest) {",
        to: "if let Some(job) = self.jobs.get_mut(&digest).filter(|job| !job.is_accepted) {",
    },
    Mutation {
        name: "leases: the serial does not rise",
        scenario: "publish",
        file: "protocol/src/content/book.rs",
        from: "self.counters.lease_serial += 1;",
        to: "self.counters.lease_serial = self.counters.lease_serial.max(1);",
    },
    Mutation {
        name: "publish: one lease less is durable",
        scenario: "publish",
        file: "protocol/src/author/publication.rs",
        from: "if leases >= self.minimum && !self.is_durable {",
        to: "if leases + 1 >= self.minimum && !self.is_durable {",
    },
    Mutation {
        name: "repair: a root that is only claimed is wanted",
        scenario: "hostile",
        file: "protocol/src/content/repair/looking.rs",
        from: "&& (known.is_owed || (known.is_required && self.is_wanted(root)))",
        to: "&& (known.is_owed || self.is_wanted(root))",
    },
    Mutation {
        name: "ends: a promise goes with the last thing that named its root",
        scenario: "hostile",
        file: "protocol/src/content/ends.rs",
        from: "fn note_unnamed(&mut self, root: Cid, now: Moment) {",
        to: "fn note_unnamed(&mut self, root: Cid, now: Moment) { self.strike(root);",
    },
];
