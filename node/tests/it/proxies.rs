//! A peer behind nginx and HAProxy, as `docs/operating/proxies.md` configures them.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use node::builder::Node;
use node::config::Config;
use node::devnet::{Devnet, DevnetConfig};
use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::wanted;

/// What passes requests on; it ends with the test.
struct Proxy {
    process: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already when it could not start.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A configuration of the documentation, for ports of this machine and without TLS.
fn configuration(language: &str, peer: SocketAddr, proxy: SocketAddr) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating/proxies.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, block) = page.split_once(&format!("```{language}\n")).unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let lines = block
        .lines()
        .filter(|line| !line.trim().starts_with("ssl_"));
    let text: Vec<&str> = lines.collect();
    let text = text.join("\n");
    let replaced = text
        .replace("listen 443 ssl", &format!("listen {proxy}"))
        .replace(
            "bind :443 ssl crt /etc/haproxy/oak.pem",
            &format!("bind {proxy}"),
        )
        .replace("127.0.0.1:4000", &peer.to_string());
    assert!(replaced.contains(&proxy.to_string()) && replaced.contains(&peer.to_string()));
    replaced + "\n"
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn nginx(folder: &Path, peer: SocketAddr) -> Proxy {
    let address = free_address();
    let http = configuration("nginx", peer, address);
    let shown = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths
        .map(|name| format!("{name}_temp_path {shown}/{name};\n"))
        .concat();
    // One process, so that nothing is left of it when it is killed.
    let text = format!(
        "daemon off; master_process off; pid {shown}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{paths}{http}}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file);
    start(command, address)
}

fn haproxy(folder: &Path, peer: SocketAddr, version: &str) -> Proxy {
    let address = free_address();
    let text = configuration("haproxy", peer, address);
    assert!(text.contains("send-proxy-v2"));
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text.replace("send-proxy-v2", version)).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    start(command, address)
}

fn start(mut command: Command, address: SocketAddr) -> Proxy {
    let process = command.stdin(Stdio::null()).spawn().unwrap();
    Proxy { process, address }
}

/// A client with one of the loopback addresses.
fn client(last: u8) -> Client {
    let address = IpAddr::from([127, 0, 0, last]);
    let builder = Client::builder().local_address(address).no_proxy();
    builder.timeout(Duration::from_secs(30)).build().unwrap()
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

/// Two clients have two budgets, neither can take the other's, and a page of another
/// origin gets nothing.
async fn check(proxy: &Proxy, clients: [u8; 2]) {
    let url = format!("http://{}", proxy.address);
    let [one, other] = clients.map(client);
    // The proxy needs a moment to listen.
    while one.get(format!("{url}/v1/node")).send().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        status(one.get(format!("{url}/v1/node"))).await,
        StatusCode::OK
    );

    let question = format!("{url}/relay/0x{}", "00".repeat(32));
    let mut count = 0;
    let refused = loop {
        let response = one.get(&question).send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            break response;
        }
        count += 1;
        assert!(count < 1_000, "nothing is refused");
    };
    assert!(count >= 100, "{count}");
    assert!(refused.headers().contains_key("retry-after"));
    for header in ["x-forwarded-for", "forwarded"] {
        let liar = one.get(&question).header(header, "for=192.0.2.77");
        assert_eq!(
            status(liar).await,
            StatusCode::TOO_MANY_REQUESTS,
            "{header}"
        );
    }
    assert_ne!(
        status(other.get(&question)).await,
        StatusCode::TOO_MANY_REQUESTS
    );

    let page = || {
        let request = other.post(format!("{url}/relay")).body("{}");
        request.header("origin", "https://evil.example")
    };
    let form = page().header("content-type", "text/plain");
    assert_eq!(status(form).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let rebound = page().header("host", "evil.example");
    let rebound = rebound.header("content-type", "application/json");
    assert_eq!(status(rebound).await, StatusCode::FORBIDDEN);
}

/// Half-sent requests of one client leave room for another.
async fn check_flood(proxy: &Proxy, clients: [u8; 2]) {
    let mut held = Vec::new();
    for _ in 0..300 {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::from(([127, 0, 0, clients[0]], 0)))
            .unwrap();
        let mut stream = socket.connect(proxy.address).await.unwrap();
        // What was refused is closed on the other side.
        let _ = stream.write_all(b"GET /v1/node HTTP/1.1\r\nHost: ").await;
        held.push(stream);
    }
    let node = client(clients[1]).get(format!("http://{}/v1/node", proxy.address));
    assert_eq!(status(node).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_proxies_are_told_apart() {
    if !wanted::all() {
        wanted::skipped("nginx and haproxy", "COLIVING_TESTS=all runs them");
        return;
    }
    let needed_for = "the tests of proxies before a peer";
    if !wanted::answers("nginx", "-v", needed_for) || !wanted::answers("haproxy", "-v", needed_for)
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = DevnetConfig {
        peers: 1,
        operators: 1,
        zones: 1,
        data: folder.path().join("devnet"),
        ..DevnetConfig::default()
    };
    let devnet = Devnet::start(config, |_| {}).await.unwrap();
    let mut config = Config::clone(&devnet.peers()[0].node.context().config);
    config.data = folder.path().join("light");
    config.roles.clear();
    config.url = None;
    config.http.listen = ([127, 0, 0, 1], 0).into();
    // The clients of the test are on this machine too, and no proxies.
    config.http.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let node = Node::start(config).await.unwrap();
    let peer: SocketAddr = node.url().trim_start_matches("http://").parse().unwrap();

    let proxies = folder.path().join("proxies");
    fs::create_dir(&proxies).unwrap();
    let proxy = nginx(&proxies, peer);
    check(&proxy, [2, 3]).await;
    drop(proxy);
    for (version, clients) in [("send-proxy-v2", [4, 5]), ("send-proxy", [6, 7])] {
        let proxy = haproxy(&proxies, peer, version);
        check(&proxy, clients).await;
        check_flood(&proxy, clients).await;
    }
    node.stop().await;
    devnet.stop().await;
}
