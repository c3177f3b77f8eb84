//! The terminal: asked for secrets, and left as it was found.

use anyhow::Context as _;

/// Asks for something that is not shown while it is typed.
pub(crate) fn ask_secret(question: &str) -> anyhow::Result<String> {
    #[cfg(unix)]
    restore_at_interrupt();
    rpassword::prompt_password(question).context("cannot read from the terminal")
}

/// A prompt turns the terminal's echo off: Ctrl-C has to turn it on again.
#[cfg(unix)]
fn restore_at_interrupt() {
    use std::io::{self, Write as _};
    use std::sync::Once;

    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    use tokio::signal::unix::{SignalKind, signal};

    static GUARD: Once = Once::new();
    GUARD.call_once(|| {
        let Ok(before) = tcgetattr(io::stdin()) else {
            return;
        };
        let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
            return;
        };
        tokio::spawn(async move {
            interrupt.recv().await;
            // The process ends; nobody is left to tell.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            let _ = writeln!(io::stderr());
            std::process::exit(INTERRUPTED);
        });
    });
}

/// What shells expect of a process that Ctrl-C ended.
#[cfg(unix)]
const INTERRUPTED: i32 = 130;
