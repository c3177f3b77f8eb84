//! Call data for the contracts, and what their views answer.

use ethers_core::abi::{ParamType, Token, decode};
use ethers_core::types::U256;

use crate::action::SignedAction;
use crate::amount::Dgc;
use crate::chain::artifacts::{ContractKind, artifact};
use crate::id::{Address, Hash32, Role, ServiceId, Zone};
use crate::records::Confirm;
use crate::signing::Signature;

/// Why a view's answer is not what its ABI promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the contract's answer of {size} bytes is not {expected}; check the contract addresses")]
pub struct AnswerError {
    /// Bytes of the answer.
    pub size: usize,
    /// What it should have been.
    pub expected: &'static str,
}

/// Call data of any function of a contract.
///
/// # Panics
///
/// When the contract has no such function or the arguments are not its own:
/// both are written in this code base, neither comes from outside.
#[must_use]
pub fn encode(kind: ContractKind, function: &str, arguments: &[Token]) -> Vec<u8> {
    artifact(kind)
        .abi
        .function(function)
        .expect("the artifact has the function")
        .encode_input(arguments)
        .expect("the arguments are of the function's types")
}

/// Creation code of the proxy in front of `implementation`, which it calls
/// with `initialize` call data.
#[must_use]
pub fn proxy_creation(implementation: Address, initialize: Vec<u8>) -> Vec<u8> {
    let proxy = artifact(ContractKind::Erc1967Proxy);
    proxy
        .abi
        .constructor()
        .expect("the proxy has a constructor")
        .encode_input(
            proxy.bytecode.clone(),
            &[address(implementation), Token::Bytes(initialize)],
        )
        .expect("the arguments are of the constructor's types")
}

/// A contract's name as `Registry` keeps it: UTF-8, left-aligned.
#[must_use]
pub fn registry_key(kind: ContractKind) -> Token {
    let mut key = Hash32::ZERO;
    let name = kind.name().as_bytes();
    key.0[..name.len()].copy_from_slice(name);
    hash(key)
}

/// `Registry.getContract`; answers an address.
#[must_use]
pub fn contract_at(kind: ContractKind) -> Vec<u8> {
    encode(ContractKind::Registry, "getContract", &[registry_key(kind)])
}

/// `governance` of any contract but the proxy; answers an address.
#[must_use]
pub fn governance_of(kind: ContractKind) -> Vec<u8> {
    encode(kind, "governance", &[])
}

/// `ColivingToken.approve`.
#[must_use]
pub fn approve(spender: Address, amount: Dgc) -> Vec<u8> {
    let arguments = [address(spender), Token::Uint(amount.0)];
    encode(ContractKind::ColivingToken, "approve", &arguments)
}

/// `ColivingToken.transfer`.
#[must_use]
pub fn transfer(to: Address, amount: Dgc) -> Vec<u8> {
    let arguments = [address(to), Token::Uint(amount.0)];
    encode(ContractKind::ColivingToken, "transfer", &arguments)
}

/// `ServiceProviderFactory.register`.
#[must_use]
pub fn register(role: Role, endpoint: &str, stake: Dgc, wallet: Address) -> Vec<u8> {
    factory(
        "register",
        &[
            service_type(role),
            text(endpoint),
            Token::Uint(stake.0),
            address(wallet),
        ],
    )
}

/// `ServiceProviderFactory.deregister`.
#[must_use]
pub fn deregister(role: Role, endpoint: &str) -> Vec<u8> {
    factory("deregister", &[service_type(role), text(endpoint)])
}

/// `ServiceProviderFactory.increaseStake`.
#[must_use]
pub fn increase_stake(amount: Dgc) -> Vec<u8> {
    factory("increaseStake", &[Token::Uint(amount.0)])
}

/// `PeerRegistry.confirm`, sent by the delegate owner wallet itself.
#[must_use]
pub fn confirm(role: Role, id: ServiceId, public_key: &[u8; 64], zone: Zone) -> Vec<u8> {
    let arguments = [
        service_type(role),
        number(id.0),
        Token::Bytes(public_key.to_vec()),
        hash(zone.0),
    ];
    encode(ContractKind::PeerRegistry, "confirm", &arguments)
}

/// `PeerRegistry.confirmWithSignature`, sent by anybody.
#[must_use]
pub fn confirm_with_signature(confirm: &Confirm, signature: &Signature) -> Vec<u8> {
    let arguments = [
        service_type(confirm.role),
        number(confirm.service_id.0),
        Token::Bytes(confirm.public_key.clone()),
        hash(confirm.zone.0),
        number(confirm.nonce),
        Token::Bytes(signature.0.to_vec()),
    ];
    encode(
        ContractKind::PeerRegistry,
        "confirmWithSignature",
        &arguments,
    )
}

/// `PeerRegistry.nonces`; answers a number.
#[must_use]
pub fn confirm_nonce(wallet: Address) -> Vec<u8> {
    encode(ContractKind::PeerRegistry, "nonces", &[address(wallet)])
}

/// `PeerRegistry.snapshotBlocks`; answers a number.
#[must_use]
pub fn snapshot_blocks() -> Vec<u8> {
    encode(ContractKind::PeerRegistry, "snapshotBlocks", &[])
}

/// `EntityManager.manageEntity`.
#[must_use]
pub fn manage_entity(signed: &SignedAction) -> Vec<u8> {
    let action = &signed.action;
    let arguments = [
        number(action.user_id.0),
        text(&action.entity_type),
        number(action.entity_id.0),
        text(&action.action),
        text(&action.metadata),
        hash(action.nonce),
        Token::Bytes(signed.signature.0.to_vec()),
    ];
    encode(ContractKind::EntityManager, "manageEntity", &arguments)
}

/// `EntityManager.isUsed`; answers a truth value.
#[must_use]
pub fn is_used(digest: Hash32, signer: Address) -> Vec<u8> {
    let arguments = [hash(digest), address(signer)];
    encode(ContractKind::EntityManager, "isUsed", &arguments)
}

/// Reads a number from a view's answer.
///
/// # Errors
///
/// [`AnswerError`] when the answer is shorter than a word.
pub fn decode_uint(answer: &[u8]) -> Result<U256, AnswerError> {
    decode(&[ParamType::Uint(256)], answer)
        .ok()
        .and_then(|tokens| tokens.into_iter().next()?.into_uint())
        .ok_or(AnswerError {
            size: answer.len(),
            expected: "a number",
        })
}

/// Reads an address from a view's answer.
///
/// # Errors
///
/// [`AnswerError`] when the answer is no address.
pub fn decode_address(answer: &[u8]) -> Result<Address, AnswerError> {
    decode(&[ParamType::Address], answer)
        .ok()
        .and_then(|tokens| tokens.into_iter().next()?.into_address())
        .map(|address| Address(address.0))
        .ok_or(AnswerError {
            size: answer.len(),
            expected: "an address",
        })
}

/// An address as an ABI value.
#[must_use]
pub fn address(value: Address) -> Token {
    Token::Address(value.0.into())
}

/// A `bytes32` as an ABI value.
#[must_use]
pub fn hash(value: Hash32) -> Token {
    Token::FixedBytes(value.0.to_vec())
}

/// An unsigned integer as an ABI value.
#[must_use]
pub fn number(value: u64) -> Token {
    Token::Uint(value.into())
}

/// A string as an ABI value.
#[must_use]
pub fn text(value: &str) -> Token {
    Token::String(value.to_owned())
}

fn factory(function: &str, arguments: &[Token]) -> Vec<u8> {
    encode(ContractKind::ServiceProviderFactory, function, arguments)
}

fn service_type(role: Role) -> Token {
    hash(role.service_type_bytes())
}
