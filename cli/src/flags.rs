//! Flags of every command.

use std::path::PathBuf;

/// Flags of every command.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// URL of the peer to speak to [default: the running local peer]
    #[arg(long, global = true, value_name = "URL", env = "COLIVING_NODE")]
    pub(crate) node: Option<String>,
    /// Token of the peer's owner [default: the file `token` in COLIVING_HOME]
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "COLIVING_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Wallet that signs [default: `default`, or the only one]
    #[arg(long, global = true, value_name = "NAME", env = "COLIVING_WALLET")]
    pub(crate) wallet: Option<String>,
    /// File whose first line is the password [default: ask on the terminal]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "COLIVING_PASSWORD_FILE"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// Print results and errors as JSON, one line each
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, no hints, no log lines below errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More log lines; twice for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}
