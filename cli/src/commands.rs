//! One module per group of commands.

pub(crate) mod chain;
pub(crate) mod content;
pub(crate) mod delegate;
pub(crate) mod devnet;
pub(crate) mod find;
pub(crate) mod generate;
pub(crate) mod govern;
pub(crate) mod lists;
pub(crate) mod network;
pub(crate) mod operator;
pub(crate) mod pay;
pub(crate) mod peer;
pub(crate) mod simulate;
pub(crate) mod social;
pub(crate) mod user;
pub(crate) mod wallet;

use crate::args::{Args, Command, Global};
use crate::output::Output;
use crate::session::Session;

/// What every command is handed.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The flags of every command.
    pub(crate) global: Global,
    /// How the command speaks.
    pub(crate) output: Output,
}

impl Context {
    /// Finds the peer, runs `command`, and stops what was started for it.
    pub(crate) async fn with_peer<T>(
        &self,
        command: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let session = Session::open(&self.global, self.output).await?;
        let result = command(&session).await;
        session.close().await;
        result
    }
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
        Command::Completions(args) => generate::completions(&context, &args),
        Command::Man(args) => generate::man(&context, &args),
    }
}
