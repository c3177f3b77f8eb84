//! What readers of the chain are told, and what the block to come looks like.

use super::*;
use crate::filters::{STEP_BLOCKS_MAX, Seen};

/// What a reader sees from its last look to this one: removed and mined numbers.
fn looked(seen: &mut Seen, fixture: &Fixture) -> (Vec<u64>, Vec<u64>) {
    let (mut removed, mut mined) = (Vec::new(), Vec::new());
    loop {
        let step = seen.step(fixture.chain.view());
        if step.is_empty() {
            return (removed, mined);
        }
        assert!(step.removed.len() <= STEP_BLOCKS_MAX && step.mined.len() <= STEP_BLOCKS_MAX);
        removed.extend(step.removed.iter().map(|block| block.header.number));
        mined.extend(step.mined.iter().map(|block| block.header.number));
    }
}

#[test]
fn a_reader_misses_nothing_however_long_it_sleeps() {
    let mut fixture = Fixture::new(Mining::Manual);
    let mut seen = Seen::of(fixture.chain.view());
    assert_eq!(looked(&mut seen, &fixture), (vec![], vec![]));
    fixture.command(Command::mine(10_000)).unwrap();
    assert_eq!(
        looked(&mut seen, &fixture),
        (vec![], (1..=10_000).collect())
    );
    let reorg = |depth| Command::Reorg { depth, keep: true };
    fixture.command(reorg(3)).unwrap();
    let expected = (vec![10_000, 9_999, 9_998], (9_998..=10_001).collect());
    assert_eq!(looked(&mut seen, &fixture), expected);
    fixture.command(reorg(9_000)).unwrap();
    let (removed, mined) = looked(&mut seen, &fixture);
    assert_eq!(removed, (1_002..=10_001).rev().collect::<Vec<_>>());
    assert_eq!(mined, (1_002..=10_002).collect::<Vec<_>>());
    assert_eq!(looked(&mut seen, &fixture), (vec![], vec![]));
}

#[test]
fn a_reader_sees_a_return_to_a_snapshot_as_removed_blocks() {
    let mut fixture = Fixture::new(Mining::Manual);
    fixture.command(Command::mine(5)).unwrap();
    let Outcome::Number(id) = fixture.command(Command::Snapshot).unwrap() else {
        panic!("no id");
    };
    fixture.command(Command::mine(2)).unwrap();
    let mut seen = Seen::of(fixture.chain.view());
    fixture.command(Command::Revert { id }).unwrap();
    assert_eq!(looked(&mut seen, &fixture), (vec![7, 6], vec![]));
}

#[test]
fn a_filter_for_sent_transactions_gives_each_once() {
    let mut fixture = Fixture::new(Mining::Manual);
    let install = Command::InstallFilter(Interest::Transactions);
    let Outcome::Number(id) = fixture.command(install).unwrap() else {
        panic!("no id");
    };
    let poll = |fixture: &mut Fixture| match fixture.command(Command::PollFilter { id }) {
        Ok(Outcome::Changes(Changes::Hashes(hashes))) => hashes,
        other => panic!("{other:?}"),
    };
    let sent = [fixture.send(transfer(0)), fixture.send(transfer(1))];
    assert_eq!(poll(&mut fixture), sent);
    fixture.command(Command::mine(1)).unwrap();
    let reorg = Command::Reorg {
        depth: 1,
        keep: true,
    };
    fixture.command(reorg).unwrap();
    assert!(poll(&mut fixture).is_empty());
}

#[test]
fn the_pending_block_shows_what_would_be_mined() {
    let mut fixture = Fixture::new(Mining::Manual);
    let hash = fixture.send(request().data(hex::decode(CONTRACT).unwrap()));
    let (block, _) = fixture.chain.view().pending(fixture.now);
    assert_eq!(block.transactions[0].transaction.hash, hash);
    let contract = block.transactions[0].receipt.contract_address.unwrap();
    fixture.store(contract, 5);
    assert_eq!(fixture.word(contract, At::Pending).unwrap(), 5);
    assert_eq!(fixture.word(contract, At::Latest).unwrap(), 0);
    let (block, world) = fixture.chain.view().pending(fixture.now);
    fixture.command(Command::mine(1)).unwrap();
    // Nothing came in between, so it is the block that was mined.
    assert_eq!(fixture.chain.view().tip().hash, block.hash);
    assert_eq!(fixture.chain.view().world().digest(), world.digest());
}

#[test]
fn an_access_list_names_the_words_that_a_call_reads() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    let view = fixture.chain.view();
    let (list, gas, error) = view
        .access_list(At::Latest, call(contract, input(1, 9)), fixture.now)
        .unwrap();
    assert_eq!(list.0.len(), 1);
    assert_eq!(list.0[0].address, contract);
    assert_eq!(list.0[0].storage_keys, [B256::ZERO]);
    assert_eq!(error, None);
    let mut listed = call(contract, input(1, 9));
    listed.access_list = list;
    listed.tx_type = 1;
    let used = view.call(At::Latest, listed, fixture.now).unwrap();
    assert_eq!(used.tx_gas_used(), gas);

    let (_, _, error) = view
        .access_list(At::Latest, call(contract, vec![2, 1]), fixture.now)
        .unwrap();
    assert_eq!(error.unwrap(), "execution reverted");
}

#[test]
fn state_that_was_set_is_read_and_comes_back() {
    let mut fixture = Fixture::new(Mining::Instant);
    fixture.chain = Chain::new(&config(Mining::Instant), fixture.now);
    let at = Address::repeat_byte(9);
    let runtime = hex::decode(&CONTRACT[22..]).unwrap();
    let commands = [
        Command::SetCode {
            address: at,
            code: Bytes::from(runtime),
        },
        Command::SetWord {
            address: at,
            key: U256::ZERO,
            word: U256::from(42),
        },
        Command::SetNonce {
            address: at,
            nonce: 7,
        },
    ];
    for command in commands {
        fixture.command(command).unwrap();
    }
    assert_eq!(fixture.word(at, At::Latest).unwrap(), 42);
    assert_eq!(fixture.chain.view().world().nonce(at), 7);
    let ops = fixture.chain.take_ops();
    let chain = Chain::replay(&config(Mining::Instant), ops, start()).unwrap();
    assert_eq!(
        chain.view().world().digest(),
        fixture.chain.view().world().digest()
    );
    assert_eq!(chain.view().world().word(at, U256::ZERO), U256::from(42));
}

#[test]
fn calls_of_other_types_and_endless_filters_are_refused() {
    let refused = |field: &str| {
        let call = json!({ "to": json::bytes(Address::ZERO), field: [{}] });
        let call: json::Call = serde_json::from_value(call).unwrap();
        call.env(CHAIN_ID).unwrap_err()
    };
    assert!(refused("authorizationList").contains("type 4"));
    assert!(refused("blobVersionedHashes").contains("type 3"));
    let filter = |count| {
        let addresses = vec![json::bytes(Address::ZERO); count];
        let filter: json::Filter = serde_json::from_value(json!({ "address": addresses })).unwrap();
        filter.logs()
    };
    assert!(filter(4_096).is_ok());
    let error = filter(4_097).unwrap_err();
    assert!(error.contains("4097 addresses"), "{error}");
}
