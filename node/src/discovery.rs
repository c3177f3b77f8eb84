//! Indexing from the chain, for every staked peer; and for those with the
//! discovery role: signing heads, publishing entry batches, answering
//! `/coliving/entries/1`.
//!
//! The actor replays the chain from the deployment at each start. What is
//! indexed already is passed over, and heads come out the same, so that nothing
//! derived has to be saved beside the index. When a final block is undone, or
//! the index fails, it replays likewise: what was right stays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gossip::heads::{CountedHead, FinalBlock, HeadBuilder};
use gossip::message::EntriesRequest;
use gossip::spread::{self, Event, HeldEntries, Spread};
use protocol::codec;
use protocol::entry::Entry;
use protocol::id::{Hash32, Role};
use protocol::records::{Head, SignedHead};
use protocol::registry::{BlockRef, Registry, RegistryEvent};
use protocol::signing::{Record, Signed};
use protocol::time::UnixSeconds;
use storage::tables::META;
use tokio::sync::{mpsc, watch};

use crate::chain::ChainEvent;
use crate::context::Context;
use crate::index::IndexTaskError;
use crate::net::{Gossip, NetError, Protocol, Topic};
use crate::store::StoreError;

mod entries;
mod feed;
pub(crate) mod numbers;
pub(crate) mod verdicts;

use entries::Requests;
use feed::IndexFeed;
use numbers::Numbers;
use verdicts::Verdicts;

/// Starts to index from the chain.
///
/// # Errors
///
/// [`NetError`] when another driver took the topics or the protocol.
pub async fn spawn(context: &Context, roles: &[Role]) -> Result<(), NetError> {
    let is_discovery = roles.contains(&Role::Discovery);
    let requests = match is_discovery {
        true => Some(context.net.serve(Protocol::Entries).await?),
        false => None,
    };
    let (counted_in, counted) = watch::channel(stored_head(context));
    let actor = Actor {
        batches: context.net.subscribe(Topic::Entries).await?,
        heads: context.net.subscribe(Topic::Heads).await?,
        chain: context.chain.subscribe_entries(context.contracts.start()),
        registry_seen: context.chain.registry(),
        is_discovery,
        spread: new_spread(context),
        verdicts: Verdicts::default(),
        builder: HeadBuilder::default(),
        registry: RegistryFold::default(),
        recent: VecDeque::new(),
        computed: BTreeMap::new(),
        final_number: 0,
        candidates: BTreeMap::new(),
        skipped: None,
        counted: counted_in,
        own_head: None,
        feed: IndexFeed::new(context),
        numbers: Numbers::new(context),
        context: context.clone(),
    };
    if let Some(requests) = requests {
        let requests = Requests::new(context, requests, counted);
        tokio::spawn(requests.run());
    }
    tokio::spawn(actor.run());
    Ok(())
}

fn new_spread(context: &Context) -> Spread {
    Spread::new(
        spread_config(context, true),
        HeldEntries::default(),
        context.clock.now(),
    )
}

/// The limits of a [`Spread`] in production.
pub(crate) fn spread_config(context: &Context, follows_chain: bool) -> spread::Config {
    spread::Config {
        peer: context.peer,
        domain: context.contracts.domain(),
        follows_chain,
        final_is_firm: context.config.chain.confirmations > 0,
        rank_delay: Duration::from_millis(150),
        gap_patience: Duration::from_secs(2),
    }
}

struct Actor {
    context: Context,
    is_discovery: bool,
    chain: mpsc::Receiver<ChainEvent>,
    batches: mpsc::Receiver<Gossip>,
    heads: mpsc::Receiver<Gossip>,
    registry_seen: watch::Receiver<Arc<Registry>>,
    spread: Spread,
    verdicts: Verdicts,
    builder: HeadBuilder,
    registry: RegistryFold,
    /// Blocks that are not final.
    recent: VecDeque<RecentBlock>,
    /// Struct hashes of the heads that this peer computed last, by number.
    computed: BTreeMap<u64, Hash32>,
    final_number: u64,
    /// Counted heads of blocks that are not final here.
    candidates: BTreeMap<u64, CountedHead>,
    /// The newest head of a history that is being caught up with.
    skipped: Option<(Head, UnixSeconds)>,
    counted: watch::Sender<Option<CountedHead>>,
    /// The newest head that this peer signed.
    own_head: Option<SignedHead>,
    feed: IndexFeed,
    numbers: Numbers,
}

struct RecentBlock {
    block: BlockRef,
    time: UnixSeconds,
    entries: Vec<Entry>,
    registry: Vec<RegistryEvent>,
}

/// The registry as of the last final block, with its root worked out on demand.
#[derive(Default)]
struct RegistryFold {
    registry: Registry,
    root: Option<Hash32>,
}

/// Why the feed does not go on.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Index(#[from] IndexTaskError),
    #[error(transparent)]
    TooDeep(#[from] crate::chain::TooDeep),
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        stop.run_until_cancelled(self.run_for_ever()).await;
    }

    async fn run_for_ever(&mut self) {
        let mut retell = tokio::time::interval(RETELL_INTERVAL);
        let mut events = Vec::new();
        self.handle_registry();
        // The branches are polled in random order: a chain that is caught up
        // with must not starve gossip.
        loop {
            self.drain().await;
            let deadline = self.spread.poll_timeout();
            tokio::select! {
                count = self.chain.recv_many(&mut events, EVENTS_MAX) => {
                    let fed = match count {
                        // The feed ends after `TooDeep` only, or when the peer stops.
                        0 => std::future::pending().await,
                        _ => self.handle_chain_events(std::mem::take(&mut events)).await,
                    };
                    if let Err(error) = fed {
                        self.recover(&error).await;
                    }
                }
                Ok(()) = self.registry_seen.changed() => self.handle_registry(),
                Some(message) = self.batches.recv() => self.handle_batch(message),
                Some(message) = self.heads.recv() => self.handle_head(message),
                _ = retell.tick() => self.handle_retell().await,
                () = self.context.clock.sleep_until(deadline) => {
                    self.spread.handle_timeout(self.context.clock.now());
                }
            }
        }
    }

    fn handle_registry(&mut self) {
        let registry = self.registry_seen.borrow_and_update().clone();
        self.spread
            .handle_registry(registry, self.context.clock.now());
    }

    fn handle_batch(&mut self, message: Gossip) {
        let now = self.context.clock.now();
        let token = self.verdicts.hold(message.verdict);
        self.spread.handle_batch(&message.data, token, now);
    }

    fn handle_head(&mut self, message: Gossip) {
        let now = self.context.clock.now();
        let token = self.verdicts.hold(message.verdict);
        self.spread.handle_head(&message.data, token, now);
    }

    /// Indexes the blocks of many events in one transaction, then goes through
    /// the events.
    async fn handle_chain_events(&mut self, events: Vec<ChainEvent>) -> Result<(), FeedError> {
        let mut run = Vec::new();
        for event in events {
            match event {
                ChainEvent::Rollback { to } => {
                    self.handle_run(std::mem::take(&mut run)).await?;
                    if self.handle_rollback(to).await? {
                        // What follows comes again with the new subscription.
                        return Ok(());
                    }
                }
                ChainEvent::TooDeep(error) => {
                    self.handle_run(std::mem::take(&mut run)).await?;
                    return Err(error.into());
                }
                event => run.push(event),
            }
        }
        self.handle_run(run).await?;
        self.context.index.set_fault(None);
        Ok(())
    }

    /// Events without a rollback among them.
    async fn handle_run(&mut self, run: Vec<ChainEvent>) -> Result<(), FeedError> {
        self.feed.apply(&run).await?;
        for event in run {
            match event {
                ChainEvent::Block {
                    block,
                    time,
                    entries,
                    registry,
                    ..
                } => self.recent.push_back(RecentBlock {
                    block,
                    time,
                    entries,
                    registry,
                }),
                ChainEvent::Final { block } => self.handle_final(block).await,
                ChainEvent::Rollback { .. } | ChainEvent::TooDeep(_) => {}
            }
        }
        Ok(())
    }

    /// True when indexing starts over: a final block was undone.
    async fn handle_rollback(&mut self, to: BlockRef) -> Result<bool, FeedError> {
        self.feed.rollback(to.number).await?;
        self.recent
            .retain(|recent| recent.block.number <= to.number);
        self.spread.handle_rollback(to.number);
        if self.counted_number() > Some(to.number) {
            self.forget_counted().await;
        }
        let is_final_undone = to.number < self.final_number;
        if is_final_undone {
            tracing::warn!(
                to = to.number,
                from = self.final_number,
                "final blocks were undone; heads are computed again from the deployment"
            );
            self.start_over();
        }
        Ok(is_final_undone)
    }

    /// Replays the chain; what the index holds already is passed over.
    fn start_over(&mut self) {
        let context = &self.context;
        self.chain = context.chain.subscribe_entries(context.contracts.start());
        self.builder = HeadBuilder::default();
        self.registry = RegistryFold::default();
        self.recent.clear();
        self.computed.clear();
        self.final_number = 0;
        self.candidates.clear();
        self.skipped = None;
        self.own_head = None;
        self.spread = new_spread(context);
        // Verdicts that are dropped say that the message is of no use.
        self.verdicts = Verdicts::default();
        self.handle_registry();
    }

    /// Says what is wrong, waits a little, and makes the index again if need be.
    async fn recover(&mut self, error: &FeedError) {
        tracing::error!(%error, "indexing has stopped; it starts over");
        self.context.index.set_fault(Some(error.to_string()));
        tokio::time::sleep(RECOVERY_PAUSE).await;
        let is_lost = match error {
            FeedError::Index(error) => error.asks_for_a_new_index(),
            FeedError::TooDeep(_) => true,
        };
        if is_lost && let Err(error) = self.context.index.clear().await {
            tracing::error!(%error, "the index could not be cleared");
        }
        self.forget_counted().await;
        self.start_over();
    }

    async fn handle_final(&mut self, block: BlockRef) {
        self.context.index.set_settled(block.number);
        while let Some(recent) = self.recent.front() {
            if recent.block.number > block.number {
                return;
            }
            let Some(recent) = self.recent.pop_front() else {
                return;
            };
            self.handle_final_block(recent).await;
        }
    }

    async fn handle_final_block(&mut self, recent: RecentBlock) {
        let now = self.context.clock.now();
        let number = recent.block.number;
        self.registry.apply(&recent.registry);
        let head = self.builder.handle_final_block(&FinalBlock {
            block: recent.block,
            time: recent.time,
            entries: recent.entries.iter().map(Entry::id).collect(),
            registry_changed: !recent.registry.is_empty(),
            registry_root: self.registry.root(),
        });
        self.spread
            .handle_final_block(number, recent.block.hash, recent.time, recent.entries, now);
        self.final_number = number;
        self.compare(number, head.as_ref()).await;
        if let Some(head) = head {
            self.skipped = Some((head, recent.time));
        }
        if self.is_near_tip(number)
            && let Some((head, time)) = self.skipped.take()
        {
            self.sign_head(head, time).await;
        }
    }

    /// Heads of a long history are computed and left unsigned, except the last.
    fn is_near_tip(&self, number: u64) -> bool {
        let status = self.context.chain.status();
        let tip = status.borrow().head.map_or(0, |head| head.number);
        let margin = self.context.config.chain.confirmations + SIGNED_BEHIND_MAX;
        number.saturating_add(margin) >= tip
    }

    /// Compares what this peer computed with what a majority signed.
    async fn compare(&mut self, number: u64, head: Option<&Head>) {
        let hash = head.map(Head::struct_hash);
        if let Some(hash) = hash {
            self.computed.insert(number, hash);
            while self.computed.len() > COMPUTED_MAX {
                self.computed.pop_first();
            }
        }
        let stored = self.counted.borrow().clone();
        if let Some(stored) = stored
            && stored.head.block_number == number
            && hash != Some(stored.head.struct_hash())
        {
            self.forget_counted().await;
        }
        let later = self.candidates.split_off(&(number + 1));
        for (_, candidate) in std::mem::replace(&mut self.candidates, later) {
            self.handle_counted(candidate).await;
        }
    }

    /// Persists a head before anybody sees it; publishes it when it is fresh.
    async fn sign_head(&mut self, head: Head, time: UnixSeconds) {
        let serves = self
            .registry_seen
            .borrow()
            .has_role(&self.context.peer, Role::Discovery);
        if !self.is_discovery || !serves {
            return;
        }
        let head = Signed::new(head, &self.context.contracts.domain(), &self.context.key);
        let claimed = head.clone();
        let claim: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.claim_head(&claimed)?))
            .await;
        if let Err(error) = claim {
            tracing::debug!(%error, "head left unsigned");
            return;
        }
        let now = self.context.clock.now();
        self.spread.handle_own_head(&head, now);
        self.own_head = Some(head);
        if now.unix().0.saturating_sub(time.0) <= FRESH_SECONDS_MAX {
            self.tell_own_head().await;
        }
    }

    /// Publishes the newest head of this peer.
    async fn tell_own_head(&self) {
        let Some(head) = &self.own_head else {
            return;
        };
        let told = self
            .context
            .net
            .publish(Topic::Heads, codec::to_bytes(head))
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, "head not published; it is told again");
        }
    }

    /// Tells the newest head again while it has no majority: signatures that were
    /// made while nobody listened are not lost.
    async fn handle_retell(&self) {
        let own = self.own_head.as_ref().map(|head| head.record.block_number);
        if own > self.counted_number() {
            self.tell_own_head().await;
        }
    }

    async fn drain(&mut self) {
        self.numbers.batches_held(self.spread.held_count());
        while let Some((token, verdict)) = self.spread.poll_verdict() {
            self.verdicts.settle(token, verdict);
        }
        while let Some(transmit) = self.spread.poll_transmit() {
            if let Err(error) = self
                .context
                .net
                .publish(Topic::Entries, transmit.data)
                .await
            {
                tracing::debug!(%error, "entry batch not published");
            }
        }
        while let Some(event) = self.spread.poll_event() {
            self.handle_event(event).await;
        }
    }

    async fn handle_event(&mut self, event: Event) {
        match event {
            Event::Counted(counted) => self.handle_counted(counted).await,
            Event::Contradiction {
                signer,
                block_number,
            } => {
                tracing::warn!(%signer, block_number, "a discovery peer signed two heads of one number");
            }
            Event::Entries { .. }
            | Event::Fetch { .. }
            | Event::Diverged { .. }
            | Event::Liar { .. } => {
                unreachable!("a peer that follows the chain fetches no entries")
            }
        }
    }

    /// Takes a counted head that is what this peer computed: it has the entries.
    async fn handle_counted(&mut self, counted: CountedHead) {
        let number = counted.head.block_number;
        if number > self.final_number {
            self.candidates.insert(number, counted);
            while self.candidates.len() > CANDIDATES_MAX {
                self.candidates.pop_last();
            }
            return;
        }
        match self.computed.get(&number) {
            Some(hash) if *hash == counted.head.struct_hash() => {}
            Some(_) => {
                tracing::error!(
                    number,
                    "a majority signed another head than this peer computes; compare the chain's endpoint with others"
                );
                return;
            }
            None => return,
        }
        let known = self.counted.borrow().as_ref().map(|known| known.head);
        if known.is_some_and(|known| known.block_number > number) {
            return;
        }
        self.numbers.counted(number);
        self.counted.send_replace(Some(counted.clone()));
        if known == Some(counted.head) {
            // One more signature is not worth a write.
            return;
        }
        let bytes = codec::to_bytes(&counted);
        let kept: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.put(META, &COUNTED_HEAD.to_owned(), &bytes.into())?))
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the counted head was not kept");
        }
    }

    fn counted_number(&self) -> Option<u64> {
        let counted = self.counted.borrow();
        counted.as_ref().map(|counted| counted.head.block_number)
    }

    /// Serves no more what lies on an abandoned fork.
    async fn forget_counted(&mut self) {
        self.counted.send_replace(None);
        let removed: Result<bool, StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.remove(META, &COUNTED_HEAD.to_owned())?))
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "the counted head was not removed");
        }
    }
}

impl RegistryFold {
    fn apply(&mut self, events: &[RegistryEvent]) {
        for event in events {
            self.registry.apply(event);
            self.root = None;
        }
    }

    fn root(&mut self) -> Hash32 {
        *self.root.get_or_insert_with(|| self.registry.root())
    }
}

fn stored_head(context: &Context) -> Option<CountedHead> {
    let stored: Result<_, StoreError> = context
        .store
        .read(|tables| Ok(tables.get(META, &COUNTED_HEAD.to_owned())?));
    let bytes = stored.ok().flatten()?;
    codec::from_bytes("counted head", &bytes, bytes.len()).ok()
}

/// Asks a discovery peer for the entries after those that are held.
pub(crate) fn request(from_count: u64, after: Option<u64>) -> Vec<u8> {
    codec::to_bytes(&EntriesRequest { from_count, after })
}

/// Heads of older blocks are history: they are told only when they lack a majority.
const FRESH_SECONDS_MAX: u64 = 300;

/// Pause between two announcements of a head that lacks a majority.
const RETELL_INTERVAL: Duration = Duration::from_secs(20);

/// Events of the chain that are handled together.
const EVENTS_MAX: usize = 256;

/// Heads of blocks this far behind the chain's newest final one are signed.
const SIGNED_BEHIND_MAX: u64 = 64;

/// Own heads that counted ones are compared with.
const COMPUTED_MAX: usize = 4096;

/// Counted heads that wait for the own chain.
const CANDIDATES_MAX: usize = 64;

/// Pause before indexing starts over after an error.
const RECOVERY_PAUSE: Duration = Duration::from_secs(2);

/// Where the newest counted head is kept.
const COUNTED_HEAD: &str = "counted_head";
