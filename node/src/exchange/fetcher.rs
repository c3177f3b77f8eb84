//! The driver of one [`Fetch`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use protocol::exchange::{
    Event, Fetch, FetchConfig, Local, LocalQuery, Progress, RequestId, Response, Transmit,
};
use protocol::id::{Address, Hash32};
use protocol::unixfs;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::holders::{self, HINTED, LAST_RESORT, PROVIDER};
use super::{Counters, FetchError, FetchOptions, Fetched, Fetching, Shared, Target};
use crate::context::Context;
use crate::net::{Protocol, Refusal, RequestError};
use crate::store::StoreError;

/// Starts a fetch, after the end of the fetch `before`; it ends by itself when
/// nobody waits for it any more.
pub(super) fn spawn(
    context: Context,
    counters: Counters,
    config: FetchConfig,
    target: Target,
    options: FetchOptions,
    before: Option<Fetching>,
) -> (Shared, Fetching) {
    let (holders, hints) = mpsc::channel(HOLDER_HINTS_MAX);
    let shared = Shared {
        owner: options.owner,
        with_proof: options.with_proof,
        progress: Arc::new(watch::Sender::new(Progress::default())),
        outcome: Arc::new(watch::Sender::new(None)),
        holders,
    };
    let fetching = shared.join();
    let fetch = Fetch::new(config, &target.to_machine(), context.clock.now());
    let fetcher = Fetcher {
        fetch,
        target,
        options,
        counters,
        batch: Vec::new(),
        seen: BTreeSet::new(),
        tasks: JoinSet::new(),
        is_storing: false,
        is_searching: false,
        progress: Arc::clone(&shared.progress),
        context,
    };
    let ending = Ending(Arc::clone(&shared.outcome));
    tokio::spawn(async move {
        let work = async {
            if let Some(before) = before {
                fetcher.follow(before).await;
            }
            fetcher.run(hints).await
        };
        tokio::select! {
            result = work => {
                ending.0.send_replace(Some(result));
            }
            () = ending.0.closed() => {}
        }
    });
    (shared, fetching)
}

/// Says that a fetch is over, however it ends: who joined at the last moment
/// waits for nothing.
struct Ending(Arc<watch::Sender<Option<Result<Fetched, FetchError>>>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_if_modified(|outcome| {
            let is_open = outcome.is_none();
            if is_open {
                *outcome = Some(Err(FetchError::Stopped));
            }
            is_open
        });
    }
}

struct Fetcher {
    context: Context,
    counters: Counters,
    fetch: Fetch,
    target: Target,
    options: FetchOptions,
    batch: Vec<(Cid, Bytes)>,
    /// Every block of the target that is here.
    seen: BTreeSet<Cid>,
    tasks: JoinSet<Outcome>,
    is_storing: bool,
    is_searching: bool,
    progress: Arc<watch::Sender<Progress>>,
}

/// What a task brings back.
enum Outcome {
    Answer {
        id: RequestId,
        result: Result<Bytes, RequestError>,
    },
    Local {
        cid: Cid,
        local: Local,
    },
    Stored {
        count: usize,
        result: Result<(), StoreError>,
    },
    Providers(Vec<Address>),
}

impl Target {
    pub(super) fn root(&self) -> Cid {
        match self {
            Self::Dag(root) | Self::Blocks { root, .. } => *root,
        }
    }

    fn to_machine(&self) -> protocol::exchange::Target {
        match self {
            Self::Dag(root) => protocol::exchange::Target::Dag(*root),
            Self::Blocks { cids, .. } => protocol::exchange::Target::Blocks(cids.clone()),
        }
    }
}

impl Fetcher {
    /// Waits for the fetch `before`; what it brought is found on disk then.
    async fn follow(&self, mut before: Fetching) {
        let mut seen = before.progress();
        loop {
            tokio::select! {
                _ = before.done() => return,
                Ok(()) = seen.changed() => {
                    let progress = *seen.borrow_and_update();
                    self.progress.send_replace(progress);
                }
            }
        }
    }

    async fn run(mut self, mut hints: mpsc::Receiver<Vec<Address>>) -> Result<Fetched, FetchError> {
        self.introduce();
        let stop = self.context.stop.clone();
        loop {
            if let Some((blocks, bytes)) = self.drain().await? {
                return self.finish(blocks, bytes).await;
            }
            let deadline = self.fetch.poll_timeout();
            let clock = self.context.clock;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(FetchError::Stopped),
                Some(outcome) = self.tasks.join_next() => match outcome {
                    Ok(outcome) => self.handle_outcome(outcome)?,
                    Err(error) => {
                        // What it would have said is waited for in vain.
                        tracing::error!(%error, "a task of a fetch failed");
                        return Err(FetchError::Stopped);
                    }
                },
                Some(holders) = hints.recv() => {
                    for holder in holders {
                        self.fetch.handle_holder(holder, HINTED, clock.now());
                    }
                }
                () = clock.sleep_until(deadline) => self.fetch.handle_timeout(clock.now()),
            }
        }
    }

    fn introduce(&mut self) {
        let now = self.context.clock.now();
        for holder in std::mem::take(&mut self.options.holders) {
            self.fetch.handle_holder(holder, HINTED, now);
        }
        for (holder, priority) in holders::candidates(&self.context, &self.target.root()) {
            if !self.options.last_resort.contains(&holder) {
                self.fetch.handle_holder(holder, priority, now);
            }
        }
        for holder in std::mem::take(&mut self.options.last_resort) {
            self.fetch.handle_holder(holder, LAST_RESORT, now);
        }
    }

    /// Carries the machine's outputs out; returns blocks and bytes at the end.
    async fn drain(&mut self) -> Result<Option<(u64, u64)>, FetchError> {
        loop {
            let mut is_idle = true;
            while let Some(query) = self.fetch.poll_local() {
                is_idle = false;
                self.ask_store(query);
            }
            while let Some(transmit) = self.fetch.poll_transmit() {
                self.ask_peer(transmit);
            }
            while let Some(block) = self.fetch.poll_block() {
                self.seen.insert(block.cid);
                self.batch.push((block.cid, block.data));
            }
            self.store_batch();
            self.progress.send_replace(self.fetch.progress());
            while let Some(event) = self.fetch.poll_event() {
                is_idle = false;
                if let Some(done) = self.handle_event(event).await? {
                    return Ok(Some(done));
                }
            }
            if is_idle {
                return Ok(None);
            }
        }
    }

    fn ask_store(&mut self, query: LocalQuery) {
        let store = self.context.store.clone();
        let cid = query.cid;
        if !query.needs_data {
            // An index look-up only, cheaper than a thread.
            let local = match store.reader().size(&cid) {
                Ok(Some(size)) => Local::Present(size),
                Ok(None) | Err(_) => Local::Absent,
            };
            self.note_local(cid, local);
            return;
        }
        self.tasks.spawn(async move {
            let local = match store.get_block(cid).await {
                Ok(Some(data)) => Local::Data(data),
                Ok(None) => Local::Absent,
                Err(error) => {
                    if error.corrupt_cid().is_some() {
                        tracing::warn!(%cid, "a damaged block is dropped and fetched again");
                        // It is fetched again whether or not it could be dropped.
                        let _ = store.drop_block(cid).await;
                    }
                    Local::Absent
                }
            };
            Outcome::Local { cid, local }
        });
    }

    fn note_local(&mut self, cid: Cid, local: Local) {
        if local != Local::Absent {
            self.seen.insert(cid);
        }
        self.fetch
            .handle_local(&cid, local, self.context.clock.now());
    }

    fn ask_peer(&mut self, transmit: Transmit) {
        let net = self.context.net.clone();
        self.tasks.spawn(async move {
            let body = transmit.request.encode();
            let result = net.request(transmit.to, Protocol::Blocks, body).await;
            Outcome::Answer {
                id: transmit.id,
                result,
            }
        });
    }

    /// One batch is stored at a time; what arrives meanwhile is the next.
    fn store_batch(&mut self) {
        if self.is_storing || self.batch.is_empty() {
            return;
        }
        self.is_storing = true;
        let blocks = std::mem::take(&mut self.batch);
        let count = blocks.len();
        let store = self.context.store.clone();
        let owner = self.options.owner;
        self.tasks.spawn(async move {
            let result = match owner {
                Some(owner) => store.put_blocks_for(owner, blocks).await,
                None => store.put_blocks(blocks).await,
            };
            Outcome::Stored { count, result }
        });
    }

    fn handle_outcome(&mut self, outcome: Outcome) -> Result<(), FetchError> {
        let now = self.context.clock.now();
        match outcome {
            Outcome::Answer { id, result } => match result {
                Ok(body) => match Response::decode(&body) {
                    Ok(response) => {
                        let bytes = response.payload_bytes() as u64;
                        self.counters.fetched_bytes.inc_by(bytes);
                        self.fetch.handle_response(id, response, now);
                    }
                    Err(error) => self.fetch.handle_garbage(id, error.to_string(), now),
                },
                Err(RequestError::Refused {
                    refusal: Refusal::Busy,
                    ..
                }) => self.fetch.handle_response(id, Response::default(), now),
                Err(_) => self.fetch.handle_failure(id, now),
            },
            Outcome::Local { cid, local } => self.note_local(cid, local),
            Outcome::Stored { count, result } => {
                self.is_storing = false;
                result?;
                self.fetch.handle_stored(count, now);
            }
            Outcome::Providers(providers) => {
                self.is_searching = false;
                for holder in providers {
                    self.fetch.handle_holder(holder, PROVIDER, now);
                }
            }
        }
        Ok(())
    }

    async fn handle_event(&mut self, event: Event) -> Result<Option<(u64, u64)>, FetchError> {
        match event {
            Event::Starved { .. } => self.search(),
            Event::Offence { holder, reason } => {
                tracing::warn!(%holder, reason, "wrong blocks");
                self.counters.offences.inc();
                self.context.net.report_offence(holder, OFFENCE).await;
            }
            Event::Done { blocks, bytes } => return Ok(Some((blocks, bytes))),
            Event::Failed { reason } => return Err(reason.into()),
        }
        Ok(None)
    }

    fn search(&mut self) {
        if self.is_searching {
            return;
        }
        self.is_searching = true;
        let net = self.context.net.clone();
        let root = self.target.root();
        self.tasks.spawn(async move {
            Outcome::Providers(net.find_providers(root).await.unwrap_or_default())
        });
    }

    /// Lists everything under its root and works the proof root out.
    async fn finish(self, blocks: u64, bytes: u64) -> Result<Fetched, FetchError> {
        if let Some(owner) = self.options.owner {
            let cids = self.seen.into_iter().collect();
            let listed = self.context.store.add_root(owner, cids).await?;
            if listed.missing > 0 && matches!(self.target, Target::Dag(_)) {
                // Evicted or dropped since it was found; the next try brings it.
                let cid = self.target.root();
                return Err(protocol::exchange::FailReason::NoHolder { cid }.into());
            }
        }
        let proof_root = match (&self.target, self.options.with_proof) {
            (Target::Dag(root), true) => Some(prove(&self.context, *root).await?),
            _ => None,
        };
        Ok(Fetched {
            blocks,
            bytes,
            proof_root,
        })
    }
}

/// The proof root of a DAG that is stored here.
async fn prove(context: &Context, root: Cid) -> Result<Hash32, FetchError> {
    let reader = context.store.reader();
    let proved =
        tokio::task::spawn_blocking(move || unixfs::proof_root(root, |cid| reader.block(cid)))
            .await;
    match proved {
        Ok(Ok(proof)) => Ok(proof.hash),
        Ok(Err(unixfs::ProofError::Source(error))) => {
            let error = StoreError::from(error);
            if let Some(cid) = error.corrupt_cid() {
                tracing::warn!(%cid, "a damaged block is dropped; the next try fetches it");
                context.store.drop_block(*cid).await?;
            }
            Err(error.into())
        }
        Ok(Err(unixfs::ProofError::Dag(error))) => {
            Err(protocol::exchange::FailReason::Dag(error).into())
        }
        Ok(Err(unixfs::ProofError::Missing { cid })) => {
            Err(protocol::exchange::FailReason::NoHolder { cid }.into())
        }
        Err(_) => Err(FetchError::Stopped),
    }
}

/// Hints of those who join that may wait.
const HOLDER_HINTS_MAX: usize = 16;

/// What wrong blocks weigh: two such answers are a ban.
const OFFENCE: u32 = 50;
