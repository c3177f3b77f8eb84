//! The content role: taking uploads, promising roots, keeping them on enough
//! peers.
//!
//! One actor owns the four machines of the role: [`Holder`] judges offers,
//! [`LeaseBook`] counts promises, [`PageView`] knows those of others, [`Repair`]
//! decides what to fetch and what to release. Whatever is signed is on disk
//! before anybody sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;
use protocol::id::{Address, Role};
use protocol::lease::{LeaseBook, PageView};
use protocol::origin::RequestId;
use protocol::placement::Placement;
use protocol::publish::Holder;
use protocol::registry::Registry;
use protocol::repair::{Progress, Repair};
use protocol::time::Moment;
use serde::Serialize;
use storage::index::IndexError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::context::Context;
use crate::exchange::{ExchangeHandle, FetchError, Fetched};
use crate::index::Height;
use crate::net::{Gossip, Inbound, NetError, Protocol, Responder, Topic};
use crate::store::StoreError;

mod damage;
mod deletions;
mod leases;
mod presence;
mod repairing;
mod setup;
mod uploads;

/// Asks the content role; cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentHandle {
    commands: mpsc::Sender<Command>,
}

/// What a content peer knows of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootReport {
    /// The root.
    pub cid: String,
    /// The sum of the lengths of its blocks, once known.
    pub size: Option<u64>,
    /// The peers that should hold it.
    pub placed: Vec<Address>,
    /// The peers whose binding promise is known.
    pub holders: Vec<Address>,
    /// Distinct operators among the live holders.
    pub replicas: usize,
    /// Replicas that are aimed at.
    pub target: usize,
}

/// Why the content role did not start.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// A protocol or topic is taken.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What was promised cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

enum Command {
    Report {
        root: Cid,
        reply: oneshot::Sender<RootReport>,
    },
    Roots {
        reply: oneshot::Sender<Vec<RootReport>>,
    },
    Progress {
        reply: oneshot::Sender<Progress>,
    },
}

/// Starts the content role.
///
/// # Errors
///
/// [`ContentError`] when a protocol is taken or the store cannot be read.
pub async fn spawn(
    context: &Context,
    exchange: &ExchangeHandle,
) -> Result<ContentHandle, ContentError> {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let actor = setup::open(context, exchange, inbox).await?;
    tokio::spawn(actor.run());
    Ok(ContentHandle { commands })
}

impl ContentHandle {
    /// What is known of a root; `None` when the peer stops.
    pub async fn report(&self, root: Cid) -> Option<RootReport> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Report { root, reply })
            .await
            .ok()?;
        answer.await.ok()
    }

    /// The roots that this peer promised, at most [`REPORTS_MAX`].
    pub async fn roots(&self) -> Vec<RootReport> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Roots { reply }).await.is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// How far repair is; `None` when the peer stops.
    pub async fn repair_progress(&self) -> Option<Progress> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Progress { reply }).await.ok()?;
        answer.await.ok()
    }
}

struct Actor {
    context: Context,
    exchange: ExchangeHandle,
    inbox: mpsc::Receiver<Command>,
    offers: mpsc::Receiver<Inbound>,
    lease_requests: mpsc::Receiver<Inbound>,
    presences: mpsc::Receiver<Gossip>,
    pages: mpsc::Receiver<Gossip>,
    snapshot: watch::Receiver<Arc<Registry>>,
    connected: watch::Receiver<BTreeSet<Address>>,
    height: watch::Receiver<Height>,
    /// Blocks that were found damaged and are dropped.
    damaged: broadcast::Receiver<Cid>,
    placement: Arc<Placement>,
    holder: Holder,
    book: LeaseBook,
    view: PageView,
    repair: Repair,
    responders: BTreeMap<RequestId, Responder>,
    next_request: u64,
    /// Pulls of uploads under way, to be broken off by root.
    pulls: BTreeMap<Cid, tokio::task::AbortHandle>,
    /// Repairs under way: each is answered, so none is broken off.
    repairing: BTreeSet<Cid>,
    /// Until when offers hear that the disk is full.
    full_until: Option<Moment>,
    tasks: JoinSet<Outcome>,
    /// Bytes of pulls that are here.
    progress: mpsc::Sender<(Cid, u64)>,
    progressed: mpsc::Receiver<(Cid, u64)>,
    /// Peers whose lists of leases are being read.
    listing: BTreeMap<Address, Vec<protocol::records::SignedLease>>,
    /// Serial of the newest page of each confirmed peer that was heard of.
    pages_heard: BTreeMap<Address, u64>,
    /// Serial of the newest page of each peer whose leases were read.
    listed: BTreeMap<Address, u64>,
}

/// What a task brings back.
enum Outcome {
    /// A pull or a repair ended.
    Fetched {
        root: Cid,
        purpose: Purpose,
        result: Result<Fetched, FetchError>,
    },
    /// A peer's list of leases, or a part of it.
    Listed {
        peer: Address,
        response: Option<protocol::lease::wire::Response>,
    },
    /// Whether a peer showed blocks of a root.
    Checked {
        peer: Address,
        root: Cid,
        is_held: bool,
    },
    /// Which promised roots list a damaged block.
    Damaged { roots: Vec<Cid> },
    /// What the index says of the promised roots.
    Deletions {
        changed: Vec<(Cid, deletions::Sighting)>,
        over: Vec<Cid>,
    },
    /// A notice was sent; nothing depends on it.
    Told,
}

/// What a fetch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Upload,
    Repair,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        let mut presence = tokio::time::interval(self.context.config.content.presence_interval);
        let mut relist = tokio::time::interval(RELIST_INTERVAL);
        self.handle_snapshot();
        loop {
            self.drain().await;
            let deadline = [self.uploads_end(), self.repair.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            let clock = self.context.clock;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(command) = self.inbox.recv() => self.handle_command(command),
                Some(Ok(outcome)) = self.tasks.join_next() => self.handle_outcome(outcome).await,
                Some((root, bytes)) = self.progressed.recv() => {
                    self.holder.handle_progress(&root, bytes);
                }
                Some(request) = self.offers.recv() => self.handle_offer(request).await,
                Some(request) = self.lease_requests.recv() => self.handle_lease_request(request).await,
                Some(message) = self.presences.recv() => self.handle_presence(message),
                Some(message) = self.pages.recv() => self.handle_page(message),
                damaged = self.damaged.recv() => self.handle_damaged(damaged.ok()),
                Ok(()) = self.snapshot.changed() => self.handle_snapshot(),
                Ok(()) = self.height.changed() => self.handle_height().await,
                _ = presence.tick() => self.tell_presence().await,
                Ok(()) = self.connected.changed() => {
                    self.connected.mark_unchanged();
                    self.list_unlisted();
                }
                _ = relist.tick() => self.relist_one(),
                () = clock.sleep_until(deadline) => {
                    self.end_uploads().await;
                    self.repair.handle_timeout(clock.now());
                }
            }
        }
    }

    fn handle_snapshot(&mut self) {
        let registry = self.snapshot.borrow_and_update().clone();
        self.placement = Arc::new(Placement::new(&registry));
        self.pages_heard
            .retain(|peer, _| registry.has_role(peer, Role::Content));
        let now = self.context.clock.now();
        self.repair
            .handle_placement(Arc::clone(&self.placement) as _, now);
        self.list_unlisted();
    }

    fn handle_command(&mut self, command: Command) {
        // Who asked may have gone away.
        match command {
            Command::Report { root, reply } => {
                let _ = reply.send(self.report(root));
            }
            Command::Roots { reply } => {
                let roots: Vec<Cid> = self
                    .book
                    .leases()
                    .take(REPORTS_MAX)
                    .map(|lease| lease.record.root)
                    .collect();
                let reports = roots.into_iter().map(|root| self.report(root)).collect();
                let _ = reply.send(reports);
            }
            Command::Progress { reply } => {
                let _ = reply.send(self.repair.progress());
            }
        }
    }

    fn report(&self, root: Cid) -> RootReport {
        let none = BTreeSet::new();
        let target = protocol::placement::REPLICAS_TARGET;
        let is_own = self.book.lease(&root).is_some();
        let others = self
            .placement
            .peers(Role::Content)
            .filter(|peer| *peer != self.context.peer)
            .filter(|peer| self.view.leases(peer).any(|lease| lease.root == root));
        RootReport {
            cid: root.to_string(),
            size: self.book.lease(&root).map(|lease| lease.record.size),
            placed: self.placement.place(&root, target, &none),
            holders: is_own
                .then_some(self.context.peer)
                .into_iter()
                .chain(others)
                .collect(),
            replicas: self.repair.replicas(&root),
            target: self.placement.effective_target(target, &none),
        }
    }

    async fn handle_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Fetched {
                root,
                purpose,
                result,
            } => match purpose {
                Purpose::Upload => {
                    self.pulls.remove(&root);
                    self.handle_pulled(root, result).await;
                }
                Purpose::Repair => {
                    self.repairing.remove(&root);
                    self.handle_repaired(root, result).await;
                }
            },
            Outcome::Listed { peer, response } => self.handle_listed(peer, response).await,
            Outcome::Checked {
                peer,
                root,
                is_held,
            } => self.repair.handle_check(peer, &root, is_held),
            Outcome::Damaged { roots } => {
                // What was released in the meantime is owed to nobody.
                let is_promised = |root: &Cid| self.book.lease(root).is_some();
                for root in roots.into_iter().filter(is_promised) {
                    tracing::warn!(%root, "a promised root lost a block and fetches it again");
                    self.repair.handle_corrupt(&root);
                }
            }
            Outcome::Deletions { changed, over } => self.handle_deletions(changed, over).await,
            Outcome::Told => {}
        }
    }

    async fn drain(&mut self) {
        loop {
            let mut is_idle = true;
            while let Some(reply) = self.holder.poll_reply() {
                if let Some(responder) = self.responders.remove(&reply.id) {
                    responder.send(reply.response.to_bytes());
                }
            }
            while let Some(event) = self.holder.poll_event() {
                is_idle = false;
                self.handle_holder_event(event).await;
            }
            while let Some(event) = self.repair.poll_event() {
                is_idle = false;
                self.handle_repair_event(event).await;
            }
            if is_idle {
                return;
            }
        }
    }
}

/// The next name for a request.
fn next_id(counter: &mut u64) -> RequestId {
    *counter += 1;
    RequestId(*counter)
}

/// Commands waiting for the actor; senders wait when it is full.
const COMMANDS_MAX: usize = 16;

/// Roots in one answer of [`ContentHandle::roots`].
pub const REPORTS_MAX: usize = 10_000;

/// Pause between two peers whose leases are read again.
const RELIST_INTERVAL: Duration = Duration::from_secs(10);

/// The protocols and topics of the role.
const OFFERS: Protocol = Protocol::Publish;
const LEASES: Protocol = Protocol::Leases;
const PRESENCES: Topic = Topic::Presence;
const PAGES: Topic = Topic::Pages;

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
