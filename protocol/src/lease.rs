//! What a holder promises ([`LeaseBook`]) and what others promised ([`PageView`]).
//!
//! Formats: `docs/formats/lease.md`.

use crate::records::{
    LEASE_EPOCHS_MAX, LEASES_MAX, Lease, PAGE_EPOCHS_MAX, Page, SignedLease, SignedPage,
};

mod book;
mod view;
pub mod wire;

pub use book::{BookConfig, Counters, Grant, LeaseBook, PageDraft};
pub use view::{PageChange, PageError, PageView};

#[cfg(test)]
mod tests;
