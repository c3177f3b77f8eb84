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
