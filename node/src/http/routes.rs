//! The one table of routes: the server and its OpenAPI document are made of it.

use std::sync::Arc;

use axum::routing::{self, MethodRouter};
use client::api::{
    ActionBody, ChainAccess, Comment, ContentList, Data, DigitalContent, Favorite, FeedItem,
    Health, Imported, NodeInfo, PeerRow, Publication, PublishAccepted, PublishBody, RelayAnswer,
    Relayed, Repost, Root, RootRow, SearchResults, SignedVaultFields, Stopping, User,
    VaultAccepted, VaultFields, WellKnown,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::parameters::{self as parameter, Parameter};
use super::{App, control, gateway, openapi, reads, status};

/// One route of the server.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Of the query, and of headers that mean something here.
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    /// What it answers with when it works, by status.
    pub(super) answers: Vec<(u16, Body)>,
    /// The statuses of errors that are not every route's.
    pub(super) errors: &'static [u16],
    pub(super) access: Access,
    /// `None` for routes that other parts of the peer bring along.
    pub(super) handler: Option<MethodRouter<Arc<App>>>,
}

/// For whom a route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// For everybody, without freshness headers.
    Public,
    /// For everybody; a question to the index.
    Read,
    /// For the token's holder.
    Owner,
}

/// A body of a request or of an answer.
#[derive(Clone, Copy)]
pub(super) enum Body {
    /// JSON of one type.
    Json(Shape),
    /// JSON of one of two types.
    Either(Shape, Shape),
    /// An OpenAPI document.
    OpenApi,
    /// Text of a media type.
    Text(&'static str),
    /// Bytes whose media type depends on them.
    Bytes,
    /// Nothing; the headers say it.
    Nothing,
}

/// Makes the schema of a type.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

const fn json<T: JsonSchema>() -> Body {
    Body::Json(|generator| generator.subschema_for::<T>())
}

const fn data<T: JsonSchema>() -> Body {
    json::<Data<T>>()
}

const PAGE: &[Parameter] = &[parameter::LIMIT, parameter::OFFSET];
const SEARCH: &[Parameter] = &[parameter::QUERY, parameter::LIMIT, parameter::OFFSET];
const IDS: &[Parameter] = &[parameter::IDS];
const FILE: &[Parameter] = &[
    parameter::FILE_NAME,
    parameter::DOWNLOAD,
    parameter::FORMAT,
    parameter::RANGE,
    parameter::IF_NONE_MATCH,
];

/// Every route but the second vocabulary's.
pub(super) fn table() -> Vec<Route> {
    let mut routes = peer_routes();
    routes.extend(file_routes());
    routes.extend(action_routes());
    routes.extend(user_routes());
    routes.extend(content_routes());
    routes.extend(owner_routes());
    routes
}

#[rustfmt::skip]
fn peer_routes() -> Vec<Route> {
    use routing::get;
    vec![
        public("/health", "How the peer is doing; 503 while it is not ready", json::<Health>(), get(status::health))
            .answers(503, json::<Health>()),
        public("/metrics", "Numbers for Prometheus", Body::Text(crate::metrics::CONTENT_TYPE), get(status::metrics)),
        public("/.well-known/coliving", "The signed Endpoint record", json::<WellKnown>(), get(status::well_known)),
        public("/v1/node", "Who the peer is, and what a client needs in order to sign", json::<NodeInfo>(), get(status::node)),
        public("/v1/openapi.json", "This document", Body::OpenApi, get(openapi::answer)),
    ]
}

#[rustfmt::skip]
fn file_routes() -> Vec<Route> {
    use routing::get;
    let file = |path, summary, handler| public(path, summary, Body::Bytes, handler)
        .parameters(FILE)
        .answers(206, Body::Bytes)
        .answers(301, Body::Nothing)
        .answers(304, Body::Nothing)
        .answers(307, Body::Nothing)
        .errors(&[400, 404, 406, 412, 416, 422, 504, 507]);
    vec![
        file("/ipfs/{cid}", "A file or directory", get(gateway::root)),
        file("/ipfs/{cid}/", "A directory", get(gateway::root)),
        file("/ipfs/{cid}/{*path}", "A file or directory below a root", get(gateway::below)),
    ]
}

#[rustfmt::skip]
fn action_routes() -> Vec<Route> {
    const VAULT: &[Parameter] = &[parameter::LOOKUP_KEY, parameter::ALL];
    const SIGNED: &[Parameter] = &[
        parameter::VAULT_WALLET,
        parameter::VAULT_VERSION,
        parameter::VAULT_REPLACES,
        parameter::VAULT_SIGNATURE,
    ];
    vec![
        elsewhere("post", "/relay", "Hands a signed action to the relayer", json::<RelayAnswer>())
            .body(json::<ActionBody>())
            .errors(&[400, 403, 404, 413, 422, 429, 503]),
        elsewhere("get", "/relay/{digest}", "What became of an action", json::<Relayed>())
            .errors(&[400, 404, 503]),
        elsewhere("post", "/authentication", "Keeps a vault record", json::<VaultAccepted>())
            .parameters(SIGNED)
            .body(json::<VaultFields>())
            .errors(&[400, 404, 409, 413, 429, 503]),
        elsewhere("get", "/authentication", "Reads a vault record, or every wallet's", Body::Either(
            |generator| generator.subschema_for::<VaultFields>(),
            |generator| generator.subschema_for::<Data<Vec<SignedVaultFields>>>(),
        ))
            .parameters(VAULT)
            .errors(&[400, 404, 429, 503]),
    ]
}

#[rustfmt::skip]
fn user_routes() -> Vec<Route> {
    use routing::get;
    const USERS: &[Parameter] = &[parameter::IDS_OR_NONE, parameter::WALLET];
    vec![
        read("/v1/users", "Users by id or wallet", USERS, data::<Vec<User>>(), get(reads::users)),
        read("/v1/users/search", "Users that match words", SEARCH, data::<Vec<User>>(), get(reads::search_users)),
        read("/v1/users/handle/{handle}", "A user by handle", &[], data::<User>(), get(reads::user_by_handle)),
        read("/v1/users/{id}", "A user", &[], data::<User>(), get(reads::user)),
        read("/v1/users/{id}/tracks", "What a user published, newest first", PAGE, data::<Vec<DigitalContent>>(), get(reads::user_tracks)),
        read("/v1/users/{id}/playlists", "A user's playlists, newest first", PAGE, data::<Vec<ContentList>>(), get(reads::user_playlists)),
        read("/v1/users/{id}/albums", "A user's albums, newest first", PAGE, data::<Vec<ContentList>>(), get(reads::user_albums)),
        read("/v1/users/{id}/followers", "Who follows a user", PAGE, data::<Vec<User>>(), get(reads::followers)),
        read("/v1/users/{id}/following", "Whom a user follows", PAGE, data::<Vec<User>>(), get(reads::following)),
        read("/v1/users/{id}/favorites", "What a user saved", PAGE, data::<Vec<Favorite>>(), get(reads::user_favorites)),
        read("/v1/users/{id}/feed", "News of those whom a user follows", PAGE, data::<Vec<FeedItem>>(), get(reads::user_feed)),
        read("/v1/users/{id}/reposts", "What a user reposted", PAGE, data::<Vec<Repost>>(), get(reads::user_reposts)),
    ]
}

#[rustfmt::skip]
fn content_routes() -> Vec<Route> {
    use routing::get;
    vec![
        read("/v1/tracks", "Digital contents by id", IDS, data::<Vec<DigitalContent>>(), get(reads::tracks)),
        read("/v1/tracks/search", "Digital contents that match words", SEARCH, data::<Vec<DigitalContent>>(), get(reads::search_tracks)),
        read("/v1/tracks/latest", "The newest digital contents", PAGE, data::<Vec<DigitalContent>>(), get(reads::latest_tracks)),
        read("/v1/tracks/{id}", "A digital content", &[], data::<DigitalContent>(), get(reads::track)),
        read("/v1/tracks/{id}/comments", "Comments, newest first", PAGE, data::<Vec<Comment>>(), get(reads::track_comments)),
        read("/v1/tracks/{id}/favorites", "Who saved a digital content", PAGE, data::<Vec<User>>(), get(reads::track_favorites)),
        read("/v1/tracks/{id}/reposts", "Who reposted a digital content", PAGE, data::<Vec<User>>(), get(reads::track_reposts)),
        read("/v1/tracks/{id}/stream", "Redirects to the file", &[], Body::Nothing, get(reads::track_stream))
            .instead(302),

        read("/v1/playlists/search", "Content lists that match words", SEARCH, data::<Vec<ContentList>>(), get(reads::search_playlists)),
        read("/v1/playlists/{id}", "A content list", &[], data::<ContentList>(), get(reads::playlist)),
        read("/v1/playlists/{id}/tracks", "What a list holds, in order", PAGE, data::<Vec<DigitalContent>>(), get(reads::playlist_tracks)),

        read("/v1/search", "Users, digital contents and lists that match words", SEARCH, data::<SearchResults>(), get(reads::search)),
        read("/v1/search/autocomplete", "The same while a word is being typed", SEARCH, data::<SearchResults>(), get(reads::autocomplete)),
    ]
}

#[rustfmt::skip]
fn owner_routes() -> Vec<Route> {
    use routing::{get, post};
    const IMPORT: &[Parameter] = &[parameter::NAME, parameter::SIZE];
    const ROOTS: &[Parameter] = &[parameter::ROOTS_LIMIT, parameter::OFFSET];
    vec![
        owner("post", "/v1/control/import", "Stores a file as blocks", json::<Imported>(), Some(post(control::import)))
            .parameters(IMPORT)
            .body(Body::Bytes)
            .errors(&[400, 503, 507]),
        owner("post", "/v1/control/publish", "Publishes imported roots by a signed action", json::<PublishAccepted>(), Some(post(control::publish)))
            .body(json::<PublishBody>())
            .instead(202)
            .errors(&[400, 409, 413, 503]),
        owner("get", "/v1/control/publish/{digest}", "How far a publication is", json::<Publication>(), Some(get(control::publication)))
            .errors(&[400, 404, 503]),
        owner("post", "/v1/control/relay", "Sends an action to the relayers in rank order", json::<RelayAnswer>(), None)
            .body(json::<ActionBody>())
            .errors(&[400, 404, 413, 422, 429, 503]),
        owner("get", "/v1/control/relay/{digest}", "What became of an action", json::<Relayed>(), None)
            .errors(&[400, 404, 503]),
        owner("get", "/v1/control/chain", "How the chain is reached", json::<ChainAccess>(), Some(get(control::chain))),
        owner("get", "/v1/control/peers", "Connected peers", data::<Vec<PeerRow>>(), Some(get(control::peers))),
        owner("get", "/v1/control/roots", "What this peer holds, and why", data::<Vec<RootRow>>(), Some(get(control::roots)))
            .parameters(ROOTS)
            .errors(&[400]),
        owner("get", "/v1/control/root/{cid}", "Who is placed for a root and who holds a lease", data::<Root>(), Some(get(control::root)))
            .errors(&[400]),
        owner("post", "/v1/control/stop", "Stops the peer in order", json::<Stopping>(), Some(post(control::stop)))
            .instead(202),
    ]
}

fn public(
    path: &'static str,
    summary: &'static str,
    answer: Body,
    handler: MethodRouter<Arc<App>>,
) -> Route {
    Route {
        handler: Some(handler),
        ..elsewhere("get", path, summary, answer)
    }
}

/// A public route that another part of the peer serves.
fn elsewhere(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: Body,
) -> Route {
    Route {
        method,
        path,
        summary,
        parameters: &[],
        body: None,
        answers: vec![(200, answer)],
        errors: &[],
        access: Access::Public,
        handler: None,
    }
}

fn read(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    answer: Body,
    handler: MethodRouter<Arc<App>>,
) -> Route {
    let errors: &[u16] = match path.contains('{') {
        true => &[400, 404],
        false => &[400],
    };
    Route {
        parameters,
        errors,
        access: Access::Read,
        ..public(path, summary, answer, handler)
    }
}

fn owner(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answer: Body,
    handler: Option<MethodRouter<Arc<App>>>,
) -> Route {
    Route {
        access: Access::Owner,
        handler,
        ..elsewhere(method, path, summary, answer)
    }
}

impl Route {
    fn parameters(self, parameters: &'static [Parameter]) -> Self {
        Self { parameters, ..self }
    }

    fn body(self, body: Body) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    /// One more status that is no error.
    fn answers(mut self, status: u16, body: Body) -> Self {
        self.answers.push((status, body));
        self
    }

    /// Another status than 200.
    fn instead(mut self, status: u16) -> Self {
        for answer in &mut self.answers {
            answer.0 = status;
        }
        self
    }

    fn errors(self, errors: &'static [u16]) -> Self {
        Self { errors, ..self }
    }

    /// Every path of the route: its own, and those of the second vocabulary.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = vec![self.path.to_owned()];
        paths.extend(aliases(self.path));
        paths
    }
}

/// The path in the second vocabulary, word by word: every mix of the two.
pub(super) fn aliases(path: &str) -> Vec<String> {
    if !path.starts_with("/v1/") {
        return Vec::new();
    }
    let mut names = vec![path.to_owned()];
    for (word, alias) in [
        ("tracks", "digital_contents"),
        ("playlists", "content_lists"),
    ] {
        let renamed: Vec<String> = names
            .iter()
            .map(|name| rename(name, word, alias))
            .filter(|renamed| !names.contains(renamed))
            .collect();
        names.extend(renamed);
    }
    names.split_off(1)
}

fn rename(path: &str, word: &str, alias: &str) -> String {
    let words: Vec<&str> = path
        .split('/')
        .map(|found| if found == word { alias } else { found })
        .collect();
    words.join("/")
}
