//! Who is answered with entries, how many at a time and how often.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use protocol::codec;
use protocol::entry::{Entry, sequences_of};
use protocol::id::Address;
use protocol::origin::{Origin, RequestId};
use protocol::time::Moment;
use protocol::wire::Protocol;

use super::Output;
use crate::heads::CountedHead;
use crate::limits::Limits;
use crate::message::{EntriesAnswer, EntriesRequest};

/// The server's side of `/coliving/entries/1`: a few at a time and not too many
/// of one peer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    limits: Limits,
    /// The head over what is read for each request.
    reads: BTreeMap<RequestId, CountedHead>,
    waiting: VecDeque<(RequestId, EntriesRequest)>,
    rates: Rates,
}

/// Requests per peer in the present window.
#[derive(Debug, Default)]
struct Rates {
    since: Option<Moment>,
    counts: BTreeMap<Address, u32>,
}

impl Requests {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// What to do about a request, at once or later.
    pub(super) fn handle_request(
        &mut self,
        id: RequestId,
        origin: Origin,
        body: &[u8],
        counted: Option<&CountedHead>,
        now: Moment,
    ) -> Option<Output> {
        let asked = EntriesRequest::from_bytes(body).ok();
        let requests_max = self.limits.peer_requests_max;
        let is_admitted = self.rates.admit(origin.peer, requests_max, now);
        let Some(asked) = asked.filter(|_| is_admitted && self.waiting.len() < WAITING_MAX) else {
            return Some(Output::Refuse { id });
        };
        if self.reads.len() >= self.limits.reads_max {
            self.waiting.push_back((id, asked));
            return None;
        }
        Some(self.begin(id, asked, counted))
    }

    /// Answers with what was read.
    pub(super) fn handle_read(
        &mut self,
        id: RequestId,
        entries: Option<Vec<Entry>>,
    ) -> Option<Output> {
        let counted = self.reads.remove(&id)?;
        Some(match entries {
            Some(entries) => respond(id, counted, fitting(entries)),
            None => Output::Refuse { id },
        })
    }

    /// The next one that has waited, when there is room for it.
    pub(super) fn next(&mut self, counted: Option<&CountedHead>) -> Option<Output> {
        if self.reads.len() >= self.limits.reads_max {
            return None;
        }
        let (id, asked) = self.waiting.pop_front()?;
        Some(self.begin(id, asked, counted))
    }

    /// Without a counted head there is nothing to say.
    fn begin(
        &mut self,
        id: RequestId,
        asked: EntriesRequest,
        counted: Option<&CountedHead>,
    ) -> Output {
        let Some(counted) = counted else {
            return Output::Refuse { id };
        };
        let first = asked.after.map_or(0, |after| after.saturating_add(1));
        let proven = sequences_of(0..=counted.head.block_number);
        let missing = counted.head.entry_count.saturating_sub(asked.from_count);
        if missing == 0 || !proven.contains(&first) {
            return respond(id, counted.clone(), Vec::new());
        }
        self.reads.insert(id, counted.clone());
        let most = self.limits.answer_entries_max;
        Output::Read {
            id,
            sequences: first..=*proven.end(),
            limit: usize::try_from(missing).map_or(most, |all| all.min(most)),
        }
    }
}

impl Rates {
    fn admit(&mut self, peer: Address, requests_max: u32, now: Moment) -> bool {
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
        *count <= requests_max
    }
}

fn respond(id: RequestId, counted: CountedHead, entries: Vec<Entry>) -> Output {
    let answer = EntriesAnswer {
        entries,
        head: counted.head,
        signatures: counted.signatures,
    };
    Output::Respond {
        id,
        body: codec::to_bytes(&answer),
    }
}

/// As many of the first entries as fit into an answer.
fn fitting(entries: Vec<Entry>) -> Vec<Entry> {
    let mut size = 0;
    entries
        .into_iter()
        .take_while(|entry| {
            size += codec::to_bytes(entry).len();
            size <= ENTRIES_BYTES_MAX
        })
        .collect()
}

/// Bytes of entries in one answer.
const ENTRIES_BYTES_MAX: usize = Protocol::Entries.limits().response_bytes_max - HEAD_BYTES_MAX;

/// Room for the head and its signatures.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// Requests that wait for their turn; as many as the protocol takes in.
const WAITING_MAX: usize = Protocol::Entries.limits().inbound_max;

/// Peers that are counted in one window; more are refused. Chosen: more than the
/// connections of a peer, some 100 KB.
const RATE_PEERS_MAX: usize = 4096;

/// Short enough that an eager peer soon goes on.
const RATE_WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use protocol::time::UnixSeconds;

    use super::*;

    #[test]
    fn a_peer_that_asks_too_often_is_refused_until_the_window_is_over() {
        let mut rates = Rates::default();
        let now = Moment::from_unix(UnixSeconds(1_700_000_000));
        let (eager, other) = (Address([1; 20]), Address([2; 20]));
        let admitted = (0..100).filter(|_| rates.admit(eager, 32, now)).count();
        assert_eq!(admitted, 32);
        assert!(rates.admit(other, 32, now));
        assert!(rates.admit(eager, 32, now + RATE_WINDOW));
    }
}
