//! The chain behind Ethereum's JSON-RPC, over HTTP and WebSocket on one port.
//!
//! Queries read the published [`View`]; everything else goes through the actor's
//! inbox and is written down before it is answered.

mod fees;
mod hooks;
mod reads;
mod watch;

use std::sync::Arc;

use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::server::{RegisterMethodError, RpcModule};
use jsonrpsee::types::params::ParamsSequence;
use jsonrpsee::types::{ErrorObjectOwned, SubscriptionId};
use protocol::time::Moment;
use revm::primitives::keccak256;
use serde_json::{Value, json};

use super::DevControl;
use super::error::{ChainError, INVALID_PARAMS};
use super::executor::{Command, Outcome};
use super::json::{self, BlockId, Filter, HexBytes};
use super::view::{At, LogFilter, View};

/// What every method has at hand.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) control: DevControl,
}

/// Hands out subscription ids as texts; some client libraries ignore numbers.
#[derive(Debug)]
pub(super) struct HexIds;

type Answer = Result<Value, ErrorObjectOwned>;
type Module = RpcModule<Context>;
type Registered = Result<(), RegisterMethodError>;

impl Context {
    fn view(&self) -> Arc<View> {
        self.control.view()
    }

    fn now(&self) -> Moment {
        self.control.now()
    }
}

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        format!("{:#x}", rand::random::<u128>()).into()
    }
}

impl From<ChainError> for ErrorObjectOwned {
    fn from(error: ChainError) -> Self {
        let data = match &error {
            ChainError::Reverted { output } => Some(json::bytes(output)),
            _ => None,
        };
        Self::owned(error.code(), error.to_string(), data)
    }
}

/// Every method of the chain.
///
/// # Errors
///
/// When a name is taken twice.
pub(super) fn module(context: Context) -> Result<Module, RegisterMethodError> {
    let mut module = RpcModule::new(context);
    register_constants(&mut module)?;
    reads::register(&mut module)?;
    fees::register(&mut module)?;
    watch::register(&mut module)?;
    hooks::register(&mut module)?;
    for (method, reason) in REFUSED {
        module.register_method(method, move |_, _, _| {
            Err::<Value, ErrorObjectOwned>(ChainError::Unsupported { method, reason }.into())
        })?;
    }
    Ok(module)
}

fn register_constants(module: &mut Module) -> Registered {
    query(module, "eth_chainId", |view, _, _| {
        Ok(json::quantity(view.chain_id))
    })?;
    query(module, "net_version", |view, _, _| {
        Ok(json!(view.chain_id.to_string()))
    })?;
    query(module, "web3_clientVersion", |_, _, _| {
        Ok(json!(CLIENT_VERSION))
    })?;
    query(module, "web3_sha3", |_, params, _| {
        let HexBytes(bytes) = params.next()?;
        Ok(json::bytes(keccak256(bytes)))
    })?;
    let constants = [
        ("net_listening", json!(true)),
        ("net_peerCount", json!("0x0")),
        ("eth_accounts", json!([])),
        ("eth_syncing", json!(false)),
        ("eth_mining", json!(true)),
        ("eth_hashrate", json!("0x0")),
        ("eth_protocolVersion", json!("0x41")),
        (
            "eth_coinbase",
            json!("0x0000000000000000000000000000000000000000"),
        ),
        (
            "rpc_modules",
            json!({ "eth": "1.0", "net": "1.0", "web3": "1.0", "txpool": "1.0", "evm": "1.0" }),
        ),
    ];
    for (name, value) in constants {
        query(module, name, move |_, _, _| Ok(value.clone()))?;
    }
    Ok(())
}

/// A method that reads the published view.
fn query(
    module: &mut Module,
    name: &'static str,
    run: impl Fn(&View, &mut ParamsSequence<'_>, Moment) -> Answer + Send + Sync + 'static,
) -> Registered {
    module.register_method(name, move |params, context, _| {
        run(&context.view(), &mut params.sequence(), context.now())
    })?;
    Ok(())
}

/// As [`query`], on a thread that may be busy.
fn slow_query(
    module: &mut Module,
    name: &'static str,
    run: impl Fn(&View, &mut ParamsSequence<'_>, Moment) -> Answer + Clone + Send + Sync + 'static,
) -> Registered {
    module.register_blocking_method(name, move |params, context, _| {
        run(&context.view(), &mut params.sequence(), context.now())
    })?;
    Ok(())
}

/// A method that becomes a command to the chain; `shape` makes its answer.
fn command(
    module: &mut Module,
    name: &'static str,
    shape: fn(Outcome) -> Value,
    read: impl Fn(&mut ParamsSequence<'_>) -> Result<Command, ErrorObjectOwned>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Registered {
    module.register_async_method(name, move |params, context, _| {
        let command = read(&mut params.sequence());
        async move { Ok::<_, ErrorObjectOwned>(shape(context.control.command(command?).await?)) }
    })?;
    Ok(())
}

fn block_id(params: &mut ParamsSequence<'_>) -> Result<At, ErrorObjectOwned> {
    let id: Option<BlockId> = params.optional_next()?;
    Ok(id.map_or(At::Latest, |BlockId(at)| at))
}

fn log_filter(filter: &Filter) -> Result<LogFilter, ErrorObjectOwned> {
    filter.logs().map_err(invalid)
}

fn invalid(text: String) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(INVALID_PARAMS, text, None::<()>)
}

/// Methods that people reach for and that are refused by name.
const REFUSED: &[(&str, &str)] = &[
    ("eth_getProof", NO_TRIE),
    ("eth_sendTransaction", NO_KEYS),
    ("eth_sign", NO_KEYS),
    ("eth_signTransaction", NO_KEYS),
    ("eth_signTypedData", NO_KEYS),
    ("eth_signTypedData_v3", NO_KEYS),
    ("eth_signTypedData_v4", NO_KEYS),
    ("eth_requestAccounts", NO_KEYS),
    ("personal_sign", NO_KEYS),
    ("personal_listAccounts", NO_KEYS),
    ("anvil_impersonateAccount", NO_KEYS),
    ("hardhat_impersonateAccount", NO_KEYS),
    ("anvil_autoImpersonateAccount", NO_KEYS),
    ("debug_traceTransaction", NO_TRACES),
    ("debug_traceCall", NO_TRACES),
    ("debug_traceBlockByNumber", NO_TRACES),
    ("debug_traceBlockByHash", NO_TRACES),
    ("trace_transaction", NO_TRACES),
    ("trace_block", NO_TRACES),
    ("trace_call", NO_TRACES),
    ("anvil_reset", NO_FORK),
    ("hardhat_reset", NO_FORK),
    ("anvil_reorg", NO_ANVIL_REORG),
    ("anvil_rollback", NO_ANVIL_REORG),
    ("anvil_setChainId", NO_CHAIN_ID),
];

const NO_TRIE: &str =
    "the state root is a plain hash over all changes, so there is nothing to prove against";
const NO_KEYS: &str =
    "the chain holds no keys; sign the transaction yourself and use eth_sendRawTransaction";
const NO_TRACES: &str = "transactions are not traced; replay the call with eth_call at its block";
const NO_FORK: &str = "take an evm_snapshot first and return to it with evm_revert";
const NO_ANVIL_REORG: &str = "use coliving_reorg with a depth, and false to drop the transactions";
const NO_CHAIN_ID: &str = "a chain keeps the id it was made with; start another one";

/// What the chain calls itself.
const CLIENT_VERSION: &str = concat!("coliving-devchain/", env!("CARGO_PKG_VERSION"));
