//! One replica as a machine: it reads, decides, writes, and answers afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Entry, Limiter, PROVISIONAL_MAX, PROVISIONAL_SECONDS, REPLICAS_MAX, ROWS_MAX, Refusal, Request,
    Response, Store,
};
use crate::admission::{Account, Source};
use crate::id::{Address, Hash32};
use crate::machine::{Machine, name_variants};
use crate::origin::{Origin, RequestId};
use crate::placement::{Placement, Purpose};
use crate::signing::Domain;
use crate::time::{Moment, UnixSeconds};

/// Keeps records. Requests for one lookup key are answered one after the other.
#[derive(Debug)]
pub struct Replica {
    peer: Address,
    /// Where records belong, and where as soon as the registry's change is final.
    placements: [Arc<Placement>; 2],
    rules: Store,
    limiter: Limiter,
    /// Unsigned sign-ups, which are in memory only.
    sign_ups: BTreeMap<Hash32, Entry>,
    sign_ups_max: usize,
    rows_max: u64,
    /// The first of each key's requests is being answered.
    asked: BTreeMap<Hash32, VecDeque<Asked>>,
    count: usize,
    count_max: usize,
    outputs: VecDeque<ReplicaOutput>,
}

#[derive(Debug)]
struct Asked {
    id: RequestId,
    source: Option<Account>,
    request: Request,
    /// What is answered once it is durable.
    response: Option<Response>,
}

/// What a replica learns.
#[derive(Debug, Clone)]
pub enum ReplicaInput {
    /// Somebody asks something over [`Protocol::Vault`](crate::wire::Protocol).
    Request {
        /// Answered by [`ReplicaOutput::Respond`] or [`ReplicaOutput::Refuse`].
        request: RequestId,
        /// Who asks; `None` for this peer, whose requests are not counted.
        origin: Option<Origin>,
        /// As it arrived.
        body: Bytes,
    },
    /// The end of a [`ReplicaOutput::Read`].
    Read {
        /// Of which key.
        lookup_key: Hash32,
        /// What is kept; `None` when the disk fails.
        entries: Option<Vec<Entry>>,
        /// Records that are kept under all keys.
        rows: u64,
    },
    /// The end of a [`ReplicaOutput::Persist`].
    Persisted {
        /// Of which key.
        lookup_key: Hash32,
        /// False when nothing of it was stored.
        is_stored: bool,
    },
    /// The registry that placement works on.
    Snapshot(Arc<Placement>),
    /// The registry at the last block.
    Latest(Arc<Placement>),
}

name_variants!(ReplicaOutput: Respond, Refuse, Read, Persist);

name_variants!(ReplicaInput: Request, Read, Persisted, Snapshot, Latest);

/// What a replica wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicaOutput {
    /// Answer a request.
    Respond {
        /// The request to answer.
        request: RequestId,
        /// The answer to send.
        response: Response,
    },
    /// Refuse a request without an answer of its protocol.
    Refuse {
        /// The request to refuse.
        request: RequestId,
    },
    /// Read what is kept under a lookup key; answer with [`ReplicaInput::Read`].
    Read {
        /// The key to read under.
        lookup_key: Hash32,
    },
    /// Replace what is kept under a lookup key, all of it or nothing, after what
    /// was wished before; answer with [`ReplicaInput::Persisted`].
    Persist {
        /// The key to replace under.
        lookup_key: Hash32,
        /// Whose entries are there before.
        before: Vec<Address>,
        /// What is to be there.
        after: Vec<Entry>,
    },
}

impl Machine for Replica {
    type Input = ReplicaInput;
    type Output = ReplicaOutput;

    fn handle(&mut self, input: ReplicaInput, now: Moment) {
        match input {
            ReplicaInput::Request {
                request,
                origin,
                body,
            } => self.handle_request(request, origin, &body, now),
            ReplicaInput::Read {
                lookup_key,
                entries,
                rows,
            } => self.handle_read(lookup_key, entries, rows, now),
            ReplicaInput::Persisted {
                lookup_key,
                is_stored,
            } => self.handle_persisted(lookup_key, is_stored),
            ReplicaInput::Snapshot(placement) => self.placements[0] = placement,
            ReplicaInput::Latest(placement) => self.placements[1] = placement,
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.sign_ups.retain(|_, entry| !entry.is_over(now.unix()));
    }

    fn poll(&mut self) -> Option<ReplicaOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let end = self.sign_ups_end()?;
        Some((Moment::from_unix(end), "sign-up ends"))
    }
}

impl Replica {
    /// The replica of a peer, which does not know yet what it has to keep.
    #[must_use]
    pub fn new(domain: Domain, peer: Address) -> Self {
        Self {
            peer,
            placements: Default::default(),
            rules: Store::new(domain),
            limiter: Limiter::default(),
            sign_ups: BTreeMap::new(),
            sign_ups_max: PROVISIONAL_MAX,
            rows_max: ROWS_MAX,
            asked: BTreeMap::new(),
            count: 0,
            count_max: REQUESTS_MAX,
            outputs: VecDeque::new(),
        }
    }

    fn handle_request(&mut self, id: RequestId, origin: Option<Origin>, body: &[u8], now: Moment) {
        let Ok(request) = Request::from_bytes(body) else {
            self.outputs
                .push_back(ReplicaOutput::Refuse { request: id });
            return;
        };
        let source = origin.map(|origin| self.source(origin));
        if let Err(refusal) = self.admit(&request, source, now) {
            self.respond(id, Response::Refused(refusal));
            return;
        }
        let lookup_key = request.lookup_key();
        self.count += 1;
        let asked = self.asked.entry(lookup_key).or_default();
        asked.push_back(Asked {
            id,
            source,
            request,
            response: None,
        });
        if asked.len() == 1 {
            self.outputs.push_back(ReplicaOutput::Read { lookup_key });
        }
    }

    fn admit(
        &mut self,
        request: &Request,
        source: Option<Account>,
        now: Moment,
    ) -> Result<(), Refusal> {
        if self.count >= self.count_max {
            return Err(Refusal::Busy {
                retry_after_seconds: BUSY_SECONDS,
            });
        }
        let lookup_key = request.lookup_key();
        self.limiter.check(&lookup_key, source, now.unix())?;
        if matches!(request, Request::Put(_)) && !self.is_placed(&lookup_key) {
            return Err(Refusal::Elsewhere);
        }
        Ok(())
    }

    fn source(&self, origin: Origin) -> Account {
        let mut placements = self.placements.iter();
        let operator = placements.find_map(|placement| placement.operator_of(&origin.peer));
        Source::new(origin, operator).account()
    }

    /// True when this peer is placed for a key, or would be had a few operators not
    /// come in before: who writes may not have heard of them.
    fn is_placed(&self, lookup_key: &Hash32) -> bool {
        self.placements.iter().any(|placement| {
            let ranked = placement.rank(Purpose::Vault, &lookup_key.0);
            let mut placed = ranked.iter().take(REPLICAS_MAX + RANKS_SPARE);
            placed.any(|peer| *peer == self.peer)
        })
    }

    fn handle_read(
        &mut self,
        lookup_key: Hash32,
        entries: Option<Vec<Entry>>,
        rows: u64,
        now: Moment,
    ) {
        let asked = self
            .asked
            .get_mut(&lookup_key)
            .and_then(VecDeque::front_mut);
        let Some(asked) = asked.filter(|asked| asked.response.is_none()) else {
            return;
        };
        let Some(mut entries) = entries else {
            self.end(lookup_key, None);
            return;
        };
        let before = entries.iter().map(|entry| entry.record.wallet).collect();
        entries.extend(self.sign_ups.get(&lookup_key).cloned());
        entries.sort_by_key(|entry| (entry.received, entry.record.wallet));
        let (request, source) = (asked.request.clone(), asked.source);
        let brought = match &request {
            Request::Put(entry) => Some(entry.clone()),
            Request::Get { .. } => None,
        };
        let outcome = self.rules.handle_request(request, entries, now.unix());
        if let Some(entry) = brought.filter(|_| outcome.is_new)
            && let Err(refusal) = self.take(&entry, source, rows, now.unix())
        {
            self.end(lookup_key, Some(Response::Refused(refusal)));
            return;
        }
        let kept = outcome.store.unwrap_or_default().into_iter();
        let (after, sign_ups): (Vec<Entry>, Vec<Entry>) =
            kept.partition(|entry| entry.signature.is_some());
        if let Some(sign_up) = sign_ups.into_iter().next() {
            self.sign_ups.insert(lookup_key, sign_up);
        }
        if after.is_empty() {
            self.end(lookup_key, Some(outcome.response));
            return;
        }
        let asked = self.asked.get_mut(&lookup_key);
        if let Some(asked) = asked.and_then(VecDeque::front_mut) {
            asked.response = Some(outcome.response);
        }
        self.outputs.push_back(ReplicaOutput::Persist {
            lookup_key,
            before,
            after,
        });
    }

    /// Takes one entry more, from whoever has brought few.
    fn take(
        &mut self,
        entry: &Entry,
        source: Option<Account>,
        rows: u64,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        if entry.signature.is_none() && self.sign_ups.len() >= self.sign_ups_max {
            let end = self.sign_ups_end().unwrap_or(now);
            return Err(Refusal::Busy {
                retry_after_seconds: end.0.saturating_sub(now.0).max(BUSY_SECONDS),
            });
        }
        if entry.signature.is_some() && rows >= self.rows_max {
            return Err(Refusal::NoRoom);
        }
        self.limiter.check_first(entry, source, now)
    }

    /// When the next sign-up ends.
    fn sign_ups_end(&self) -> Option<UnixSeconds> {
        let ends = self.sign_ups.values();
        ends.map(|entry| UnixSeconds(entry.received.0.saturating_add(PROVISIONAL_SECONDS)))
            .min()
    }

    fn handle_persisted(&mut self, lookup_key: Hash32, is_stored: bool) {
        let asked = self
            .asked
            .get_mut(&lookup_key)
            .and_then(VecDeque::front_mut);
        let Some(response) = asked.and_then(|asked| asked.response.take()) else {
            return;
        };
        self.end(lookup_key, is_stored.then_some(response));
    }

    /// Answers the first request of a key, and goes on with the next.
    fn end(&mut self, lookup_key: Hash32, response: Option<Response>) {
        let Some(waiting) = self.asked.get_mut(&lookup_key) else {
            return;
        };
        let ended = waiting.pop_front();
        match waiting.is_empty() {
            true => drop(self.asked.remove(&lookup_key)),
            false => self.outputs.push_back(ReplicaOutput::Read { lookup_key }),
        }
        let Some(Asked { id, .. }) = ended else {
            return;
        };
        self.count -= 1;
        match response {
            Some(response) => self.respond(id, response),
            None => self
                .outputs
                .push_back(ReplicaOutput::Refuse { request: id }),
        }
    }

    fn respond(&mut self, request: RequestId, response: Response) {
        self.outputs
            .push_back(ReplicaOutput::Respond { request, response });
    }
}

/// Requests that are being answered or wait: chosen, more than the network lets
/// through at once.
const REQUESTS_MAX: usize = 1024;

/// After this long there is room again: a disk writes hundreds of records in it.
const BUSY_SECONDS: u64 = 1;

/// Operators that may have come before this peer's own without that whoever writes
/// has heard of them. Chosen: more change at once between two snapshots seldom, and
/// then a majority of both sets is still found.
const RANKS_SPARE: usize = 2;
