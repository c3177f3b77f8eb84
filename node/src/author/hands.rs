//! What the author's facts and wishes are in this process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use protocol::action::SignedAction;
use protocol::author::{
    Author, Input, Landing, Output, PublishError, PublishRoot, PublishStatus, RelayError,
    RelayStatus, Reply, Wanted,
};
use protocol::id::{Address, Hash32};
use protocol::origin::{Origin, RequestId};
use protocol::placement::Placement;
use protocol::registry::Registry;
use protocol::relayer::Request;
use storage::blocks::{Holding, Owner};
use storage::index::Snapshot;
use tokio::sync::{mpsc, oneshot, watch};

use crate::chain::ChainStatus;
use crate::context::Context;
use crate::index::{Height, IndexHandle, IndexTaskError};
use crate::net::Protocol;
use crate::relayer::LocalRelayer;
use crate::shell::{Driver, Work};
use crate::store::StoreError;

/// What the owner asks.
pub(super) enum Command {
    Publish {
        action: SignedAction,
        roots: Vec<PublishRoot>,
        missing: Option<Cid>,
        reply: oneshot::Sender<Result<Hash32, PublishError>>,
    },
    Published {
        id: Hash32,
        reply: oneshot::Sender<Option<PublishStatus>>,
    },
    Relay {
        action: SignedAction,
        proof: Option<u64>,
        reply: oneshot::Sender<Result<RelayStatus, RelayError>>,
    },
    Relayed {
        digest: Hash32,
        reply: oneshot::Sender<Result<RelayStatus, RelayError>>,
    },
    Local(LocalRelayer),
}

/// Who waits for an answer.
enum Waiting {
    Publish(oneshot::Sender<Result<Hash32, PublishError>>),
    Published(oneshot::Sender<Option<PublishStatus>>),
    Relay(oneshot::Sender<Result<RelayStatus, RelayError>>),
}

/// The author's ears and hands.
pub(super) struct Hands {
    context: Context,
    inbox: mpsc::Receiver<Command>,
    snapshot: watch::Receiver<Arc<Registry>>,
    latest: watch::Receiver<Arc<Registry>>,
    chain: watch::Receiver<ChainStatus>,
    connected: watch::Receiver<BTreeSet<Address>>,
    height: watch::Receiver<Height>,
    local: Option<LocalRelayer>,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,
}

impl Hands {
    pub(super) fn new(context: &Context, inbox: mpsc::Receiver<Command>) -> Self {
        let mut hands = Self {
            context: context.clone(),
            inbox,
            snapshot: context.chain.snapshot(),
            latest: context.chain.registry(),
            chain: context.chain.status(),
            connected: context.net.connected(),
            height: context.index.height(),
            local: None,
            waiting: BTreeMap::new(),
            next_request: 0,
        };
        // What they show at the start is news to the machine.
        hands.snapshot.mark_changed();
        hands.latest.mark_changed();
        hands.chain.mark_changed();
        hands
    }

    fn fact(&mut self, command: Command) -> Input {
        match command {
            Command::Publish {
                action,
                roots,
                missing,
                reply,
            } => Input::Publish {
                request: self.wait(Waiting::Publish(reply)),
                action,
                roots,
                missing,
            },
            Command::Published { id, reply } => Input::Published {
                request: self.wait(Waiting::Published(reply)),
                digest: id,
            },
            Command::Relay {
                action,
                proof,
                reply,
            } => Input::Relay {
                request: self.wait(Waiting::Relay(reply)),
                action,
                proof,
            },
            Command::Relayed { digest, reply } => Input::Relayed {
                request: self.wait(Waiting::Relay(reply)),
                digest,
            },
            Command::Local(relayer) => {
                self.local = Some(relayer);
                Input::Relayer
            }
        }
    }

    fn wait(&mut self, waiting: Waiting) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(request, waiting);
        request
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        // Who asked may have gone away; what was asked is done all the same.
        match (self.waiting.remove(&request), reply) {
            (Some(Waiting::Publish(waiting)), Reply::Publish(reply)) => {
                drop(waiting.send(reply));
            }
            (Some(Waiting::Published(waiting)), Reply::Published(reply)) => {
                drop(waiting.send(reply));
            }
            (Some(Waiting::Relay(waiting)), Reply::Relay(reply)) => drop(waiting.send(reply)),
            _ => tracing::error!("an answer fits no question of the owner"),
        }
    }

    /// Asks another peer, or this peer's own relayer without the network.
    fn ask(
        &self,
        peer: Address,
        protocol: Protocol,
        body: Bytes,
    ) -> impl Future<Output = Option<Bytes>> + Send + use<> {
        let net = self.context.net.clone();
        let local = self.local.clone().filter(|_| peer == self.context.peer);
        async move {
            let Some(local) = local else {
                let asked = net.request(peer, protocol, body).await;
                return asked
                    .inspect_err(|error| tracing::debug!(%peer, %error, "no answer"))
                    .ok();
            };
            let request = Request::from_bytes(&body).ok()?;
            let response = local.ask(request, Origin { peer, ip: None }).await.ok()?;
            Some(response.to_bytes().into())
        }
    }
}

impl Driver<Author> for Hands {
    async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Ok(()) = self.snapshot.changed() => {
                Some(Input::Snapshot(placement(&mut self.snapshot)))
            }
            Ok(()) = self.latest.changed() => Some(Input::Latest(placement(&mut self.latest))),
            Ok(()) = self.chain.changed() => {
                let is_away = !self.chain.borrow_and_update().connected;
                Some(Input::Chain { is_away })
            }
            Ok(()) = self.height.changed() => {
                self.height.mark_unchanged();
                Some(Input::Index)
            }
            Ok(()) = self.connected.changed() => {
                self.connected.mark_unchanged();
                Some(Input::Connected)
            }
            command = self.inbox.recv() => Some(self.fact(command?)),
        }
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        let store = self.context.store.clone();
        match wish {
            Output::Ask {
                id,
                peer,
                protocol,
                body,
            } => {
                let asked = self.ask(peer, protocol, body);
                work.beside(async move {
                    let body = asked.await;
                    Some(Input::Answered { id, body })
                });
            }
            Output::Persist { id, changes } => work.in_order(async move {
                let written = store.write(move |tables| super::apply(tables, &changes));
                let error = written.await.err().map(|error: StoreError| {
                    tracing::warn!(%error, "what is published and relayed cannot be noted");
                    error.to_string()
                });
                Some(Input::Persisted { id, error })
            }),
            Output::Hold { root, until } => work.in_order(async move {
                let owner = Owner {
                    root,
                    holding: Holding::Upload,
                    expiry: Some(until),
                };
                if let Err(error) = store.add_root(owner, Vec::new()).await {
                    tracing::warn!(%root, %error, "what is being published is not held any longer");
                }
                None
            }),
            Output::Look { id, wanted } => {
                let index = self.context.index.clone();
                work.beside(async move {
                    let looked = tokio::task::spawn_blocking(move || look(&index, &wanted));
                    let found = match looked.await {
                        Ok(found) => found.map_err(|error| error.to_string()),
                        Err(error) => Err(error.to_string()),
                    };
                    Some(Input::Looked { id, found })
                });
            }
            Output::Solve { digest, bits } => {
                work.beside(async move {
                    let proof = super::solve(digest, bits).await;
                    Some(Input::Solved { digest, proof })
                });
            }
            Output::Reply { request, reply } => self.reply(request, reply),
            Output::Event(event) => tracing::debug!(?event, "of an action"),
        }
    }
}

fn placement(registry: &mut watch::Receiver<Arc<Registry>>) -> Arc<Placement> {
    let registry = registry.borrow_and_update().clone();
    Arc::new(Placement::new(&registry))
}

/// Which of the wanted actions the index has.
fn look(index: &IndexHandle, wanted: &[Wanted]) -> Result<Vec<Landing>, IndexTaskError> {
    let snapshot = index.snapshot()?;
    let mut found = Vec::new();
    for wanted in wanted {
        found.extend(landing(&snapshot, wanted)?);
    }
    Ok(found)
}

/// Without a signer, a valid entry is preferred to those that somebody else
/// recorded under the digest.
fn landing(snapshot: &Snapshot, wanted: &Wanted) -> Result<Option<Landing>, IndexTaskError> {
    let digest = wanted.digest;
    let sequences: Vec<u64> = match &wanted.signer {
        Some(signer) => snapshot.action_of(&digest, signer)?.into_iter().collect(),
        None => snapshot
            .action(&digest)?
            .into_iter()
            .map(|(_, sequence)| sequence)
            .collect(),
    };
    let mut found = None;
    for sequence in sequences {
        let Some(entry) = snapshot.entries(sequence..=sequence, 1)?.pop() else {
            continue;
        };
        let rejected = snapshot.rejection(sequence)?;
        let is_valid = rejected.is_none();
        found = Some(Landing {
            digest,
            tx_hash: entry.position.tx_hash,
            block_number: entry.position.block_number,
            rejected: rejected.map(|rejected| rejected.reason),
        });
        if is_valid {
            break;
        }
    }
    Ok(found)
}
