//! Readers that want to know what happened to the chain: they remember the
//! blocks that they saw last and compare.
//!
//! Blocks are shared, so what is remembered costs next to nothing, nothing is
//! missed however long a reader sleeps, and no queue has to be bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::time::Moment;
use revm::primitives::B256;

use super::block::Block;
use super::error::ChainError;
use super::limits::{FILTERS_MAX, LOGS_MAX};
use super::view::{At, LogAt, LogFilter, View};

/// Where a reader of the chain stands.
#[derive(Debug, Clone)]
pub struct Seen {
    blocks: imbl::Vector<Arc<Block>>,
    /// Position in [`View::sent_since`].
    sent: u64,
}

/// What happened to the blocks since a reader last looked.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Blocks that fell out of the chain, the newest first.
    pub removed: Vec<Arc<Block>>,
    /// Blocks that were mined after those fell out, the oldest first.
    pub mined: Vec<Arc<Block>>,
}

/// What a polling filter looks for.
#[derive(Debug, Clone)]
pub enum Interest {
    /// Hashes of blocks.
    Blocks,
    /// Hashes of transactions that were sent.
    Transactions,
    /// Logs, and the bounds that were asked for.
    Logs {
        /// Addresses and topics to look for.
        filter: LogFilter,
        /// The first block asked for.
        from: At,
        /// The last block asked for.
        to: At,
    },
}

/// What a polling filter saw since it was last polled.
#[derive(Debug, Clone)]
pub enum Changes {
    /// Blocks that were mined, or transactions that were sent.
    Hashes(Vec<B256>),
    /// Logs that were emitted or removed.
    Logs(Vec<LogAt>),
}

/// All polling filters.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    filters: BTreeMap<u64, Filter>,
    id_last: u64,
}

#[derive(Debug, Clone)]
struct Filter {
    interest: Interest,
    seen: Seen,
    polled: Moment,
}

impl Seen {
    /// A reader that has seen everything so far.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self {
            blocks: view.blocks.clone(),
            sent: view.sent_end(),
        }
    }

    /// What happened to the blocks since, in portions of at most
    /// [`STEP_BLOCKS_MAX`] either way; nothing when the reader is up to date.
    pub fn step(&mut self, view: &View) -> Step {
        let common = common_blocks(&self.blocks, &view.blocks);
        let kept = common.max(self.blocks.len().saturating_sub(STEP_BLOCKS_MAX));
        let removed = self.blocks.split_off(kept);
        let mined = if kept > common {
            Vec::new()
        } else {
            let end = view.blocks.len().min(common + STEP_BLOCKS_MAX);
            self.blocks = view.blocks.take(end);
            // Narrowed rather than skipped, which would walk the whole chain.
            let focus = view.blocks.focus().narrow(common..end);
            focus.into_iter().cloned().collect()
        };
        Step {
            removed: removed.into_iter().rev().collect(),
            mined,
        }
    }

    /// The transactions that were sent since, as far back as they are kept.
    pub fn sent(&mut self, view: &View) -> Vec<B256> {
        let sent = view.sent_since(self.sent);
        self.sent = view.sent_end();
        sent
    }
}

impl Step {
    /// True when there was nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.mined.is_empty()
    }

    /// The logs that match, those of removed blocks first and marked.
    #[must_use]
    pub fn logs(&self, filter: &LogFilter) -> Vec<LogAt> {
        let mut logs = Vec::new();
        for block in &self.removed {
            filter.collect(block, true, &mut logs);
        }
        for block in &self.mined {
            filter.collect(block, false, &mut logs);
        }
        logs
    }
}

impl Filters {
    /// Starts a filter that has seen everything so far.
    ///
    /// # Errors
    ///
    /// [`ChainError::FiltersFull`] when none of the others is idle.
    pub fn install(
        &mut self,
        interest: Interest,
        view: &View,
        now: Moment,
    ) -> Result<u64, ChainError> {
        if self.filters.len() >= FILTERS_MAX {
            self.filters
                .retain(|_, filter| now.saturating_since(filter.polled) < FILTER_IDLE_MAX);
        }
        if self.filters.len() >= FILTERS_MAX {
            return Err(ChainError::FiltersFull);
        }
        self.id_last += 1;
        let filter = Filter {
            interest,
            seen: Seen::of(view),
            polled: now,
        };
        self.filters.insert(self.id_last, filter);
        Ok(self.id_last)
    }

    /// What happened since the filter was last polled; what is too much for one
    /// answer comes with the next.
    ///
    /// # Errors
    ///
    /// [`ChainError::UnknownFilter`].
    pub fn poll(&mut self, id: u64, view: &View, now: Moment) -> Result<Changes, ChainError> {
        let filter = self.filters.get_mut(&id).ok_or(ChainError::UnknownFilter)?;
        filter.polled = now;
        Ok(match &filter.interest {
            Interest::Blocks => {
                let mut step = filter.seen.step(view);
                while step.mined.is_empty() && !step.removed.is_empty() {
                    step = filter.seen.step(view);
                }
                Changes::Hashes(step.mined.iter().map(|block| block.hash).collect())
            }
            Interest::Transactions => Changes::Hashes(filter.seen.sent(view)),
            Interest::Logs {
                filter: wanted,
                from,
                to,
            } => {
                let mut logs = Vec::new();
                loop {
                    let step = filter.seen.step(view);
                    if step.is_empty() {
                        break;
                    }
                    logs.extend(step.logs(wanted).into_iter().filter(|log| {
                        let number = log.block.header.number;
                        let is_early = matches!(from, At::Number(first) if number < *first);
                        let is_late = matches!(to, At::Number(last) if number > *last);
                        !is_early && !is_late
                    }));
                    if logs.len() >= LOGS_MAX {
                        break;
                    }
                }
                Changes::Logs(logs)
            }
        })
    }

    /// What a filter looks for.
    ///
    /// # Errors
    ///
    /// [`ChainError::UnknownFilter`].
    pub fn inspect(&mut self, id: u64, now: Moment) -> Result<Interest, ChainError> {
        let filter = self.filters.get_mut(&id).ok_or(ChainError::UnknownFilter)?;
        filter.polled = now;
        Ok(filter.interest.clone())
    }

    /// Ends a filter; false when there was none.
    pub fn uninstall(&mut self, id: u64) -> bool {
        self.filters.remove(&id).is_some()
    }
}

/// How many blocks two chains share from the genesis on. Blocks that have the
/// same hash have the same parents, so halving finds where they part.
pub(super) fn common_blocks(
    left: &imbl::Vector<Arc<Block>>,
    right: &imbl::Vector<Arc<Block>>,
) -> usize {
    let (mut shared, mut parted) = (0, left.len().min(right.len()) + 1);
    let hash = |blocks: &imbl::Vector<Arc<Block>>, idx: usize| blocks.get(idx).map(|at| at.hash);
    // Mostly one is the other with more blocks.
    if parted > 1 && hash(left, parted - 2) == hash(right, parted - 2) {
        return parted - 1;
    }
    while shared + 1 < parted {
        let middle = shared.midpoint(parted);
        if hash(left, middle - 1) == hash(right, middle - 1) {
            shared = middle;
        } else {
            parted = middle;
        }
    }
    shared
}

/// Most blocks that one step takes. Chosen: other requests wait for a step.
pub const STEP_BLOCKS_MAX: usize = 4_096;

/// How long a filter may go without a poll when another needs its place: as geth has it.
const FILTER_IDLE_MAX: Duration = Duration::from_secs(300);
