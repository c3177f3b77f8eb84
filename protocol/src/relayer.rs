//! The relayer: pays the gas of users' actions, within limits.
//!
//! Checks come in this order: signature, allow-list, simulation, budget,
//! quotas. An accepted action is stored before it is answered, and a nonce is
//! stored before it is used, so a crash neither forgets an action nor pays for
//! it twice. What is seen on chain may be undone until its block is final: a
//! slot in a wallet's order stays an action's own until the chain has consumed
//! it for good. While the chain is away actions are accepted unsimulated within
//! the budget, and simulated before they are sent.
//!
//! Format: `docs/formats/relayer.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::action::{ActionDomain, SignedAction};
use crate::id::{Address, Hash32};
use crate::origin::{Origin, Prefix, RequestId};
use crate::time::{Moment, UnixSeconds};

mod budget;
mod job;
mod kind;
mod landing;
mod message;
mod send;
mod wallets;

pub use budget::{Budget, Charge};
use job::Job;
pub use job::{Row, Stage};
pub use kind::{Kind, check_proof, solve_proof};
pub use message::{Receipt, Refusal, RefusalCode, Request, Response, Status};
use wallets::{Content, Wallets};
pub use wallets::{Nonces, Slot};

/// Accepts actions and brings them onto the chain.
#[derive(Debug)]
pub struct Relayer {
    config: Config,
    budget: Budget,
    jobs: BTreeMap<Hash32, Job>,
    /// Accepted actions that wait for a block and a wallet.
    ready: BTreeSet<(u64, u64, Hash32)>,
    sequence: u64,
    wallets: Wallets,
    /// Actions in blocks that are not known to be final, by block.
    included: BTreeSet<(u64, Hash32)>,
    /// Ended actions whose receipts are kept, the oldest first.
    ended: VecDeque<Hash32>,
    /// The last block that is final; not known at first.
    settled: Option<u64>,
    block: u64,
    is_chain_up: bool,
    replies: VecDeque<Reply>,
    events: VecDeque<Event>,
}

/// Limits of a [`Relayer`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Under which actions are signed.
    pub domain: ActionDomain,
    /// Gas that all actions of an hour may use.
    pub gas_per_hour_max: u64,
    /// Gas that all actions of a day may use.
    pub gas_per_day_max: u64,
    /// Gas that users younger than a day may use per prefix and day.
    pub new_user_gas_per_day_max: u64,
    /// Gas that deactivations may use in a day; outside the other budgets.
    pub deactivation_gas_per_day_max: u64,
    /// Leading zero bits of the proof of work for `User Create`.
    pub proof_bits: u32,
    /// Multiplies the hourly quotas of each owner.
    pub quota_factor: u32,
    /// Owners without hourly quotas.
    pub unlimited: BTreeSet<Address>,
    /// Charged for an action that could not be simulated yet.
    pub gas_estimate: u64,
    /// Actions that are being checked or wait to be mined.
    pub jobs_max: usize,
    /// Requests that wait for the same action to be accepted.
    pub waiters_max: usize,
    /// Transactions of one wallet that are under way.
    pub wallet_outstanding_max: usize,
    /// Blocks without a receipt before the fee is raised.
    pub bump_after_blocks: u64,
    /// Times that a fee is raised.
    pub bumps_max: u32,
    /// Ended actions whose receipts are kept.
    pub receipts_max: usize,
}

/// What the index knows of an action's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user's wallet, against whose quota an action counts.
    pub owner: Address,
    /// When the user was created.
    pub created: UnixSeconds,
    /// False when the signer of the action may not act for the user.
    pub may_act: bool,
}

/// An action as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// What to relay.
    pub action: SignedAction,
    /// The nonce of the proof of work.
    pub proof: Option<u64>,
    /// True when the driver found an app's token that pays for it.
    pub is_paid: bool,
    /// This relayer's rank for the digest: it waits as many blocks.
    pub rank: u64,
    /// The account of its user; `None` while the index does not know the user.
    pub account: Option<Account>,
}

/// An answer to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// To which request.
    pub id: RequestId,
    /// What to say.
    pub response: Response,
}

/// What a relayer asks of the rest of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Look whether the action has landed and, if not, simulate the call; answer
    /// with [`Relayer::handle_simulated`].
    Simulate {
        /// The action to simulate.
        digest: Hash32,
        /// What to call.
        action: SignedAction,
    },
    /// Store the row under its digest; answer with [`Relayer::handle_persisted`].
    Persist(Box<Row>),
    /// Delete the stored row.
    Forget {
        /// The action to forget.
        digest: Hash32,
    },
    /// Send the action as a transaction; answer each with [`Relayer::handle_sent`]
    /// or [`Relayer::handle_send_failed`], before which blocks do not have it sent
    /// again. Sending the same nonce again replaces.
    Send {
        /// The action to send.
        digest: Hash32,
        /// What to call.
        action: SignedAction,
        /// In which slot.
        slot: Slot,
        /// What was charged for it.
        gas: u64,
        /// How many times to raise the usual fee.
        bumps: u32,
    },
    /// Consume a slot that something waits behind and no action needs, by a
    /// transfer of nothing to the wallet itself. It is asked for again when that
    /// takes too long, so that there is no answer.
    Cancel {
        /// The slot to consume.
        slot: Slot,
        /// How many times to raise the usual fee.
        bumps: u32,
    },
}

/// The outcome of an [`Event::Simulate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulation {
    /// The call would pass.
    Passed {
        /// What it would use.
        gas: u64,
    },
    /// The call would revert.
    Reverted {
        /// The reason as the contract words it.
        reason: String,
    },
    /// The action is on chain already.
    Landed(Receipt),
    /// The chain did not answer.
    Unavailable,
}

/// Why a transaction could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendFailure {
    /// The chain did not answer, or the wallet is short of money.
    Retry,
    /// The nonce has been consumed by another transaction.
    NonceUsed,
    /// It would revert or is malformed.
    Refused {
        /// What is wrong, for people.
        reason: String,
    },
}

impl Config {
    /// The defaults of a deployment.
    #[must_use]
    pub fn new(domain: ActionDomain) -> Self {
        Self {
            domain,
            // 166 actions at the estimate: what an operator pays is bounded.
            gas_per_hour_max: 50_000_000,
            // Ten full hours.
            gas_per_day_max: 500_000_000,
            // A hundred actions a prefix: a sixteenth of the day.
            new_user_gas_per_day_max: 30_000_000,
            // A hundred, apart from the rest, so that a spent budget keeps nobody in.
            deactivation_gas_per_day_max: 30_000_000,
            // A million hashes: about a second of a processor.
            proof_bits: 20,
            quota_factor: 1,
            unlimited: BTreeSet::new(),
            // Chosen: more than an action with usual metadata takes.
            gas_estimate: 300_000,
            // Six days' gas at the estimate: what waits for a chain that is away.
            jobs_max: 10_000,
            // Chosen: a client asks once and its relayers again; only larger than both.
            waiters_max: 16,
            // As many as usual transaction pools promise to keep of one account.
            wallet_outstanding_max: 16,
            // Chosen: a block or two may be full without a rise of fees.
            bump_after_blocks: 3,
            // By a quarter each: three times the first fee, which bounds the cost.
            bumps_max: 5,
            // Two months' worth at a full budget.
            receipts_max: 100_000,
        }
    }
}

impl Relayer {
    /// Creates a relayer with the rows of an earlier run. Nothing is sent before
    /// [`Relayer::handle_block`] and [`Relayer::handle_wallet`] say where the
    /// chain is.
    #[must_use]
    pub fn new(config: Config, rows: impl IntoIterator<Item = Row>, now: Moment) -> Self {
        let mut relayer = Self {
            budget: Budget::new(now),
            config,
            jobs: BTreeMap::new(),
            ready: BTreeSet::new(),
            sequence: 0,
            wallets: Wallets::default(),
            included: BTreeSet::new(),
            ended: VecDeque::new(),
            settled: None,
            block: 0,
            is_chain_up: false,
            replies: VecDeque::new(),
            events: VecDeque::new(),
        };
        let mut rows: Vec<Row> = rows.into_iter().collect();
        rows.sort_by_key(|row| (row.accepted, row.digest));
        for row in rows {
            relayer.restore(row);
        }
        relayer
    }

    /// Takes a request; the answer comes through [`Relayer::poll_reply`].
    pub fn handle_submit(
        &mut self,
        id: RequestId,
        origin: Origin,
        submission: Submission,
        now: Moment,
    ) {
        if let Err(refusal) = self.submit(id, origin, submission, now) {
            self.reply(id, Response::Refused(refusal));
        }
    }

    /// Answers where an action stands.
    pub fn handle_status(&mut self, id: RequestId, digest: &Hash32) {
        let response = match self.status(digest) {
            Some(status) => Response::Accepted {
                digest: *digest,
                status,
            },
            None => Response::Unknown,
        };
        self.reply(id, response);
    }

    /// Where an accepted action stands.
    #[must_use]
    pub fn status(&self, digest: &Hash32) -> Option<Status> {
        let job = self.jobs.get(digest).filter(|job| job.is_accepted)?;
        Some(job.status())
    }

    /// Takes the outcome of a simulation.
    pub fn handle_simulated(&mut self, digest: &Hash32, outcome: Simulation, now: Moment) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        if !std::mem::take(&mut job.is_simulating) {
            return;
        }
        if !job.is_accepted {
            self.admit(digest, outcome, now);
            return;
        }
        // It landed while it was being simulated.
        if job.row.stage != Stage::Pending {
            return;
        }
        match outcome {
            Simulation::Passed { gas } => {
                job.row.is_simulated = true;
                job.row.charge.gas = job.row.charge.gas.max(gas);
                // It has waited and was looked for: it is sent next.
                job.rank = 0;
                self.make_ready(digest, self.block);
            }
            Simulation::Unavailable => self.make_ready(digest, self.block + 1),
            Simulation::Reverted { reason } => self.fail(digest, reason),
            Simulation::Landed(receipt) => self.handle_mined(digest, receipt),
        }
        self.dispatch();
    }

    /// Notes that a row is stored.
    pub fn handle_persisted(&mut self, digest: &Hash32, revision: u64) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        if job.awaited.is_none_or(|awaited| awaited > revision) {
            return;
        }
        job.awaited = None;
        if job.is_accepted {
            self.send(digest);
            return;
        }
        job.is_accepted = true;
        let response = Response::Accepted {
            digest: *digest,
            status: job.status(),
        };
        for id in std::mem::take(&mut job.waiters) {
            self.reply(id, response.clone());
        }
        let job = &self.jobs[digest];
        if let Stage::Included { receipt, .. } = &job.row.stage {
            self.included.insert((receipt.block_number, *digest));
        } else {
            let block = self.block + job.rank;
            self.make_ready(digest, block);
            self.dispatch();
        }
    }

    /// Notes that the first row of an action could not be stored.
    pub fn handle_persist_failed(&mut self, digest: &Hash32) {
        if self.jobs.get(digest).is_some_and(|job| !job.is_accepted) {
            let text = "the action could not be stored; try another relayer";
            self.refuse(digest, &Refusal::new(RefusalCode::Busy, text));
        }
    }

    /// The next answer to deliver.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many actions are not over.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.jobs.len() - self.ended.len()
    }

    fn submit(
        &mut self,
        id: RequestId,
        origin: Origin,
        submission: Submission,
        now: Moment,
    ) -> Result<(), Refusal> {
        let Submission {
            action,
            proof,
            is_paid,
            rank,
            account,
        } = submission;
        let signer = action
            .signer(&self.config.domain)
            .map_err(|error| Refusal::new(RefusalCode::Signature, error.to_string()))?;
        let digest = action.action.digest(&self.config.domain);
        if let Some(job) = self.jobs.get_mut(&digest) {
            if job.is_accepted {
                let status = job.status();
                self.reply(id, Response::Accepted { digest, status });
                self.reopen(&digest);
            } else if job.waiters.len() < self.config.waiters_max {
                job.waiters.push(id);
            } else {
                return Err(busy("too many requests wait for this action"));
            }
            return Ok(());
        }
        let kind = Kind::of(&action.action)?;
        if account.is_some_and(|account| !account.may_act) {
            return Err(Refusal::new(
                RefusalCode::Signature,
                format!(
                    "{signer} may not act for user {}; check the EIP-712 type string, which spells `uint`",
                    action.action.user_id
                ),
            ));
        }
        if kind == Kind::CreateUser && !is_paid {
            check_proof(&digest, proof, self.config.proof_bits)?;
        }
        if self.pending() >= self.config.jobs_max {
            return Err(busy("the queue is full"));
        }
        let charge = Charge {
            kind,
            owner: account.map_or(signer, |account| account.owner),
            user: action.action.user_id,
            prefix: account
                .is_none_or(|account| now.unix().0.saturating_sub(account.created.0) < DAY_SECONDS)
                .then(|| origin.ip.and_then(Prefix::of))
                .flatten(),
            gas: self.config.gas_estimate,
        };
        let row = Row {
            digest,
            revision: 0,
            action,
            charge,
            accepted: now.unix(),
            is_simulated: false,
            stage: Stage::Pending,
            last_slot: None,
        };
        self.jobs.insert(digest, Job::new(row, rank, id));
        if self.is_chain_up {
            self.simulate(&digest);
        } else {
            self.admit(&digest, Simulation::Unavailable, now);
        }
        Ok(())
    }

    /// Decides about an action whose simulation is known or put off.
    fn admit(&mut self, digest: &Hash32, outcome: Simulation, now: Moment) {
        let job = self.jobs.get_mut(digest).expect("the caller found the job");
        match outcome {
            Simulation::Passed { gas } => {
                job.row.is_simulated = true;
                job.row.charge.gas = gas;
            }
            Simulation::Unavailable => {}
            Simulation::Reverted { reason } => {
                self.refuse(digest, &Refusal::new(RefusalCode::Simulation, reason));
                return;
            }
            Simulation::Landed(receipt) => {
                job.row.stage = Stage::Included {
                    receipt,
                    sent: None,
                };
                self.persist(digest, true);
                return;
            }
        }
        match self.budget.charge(&job.row.charge, &self.config, now) {
            Ok(()) => self.persist(digest, true),
            Err(refusal) => self.refuse(digest, &refusal),
        }
    }

    fn refuse(&mut self, digest: &Hash32, refusal: &Refusal) {
        if let Some(job) = self.jobs.remove(digest) {
            for id in job.waiters {
                self.reply(id, Response::Refused(refusal.clone()));
            }
        }
    }

    fn simulate(&mut self, digest: &Hash32) {
        let job = self.jobs.get_mut(digest).expect("the caller found the job");
        job.is_simulating = true;
        self.events.push_back(Event::Simulate {
            digest: *digest,
            action: job.row.action.clone(),
        });
    }

    fn persist(&mut self, digest: &Hash32, is_awaited: bool) {
        let job = self.jobs.get_mut(digest).expect("the caller found the job");
        job.row.revision += 1;
        if is_awaited {
            job.awaited = Some(job.row.revision);
        }
        self.events
            .push_back(Event::Persist(Box::new(job.row.clone())));
    }

    /// Keeps the receipt of an ended action, and forgets the oldest.
    fn retire(&mut self, digest: &Hash32) {
        self.ended.push_back(*digest);
        if self.ended.len() > self.config.receipts_max
            && let Some(oldest) = self.ended.pop_front()
        {
            self.jobs.remove(&oldest);
            self.events.push_back(Event::Forget { digest: oldest });
        }
    }

    fn make_ready(&mut self, digest: &Hash32, block: u64) {
        self.sequence += 1;
        self.ready.insert((block, self.sequence, *digest));
    }

    fn restore(&mut self, row: Row) {
        let digest = row.digest;
        self.budget.restore(&row.charge, row.accepted);
        let mut job = Job::new(row, 0, RequestId(0));
        job.waiters.clear();
        job.is_accepted = true;
        // What happened meanwhile is looked up before anything is sent anew.
        job.row.is_simulated = false;
        let slot = job.slot();
        let is_taken = slot.is_some_and(|slot| self.wallets.content(&slot).is_some());
        if let Some(slot) = slot.filter(|_| !is_taken) {
            self.wallets.set(slot, Content::Action(digest), self.block);
        }
        match &job.row.stage {
            // A row that was not stored in time may leave its slot to two.
            Stage::Assigned { .. } if is_taken => job.row.stage = Stage::Pending,
            Stage::Included { receipt, .. } => {
                self.included.insert((receipt.block_number, digest));
            }
            Stage::Pending | Stage::Assigned { .. } | Stage::Mined(_) | Stage::Failed { .. } => {}
        }
        let (is_pending, is_over) = (job.row.stage == Stage::Pending, job.row.stage.is_over());
        self.jobs.insert(digest, job);
        if is_pending {
            self.make_ready(&digest, 0);
        } else if is_over {
            self.retire(&digest);
        }
    }

    fn reply(&mut self, id: RequestId, response: Response) {
        self.replies.push_back(Reply { id, response });
    }
}

fn busy(reason: &str) -> Refusal {
    Refusal::new(RefusalCode::Busy, reason).retry_after(BUSY_RETRY_SECONDS)
}

/// Chosen: a block of a slow chain, which makes room.
const BUSY_RETRY_SECONDS: u64 = 15;

const DAY_SECONDS: u64 = 24 * 3600;

#[cfg(test)]
mod tests;
