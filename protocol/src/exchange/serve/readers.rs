//! How those who ask have taken what they got.

use std::collections::{BTreeMap, VecDeque};

use crate::id::Address;
use crate::unixfs::BLOCK_BYTES_MAX;

/// What each peer may have on the way, as TCP finds out what a path carries: from a
/// block on, more with each reply that was taken, and a block again after one that
/// was not.
#[derive(Debug, Default)]
pub(super) struct Readers {
    known: BTreeMap<Address, Reader>,
    /// Who is known, oldest first.
    order: VecDeque<Address>,
}

#[derive(Debug, Clone, Copy)]
struct Reader {
    window: u64,
    has_stalled: bool,
}

impl Readers {
    /// Bytes that may be on the way to a peer.
    pub(super) fn window(&self, peer: &Address) -> u64 {
        self.known
            .get(peer)
            .map_or(WINDOW_BYTES_MIN, |reader| reader.window)
    }

    /// True when nothing was taken yet that would say more of the peer.
    pub(super) fn is_newcomer(&self, peer: &Address) -> bool {
        self.window(peer) == WINDOW_BYTES_MIN
    }

    /// True when the last that the peer got was not taken.
    pub(super) fn has_stalled(&self, peer: &Address) -> bool {
        self.known
            .get(peer)
            .is_some_and(|reader| reader.has_stalled)
    }

    /// Notes that a reply of so many bytes was taken, or was not.
    pub(super) fn note(&mut self, peer: Address, bytes: u64, is_taken: bool, window_max: u64) {
        let window = match is_taken {
            true => (self.window(&peer) + bytes).min(window_max.max(WINDOW_BYTES_MIN)),
            false => WINDOW_BYTES_MIN,
        };
        let reader = Reader {
            window,
            has_stalled: !is_taken,
        };
        if self.known.insert(peer, reader).is_none() {
            self.order.push_back(peer);
        }
        while self.order.len() > READERS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// What a peer may have on the way that nothing is known of: one block, since blocks
/// are not cut.
pub(super) const WINDOW_BYTES_MIN: u64 = BLOCK_BYTES_MAX as u64;

/// Peers that are remembered; the oldest begin anew. Chosen: more than ask a peer in
/// an hour, some hundred KB.
const READERS_MAX: usize = 4096;
