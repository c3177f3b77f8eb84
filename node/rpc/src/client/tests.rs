use super::*;

fn receipt(kind: Value) -> Value {
    json!({
        "transactionHash": Hash32([1; 32]),
        "blockHash": Hash32([2; 32]),
        "blockNumber": "0x7",
        "status": "0x1",
        "gasUsed": "0x5208",
        "type": kind,
    })
}

#[test]
fn a_transaction_type_of_another_chain_is_refused_by_name() {
    let read = Receipt::from_json(&receipt(json!("0x2"))).unwrap();
    assert_eq!(read.kind, TransactionKind::FeeMarket);
    // A deposit on a rollup.
    let error = Receipt::from_json(&receipt(json!("0x7e"))).unwrap_err();
    assert!(error.to_string().contains("`type`"), "{error}");
    assert!(error.to_string().contains("0x0 to 0x4"), "{error}");
}

#[test]
fn blocks_with_unknown_transactions_are_read_all_the_same() {
    let block = json!({
        "number": "0x7",
        "hash": Hash32([2; 32]),
        "parentHash": Hash32([1; 32]),
        "timestamp": "0x10",
        "baseFeePerGas": "0x7",
        "transactions": [{ "type": "0x7e", "sourceHash": Hash32([3; 32]), "mint": "0x0" }],
    });
    let headers = read_headers(&[7], &[block]).unwrap();
    assert_eq!(headers[0].number, 7);
}
