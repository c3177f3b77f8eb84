//! How a chain is spoken to: JSON-RPC over several endpoints, wallets, fees, and
//! one way to send a transaction and wait for it.
//!
//! Peers and commands stand on it alike. It knows of no deployment and keeps
//! nothing.

mod client;
mod clock;
mod fees;
mod transact;
mod wallet;

pub use client::{
    CallRequest, Client, ClientConfig, ENDPOINTS_MAX, EndpointStatus, Receipt, RpcError,
    TransactionKind,
};
pub use clock::Clock;
pub use fees::{Fees, gas_limit, tip};
pub use transact::{
    Estimate, Progress, TransactConfig, TransactError, estimate, transact, transact_with,
};
pub use wallet::{RawTransaction, Transaction, Wallet};
