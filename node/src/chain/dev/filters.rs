//! Polling filters over a bounded history of what happened to the chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::time::Moment;
use revm::primitives::B256;

use super::block::Block;
use super::error::ChainError;
use super::executor::FILTERS_MAX;
use super::view::{At, LogAt, LogFilter};

/// Something that happened to the chain.
#[derive(Debug, Clone)]
pub enum Event {
    /// A block became the newest.
    Mined(Arc<Block>),
    /// The newest block fell out of the chain.
    Removed(Arc<Block>),
}

/// What a polling filter looks for.
#[derive(Debug, Clone)]
pub enum Interest {
    /// Hashes of blocks.
    Blocks,
    /// Logs, and the bounds that were asked for.
    Logs {
        /// Which.
        filter: LogFilter,
        /// First block.
        from: At,
        /// Last block.
        to: At,
    },
}

/// What a polling filter saw since it was last polled.
#[derive(Debug, Clone)]
pub enum Changes {
    /// Blocks that were mined.
    Blocks(Vec<B256>),
    /// Logs that were emitted or removed.
    Logs(Vec<LogAt>),
}

/// All polling filters and the history that they read.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    history: imbl::Vector<Event>,
    /// Position of the first of `history`.
    start: u64,
    filters: BTreeMap<u64, Filter>,
    id_last: u64,
}

#[derive(Debug, Clone)]
struct Filter {
    interest: Interest,
    position: u64,
    polled: Moment,
}

impl Filters {
    /// Appends to the history; the oldest event makes room.
    pub fn note(&mut self, event: Event) {
        self.history.push_back(event);
        while self.history.len() > EVENTS_MAX {
            self.history.pop_front();
            self.start += 1;
        }
    }

    /// Position after the newest event.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + u64::try_from(self.history.len()).unwrap_or(u64::MAX)
    }

    /// Events from `position` on, as far back as they are kept.
    pub fn since(&self, position: u64) -> impl Iterator<Item = &Event> {
        let skipped = position.saturating_sub(self.start);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        // Narrowed rather than skipped, which would walk the whole history.
        self.history
            .focus()
            .narrow(skipped.min(self.history.len())..)
            .into_iter()
    }

    /// Starts a filter at the end of the history.
    ///
    /// # Errors
    ///
    /// [`ChainError::FiltersFull`] when none of the others is idle.
    pub fn install(&mut self, interest: Interest, now: Moment) -> Result<u64, ChainError> {
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
            position: self.end(),
            polled: now,
        };
        self.filters.insert(self.id_last, filter);
        Ok(self.id_last)
    }

    /// What happened since the filter was last polled.
    ///
    /// # Errors
    ///
    /// [`ChainError::UnknownFilter`]; a filter that missed events is removed.
    pub fn poll(&mut self, id: u64, now: Moment) -> Result<Changes, ChainError> {
        let (start, end) = (self.start, self.end());
        let filter = self.filters.get_mut(&id).ok_or(ChainError::UnknownFilter)?;
        let position = filter.position;
        filter.position = end;
        filter.polled = now;
        let interest = filter.interest.clone();
        if position < start {
            self.filters.remove(&id);
            return Err(ChainError::UnknownFilter);
        }
        let events = self.since(position);
        Ok(match interest {
            Interest::Blocks => Changes::Blocks(
                events
                    .filter_map(|event| match event {
                        Event::Mined(block) => Some(block.hash),
                        Event::Removed(_) => None,
                    })
                    .collect(),
            ),
            Interest::Logs { filter, from, to } => {
                let mut logs = Vec::new();
                for event in events {
                    let number = event.block().header.number;
                    let after = |at| matches!(at, At::Number(first) if number < first);
                    let before = |at| matches!(at, At::Number(last) if number > last);
                    if !after(from) && !before(to) {
                        event.collect(&filter, &mut logs);
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

impl Event {
    /// The block that it is about.
    #[must_use]
    pub fn block(&self) -> &Arc<Block> {
        match self {
            Self::Mined(block) | Self::Removed(block) => block,
        }
    }

    /// Appends the logs that match, marked as removed when the block was.
    pub fn collect(&self, filter: &LogFilter, logs: &mut Vec<LogAt>) {
        let removed = matches!(self, Self::Removed(_));
        filter.collect(self.block(), removed, logs);
    }
}

/// How many events filters can fall behind.
pub const EVENTS_MAX: usize = 16_384;

/// How long a filter may go without a poll when another needs its place.
const FILTER_IDLE_MAX: Duration = Duration::from_secs(300);
