use axum::Router;
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::get;
use protocol::signing::SigningKey;
use protocol::time::UnixSeconds;
use serde_json::json;

use super::*;

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([9; 20]),
};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// What a peer would answer.
#[derive(Clone)]
struct Answers {
    health: Value,
    key: SigningKey,
    domain: Domain,
    url: Option<String>,
    time: u64,
}

impl Answers {
    fn good() -> Self {
        Self {
            health: json!({ "ready": true, "version": "0.1.0", "roles": ["content"] }),
            key: key(1),
            domain: DOMAIN,
            url: None,
            time: now(),
        }
    }

    fn well_known(&self, url: &str) -> Value {
        let record = Endpoint {
            peer: self.key.address(),
            url: self.url.clone().unwrap_or_else(|| url.to_owned()),
            addresses: Vec::new(),
            time: UnixSeconds(self.time),
        };
        let signed = Signed::new(record, &self.domain, &self.key);
        serde_json::to_value(WellKnown {
            peer: signed.record.peer,
            url: signed.record.url,
            addresses: signed.record.addresses,
            time: signed.record.time,
            signature: signed.signature,
        })
        .unwrap()
    }
}

/// Serves the routes and answers with the URL.
async fn serve(routes: impl FnOnce(&str) -> Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = routes(&url);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    url
}

async fn check_answers(answers: Answers) -> Report {
    let url = serve(|url| {
        let status = match answers.health["ready"] == json!(true) {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let health = answers.health.to_string();
        let well_known = answers.well_known(url).to_string();
        Router::new()
            .route(HEALTH, get(move || async move { (status, health) }))
            .route(WELL_KNOWN, get(move || async move { well_known }))
    })
    .await;
    check(&url, &expected(), &DOMAIN).await
}

fn expected() -> Expected {
    Expected {
        peer: Some(key(1).address()),
        roles: vec![Role::Content],
    }
}

/// The faults but those that every address of this machine has.
fn faults(report: &Report) -> Vec<&Fault> {
    let faults = report.faults.iter();
    faults
        .filter(|fault| !matches!(fault, Fault::PlainHttp | Fault::Private))
        .collect()
}

#[tokio::test]
async fn a_good_endpoint_has_no_faults_but_those_of_a_test() {
    let report = check_answers(Answers::good()).await;
    assert!(faults(&report).is_empty(), "{:?}", report.faults);
    assert!(report.is_good() && report.reachable && report.ready);
    assert_eq!(report.peer, Some(key(1).address()));
    assert_eq!(report.version.as_deref(), Some("0.1.0"));
    assert_eq!(report.faults, [Fault::PlainHttp, Fault::Private]);
}

#[tokio::test]
async fn each_fault_is_told_apart() {
    let good = Answers::good();
    let with = |change: fn(&mut Answers)| {
        let mut answers = good.clone();
        change(&mut answers);
        check_answers(answers)
    };
    let report = with(|answers| answers.key = key(2)).await;
    assert!(matches!(faults(&report)[..], [Fault::WrongPeer { .. }]));
    let report = with(|answers| answers.domain.chain_id = 1).await;
    assert_eq!(faults(&report), [&Fault::Signature]);
    let report = with(|answers| answers.url = Some("https://oak.example".to_owned())).await;
    assert!(matches!(faults(&report)[..], [Fault::WrongUrl { .. }]));
    let report = with(|answers| answers.health["roles"] = json!(["identity"])).await;
    let role = Role::Content;
    assert_eq!(faults(&report), [&Fault::MissingRole { role }]);
    let report = with(|answers| answers.health["ready"] = json!(false)).await;
    assert!(matches!(faults(&report)[..], [Fault::NotReady { .. }]));
    assert!(!report.is_good());
    let report = with(|answers| answers.time -= 100).await;
    let [Fault::Clock { seconds }] = faults(&report)[..] else {
        panic!("{:?}", report.faults);
    };
    assert!((-105..=-99).contains(seconds));
    assert!(report.is_good());
}

#[tokio::test]
async fn what_is_no_peer_is_named() {
    let text = serve(|_| Router::new().fallback(get(|| async { "It works!" }))).await;
    let report = check(&text, &expected(), &DOMAIN).await;
    assert!(matches!(
        faults(&report)[..],
        [Fault::NotAPeer { path: HEALTH, .. }]
    ));
    assert!(!report.reachable);
    let moved = || async { Redirect::permanent("https://elsewhere.example/") };
    let redirect = serve(|_| Router::new().fallback(get(moved))).await;
    let report = check(&redirect, &expected(), &DOMAIN).await;
    assert!(matches!(faults(&report)[..], [Fault::Redirect { .. }]));
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_told_from_a_name_without_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let report = check(&url, &expected(), &DOMAIN).await;
    assert_eq!(faults(&report), [&Fault::Refused]);
    let report = check("http://no.such.host.invalid", &expected(), &DOMAIN).await;
    assert!(matches!(faults(&report)[..], [Fault::Dns { .. }]));
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused_before_it_is_tried() {
    for url in [
        "oak.example",
        "ftp://oak.example",
        "https://oak.example/",
        "https://oak.example/peer",
        "https://me@oak.example",
        "",
    ] {
        let report = check(url, &expected(), &DOMAIN).await;
        assert!(matches!(faults(&report)[..], [Fault::Url { .. }]), "{url}");
    }
}
