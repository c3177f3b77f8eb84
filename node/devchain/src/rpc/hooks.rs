//! What tests tell a chain to do, under the names that people know.

use std::time::Duration;

use revm::primitives::{Bytes, U256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CLIENT_VERSION, Module, Registered, command, query};
use crate::block::GAS_LIMIT;
use crate::executor::{Command, Mining, Outcome};
use crate::json::{self, HexAddress, HexBytes, HexHash, Quantity};

pub(super) fn register(module: &mut Module) -> Registered {
    mining(module)?;
    time(module)?;
    state(module)?;
    snapshots(module)?;
    information(module)?;
    for (alias, name) in ALIASES {
        module.register_alias(alias, name)?;
    }
    Ok(())
}

/// `evm_mine` takes a timestamp, options or nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum MineOptions {
    Timestamp(Quantity),
    Options {
        timestamp: Option<Quantity>,
        blocks: Option<Quantity>,
    },
}

fn mining(module: &mut Module) -> Registered {
    let zero = |_| json!("0x0");
    command(module, "evm_mine", zero, |params| {
        let options: Option<MineOptions> = params.optional_next()?;
        let (timestamp, blocks) = match options {
            None => (None, None),
            Some(MineOptions::Timestamp(timestamp)) => (Some(timestamp), None),
            Some(MineOptions::Options { timestamp, blocks }) => (timestamp, blocks),
        };
        Ok(Command::Mine {
            count: blocks.map_or(1, Quantity::saturating_u64),
            timestamp: timestamp.map(Quantity::saturating_u64),
            interval: None,
        })
    })?;
    command(module, "anvil_mine", null, |params| {
        let count: Option<Quantity> = params.optional_next()?;
        let interval: Option<Quantity> = params.optional_next()?;
        Ok(Command::Mine {
            count: count.map_or(1, Quantity::saturating_u64),
            timestamp: None,
            interval: interval.map(Quantity::saturating_u64),
        })
    })?;
    command(module, "evm_setAutomine", null, |params| {
        let automine: bool = params.next()?;
        Ok(Command::SetMining(match automine {
            true => Mining::Instant,
            false => Mining::Manual,
        }))
    })?;
    command(module, "evm_setIntervalMining", null, |params| {
        let seconds: Quantity = params.next()?;
        Ok(Command::SetMining(match seconds.saturating_u64() {
            0 => Mining::Manual,
            seconds => Mining::Interval(Duration::from_secs(seconds.min(INTERVAL_SECONDS_MAX))),
        }))
    })?;
    let is_instant = |outcome| json!(matches!(outcome, Outcome::Mining(Mining::Instant)));
    command(module, "anvil_getAutomine", is_instant, |_| {
        Ok(Command::InspectMining)
    })?;
    let interval = |outcome| match outcome {
        Outcome::Mining(Mining::Interval(interval)) => json!(interval.as_secs()),
        _ => Value::Null,
    };
    command(module, "anvil_getIntervalMining", interval, |_| {
        Ok(Command::InspectMining)
    })?;
    command(module, "coliving_stall", done, |params| {
        Ok(Command::Stall(params.next()?))
    })?;
    command(module, "coliving_reorg", number, |params| {
        let depth: Quantity = params.next()?;
        Ok(Command::Reorg {
            depth: depth.saturating_u64(),
            keep: params.optional_next()?.unwrap_or(true),
        })
    })
}

fn time(module: &mut Module) -> Registered {
    command(module, "evm_increaseTime", seconds, |params| {
        let seconds: Quantity = params.next()?;
        Ok(Command::IncreaseTime {
            seconds: seconds.saturating_u64(),
        })
    })?;
    command(module, "evm_setTime", seconds, |params| {
        let timestamp: Quantity = params.next()?;
        Ok(Command::SetTime {
            timestamp: timestamp.saturating_u64(),
        })
    })?;
    command(module, "evm_setNextBlockTimestamp", null, |params| {
        let timestamp: Quantity = params.next()?;
        Ok(Command::SetTimestampNext {
            timestamp: timestamp.saturating_u64(),
        })
    })?;
    command(module, "anvil_setBlockTimestampInterval", null, |params| {
        let interval: Quantity = params.next()?;
        Ok(Command::SetTimestampInterval {
            interval: Some(interval.saturating_u64()),
        })
    })?;
    let had_one = |outcome| json!(matches!(outcome, Outcome::Found(true)));
    command(
        module,
        "anvil_removeBlockTimestampInterval",
        had_one,
        |_| Ok(Command::SetTimestampInterval { interval: None }),
    )
}

fn state(module: &mut Module) -> Registered {
    command(module, "anvil_setBalance", null, |params| {
        let (HexAddress(address), Quantity(balance)) = (params.next()?, params.next()?);
        Ok(Command::SetBalance { address, balance })
    })?;
    command(module, "anvil_setNonce", null, |params| {
        let (HexAddress(address), nonce): (_, Quantity) = (params.next()?, params.next()?);
        Ok(Command::SetNonce {
            address,
            nonce: nonce.saturating_u64(),
        })
    })?;
    command(module, "anvil_setCode", null, |params| {
        let (HexAddress(address), HexBytes(code)) = (params.next()?, params.next()?);
        Ok(Command::SetCode {
            address,
            code: Bytes::from(code),
        })
    })?;
    command(module, "anvil_setStorageAt", done, |params| {
        let (HexAddress(address), Quantity(key)) = (params.next()?, params.next()?);
        let HexHash(word) = params.next()?;
        Ok(Command::SetWord {
            address,
            key,
            word: U256::from_be_bytes(word.0),
        })
    })
}

fn snapshots(module: &mut Module) -> Registered {
    command(module, "evm_snapshot", number, |_| Ok(Command::Snapshot))?;
    let found = |outcome| json!(matches!(outcome, Outcome::Found(true)));
    command(module, "evm_revert", found, |params| {
        let id: Quantity = params.next()?;
        Ok(Command::Revert {
            id: id.saturating_u64(),
        })
    })
}

fn information(module: &mut Module) -> Registered {
    query(module, "anvil_nodeInfo", |view, _, _| {
        let header = &view.tip().header;
        let base_fee = header.next_base_fee();
        Ok(json!({
            "currentBlockNumber": json::quantity(header.number),
            "currentBlockTimestamp": header.timestamp,
            "currentBlockHash": json::bytes(view.tip().hash),
            "hardFork": "Prague",
            "transactionOrder": "fees",
            "environment": {
                "baseFee": json::quantity(base_fee),
                "chainId": view.chain_id,
                "gasLimit": json::quantity(GAS_LIMIT),
                "gasPrice": json::quantity(base_fee),
            },
            "forkConfig": { "forkUrl": null, "forkBlockNumber": null, "forkRetryBackoff": null },
        }))
    })?;
    query(module, "anvil_metadata", |view, _, _| {
        Ok(json!({
            "clientVersion": CLIENT_VERSION,
            "chainId": view.chain_id,
            "latestBlockNumber": view.height(),
            "latestBlockHash": json::bytes(view.tip().hash),
            "forkedNetwork": null,
        }))
    })
}

fn null(_: Outcome) -> Value {
    Value::Null
}

fn done(_: Outcome) -> Value {
    json!(true)
}

fn number(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Number(number) => json::quantity(number),
        _ => Value::Null,
    }
}

fn seconds(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Seconds(seconds) => json!(seconds),
        _ => Value::Null,
    }
}

/// Other names of the same hooks.
const ALIASES: &[(&str, &str)] = &[
    ("hardhat_mine", "anvil_mine"),
    ("anvil_setAutomine", "evm_setAutomine"),
    ("hardhat_getAutomine", "anvil_getAutomine"),
    ("anvil_setIntervalMining", "evm_setIntervalMining"),
    ("anvil_increaseTime", "evm_increaseTime"),
    ("anvil_setTime", "evm_setTime"),
    ("anvil_setNextBlockTimestamp", "evm_setNextBlockTimestamp"),
    (
        "evm_setBlockTimestampInterval",
        "anvil_setBlockTimestampInterval",
    ),
    ("hardhat_setBalance", "anvil_setBalance"),
    ("evm_setAccountBalance", "anvil_setBalance"),
    ("hardhat_setNonce", "anvil_setNonce"),
    ("evm_setAccountNonce", "anvil_setNonce"),
    ("hardhat_setCode", "anvil_setCode"),
    ("evm_setAccountCode", "anvil_setCode"),
    ("hardhat_setStorageAt", "anvil_setStorageAt"),
    ("evm_setAccountStorageAt", "anvil_setStorageAt"),
    ("anvil_snapshot", "evm_snapshot"),
    ("anvil_revert", "evm_revert"),
    ("hardhat_metadata", "anvil_metadata"),
];

/// Most seconds between two blocks: a year, as the chain takes them.
const INTERVAL_SECONDS_MAX: u64 = 31_536_000;
