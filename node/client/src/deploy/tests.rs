use protocol::chain::{ContractKind, calls};
use rpc::CallRequest;
use tokio::sync::Notify;

use super::*;
use crate::testing::{TestChain, key, treasury, within};

fn config() -> DeployConfig {
    DeployConfig::development(treasury().address())
}

/// Runs a deployment up to a step and drops it there.
async fn stop_at(deployment: &Deployment, net: &TestChain, wallet: &Wallet, step: usize) {
    let reached = Notify::new();
    let tell = |progress: DeployProgress<'_>| {
        if progress.done == step {
            reached.notify_one();
        }
    };
    tokio::select! {
        biased;
        () = reached.notified() => {}
        done = deployment.run(&net.client, wallet, tell) => panic!("not stopped: {done:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_stopped_half_way_goes_on() {
    let net = TestChain::new().await;
    let wallet = Wallet::new(key(9));
    let deployment = Deployment::begin(&net.client, &wallet, config()).await;
    let deployment = deployment.unwrap();
    for step in [3, 9, 9] {
        within(stop_at(&deployment, &net, &wallet, step)).await;
    }
    let kept = serde_json::to_string(&deployment).unwrap();
    let deployment: Deployment = serde_json::from_str(&kept).unwrap();
    let mut steps = Vec::new();
    let tell = |progress: DeployProgress<'_>| steps.push((progress.done, progress.total));
    let contracts = within(deployment.run(&net.client, &wallet, tell)).await;
    let contracts = contracts.unwrap();
    assert_eq!(contracts, deployment.contracts());
    assert!(steps[0].0 >= 9, "{steps:?}");
    assert!(steps.iter().all(|(done, total)| done < total));
    for address in contracts.proxies().map(|(_, address)| address) {
        assert!(!net.client.code(address).await.unwrap().is_empty());
    }

    // What is done stays as it is.
    let again = deployment.run(&net.client, &wallet, |_| panic!("nothing is left"));
    assert_eq!(again.await, Ok(contracts));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_not_mixed_with_anything_else() {
    let net = TestChain::new().await;
    let wallet = Wallet::new(key(9));
    let begin = || Deployment::begin(&net.client, &wallet, config());
    let deployment = begin().await.unwrap();
    let other = Wallet::new(key(10));
    let error = deployment.run(&net.client, &other, |_| {}).await;
    assert!(matches!(error, Err(DeployError::OtherWallet { .. })));

    // A transaction in between took the address of a contract.
    transfer_ether(&net.client, &wallet, other.address(), U256::one())
        .await
        .unwrap();
    let error = deployment.run(&net.client, &wallet, |_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("begin another one"), "{error}");
    assert!(begin().await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_is_that_of_the_development_chain() {
    let net = TestChain::new().await;
    let wallet = Wallet::new(key(9));
    let deployment = Deployment::begin(&net.client, &wallet, config()).await;
    let deployment = deployment.unwrap();
    let cost = deployment.cost(&net.client).await.unwrap();
    let first = net.client.latest().await.unwrap().number + 1;
    deployment.run(&net.client, &wallet, |_| {}).await.unwrap();
    let last = net.client.latest().await.unwrap().number;
    assert_eq!(last + 1 - first, u64::try_from(cost.transactions).unwrap());
    let mut gas = 0;
    for number in first..=last {
        let block = serde_json::json!(format!("{number:#x}"));
        let parameters = vec![block, serde_json::json!(false)];
        let block = net.client.request("eth_getBlockByNumber", parameters).await;
        let used = block.unwrap()["gasUsed"].as_str().unwrap().to_owned();
        gas += u64::from_str_radix(&used[2..], 16).unwrap();
    }
    // A change of a contract within a twentieth needs no other estimate.
    assert!(
        gas.abs_diff(DEPLOY_GAS) < DEPLOY_GAS / 100,
        "it takes {gas}"
    );
    assert!(cost.wei > U256::from(DEPLOY_GAS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_deployment_is_named() {
    let net = TestChain::new().await;
    assert_eq!(verify(&net.client, &net.contracts).await, Ok(()));
    let mut contracts = net.contracts;
    contracts.evidence = Address([7; 20]);
    let error = verify(&net.client, &contracts).await.unwrap_err();
    assert!(error.to_string().contains("for Evidence"), "{error}");
    contracts.evidence = contracts.records;
    let error = verify(&net.client, &contracts).await.unwrap_err();
    assert!(
        error.to_string().contains("of Evidence, is not that"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_block_time_is_measured_once_there_are_blocks() {
    let net = TestChain::new().await;
    let error = block_time(&net.client).await.unwrap_err();
    assert!(error.to_string().contains("`--block-time`"), "{error}");
    net.chain.control().increase_time(13 * 200).await.unwrap();
    net.chain.control().mine(200).await.unwrap();
    let measured = block_time(&net.client).await.unwrap();
    assert!(measured < Duration::from_secs(14), "{measured:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deployer_keeps_no_rights_and_periods_are_real() {
    let net = TestChain::new().await;
    let contracts = net.contracts;
    let view = async |to: Address, kind: ContractKind, function: &str| {
        let data = calls::encode(kind, function, &[]);
        net.client.call(&CallRequest::view(to, data)).await.unwrap()
    };
    for (to, kind, function, blocks) in [
        (
            contracts.governance,
            ContractKind::Governance,
            "getVotingPeriod",
            172_800,
        ),
        (
            contracts.service_provider_factory,
            ContractKind::ServiceProviderFactory,
            "getDecreaseStakeLockupDuration",
            604_800,
        ),
        (
            contracts.claims_manager,
            ContractKind::ClaimsManager,
            "getFundingRoundBlockDiff",
            604_800,
        ),
    ] {
        let found = calls::decode_uint(&view(to, kind, function).await).unwrap();
        assert_eq!(found, U256::from(blocks), "{function}");
    }
    let guardian = view(
        contracts.governance,
        ContractKind::Governance,
        "getGuardianAddress",
    );
    let guardian = calls::decode_address(&guardian.await).unwrap();
    assert_eq!(guardian, treasury().address());
    let verifier = view(
        contracts.entity_manager,
        ContractKind::EntityManager,
        "verifier",
    );
    let verifier = calls::decode_address(&verifier.await).unwrap();
    assert_eq!(verifier, contracts.social_verifier);

    let take = [calls::address(treasury().address())];
    for (kind, to) in contracts.proxies() {
        let request = CallRequest {
            from: Some(treasury().address()),
            ..CallRequest::view(to, calls::encode(kind, "setGovernance", &take))
        };
        let error = net.client.estimate_gas(&request).await.unwrap_err();
        let RpcError::Revert(revert) = error else {
            panic!("{kind:?}: {error}");
        };
        assert_eq!(revert.name, "CallerIsNotGovernance", "{kind:?}");
    }
}
