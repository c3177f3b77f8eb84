//! Who has seen which gossiped message.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use protocol::time::Moment;

/// When each peer saw each message first, by message: few messages are under way
/// at a time, so that what is asked of a copy lies close together.
#[derive(Debug, Default)]
pub struct Seen {
    peers: usize,
    rows: HashMap<u64, Row, BuildHasherDefault<AsIs>>,
    /// When rows that say nothing any more are looked for.
    sweep_at: Moment,
}

#[derive(Debug)]
struct Row {
    /// When it was seen first of all.
    first: Moment,
    /// When it was seen first by a peer for the last time.
    last: Moment,
    /// By peer, in milliseconds after `first` and one more; zero for never.
    at: Vec<u32>,
}

impl Seen {
    /// Nothing is seen yet by so many peers.
    #[must_use]
    pub fn new(peers: usize) -> Self {
        Self {
            peers,
            ..Self::default()
        }
    }

    /// True when a copy of the message is not the peer's first.
    #[must_use]
    pub fn has(&self, peer: u32, message: u64, now: Moment) -> bool {
        let at = |row: &Row| match *row.at.get(peer as usize)? {
            0 => None,
            millis => Some(row.first + Duration::from_millis(u64::from(millis - 1))),
        };
        let at = self.rows.get(&message).and_then(at);
        at.is_some_and(|at| now < at + SEEN_TIME)
    }

    /// Notes that a peer saw a message.
    pub fn note(&mut self, peer: u32, message: u64, now: Moment) {
        if now >= self.sweep_at {
            self.rows.retain(|_, row| now < row.last + SEEN_TIME);
            self.sweep_at = now + SEEN_TIME;
        }
        let peers = self.peers;
        let row = self.rows.entry(message).or_insert_with(|| Row {
            first: now,
            last: now,
            at: vec![0; peers],
        });
        if let Some(at) = row.at.get_mut(peer as usize) {
            let millis = (now - row.first).as_millis();
            *at = u32::try_from(millis).unwrap_or(u32::MAX - 1) + 1;
        }
        row.last = now;
    }

    /// Lets a peer lose its memory.
    pub fn forget(&mut self, peer: u32) {
        for row in self.rows.values_mut() {
            if let Some(at) = row.at.get_mut(peer as usize) {
                *at = 0;
            }
        }
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = self.0.rotate_left(8) ^ number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A copy of a message is recognised for this long, as by the node's gossip.
const SEEN_TIME: Duration = Duration::from_secs(300);
