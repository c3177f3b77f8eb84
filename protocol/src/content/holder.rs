//! The staked peer's side of publishing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::references::Owner;
use crate::admission::{Account, Floor, Network, Source, Turns};
use crate::id::{Address, Hash32, UserId};
use crate::origin::RequestId;
use crate::publish::{Offer, Offered, Refusal, RefusalCode, Response, SOURCES_MAX};
use crate::records::{Lease, SignedLease};
use crate::time::{Moment, UnixSeconds};

mod room;

/// Accepts offers within its limits and turns them into leases.
///
/// Whoever offers has a share of the queue, a turn and a rate to keep. Several
/// offers of one root may contradict each other: one of them is pulled at a time,
/// and what arrives tells which is right.
///
/// Its owner answers [`HolderEvent::Pull`] with [`Holder::handle_pulled`] once
/// the DAG is complete, verified and durable, and [`HolderEvent::Grant`] with
/// [`Holder::handle_lease`].
#[derive(Debug)]
pub struct Holder {
    config: HolderConfig,
    capacity: u64,
    used: u64,
    uploads: BTreeMap<Offered, Upload>,
    /// Those that wait to be pulled. One whose root is being pulled under another
    /// offer waits for the end of that, and is not among them.
    waiting: Turns<Account, Offered>,
    /// Those that are being pulled, with the rate that they have to keep.
    pulls: BTreeMap<Offered, Floor>,
    /// Bytes accepted from each network on the day that is counted.
    networks: BTreeMap<Network, u64>,
    day: u64,
    index: IndexState,
    /// When the chain was first seen away, until the index is current again.
    away_since: Option<Moment>,
    /// When the index caught up after the chain had been away for long.
    resumed: Moment,
    replies: VecDeque<Reply>,
    events: VecDeque<HolderEvent>,
}

/// Limits of a [`Holder`]; `None` lifts one.
#[derive(Debug, Clone)]
pub struct HolderConfig {
    /// Unpublished bytes in ten-thousandths of the capacity (4 % by default); half
    /// of them for one account.
    pub unpublished_share_max: Option<u64>,
    /// What a user may store here in all in the first week.
    pub new_user_bytes_max: Option<u64>,
    /// What a user may store here in all later.
    pub user_bytes_max: Option<u64>,
    /// What one /32 (IPv6 /48), and all of unknown networks, may store here in a
    /// day; loopback is not counted.
    pub prefix_bytes_per_day_max: Option<u64>,
    /// Uploads that are neither published nor dropped yet; an eighth for one user,
    /// and for one account.
    pub uploads_max: usize,
    /// Uploads that are pulled at a time; all but one for one account.
    pub pulls_max: usize,
    /// An upload whose action does not show up for this long in an index that
    /// keeps up with the chain is dropped.
    pub unpublished_ttl: Duration,
}

/// What is known of a user, from the index and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserFacts {
    /// When the user was created.
    pub created: UnixSeconds,
    /// Bytes of the user's published roots here.
    pub stored_bytes: u64,
    /// Added to the user's quota by verification, allow-list or stake.
    pub extra_bytes: u64,
}

/// An answer to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// To which request.
    pub id: RequestId,
    /// What to say.
    pub response: Response,
}

/// What a holder asks of the rest of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HolderEvent {
    /// Fetch the DAG from the sources and, failing them, from the author.
    Pull {
        /// The root to pull.
        root: Cid,
        /// The sum of the lengths of its distinct blocks; abort beyond it.
        size: u64,
        /// Peers that hold it.
        sources: Vec<Address>,
        /// Who has it in any case.
        author: Address,
    },
    /// Promise the root: see [`super::LeaseBook::grant`].
    Grant {
        /// The root to promise.
        root: Cid,
        /// The proof root that the pull found.
        proof_root: Hash32,
        /// Bytes of the DAG, as pulled.
        size: u64,
    },
    /// Stop a pull that goes on, strike the lease, give the blocks up.
    Drop {
        /// The root to drop.
        root: Cid,
    },
}

/// How the index stands to the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// It has what the chain has.
    Current,
    /// It is catching up.
    Behind,
    /// The chain does not answer, or does not go on.
    Away,
}

/// An offer that was accepted; storable, so that a restart forgets none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// What was offered.
    pub offer: Offer,
    /// The author's peer key.
    pub author: Address,
    /// What it counts against.
    #[serde(default = "unknown")]
    pub account: Account,
    /// When the offer was accepted.
    pub accepted: UnixSeconds,
    /// Where it stands.
    pub state: UploadState,
}

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    /// Waits for its turn to be pulled.
    Queued,
    /// Being pulled; so many bytes are here.
    Pulling(u64),
    /// Durable; its lease is being signed.
    Held,
    /// Promised by this lease.
    Leased(Box<SignedLease>),
}

impl Default for HolderConfig {
    /// The limits of a deployment.
    fn default() -> Self {
        Self {
            // Chosen: what strangers may fill without a published action stays a margin.
            unpublished_share_max: Some(400),
            // Chosen: some albums; an account costs a proof of work only.
            new_user_bytes_max: Some(GIB),
            // Chosen: a life's work in audio; stake and verification raise it.
            user_bytes_max: Some(20 * GIB),
            // Chosen: five new users behind one address.
            prefix_bytes_per_day_max: Some(5 * GIB),
            // Some 20 KiB each, with the action, in memory and on disk.
            uploads_max: 1024,
            // Chosen: slow authors do not keep others waiting; each holds its bytes in flight.
            pulls_max: 16,
            // As long as authors try: a large file over a home link, a relayer that is away.
            unpublished_ttl: Duration::from_secs(2 * 3600),
        }
    }
}

impl HolderConfig {
    /// Lifts the limits per user and on unpublished bytes.
    #[must_use]
    pub fn for_devnet() -> Self {
        Self {
            unpublished_share_max: None,
            new_user_bytes_max: None,
            user_bytes_max: None,
            ..Self::default()
        }
    }

    /// Bytes that a user may store here in all; `None` without a limit.
    #[must_use]
    pub fn user_limit(&self, owner: &Owner, now: Moment) -> Option<u64> {
        let is_new = now.unix().0.saturating_sub(owner.created.0) < WEEK_SECONDS;
        let limit = match is_new {
            true => self.new_user_bytes_max,
            false => self.user_bytes_max,
        };
        limit.map(|limit| limit.saturating_add(owner.extra_bytes))
    }
}

impl Holder {
    /// Creates a holder with the uploads that were stored of an earlier run.
    #[must_use]
    pub fn new(
        config: HolderConfig,
        uploads: impl IntoIterator<Item = Upload>,
        now: Moment,
    ) -> Self {
        let mut holder = Self {
            uploads: BTreeMap::new(),
            capacity: 0,
            used: 0,
            waiting: Turns::default(),
            pulls: BTreeMap::new(),
            networks: BTreeMap::new(),
            day: day(now),
            index: IndexState::Behind,
            away_since: None,
            resumed: Moment::ZERO,
            replies: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        let mut uploads: Vec<Upload> = uploads.into_iter().collect();
        uploads.sort_by_key(|upload| upload.accepted);
        for mut upload in uploads.into_iter().take(holder.config.uploads_max) {
            let offered = upload.offer.offered();
            match upload.state {
                UploadState::Queued | UploadState::Pulling(_) => {
                    upload.state = UploadState::Queued;
                    holder.waiting.push(upload.account, offered);
                }
                UploadState::Held => holder.events.push_back(grant(&offered)),
                UploadState::Leased(_) => {}
            }
            holder.uploads.insert(offered, upload);
        }
        holder.start_pulls(now);
        holder
    }

    /// Notes what the disk holds and may hold.
    pub fn handle_capacity(&mut self, capacity: u64, used: u64) {
        self.capacity = capacity;
        self.used = used;
    }

    /// Notes how the index stands to the chain. Only a current one can say what
    /// was never published. After the chain was away uploads get their whole time
    /// again: actions that waited for it need a moment to land.
    pub fn handle_index(&mut self, state: IndexState, now: Moment) {
        self.index = state;
        match state {
            IndexState::Away => {
                self.away_since.get_or_insert(now);
            }
            IndexState::Behind => {}
            IndexState::Current => {
                let since = self.away_since.take();
                if since.is_some_and(|since| now.saturating_since(since) >= AWAY_MIN) {
                    self.resumed = now;
                }
            }
        }
    }

    /// Answers a peer how far a root is, as it offered it if it did; `lease` is its
    /// standing lease.
    pub fn handle_status(
        &mut self,
        id: RequestId,
        peer: &Address,
        root: &Cid,
        lease: Option<&SignedLease>,
    ) {
        let own = self.offers_of(root).find(|upload| upload.author == *peer);
        let response = match own.or_else(|| self.upload(root)) {
            Some(upload) => status(upload),
            None => lease.map_or(Response::Unknown, |lease| {
                Response::Lease(Box::new(lease.clone()))
            }),
        };
        self.replies.push_back(Reply { id, response });
    }

    /// Answers an offer whose action `signer` signed, with what the index knows
    /// of the user that it names, if `signer` may act for it.
    pub fn handle_offer(
        &mut self,
        id: RequestId,
        source: Source,
        offer: Offer,
        signer: Address,
        known: (Option<UserFacts>, Option<&SignedLease>),
        now: Moment,
    ) {
        let (user, lease) = known;
        let response = match user {
            Some(facts) => self.accept(source, offer, &facts, lease, now),
            None => Err(unknown_user(offer.action.action.user_id, signer)),
        };
        let response = response.unwrap_or_else(Response::Refused);
        self.replies.push_back(Reply { id, response });
    }

    /// Notes how many bytes of a pull are here. Room is taken by what arrives:
    /// whoever has the most that is not published gives way.
    pub fn handle_progress(&mut self, root: &Cid, bytes: u64, now: Moment) {
        let Some(pulled) = self.pulled(root) else {
            return;
        };
        if let Some(upload) = self.uploads.get_mut(&pulled)
            && let UploadState::Pulling(before) = &mut upload.state
        {
            *before = (*before).max(bytes);
        }
        self.make_room();
        self.start_pulls(now);
    }

    /// Takes a finished pull. What is here says which offer of the root was right;
    /// the others are dropped.
    pub fn handle_pulled(&mut self, root: &Cid, proof_root: Hash32, size: u64, now: Moment) {
        let Some(pulled) = self.pulled(root) else {
            return;
        };
        let right = Offered {
            root: *root,
            size,
            proof_root,
        };
        self.pulls.remove(&pulled);
        self.waiting.retain(|offered| offered.root != *root);
        let others = |offered: &Offered| offered.root == *root && *offered != right;
        self.uploads.retain(|offered, _| !others(offered));
        self.events.push_back(match self.uploads.get_mut(&right) {
            Some(upload) => {
                upload.state = UploadState::Held;
                grant(&right)
            }
            None => HolderEvent::Drop { root: *root },
        });
        self.start_pulls(now);
    }

    /// Notes that a pull failed; the author may offer the root again.
    pub fn handle_pull_failed(&mut self, root: &Cid, now: Moment) {
        if let Some(pulled) = self.pulled(root) {
            self.discard(&pulled);
        }
        self.start_pulls(now);
    }

    /// Notes that blocks of a root are gone: before its lease the author may offer it
    /// again.
    pub fn handle_damaged(&mut self, root: &Cid) {
        let is_held = |(offered, upload): &(&Offered, &Upload)| {
            offered.root == *root && upload.state == UploadState::Held
        };
        let held = self.uploads.iter().filter(is_held);
        let held: Vec<Offered> = held.map(|(offered, _)| *offered).collect();
        held.iter().for_each(|offered| self.discard(offered));
    }

    /// Takes the lease that was signed for a [`HolderEvent::Grant`].
    pub fn handle_lease(&mut self, lease: SignedLease) {
        let Lease {
            root,
            size,
            proof_root,
            ..
        } = lease.record;
        let promised = Offered {
            root,
            size,
            proof_root,
        };
        if let Some(upload) = self.uploads.get_mut(&promised)
            && upload.state == UploadState::Held
        {
            upload.state = UploadState::Leased(Box::new(lease));
        }
    }

    /// Notes that the index has the action that publishes the root: from here
    /// on the lease book looks after it.
    pub fn handle_published(&mut self, root: &Cid) {
        if let Some(upload) = self.upload(root)
            && matches!(upload.state, UploadState::Leased(_))
        {
            let offered = upload.offer.offered();
            self.uploads.remove(&offered);
        }
    }

    /// Drops uploads whose time is over, and those that arrive too slowly.
    pub fn handle_timeout(&mut self, now: Moment) {
        let is_over = |upload: &Upload| self.deadline(upload).is_some_and(|at| at <= now);
        let uploads = self.uploads.iter().filter(|(_, upload)| is_over(upload));
        let mut over: Vec<Offered> = uploads.map(|(offered, _)| *offered).collect();
        for (offered, floor) in &mut self.pulls {
            let bytes = self.uploads.get(offered).map_or(0, Upload::arrived);
            if !floor.is_kept(bytes, offered.size, now) {
                over.push(*offered);
            }
        }
        for offered in over {
            self.discard(&offered);
        }
        self.start_pulls(now);
    }

    /// When [`Holder::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let ends = self.uploads.values().filter_map(|one| self.deadline(one));
        let ends = ends.map(|at| (at, "unpublished upload ends"));
        let floors = self.pulls.values();
        let floors = floors.map(|floor| (floor.due(), "a pull has to have come on"));
        ends.chain(floors).min()
    }

    /// The next answer to deliver.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<HolderEvent> {
        self.events.pop_front()
    }

    /// The uploads to store, and to ask the index about.
    pub fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values()
    }

    /// The upload of a root, while it is remembered: of several offers the one that
    /// has come the furthest.
    #[must_use]
    pub fn upload(&self, root: &Cid) -> Option<&Upload> {
        self.offers_of(root)
            .min_by_key(|upload| (upload.state == UploadState::Queued, upload.accepted))
    }

    fn accept(
        &mut self,
        source: Source,
        mut offer: Offer,
        facts: &UserFacts,
        lease: Option<&SignedLease>,
        now: Moment,
    ) -> Result<Response, Refusal> {
        let (offered, account) = (offer.offered(), source.account());
        if let Some(known) = self.uploads.get(&offered) {
            return Ok(status(known));
        }
        if self.offers_of(&offered.root).any(Upload::is_stored) {
            return Err(differs(&offered.root));
        }
        if let Some(lease) = lease {
            if lease.record.proof_root != offer.proof_root || lease.record.size != offer.size {
                return Err(differs(&offered.root));
            }
            return Ok(Response::Lease(Box::new(lease.clone())));
        }
        self.check_place(&offer, account)?;
        self.check_room(&offer, account)?;
        self.check_quotas(&offer, source.network, facts, now)?;
        self.make_place();
        *self.networks.entry(source.network).or_default() += offer.size;
        offer.sources.truncate(SOURCES_MAX);
        let upload = Upload {
            offer,
            author: source.peer,
            account,
            accepted: now.unix(),
            state: UploadState::Queued,
        };
        self.uploads.insert(offered, upload);
        self.waiting.push(account, offered);
        self.start_pulls(now);
        Ok(Response::Accepted)
    }

    /// Pulls what waits, in turns of the accounts.
    fn start_pulls(&mut self, now: Moment) {
        while self.pulls.len() < self.config.pulls_max {
            let account_max = (self.config.pulls_max - 1).max(1);
            let has_slot = |account: &Account| {
                let of = |offered| self.uploads.get(offered).map(|upload| upload.account);
                let own = self.pulls.keys().filter(|pull| of(pull) == Some(*account));
                own.count() < account_max
            };
            let fronts = self.waiting.fronts();
            let Some(account) = fronts.map(|(account, _)| *account).find(has_slot) else {
                return;
            };
            let Some(offered) = self.waiting.take(&account) else {
                return;
            };
            if self.pulled(&offered.root).is_some() {
                // It has its turn when that is over.
                continue;
            }
            let Some(upload) = self.uploads.get_mut(&offered) else {
                continue;
            };
            upload.state = UploadState::Pulling(0);
            self.pulls.insert(offered, Floor::new(now));
            self.events.push_back(HolderEvent::Pull {
                root: offered.root,
                size: offered.size,
                sources: upload.offer.sources.clone(),
                author: upload.author,
            });
        }
    }

    fn discard(&mut self, offered: &Offered) {
        let Some(upload) = self.uploads.remove(offered) else {
            return;
        };
        self.waiting.retain(|other| other != offered);
        if upload.state == UploadState::Queued {
            return;
        }
        let root = offered.root;
        self.events.push_back(HolderEvent::Drop { root });
        if self.pulls.remove(offered).is_none() {
            return;
        }
        self.waiting.retain(|other| other.root != root);
        let others: Vec<(Account, Offered)> = self
            .offers_of(&root)
            .map(|upload| (upload.account, upload.offer.offered()))
            .collect();
        for (account, offered) in others {
            self.waiting.push(account, offered);
        }
    }

    /// Under which offer a root is being pulled.
    fn pulled(&self, root: &Cid) -> Option<Offered> {
        let pull = self.pulls.range(Offered::all_of(root)).next();
        pull.map(|(offered, _)| *offered)
    }

    fn offers_of(&self, root: &Cid) -> impl Iterator<Item = &Upload> {
        let offers = self.uploads.range(Offered::all_of(root));
        offers.map(|(_, upload)| upload)
    }

    /// When the upload's time is over; unknown while the index is not current.
    fn deadline(&self, upload: &Upload) -> Option<Moment> {
        let accepted = Moment::from_unix(upload.accepted);
        let from = accepted.max(self.resumed);
        (self.index == IndexState::Current).then(|| from + self.config.unpublished_ttl)
    }
}

impl Upload {
    /// Bytes that are here.
    const fn arrived(&self) -> u64 {
        match self.state {
            UploadState::Queued => 0,
            UploadState::Pulling(bytes) => bytes,
            UploadState::Held | UploadState::Leased(_) => self.offer.size,
        }
    }

    const fn is_stored(&self) -> bool {
        matches!(self.state, UploadState::Held | UploadState::Leased(_))
    }

    const fn user(&self) -> UserId {
        self.offer.action.action.user_id
    }
}

fn status(upload: &Upload) -> Response {
    match &upload.state {
        UploadState::Leased(lease) => Response::Lease(lease.clone()),
        UploadState::Queued | UploadState::Pulling(_) | UploadState::Held => Response::Progress {
            bytes: upload.arrived(),
        },
    }
}

fn unknown_user(user: UserId, signer: Address) -> Refusal {
    Refusal::new(
        RefusalCode::User,
        format!("no user {user} is known here that {signer} may act for"),
    )
    .retry_after(USER_RETRY_SECONDS)
}

fn differs(root: &Cid) -> Refusal {
    Refusal::new(
        RefusalCode::Invalid,
        format!("{root} is here, and has another size or proof root"),
    )
}

fn grant(offered: &Offered) -> HolderEvent {
    HolderEvent::Grant {
        root: offered.root,
        proof_root: offered.proof_root,
        size: offered.size,
    }
}

/// Of an upload that was stored before accounts were.
const fn unknown() -> Account {
    Account::Unknown
}

fn day(now: Moment) -> u64 {
    now.unix().0 / DAY_SECONDS
}

const GIB: u64 = 1 << 30;

const DAY_SECONDS: u64 = 24 * 3600;

const WEEK_SECONDS: u64 = 7 * DAY_SECONDS;

/// A user that was just created may be seconds away from this peer's index.
const USER_RETRY_SECONDS: u64 = 2;

/// A chain that was away for less held no action up for long. Chosen: some
/// blocks of a slow chain, and longer than a peer takes to start.
const AWAY_MIN: Duration = Duration::from_secs(60);
