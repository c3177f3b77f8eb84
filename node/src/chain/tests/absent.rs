//! The chain is away, or far ahead.

use std::collections::BTreeSet;

use serde_json::Value;

use super::door::Door;
use super::*;
use crate::builder::Node;
use crate::config::Config;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_and_serves_what_it_has_while_no_endpoint_answers() {
    let net = TestChain::new().await;
    net.stake(2).await;
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&net.chain.url()).await;
    let config = |url: String| {
        let mut config = Config {
            data: folder.path().to_owned(),
            roles: BTreeSet::from([Role::Discovery]),
            url: Some("http://127.0.0.1:1".parse().unwrap()),
            ..Config::default()
        };
        config.http.listen = ([127, 0, 0, 1], 0).into();
        config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.chain.rpc = vec![url];
        config.chain.contracts = net.contracts;
        config.chain.confirmations = 0;
        config.chain.poll_interval = Duration::from_millis(50);
        config
    };
    let node = Node::start(config(door.url.clone())).await.unwrap();
    let block = net.send(1).await.block;
    within(async {
        while node.context().index.height().borrow().entries < 1
            || node.context().chain.registry().borrow().block() != block
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    node.stop().await;

    // A port that is taken and that nothing listens on.
    let dead = tokio::net::TcpSocket::new_v4().unwrap();
    dead.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = dead.local_addr().unwrap();
    let url = format!("http://{address}");
    let node = Node::start(config(url)).await.unwrap();
    let health = health(&node).await;
    assert_eq!(health["live"], true);
    assert_eq!(health["ready"], true, "{health}");
    assert_eq!(health["chain"]["connected"], false);
    let error = health["chain"]["error"].as_str().unwrap();
    assert!(error.contains(&address.to_string()), "{error}");
    assert_eq!(health["chain"]["endpoints"][0]["state"], "failing");
    assert_eq!(health["index"]["entries"], 1);
    let peer = peer_key(2).address();
    assert!(
        node.context()
            .chain
            .snapshot()
            .borrow()
            .peer(&peer)
            .is_some()
    );

    let listener = dead.listen(16).unwrap();
    let (_door, router) = Door::new(&net.chain.url(), format!("http://{address}"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut status = node.context().chain.status();
    within(status.wait_for(|status| status.connected))
        .await
        .unwrap();
    net.send(2).await;
    let mut height = node.context().index.height();
    within(height.wait_for(|height| height.entries == 2))
        .await
        .unwrap();
    node.stop().await;
}

async fn health(node: &Node) -> Value {
    let url = format!("{}/health", node.url());
    // The first look at the chain may be under way.
    within(async {
        loop {
            let answer = reqwest::get(&url).await.unwrap();
            let health: Value = answer.json().await.unwrap();
            if !health["chain"]["error"].is_null() {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weeks_of_blocks_mined_at_once_are_followed_with_few_requests() {
    let net = TestChain::with_snapshots(256).await;
    let door = Door::open(&net.chain.url()).await;
    let handle = net.handle(vec![door.url.clone()]);
    let mut events = handle.subscribe_entries(net.contracts.start());
    let mut replica = Replica::default();
    let before = net.send(1).await.block.number;
    replica.follow(&mut events, before).await;
    door.take_asked();

    let control = net.chain.control();
    control.increase_time(7 * 24 * 3600).await.unwrap();
    control.mine(46_523).await.unwrap();
    let tip = net.send(2).await.block;
    replica.follow(&mut events, tip.number).await;
    let mut registry = handle.registry();
    within(registry.wait_for(|registry| registry.block() == tip))
        .await
        .unwrap();
    // Two followers; how often the head is looked at depends on the machine.
    let asked = door.take_asked();
    let is_reading = |method: &&String| *method == "batch" || *method == "eth_getLogs";
    let reads = asked.iter().filter(is_reading).count();
    assert!(reads < 300, "{reads} requests");
    assert_eq!(replica.ids().len(), 2);
    let mut snapshot = handle.snapshot();
    within(snapshot.wait_for(|registry| registry.block().number == tip.number / 256 * 256))
        .await
        .unwrap();
}
