use axum::routing;
use protocol::edge::Config;
use rpc::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::metrics::Metrics;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

/// Waits for everything.
const PATIENT: Patience = Patience {
    head: LONG,
    body: LONG,
    bytes_per_second: 1,
    stall: LONG,
};

/// Answers one connection in memory until it is over.
fn connect(patience: Patience) -> (DuplexStream, Door) {
    let (near, far) = duplex(1 << 20);
    let post = routing::get(async || "here").post(async |body: String| body);
    let serving = Serving {
        router: Router::new().route("/", post),
        door: Door::new(Clock::system(), &Metrics::new(), "connections"),
        proxies: Arc::new(Proxies::new(&["10.0.0.0/8".parse().unwrap()])),
        patience,
        stop: CancellationToken::new(),
    };
    let door = serving.door.clone();
    let remote = SocketAddr::from(([192, 0, 2, 1], 4000));
    tokio::spawn(answer(far, remote, serving));
    (near, door)
}

/// What comes back until the other side closes, which leaves no place taken.
async fn check(patience: Patience, sent: &str, start: &str) -> String {
    let (mut near, door) = connect(patience);
    near.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with(start), "{answer}");
    assert_eq!(door.count(), 0);
    answer
}

#[tokio::test]
async fn a_head_has_its_time() {
    let patience = Patience {
        head: SHORT,
        ..PATIENT
    };
    assert_eq!(check(patience, "GET / HTTP/1.1\r\nHost: ", "").await, "");
    // So has the pause before the next one.
    let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = check(patience, whole, "HTTP/1.1 200").await;
    assert!(answer.ends_with("here"), "{answer}");
}

#[tokio::test]
async fn a_body_has_its_time_and_more_for_its_bytes() {
    let patience = Patience {
        body: SHORT,
        ..PATIENT
    };
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 101\r\n\r\n";
    check(patience, head, "HTTP/1.1 400").await;
    let (mut near, _) = connect(patience);
    let part = "x".repeat(100);
    near.write_all(format!("{head}{part}").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(SHORT * 2).await;
    near.write_all(b"x").await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_stands_still_is_closed() {
    let patience = Patience {
        stall: SHORT,
        ..PATIENT
    };
    check(patience, "GET / HTTP/1.1\r\nHost: ", "").await;
}

#[tokio::test]
async fn a_connection_gives_its_place_up_while_it_waits() {
    let (mut near, door) = connect(PATIENT);
    near.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    while door.count() == 0 {
        tokio::task::yield_now().await;
    }
    let source = Source::of(Some([192, 0, 2, 1].into()));
    let max = Config::default().network_max;
    let others: Vec<_> = (0..2 * max).map(|_| door.open(source).unwrap()).collect();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "");
    assert_eq!(door.count(), max);
    drop(others);
    assert_eq!(door.count(), 0);
}

#[tokio::test]
async fn a_proxys_connection_has_its_time_too_and_may_begin_with_the_clients_address() {
    let patience = Patience {
        head: SHORT,
        ..PATIENT
    };
    let ask = async |sent: &[u8]| {
        let (mut near, far) = duplex(1 << 20);
        let ip = routing::get(async |request: Request| {
            format!("{:?}", request.extensions().get::<Remote>().unwrap().0)
        });
        let serving = Serving {
            router: Router::new().route("/", ip),
            door: Door::new(Clock::system(), &Metrics::new(), "connections"),
            proxies: Arc::new(Proxies::new(&["10.0.0.0/8".parse().unwrap()])),
            patience,
            stop: CancellationToken::new(),
        };
        tokio::spawn(answer(
            far,
            SocketAddr::from(([10, 0, 0, 1], 4000)),
            serving,
        ));
        near.write_all(sent).await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(b"").await, "");
    assert_eq!(ask(b"PROXY TCP4 192.0.2.9").await, "");
    assert!(ask(request.as_bytes()).await.ends_with("Some(10.0.0.1)"));
    let header = "PROXY TCP4 192.0.2.9 10.0.0.1 4711 4000\r\n";
    let answer = ask(format!("{header}{request}").as_bytes()).await;
    assert!(answer.ends_with("Some(192.0.2.9)"), "{answer}");
    let answer = ask(format!("PROXY UNKNOWN\r\n{request}").as_bytes()).await;
    assert!(answer.ends_with("None"), "{answer}");
}
