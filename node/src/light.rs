//! A light peer's index: from gossip alone, under heads that a majority of
//! operators signed, with what is missing fetched from discovery peers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gossip::message::EntriesAnswer;
use gossip::spread::{Event, HeldEntries, Spread};
use protocol::action::ActionDomain;
use protocol::entry::{Entry, sequences_of};
use protocol::id::{Address, Role};
use protocol::registry::Registry;
use storage::index::{Block, BlockEntry};
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::discovery::numbers::Numbers;
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
        head_number_min: 0,
        numbers: Numbers::new(context),
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
    let in_block = sequences_of(cursor.number..=cursor.number);
    let last = snapshot.entries(in_block, usize::MAX)?.pop();
    Ok(HeldEntries {
        peaks: cursor.peaks,
        block_number: cursor.number,
        sequence: last.map(|entry| entry.position.sequence()),
        head_number_min: 0,
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
    /// Heads below this number are of an abandoned fork.
    head_number_min: u64,
    numbers: Numbers,
}

struct Answer {
    peer: Option<Address>,
    answer: Option<EntriesAnswer>,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        stop.run_until_cancelled(self.run_for_ever()).await;
    }

    async fn run_for_ever(&mut self) {
        self.handle_registry();
        // The branches are polled in random order: none starves the others.
        loop {
            match self.drain().await {
                Ok(true) => {}
                Ok(false) => {
                    self.start_over().await;
                    continue;
                }
                Err(error) => {
                    self.recover(&error).await;
                    continue;
                }
            }
            let deadline = self.spread.poll_timeout();
            tokio::select! {
                Ok(()) = self.registry.changed() => self.handle_registry(),
                Some(answer) = self.answered.recv() => self.handle_answer(answer),
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
        self.spread
            .handle_registry(registry, self.context.clock.now());
    }

    fn handle_answer(&mut self, Answer { peer, answer }: Answer) {
        let now = self.context.clock.now();
        let (Some(peer), Some(answer)) = (peer, answer) else {
            self.failed.extend(peer);
            self.spread.handle_no_answer(now);
            return;
        };
        let count = answer.head.entry_count;
        match self.spread.handle_answer(peer, answer, now) {
            Ok(()) => self.context.index.set_goal(count),
            Err(error) => {
                tracing::debug!(%peer, %error, "entries of no use");
                self.failed.insert(peer);
            }
        }
    }

    /// False when the entries here are of an abandoned fork.
    async fn drain(&mut self) -> Result<bool, IndexTaskError> {
        self.numbers.batches_held(self.spread.held_count());
        while let Some((token, verdict)) = self.spread.poll_verdict() {
            self.verdicts.settle(token, verdict);
        }
        while let Some(event) = self.spread.poll_event() {
            match event {
                Event::Entries { entries, .. } => {
                    self.apply(entries).await?;
                    self.context.index.set_fault(None);
                }
                Event::Fetch {
                    from_count,
                    after,
                    peer,
                } => self.fetch(from_count, after, peer),
                Event::Counted(counted) => {
                    self.numbers.counted(counted.head.block_number);
                    self.context.index.set_goal(counted.head.entry_count);
                }
                Event::Contradiction {
                    signer,
                    block_number,
                } => {
                    tracing::warn!(%signer, block_number, "a discovery peer signed two heads of one number");
                }
                Event::Liar { peer } => {
                    tracing::warn!(%peer, "entries that are not on the chain");
                    self.context.net.report_offence(peer, OFFENCE).await;
                }
                Event::Diverged { head } => {
                    tracing::warn!(
                        block = head.block_number,
                        "a majority follows another fork than the index; it is made again"
                    );
                    self.head_number_min = head.block_number;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Says what is wrong, waits a little, and makes the index again if need be.
    async fn recover(&mut self, error: &IndexTaskError) {
        tracing::error!(%error, "indexing has stopped; it starts over");
        self.context.index.set_fault(Some(error.to_string()));
        tokio::time::sleep(RECOVERY_PAUSE).await;
        if error.asks_for_a_new_index() {
            self.start_over().await;
        } else {
            self.restart();
        }
    }

    /// Deletes the index and asks for everything again.
    async fn start_over(&mut self) {
        if let Err(error) = self.context.index.clear().await {
            tracing::error!(%error, "the index could not be cleared");
            self.context.index.set_fault(Some(error.to_string()));
            tokio::time::sleep(RECOVERY_PAUSE).await;
        }
        self.restart();
    }

    /// Goes on from what the index holds.
    fn restart(&mut self) {
        let held = held_entries(&self.context).unwrap_or_else(|error| {
            tracing::error!(%error, "the index cannot be read");
            HeldEntries::default()
        });
        let held = HeldEntries {
            head_number_min: self.head_number_min,
            ..held
        };
        let config = spread_config(&self.context, false);
        self.spread = Spread::new(config, held, self.context.clock.now());
        // Verdicts that are dropped say that the message is of no use; an answer
        // on its way was to the machine before.
        self.verdicts = Verdicts::default();
        (self.answers, self.answered) = mpsc::channel(1);
        self.failed.clear();
        self.handle_registry();
    }

    async fn apply(&self, entries: Vec<Entry>) -> Result<(), IndexTaskError> {
        if entries.is_empty() {
            return Ok(());
        }
        let domain = self.context.contracts.action_domain();
        // Recovering signers keeps a core busy.
        let cut = tokio::task::spawn_blocking(move || blocks_of(entries, &domain)).await;
        let blocks = cut.map_err(|_| IndexTaskError::Stopped)?;
        self.context.index.apply(blocks).await?;
        Ok(())
    }

    /// Asks one discovery peer: the one that began, or a connected one that did
    /// not fail.
    fn fetch(&mut self, from_count: u64, after: Option<u64>, peer: Option<Address>) {
        self.numbers.fetched();
        let peer = peer.or_else(|| self.choose());
        let net = self.context.net.clone();
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = match peer {
                Some(peer) => net
                    .request(peer, Protocol::Entries, request(from_count, after))
                    .await
                    .ok()
                    .and_then(|body| EntriesAnswer::from_bytes(&body).ok()),
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

fn blocks_of(entries: Vec<Entry>, domain: &ActionDomain) -> Vec<Block> {
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
            block.entries.push(BlockEntry::recover(entry, domain));
        }
    }
    blocks
}

/// Pause before indexing starts over after an error.
const RECOVERY_PAUSE: Duration = Duration::from_secs(2);

/// What a wrong answer weighs.
const OFFENCE: u32 = 10;
