use std::collections::BTreeSet;

use ethers_core::abi::{ParamType, Token, encode};
use ethers_core::utils::keccak256;

use super::*;
use crate::amount::{Dgc, U256};
use crate::chain::calls;
use crate::id::{Address, Hash32, Role};

fn error(signature: &str, tokens: &[Token]) -> Vec<u8> {
    [&keccak256(signature)[..4], &encode(tokens)].concat()
}

#[track_caller]
fn check(signature: &str, tokens: &[Token], text: &str) {
    let revert = explain_revert(&error(signature, tokens));
    assert_eq!(revert.text, text);
    assert!(signature.starts_with(&revert.name), "{revert:?}");
}

fn dgc(tokens: u64) -> Token {
    Token::Uint(Dgc::whole(tokens).0)
}

#[test]
fn amounts_are_said_in_dgc_and_blocks_as_they_are() {
    check(
        "StakeIsOutOfBounds(uint256,uint256,uint256)",
        &[dgc(100), dgc(200_000), dgc(3_000_000)],
        "the active stake would be 100 DGC, between 200000 DGC and 3000000 DGC are allowed",
    );
    check(
        "DecreaseIsLocked(uint256,uint256)",
        &[calls::number(604_812), calls::number(12)],
        "the decrease of stake is locked up to block 604812, the chain is at 12",
    );
    check(
        "ERC20InsufficientBalance(address,uint256,uint256)",
        &[
            calls::address(Address([1; 20])),
            Token::Uint(U256::from(5_u64) * U256::exp10(17)),
            dgc(1),
        ],
        "0x0101010101010101010101010101010101010101 owns 0.5 DGC, 1 DGC are needed",
    );
}

#[test]
fn what_operators_and_holders_meet_names_the_remedy() {
    let (operator, word) = (
        Address([3; 20]),
        "0x0303030303030303030303030303030303030303",
    );
    check(
        "ClaimIsPending(address)",
        &[calls::address(operator)],
        &format!(
            "the rewards of {word} in this round must be claimed first, with `coliving claim`"
        ),
    );
    check(
        "DelegationIsTooSmall(uint256,uint256)",
        &[dgc(5), dgc(100)],
        "the delegation would be 5 DGC, at least 100 DGC are needed",
    );
    check(
        "UndelegationIsLocked(uint256,uint256)",
        &[calls::number(70), calls::number(60)],
        "the delegation is locked up to block 70, the chain is at 60",
    );
    check(
        "ProposersStakeIsTooSmall(address,uint256,uint256)",
        &[calls::address(operator), dgc(1), dgc(2)],
        &format!("{word} has 1 DGC of voting stake, a proposal takes 2 DGC"),
    );
    check(
        "PayeeCountIsWrong(uint256,uint256,uint256)",
        &[calls::number(2), calls::number(3), calls::number(64)],
        "2 payees and 3 amounts were given; as many of each are needed, at most 64",
    );
    // Another token's smallest unit may not be DGC's.
    check(
        "SumIsWrong(uint256,uint256)",
        &[calls::number(5), calls::number(6)],
        "the payees' amounts make 5, not 6, in the token's smallest unit",
    );
    check(
        "AlreadyClaimed(address,uint256)",
        &[calls::address(operator), calls::number(4)],
        &format!("the rewards of {word} in round 4 have been claimed; wait for the next round"),
    );
}

#[test]
fn a_used_action_names_its_signer() {
    let signer = Address([2; 20]);
    let tokens = [calls::hash(Hash32([1; 32])), calls::address(signer)];
    let revert = explain_revert(&error("ActionIsUsed(bytes32,address)", &tokens));
    assert_eq!(revert.name, "ActionIsUsed");
    assert!(revert.text.contains("signer 0x0202"), "{revert}");
}

#[test]
fn one_name_with_other_parameters_has_a_sentence_of_its_own() {
    let role = calls::hash(Role::Content.service_type_bytes());
    check(
        "ServiceIsUnknown(bytes32,string)",
        &[role.clone(), calls::text("http://a")],
        "no service of `content-node` is registered at `http://a`",
    );
    check(
        "ServiceIsUnknown(bytes32,uint256)",
        &[role, calls::number(7)],
        "`content-node` has no service 7",
    );
}

#[test]
fn a_name_without_a_sentence_is_taken_apart() {
    check(
        "StakeBoundsAreWrong(uint256,uint256)",
        &[dgc(2), dgc(1)],
        "stake bounds are wrong: min stake 2 DGC, max stake 1 DGC",
    );
    check(
        "UUPSUnsupportedProxiableUUID(bytes32)",
        &[calls::hash(Hash32([1; 32]))],
        "UUPS unsupported proxiable UUID: slot \
         0x0101010101010101010101010101010101010101010101010101010101010101",
    );
    check("NotInitializing()", &[], "not initializing");
}

#[test]
fn plain_reasons_panics_and_strangers_are_told() {
    check("Error(string)", &[calls::text("too late")], "too late");
    let panic = error("Panic(uint256)", &[calls::number(0x11)]);
    assert!(explain_revert(&panic).text.contains("overflow"));
    assert_eq!(explain_revert(&[]).text, "the contract gave no reason");
    assert_eq!(
        explain_revert(&[1, 2, 3, 4]).text,
        "an unknown error 0x01020304"
    );
}

#[test]
fn every_error_of_every_contract_has_a_sentence() {
    let mut used = BTreeSet::new();
    for kind in ContractKind::ALL {
        for error in artifact(kind).abi.errors() {
            let tokens: Vec<Token> = error.inputs.iter().map(|input| zero(&input.kind)).collect();
            let data = [&error.signature().0[..4], &encode(&tokens)].concat();
            let revert = explain_revert(&data);
            assert_eq!(revert.name, error.name);
            assert!(!revert.text.contains(['{', '}']), "{revert}");
            let first = revert.text.split(' ').next().unwrap();
            assert!(revert.text.contains(' ') && first != error.name, "{revert}");
            used.insert(error.name.clone());
        }
    }
    // A sentence for an error that no contract has is a misspelling.
    for (name, _) in words::SENTENCES {
        assert!(used.contains(*name) || UNCOMPILED.contains(name), "{name}");
    }
}

#[test]
fn every_sentence_is_some_errors() {
    let errors = || {
        ContractKind::ALL
            .into_iter()
            .flat_map(|kind| artifact(kind).abi.errors())
    };
    for (name, template) in words::SENTENCES {
        let wanted = template.split('{').skip(1);
        let wanted = wanted.map(|rest| rest.split('}').next().unwrap());
        let wanted: Vec<&str> = wanted.map(|name| name.trim_start_matches('#')).collect();
        let fits = errors().filter(|error| error.name == *name).any(|error| {
            let has = |name: &&str| error.inputs.iter().any(|input| input.name == **name);
            wanted.iter().all(has)
        });
        assert!(fits || UNCOMPILED.contains(name), "{name}: {template}");
    }
}

fn zero(kind: &ParamType) -> Token {
    match kind {
        ParamType::Address => calls::address(Address::ZERO),
        ParamType::Uint(_) => calls::number(0),
        ParamType::Bool => Token::Bool(false),
        ParamType::String => calls::text("x"),
        ParamType::Bytes => Token::Bytes(Vec::new()),
        ParamType::FixedBytes(length) => Token::FixedBytes(vec![0; *length]),
        other => panic!("an error has a parameter of type {other}"),
    }
}

/// Errors of OpenZeppelin's parts that a contract may come to use.
const UNCOMPILED: [&str; 1] = ["ReentrancyGuardReentrantCall"];
