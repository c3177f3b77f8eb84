//! The identity role: the hands of the relayer and of a vault replica over a
//! virtual chain and disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::id::{Address, Hash32};
use protocol::identity::{self, Chain, Change, Input, Output, Trial, Unsent, WalletSeen};
use protocol::machine::Machine as _;
use protocol::origin::{Origin, RequestId};
use protocol::relayer::{self, Account, Nonces, Receipt, Slot};
use protocol::signing::Signed;
use protocol::time::{Moment, UnixSeconds};
use protocol::vault::{self, Replica, ReplicaInput, ReplicaOutput};
use protocol::wire::Protocol;

use super::light::PROOF_BITS;
use super::{Disk, Host, is_due};
use crate::chain::{Fees, SubmitError, Tx};
use crate::world::{Ctx, Local};

/// The machines of the identity role.
#[derive(Debug)]
pub(super) struct Identity {
    relayer: identity::Identity,
    replica: Replica,
    asked: BTreeMap<RequestId, (u32, u64)>,
    /// The registry that the relayer was told of.
    registry_root: Option<Hash32>,
    is_chain_away: bool,
}

impl Identity {
    pub(super) fn new(peer: Address, disk: &Disk, ctx: &Ctx) -> Self {
        let mut relayer = relayer::Config::new(ctx.params.actions);
        relayer.proof_bits = PROOF_BITS;
        let wallets = (1..=WALLETS).map(|number| wallet(peer, number)).collect();
        let confirmations = ctx.chain.confirmations();
        let config = identity::Config::new(peer, relayer, wallets, confirmations);
        let config = ctx.params.limits.identity(config);
        let rows = disk.rows.values().cloned();
        Self {
            relayer: identity::Identity::new(config, rows, ctx.now),
            replica: Replica::new(ctx.params.domain),
            asked: BTreeMap::new(),
            registry_root: None,
            is_chain_away: false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.relayer.deadline().map(|(at, _)| at)
    }
}

impl Host {
    pub(super) fn handle_identity_request(
        &mut self,
        from: u32,
        id: u64,
        protocol: Protocol,
        body: &Bytes,
        ctx: &mut Ctx,
    ) {
        let request = RequestId(ctx.next_id());
        let Some(identity) = &mut self.identity else {
            return;
        };
        identity.asked.insert(request, (from, id));
        let body = body.clone();
        if protocol == Protocol::Vault {
            let input = ReplicaInput::Request {
                request,
                is_own: false,
                body,
            };
            self.tell_replica(input, ctx);
            return;
        }
        let origin = Origin {
            peer: ctx.address(from),
            ip: None,
        };
        let input = Input::Request {
            request,
            origin,
            body,
        };
        self.tell_identity(input, ctx);
    }

    pub(super) fn tell_identity(&mut self, input: Input, ctx: &mut Ctx) {
        if let Some(identity) = &mut self.identity {
            ctx.metrics.note_input("identity", &input);
            identity.relayer.handle(input, ctx.now);
        }
    }

    fn tell_replica(&mut self, input: ReplicaInput, ctx: &mut Ctx) {
        if let Some(identity) = &mut self.identity {
            ctx.metrics.note_input("replica", &input);
            identity.replica.handle(input, ctx.now);
        }
    }

    pub(super) fn wake_identity(&mut self, ctx: &Ctx) {
        if let Some(identity) = &mut self.identity
            && is_due(identity.relayer.deadline(), ctx.now)
        {
            identity.relayer.handle_timeout(ctx.now);
        }
    }

    /// Tells the relayer what has changed around it, and carries the role's wishes
    /// out.
    pub(super) fn drain_identity(&mut self, ctx: &mut Ctx) -> bool {
        let Some(identity) = &mut self.identity else {
            return false;
        };
        if std::mem::take(&mut identity.is_chain_away) {
            self.tell_identity(Input::Chain(away()), ctx);
        }
        self.tell_registry(ctx);
        let mut moved = false;
        while let Some(wish) = self.identity.as_mut().and_then(|role| role.relayer.poll()) {
            moved = true;
            self.carry_identity(wish, ctx);
        }
        while let Some(wish) = self.identity.as_mut().and_then(|role| role.replica.poll()) {
            moved = true;
            self.carry_replica(wish, ctx);
        }
        moved
    }

    fn tell_registry(&mut self, ctx: &mut Ctx) {
        let root = Some(self.registry.root);
        if let Some(identity) = &mut self.identity
            && std::mem::replace(&mut identity.registry_root, root) != root
        {
            let placement = Arc::clone(self.registry.placement.inner());
            self.tell_identity(Input::Latest(placement), ctx);
        }
    }

    fn carry_identity(&mut self, wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Respond { request, response } => {
                if let relayer::Response::Refused(refusal) = &response {
                    ctx.metrics.refusals.note("identity", &refusal.code);
                }
                self.answer(request, Some(response.to_bytes()), ctx);
            }
            Output::Refuse { request } => self.answer(request, None, ctx),
            Output::LookUp {
                request,
                action,
                signer,
            } => {
                let owner = ctx.chain.wallet_of(action.user_id);
                let account = owner.map(|owner| Account {
                    owner,
                    created: UnixSeconds(0),
                    may_act: owner == signer,
                });
                self.tell_identity(Input::LookedUp { request, account }, ctx);
            }
            Output::Look { wanted } => {
                let wanted = wanted.into_iter();
                let landed =
                    wanted.filter_map(|(digest, _)| Some((digest, receipt(&digest, ctx)?)));
                let looked = Input::Looked {
                    landed: Some(landed.collect()),
                    settled: ctx.chain.finalized(),
                };
                self.tell_identity(looked, ctx);
            }
            Output::Sign(record) => {
                let signed = Signed::new(record, &ctx.params.domain, &self.key);
                self.tell_identity(Input::Signed(signed), ctx);
            }
            Output::Publish(body) => {
                self.gossip(protocol::wire::Topic::Actions, body.to_vec(), ctx);
            }
            Output::Persist(_) => {
                ctx.local(self, DISK_DELAY, Local::Identity(Box::new(wish)));
            }
            Output::Try { .. }
            | Output::Send { .. }
            | Output::Cancel { .. }
            | Output::LookAtWallet { .. } => {
                ctx.local(self, RPC_DELAY, Local::Identity(Box::new(wish)));
            }
            Output::Note(note) => ctx.metrics.notes.note("identity", &note),
            // Nobody looks at what waits for the chain.
            Output::Show { .. } => {}
        }
    }

    /// A wish reaches the disk or the chain.
    pub(super) fn reach_identity(&mut self, wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Persist(changes) => {
                for Change { digest, row } in changes {
                    match row {
                        Some(row) => drop(self.disk.rows.insert(digest, *row)),
                        None => drop(self.disk.rows.remove(&digest)),
                    }
                }
                self.tell_identity(Input::Persisted { error: None }, ctx);
            }
            Output::Try { digest, .. } => {
                let found = match receipt(&digest, ctx) {
                    _ if !ctx.is_chain_up => Trial::Unavailable,
                    Some(receipt) => Trial::Landed(receipt),
                    None => Trial::Passed { gas: GAS },
                };
                self.tell_identity(Input::Tried { digest, found }, ctx);
            }
            Output::Send {
                digest,
                action,
                slot,
                bumps,
                ..
            } => {
                let sent = self.send_tx(slot, bumps, Some(action), ctx);
                self.tell_identity(Input::Sent { digest, slot, sent }, ctx);
            }
            Output::Cancel { slot, bumps, .. } => {
                // There is no answer.
                let _ = self.send_tx(slot, bumps, None, ctx);
            }
            Output::LookAtWallet { id, wallet, .. } => {
                let nonces = Nonces {
                    latest: ctx.chain.nonce(&wallet),
                    settled: ctx.chain.final_nonce(&wallet),
                };
                let seen = ctx.is_chain_up.then_some(WalletSeen {
                    nonces,
                    is_funded: true,
                });
                self.tell_identity(Input::Wallet { id, seen }, ctx);
            }
            _ => {}
        }
    }

    fn send_tx(
        &self,
        slot: Slot,
        bumps: u32,
        action: Option<protocol::action::SignedAction>,
        ctx: &mut Ctx,
    ) -> Result<Hash32, Unsent> {
        if !ctx.is_chain_up {
            return Err(Unsent::Unanswered);
        }
        ctx.checkers.note_payer(self.idx, slot.wallet);
        let tx = Tx {
            wallet: slot.wallet,
            nonce: slot.nonce,
            fees: Fees::offered(ctx.chain.tip().base_fee, bumps),
            action,
        };
        ctx.chain.submit(tx).map_err(|refused| {
            let message = match refused {
                SubmitError::NonceUsed => "nonce too low",
                SubmitError::Underpriced => "replacement transaction underpriced",
                SubmitError::BelowBaseFee => "max fee per gas less than block base fee",
                SubmitError::PoolFull => "txpool is full",
            };
            Unsent::Rejected {
                message: message.to_owned(),
            }
        })
    }

    fn carry_replica(&mut self, wish: ReplicaOutput, ctx: &mut Ctx) {
        match wish {
            ReplicaOutput::Respond { request, response } => {
                if let vault::Response::Refused(refusal) = &response {
                    ctx.metrics.refusals.note("replica", refusal);
                }
                self.answer(request, Some(response.to_bytes()), ctx);
            }
            ReplicaOutput::Refuse { request } => self.answer(request, None, ctx),
            ReplicaOutput::Read { lookup_key } => {
                let kept = self.disk.vault.get(&lookup_key);
                let entries = Some(kept.cloned().unwrap_or_default());
                let read = ReplicaInput::Read {
                    lookup_key,
                    entries,
                };
                self.tell_replica(read, ctx);
            }
            ReplicaOutput::Persist { .. } => {
                ctx.local(self, DISK_DELAY, Local::Replica(Box::new(wish)));
            }
        }
    }

    /// A replica's wish reaches the disk.
    pub(super) fn reach_replica(&mut self, wish: ReplicaOutput, ctx: &mut Ctx) {
        if let ReplicaOutput::Persist {
            lookup_key, after, ..
        } = wish
        {
            self.disk.vault.insert(lookup_key, after);
            let stored = ReplicaInput::Persisted {
                lookup_key,
                is_stored: true,
            };
            self.tell_replica(stored, ctx);
        }
    }

    fn answer(&mut self, request: RequestId, body: Option<Vec<u8>>, ctx: &mut Ctx) {
        let identity = self.identity.as_mut();
        let asked = identity.and_then(|identity| identity.asked.remove(&request));
        match (asked, body) {
            (Some((to, id)), Some(body)) => self.respond(to, id, body, ctx),
            (Some((to, id)), None) => self.refuse(to, id, ctx),
            (None, _) => {}
        }
    }

    pub(super) fn handle_chain_away(&mut self) {
        if let Some(identity) = &mut self.identity {
            identity.is_chain_away = true;
        }
    }

    /// Tells the relayer where the chain is.
    pub(super) fn handle_chain_tip(&mut self, ctx: &mut Ctx) {
        let chain = Chain {
            is_away: false,
            head: Some(ctx.chain.tip().number),
            final_block: Some(ctx.chain.finalized()),
        };
        self.tell_identity(Input::Chain(chain), ctx);
        self.tell_identity(Input::Index, ctx);
    }
}

const fn away() -> Chain {
    Chain {
        is_away: true,
        head: None,
        final_block: None,
    }
}

fn receipt(digest: &Hash32, ctx: &Ctx) -> Option<Receipt> {
    let (block_number, tx_hash) = ctx.chain.burned(digest)?;
    let block = ctx.chain.block(block_number);
    Some(Receipt {
        tx_hash,
        block_number,
        block_hash: block.map(|block| block.hash).unwrap_or_default(),
    })
}

/// A relayer's wallet, apart from its peer's key.
fn wallet(peer: Address, number: u8) -> Address {
    let mut address = peer;
    address.0[0] ^= number;
    address
}

/// Wallets of one relayer.
const WALLETS: u8 = 2;

/// What an action uses.
const GAS: u64 = 100_000;

/// To the chain's endpoint and back.
const RPC_DELAY: Duration = Duration::from_millis(30);

/// Until a row is durable.
pub(super) const DISK_DELAY: Duration = Duration::from_millis(4);
