//! What the relayer's facts and wishes are in this process.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::action::Action;
use protocol::chain::calls;
use protocol::id::{Address, Hash32};
use protocol::identity::{
    Chain, Change, Identity, Input, LookId, Note, Output, Unsent, WalletSeen,
};
use protocol::origin::{Origin, RequestId};
use protocol::placement::Placement;
use protocol::registry::Registry;
use protocol::relayer::{Account, Nonces, Receipt, Response, Slot};
use protocol::signing::Signed;
use rpc::{RpcError, Wallet};
use storage::index::{Pending, Snapshot};
use storage::tables::RELAYS;
use tokio::sync::{mpsc, oneshot, watch};

use super::trial;
use crate::chain::{ChainHandle, ChainStatus, SendError};
use crate::context::Context;
use crate::index::{Height, IndexHandle, IndexTaskError};
use crate::net::{Inbound, Responder, Topic};
use crate::relayer::{FreshActions, LocalRequest};
use crate::shell::{Driver, Work};
use crate::store::StoreError;

/// Who waits for an answer.
enum Asker {
    Peer(Responder),
    Local(oneshot::Sender<Response>),
}

/// The relayer's ears and hands.
pub(super) struct Hands {
    context: Context,
    fresh: FreshActions,
    wallet: Wallet,
    requests: mpsc::Receiver<Inbound>,
    inbox: mpsc::Receiver<LocalRequest>,
    askers: BTreeMap<RequestId, Asker>,
    next_request: u64,
    status: watch::Receiver<ChainStatus>,
    height: watch::Receiver<Height>,
    /// The last final block that the index has.
    settled: watch::Receiver<u64>,
    pending: watch::Receiver<Arc<Pending>>,
    latest: watch::Receiver<Arc<Registry>>,
}

impl Hands {
    pub(super) fn new(
        context: &Context,
        fresh: FreshActions,
        requests: mpsc::Receiver<Inbound>,
        inbox: mpsc::Receiver<LocalRequest>,
    ) -> Self {
        let mut hands = Self {
            wallet: Wallet::new(context.key.clone()),
            requests,
            inbox,
            askers: BTreeMap::new(),
            next_request: 0,
            status: context.chain.status(),
            height: context.index.height(),
            settled: context.index.settled(),
            pending: fresh.watch(),
            latest: context.chain.registry(),
            fresh,
            context: context.clone(),
        };
        // What they show at the start is news to the machine.
        hands.latest.mark_changed();
        hands.status.mark_changed();
        hands
    }

    fn ask(&mut self, origin: Origin, body: Bytes, asker: Asker) -> Input {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.askers.insert(request, asker);
        Input::Request {
            request,
            origin,
            body,
        }
    }

    fn chain(&mut self) -> Input {
        let status = self.status.borrow_and_update();
        Input::Chain(Chain {
            is_away: !status.connected,
            head: status.head.map(|head| head.number),
            final_block: status.final_block.map(|block| block.number),
        })
    }

    fn respond(&mut self, request: RequestId, response: Response) {
        match self.askers.remove(&request) {
            Some(Asker::Peer(responder)) => responder.send(response.to_bytes()),
            // The client may have gone away.
            Some(Asker::Local(reply)) => drop(reply.send(response)),
            None => {}
        }
    }

    fn look(&self, wanted: Vec<(Hash32, Address)>, work: &mut Work<Input>) {
        let index = self.context.index.clone();
        // Read before the snapshot, which is then at least as new.
        let settled = *self.settled.borrow();
        work.beside(async move {
            let looked = tokio::task::spawn_blocking(move || look(&index, &wanted));
            let found = looked.await.map_err(|error| error.to_string());
            let found = found.and_then(|found| found.map_err(|error| error.to_string()));
            let landed = found
                .inspect_err(|error| tracing::warn!(%error, "the index could not be read"))
                .ok();
            Some(Input::Looked { settled, landed })
        });
    }

    fn look_up(
        &self,
        request: RequestId,
        action: Box<Action>,
        signer: Address,
        work: &mut Work<Input>,
    ) {
        let (index, fresh) = (self.context.index.clone(), self.fresh.clone());
        work.beside(async move {
            let looking = move || account(&index, &fresh, &action, signer);
            let looked = tokio::task::spawn_blocking(looking);
            let account = looked.await.ok().and_then(Result::ok).flatten();
            Some(Input::LookedUp { request, account })
        });
    }

    fn look_at_wallet(
        &self,
        id: LookId,
        wallet: Address,
        final_block: Option<u64>,
        work: &mut Work<Input>,
    ) {
        let chain = self.context.chain.clone();
        work.beside(async move {
            let seen = seen(&chain, wallet, final_block).await.ok();
            Some(Input::Wallet { id, seen })
        });
    }

    fn persist(&self, changes: Vec<Change>, work: &mut Work<Input>) {
        let store = self.context.store.clone();
        work.in_order(async move {
            let written = store.write(move |tables| {
                for Change { digest, row } in &changes {
                    match row {
                        Some(row) => tables.put(RELAYS, digest, &**row)?,
                        None => drop(tables.remove(RELAYS, digest)?),
                    }
                }
                Ok(())
            });
            let error = written.await.err().map(|error: StoreError| {
                tracing::error!(%error, "the relayer's rows were not stored");
                error.to_string()
            });
            Some(Input::Persisted { error })
        });
    }

    fn publish(&self, body: Bytes, work: &mut Work<Input>) {
        let net = self.context.net.clone();
        work.beside(async move {
            if let Err(error) = net.publish(Topic::Actions, body).await {
                tracing::debug!(%error, "a fresh action was not published; the chain tells it");
            }
            None
        });
    }

    /// Brings a transaction to the chain.
    fn send_at(
        &self,
        to: Address,
        data: Vec<u8>,
        slot: Slot,
        gas: u64,
        bumps: u32,
    ) -> impl Future<Output = Result<Hash32, SendError>> + Send + use<> {
        let (chain, wallet) = (self.context.chain.clone(), self.wallet.clone());
        async move {
            let sent = chain.send_at(&wallet, to, data, slot.nonce, gas, bumps);
            sent.await
        }
    }

    fn note(note: &Note) {
        match note {
            Note::WalletEmpty(wallet) => {
                tracing::warn!(%wallet, "the relayer's wallet is empty; send it money for gas");
            }
            Note::SentLater { reason } => {
                tracing::warn!(%reason, "a transaction is sent again later");
            }
        }
    }
}

impl Driver<Identity> for Hands {
    async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Ok(()) = self.latest.changed() => {
                let registry = self.latest.borrow_and_update().clone();
                Some(Input::Latest(Arc::new(Placement::new(&registry))))
            }
            Ok(()) = self.status.changed() => Some(self.chain()),
            Ok(()) = self.height.changed() => Some(Input::Index),
            Ok(()) = self.settled.changed() => Some(Input::Index),
            Ok(()) = self.pending.changed() => Some(Input::Fresh),
            Some(command) = self.inbox.recv() => {
                let body = command.request.to_bytes().into();
                Some(self.ask(command.origin, body, Asker::Local(command.reply)))
            }
            Some(inbound) = self.requests.recv() => {
                let origin = inbound.origin();
                Some(self.ask(origin, inbound.body, Asker::Peer(inbound.respond)))
            }
            else => None,
        }
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        match wish {
            Output::Respond { request, response } => self.respond(request, response),
            // Dropping a responder refuses.
            Output::Refuse { request } => drop(self.askers.remove(&request)),
            Output::LookUp {
                request,
                action,
                signer,
            } => self.look_up(request, action, signer, work),
            Output::Look { wanted } => self.look(wanted, work),
            Output::Try {
                digest,
                action,
                signer,
                wallet,
            } => {
                let case = trial::Case {
                    digest,
                    action,
                    signer,
                    wallet,
                };
                let (context, fresh) = (self.context.clone(), self.fresh.clone());
                work.beside(async move {
                    let found = trial::run(&context, &fresh, case).await;
                    Some(Input::Tried { digest, found })
                });
            }
            Output::Send {
                digest,
                action,
                slot,
                gas,
                bumps,
            } => {
                let to = self.context.contracts.entity_manager;
                let sent = self.send_at(to, calls::manage_entity(&action), slot, gas, bumps);
                work.beside(async move {
                    let sent = sent.await.map_err(|error| unsent(&error));
                    Some(Input::Sent { digest, slot, sent })
                });
            }
            Output::Cancel { slot, gas, bumps } => {
                let sent = self.send_at(slot.wallet, Vec::new(), slot, gas, bumps);
                work.beside(async move {
                    if let Err(error) = sent.await {
                        tracing::debug!(nonce = slot.nonce, %error, "a nonce was not consumed");
                    }
                    None
                });
            }
            Output::LookAtWallet {
                id,
                wallet,
                final_block,
            } => self.look_at_wallet(id, wallet, final_block, work),
            Output::Persist(changes) => self.persist(changes, work),
            Output::Show { action, signer } => {
                let fresh = self.fresh.clone();
                work.beside(async move {
                    fresh.accept(action, signer).await;
                    None
                });
            }
            Output::Sign(record) => {
                let domain = self.context.contracts.domain();
                let signed = Signed::new(record, &domain, &self.context.key);
                work.fact(Input::Signed(signed));
            }
            Output::Publish(body) => self.publish(body, work),
            Output::Note(note) => Self::note(&note),
        }
    }
}

/// What the index, or else the actions that wait for the chain, know of a user.
fn account(
    index: &IndexHandle,
    fresh: &FreshActions,
    action: &Action,
    signer: Address,
) -> Result<Option<Account>, IndexTaskError> {
    let snapshot = index.snapshot()?;
    let user = action.user_id;
    if let Ok(Some(view)) = snapshot.user(user) {
        let height = index.height().borrow().block_number;
        let may_act = snapshot.may_act(user, signer, action, height)?.is_ok();
        return Ok(Some(Account {
            owner: view.user.wallet,
            created: view.user.created_at,
            may_act,
        }));
    }
    // Whom no block has yet, only its wallet speaks for.
    let pending = fresh.view(&snapshot)?;
    let found = pending.users.get(&user);
    Ok(found.map(|found| Account {
        owner: found.wallet,
        created: found.created_at,
        may_act: found.wallet == signer,
    }))
}

/// Which of the wanted actions the index has.
fn look(
    index: &IndexHandle,
    wanted: &[(Hash32, Address)],
) -> Result<Vec<(Hash32, Receipt)>, IndexTaskError> {
    let snapshot = index.snapshot()?;
    let mut landed = Vec::new();
    for (digest, signer) in wanted {
        let receipt = receipt(&snapshot, digest, signer)?;
        landed.extend(receipt.map(|receipt| (*digest, receipt)));
    }
    Ok(landed)
}

/// Where the index has an action.
pub(super) fn receipt(
    snapshot: &Snapshot,
    digest: &Hash32,
    signer: &Address,
) -> Result<Option<Receipt>, IndexTaskError> {
    let Some(sequence) = snapshot.action_of(digest, signer)? else {
        return Ok(None);
    };
    let entry = snapshot.entries(sequence..=sequence, 1)?.pop();
    Ok(entry.map(|entry| Receipt {
        tx_hash: entry.position.tx_hash,
        block_number: entry.position.block_number,
        block_hash: entry.position.block_hash,
    }))
}

async fn seen(
    chain: &ChainHandle,
    wallet: Address,
    final_block: Option<u64>,
) -> Result<WalletSeen, RpcError> {
    let client = chain.client();
    let settled = match final_block {
        Some(block) => client.transaction_count_at(wallet, block).await?,
        None => 0,
    };
    let latest = client.transaction_count(wallet).await?;
    let balance = client.balance(wallet).await?;
    Ok(WalletSeen {
        nonces: Nonces { latest, settled },
        is_funded: !balance.is_zero(),
    })
}

/// A transaction's failure in the machine's words: what says nothing of the
/// transaction is no answer.
fn unsent(error: &SendError) -> Unsent {
    match error {
        SendError::Rpc(RpcError::Rejected { .. }) => Unsent::Rejected {
            message: error.to_string(),
        },
        SendError::Rpc(RpcError::Revert(_)) | SendError::Reverted { .. } => Unsent::Impossible {
            reason: error.to_string(),
        },
        SendError::Rpc(_) | SendError::Full { .. } | SendError::Stopped => Unsent::Unanswered,
    }
}
