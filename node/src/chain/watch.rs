//! Tasks that follow the chain: the head, the registry and subscriptions.
//!
//! Each drives a [`Follower`]; what to fetch and what it means is decided there.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use protocol::chain::follower::{Event, HEADERS_MAX, Request};
use protocol::chain::{
    BlockHeader, ChainBlock, ChainEvent, Contracts, Cursor, Follower, FollowerConfig, Log,
    RegistryHistory, entries_from_logs, registry_event_from_log,
};
use protocol::id::Address;
use protocol::registry::{BlockRef, Registry, RegistryEvent};
use protocol::time::UnixSeconds;
use rpc::{Client, Clock, RpcError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::ChainStatus;
use super::kept::RegistryFile;
use crate::tasks::Floor;

/// What every task that follows the chain needs.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) contracts: Contracts,
    pub(super) confirmations: u64,
    pub(super) clock: Clock,
    pub(super) heads: watch::Receiver<Option<BlockHeader>>,
    pub(super) stop: CancellationToken,
}

/// Asks for the newest block again and again.
#[derive(Debug)]
pub(super) struct HeadPoller {
    pub(super) client: Client,
    pub(super) interval: Duration,
    pub(super) heads: watch::Sender<Option<BlockHeader>>,
    pub(super) status: Arc<watch::Sender<ChainStatus>>,
    pub(super) floor: Floor,
}

/// Keeps the registry.
#[derive(Debug)]
pub(super) struct RegistryActor {
    pub(super) source: Source,
    pub(super) registry: watch::Sender<Arc<Registry>>,
    pub(super) snapshot: watch::Sender<Arc<Registry>>,
    pub(super) kept: RegistryFile,
    pub(super) status: Arc<watch::Sender<ChainStatus>>,
}

/// Feeds one subscriber.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) source: Source,
    pub(super) events: mpsc::Sender<ChainEvent>,
}

/// A follower with what it needs to make its requests.
struct Driver {
    source: Source,
    follower: Follower,
    addresses: Vec<Address>,
}

impl HeadPoller {
    pub(super) async fn run(self) {
        let stop = self.floor.stop().clone();
        stop.run_until_cancelled(self.poll_for_ever()).await;
    }

    async fn poll_for_ever(self) {
        let mut ticks = tokio::time::interval(self.interval.max(POLL_INTERVAL_MIN));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // A probe may wait long for an answer, and the head is waited for.
        let probing = probe(self.client.clone(), self.floor.stop().clone());
        self.floor.spawn(probing);
        loop {
            ticks.tick().await;
            self.handle_answer(self.client.latest().await);
        }
    }

    fn handle_answer(&self, answer: Result<BlockHeader, RpcError>) {
        match answer {
            Ok(head) => {
                let stalled_since = self.client.stalled_since();
                self.status.send_if_modified(|status| {
                    let error = stalled_since.map(|since| stall_text(since, &head));
                    let connected = stalled_since.is_none();
                    let is_news = status.connected != connected
                        || status.error != error
                        || status.head != Some(head.block());
                    if status.connected != connected || status.error != error {
                        match &error {
                            None => info!(block = head.number, "chain endpoint answers"),
                            Some(error) => warn!(error, "no block comes"),
                        }
                    }
                    status.connected = connected;
                    status.stalled_since = stalled_since;
                    status.error = error;
                    status.head = Some(head.block());
                    is_news
                });
                self.heads.send_if_modified(|known| {
                    let is_news = *known != Some(head);
                    *known = Some(head);
                    is_news
                });
            }
            Err(error) => {
                self.status.send_if_modified(|status| {
                    let error = Some(error.to_string());
                    let is_news = status.connected || status.error != error;
                    if is_news {
                        warn!(error = error.as_deref(), "chain endpoint is away");
                    }
                    status.connected = false;
                    status.stalled_since = None;
                    status.error = error;
                    is_news
                });
            }
        }
    }
}

/// Asks endpoints that are not in use how they are doing.
async fn probe(client: Client, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(PROBE_TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if stop.run_until_cancelled(client.probe()).await.is_none() {
            return;
        }
    }
}

fn stall_text(since: UnixSeconds, head: &BlockHeader) -> String {
    let since = UNIX_EPOCH + Duration::from_secs(since.0);
    format!(
        "the chain has stalled since {}: its newest block is {}",
        humantime::format_rfc3339_seconds(since),
        head.number
    )
}

impl RegistryActor {
    pub(super) async fn run(self) {
        let stop = self.source.stop.clone();
        stop.run_until_cancelled(self.follow_for_ever()).await;
    }

    async fn follow_for_ever(mut self) {
        let contracts = self.source.contracts;
        let addresses = vec![
            contracts.staking,
            contracts.service_provider_factory,
            contracts.peer_registry,
        ];
        loop {
            let mut history = RegistryHistory::new(contracts.snapshot_blocks);
            let mut driver = Driver::new(
                self.source.clone(),
                contracts.start(),
                addresses.clone(),
                false,
            );
            loop {
                match driver.next_event().await {
                    Event::Block { header, logs } => {
                        let events = registry_events(&contracts, &logs);
                        history.handle_block(header.block(), events);
                    }
                    Event::Rollback { to } => history.handle_rollback(to),
                    Event::Final { block } => {
                        history.handle_final(block);
                    }
                    Event::TooDeep(error) => {
                        // The registry lives in memory: reading it afresh is
                        // the re-index that the error asks for.
                        warn!(%error, "reading the registry afresh");
                        break;
                    }
                }
                if driver.follower.is_drained() {
                    self.publish(&history, driver.follower.final_block()).await;
                }
            }
        }
    }

    async fn publish(&mut self, history: &RegistryHistory, final_block: Option<BlockRef>) {
        let followed = history.latest().block();
        // While history is read again, what was known before is newer.
        let is_reached = followed.number >= self.registry.borrow().block().number;
        let is_newest = self
            .source
            .heads
            .borrow()
            .is_some_and(|head| head.number <= followed.number);
        if is_reached || is_newest {
            publish(&self.registry, history.latest());
        }
        let snapshot = history.snapshot();
        if snapshot.block().number >= self.snapshot.borrow().block().number || is_newest {
            publish(&self.snapshot, snapshot);
        }
        self.status.send_modify(|status| {
            status.followed = Some(followed);
            status.final_block = final_block;
        });
        if is_newest {
            let registry = self.registry.borrow().clone();
            let snapshot = self.snapshot.borrow().clone();
            self.kept.keep(&registry, &snapshot).await;
        }
    }
}

impl Subscription {
    pub(super) async fn run(self, from: Cursor) {
        let stop = self.source.stop.clone();
        let events = self.events.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = events.closed() => {}
            () = self.feed(from) => {}
        }
    }

    async fn feed(self, from: Cursor) {
        let contracts = self.source.contracts;
        let watched = contracts.watched().to_vec();
        let mut driver = Driver::new(self.source.clone(), from, watched, true);
        loop {
            let event = match driver.next_event().await {
                Event::Block { header, logs } => block_event(&contracts, header, &logs),
                Event::Rollback { to } => ChainEvent::Rollback { to },
                Event::Final { block } => ChainEvent::Final { block },
                Event::TooDeep(error) => ChainEvent::TooDeep(error),
            };
            let is_last = matches!(event, ChainEvent::TooDeep(_));
            if self.events.send(event).await.is_err() || is_last {
                return;
            }
        }
    }
}

impl Driver {
    /// With `epochs`, the first block of each is among the events.
    fn new(source: Source, start: Cursor, addresses: Vec<Address>, epochs: bool) -> Self {
        let follower = Follower::new(FollowerConfig {
            undo_blocks_max: super::REORG_BLOCKS_MAX,
            start,
            confirmations: source.confirmations,
            range_blocks_max: RANGE_BLOCKS_MAX,
            span_blocks_max: SPAN_BLOCKS_MAX,
            epochs,
        });
        Self {
            source,
            follower,
            addresses,
        }
    }

    /// Waits for what happens next on the chain.
    ///
    /// # Cancel safety
    ///
    /// None: a dropped future may leave a request without its answer.
    async fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.follower.poll_event() {
                return event;
            }
            let head = *self.source.heads.borrow_and_update();
            if let Some(head) = head {
                self.follower.handle_head(head.block());
            }
            if let Some(request) = self.follower.poll_request() {
                self.fetch(request).await;
            } else if !self.follower.is_drained() {
                continue;
            } else {
                self.wait().await;
            }
        }
    }

    async fn wait(&mut self) {
        let deadline = self.follower.poll_timeout();
        tokio::select! {
            biased;
            changed = self.source.heads.changed() => {
                if changed.is_err() {
                    // The poller has stopped, and so will this task.
                    std::future::pending::<()>().await;
                }
            }
            () = self.source.clock.sleep_until(deadline) => {
                self.follower.handle_timeout(self.source.clock.now());
            }
        }
    }

    async fn fetch(&mut self, request: Request) {
        let client = &self.source.client;
        let id = request.id();
        let error = match &request {
            Request::Blocks { from, to, .. } => match self.blocks(*from, *to).await {
                Ok((headers, logs)) => {
                    let now = self.source.clock.now();
                    return self.follower.handle_blocks(id, headers, logs, now);
                }
                Err(error) => error,
            },
            Request::Span { from, to, .. } => match self.span(*from, *to).await {
                Ok((headers, logs)) => {
                    let now = self.source.clock.now();
                    return self.follower.handle_span(id, headers, logs, now);
                }
                Err(error) => error,
            },
            Request::Headers { numbers, .. } => match client.blocks(numbers).await {
                Ok(headers) => {
                    let now = self.source.clock.now();
                    return self.follower.handle_headers(id, headers, now);
                }
                Err(error) => error,
            },
            Request::Header { number, .. } => match client.block(*number).await {
                Ok(header) => {
                    let now = self.source.clock.now();
                    return self.follower.handle_header(id, header, now);
                }
                Err(error) => error,
            },
        };
        let now = self.source.clock.now();
        debug!(?request, %error, "the chain could not be read");
        match error {
            RpcError::TooLarge { .. } => self.follower.handle_too_large(id, now),
            _ => self.follower.handle_failure(id, now),
        }
    }

    async fn blocks(&self, from: u64, to: u64) -> Result<(Vec<BlockHeader>, Vec<Log>), RpcError> {
        let client = &self.source.client;
        if from == to {
            let Some(header) = client.block(from).await? else {
                return Ok((Vec::new(), Vec::new()));
            };
            let logs = client.logs_by_hash(header.hash, &self.addresses).await?;
            return Ok((vec![header], logs));
        }
        let numbers: Vec<u64> = (from..=to).collect();
        client.blocks_with_logs(&numbers, &self.addresses).await
    }

    /// Logs of a long stretch and the headers of its ends and of blocks with
    /// logs.
    async fn span(&self, from: u64, to: u64) -> Result<(Vec<BlockHeader>, Vec<Log>), RpcError> {
        let client = &self.source.client;
        let ends = [from, to];
        let (ends, logs) = client.blocks_with_logs(&ends, &self.addresses).await?;
        let mut numbers: Vec<u64> = logs.iter().map(|log| log.block_number).collect();
        numbers.retain(|number| (from + 1..to).contains(number));
        numbers.dedup();
        let mut headers = Vec::with_capacity(numbers.len() + 2);
        let mut ends = ends.into_iter();
        headers.extend(ends.next());
        for part in numbers.chunks(HEADERS_MAX) {
            headers.extend(client.blocks(part).await?);
        }
        headers.extend(ends.next());
        Ok((headers, logs))
    }
}

fn block_event(contracts: &Contracts, header: BlockHeader, logs: &[Log]) -> ChainEvent {
    let (entries, skipped) = entries_from_logs(&contracts.action_domain(), &header, logs);
    for log in &skipped {
        warn!(tx = %log.tx_hash, index = log.log_index, error = %log.error, "log skipped");
    }
    ChainEvent::Block(Arc::new(ChainBlock {
        block: header.block(),
        parent: header.parent,
        time: header.time,
        entries,
        registry: registry_events(contracts, logs),
    }))
}

fn registry_events(contracts: &Contracts, logs: &[Log]) -> Vec<RegistryEvent> {
    let mut events = Vec::new();
    for log in logs {
        match registry_event_from_log(contracts, log) {
            Ok(event) => events.extend(event),
            Err(error) => {
                warn!(tx = %log.tx_hash, index = log.log_index, %error, "log skipped");
            }
        }
    }
    events
}

fn publish(sender: &watch::Sender<Arc<Registry>>, registry: &Registry) {
    sender.send_if_modified(|known| {
        let is_news = **known != *registry;
        if is_news {
            *known = Arc::new(registry.clone());
        }
        is_news
    });
}

/// Most blocks in one request for all of them; each costs one call in a batch.
const RANGE_BLOCKS_MAX: u64 = 128;

/// Most blocks in one request for logs: what large providers allow.
const SPAN_BLOCKS_MAX: u64 = 10_000;

/// How often it is looked which endpoints are due for a probe: often beside the half
/// minute between two probes.
const PROBE_TICK: Duration = Duration::from_secs(1);

/// Chosen: a chain that mines on demand is asked at once, and a machine is not kept
/// busy with asking.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(10);
