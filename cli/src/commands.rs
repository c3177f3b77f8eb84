//! One module per group of commands.

pub(crate) mod chain;
pub(crate) mod content;
pub(crate) mod delegate;
pub(crate) mod devnet;
pub(crate) mod find;
pub(crate) mod generate;
pub(crate) mod govern;
pub(crate) mod lists;
pub(crate) mod network;
pub(crate) mod operator;
pub(crate) mod pay;
pub(crate) mod peer;
pub(crate) mod simulate;
pub(crate) mod social;
pub(crate) mod user;
pub(crate) mod wallet;
