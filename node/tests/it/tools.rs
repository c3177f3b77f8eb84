//! `cast`, ethers.js and viem against the embedded chain.

use std::path::Path;

use devchain::{DevChain, DevChainConfig, Mining};
use node::devnet::{Devnet, DevnetConfig};
use protocol::amount::U256;
use protocol::signing::SigningKey;
use rpc::Clock;

use crate::npm;

const CHAIN_ID: u64 = 1337;

/// Keys of `chain.mjs`.
const FUNDED: [[u8; 32]; 3] = [[1; 32], [2; 32], [3; 32]];

async fn check(program: &'static str) {
    let Some(folder) = npm::tools(program) else {
        return;
    };
    let ether = U256::exp10(18);
    let clock = Clock::system();
    let chain = DevChain::spawn(DevChainConfig {
        chain_id: CHAIN_ID,
        listen: ([127, 0, 0, 1], 0).into(),
        data: None,
        mining: Mining::Instant,
        funded: FUNDED
            .iter()
            .map(|key| {
                (
                    SigningKey::from_bytes(key).unwrap().address(),
                    ether * 1_000,
                )
            })
            .collect(),
        clock: devchain::Clock::new(move || clock.now()),
    })
    .await
    .unwrap();
    let variables = [
        ("CHAIN_URL", chain.url()),
        ("CHAIN_WS_URL", chain.ws_url()),
        ("ARTIFACTS", artifacts()),
    ];
    tokio::task::spawn_blocking(move || npm::node(&folder, program, &variables))
        .await
        .unwrap();
    chain.stop().await;
}

fn artifacts() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/contracts/artifacts");
    folder.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn ethers_works_against_the_embedded_chain() {
    check("ethers.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viem_works_against_the_embedded_chain() {
    check("viem.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cast_works_against_the_embedded_chain() {
    check("cast.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_refuses_what_ethers_signs_by_itself_and_says_why() {
    let Some(tools) = npm::tools("relay.mjs") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = DevnetConfig {
        peers: 1,
        operators: 1,
        zones: 1,
        data: folder.path().to_owned(),
        ..DevnetConfig::default()
    };
    let devnet = Devnet::start(config, |_| {}).await.unwrap();
    let peer = &devnet.peers()[0].node;
    let variables = [
        ("RELAY_URL", format!("{}/relay", peer.url())),
        ("PUBLISH_URL", format!("{}/v1/control/publish", peer.url())),
        ("OWNER_TOKEN", peer.token().to_owned()),
        (
            "ENTITY_MANAGER",
            devnet
                .contracts()
                .action_domain()
                .entity_manager
                .to_string(),
        ),
    ];
    tokio::task::spawn_blocking(move || npm::node(&tools, "relay.mjs", &variables))
        .await
        .unwrap();
    devnet.stop().await;
}
