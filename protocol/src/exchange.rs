//! The batch exchange of blocks between Coliving peers, `/coliving/blocks/1`.
//!
//! A request names up to [`CIDS_MAX`] blocks; the response answers a prefix of
//! them with bytes, "missing" or "busy". [`Serve`] answers fairly. [`Exchange`]
//! joins who wants the same and hands out [`Download`]s; each knows whom to ask
//! for a root and walks its DAG by a [`Fetch`] over several holders at once.
//! [`Survey`] asks the peers themselves who holds a root. All are machines:
//! their drivers own the streams, the store and the clock.
//!
//! Format: `docs/formats/blocks.md`.

use crate::unixfs::BLOCK_BYTES_MAX;
use crate::wire::{CID_BYTES_MAX, Protocol};

mod candidates;
mod download;
mod fetch;
mod holders;
mod message;
mod plan;
mod providers;
mod serve;
mod survey;
mod under_way;

pub use candidates::{Around, OTHERS_MAX, candidates};
pub use download::{Download, DownloadInput, DownloadOutput, Fetched, Unanswered};
pub use fetch::{
    Event, FailReason, Fetch, FetchConfig, Local, LocalQuery, Progress, RequestId, Target, Transmit,
};
pub use message::{Answer, Request, Response};
pub use providers::{
    PROVIDED_MAX, PROVIDER_TTL, PROVIDERS_MAX, ProviderRecords, ProviderSearch, RECORDS_MAX,
};
pub use serve::{Lookup, Reply, Serve, ServeConfig, ServeId};
pub use survey::{Survey, SurveyOutput, Surveyed, Surveying};
pub use under_way::{
    Exchange, ExchangeInput, ExchangeOutput, FETCH_BYTES_MAX, FETCHES_MAX, FetchId, FetchOptions,
    Order, READING_PATIENCE, Ticket,
};

/// CIDs in one request. Chosen: 64 of the blocks that older files have, 256 KiB
/// each, are four answers of a size.
pub const CIDS_MAX: usize = 64;

/// Bytes of blocks in one response: two of the largest, as in a message of Bitswap.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

// What a request and a response hold, against the limits of what carries them.
const _: () = {
    let limits = Protocol::Blocks.limits();
    assert!(CIDS_MAX * CID_BYTES_MAX < limits.request_bytes_max);
    assert!(PAYLOAD_BYTES_MAX + 16 * (CIDS_MAX + 1) <= limits.response_bytes_max);
    assert!(BLOCK_BYTES_MAX <= PAYLOAD_BYTES_MAX);
};

#[cfg(test)]
mod tests;
