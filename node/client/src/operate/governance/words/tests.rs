use super::*;

fn contracts() -> Contracts {
    Contracts {
        staking: Address([7; 20]),
        ..Contracts::default()
    }
}

fn parse(function: &str, arguments: &[&str]) -> Result<FunctionCall, WordsError> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    FunctionCall::parse(function, &arguments, &contracts())
}

#[track_caller]
fn check(kind: &str, text: &str, expected: Token) {
    let call = parse(&format!("f({kind})"), &[text]).unwrap();
    assert_eq!(call.arguments, [expected]);
}

#[track_caller]
fn check_refused(kind: &str, text: &str) {
    let error = parse(&format!("f({kind})"), &[text]).unwrap_err();
    assert!(matches!(error, WordsError::Argument { .. }), "{error}");
}

#[test]
fn a_slash_is_encoded_as_the_contracts_read_it() {
    let operator = Address([1; 20]);
    let call = super::super::slash(operator, Dgc::whole(1000), &contracts()).unwrap();
    assert_eq!(call.signature(), "slash(uint256,address)");
    assert_eq!(hex::encode(call.selector()), "3d82e3c1");
    assert_eq!(call.encode().len(), 64);
    assert_eq!(
        call.to_string(),
        format!("slash(1000000000000000000000 (1000 DGC), {operator})")
    );
    let again = FunctionCall::decode(call.signature(), &call.encode()).unwrap();
    assert_eq!(again, call);
}

#[test]
fn each_type_is_read_from_words() {
    check("uint256", "42", Token::Uint(42.into()));
    check("uint256", "1.5 DGC", Token::Uint(U256::exp10(17) * 15));
    check("uint256", "1.5DGC", Token::Uint(U256::exp10(17) * 15));
    check("uint8", "0xff", Token::Uint(255.into()));
    check("int256", "-1", Token::Int(U256::MAX));
    let address = Address([7; 20]);
    check(
        "address",
        &address.to_string(),
        Token::Address(address.0.into()),
    );
    check("address", "Staking", Token::Address(address.0.into()));
    check("bool", "true", Token::Bool(true));
    check("string", "a, b", Token::String("a, b".to_owned()));
    check("bytes", "0x0102", Token::Bytes(vec![1, 2]));
    let name = padded("content-node").0.to_vec();
    check("bytes32", "content-node", Token::FixedBytes(name));
    let list = Token::Array(vec![Token::Uint(1.into()), Token::Uint(2.into())]);
    check("uint256[]", "[1, 2]", list);
    check("uint256[]", "[]", Token::Array(Vec::new()));
}

#[test]
fn what_is_not_of_a_type_is_named() {
    check_refused("uint8", "256");
    check_refused("uint256", "-1");
    check_refused("uint256", "1.5");
    check_refused("uint256", "");
    check_refused("int8", "128");
    check_refused("address", "0x01");
    check_refused("address", "Nobody");
    check_refused("address", "DelegateManagers");
    check_refused("bool", "maybe");
    check_refused("bytes", "01");
    check_refused("bytes4", "0x0102030405");
    check_refused("uint256[]", "1,2");
    check_refused("uint256[2]", "[1]");
}

#[test]
fn what_is_no_function_is_refused() {
    for text in ["slash", "", "slash(", "slash(uint256", "slash(nothing)"] {
        let error = parse(text, &[]).unwrap_err();
        assert!(matches!(error, WordsError::Function { .. }), "{text}");
    }
    let error = parse("slash(uint256,address)", &["1"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "slash(uint256,address) takes 2 arguments, 1 were given"
    );
}

#[test]
fn names_and_short_types_become_canonical() {
    let call = parse("setVotingPeriod(uint blocks)", &["5"]).unwrap();
    assert_eq!(call.signature(), "setVotingPeriod(uint256)");
}
