//! A door in front of the development chain that misbehaves when told to.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

/// How the door misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not.
    None,
    /// Answers HTTP 500.
    Broken,
    /// Answers HTTP 429 and asks for patience.
    RateLimit,
    /// Answers JSON of the wrong shape.
    Nonsense,
    /// Says that it serves this chain.
    ChainId(u64),
    /// Shows this block as the newest for ever.
    Frozen(u64),
    /// Takes no batches.
    NoBatches,
    /// Gives logs of so many blocks at once.
    LogBlocks(u64),
    /// Takes transactions and forgets them.
    Swallow,
}

/// The door.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    chain: String,
    http: reqwest::Client,
    fault: Mutex<Fault>,
    /// How often each method was asked for, and how many requests there were.
    asked: Mutex<Vec<String>>,
}

impl Door {
    pub(super) async fn open(chain: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (door, router) = Self::new(chain, url);
        tokio::spawn(async move { axum::serve(listener, router).await });
        door
    }

    /// A door and what serves it.
    pub(super) fn new(chain: &str, url: String) -> (Self, Router) {
        let shared = Arc::new(Shared {
            chain: chain.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/", post(answer))
            .with_state(Arc::clone(&shared));
        (Self { url, shared }, router)
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// The methods that were asked for since the last time.
    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let fault = shared.fault.lock().unwrap().clone();
    let request: Value = serde_json::from_str(&body).unwrap();
    let method = request["method"].as_str().unwrap_or("batch").to_owned();
    shared.asked.lock().unwrap().push(method.clone());
    let error = |code: i64, message: &str| {
        let error = json!({ "code": code, "message": message });
        axum::Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })).into_response()
    };
    let result = |value: Value| axum::Json(json!({ "jsonrpc": "2.0", "id": 0, "result": value }));
    let mut request = request.clone();
    match (fault, method.as_str()) {
        (Fault::Broken, _) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        (Fault::RateLimit, _) => {
            let patience = [("retry-after", "2")];
            return (StatusCode::TOO_MANY_REQUESTS, patience).into_response();
        }
        (Fault::Nonsense, method) if method != "eth_chainId" => {
            return result(json!({ "number": "yes", "hash": [1, 2] })).into_response();
        }
        (Fault::ChainId(id), "eth_chainId") => {
            return result(json!(format!("{id:#x}"))).into_response();
        }
        (Fault::Frozen(number), "eth_getBlockByNumber") if request["params"][0] == "latest" => {
            request["params"][0] = json!(format!("{number:#x}"));
        }
        (Fault::NoBatches, "batch") => return error(-32600, "batches are not supported"),
        (Fault::LogBlocks(blocks_max), "eth_getLogs") => {
            let number = |field: &str| {
                let text = request["params"][0][field].as_str()?;
                u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
            };
            if let (Some(from), Some(to)) = (number("fromBlock"), number("toBlock"))
                && to - from >= blocks_max
            {
                return error(-32000, &format!("block range is limited to {blocks_max}"));
            }
        }
        (Fault::Swallow, "eth_sendRawTransaction") => {
            return result(json!(format!("0x{}", "00".repeat(32)))).into_response();
        }
        _ => {}
    }
    let sent = shared.http.post(&shared.chain).json(&request).send().await;
    match sent {
        Ok(answer) => answer.bytes().await.unwrap().into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
