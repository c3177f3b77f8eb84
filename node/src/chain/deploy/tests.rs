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
