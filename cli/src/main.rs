//! The `coliving` command: the hand on a Coliving peer.
//!
//! Commands speak to a peer over HTTP through `client`; only `devnet` and
//! `run` are peers themselves. Data goes to stdout, everything else to stderr.

mod acting;
mod args;
mod commands;
mod context;
mod failure;
mod flags;
mod media;
mod onchain;
mod output;
mod paths;
mod reasons;
mod running;
mod session;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::args::Args;
use crate::output::Output;

/// Machines make and drop many small values; `docs/decisions/0010`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let output = Output::new(args.global.json, args.global.quiet);
    start_logging(&args);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return output.failure(&anyhow::Error::new(error)),
    };
    let result = runtime.block_on(args::run(args, output));
    // Nothing that still runs on a thread may hold the command up.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.failure(&error),
    }
}

/// Help and version are no failures; everything else is one of usage.
fn usage(error: &clap::Error) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if wants_json && !is_help {
        let text = error.render().to_string();
        // The first paragraph says what is wrong, the others how to write it.
        let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        let lines: Vec<&str> = lines.into_iter().map(str::trim).collect();
        let message = lines.join(" ");
        let message = message.trim_start_matches("error: ");
        output::print_failure(failure::USAGE, message, Some("see `coliving --help`"));
        return ExitCode::from(output::USAGE_EXIT);
    }
    // Nobody is left to tell when printing fails.
    let _ = error.print();
    if is_help {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(output::USAGE_EXIT)
    }
}

fn start_logging(args: &Args) {
    let level = match (args.global.quiet, args.global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,libp2p_kad=error,libp2p_gossipsub=error",
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("COLIVING_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
