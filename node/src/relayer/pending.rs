//! Fresh actions from gossip: checked, passed on, and kept until the chain has
//! them.

use std::sync::Arc;
use std::time::Duration;

use protocol::action::SignedAction;
use protocol::id::{Address, Hash32};
use protocol::records::{Envelope, check_envelope};
use protocol::registry::Registry;
use protocol::time::UnixSeconds;
use storage::index::{Pending, PendingView, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::index::IndexTaskError;
use crate::net::{Gossip, NetError, Topic};

/// The actions that wait for the chain; cheap to clone.
#[derive(Debug, Clone)]
pub struct FreshActions {
    pending: watch::Receiver<Arc<Pending>>,
    own: mpsc::Sender<Fresh>,
}

/// An action that this peer's own relayer accepted.
#[derive(Debug)]
struct Fresh {
    action: SignedAction,
    signer: Address,
}

/// Starts to listen to fresh actions on gossip, as the one place of a peer.
///
/// # Errors
///
/// [`NetError`] when the topic is taken.
pub async fn listen(context: &Context) -> Result<FreshActions, NetError> {
    let (pending_in, pending) = watch::channel(Arc::new(Pending::new(PENDING_MAX)));
    let (own, accepted) = mpsc::channel(OWN_MAX);
    let actor = Actor {
        messages: context.net.subscribe(Topic::Actions).await?,
        registry: context.chain.registry(),
        height: context.index.height(),
        context: context.clone(),
        pending: pending_in,
        accepted,
    };
    context.floor.spawn(actor.run());
    Ok(FreshActions { pending, own })
}

impl FreshActions {
    /// The actions as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Pending>> {
        self.pending.clone()
    }

    /// What the actions would do on top of a snapshot.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn view(&self, snapshot: &Snapshot) -> Result<PendingView, IndexTaskError> {
        let pending = self.pending.borrow().clone();
        Ok(pending.view(snapshot)?)
    }

    /// Adds what this peer's relayer accepted.
    pub(crate) async fn accept(&self, action: SignedAction, signer: Address) {
        // The actor ends only when the peer stops.
        let _ = self.own.send(Fresh { action, signer }).await;
    }
}

struct Actor {
    context: Context,
    messages: mpsc::Receiver<Gossip>,
    registry: watch::Receiver<Arc<Registry>>,
    height: watch::Receiver<crate::index::Height>,
    pending: watch::Sender<Arc<Pending>>,
    accepted: mpsc::Receiver<Fresh>,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.floor.stop().clone();
        let mut ticks = tokio::time::interval(EXPIRY_INTERVAL);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.height.changed() => self.handle_height(),
                Some(fresh) = self.accepted.recv() => self.insert(fresh.action, fresh.signer),
                Some(message) = self.messages.recv() => self.handle_message(message),
                _ = ticks.tick() => self.handle_tick(),
            }
        }
    }

    fn handle_message(&mut self, message: Gossip) {
        let registry = self.registry.borrow().clone();
        let checked = check_envelope(
            &message.data,
            &registry,
            &self.context.contracts.domain(),
            &self.context.contracts.action_domain(),
            self.context.clock.now(),
        );
        match checked {
            Ok((Envelope { action, .. }, signer)) => {
                message.verdict.accept();
                self.insert(action, signer);
            }
            Err(error) if error.is_offence() => {
                tracing::debug!(%error, "a fresh action was refused");
                message.verdict.reject();
            }
            Err(_) => message.verdict.ignore(),
        }
    }

    fn insert(&self, action: SignedAction, signer: Address) {
        let digest = action
            .action
            .digest(&self.context.contracts.action_domain());
        if self.is_indexed(&digest, &signer) {
            return;
        }
        let now = self.context.clock.now().unix();
        self.pending.send_modify(|pending| {
            if let Err(error) = Arc::make_mut(pending).insert(action, signer, now) {
                tracing::debug!(%error, "a fresh action is not shown as pending");
            }
        });
    }

    /// Drops what the index has by now.
    fn handle_height(&mut self) {
        self.height.borrow_and_update();
        let domain = self.context.contracts.action_domain();
        let landed: Vec<Hash32> = self
            .pending
            .borrow()
            .actions()
            .filter(|pending| {
                let digest = pending.action.action.digest(&domain);
                self.is_indexed(&digest, &pending.signer)
            })
            .map(|pending| pending.action.action.struct_hash())
            .collect();
        if landed.is_empty() {
            return;
        }
        self.pending.send_modify(|pending| {
            let pending = Arc::make_mut(pending);
            landed.iter().for_each(|hash| pending.remove(hash));
        });
    }

    fn handle_tick(&self) {
        let now = self.context.clock.now().unix();
        let before = UnixSeconds(now.0.saturating_sub(PENDING_SECONDS_MAX));
        self.pending.send_if_modified(|pending| {
            let count = pending.len();
            if count > 0 {
                Arc::make_mut(pending).expire(before);
            }
            pending.len() != count
        });
    }

    fn is_indexed(&self, digest: &Hash32, signer: &Address) -> bool {
        let found = self
            .context
            .index
            .snapshot()
            .and_then(|snapshot| Ok(snapshot.action_of(digest, signer)?));
        matches!(found, Ok(Some(_)))
    }
}

/// Actions that are shown as pending. Chosen: some blocks' worth, at up to 16 KiB each.
pub const PENDING_MAX: usize = 1024;

/// Accepted actions on their way to the set. Chosen: a burst; senders wait.
const OWN_MAX: usize = 64;

/// What is not on chain for so long is dropped. Chosen: longer than relayers of a
/// congested chain take; it only ends what is shown.
const PENDING_SECONDS_MAX: u64 = 3600;

/// Chosen: rare beside the hour above.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(30);
