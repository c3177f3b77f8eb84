//! A home folder, and the command run in it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own with a home in it.
pub(crate) struct Bench {
    folder: TempDir,
    node: Option<(String, String)>,
    variables: Vec<(String, String)>,
}

/// A running `devnet` or `run`; killed when dropped.
pub(crate) struct Peer {
    pub(crate) child: Child,
    /// The line that said that it is ready.
    pub(crate) ready: Value,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), "correct horse battery\n").unwrap();
        Self {
            folder,
            node: None,
            variables: Vec::new(),
        }
    }

    /// Speaks to this peer from here on.
    pub(crate) fn use_node(&mut self, url: &str, token: &str) {
        self.node = Some((url.to_owned(), token.to_owned()));
    }

    /// Sets an environment variable of all commands from here on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coliving"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COLIVING_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("COLIVING_HOME", self.path("home"))
            .env("COLIVING_PASSWORD_FILE", self.path("password"))
            .env("COLIVING_WALLET_LIGHT", "true")
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null());
        if let Some((url, token)) = &self.node {
            command
                .env("COLIVING_NODE", url)
                .env("COLIVING_TOKEN", token);
        }
        command
    }

    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that succeeds and answers with the JSON that it printed.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.run(&all);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        let text = stdout(&output);
        assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Runs a command that fails and answers with the error that it printed.
    pub(crate) fn error(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.run(&all);
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        let text = stderr(&output);
        let line = text.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
        value["error"].clone()
    }

    /// Starts a peer and waits until it is ready.
    pub(crate) fn start(&self, arguments: &[&str]) -> Peer {
        let mut all = arguments.to_vec();
        all.push("--json");
        let mut child = self
            .command(&all)
            .env_remove("COLIVING_NODE")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{arguments:?} did not become ready: `{line}`"));
        Peer { child, ready }
    }
}

impl Peer {
    /// Asks the process to end, and waits for it.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").arg(&id).status().unwrap();
        assert!(asked.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Peer {
    /// Ends the process at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that look like nothing, the same for the same seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut step)
        .flatten()
        .take(count)
        .collect()
}

/// Writes a file and answers with its path as text.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).unwrap();
    path.display().to_string()
}
