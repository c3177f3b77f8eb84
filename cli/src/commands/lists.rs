//! `coliving list`: albums and playlists.

use clap::Subcommand;
use node::client::draw_id;
use protocol::entity::build::{Items, ListFields};
use protocol::entity::{EntityType, ListItem};
use protocol::hashid;
use protocol::id::EntityId;
use protocol::time::UnixSeconds;
use serde_json::{Value, json};

use super::Context;
use super::find::{print_list, resolve_content, resolve_list};
use super::social::content_id;
use crate::acting::{Actor, Waiting, add_relayed};
use crate::failure::{USAGE, fail};
use crate::output::{fields, text};
use crate::session::id_of;

/// What can be done with content lists.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  coliving list create \"Morning\" --description \"Slow things\"
  coliving list add LIST ID ID
  coliving list show LIST")]
pub(crate) enum ListCommand {
    /// Make a playlist or an album
    Create(CreateArgs),
    /// Add digital contents at the end
    Add(ItemsArgs),
    /// Take digital contents out
    Remove(ItemsArgs),
    /// Show a list with what it holds
    Show(ListArgs),
    /// Take a list away
    Delete(DeleteArgs),
}

/// Arguments of `coliving list create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving list create Morning
  coliving list create \"First light\" --album ID ID")]
pub(crate) struct CreateArgs {
    /// What it is called
    name: String,
    /// Digital contents to begin with
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// An album rather than a playlist
    #[arg(long)]
    album: bool,
    /// Seen by its owner only
    #[arg(long)]
    private: bool,
    /// About the list
    #[arg(long)]
    description: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving list add` and `coliving list remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving list add LIST ID
  coliving list remove LIST ID ID")]
pub(crate) struct ItemsArgs {
    /// Id of the list
    #[arg(value_name = "LIST")]
    list: String,
    /// Ids of digital contents
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving list show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coliving list show LIST")]
pub(crate) struct ListArgs {
    /// Id of the list
    #[arg(value_name = "LIST")]
    list: String,
}

/// Arguments of `coliving list delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coliving list delete LIST")]
pub(crate) struct DeleteArgs {
    /// Id of the list
    #[arg(value_name = "LIST")]
    list: String,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(context: &Context, command: ListCommand) -> anyhow::Result<()> {
    match command {
        ListCommand::Create(args) => create(context, args).await,
        ListCommand::Add(args) => change(context, args, true).await,
        ListCommand::Remove(args) => change(context, args, false).await,
        ListCommand::Delete(args) => delete(context, args).await,
        ListCommand::Show(args) => {
            context
                .with_peer(async |session| {
                    let row = resolve_list(&session.client, &args.list).await?;
                    print_list(context, &session.client, &row).await
                })
                .await
        }
    }
}

async fn create(context: &Context, args: CreateArgs) -> anyhow::Result<()> {
    if args.name.trim().is_empty() {
        return fail(
            USAGE,
            "the list has no name",
            "see `coliving list create --help`",
        );
    }
    context
        .with_peer(async |session| {
            let mut items = Vec::new();
            for id in &args.ids {
                items.push(new_item(&resolve_content(&session.client, id).await?)?);
            }
            let actor = Actor::open(session, &context.global).await?;
            let id = EntityId(draw_id(EntityType::Playlist));
            let list = ListFields {
                playlist_name: Some(args.name.clone()),
                is_album: Some(args.album),
                is_private: Some(args.private),
                description: args.description.clone(),
                cover_art: None,
                playlist_contents: Some(Items::Timed { track_ids: items }),
            };
            let action = actor.builder().create_content_list(id, &list);
            let done = actor.act(action, args.waiting).await?;
            let mut value = json!({
                "id": hashid::encode(id.0),
                "playlist_id": id.0,
                "playlist_name": args.name,
            });
            add_relayed(&mut value, &done);
            print(context, &value)?;
            context.output.hint(&format!(
                "add to it with `coliving list add {} ID`",
                hashid::encode(id.0)
            ));
            Ok(())
        })
        .await
}

async fn change(context: &Context, args: ItemsArgs, is_new: bool) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let row = resolve_list(&session.client, &args.list).await?;
            let mut items = items_of(&row);
            for id in &args.ids {
                if is_new {
                    let item = new_item(&resolve_content(&session.client, id).await?)?;
                    if items.iter().all(|known| known.track != item.track) {
                        items.push(item);
                    }
                    continue;
                }
                let before = items.len();
                items.retain(|item| Some(item.track.0) != hashid::parse(id));
                if items.len() == before {
                    return fail("not_found", format!("the list does not hold `{id}`"), "");
                }
            }
            let actor = Actor::open(session, &context.global).await?;
            let id = list_id(&row)?;
            let list = ListFields {
                playlist_contents: Some(Items::Timed {
                    track_ids: items.clone(),
                }),
                ..ListFields::default()
            };
            let action = actor.builder().update_content_list(id, &list);
            let done = actor.act(action, args.waiting).await?;
            let mut value = json!({
                "id": hashid::encode(id.0),
                "playlist_id": id.0,
                "playlist_name": row["playlist_name"],
                "track_count": items.len(),
            });
            add_relayed(&mut value, &done);
            print(context, &value)
        })
        .await
}

async fn delete(context: &Context, args: DeleteArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let row = resolve_list(&session.client, &args.list).await?;
            let id = list_id(&row)?;
            let actor = Actor::open(session, &context.global).await?;
            let action = actor.builder().delete_content_list(id);
            let done = actor.act(action, args.waiting).await?;
            let mut value = json!({
                "id": hashid::encode(id.0),
                "playlist_name": row["playlist_name"],
                "deleted": true,
            });
            add_relayed(&mut value, &done);
            print(context, &value)
        })
        .await
}

fn print(context: &Context, value: &Value) -> anyhow::Result<()> {
    context.output.result(value, || {
        let names = ["playlist_name", "id", "track_count", "deleted", "state"];
        fields(names.map(|name| (name, text(value, name))))
    })
}

fn list_id(row: &Value) -> anyhow::Result<EntityId> {
    match id_of(row, &["playlist_id", "id"]) {
        Some(id) => Ok(EntityId(id)),
        None => fail("unexpected_answer", "the peer's list has no id", ""),
    }
}

fn new_item(row: &Value) -> anyhow::Result<ListItem> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(ListItem {
        track: content_id(row)?,
        time: UnixSeconds(now.as_secs()),
    })
}

/// What a list holds; rows that make no sense are left out.
fn items_of(row: &Value) -> Vec<ListItem> {
    let rows = row["playlist_contents"].as_array();
    rows.into_iter()
        .flatten()
        .filter_map(|item| {
            let track = EntityId(id_of(item, &["track_id", "track"])?);
            let time = item["timestamp"].as_u64().unwrap_or_default();
            Some(ListItem {
                track,
                time: UnixSeconds(time),
            })
        })
        .collect()
}
