//! Writing and reading as one machine: whom to ask, what a change of the password
//! leaves to do, when a client asks too often.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::{
    Entry, Limiter, REPLICAS_MAX, Read, ReadEvent, Refusal, Request, Response, SignedVault,
    Transmit, Write, WriteEvent,
};
use crate::admission::Source;
use crate::id::{Address, Hash32};
use crate::machine::{Machine, name_variants};
use crate::origin::{Origin, RequestId};
use crate::placement::{Placement, Purpose};
use crate::signing::Domain;
use crate::time::Moment;

/// Writes and reads records at the replicas that are placed for them.
#[derive(Debug)]
pub struct Vault {
    domain: Domain,
    /// Where records belong.
    snapshot: Arc<Placement>,
    /// Where they belong as soon as the registry's change is final.
    latest: Arc<Placement>,
    limiter: Limiter,
    tasks: BTreeMap<u64, Task>,
    tasks_max: usize,
    asks: BTreeMap<AskId, (u64, Address)>,
    next_id: u64,
    outputs: VecDeque<VaultOutput>,
}

/// A write or a read that is under way.
#[derive(Debug)]
struct Task {
    /// Who waits for its end.
    request: Option<RequestId>,
    /// How many keep the record.
    count: usize,
    quorum: Quorum,
}

#[derive(Debug)]
enum Quorum {
    Write {
        write: Write,
        /// The tombstone to write once the record is safe.
        burial: Option<Box<SignedVault>>,
    },
    Read(Read),
}

/// A question to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// What the vault learns.
#[derive(Debug, Clone)]
pub enum VaultInput {
    /// Write a record to a majority of its replicas, and the tombstone of the
    /// password before to a majority of its own.
    Put {
        /// Answered by [`VaultReply::Put`].
        request: RequestId,
        /// Who asks; `None` for this peer's own errands, which are not counted.
        client: Option<Origin>,
        /// What to keep.
        entry: Entry,
    },
    /// Read the living records of a lookup key. Whatever half of a password change
    /// is found is finished on the way.
    Get {
        /// Answered by [`VaultReply::Get`].
        request: RequestId,
        /// Who asks; `None` for this peer's own errands, which are not counted.
        client: Option<Origin>,
        /// The key to read under.
        lookup_key: Hash32,
    },
    /// The end of a [`VaultOutput::Ask`].
    Answered {
        /// Of the question.
        id: AskId,
        /// As it arrived; `None` without an answer.
        body: Option<Bytes>,
    },
    /// The registry that placement works on.
    Snapshot(Arc<Placement>),
    /// The registry at the last block.
    Latest(Arc<Placement>),
}

name_variants!(VaultOutput: Ask, Reply);

name_variants!(VaultInput: Put, Get, Answered, Snapshot, Latest);

/// What the vault wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultOutput {
    /// Ask a replica, this peer perhaps, over
    /// [`Protocol::Vault`](crate::wire::Protocol); answer each with
    /// [`VaultInput::Answered`].
    Ask {
        /// Of the question.
        id: AskId,
        /// The replica to ask.
        peer: Address,
        /// The encoded question.
        body: Bytes,
    },
    /// Answer a request.
    Reply {
        /// The request to answer.
        request: RequestId,
        /// The answer to give.
        reply: VaultReply,
    },
}

/// An answer to whoever uses the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultReply {
    /// Of a write. Some replicas may have the record although it failed.
    Put(Result<(), VaultError>),
    /// Of a read: the living records, those that a majority shows first, of these the
    /// earliest.
    Get(Result<Vec<Entry>, VaultError>),
}

/// Why the vault did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A majority refused, for this reason among others.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody has a record that wins.
    #[error(
        "the lookup key has a newer record of this wallet, version {version}; read it and sign a higher version"
    )]
    Outdated {
        /// The version that is kept.
        version: u64,
    },
    /// Too few replicas answered.
    #[error(
        "too few of the {count} identity peers that keep this record answer; try again when the network is back"
    )]
    Unavailable {
        /// How many keep it.
        count: usize,
    },
}

impl Machine for Vault {
    type Input = VaultInput;
    type Output = VaultOutput;

    fn handle(&mut self, input: VaultInput, now: Moment) {
        match input {
            VaultInput::Put {
                request,
                client,
                entry,
            } => {
                let lookup_key = entry.record.lookup_key;
                let admitted = self.admit(&lookup_key, Some(&entry), client, now);
                let begun = admitted.and_then(|()| self.write(Some(request), entry, now));
                if let Err(refusal) = begun {
                    self.reply(request, VaultReply::Put(Err(refusal.into())));
                }
            }
            VaultInput::Get {
                request,
                client,
                lookup_key,
            } => match self.admit(&lookup_key, None, client, now) {
                Ok(()) => self.read(request, lookup_key, now),
                Err(refusal) => self.reply(request, VaultReply::Get(Err(refusal.into()))),
            },
            VaultInput::Answered { id, body } => self.handle_answered(id, body.as_deref(), now),
            VaultInput::Snapshot(placement) => self.snapshot = placement,
            VaultInput::Latest(placement) => self.latest = placement,
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        let due: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.deadline().is_some_and(|(at, _)| at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            if let Some(task) = self.tasks.get_mut(&number) {
                task.handle_timeout(now);
            }
            self.step(number, now);
        }
    }

    fn poll(&mut self) -> Option<VaultOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        self.tasks.values().filter_map(Task::deadline).min()
    }
}

impl Vault {
    /// A vault under a domain, which knows nobody yet.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self {
            domain,
            snapshot: Arc::default(),
            latest: Arc::default(),
            limiter: Limiter::default(),
            tasks: BTreeMap::new(),
            tasks_max: TASKS_MAX,
            asks: BTreeMap::new(),
            next_id: 0,
            outputs: VecDeque::new(),
        }
    }

    fn admit(
        &mut self,
        lookup_key: &Hash32,
        brought: Option<&Entry>,
        client: Option<Origin>,
        now: Moment,
    ) -> Result<(), Refusal> {
        if self.tasks.len() >= self.tasks_max {
            let retry_after_seconds = BUSY_SECONDS;
            return Err(Refusal::Busy {
                retry_after_seconds,
            });
        }
        let source = client.map(|client| Source::new(client, None).account());
        self.limiter.check(lookup_key, source, now.unix())?;
        match brought {
            Some(entry) => self.limiter.check_new(entry, source, now.unix()),
            None => Ok(()),
        }
    }

    fn write(
        &mut self,
        request: Option<RequestId>,
        entry: Entry,
        now: Moment,
    ) -> Result<(), Refusal> {
        entry.check(&self.domain)?;
        let sets = self.placed(&entry.record.lookup_key);
        let burial = entry.burial.clone();
        let write = Write::new(self.domain, entry, &sets, now);
        self.begin(request, &sets, Quorum::Write { write, burial }, now);
        Ok(())
    }

    fn read(&mut self, request: RequestId, lookup_key: Hash32, now: Moment) {
        let sets = self.placed(&lookup_key);
        let read = Read::new(self.domain, lookup_key, &sets, now);
        self.begin(Some(request), &sets, Quorum::Read(read), now);
    }

    fn begin(
        &mut self,
        request: Option<RequestId>,
        sets: &[Vec<Address>],
        quorum: Quorum,
        now: Moment,
    ) {
        let number = self.take_id();
        let task = Task {
            request,
            count: sets.first().map_or(0, Vec::len),
            quorum,
        };
        self.tasks.insert(number, task);
        self.step(number, now);
    }

    /// The placed replicas; both sets while the registry changes them.
    fn placed(&self, lookup_key: &Hash32) -> Vec<Vec<Address>> {
        let of = |placement: &Placement| {
            let mut ranked = placement.rank(Purpose::Vault, &lookup_key.0);
            ranked.truncate(REPLICAS_MAX);
            ranked
        };
        let mut sets = vec![of(&self.snapshot), of(&self.latest)];
        sets.dedup();
        sets.retain(|set| !set.is_empty());
        sets
    }

    fn handle_answered(&mut self, id: AskId, body: Option<&[u8]>, now: Moment) {
        let Some((number, peer)) = self.asks.remove(&id) else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&number) else {
            return;
        };
        match body.and_then(|body| Response::from_bytes(body).ok()) {
            Some(response) => task.handle_response(peer, response, now),
            None => task.handle_failure(peer, now),
        }
        self.step(number, now);
    }

    /// Carries on with a task after something in it changed.
    fn step(&mut self, number: u64, now: Moment) {
        let Some(mut task) = self.tasks.remove(&number) else {
            return;
        };
        while let Some(Transmit { to, request }) = task.poll_transmit() {
            let id = AskId(self.take_id());
            let body = request.to_bytes().into();
            // What a read writes back is not waited for.
            let is_read = matches!(task.quorum, Quorum::Read(_));
            if !is_read || matches!(request, Request::Get { .. }) {
                self.asks.insert(id, (number, to));
            }
            self.outputs
                .push_back(VaultOutput::Ask { id, peer: to, body });
        }
        self.take_events(&mut task, now);
        if !task.is_done() {
            self.tasks.insert(number, task);
        }
    }

    fn take_events(&mut self, task: &mut Task, now: Moment) {
        let count = task.count;
        match &mut task.quorum {
            Quorum::Write { write, burial } => {
                while let Some(event) = write.poll_event() {
                    let written = written(event, count);
                    let burial = burial.take().filter(|_| written.is_ok());
                    match (burial, task.request.take()) {
                        // The tombstone's end is the end of the whole.
                        (Some(burial), request) => self.bury(request, *burial, now),
                        (None, Some(request)) => self.reply(request, VaultReply::Put(written)),
                        (None, None) => {}
                    }
                }
            }
            Quorum::Read(read) => {
                while let Some(event) = read.poll_event() {
                    let found = match event {
                        ReadEvent::Found { entries } => Ok(entries),
                        ReadEvent::Failed => Err(VaultError::Unavailable { count }),
                        ReadEvent::Bury(burial) => {
                            self.bury(None, *burial, now);
                            continue;
                        }
                        // Only the client has the wallet's key.
                        ReadEvent::Unburied { .. } => continue,
                    };
                    if let Some(request) = task.request.take() {
                        self.reply(request, VaultReply::Get(found));
                    }
                }
            }
        }
    }

    fn bury(&mut self, request: Option<RequestId>, burial: SignedVault, now: Moment) {
        let entry = Entry::signed(burial, None, now.unix());
        if let (Err(refusal), Some(request)) = (self.write(request, entry, now), request) {
            self.reply(request, VaultReply::Put(Err(refusal.into())));
        }
    }

    fn reply(&mut self, request: RequestId, reply: VaultReply) {
        self.outputs
            .push_back(VaultOutput::Reply { request, reply });
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Task {
    fn poll_transmit(&mut self) -> Option<Transmit> {
        match &mut self.quorum {
            Quorum::Write { write, .. } => write.poll_transmit(),
            Quorum::Read(read) => read.poll_transmit(),
        }
    }

    fn handle_response(&mut self, from: Address, response: Response, now: Moment) {
        match &mut self.quorum {
            Quorum::Write { write, .. } => write.handle_response(from, response),
            Quorum::Read(read) => read.handle_response(from, response, now),
        }
    }

    fn handle_failure(&mut self, from: Address, now: Moment) {
        match &mut self.quorum {
            Quorum::Write { write, .. } => write.handle_failure(from, now),
            Quorum::Read(read) => read.handle_failure(from, now),
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        match &mut self.quorum {
            Quorum::Write { write, .. } => write.handle_timeout(now),
            Quorum::Read(read) => read.handle_timeout(now),
        }
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        match &self.quorum {
            Quorum::Write { write, .. } => write.poll_timeout(),
            Quorum::Read(read) => read.poll_timeout(),
        }
    }

    fn is_done(&self) -> bool {
        match &self.quorum {
            Quorum::Write { write, .. } => write.is_done(),
            Quorum::Read(read) => read.is_done(),
        }
    }
}

fn written(event: WriteEvent, count: usize) -> Result<(), VaultError> {
    match event {
        WriteEvent::Stored => Ok(()),
        WriteEvent::Outdated(entry) => Err(VaultError::Outdated {
            version: entry.record.version,
        }),
        WriteEvent::Failed { refusals } => Err(refusals
            .into_values()
            .next()
            .map_or(VaultError::Unavailable { count }, VaultError::Refused)),
    }
}

/// Writes and reads that are under way: chosen, far more than people sign in at
/// once, of some 10 KiB each.
const TASKS_MAX: usize = 1024;

/// After this long there is room again: most tasks take less.
const BUSY_SECONDS: u64 = 1;
