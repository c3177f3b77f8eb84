//! The shapes of Ethereum's JSON-RPC: what is asked and what is answered.

use std::fmt::LowerHex;
use std::sync::Arc;

use revm::context::TxEnv;
use revm::context_interface::transaction::{AccessList, AccessListItem};
use revm::primitives::{Address, B256, Bytes, TxKind, U256};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::block::{Block, EMPTY_REQUESTS_HASH, EMPTY_ROOT, GAS_LIMIT, UNCLES_HASH};
use super::transaction::Transaction;
use super::view::{At, LogAt, LogFilter};

/// A number as `0x…`, in decimal digits, or as a JSON number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(pub U256);

/// Fixed or free bytes as `0x…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

/// An address as `0x…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexAddress(pub Address);

/// A 32-byte hash as `0x…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HexHash(pub B256);

/// A block tag, number or EIP-1898 object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockId(pub At);

/// A call as `eth_call` and `eth_estimateGas` take it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Call {
    from: Option<HexAddress>,
    to: Option<HexAddress>,
    gas: Option<Quantity>,
    gas_price: Option<Quantity>,
    max_fee_per_gas: Option<Quantity>,
    max_priority_fee_per_gas: Option<Quantity>,
    value: Option<Quantity>,
    data: Option<HexBytes>,
    input: Option<HexBytes>,
    access_list: Option<Vec<Warmed>>,
    authorization_list: Option<Vec<Value>>,
    blob_versioned_hashes: Option<Vec<Value>>,
}

/// A filter as `eth_getLogs`, `eth_newFilter` and `eth_subscribe` take it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    address: Option<OneOrMany<HexAddress>>,
    topics: Option<Vec<Option<OneOrMany<HexHash>>>>,
    /// The first block asked for.
    pub from_block: Option<BlockId>,
    /// The last block asked for.
    pub to_block: Option<BlockId>,
    /// The only block.
    pub block_hash: Option<HexHash>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Warmed {
    address: HexAddress,
    #[serde(default)]
    storage_keys: Vec<HexHash>,
}

#[derive(Debug, Clone)]
struct OneOrMany<T>(Vec<T>);

impl Quantity {
    /// The number, saturating.
    #[must_use]
    pub fn saturating_u64(self) -> u64 {
        self.0.saturating_to()
    }

    /// The number, saturating.
    #[must_use]
    pub fn saturating_u128(self) -> u128 {
        self.0.saturating_to()
    }
}

impl Call {
    /// What the EVM is given; without a gas limit all of a block's.
    ///
    /// # Errors
    ///
    /// A text when it is a call of a type that the chain does not take.
    pub fn env(self, chain_id: u64) -> Result<TxEnv, String> {
        let has_some = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|all| !all.is_empty());
        for (field, type_id, list) in [
            ("blobVersionedHashes", 3, &self.blob_versioned_hashes),
            ("authorizationList", 4, &self.authorization_list),
        ] {
            if has_some(list) {
                return Err(format!(
                    "transaction type not valid: a call with `{field}` is one of type {type_id}, which is not supported"
                ));
            }
        }
        let tip = self.max_priority_fee_per_gas.map(Quantity::saturating_u128);
        let price = self
            .max_fee_per_gas
            .or(self.gas_price)
            .map_or(0, Quantity::saturating_u128);
        let access_list = AccessList(
            self.access_list
                .unwrap_or_default()
                .into_iter()
                .map(|item| AccessListItem {
                    address: item.address.0,
                    storage_keys: item.storage_keys.iter().map(|key| key.0).collect(),
                })
                .collect(),
        );
        let data = self
            .input
            .or(self.data)
            .map_or_else(Vec::new, |data| data.0);
        Ok(TxEnv {
            tx_type: match (tip, access_list.0.is_empty()) {
                (Some(_), _) => 2,
                (None, false) => 1,
                (None, true) => 0,
            },
            caller: self.from.map_or(Address::ZERO, |from| from.0),
            kind: self.to.map_or(TxKind::Create, |to| TxKind::Call(to.0)),
            gas_limit: self.gas.map_or(GAS_LIMIT, Quantity::saturating_u64),
            gas_price: price,
            gas_priority_fee: tip.map(|tip| tip.min(price)),
            value: self.value.map_or(U256::ZERO, |value| value.0),
            data: Bytes::from(data),
            chain_id: Some(chain_id),
            access_list,
            ..TxEnv::default()
        })
    }
}

impl Filter {
    /// Contracts and topics.
    ///
    /// # Errors
    ///
    /// A text when there are more than four topics, or too many alternatives.
    pub fn logs(&self) -> Result<LogFilter, String> {
        let topics = self.topics.as_deref().unwrap_or_default();
        if topics.len() > TOPICS_MAX {
            return Err(format!(
                "a filter has {} topics, at most {TOPICS_MAX} exist",
                topics.len()
            ));
        }
        let count = |wanted: &Option<OneOrMany<HexHash>>| {
            wanted
                .as_ref()
                .map_or(0, |alternatives| alternatives.0.len())
        };
        let addresses_count = self
            .address
            .as_ref()
            .map_or(0, |addresses| addresses.0.len());
        let items_count = addresses_count + topics.iter().map(count).sum::<usize>();
        if items_count > FILTER_ITEMS_MAX {
            return Err(format!(
                "a filter names {items_count} addresses and topics, at most {FILTER_ITEMS_MAX} are allowed; ask several times"
            ));
        }
        Ok(LogFilter {
            addresses: self
                .address
                .iter()
                .flat_map(|addresses| &addresses.0)
                .map(|address| address.0)
                .collect(),
            topics: topics
                .iter()
                .map(|wanted| {
                    let alternatives = wanted.iter().flat_map(|wanted| &wanted.0);
                    alternatives.map(|topic| topic.0).collect()
                })
                .collect(),
        })
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::Number(number) => number.as_u64().map(U256::from),
            Value::String(text) => match text.strip_prefix("0x") {
                Some(digits) => U256::from_str_radix(digits, 16).ok(),
                None => U256::from_str_radix(text, 10).ok(),
            },
            _ => None,
        };
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom(format!("{value} is not a quantity such as `0x1f`")))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| hex::decode(digits).ok())
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom("expected bytes as an even number of digits after `0x`")
            })
    }
}

impl<'de> Deserialize<'de> for HexAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HexBytes::deserialize(deserializer)?.0;
        Address::try_from(bytes.as_slice())
            .map(Self)
            .map_err(|_| D::Error::custom("expected an address of 20 bytes"))
    }
}

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = HexBytes::deserialize(deserializer)?.0;
        B256::try_from(bytes.as_slice())
            .map(Self)
            .map_err(|_| D::Error::custom("expected a hash of 32 bytes"))
    }
}

impl<'de> Deserialize<'de> for BlockId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let parse = |value: &Value| serde_json::from_value::<Quantity>(value.clone()).ok();
        let at = match &value {
            Value::String(tag) => match tag.as_str() {
                // A development chain is final at once.
                "latest" | "safe" | "finalized" => Some(At::Latest),
                "pending" => Some(At::Pending),
                "earliest" => Some(At::Number(0)),
                _ => parse(&value).map(|number| At::Number(number.saturating_u64())),
            },
            Value::Object(object) => match (object.get("blockHash"), object.get("blockNumber")) {
                (Some(hash), _) => serde_json::from_value::<HexHash>(hash.clone())
                    .ok()
                    .map(|hash| At::Hash(hash.0)),
                (None, Some(number)) => {
                    parse(number).map(|number| At::Number(number.saturating_u64()))
                }
                (None, None) => None,
            },
            Value::Number(_) => parse(&value).map(|number| At::Number(number.saturating_u64())),
            _ => None,
        };
        at.map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "{value} is not a block number, `latest`, `pending`, `earliest`, `safe` or `finalized`"
            ))
        })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let many = match value {
            Value::Array(_) => serde_json::from_value(value),
            one => serde_json::from_value(one).map(|one| vec![one]),
        };
        many.map(Self).map_err(D::Error::custom)
    }
}

/// `0x…` without leading zeros.
pub fn quantity(number: impl LowerHex) -> Value {
    Value::String(format!("{number:#x}"))
}

/// `0x…` of all bytes.
pub fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(format!("0x{}", hex::encode(bytes)))
}

/// A block with its transactions' hashes or, when `full`, the transactions.
#[must_use]
pub fn block(block: &Arc<Block>, full: bool) -> Value {
    let transactions: Vec<Value> = block
        .transactions
        .iter()
        .enumerate()
        .map(|(idx, included)| match full {
            true => transaction(&included.transaction, Some((block, idx))),
            false => bytes(included.transaction.hash),
        })
        .collect();
    let mut value = head(block);
    value["size"] = quantity(block.size_bytes);
    value["transactions"] = Value::Array(transactions);
    value["uncles"] = json!([]);
    value["withdrawals"] = json!([]);
    value
}

/// A block's header as `newHeads` shows it.
#[must_use]
pub fn head(block: &Block) -> Value {
    let header = &block.header;
    json!({
        "hash": bytes(block.hash),
        "parentHash": bytes(header.parent_hash),
        "sha3Uncles": bytes(UNCLES_HASH),
        "miner": bytes(Address::ZERO),
        "stateRoot": bytes(header.state_root),
        "transactionsRoot": bytes(header.transactions_root()),
        "receiptsRoot": bytes(header.receipts_root()),
        "logsBloom": bytes(header.bloom()),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "number": quantity(header.number),
        "gasLimit": quantity(GAS_LIMIT),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "extraData": bytes(header.extra_data()),
        "mixHash": bytes(header.mix_hash()),
        "nonce": "0x0000000000000000",
        "baseFeePerGas": quantity(header.base_fee),
        "withdrawalsRoot": bytes(EMPTY_ROOT),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": bytes(B256::ZERO),
        "requestsHash": bytes(EMPTY_REQUESTS_HASH),
    })
}

/// A transaction, with where it stands once it was mined.
#[must_use]
pub fn transaction(transaction: &Transaction, place: Option<(&Arc<Block>, usize)>) -> Value {
    let price = match place {
        Some((block, _)) => transaction.effective_gas_price(block.header.base_fee),
        None => transaction.max_fee,
    };
    let mut value = json!({
        "hash": bytes(transaction.hash),
        "type": quantity(transaction.type_id),
        "chainId": quantity(transaction.chain_id),
        "nonce": quantity(transaction.nonce),
        "from": bytes(transaction.from),
        "to": transaction.to.to().map(bytes),
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity(price),
        "input": bytes(&transaction.input),
        "v": quantity(transaction.v),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
        "blockHash": place.map(|(block, _)| bytes(block.hash)),
        "blockNumber": place.map(|(block, _)| quantity(block.header.number)),
        "transactionIndex": place.map(|(_, idx)| quantity(idx)),
    });
    if transaction.type_id != 0 {
        value["yParity"] = quantity(transaction.v);
        value["accessList"] = access_list(&transaction.access_list);
    }
    if let Some((block, _)) = place {
        value["blockTimestamp"] = quantity(block.header.timestamp);
    }
    if let Some(tip) = transaction.max_priority_fee {
        value["maxFeePerGas"] = quantity(transaction.max_fee);
        value["maxPriorityFeePerGas"] = quantity(tip);
    }
    value
}

/// Addresses and words as transactions carry them.
#[must_use]
pub fn access_list(list: &AccessList) -> Value {
    list.0
        .iter()
        .map(|item| {
            let keys: Vec<Value> = item.storage_keys.iter().map(bytes).collect();
            json!({ "address": bytes(item.address), "storageKeys": keys })
        })
        .collect()
}

/// The receipt of transaction `idx` of a block.
#[must_use]
pub fn receipt(block: &Arc<Block>, idx: usize) -> Value {
    let Some(included) = block.transactions.get(idx) else {
        return Value::Null;
    };
    let (transaction, receipt) = (&included.transaction, &included.receipt);
    let logs: Vec<Value> = (0..receipt.logs.len())
        .map(|log_idx| {
            log(&LogAt {
                block: Arc::clone(block),
                transaction_idx: idx,
                idx: log_idx,
                removed: false,
            })
        })
        .collect();
    json!({
        "transactionHash": bytes(transaction.hash),
        "transactionIndex": quantity(idx),
        "blockHash": bytes(block.hash),
        "blockNumber": quantity(block.header.number),
        "from": bytes(transaction.from),
        "to": transaction.to.to().map(bytes),
        "type": quantity(transaction.type_id),
        "status": quantity(u8::from(receipt.success)),
        "gasUsed": quantity(receipt.gas_used),
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used),
        "effectiveGasPrice": quantity(receipt.effective_gas_price),
        "blobGasPrice": "0x1",
        "blockTimestamp": quantity(block.header.timestamp),
        "contractAddress": receipt.contract_address.map(bytes),
        "logsBloom": bytes(receipt.bloom),
        "logs": logs,
    })
}

/// A log and where it stands.
#[must_use]
pub fn log(at: &LogAt) -> Value {
    let Some(included) = at.block.transactions.get(at.transaction_idx) else {
        return Value::Null;
    };
    let Some(log) = included.receipt.logs.get(at.idx) else {
        return Value::Null;
    };
    let topics: Vec<Value> = log.data.topics().iter().map(bytes).collect();
    json!({
        "address": bytes(log.address),
        "topics": topics,
        "data": bytes(&log.data.data),
        "blockHash": bytes(at.block.hash),
        "blockNumber": quantity(at.block.header.number),
        "blockTimestamp": quantity(at.block.header.timestamp),
        "transactionHash": bytes(included.transaction.hash),
        "transactionIndex": quantity(at.transaction_idx),
        "logIndex": quantity(included.receipt.log_idx_first + at.idx),
        "removed": at.removed,
    })
}

/// Most addresses and topics of one filter. Chosen: each log is held against all.
const FILTER_ITEMS_MAX: usize = 4_096;

/// Topics that a log can have.
const TOPICS_MAX: usize = 4;
