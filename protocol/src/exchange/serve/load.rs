//! Bytes that are looked up or on the way, by who gets them.

use std::collections::BTreeMap;

use crate::admission::{Network, Source};
use crate::id::Address;

/// Sums over the replies that are not done.
#[derive(Debug, Default)]
pub(super) struct Load {
    all: u64,
    strangers: u64,
    newcomers: u64,
    networks: BTreeMap<Network, u64>,
    peers: BTreeMap<Address, u64>,
}

/// One reply, as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) source: Source,
    /// True when the peer was one when it was served.
    pub(super) is_newcomer: bool,
    pub(super) bytes: u64,
}

/// What is under way, by each of the limits that hold for who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loads {
    pub(super) all: u64,
    pub(super) strangers: u64,
    pub(super) newcomers: u64,
    pub(super) network: u64,
    pub(super) peer: u64,
}

impl Load {
    /// What counts against who asks.
    pub(super) fn around(&self, source: &Source) -> Loads {
        Loads {
            all: self.all,
            strangers: self.strangers,
            newcomers: self.newcomers,
            network: self.networks.get(&source.network).copied().unwrap_or(0),
            peer: self.peers.get(&source.peer).copied().unwrap_or(0),
        }
    }

    pub(super) fn add(&mut self, one: Counted) {
        self.all += one.bytes;
        *self.peers.entry(one.source.peer).or_default() += one.bytes;
        if one.source.operator.is_none() {
            self.strangers += one.bytes;
        }
        if one.is_newcomer {
            self.newcomers += one.bytes;
            *self.networks.entry(one.source.network).or_default() += one.bytes;
        }
    }

    pub(super) fn remove(&mut self, one: Counted) {
        self.all -= one.bytes;
        lower(&mut self.peers, one.source.peer, one.bytes);
        if one.source.operator.is_none() {
            self.strangers -= one.bytes;
        }
        if one.is_newcomer {
            self.newcomers -= one.bytes;
            lower(&mut self.networks, one.source.network, one.bytes);
        }
    }
}

fn lower<K: Ord>(sums: &mut BTreeMap<K, u64>, key: K, bytes: u64) {
    if let std::collections::btree_map::Entry::Occupied(mut sum) = sums.entry(key) {
        *sum.get_mut() -= bytes;
        if *sum.get() == 0 {
            sum.remove();
        }
    }
}
