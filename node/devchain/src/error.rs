//! What the chain answers instead of a result.

use std::convert::Infallible;

use revm::context_interface::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction};
use revm::primitives::{B256, Bytes, U256};

use super::limits::{
    BLOCKS_MAX, FILTERS_MAX, LOG_BLOCKS_MAX, LOGS_MAX, MINED_BLOCKS_MAX, NONCE_GAP_MAX,
    POOL_TRANSACTIONS_MAX, SNAPSHOTS_MAX, TIMESTAMP_MAX,
};
use super::transaction::TransactionError;

/// Why the chain refused a command or a query.
///
/// Texts begin with the words that client libraries look for.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The raw transaction is not one.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The nonce was used.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The transaction's own nonce.
        nonce: u64,
        /// The nonce that the sender is at.
        next: u64,
    },
    /// The nonce leaves too wide a gap.
    #[error(
        "nonce too high: next nonce {next}, tx nonce {nonce}; at most {NONCE_GAP_MAX} ahead are queued"
    )]
    NonceTooHigh {
        /// The transaction's own nonce.
        nonce: u64,
        /// The nonce that the sender is at.
        next: u64,
    },
    /// The sender cannot pay.
    #[error("insufficient funds for gas * price + value: have {have}, want {want}")]
    Funds {
        /// The balance in wei.
        have: U256,
        /// The most it may cost, in wei.
        want: U256,
    },
    /// Below the base fee.
    #[error("max fee per gas less than block base fee: maxFeePerGas {max_fee}, baseFee {base_fee}")]
    FeeTooLow {
        /// The transaction's, in wei.
        max_fee: u128,
        /// Of the next block, in wei.
        base_fee: u64,
    },
    /// A tip beyond the fee cap.
    #[error(
        "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas {tip}, maxFeePerGas {max_fee}"
    )]
    TipAboveFee {
        /// The transaction's, in wei.
        tip: u128,
        /// The transaction's, in wei.
        max_fee: u128,
    },
    /// It could never be executed.
    #[error("{0}")]
    Invalid(String),
    /// It was sent before.
    #[error("already known: {hash}")]
    AlreadyKnown {
        /// Hash of the transaction.
        hash: B256,
    },
    /// The same nonce waits with a similar fee.
    #[error(
        "replacement transaction underpriced: {waiting} waits with this nonce, both fee caps must be a tenth higher"
    )]
    Underpriced {
        /// The one that waits.
        waiting: B256,
    },
    /// The pool is full.
    #[error("txpool is full: {POOL_TRANSACTIONS_MAX} transactions wait for a block")]
    PoolFull,
    /// The chain was told not to mine.
    #[error("the chain is stalled: call `coliving_stall` with false before mining")]
    Stalled,
    /// Too many blocks at once.
    #[error("cannot mine {count} blocks at once, at most {MINED_BLOCKS_MAX} are allowed")]
    MineCount {
        /// How many were asked for.
        count: u64,
    },
    /// The chain is as long as it may get.
    #[error(
        "cannot add {count} blocks to a chain of {height}, at most {BLOCKS_MAX} are allowed; start a new chain"
    )]
    Full {
        /// The newest block.
        height: u64,
        /// How many were to follow.
        count: u64,
    },
    /// Deeper than the kept states.
    #[error("cannot rewind {depth} blocks, at most {max} can be at this height")]
    ReorgDepth {
        /// How many were asked for.
        depth: u64,
        /// How many can be.
        max: u64,
    },
    /// Time would run backwards.
    #[error("timestamp {timestamp} is before that of the newest block, {parent}")]
    Timestamp {
        /// What was asked for.
        timestamp: u64,
        /// The newest block's.
        parent: u64,
    },
    /// Beyond what programs can show.
    #[error("timestamp {timestamp} is after the year 9999, at most {TIMESTAMP_MAX} is allowed")]
    TimestampFar {
        /// What was asked for.
        timestamp: u64,
    },
    /// Named, but not offered.
    #[error("{method} is not supported: {reason}")]
    Unsupported {
        /// Name of the method.
        method: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// No such block, or it fell out of the chain.
    #[error("header not found")]
    UnknownBlock,
    /// Its state is gone.
    #[error("missing trie node: the state of block {number} is not kept, the oldest is {oldest}")]
    StatePruned {
        /// Whose state was asked for.
        number: u64,
        /// The oldest block with one.
        oldest: u64,
    },
    /// The query spans too many blocks.
    #[error("block range too wide: {blocks_count} blocks, at most {LOG_BLOCKS_MAX} per query")]
    RangeTooWide {
        /// How many were asked for.
        blocks_count: u64,
    },
    /// The query has too many results.
    #[error(
        "query returned more than {LOGS_MAX} results; ask for fewer blocks than {from} to {to}"
    )]
    TooManyLogs {
        /// The first block asked for.
        from: u64,
        /// The last block asked for.
        to: u64,
    },
    /// No such polling filter.
    #[error("filter not found; it was removed, or idle for too long, or fell too far behind")]
    UnknownFilter,
    /// Too many polling filters.
    #[error("cannot install a filter, {FILTERS_MAX} are in use; uninstall one")]
    FiltersFull,
    /// Too many snapshots.
    #[error("cannot take a snapshot, {SNAPSHOTS_MAX} are kept; revert to an older one")]
    SnapshotsFull,
    /// The call or transaction reverted.
    #[error("execution reverted{}", reason(output))]
    Reverted {
        /// What it gave.
        output: Bytes,
    },
    /// The call or transaction failed otherwise.
    #[error("{}", halt(reason))]
    Halted {
        /// How it ended, as the EVM says.
        reason: HaltReason,
    },
    /// The change could not be written down and was taken back.
    #[error("the change was taken back because it could not be written to {path}: {error}")]
    Journal {
        /// Path of the journal.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The chain is shutting down.
    #[error("the development chain has stopped")]
    Stopped,
}

impl ChainError {
    /// The JSON-RPC error code.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Reverted { .. } => REVERTED,
            Self::RangeTooWide { .. } | Self::TooManyLogs { .. } => LIMIT_EXCEEDED,
            Self::Unsupported { .. } => METHOD_UNSUPPORTED,
            Self::Transaction(error) if error.is_malformed() => INVALID_PARAMS,
            Self::Transaction(_)
            | Self::NonceTooLow { .. }
            | Self::NonceTooHigh { .. }
            | Self::Funds { .. }
            | Self::FeeTooLow { .. }
            | Self::TipAboveFee { .. }
            | Self::AlreadyKnown { .. }
            | Self::Underpriced { .. }
            | Self::PoolFull => TRANSACTION_REJECTED,
            Self::Stalled
            | Self::MineCount { .. }
            | Self::Full { .. }
            | Self::ReorgDepth { .. }
            | Self::Timestamp { .. }
            | Self::TimestampFar { .. }
            | Self::UnknownBlock
            | Self::StatePruned { .. }
            | Self::UnknownFilter
            | Self::FiltersFull
            | Self::SnapshotsFull
            | Self::Halted { .. }
            | Self::Invalid(_)
            | Self::Journal { .. }
            | Self::Stopped => SERVER_ERROR,
        }
    }

    pub(super) fn failed(result: ExecutionResult) -> Self {
        match result {
            ExecutionResult::Revert { output, .. } => Self::Reverted { output },
            ExecutionResult::Halt { reason, .. } => Self::Halted { reason },
            ExecutionResult::Success { .. } => Self::Invalid("the call succeeded".to_owned()),
        }
    }
}

impl From<EVMError<Infallible>> for ChainError {
    fn from(error: EVMError<Infallible>) -> Self {
        use InvalidTransaction as Invalid;
        match error {
            EVMError::Transaction(Invalid::NonceTooLow { tx, state }) => Self::NonceTooLow {
                nonce: tx,
                next: state,
            },
            EVMError::Transaction(Invalid::NonceTooHigh { tx, state }) => Self::NonceTooHigh {
                nonce: tx,
                next: state,
            },
            EVMError::Transaction(Invalid::LackOfFundForMaxFee { fee, balance }) => Self::Funds {
                have: *balance,
                want: *fee,
            },
            EVMError::Transaction(Invalid::CallGasCostMoreThanGasLimit {
                initial_gas,
                gas_limit,
            }) => Self::Invalid(format!(
                "intrinsic gas too low: gas {gas_limit}, minimum needed {initial_gas}"
            )),
            EVMError::Transaction(Invalid::GasFloorMoreThanGasLimit {
                gas_floor,
                gas_limit,
            }) => Self::Invalid(format!(
                "intrinsic gas too low: gas {gas_limit}, the floor for its data is {gas_floor}"
            )),
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// `: ` and the text of `Error(string)` or the code of `Panic(uint256)`.
fn reason(output: &Bytes) -> String {
    let Some((selector, body)) = output.split_at_checked(4) else {
        return String::new();
    };
    match selector {
        ERROR_SELECTOR => <String as ethers_core::abi::AbiDecode>::decode(body)
            .map(|text| format!(": {text}"))
            .unwrap_or_default(),
        PANIC_SELECTOR => U256::try_from_be_slice(body)
            .map(|code| format!(": panic: {} ({code:#04x})", panic(&code)))
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// What Solidity means by the code of a `Panic(uint256)`.
fn panic(code: &U256) -> &'static str {
    match code.saturating_to::<u64>() {
        0x01 => "assertion failed",
        0x11 => "arithmetic underflow or overflow",
        0x12 => "division or modulo by zero",
        0x21 => "failed to convert value into enum type",
        0x22 => "storage byte array incorrectly encoded",
        0x31 => "called `.pop()` on an empty array",
        0x32 => "array out-of-bounds access",
        0x41 => "memory allocation error",
        0x51 => "called an invalid internal function",
        _ => "unknown code",
    }
}

fn halt(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        other => format!("execution failed: {other:?}"),
    }
}

/// JSON-RPC 2.0: invalid method parameters.
pub(super) const INVALID_PARAMS: i32 = -32602;

/// Of a call that reverted, as geth has it.
const REVERTED: i32 = 3;

/// EIP-1474: the transaction was not taken.
const TRANSACTION_REJECTED: i32 = -32003;

/// EIP-1474: the method is known and not offered.
const METHOD_UNSUPPORTED: i32 = -32004;

/// EIP-1474: more than one query may ask for.
const LIMIT_EXCEEDED: i32 = -32005;

/// JSON-RPC 2.0: anything else.
const SERVER_ERROR: i32 = -32000;

/// Selector of `Error(string)`.
const ERROR_SELECTOR: &[u8] = &[0x08, 0xc3, 0x79, 0xa0];

/// Selector of `Panic(uint256)`.
const PANIC_SELECTOR: &[u8] = &[0x4e, 0x48, 0x7b, 0x71];
