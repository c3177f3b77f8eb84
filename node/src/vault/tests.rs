use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use client::api::VaultFields;
use http_body_util::BodyExt;
use protocol::id::Hash32;
use protocol::records::{Iv, SignedVault, VaultRecord};
use protocol::signing::{Domain, Signed};
use protocol::time::UnixSeconds;
use protocol::vault::{Entry, HedgehogRecord, Request, Response, VaultError};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::routes;
use crate::identity::testing::{TestNet, TestPeer, key};
use crate::net::Protocol;

const LOOKUP_KEY: &str = "18c6f07f7b891bc5f2c79a20bd39f7971a499f3e7ada02cb2382d40e44661b92";
const IV: &str = "e85bf7579aafe1554c6d0e5235a4a883";
const CIPHER_TEXT: &str = "6b6cd020f0e50105fa4d7ba074c60f4b3f56a85739b734164fba6d30954d45f925ab5cd68a7c3d0270d58f8ee318d69b088998a4190c69b4692e45298a2fdb77";

fn record(net: &TestNet, lookup: u8, seed: u8, version: u64, text: u8) -> SignedVault {
    signed(
        &net.contracts.domain(),
        Hash32([lookup; 32]),
        seed,
        version,
        text,
    )
}

fn signed(domain: &Domain, lookup_key: Hash32, seed: u8, version: u64, text: u8) -> SignedVault {
    let record = VaultRecord {
        scheme: 1,
        lookup_key,
        iv: Iv([text; 16]),
        cipher_text: vec![text; 64],
        wallet: key(seed).address(),
        version,
        replaces: Hash32::ZERO,
    };
    Signed::new(record, domain, &key(seed))
}

/// Keeps nothing, and shows four wallets of its own that came before all others.
async fn lie(peer: &TestPeer) {
    let mut requests = peer.context.net.serve(Protocol::Vault).await.unwrap();
    let domain = peer.context.contracts.domain();
    tokio::spawn(async move {
        while let Some(inbound) = requests.recv().await {
            let response = match Request::from_bytes(&inbound.body).unwrap() {
                Request::Put(_) => Response::Stored,
                Request::Get { lookup_key } => {
                    let entry = |seed| {
                        let record = signed(&domain, lookup_key, seed, 1, seed);
                        Entry::signed(record, None, UnixSeconds(0))
                    };
                    Response::Entries((70..74).map(entry).collect())
                }
            };
            inbound.respond.send(response.to_bytes());
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_and_two_lying_replicas_of_five_hide_nobodys_record() {
    for liars in 1..=2 {
        let net = TestNet::with_idle(5, liars).await;
        for liar in &net.peers[..liars] {
            lie(liar).await;
        }
        let now = net.light().context.clock.now().unix();
        for lookup in 1..=5 {
            let own = record(&net, lookup, 60, 1, lookup);
            let entry = Entry::signed(own.clone(), None, now);
            net.light().vault.put(entry).await.unwrap();
            for reader in &net.peers {
                let found = reader.vault.get(own.record.lookup_key).await.unwrap();
                let mut found = found.iter().map(|entry| &entry.record);
                assert!(found.any(|record| *record == own.record), "{liars} lie");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_written_and_read_while_one_of_three_replicas_is_away() {
    let net = TestNet::new(3).await;
    let now = net.light().context.clock.now().unix();
    let first = Entry::signed(record(&net, 1, 60, 1, 1), None, now);
    net.light().vault.put(first.clone()).await.unwrap();

    net.peers[0].stop().await;
    let found = net.light().vault.get(Hash32([1; 32])).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].record, first.record);

    let second = Entry::signed(record(&net, 1, 60, 2, 2), None, now);
    net.light().vault.put(second.clone()).await.unwrap();
    let stale = net.peers[1].vault.put(first).await;
    assert_eq!(stale, Err(VaultError::Outdated { version: 2 }));
    // A stranger's record under the same key buries nobody's.
    let other = Entry::signed(record(&net, 1, 61, 9, 3), None, now);
    net.peers[2].vault.put(other).await.unwrap();
    let found = net.peers[1].vault.get(Hash32([1; 32])).await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].record, second.record);

    net.peers[1].stop().await;
    let gone = net.light().vault.get(Hash32([1; 32])).await;
    assert_eq!(gone, Err(VaultError::Unavailable { count: 3 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hedgehog_client_signs_up_and_reads_its_record_over_http() {
    let net = TestNet::new(1).await;
    let router = routes(net.light().vault.clone());
    let send = async |request: axum::http::request::Builder, body: String| {
        let request = request.body(Body::from(body)).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let path = format!("/authentication?lookupKey={LOOKUP_KEY}&username=email@address.com");
    let (status, body) = send(HttpRequest::get(&path), String::new()).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");

    let fields = json!({"iv": IV, "cipherText": CIPHER_TEXT, "lookupKey": LOOKUP_KEY});
    let (status, body) = send(
        HttpRequest::post("/authentication").header("content-type", "application/json"),
        fields.to_string(),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["endsInSeconds"], 600);
    let (status, body) = send(HttpRequest::get(&path), String::new()).await;
    assert_eq!((status, &body), (StatusCode::OK, &fields));

    // The wallet's signature makes it last.
    let plain: VaultFields = serde_json::from_value(fields.clone()).unwrap();
    let mut record = HedgehogRecord::from(plain)
        .sign_up(UnixSeconds(0))
        .unwrap()
        .record;
    record.wallet = key(60).address();
    record.version = 1;
    let signed = Signed::new(record, &net.contracts.domain(), &key(60));
    let request = HttpRequest::post("/authentication")
        .header("content-type", "application/json")
        .header("X-Coliving-Wallet", signed.record.wallet.to_string())
        .header("X-Coliving-Version", "1")
        .header("X-Coliving-Signature", signed.signature.to_string());
    let (status, body) = send(request, fields.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["endsInSeconds"], Value::Null);
    let (_, body) = send(HttpRequest::get(format!("{path}&all=true")), String::new()).await;
    assert_eq!(body["data"].as_array().unwrap().len(), 1, "{body}");
    assert_eq!(body["data"][0]["version"], 1);
    assert_eq!(body["data"][0]["signature"], signed.signature.to_string());

    let forged = HttpRequest::post("/authentication")
        .header("content-type", "application/json")
        .header("X-Coliving-Wallet", key(61).address().to_string())
        .header("X-Coliving-Version", "2")
        .header("X-Coliving-Signature", signed.signature.to_string());
    let (status, body) = send(forged, fields.to_string()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    let taken = json!({"iv": IV, "cipherText": "00".repeat(64), "lookupKey": LOOKUP_KEY});
    let (status, body) = send(
        HttpRequest::post("/authentication").header("content-type", "application/json"),
        taken.to_string(),
    )
    .await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
}
