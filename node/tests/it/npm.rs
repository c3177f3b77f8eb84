//! The tools of `node/tests/tools`, installed from their lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::wanted;

/// Where the tools are installed; none when they are not asked for or missing,
/// which is told in one line. The programs are copied, so that a run leaves
/// nothing behind in the repository.
pub(crate) fn tools(needed_for: &'static str) -> Option<PathBuf> {
    if !wanted::all() {
        wanted::skipped(needed_for, "COLIVING_TESTS=all runs them");
        return None;
    }
    if !wanted::has("node", needed_for) || !wanted::has("npm", needed_for) {
        return None;
    }
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    Some(INSTALLED.get_or_init(install).clone())
}

/// Runs a program of the tools and gives what it printed.
///
/// # Panics
///
/// When it fails, with everything that it said.
pub(crate) fn node(folder: &Path, program: &str, variables: &[(&str, String)]) -> String {
    let output = Command::new("node")
        .arg(program)
        .current_dir(folder)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} failed: {}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

fn install() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&source).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    // Installed once for each lock file.
    let stamp = folder.join("node_modules/installed-from.json");
    let lock = fs::read(folder.join("package-lock.json")).unwrap();
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return folder;
    }
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "`npm ci` failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::write(stamp, lock).unwrap();
    folder
}
