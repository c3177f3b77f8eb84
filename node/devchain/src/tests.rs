use std::fs;
use std::path::Path;
use std::time::Duration;

use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::transaction::eip2930::AccessList;
use ethers_core::types::{
    Eip1559TransactionRequest, Eip2930TransactionRequest, Signature, TransactionRequest,
};
use ethers_signers::{LocalWallet, Signer};
use protocol::time::UnixSeconds;
use revm::primitives::{Address, B256, Bytes, U256};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::block::{GAS_LIMIT, Header};
use super::filters::{Changes, Interest};
use super::journal::Op;
use super::limits::{LOG_BLOCKS_MAX, NONCE_GAP_MAX};
use super::transaction::{Transaction, TransactionError};
use super::view::{At, LogFilter};
use super::*;

mod journal;
mod readers;
mod time;

const CHAIN_ID: u64 = 1337;
const GWEI: u64 = 1_000_000_000;

/// A contract: input `01 word` stores the word and logs it under topic 0xaa,
/// `02 bytes` reverts with the bytes, anything else gives the stored word.
const CONTRACT: &str = concat!(
    "60418060",
    "0b6000396000f3", // copies what follows
    "60003560f81c8060011460",
    "1f5780600214",
    "603357",                                   // which of the three
    "60005460005260206000f3",                   // the word
    "5b600135806000558060005260aa60206000a200", // 01
    "5b60013603806001600037",
    "6000fd", // 02
);

struct Fixture {
    chain: Chain,
    now: Moment,
    wallet: LocalWallet,
    nonce: u64,
}

impl Fixture {
    fn new(mining: Mining) -> Self {
        let now = start();
        let mut chain = Chain::new(&config(mining), now);
        chain.take_ops();
        Self {
            chain,
            now,
            wallet: wallet(1),
            nonce: 0,
        }
    }

    fn command(&mut self, command: Command) -> Result<Outcome, ChainError> {
        self.chain.handle_command(command, self.now)
    }

    fn send(&mut self, request: Eip1559TransactionRequest) -> B256 {
        let request = request.nonce(self.nonce);
        self.nonce += 1;
        let raw = sign(&self.wallet, &request.into());
        match self.command(Command::Send(raw)) {
            Ok(Outcome::Hash(hash)) => hash,
            other => panic!("the transaction was not taken: {other:?}"),
        }
    }

    fn deploy(&mut self) -> Address {
        let hash = self.send(request().data(hex::decode(CONTRACT).unwrap()));
        let (_, _, included) = self.chain.view().included(hash).unwrap();
        included.receipt.contract_address.unwrap()
    }

    fn store(&mut self, contract: Address, word: u64) -> B256 {
        self.send(request().to(ethers(contract)).data(input(1, word)))
    }

    fn word(&self, contract: Address, at: At) -> Result<u64, ChainError> {
        let call = call(contract, Vec::new());
        let result = self.chain.view().call(at, call, self.now)?;
        Ok(U256::from_be_slice(&result.output().unwrap()[..]).to())
    }

    fn hashes(&self) -> Vec<B256> {
        let view = self.chain.view();
        (0..=view.height())
            .map(|number| view.block(number).unwrap().hash)
            .collect()
    }
}

fn start() -> Moment {
    Moment::from_unix(UnixSeconds(1_700_000_000))
}

fn config(mining: Mining) -> ChainConfig {
    let ether = U256::from(10).pow(U256::from(18));
    let funded = [1, 2].map(|seed| (address(&wallet(seed)), U256::from(1000) * ether));
    ChainConfig {
        chain_id: CHAIN_ID,
        mining,
        funded: funded.to_vec(),
        states_max: 64,
    }
}

fn wallet(seed: u8) -> LocalWallet {
    LocalWallet::from_bytes(&[seed; 32])
        .unwrap()
        .with_chain_id(CHAIN_ID)
}

fn address(wallet: &LocalWallet) -> Address {
    Address::from(wallet.address().0)
}

fn ethers(address: Address) -> ethers_core::types::Address {
    ethers_core::types::Address::from(address.into_array())
}

fn request() -> Eip1559TransactionRequest {
    Eip1559TransactionRequest::new()
        .chain_id(CHAIN_ID)
        .gas(500_000)
        .max_fee_per_gas(4 * GWEI)
        .max_priority_fee_per_gas(GWEI)
}

fn transfer(nonce: u64) -> Eip1559TransactionRequest {
    request()
        .to(ethers(Address::repeat_byte(7)))
        .value(1)
        .gas(21_000)
        .nonce(nonce)
}

fn sign(wallet: &LocalWallet, transaction: &TypedTransaction) -> Bytes {
    let signature = wallet.sign_transaction_sync(transaction).unwrap();
    Bytes::from(transaction.rlp_signed(&signature).to_vec())
}

fn input(kind: u8, word: u64) -> Vec<u8> {
    let mut input = vec![kind];
    input.extend(U256::from(word).to_be_bytes::<32>());
    input
}

fn call(to: Address, data: Vec<u8>) -> revm::context::TxEnv {
    let call = json!({ "to": json::bytes(to), "data": json::bytes(data) });
    serde_json::from_value::<json::Call>(call)
        .unwrap()
        .env(CHAIN_ID)
        .unwrap()
}

fn topic(word: u64) -> B256 {
    B256::from(U256::from(word))
}

#[test]
fn a_contract_is_deployed_called_and_remembers_every_block() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    fixture.store(contract, 5);
    fixture.store(contract, 6);

    assert_eq!(fixture.word(contract, At::Latest).unwrap(), 6);
    assert_eq!(fixture.word(contract, At::Number(2)).unwrap(), 5);
    assert_eq!(fixture.word(contract, At::Number(1)).unwrap(), 0);
    let view = fixture.chain.view();
    assert_eq!(view.height(), 3);
    for number in 1..=3 {
        let block = view.block(number).unwrap();
        assert_eq!(
            block.header.parent_hash,
            view.block(number - 1).unwrap().hash
        );
        assert_eq!(view.block_by_hash(block.hash).unwrap().hash, block.hash);
    }
}

#[test]
fn all_three_types_are_taken_and_hashed_as_their_signer_does() {
    let mut fixture = Fixture::new(Mining::Instant);
    let to = ethers(Address::repeat_byte(7));
    let legacy = TransactionRequest::new()
        .to(to)
        .value(1)
        .gas(21_000)
        .gas_price(2 * GWEI)
        .chain_id(CHAIN_ID);
    let listed = Eip2930TransactionRequest::new(
        legacy.clone().nonce(1).gas(30_000),
        AccessList(vec![
            ethers_core::types::transaction::eip2930::AccessListItem {
                address: to,
                storage_keys: vec![ethers_core::types::H256::repeat_byte(1)],
            },
        ]),
    );
    let transactions: [TypedTransaction; 3] =
        [legacy.nonce(0).into(), listed.into(), transfer(2).into()];
    for (type_id, transaction) in transactions.iter().enumerate() {
        let signature = fixture.wallet.sign_transaction_sync(transaction).unwrap();
        let raw = Bytes::from(transaction.rlp_signed(&signature).to_vec());
        let expected = B256::from(transaction.hash(&signature).0);
        let outcome = fixture.command(Command::Send(raw)).unwrap();
        assert!(matches!(outcome, Outcome::Hash(hash) if hash == expected));
        let (_, _, included) = fixture.chain.view().included(expected).unwrap();
        assert!(included.receipt.success);
        assert_eq!(usize::from(included.transaction.type_id), type_id);
        assert_eq!(included.transaction.from, address(&fixture.wallet));
    }
    let balance = fixture
        .chain
        .view()
        .world()
        .balance(Address::repeat_byte(7));
    assert_eq!(balance, U256::from(3));
}

#[test]
fn a_transaction_is_refused_for_each_way_of_being_wrong() {
    #[track_caller]
    fn check(raw: &[u8], expected: &str) {
        let mut fixture = Fixture::new(Mining::Instant);
        let raw = Bytes::copy_from_slice(raw);
        let error = fixture.command(Command::Send(raw)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        assert_eq!(fixture.chain.view().height(), 0);
    }
    let (rich, poor) = (wallet(1), wallet(3));
    let good: TypedTransaction = transfer(0).into();
    let raw = sign(&rich, &good);
    let signature = rich.sign_transaction_sync(&good).unwrap();
    let with = |change: &dyn Fn(&mut Signature)| {
        let mut signature = signature;
        change(&mut signature);
        good.rlp_signed(&signature).to_vec()
    };
    let order = ethers_core::types::U256::from_str_radix(
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        16,
    )
    .unwrap();

    check(&[], "empty");
    check(&[3, 0xc0], "type 3 (blob, EIP-4844) is not supported");
    check(&[4, 0xc0], "type 4 (set code, EIP-7702) is not supported");
    check(&[0x7e, 0xc0], "type 126 (unknown) is not supported");
    check(&raw[..raw.len() - 1], "does not decode");
    check(&[&raw[..], &[0]].concat(), "does not decode");
    check(
        &with(&|signature| {
            signature.s = order - signature.s;
            // The signer gives 35 or 36 plus twice the chain id.
            signature.v = 1 - (signature.v - 35 - 2 * CHAIN_ID);
        }),
        "high s",
    );
    check(
        &sign(
            &rich.clone().with_chain_id(5u64),
            &transfer(0).chain_id(5).into(),
        ),
        "names 5, this chain is 1337",
    );
    let unprotected: TypedTransaction = TransactionRequest::new()
        .to(ethers(Address::ZERO))
        .gas(21_000)
        .gas_price(GWEI)
        .nonce(0)
        .into();
    let v27 = Signature { v: 27, ..signature };
    let unprotected = match unprotected {
        TypedTransaction::Legacy(request) => request.rlp_signed(&v27),
        _ => unreachable!(),
    };
    check(&unprotected, "EIP-155");
    check(&sign(&poor, &good), "insufficient funds");
    check(
        &sign(&rich, &transfer(NONCE_GAP_MAX + 1).into()),
        "nonce too high",
    );
    check(
        &sign(
            &rich,
            &transfer(0)
                .max_fee_per_gas(1)
                .max_priority_fee_per_gas(1)
                .into(),
        ),
        "max fee per gas less than block base fee",
    );
    check(
        &sign(
            &rich,
            &transfer(0).max_priority_fee_per_gas(5 * GWEI).into(),
        ),
        "max priority fee per gas higher than max fee per gas",
    );
    check(
        &sign(&rich, &transfer(0).gas(GAS_LIMIT + 1).into()),
        "exceeds block gas limit",
    );
    check(
        &sign(&rich, &transfer(0).gas(20_999).into()),
        "intrinsic gas too low",
    );
}

#[test]
fn no_bytes_make_the_decoder_panic() {
    let raw = sign(&wallet(1), &transfer(0).into());
    for idx in 0..raw.len() {
        for value in [0, 1, 0x7f, 0x80, 0xb8, 0xc0, 0xf8, 0xff] {
            let mut changed = raw.to_vec();
            changed[idx] = value;
            if let Ok(transaction) = Transaction::decode(&changed, CHAIN_ID) {
                assert_eq!(transaction.raw, changed);
            }
        }
    }
    let large = vec![0xff; transaction::TRANSACTION_BYTES_MAX + 1];
    assert!(matches!(
        Transaction::decode(&large, CHAIN_ID),
        Err(TransactionError::TooLarge { .. })
    ));
}

#[test]
fn a_used_nonce_and_a_known_transaction_are_refused() {
    let mut fixture = Fixture::new(Mining::Instant);
    let raw = sign(&fixture.wallet, &transfer(0).into());
    fixture.command(Command::Send(raw.clone())).unwrap();
    assert!(matches!(
        fixture.command(Command::Send(raw)),
        Err(ChainError::AlreadyKnown { .. })
    ));
    let other = sign(&fixture.wallet, &transfer(0).value(2).into());
    assert!(matches!(
        fixture.command(Command::Send(other)),
        Err(ChainError::NonceTooLow { nonce: 0, next: 1 })
    ));
}

#[test]
fn a_revert_carries_its_data_and_its_reason() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    let mut payload = vec![2, 0x08, 0xc3, 0x79, 0xa0];
    payload.extend(ethers_core::abi::AbiEncode::encode("no room".to_owned()));
    let view = fixture.chain.view();
    let error = view
        .estimate_gas(At::Latest, call(contract, payload.clone()), fixture.now)
        .unwrap_err();
    assert_eq!(error.to_string(), "execution reverted: no room");
    assert_eq!(error.code(), 3);
    assert!(matches!(error, ChainError::Reverted { output } if output[..] == payload[1..]));

    // Sent all the same, it is mined and says so.
    let hash = fixture.send(request().to(ethers(contract)).data(payload));
    let (block, _, included) = fixture.chain.view().included(hash).unwrap();
    assert!(!included.receipt.success);
    assert_eq!(block.header.gas_used, included.receipt.gas_used);
}

#[test]
fn the_estimate_is_the_least_gas_that_works() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    let view = fixture.chain.view();
    let gas = view
        .estimate_gas(At::Latest, call(contract, input(1, 9)), fixture.now)
        .unwrap();
    let runs = |gas_limit| {
        let mut call = call(contract, input(1, 9));
        call.gas_limit = gas_limit;
        let result = view.call(At::Latest, call, fixture.now);
        result.is_ok_and(|result| result.is_success())
    };
    assert!(runs(gas));
    assert!(!runs(gas - 1));
    let wallet = view.estimate_gas(
        At::Latest,
        call(Address::repeat_byte(9), vec![]),
        fixture.now,
    );
    assert_eq!(wallet.unwrap(), 21_000);
}

#[test]
fn logs_are_found_by_contract_topic_and_range() {
    let mut fixture = Fixture::new(Mining::Instant);
    let (one, two) = (fixture.deploy(), fixture.deploy());
    for (contract, word) in [(one, 5), (two, 5), (one, 6)] {
        fixture.store(contract, word);
    }
    let view = fixture.chain.view();
    let check = |addresses: &[Address], topics: &[&[u64]], from, to, expected: &[u64]| {
        let filter = LogFilter {
            addresses: addresses.to_vec(),
            topics: topics
                .iter()
                .map(|wanted| wanted.iter().map(|word| topic(*word)).collect())
                .collect(),
        };
        let logs = view.logs(&filter, from, to).unwrap();
        let blocks: Vec<u64> = logs.iter().map(|log| log.block.header.number).collect();
        assert_eq!(blocks, expected, "{filter:?}");
    };
    check(&[], &[], 0, 99, &[3, 4, 5]);
    check(&[one], &[], 0, 99, &[3, 5]);
    check(&[one, two], &[], 4, 5, &[4, 5]);
    check(&[], &[&[0xaa]], 0, 99, &[3, 4, 5]);
    check(&[], &[&[], &[5]], 0, 99, &[3, 4]);
    check(&[one], &[&[0xaa], &[5, 6]], 0, 99, &[3, 5]);
    check(&[two], &[&[0xaa], &[6]], 0, 99, &[]);
    check(&[], &[&[0xaa], &[5], &[]], 0, 99, &[]);
    check(&[], &[&[5]], 0, 99, &[]);
    check(&[], &[], 6, 99, &[]);
}

#[test]
fn a_query_over_too_many_blocks_is_refused_by_number() {
    let mut fixture = Fixture::new(Mining::Manual);
    fixture.command(Command::mine(LOG_BLOCKS_MAX)).unwrap();
    let view = fixture.chain.view();
    let filter = LogFilter::default();
    assert!(view.logs(&filter, 1, LOG_BLOCKS_MAX).is_ok());
    let error = view.logs(&filter, 0, LOG_BLOCKS_MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "block range too wide: 10001 blocks, at most 10000 per query"
    );
}

#[test]
fn the_base_fee_follows_eip_1559_from_block_two() {
    let mut header = Fixture::new(Mining::Manual)
        .chain
        .view()
        .next_header(start());
    let mut check = |number, base_fee, gas_used, expected| {
        header = Header {
            number,
            base_fee,
            gas_used,
            ..header.clone()
        };
        assert_eq!(header.next_base_fee(), expected);
    };
    check(0, GWEI, 0, GWEI);
    check(1, GWEI, 0, 875_000_000);
    check(1, GWEI, GAS_LIMIT / 2, GWEI);
    check(1, GWEI, GAS_LIMIT, 1_125_000_000);
    check(2, 875_000_000, 21_000, 765_778_125);
    check(2, 7, GAS_LIMIT, 8);
    check(2, 7, 0, 7);
}

#[test]
fn interval_mining_puts_what_waits_into_one_block() {
    let mut fixture = Fixture::new(Mining::Interval(Duration::from_secs(5)));
    let other = wallet(2);
    let tip = |nonce, tip: u64| transfer(nonce).max_priority_fee_per_gas(tip);
    let sent: Vec<Bytes> = vec![
        sign(&fixture.wallet, &tip(1, GWEI).into()),
        sign(&fixture.wallet, &tip(0, GWEI).into()),
        sign(&other, &tip(0, 2 * GWEI).into()),
    ];
    for raw in &sent {
        fixture.command(Command::Send(raw.clone())).unwrap();
    }
    let view = fixture.chain.view();
    assert_eq!(view.height(), 0);
    assert_eq!(view.pending_nonce(address(&fixture.wallet)), 2);

    let (due, reason) = fixture.chain.poll_timeout().unwrap();
    assert_eq!(
        (due, reason),
        (start() + Duration::from_secs(5), "block interval")
    );
    fixture.chain.handle_timeout(due).unwrap();
    let block = fixture.chain.view().tip();
    let mined: Vec<&Bytes> = block
        .transactions
        .iter()
        .map(|included| &included.transaction.raw)
        .collect();
    // The best tip first, then one sender's in the order of their nonces.
    assert_eq!(mined, [&sent[2], &sent[1], &sent[0]]);
    assert_eq!(block.header.gas_used, 63_000);
    assert_eq!(block.transactions[2].receipt.cumulative_gas_used, 63_000);
    assert_eq!(fixture.chain.view().pool().count(), 0);
}

#[test]
fn a_higher_fee_replaces_what_waits() {
    let mut fixture = Fixture::new(Mining::Manual);
    let fee = |fee: u64| {
        transfer(0)
            .max_fee_per_gas(fee)
            .max_priority_fee_per_gas(fee / 4)
    };
    let send = |fixture: &mut Fixture, request: Eip1559TransactionRequest| {
        let raw = sign(&fixture.wallet, &request.into());
        fixture.command(Command::Send(raw))
    };
    send(&mut fixture, fee(4 * GWEI)).unwrap();
    let low = send(&mut fixture, fee(4 * GWEI + 4));
    assert!(matches!(low, Err(ChainError::Underpriced { .. })));
    let Outcome::Hash(hash) = send(&mut fixture, fee(5 * GWEI)).unwrap() else {
        panic!("no hash");
    };
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(fixture.chain.view().tip().transactions.len(), 1);
    assert!(fixture.chain.view().included(hash).is_some());
}

#[test]
fn a_gap_is_mined_when_it_is_filled() {
    let mut fixture = Fixture::new(Mining::Instant);
    for (nonce, height) in [(2, 0), (1, 0), (0, 1)] {
        let raw = sign(&fixture.wallet, &transfer(nonce).into());
        fixture.command(Command::Send(raw)).unwrap();
        assert_eq!(fixture.chain.view().height(), height);
    }
    assert_eq!(fixture.chain.view().tip().transactions.len(), 3);
}

#[test]
fn a_stalled_chain_takes_and_keeps_transactions() {
    let mut fixture = Fixture::new(Mining::Instant);
    fixture.command(Command::Stall(true)).unwrap();
    let hash = fixture.send(transfer(0));
    let refused = fixture.command(Command::mine(1));
    assert!(matches!(refused, Err(ChainError::Stalled)));
    assert_eq!(fixture.chain.view().height(), 0);
    assert!(fixture.chain.view().pooled(hash).is_some());
    fixture.command(Command::Stall(false)).unwrap();
    assert!(fixture.chain.view().included(hash).is_some());
}

#[test]
fn a_reorganisation_gives_other_hashes_and_keeps_or_drops_transactions() {
    for keep in [true, false] {
        let mut fixture = Fixture::new(Mining::Instant);
        let contract = fixture.deploy();
        let hash = fixture.store(contract, 5);
        fixture.store(contract, 6);
        let before = fixture.hashes();
        fixture.command(Command::Reorg { depth: 2, keep }).unwrap();
        let after = fixture.hashes();
        assert_eq!(after.len(), before.len() + 1);
        assert_eq!(after[..2], before[..2]);
        assert!(before[2..].iter().all(|hash| !after.contains(hash)));
        let view = fixture.chain.view();
        assert_eq!(view.included(hash).is_some(), keep);
        assert!(view.block_by_hash(before[2]).is_none());
        let expected = if keep { 6 } else { 0 };
        assert_eq!(fixture.word(contract, At::Latest).unwrap(), expected);
    }
}

#[test]
fn a_rewind_beyond_the_kept_states_is_refused() {
    let mut fixture = Fixture::new(Mining::Manual);
    for balance in 0..100_u64 {
        let set = Command::SetBalance {
            address: Address::repeat_byte(8),
            balance: U256::from(balance),
        };
        fixture.command(Command::mine(1)).unwrap();
        fixture.command(set).unwrap();
    }
    let deep = fixture.command(Command::Reorg {
        depth: 64,
        keep: true,
    });
    assert!(matches!(
        deep,
        Err(ChainError::ReorgDepth { depth: 64, max: 63 })
    ));
    let old = fixture.chain.view().world_at(At::Number(36));
    assert!(matches!(
        old,
        Err(ChainError::StatePruned {
            number: 36,
            oldest: 37
        })
    ));
    assert!(fixture.chain.view().world_at(At::Number(37)).is_ok());
    fixture
        .command(Command::Reorg {
            depth: 63,
            keep: true,
        })
        .unwrap();
    assert_eq!(fixture.chain.view().height(), 101);
}

#[test]
fn blocks_that_change_nothing_push_no_state_out() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    fixture.store(contract, 5);
    fixture.command(Command::mine(500)).unwrap();
    fixture.store(contract, 6);
    let check = |number, expected| {
        assert_eq!(
            fixture.word(contract, At::Number(number)).unwrap(),
            expected
        );
    };
    check(1, 0);
    check(2, 5);
    check(250, 5);
    check(502, 5);
    check(503, 6);
}

#[test]
fn a_snapshot_restores_state_time_and_base_fee() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    let Outcome::Number(id) = fixture.command(Command::Snapshot).unwrap() else {
        panic!("no id");
    };
    let (hashes, next) = (
        fixture.hashes(),
        fixture.chain.view().next_header(fixture.now),
    );
    fixture.store(contract, 5);
    fixture
        .command(Command::SetBalance {
            address: contract,
            balance: U256::from(9),
        })
        .unwrap();
    fixture
        .command(Command::IncreaseTime { seconds: 60 })
        .unwrap();
    for found in [true, false] {
        let outcome = fixture.command(Command::Revert { id }).unwrap();
        assert!(matches!(outcome, Outcome::Found(is) if is == found));
        assert_eq!(fixture.hashes(), hashes);
        assert_eq!(fixture.chain.view().world().balance(contract), U256::ZERO);
        let restored = fixture.chain.view().next_header(fixture.now);
        assert_eq!(restored.timestamp, next.timestamp);
        assert_eq!(restored.base_fee, next.base_fee);
    }
}

#[test]
fn time_goes_forward_only() {
    let mut fixture = Fixture::new(Mining::Manual);
    let timestamp = |fixture: &Fixture| fixture.chain.view().tip().header.timestamp;
    fixture.command(Command::mine(2)).unwrap();
    assert_eq!(timestamp(&fixture), 1_700_000_000);
    fixture
        .command(Command::IncreaseTime { seconds: 60 })
        .unwrap();
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(timestamp(&fixture), 1_700_000_060);
    let next = Command::SetTimestampNext {
        timestamp: 1_700_000_100,
    };
    fixture.command(next).unwrap();
    fixture.command(Command::mine(2)).unwrap();
    assert_eq!(timestamp(&fixture), 1_700_000_100);
    let back = fixture.command(Command::SetTimestampNext { timestamp: 1 });
    assert!(matches!(
        back,
        Err(ChainError::Timestamp { timestamp: 1, .. })
    ));
}

#[test]
fn a_polling_filter_sees_logs_come_and_go() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    let interest = Interest::Logs {
        filter: LogFilter {
            addresses: vec![contract],
            ..LogFilter::default()
        },
        from: At::Latest,
        to: At::Latest,
    };
    let Outcome::Number(id) = fixture.command(Command::InstallFilter(interest)).unwrap() else {
        panic!("no id");
    };
    let poll = |fixture: &mut Fixture| match fixture.command(Command::PollFilter { id }) {
        Ok(Outcome::Changes(Changes::Logs(logs))) => {
            logs.iter().map(|log| log.removed).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert!(poll(&mut fixture).is_empty());
    fixture.store(contract, 5);
    assert_eq!(poll(&mut fixture), [false]);
    assert!(poll(&mut fixture).is_empty());
    fixture
        .command(Command::Reorg {
            depth: 1,
            keep: true,
        })
        .unwrap();
    assert_eq!(poll(&mut fixture), [true, false]);
    fixture.command(Command::UninstallFilter { id }).unwrap();
    let gone = fixture.command(Command::PollFilter { id });
    assert!(matches!(gone, Err(ChainError::UnknownFilter)));
}

type Step = Box<dyn Fn(&mut Fixture)>;
