//! Sentences for the contracts' errors.
//!
//! Names and parameters of the errors read well by themselves, so most
//! sentences are made of them; [`SENTENCES`] has those that need a remedy.

use std::fmt::Write;

use ethers_core::abi::Token;

use crate::amount::Dgc;

/// The sentence for an error and its parameters.
pub(super) fn sentence(name: &str, values: &[(&str, Token)]) -> String {
    SENTENCES
        .iter()
        .filter(|(known, _)| *known == name)
        .find_map(|(_, template)| fill(template, values))
        .unwrap_or_else(|| derived(name, values))
}

/// Puts values where their names stand in braces; `None` when one is missing.
fn fill(template: &str, values: &[(&str, Token)]) -> Option<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (wanted, after) = after.split_once('}')?;
        let (name, token) = values.iter().find(|(name, _)| *name == wanted)?;
        text.push_str(before);
        text.push_str(&value(name, token));
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

/// `StakeIsTooSmall(staked, amount)` as "stake is too small: staked 1 DGC, amount 2 DGC".
fn derived(name: &str, values: &[(&str, Token)]) -> String {
    let mut text = words(name);
    for (idx, (name, token)) in values.iter().enumerate() {
        let separator = if idx == 0 { ": " } else { ", " };
        let words = words(name);
        write!(text, "{separator}{words} {}", value(name, token)).expect("a string takes all");
    }
    text
}

/// `minDelegationAmount` as "min delegation amount"; `ERC20` stays one word.
fn words(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut text = String::with_capacity(name.len() + 8);
    for (idx, letter) in letters.iter().enumerate() {
        let before = idx.checked_sub(1).map(|idx| letters[idx]);
        let after = letters.get(idx + 1);
        let starts = letter.is_ascii_uppercase()
            && before.is_some_and(|before| {
                !before.is_ascii_uppercase() || after.is_some_and(char::is_ascii_lowercase)
            });
        if starts {
            text.push(' ');
        }
        // A word of capitals is a name.
        let is_name = letter.is_ascii_uppercase()
            && [before.as_ref().filter(|_| !starts), after]
                .into_iter()
                .flatten()
                .any(char::is_ascii_uppercase);
        text.push(if is_name {
            *letter
        } else {
            letter.to_ascii_lowercase()
        });
    }
    text
}

fn value(name: &str, token: &Token) -> String {
    match token {
        Token::Uint(number) if is_amount(name) => format!("{} DGC", Dgc(*number)),
        Token::Uint(number) => number.to_string(),
        Token::Address(address) => format!("{address:#x}"),
        Token::FixedBytes(bytes) => match label(bytes) {
            Some(label) => format!("`{label}`"),
            None => format!("0x{}", hex::encode(bytes)),
        },
        Token::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        Token::String(text) => format!("`{text}`"),
        other => other.to_string(),
    }
}

/// Text that was left-aligned in the bytes, as names of service types are.
fn label(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().rposition(|byte| *byte != 0)? + 1;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_printable.then_some(text)
}

fn is_amount(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    AMOUNTS.iter().any(|part| name.contains(part))
}

/// Parameters with one of these in their name are amounts of DGC.
const AMOUNTS: [&str; 7] = [
    "amount",
    "stake",
    "balance",
    "allowance",
    "needed",
    "delegated",
    "rewards",
];

/// Errors whose name does not say enough: what is allowed, or what helps.
pub(super) const SENTENCES: &[(&str, &str)] = &[
    (
        "ActionIsUsed",
        "the action {digest} of signer {signer} has been used; sign it again with another nonce",
    ),
    (
        "AddressEmptyCode",
        "there is no contract at {target}; check the contract addresses",
    ),
    ("AddressIsZero", "the address of {what} is zero"),
    (
        "ArgumentsAreTooLarge",
        "the action has {size} bytes, at most {sizeMax} are allowed",
    ),
    (
        "CallerIsNotClaimsManager",
        "only the claims manager may do this, {caller} is not",
    ),
    (
        "CallerIsNotGovernance",
        "only governance may do this, {caller} is not; make a proposal with `coliving govern propose`",
    ),
    (
        "CallerIsNotOperator",
        "only the operator {operator} may do this, {caller} is another",
    ),
    (
        "DecreaseIsLocked",
        "the decrease of stake is locked up to block {unlockBlock}, the chain is at {currentBlock}",
    ),
    (
        "DecreaseIsPending",
        "a decrease of {amount} is pending until block {unlockBlock}; carry it out or cancel it first",
    ),
    (
        "ERC1967ProxyUninitialized",
        "a proxy needs the call that initializes its contract",
    ),
    (
        "ERC20InsufficientAllowance",
        "{spender} may take {allowance}, {needed} are needed; approve more first",
    ),
    (
        "ERC20InsufficientBalance",
        "{sender} owns {balance}, {needed} are needed",
    ),
    (
        "ERC2612ExpiredSignature",
        "the permit ended at unix time {deadline}; sign another",
    ),
    (
        "ERC2612InvalidSigner",
        "the permit was signed by {signer}, not by the owner {owner}",
    ),
    (
        "EndpointIsAnotherOperators",
        "the endpoint {endpoint} belongs to the operator {operator}",
    ),
    (
        "EndpointIsTaken",
        "the endpoint {endpoint} is registered for {serviceType} already",
    ),
    (
        "EndpointLengthIsWrong",
        "the endpoint has {length} bytes, between 1 and {lengthMax} are allowed",
    ),
    ("FailedCall", "a call to another contract failed"),
    (
        "InvalidInitialization",
        "the contract is initialized already",
    ),
    (
        "InvalidAccountNonce",
        "the nonce of {account} is {currentNonce}, another was signed; sign again",
    ),
    (
        "NoDecreaseIsPending",
        "{operator} has not asked to decrease its stake",
    ),
    (
        "NonceIsWrong",
        "the nonce of {wallet} is {expected}, {nonce} was signed; sign again",
    ),
    (
        "PeerRegistryIsNotSet",
        "the deployment is not finished: the factory does not know the peer registry",
    ),
    (
        "PublicKeyIsNotTheWallets",
        "the public key belongs to {keyAddress}, not to the delegate owner wallet {wallet}",
    ),
    (
        "PublicKeyLengthIsWrong",
        "the public key has {length} bytes, 64 are needed",
    ),
    (
        "ReentrancyGuardReentrantCall",
        "the contract was called again before it had finished",
    ),
    (
        "ServiceIsUnknown",
        "no service of {serviceType} is registered at {endpoint}",
    ),
    (
        "ServiceIsUnknown",
        "{serviceType} has no service {serviceId}",
    ),
    (
        "SignatureLengthIsWrong",
        "the signature has {length} bytes, 65 are needed",
    ),
    (
        "SignerIsNotDelegateOwnerWallet",
        "{signer} signed, the service's delegate owner wallet is {delegateOwnerWallet}",
    ),
    (
        "StakeIsOutOfBounds",
        "the active stake would be {activeStake}, between {minStake} and {maxStake} are allowed",
    ),
    (
        "StakeIsTooSmall",
        "{amount} are asked for, {staked} are staked",
    ),
    (
        "WalletIsAnotherOperators",
        "the wallet {wallet} is confirmed for the operator {operator}",
    ),
];
