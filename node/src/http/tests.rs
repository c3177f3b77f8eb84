use axum::body::Body;
use axum::routing;
use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http_body_util::BodyExt;
use protocol::action::{Action, SignedAction};
use protocol::chain::Contracts;
use protocol::entity::build::{
    Builder, CommentFields, ContentFields, Items, ListFields, UserFields,
};
use protocol::entity::{ListItem, Relation, Target};
use protocol::entry::{Entry, Position};
use protocol::hashid;
use protocol::id::{Address, EntityId, Hash32, UserId};
use protocol::signing::{Signature, SigningKey};
use protocol::time::UnixSeconds;
use protocol::unixfs::{self, Directory, Importer, Profile};
use rpc::Clock;
use serde_json::Value;
use storage::index::{BlockEntry, RecoveredBlock};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::conformance::Contract;
use super::*;
use crate::chain::{ChainConfig, ChainHandle};
use crate::config::{Config, ProxyNetwork};
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::{self, NetConfig};
use crate::store::StoreHandle;
use crate::tasks::Floor;

mod edge;
mod gateway;

const TOKEN: &str = "secret";
const ADA: u64 = 3_000_001;
const BEN: u64 = 3_000_002;
const SONG: u64 = 2_000_001;
const LIST: u64 = 400_001;

/// A server without a socket, over parts in memory.
struct Server {
    context: Context,
    router: Router,
    contract: Contract,
}

struct Reply {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Bytes,
}

impl Server {
    async fn start() -> Self {
        Self::with(Parts::default()).await
    }

    async fn with(parts: Parts) -> Self {
        Self::behind(Vec::new(), parts).await
    }

    /// Behind proxies that are trusted.
    async fn behind(proxies: Vec<ProxyNetwork>, parts: Parts) -> Self {
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let (clock, metrics) = (Clock::system(), Metrics::new());
        let mut config = Config {
            url: Some("https://peer.example:8443".to_owned()),
            ..Config::default()
        };
        config.http.trusted_proxies = proxies;
        let contracts = Contracts {
            chain_id: 1337,
            ..Contracts::default()
        };
        let chain = ChainConfig {
            rpc: vec!["http://127.0.0.1:1".to_owned()],
            chain_id: Some(1337),
            contracts,
            confirmations: 0,
            poll_interval: std::time::Duration::from_secs(60),
            ..ChainConfig::default()
        };
        let net = NetConfig::default().on_loopback();
        let context = Context {
            peer: key.address(),
            contracts,
            config: Arc::new(config),
            clock,
            store: StoreHandle::in_memory().unwrap(),
            index: IndexHandle::in_memory().unwrap(),
            net: net::start(net, &key, clock, &metrics).await.unwrap(),
            chain: ChainHandle::spawn(&chain, clock).unwrap(),
            stop: CancellationToken::new(),
            floor: Floor::new("peer"),
            metrics,
            key,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 4000));
        let router = router(&context, parts, TOKEN.to_owned(), address);
        let contract = Contract::new(openapi::document("https://peer.example:8443"));
        Self {
            context,
            router,
            contract,
        }
    }

    /// Sends a request, and holds the answer against the OpenAPI document.
    async fn send(&self, request: axum::http::request::Builder) -> Reply {
        let request = request.body(Body::empty()).unwrap();
        let asked = (request.method().to_string(), request.uri().to_string());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let asked = (asked.0.as_str(), asked.1.as_str());
        self.contract
            .check(asked, head.status, &head.headers, &body);
        Reply {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(ask("GET", path)).await
    }

    async fn data(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {:?}", reply.body);
        reply.json()["data"].clone()
    }

    async fn check_error(&self, path: &str, status: u16, code: &str) {
        self.get(path).await.check_error(status, code);
    }

    async fn put(&self, blocks: impl IntoIterator<Item = unixfs::VerifiedBlock>) {
        self.context
            .store
            .put_blocks(blocks.into_iter().collect())
            .await
            .unwrap();
    }

    /// Two users, a digital content with a comment, a list and relations.
    async fn publish(&self, cid: Cid) {
        let user = |handle: &str| UserFields {
            handle: Some(handle.to_owned()),
            name: Some(format!("{handle} the resident")),
            ..UserFields::default()
        };
        let content = ContentFields {
            title: Some("Night song".to_owned()),
            cid: Some(cid.to_string()),
            mime: Some("audio/mpeg".to_owned()),
            ..ContentFields::default()
        };
        let list = ListFields {
            playlist_name: Some("Evening".to_owned()),
            playlist_contents: Some(Items::Timed {
                track_ids: vec![ListItem {
                    track: EntityId(SONG),
                    time: UnixSeconds(5),
                }],
            }),
            ..ListFields::default()
        };
        let comment = CommentFields::new(EntityId(SONG), "Calm".to_owned());
        self.apply(vec![
            by(ADA).create_user(&user("ada")),
            by(BEN).create_user(&user("ben")),
            by(ADA).create_digital_content(EntityId(SONG), &content),
            by(ADA).create_content_list(EntityId(LIST), &list),
            by(BEN).create_comment(EntityId(9), &comment),
            by(BEN).relate(Relation::Follow, Target::user(UserId(ADA))),
            by(BEN).relate(Relation::Save, song()),
            by(BEN).relate(Relation::Repost, song()),
        ])
        .await;
    }

    async fn apply(&self, actions: Vec<Action>) {
        let entries = actions.into_iter().enumerate().map(|(idx, action)| {
            let position = Position {
                chain_id: 1337,
                block_number: 10,
                block_hash: Hash32([1; 32]),
                block_time: UnixSeconds(1_700_000_000),
                tx_hash: Hash32([2; 32]),
                log_index: idx as u64,
            };
            BlockEntry {
                digest: Hash32([u8::try_from(idx).unwrap(); 32]),
                signer: Some(Address([u8::try_from(action.user_id.0 % 200).unwrap(); 20])),
                entry: Entry {
                    action: SignedAction {
                        action,
                        signature: Signature::default(),
                    },
                    position,
                },
            }
        });
        let block = RecoveredBlock {
            number: 10,
            hash: Hash32([1; 32]),
            parent: None,
            time: UnixSeconds(1_700_000_000),
            entries: entries.collect(),
        };
        let applied = self.context.index.apply(vec![block]).await.unwrap();
        assert_eq!(applied.rejected, 0);
    }
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn check_error(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        assert_eq!(self.json()["error"]["code"], code);
    }
}

fn ask(method: &str, path: &str) -> axum::http::request::Builder {
    let request = Request::builder().method(method).uri(path);
    request.header("host", "localhost:4000")
}

fn by(user: u64) -> Builder {
    Builder {
        user: UserId(user),
        nonce: Hash32::ZERO,
    }
}

fn song() -> Target {
    Target {
        kind: protocol::entity::EntityType::Track,
        id: EntityId(SONG),
    }
}

/// A file that is several blocks, and its bytes.
fn song_file() -> (Cid, Vec<u8>, Vec<unixfs::VerifiedBlock>) {
    let bytes: Vec<u8> = (0..2_500_000_u32)
        .flat_map(|n| n.to_le_bytes())
        .take(2_500_000)
        .collect();
    let mut importer = Importer::new(Profile::V1_2025);
    importer.push(&bytes);
    let (root, blocks) = importer.finish();
    assert!(blocks.len() > 2, "the file is more than one block");
    (root.cid, bytes, blocks)
}

#[tokio::test]
async fn the_index_is_read_in_the_shape_that_clients_know() {
    let server = Server::start().await;
    let (cid, _, _) = song_file();
    server.publish(cid).await;
    let (ada, ben, track, list) = (
        hashid::encode(ADA),
        hashid::encode(BEN),
        hashid::encode(SONG),
        hashid::encode(LIST),
    );
    for path in [
        format!("/v1/users/{ada}"),
        format!("/v1/users/{ADA}"),
        "/v1/users/handle/Ada".to_owned(),
    ] {
        let user = server.data(&path).await;
        assert_eq!(user["id"], ada);
        assert_eq!(user["handle"], "ada");
        assert_eq!(user["follower_count"], 1);
        assert_eq!(user["track_count"], 1);
    }
    let found = server.data(&format!("/v1/tracks/{track}")).await;
    assert_eq!(found["title"], "Night song");
    assert_eq!(found["user"]["handle"], "ada");
    assert_eq!(found["track_cid"], cid.to_string());
    assert_eq!(found["repost_count"], 1);
    assert_eq!(found["favorite_count"], 1);
    assert_eq!(found["comment_count"], 1);
    assert_eq!(found["created_at"], "2023-11-14T22:13:20Z");
    let found = server.data(&format!("/v1/playlists/{list}")).await;
    assert_eq!(found["playlist_name"], "Evening");
    assert_eq!(found["playlist_contents"][0]["track_id"], track);
    assert_eq!(
        server.data(&format!("/v1/playlists/{list}/tracks")).await[0]["id"],
        track
    );
    assert_eq!(
        server.data(&format!("/v1/users/{ada}/tracks")).await[0]["id"],
        track
    );
    assert_eq!(
        server.data(&format!("/v1/users/{ada}/playlists")).await[0]["id"],
        list
    );
    assert_eq!(
        server.data(&format!("/v1/users/{ada}/followers")).await[0]["id"],
        ben
    );
    assert_eq!(
        server.data(&format!("/v1/users/{ben}/following")).await[0]["id"],
        ada
    );
    let saved = server.data(&format!("/v1/users/{ben}/favorites")).await;
    assert_eq!(saved[0]["favorite_type"], "SaveType.track");
    assert_eq!(saved[0]["item"]["id"], track);
    let reposted = server.data(&format!("/v1/users/{ben}/reposts")).await;
    assert_eq!(reposted[0]["item_type"], "track");
    assert_eq!(reposted[0]["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(
        server.data(&format!("/v1/tracks/{track}/favorites")).await[0]["id"],
        ben
    );
    assert_eq!(
        server.data(&format!("/v1/tracks/{track}/reposts")).await[0]["id"],
        ben
    );
    let comments = server.data(&format!("/v1/tracks/{track}/comments")).await;
    assert_eq!(comments[0]["message"], "Calm");
    assert_eq!(comments[0]["user"]["handle"], "ben");
    assert_eq!(
        server
            .data(&format!("/v1/tracks?id={track}&id=7"))
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(server.data("/v1/tracks/latest").await[0]["id"], track);
    let reply = server.get(&format!("/v1/tracks/{track}/stream")).await;
    let link = format!("/ipfs/{cid}?content={track}");
    assert_eq!(reply.header("location"), link);
}

#[tokio::test]
async fn words_find_users_contents_and_lists() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    let all = server.data("/v1/search?query=night").await;
    assert_eq!(all["tracks"][0]["title"], "Night song");
    assert_eq!(all["users"].as_array().unwrap().len(), 0);
    assert_eq!(
        server.data("/v1/search/autocomplete?query=eve").await["playlists"][0]["playlist_name"],
        "Evening"
    );
    assert_eq!(
        server.data("/v1/users/search?query=ben").await[0]["handle"],
        "ben"
    );
    assert_eq!(
        server.data("/v1/tracks/search?query=song").await[0]["title"],
        "Night song"
    );
    server.check_error("/v1/search", 400, "bad_query").await;
}

#[tokio::test]
async fn both_vocabularies_answer_alike() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    for (one, other) in [
        (
            format!("/v1/tracks/{SONG}"),
            format!("/v1/digital_contents/{SONG}"),
        ),
        (
            format!("/v1/playlists/{LIST}/tracks"),
            format!("/v1/content_lists/{LIST}/digital_contents"),
        ),
        (
            format!("/v1/users/{ADA}/playlists"),
            format!("/v1/users/{ADA}/content_lists"),
        ),
    ] {
        assert_eq!(server.data(&one).await, server.data(&other).await);
    }
}

#[tokio::test]
async fn bad_questions_get_named_errors() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    server
        .check_error("/v1/users/3000099", 404, "not_found")
        .await;
    server.check_error("/v1/tracks/!!", 400, "bad_id").await;
    server
        .check_error("/v1/users/handle/nobody", 404, "not_found")
        .await;
    server.check_error("/v1/tracks", 400, "bad_query").await;
}

#[tokio::test]
async fn pages_are_bounded() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    let count = async |path: &str| server.data(path).await.as_array().unwrap().len();
    assert_eq!(count("/v1/tracks/latest?limit=1000").await, 1);
    assert_eq!(count("/v1/tracks/latest?limit=0").await, 0);
    assert_eq!(count("/v1/tracks/latest?offset=1").await, 0);
    server
        .check_error("/v1/tracks/latest?limit=-1", 400, "bad_page")
        .await;
    server
        .check_error("/v1/tracks/latest?offset=100001", 400, "bad_page")
        .await;
}

#[tokio::test]
async fn answers_say_how_fresh_they_are() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    let reply = server.get("/v1/tracks/latest").await;
    assert_eq!(reply.header("x-coliving-indexed-block"), "10");
}

#[tokio::test]
async fn only_the_owner_controls_the_peer() {
    let server = Server::start().await;
    let stop = |host: &str, token: &str| {
        let request = Request::builder().method("POST").uri("/v1/control/stop");
        request
            .header("host", host)
            .header("authorization", format!("Bearer {token}"))
    };
    server
        .send(ask("POST", "/v1/control/stop"))
        .await
        .check_error(401, "token_needed");
    for token in ["", "secre", "secrets", "Secret"] {
        server
            .send(stop("localhost", token))
            .await
            .check_error(401, "token_needed");
    }
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1", ""] {
        server
            .send(stop(host, TOKEN))
            .await
            .check_error(403, "foreign_host");
    }
    assert!(!server.context.stop.is_cancelled());
    for host in [
        "localhost",
        "127.0.0.1:4000",
        "[::1]:4000",
        "Peer.Example:8443",
    ] {
        let request = Request::builder()
            .uri("/v1/control/peers")
            .header("host", host);
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        assert_eq!(server.send(request).await.status, StatusCode::OK, "{host}");
    }
    assert_eq!(
        server.send(stop("localhost", TOKEN)).await.status,
        StatusCode::ACCEPTED
    );
    assert!(server.context.stop.is_cancelled());
}

#[tokio::test]
async fn other_origins_may_read_and_post_only_what_is_signed() {
    let server = Server::start().await;
    let preflight = |path: &str| {
        let request = ask("OPTIONS", path).header("origin", "https://app.example");
        request.header("access-control-request-method", "POST")
    };
    let reply = server.send(preflight("/v1/tracks/latest")).await;
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("access-control-allow-methods"), "GET, HEAD");
    for path in ["/relay", "/authentication"] {
        let reply = server.send(preflight(path)).await;
        assert_eq!(
            reply.header("access-control-allow-methods"),
            "GET, HEAD, POST"
        );
    }
    let reply = server.send(preflight("/v1/control/stop")).await;
    assert_eq!(reply.header("access-control-allow-origin"), "");
    assert_eq!(
        server
            .get("/v1/node")
            .await
            .header("access-control-allow-origin"),
        "*"
    );
}

#[tokio::test]
async fn what_nobody_serves_is_an_error_in_json() {
    let server = Server::start().await;
    server.check_error("/nothing", 404, "no_route").await;
    server.check_error("/relay/", 404, "no_route").await;
    let reply = server.send(ask("POST", "/v1/tracks/latest")).await;
    reply.check_error(405, "method_not_allowed");
}

#[tokio::test]
async fn a_peer_says_who_and_how_it_is() {
    let server = Server::start().await;
    let reply = server.get("/health").await;
    // A light peer needs no registry in order to be ready.
    assert_eq!(reply.status, StatusCode::OK);
    let health = reply.json();
    assert_eq!(health["ready"], true);
    assert_eq!(health["peer"], server.context.peer.to_string());
    assert_eq!(health["chain"]["chain_id"], 1337);
    let node = server.get("/v1/node").await.json();
    assert_eq!(node["url"], "https://peer.example:8443");
    let known: client::api::WellKnown =
        serde_json::from_slice(&server.get("/.well-known/coliving").await.body).unwrap();
    assert_eq!(known.peer, server.context.peer);
    let metrics = server.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    server.context.stop.cancel();
    assert_eq!(
        server.get("/health").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn the_openapi_document_and_the_routes_agree() {
    let relay = Router::new()
        .route("/v1/control/relay", routing::post(async || "sent"))
        .route("/v1/control/relay/{digest}", routing::get(async || "sent"));
    let absent = async || ApiError::role_absent("identity");
    let taken = || routing::get(absent).post(absent);
    let public = ["/relay", "/relay/{digest}", "/authentication"];
    let public = public
        .into_iter()
        .fold(Router::new(), |all, path| all.route(path, taken()));
    let server = Server::with(Parts {
        routers: vec![public],
        owner_routers: vec![relay],
        ..Parts::default()
    })
    .await;
    // What other parts bring along for the owner waits for the token too.
    let reply = server.send(ask("POST", "/v1/control/relay")).await;
    reply.check_error(401, "token_needed");
    let document = server.get("/v1/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/digital_contents/{id}"));
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let concrete = path.replace("{id}", "1").replace(['{', '}'], "");
            let request = ask(&method.to_uppercase(), &concrete);
            let reply = server.send(request).await;
            let code = serde_json::from_slice::<Value>(&reply.body)
                .map_or(Value::Null, |body| body["error"]["code"].clone());
            assert!(
                code != "no_route" && code != "method_not_allowed",
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_socket_is_served_until_the_stop() {
    let server = Server::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cid, bytes, blocks) = song_file();
    server.put(blocks).await;
    serve(
        listener,
        &server.context,
        Parts::default(),
        TOKEN.to_owned(),
    );
    let reply = reqwest::get(format!("http://{address}/ipfs/{cid}"))
        .await
        .unwrap();
    assert_eq!(reply.bytes().await.unwrap(), bytes);
    server.context.floor.end().await;
    assert!(
        reqwest::get(format!("http://{address}/health"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_owner_sees_why_roots_are_held_and_who_else_has_them() {
    let server = Server::start().await;
    let (cid, _, blocks) = song_file();
    let cids = blocks.iter().map(|block| *block.cid()).collect();
    server.put(blocks).await;
    let owner = crate::store::RootOwner {
        root: cid,
        holding: crate::store::Holding::Pin,
        expiry: None,
    };
    server.context.store.add_root(owner, cids).await.unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let get = async |path: &str| {
        let request = ask("GET", path).header("authorization", &bearer);
        server.send(request).await
    };
    let roots = get("/v1/control/roots").await.json();
    assert_eq!(roots["data"][0]["cid"], cid.to_string());
    assert_eq!(roots["data"][0]["size"], 2_500_000);
    assert_eq!(roots["data"][0]["reasons"][0], "pin");
    assert_eq!(roots["data"][0]["leases"], 0);
    let root = get(&format!("/v1/control/root/{cid}")).await.json();
    assert_eq!(root["data"]["missing"], 0, "no operator can hold it");
    get("/v1/control/root/nonsense")
        .await
        .check_error(400, "bad_cid");
    let zero = Hash32::ZERO;
    let reply = get(&format!("/v1/control/publish/{zero}")).await;
    reply.check_error(503, "starting");
}

#[test]
fn every_operation_says_what_it_takes_and_every_answer_what_it_is() {
    let document = openapi::document("https://peer.example");
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{name}: {id} is taken");
            for parameter in operation["parameters"].as_array().unwrap() {
                assert!(
                    parameter["schema"]["type"].is_string(),
                    "{name}: {parameter}"
                );
                assert!(parameter["description"].is_string(), "{name}: {parameter}");
            }
            if method == "post" && path != "/v1/control/stop" {
                let content = operation["requestBody"]["content"].as_object().unwrap();
                assert!(
                    content.values().all(|body| body["schema"].is_object()),
                    "{name}"
                );
            }
            let responses = operation["responses"].as_object().unwrap();
            for (status, response) in responses {
                let is_told = match response["content"].as_object() {
                    Some(content) => content.values().all(|body| body["schema"].is_object()),
                    None => status.starts_with('3'),
                };
                assert!(is_told, "{name}: {status}");
            }
            assert!(
                responses.keys().any(|status| status < &"400".to_owned()),
                "{name}"
            );
            assert!(responses.contains_key("500"), "{name}");
        }
    }
    let routes = routes::table();
    let count: usize = routes.iter().map(|route| route.paths().len()).sum();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn what_is_written_like_an_id_and_is_none_names_nothing() {
    let server = Server::start().await;
    server.publish(song_file().0).await;
    server
        .check_error("/v1/tracks/trending", 404, "not_found")
        .await;
    let ids = format!("/v1/tracks?id={SONG}&id=trending&id=99999999999999999999");
    assert_eq!(server.data(&ids).await.as_array().unwrap().len(), 1);
    server.check_error("/v1/tracks?id=!!", 400, "bad_id").await;
    server.check_error("/v1/tracks?id=%ff", 400, "bad_id").await;
}

#[tokio::test]
async fn a_query_or_a_path_that_cannot_be_read_is_an_error_like_others() {
    let server = Server::start().await;
    server
        .check_error("/v1/users/handle/%ff", 400, "bad_path")
        .await;
    let bearer = format!("Bearer {TOKEN}");
    let import = ask("POST", "/v1/control/import?size=many").header("authorization", bearer);
    server.send(import).await.check_error(400, "bad_query");
}
