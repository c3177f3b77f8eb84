//! The chain behind Ethereum's JSON-RPC, over HTTP and WebSocket on one port.
//!
//! Queries read the published [`View`]; everything else goes through the actor's
//! inbox and is written down before it is answered.

use std::sync::Arc;

use jsonrpsee::core::traits::IdProvider;
use jsonrpsee::server::{PendingSubscriptionSink, RegisterMethodError, RpcModule};
use jsonrpsee::types::params::{Params, ParamsSequence};
use jsonrpsee::types::{ErrorObjectOwned, SubscriptionId};
use protocol::time::Moment;
use revm::context_interface::result::ExecutionResult;
use revm::primitives::Bytes;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::DevControl;
use super::block::GAS_LIMIT;
use super::error::ChainError;
use super::executor::{Command, Mining, Outcome};
use super::filters::{Changes, Event, Interest};
use super::json::{self, BlockId, Call, Filter, HexAddress, HexBytes, HexHash, Quantity};
use super::view::{At, LogFilter, View};

/// What every method has at hand.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) control: DevControl,
    pub(super) events: broadcast::WeakSender<Event>,
}

/// Hands out subscription ids as texts; some client libraries ignore numbers.
#[derive(Debug)]
pub(super) struct HexIds;

type Answer = Result<Value, ErrorObjectOwned>;
type Module = RpcModule<Context>;

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
    register_blocks(&mut module)?;
    register_state(&mut module)?;
    register_fees(&mut module)?;
    register_logs(&mut module)?;
    register_transactions(&mut module)?;
    register_filters(&mut module)?;
    register_hooks(&mut module)?;
    module.register_subscription(
        "eth_subscribe",
        "eth_subscription",
        "eth_unsubscribe",
        |params, pending, context, _| subscribe(params, pending, context),
    )?;
    Ok(module)
}

fn register_constants(module: &mut Module) -> Result<(), RegisterMethodError> {
    query(module, "eth_chainId", |view, _, _| {
        Ok(json::quantity(view.chain_id))
    })?;
    query(module, "net_version", |view, _, _| {
        Ok(json!(view.chain_id.to_string()))
    })?;
    query(module, "web3_clientVersion", |_, _, _| {
        Ok(json!(concat!(
            "coliving-devchain/",
            env!("CARGO_PKG_VERSION")
        )))
    })?;
    query(module, "net_listening", |_, _, _| Ok(json!(true)))?;
    query(module, "eth_accounts", |_, _, _| Ok(json!([])))?;
    query(module, "eth_syncing", |_, _, _| Ok(json!(false)))
}

fn register_blocks(module: &mut Module) -> Result<(), RegisterMethodError> {
    query(module, "eth_blockNumber", |view, _, _| {
        Ok(json::quantity(view.height()))
    })?;
    query(module, "eth_getBlockByNumber", |view, params, now| {
        let BlockId(at) = params.next()?;
        let full = params.optional_next()?.unwrap_or(false);
        if at == At::Pending {
            return Ok(json::pending_block(
                &view.next_header(now),
                view.pool(),
                full,
            ));
        }
        Ok(view
            .block_at(at)
            .map_or(Value::Null, |block| json::block(block, full)))
    })?;
    query(module, "eth_getBlockByHash", |view, params, _| {
        let HexHash(hash) = params.next()?;
        let full = params.optional_next()?.unwrap_or(false);
        Ok(view
            .block_by_hash(hash)
            .map_or(Value::Null, |block| json::block(block, full)))
    })?;
    query(
        module,
        "eth_getBlockTransactionCountByNumber",
        |view, params, _| {
            let BlockId(at) = params.next()?;
            Ok(view.block_at(at).map_or(Value::Null, |block| {
                json::quantity(block.transactions.len())
            }))
        },
    )?;
    query(module, "eth_getBlockReceipts", |view, params, _| {
        let BlockId(at) = params.next()?;
        Ok(view.block_at(at).map_or(Value::Null, |block| {
            (0..block.transactions.len())
                .map(|idx| json::receipt(block, idx))
                .collect()
        }))
    })
}

fn register_state(module: &mut Module) -> Result<(), RegisterMethodError> {
    query(module, "eth_getBalance", |view, params, _| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        Ok(json::quantity(view.world_at(at)?.balance(address)))
    })?;
    query(module, "eth_getTransactionCount", |view, params, _| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        let nonce = match at {
            At::Pending => view.pending_nonce(address),
            at => view.world_at(at)?.nonce(address),
        };
        Ok(json::quantity(nonce))
    })?;
    query(module, "eth_getCode", |view, params, _| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        Ok(json::bytes(view.world_at(at)?.code(address)))
    })?;
    query(module, "eth_getStorageAt", |view, params, _| {
        let (HexAddress(address), Quantity(key)) = (params.next()?, params.next()?);
        let world = view.world_at(block_id(params)?)?;
        Ok(json::bytes(world.word(address, key).to_be_bytes::<32>()))
    })?;
    // An execution takes up to a second: not on a thread that serves sockets.
    slow_query(module, "eth_call", |view, params, now| {
        let (call, at): (Call, _) = (params.next()?, block_id(params)?);
        match view.call(at, call.env(view.chain_id), now)? {
            ExecutionResult::Success { output, .. } => Ok(json::bytes(output.into_data())),
            result => Err(ChainError::failed(result).into()),
        }
    })?;
    slow_query(module, "eth_estimateGas", |view, params, now| {
        let (call, at): (Call, _) = (params.next()?, block_id(params)?);
        let gas = view.estimate_gas(at, call.env(view.chain_id), now)?;
        Ok(json::quantity(gas))
    })
}

fn register_fees(module: &mut Module) -> Result<(), RegisterMethodError> {
    query(module, "eth_gasPrice", |view, _, _| {
        let base_fee = view.tip().header.next_base_fee();
        Ok(json::quantity(base_fee.saturating_add(PRIORITY_FEE)))
    })?;
    query(module, "eth_maxPriorityFeePerGas", |_, _, _| {
        Ok(json::quantity(PRIORITY_FEE))
    })?;
    query(module, "eth_feeHistory", |view, params, _| {
        let blocks_count: Quantity = params.next()?;
        let BlockId(newest) = params.next()?;
        let percentiles: Vec<f64> = params.optional_next()?.unwrap_or_default();
        fee_history(
            view,
            blocks_count.saturating_u64(),
            newest,
            percentiles.len(),
        )
    })
}

fn fee_history(view: &View, blocks_count: u64, newest: At, rewards_count: usize) -> Answer {
    let newest = view.block_at(newest).ok_or(ChainError::UnknownBlock)?;
    let last = newest.header.number;
    let first = (last + 1).saturating_sub(blocks_count.clamp(1, FEE_HISTORY_BLOCKS_MAX));
    let headers: Vec<_> = (first..=last)
        .filter_map(|number| view.block(number))
        .map(|block| &block.header)
        .collect();
    let mut fees: Vec<Value> = headers
        .iter()
        .map(|header| json::quantity(header.base_fee))
        .collect();
    fees.push(json::quantity(newest.header.next_base_fee()));
    #[allow(
        clippy::cast_precision_loss,
        reason = "a ratio for people; gas stays far below 2^52"
    )]
    let ratios: Vec<f64> = headers
        .iter()
        .map(|header| header.gas_used as f64 / GAS_LIMIT as f64)
        .collect();
    let blobs_count = fees.len();
    let mut history = json!({
        "oldestBlock": json::quantity(first),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": vec!["0x1"; blobs_count],
        "blobGasUsedRatio": vec![0.0; headers.len()],
    });
    if rewards_count > 0 {
        let rewards = vec![json::quantity(PRIORITY_FEE); rewards_count.min(REWARDS_MAX)];
        history["reward"] = json!(vec![rewards; headers.len()]);
    }
    Ok(history)
}

fn register_logs(module: &mut Module) -> Result<(), RegisterMethodError> {
    slow_query(module, "eth_getLogs", |view, params, _| {
        let filter: Filter = params.next()?;
        let logs = log_filter(&filter)?;
        let (from, to) = if let Some(HexHash(hash)) = filter.block_hash {
            if filter.from_block.is_some() || filter.to_block.is_some() {
                return Err(invalid(
                    "cannot specify both blockHash and fromBlock or toBlock".to_owned(),
                ));
            }
            let block = view.block_by_hash(hash).ok_or(ChainError::UnknownBlock)?;
            (block.header.number, block.header.number)
        } else {
            bounds(view, filter.from_block, filter.to_block)?
        };
        find_logs(view, &logs, from, to)
    })
}

fn bounds(
    view: &View,
    from: Option<BlockId>,
    to: Option<BlockId>,
) -> Result<(u64, u64), ErrorObjectOwned> {
    let number = |id: Option<BlockId>| match id {
        None => Ok(view.height()),
        // A number beyond the tip means that there is nothing yet.
        Some(BlockId(At::Number(number))) => Ok(number),
        Some(BlockId(at)) => view
            .block_at(at)
            .map(|block| block.header.number)
            .ok_or(ChainError::UnknownBlock),
    };
    let bounds = (number(from)?, number(to)?);
    let explicit = |id| matches!(id, Some(BlockId(At::Number(_))));
    if explicit(from) && explicit(to) && bounds.0 > bounds.1 {
        return Err(invalid(format!(
            "invalid block range: fromBlock {} is after toBlock {}",
            bounds.0, bounds.1
        )));
    }
    Ok(bounds)
}

fn find_logs(view: &View, filter: &LogFilter, from: u64, to: u64) -> Answer {
    let logs = view.logs(filter, from, to)?;
    Ok(logs.iter().map(json::log).collect())
}

fn register_transactions(module: &mut Module) -> Result<(), RegisterMethodError> {
    command(module, "eth_sendRawTransaction", |params, _| {
        let HexBytes(raw) = params.next()?;
        Ok(Command::Send(Bytes::from(raw)))
    })?;
    query(module, "eth_getTransactionByHash", |view, params, _| {
        let HexHash(hash) = params.next()?;
        if let Some((block, idx, included)) = view.included(hash) {
            return Ok(json::transaction(&included.transaction, Some((block, idx))));
        }
        Ok(view
            .pooled(hash)
            .map_or(Value::Null, |waiting| json::transaction(waiting, None)))
    })?;
    query(module, "eth_getTransactionReceipt", |view, params, _| {
        let HexHash(hash) = params.next()?;
        Ok(view
            .included(hash)
            .map_or(Value::Null, |(block, idx, _)| json::receipt(block, idx)))
    })
}

fn register_filters(module: &mut Module) -> Result<(), RegisterMethodError> {
    command(module, "eth_newBlockFilter", |_, _| {
        Ok(Command::InstallFilter(Interest::Blocks))
    })?;
    command(module, "eth_newFilter", |params, _| {
        let filter: Filter = params.next()?;
        let at = |id: Option<BlockId>| id.map_or(At::Latest, |BlockId(at)| at);
        Ok(Command::InstallFilter(Interest::Logs {
            from: at(filter.from_block),
            to: at(filter.to_block),
            filter: log_filter(&filter)?,
        }))
    })?;
    command(module, "eth_getFilterChanges", |params, _| {
        let id: Quantity = params.next()?;
        Ok(Command::PollFilter {
            id: id.saturating_u64(),
        })
    })?;
    command(module, "eth_uninstallFilter", |params, _| {
        let id: Quantity = params.next()?;
        Ok(Command::UninstallFilter {
            id: id.saturating_u64(),
        })
    })?;
    module.register_async_method("eth_getFilterLogs", |params, context, _| async move {
        let id: Quantity = params.sequence().next()?;
        let id = id.saturating_u64();
        let outcome = context
            .control
            .command(Command::InspectFilter { id })
            .await?;
        let Outcome::Interest(Interest::Logs { filter, from, to }) = outcome else {
            return Err(invalid("the filter is not one for logs".to_owned()));
        };
        let view = context.view();
        let (from, to) = bounds(&view, Some(BlockId(from)), Some(BlockId(to)))?;
        find_logs(&view, &filter, from, to)
    })?;
    Ok(())
}

fn register_hooks(module: &mut Module) -> Result<(), RegisterMethodError> {
    command(module, "evm_mine", |_, _| Ok(Command::Mine { count: 1 }))?;
    command(module, "anvil_mine", |params, _| {
        let count: Option<Quantity> = params.optional_next()?;
        Ok(Command::Mine {
            count: count.map_or(1, Quantity::saturating_u64),
        })
    })?;
    command(module, "evm_increaseTime", |params, _| {
        let seconds: Quantity = params.next()?;
        Ok(Command::IncreaseTime {
            seconds: seconds.saturating_u64(),
        })
    })?;
    command(module, "evm_setNextBlockTimestamp", |params, _| {
        let timestamp: Quantity = params.next()?;
        Ok(Command::SetTimestampNext {
            timestamp: timestamp.saturating_u64(),
        })
    })?;
    command(module, "evm_snapshot", |_, _| Ok(Command::Snapshot))?;
    command(module, "evm_revert", |params, _| {
        let id: Quantity = params.next()?;
        Ok(Command::Revert {
            id: id.saturating_u64(),
        })
    })?;
    command(module, "anvil_setBalance", |params, _| {
        let (HexAddress(address), Quantity(balance)) = (params.next()?, params.next()?);
        Ok(Command::SetBalance { address, balance })
    })?;
    command(module, "coliving_reorg", |params, _| {
        let depth: Quantity = params.next()?;
        Ok(Command::Reorg {
            depth: depth.saturating_u64(),
            keep: params.optional_next()?.unwrap_or(true),
        })
    })?;
    command(module, "coliving_stall", |params, _| {
        Ok(Command::Stall(params.next()?))
    })?;
    command(module, "evm_setAutomine", |params, _| {
        let automine: bool = params.next()?;
        Ok(Command::SetMining(match automine {
            true => Mining::Instant,
            false => Mining::Manual,
        }))
    })?;
    command(module, "evm_setIntervalMining", |params, _| {
        let seconds: Quantity = params.next()?;
        Ok(Command::SetMining(match seconds.saturating_u64() {
            0 => Mining::Manual,
            seconds => Mining::Interval(std::time::Duration::from_secs(seconds)),
        }))
    })
}

/// A method that reads the published view.
fn query(
    module: &mut Module,
    name: &'static str,
    run: impl Fn(&View, &mut ParamsSequence<'_>, Moment) -> Answer + Send + Sync + 'static,
) -> Result<(), RegisterMethodError> {
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
) -> Result<(), RegisterMethodError> {
    module.register_blocking_method(name, move |params, context, _| {
        run(&context.view(), &mut params.sequence(), context.now())
    })?;
    Ok(())
}

/// A method that becomes a command to the chain.
fn command(
    module: &mut Module,
    name: &'static str,
    read: impl Fn(&mut ParamsSequence<'_>, Moment) -> Result<Command, ErrorObjectOwned>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Result<(), RegisterMethodError> {
    module.register_async_method(name, move |params, context, _| {
        let command = read(&mut params.sequence(), context.now());
        async move { Ok::<_, ErrorObjectOwned>(outcome(context.control.command(command?).await?)) }
    })?;
    Ok(())
}

fn outcome(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Done => json!(true),
        Outcome::Hash(hash) => json::bytes(hash),
        Outcome::Number(number) => json::quantity(number),
        Outcome::Found(found) => json!(found),
        Outcome::Changes(Changes::Blocks(hashes)) => hashes.into_iter().map(json::bytes).collect(),
        Outcome::Changes(Changes::Logs(logs)) => logs.iter().map(json::log).collect(),
        Outcome::Interest(_) => Value::Null,
    }
}

/// Sends new heads or logs until the client leaves, the chain stops, or the
/// client is so slow that it missed some.
async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
) {
    let events = context.events.upgrade().map(|events| events.subscribe());
    let interest = subscription(&params);
    let (mut events, interest) = match (events, interest) {
        (Some(events), Ok(interest)) => (events, interest),
        (None, _) => return pending.reject(ChainError::Stopped).await,
        (_, Err(error)) => return pending.reject(error).await,
    };
    // The subscription must not keep the chain from stopping.
    drop(context);
    let Ok(sink) = pending.accept().await else {
        return;
    };
    loop {
        let event = tokio::select! {
            () = sink.closed() => return,
            event = events.recv() => event,
        };
        let Ok(event) = event else {
            return;
        };
        for message in messages(&event, interest.as_ref()) {
            let Ok(message) = to_raw_value(&message) else {
                return;
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// A filter for `logs`, none for `newHeads`.
fn subscription(params: &Params<'_>) -> Result<Option<LogFilter>, ErrorObjectOwned> {
    let mut params = params.sequence();
    let kind: String = params.next()?;
    match kind.as_str() {
        "newHeads" => Ok(None),
        "logs" => {
            let filter: Filter = params.optional_next()?.unwrap_or_default();
            log_filter(&filter).map(Some)
        }
        other => Err(invalid(format!(
            "cannot subscribe to `{other}`; `newHeads` and `logs` can be"
        ))),
    }
}

fn messages(event: &Event, filter: Option<&LogFilter>) -> Vec<Value> {
    match (filter, event) {
        (None, Event::Mined(block)) => vec![json::header(&block.header, Some(block.hash))],
        (None, Event::Removed(_)) => Vec::new(),
        (Some(filter), event) => {
            let mut logs = Vec::new();
            event.collect(filter, &mut logs);
            logs.iter().map(json::log).collect()
        }
    }
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

/// The tip that clients are told to give, in wei per gas.
const PRIORITY_FEE: u64 = 1_000_000_000;

/// Most blocks of one fee history.
const FEE_HISTORY_BLOCKS_MAX: u64 = 1_024;

/// Most percentiles of one fee history.
const REWARDS_MAX: usize = 100;

/// JSON-RPC 2.0: invalid method parameters.
const INVALID_PARAMS: i32 = -32602;
