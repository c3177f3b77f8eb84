//! The tree of commands, and what each of them runs.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    chain, content, delegate, devnet, find, generate, govern, lists, network, operator, pay, peer,
    simulate, social, user, wallet,
};
use crate::context::Context;
use crate::flags::Global;
use crate::output::Output;

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

/// Runs the command that was asked for.
pub(crate) async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let context = Context {
        global: args.global,
        output,
    };
    match args.command {
        Command::Devnet(args) => devnet::run(&context, args).await,
        Command::Init(args) => peer::init(&context, &args).await,
        Command::Run(args) => peer::run(&context, args).await,
        Command::Backup(args) => peer::backup(&context, &args),
        Command::Restore(args) => peer::restore(&context, &args),
        Command::Store(command) => peer::store(&context, command).await,
        Command::Wallet(command) => wallet::run(&context, command).await,
        Command::User(command) => user::run(&context, command).await,
        Command::Publish(args) => content::publish(&context, args).await,
        Command::Get(args) => content::get(&context, args).await,
        Command::Play(args) => content::play(&context, args).await,
        Command::Unpublish(args) => content::unpublish(&context, args).await,
        Command::Search(args) => find::search(&context, args).await,
        Command::Show(args) => find::show(&context, args).await,
        Command::Feed(args) => find::feed(&context, args).await,
        Command::Latest(args) => find::latest(&context, args).await,
        Command::Follow(target) => social::follow(&context, target, true).await,
        Command::Unfollow(target) => social::follow(&context, target, false).await,
        Command::Save(target) => social::save(&context, target, true).await,
        Command::Unsave(target) => social::save(&context, target, false).await,
        Command::Repost(target) => social::repost(&context, target, true).await,
        Command::Unrepost(target) => social::repost(&context, target, false).await,
        Command::Comment(args) => social::comment(&context, args).await,
        Command::List(command) => lists::run(&context, command).await,
        Command::Status => network::status(&context).await,
        Command::Peers => network::peers(&context).await,
        Command::Roots => network::roots(&context).await,
        Command::Root(args) => network::root(&context, args).await,
        Command::Relay(command) => network::relay(&context, command).await,
        Command::Operator(command) => operator::run(&context, command).await,
        Command::Delegate(args) => delegate::delegate(&context, args).await,
        Command::Undelegate(args) => delegate::undelegate(&context, args).await,
        Command::Claim(args) => delegate::claim(&context, args).await,
        Command::Govern(command) => govern::run(&context, command).await,
        Command::Pay(args) => pay::pay(&context, args).await,
        Command::Tip(args) => pay::tip(&context, args).await,
        Command::Chain(command) => chain::run(&context, command).await,
        Command::Stop => network::stop(&context).await,
        Command::Simulate(args) => simulate::run(&context, args).await,
        Command::Completions(args) => generate::completions(&context, &args, Args::command()),
        Command::Man(args) => generate::man(&context, &args, Args::command()),
    }
}
