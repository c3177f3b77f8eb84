//! JSON-RPC 2.0 over HTTP and HTTPS to one endpoint.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::chain::{explain_revert, json};
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::{Value, json};

use super::RpcError;

/// A method and its parameters.
pub(super) type Call = (&'static str, Vec<Value>);

/// Requests to one endpoint.
pub(super) struct Transport {
    url: reqwest::Url,
    /// The URL without what may be a key to it.
    pub(super) name: String,
    http: reqwest::Client,
    /// False when the endpoint has refused a batch.
    takes_batches: AtomicBool,
}

/// Why an endpoint gave no answer that counts.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another endpoint may do better.
    Elsewhere {
        /// What happened, for people.
        reason: String,
        /// How long the endpoint asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The answer is an error that another endpoint would give too.
    Final(RpcError),
}

/// Makes the HTTP client that all endpoints share; `authorities` are PEM
/// certificates that are trusted beside the usual ones.
pub(super) fn http_client(authorities: Option<&[u8]>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(pem) = authorities {
        let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(text_of)?;
        if certificates.is_empty() {
            return Err("it holds none in PEM form".to_owned());
        }
        for certificate in certificates {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build().map_err(text_of)
}

impl fmt::Debug for Transport {
    /// Without the URL, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transport").field(&self.name).finish()
    }
}

impl Transport {
    pub(super) fn new(text: &str, http: &reqwest::Client) -> Result<Self, RpcError> {
        let refused = |reason: String| RpcError::Endpoint {
            url: text.to_owned(),
            reason,
        };
        let url = reqwest::Url::parse(text).map_err(|error| refused(error.to_string()))?;
        match url.scheme() {
            "http" | "https" => {}
            "ws" | "wss" => {
                return Err(refused("WebSocket is not spoken here".to_owned()));
            }
            other => return Err(refused(format!("`{other}` is not spoken here"))),
        }
        Ok(Self {
            name: name(&url),
            url,
            http: http.clone(),
            takes_batches: AtomicBool::new(true),
        })
    }

    /// Makes all calls, in batches where the endpoint takes them.
    pub(super) async fn ask(&self, calls: &[Call]) -> Result<Vec<Value>, Failure> {
        let mut answers = Vec::with_capacity(calls.len());
        for chunk in calls.chunks(BATCH_CALLS_MAX) {
            if chunk.len() > 1
                && self.takes_batches.load(Ordering::Relaxed)
                && let Some(chunk) = self.ask_batch(chunk).await?
            {
                answers.extend(chunk);
                continue;
            }
            for (method, parameters) in chunk {
                answers.push(self.ask_one(method, parameters).await?);
            }
        }
        Ok(answers)
    }

    async fn ask_one(&self, method: &'static str, parameters: &[Value]) -> Result<Value, Failure> {
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": method, "params": parameters });
        let mut answer = self.post(&body).await?;
        read_answer(method, &mut answer)
    }

    /// `None` when the endpoint takes no batches.
    async fn ask_batch(&self, calls: &[Call]) -> Result<Option<Vec<Value>>, Failure> {
        let body: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(id, (method, parameters))| {
                json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters })
            })
            .collect();
        let answer = self.post(&Value::Array(body)).await?;
        let Value::Array(answers) = answer else {
            // One error for the whole batch.
            tracing::info!(endpoint = %self.name, "the endpoint takes no batches");
            self.takes_batches.store(false, Ordering::Relaxed);
            return Ok(None);
        };
        let mut sorted: Vec<Option<Value>> = vec![None; calls.len()];
        for answer in answers {
            let id = answer.get("id").and_then(Value::as_u64);
            let place = id
                .and_then(|id| usize::try_from(id).ok())
                .and_then(|id| sorted.get_mut(id));
            *place.ok_or_else(|| elsewhere("it answered what was not asked"))? = Some(answer);
        }
        sorted
            .into_iter()
            .zip(calls)
            .map(|(answer, (method, _))| {
                let mut answer =
                    answer.ok_or_else(|| elsewhere("it left a part of the batch unanswered"))?;
                read_answer(method, &mut answer)
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Sends a body and reads the JSON that comes back.
    async fn post(&self, body: &Value) -> Result<Value, Failure> {
        let sent = self.http.post(self.url.clone()).json(body).send().await;
        let mut response = sent.map_err(|error| elsewhere(text_of(error)))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let mut bytes = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| elsewhere(text_of(error)))?
        {
            if bytes.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(Failure::Final(RpcError::TooLarge {
                    reason: format!("the answer is over {RESPONSE_BYTES_MAX} bytes"),
                }));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Failure::Elsewhere {
                reason: "it limits the rate of requests (HTTP 429)".to_owned(),
                retry_after: retry_after.or(Some(RATE_PAUSE)),
            });
        }
        match serde_json::from_slice(&bytes) {
            // Some answer errors of the request with a status of their own.
            Ok(value) if status.is_success() || is_answer(&value) => Ok(value),
            Ok(_) => Err(elsewhere(format!("it answered HTTP {status}"))),
            Err(_) if !status.is_success() => Err(elsewhere(format!("it answered HTTP {status}"))),
            Err(error) => Err(elsewhere(format!("its answer is no JSON: {error}"))),
        }
    }
}

fn is_answer(value: &Value) -> bool {
    value.get("jsonrpc").is_some() && value.get("error").is_some()
}

/// Takes the result out of one answer.
fn read_answer(method: &'static str, answer: &mut Value) -> Result<Value, Failure> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(refusal(method, error));
    }
    match answer.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(elsewhere("its answer is no JSON-RPC")),
    }
}

/// What an error object means.
fn refusal(method: &'static str, error: &Value) -> Failure {
    let code = error
        .get("code")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str);
    let message = message.unwrap_or("without a reason");
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    let data = error
        .get("data")
        .and_then(Value::as_str)
        .and_then(|text| json::bytes(text, REVERT_BYTES_MAX));
    let lower = message.to_lowercase();
    if code == REVERT_CODE || lower.contains("revert") {
        let revert = explain_revert(&data.unwrap_or_default());
        return Failure::Final(RpcError::Revert(revert));
    }
    if code == 429 || RATE_TEXTS.iter().any(|text| lower.contains(text)) {
        return Failure::Elsewhere {
            reason: format!("it limits the rate of requests: {message}"),
            retry_after: Some(RATE_PAUSE),
        };
    }
    if method == "eth_getLogs"
        && (code == LIMIT_CODE || SIZE_TEXTS.iter().any(|text| lower.contains(text)))
    {
        return Failure::Final(RpcError::TooLarge { reason: message });
    }
    Failure::Final(RpcError::Rejected {
        method,
        code: i32::try_from(code).unwrap_or_default(),
        message,
    })
}

pub(super) fn elsewhere(reason: impl Into<String>) -> Failure {
    Failure::Elsewhere {
        reason: reason.into(),
        retry_after: None,
    }
}

/// Scheme, host and port: paths and queries carry providers' keys.
fn name(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", url.scheme())
}

/// An error with its causes, without the URL.
fn text_of(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", REQUEST_TIMEOUT.as_secs());
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Chosen: a lost packet is sent again twice within it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Chosen: logs of 10,000 blocks take seconds; another endpoint is next.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Chosen: some hundred full actions with their logs; a range that gives more is halved.
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Chosen: many times the longest reason; what it says is cut further.
const REVERT_BYTES_MAX: usize = 64 * 1024;

/// Characters of what an endpoint says: a line or two of a log.
const MESSAGE_CHARS_MAX: usize = 256;

/// Calls in one batch: the least that large providers allow.
const BATCH_CALLS_MAX: usize = 100;

/// How long an endpoint that limits rates is left alone when it does not say. Chosen:
/// rates are counted in seconds.
const RATE_PAUSE: Duration = Duration::from_secs(2);

/// The JSON-RPC error code that endpoints use for reverts.
const REVERT_CODE: i64 = 3;

/// The JSON-RPC error code of EIP-1474 for a limit that was exceeded.
const LIMIT_CODE: i64 = -32005;

/// How providers say that they are asked too often.
const RATE_TEXTS: &[&str] = &[
    "too many requests",
    "rate limit",
    "request rate",
    "per second",
    "compute units",
    "daily request count",
];

/// How providers say that a range of blocks is too long for them.
const SIZE_TEXTS: &[&str] = &[
    "more than",
    "too many",
    "too large",
    "limit",
    "range",
    "exceed",
    "timeout",
    "timed out",
    "response size",
];
