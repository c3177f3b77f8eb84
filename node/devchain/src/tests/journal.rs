//! What the journal keeps, and the chain as a server over it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;

/// Everything that a chain can write down, one command per element.
fn life() -> (Fixture, Vec<Vec<Op>>, Vec<Vec<B256>>) {
    let now = start();
    let chain = Chain::new(&config(Mining::Instant), now);
    let mut fixture = Fixture {
        chain,
        now,
        wallet: wallet(1),
        nonce: 0,
    };
    let (mut batches, mut hashes) = (vec![fixture.chain.take_ops()], vec![fixture.hashes()]);
    let contract = Address::from_slice(
        &ethers_core::utils::get_contract_address(fixture.wallet.address(), 0u64).0,
    );
    let balance = Command::SetBalance {
        address: address(&wallet(3)),
        balance: U256::from(77),
    };
    let steps: Vec<Step> = vec![
        Box::new(|fixture| {
            fixture.deploy();
        }),
        Box::new(move |fixture| {
            fixture.store(contract, 5);
        }),
        Box::new(move |fixture| drop(fixture.command(balance.clone()).unwrap())),
        Box::new(|fixture| drop(fixture.command(Command::mine(2)).unwrap())),
        Box::new(|fixture| drop(fixture.command(Command::Snapshot).unwrap())),
        Box::new(move |fixture| {
            fixture.store(contract, 6);
        }),
        Box::new(|fixture| {
            drop(
                fixture
                    .command(Command::Reorg {
                        depth: 4,
                        keep: true,
                    })
                    .unwrap(),
            );
        }),
        Box::new(|fixture| drop(fixture.command(Command::Revert { id: 1 }).unwrap())),
        Box::new(|fixture| {
            drop(
                fixture
                    .command(Command::IncreaseTime { seconds: 9 })
                    .unwrap(),
            )
        }),
        Box::new(|fixture| {
            fixture.command(Command::Stall(true)).unwrap();
            fixture.nonce = 2;
            fixture.send(transfer(0));
        }),
        Box::new(|fixture| drop(fixture.command(Command::Stall(false)).unwrap())),
    ];
    for step in steps {
        step(&mut fixture);
        batches.push(fixture.chain.take_ops());
        hashes.push(fixture.hashes());
    }
    (fixture, batches, hashes)
}

#[test]
fn a_replay_gives_the_same_chain() {
    let (fixture, batches, hashes) = life();
    for (count, expected) in (1..=batches.len()).zip(&hashes) {
        let ops = batches[..count].iter().flatten().cloned();
        let chain = Chain::replay(&config(Mining::Instant), ops, start()).unwrap();
        let replayed = Fixture {
            chain,
            ..Fixture::new(Mining::Instant)
        };
        assert_eq!(&replayed.hashes(), expected);
    }
    let ops = batches.into_iter().flatten();
    let chain = Chain::replay(&config(Mining::Instant), ops, start()).unwrap();
    assert_eq!(
        chain.view().world().digest(),
        fixture.chain.view().world().digest()
    );
    assert_eq!(
        chain.view().next_header(start()),
        fixture.chain.view().next_header(start())
    );
}

#[test]
fn what_waits_survives_a_replay() {
    let (_, batches, _) = life();
    let ops = batches[..batches.len() - 1].iter().flatten().cloned();
    let chain = Chain::replay(&config(Mining::Manual), ops, start()).unwrap();
    assert_eq!(chain.view().pool().count(), 1);
}

#[test]
fn a_replay_that_differs_is_refused_with_both_hashes() {
    let (_, batches, _) = life();
    let mut ops: Vec<Op> = batches.into_iter().flatten().collect();
    let Some(Op::Block { timestamp, .. }) = ops.get_mut(1) else {
        panic!("not a block");
    };
    *timestamp += 1;
    let error = Chain::replay(&config(Mining::Instant), ops, start()).unwrap_err();
    assert!(
        matches!(error, ReplayError::Hash { number: 1, .. }),
        "{error}"
    );
}

fn write(folder: &Path, batches: &[Vec<Op>]) {
    let (mut journal, ops, _) = Journal::open(folder).unwrap();
    assert!(ops.is_empty());
    for batch in batches.iter().filter(|batch| !batch.is_empty()) {
        journal.append(batch).unwrap();
    }
}

#[test]
fn a_journal_cut_anywhere_in_its_last_record_loses_that_record_only() {
    let folder = TempDir::new().unwrap();
    let (_, batches, _) = life();
    let before: Vec<Op> = batches[..batches.len() - 1]
        .iter()
        .flatten()
        .cloned()
        .collect();
    let all: Vec<Op> = batches.iter().flatten().cloned().collect();
    write(folder.path(), &batches[..batches.len() - 1]);
    let path = folder.path().join("chain.journal");
    let shorter = fs::read(&path).unwrap().len();
    fs::remove_file(&path).unwrap();
    write(folder.path(), &batches);
    let whole = fs::read(&path).unwrap();

    let (_, ops, torn_bytes) = Journal::open(folder.path()).unwrap();
    assert_eq!((ops, torn_bytes), (all, 0));
    for end in shorter..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let (mut journal, ops, torn_bytes) = Journal::open(folder.path()).unwrap();
        assert_eq!(ops, before, "cut at {end}");
        assert_eq!(torn_bytes, (end - shorter) as u64);
        // It goes on from there.
        journal.append(&[Op::Snapshot]).unwrap();
        drop(journal);
        let (_, ops, _) = Journal::open(folder.path()).unwrap();
        assert_eq!(ops.last(), Some(&Op::Snapshot));
        assert_eq!(ops.len(), before.len() + 1);
    }
    for end in 0..8 {
        fs::write(&path, &whole[..end]).unwrap();
        let (_, ops, _) = Journal::open(folder.path()).unwrap();
        assert!(ops.is_empty());
    }
}

#[test]
fn a_changed_byte_inside_a_journal_is_found() {
    let folder = TempDir::new().unwrap();
    let (_, batches, _) = life();
    write(folder.path(), &batches);
    let path = folder.path().join("chain.journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Journal::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("damaged at byte 8"), "{error}");
    bytes[0] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        Journal::open(folder.path()),
        Err(JournalError::Format { .. })
    ));
}

#[test]
fn a_change_that_cannot_be_written_is_taken_back() {
    let folder = TempDir::new().unwrap();
    let config = dev_config(Some(folder.path()));
    let (chain, journal) = open(&config).unwrap();
    let mut journal = journal.unwrap();
    // A handle that cannot write stands for a full disk.
    journal.file = fs::File::open(journal.path()).unwrap();
    let (views, latest) = watch::channel(Arc::new(chain.view().clone()));
    let mut actor = Actor {
        chain,
        journal: Some(journal),
        clock: config.clock,
        views,
    };
    let (reply, mut answer) = oneshot::channel();
    actor.handle_request(Request {
        command: Command::mine(1),
        reply,
    });
    let outcome = answer.try_recv().unwrap();
    assert!(matches!(outcome, Err(ChainError::Journal { .. })));
    assert_eq!(actor.chain.view().height(), 0);
    assert_eq!(latest.borrow().height(), 0);
}

fn dev_config(data: Option<&Path>) -> DevChainConfig {
    DevChainConfig {
        chain_id: CHAIN_ID,
        listen: ([127, 0, 0, 1], 0).into(),
        data: data.map(Path::to_owned),
        mining: Mining::Instant,
        funded: vec![(
            protocol::id::Address(wallet(1).address().0),
            ethers_core::types::U256::exp10(21),
        )],
        clock: Clock::new(present),
    }
}

async fn ask(url: &str, method: &str, params: Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer = reqwest::Client::new().post(url).json(&request).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    match answer.get("result") {
        Some(result) => result.clone(),
        None => answer["error"].clone(),
    }
}

#[tokio::test]
async fn a_chain_speaks_json_rpc_and_comes_back_with_everything() {
    let folder = TempDir::new().unwrap();
    let chain = DevChain::spawn(dev_config(Some(folder.path())))
        .await
        .unwrap();
    let url = chain.url();
    assert_eq!(ask(&url, "eth_chainId", json!([])).await, "0x539");

    let deploy: TypedTransaction = request()
        .data(hex::decode(CONTRACT).unwrap())
        .nonce(0)
        .into();
    let raw = json::bytes(sign(&wallet(1), &deploy));
    let hash = ask(&url, "eth_sendRawTransaction", json!([raw])).await;
    let receipt = ask(&url, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1");
    let contract = &receipt["contractAddress"];
    let store: TypedTransaction = request()
        .to(contract
            .as_str()
            .unwrap()
            .parse::<ethers_core::types::Address>()
            .unwrap())
        .data(input(1, 5))
        .nonce(1)
        .into();
    let raw = json::bytes(sign(&wallet(1), &store));
    ask(&url, "eth_sendRawTransaction", json!([raw])).await;

    let call = json!([{ "to": contract, "data": "0x02112233" }, "latest"]);
    let error = ask(&url, "eth_call", call).await;
    assert_eq!(
        error,
        json!({ "code": 3, "message": "execution reverted", "data": "0x112233" })
    );
    let filter = json!([{ "fromBlock": "earliest", "address": [contract], "topics": [null, [json::bytes(topic(5))]] }]);
    let logs = ask(&url, "eth_getLogs", filter.clone()).await;
    assert_eq!(logs.as_array().unwrap().len(), 1);
    let tip = ask(&url, "eth_getBlockByNumber", json!(["latest", true])).await;
    assert_eq!(tip["transactions"][0]["nonce"], "0x1");
    let typed: ethers_core::types::Block<ethers_core::types::Transaction> =
        serde_json::from_value(tip.clone()).unwrap();
    assert_eq!(typed.number.unwrap().as_u64(), 2);

    let second = DevChain::spawn(dev_config(Some(folder.path()))).await;
    let error = second.unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    let taken = DevChainConfig {
        listen: url.trim_start_matches("http://").parse().unwrap(),
        ..dev_config(None)
    };
    let error = DevChain::spawn(taken).await.unwrap_err().to_string();
    assert!(error.contains("may be taken by another process"), "{error}");
    chain.stop().await;

    let other = DevChainConfig {
        chain_id: 1,
        ..dev_config(Some(folder.path()))
    };
    let error = DevChain::spawn(other).await.unwrap_err().to_string();
    assert!(error.contains("id 1337, not 1"), "{error}");

    let chain = DevChain::spawn(dev_config(Some(folder.path())))
        .await
        .unwrap();
    assert_eq!(
        ask(
            &chain.url(),
            "eth_getBlockByNumber",
            json!(["latest", true])
        )
        .await,
        tip
    );
    assert_eq!(ask(&chain.url(), "eth_getLogs", filter).await, logs);
    chain.control().reorg(1, false).await.unwrap();
    assert_eq!(ask(&chain.url(), "eth_blockNumber", json!([])).await, "0x3");
    chain.stop().await;
}

fn present() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment::ZERO + since.unwrap()
}
