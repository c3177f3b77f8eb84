//! The identity role's relayer as one machine: asked → accepted → shown → landed.
//!
//! [`Identity`] puts the [`Relayer`] together with what it needs of the peer: who
//! is first in line, what the index and the contracts say of an action, how blocks
//! are counted where none come, which rows wait for the disk. A row is on disk
//! before its action is answered, shown or signed for, and before its nonce is
//! used. Nothing waits for a block alone: a pause without one counts as one, so an
//! accepted action lands on a chain that nobody else uses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::action::SignedAction;
use crate::admission::Account;
use crate::id::{Address, Hash32};
use crate::machine::Machine;
use crate::origin::RequestId;
use crate::placement::Placement;
use crate::relayer::{self, Event, Relayer, Row, Slot, Status};
use crate::time::{Moment, UnixSeconds};

mod chain;
mod face;
mod requests;
mod rows;
mod telling;
mod trials;
mod wallets;
mod words;

pub use face::{Chain, Change, Input, LookId, Note, Output, Trial, Unsent, WalletSeen};

use requests::Submitted;
use rows::Rows;
use telling::Telling;
use trials::Trials;
use wallets::Wallets;

/// Pays for users' actions.
#[derive(Debug)]
pub struct Identity {
    config: Config,
    relayer: Relayer,
    /// The newest placement; its identity peers relay.
    latest: Arc<Placement>,
    /// Submissions whose users are being looked up.
    submitted: BTreeMap<RequestId, Submitted>,
    /// Accepted actions that are not over, as they are on disk.
    open: BTreeMap<Hash32, Open>,
    trials: Trials,
    /// The action that was just submitted, and whom its trial counts against.
    asked: Option<(Hash32, Account)>,
    /// Transactions on their way, and until when their end is waited for.
    sends: BTreeMap<(Hash32, Slot), Moment>,
    rows: Rows,
    wallets: Wallets,
    telling: Telling,
    chain: Chain,
    /// Counts blocks, and pauses without one.
    block: u64,
    /// When the present pause counts as a block.
    idle_at: Moment,
    /// The actions that the index is being asked for.
    looking: Option<Vec<Hash32>>,
    /// True when the index may have something new.
    is_look_due: bool,
    outputs: VecDeque<Output>,
}

/// Settings and limits of an [`Identity`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The peer that has the role.
    pub peer: Address,
    /// What is relayed.
    pub relayer: relayer::Config,
    /// Wallets that pay, each with an order of nonces of its own.
    pub wallets: Vec<Address>,
    /// A pause without a block that counts as one.
    pub idle: Duration,
    /// Submissions whose users are being looked up.
    pub submitted_max: usize,
    /// Trials that are under way.
    pub trials_max: usize,
}

/// An accepted action that is not over.
#[derive(Debug, Clone, Copy)]
struct Open {
    signer: Address,
    accepted: UnixSeconds,
}

impl Config {
    /// The defaults of a peer on a chain where so many blocks on top make one final.
    #[must_use]
    pub fn new(
        peer: Address,
        relayer: relayer::Config,
        wallets: Vec<Address>,
        confirmations: u64,
    ) -> Self {
        Self {
            peer,
            relayer,
            wallets,
            // A chain that mines on demand has no blocks to count while nobody sends.
            idle: match confirmations {
                0 => IDLE_ON_DEMAND,
                _ => IDLE,
            },
            // More than all peers may ask at once, and own clients may wait.
            submitted_max: 512,
            // Each asks an endpoint twice.
            trials_max: 16,
        }
    }
}

impl Machine for Identity {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Request {
                request,
                origin,
                body,
            } => self.handle_request(request, origin, &body),
            Input::LookedUp { request, account } => self.handle_looked_up(request, account, now),
            Input::Latest(placement) => self.latest = placement,
            Input::Chain(chain) => self.handle_chain(chain, now),
            Input::Index => {
                self.trials.handle_news();
                self.look_at_index();
            }
            Input::Fresh => self.trials.handle_news(),
            Input::Looked { settled, landed } => self.handle_looked(settled, landed),
            Input::Tried { digest, found } => self.handle_tried(digest, found, now),
            Input::Sent { digest, slot, sent } => self.handle_sent(digest, slot, sent),
            Input::Wallet { id, seen } => self.handle_wallet(id, seen, now),
            Input::Persisted { error } => self.handle_persisted(error.is_none()),
            Input::Signed(record) => self.handle_signed(record),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        if self.idle_at <= now {
            self.idle_at = now + self.config.idle;
            self.rows.save_again();
            if !self.chain.is_away {
                self.count_blocks(1, now);
            }
        }
        for (digest, simulation) in self.trials.handle_timeout(now) {
            self.relayer.handle_simulated(&digest, simulation, now);
        }
        self.give_up_sends(now);
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        let idle = (self.idle_at, "a pause counts as a block");
        let send = self.sends.values().min();
        let send = send.map(|at| (*at, "a transaction was sent without an end"));
        let others = self.trials.deadline().into_iter().chain(send);
        others.chain([idle]).min()
    }
}

impl Identity {
    /// Goes on with the rows of an earlier run. What they hold is shown at once,
    /// and nothing is sent before the chain is heard of.
    #[must_use]
    pub fn new(config: Config, rows: impl IntoIterator<Item = Row>, now: Moment) -> Self {
        let rows: Vec<Row> = rows.into_iter().collect();
        let mut outputs = VecDeque::new();
        let mut open = BTreeMap::new();
        for row in rows.iter().filter(|row| !row.stage.is_over()) {
            let Ok(signer) = row.action.signer(&config.relayer.domain) else {
                continue;
            };
            let accepted = row.accepted;
            open.insert(row.digest, Open { signer, accepted });
            let action = row.action.clone();
            outputs.push_back(Output::Show { action, signer });
        }
        Self {
            relayer: Relayer::new(config.relayer.clone(), rows, now),
            latest: Arc::default(),
            submitted: BTreeMap::new(),
            open,
            trials: Trials::new(config.trials_max),
            asked: None,
            sends: BTreeMap::new(),
            rows: Rows::default(),
            wallets: Wallets::new(&config.wallets),
            telling: Telling::default(),
            chain: Chain {
                is_away: true,
                head: None,
                final_block: None,
            },
            block: 0,
            idle_at: now + config.idle,
            looking: None,
            is_look_due: true,
            outputs,
            config,
        }
    }

    /// Where an accepted action stands.
    #[must_use]
    pub fn status(&self, digest: &Hash32) -> Option<Status> {
        self.relayer.status(digest)
    }

    /// How many actions are not over.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.relayer.pending()
    }

    /// Passes on what the relayer and the parts wish.
    fn settle(&mut self, now: Moment) {
        loop {
            while let Some(event) = self.relayer.poll_event() {
                self.handle_event(event, now);
            }
            while let Some(reply) = self.relayer.poll_reply() {
                let (request, response) = (reply.id, reply.response);
                let answer = Output::Respond { request, response };
                self.outputs.push_back(answer);
            }
            let Some((digest, case)) = self.trials.begin_next(now) else {
                break;
            };
            let known = self.open.get(&digest).map(|open| open.signer);
            let signer = known.map_or_else(|| case.signer(&self.config.relayer.domain), Ok);
            let Ok(signer) = signer else {
                let reason = "the signature does not recover a wallet".to_owned();
                self.handle_tried(digest, Trial::Reverted { reason }, now);
                continue;
            };
            self.outputs.push_back(Output::Try {
                digest,
                action: case,
                signer,
                wallet: self.wallets.first(),
            });
        }
        self.asked = None;
        if let Some(changes) = self.rows.begin_write() {
            self.outputs.push_back(Output::Persist(changes));
        }
    }

    fn begin_trial(&mut self, digest: Hash32, action: SignedAction) {
        let asked = self.asked.take_if(|(asked, _)| *asked == digest);
        let account = match asked {
            Some((_, account)) => account,
            // Accepted before: its signature was looked at.
            None => {
                let open = self.open.get(&digest);
                Account::User(open.map_or(Address::ZERO, |open| open.signer))
            }
        };
        self.trials.begin(digest, action, account);
    }

    fn handle_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Simulate { digest, action } => self.begin_trial(digest, action),
            Event::Persist(row) => self.rows.note(row.digest, Some(row)),
            Event::Forget { digest } => self.rows.note(digest, None),
            Event::Send {
                digest,
                action,
                slot,
                gas,
                bumps,
            } => {
                self.sends.insert((digest, slot), now + SEND_PATIENCE);
                self.outputs.push_back(Output::Send {
                    digest,
                    action,
                    slot,
                    gas,
                    bumps,
                });
            }
            Event::Cancel { slot, bumps } => {
                let gas = TRANSFER_GAS;
                self.outputs.push_back(Output::Cancel { slot, gas, bumps });
            }
        }
    }
}

/// A pause without a block counts as one: longer than blocks of any chain that is
/// in order are apart.
const IDLE: Duration = Duration::from_secs(15);

/// The same, where blocks come with transactions only: short, because a person waits.
const IDLE_ON_DEMAND: Duration = Duration::from_secs(1);

/// A transaction whose end is not told within it is sent again: chosen, longer than
/// all that waits for an endpoint takes.
const SEND_PATIENCE: Duration = Duration::from_secs(120);

/// Gas of a transfer of nothing, as the chain's rules fix it.
const TRANSFER_GAS: u64 = 21_000;

#[cfg(test)]
mod tests;
