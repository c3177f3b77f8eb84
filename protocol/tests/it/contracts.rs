use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wanted;

/// The committed artifacts are what the sources compile to, and the contracts'
/// own tests pass. The sources are copied, so that a run leaves nothing behind
/// in the repository.
#[test]
fn the_contracts_match_their_artifacts_and_pass_their_tests() {
    if !wanted::has("node", "the contracts' tests") || !wanted::has("npm", "the contracts' tests") {
        return;
    }
    let copy = copied();
    if let Err(message) = install(&copy) {
        assert!(!wanted::all(), "{message}");
        let first = message.lines().next().unwrap_or_default();
        wanted::skipped("the contracts' tests", first);
        return;
    }
    npm(&copy, &["run", "check"]).unwrap();
    if wanted::all() {
        npm(&copy, &["test"]).unwrap();
    } else {
        wanted::skipped("forge's tests", "COLIVING_TESTS=all runs them");
    }
    if wanted::long() {
        npm(&copy, &["run", "test:long"]).unwrap();
        npm(&copy, &["run", "coverage"]).unwrap();
    }
}

/// `npm ci`, unless the same lock file was installed there before.
fn install(copy: &Path) -> Result<(), String> {
    let stamp = copy.join("node_modules/installed-from.json");
    let lock = fs::read(copy.join("package-lock.json")).unwrap();
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    npm(copy, &["ci", "--no-audit", "--no-fund"])?;
    fs::write(stamp, lock).unwrap();
    Ok(())
}

fn npm(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("npm")
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("npm did not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "`npm {}` failed: {}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    ))
}

/// A copy of the contracts with the page that their tests read, at the same
/// places relative to each other.
fn copied() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("contracts");
    let copy = workspace.join("protocol/contracts");
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(&copy).unwrap() {
        let entry = entry.unwrap();
        if is_made(&entry.path()) {
            continue;
        } else if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    copy_folder(&source.join("contracts"), &copy);
    let formats = workspace.join("docs/formats");
    fs::create_dir_all(&formats).unwrap();
    let page = source.join("../docs/formats/signed.md");
    fs::copy(page, formats.join("signed.md")).unwrap();
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if is_made(&entry.path()) {
            continue;
        } else if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Packages and compiled files, which are made anew where they are needed.
fn is_made(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    matches!(name, Some("node_modules" | "out" | "cache"))
}
