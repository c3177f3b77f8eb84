use std::path::Path;
use std::time::Duration;

use protocol::chain::calls;
use protocol::entity::build::{Builder, UserFields};
use protocol::id::{Hash32, UserId};
use rpc::Transaction;

use super::*;

mod answers;

#[tokio::test(flavor = "multi_thread")]
async fn the_light_peer_learns_of_actions_from_gossip_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (config, devnet) = start(folder.path(), 3).await;
    create_user(&devnet, &config, 1).await;
    within("the light peer indexes", indexed(&devnet, 1)).await;
    devnet.stop().await;

    let devnet = Devnet::start(config.clone(), |_| {}).await.unwrap();
    within("the peers connect again", devnet.ready()).await;
    create_user(&devnet, &config, 2).await;
    within("the light peer goes on", indexed(&devnet, 2)).await;
    let snapshot = devnet.light().context().index.snapshot().unwrap();
    let user = snapshot.user_by_handle("user1").unwrap().unwrap();
    assert_eq!(user.user.handle, "user1");
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_other_contracts_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (config, devnet) = start(folder.path(), 1).await;
    devnet.stop().await;
    let mut plan = config.plan().unwrap();
    let contracts = plan.contracts.as_mut().unwrap();
    contracts.evidence = contracts.records;
    config.save(&plan).unwrap();
    let Err(error) = Devnet::start(config, |_| {}).await else {
        panic!("the network started");
    };
    let error = error.to_string();
    assert!(
        error.contains("contracts are not those of this version"),
        "{error}"
    );
    assert!(error.contains("of Evidence"), "{error}");
    assert!(error.contains("another folder"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reorganisation_every_index_is_that_of_the_new_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (config, devnet) = start(folder.path(), 3).await;
    for number in 1..=4 {
        create_user(&devnet, &config, number).await;
        within("the light peer indexes", indexed(&devnet, number)).await;
    }
    devnet.chain().control().reorg(3, false).await.unwrap();
    // Heads up to the highest signed number stay unsigned.
    devnet.chain().control().mine(8).await.unwrap();
    create_user(&devnet, &config, 5).await;
    within("all indexes agree", agreed(&devnet, "user5")).await;
    devnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_light_peer_fetches_thousands_of_entries() {
    const ENTRIES: u64 = 5_100;
    let folder = tempfile::tempdir().unwrap();
    let (config, devnet) = start(folder.path(), 2).await;
    follow_often(&devnet, &config, ENTRIES).await;
    for peer in devnet.peers() {
        let mut height = peer.node.context().index.height();
        let all = height.wait_for(|height| height.entries == ENTRIES);
        within("the staked peers index", all).await.unwrap();
    }
    devnet.stop().await;

    fs::remove_dir_all(folder.path().join("light")).unwrap();
    let devnet = Devnet::start(config, |_| {}).await.unwrap();
    within("the light peer has all", indexed(&devnet, ENTRIES)).await;
    let root = |node: &Node| {
        node.context()
            .index
            .snapshot()
            .unwrap()
            .fingerprint()
            .unwrap()
    };
    assert_eq!(root(devnet.light()), root(&devnet.peers()[0].node));
    devnet.stop().await;
}

/// A user follows and unfollows another, many times in a block.
async fn follow_often(devnet: &Devnet, config: &DevnetConfig, entries: u64) {
    let client = Client::new(&[devnet.chain().url()], None).unwrap();
    let control = devnet.chain().control();
    let wallet = Wallet::new(config.key(TREASURY));
    let keys = [config.key("follower"), config.key("followed")];
    let domain = devnet.contracts().action_domain();
    let mut transaction = Transaction {
        chain_id: config.chain_id,
        nonce: client.next_nonce(wallet.address()).await.unwrap(),
        to: Some(devnet.contracts().entity_manager),
        value: U256::zero(),
        data: Vec::new(),
        gas_limit: 110_000,
        max_fee: U256::exp10(12),
        max_priority_fee: U256::one(),
    };
    for number in 0..entries {
        if number % 200 == 0 {
            control.stall(false).await.unwrap();
            control.stall(true).await.unwrap();
        }
        let mut nonce = Hash32::ZERO;
        nonce.0[..8].copy_from_slice(&number.to_be_bytes());
        let idx = usize::from(number == 1);
        let builder = Builder {
            user: UserId(3_000_001 + idx as u64),
            nonce,
        };
        let action = match number {
            0 | 1 => builder.create_user(&UserFields {
                handle: Some(format!("often{number}")),
                ..UserFields::default()
            }),
            _ if number % 2 == 1 => builder.follow(UserId(3_000_002)),
            _ => builder.unfollow(UserId(3_000_002)),
        };
        transaction.data = calls::manage_entity(&action.sign(&domain, &keys[idx]));
        client
            .send_raw(&wallet.sign(&transaction).bytes)
            .await
            .unwrap();
        transaction.nonce += 1;
    }
    control.stall(false).await.unwrap();
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = DevnetConfig {
        peers: 2,
        operators: 3,
        data: folder.path().to_owned(),
        ..DevnetConfig::default()
    };
    let error = Devnet::start(config, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("--operators is 3"), "{error}");
}

async fn create_user(devnet: &Devnet, config: &DevnetConfig, number: u64) {
    let key = config.key(&format!("user-{number}"));
    let id = UserId(3_000_000 + number);
    let fields = UserFields {
        handle: Some(format!("user{number}")),
        ..UserFields::default()
    };
    let builder = Builder {
        user: id,
        nonce: Hash32([u8::try_from(number).unwrap(); 32]),
    };
    let action = builder
        .create_user(&fields)
        .sign(&devnet.contracts().action_domain(), &key);
    let wallet = Wallet::new(config.key(TREASURY));
    let context = devnet.light().context();
    let to = Some(devnet.contracts().entity_manager);
    context
        .chain
        .send(&wallet, to, calls::manage_entity(&action), U256::zero())
        .await
        .unwrap();
}

/// Waits until all peers have the user and the same entries.
async fn agreed(devnet: &Devnet, handle: &str) {
    let nodes: Vec<&Node> = devnet
        .peers()
        .iter()
        .map(|peer| &peer.node)
        .chain([devnet.light()])
        .collect();
    loop {
        let roots: BTreeSet<Option<Hash32>> = nodes
            .iter()
            .map(|node| {
                let snapshot = node.context().index.snapshot().unwrap();
                let user = snapshot.user_by_handle(handle).unwrap()?;
                assert_eq!(user.user.handle, handle);
                Some(snapshot.entries_root().unwrap())
            })
            .collect();
        if roots.len() == 1 && !roots.contains(&None) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn indexed(devnet: &Devnet, entries: u64) {
    let mut height = devnet.light().context().index.height();
    height
        .wait_for(|height| height.entries >= entries)
        .await
        .unwrap();
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .unwrap_or_else(|_| panic!("not within a minute: {what}"))
}

/// A network of so many staked peers, each of an operator of its own, connected.
async fn start(folder: &Path, peers: usize) -> (DevnetConfig, Devnet) {
    let config = DevnetConfig {
        peers,
        operators: peers,
        data: folder.to_owned(),
        ..DevnetConfig::default()
    };
    let devnet = Devnet::start(config.clone(), |_| {}).await.unwrap();
    within("the peers connect", devnet.ready()).await;
    (config, devnet)
}
