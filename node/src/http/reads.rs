//! `GET /v1/…`: questions to the index and its search, in the shape and with
//! the ids that existing clients know.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::HeaderValue;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use client::api::{Comment, ContentList, Data, DigitalContent, Item, Timestamp};
use protocol::entity::{EntityType, Target};
use protocol::entry::block_of;
use protocol::hashid;
use protocol::id::{EntityId, UserId};
use storage::index::{
    CommentView, ContentView, IndexError, ListView, RelationRow, Snapshot, UserView, Window,
};

use super::App;
use super::access::{CHAIN_BLOCK, INDEXED_BLOCK};
use super::error::ApiError;
use super::extract::{Path, Query};
use super::route::Route;

mod contents;
mod lists;
mod search;
mod shape;
mod users;

/// The query of a request, in order and with repetitions.
pub(super) type Pairs = Query<Vec<(String, String)>>;

type Answer<T> = Result<Json<Data<T>>, ApiError>;
type Apps = State<Arc<App>>;

/// Every route of a question to the index.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = users::routes();
    routes.extend(contents::routes());
    routes.extend(lists::routes());
    routes.extend(search::routes());
    routes
}

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
