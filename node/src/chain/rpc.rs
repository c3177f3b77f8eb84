//! JSON-RPC to one chain over several endpoints.
//!
//! A request goes to the endpoint that answered last; when that one cannot be
//! reached the next is tried, so one dead provider does not stop a peer. Each
//! endpoint is asked for its chain id before its first answer counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jsonrpsee::core::ClientError;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::core::params::BatchRequestBuilder;
use jsonrpsee::types::ErrorObject;
use jsonrpsee_http_client::{HttpClient, HttpClientBuilder};
use protocol::amount::U256;
use protocol::chain::json::{self, BlockHeader, JsonError, Log, Object};
use protocol::chain::{Revert, explain_revert};
use protocol::id::{Address, Hash32};
use protocol::registry::BlockRef;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Speaks to one chain; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoints: Vec<Endpoint>,
    preferred: AtomicUsize,
    chain_id: OnceCell<u64>,
}

#[derive(Debug)]
struct Endpoint {
    url: String,
    http: HttpClient,
    is_checked: AtomicBool,
}

/// Why the chain did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No endpoint was given, or one is not a URL.
    #[error("`{url}` is not an RPC endpoint: {reason}; give an http:// URL in `chain.rpc`")]
    Endpoint {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No endpoint answered.
    #[error("no RPC endpoint answered, the last one tried was {url}: {reason}; check `chain.rpc`")]
    Unreachable {
        /// The last endpoint tried.
        url: String,
        /// What happened there.
        reason: String,
    },
    /// An endpoint serves another chain.
    #[error("{url} serves chain {found}, expected {expected}; check `chain.rpc`")]
    ChainId {
        /// Which endpoint.
        url: String,
        /// The chain of the configured contracts.
        expected: u64,
        /// Its own.
        found: u64,
    },
    /// The contract refused.
    #[error("the contract refused: {0}")]
    Revert(Revert),
    /// The endpoint refused.
    #[error("the endpoint refused {method}: {message} (code {code})")]
    Rejected {
        /// Which method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i32,
        /// Its text, cut to 256 characters.
        message: String,
    },
    /// The endpoint's answer makes no sense.
    #[error("the endpoint's answer to {method} makes no sense: {reason}")]
    Malformed {
        /// Which method.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A mined transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub tx_hash: Hash32,
    /// Its block.
    pub block: BlockRef,
    /// False when it reverted.
    pub succeeded: bool,
    /// Gas that it used.
    pub gas_used: u64,
    /// The contract that it created.
    pub contract_address: Option<Address>,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// A call or transaction before anybody signs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallRequest {
    /// Who calls.
    pub from: Option<Address>,
    /// Whom; `None` creates a contract.
    pub to: Option<Address>,
    /// Call data or creation code.
    pub data: Vec<u8>,
    /// Wei that go along.
    pub value: U256,
}

impl Client {
    /// Makes a client; nothing is sent before the first request. Without a
    /// `chain_id` the first endpoint that answers decides it.
    ///
    /// # Errors
    ///
    /// [`RpcError::Endpoint`] without endpoints and for texts that are no URLs.
    pub fn new(urls: &[String], chain_id: Option<u64>) -> Result<Self, RpcError> {
        let endpoints: Vec<Endpoint> = urls
            .iter()
            .take(ENDPOINTS_MAX)
            .map(|url| Endpoint::new(url))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(RpcError::Endpoint {
                url: String::new(),
                reason: "there is none".to_owned(),
            });
        }
        Ok(Self {
            inner: Arc::new(Inner {
                endpoints,
                preferred: AtomicUsize::new(0),
                chain_id: OnceCell::new_with(chain_id),
            }),
        })
    }

    /// The chain's id.
    ///
    /// # Errors
    ///
    /// [`RpcError::Unreachable`] when it is not known yet and nobody answers.
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        if let Some(id) = self.inner.chain_id.get() {
            return Ok(*id);
        }
        let value = self.request("eth_chainId", vec![]).await?;
        read_quantity("eth_chainId", &value)
    }

    /// The newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn latest(&self) -> Result<BlockHeader, RpcError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let value = self
            .request(METHOD, vec![json!("latest"), json!(false)])
            .await?;
        BlockHeader::from_json(&value).map_err(|error| malformed(METHOD, &error))
    }

    /// A block by number; `None` when the endpoint has none.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn block(&self, number: u64) -> Result<Option<BlockHeader>, RpcError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let value = self
            .request(METHOD, vec![hex_quantity(number), json!(false)])
            .await?;
        if value.is_null() {
            return Ok(None);
        }
        BlockHeader::from_json(&value)
            .map(Some)
            .map_err(|error| malformed(METHOD, &error))
    }

    /// The blocks `from..=to`, in order.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers, or one of the blocks is missing.
    pub async fn blocks(&self, from: u64, to: u64) -> Result<Vec<BlockHeader>, RpcError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let calls: Vec<Call> = (from..=to)
            .map(|number| (METHOD, vec![hex_quantity(number), json!(false)]))
            .collect();
        self.batch_or_single(&calls)
            .await?
            .iter()
            .map(|value| BlockHeader::from_json(value).map_err(|error| malformed(METHOD, &error)))
            .collect()
    }

    /// Logs of `addresses` in the blocks `from..=to`.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn logs_by_range(
        &self,
        from: u64,
        to: u64,
        addresses: &[Address],
    ) -> Result<Vec<Log>, RpcError> {
        let filter = json!({
            "fromBlock": hex_quantity(from),
            "toBlock": hex_quantity(to),
            "address": addresses,
        });
        self.logs(filter).await
    }

    /// Logs of `addresses` in the block with this hash.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn logs_by_hash(
        &self,
        block: Hash32,
        addresses: &[Address],
    ) -> Result<Vec<Log>, RpcError> {
        self.logs(json!({ "blockHash": block, "address": addresses }))
            .await
    }

    /// Runs a call on the newest block and returns its answer.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when the contract refuses.
    pub async fn call(&self, call: &CallRequest) -> Result<Vec<u8>, RpcError> {
        self.call_on(call, json!("latest")).await
    }

    /// Runs a call on the state after block `number`; endpoints without
    /// archives know recent blocks only.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when the contract refuses.
    pub async fn call_at(&self, call: &CallRequest, number: u64) -> Result<Vec<u8>, RpcError> {
        self.call_on(call, hex_quantity(number)).await
    }

    async fn call_on(&self, call: &CallRequest, block: Value) -> Result<Vec<u8>, RpcError> {
        const METHOD: &str = "eth_call";
        let value = self.request(METHOD, vec![call.to_json(), block]).await?;
        read_bytes(METHOD, &value)
    }

    /// The gas that a transaction would use.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when it would revert.
    pub async fn estimate_gas(&self, call: &CallRequest) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_estimateGas";
        let value = self.request(METHOD, vec![call.to_json()]).await?;
        read_quantity(METHOD, &value)
    }

    /// How many transactions of `address` have been mined.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn transaction_count(&self, address: Address) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_getTransactionCount";
        let value = self
            .request(METHOD, vec![json!(address), json!("latest")])
            .await?;
        read_quantity(METHOD, &value)
    }

    /// The nonce for the next transaction of `address`, those that wait to be
    /// mined counted too where the endpoint shows them.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn next_nonce(&self, address: Address) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_getTransactionCount";
        let pending = vec![json!(address), json!("pending")];
        match self.request(METHOD, pending).await {
            Ok(value) => read_quantity(METHOD, &value),
            Err(RpcError::Rejected { .. }) => self.transaction_count(address).await,
            Err(error) => Err(error),
        }
    }

    /// Wei that `address` owns.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn balance(&self, address: Address) -> Result<U256, RpcError> {
        const METHOD: &str = "eth_getBalance";
        let value = self
            .request(METHOD, vec![json!(address), json!("latest")])
            .await?;
        serde_json::from_value(value).map_err(|error| malformed(METHOD, &error))
    }

    /// The code at `address`; empty where no contract stands.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn code(&self, address: Address) -> Result<Vec<u8>, RpcError> {
        const METHOD: &str = "eth_getCode";
        let value = self
            .request(METHOD, vec![json!(address), json!("latest")])
            .await?;
        read_bytes(METHOD, &value)
    }

    /// The tip in wei per gas that the endpoint suggests.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn max_priority_fee(&self) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_maxPriorityFeePerGas";
        let value = self.request(METHOD, vec![]).await?;
        read_quantity(METHOD, &value)
    }

    /// Hands over a signed transaction.
    ///
    /// # Errors
    ///
    /// [`RpcError::Rejected`] with the endpoint's reason.
    pub async fn send_raw(&self, raw: &[u8]) -> Result<(), RpcError> {
        let raw = json!(format!("0x{}", hex::encode(raw)));
        self.request("eth_sendRawTransaction", vec![raw])
            .await
            .map(|_| ())
    }

    /// The receipt of a mined transaction.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn receipt(&self, tx_hash: Hash32) -> Result<Option<Receipt>, RpcError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        let value = self.request(METHOD, vec![json!(tx_hash)]).await?;
        if value.is_null() {
            return Ok(None);
        }
        Receipt::from_json(&value)
            .map(Some)
            .map_err(|error| malformed(METHOD, &error))
    }

    /// Any method with any parameters.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer is an error.
    pub async fn request(
        &self,
        method: &'static str,
        parameters: Vec<Value>,
    ) -> Result<Value, RpcError> {
        let answers = self.batch_or_single(&[(method, parameters)]).await?;
        answers
            .into_iter()
            .next()
            .ok_or_else(|| malformed(method, &"there is none"))
    }

    async fn logs(&self, filter: Value) -> Result<Vec<Log>, RpcError> {
        const METHOD: &str = "eth_getLogs";
        let value = self.request(METHOD, vec![filter]).await?;
        let Value::Array(logs) = value else {
            return Err(malformed(METHOD, &"it is not a list"));
        };
        logs.iter()
            .map(|log| Log::from_json(log).map_err(|error| malformed(METHOD, &error)))
            .collect()
    }

    /// Makes all calls at one endpoint, or none.
    async fn batch_or_single(&self, calls: &[Call]) -> Result<Vec<Value>, RpcError> {
        let endpoints = &self.inner.endpoints;
        let first = self.inner.preferred.load(Ordering::Relaxed);
        let mut last = None;
        for round in 0..endpoints.len().max(ATTEMPTS_MIN) {
            let idx = (first + round) % endpoints.len();
            let endpoint = &endpoints[idx];
            let answer = match self.check(endpoint).await {
                Ok(()) => endpoint.ask(calls).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Ok(values) => {
                    self.inner.preferred.store(idx, Ordering::Relaxed);
                    return Ok(values);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Elsewhere(reason)) => {
                    last = Some(RpcError::Unreachable {
                        url: endpoint.url.clone(),
                        reason,
                    });
                }
                Err(Failure::OtherChain(found)) => {
                    last = Some(RpcError::ChainId {
                        url: endpoint.url.clone(),
                        expected: self.inner.chain_id.get().copied().unwrap_or_default(),
                        found,
                    });
                }
            }
        }
        Err(last.expect("there is at least one endpoint and one attempt"))
    }

    /// Asks an endpoint for its chain id once.
    async fn check(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        const METHOD: &str = "eth_chainId";
        if endpoint.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let value = endpoint
            .http
            .request::<Value, _>(METHOD, Vec::<Value>::new())
            .await
            .map_err(|error| Failure::new(METHOD, error))?;
        let found = read_quantity(METHOD, &value).map_err(Failure::Final)?;
        let expected = *self
            .inner
            .chain_id
            .get_or_init(|| async move { found })
            .await;
        if found != expected {
            return Err(Failure::OtherChain(found));
        }
        endpoint.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Endpoint {
    fn new(url: &str) -> Result<Self, RpcError> {
        let http = HttpClientBuilder::default()
            .request_timeout(REQUEST_TIMEOUT)
            .max_request_size(REQUEST_BYTES_MAX)
            .max_response_size(RESPONSE_BYTES_MAX)
            .build(url)
            .map_err(|error| RpcError::Endpoint {
                url: url.to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self {
            url: url.to_owned(),
            http,
            is_checked: AtomicBool::new(false),
        })
    }

    async fn ask(&self, calls: &[Call]) -> Result<Vec<Value>, Failure> {
        if let [(method, parameters)] = calls {
            return self
                .http
                .request::<Value, _>(method, parameters.clone())
                .await
                .map(|value| vec![value])
                .map_err(|error| Failure::new(method, error));
        }
        let mut batch = BatchRequestBuilder::new();
        for (method, parameters) in calls {
            batch
                .insert(method, parameters.clone())
                .map_err(|error| Failure::Final(malformed("batch", &error)))?;
        }
        let answers = self
            .http
            .batch_request::<Value>(batch)
            .await
            .map_err(|error| Failure::new("batch", error))?;
        answers
            .into_iter()
            .map(|answer| answer.map_err(|error| Failure::Final(refused("batch", &error))))
            .collect()
    }
}

/// A method and its parameters.
type Call = (&'static str, Vec<Value>);

impl CallRequest {
    /// A call of `to` with `data` by nobody in particular.
    #[must_use]
    pub fn view(to: Address, data: Vec<u8>) -> Self {
        Self {
            to: Some(to),
            data,
            ..Self::default()
        }
    }

    fn to_json(&self) -> Value {
        let mut object = json!({ "data": format!("0x{}", hex::encode(&self.data)) });
        if let Some(from) = self.from {
            object["from"] = json!(from);
        }
        if let Some(to) = self.to {
            object["to"] = json!(to);
        }
        if !self.value.is_zero() {
            object["value"] = json!(self.value);
        }
        object
    }
}

impl Receipt {
    fn from_json(value: &Value) -> Result<Self, JsonError> {
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
            succeeded: object.quantity("status")? == 1,
            gas_used: object.quantity("gasUsed")?,
            contract_address: object.address("contractAddress").ok(),
            logs,
        })
    }
}

impl RpcError {
    /// True when asking again later may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Malformed { .. } => true,
            Self::Endpoint { .. }
            | Self::ChainId { .. }
            | Self::Revert(_)
            | Self::Rejected { .. } => false,
        }
    }

    /// True when the endpoint has the very transaction already.
    #[must_use]
    pub fn is_known_transaction(&self) -> bool {
        self.says(&["already known", "known transaction", "already imported"])
    }

    /// True when another transaction took the nonce, mined or waiting.
    #[must_use]
    pub fn is_nonce_used(&self) -> bool {
        self.says(&[
            "nonce too low",
            "nonce is too low",
            "replacement transaction underpriced",
            "nonce has already been used",
        ])
    }

    fn says(&self, texts: &[&str]) -> bool {
        match self {
            Self::Rejected { message, .. } => {
                let message = message.to_lowercase();
                texts.iter().any(|text| message.contains(text))
            }
            _ => false,
        }
    }
}

enum Failure {
    /// Another endpoint may do better.
    Elsewhere(String),
    /// The endpoint serves this chain.
    OtherChain(u64),
    /// No endpoint would do better.
    Final(RpcError),
}

impl Failure {
    fn new(method: &'static str, error: ClientError) -> Self {
        match error {
            ClientError::Call(object) => Self::Final(refused(method, &object)),
            other => Self::Elsewhere(other.to_string()),
        }
    }
}

fn refused(method: &'static str, object: &ErrorObject<'_>) -> RpcError {
    let data = object
        .data()
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .and_then(|text| json::bytes(&text, REVERT_BYTES_MAX));
    if object.code() == REVERT_CODE || object.message().contains("revert") {
        return RpcError::Revert(explain_revert(&data.unwrap_or_default()));
    }
    RpcError::Rejected {
        method,
        code: object.code(),
        message: object.message().chars().take(256).collect(),
    }
}

fn malformed(method: &'static str, reason: &dyn std::fmt::Display) -> RpcError {
    RpcError::Malformed {
        method,
        reason: reason.to_string(),
    }
}

fn read_quantity(method: &'static str, value: &Value) -> Result<u64, RpcError> {
    value
        .as_str()
        .and_then(json::quantity)
        .ok_or_else(|| malformed(method, &"it is not a quantity of at most 64 bits"))
}

fn read_bytes(method: &'static str, value: &Value) -> Result<Vec<u8>, RpcError> {
    value
        .as_str()
        .and_then(|text| json::bytes(text, ANSWER_BYTES_MAX))
        .ok_or_else(|| malformed(method, &"it is not bytes within their limit"))
}

fn hex_quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

/// Most endpoints that are used; more are ignored.
pub const ENDPOINTS_MAX: usize = 16;

/// Every request is tried this often, on different endpoints where there are.
const ATTEMPTS_MIN: usize = 2;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_BYTES_MAX: u32 = 1 << 20;
const RESPONSE_BYTES_MAX: u32 = 16 << 20;
const ANSWER_BYTES_MAX: usize = 1 << 20;
const REVERT_BYTES_MAX: usize = 64 * 1024;

/// The JSON-RPC error code that endpoints use for reverts.
const REVERT_CODE: i32 = 3;
