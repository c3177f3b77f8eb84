//! Getting one transaction of a wallet into the chain and keeping it there.
//!
//! The machine watches one nonce. While nothing with that nonce is mined it asks
//! for the transaction to be broadcast again and, after some blocks, to be
//! signed again with a higher fee; whichever attempt is mined counts. It ends
//! when the block has its confirmations, when another transaction took the
//! nonce, when the chain refuses for good, or when its patience does.
//!
//! The driver sends first, then alternates between `handle_look` with what the
//! chain shows and draining `poll_action` and `poll_event`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::id::Hash32;
use crate::registry::BlockRef;
use crate::time::Moment;

/// How hard a transaction is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InclusionConfig {
    /// Blocks on top of its block before it counts.
    pub confirmations: u64,
    /// Blocks without it after which the fee is raised; 0 never raises it.
    pub bump_blocks: u64,
    /// How often the fee is raised at most; at most [`BUMPS_MAX`].
    pub bumps_max: u32,
    /// Pause between two broadcasts of the same bytes.
    pub broadcast_interval: Duration,
    /// Time after which an unmined transaction is given up.
    pub patience: Duration,
}

/// The machine; see the module text.
#[derive(Debug)]
pub struct Inclusion {
    config: InclusionConfig,
    nonce: u64,
    started: Moment,
    /// Every attempt, the newest last; at most [`BUMPS_MAX`] + 1.
    attempts: Vec<Hash32>,
    /// The head when the newest attempt was sent.
    sent_at: Option<u64>,
    broadcast_at: Moment,
    mined: Option<Mined>,
    /// Confirmations that were reported for the block.
    reported: Option<u64>,
    usurped: Option<Usurped>,
    refusals: u32,
    refusal: Option<String>,
    action: Option<Action>,
    events: VecDeque<Event>,
    is_over: bool,
}

/// An attempt that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mined {
    /// The attempt that made it.
    pub tx_hash: Hash32,
    /// The block that holds it.
    pub block: BlockRef,
    /// False when it reverted.
    pub succeeded: bool,
}

/// What the chain showed at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Number of the newest block.
    pub head: u64,
    /// How many transactions of the wallet are mined.
    pub count: u64,
    /// The attempt that has a receipt.
    pub mined: Option<Mined>,
}

/// What the driver is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Broadcast the newest attempt again.
    Broadcast,
    /// Sign and send it with the fee raised this often.
    Bump {
        /// How often the fee was raised, this time included.
        bumps: u32,
    },
}

/// What became of the transaction so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is in a block.
    Mined(Mined),
    /// Its block got another one on top.
    Confirmed {
        /// Blocks on top.
        count: u64,
        /// Blocks that it takes.
        of: u64,
    },
    /// A reorganisation undid its block.
    Undone {
        /// The block that is gone.
        block: BlockRef,
    },
    /// It has its confirmations; nothing follows.
    Done(Mined),
    /// It will not be mined; nothing follows.
    Failed(Failure),
}

/// Why a transaction will not be mined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Somebody else sends with the same wallet.
    #[error(
        "another transaction of the wallet took nonce {nonce}; does another program send with the same wallet?"
    )]
    Replaced {
        /// The nonce that another transaction used.
        nonce: u64,
    },
    /// The endpoints lost it and do not take it again.
    #[error("it was dropped and is refused when it is broadcast again: {reason}")]
    Dropped {
        /// What the endpoint says.
        reason: String,
    },
    /// It took too long.
    #[error(
        "it was not mined within {} s and may still be; is the chain halted, or the fee too low?",
        waited.as_secs()
    )]
    NotMined {
        /// How long it was waited for.
        waited: Duration,
    },
}

/// A look at which the nonce was taken and no attempt had a receipt.
#[derive(Debug, Clone, Copy)]
struct Usurped {
    head: u64,
    looks: u32,
}

impl Inclusion {
    /// Watches `nonce`, whose first attempt `tx_hash` has been sent.
    #[must_use]
    pub fn new(config: InclusionConfig, nonce: u64, tx_hash: Hash32, now: Moment) -> Self {
        Self {
            config,
            nonce,
            started: now,
            attempts: vec![tx_hash],
            sent_at: None,
            broadcast_at: now + config.broadcast_interval,
            mined: None,
            reported: None,
            usurped: None,
            refusals: 0,
            refusal: None,
            action: None,
            events: VecDeque::new(),
            is_over: false,
        }
    }

    /// The attempts, the newest first: the order in which to look for receipts.
    pub fn attempts(&self) -> impl Iterator<Item = Hash32> + '_ {
        self.attempts.iter().rev().copied()
    }

    /// The block that an attempt is in, as far as is known.
    #[must_use]
    pub const fn mined(&self) -> Option<Mined> {
        self.mined
    }

    /// Notes that a raised attempt was sent.
    pub fn handle_sent(&mut self, tx_hash: Hash32, now: Moment) {
        self.attempts.push(tx_hash);
        self.sent_at = None;
        self.broadcast_at = now + self.config.broadcast_interval;
    }

    /// Notes that the raised attempt was refused; the one before stands, and the
    /// fee is raised later.
    pub fn handle_bump_refused(&mut self) {
        self.sent_at = None;
    }

    /// Notes how a broadcast was answered: with the endpoint's refusal, or with
    /// `None` when it has the transaction.
    pub fn handle_broadcast(&mut self, refusal: Option<String>) {
        match refusal {
            None => {
                self.refusals = 0;
                self.refusal = None;
            }
            Some(reason) => {
                self.refusals = self.refusals.saturating_add(1);
                self.refusal = Some(reason);
            }
        }
    }

    /// Takes what the chain shows.
    pub fn handle_look(&mut self, look: Look, now: Moment) {
        if self.is_over {
            return;
        }
        match look.mined {
            Some(mined) => self.handle_mined(mined, look.head),
            None => self.handle_missing(look, now),
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.action.take()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn handle_mined(&mut self, mined: Mined, head: u64) {
        self.usurped = None;
        self.refusals = 0;
        if self.mined != Some(mined) {
            self.undo();
            self.mined = Some(mined);
            self.events.push_back(Event::Mined(mined));
        }
        let of = self.config.confirmations;
        let count = head.saturating_sub(mined.block.number).min(of);
        if count > 0 && self.reported.is_none_or(|reported| reported < count) {
            self.reported = Some(count);
            self.events.push_back(Event::Confirmed { count, of });
        }
        if count == of {
            self.is_over = true;
            self.events.push_back(Event::Done(mined));
        }
    }

    fn handle_missing(&mut self, look: Look, now: Moment) {
        self.undo();
        if look.count > self.nonce {
            self.handle_usurped(look.head);
            return;
        }
        self.usurped = None;
        let waited = now.saturating_since(self.started);
        if self.refusals >= REFUSALS_MAX
            && let Some(reason) = self.refusal.take()
        {
            self.fail(Failure::Dropped { reason });
        } else if waited >= self.config.patience {
            self.fail(Failure::NotMined { waited });
        } else if self.is_bump_due(look.head) {
            let bumps = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
            self.action = Some(Action::Bump { bumps });
        } else if now >= self.broadcast_at {
            self.broadcast_at = now + self.config.broadcast_interval;
            self.action = Some(Action::Broadcast);
        }
    }

    /// A receipt may be late behind the count, and a reorganisation may bring
    /// an attempt back: only what lasts counts.
    fn handle_usurped(&mut self, head: u64) {
        let usurped = self.usurped.get_or_insert(Usurped { head, looks: 0 });
        usurped.looks = usurped.looks.saturating_add(1);
        let is_deep = head >= usurped.head.saturating_add(self.config.confirmations);
        if usurped.looks >= USURPED_LOOKS_MIN && is_deep {
            let nonce = self.nonce;
            self.fail(Failure::Replaced { nonce });
        }
    }

    fn is_bump_due(&mut self, head: u64) -> bool {
        let sent_at = *self.sent_at.get_or_insert(head);
        let bumps = u32::try_from(self.attempts.len() - 1).unwrap_or(u32::MAX);
        self.config.bump_blocks > 0
            && head >= sent_at.saturating_add(self.config.bump_blocks)
            && bumps < self.config.bumps_max.min(BUMPS_MAX)
    }

    fn undo(&mut self) {
        if let Some(mined) = self.mined.take() {
            self.reported = None;
            self.sent_at = None;
            self.events.push_back(Event::Undone { block: mined.block });
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.is_over = true;
        self.events.push_back(Event::Failed(failure));
    }
}

/// How often a fee is raised at most: by a quarter each, 35 times the first. Chosen:
/// what that does not mend is no matter of the fee.
pub const BUMPS_MAX: u32 = 16;

/// Refusals in a row that show that the transaction is lost. Chosen: one endpoint
/// may lag, several endpoints of one provider too.
const REFUSALS_MAX: u32 = 3;

/// Looks in a row that show that the nonce is somebody else's. Chosen: more than
/// [`REFUSALS_MAX`], since whoever is told so stops waiting for good.
const USURPED_LOOKS_MIN: u32 = 5;

#[cfg(test)]
mod tests;
