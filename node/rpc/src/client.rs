//! JSON-RPC to one chain over several endpoints.
//!
//! Which endpoint is asked is decided by [`protocol::chain::endpoints`]: a
//! request goes to the first that does well and on to the next when it is not
//! answered or answered with nonsense, so one bad provider does not stop a peer.
//! Each endpoint is asked for its chain id before its first answer counts and
//! after every failure.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::amount::U256;
use protocol::chain::Revert;
use protocol::chain::endpoints::{EndpointHealth, EndpointState, Endpoints, EndpointsConfig};
use protocol::chain::json::{self, BlockHeader, Log};
use protocol::id::{Address, Hash32};
use protocol::time::UnixSeconds;
use serde_json::{Value, json};

use crate::clock::Clock;

mod receipt;
mod transport;

pub use receipt::{Receipt, TransactionKind};
use transport::{Call, Failure, Transport, elsewhere};

/// Speaks to one chain; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// How a chain is spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// Endpoints in the order of preference; at most [`ENDPOINTS_MAX`].
    pub urls: Vec<String>,
    /// The chain that they must serve; the first that answers decides it when
    /// `None`.
    pub chain_id: Option<u64>,
    /// A file of PEM certificates whose authorities are trusted beside the
    /// usual ones.
    pub authorities: Option<PathBuf>,
    /// The usual time between two blocks; `None` on a chain that mines on
    /// demand, which cannot be told from one that stands still.
    pub block_time: Option<Duration>,
    /// Seed of the jitter between retries.
    pub seed: u64,
}

/// An endpoint and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its scheme, host and port.
    pub name: String,
    /// How it is doing.
    pub health: EndpointHealth,
}

#[derive(Debug)]
struct Inner {
    transports: Vec<Transport>,
    /// Held for a moment only, never while waiting.
    endpoints: Mutex<Endpoints>,
    clock: Clock,
}

/// Why the chain did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No endpoint was given, or one is not a URL.
    #[error(
        "`{url}` is not an RPC endpoint: {reason}; give an http:// or https:// URL in `chain.rpc`"
    )]
    Endpoint {
        /// The URL as it is configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates cannot be read.
    #[error("the certificates in {path} cannot be used: {reason}; check `chain.rpc_ca`")]
    Authorities {
        /// The file that was named.
        path: String,
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
        /// URL of the endpoint.
        url: String,
        /// The chain of the configured contracts.
        expected: u64,
        /// The id that it serves.
        found: u64,
    },
    /// The contract refused.
    #[error("the contract refused: {0}")]
    Revert(Revert),
    /// The endpoint refused.
    #[error("the endpoint refused {method}: {message} (code {code})")]
    Rejected {
        /// The method that was called.
        method: &'static str,
        /// JSON-RPC error code.
        code: i32,
        /// Its text, cut to 256 characters.
        message: String,
    },
    /// More than an endpoint gives at once; ask for less.
    #[error("more was asked for than the endpoint gives at once: {reason}")]
    TooLarge {
        /// The endpoint's text.
        reason: String,
    },
    /// The endpoint's answer makes no sense.
    #[error("the endpoint's answer to {method} makes no sense: {reason}")]
    Malformed {
        /// The method that was called.
        method: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A call or transaction before anybody signs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallRequest {
    /// The account that calls.
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
        Self::with_config(&ClientConfig {
            urls: urls.to_vec(),
            chain_id,
            ..ClientConfig::default()
        })
    }

    /// As [`Client::new`], with every setting.
    ///
    /// # Errors
    ///
    /// [`RpcError::Endpoint`] as there, [`RpcError::Authorities`] when the file
    /// of certificates cannot be used.
    pub fn with_config(config: &ClientConfig) -> Result<Self, RpcError> {
        let http = http_client(config.authorities.as_deref())?;
        let transports: Vec<Transport> = config
            .urls
            .iter()
            .take(ENDPOINTS_MAX)
            .map(|url| Transport::new(url, &http))
            .collect::<Result<_, _>>()?;
        if transports.is_empty() {
            return Err(RpcError::Endpoint {
                url: String::new(),
                reason: "there is none".to_owned(),
            });
        }
        let endpoints = EndpointsConfig {
            chain_id: config.chain_id,
            block_time: config.block_time,
            seed: config.seed,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                endpoints: Mutex::new(Endpoints::new(transports.len(), endpoints)),
                transports,
                clock: Clock::system(),
            }),
        })
    }

    /// How every endpoint is doing, in the configured order.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        let names = self.inner.transports.iter().map(|one| one.name.clone());
        names
            .zip(self.inner.endpoints().health())
            .map(|(name, health)| EndpointStatus { name, health })
            .collect()
    }

    /// Since when the chain has stood still, as far as its endpoints show.
    #[must_use]
    pub fn stalled_since(&self) -> Option<UnixSeconds> {
        self.inner.endpoints().stalled_since()
    }

    /// Asks endpoints that nobody asked for a while how they are doing.
    pub async fn probe(&self) {
        loop {
            let due = self.inner.endpoints().poll_probe(self.inner.clock.now());
            let Some(idx) = due else {
                return;
            };
            // How it went is noted with the answer.
            if let Ok(values) = self.ask(idx, &[latest_call()]).await {
                let read = read_header("eth_getBlockByNumber", &values);
                match read {
                    Ok(head) => self.note_head(idx, &head),
                    Err(error) => self.note_nonsense(idx, &error),
                }
            }
        }
    }

    /// The chain's id.
    ///
    /// # Errors
    ///
    /// [`RpcError::Unreachable`] when it is not known yet and nobody answers.
    pub async fn chain_id(&self) -> Result<u64, RpcError> {
        if let Some(id) = self.inner.endpoints().chain_id() {
            return Ok(id);
        }
        self.one("eth_chainId", vec![], read_quantity).await
    }

    /// The newest block.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn latest(&self) -> Result<BlockHeader, RpcError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let read = |values: &[Value]| read_header(METHOD, values);
        let (idx, head) = self.run(&[latest_call()], ROUNDS_MAX, read).await?;
        self.note_head(idx, &head);
        Ok(head)
    }

    /// A block by number; `None` when the endpoint has none.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn block(&self, number: u64) -> Result<Option<BlockHeader>, RpcError> {
        let calls = [block_call(number)];
        let read = |values: &[Value]| match values {
            [Value::Null] => Ok(None),
            values => Ok(read_headers(&[number], values)?.pop()),
        };
        Ok(self.run(&calls, ROUNDS_MAX, read).await?.1)
    }

    /// The blocks with these numbers, in their order.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers, or one of the blocks is missing.
    pub async fn blocks(&self, numbers: &[u64]) -> Result<Vec<BlockHeader>, RpcError> {
        let calls: Vec<Call> = numbers.iter().map(|number| block_call(*number)).collect();
        let read = |values: &[Value]| read_headers(numbers, values);
        Ok(self.run(&calls, ROUNDS_MAX, read).await?.1)
    }

    /// The blocks with these rising numbers, and the logs of `addresses` from
    /// the first to the last of them, all from one endpoint: one that does not
    /// have the last block yet would leave logs out without a word.
    ///
    /// # Errors
    ///
    /// [`RpcError::TooLarge`] when the endpoint gives less at once, others when
    /// nobody answers or a block is missing.
    pub async fn blocks_with_logs(
        &self,
        numbers: &[u64],
        addresses: &[Address],
    ) -> Result<(Vec<BlockHeader>, Vec<Log>), RpcError> {
        let (Some(from), Some(to)) = (numbers.first(), numbers.last()) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let filter = json!({
            "fromBlock": hex_quantity(*from),
            "toBlock": hex_quantity(*to),
            "address": addresses,
        });
        let mut calls: Vec<Call> = numbers.iter().map(|number| block_call(*number)).collect();
        calls.push((LOGS_METHOD, vec![filter]));
        // Once more after the logs: what changed in between is of another fork.
        calls.push(block_call(*to));
        let read = |values: &[Value]| {
            let (headers, rest) = values.split_at_checked(numbers.len()).unwrap_or_default();
            let headers = read_headers(numbers, headers)?;
            let [logs, last] = rest else {
                return Err(malformed(LOGS_METHOD, &"answers are missing"));
            };
            let last = read_headers(&[*to], std::slice::from_ref(last))?;
            if headers.last() != last.last() {
                return Err(malformed(LOGS_METHOD, &"the chain changed meanwhile"));
            }
            Ok((headers, read_logs(logs)?))
        };
        // What takes too long is asked for in smaller parts, not again.
        Ok(self.run(&calls, 1, read).await?.1)
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
        let filter = json!({ "blockHash": block, "address": addresses });
        self.one(LOGS_METHOD, vec![filter], |_, logs| read_logs(logs))
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
        self.one(METHOD, vec![call.to_json(), block], read_bytes)
            .await
    }

    /// The gas that a transaction would use.
    ///
    /// # Errors
    ///
    /// [`RpcError::Revert`] with the reason when it would revert.
    pub async fn estimate_gas(&self, call: &CallRequest) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_estimateGas";
        self.one(METHOD, vec![call.to_json()], read_quantity).await
    }

    /// How many transactions of `address` have been mined.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn transaction_count(&self, address: Address) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_getTransactionCount";
        let parameters = vec![json!(address), json!("latest")];
        self.one(METHOD, parameters, read_quantity).await
    }

    /// How many transactions of `address` were mined up to a block, whose state
    /// the endpoint has to keep.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn transaction_count_at(
        &self,
        address: Address,
        number: u64,
    ) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_getTransactionCount";
        let parameters = vec![json!(address), hex_quantity(number)];
        self.one(METHOD, parameters, read_quantity).await
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
        match self.one(METHOD, pending, read_quantity).await {
            Ok(nonce) => Ok(nonce),
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
        let parameters = vec![json!(address), json!("latest")];
        let read = |method, value: &Value| {
            serde_json::from_value(value.clone()).map_err(|error| malformed(method, &error))
        };
        self.one(METHOD, parameters, read).await
    }

    /// The code at `address`; empty where no contract stands.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn code(&self, address: Address) -> Result<Vec<u8>, RpcError> {
        const METHOD: &str = "eth_getCode";
        let parameters = vec![json!(address), json!("latest")];
        self.one(METHOD, parameters, read_bytes).await
    }

    /// The tip in wei per gas that the endpoint suggests.
    ///
    /// # Errors
    ///
    /// [`RpcError`] when nobody answers or the answer makes no sense.
    pub async fn max_priority_fee(&self) -> Result<u64, RpcError> {
        const METHOD: &str = "eth_maxPriorityFeePerGas";
        self.one(METHOD, vec![], read_quantity).await
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
        let read = |method, value: &Value| match value {
            Value::Null => Ok(None),
            value => Receipt::from_json(value)
                .map(Some)
                .map_err(|error| malformed(method, &error)),
        };
        self.one(METHOD, vec![json!(tx_hash)], read).await
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
        self.one(method, parameters, |_, value| Ok(value.clone()))
            .await
    }

    /// Makes one call and reads the answer.
    async fn one<T>(
        &self,
        method: &'static str,
        parameters: Vec<Value>,
        read: impl Fn(&'static str, &Value) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        let read = |values: &[Value]| match values {
            [value] => read(method, value),
            _ => Err(malformed(method, &"there is none")),
        };
        let calls = [(method, parameters)];
        Ok(self.run(&calls, ROUNDS_MAX, read).await?.1)
    }

    /// Makes all calls at one endpoint, in the order that the machine gives;
    /// returns which endpoint it was and what was read there. An answer that
    /// makes no sense counts as none.
    async fn run<T>(
        &self,
        calls: &[Call],
        rounds: u32,
        read: impl Fn(&[Value]) -> Result<T, RpcError>,
    ) -> Result<(usize, T), RpcError> {
        let mut last = None;
        for round in 0..rounds {
            if let Some(before) = round.checked_sub(1) {
                let pause = self.inner.endpoints().pause(before);
                tokio::time::sleep(pause).await;
            }
            let order = self.inner.endpoints().order(self.inner.clock.now());
            for idx in order {
                match self.ask(idx, calls).await {
                    Ok(values) => match read(&values) {
                        Ok(answer) => return Ok((idx, answer)),
                        Err(error) => {
                            self.note_nonsense(idx, &error);
                            last = Some(error);
                        }
                    },
                    Err(Failure::Final(error)) => return Err(error),
                    Err(Failure::Elsewhere { reason, .. }) => {
                        let url = self.inner.transports[idx].name.clone();
                        last = Some(RpcError::Unreachable { url, reason });
                    }
                }
            }
        }
        Err(self.inner.other_chain().or(last).unwrap_or_else(|| {
            let url = self.inner.transports[0].name.clone();
            let reason = "it is left alone for a while after it failed".to_owned();
            RpcError::Unreachable { url, reason }
        }))
    }

    /// Makes calls at one endpoint, after its chain id where that is not
    /// known, and notes how it went.
    async fn ask(&self, idx: usize, calls: &[Call]) -> Result<Vec<Value>, Failure> {
        let needs_check = self.inner.endpoints().needs_check(idx);
        if needs_check {
            self.check(idx).await?;
        }
        self.timed(idx, calls).await
    }

    async fn check(&self, idx: usize) -> Result<(), Failure> {
        const METHOD: &str = "eth_chainId";
        let values = self.timed(idx, &[(METHOD, vec![])]).await?;
        let found = values
            .first()
            .and_then(Value::as_str)
            .and_then(json::quantity);
        let now = self.inner.clock.now();
        let Some(found) = found else {
            let reason = "its chain id makes no sense".to_owned();
            let mut endpoints = self.inner.endpoints();
            endpoints.handle_failure(idx, reason.clone(), None, now);
            return Err(elsewhere(reason));
        };
        match self.inner.endpoints().handle_chain_id(idx, found, now) {
            true => Ok(()),
            false => Err(elsewhere(format!("it serves chain {found}"))),
        }
    }

    async fn timed(&self, idx: usize, calls: &[Call]) -> Result<Vec<Value>, Failure> {
        let clock = self.inner.clock;
        let asked_at = clock.now();
        self.inner.endpoints().handle_asked(idx, asked_at);
        let answer = self.inner.transports[idx].ask(calls).await;
        let now = clock.now();
        let mut endpoints = self.inner.endpoints();
        match &answer {
            // A refusal is an answer too.
            Ok(_) | Err(Failure::Final(_)) => {
                endpoints.handle_answer(idx, now.saturating_since(asked_at), now);
            }
            Err(Failure::Elsewhere {
                reason,
                retry_after,
            }) => endpoints.handle_failure(idx, reason.clone(), *retry_after, now),
        }
        answer
    }

    fn note_head(&self, idx: usize, head: &BlockHeader) {
        let now = self.inner.clock.now();
        let mut endpoints = self.inner.endpoints();
        endpoints.handle_head(idx, head.number, head.hash, head.time, now);
    }

    fn note_nonsense(&self, idx: usize, error: &RpcError) {
        let now = self.inner.clock.now();
        let mut endpoints = self.inner.endpoints();
        endpoints.handle_failure(idx, error.to_string(), None, now);
    }
}

impl Inner {
    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The error that explains why nobody is asked: all serve another chain.
    fn other_chain(&self) -> Option<RpcError> {
        let endpoints = self.endpoints();
        let expected = endpoints.chain_id()?;
        let mut error = None;
        for (health, transport) in endpoints.health().into_iter().zip(&self.transports) {
            let EndpointState::OtherChain { found } = health.state else {
                return None;
            };
            error = Some(RpcError::ChainId {
                url: transport.name.clone(),
                expected,
                found,
            });
        }
        error
    }
}

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

impl RpcError {
    /// True when asking again later may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Malformed { .. } => true,
            Self::Endpoint { .. }
            | Self::Authorities { .. }
            | Self::TooLarge { .. }
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

/// Reads one header per number, in order.
fn read_headers(numbers: &[u64], values: &[Value]) -> Result<Vec<BlockHeader>, RpcError> {
    const METHOD: &str = "eth_getBlockByNumber";
    let read = |(number, value): (&u64, &Value)| {
        let header = BlockHeader::from_json(value).map_err(|error| malformed(METHOD, &error))?;
        if header.number != *number {
            let found = header.number;
            let reason = format!("it is block {found} in place of {number}");
            return Err(malformed(METHOD, &reason));
        }
        Ok(header)
    };
    if values.len() != numbers.len() {
        return Err(malformed(METHOD, &"blocks are missing"));
    }
    numbers.iter().zip(values).map(read).collect()
}

fn read_logs(value: &Value) -> Result<Vec<Log>, RpcError> {
    let Value::Array(logs) = value else {
        return Err(malformed(LOGS_METHOD, &"it is not a list"));
    };
    logs.iter()
        .map(|log| Log::from_json(log).map_err(|error| malformed(LOGS_METHOD, &error)))
        .collect()
}

fn read_header(method: &'static str, values: &[Value]) -> Result<BlockHeader, RpcError> {
    let value = values.first().unwrap_or(&Value::Null);
    BlockHeader::from_json(value).map_err(|error| malformed(method, &error))
}

fn latest_call() -> Call {
    ("eth_getBlockByNumber", vec![json!("latest"), json!(false)])
}

fn block_call(number: u64) -> Call {
    let parameters = vec![hex_quantity(number), json!(false)];
    ("eth_getBlockByNumber", parameters)
}

fn http_client(authorities: Option<&Path>) -> Result<reqwest::Client, RpcError> {
    let refused = |path: &Path, reason: String| RpcError::Authorities {
        path: path.display().to_string(),
        reason,
    };
    let pem = match authorities {
        Some(path) => Some(std::fs::read(path).map_err(|error| refused(path, error.to_string()))?),
        None => None,
    };
    let path = authorities.unwrap_or(Path::new("the system"));
    transport::http_client(pem.as_deref()).map_err(|reason| refused(path, reason))
}

fn hex_quantity(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

/// Most endpoints that are used; more are ignored. Chosen: several of each of the
/// large providers.
pub const ENDPOINTS_MAX: usize = 16;

const LOGS_METHOD: &str = "eth_getLogs";

/// How often all endpoints are tried, with a growing pause between. Chosen: somebody
/// waits, and asks again when it matters.
const ROUNDS_MAX: u32 = 3;

/// Bytes of a call's answer. Chosen: many times the longest that our contracts give.
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests;
