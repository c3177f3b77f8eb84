//! Sentences for the contracts' errors.
//!
//! Names and parameters of the errors read well by themselves, so the
//! sentences of those that nobody should meet are made of them; [`SENTENCES`]
//! says what is allowed and what helps.

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
/// After a `#` it is a number and no amount of DGC.
fn fill(template: &str, values: &[(&str, Token)]) -> Option<String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (wanted, after) = after.split_once('}')?;
        let name = wanted.trim_start_matches('#');
        let (_, token) = values.iter().find(|(found, _)| *found == name)?;
        text.push_str(before);
        text.push_str(&value(wanted, token));
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
    // `amounts` is how many amounts there are.
    !name.starts_with('#') && !name.ends_with('s') && AMOUNTS.iter().any(|part| name.contains(part))
}

/// Parameters with one of these in their name are amounts of DGC.
const AMOUNTS: [&str; 7] = [
    "amount",
    "stake",
    "balance",
    "allowance",
    "needed",
    "delegat",
    "locked",
];

/// Errors that people meet: what is allowed, or what helps.
pub(super) const SENTENCES: &[(&str, &str)] = &[
    (
        "ActionIsUsed",
        "the action {digest} of signer {signer} has been used; sign it again with another nonce",
    ),
    (
        "AddressEmptyCode",
        "there is no contract at {target}; check the contract addresses",
    ),
    (
        "AddressHasNoCode",
        "there is no contract at {account}, which should be the {what}",
    ),
    ("AddressIsZero", "the address of {what} is zero"),
    (
        "AlreadyClaimed",
        "the rewards of {operator} in round {roundNumber} have been claimed; wait for the next round",
    ),
    ("AmountIsZero", "the amount is zero"),
    (
        "ArgumentsAreTooLarge",
        "the action has {size} bytes, at most {sizeMax} are allowed",
    ),
    (
        "AttestationCountIsWrong",
        "{signatures} attestations with {times} times were given, between {threshold} and {attestationsMax} are needed",
    ),
    (
        "AttestationTimeIsWrong",
        "an attestation is of unix time {time}, between {earliest} and {latest} is accepted; ask for another",
    ),
    (
        "CallerIsNeitherGovernanceNorNotifier",
        "only governance and the notifier {wallet} may do this, {caller} is neither",
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
        "CallerIsNotGuardian",
        "only the guardian may do this, {caller} is not",
    ),
    (
        "CallerIsNotOperator",
        "only the operator {operator} may do this, {caller} is another",
    ),
    (
        "CallerIsNotStaker",
        "only who has active stake or delegations may do this, {caller} has none",
    ),
    (
        "ClaimIsPending",
        "the rewards of {operator} in this round must be claimed first, with `coliving claim`",
    ),
    (
        "ContradictionIsProved",
        "this contradiction of peer {peer} has been proved",
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
        "DelegateOwnerWalletIsUnchanged",
        "the service has the delegate owner wallet {wallet} already",
    ),
    (
        "DelegationIsLess",
        "{amount} are asked for, {delegated} are delegated to {operator}",
    ),
    (
        "DelegationIsTooSmall",
        "the delegation would be {delegated}, at least {minDelegation} are needed",
    ),
    (
        "DelegatorIsNotSentAway",
        "{operator} does not send {delegator} away",
    ),
    (
        "DelegatorIsSentAway",
        "{operator} sends {delegator} away, the delegation is locked up to block {unlockBlock} and given back then",
    ),
    (
        "DelegatorIsUnknown",
        "{delegator} has delegated nothing to {operator}",
    ),
    (
        "DeployerCutIsTooLarge",
        "a cut of {cut} percent is asked for, at most {cutMax} are possible",
    ),
    (
        "DeployerCutUpdateIsLocked",
        "the change of the cut is locked up to block {unlockBlock}, the chain is at {currentBlock}",
    ),
    (
        "DeployerCutUpdateIsPending",
        "a change of the cut to {newCut} percent is pending until block {unlockBlock}; carry it out or cancel it first",
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
    ("EmailIsTaken", "the email {email} belongs to notifier {id}"),
    (
        "EndpointIsAnotherOperators",
        "the endpoint {endpoint} belongs to the operator {operator}",
    ),
    (
        "EndpointIsTaken",
        "the endpoint {endpoint} is registered for {serviceType} already",
    ),
    (
        "EndpointIsTaken",
        "the endpoint {endpoint} belongs to notifier {id}",
    ),
    (
        "EndpointLengthIsWrong",
        "the endpoint has {length} bytes, between 1 and {lengthMax} are allowed",
    ),
    ("FailedCall", "a call to another contract failed"),
    (
        "FunctionSignatureIsMalformed",
        "{functionSignature} is no function; write name and types without spaces, as `slash(uint256,address)`",
    ),
    (
        "GasIsTooLittle",
        "the call of the proposal may have lacked gas: {gasGiven} were left, {gasEnough} are enough; send it with more",
    ),
    (
        "GuardianIsGone",
        "the guardian could veto up to block {guardianUntilBlock}, which has passed",
    ),
    (
        "InvalidInitialization",
        "the contract is initialized already",
    ),
    (
        "InvalidAccountNonce",
        "the nonce of {account} is {currentNonce}, another was signed; sign again",
    ),
    (
        "LengthIsWrong",
        "the {what} has {length} bytes, at most {lengthMax} are allowed",
    ),
    (
        "LockupIsTooShort",
        "a lock-up of {lockupBlocks} blocks does not outlast a vote, which takes {voteBlocks}",
    ),
    (
        "LockupIsTooShort",
        "a vote would take {votingAndDelayBlocks} blocks, longer than the lock-up of {lockupBlocks} blocks in {lockedBy}",
    ),
    (
        "MemoIsTooLong",
        "the memo has {length} bytes, at most {lengthMax} are allowed",
    ),
    (
        "NoDecreaseIsPending",
        "{operator} has not asked to decrease its stake",
    ),
    (
        "NoDeployerCutUpdateIsPending",
        "{operator} has not asked to change its cut",
    ),
    (
        "NoRemovalIsPending",
        "{operator} has not asked to remove its delegator {delegator}",
    ),
    (
        "NoUndelegationIsPending",
        "{delegator} has not asked for a delegation back",
    ),
    (
        "NonceIsWrong",
        "the nonce of {wallet} is {expected}, {nonce} was signed; sign again",
    ),
    ("NotifierIsUnknown", "{wallet} is no trusted notifier"),
    (
        "OperatorAttestsTwice",
        "two attestations are of the operator {operator}; distinct operators are needed",
    ),
    (
        "OperatorIsUnknown",
        "{operator} is no operator: nothing is registered or staked by it",
    ),
    (
        "PayeeAmountIsZero",
        "payee {index} would get nothing; leave it out",
    ),
    (
        "PayeeCountIsWrong",
        "{payees} payees and {amounts} amounts were given; as many of each are needed, at most {payeesMax}",
    ),
    ("PayeeIsWrong", "payee {index} cannot be {payee}"),
    ("PeerIsUnknown", "{peer} has never been a confirmed peer"),
    (
        "PeerRegistryIsNotSet",
        "the deployment is not finished: the factory does not know the peer registry",
    ),
    (
        "PaymentHasExpired",
        "the payment could be brought until unix time {deadline}; sign another",
    ),
    (
        "PaymentIsUsed",
        "a payment of {payer} with the nonce {nonce} was made or cancelled; sign one with another nonce",
    ),
    (
        "PermitIsRefused",
        "the permit is refused and {payer} has approved {#allowance} of {#amount}; sign another permit",
    ),
    (
        "ProposalAwaitsEvaluation",
        "proposal {proposalId} is to be evaluated first, with `coliving govern execute {proposalId}`",
    ),
    (
        "ProposalIsNotEvaluable",
        "proposal {proposalId} can be evaluated from block {evaluationBlock} on, the chain is at {currentBlock}",
    ),
    (
        "ProposalIsNotInProgress",
        "proposal {proposalId} has ended with outcome {outcome}",
    ),
    ("ProposalIsUnknown", "there is no proposal {proposalId}"),
    (
        "ProposersStakeIsTooSmall",
        "{proposer} has {stake} of voting stake, a proposal takes {needed}",
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
        "RecordsAreEqual",
        "both records are the same and contradict nothing",
    ),
    (
        "ReentrancyGuardReentrantCall",
        "the contract was called again before it had finished",
    ),
    (
        "RemovalHasLapsed",
        "the delegator could be removed up to block {lastBlock}, the chain is at {currentBlock}; request it again",
    ),
    (
        "RemovalIsLocked",
        "the removal is locked up to block {unlockBlock}, the chain is at {currentBlock}",
    ),
    (
        "RemovalIsPending",
        "the removal is requested already and can be carried out from block {unlockBlock} on",
    ),
    (
        "RoundIsTooEarly",
        "the next round can begin at block {firstBlock}, the chain is at {currentBlock}",
    ),
    (
        "SafeERC20FailedOperation",
        "the token {token} refused a transfer",
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
        "ServiceVersionIsUnknown",
        "{serviceType} has no version number {versionIndex}",
    ),
    (
        "ServiceVersionIsUsed",
        "{serviceType} has or had the version {serviceVersion}; a version is set once",
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
        "SignerIsNotHolder",
        "{signer} signed, the record names the holder {holder}",
    ),
    (
        "SignerIsNotIdentityPeer",
        "{signer} signed an attestation and is no confirmed identity peer",
    ),
    (
        "SignerIsNotPayer",
        "{signer} signed the payment, or another one, and not the payer {payer}",
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
        "SubjectIsUsed",
        "this account at {provider} verifies user {userId} already",
    ),
    (
        "SumIsWrong",
        "the payees' amounts make {#sum}, not {#amount}, in the token's smallest unit",
    ),
    (
        "TargetIsUnknown",
        "Registry knows no contract {targetContractRegistryKey}",
    ),
    (
        "TooManyDelegators",
        "the operator has {maxDelegators} delegators, more are not allowed",
    ),
    (
        "TooManyEndpoints",
        "{endpointsMax} endpoints were taken, more are possible from block {fromBlock} on or with more services",
    ),
    (
        "TooManyProposals",
        "{proposalsMax} proposals are in progress, more are not allowed, and each is backed by {leastStake} or more, this one by {backingStake}; wait until some have ended",
    ),
    (
        "TooManyProposalsOfProposer",
        "{proposer} has {proposalsMax} proposals in progress, more are not allowed",
    ),
    (
        "TransferIsInexact",
        "{payee} would get {#received} instead of {#amount}: the token {token} keeps a fee and cannot be used",
    ),
    (
        "UndelegationIsLocked",
        "the delegation is locked up to block {unlockBlock}, the chain is at {currentBlock}",
    ),
    (
        "UndelegationIsPending",
        "{amount} delegated to {operator} are asked back until block {unlockBlock}; take them out or cancel that first",
    ),
    (
        "VoteIsCast",
        "{voter} has voted on proposal {proposalId}; change the vote instead",
    ),
    (
        "VoteIsNotCast",
        "{voter} has not voted on proposal {proposalId}",
    ),
    ("VoteIsUnknown", "{vote} is no vote: 1 is no, 2 is yes"),
    (
        "VoterHasNoStake",
        "{voter} had no voting stake when proposal {proposalId} was submitted, or has none at present",
    ),
    (
        "VotingIsClosed",
        "proposal {proposalId} takes votes from block {firstBlock} to {lastBlock}, the chain is at {currentBlock}",
    ),
    (
        "WalletIsAnotherOperators",
        "the wallet {wallet} is confirmed for the operator {operator}",
    ),
    (
        "WalletIsTaken",
        "the wallet {wallet} belongs to notifier {id}",
    ),
];
