//! The content role in this process: the hands of [`protocol::content::Content`].
//!
//! Facts come from the swarm, the index, the chain and the store; wishes go back
//! to them. What the role decides stands in the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cid::Cid;
use protocol::content::repair;
use protocol::content::{BookConfig, Config, Content, Height, HolderConfig, Input, Output, Status};
use protocol::id::Address;
use protocol::placement::RegistryAt;
use protocol::registry::Registry;
use storage::index::IndexError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::AbortHandle;

use crate::chain::ChainStatus;
use crate::context::Context;
use crate::exchange::ExchangeHandle;
use crate::index::{self, Changes};
use crate::net::{
    Audience, Gossip, Inbound, Messages, NetError, Protocol, Refusal, Responders, Topic, Verdicts,
};
use crate::shell::{self, Driver, Work};
use crate::store::StoreError;

mod blocks;
mod index_facts;
mod rows;

/// Watches the content role; cheap to clone.
#[derive(Debug, Clone)]
pub struct ContentHandle {
    status: watch::Receiver<Status>,
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

/// Starts the content role.
///
/// # Errors
///
/// [`ContentError`] when a protocol is taken or the store cannot be read.
pub async fn spawn(
    context: &Context,
    exchange: &ExchangeHandle,
) -> Result<ContentHandle, ContentError> {
    let mut hands = hands(context, exchange).await?;
    let seen = hands.status.subscribe();
    hands.height.mark_changed();
    hands.connected.mark_changed();
    let stored = rows::read(context)?;
    let registry = RegistryAt::new(hands.snapshot.borrow_and_update().clone());
    let machine = Content::new(
        config(context),
        stored,
        registry,
        rand::random(),
        context.clock.now(),
    );
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(ContentHandle { status: seen })
}

async fn hands(context: &Context, exchange: &ExchangeHandle) -> Result<Hands, NetError> {
    let (progress, progressed) = mpsc::channel(PROGRESS_MAX);
    Ok(Hands {
        context: context.clone(),
        exchange: exchange.clone(),
        offers: context.net.serve(Protocol::Publish).await?,
        lease_requests: context.net.serve(Protocol::Leases).await?,
        messages: context.net.subscribe_to(Audience::Holders).await?,
        snapshot: context.chain.snapshot(),
        connected: context.net.connected(),
        height: context.index.height(),
        settled: context.index.settled(),
        chain: context.chain.status(),
        changes: context.index.changes(),
        damaged: context.store.damaged(),
        responders: Responders::default(),
        verdicts: Verdicts::default(),
        pulls: BTreeMap::new(),
        progress,
        progressed,
        status: watch::channel(Status::default()).0,
    })
}

impl ContentHandle {
    /// How the role is, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

fn config(context: &Context) -> Config {
    let content = &context.config.content;
    let rate = content.repair_rate.as_u64();
    let limits = if content.unlimited_uploads {
        HolderConfig::for_devnet()
    } else {
        HolderConfig::default()
    };
    Config {
        peer: context.peer,
        domain: context.contracts.domain(),
        action_domain: context.contracts.action_domain(),
        holder: HolderConfig {
            pulls_max: PULLS_MAX,
            ..limits
        },
        book: BookConfig {
            lease_epochs: content.lease_epochs,
            renewal_epochs: content.lease_epochs / 4,
            ..BookConfig::default()
        },
        repair: repair::Config {
            lost_after: content.lost_after,
            bytes_per_second: rate,
            burst_bytes_max: rate.saturating_mul(16),
            fetches_max: REPAIRS_MAX,
            ..repair::Config::default()
        },
        presence_interval: content.presence_interval,
        confirmations: context.config.chain.confirmations,
        offer_grace: content.lost_after.min(OFFER_GRACE_MAX),
    }
}

/// Where facts come from, and what wishes mean here.
struct Hands {
    context: Context,
    exchange: ExchangeHandle,
    offers: mpsc::Receiver<Inbound>,
    lease_requests: mpsc::Receiver<Inbound>,
    messages: Messages,
    snapshot: watch::Receiver<Arc<Registry>>,
    connected: watch::Receiver<BTreeSet<Address>>,
    height: watch::Receiver<index::Height>,
    /// The last final block that the index has followed.
    settled: watch::Receiver<u64>,
    chain: watch::Receiver<ChainStatus>,
    changes: broadcast::Receiver<Arc<Changes>>,
    damaged: broadcast::Receiver<Cid>,
    responders: Responders,
    verdicts: Verdicts,
    /// Pulls of uploads under way, to be broken off by root.
    pulls: BTreeMap<Cid, AbortHandle>,
    /// Bytes of fetches that are here.
    progress: mpsc::Sender<(Cid, u64)>,
    progressed: mpsc::Receiver<(Cid, u64)>,
    status: watch::Sender<Status>,
}

impl Driver<Content> for Hands {
    async fn next(&mut self) -> Option<Input> {
        // What is told by a request or a message alone comes before what can be
        // looked at again.
        let input = tokio::select! {
            biased;
            Some((root, bytes)) = self.progressed.recv() => Input::Progress { root, bytes },
            Some(request) = self.offers.recv() => self.request(Protocol::Publish, request),
            Some(request) = self.lease_requests.recv() => self.request(Protocol::Leases, request),
            Some(message) = self.messages.recv() => self.gossip(message),
            damaged = self.damaged.recv() => match damaged {
                Ok(block) => Input::BlockLost(block),
                Err(broadcast::error::RecvError::Lagged(_)) => Input::BlocksLost,
                Err(broadcast::error::RecvError::Closed) => return None,
            },
            Ok(()) = self.snapshot.changed() => {
                let registry = self.snapshot.borrow_and_update().clone();
                Input::Registry(RegistryAt::new(registry))
            }
            // An index that was emptied is behind before anything is read of it.
            Ok(()) = self.height.changed() => self.height(),
            Ok(()) = self.settled.changed() => self.height(),
            Ok(()) = self.chain.changed() => self.height(),
            changes = self.changes.recv() => match changes {
                Ok(changes) if changes.is_complete => Input::Renamed(changes.roots.clone()),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => Input::RenamedUnknown,
                Err(broadcast::error::RecvError::Closed) => return None,
            },
            Ok(()) = self.connected.changed() => {
                Input::Connected(self.connected.borrow_and_update().clone())
            }
            else => return None,
        };
        Some(input)
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        match wish {
            Output::Respond { id, body } => self.responders.respond(id, body),
            Output::Refuse { id, is_busy } => {
                let refusal = match is_busy {
                    true => Refusal::Busy,
                    false => Refusal::Rejected,
                };
                self.responders.refuse(id, refusal);
            }
            Output::Judge { token, verdict } => self.verdicts.settle(token, verdict),
            Output::Publish { topic, body } => self.publish(topic, body, work),
            Output::Ask {
                id,
                to,
                protocol,
                body,
            } => {
                let net = self.context.net.clone();
                work.beside(async move {
                    let body = net.request(to, protocol, body).await.ok();
                    Some(Input::Answer { id, body })
                });
            }
            Output::Offence { peer, weight } => {
                let net = self.context.net.clone();
                work.beside(async move {
                    net.report_offence(peer, weight).await;
                    None
                });
            }
            Output::LookUp { id, action, signer } => self.look_up(id, action, signer, work),
            Output::ReadReferences { roots } => self.read_references(roots, work),
            Output::Scan { after } => self.scan(after, work),
            Output::Measure => {
                let context = self.context.clone();
                work.beside(async move { Some(Input::Measured(blocks::capacity(&context))) });
            }
            Output::Persist { id, rows } => {
                let store = self.context.store.clone();
                work.in_order(async move { Some(rows::write(store, id, rows).await) });
            }
            Output::Sign(draft) => {
                let domain = self.context.contracts.domain();
                work.fact(Input::Signed(draft.sign(&domain, &self.context.key)));
            }
            Output::Fetch {
                root,
                purpose,
                bytes_max,
                holders,
                last_resort,
            } => self.fetch(root, purpose, bytes_max, (holders, last_resort), work),
            Output::Cancel { root } => {
                if let Some(pull) = self.pulls.remove(&root) {
                    pull.abort();
                }
            }
            Output::Remove { root } => self.remove(root, work),
            Output::Keep { roots } => self.keep(roots, work),
            Output::Draw { id, root, points } => self.draw(id, root, points, work),
            Output::FindListing { block } => self.find_listing(block, work),
            Output::Inspect { roots } => self.inspect(roots, work),
            Output::Note(note) => blocks::log(&note),
        }
    }

    fn observe(&mut self, machine: &Content) {
        let status = machine.status();
        self.status.send_if_modified(|known| {
            let is_new = *known != status;
            *known = status;
            is_new
        });
    }
}

impl Hands {
    fn request(&mut self, protocol: Protocol, inbound: Inbound) -> Input {
        let (id, origin, body) = self.responders.hold(inbound);
        Input::Request {
            id,
            protocol,
            origin,
            body,
        }
    }

    fn gossip(&mut self, message: Gossip) -> Input {
        Input::Gossip {
            token: self.verdicts.hold(message.verdict),
            topic: message.topic,
            body: message.data,
        }
    }

    fn height(&mut self) -> Input {
        // Blocks without entries leave no trace in the index itself.
        let indexed = self.height.borrow_and_update().block_number;
        let applied = indexed.max(*self.settled.borrow_and_update());
        let chain = self.chain.borrow_and_update();
        Input::Height(Height {
            applied,
            head: chain.head.as_ref().map(|head| head.number),
            is_connected: chain.connected,
        })
    }

    fn publish(&self, topic: Topic, body: Vec<u8>, work: &mut Work<Input>) {
        let net = self.context.net.clone();
        work.beside(async move {
            if let Err(error) = net.publish(topic, body).await {
                tracing::debug!(topic = topic.label(), %error, "a message was not told");
            }
            None
        });
    }
}

/// Numbers about fetches that may wait: a full queue is no loss, the next number
/// follows.
const PROGRESS_MAX: usize = 64;

/// Roots that are repaired at a time; each may hold tens of MiB in memory.
const REPAIRS_MAX: usize = 4;

/// Uploads that are pulled at a time; each may hold tens of MiB in memory.
const PULLS_MAX: usize = 2;

/// The author's offers come before repair for this long. Chosen: several times
/// what an author takes from the minimum of leases to the target.
const OFFER_GRACE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
