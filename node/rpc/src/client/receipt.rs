//! What an endpoint says of a mined transaction.

use protocol::chain::json::{JsonError, Log, Object};
use protocol::id::{Address, Hash32};
use protocol::registry::BlockRef;
use serde_json::Value;

/// A mined transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Hash of the transaction.
    pub tx_hash: Hash32,
    /// The block that it is in.
    pub block: BlockRef,
    /// What kind of transaction it was.
    pub kind: TransactionKind,
    /// False when it reverted.
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: u64,
    /// The contract that it created.
    pub contract_address: Option<Address>,
    /// Logs that it wrote.
    pub logs: Vec<Log>,
}

/// The kinds of transactions that are known here; chains have others of their
/// own, which are refused by name where one is asked for and left alone in
/// blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionKind {
    /// Type 0, with or without a chain id.
    Legacy,
    /// Type 1, EIP-2930.
    AccessList,
    /// Type 2, EIP-1559: the one that is sent from here.
    FeeMarket,
    /// Type 3, EIP-4844.
    Blob,
    /// Type 4, EIP-7702.
    SetCode,
}

impl TransactionKind {
    fn from_json(value: &Value) -> Result<Self, JsonError> {
        let object = Object::new("receipt", value);
        if value.get("type").is_none() {
            // From before there were types.
            return Ok(Self::Legacy);
        }
        match object.quantity("type")? {
            0 => Ok(Self::Legacy),
            1 => Ok(Self::AccessList),
            2 => Ok(Self::FeeMarket),
            3 => Ok(Self::Blob),
            4 => Ok(Self::SetCode),
            _ => Err(JsonError {
                what: "receipt",
                field: "type",
                expected: "a transaction type that is known here, 0x0 to 0x4",
            }),
        }
    }
}

impl Receipt {
    pub(super) fn from_json(value: &Value) -> Result<Self, JsonError> {
        let object = Object::new("receipt", value);
        let logs = value
            .get("logs")
            .and_then(Value::as_array)
            .map(|logs| logs.iter().map(Log::from_json).collect())
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            tx_hash: object.hash("transactionHash")?,
            block: BlockRef {
                number: object.quantity("blockNumber")?,
                hash: object.hash("blockHash")?,
            },
            kind: TransactionKind::from_json(value)?,
            succeeded: object.quantity("status")? == 1,
            gas_used: object.quantity("gasUsed")?,
            contract_address: object.address("contractAddress").ok(),
            logs,
        })
    }
}
