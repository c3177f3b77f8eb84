//! The protocol against second implementations and the committed contracts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

extern crate coliving_protocol as protocol;

mod contracts;
mod hostile;
mod placement;
mod records;
mod wanted;
