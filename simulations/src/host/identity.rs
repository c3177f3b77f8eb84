//! The identity role: vault records and the relayer.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::id::{Address, Hash32, UserId};
use protocol::origin::{Origin, RequestId};
use protocol::placement::Purpose;
use protocol::relayer::{
    Account, Accounts, Config, Event, Nonces, Receipt, Relayer, Request, Row, SendFailure,
    Simulation, Slot, Submission,
};
use protocol::time::UnixSeconds;
use protocol::vault;

use super::light::PROOF_BITS;
use super::{Disk, Host};
use crate::chain::{Chain, SubmitError, Tx};
use crate::world::{Ctx, Local, SendTx};

/// The machines of the identity role.
#[derive(Debug)]
pub(super) struct Identity {
    vault: vault::Store,
    relayer: Relayer,
    asked: BTreeMap<RequestId, (u32, u64)>,
    next_request: u64,
    wallets: Vec<Address>,
}

struct Users<'a>(&'a Chain);

impl Accounts for Users<'_> {
    fn account(&self, user: UserId, signer: Address) -> Option<Account> {
        let owner = self.0.wallet_of(user)?;
        Some(Account {
            owner,
            created: UnixSeconds(0),
            is_signer_allowed: owner == signer,
        })
    }
}

impl Identity {
    pub(super) fn new(peer: Address, disk: &Disk, ctx: &Ctx) -> Self {
        let mut config = Config::new(ctx.params.actions);
        config.proof_bits = PROOF_BITS;
        Self {
            vault: vault::Store::new(ctx.params.domain),
            relayer: Relayer::new(config, disk.rows.values().cloned(), ctx.now),
            asked: BTreeMap::new(),
            next_request: 0,
            wallets: (1..=WALLETS).map(|number| wallet(peer, number)).collect(),
        }
    }
}

impl Host {
    pub(super) fn handle_vault_request(&mut self, from: u32, id: u64, data: &[u8], ctx: &mut Ctx) {
        let (Some(identity), Ok(request)) = (&self.identity, vault::Request::from_bytes(data))
        else {
            return;
        };
        let key = match &request {
            vault::Request::Put(entry) => entry.record.lookup_key,
            vault::Request::Get { lookup_key } => *lookup_key,
        };
        let stored = self.disk.vault.get(&key).cloned().unwrap_or_default();
        let outcome = identity
            .vault
            .handle_request(request, stored, ctx.now.unix());
        if let Some(entries) = outcome.store {
            self.disk.vault.insert(key, entries);
        }
        self.respond(from, id, outcome.response.to_bytes(), ctx);
    }

    pub(super) fn handle_relay_request(&mut self, from: u32, id: u64, data: &[u8], ctx: &mut Ctx) {
        let (Some(identity), Ok(request)) = (&mut self.identity, Request::from_bytes(data)) else {
            return;
        };
        let request_id = RequestId(identity.next_request);
        identity.next_request += 1;
        identity.asked.insert(request_id, (from, id));
        match request {
            Request::Status { digest } => identity.relayer.handle_status(request_id, &digest),
            Request::Submit { action, proof, .. } => {
                let digest = action.action.digest(&ctx.params.actions);
                let ranked = self
                    .registry
                    .placement
                    .inner()
                    .rank(Purpose::Relayer, &digest.0);
                let rank = ranked.iter().position(|peer| *peer == self.address);
                let submission = Submission {
                    action: *action,
                    proof,
                    is_paid: false,
                    rank: rank.unwrap_or(ranked.len()) as u64,
                };
                let origin = Origin {
                    peer: ctx.address(from),
                    ip: None,
                };
                identity.relayer.handle_submit(
                    request_id,
                    origin,
                    submission,
                    &Users(&ctx.chain),
                    ctx.now,
                );
            }
        }
    }

    pub(super) fn drain_identity(&mut self, ctx: &mut Ctx) -> bool {
        let Some(mut identity) = self.identity.take() else {
            return false;
        };
        let mut moved = false;
        while let Some(reply) = identity.relayer.poll_reply() {
            moved = true;
            if let Some((to, id)) = identity.asked.remove(&reply.id) {
                self.respond(to, id, reply.response.to_bytes(), ctx);
            }
        }
        while let Some(event) = identity.relayer.poll_event() {
            moved = true;
            self.handle_relayer_event(event, ctx);
        }
        self.identity = Some(identity);
        moved
    }

    fn handle_relayer_event(&mut self, event: Event, ctx: &mut Ctx) {
        match event {
            Event::Simulate { digest, .. } => {
                ctx.local(self, RPC_DELAY, Local::Simulate(digest));
            }
            Event::Persist(row) => ctx.local(self, DISK_DELAY, Local::Persisted(row)),
            Event::Forget { digest } => {
                self.disk.rows.remove(&digest);
            }
            Event::Send {
                digest,
                action,
                slot,
                bumps,
                ..
            } => {
                let tx = Tx {
                    wallet: slot.wallet,
                    nonce: slot.nonce,
                    bumps,
                    action: Some(action),
                };
                let send = SendTx {
                    digest: Some(digest),
                    tx,
                };
                ctx.local(self, RPC_DELAY, Local::SendTx(Box::new(send)));
            }
            Event::Cancel { slot, bumps } => {
                let tx = Tx {
                    wallet: slot.wallet,
                    nonce: slot.nonce,
                    bumps,
                    action: None,
                };
                let send = SendTx { digest: None, tx };
                ctx.local(self, RPC_DELAY, Local::SendTx(Box::new(send)));
            }
        }
    }

    /// A row reached the disk.
    pub(super) fn handle_persisted(&mut self, row: Row, _ctx: &mut Ctx) {
        let (digest, revision) = (row.digest, row.revision);
        self.disk.rows.insert(digest, row);
        if let Some(identity) = &mut self.identity {
            identity.relayer.handle_persisted(&digest, revision);
        }
    }

    /// The chain answers a simulation.
    pub(super) fn handle_simulate(&mut self, digest: Hash32, ctx: &mut Ctx) {
        let Some(identity) = &mut self.identity else {
            return;
        };
        let outcome = match ctx.chain.burned(&digest) {
            _ if !ctx.is_chain_up => Simulation::Unavailable,
            Some((number, tx_hash)) => Simulation::Landed(receipt(number, tx_hash, &ctx.chain)),
            None => Simulation::Passed { gas: GAS },
        };
        identity.relayer.handle_simulated(&digest, outcome, ctx.now);
    }

    /// A transaction reaches the chain's queue.
    pub(super) fn handle_send_tx(&mut self, send: SendTx, ctx: &mut Ctx) {
        let Some(identity) = &mut self.identity else {
            return;
        };
        let slot = Slot {
            wallet: send.tx.wallet,
            nonce: send.tx.nonce,
        };
        let sent = if ctx.is_chain_up {
            ctx.checkers.note_tx(self.idx, &send, ctx.now);
            ctx.chain.submit(send.tx).map_err(|refused| match refused {
                SubmitError::NonceUsed => SendFailure::NonceUsed,
                SubmitError::Underpriced => SendFailure::Retry,
            })
        } else {
            Err(SendFailure::Retry)
        };
        if let Some(digest) = send.digest {
            match sent {
                Ok(hash) => identity.relayer.handle_sent(&digest, slot, hash),
                Err(failure) => identity.relayer.handle_send_failed(&digest, slot, failure),
            }
        }
    }

    pub(super) fn handle_chain_away(&mut self) {
        if let Some(identity) = &mut self.identity {
            identity.relayer.handle_chain_away();
        }
    }

    /// Tells the relayer where the chain is.
    pub(super) fn handle_chain_tip(&mut self, ctx: &mut Ctx) {
        let Some(identity) = &mut self.identity else {
            return;
        };
        let (relayer, chain) = (&mut identity.relayer, &ctx.chain);
        relayer.handle_block(chain.tip().number);
        for row in self.disk.rows.values() {
            if row.stage.is_over() {
                continue;
            }
            match chain.burned(&row.digest) {
                Some((number, tx_hash)) => {
                    relayer.handle_mined(&row.digest, receipt(number, tx_hash, chain));
                }
                None => relayer.handle_undone(&row.digest),
            }
        }
        relayer.handle_final(chain.finalized());
        for wallet in &identity.wallets {
            let nonces = Nonces {
                latest: chain.nonce(wallet),
                settled: chain.final_nonce(wallet),
            };
            relayer.handle_wallet(*wallet, nonces, true);
        }
    }
}

fn receipt(number: u64, tx_hash: Hash32, chain: &Chain) -> Receipt {
    Receipt {
        tx_hash,
        block_number: number,
        block_hash: chain
            .block(number)
            .map(|block| block.hash)
            .unwrap_or_default(),
    }
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
