//! Completions and manual pages.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum as _;
use serde_json::json;

use crate::context::Context;

/// Arguments of `coliving completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving completions bash > ~/.local/share/bash-completion/completions/coliving
  coliving completions zsh > ~/.zfunc/_coliving
  coliving completions fish > ~/.config/fish/completions/coliving.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Arguments of `coliving man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving man | man -l -
  coliving man --dir ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write one page per command into this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn completions(
    context: &Context,
    args: &CompletionsArgs,
    mut command: clap::Command,
) -> anyhow::Result<()> {
    debug_assert!(clap_complete::Shell::value_variants().contains(&args.shell));
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "coliving", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = json!({ "shell": args.shell.to_string(), "script": text });
    context.output.result(&value, || text)
}

pub(crate) fn man(context: &Context, args: &ManArgs, command: clap::Command) -> anyhow::Result<()> {
    let Some(folder) = &args.dir else {
        let page = page(command)?;
        return context
            .output
            .result(&json!({ "page": page }), || page.clone());
    };
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create `{}`", folder.display()))?;
    let mut written = Vec::new();
    write_pages(&command, "coliving", folder, &mut written)?;
    let files = json!({ "files": written });
    context.output.result(&files, || written.join("\n"))
}

fn write_pages(
    command: &clap::Command,
    name: &str,
    folder: &Path,
    written: &mut Vec<String>,
) -> anyhow::Result<()> {
    let path = folder.join(format!("{name}.1"));
    let named: &'static str = name.to_owned().leak();
    std::fs::write(&path, page(command.clone().name(named))?)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    written.push(path.display().to_string());
    for child in command.get_subcommands() {
        let name = format!("{name}-{}", child.get_name());
        write_pages(child, &name, folder, written)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
