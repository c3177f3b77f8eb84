//! `coliving list`: albums and playlists.

use clap::Subcommand;
use client::api::{ContentList, DigitalContent, PublicId};
use client::draw_id;
use protocol::entity::build::{Items, ListFields};
use protocol::entity::{EntityType, ListItem};
use protocol::hashid;
use protocol::id::EntityId;
use protocol::time::UnixSeconds;
use serde::Serialize;

use super::find::{print_list, resolve_content, resolve_list};
use crate::acting::{Actor, Done, Waiting};
use crate::context::Context;
use crate::failure::{USAGE, fail};
use crate::output::fields;

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
                items.push(new_item(&resolve_content(&session.client, id).await?));
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
            let created = Listed {
                playlist_id: Some(id.0),
                ..Listed::new(PublicId(id.0), args.name.clone())
            };
            print(context, &Done::new(created, &done))?;
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
            let found = resolve_list(&session.client, &args.list).await?;
            let mut items = items_of(&found);
            for id in &args.ids {
                if is_new {
                    let item = new_item(&resolve_content(&session.client, id).await?);
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
            let id = EntityId(found.playlist_id);
            let list = ListFields {
                playlist_contents: Some(Items::Timed {
                    track_ids: items.clone(),
                }),
                ..ListFields::default()
            };
            let action = actor.builder().update_content_list(id, &list);
            let done = actor.act(action, args.waiting).await?;
            let changed = Listed {
                playlist_id: Some(id.0),
                track_count: Some(items.len()),
                ..Listed::new(found.id, found.playlist_name)
            };
            print(context, &Done::new(changed, &done))
        })
        .await
}

async fn delete(context: &Context, args: DeleteArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let found = resolve_list(&session.client, &args.list).await?;
            let id = EntityId(found.playlist_id);
            let actor = Actor::open(session, &context.global).await?;
            let action = actor.builder().delete_content_list(id);
            let done = actor.act(action, args.waiting).await?;
            let deleted = Listed {
                deleted: Some(true),
                ..Listed::new(found.id, found.playlist_name)
            };
            print(context, &Done::new(deleted, &done))
        })
        .await
}

/// What commands that change a list print.
#[derive(Debug, Serialize)]
struct Listed {
    id: PublicId,
    #[serde(skip_serializing_if = "Option::is_none")]
    playlist_id: Option<u64>,
    playlist_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
}

impl Listed {
    const fn new(id: PublicId, playlist_name: String) -> Self {
        Self {
            id,
            playlist_id: None,
            playlist_name,
            track_count: None,
            deleted: None,
        }
    }
}

fn print(context: &Context, done: &Done<Listed>) -> anyhow::Result<()> {
    context.output.result(done, || {
        let list = &done.what;
        let count = list.track_count.map(|count| count.to_string());
        let deleted = list.deleted.map(|deleted| deleted.to_string());
        fields([
            ("playlist_name", list.playlist_name.clone()),
            ("id", list.id.to_string()),
            ("track_count", count.unwrap_or_default()),
            ("deleted", deleted.unwrap_or_default()),
            ("state", done.standing.state()),
        ])
    })
}

fn new_item(content: &DigitalContent) -> ListItem {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    ListItem {
        track: EntityId(content.track_id),
        time: UnixSeconds(now.as_secs()),
    }
}

/// What a list holds, as an action names it.
fn items_of(list: &ContentList) -> Vec<ListItem> {
    let items = list.playlist_contents.iter().map(|item| ListItem {
        track: EntityId(item.track_id.0),
        time: UnixSeconds(item.timestamp),
    });
    items.collect()
}
