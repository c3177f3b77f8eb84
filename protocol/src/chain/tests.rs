use ethers_core::abi::{Token, encode};
use ethers_core::utils::keccak256;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::action::{Action, ActionDomain, SignedAction};
use crate::amount::Dgc;
use crate::id::{Address, EntityId, Hash32, OperatorNumber, Role, ServiceId, UserId, Zone};
use crate::records::Confirm;
use crate::registry::{BlockRef, Confirmation, RegistryEvent};
use crate::signing::{Record, SigningKey};
use crate::time::UnixSeconds;

fn contracts() -> Contracts {
    let address = |byte| Address([byte; 20]);
    Contracts {
        chain_id: 1337,
        deployed_block: 1,
        snapshot_blocks: 1,
        registry: address(1),
        token: address(2),
        service_type_manager: address(3),
        staking: address(4),
        governance: address(5),
        service_provider_factory: address(6),
        peer_registry: address(7),
        trusted_notifier_manager: address(8),
        evidence: address(9),
        records: address(10),
        entity_manager: address(11),
        social_verifier: address(12),
        payment_router: address(13),
        delegate_manager: address(14),
        claims_manager: address(15),
    }
}

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32]).unwrap()
}

fn header() -> BlockHeader {
    BlockHeader {
        number: 9,
        hash: Hash32([9; 32]),
        parent: Hash32([8; 32]),
        time: UnixSeconds(1_000),
        base_fee: None,
    }
}

fn log(address: Address, log_index: u64, topics: Vec<Hash32>, data: &[Token]) -> Log {
    Log {
        address,
        topics,
        data: encode(data),
        block_number: 9,
        block_hash: Hash32([9; 32]),
        tx_hash: Hash32([1; 32]),
        log_index,
    }
}

fn topic(signature: &str) -> Hash32 {
    Hash32(keccak256(signature))
}

fn word(address: Address) -> Hash32 {
    let mut word = Hash32::ZERO;
    word.0[12..].copy_from_slice(&address.0);
    word
}

fn number(value: u64) -> Hash32 {
    let mut word = Hash32::ZERO;
    word.0[24..].copy_from_slice(&value.to_be_bytes());
    word
}

fn signed_action(domain: &ActionDomain) -> SignedAction {
    Action {
        user_id: UserId(3_000_001),
        entity_type: "Track".into(),
        entity_id: EntityId(2_000_001),
        action: "Create".into(),
        metadata: r#"{"cid":"x","data":{}}"#.into(),
        nonce: Hash32([4; 32]),
    }
    .sign(domain, &key(5))
}

/// The two logs that `EntityManager` writes for an action.
fn action_logs(contracts: &Contracts, signed: &SignedAction, log_index: u64) -> [Log; 2] {
    let action = &signed.action;
    let manage = log(
        contracts.entity_manager,
        log_index,
        vec![topic(
            "ManageEntity(uint256,address,string,uint256,string,string)",
        )],
        &[
            calls::number(action.user_id.0),
            calls::address(key(5).address()),
            calls::text(&action.entity_type),
            calls::number(action.entity_id.0),
            calls::text(&action.metadata),
            calls::text(&action.action),
        ],
    );
    let signed = log(
        contracts.entity_manager,
        log_index + 1,
        vec![topic("Signed(bytes32,bytes32,bytes)")],
        &[
            calls::hash(action.digest(&contracts.action_domain())),
            calls::hash(action.nonce),
            Token::Bytes(signed.signature.0.to_vec()),
        ],
    );
    [manage, signed]
}

#[test]
fn contracts_survive_text_and_an_older_form_names_its_remedy() {
    let contracts = contracts();
    let mut text = serde_json::to_value(contracts).unwrap();
    assert_eq!(text["serviceProviderFactory"], json!(Address([6; 20])));
    assert_eq!(
        serde_json::from_value::<Contracts>(text.clone()).unwrap(),
        contracts
    );
    text.as_object_mut().unwrap().remove("governance");
    let error = serde_json::from_value::<Contracts>(text).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("missing field `governance`"), "{error}");
    assert!(error.contains("`coliving chain info --json`"), "{error}");
    let proxies = contracts.proxies().map(|(_, address)| address);
    let distinct: std::collections::BTreeSet<Address> = proxies.into_iter().collect();
    assert_eq!(distinct.len(), ContractKind::ALL.len() - 1);
}

#[test]
fn every_artifact_has_code_and_functions() {
    for kind in ContractKind::ALL {
        assert!(artifact(kind).bytecode.len() > 100, "{kind:?}");
    }
    let call = calls::manage_entity(&signed_action(&contracts().action_domain()));
    assert_eq!(call[..4], [0xd6, 0x22, 0xc7, 0x2d]);
}

#[test]
fn every_call_can_be_encoded() {
    let (owner, stake) = (Address([1; 20]), Dgc::whole(1));
    let confirm = Confirm {
        role: Role::Content,
        service_id: ServiceId(1),
        operator: owner,
        public_key: key(5).public_key().to_vec(),
        zone: Zone::new("eu-1"),
        nonce: 0,
    };
    let signature = key(5).sign(&confirm.digest(&contracts().domain()));
    let public_key = key(5).public_key();
    let all = [
        calls::approve(owner, stake),
        calls::transfer(owner, stake),
        calls::register(Role::Content, "http://a", stake, owner),
        calls::deregister(Role::Content, "http://a"),
        calls::increase_stake(stake),
        calls::confirm(Role::Content, ServiceId(1), &public_key, Zone::new("eu-1")),
        calls::confirm_with_signature(&confirm, &signature),
        calls::confirm_nonce(owner),
        calls::snapshot_blocks(),
        calls::is_used(Hash32::ZERO, owner),
    ];
    let mut selectors: Vec<&[u8]> = all.iter().map(|data| &data[..4]).collect();
    selectors.sort_unstable();
    selectors.dedup();
    assert_eq!(selectors.len(), all.len());
}

#[test]
fn two_logs_make_an_entry_whoever_called() {
    let contracts = contracts();
    let domain = contracts.action_domain();
    let signed = signed_action(&domain);
    let mut logs = action_logs(&contracts, &signed, 4).to_vec();
    let foreign = log(Address([0xee; 20]), 6, vec![topic("Other()")], &[]);
    logs.push(foreign);
    let (entries, skipped) = entries_from_logs(&domain, &header(), &logs);
    assert_eq!(skipped, []);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].action, signed);
    assert_eq!(entries[0].position.log_index, 4);
    assert_eq!(entries[0].position.block_time, UnixSeconds(1_000));
    assert_eq!(entries[0].position.tx_hash, Hash32([1; 32]));
}

#[test]
fn a_pair_that_does_not_fit_is_skipped_and_the_next_is_read() {
    type Change = fn(&mut [Log; 2]);
    let contracts = contracts();
    let domain = contracts.action_domain();
    let signed = signed_action(&domain);
    let changes: [(&str, Change); 8] = [
        ("another transaction", |logs| {
            logs[1].tx_hash = Hash32([2; 32]);
        }),
        ("a gap", |logs| logs[1].log_index += 1),
        ("another contract", |logs| {
            logs[1].address = Address([8; 20]);
        }),
        ("another event", |logs| logs[1].topics[0] = Hash32([1; 32])),
        ("another user", |logs| logs[0].data[31] ^= 1),
        ("another signer", |logs| logs[0].data[63] ^= 1),
        ("another nonce", |logs| logs[1].data[63] ^= 1),
        ("cut off", |logs| logs[0].data.truncate(100)),
    ];
    for (name, change) in changes {
        let mut logs = action_logs(&contracts, &signed, 0);
        change(&mut logs);
        let good = action_logs(&contracts, &signed, 10);
        let all = [logs, good].concat();
        let (entries, skipped) = entries_from_logs(&domain, &header(), &all);
        assert_eq!(entries.len(), 1, "{name}");
        assert_eq!(entries[0].position.log_index, 10, "{name}");
        assert_eq!(skipped.len(), 1, "{name}");
    }
}

#[test]
fn registry_logs_become_events() {
    let contracts = contracts();
    let (operator, peer) = (Address([0xaa; 20]), key(5));
    let service = |signature: &str| {
        vec![
            topic(signature),
            Role::Content.service_type_bytes(),
            number(7),
            word(operator),
        ]
    };
    let check = |log: Log, expected: RegistryEvent| {
        assert_eq!(
            registry_event_from_log(&contracts, &log),
            Ok(Some(expected))
        );
    };
    let (role, id) = (Role::Content, ServiceId(7));
    let factory = contracts.service_provider_factory;
    let endpoint = String::from("http://peer");
    let wallet = peer.address();
    check(
        log(
            factory,
            0,
            service("ServiceRegistered(bytes32,uint256,address,string,address)"),
            &[calls::text(&endpoint), calls::address(wallet)],
        ),
        RegistryEvent::Registered {
            role,
            id,
            operator,
            endpoint: endpoint.clone(),
            wallet,
        },
    );
    check(
        log(
            factory,
            0,
            service("ServiceDeregistered(bytes32,uint256,address)"),
            &[],
        ),
        RegistryEvent::Deregistered { role, id },
    );
    check(
        log(
            factory,
            0,
            service("EndpointUpdated(bytes32,uint256,address,string)"),
            &[calls::text(&endpoint)],
        ),
        RegistryEvent::EndpointChanged { role, id, endpoint },
    );
    check(
        log(
            factory,
            0,
            service("DelegateOwnerWalletUpdated(bytes32,uint256,address,address)"),
            &[calls::address(wallet)],
        ),
        RegistryEvent::WalletChanged { role, id, wallet },
    );
    check(
        log(
            contracts.peer_registry,
            0,
            service("Confirmed(bytes32,uint256,address,address,bytes,bytes32)"),
            &[
                calls::address(wallet),
                Token::Bytes(peer.public_key().to_vec()),
                calls::hash(Zone::new("eu").0),
            ],
        ),
        RegistryEvent::Confirmed {
            role,
            id,
            wallet,
            confirmation: Confirmation {
                public_key: peer.public_key().to_vec(),
                zone: Zone::new("eu"),
                block_number: 9,
            },
        },
    );
    check(
        log(
            contracts.peer_registry,
            0,
            service("Lapsed(bytes32,uint256,address,address)"),
            &[calls::address(wallet)],
        ),
        RegistryEvent::Lapsed { role, id },
    );
    check(
        log(
            contracts.peer_registry,
            0,
            vec![topic("OperatorNumbered(address,uint64)"), word(operator)],
            &[calls::number(3)],
        ),
        RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(3),
        },
    );
    check(
        log(
            contracts.staking,
            0,
            vec![
                topic("StakeChanged(address,uint256,uint256)"),
                word(operator),
            ],
            &[Token::Uint(Dgc::whole(5).0), Token::Uint(Dgc::whole(2).0)],
        ),
        RegistryEvent::StakeChanged {
            operator,
            active: Dgc::whole(3),
        },
    );
}

#[test]
fn logs_of_others_and_of_no_role_are_no_events() {
    let contracts = contracts();
    let mut foreign = log(
        Address([0xee; 20]),
        0,
        vec![
            topic("StakeChanged(address,uint256,uint256)"),
            word(Address::ZERO),
        ],
        &[calls::number(5), calls::number(0)],
    );
    assert_eq!(registry_event_from_log(&contracts, &foreign), Ok(None));
    foreign.address = contracts.staking;
    foreign.data.clear();
    assert!(registry_event_from_log(&contracts, &foreign).is_err());
    let unknown = log(
        contracts.service_provider_factory,
        0,
        vec![
            topic("ServiceDeregistered(bytes32,uint256,address)"),
            Hash32([1; 32]),
            number(1),
            word(Address::ZERO),
        ],
        &[],
    );
    assert_eq!(registry_event_from_log(&contracts, &unknown), Ok(None));
}

#[test]
fn blocks_and_logs_are_read_from_json() {
    let hash = |byte: u8| Hash32([byte; 32]).to_string();
    let block = json!({
        "number": "0x10", "hash": hash(1), "parentHash": hash(2), "timestamp": "0x5",
        "baseFeePerGas": "0x7",
    });
    let header = BlockHeader::from_json(&block).unwrap();
    assert_eq!((header.number, header.base_fee), (16, Some(7)));
    let value = json!({
        "address": Address([3; 20]).to_string(), "topics": [hash(4)], "data": "0x0102",
        "blockNumber": "0x10", "blockHash": hash(1), "transactionHash": hash(5),
        "logIndex": "0x0", "removed": false,
    });
    assert_eq!(Log::from_json(&value).unwrap().data, [1, 2]);
    for (field, bad) in [
        ("address", json!("0x12")),
        ("topics", json!([1])),
        (
            "topics",
            json!([hash(1), hash(1), hash(1), hash(1), hash(1)]),
        ),
        ("data", json!(format!("0x{}", "00".repeat(64 * 1024 + 1)))),
        ("blockNumber", json!("16")),
        ("blockNumber", json!("0x+1")),
        ("blockNumber", json!("0x10000000000000000")),
        ("blockHash", json!(null)),
        ("removed", json!(true)),
    ] {
        let mut value = value.clone();
        value[field] = bad;
        assert!(Log::from_json(&value).is_err(), "{field}");
    }
}

#[test]
fn the_registry_follows_rollbacks_and_snapshots() {
    let block = |number: u64, fork: u8| BlockRef {
        number,
        hash: Hash32([fork; 32]),
    };
    let stake = |tokens: u64| {
        vec![RegistryEvent::StakeChanged {
            operator: Address([1; 20]),
            active: Dgc::whole(tokens),
        }]
    };
    let total = |registry: &crate::registry::Registry| {
        registry
            .operator(&Address([1; 20]))
            .map_or(0, |operator| operator.stake.whole_floor())
    };
    let mut history = RegistryHistory::new(4);
    for number in 100..=110 {
        history.handle_block(block(number, 1), stake(number));
        history.handle_final(block(number - 2, 1));
    }
    assert_eq!(total(history.latest()), 110);
    assert_eq!(history.snapshot().block(), block(108, 1));
    assert_eq!(total(history.snapshot()), 108);

    history.handle_rollback(block(105, 1));
    assert_eq!(total(history.latest()), 105);
    assert_eq!(history.snapshot().block(), block(104, 1));
    for number in 106..=3_000 {
        history.handle_block(block(number, 2), stake(2 * number));
        assert_eq!(
            history.handle_final(block(number, 2)),
            number % 4 == 0,
            "{number}"
        );
    }
    assert_eq!(total(history.latest()), 6_000);
    assert_eq!(history.snapshot().block(), block(3_000, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn logs_of_any_bytes_never_panic(
        data in proptest::collection::vec(any::<u8>(), 0..512),
        event in 0..10_usize,
        which in 0..4_usize,
        topics in 0..4_usize,
    ) {
        let contracts = contracts();
        let signature = [
            "ManageEntity(uint256,address,string,uint256,string,string)",
            "Signed(bytes32,bytes32,bytes)",
            "ServiceRegistered(bytes32,uint256,address,string,address)",
            "ServiceDeregistered(bytes32,uint256,address)",
            "EndpointUpdated(bytes32,uint256,address,string)",
            "DelegateOwnerWalletUpdated(bytes32,uint256,address,address)",
            "Confirmed(bytes32,uint256,address,address,bytes,bytes32)",
            "Lapsed(bytes32,uint256,address,address)",
            "OperatorNumbered(address,uint64)",
            "StakeChanged(address,uint256,uint256)",
        ][event];
        let mut all = vec![topic(signature)];
        all.extend(std::iter::repeat_n(Role::Content.service_type_bytes(), topics));
        let mut log = log(contracts.watched()[which], 0, all, &[]);
        log.data.clone_from(&data);
        let _ = registry_event_from_log(&contracts, &log);
        let mut next = log.clone();
        next.log_index = 1;
        next.topics = vec![topic("Signed(bytes32,bytes32,bytes)")];
        let _ = entries_from_logs(&contracts.action_domain(), &header(), &[log, next]);
        let _ = explain_revert(&data);
    }
}
