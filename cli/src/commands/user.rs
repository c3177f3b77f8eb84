//! `coliving user`: the account that others see.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use client::api::PublicId;
use client::draw_id;
use protocol::entity::build::UserFields;
use protocol::entity::{EntityType, check_handle};
use protocol::id::{Address, UserId};
use serde::Serialize;

use super::content::{import, replicate};
use super::find::{print_user, resolve_user};
use crate::acting::{Actor, Done, Standing, Waiting, is_confirmed};
use crate::context::Context;
use crate::failure::fail;
use crate::output::fields;
use crate::session::Session;

/// What can be done with users.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  coliving user create --handle ada
  coliving user show ada")]
pub(crate) enum UserCommand {
    /// Create the user of a wallet
    Create(CreateArgs),
    /// Show a user
    Show(ShowArgs),
    /// Change the user of a wallet; only the given fields change
    Update(UpdateArgs),
}

/// Arguments of `coliving user create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving user create --handle ada
  coliving user create --handle ada --name \"Ada Lovelace\" --bio \"Engines\"")]
pub(crate) struct CreateArgs {
    /// The name in links: letters, digits, `_` and `.`
    #[arg(long)]
    handle: String,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving user update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving user update --bio \"Engines and poetry\"
  coliving user update --picture me.jpg")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    fields: Fields,
    /// Switch the account off, or on again
    #[arg(long, value_name = "BOOL")]
    deactivated: Option<bool>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving user show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving user show ada
  coliving user show               the user of the wallet")]
pub(crate) struct ShowArgs {
    /// Handle or id [default: the user of the wallet]
    #[arg(value_name = "HANDLE|ID")]
    user: Option<String>,
}

/// Fields that both creating and changing take.
#[derive(Debug, clap::Args)]
struct Fields {
    /// What the user is called
    #[arg(long)]
    name: Option<String>,
    /// About the user
    #[arg(long)]
    bio: Option<String>,
    /// Where the user is
    #[arg(long)]
    location: Option<String>,
    /// URL of the user's site
    #[arg(long)]
    website: Option<String>,
    /// A picture file
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Create(args) => create(context, args).await,
        UserCommand::Show(args) => show(context, args).await,
        UserCommand::Update(args) => update(context, args).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> anyhow::Result<()> {
    let handle = args.handle.trim_start_matches('@').to_owned();
    if let Err(error) = check_handle(&handle) {
        return fail(
            "handle",
            format!("the handle {error}"),
            "choose another handle",
        );
    }
    context
        .with_peer(async |session| {
            let taken = session.client.user_by_handle(&handle).await?;
            if taken.is_some() {
                return fail(
                    "handle_taken",
                    format!("the handle `{handle}` is taken"),
                    "choose another handle",
                );
            }
            let user = UserId(draw_id(EntityType::User));
            let actor = Actor::new_user(session, &context.global, user).await?;
            let (mut fields, picture) = read_fields(args.fields);
            fields.handle = Some(handle.clone());
            let done = actor
                .act(actor.builder().create_user(&fields), args.waiting)
                .await?;
            actor.remember_user(&done)?;
            if is_confirmed(&done) && !actor.appears().await? {
                return fail(
                    "rejected",
                    format!("the network did not take user `{handle}`"),
                    "somebody else may have taken the handle at the same time; choose another",
                );
            }
            if let Some(path) = picture {
                // Peers keep files of users that they know: it comes after the user.
                let fields = UserFields::default();
                publish_picture(context, &actor, session, fields, &path, args.waiting).await?;
            }
            let changed = Changed {
                id: PublicId(user.0),
                user_id: user.0,
                handle: Some(handle.clone()),
                wallet: Some(actor.wallet.address()),
            };
            let value = Done::new(changed, &done);
            context.output.result(&value, || summary(&value))?;
            context
                .output
                .hint("publish something with `coliving publish FILE --title TITLE`");
            Ok(())
        })
        .await
}

async fn update(context: &Context, args: UpdateArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let actor = Actor::open(session, &context.global).await?;
            let (mut fields, picture) = read_fields(args.fields);
            fields.is_deactivated = args.deactivated;
            if fields == UserFields::default() && picture.is_none() {
                return fail(
                    "nothing",
                    "nothing to change was given",
                    "see `coliving user update --help`",
                );
            }
            let standing = match picture {
                Some(path) => {
                    publish_picture(context, &actor, session, fields, &path, args.waiting).await?
                }
                None => {
                    let action = actor.builder().update_user(&fields);
                    Standing::from(&actor.act(action, args.waiting).await?)
                }
            };
            let changed = Changed {
                id: PublicId(actor.user.0),
                user_id: actor.user.0,
                handle: None,
                wallet: None,
            };
            let value = Done::new(changed, standing);
            context.output.result(&value, || summary(&value))
        })
        .await
}

async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let row = match &args.user {
                Some(text) => resolve_user(&session.client, text).await?,
                None => {
                    let file = crate::session::wallet_file(&context.global)?;
                    let rows = match file.address {
                        Some(address) => session.client.users_by_wallet(address).await?,
                        None => Vec::new(),
                    };
                    let Some(row) = rows.into_iter().next() else {
                        return fail(
                            "user_missing",
                            format!("wallet `{}` has no user yet", file.name),
                            "create one with `coliving user create --handle HANDLE`",
                        );
                    };
                    row
                }
            };
            print_user(context, &row)
        })
        .await
}

/// The fields without the picture, and where that lies.
fn read_fields(fields: Fields) -> (UserFields, Option<PathBuf>) {
    let read = UserFields {
        name: fields.name,
        bio: fields.bio,
        location: fields.location,
        website: fields.website,
        ..UserFields::default()
    };
    (read, fields.picture)
}

/// Has a picture replicated like any other file, and the user name it.
async fn publish_picture(
    context: &Context,
    actor: &Actor<'_>,
    session: &Session,
    fields: UserFields,
    path: &Path,
    waiting: Waiting,
) -> anyhow::Result<Standing> {
    let picture = import(context, session, path).await?;
    let fields = UserFields {
        profile_picture: Some(picture.cid.clone()),
        ..fields
    };
    let action = actor.builder().update_user(&fields);
    action.check_size()?;
    let domain = actor.info.contracts.action_domain();
    let signed = action.sign(&domain, &actor.wallet.key);
    let published = replicate(context, session, &signed, &[picture], waiting).await?;
    Ok(Standing::from(&published))
}

/// What commands that change a user print.
#[derive(Debug, Serialize)]
struct Changed {
    id: PublicId,
    user_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    handle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet: Option<Address>,
}

fn summary(done: &Done<Changed>) -> String {
    let user = &done.what;
    let wallet = user.wallet.map(|wallet| wallet.to_string());
    fields([
        ("handle", user.handle.clone().unwrap_or_default()),
        ("id", user.id.to_string()),
        ("wallet", wallet.unwrap_or_default()),
        ("state", done.standing.state()),
        ("tx_hash", done.standing.tx_hash()),
    ])
}
