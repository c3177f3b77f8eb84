//! Words, and what matches them.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use client::api::{ContentList, DigitalContent, SearchResults, User};
use protocol::entity::EntityType;
use protocol::id::UserId;
use storage::index::Window;
use storage::search::Hit;

use super::{Answer, Apps, Look, Pairs, flat, shape, values, window};
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::Query;
use crate::http::parameters::{self as parameter, Parameter};
use crate::http::route::{Route, data, read};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    const SEARCH: &[Parameter] = &[parameter::QUERY, parameter::LIMIT, parameter::OFFSET];
    vec![
        read("/v1/users/search", "Users that match words", SEARCH, data::<Vec<User>>(), get(search_users)),
        read("/v1/tracks/search", "Digital contents that match words", SEARCH, data::<Vec<DigitalContent>>(), get(search_tracks)),
        read("/v1/playlists/search", "Content lists that match words", SEARCH, data::<Vec<ContentList>>(), get(search_playlists)),
        read("/v1/search", "Users, digital contents and lists that match words", SEARCH, data::<SearchResults>(), get(search)),
        read("/v1/search/autocomplete", "The same while a word is being typed", SEARCH, data::<SearchResults>(), get(autocomplete)),
    ]
}

async fn search_users(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<User>> {
    search_one(app, pairs, |look, wanted| look.found_users(wanted)).await
}

async fn search_tracks(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<DigitalContent>> {
    search_one(app, pairs, |look, wanted| look.found_contents(wanted)).await
}

async fn search_playlists(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<ContentList>> {
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

async fn search(State(app): Apps, Query(pairs): Pairs) -> Answer<SearchResults> {
    search_all(app, pairs, false).await
}

async fn autocomplete(State(app): Apps, Query(pairs): Pairs) -> Answer<SearchResults> {
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

impl Look<'_> {
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
