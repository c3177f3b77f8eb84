//! What gas costs.

use serde_json::{Value, json};

use super::{Answer, Module, Registered, query};
use crate::block::{Block, GAS_LIMIT};
use crate::error::ChainError;
use crate::json::{self, BlockId, Quantity};
use crate::view::{At, View};

pub(super) fn register(module: &mut Module) -> Registered {
    query(module, "eth_gasPrice", |view, _, _| {
        let base_fee = view.tip().header.next_base_fee();
        Ok(json::quantity(base_fee.saturating_add(PRIORITY_FEE)))
    })?;
    query(module, "eth_maxPriorityFeePerGas", |_, _, _| {
        Ok(json::quantity(PRIORITY_FEE))
    })?;
    query(module, "eth_blobBaseFee", |_, _, _| Ok(json!("0x1")))?;
    query(module, "eth_feeHistory", |view, params, _| {
        let blocks_count: Quantity = params.next()?;
        let BlockId(newest) = params.next()?;
        let percentiles: Option<Vec<f64>> = params.optional_next()?;
        let percentiles = percentiles.unwrap_or_default();
        let is_good =
            percentiles.is_sorted() && percentiles.iter().all(|at| (0.0..=100.0).contains(at));
        if !is_good || percentiles.len() > REWARDS_MAX {
            return Err(super::invalid(format!(
                "reward percentiles are at most {REWARDS_MAX} numbers from 0 to 100 in rising order"
            )));
        }
        history(view, blocks_count.saturating_u64(), newest, &percentiles)
    })
}

fn history(view: &View, blocks_count: u64, newest: At, percentiles: &[f64]) -> Answer {
    let newest = view.block_at(newest).ok_or(ChainError::UnknownBlock)?;
    let last = newest.header.number;
    let first = (last + 1).saturating_sub(blocks_count.clamp(1, FEE_HISTORY_BLOCKS_MAX));
    let blocks: Vec<&Block> = (first..=last)
        .filter_map(|number| view.block(number))
        .map(AsRef::as_ref)
        .collect();
    let mut fees: Vec<Value> = blocks
        .iter()
        .map(|block| json::quantity(block.header.base_fee))
        .collect();
    fees.push(json::quantity(newest.header.next_base_fee()));
    #[allow(
        clippy::cast_precision_loss,
        reason = "a ratio for people; gas stays far below 2^52"
    )]
    let ratios: Vec<f64> = blocks
        .iter()
        .map(|block| block.header.gas_used as f64 / GAS_LIMIT as f64)
        .collect();
    let mut history = json!({
        "oldestBlock": json::quantity(first),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": vec!["0x1"; fees.len()],
        "blobGasUsedRatio": vec![0.0; blocks.len()],
    });
    if !percentiles.is_empty() {
        let rewards = blocks.iter().map(|block| rewards(block, percentiles));
        history["reward"] = rewards.collect();
    }
    Ok(history)
}

/// The tips that were paid at these percentiles of the block's gas.
fn rewards(block: &Block, percentiles: &[f64]) -> Value {
    let base_fee = block.header.base_fee;
    let mut tips: Vec<(u128, u64)> = block
        .transactions
        .iter()
        .map(|included| {
            let price = included.receipt.effective_gas_price;
            let tip = price.saturating_sub(u128::from(base_fee));
            (tip, included.receipt.gas_used)
        })
        .collect();
    tips.sort_unstable();
    let at = |percentile: f64| {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a share of gas, which stays far below 2^52"
        )]
        let wanted = block.header.gas_used as f64 * percentile / 100.0;
        let mut gas_used = 0;
        for (tip, gas) in &tips {
            gas_used += gas;
            #[allow(
                clippy::cast_precision_loss,
                reason = "a share of gas, which stays far below 2^52"
            )]
            let reached = gas_used as f64 >= wanted;
            if reached {
                return *tip;
            }
        }
        tips.last().map_or(0, |(tip, _)| *tip)
    };
    percentiles
        .iter()
        .map(|percentile| json::quantity(at(*percentile)))
        .collect()
}

/// The tip that clients are told to give, in wei per gas: 1 gwei, as wallets do.
const PRIORITY_FEE: u64 = 1_000_000_000;

/// Most blocks of one fee history, as geth has it.
const FEE_HISTORY_BLOCKS_MAX: u64 = 1_024;

/// Most percentiles of one fee history, as geth has it.
const REWARDS_MAX: usize = 100;
