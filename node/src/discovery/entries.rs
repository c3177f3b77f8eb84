//! The server's side of `/coliving/entries/1`, in a task of its own: it goes on
//! while the chain is caught up with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gossip::heads::CountedHead;
use gossip::message::{EntriesAnswer, EntriesRequest};
use protocol::codec;
use protocol::entry::{Entry, sequences_of};
use protocol::id::Address;
use protocol::time::Moment;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::context::Context;
use crate::index::{IndexHandle, IndexTaskError};
use crate::net::{Inbound, Protocol};

/// Answers requests, a few at a time and not too many of one peer.
pub(super) struct Requests {
    context: Context,
    inbox: mpsc::Receiver<Inbound>,
    counted: watch::Receiver<Option<CountedHead>>,
    reads: Arc<Semaphore>,
    rates: Rates,
}

/// Requests per peer in the present window.
#[derive(Debug, Default)]
struct Rates {
    since: Option<Moment>,
    counts: BTreeMap<Address, u32>,
}

impl Requests {
    pub(super) fn new(
        context: &Context,
        inbox: mpsc::Receiver<Inbound>,
        counted: watch::Receiver<Option<CountedHead>>,
    ) -> Self {
        Self {
            context: context.clone(),
            inbox,
            counted,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            rates: Rates::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.context.stop.clone();
        stop.run_until_cancelled(self.run_for_ever()).await;
    }

    async fn run_for_ever(&mut self) {
        while let Some(request) = self.inbox.recv().await {
            if !self.rates.admit(request.peer, self.context.clock.now()) {
                // Dropping a request refuses it.
                tracing::debug!(peer = %request.peer, "too many requests for entries");
                continue;
            }
            let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else {
                return;
            };
            let counted = self.counted.borrow().clone();
            let index = self.context.index.clone();
            tokio::task::spawn_blocking(move || {
                answer(&index, counted, request);
                drop(permit);
            });
        }
    }
}

impl Rates {
    fn admit(&mut self, peer: Address, now: Moment) -> bool {
        let is_over = self
            .since
            .is_none_or(|since| now.saturating_since(since) >= RATE_WINDOW);
        if is_over {
            self.since = Some(now);
            self.counts.clear();
        }
        if self.counts.len() == RATE_PEERS_MAX && !self.counts.contains_key(&peer) {
            return false;
        }
        let count = self.counts.entry(peer).or_default();
        *count += 1;
        *count <= RATE_REQUESTS_MAX
    }
}

/// Answers one request; without a counted head there is nothing to say, and the
/// request is refused by dropping it.
fn answer(index: &IndexHandle, counted: Option<CountedHead>, request: Inbound) {
    let asked = EntriesRequest::from_bytes(&request.body);
    let (Ok(asked), Some(counted)) = (asked, counted) else {
        return;
    };
    match read(index, &counted, asked) {
        Ok(entries) => {
            let answer = EntriesAnswer {
                entries,
                head: counted.head,
                signatures: counted.signatures,
            };
            request.respond.send(codec::to_bytes(&answer));
        }
        Err(error) => tracing::warn!(%error, "entries could not be read"),
    }
}

fn read(
    index: &IndexHandle,
    counted: &CountedHead,
    asked: EntriesRequest,
) -> Result<Vec<Entry>, IndexTaskError> {
    let first = asked.after.map_or(0, |after| after.saturating_add(1));
    let proven = sequences_of(0..=counted.head.block_number);
    if asked.from_count >= counted.head.entry_count || !proven.contains(&first) {
        return Ok(Vec::new());
    }
    let missing = counted.head.entry_count - asked.from_count;
    let limit = usize::try_from(missing).map_or(ENTRIES_MAX, |missing| missing.min(ENTRIES_MAX));
    let entries = index.snapshot()?.entries(first..=*proven.end(), limit)?;
    let mut size = 0;
    Ok(entries
        .into_iter()
        .take_while(|entry| {
            size += codec::to_bytes(entry).len();
            size <= ENTRIES_BYTES_MAX
        })
        .collect())
}

/// Most entries in one answer; at about 500 bytes each they fill a quarter of it.
const ENTRIES_MAX: usize = 2048;

/// Bytes of entries in one answer.
const ENTRIES_BYTES_MAX: usize = Protocol::Entries.limits().response_bytes_max - HEAD_BYTES_MAX;

/// Room for the head and its signatures.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// Requests that are answered at a time; others wait their turn.
const READS_MAX: usize = 4;

/// Requests of one peer in [`RATE_WINDOW`]: 65,536 entries.
const RATE_REQUESTS_MAX: u32 = 32;

/// Peers that are counted in one window; more are refused.
const RATE_PEERS_MAX: usize = 4096;

const RATE_WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
