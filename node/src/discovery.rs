//! Indexing from the chain, for every staked peer; and for those with the
//! discovery role: signing heads, publishing entry batches, answering
//! `/coliving/entries/1`.
//!
//! The actor replays the chain from the deployment at each start. What is
//! indexed already is passed over, and heads come out the same, so that nothing
//! derived has to be saved beside the index.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gossip::heads::{CountedHead, FinalBlock, HeadBuilder};
use gossip::message::EntriesRequest;
use gossip::spread::{self, Event, HeldEntries, Spread};
use protocol::codec;
use protocol::entry::Entry;
use protocol::head::SignedHead;
use protocol::id::{Hash32, Role};
use protocol::registry::{BlockRef, Registry, RegistryEvent};
use protocol::signing::Signed;
use protocol::time::UnixSeconds;
use storage::index::{Block, BlockEntry};
use storage::tables::META;
use tokio::sync::{mpsc, watch};

use crate::chain::ChainEvent;
use crate::context::Context;
use crate::index::IndexTaskError;
use crate::net::{Gossip, Inbound, NetError, Protocol, Topic};
use crate::store::StoreError;

mod entries;
pub(crate) mod verdicts;

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
    let actor = Actor {
        batches: context.net.subscribe(Topic::Entries).await?,
        heads: context.net.subscribe(Topic::Heads).await?,
        chain: context.chain.subscribe_entries(context.contracts.start()),
        registry_seen: context.chain.registry(),
        requests,
        is_discovery,
        spread: Spread::new(
            spread_config(context, true),
            HeldEntries::default(),
            context.clock.now(),
        ),
        verdicts: Verdicts::default(),
        builder: HeadBuilder::default(),
        registry: RegistryFold::default(),
        recent: VecDeque::new(),
        counted: stored_head(context),
        own_head: None,
        context: context.clone(),
    };
    tokio::spawn(actor.run());
    Ok(())
}

/// The limits of a [`Spread`] in production.
pub(crate) fn spread_config(context: &Context, follows_chain: bool) -> spread::Config {
    spread::Config {
        peer: context.peer,
        domain: context.contracts.domain(),
        follows_chain,
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
    requests: Option<mpsc::Receiver<Inbound>>,
    registry_seen: watch::Receiver<Arc<Registry>>,
    spread: Spread,
    verdicts: Verdicts,
    builder: HeadBuilder,
    registry: RegistryFold,
    /// Blocks that are not final.
    recent: VecDeque<RecentBlock>,
    counted: Option<CountedHead>,
    /// The newest head that this peer signed.
    own_head: Option<SignedHead>,
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

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        let mut retell = tokio::time::interval(RETELL_INTERVAL);
        self.handle_registry();
        loop {
            self.drain().await;
            let deadline = self.spread.poll_timeout();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(event) = self.chain.recv() => {
                    if let Err(error) = self.handle_chain_event(event).await {
                        tracing::error!(%error, "indexing has stopped");
                        return;
                    }
                }
                Ok(()) = self.registry_seen.changed() => self.handle_registry(),
                Some(message) = self.batches.recv() => self.handle_batch(message),
                Some(message) = self.heads.recv() => self.handle_head(message),
                Some(request) = next(&mut self.requests) => self.handle_request(request),
                _ = retell.tick() => self.handle_retell().await,
                () = self.context.clock.sleep_until(deadline) => {
                    self.spread.handle_timeout(self.context.clock.now());
                }
            }
        }
    }

    fn handle_registry(&mut self) {
        let registry = self.registry_seen.borrow_and_update().clone();
        self.spread.handle_registry(registry);
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

    fn handle_request(&self, request: Inbound) {
        let counted = self.counted.clone();
        let index = self.context.index.clone();
        tokio::task::spawn_blocking(move || entries::answer(&index, counted, request));
    }

    async fn handle_chain_event(&mut self, event: ChainEvent) -> Result<(), IndexTaskError> {
        match event {
            ChainEvent::Block {
                block,
                parent,
                time,
                entries,
                registry,
            } => {
                if !entries.is_empty() {
                    self.apply(block, parent, time, &entries).await?;
                }
                self.recent.push_back(RecentBlock {
                    block,
                    time,
                    entries,
                    registry,
                });
            }
            ChainEvent::Rollback { to } => {
                self.recent
                    .retain(|recent| recent.block.number <= to.number);
                self.spread.handle_rollback(to.number);
                self.roll_back_index(to.number).await?;
            }
            ChainEvent::Final { block } => self.handle_final(block).await,
            ChainEvent::TooDeep(error) => {
                tracing::error!(%error, "the chain forked below what is known of it");
            }
        }
        Ok(())
    }

    /// Applies a block's entries unless the index holds them.
    async fn apply(
        &mut self,
        block: BlockRef,
        parent: Hash32,
        time: UnixSeconds,
        entries: &[Entry],
    ) -> Result<(), IndexTaskError> {
        let known = {
            let snapshot = self.context.index.snapshot()?;
            let is_behind = snapshot
                .cursor()?
                .is_some_and(|cursor| cursor.number >= block.number);
            is_behind
                .then(|| snapshot.block(block.number))
                .transpose()?
        };
        match known.flatten() {
            Some(applied) if applied.hash == block.hash => return Ok(()),
            _ => self.roll_back_index(block.number.saturating_sub(1)).await?,
        }
        let domain = self.context.contracts.action_domain();
        let entries = entries
            .iter()
            .map(|entry| BlockEntry::recover(entry.clone(), &domain))
            .collect();
        let block = Block {
            number: block.number,
            hash: block.hash,
            parent: Some(parent),
            time,
            entries,
        };
        self.context.index.apply(vec![block]).await?;
        Ok(())
    }

    async fn roll_back_index(&self, to: u64) -> Result<(), IndexTaskError> {
        let cursor = self.context.index.height().borrow().block_number;
        if cursor > to {
            self.context.index.rollback(to).await?;
        }
        Ok(())
    }

    async fn handle_final(&mut self, block: BlockRef) {
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
        self.registry.apply(&recent.registry);
        let head = self.builder.handle_final_block(&FinalBlock {
            block: recent.block,
            time: recent.time,
            entries: recent.entries.iter().map(Entry::id).collect(),
            registry_changed: !recent.registry.is_empty(),
            registry_root: self.registry.root(),
        });
        self.spread.handle_final_block(
            recent.block.number,
            recent.block.hash,
            recent.time,
            recent.entries,
            now,
        );
        let Some(head) = head else {
            return;
        };
        let serves = self
            .registry_seen
            .borrow()
            .has_role(&self.context.peer, Role::Discovery);
        if self.is_discovery && serves {
            let signed = Signed::new(head, &self.context.contracts.domain(), &self.context.key);
            self.sign_head(signed, recent.time).await;
        }
    }

    /// Persists a head before anybody sees it; publishes it when it is fresh.
    async fn sign_head(&mut self, head: SignedHead, time: UnixSeconds) {
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
        let counted = self
            .counted
            .as_ref()
            .map(|counted| counted.head.block_number);
        let own = self.own_head.as_ref().map(|head| head.record.block_number);
        if own > counted {
            self.tell_own_head().await;
        }
    }

    async fn drain(&mut self) {
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
            Event::Counted(counted) => {
                let is_newer = self
                    .counted
                    .as_ref()
                    .is_none_or(|known| known.head.block_number < counted.head.block_number);
                if is_newer {
                    self.keep_counted(counted).await;
                }
            }
            Event::Contradiction {
                signer,
                block_number,
            } => {
                tracing::warn!(%signer, block_number, "a discovery peer signed two heads of one number");
            }
            Event::Entries { .. } | Event::Fetch { .. } => {
                unreachable!("a peer that follows the chain fetches no entries")
            }
        }
    }

    async fn keep_counted(&mut self, counted: CountedHead) {
        let bytes = codec::to_bytes(&counted);
        let kept: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.put(META, &COUNTED_HEAD.to_owned(), &bytes.into())?))
            .await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the counted head was not kept");
        }
        self.counted = Some(counted);
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

/// The next item of a channel that may be absent.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

/// Asks a discovery peer for the entries after those that are held.
pub(crate) fn request(from_count: u64, after: Option<u64>) -> Vec<u8> {
    codec::to_bytes(&EntriesRequest { from_count, after })
}

/// Heads of older blocks are history: they are told only when they lack a majority.
const FRESH_SECONDS_MAX: u64 = 300;

/// Pause between two announcements of a head that lacks a majority.
const RETELL_INTERVAL: Duration = Duration::from_secs(20);

/// Where the newest counted head is kept.
const COUNTED_HEAD: &str = "counted_head";
