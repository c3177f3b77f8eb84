//! Whole peers and the embedded chain, tried with other people's tools.

mod npm;
mod tools;
#[path = "../../../protocol/tests/it/wanted.rs"]
mod wanted;
