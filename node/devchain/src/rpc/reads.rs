//! What is asked of blocks, transactions, states and logs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonrpsee::types::ErrorObjectOwned;
use protocol::time::Moment;
use revm::context_interface::result::ExecutionResult;
use revm::primitives::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Answer, Module, Registered, block_id, command, invalid, log_filter, query, slow_query,
};
use crate::block::Block;
use crate::error::ChainError;
use crate::executor::{Command, Outcome};
use crate::json::{self, BlockId, Call, Filter, HexAddress, HexBytes, HexHash, Quantity};
use crate::transaction::Transaction;
use crate::view::{At, LogFilter, View};

pub(super) fn register(module: &mut Module) -> Registered {
    blocks(module)?;
    parts_of_blocks(module)?;
    transactions(module)?;
    state(module)?;
    calls(module)?;
    logs(module)?;
    pool(module)
}

fn blocks(module: &mut Module) -> Registered {
    query(module, "eth_blockNumber", |view, _, _| {
        Ok(json::quantity(view.height()))
    })?;
    slow_query(module, "eth_getBlockByNumber", |view, params, now| {
        let BlockId(at) = params.next()?;
        let full = params.optional_next()?.unwrap_or(false);
        Ok(block(view, at, now).map_or(Value::Null, |block| json::block(&block, full)))
    })?;
    query(module, "eth_getBlockByHash", |view, params, _| {
        let HexHash(hash) = params.next()?;
        let full = params.optional_next()?.unwrap_or(false);
        Ok(view
            .block_by_hash(hash)
            .map_or(Value::Null, |block| json::block(block, full)))
    })?;
    for name in [
        "eth_getBlockTransactionCountByNumber",
        "eth_getBlockTransactionCountByHash",
    ] {
        part(module, name, |block, _| {
            Ok(json::quantity(block.transactions.len()))
        })?;
    }
    Ok(())
}

fn parts_of_blocks(module: &mut Module) -> Registered {
    for name in [
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionByBlockHashAndIndex",
    ] {
        part(module, name, |block, idx| {
            let idx = usize::try_from(idx.unwrap_or(0)).unwrap_or(usize::MAX);
            Ok(block.transactions.get(idx).map_or(Value::Null, |included| {
                json::transaction(&included.transaction, Some((block, idx)))
            }))
        })?;
    }
    for name in [
        "eth_getUncleCountByBlockNumber",
        "eth_getUncleCountByBlockHash",
    ] {
        part(module, name, |_, _| Ok(json!("0x0")))?;
    }
    for name in [
        "eth_getUncleByBlockNumberAndIndex",
        "eth_getUncleByBlockHashAndIndex",
    ] {
        part(module, name, |_, _| Ok(Value::Null))?;
    }
    part(module, "eth_getBlockReceipts", |block, _| {
        Ok((0..block.transactions.len())
            .map(|idx| json::receipt(block, idx))
            .collect())
    })
}

/// A method about a part of a block, which is named by number, tag or hash.
fn part(
    module: &mut Module,
    name: &'static str,
    run: impl Fn(&Arc<Block>, Option<u64>) -> Answer + Clone + Send + Sync + 'static,
) -> Registered {
    slow_query(module, name, move |view, params, now| {
        let BlockId(at) = params.next()?;
        let idx: Option<Quantity> = params.optional_next()?;
        match block(view, at, now) {
            Some(block) => run(&block, idx.map(Quantity::saturating_u64)),
            None => Ok(Value::Null),
        }
    })
}

fn block(view: &View, at: At, now: Moment) -> Option<Arc<Block>> {
    match at {
        At::Pending => Some(Arc::new(view.pending(now).0)),
        at => view.block_at(at).cloned(),
    }
}

fn transactions(module: &mut Module) -> Registered {
    let shape = |outcome| match outcome {
        Outcome::Hash(hash) => json::bytes(hash),
        _ => Value::Null,
    };
    command(module, "eth_sendRawTransaction", shape, |params| {
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
    query(module, "eth_getRawTransactionByHash", |view, params, _| {
        let HexHash(hash) = params.next()?;
        let mined = view.included(hash).map(|found| &found.2.transaction);
        Ok(mined
            .or_else(|| view.pooled(hash))
            .map_or(Value::Null, |transaction| json::bytes(&transaction.raw)))
    })?;
    query(module, "eth_getTransactionReceipt", |view, params, _| {
        let HexHash(hash) = params.next()?;
        Ok(view
            .included(hash)
            .map_or(Value::Null, |(block, idx, _)| json::receipt(block, idx)))
    })
}

fn state(module: &mut Module) -> Registered {
    slow_query(module, "eth_getBalance", |view, params, now| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        let (world, _) = view.state_at(at, now)?;
        Ok(json::quantity(world.balance(address)))
    })?;
    query(module, "eth_getTransactionCount", |view, params, _| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        let nonce = match at {
            At::Pending => view.pending_nonce(address),
            at => view.world_at(at)?.nonce(address),
        };
        Ok(json::quantity(nonce))
    })?;
    slow_query(module, "eth_getCode", |view, params, now| {
        let (HexAddress(address), at) = (params.next()?, block_id(params)?);
        let (world, _) = view.state_at(at, now)?;
        Ok(json::bytes(world.code(address)))
    })?;
    slow_query(module, "eth_getStorageAt", |view, params, now| {
        let (HexAddress(address), Quantity(key)) = (params.next()?, params.next()?);
        let (world, _) = view.state_at(block_id(params)?, now)?;
        Ok(json::bytes(world.word(address, key).to_be_bytes::<32>()))
    })
}

fn calls(module: &mut Module) -> Registered {
    // An execution takes up to a second: not on a thread that serves sockets.
    slow_query(module, "eth_call", |view, params, now| {
        let (call, at): (Call, _) = (params.next()?, block_id(params)?);
        no_overrides(params)?;
        match view.call(at, call.env(view.chain_id).map_err(invalid)?, now)? {
            ExecutionResult::Success { output, .. } => Ok(json::bytes(output.into_data())),
            result => Err(ChainError::failed(result).into()),
        }
    })?;
    slow_query(module, "eth_estimateGas", |view, params, now| {
        let (call, at): (Call, _) = (params.next()?, block_id(params)?);
        no_overrides(params)?;
        let gas = view.estimate_gas(at, call.env(view.chain_id).map_err(invalid)?, now)?;
        Ok(json::quantity(gas))
    })?;
    slow_query(module, "eth_createAccessList", |view, params, now| {
        let (call, at): (Call, _) = (params.next()?, block_id(params)?);
        let (list, gas, error) =
            view.access_list(at, call.env(view.chain_id).map_err(invalid)?, now)?;
        let mut answer = json!({
            "accessList": json::access_list(&list),
            "gasUsed": json::quantity(gas),
        });
        if let Some(error) = error {
            answer["error"] = json!(error);
        }
        Ok(answer)
    })
}

/// State and block overrides change what a call means: never ignored in silence.
fn no_overrides(
    params: &mut jsonrpsee::types::params::ParamsSequence<'_>,
) -> Result<(), ErrorObjectOwned> {
    // Of the state, and of the block.
    for _ in 0..2 {
        let overrides: Option<Map<String, Value>> = params.optional_next()?;
        if overrides.is_some_and(|overrides| !overrides.is_empty()) {
            return Err(invalid(
                "state overrides are not supported; set the state with anvil_setBalance, \
                 anvil_setCode or anvil_setStorageAt between evm_snapshot and evm_revert"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

fn logs(module: &mut Module) -> Registered {
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

pub(super) fn bounds(
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

pub(super) fn find_logs(view: &View, filter: &LogFilter, from: u64, to: u64) -> Answer {
    let logs = view.logs(filter, from, to)?;
    Ok(logs.iter().map(json::log).collect())
}

fn pool(module: &mut Module) -> Registered {
    query(module, "txpool_status", |view, _, _| {
        let (pending, queued) = split(view);
        let count = |part: &Pool<'_>| part.values().map(Vec::len).sum::<usize>();
        Ok(json!({
            "pending": json::quantity(count(&pending)),
            "queued": json::quantity(count(&queued)),
        }))
    })?;
    query(module, "txpool_content", |view, _, _| {
        Ok(content(view, |transaction| {
            json::transaction(transaction, None)
        }))
    })?;
    query(module, "txpool_inspect", |view, _, _| {
        Ok(content(view, |transaction| {
            let to = transaction.to.to();
            let to = to.map_or("contract creation".to_owned(), |to| format!("{to:#x}"));
            json!(format!(
                "{to}: {} wei + {} gas × {} wei",
                transaction.value, transaction.gas_limit, transaction.max_fee
            ))
        }))
    })
}

type Pool<'a> = BTreeMap<String, Vec<&'a Arc<Transaction>>>;

/// What waits and can run, and what waits behind a gap, by sender.
fn split(view: &View) -> (Pool<'_>, Pool<'_>) {
    let (mut pending, mut queued) = (Pool::new(), Pool::new());
    for transaction in view.pool() {
        let is_next = transaction.nonce < view.pending_nonce(transaction.from);
        let part = if is_next { &mut pending } else { &mut queued };
        let sender = format!("{:#x}", transaction.from);
        part.entry(sender).or_default().push(transaction);
    }
    (pending, queued)
}

fn content(view: &View, show: impl Fn(&Transaction) -> Value) -> Value {
    let (pending, queued) = split(view);
    let shown = |part: Pool<'_>| {
        part.into_iter()
            .map(|(sender, transactions)| {
                let by_nonce = transactions
                    .iter()
                    .map(|transaction| (transaction.nonce.to_string(), show(transaction)));
                (sender, Value::Object(by_nonce.collect()))
            })
            .collect::<Map<_, _>>()
    };
    json!({ "pending": shown(pending), "queued": shown(queued) })
}
