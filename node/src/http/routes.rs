//! The one table of routes: the server and its OpenAPI document are made of it.

use std::sync::Arc;

use axum::routing::{self, MethodRouter};
use serde_json::{Map, Value, json};

use super::{App, control, gateway, reads, status};

/// One route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    summary: &'static str,
    /// Names of query parameters.
    query: &'static [&'static str],
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

const PAGE: &[&str] = &["limit", "offset"];
const SEARCH: &[&str] = &["query", "limit", "offset"];

/// Every route but the second vocabulary's.
#[rustfmt::skip]
pub(super) fn table() -> Vec<Route> {
    use routing::{get, post};
    vec![
        public("get", "/health", "How the peer is doing", &[], Some(get(status::health))),
        public("get", "/metrics", "Numbers for Prometheus", &[], Some(get(status::metrics))),
        public("get", "/.well-known/coliving", "The signed Endpoint record", &[], Some(get(status::well_known))),
        public("get", "/v1/node", "What a client needs in order to sign", &[], Some(get(status::node))),
        public("get", "/v1/openapi.json", "This document", &[], Some(get(document_route))),
        public("get", "/ipfs/{cid}", "A file or directory", FILE, Some(get(gateway::root))),
        public("get", "/ipfs/{cid}/", "A directory", FILE, Some(get(gateway::root))),
        public("get", "/ipfs/{cid}/{*path}", "A file or directory below a root", FILE, Some(get(gateway::below))),
        public("post", "/relay", "Hands a signed action to the relayer", &[], None),
        public("get", "/relay/{digest}", "What became of an action", &[], None),
        public("post", "/authentication", "Keeps a vault record", &[], None),
        public("get", "/authentication", "Reads a vault record", &["lookupKey"], None),

        read("/v1/users", "Users by id or wallet", &["id", "wallet"], get(reads::users)),
        read("/v1/users/search", "Users that match words", SEARCH, get(reads::search_users)),
        read("/v1/users/handle/{handle}", "A user by handle", &[], get(reads::user_by_handle)),
        read("/v1/users/{id}", "A user", &[], get(reads::user)),
        read("/v1/users/{id}/tracks", "What a user published, newest first", PAGE, get(reads::user_tracks)),
        read("/v1/users/{id}/playlists", "A user's playlists, newest first", PAGE, get(reads::user_playlists)),
        read("/v1/users/{id}/albums", "A user's albums, newest first", PAGE, get(reads::user_albums)),
        read("/v1/users/{id}/followers", "Who follows a user", PAGE, get(reads::followers)),
        read("/v1/users/{id}/following", "Whom a user follows", PAGE, get(reads::following)),
        read("/v1/users/{id}/favorites", "What a user saved", PAGE, get(reads::user_favorites)),
        read("/v1/users/{id}/feed", "News of those whom a user follows", PAGE, get(reads::user_feed)),
        read("/v1/users/{id}/reposts", "What a user reposted", PAGE, get(reads::user_reposts)),

        read("/v1/tracks", "Digital contents by id", &["id"], get(reads::tracks)),
        read("/v1/tracks/search", "Digital contents that match words", SEARCH, get(reads::search_tracks)),
        read("/v1/tracks/latest", "The newest digital contents", PAGE, get(reads::latest_tracks)),
        read("/v1/tracks/{id}", "A digital content", &[], get(reads::track)),
        read("/v1/tracks/{id}/comments", "Comments, newest first", PAGE, get(reads::track_comments)),
        read("/v1/tracks/{id}/favorites", "Who saved a digital content", PAGE, get(reads::track_favorites)),
        read("/v1/tracks/{id}/reposts", "Who reposted a digital content", PAGE, get(reads::track_reposts)),
        read("/v1/tracks/{id}/stream", "Redirects to the file", &[], get(reads::track_stream)),

        read("/v1/playlists/search", "Content lists that match words", SEARCH, get(reads::search_playlists)),
        read("/v1/playlists/{id}", "A content list", &[], get(reads::playlist)),
        read("/v1/playlists/{id}/tracks", "What a list holds, in order", PAGE, get(reads::playlist_tracks)),

        read("/v1/search", "Users, digital contents and lists that match words", SEARCH, get(reads::search)),
        read("/v1/search/autocomplete", "The same while a word is being typed", SEARCH, get(reads::autocomplete)),

        owner("post", "/v1/control/import", "Stores a file as blocks", &["name", "size"], Some(post(control::import))),
        owner("post", "/v1/control/publish", "Publishes imported roots by a signed action", &[], Some(post(control::publish))),
        owner("get", "/v1/control/publish/{id}", "How far a publication is", &[], Some(get(control::publication))),
        owner("post", "/v1/control/relay", "Sends an action to the relayers in rank order", &[], None),
        owner("get", "/v1/control/relay/{digest}", "What became of an action", &[], None),
        owner("get", "/v1/control/chain", "How the chain is reached", &[], Some(get(control::chain))),
        owner("get", "/v1/control/peers", "Connected peers", &[], Some(get(control::peers))),
        owner("get", "/v1/control/roots", "What this peer holds, and why", PAGE, Some(get(control::roots))),
        owner("get", "/v1/control/root/{cid}", "Who is placed for a root and who holds a lease", &[], Some(get(control::root))),
        owner("post", "/v1/control/stop", "Stops the peer in order", &[], Some(post(control::stop))),
    ]
}

const FILE: &[&str] = &["filename", "download", "format"];

fn public(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    handler: Option<MethodRouter<Arc<App>>>,
) -> Route {
    Route {
        method,
        path,
        summary,
        query,
        access: Access::Public,
        handler,
    }
}

fn read(
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    handler: MethodRouter<Arc<App>>,
) -> Route {
    Route {
        access: Access::Read,
        ..public("get", path, summary, query, Some(handler))
    }
}

fn owner(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    handler: Option<MethodRouter<Arc<App>>>,
) -> Route {
    Route {
        access: Access::Owner,
        ..public(method, path, summary, query, handler)
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

async fn document_route() -> axum::Json<Value> {
    axum::Json(document())
}

/// The OpenAPI document.
pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in table() {
        let names = [route.path.to_owned()].into_iter();
        for path in names.chain(aliases(route.path)) {
            let path = path.replace("{*", "{");
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[route.method] = operation(&route);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Coliving", "version": status::VERSION},
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {
                    "type": "object",
                    "required": ["code", "message", "hint"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                    },
                }},
            }},
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| parameter(name.trim_start_matches('*'), "path"))
        .collect();
    parameters.extend(route.query.iter().map(|name| parameter(name, "query")));
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "default": {"description": "The answer"},
            "4XX": {
                "description": "What is wrong and what helps",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    });
    if route.access == Access::Owner {
        operation["security"] = json!([{"token": []}]);
    }
    operation
}

fn parameter(name: &str, place: &str) -> Value {
    json!({"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}})
}
