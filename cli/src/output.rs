//! Where results, hints and progress go: data to stdout, the rest to stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{Failure, USAGE};

/// How a command speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// True when a program reads.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: one line of JSON, or the text for people.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            line(&serde_json::to_string(value)?)
        } else {
            line(text().trim_end())
        }
    }

    /// Says what to do next.
    pub(crate) fn hint(self, text: &str) {
        if !self.json && !self.quiet {
            self.note(&format!("hint: {text}"));
        }
    }

    /// Says something that is not the result.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Prints a failure and answers with the exit code.
    pub(crate) fn failure(self, error: &anyhow::Error) -> ExitCode {
        // A reader that has seen enough is no failure.
        let is_pipe = error.chain().any(|cause| {
            cause
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
        });
        if is_pipe {
            return ExitCode::SUCCESS;
        }
        let failure = Failure::of(error);
        if self.json {
            print_failure(&failure.code, &failure.message, failure.hint.as_deref());
        } else {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {}", failure.message);
            if let Some(hint) = &failure.hint {
                let _ = writeln!(io::stderr(), "hint: {hint}");
            }
        }
        match failure.code == USAGE {
            true => ExitCode::from(USAGE_EXIT),
            false => ExitCode::FAILURE,
        }
    }

    /// A bar of bytes, seen on a terminal only.
    pub(crate) fn bytes(self, what: &str, total: Option<u64>) -> ProgressBar {
        let style = match total {
            Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes} {bytes_per_sec}",
        };
        self.bar(what, total, style)
    }

    /// A turning sign for work of unknown length, seen on a terminal only.
    pub(crate) fn spinner(self, what: &str) -> ProgressBar {
        let bar = self.bar(what, None, "{spinner} {msg} {elapsed}");
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A bar of any count, seen on a terminal only.
    pub(crate) fn bar(self, what: &str, total: Option<u64>, style: &str) -> ProgressBar {
        let is_seen = !self.quiet && io::stderr().is_terminal();
        let target = if is_seen {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar
    }
}

/// A table for people.
pub(crate) fn table<R: IntoIterator<Item = String>>(
    header: &[&str],
    rows: impl IntoIterator<Item = R>,
) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// Fields of one thing, one a line.
pub(crate) fn fields<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let rows: Vec<(&str, String)> = rows
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}", printable(value)))
        .collect();
    lines.join("\n")
}

/// A field of a row as text; empty when it is absent.
pub(crate) fn text(row: &Value, field: &str) -> String {
    match &row[field] {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A text of somebody else without the letters that steer terminals.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() && letter != '\n' {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// Prints a line to stdout.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()?;
    Ok(())
}

/// Prints a failure for programs to stderr.
pub(crate) fn print_failure(code: &str, message: &str, hint: Option<&str>) {
    let mut error = json!({ "code": code, "message": message });
    if let Some(hint) = hint {
        error["hint"] = json!(hint);
    }
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "{}", json!({ "error": error }));
}

/// What a command ends with that was not understood.
pub(crate) const USAGE_EXIT: u8 = 2;
