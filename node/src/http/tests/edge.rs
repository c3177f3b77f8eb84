//! Who gets in, and what a connection may hold.

use std::net::IpAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::*;

/// More connections than a peer has in all.
const FLOOD: usize = 1_100;

/// A peer on a port of its own.
async fn listening(server: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = Parts::default();
    serve(listener, &server.context, parts, TOKEN.to_owned());
    address
}

/// A connection from one of the loopback addresses.
async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// One host opens [`FLOOD`] connections, sends `start` on each and no more; another
/// one is answered all the same.
async fn check_flood(start: &str) {
    let server = Server::start().await;
    let address = listening(&server).await;
    let mut held = Vec::new();
    for _ in 0..FLOOD {
        let mut stream = connect([127, 0, 0, 1].into(), address).await;
        // What was refused is closed on the other side.
        let _ = stream.write_all(start.as_bytes()).await;
        held.push(stream);
    }
    for neighbour in [2, 1] {
        let client = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, neighbour]));
        let asked = client
            .build()
            .unwrap()
            .get(format!("http://{address}/v1/node"));
        let reply = asked
            .timeout(std::time::Duration::from_secs(30))
            .send()
            .await;
        assert_eq!(
            reply.unwrap().status(),
            StatusCode::OK,
            "127.0.0.{neighbour}"
        );
    }
    drop(held);
    server.context.floor.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_half_a_head_shuts_nobody_out() {
    check_flood("GET /v1/node HTTP/1.1\r\nHost: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_half_a_body_shuts_nobody_out() {
    let start = "POST /v1/control/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n";
    check_flood(&format!("{start}Authorization: Bearer {TOKEN}\r\n\r\n{{")).await;
}

/// A route that asks others, and one that takes what is signed.
fn asking() -> Parts {
    let post = routing::post(async |extract::JsonBytes(_): extract::JsonBytes| "sent");
    let router = Router::new()
        .route("/relay", post)
        .route("/relay/{digest}", routing::get(async || "asked"));
    Parts {
        routers: vec![router],
        ..Parts::default()
    }
}

impl Server {
    /// The status of an answer, without a look at what it says.
    async fn status(&self, request: axum::http::request::Builder) -> StatusCode {
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap().status()
    }
}

fn from(ip: [u8; 4]) -> axum::http::request::Builder {
    ask("GET", "/relay/1").extension(listen::Remote(Some(ip.into())))
}

/// Questions that are answered before the first that is refused.
async fn budget(server: &Server, request: impl Fn() -> axum::http::request::Builder) -> usize {
    let mut count = 0;
    while server.status(request()).await == StatusCode::OK {
        count += 1;
        assert!(count < 1_000, "nothing is refused");
    }
    assert_eq!(
        server.status(request()).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    count
}

#[tokio::test]
async fn each_network_has_its_budget_of_questions_that_others_are_asked_for() {
    let server = Server::with(asking()).await;
    let count = budget(&server, || from([192, 0, 2, 1])).await;
    assert!((100..200).contains(&count), "{count}");
    assert_eq!(server.status(from([192, 0, 2, 2])).await, StatusCode::OK);
    // Nobody is without a limit, but for the owner.
    assert_eq!(budget(&server, || from([127, 0, 0, 1])).await, count);
    assert_eq!(budget(&server, || ask("GET", "/relay/1")).await, count);
    let own = from([127, 0, 0, 1]).header("authorization", format!("Bearer {TOKEN}"));
    assert_eq!(server.status(own).await, StatusCode::OK);
}

#[tokio::test]
async fn two_clients_behind_a_trusted_proxy_have_two_budgets() {
    let proxies = vec![ProxyNetwork::Loopback];
    let server = Server::behind(proxies, asking()).await;
    let client =
        |ip: &str| from([127, 0, 0, 1]).header("x-forwarded-for", format!("1.2.3.4, {ip}"));
    let count = budget(&server, || client("192.0.2.1")).await;
    assert_eq!(server.status(client("192.0.2.2")).await, StatusCode::OK);
    assert_eq!(
        server.status(client("192.0.2.1")).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    // Those whom the proxy does not name are one client.
    assert_eq!(budget(&server, || from([127, 0, 0, 1])).await, count);
    assert_eq!(budget(&server, || client("unknown")).await, 0);
    // Who is no proxy cannot name anybody.
    let liar = |ip: &str| from([192, 0, 2, 9]).header("x-forwarded-for", ip);
    budget(&server, || liar("192.0.2.10")).await;
    assert_eq!(
        server.status(liar("192.0.2.11")).await,
        StatusCode::TOO_MANY_REQUESTS
    );
}

#[tokio::test]
async fn a_client_behind_a_proxy_has_its_share_of_the_requests_under_way() {
    let server = Server::behind(vec![ProxyNetwork::Loopback], asking()).await;
    let ask = |ip: &str| {
        ask("GET", "/v1/node")
            .extension(listen::Remote(Some([127, 0, 0, 1].into())))
            .header("forwarded", format!("for={ip}"))
    };
    let mut under_way = Vec::new();
    let refused = loop {
        let request = ask("192.0.2.1").body(Body::empty()).unwrap();
        let response = server.router.clone().oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            break response;
        }
        under_way.push(response);
        assert!(under_way.len() < 1_000, "nothing is refused");
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.status(ask("192.0.2.2")).await, StatusCode::OK);
    under_way.pop();
    assert_eq!(server.status(ask("192.0.2.1")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_origin_gets_what_a_stranger_gets() {
    let server = Server::with(asking()).await;
    let post = |host: &str| {
        let request = Request::builder()
            .method("POST")
            .uri("/relay")
            .header("host", host);
        let request = request.extension(listen::Remote(Some([127, 0, 0, 1].into())));
        request.header("origin", "https://evil.example")
    };
    // What a form or a script can send without leave.
    for media in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ] {
        let request = post("localhost:4000").header("content-type", media);
        server.send(request).await.check_error(415, "content_type");
    }
    server
        .send(post("localhost:4000"))
        .await
        .check_error(415, "content_type");
    let rebound = post("evil.example").header("content-type", "application/json");
    server.send(rebound).await.check_error(403, "foreign_host");
    let asked = post("localhost:4000").header("content-type", "application/json; charset=utf-8");
    assert_eq!(server.status(asked).await, StatusCode::OK);
}

#[tokio::test]
async fn no_page_of_another_origin_uses_the_owners_right() {
    let server = Server::start().await;
    let peers = |host: &str, name: &'static str, value: &str| {
        let request = Request::builder()
            .uri("/v1/control/peers")
            .header("host", host);
        let request = request.header("authorization", format!("Bearer {TOKEN}"));
        request.header(name, value)
    };
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let reply = server.send(peers("localhost:4000", name, value)).await;
        reply.check_error(403, "foreign_origin");
    }
    for (host, name, value) in [
        ("localhost:4000", "origin", "http://localhost:4000"),
        ("peer.example", "origin", "https://peer.example:8443"),
        ("localhost:4000", "sec-fetch-site", "same-origin"),
        ("localhost:4000", "sec-fetch-site", "none"),
    ] {
        assert_eq!(
            server.send(peers(host, name, value)).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_name_that_is_not_the_peers_is_refused_everywhere() {
    let server = Server::start().await;
    let node = |host: &str| Request::builder().uri("/v1/node").header("host", host);
    for host in [
        "evil.example",
        "localhost.evil.example:4000",
        "",
        "peer.example.evil",
    ] {
        server
            .send(node(host))
            .await
            .check_error(403, "foreign_host");
    }
    let two = node("localhost").header("host", "evil.example");
    server.send(two).await.check_error(403, "foreign_host");
    let absolute = Request::builder()
        .uri("http://evil.example/v1/node")
        .header("host", "localhost");
    assert_eq!(server.status(absolute).await, StatusCode::FORBIDDEN);
    // No page can make an address point elsewhere, and programs may leave the name out.
    for host in [
        "192.0.2.1:4000",
        "[2001:db8::1]",
        "PEER.example",
        "localhost",
    ] {
        assert_eq!(
            server.send(node(host)).await.status,
            StatusCode::OK,
            "{host}"
        );
    }
    let without = Request::builder().uri("/v1/node");
    assert_eq!(server.send(without).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_came_too_slowly_is_named() {
    let server = Server::with(asking()).await;
    let late = ask("POST", "/relay").extension(Arc::new(pace::Pace::late()));
    server.send(late).await.check_error(408, "too_slow");
}
