//! Bytes that are looked up or on the way, by who gets them.

use std::collections::BTreeMap;

use super::Asker;
use crate::id::Address;
use crate::origin::Prefix;

/// Sums over the replies that are not done.
#[derive(Debug, Default)]
pub(super) struct Load {
    all: u64,
    strangers: u64,
    newcomers: u64,
    prefixes: BTreeMap<Option<Prefix>, u64>,
    peers: BTreeMap<Address, u64>,
}

/// One reply, as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) asker: Asker,
    /// True when the peer was one when it was served.
    pub(super) is_newcomer: bool,
    pub(super) bytes: u64,
}

/// What is under way, by each of the limits that hold for an asker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loads {
    pub(super) all: u64,
    pub(super) strangers: u64,
    pub(super) newcomers: u64,
    pub(super) prefix: u64,
    pub(super) peer: u64,
}

impl Load {
    /// What counts against an asker.
    pub(super) fn around(&self, asker: &Asker) -> Loads {
        Loads {
            all: self.all,
            strangers: self.strangers,
            newcomers: self.newcomers,
            prefix: self.prefixes.get(&asker.prefix).copied().unwrap_or(0),
            peer: self.peers.get(&asker.peer).copied().unwrap_or(0),
        }
    }

    pub(super) fn add(&mut self, one: Counted) {
        self.all += one.bytes;
        *self.peers.entry(one.asker.peer).or_default() += one.bytes;
        if !one.asker.is_staked {
            self.strangers += one.bytes;
        }
        if one.is_newcomer {
            self.newcomers += one.bytes;
            *self.prefixes.entry(one.asker.prefix).or_default() += one.bytes;
        }
    }

    pub(super) fn remove(&mut self, one: Counted) {
        self.all -= one.bytes;
        lower(&mut self.peers, one.asker.peer, one.bytes);
        if !one.asker.is_staked {
            self.strangers -= one.bytes;
        }
        if one.is_newcomer {
            self.newcomers -= one.bytes;
            lower(&mut self.prefixes, one.asker.prefix, one.bytes);
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
