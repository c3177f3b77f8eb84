use rpc::TransactError;

use super::*;

fn config(confirmations: u64) -> TransactConfig {
    TransactConfig {
        confirmations,
        patience: Duration::from_secs(60),
        poll_interval: Duration::from_millis(100),
        ..TransactConfig::default()
    }
}

fn is_mined(progress: &Progress) -> bool {
    matches!(progress, Progress::Mined(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_tells_how_far_it_is_and_survives_a_reorganisation() {
    let net = TestChain::new().await;
    let (control, client) = (net.chain.control(), net.client.clone());
    let to = net.contracts.entity_manager;
    let from = wallet(4);
    let cost = estimate(&client, from.address(), to, net.action(1), U256::zero())
        .await
        .unwrap();
    assert!(cost.gas > 21_000 && cost.fee > U256::zero() && cost.fee_max > cost.fee);

    let (steps, mut told) = mpsc::channel(64);
    let data = net.action(1);
    let sending = tokio::spawn(async move {
        let progress = |step| steps.try_send(step).unwrap();
        transact_with(&client, &from, to, data, U256::zero(), &config(2), progress).await
    });
    let mut steps = Vec::new();
    while !steps.last().is_some_and(is_mined) {
        steps.push(within(told.recv()).await.unwrap());
    }
    assert!(matches!(steps[0], Progress::Sent { bumps: 0, .. }));
    // It is gone with its block, and broadcast again.
    control.reorg(1, false).await.unwrap();
    let mut undone = false;
    while !(undone && steps.last().is_some_and(is_mined)) {
        steps.push(within(told.recv()).await.unwrap());
        undone |= matches!(steps.last(), Some(Progress::Undone { .. }));
    }
    control.mine(2).await.unwrap();
    let receipt = within(sending).await.unwrap().unwrap();
    assert!(receipt.succeeded);
    let block = net.client.block(receipt.block.number).await.unwrap();
    assert_eq!(block.unwrap().hash, receipt.block.hash);
    assert!(receipt.gas_used <= cost.gas);
    while let Some(step) = told.recv().await {
        steps.push(step);
    }
    assert_eq!(steps.last(), Some(&Progress::Confirmed { count: 2, of: 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_revert_is_not_sent_and_what_did_says_why() {
    let net = TestChain::new().await;
    let to = net.contracts.entity_manager;
    let send = |seed: u8, data: Vec<u8>| {
        let client = net.client.clone();
        async move {
            let from = wallet(seed);
            let config = config(0);
            transact_with(&client, &from, to, data, U256::zero(), &config, |_| {}).await
        }
    };
    // Both are sound when they are sent, and one of them comes first.
    net.chain.control().stall(true).await.unwrap();
    let (one, other) = (
        tokio::spawn(send(4, net.action(1))),
        tokio::spawn(send(5, net.action(1))),
    );
    within(async {
        while net.client.next_nonce(wallet(4).address()).await != Ok(1)
            || net.client.next_nonce(wallet(5).address()).await != Ok(1)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    net.chain.control().stall(false).await.unwrap();
    let mut outcomes = [within(one).await.unwrap(), within(other).await.unwrap()];
    outcomes.sort_by_key(Result::is_err);
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let Err(TransactError::Reverted { reason, .. }) = &outcomes[1] else {
        panic!("an action counts once: {outcomes:?}");
    };
    assert_eq!(reason.name, "ActionIsUsed");

    let again = within(send(4, net.action(1))).await;
    let Err(TransactError::Rpc(RpcError::Revert(reason))) = again else {
        panic!("nothing was to be sent: {again:?}");
    };
    assert_eq!(reason.name, "ActionIsUsed");
}
