//! How many blocks are asked for at once, and what the answers hold.

use std::collections::BTreeMap;

use super::HEADERS_MAX;
use crate::chain::json::{BlockHeader, Log};
use crate::id::Hash32;

/// A length that adapts: it doubles while that goes well and halves when not.
/// What an endpoint has refused is kept below for a while.
#[derive(Debug)]
pub(super) struct Span {
    blocks: u64,
    ceiling: u64,
    blocks_max: u64,
    /// Answers in a row at the ceiling.
    successes: u32,
}

/// Blocks of a long stretch: its ends, those with logs, and what the search for
/// epochs has shown so far.
#[derive(Debug)]
pub(super) struct Gathered {
    blocks: BTreeMap<u64, (BlockHeader, Vec<Log>)>,
}

impl Span {
    pub(super) fn new(start: u64, blocks_max: u64) -> Self {
        let blocks_max = blocks_max.max(1);
        Self {
            blocks: start.min(blocks_max),
            ceiling: blocks_max,
            blocks_max,
            successes: 0,
        }
    }

    /// The last block of a range that starts with `from`.
    pub(super) const fn end(&self, from: u64) -> u64 {
        from.saturating_add(self.blocks - 1)
    }

    pub(super) fn grow(&mut self) {
        if self.blocks < self.ceiling {
            self.blocks = self.blocks.saturating_mul(2).min(self.ceiling);
            return;
        }
        self.successes += 1;
        if self.successes >= SUCCESSES_MIN {
            self.successes = 0;
            let ceiling = self.ceiling.saturating_add(self.ceiling / 4 + 1);
            self.ceiling = ceiling.min(self.blocks_max);
        }
    }

    /// `blocks` were too many.
    pub(super) fn shrink(&mut self, blocks: u64) {
        self.ceiling = (blocks / 2).max(1);
        self.blocks = self.ceiling;
        self.successes = 0;
    }

    /// Something else went wrong.
    pub(super) fn retreat(&mut self) {
        self.blocks = (self.blocks / 2).max(1);
        self.successes = 0;
    }
}

impl Gathered {
    /// `None` when the answer does not hold together.
    pub(super) fn new(
        from: u64,
        to: u64,
        headers: Vec<BlockHeader>,
        logs: Vec<Log>,
    ) -> Option<Self> {
        let is_whole = headers.first()?.number == from && headers.last()?.number == to;
        let is_rising = headers
            .windows(2)
            .all(|pair| pair[0].number < pair[1].number);
        if !is_whole || !is_rising {
            return None;
        }
        let blocks = headers
            .into_iter()
            .map(|header| (header.number, (header, Vec::new())));
        let mut blocks: BTreeMap<u64, (BlockHeader, Vec<Log>)> = blocks.collect();
        for log in logs {
            add_log(blocks.get_mut(&log.block_number)?, log)?;
        }
        let gathered = Self { blocks };
        gathered.is_linked().then_some(gathered)
    }

    /// The hash of the block before the first.
    pub(super) fn parent(&self) -> Option<Hash32> {
        let (header, _) = self.blocks.values().next()?;
        Some(header.parent)
    }

    /// Adds headers of blocks without logs; false when one does not fit.
    pub(super) fn insert(&mut self, headers: Vec<BlockHeader>) -> bool {
        for header in headers {
            self.blocks.insert(header.number, (header, Vec::new()));
        }
        self.is_linked()
    }

    /// The middles of gaps in which an epoch begins, at most [`HEADERS_MAX`].
    pub(super) fn open_epochs(&self) -> Vec<u64> {
        let headers = self.blocks.values().map(|(header, _)| header);
        headers
            .clone()
            .zip(headers.skip(1))
            .filter(|(before, after)| {
                after.number - before.number > 1 && before.time.epoch() != after.time.epoch()
            })
            .map(|(before, after)| before.number + (after.number - before.number) / 2)
            .take(HEADERS_MAX)
            .collect()
    }

    pub(super) fn into_blocks(self) -> impl Iterator<Item = (BlockHeader, Vec<Log>)> {
        self.blocks.into_values()
    }

    /// Neighbours name each other.
    fn is_linked(&self) -> bool {
        let headers = self.blocks.values().map(|(header, _)| header);
        headers
            .clone()
            .zip(headers.skip(1))
            .all(|(before, after)| before.number + 1 != after.number || before.hash == after.parent)
    }
}

/// Puts logs to their blocks; `None` when the answer does not hold together.
pub(super) fn join(
    from: u64,
    to: u64,
    headers: Vec<BlockHeader>,
    logs: Vec<Log>,
) -> Option<Vec<(BlockHeader, Vec<Log>)>> {
    let mut blocks: Vec<(BlockHeader, Vec<Log>)> = Vec::with_capacity(headers.len());
    let mut numbers = from..=to;
    for header in headers {
        let is_linked = blocks
            .last()
            .is_none_or(|(before, _)| before.hash == header.parent);
        if numbers.next() != Some(header.number) || !is_linked {
            return None;
        }
        blocks.push((header, Vec::new()));
    }
    if numbers.next().is_some() {
        return None;
    }
    for log in logs {
        let idx = usize::try_from(log.block_number.checked_sub(from)?).ok()?;
        add_log(blocks.get_mut(idx)?, log)?;
    }
    Some(blocks)
}

/// `None` when the log is of another block or out of order.
fn add_log((header, logs): &mut (BlockHeader, Vec<Log>), log: Log) -> Option<()> {
    let is_in_order = logs
        .last()
        .is_none_or(|before| before.log_index < log.log_index);
    (header.hash == log.block_hash && is_in_order).then(|| logs.push(log))
}

/// Answers at the ceiling after which a little more is tried. Chosen: trying in vain
/// costs one request in nine.
const SUCCESSES_MIN: u32 = 8;
