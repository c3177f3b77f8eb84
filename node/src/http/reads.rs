//! `GET /v1/…`: questions to the index and its search, in the shape and with
//! the ids that existing clients know.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use client::api::{
    Comment, ContentList, Data, DigitalContent, Favorite, FeedItem, Item, PublicId, Repost,
    SearchResults, Timestamp, User,
};
use protocol::entity::{EntityType, Relation, Target};
use protocol::entry::block_of;
use protocol::hashid;
use protocol::id::{Address, EntityId, ParseIdError, UserId};
use storage::index::{
    CommentView, ContentView, IndexError, ListView, PublishedBy, RelationRow, Snapshot, UserView,
    Window,
};
use storage::search::Hit;

use super::App;
use super::access::{CHAIN_BLOCK, INDEXED_BLOCK};
use super::error::ApiError;
use super::extract::{Path, Query};

mod shape;

/// The query of a request, in order and with repetitions.
pub(super) type Pairs = Query<Vec<(String, String)>>;

type Answer<T> = Result<Json<Data<T>>, ApiError>;
type Apps = State<Arc<App>>;

/// Says how fresh an answer is.
pub(super) async fn freshness(State(app): Apps, request: Request, next: Next) -> Response {
    let indexed = app.context.index.height().borrow().block_number;
    let head = app.context.chain.status().borrow().head;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(INDEXED_BLOCK, HeaderValue::from(indexed));
    if let Some(head) = head {
        headers.insert(CHAIN_BLOCK, HeaderValue::from(head.number));
    }
    response
}

pub(super) async fn user(State(app): Apps, Path(id): Path<String>) -> Answer<User> {
    let id = UserId(read_id(&id)?);
    app.look(move |look| Ok(shape::user(&look.existing_user(id)?)))
        .await
}

pub(super) async fn users(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<User>> {
    if let Some(text) = values(&pairs, "wallet").next() {
        let wallet: Address = text.parse().map_err(|error: ParseIdError| {
            ApiError::bad_request("bad_wallet", error.to_string())
        })?;
        return app
            .look(move |look| {
                let users = look.snapshot.users_by_wallet(wallet)?;
                Ok(users.iter().map(shape::user).collect())
            })
            .await;
    }
    let ids = wanted_ids(&pairs)?;
    app.look(move |look| {
        let users = ids.into_iter().map(|id| look.snapshot.user(UserId(id)));
        let users = users.collect::<Result<Vec<_>, _>>()?;
        Ok(users.iter().flatten().map(shape::user).collect())
    })
    .await
}

pub(super) async fn user_by_handle(State(app): Apps, Path(handle): Path<String>) -> Answer<User> {
    app.look(move |look| {
        let found = look.snapshot.user_by_handle(&handle)?;
        let found = found.ok_or_else(|| ApiError::not_found(format!("no user `{handle}`")))?;
        Ok(shape::user(&found))
    })
    .await
}

pub(super) async fn user_tracks(listing: Listing) -> Answer<Vec<DigitalContent>> {
    listing
        .of_user(|look, id, window| {
            look.contents(&look.snapshot.contents_by_owner(id, false, window)?)
        })
        .await
}

pub(super) async fn user_playlists(listing: Listing) -> Answer<Vec<ContentList>> {
    user_lists(listing, false).await
}

pub(super) async fn user_albums(listing: Listing) -> Answer<Vec<ContentList>> {
    user_lists(listing, true).await
}

async fn user_lists(listing: Listing, is_album: bool) -> Answer<Vec<ContentList>> {
    listing
        .of_user(move |look, id, window| {
            let lists = look
                .snapshot
                .lists_by_owner(id, Some(is_album), false, window)?;
            look.lists(&lists)
        })
        .await
}

pub(super) async fn followers(listing: Listing) -> Answer<Vec<User>> {
    listing
        .of_user(|look, id, window| {
            let users = look.snapshot.followers(id, window)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

pub(super) async fn following(listing: Listing) -> Answer<Vec<User>> {
    listing
        .of_user(|look, id, window| {
            let users = look.snapshot.following(id, window)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

pub(super) async fn user_favorites(listing: Listing) -> Answer<Vec<Favorite>> {
    listing
        .of_user(|look, id, window| {
            let saved = look.snapshot.made(Relation::Save, id, window)?;
            flat(saved.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|item| Favorite {
                    favorite_item_id: item.id(),
                    favorite_type: format!("SaveType.{}", item.item_type().name()),
                    user_id: PublicId(id.0),
                    timestamp: look.time_of(row),
                    item_type: item.item_type(),
                    item,
                }))
            }))
        })
        .await
}

pub(super) async fn user_reposts(listing: Listing) -> Answer<Vec<Repost>> {
    listing
        .of_user(|look, id, window| {
            let reposted = look.snapshot.made(Relation::Repost, id, window)?;
            flat(reposted.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|item| Repost {
                    timestamp: look.time_of(row),
                    item_type: item.item_type(),
                    item,
                }))
            }))
        })
        .await
}

pub(super) async fn user_feed(listing: Listing) -> Answer<Vec<FeedItem>> {
    listing
        .of_user(|look, id, window| {
            let items = look.snapshot.feed(id, window)?;
            flat(items.iter().map(|row| {
                let item = look.item(row.target)?;
                let reposted_by = match row.by {
                    PublishedBy::Owner => None,
                    PublishedBy::Reposter(user) => Some(PublicId(user.0)),
                };
                Ok(item.map(|item| FeedItem {
                    timestamp: look.time_at(row.sequence),
                    item_type: item.item_type(),
                    reposted_by,
                    item,
                }))
            }))
        })
        .await
}

pub(super) async fn track(State(app): Apps, Path(id): Path<String>) -> Answer<DigitalContent> {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.content(&look.existing_content(id)?))
        .await
}

pub(super) async fn tracks(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<DigitalContent>> {
    let ids = wanted_ids(&pairs)?;
    app.look(move |look| {
        let found = ids
            .into_iter()
            .map(|id| look.snapshot.content(EntityId(id)))
            .collect::<Result<Vec<_>, _>>()?;
        let there = found.into_iter().flatten();
        let there: Vec<_> = there.filter(|view| !view.content.is_delete).collect();
        look.contents(&there)
    })
    .await
}

pub(super) async fn latest_tracks(
    State(app): Apps,
    Query(pairs): Pairs,
) -> Answer<Vec<DigitalContent>> {
    let window = window(&pairs)?;
    app.look(move |look| look.contents(&look.snapshot.latest_contents(window)?))
        .await
}

pub(super) async fn track_comments(listing: Listing) -> Answer<Vec<Comment>> {
    listing
        .of_content(|look, id, window| {
            let comments = look.snapshot.comments(id, window)?;
            comments.iter().map(|view| look.comment(view)).collect()
        })
        .await
}

pub(super) async fn track_favorites(listing: Listing) -> Answer<Vec<User>> {
    related_users(listing, Relation::Save).await
}

pub(super) async fn track_reposts(listing: Listing) -> Answer<Vec<User>> {
    related_users(listing, Relation::Repost).await
}

async fn related_users(listing: Listing, relation: Relation) -> Answer<Vec<User>> {
    listing
        .of_content(move |look, id, window| {
            let target = Target::content(id);
            let rows = look.snapshot.received(relation, target, window)?;
            flat(rows.iter().map(|row| {
                let found = look.snapshot.user(row.user_id)?;
                Ok(found.as_ref().map(shape::user))
            }))
        })
        .await
}

/// Sends a player to the file.
pub(super) async fn track_stream(
    State(app): Apps,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let id = EntityId(read_id(&id)?);
    let found = app
        .look(move |look| Ok(look.existing_content(id)?.content.cid))
        .await?;
    let cid = found.0.data;
    let target = HeaderValue::from_str(&format!("/ipfs/{cid}"))
        .map_err(|error| ApiError::internal(&error))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, target)]).into_response())
}

pub(super) async fn playlist(State(app): Apps, Path(id): Path<String>) -> Answer<ContentList> {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.list(&look.existing_list(id)?))
        .await
}

pub(super) async fn playlist_tracks(
    Listing { app, id, window }: Listing,
) -> Answer<Vec<DigitalContent>> {
    let id = EntityId(id);
    app.look(move |look| {
        look.existing_list(id)?;
        look.contents(&look.snapshot.list_contents(id, window)?)
    })
    .await
}

pub(super) async fn search_users(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<User>> {
    search_one(app, pairs, |look, wanted| look.found_users(wanted)).await
}

pub(super) async fn search_tracks(
    State(app): Apps,
    Query(pairs): Pairs,
) -> Answer<Vec<DigitalContent>> {
    search_one(app, pairs, |look, wanted| look.found_contents(wanted)).await
}

pub(super) async fn search_playlists(
    State(app): Apps,
    Query(pairs): Pairs,
) -> Answer<Vec<ContentList>> {
    search_one(app, pairs, |look, wanted| look.found_lists(wanted)).await
}

async fn search_one<T: Send + 'static>(
    app: Arc<App>,
    pairs: Vec<(String, String)>,
    find: fn(&Look<'_>, &Wanted) -> Result<Vec<T>, ApiError>,
) -> Answer<Vec<T>> {
    let wanted = Wanted::read(&pairs, false)?;
    app.look(move |look| find(look, &wanted)).await
}

pub(super) async fn search(State(app): Apps, Query(pairs): Pairs) -> Answer<SearchResults> {
    search_all(app, pairs, false).await
}

pub(super) async fn autocomplete(State(app): Apps, Query(pairs): Pairs) -> Answer<SearchResults> {
    search_all(app, pairs, true).await
}

async fn search_all(
    app: Arc<App>,
    pairs: Vec<(String, String)>,
    is_typing: bool,
) -> Answer<SearchResults> {
    let wanted = Wanted::read(&pairs, is_typing)?;
    app.look(move |look| {
        let lists = look.found_lists(&wanted)?;
        let (albums, playlists) = lists.into_iter().partition(|list| list.is_album);
        Ok(SearchResults {
            users: look.found_users(&wanted)?,
            tracks: look.found_contents(&wanted)?,
            playlists,
            albums,
        })
    })
    .await
}

/// Words to search for.
struct Wanted {
    words: String,
    window: Window,
    /// The last word is being typed.
    is_typing: bool,
}

impl Wanted {
    fn read(pairs: &[(String, String)], is_typing: bool) -> Result<Self, ApiError> {
        Ok(Self {
            words: wanted_query(pairs)?,
            window: window(pairs)?,
            is_typing,
        })
    }
}

/// A question for what belongs to one thing, a window at a time.
pub(super) struct Listing {
    app: Arc<App>,
    id: u64,
    window: Window,
}

impl FromRequestParts<Arc<App>> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let Path(id) = Path::<String>::from_request_parts(parts, app).await?;
        let Query(pairs) = Pairs::from_request_parts(parts, app).await?;
        Ok(Self {
            app: Arc::clone(app),
            id: read_id(&id)?,
            window: window(&pairs)?,
        })
    }
}

impl Listing {
    /// Answers about a user that exists.
    async fn of_user<T: Send + 'static>(
        self,
        answer: impl FnOnce(&Look<'_>, UserId, Window) -> Result<T, ApiError> + Send + 'static,
    ) -> Answer<T> {
        let (id, window) = (UserId(self.id), self.window);
        self.app
            .look(move |look| {
                look.existing_user(id)?;
                answer(look, id, window)
            })
            .await
    }

    /// Answers about a digital content that exists.
    async fn of_content<T: Send + 'static>(
        self,
        answer: impl FnOnce(&Look<'_>, EntityId, Window) -> Result<T, ApiError> + Send + 'static,
    ) -> Answer<T> {
        let (id, window) = (EntityId(self.id), self.window);
        self.app
            .look(move |look| {
                look.existing_content(id)?;
                answer(look, id, window)
            })
            .await
    }
}

/// A snapshot for one answer.
struct Look<'a> {
    app: &'a App,
    snapshot: Snapshot,
}

impl App {
    /// Answers from a snapshot on a thread that may block.
    async fn look<T: Send + 'static>(
        self: Arc<Self>,
        answer: impl FnOnce(&Look<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Answer<T> {
        let task = tokio::task::spawn_blocking(move || {
            let snapshot = self.context.index.snapshot();
            let snapshot = snapshot.map_err(|error| ApiError::internal(&error))?;
            let look = Look {
                app: &self,
                snapshot,
            };
            answer(&look)
        });
        let data = task.await.map_err(|error| ApiError::internal(&error))??;
        Ok(Json(Data { data }))
    }
}

impl Look<'_> {
    fn existing_user(&self, id: UserId) -> Result<UserView, ApiError> {
        let found = self.snapshot.user(id)?;
        found.ok_or_else(|| missing("user", id.0))
    }

    fn existing_content(&self, id: EntityId) -> Result<ContentView, ApiError> {
        let found = self.snapshot.content(id)?;
        let found = found.filter(|view| !view.content.is_delete);
        found.ok_or_else(|| missing("digital content", id.0))
    }

    fn existing_list(&self, id: EntityId) -> Result<ListView, ApiError> {
        let found = self.snapshot.list(id)?;
        let found = found.filter(|view| !view.list.is_delete);
        found.ok_or_else(|| missing("content list", id.0))
    }

    fn content(&self, view: &ContentView) -> Result<DigitalContent, ApiError> {
        let owner = self.snapshot.user(view.content.owner_id)?;
        Ok(shape::content(view, owner.as_ref()))
    }

    fn contents(&self, views: &[ContentView]) -> Result<Vec<DigitalContent>, ApiError> {
        views.iter().map(|view| self.content(view)).collect()
    }

    fn list(&self, view: &ListView) -> Result<ContentList, ApiError> {
        let owner = self.snapshot.user(view.list.playlist_owner_id)?;
        Ok(shape::list(view, owner.as_ref()))
    }

    fn lists(&self, views: &[ListView]) -> Result<Vec<ContentList>, ApiError> {
        views.iter().map(|view| self.list(view)).collect()
    }

    fn comment(&self, view: &CommentView) -> Result<Comment, ApiError> {
        let author = self.snapshot.user(view.comment.user_id)?;
        Ok(shape::comment(view, author.as_ref()))
    }

    /// What a relation points at; `None` when it went.
    fn item(&self, target: Target) -> Result<Option<Item>, ApiError> {
        Ok(match target.kind {
            EntityType::Track => self
                .living_content(target.id)?
                .map(|content| Item::DigitalContent(Box::new(content))),
            EntityType::Playlist => self
                .living_list(target.id)?
                .map(|list| Item::ContentList(Box::new(list))),
            EntityType::User | EntityType::Comment => None,
        })
    }

    fn living_content(&self, id: EntityId) -> Result<Option<DigitalContent>, ApiError> {
        let found = self.snapshot.content(id)?;
        let found = found.filter(|view| !view.content.is_delete);
        found.map(|view| self.content(&view)).transpose()
    }

    fn living_list(&self, id: EntityId) -> Result<Option<ContentList>, ApiError> {
        let found = self.snapshot.list(id)?;
        let found = found.filter(|view| !view.list.is_delete);
        found.map(|view| self.list(&view)).transpose()
    }

    fn found_users(&self, wanted: &Wanted) -> Result<Vec<User>, ApiError> {
        let hits = self.hits(wanted, EntityType::User)?;
        flat(hits.iter().map(|hit| {
            let found = self.snapshot.user(UserId(hit.id.0))?;
            Ok(found.as_ref().map(shape::user))
        }))
    }

    fn found_contents(&self, wanted: &Wanted) -> Result<Vec<DigitalContent>, ApiError> {
        let hits = self.hits(wanted, EntityType::Track)?;
        flat(hits.iter().map(|hit| self.living_content(hit.id)))
    }

    fn found_lists(&self, wanted: &Wanted) -> Result<Vec<ContentList>, ApiError> {
        let hits = self.hits(wanted, EntityType::Playlist)?;
        flat(hits.iter().map(|hit| self.living_list(hit.id)))
    }

    fn hits(&self, wanted: &Wanted, kind: EntityType) -> Result<Vec<Hit>, ApiError> {
        let search = self.app.context.index.search();
        let (words, window) = (&wanted.words, wanted.window);
        let hits = match wanted.is_typing {
            true => search.autocomplete(words, Some(kind), window.limit),
            false => search.search(words, Some(kind), window.limit, window.offset),
        };
        hits.map_err(|error| ApiError::internal(&error))
    }

    /// When a relation was made, while its block is remembered.
    fn time_of(&self, row: &RelationRow) -> Option<Timestamp> {
        self.time_at(row.sequence)
    }

    fn time_at(&self, sequence: u64) -> Option<Timestamp> {
        let block = self.snapshot.block(block_of(sequence)).ok()??;
        Some(Timestamp(block.time))
    }
}

fn flat<T>(rows: impl Iterator<Item = Result<Option<T>, ApiError>>) -> Result<Vec<T>, ApiError> {
    rows.filter_map(Result::transpose).collect()
}

fn missing(what: &str, id: u64) -> ApiError {
    let text = hashid::encode(id);
    ApiError::not_found(format!("there is no {what} `{text}` ({id})"))
}

/// The number of an id; what is written like one and is none names nothing.
fn read_id(text: &str) -> Result<u64, ApiError> {
    hashid::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        let error = match is_id_like(text) {
            true => ApiError::not_found(format!("nothing has the id `{shown}`")),
            false => ApiError::bad_request("bad_id", format!("`{shown}` is not an id")),
        };
        error.with_hint("ids are the short texts in `id` fields, or numbers")
    })
}

fn is_id_like(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn values<'a>(pairs: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    let found = pairs.iter().filter(move |(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

fn wanted_ids(pairs: &[(String, String)]) -> Result<Vec<u64>, ApiError> {
    let texts: Vec<&str> = values(pairs, "id")
        .flat_map(|text| text.split(','))
        .collect();
    if texts.is_empty() || texts.len() > LIMIT_MAX {
        let message = format!(
            "the query has {} ids, 1 to {LIMIT_MAX} are allowed",
            texts.len()
        );
        return Err(ApiError::bad_request("bad_query", message).with_hint("write `?id=…&id=…`"));
    }
    let named = texts.into_iter().filter_map(|text| match read_id(text) {
        // What nothing has is left out.
        Err(_) if is_id_like(text) => None,
        read => Some(read),
    });
    named.collect()
}

fn wanted_query(pairs: &[(String, String)]) -> Result<String, ApiError> {
    let query = values(pairs, "query").next().map(str::trim);
    match query {
        Some(query) if !query.is_empty() => Ok(query.to_owned()),
        _ => Err(
            ApiError::bad_request("bad_query", "there are no words to search for")
                .with_hint("write `?query=…`"),
        ),
    }
}

fn window(pairs: &[(String, String)]) -> Result<Window, ApiError> {
    window_of(pairs, LIMIT_DEFAULT, LIMIT_MAX)
}

/// The wanted part of a listing, with a limit that is cut to `limit_max`.
pub(super) fn window_of(
    pairs: &[(String, String)],
    limit_default: usize,
    limit_max: usize,
) -> Result<Window, ApiError> {
    let number = |name: &'static str, default: usize| match values(pairs, name).next() {
        None => Ok(default),
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(text.parse().unwrap_or(usize::MAX))
        }
        Some(text) => {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            let message = format!("`{name}` is `{shown}`, not a whole number from 0 on");
            Err(ApiError::bad_request("bad_page", message))
        }
    };
    let offset = number("offset", 0)?;
    if offset > OFFSET_MAX {
        let message = format!("`offset` is {offset}, at most {OFFSET_MAX} is allowed");
        return Err(ApiError::bad_request("bad_page", message));
    }
    Ok(Window {
        limit: number("limit", limit_default)?.min(limit_max),
        offset,
    })
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        Self::internal(&error)
    }
}

/// Rows of one answer when the client does not say: a screenful.
pub(super) const LIMIT_DEFAULT: usize = 10;

/// Rows of one answer; a larger `limit` is cut to it. Chosen: some 200 KB.
pub(super) const LIMIT_MAX: usize = 100;

/// Rows that may be passed over: the index walks over them.
pub(super) const OFFSET_MAX: usize = 100_000;

/// Characters of a bad value that an error repeats.
const SHOWN_CHARS_MAX: usize = 40;
