//! The driver of one [`Download`].

use cid::Cid;
use protocol::exchange::{
    Download, DownloadInput, DownloadOutput, FailReason, Fetched, Local, LocalQuery, Progress,
    RequestId, Unanswered,
};
use protocol::id::{Address, Hash32};
use protocol::machine::Machine;
use protocol::unixfs::{self, VerifiedBlock};
use storage::blocks::Owner;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::around::around;
use super::{Counters, FetchError};
use crate::context::Context;
use crate::net::{Protocol, Refusal, RequestError};

/// Carries one download; the task ends with it.
pub(super) struct Fetcher {
    context: Context,
    counters: Counters,
    download: Download,
    owner: Option<Owner>,
    tasks: JoinSet<Result<DownloadInput, FetchError>>,
    progress: watch::Sender<Progress>,
    /// Bytes from others that are counted already.
    counted_bytes: u64,
}

impl Fetcher {
    pub(super) fn new(
        context: Context,
        counters: Counters,
        download: Download,
        owner: Option<Owner>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self {
            context,
            counters,
            download,
            owner,
            tasks: JoinSet::new(),
            progress,
            counted_bytes: 0,
        }
    }

    /// Runs until the end, after that of the fetch whose progress `behind` is.
    pub(super) async fn run(
        mut self,
        behind: Option<watch::Receiver<Progress>>,
        mut hints: mpsc::Receiver<Vec<Address>>,
    ) -> Result<Fetched, FetchError> {
        if let Some(mut before) = behind {
            // The sender goes with its fetch.
            while before.changed().await.is_ok() {
                let progress = *before.borrow_and_update();
                self.progress.send_replace(progress);
            }
        }
        let clock = self.context.clock;
        let stop = self.context.floor.stop().clone();
        loop {
            while let Some(output) = self.download.poll() {
                if let Some(fetched) = self.carry_out(output).await? {
                    return Ok(fetched);
                }
            }
            self.show_progress();
            let deadline = self.download.deadline();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(FetchError::Stopped),
                Some(outcome) = self.tasks.join_next() => match outcome {
                    Ok(input) => self.download.handle(input?, clock.now()),
                    Err(error) => {
                        // What it would have said is waited for in vain.
                        tracing::error!(%error, "a task of a fetch failed");
                        return Err(FetchError::Stopped);
                    }
                },
                Some(holders) = hints.recv() => {
                    self.download.handle(DownloadInput::Hinted(holders), clock.now());
                }
                () = clock.sleep_until(deadline) => self.download.handle_timeout(clock.now()),
            }
        }
    }

    fn show_progress(&mut self) {
        let progress = self.download.progress();
        let bytes = progress.received_bytes - self.counted_bytes;
        self.counters.fetched_bytes.inc_by(bytes);
        self.counted_bytes = progress.received_bytes;
        self.progress.send_replace(progress);
    }

    /// Carries one wish out; returns what was fetched at the end.
    async fn carry_out(&mut self, output: DownloadOutput) -> Result<Option<Fetched>, FetchError> {
        match output {
            DownloadOutput::FindHolders => {
                let around = around(&self.context, &self.download.root());
                let now = self.context.clock.now();
                self.download.handle(DownloadInput::Around(around), now);
            }
            DownloadOutput::FindProviders => {
                let (net, root) = (self.context.net.clone(), self.download.root());
                self.tasks.spawn(async move {
                    let found = net.find_providers(root).await.unwrap_or_default();
                    Ok(DownloadInput::Providers(found))
                });
            }
            DownloadOutput::Look(query) => self.look(query),
            DownloadOutput::Ask { to, id, body } => self.ask(to, id, body),
            DownloadOutput::Store(blocks) => self.store(blocks),
            DownloadOutput::List(cids) => self.list(cids),
            DownloadOutput::Prove => {
                let (context, root) = (self.context.clone(), self.download.root());
                self.tasks.spawn(async move {
                    let proved = prove(&context, root).await?;
                    Ok(DownloadInput::Proved(proved))
                });
            }
            DownloadOutput::Offence {
                holder,
                weight,
                reason,
            } => {
                tracing::warn!(%holder, reason, "wrong blocks");
                self.counters.offences.inc();
                self.context.net.report_offence(holder, weight).await;
            }
            DownloadOutput::Ended(result) => {
                self.show_progress();
                return Ok(Some(result?));
            }
        }
        Ok(None)
    }

    fn look(&mut self, query: LocalQuery) {
        let store = self.context.store.clone();
        let cid = query.cid;
        if !query.needs_data {
            // An index look-up only, cheaper than a thread.
            let local = match store.reader().size(&cid) {
                Ok(Some(size)) => Local::Present(size),
                Ok(None) | Err(_) => Local::Absent,
            };
            let now = self.context.clock.now();
            self.download
                .handle(DownloadInput::Looked { cid, local }, now);
            return;
        }
        self.tasks.spawn(async move {
            let local = match store.get_block(cid).await {
                Ok(Some(data)) => Local::Data(data),
                Ok(None) => Local::Absent,
                Err(error) => {
                    tracing::warn!(%cid, %error, "a block that cannot be read is fetched");
                    Local::Absent
                }
            };
            Ok(DownloadInput::Looked { cid, local })
        });
    }

    fn ask(&mut self, to: Address, id: RequestId, body: Vec<u8>) {
        let net = self.context.net.clone();
        self.tasks.spawn(async move {
            let answer = match net.request(to, Protocol::Blocks, body).await {
                Ok(body) => Ok(body),
                Err(RequestError::Refused {
                    refusal: Refusal::Busy,
                    ..
                }) => Err(Unanswered::Busy),
                Err(_) => Err(Unanswered::Failed),
            };
            Ok(DownloadInput::Answered { id, answer })
        });
    }

    fn store(&mut self, blocks: Vec<VerifiedBlock>) {
        let (store, owner) = (self.context.store.clone(), self.owner);
        self.tasks.spawn(async move {
            match owner {
                Some(owner) => store.put_blocks_for(owner, blocks).await?,
                None => store.put_blocks(blocks).await?,
            }
            Ok(DownloadInput::Stored)
        });
    }

    fn list(&mut self, cids: Vec<Cid>) {
        let (store, owner) = (self.context.store.clone(), self.owner);
        self.tasks.spawn(async move {
            let missing = match owner {
                Some(owner) => store.add_root(owner, cids).await?.missing,
                None => 0,
            };
            Ok(DownloadInput::Listed { missing })
        });
    }
}

/// The proof root of a DAG that is stored here.
async fn prove(context: &Context, root: Cid) -> Result<Result<Hash32, FailReason>, FetchError> {
    let store = context.store.clone();
    let proved =
        tokio::task::spawn_blocking(move || unixfs::proof_root(root, |cid| store.read_block(cid)))
            .await;
    match proved {
        Ok(Ok(proof)) => Ok(Ok(proof.hash)),
        Ok(Err(unixfs::ProofError::Source(error))) => Err(error.into()),
        Ok(Err(unixfs::ProofError::Dag(error))) => Ok(Err(FailReason::Dag(error))),
        Ok(Err(unixfs::ProofError::Missing { cid })) => Ok(Err(FailReason::NoHolder { cid })),
        Err(_) => Err(FetchError::Stopped),
    }
}
