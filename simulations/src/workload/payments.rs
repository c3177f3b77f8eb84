//! A resident's own transactions: sent, watched, and sent again till they count,
//! as `node::chain::transact` does it for people.

use std::time::Duration;

use protocol::chain::inclusion::{Action, Event, Inclusion, InclusionConfig, Look, Mined};
use protocol::id::{Address, Hash32};

use super::Plan;
use crate::chain::client::{Client, Rpc};
use crate::chain::{Fees, Tx};
use crate::checkers::Rule;
use crate::host::Host;
use crate::world::{Ctx, Local};

/// What a resident pays.
#[derive(Debug, Default)]
pub(super) struct Payments {
    sending: Option<Sending>,
}

/// A transaction under way.
#[derive(Debug)]
struct Sending {
    client: Client,
    machine: Inclusion,
    newest: Tx,
}

impl Payments {
    /// True while a transaction is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.sending.is_some()
    }

    /// Sends a transaction, unless one is under way or nobody answers.
    pub(super) fn act(&mut self, wallet: Address, host: &Host, ctx: &mut Ctx) {
        if self.is_busy() {
            return;
        }
        let config = ctx.params.endpoints(ctx.rng.below(u64::MAX));
        let mut client = Client::new(host.idx, config);
        let nonces = client.call(&mut ctx.rpc(), |view| view.nonces(&wallet, None));
        let Some(nonces) = nonces else {
            return;
        };
        let newest = Tx {
            wallet,
            nonce: nonces.latest,
            fees: Fees::offered(ctx.chain.tip().base_fee, 0),
            action: None,
        };
        // An endpoint that is late tells a nonce that was used.
        let Ok(hash) = ctx.chain.submit(newest.clone()) else {
            return;
        };
        let config = InclusionConfig {
            confirmations: ctx.params.confirmations,
            bump_blocks: BUMP_BLOCKS,
            bumps_max: BUMPS_MAX,
            broadcast_interval: BROADCAST_INTERVAL,
            patience: PATIENCE,
        };
        let machine = Inclusion::new(config, newest.nonce, hash, ctx.now);
        self.sending = Some(Sending {
            client,
            machine,
            newest,
        });
        self.look_later(host, ctx);
    }

    /// Goes on to look after what is under way.
    pub(super) fn look_later(&self, host: &Host, ctx: &mut Ctx) {
        if self.is_busy() {
            ctx.local(host, LOOK_INTERVAL, Local::Person(Plan::Look));
        }
    }

    /// Looks what became of the transaction.
    pub(super) fn look(&mut self, host: &Host, ctx: &mut Ctx) {
        if let Some(sending) = &mut self.sending
            && sending.step(ctx)
        {
            self.sending = None;
        }
        self.look_later(host, ctx);
    }
}

impl Sending {
    /// Looks once and does what the machine wishes; true at the end.
    fn step(&mut self, ctx: &mut Ctx) -> bool {
        if let Some(look) = self.shown(&mut ctx.rpc()) {
            self.machine.handle_look(look, ctx.now);
        }
        match self.machine.poll_action() {
            Some(Action::Broadcast) if self.client.is_reached(&mut ctx.rpc()) => {
                // Whoever used the nonce, the next look tells.
                if ctx.chain.submit(self.newest.clone()).is_ok() {
                    self.machine.handle_broadcast(None);
                }
            }
            Some(Action::Bump { bumps }) => self.bump(bumps, ctx),
            Some(Action::Broadcast) | None => {}
        }
        let mut is_over = false;
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Done(mined) => {
                    is_over = true;
                    ctx.metrics.payments += 1;
                    ctx.checkers
                        .observe(Rule::TransactionsLand, true, ctx.now, String::new);
                    let block = ctx.chain.block(mined.block.number);
                    let holds = block.is_some_and(|block| {
                        let mut txs = block.txs.iter();
                        block.hash == mined.block.hash && txs.any(|tx| tx.hash == mined.tx_hash)
                    });
                    ctx.checkers
                        .observe(Rule::TransactionStands, holds, ctx.now, || {
                            format!("{} is not in block {}", mined.tx_hash, mined.block.number)
                        });
                }
                Event::Failed(failure) => {
                    is_over = true;
                    ctx.checkers
                        .observe(Rule::TransactionsLand, false, ctx.now, || {
                            failure.to_string()
                        });
                }
                Event::Undone { .. } => ctx.metrics.payments_undone += 1,
                Event::Mined(_) | Event::Confirmed { .. } => {}
            }
        }
        is_over
    }

    /// What the endpoints show, which may contradict one another.
    fn shown(&mut self, rpc: &mut Rpc<'_>) -> Option<Look> {
        let wallet = self.newest.wallet;
        let attempts: Vec<Hash32> = self.machine.attempts().collect();
        let count = self.client.call(rpc, |view| view.nonces(&wallet, None))?;
        let receipts = |hash: Hash32| {
            Some((
                hash,
                self.client.call(rpc, |view| Some(view.receipt(&hash)))??,
            ))
        };
        let mined = attempts.into_iter().find_map(receipts);
        let mined = mined.map(|(tx_hash, (block, succeeded))| Mined {
            tx_hash,
            block,
            succeeded,
        });
        // Asked for last: a block on top of the receipt's is never missed.
        let head = self.client.call(rpc, |view| Some(view.head()))?;
        Some(Look {
            head,
            count: count.latest,
            mined,
        })
    }

    fn bump(&mut self, bumps: u32, ctx: &mut Ctx) {
        let raised = Tx {
            fees: Fees::offered(ctx.chain.tip().base_fee, bumps),
            ..self.newest.clone()
        };
        if !self.client.is_reached(&mut ctx.rpc()) {
            return self.machine.handle_bump_refused();
        }
        match ctx.chain.submit(raised.clone()) {
            Ok(hash) => {
                self.machine.handle_sent(hash, ctx.now);
                self.newest = raised;
            }
            Err(_) => self.machine.handle_bump_refused(),
        }
    }
}

/// As `TransactConfig::default` has them.
const BUMP_BLOCKS: u64 = 5;
const BUMPS_MAX: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(600);
const BROADCAST_INTERVAL: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
