//! One replica as a machine: it reads, decides, writes, and answers afterwards.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::{Entry, Limiter, Refusal, Request, Response, Store};
use crate::id::{Address, Hash32};
use crate::machine::{Machine, name_variants};
use crate::origin::RequestId;
use crate::signing::Domain;
use crate::time::Moment;

/// Keeps records. Requests for one lookup key are answered one after the other.
#[derive(Debug)]
pub struct Replica {
    rules: Store,
    limiter: Limiter,
    /// The first of each key's requests is being answered.
    asked: BTreeMap<Hash32, VecDeque<Asked>>,
    count: usize,
    count_max: usize,
    outputs: VecDeque<ReplicaOutput>,
}

#[derive(Debug)]
struct Asked {
    id: RequestId,
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
        /// True when this peer asks, whose requests are not counted.
        is_own: bool,
        /// As it arrived.
        body: Bytes,
    },
    /// The end of a [`ReplicaOutput::Read`].
    Read {
        /// Of which key.
        lookup_key: Hash32,
        /// What is kept; `None` when the disk fails.
        entries: Option<Vec<Entry>>,
    },
    /// The end of a [`ReplicaOutput::Persist`].
    Persisted {
        /// Of which key.
        lookup_key: Hash32,
        /// False when nothing of it was stored.
        is_stored: bool,
    },
}

name_variants!(ReplicaOutput: Respond, Refuse, Read, Persist);

name_variants!(ReplicaInput: Request, Read, Persisted);

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
                is_own,
                body,
            } => self.handle_request(request, is_own, &body, now),
            ReplicaInput::Read {
                lookup_key,
                entries,
            } => self.handle_read(lookup_key, entries, now),
            ReplicaInput::Persisted {
                lookup_key,
                is_stored,
            } => self.handle_persisted(lookup_key, is_stored),
        }
    }

    fn handle_timeout(&mut self, _now: Moment) {}

    fn poll(&mut self) -> Option<ReplicaOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        None
    }
}

impl Replica {
    /// A replica under a domain.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self {
            rules: Store::new(domain),
            limiter: Limiter::default(),
            asked: BTreeMap::new(),
            count: 0,
            count_max: REQUESTS_MAX,
            outputs: VecDeque::new(),
        }
    }

    fn handle_request(&mut self, id: RequestId, is_own: bool, body: &[u8], now: Moment) {
        let Ok(request) = Request::from_bytes(body) else {
            self.outputs
                .push_back(ReplicaOutput::Refuse { request: id });
            return;
        };
        let lookup_key = request.lookup_key();
        let admitted = match is_own {
            true => Ok(()),
            false => self.limiter.check(&lookup_key, None, now.unix()),
        };
        let room = match self.count < self.count_max {
            true => Ok(()),
            false => Err(Refusal::Busy {
                retry_after_seconds: BUSY_SECONDS,
            }),
        };
        if let Err(refusal) = admitted.and(room) {
            self.respond(id, Response::Refused(refusal));
            return;
        }
        self.count += 1;
        let asked = self.asked.entry(lookup_key).or_default();
        asked.push_back(Asked {
            id,
            request,
            response: None,
        });
        if asked.len() == 1 {
            self.outputs.push_back(ReplicaOutput::Read { lookup_key });
        }
    }

    fn handle_read(&mut self, lookup_key: Hash32, entries: Option<Vec<Entry>>, now: Moment) {
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
        entries.sort_by_key(|entry| (entry.received, entry.record.wallet));
        let before = entries.iter().map(|entry| entry.record.wallet).collect();
        let request = asked.request.clone();
        let outcome = self.rules.handle_request(request, entries, now.unix());
        let Some(after) = outcome.store else {
            self.end(lookup_key, Some(outcome.response));
            return;
        };
        asked.response = Some(outcome.response);
        self.outputs.push_back(ReplicaOutput::Persist {
            lookup_key,
            before,
            after,
        });
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
