//! Search, listings, and what one thing is.

use cid::Cid;
use client::api::{ContentList, DigitalContent, FeedItem, Item, PublicId, SearchResults, User};
use client::{Client, Page};
use protocol::entity::{EntityType, Target};
use protocol::hashid;
use protocol::id::EntityId;
use serde::Serialize;

use super::network;
use crate::acting::Actor;
use crate::context::Context;
use crate::failure::fail;
use crate::output::{fields, size, table};

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
    /// Most results to show
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

/// What `coliving search` prints; albums are among the playlists.
#[derive(Debug, Serialize)]
struct Found {
    users: Vec<User>,
    tracks: Vec<DigitalContent>,
    playlists: Vec<ContentList>,
}

pub(crate) async fn search(context: &Context, args: SearchArgs) -> anyhow::Result<()> {
    let query = args.query.join(" ");
    let found = context
        .with_peer(async |session| Ok(session.client.search(&query, args.page.into()).await?))
        .await?;
    let wanted = |kind| args.kind.is_none_or(|only| only == kind);
    let SearchResults {
        mut users,
        mut tracks,
        mut playlists,
        albums,
    } = found;
    playlists.extend(albums);
    if !wanted(ResultKind::Users) {
        users.clear();
    }
    if !wanted(ResultKind::Tracks) {
        tracks.clear();
    }
    if !wanted(ResultKind::Playlists) {
        playlists.clear();
    }
    let value = Found {
        users,
        tracks,
        playlists,
    };
    let Found {
        users,
        tracks,
        playlists: lists,
    } = &value;
    let is_empty = users.is_empty() && tracks.is_empty() && lists.is_empty();
    context.output.result(&value, || {
        let mut parts = Vec::new();
        if !tracks.is_empty() {
            parts.push(contents_table(tracks));
        }
        if !lists.is_empty() {
            parts.push(lists_table(lists));
        }
        if !users.is_empty() {
            parts.push(users_table(users));
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

/// What `coliving feed` prints.
#[derive(Debug, Serialize)]
struct Feed<'a> {
    feed: &'a [FeedItem],
}

pub(crate) async fn feed(context: &Context, args: FeedArgs) -> anyhow::Result<()> {
    let rows: Vec<FeedItem> = context
        .with_peer(async |session| {
            let id = match &args.user {
                Some(user) => resolve_user(&session.client, user).await?.id,
                None => {
                    let actor = Actor::open(session, &context.global).await?;
                    PublicId(actor.user.0)
                }
            };
            let path = format!("/v1/users/{id}/feed");
            Ok(session.client.page(&path, args.page.into()).await?)
        })
        .await?;
    context.output.result(&Feed { feed: &rows }, || {
        let rows = rows.iter().map(|row| {
            [
                row.timestamp
                    .map(|time| time.to_string())
                    .unwrap_or_default(),
                handle_of(row.item.user()),
                row.item.title().to_owned(),
                row.item.id().to_string(),
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

/// What `coliving latest` prints.
#[derive(Debug, Serialize)]
struct Latest<'a> {
    tracks: &'a [DigitalContent],
}

pub(crate) async fn latest(context: &Context, args: LatestArgs) -> anyhow::Result<()> {
    let rows: Vec<DigitalContent> = context
        .with_peer(async |session| {
            let path = match &args.user {
                Some(user) => {
                    let user = resolve_user(&session.client, user).await?;
                    format!("/v1/users/{}/tracks", user.id)
                }
                None => "/v1/tracks/latest".to_owned(),
            };
            Ok(session.client.page(&path, args.page.into()).await?)
        })
        .await?;
    context
        .output
        .result(&Latest { tracks: &rows }, || contents_table(&rows))
}

/// A user by handle or id.
pub(crate) async fn resolve_user(client: &Client, what: &str) -> anyhow::Result<User> {
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
async fn find_user(client: &Client, what: &str) -> anyhow::Result<Option<User>> {
    if let Some(row) = client.user_by_handle(what).await? {
        return Ok(Some(row));
    }
    if hashid::parse(what).is_none() {
        return Ok(None);
    }
    Ok(client.user(what).await?)
}

/// A digital content by id, if there is one.
pub(crate) async fn find_content(
    client: &Client,
    what: &str,
) -> anyhow::Result<Option<DigitalContent>> {
    match hashid::parse(what) {
        Some(_) => Ok(client.digital_content(what).await?),
        None => Ok(None),
    }
}

/// A digital content by id.
pub(crate) async fn resolve_content(client: &Client, what: &str) -> anyhow::Result<DigitalContent> {
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
pub(crate) async fn resolve_list(client: &Client, what: &str) -> anyhow::Result<ContentList> {
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
) -> anyhow::Result<Item> {
    if hashid::parse(what).is_none() {
        return missing(what);
    }
    if !is_list && let Some(content) = client.digital_content(what).await? {
        return Ok(Item::DigitalContent(Box::new(content)));
    }
    match client.content_list(what).await? {
        Some(list) => Ok(Item::ContentList(Box::new(list))),
        None => missing(what),
    }
}

/// What actions about an item are about.
pub(crate) fn target_of(item: &Item) -> Target {
    let kind = match item {
        Item::DigitalContent(_) => EntityType::Track,
        Item::ContentList(_) => EntityType::Playlist,
    };
    let id = EntityId(item.id().0);
    Target { kind, id }
}

fn missing<T>(what: &str) -> anyhow::Result<T> {
    fail(
        "not_found",
        format!("there is nothing called `{what}`"),
        "find it with `coliving search WORDS`",
    )
}

/// Prints a user.
pub(crate) fn print_user(context: &Context, user: &User) -> anyhow::Result<()> {
    context.output.result(user, || {
        fields([
            ("handle", user.handle.clone()),
            ("name", user.name.clone()),
            ("id", user.id.to_string()),
            ("bio", or_nothing(&user.bio)),
            ("location", or_nothing(&user.location)),
            ("website", or_nothing(&user.website)),
            ("wallet", user.wallet.to_string()),
            ("follower_count", user.follower_count.to_string()),
            ("followee_count", user.followee_count.to_string()),
            ("track_count", user.track_count.to_string()),
            ("playlist_count", user.playlist_count.to_string()),
            ("created_at", user.created_at.to_string()),
        ])
    })
}

/// Prints a digital content.
fn print_content(
    context: &Context,
    client: &Client,
    content: &DigitalContent,
) -> anyhow::Result<()> {
    context.output.result(content, || {
        fields([
            ("title", content.title.clone()),
            ("id", content.id.to_string()),
            ("by", handle_of(content.user.as_ref())),
            ("kind", content.kind.name().to_owned()),
            ("cid", content.cid.clone()),
            ("size", size(content.size)),
            ("mime", or_nothing(&content.mime)),
            ("file_name", or_nothing(&content.file_name)),
            ("genre", or_nothing(&content.genre)),
            ("tags", content.tags.clone()),
            ("description", or_nothing(&content.description)),
            ("repost_count", content.repost_count.to_string()),
            ("favorite_count", content.favorite_count.to_string()),
            ("comment_count", content.comment_count.to_string()),
            ("created_at", content.created_at.to_string()),
            ("link", link(client, &content.cid)),
        ])
    })?;
    context
        .output
        .hint("`coliving play ID` plays, `coliving get ID` downloads");
    Ok(())
}

/// A content list with what it holds, as `coliving list show` prints it.
#[derive(Debug, Serialize)]
struct FullList<'a> {
    #[serde(flatten)]
    list: &'a ContentList,
    tracks: Vec<DigitalContent>,
}

/// Prints a content list with what it holds.
pub(crate) async fn print_list(
    context: &Context,
    client: &Client,
    list: &ContentList,
) -> anyhow::Result<()> {
    let path = format!("/v1/playlists/{}/tracks", list.id);
    let page = Page {
        limit: 100,
        offset: 0,
    };
    let tracks = client.page(&path, page).await?;
    let full = FullList { list, tracks };
    context.output.result(&full, || {
        let head = fields([
            ("playlist_name", list.playlist_name.clone()),
            ("by", handle_of(list.user.as_ref())),
            ("id", list.id.to_string()),
            ("description", or_nothing(&list.description)),
            ("track_count", list.track_count.to_string()),
            ("created_at", list.created_at.to_string()),
        ]);
        format!("{head}\n\n{}", contents_table(&full.tracks))
    })
}

/// The link to a file at the peer.
pub(crate) fn link(client: &Client, cid: &str) -> String {
    format!("{}/ipfs/{cid}", client.url())
}

/// The handle of somebody whom the index may not know.
pub(crate) fn handle_of(user: Option<&User>) -> String {
    user.map(|user| user.handle.clone()).unwrap_or_default()
}

fn or_nothing(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

fn contents_table(rows: &[DigitalContent]) -> String {
    let rows = rows.iter().map(|row| {
        [
            row.title.clone(),
            handle_of(row.user.as_ref()),
            row.kind.name().to_owned(),
            size(row.size),
            row.id.to_string(),
            row.cid.clone(),
        ]
    });
    table(&["title", "by", "kind", "size", "id", "cid"], rows)
}

fn lists_table(rows: &[ContentList]) -> String {
    let rows = rows.iter().map(|row| {
        [
            row.playlist_name.clone(),
            handle_of(row.user.as_ref()),
            row.track_count.to_string(),
            row.id.to_string(),
        ]
    });
    table(&["list", "by", "items", "id"], rows)
}

fn users_table(rows: &[User]) -> String {
    let rows = rows.iter().map(|row| {
        [
            row.handle.clone(),
            row.name.clone(),
            row.follower_count.to_string(),
            row.id.to_string(),
        ]
    });
    table(&["handle", "name", "followers", "id"], rows)
}
