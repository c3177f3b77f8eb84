//! A light peer's index: from gossip alone, under heads that a majority of
//! operators signed, with what is missing fetched from discovery peers.

use std::collections::BTreeSet;
use std::sync::Arc;

use gossip::message::{ENTRIES_ANSWER_BYTES_MAX, EntriesAnswer};
use gossip::spread::{Event, HeldEntries, Spread};
use protocol::codec;
use protocol::entry::Entry;
use protocol::id::{Address, Role};
use protocol::registry::Registry;
use storage::index::{Block, BlockEntry};
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::discovery::verdicts::Verdicts;
use crate::discovery::{request, spread_config};
use crate::index::IndexTaskError;
use crate::net::{Gossip, NetError, Protocol, Topic};

/// Why a light peer's index did not start.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// Another driver took the topics.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexTaskError),
}

/// Starts to index from gossip.
///
/// # Errors
///
/// [`LightError`] when the topics are taken or the index cannot be read.
pub async fn spawn(context: &Context) -> Result<(), LightError> {
    let held = held_entries(context)?;
    let (answers, answered) = mpsc::channel(1);
    let actor = Actor {
        batches: context.net.subscribe(Topic::Entries).await?,
        heads: context.net.subscribe(Topic::Heads).await?,
        registry: context.chain.registry(),
        spread: Spread::new(spread_config(context, false), held, context.clock.now()),
        verdicts: Verdicts::default(),
        failed: BTreeSet::new(),
        answers,
        answered,
        context: context.clone(),
    };
    tokio::spawn(actor.run());
    Ok(())
}

fn held_entries(context: &Context) -> Result<HeldEntries, IndexTaskError> {
    let snapshot = context.index.snapshot()?;
    let Some(cursor) = snapshot.cursor()? else {
        return Ok(HeldEntries::default());
    };
    let in_block = (cursor.number << 20)..=((cursor.number + 1) << 20) - 1;
    let last = snapshot.entries(in_block, usize::MAX)?.pop();
    Ok(HeldEntries {
        peaks: cursor.peaks,
        block_number: cursor.number,
        sequence: last.map(|entry| entry.position.sequence()),
    })
}

struct Actor {
    context: Context,
    batches: mpsc::Receiver<Gossip>,
    heads: mpsc::Receiver<Gossip>,
    registry: watch::Receiver<Arc<Registry>>,
    spread: Spread,
    verdicts: Verdicts,
    /// Discovery peers that did not answer, or answered wrongly, since all were tried.
    failed: BTreeSet<Address>,
    answers: mpsc::Sender<Answer>,
    answered: mpsc::Receiver<Answer>,
}

struct Answer {
    peer: Option<Address>,
    answer: Option<EntriesAnswer>,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        self.handle_registry();
        loop {
            if let Err(error) = self.drain().await {
                tracing::error!(%error, "indexing has stopped");
                return;
            }
            let deadline = self.spread.poll_timeout();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.registry.changed() => self.handle_registry(),
                Some(answer) = self.answered.recv() => self.handle_answer(answer).await,
                Some(message) = self.heads.recv() => {
                    let token = self.verdicts.hold(message.verdict);
                    self.spread.handle_head(&message.data, token, self.context.clock.now());
                }
                Some(message) = self.batches.recv() => {
                    let token = self.verdicts.hold(message.verdict);
                    self.spread.handle_batch(&message.data, token, self.context.clock.now());
                }
                () = self.context.clock.sleep_until(deadline) => {
                    self.spread.handle_timeout(self.context.clock.now());
                }
            }
        }
    }

    fn handle_registry(&mut self) {
        let registry = self.registry.borrow_and_update().clone();
        self.spread.handle_registry(registry);
    }

    async fn handle_answer(&mut self, Answer { peer, answer }: Answer) {
        let now = self.context.clock.now();
        let Some(answer) = answer else {
            self.failed.extend(peer);
            self.spread.handle_no_answer(now);
            return;
        };
        if let Err(error) = self.spread.handle_answer(answer, now)
            && let Some(peer) = peer
        {
            tracing::warn!(%peer, %error, "wrong entries");
            self.failed.insert(peer);
            self.context.net.report_offence(peer, OFFENCE).await;
        }
    }

    async fn drain(&mut self) -> Result<(), IndexTaskError> {
        while let Some((token, verdict)) = self.spread.poll_verdict() {
            self.verdicts.settle(token, verdict);
        }
        while let Some(event) = self.spread.poll_event() {
            match event {
                Event::Entries { entries, .. } => self.apply(entries).await?,
                Event::Fetch { from_count, after } => self.fetch(from_count, after),
                Event::Counted(counted) => {
                    tracing::debug!(block = counted.head.block_number, "a head counts");
                }
                Event::Contradiction {
                    signer,
                    block_number,
                } => {
                    tracing::warn!(%signer, block_number, "a discovery peer signed two heads of one number");
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, entries: Vec<Entry>) -> Result<(), IndexTaskError> {
        let domain = self.context.contracts.action_domain();
        let mut blocks: Vec<Block> = Vec::new();
        for entry in entries {
            let position = entry.position;
            if blocks
                .last()
                .is_none_or(|block| block.hash != position.block_hash)
            {
                blocks.push(Block {
                    number: position.block_number,
                    hash: position.block_hash,
                    parent: None,
                    time: position.block_time,
                    entries: Vec::new(),
                });
            }
            if let Some(block) = blocks.last_mut() {
                block.entries.push(BlockEntry::recover(entry, &domain));
            }
        }
        if !blocks.is_empty() {
            self.context.index.apply(blocks).await?;
        }
        Ok(())
    }

    /// Asks one discovery peer; a connected one that did not fail comes first.
    fn fetch(&mut self, from_count: u64, after: Option<u64>) {
        let peer = self.choose();
        let net = self.context.net.clone();
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = match peer {
                Some(peer) => net
                    .request(peer, Protocol::Entries, request(from_count, after))
                    .await
                    .ok()
                    .and_then(|body| {
                        codec::from_bytes("entries", &body, ENTRIES_ANSWER_BYTES_MAX).ok()
                    }),
                None => None,
            };
            // The actor has gone away only when the peer stops.
            let _ = answers.send(Answer { peer, answer }).await;
        });
    }

    fn choose(&mut self) -> Option<Address> {
        let registry = self.registry.borrow();
        let connected = self.context.net.connected();
        let connected = connected.borrow();
        let all: Vec<Address> = registry
            .confirmed(Role::Discovery)
            .map(|service| service.wallet)
            .collect();
        if all.iter().all(|peer| self.failed.contains(peer)) {
            self.failed.clear();
        }
        all.into_iter()
            .filter(|peer| !self.failed.contains(peer))
            .max_by_key(|peer| (connected.contains(peer), rand::random::<u32>()))
    }
}

/// What a wrong answer weighs.
const OFFENCE: u32 = 10;
