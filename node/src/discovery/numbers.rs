//! Numbers about indexing for `/metrics` (`docs/operating/metrics.md`).

use crate::context::Context;
use crate::metrics::{Counter, Gauge};

/// Handles to the numbers.
pub(crate) struct Numbers {
    counted: Gauge,
    batches_held: Gauge,
    fetches: Counter,
}

impl Numbers {
    /// Registers the numbers; once per peer. The index's own follow its height
    /// until the peer stops.
    pub(crate) fn new(context: &Context) -> Self {
        let metrics = &context.metrics;
        let height = metrics.gauge("index_height", "Last block with an entry that is indexed");
        let entries = metrics.gauge("index_entries", "Entries that are indexed");
        let mut seen = context.index.height();
        let stop = context.floor.stop().clone();
        context.floor.spawn(async move {
            loop {
                let now = *seen.borrow_and_update();
                height.set(signed(now.block_number));
                entries.set(signed(now.entries));
                let changed = stop.run_until_cancelled(seen.changed());
                let Some(Ok(())) = changed.await else {
                    return;
                };
            }
        });
        Self {
            counted: metrics.gauge(
                "head_counted",
                "Number of the newest block whose head a majority signed",
            ),
            batches_held: metrics.gauge(
                "entry_batches_held",
                "Entry batches that wait for a final block or a counted head",
            ),
            fetches: metrics.counter(
                "entry_fetches",
                "Times that entries were asked for at discovery peers",
            ),
        }
    }

    pub(crate) fn counted(&self, number: u64) {
        self.counted.set(signed(number));
    }

    pub(crate) fn batches_held(&self, count: usize) {
        self.batches_held.set(signed(count as u64));
    }

    pub(crate) fn fetched(&self) {
        self.fetches.inc();
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
