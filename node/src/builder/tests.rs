use super::*;

#[track_caller]
fn check(roles: &[Role], expected: &NetConfig) {
    let config = Config {
        roles: roles.iter().copied().collect(),
        ..Config::default()
    };
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let limits = |net: &NetConfig| {
        (
            net.neighbours_min,
            net.connections_max,
            net.connections_inbound_max,
            net.connections_pending_max,
            net.kad_server,
            net.autonat_server,
        )
    };
    assert_eq!(limits(&net_config(&config, &key)), limits(expected));
}

#[test]
fn a_light_peer_has_the_limits_of_a_light_peer() {
    check(&[], &NetConfig::light());
    for role in Role::ALL {
        check(&[role], &NetConfig::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_is_free_once_the_stop_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config {
        data: folder.path().to_owned(),
        roles: Role::ALL.into_iter().collect(),
        ..Config::default()
    };
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config.net.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.chain.rpc = vec!["http://127.0.0.1:1".to_owned()];
    let node = Node::start(config).await.unwrap();
    let floors = node.floors.clone();
    let url = format!("{}/v1/users?id=1", node.url());
    let asked = tokio::spawn(async move { while reqwest::get(&url).await.is_ok() {} });
    node.stop().await;
    assert!(floors.is_empty());
    let store = StoreHandle::open(folder.path(), BlockStoreConfig::with_size(1 << 30));
    assert!(store.is_ok(), "{store:?}");
    assert!(IndexHandle::open(folder.path()).is_ok());
    asked.await.unwrap();
}
