//! One fetch with everything around it: whom it asks and when more holders are
//! looked for, what is stored when, and what has to be true at its end.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use cid::Cid;

use super::candidates::{Around, HINTED, LAST_RESORT, PROVIDER, candidates};
use super::fetch::{
    Event, FailReason, Fetch, FetchConfig, Local, LocalQuery, Progress, RequestId, Target, Transmit,
};
use super::message::Response;
use crate::id::{Address, Hash32};
use crate::machine::{Machine, name_variants};
use crate::time::Moment;
use crate::unixfs::VerifiedBlock;

/// Fetches one root, or some blocks below it, for whoever waits.
///
/// It hashes what arrives, so that a driver with threads gives each one a task
/// of its own.
#[derive(Debug)]
pub struct Download {
    local: Address,
    root: Cid,
    is_whole: bool,
    fetch: Fetch,
    last_resort: Vec<Address>,
    /// Providers that were tried: one that was given up is no news again.
    providers: BTreeSet<Address>,
    is_kept: bool,
    with_proof: bool,
    /// Every block of the target that is here.
    seen: BTreeSet<Cid>,
    batch: Vec<VerifiedBlock>,
    /// Blocks handed out and not stored yet.
    storing: usize,
    is_searching: bool,
    phase: Phase,
    outputs: VecDeque<DownloadOutput>,
}

/// What a download is to bring.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) root: Cid,
    pub(super) target: Target,
    pub(super) holders: Vec<Address>,
    pub(super) last_resort: Vec<Address>,
    pub(super) is_kept: bool,
    pub(super) with_proof: bool,
}

/// What a download is told.
#[derive(Debug)]
pub enum DownloadInput {
    /// Who is around the root, after [`DownloadOutput::FindHolders`].
    Around(Around),
    /// Further peers that are known to hold it.
    Hinted(Vec<Address>),
    /// What came of [`DownloadOutput::Ask`].
    Answered {
        /// Under which the peer was asked.
        id: RequestId,
        /// The body of the response, or why there is none.
        answer: Result<Bytes, Unanswered>,
    },
    /// What the store has, after [`DownloadOutput::Look`].
    Looked {
        /// The block that was looked for.
        cid: Cid,
        /// What is there.
        local: Local,
    },
    /// The blocks of the last [`DownloadOutput::Store`] are durable.
    Stored,
    /// Whom a search found, after [`DownloadOutput::FindProviders`]; nobody when
    /// it failed.
    Providers(Vec<Address>),
    /// The blocks were listed under their owner, after [`DownloadOutput::List`].
    Listed {
        /// How many of them the store does not have any more.
        missing: u64,
    },
    /// The proof root of what is stored, after [`DownloadOutput::Prove`].
    Proved(Result<Hash32, FailReason>),
}

name_variants!(DownloadOutput: FindHolders, FindProviders, Look, Ask, Store, List, Prove, Offence, Ended);

name_variants!(DownloadInput: Around, Hinted, Answered, Looked, Stored, Providers, Listed, Proved);

/// Why a request brought no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    /// The peer has no time; it is asked again after a rest.
    Busy,
    /// It was not reached, or did not answer.
    Failed,
}

/// What a download wishes.
#[derive(Debug, Clone, PartialEq)]
pub enum DownloadOutput {
    /// Tell who is around the root.
    FindHolders,
    /// Search for providers of the root.
    FindProviders,
    /// Look a block up in the store.
    Look(LocalQuery),
    /// Deliver a request.
    Ask {
        /// The peer to ask.
        to: Address,
        /// What the answer is handed in under.
        id: RequestId,
        /// The encoded request.
        body: Vec<u8>,
    },
    /// Store these checked blocks; one batch is out at a time.
    Store(Vec<VerifiedBlock>),
    /// List these blocks under the owner that they are kept for.
    List(Vec<Cid>),
    /// Work the proof root out of what is stored.
    Prove,
    /// A peer answered with something else than it was asked for.
    Offence {
        /// The peer that answered wrongly.
        holder: Address,
        /// How much it weighs.
        weight: u32,
        /// What it did.
        reason: String,
    },
    /// It is over. The last output.
    Ended(Result<Fetched, FailReason>),
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Distinct blocks of the DAG.
    pub blocks: u64,
    /// The sum of their lengths.
    pub bytes: u64,
    /// The BLAKE3 proof root, when it was asked for.
    pub proof_root: Option<Hash32>,
}

/// Where a download is.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Fetching,
    /// All is here and is being listed under its owner.
    Listing {
        blocks: u64,
        bytes: u64,
    },
    /// All is kept and is being proved.
    Proving {
        blocks: u64,
        bytes: u64,
    },
    Over,
}

impl Download {
    pub(super) fn new(config: FetchConfig, local: Address, wanted: Wanted, now: Moment) -> Self {
        let mut download = Self {
            local,
            root: wanted.root,
            is_whole: matches!(wanted.target, Target::Dag(_)),
            fetch: Fetch::new(config, &wanted.target, now),
            last_resort: wanted.last_resort,
            providers: BTreeSet::new(),
            is_kept: wanted.is_kept,
            with_proof: wanted.with_proof,
            seen: BTreeSet::new(),
            batch: Vec::new(),
            storing: 0,
            is_searching: false,
            phase: Phase::Fetching,
            outputs: VecDeque::from([DownloadOutput::FindHolders]),
        };
        download.introduce(&wanted.holders, HINTED, now);
        download.pump();
        download
    }

    /// The root that it is about.
    #[must_use]
    pub const fn root(&self) -> Cid {
        self.root
    }

    /// How far it is.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.fetch.progress()
    }

    fn introduce(&mut self, holders: &[Address], priority: u32, now: Moment) {
        for holder in holders {
            if *holder != self.local {
                self.fetch.handle_holder(*holder, priority, now);
            }
        }
    }

    fn handle_around(&mut self, around: &Around, now: Moment) {
        let last_resort = std::mem::take(&mut self.last_resort);
        for (holder, priority) in candidates(&self.local, around) {
            if !last_resort.contains(&holder) {
                self.fetch.handle_holder(holder, priority, now);
            }
        }
        self.introduce(&last_resort, LAST_RESORT, now);
    }

    fn handle_answer(&mut self, id: RequestId, answer: Result<Bytes, Unanswered>, now: Moment) {
        match answer.map(|body| Response::decode(&body)) {
            Ok(Ok(response)) => self.fetch.handle_response(id, response, now),
            Ok(Err(error)) => self.fetch.handle_garbage(id, error.to_string(), now),
            Err(Unanswered::Busy) => self.fetch.handle_response(id, Response::default(), now),
            Err(Unanswered::Failed) => self.fetch.handle_failure(id, now),
        }
    }

    fn handle_looked(&mut self, cid: &Cid, local: Local, now: Moment) {
        if local != Local::Absent {
            self.seen.insert(*cid);
        }
        self.fetch.handle_local(cid, local, now);
    }

    fn handle_stored(&mut self, now: Moment) {
        let count = std::mem::take(&mut self.storing);
        self.fetch.handle_stored(count, now);
    }

    fn handle_providers(&mut self, providers: &[Address], now: Moment) {
        self.is_searching = false;
        for holder in providers {
            if self.providers.len() < PROVIDERS_TRIED_MAX && self.providers.insert(*holder) {
                self.introduce(&[*holder], PROVIDER, now);
            }
        }
    }

    /// Takes what the fetch hands out.
    fn pump(&mut self) {
        if !matches!(self.phase, Phase::Fetching) {
            return;
        }
        while let Some(query) = self.fetch.poll_local() {
            self.outputs.push_back(DownloadOutput::Look(query));
        }
        while let Some(Transmit { to, id, request }) = self.fetch.poll_transmit() {
            let body = request.encode();
            self.outputs.push_back(DownloadOutput::Ask { to, id, body });
        }
        while let Some(block) = self.fetch.poll_block() {
            self.seen.insert(*block.cid());
            self.batch.push(block);
        }
        // One batch is stored at a time; what arrives meanwhile is the next.
        if self.storing == 0 && !self.batch.is_empty() {
            self.storing = self.batch.len();
            let batch = std::mem::take(&mut self.batch);
            self.outputs.push_back(DownloadOutput::Store(batch));
        }
        while let Some(event) = self.fetch.poll_event() {
            self.handle_event(event);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Starved { .. } => {
                if !std::mem::replace(&mut self.is_searching, true) {
                    self.outputs.push_back(DownloadOutput::FindProviders);
                }
            }
            Event::Offence { holder, reason } => self.outputs.push_back(DownloadOutput::Offence {
                holder,
                weight: WRONG_BLOCKS_WEIGHT,
                reason,
            }),
            Event::Done { blocks, bytes } if self.is_kept => {
                self.phase = Phase::Listing { blocks, bytes };
                let cids = std::mem::take(&mut self.seen).into_iter().collect();
                self.outputs.push_back(DownloadOutput::List(cids));
            }
            Event::Done { blocks, bytes } => self.prove(blocks, bytes),
            Event::Failed { reason } => self.end(Err(reason)),
        }
    }

    fn handle_listed(&mut self, missing: u64) {
        let Phase::Listing { blocks, bytes } = self.phase else {
            return;
        };
        if missing > 0 && self.is_whole {
            // Evicted or dropped since it was found; the next try brings it.
            self.end(Err(FailReason::NoHolder { cid: self.root }));
        } else {
            self.prove(blocks, bytes);
        }
    }

    fn prove(&mut self, blocks: u64, bytes: u64) {
        if self.is_whole && self.with_proof {
            self.phase = Phase::Proving { blocks, bytes };
            self.outputs.push_back(DownloadOutput::Prove);
        } else {
            let proof_root = None;
            self.end(Ok(Fetched {
                blocks,
                bytes,
                proof_root,
            }));
        }
    }

    fn handle_proved(&mut self, proved: Result<Hash32, FailReason>) {
        if let Phase::Proving { blocks, bytes } = self.phase {
            self.end(proved.map(|hash| Fetched {
                blocks,
                bytes,
                proof_root: Some(hash),
            }));
        }
    }

    fn end(&mut self, result: Result<Fetched, FailReason>) {
        self.phase = Phase::Over;
        self.outputs.push_back(DownloadOutput::Ended(result));
    }
}

impl Machine for Download {
    type Input = DownloadInput;
    type Output = DownloadOutput;

    fn handle(&mut self, input: DownloadInput, now: Moment) {
        match input {
            DownloadInput::Around(around) => self.handle_around(&around, now),
            DownloadInput::Hinted(holders) => self.introduce(&holders, HINTED, now),
            DownloadInput::Answered { id, answer } => self.handle_answer(id, answer, now),
            DownloadInput::Looked { cid, local } => self.handle_looked(&cid, local, now),
            DownloadInput::Stored => self.handle_stored(now),
            DownloadInput::Providers(providers) => self.handle_providers(&providers, now),
            DownloadInput::Listed { missing } => self.handle_listed(missing),
            DownloadInput::Proved(proved) => self.handle_proved(proved),
        }
        self.pump();
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.fetch.handle_timeout(now);
        self.pump();
    }

    fn poll(&mut self) -> Option<DownloadOutput> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        self.fetch.poll_timeout()
    }
}

/// Providers tried by one download: some searches' worth, so that whoever fills
/// Kademlia with dead peers cannot keep a fetch alive for ever.
const PROVIDERS_TRIED_MAX: usize = 64;

/// What wrong blocks weigh: half of what bans, since a disk may go bad once.
const WRONG_BLOCKS_WEIGHT: u32 = crate::offences::OFFENCE_LIMIT / 2;

#[cfg(test)]
mod tests;
