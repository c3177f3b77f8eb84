//! Search, listings, and what one thing is.

use cid::Cid;
use node::client::{Client, Page};
use protocol::entity::{EntityType, Target};
use protocol::hashid;
use protocol::id::EntityId;
use serde_json::{Value, json};

use super::Context;
use super::network;
use crate::acting::Actor;
use crate::failure::fail;
use crate::output::{fields, size, table, text};
use crate::session::id_of;

/// Arguments of `coliving search`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving search \"first light\"
  coliving search ambient --kind tracks --limit 50")]
pub(crate) struct SearchArgs {
    /// Words of a title, a tag, a name or a handle
    #[arg(value_name = "QUERY", required = true, num_args = 1..)]
    query: Vec<String>,
    /// Only this kind of result
    #[arg(long, value_name = "KIND", value_enum)]
    kind: Option<ResultKind>,
    #[command(flatten)]
    page: PageArgs,
}

/// A kind of search result; each has two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ResultKind {
    Users,
    #[value(alias = "digital-contents")]
    Tracks,
    #[value(alias = "content-lists")]
    Playlists,
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct PageArgs {
    /// Most results
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Results to leave out
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: usize,
}

/// Arguments of `coliving show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving show ID             a digital content, a content list or a user
  coliving show ada            a user by handle
  coliving show bafy…          a root: who holds it")]
pub(crate) struct ShowArgs {
    /// Id, handle or CID
    #[arg(value_name = "ID|HANDLE|CID")]
    what: String,
    /// The id is one of a content list
    #[arg(long, conflicts_with = "user")]
    list: bool,
    /// The id is one of a user
    #[arg(long)]
    user: bool,
}

/// Arguments of `coliving feed`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving feed
  coliving feed --user ada")]
pub(crate) struct FeedArgs {
    /// Whose feed [default: the wallet's user]
    #[arg(long, value_name = "HANDLE|ID")]
    user: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

/// Arguments of `coliving latest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving latest
  coliving latest --user ada --limit 5")]
pub(crate) struct LatestArgs {
    /// Only what this user published
    #[arg(long, value_name = "HANDLE|ID")]
    user: Option<String>,
    #[command(flatten)]
    page: PageArgs,
}

impl From<PageArgs> for Page {
    fn from(args: PageArgs) -> Self {
        Self {
            limit: args.limit,
            offset: args.offset,
        }
    }
}

pub(crate) async fn search(context: &Context, args: SearchArgs) -> anyhow::Result<()> {
    let query = args.query.join(" ");
    let found = context
        .with_peer(async |session| Ok(session.client.search(&query, args.page.into()).await?))
        .await?;
    let wanted = |kind| args.kind.is_none_or(|only| only == kind);
    let rows = |kind, name: &str| match &found[name] {
        Value::Array(rows) if wanted(kind) => rows.clone(),
        _ => Vec::new(),
    };
    let users = rows(ResultKind::Users, "users");
    let tracks = rows(ResultKind::Tracks, "tracks");
    let mut lists = rows(ResultKind::Playlists, "playlists");
    lists.extend(rows(ResultKind::Playlists, "albums"));
    let is_empty = users.is_empty() && tracks.is_empty() && lists.is_empty();
    let value = json!({ "users": users, "tracks": tracks, "playlists": lists });
    context.output.result(&value, || {
        let mut parts = Vec::new();
        if !tracks.is_empty() {
            parts.push(contents_table(&tracks));
        }
        if !lists.is_empty() {
            parts.push(lists_table(&lists));
        }
        if !users.is_empty() {
            parts.push(users_table(&users));
        }
        if is_empty {
            parts.push(format!("nothing matches `{query}`"));
        }
        parts.join("\n\n")
    })?;
    if !tracks.is_empty() {
        context
            .output
            .hint("`coliving play ID` plays, `coliving get ID` downloads");
    }
    Ok(())
}

pub(crate) async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<()> {
    if args.what.parse::<Cid>().is_ok() {
        return network::show_root(context, &args.what).await;
    }
    context
        .with_peer(async |session| {
            let client = &session.client;
            if args.user {
                return print_user(context, &resolve_user(client, &args.what).await?);
            }
            if hashid::parse(&args.what).is_some() {
                let found = match args.list {
                    true => None,
                    false => client.digital_content(&args.what).await?,
                };
                if let Some(row) = found {
                    return print_content(context, client, &row);
                }
                if let Some(row) = client.content_list(&args.what).await? {
                    return print_list(context, client, &row).await;
                }
            }
            match find_user(client, &args.what).await? {
                Some(row) if !args.list => print_user(context, &row),
                _ => missing(&args.what),
            }
        })
        .await
}

pub(crate) async fn feed(context: &Context, args: FeedArgs) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| {
            let id = match &args.user {
                Some(user) => text(&resolve_user(&session.client, user).await?, "id"),
                None => {
                    let actor = Actor::open(session, &context.global).await?;
                    hashid::encode(actor.user.0)
                }
            };
            let path = format!("/v1/users/{id}/feed");
            Ok(session.client.page(&path, args.page.into()).await?)
        })
        .await?;
    context.output.result(&json!({ "feed": rows }), || {
        let rows = rows.iter().map(|row| {
            let item = &row["item"];
            let name = match text(item, "title") {
                title if title.is_empty() => text(item, "playlist_name"),
                title => title,
            };
            [
                text(row, "timestamp"),
                text(&item["user"], "handle"),
                name,
                text(item, "id"),
            ]
        });
        table(&["when", "by", "title", "id"], rows)
    })?;
    if rows.is_empty() {
        context
            .output
            .hint("follow somebody with `coliving follow HANDLE`");
    }
    Ok(())
}

pub(crate) async fn latest(context: &Context, args: LatestArgs) -> anyhow::Result<()> {
    let rows = context
        .with_peer(async |session| {
            let path = match &args.user {
                Some(user) => {
                    let user = resolve_user(&session.client, user).await?;
                    format!("/v1/users/{}/tracks", text(&user, "id"))
                }
                None => "/v1/tracks/latest".to_owned(),
            };
            Ok(session.client.page(&path, args.page.into()).await?)
        })
        .await?;
    context
        .output
        .result(&json!({ "tracks": rows }), || contents_table(&rows))
}

/// A user by handle or id.
pub(crate) async fn resolve_user(client: &Client, what: &str) -> anyhow::Result<Value> {
    match find_user(client, what).await? {
        Some(row) => Ok(row),
        None => fail(
            "not_found",
            format!("there is no user `{what}`"),
            "find users with `coliving search NAME --kind users`",
        ),
    }
}

/// Handles come first: a handle that looks like an id is still a handle.
async fn find_user(client: &Client, what: &str) -> anyhow::Result<Option<Value>> {
    if let Some(row) = client.user_by_handle(what).await? {
        return Ok(Some(row));
    }
    if hashid::parse(what).is_none() {
        return Ok(None);
    }
    Ok(client.user(what).await?)
}

/// A digital content by id, if there is one.
pub(crate) async fn find_content(client: &Client, what: &str) -> anyhow::Result<Option<Value>> {
    match hashid::parse(what) {
        Some(_) => Ok(client.digital_content(what).await?),
        None => Ok(None),
    }
}

/// A digital content by id.
pub(crate) async fn resolve_content(client: &Client, what: &str) -> anyhow::Result<Value> {
    match find_content(client, what).await? {
        Some(row) => Ok(row),
        None => fail(
            "not_found",
            format!("there is no digital content `{what}`"),
            "find one with `coliving search WORDS`",
        ),
    }
}

/// A content list by id.
pub(crate) async fn resolve_list(client: &Client, what: &str) -> anyhow::Result<Value> {
    let found = match hashid::parse(what) {
        Some(_) => client.content_list(what).await?,
        None => None,
    };
    match found {
        Some(row) => Ok(row),
        None => fail(
            "not_found",
            format!("there is no content list `{what}`"),
            "find one with `coliving search WORDS --kind playlists`",
        ),
    }
}

/// A digital content or, failing that, a content list by id.
pub(crate) async fn resolve_item(
    client: &Client,
    what: &str,
    is_list: bool,
) -> anyhow::Result<(Target, Value)> {
    if hashid::parse(what).is_none() {
        return missing(what);
    }
    let target = |kind, row: Value, fields: &[&str]| {
        let id = EntityId(id_of(&row, fields).unwrap_or_default());
        (Target { kind, id }, row)
    };
    if !is_list && let Some(row) = client.digital_content(what).await? {
        return Ok(target(EntityType::Track, row, &["track_id", "id"]));
    }
    match client.content_list(what).await? {
        Some(row) => Ok(target(EntityType::Playlist, row, &["playlist_id", "id"])),
        None => missing(what),
    }
}

fn missing<T>(what: &str) -> anyhow::Result<T> {
    fail(
        "not_found",
        format!("there is nothing called `{what}`"),
        "find it with `coliving search WORDS`",
    )
}

/// Prints a user.
pub(crate) fn print_user(context: &Context, row: &Value) -> anyhow::Result<()> {
    context.output.result(row, || {
        let names = [
            "handle",
            "name",
            "id",
            "bio",
            "location",
            "website",
            "wallet",
            "follower_count",
            "followee_count",
            "track_count",
            "playlist_count",
            "created_at",
        ];
        fields(names.map(|name| (name, text(row, name))))
    })
}

/// Prints a digital content.
fn print_content(context: &Context, client: &Client, row: &Value) -> anyhow::Result<()> {
    context.output.result(row, || {
        let bytes = row["size"].as_u64().unwrap_or_default();
        let names = [
            "title",
            "id",
            "kind",
            "cid",
            "mime",
            "file_name",
            "genre",
            "tags",
            "description",
            "repost_count",
            "favorite_count",
            "comment_count",
            "created_at",
        ];
        let mut rows: Vec<(&str, String)> =
            names.iter().map(|name| (*name, text(row, name))).collect();
        rows.insert(2, ("by", text(&row["user"], "handle")));
        rows.insert(5, ("size", size(bytes)));
        rows.push(("link", link(client, row)));
        fields(rows)
    })?;
    context
        .output
        .hint("`coliving play ID` plays, `coliving get ID` downloads");
    Ok(())
}

/// Prints a content list with what it holds.
pub(crate) async fn print_list(
    context: &Context,
    client: &Client,
    row: &Value,
) -> anyhow::Result<()> {
    let path = format!("/v1/playlists/{}/tracks", text(row, "id"));
    let page = Page {
        limit: 100,
        offset: 0,
    };
    let tracks = client.page(&path, page).await?;
    let mut value = row.clone();
    value["tracks"] = json!(tracks);
    context.output.result(&value, || {
        let names = [
            "playlist_name",
            "id",
            "description",
            "track_count",
            "created_at",
        ];
        let mut rows: Vec<(&str, String)> =
            names.iter().map(|name| (*name, text(row, name))).collect();
        rows.insert(1, ("by", text(&row["user"], "handle")));
        format!("{}\n\n{}", fields(rows), contents_table(&tracks))
    })
}

/// The link to a digital content's file at the peer.
pub(crate) fn link(client: &Client, row: &Value) -> String {
    format!("{}/ipfs/{}", client.url(), text(row, "cid"))
}

fn contents_table(rows: &[Value]) -> String {
    let rows = rows.iter().map(|row| {
        [
            text(row, "title"),
            text(&row["user"], "handle"),
            text(row, "kind"),
            size(row["size"].as_u64().unwrap_or_default()),
            text(row, "id"),
            text(row, "cid"),
        ]
    });
    table(&["title", "by", "kind", "size", "id", "cid"], rows)
}

fn lists_table(rows: &[Value]) -> String {
    let rows = rows.iter().map(|row| {
        [
            text(row, "playlist_name"),
            text(&row["user"], "handle"),
            text(row, "track_count"),
            text(row, "id"),
        ]
    });
    table(&["list", "by", "items", "id"], rows)
}

fn users_table(rows: &[Value]) -> String {
    let rows = rows.iter().map(|row| {
        [
            text(row, "handle"),
            text(row, "name"),
            text(row, "follower_count"),
            text(row, "id"),
        ]
    });
    table(&["handle", "name", "followers", "id"], rows)
}
