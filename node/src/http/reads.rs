//! `GET /v1/…`: questions to the index and its search, in the shape and with
//! the ids that existing clients know.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::entity::{EntityType, Relation, Target};
use protocol::entry::block_of;
use protocol::hashid;
use protocol::id::{Address, EntityId, ParseIdError, UserId};
use serde_json::{Value, json};
use storage::index::{
    CommentView, ContentView, IndexError, ListView, Page, PublishedBy, RelationRow, Snapshot,
    UserView,
};
use storage::search::Hit;

use super::App;
use super::access::{CHAIN_BLOCK, INDEXED_BLOCK};
use super::error::ApiError;

mod shape;

/// The query of a request, in order and with repetitions.
pub(super) type Pairs = Query<Vec<(String, String)>>;

type Answer = Result<Json<Value>, ApiError>;
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

pub(super) async fn user(State(app): Apps, Path(id): Path<String>) -> Answer {
    let id = UserId(read_id(&id)?);
    app.look(move |look| Ok(shape::user(&look.existing_user(id)?)))
        .await
}

pub(super) async fn users(State(app): Apps, Query(pairs): Pairs) -> Answer {
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

pub(super) async fn user_by_handle(State(app): Apps, Path(handle): Path<String>) -> Answer {
    app.look(move |look| {
        let found = look.snapshot.user_by_handle(&handle)?;
        let found = found.ok_or_else(|| ApiError::not_found(format!("no user `{handle}`")))?;
        Ok(shape::user(&found))
    })
    .await
}

pub(super) async fn user_tracks(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| look.contents(&look.snapshot.contents_by_owner(id, false, page)?))
        .await
}

pub(super) async fn user_playlists(listing: Listing) -> Answer {
    user_lists(listing, false).await
}

pub(super) async fn user_albums(listing: Listing) -> Answer {
    user_lists(listing, true).await
}

async fn user_lists(listing: Listing, is_album: bool) -> Answer {
    listing
        .of_user(move |look, id, page| {
            let lists = look
                .snapshot
                .lists_by_owner(id, Some(is_album), false, page)?;
            look.lists(&lists)
        })
        .await
}

pub(super) async fn followers(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| {
            let users = look.snapshot.followers(id, page)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

pub(super) async fn following(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| {
            let users = look.snapshot.following(id, page)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

pub(super) async fn user_favorites(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| {
            let saved = look.snapshot.made(Relation::Save, id, page)?;
            let rows = saved.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|(sort, item)| {
                    json!({
                        "favorite_item_id": hashid::encode(row.target.id.0),
                        "favorite_type": format!("SaveType.{sort}"),
                        "user_id": hashid::encode(id.0),
                        "timestamp": look.time_of(row),
                        "item_type": sort,
                        "item": item,
                    })
                }))
            });
            flat(rows)
        })
        .await
}

pub(super) async fn user_reposts(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| {
            let reposted = look.snapshot.made(Relation::Repost, id, page)?;
            let rows = reposted.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|(sort, item)| {
                json!({"timestamp": look.time_of(row), "item_type": sort, "item": item})
            }))
            });
            flat(rows)
        })
        .await
}

pub(super) async fn user_feed(listing: Listing) -> Answer {
    listing
        .of_user(|look, id, page| {
            let items = look.snapshot.feed(id, page)?;
            flat(items.iter().map(|row| {
                let item = look.item(row.target)?;
                let reposter = match row.by {
                    PublishedBy::Owner => None,
                    PublishedBy::Reposter(user) => Some(hashid::encode(user.0)),
                };
                Ok(item.map(|(sort, item)| {
                    json!({
                        "timestamp": look.time_at(row.sequence),
                        "item_type": sort,
                        "reposted_by": reposter,
                        "item": item,
                    })
                }))
            }))
        })
        .await
}

pub(super) async fn track(State(app): Apps, Path(id): Path<String>) -> Answer {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.content(&look.existing_content(id)?))
        .await
}

pub(super) async fn tracks(State(app): Apps, Query(pairs): Pairs) -> Answer {
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

pub(super) async fn latest_tracks(State(app): Apps, Query(pairs): Pairs) -> Answer {
    let page = page(&pairs)?;
    app.look(move |look| look.contents(&look.snapshot.latest_contents(page)?))
        .await
}

pub(super) async fn track_comments(listing: Listing) -> Answer {
    listing
        .of_content(|look, id, page| {
            let comments = look.snapshot.comments(id, page)?;
            comments.iter().map(|view| look.comment(view)).collect()
        })
        .await
}

pub(super) async fn track_favorites(listing: Listing) -> Answer {
    related_users(listing, Relation::Save).await
}

pub(super) async fn track_reposts(listing: Listing) -> Answer {
    related_users(listing, Relation::Repost).await
}

async fn related_users(listing: Listing, relation: Relation) -> Answer {
    listing
        .of_content(move |look, id, page| {
            let target = Target::content(id);
            let rows = look.snapshot.received(relation, target, page)?;
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
    let Json(found) = app
        .look(move |look| Ok(Value::from(look.existing_content(id)?.content.cid)))
        .await?;
    let cid = found["data"].as_str().unwrap_or_default();
    let target = HeaderValue::from_str(&format!("/ipfs/{cid}"))
        .map_err(|error| ApiError::internal(&error))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, target)]).into_response())
}

pub(super) async fn playlist(State(app): Apps, Path(id): Path<String>) -> Answer {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.list(&look.existing_list(id)?))
        .await
}

pub(super) async fn playlist_tracks(Listing { app, id, page }: Listing) -> Answer {
    let id = EntityId(id);
    app.look(move |look| {
        look.existing_list(id)?;
        look.contents(&look.snapshot.list_contents(id, page)?)
    })
    .await
}

pub(super) async fn search_users(State(app): Apps, Query(pairs): Pairs) -> Answer {
    search_one(app, pairs, EntityType::User).await
}

pub(super) async fn search_tracks(State(app): Apps, Query(pairs): Pairs) -> Answer {
    search_one(app, pairs, EntityType::Track).await
}

pub(super) async fn search_playlists(State(app): Apps, Query(pairs): Pairs) -> Answer {
    search_one(app, pairs, EntityType::Playlist).await
}

async fn search_one(app: Arc<App>, pairs: Vec<(String, String)>, kind: EntityType) -> Answer {
    let (query, page) = (wanted_query(&pairs)?, page(&pairs)?);
    app.look(move |look| {
        let search = look.app.context.index.search();
        let hits = search.search(&query, Some(kind), page.limit, page.offset);
        let hits = hits.map_err(|error| ApiError::internal(&error))?;
        flat(hits.iter().map(|hit| look.hit(hit)))
    })
    .await
}

pub(super) async fn search(State(app): Apps, Query(pairs): Pairs) -> Answer {
    search_all(app, pairs, false).await
}

pub(super) async fn autocomplete(State(app): Apps, Query(pairs): Pairs) -> Answer {
    search_all(app, pairs, true).await
}

async fn search_all(app: Arc<App>, pairs: Vec<(String, String)>, is_typing: bool) -> Answer {
    let (query, page) = (wanted_query(&pairs)?, page(&pairs)?);
    app.look(move |look| {
        let search = look.app.context.index.search();
        let find = |kind| -> Result<Value, ApiError> {
            let hits = match is_typing {
                true => search.autocomplete(&query, Some(kind), page.limit),
                false => search.search(&query, Some(kind), page.limit, page.offset),
            };
            let hits = hits.map_err(|error| ApiError::internal(&error))?;
            flat(hits.iter().map(|hit| look.hit(hit)))
        };
        let lists = match find(EntityType::Playlist)? {
            Value::Array(lists) => lists,
            _ => Vec::new(),
        };
        let (albums, playlists): (Vec<Value>, Vec<Value>) =
            lists.into_iter().partition(|list| list["is_album"] == true);
        Ok(json!({
            "users": find(EntityType::User)?,
            "tracks": find(EntityType::Track)?,
            "playlists": playlists,
            "albums": albums,
        }))
    })
    .await
}

/// A question for what belongs to one thing, a page at a time.
pub(super) struct Listing {
    app: Arc<App>,
    id: u64,
    page: Page,
}

impl FromRequestParts<Arc<App>> for Listing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let id = Path::<String>::from_request_parts(parts, app).await;
        let Path(id) = id.map_err(|error| ApiError::bad_request("bad_id", error.body_text()))?;
        let pairs = Pairs::from_request_parts(parts, app).await;
        let Query(pairs) =
            pairs.map_err(|error| ApiError::bad_request("bad_query", error.body_text()))?;
        Ok(Self {
            app: Arc::clone(app),
            id: read_id(&id)?,
            page: page(&pairs)?,
        })
    }
}

impl Listing {
    /// Answers about a user that exists.
    async fn of_user(
        self,
        answer: impl FnOnce(&Look<'_>, UserId, Page) -> Result<Value, ApiError> + Send + 'static,
    ) -> Answer {
        let (id, page) = (UserId(self.id), self.page);
        self.app
            .look(move |look| {
                look.existing_user(id)?;
                answer(look, id, page)
            })
            .await
    }

    /// Answers about a digital content that exists.
    async fn of_content(
        self,
        answer: impl FnOnce(&Look<'_>, EntityId, Page) -> Result<Value, ApiError> + Send + 'static,
    ) -> Answer {
        let (id, page) = (EntityId(self.id), self.page);
        self.app
            .look(move |look| {
                look.existing_content(id)?;
                answer(look, id, page)
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
    async fn look(
        self: Arc<Self>,
        answer: impl FnOnce(&Look<'_>) -> Result<Value, ApiError> + Send + 'static,
    ) -> Answer {
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
        Ok(Json(json!({ "data": data })))
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

    fn content(&self, view: &ContentView) -> Result<Value, ApiError> {
        let owner = self.snapshot.user(view.content.owner_id)?;
        Ok(shape::content(view, owner.as_ref()))
    }

    fn contents(&self, views: &[ContentView]) -> Result<Value, ApiError> {
        views.iter().map(|view| self.content(view)).collect()
    }

    fn list(&self, view: &ListView) -> Result<Value, ApiError> {
        let owner = self.snapshot.user(view.list.playlist_owner_id)?;
        Ok(shape::list(view, owner.as_ref()))
    }

    fn lists(&self, views: &[ListView]) -> Result<Value, ApiError> {
        views.iter().map(|view| self.list(view)).collect()
    }

    fn comment(&self, view: &CommentView) -> Result<Value, ApiError> {
        let author = self.snapshot.user(view.comment.user_id)?;
        Ok(shape::comment(view, author.as_ref()))
    }

    /// What a relation points at, with its sort; `None` when it went.
    fn item(&self, target: Target) -> Result<Option<(&'static str, Value)>, ApiError> {
        let id = target.id;
        Ok(match target.kind {
            EntityType::Track => match self.snapshot.content(id)? {
                Some(view) if !view.content.is_delete => Some(("track", self.content(&view)?)),
                _ => None,
            },
            EntityType::Playlist => match self.snapshot.list(id)? {
                Some(view) if !view.list.is_delete => {
                    let sort = if view.list.is_album {
                        "album"
                    } else {
                        "playlist"
                    };
                    Some((sort, self.list(&view)?))
                }
                _ => None,
            },
            EntityType::User | EntityType::Comment => None,
        })
    }

    fn hit(&self, hit: &Hit) -> Result<Option<Value>, ApiError> {
        if hit.kind == EntityType::User {
            let found = self.snapshot.user(UserId(hit.id.0))?;
            return Ok(found.as_ref().map(shape::user));
        }
        let target = Target {
            kind: hit.kind,
            id: hit.id,
        };
        Ok(self.item(target)?.map(|(_, item)| item))
    }

    /// When a relation was made, while its block is remembered.
    fn time_of(&self, row: &RelationRow) -> Option<String> {
        self.time_at(row.sequence)
    }

    fn time_at(&self, sequence: u64) -> Option<String> {
        let block = self.snapshot.block(block_of(sequence)).ok()??;
        Some(shape::time(block.time))
    }
}

fn flat(rows: impl Iterator<Item = Result<Option<Value>, ApiError>>) -> Result<Value, ApiError> {
    rows.filter_map(Result::transpose).collect()
}

fn missing(what: &str, id: u64) -> ApiError {
    let text = hashid::encode(id);
    ApiError::not_found(format!("there is no {what} `{text}` ({id})"))
}

fn read_id(text: &str) -> Result<u64, ApiError> {
    hashid::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        ApiError::bad_request("bad_id", format!("`{shown}` is not an id"))
            .with_hint("ids are the short texts in `id` fields, or numbers")
    })
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
    texts.into_iter().map(read_id).collect()
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

fn page(pairs: &[(String, String)]) -> Result<Page, ApiError> {
    page_of(pairs, LIMIT_DEFAULT, LIMIT_MAX)
}

/// The wanted part of a listing, with a limit that is cut to `limit_max`.
pub(super) fn page_of(
    pairs: &[(String, String)],
    limit_default: usize,
    limit_max: usize,
) -> Result<Page, ApiError> {
    let number = |name: &'static str, default: usize| match values(pairs, name).next() {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            ApiError::bad_request("bad_page", format!("`{name}` is `{shown}`, not a number"))
        }),
    };
    let offset = number("offset", 0)?;
    if offset > OFFSET_MAX {
        let message = format!("`offset` is {offset}, at most {OFFSET_MAX} is allowed");
        return Err(ApiError::bad_request("bad_page", message));
    }
    Ok(Page {
        limit: number("limit", limit_default)?.min(limit_max),
        offset,
    })
}

impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        Self::internal(&error)
    }
}

const LIMIT_DEFAULT: usize = 10;

/// Rows of one answer; a larger `limit` is cut to it.
const LIMIT_MAX: usize = 100;

/// Rows that may be passed over: the index walks over them.
const OFFSET_MAX: usize = 100_000;

/// Characters of a bad value that an error repeats.
const SHOWN_CHARS_MAX: usize = 40;
