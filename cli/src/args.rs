//! The tree of commands and the flags that all of them know.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::commands::{
    chain, content, delegate, devnet, find, generate, govern, lists, network, operator, pay, peer,
    simulate, social, user, wallet,
};

/// Publish, find, stream and pay for digital content without a platform in between.
#[derive(Debug, Parser)]
#[command(
    name = "coliving",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  coliving devnet                                   a whole network on this machine
  coliving wallet new                               in a second terminal
  coliving user create --handle ada
  coliving publish song.flac --title \"First light\" --tag ambient
  coliving search light
  coliving play ID --player mpv

Each command explains itself: `coliving COMMAND --help`."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

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

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole network on this machine: chain, staked peers, a light peer
    Devnet(devnet::DevnetArgs),
    /// Write a commented config.toml for one peer
    Init(peer::InitArgs),
    /// Run one peer
    Run(peer::RunArgs),
    /// Copy a peer's keys, vault, ledger and leases into one file
    Backup(peer::BackupArgs),
    /// Put a backup into a new data folder
    Restore(peer::RestoreArgs),
    /// Check a data folder
    #[command(subcommand)]
    Store(peer::StoreCommand),
    /// Make, list and move wallets
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Create, show and change users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Publish a file of any type and any size
    Publish(content::PublishArgs),
    /// Download a digital content into a file
    Get(content::GetArgs),
    /// Play a digital content with a player, or to stdout
    Play(content::PlayArgs),
    /// Take a digital content of your own away
    Unpublish(content::UnpublishArgs),
    /// Find users, digital contents and content lists
    Search(find::SearchArgs),
    /// Show a digital content, a content list, a user or a root
    Show(find::ShowArgs),
    /// News of those whom a user follows
    Feed(find::FeedArgs),
    /// The newest digital contents
    Latest(find::LatestArgs),
    /// Follow a user
    Follow(social::UserTarget),
    /// Take a follow back
    Unfollow(social::UserTarget),
    /// Save a digital content or a content list
    #[command(visible_alias = "favorite")]
    Save(social::ItemTarget),
    /// Take a save back
    #[command(visible_alias = "unfavorite")]
    Unsave(social::ItemTarget),
    /// Repost a digital content or a content list
    Repost(social::ItemTarget),
    /// Take a repost back
    Unrepost(social::ItemTarget),
    /// Comment on a digital content, or read what others say
    Comment(social::CommentArgs),
    /// Make and change content lists: albums and playlists
    #[command(subcommand, visible_aliases = ["content-list", "playlist"])]
    List(lists::ListCommand),
    /// How the peer does
    #[command(after_help = "Examples:\n  coliving status\n  coliving status --json | jq .index")]
    Status,
    /// The peers that the peer knows
    #[command(after_help = "Examples:\n  coliving peers")]
    Peers,
    /// The roots that the peer holds
    #[command(
        after_help = "Examples:\n  coliving roots\n  coliving roots --json | jq '.roots | length'"
    )]
    Roots,
    /// Who holds one root
    Root(network::RootArgs),
    /// How far actions are on their way to the chain
    #[command(subcommand)]
    Relay(network::RelayCommand),
    /// Pay tokens to users or addresses
    Pay(pay::PayArgs),
    /// Give a user some tokens
    Tip(pay::TipArgs),
    /// Stake for peers, register them and look after them
    #[command(subcommand)]
    Operator(operator::OperatorCommand),
    /// Lend tokens to an operator, and list what you lent
    Delegate(delegate::DelegateArgs),
    /// Ask lent tokens back, and take them out after the lock-up
    Undelegate(delegate::UndelegateArgs),
    /// Claim an operator's rewards
    Claim(delegate::ClaimArgs),
    /// Propose and vote on what the contracts do
    #[command(subcommand)]
    Govern(govern::GovernCommand),
    /// The chain and its contracts
    #[command(subcommand)]
    Chain(chain::ChainCommand),
    /// Stop the peer
    #[command(after_help = "Examples:\n  coliving stop")]
    Stop,
    /// Run the protocol's machines in virtual time, under faults
    Simulate(simulate::SimulateArgs),
    /// Print completions for a shell
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write those of all commands
    Man(generate::ManArgs),
}
