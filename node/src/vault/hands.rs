//! What the vault's facts and wishes are in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::id::{Address, Hash32};
use protocol::origin::{Origin, RequestId};
use protocol::placement::Placement;
use protocol::registry::Registry;
use protocol::vault::{Entry, Vault, VaultError, VaultInput, VaultOutput, VaultReply};
use tokio::sync::{mpsc, oneshot, watch};

use super::replica::ReplicaHandle;
use crate::context::Context;
use crate::net::Protocol;
use crate::shell::{Driver, Work};

/// What is asked of the vault.
#[derive(Debug)]
pub(super) enum Command {
    Put {
        client: Option<Origin>,
        entry: Entry,
        reply: oneshot::Sender<Result<(), VaultError>>,
    },
    Get {
        client: Option<Origin>,
        lookup_key: Hash32,
        reply: oneshot::Sender<Result<Vec<Entry>, VaultError>>,
    },
}

/// Who waits for an answer.
enum Waiting {
    Put(oneshot::Sender<Result<(), VaultError>>),
    Get(oneshot::Sender<Result<Vec<Entry>, VaultError>>),
}

/// The vault's ears and hands.
pub(super) struct Hands {
    context: Context,
    /// The records of this peer, when it keeps any.
    replica: Option<ReplicaHandle>,
    inbox: mpsc::Receiver<Command>,
    snapshot: watch::Receiver<Arc<Registry>>,
    latest: watch::Receiver<Arc<Registry>>,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,
}

impl Hands {
    pub(super) fn new(
        context: &Context,
        replica: Option<ReplicaHandle>,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let mut hands = Self {
            replica,
            inbox,
            snapshot: context.chain.snapshot(),
            latest: context.chain.registry(),
            waiting: BTreeMap::new(),
            next_request: 0,
            context: context.clone(),
        };
        // What they show at the start is news to the machine.
        hands.snapshot.mark_changed();
        hands.latest.mark_changed();
        hands
    }

    fn fact(&mut self, command: Command) -> VaultInput {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let (waiting, fact) = match command {
            Command::Put {
                client,
                entry,
                reply,
            } => {
                let fact = VaultInput::Put {
                    request,
                    client,
                    entry,
                };
                (Waiting::Put(reply), fact)
            }
            Command::Get {
                client,
                lookup_key,
                reply,
            } => {
                let fact = VaultInput::Get {
                    request,
                    client,
                    lookup_key,
                };
                (Waiting::Get(reply), fact)
            }
        };
        self.waiting.insert(request, waiting);
        fact
    }

    fn reply(&mut self, request: RequestId, reply: VaultReply) {
        match (self.waiting.remove(&request), reply) {
            // The client may have gone away.
            (Some(Waiting::Put(waiting)), VaultReply::Put(reply)) => drop(waiting.send(reply)),
            (Some(Waiting::Get(waiting)), VaultReply::Get(reply)) => drop(waiting.send(reply)),
            _ => tracing::error!("an answer fits no question to the vault"),
        }
    }

    /// Asks another replica, or this peer's own without the network.
    fn ask(
        &self,
        peer: Address,
        body: Bytes,
    ) -> impl Future<Output = Option<Bytes>> + Send + use<> {
        let net = self.context.net.clone();
        let is_own = peer == self.context.peer;
        let replica = self.replica.clone();
        async move {
            if is_own {
                return replica?.ask(body).await;
            }
            let asked = net.request(peer, Protocol::Vault, body).await;
            asked
                .inspect_err(|error| tracing::debug!(%error, "a replica does not answer"))
                .ok()
        }
    }
}

impl Driver<Vault> for Hands {
    async fn next(&mut self) -> Option<VaultInput> {
        tokio::select! {
            biased;
            Ok(()) = self.snapshot.changed() => {
                Some(VaultInput::Snapshot(placement(&mut self.snapshot)))
            }
            Ok(()) = self.latest.changed() => {
                Some(VaultInput::Latest(placement(&mut self.latest)))
            }
            command = self.inbox.recv() => Some(self.fact(command?)),
        }
    }

    fn carry(&mut self, wish: VaultOutput, work: &mut Work<VaultInput>) {
        match wish {
            VaultOutput::Ask { id, peer, body } => {
                let asked = self.ask(peer, body);
                work.beside(async move {
                    let body = asked.await;
                    Some(VaultInput::Answered { id, body })
                });
            }
            VaultOutput::Reply { request, reply } => self.reply(request, reply),
        }
    }
}

/// The placement that a registry gives, which counts as seen.
pub(super) fn placement(registry: &mut watch::Receiver<Arc<Registry>>) -> Arc<Placement> {
    let registry = registry.borrow_and_update().clone();
    Arc::new(Placement::new(&registry))
}
