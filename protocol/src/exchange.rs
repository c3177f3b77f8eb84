//! The batch exchange of blocks between Coliving peers, `/coliving/blocks/1`.
//!
//! A request names up to [`CIDS_MAX`] blocks; the response answers a prefix of
//! them with bytes, "missing" or "busy". [`Fetch`] walks a DAG with it over
//! several holders at once, [`Serve`] answers fairly. Both are machines: their
//! drivers own the streams, the store and the clock.
//!
//! Format: `docs/formats/blocks.md`.

mod fetch;
mod holders;
mod message;
mod plan;
mod providers;
mod serve;

pub use fetch::{
    Event, FailReason, Fetch, FetchConfig, Local, LocalQuery, Progress, RequestId, Target, Transmit,
};
pub use message::{Answer, Request, Response};
pub use providers::{
    PROVIDED_MAX, PROVIDER_TTL, PROVIDERS_MAX, ProviderRecords, ProviderSearch, RECORDS_MAX,
};
pub use serve::{Lookup, Reply, Serve, ServeConfig, ServeId};

/// The name under which peers negotiate the exchange.
pub const PROTOCOL: &str = "/coliving/blocks/1";

/// CIDs in one request.
pub const CIDS_MAX: usize = 64;

/// Bytes of blocks in one response.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// Bytes of an encoded request.
pub const REQUEST_BYTES_MAX: usize = 16 << 10;

/// Bytes of an encoded response: the blocks and at most sixteen around each.
pub const RESPONSE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 16 * (CIDS_MAX + 1);

const _: () = assert!(
    crate::unixfs::BLOCK_BYTES_MAX <= PAYLOAD_BYTES_MAX,
    "the largest block fits into a response"
);

#[cfg(test)]
mod tests;
