use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use http_body_util::BodyExt;
use protocol::action::SignedAction;
use protocol::entity::build::UserFields;
use protocol::id::{EntityId, UserId};
use protocol::relayer::RefusalCode;
use protocol::signing::{StructEncoder, typed_data_digest};
use serde_json::{Value, json};

use tokio::sync::watch;
use tower::ServiceExt;

use super::testing::{PATIENCE, TestNet, TestPeer, builder, key};
use crate::http::access::Caller;
use crate::http::relay;
use protocol::author::{RelayError, RelayState};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_light_peers_action_is_paid_for_once_and_indexed_everywhere() {
    let net = TestNet::new(3).await;
    let action = net.user(1, 60);
    let digest = action.action.digest(&net.contracts.action_domain());

    let sent = net.light().relay.send(action.clone()).await.unwrap();
    assert_eq!(sent.digest, digest);
    let status = net.light().until(digest, RelayState::Confirmed).await;
    assert!(status.tx_hash.is_some() && status.block_number.is_some());
    for peer in &net.peers {
        peer.until_indexed(UserId(3_000_001)).await;
        assert_eq!(peer.relay.status(digest).await.unwrap(), status);
    }

    // Everybody hands the same action in again, straight to every relayer.
    for peer in &net.peers {
        let again = peer.relay.send(action.clone()).await.unwrap();
        assert_eq!(again, status);
    }
    assert_eq!(net.transactions().await, 1);

    // What follows from it is judged by the same index.
    let follow = builder(1, 9).follow(UserId(3_000_077));
    let follow = follow.sign(&net.contracts.action_domain(), &key(60));
    match net.light().relay.send(follow).await {
        Err(RelayError::Refused(refusal)) => {
            assert_eq!(refusal.code, RefusalCode::Simulation);
            assert!(refusal.reason.contains("3000077"), "{}", refusal.reason);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(net.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_signature_is_refused_with_what_to_do_about_it() {
    let net = TestNet::new(1).await;
    let relayer = &net.peers[0];
    let domain = net.contracts.action_domain();
    let created = relayer.relay.send(net.user(1, 60)).await.unwrap();
    relayer.until(created.digest, RelayState::Confirmed).await;
    relayer.until_indexed(UserId(3_000_001)).await;
    let routes = relay::routes(relayer.relay.clone());
    let update = || {
        builder(1, 2).update_user(&UserFields {
            name: Some("Other".into()),
            ..UserFields::default()
        })
    };

    let stranger = update().sign(&domain, &key(61));
    let (status, body) = post(&routes, "/relay", body_of(&stranger), true).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(body["error"]["code"], "signature");
    assert!(!hint(&body).contains("uint256"), "{body}");

    // As ethers.js hashes it.
    let action = update();
    let mut encoder = StructEncoder::new(
        "ManageEntity(uint256 userId,string entityType,uint256 entityId,string action,string metadata,bytes32 nonce)",
    );
    encoder
        .uint(action.user_id.0)
        .bytes(action.entity_type.as_bytes())
        .uint(action.entity_id.0)
        .bytes(action.action.as_bytes())
        .bytes(action.metadata.as_bytes())
        .bytes32(&action.nonce);
    let rewritten = typed_data_digest(&domain.separator(), &encoder.finish());
    let misspelt = SignedAction {
        signature: key(60).sign(&rewritten),
        action,
    };
    let (status, body) = post(&routes, "/relay", body_of(&misspelt), true).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(hint(&body).contains("uint256"), "{body}");

    let mut long = update();
    long.metadata = "x".repeat(15 * 1024 + 1);
    let long = long.sign(&domain, &key(60));
    let (status, body) = post(&routes, "/relay", body_of(&long), true).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(
        body["error"]["message"].to_string().contains("15361"),
        "{body}"
    );

    let unknown = builder(5, 3).delete_digital_content(EntityId(2_000_001));
    let unknown = unknown.sign(&domain, &key(60));
    let (status, body) = post(&routes, "/relay", body_of(&unknown), true).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert!(
        body["error"]["message"].to_string().contains("3000005"),
        "{body}"
    );

    let stranger = net.user(7, 62);
    let (status, body) = post(&routes, "/relay", body_of(&stranger), false).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(body["error"]["code"], "proof");

    let good = update().sign(&domain, &key(60));
    let (status, body) = post(&routes, "/relay", body_of(&good), true).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let digest = good.action.digest(&domain);
    relayer.until(digest, RelayState::Confirmed).await;
    let path = format!("/relay/{digest}");
    let (status, body) = call(&routes, HttpRequest::get(path), Body::empty(), true).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["state"], "confirmed");
    assert_eq!(net.transactions().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_accepted_while_the_chain_is_away_is_sent_when_it_is_back() {
    let mut net = TestNet::new(2).await;
    net.door.shut();
    for peer in &net.peers {
        let mut status = peer.context.chain.status();
        until(&mut status, |status| !status.connected).await;
    }
    let sent = net.light().relay.send(net.user(1, 60)).await.unwrap();
    assert_eq!(sent.state, RelayState::Pending);
    // The other relayer and the light peer show it.
    for peer in &net.peers {
        let mut pending = peer.relay.fresh().watch();
        until(&mut pending, |pending| !pending.is_empty()).await;
    }
    net.door.reopen().await;
    net.light().until(sent.digest, RelayState::Confirmed).await;
    for peer in &net.peers {
        peer.until_indexed(UserId(3_000_001)).await;
        let mut pending = peer.relay.fresh().watch();
        until(&mut pending, |pending| pending.is_empty()).await;
    }
    assert_eq!(net.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_between_sending_and_mining_costs_no_second_transaction() {
    let mut net = TestNet::new(1).await;
    net.chain.control().stall(true).await.unwrap();
    let action = net.user(1, 60);
    let sent = net.light().relay.send(action).await.unwrap();
    net.light().until(sent.digest, RelayState::Sent).await;

    net.peers[0].stop().await;
    let context = net.context(0, true, Some(&net.peers[0].context)).await;
    net.peers[0] = TestPeer::start(context).await;
    net.connect().await;
    net.peers[0].until(sent.digest, RelayState::Sent).await;
    net.chain.control().stall(false).await.unwrap();
    net.light().until(sent.digest, RelayState::Confirmed).await;
    net.peers[0].until(sent.digest, RelayState::Confirmed).await;
    assert_eq!(net.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_waits_on_disk_for_a_relayer() {
    let mut net = TestNet::new(1).await;
    net.peers[0].stop().await;
    let sent = net.light().relay.send(net.user(1, 60)).await.unwrap();
    assert_eq!(sent.state, RelayState::Pending);
    let context = net.context(0, true, Some(&net.peers[0].context)).await;
    net.peers[0] = TestPeer::start(context).await;
    net.connect().await;
    net.light().until(sent.digest, RelayState::Confirmed).await;
    assert_eq!(net.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_whose_block_is_undone_lands_all_the_same() {
    let mut net = TestNet::with_confirmations(1, 12).await;
    let first = net.peers[0].relay.send(net.user(1, 60)).await.unwrap();
    net.peers[0].until_mined(first.digest).await;
    let mined = net.peers[0].context.index.height().borrow().block_number;
    // What a restart forgets, nobody broadcasts again by itself.
    net.peers[0].stop().await;
    let context = net.context(0, true, Some(&net.peers[0].context)).await;
    net.peers[0] = TestPeer::start(context).await;
    net.connect().await;

    net.chain.control().reorg(1, false).await.unwrap();
    let relayer = &net.peers[0];
    let mut indexed = relayer.context.index.height();
    until(&mut indexed, |indexed| indexed.block_number != mined).await;
    relayer.relay.send(net.user(2, 61)).await.unwrap();
    for user in [1, 2] {
        relayer.until_indexed(UserId(3_000_000 + user)).await;
    }
    assert_eq!(net.transactions().await, 2);
}

async fn until<T>(watch: &mut watch::Receiver<T>, holds: impl FnMut(&T) -> bool) {
    let seen = tokio::time::timeout(PATIENCE, watch.wait_for(holds)).await;
    seen.expect("not in time").expect("the task lives");
}

fn hint(body: &Value) -> &str {
    body["error"]["hint"].as_str().unwrap_or_default()
}

fn body_of(action: &SignedAction) -> Value {
    json!({
        "userId": action.action.user_id,
        "entityType": action.action.entity_type,
        "entityId": action.action.entity_id,
        "action": action.action.action,
        "metadata": action.action.metadata,
        "nonce": action.action.nonce,
        "signature": action.signature,
    })
}

async fn post(routes: &Router, path: &str, body: Value, is_own: bool) -> (StatusCode, Value) {
    let request = HttpRequest::post(path);
    call(routes, request, Body::from(body.to_string()), is_own).await
}

async fn call(
    routes: &Router,
    request: axum::http::request::Builder,
    body: Body,
    is_own: bool,
) -> (StatusCode, Value) {
    let caller = match is_own {
        true => Caller::owner(),
        false => Caller::default(),
    };
    let request = request.header("content-type", "application/json");
    let request = request.extension(caller).body(body).unwrap();
    let response = routes.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
