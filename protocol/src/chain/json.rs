//! Blocks and logs as JSON-RPC endpoints describe them, read with suspicion.

use serde_json::Value;

use crate::id::{Address, Hash32};
use crate::registry::BlockRef;
use crate::time::UnixSeconds;

/// What following a chain needs to know about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: Hash32,
    /// The hash of the block before.
    pub parent: Hash32,
    /// The block's timestamp.
    pub time: UnixSeconds,
    /// Its base fee in wei, on chains that have one.
    pub base_fee: Option<u64>,
}

/// An event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The contract that wrote it.
    pub address: Address,
    /// At most four topics.
    pub topics: Vec<Hash32>,
    /// At most [`LOG_DATA_BYTES_MAX`] bytes.
    pub data: Vec<u8>,
    /// Number of its block.
    pub block_number: u64,
    /// Hash of its block.
    pub block_hash: Hash32,
    /// Hash of its transaction.
    pub tx_hash: Hash32,
    /// Index in its block.
    pub log_index: u64,
}

/// Why JSON is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint answered a {what} whose `{field}` is missing or not {expected}")]
pub struct JsonError {
    /// Block, log or receipt.
    pub what: &'static str,
    /// The field that is missing or malformed.
    pub field: &'static str,
    /// What it should have been.
    pub expected: &'static str,
}

impl BlockHeader {
    /// The block's number and hash.
    #[must_use]
    pub const fn block(&self) -> BlockRef {
        BlockRef {
            number: self.number,
            hash: self.hash,
        }
    }

    /// Reads the object that `eth_getBlockByNumber` answers; pending blocks,
    /// which have no hash, are refused.
    ///
    /// # Errors
    ///
    /// [`JsonError`] names the first bad field.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        let object = Object::new("block", value);
        Ok(Self {
            number: object.quantity("number")?,
            hash: object.hash("hash")?,
            parent: object.hash("parentHash")?,
            time: UnixSeconds(object.quantity("timestamp")?),
            base_fee: object.quantity("baseFeePerGas").ok(),
        })
    }
}

impl Log {
    /// Reads one object of the array that `eth_getLogs` answers; pending and
    /// removed logs are refused.
    ///
    /// # Errors
    ///
    /// [`JsonError`] names the first bad field.
    pub fn from_json(value: &Value) -> Result<Self, JsonError> {
        let object = Object::new("log", value);
        if value.get("removed").and_then(Value::as_bool) == Some(true) {
            return Err(object.error("removed", "false"));
        }
        let topics = value
            .get("topics")
            .and_then(Value::as_array)
            .filter(|topics| topics.len() <= LOG_TOPICS_MAX)
            .ok_or_else(|| object.error("topics", "a list of at most four hashes"))?
            .iter()
            .map(|topic| topic.as_str().and_then(|text| text.parse().ok()))
            .collect::<Option<Vec<Hash32>>>()
            .ok_or_else(|| object.error("topics", "a list of at most four hashes"))?;
        Ok(Self {
            address: object.address("address")?,
            topics,
            data: object.bytes("data", LOG_DATA_BYTES_MAX)?,
            block_number: object.quantity("blockNumber")?,
            block_hash: object.hash("blockHash")?,
            tx_hash: object.hash("transactionHash")?,
            log_index: object.quantity("logIndex")?,
        })
    }
}

/// A JSON object whose fields are read one by one.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    what: &'static str,
    value: &'a Value,
}

impl<'a> Object<'a> {
    /// Names the object for error texts.
    #[must_use]
    pub const fn new(what: &'static str, value: &'a Value) -> Self {
        Self { what, value }
    }

    /// A quantity: `0x` and up to 64 bits.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when it is missing or something else.
    pub fn quantity(&self, field: &'static str) -> Result<u64, JsonError> {
        self.text(field)
            .and_then(quantity)
            .ok_or_else(|| self.error(field, "a quantity of at most 64 bits"))
    }

    /// A 32-byte hash.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when it is missing or something else.
    pub fn hash(&self, field: &'static str) -> Result<Hash32, JsonError> {
        self.text(field)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.error(field, "a hash of 32 bytes"))
    }

    /// An address.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when it is missing or something else.
    pub fn address(&self, field: &'static str) -> Result<Address, JsonError> {
        self.text(field)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.error(field, "an address of 20 bytes"))
    }

    /// Bytes of at most `bytes_max`.
    ///
    /// # Errors
    ///
    /// [`JsonError`] when they are missing, too long or something else.
    pub fn bytes(&self, field: &'static str, bytes_max: usize) -> Result<Vec<u8>, JsonError> {
        self.text(field)
            .and_then(|text| bytes(text, bytes_max))
            .ok_or_else(|| self.error(field, "hexadecimal bytes within their limit"))
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.value.get(field)?.as_str()
    }

    fn error(&self, field: &'static str, expected: &'static str) -> JsonError {
        JsonError {
            what: self.what,
            field,
            expected,
        }
    }
}

/// Reads `0x` and up to 16 hexadecimal digits.
#[must_use]
pub fn quantity(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x")?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Reads `0x` and hexadecimal digits of at most `bytes_max` bytes.
#[must_use]
pub fn bytes(text: &str, bytes_max: usize) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x")?;
    (digits.len() <= 2 * bytes_max).then(|| hex::decode(digits).ok())?
}

/// Longest data of a log in bytes; an action takes up to 17 KiB.
pub const LOG_DATA_BYTES_MAX: usize = 64 * 1024;

/// Most topics of a log, as the EVM has it.
const LOG_TOPICS_MAX: usize = 4;
