//! How much machines hold, in the end and on the way.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::census::census;

/// Entries of the tables of all peers, by machine and table.
#[derive(Debug, Default)]
pub struct Tables {
    of: BTreeMap<String, Table>,
    looks: u64,
}

/// Entries of one table.
#[derive(Debug, Default)]
struct Table {
    /// Of all peers, at the last look.
    last: u64,
    /// Of all peers, over all looks.
    sum: u64,
    /// Of one peer, at most.
    peak: u64,
}

impl Tables {
    /// Counts what peers hold at the moment.
    pub fn look<'a, P: Debug + 'a>(&mut self, peers: impl Iterator<Item = &'a P>) {
        self.looks += 1;
        for table in self.of.values_mut() {
            table.last = 0;
        }
        for peer in peers.take(PEERS_MAX) {
            let mut counts = BTreeMap::new();
            census(peer, &mut counts);
            for (name, count) in counts {
                let name = name.strip_prefix("roles.").unwrap_or(&name);
                let table = self.of.entry(name.to_owned()).or_default();
                table.last += count;
                table.sum += count;
                table.peak = table.peak.max(count);
            }
        }
    }

    /// What is held at the last look, at most by one peer at any, and on average.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, [u64; 3]> {
        let looks = self.looks.max(1);
        let all = self.of.iter();
        all.map(|(name, table)| {
            (
                name.clone(),
                [table.last, table.peak, table.sum.div_ceil(looks)],
            )
        })
        .collect()
    }
}

/// Peers whose tables are counted: all of a run that is tried out.
const PEERS_MAX: usize = 256;
