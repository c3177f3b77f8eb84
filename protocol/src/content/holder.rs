//! The staked peer's side of publishing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cid::Cid;
use serde::{Deserialize, Serialize};

use super::references::Owner;
use crate::id::{Address, Hash32, UserId};
use crate::origin::{Origin, Prefix, RequestId};
use crate::publish::{Offer, Refusal, RefusalCode, Response, SOURCES_MAX};
use crate::records::SignedLease;
use crate::time::{Moment, UnixSeconds};

/// Accepts offers within its limits and turns them into leases.
///
/// Its owner answers [`HolderEvent::Pull`] with [`Holder::handle_pulled`] once
/// the DAG is complete, verified and durable, and [`HolderEvent::Grant`] with
/// [`Holder::handle_lease`].
#[derive(Debug)]
pub struct Holder {
    config: HolderConfig,
    capacity: u64,
    used: u64,
    uploads: BTreeMap<Cid, Upload>,
    /// Bytes accepted from each prefix on the day that is counted.
    prefixes: BTreeMap<Prefix, u64>,
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
    /// Unpublished bytes in ten-thousandths of the capacity (2 % by default).
    pub unpublished_share_max: Option<u64>,
    /// What a user may store here in all in the first week.
    pub new_user_bytes_max: Option<u64>,
    /// What a user may store here in all later.
    pub user_bytes_max: Option<u64>,
    /// What one /32 (IPv6 /48) may store here in a day; loopback is not counted.
    pub prefix_bytes_per_day_max: Option<u64>,
    /// Uploads that are neither published nor dropped yet.
    pub uploads_max: usize,
    /// Uploads that are pulled at a time.
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
            unpublished_share_max: Some(200),
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
            prefixes: BTreeMap::new(),
            day: day(now),
            index: IndexState::Behind,
            away_since: None,
            resumed: Moment::ZERO,
            replies: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        for mut upload in uploads.into_iter().take(holder.config.uploads_max) {
            match upload.state {
                UploadState::Pulling(_) => upload.state = UploadState::Queued,
                UploadState::Held => holder.events.push_back(grant(&upload.offer)),
                UploadState::Queued | UploadState::Leased(_) => {}
            }
            holder.uploads.insert(upload.offer.root, upload);
        }
        holder.start_pulls();
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

    /// Answers how far a root is; `lease` is its standing lease.
    pub fn handle_status(&mut self, id: RequestId, root: &Cid, lease: Option<&SignedLease>) {
        let response = self.status(root, lease);
        self.replies.push_back(Reply { id, response });
    }

    /// Answers an offer whose action `signer` signed, with what the index knows
    /// of the user that it names, if `signer` may act for it.
    pub fn handle_offer(
        &mut self,
        id: RequestId,
        origin: Origin,
        offer: Offer,
        signer: Address,
        known: (Option<UserFacts>, Option<&SignedLease>),
        now: Moment,
    ) {
        let (user, lease) = known;
        let response = match user {
            Some(facts) => self.accept(origin, offer, &facts, lease, now),
            None => Err(unknown_user(offer.action.action.user_id, signer)),
        };
        let response = response.unwrap_or_else(Response::Refused);
        self.replies.push_back(Reply { id, response });
    }

    /// Notes how many bytes of a pull are here.
    pub fn handle_progress(&mut self, root: &Cid, bytes: u64) {
        if let Some(upload) = self.uploads.get_mut(root)
            && let UploadState::Pulling(before) = &mut upload.state
        {
            *before = (*before).max(bytes);
        }
    }

    /// Takes a finished pull; what is here must be what was offered.
    pub fn handle_pulled(&mut self, root: &Cid, proof_root: Hash32, size: u64) {
        let Some(upload) = self.uploads.get_mut(root) else {
            return;
        };
        if !matches!(upload.state, UploadState::Pulling(_)) {
            return;
        }
        if upload.offer.proof_root == proof_root && upload.offer.size == size {
            upload.state = UploadState::Held;
            let event = grant(&upload.offer);
            self.events.push_back(event);
        } else {
            self.discard(root);
        }
        self.start_pulls();
    }

    /// Notes that a pull failed; the author may offer the root again.
    pub fn handle_pull_failed(&mut self, root: &Cid) {
        if self.is_pulling(root) {
            self.discard(root);
        }
        self.start_pulls();
    }

    /// Takes the lease that was signed for a [`HolderEvent::Grant`].
    pub fn handle_lease(&mut self, lease: SignedLease) {
        if let Some(upload) = self.uploads.get_mut(&lease.record.root)
            && upload.state == UploadState::Held
        {
            upload.state = UploadState::Leased(Box::new(lease));
        }
    }

    /// Notes that the index has the action that publishes the root: from here
    /// on the lease book looks after it.
    pub fn handle_published(&mut self, root: &Cid) {
        let is_leased = self
            .uploads
            .get(root)
            .is_some_and(|upload| matches!(upload.state, UploadState::Leased(_)));
        if is_leased {
            self.uploads.remove(root);
        }
    }

    /// Drops uploads whose time is over.
    pub fn handle_timeout(&mut self, now: Moment) {
        let over: Vec<Cid> = self
            .uploads
            .values()
            .filter(|upload| self.deadline(upload).is_some_and(|at| at <= now))
            .map(|upload| upload.offer.root)
            .collect();
        for root in over {
            self.discard(&root);
        }
        self.start_pulls();
    }

    /// When [`Holder::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.uploads
            .values()
            .filter_map(|upload| self.deadline(upload))
            .min()
            .map(|deadline| (deadline, "unpublished upload ends"))
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

    /// The upload of a root, while it is remembered.
    #[must_use]
    pub fn upload(&self, root: &Cid) -> Option<&Upload> {
        self.uploads.get(root)
    }

    fn status(&self, root: &Cid, lease: Option<&SignedLease>) -> Response {
        match self.uploads.get(root).map(|upload| &upload.state) {
            Some(UploadState::Queued) => Response::Progress { bytes: 0 },
            Some(UploadState::Pulling(bytes)) => Response::Progress { bytes: *bytes },
            Some(UploadState::Held) => Response::Progress {
                bytes: self.uploads[root].offer.size,
            },
            Some(UploadState::Leased(lease)) => Response::Lease(lease.clone()),
            None => match lease {
                Some(lease) => Response::Lease(Box::new(lease.clone())),
                None => Response::Unknown,
            },
        }
    }

    fn accept(
        &mut self,
        origin: Origin,
        mut offer: Offer,
        facts: &UserFacts,
        lease: Option<&SignedLease>,
        now: Moment,
    ) -> Result<Response, Refusal> {
        let user = offer.action.action.user_id;
        let root = offer.root;
        if let Some(known) = self.uploads.get(&root) {
            if known.offer.proof_root != offer.proof_root || known.offer.size != offer.size {
                return Err(differs(&root));
            }
            return Ok(self.status(&root, lease));
        }
        if let Some(lease) = lease {
            if lease.record.proof_root != offer.proof_root || lease.record.size != offer.size {
                return Err(differs(&root));
            }
            return Ok(Response::Lease(Box::new(lease.clone())));
        }
        self.check_limits(origin, &offer, user, facts, now)?;
        self.make_room(offer.size);
        if let Some(prefix) = origin.ip.and_then(Prefix::of) {
            *self.prefixes.entry(prefix).or_default() += offer.size;
        }
        offer.sources.truncate(SOURCES_MAX);
        let upload = Upload {
            offer,
            author: origin.peer,
            accepted: now.unix(),
            state: UploadState::Queued,
        };
        self.uploads.insert(root, upload);
        self.start_pulls();
        Ok(Response::Accepted)
    }

    fn check_limits(
        &mut self,
        origin: Origin,
        offer: &Offer,
        user: UserId,
        facts: &UserFacts,
        now: Moment,
    ) -> Result<(), Refusal> {
        let size = offer.size;
        if self.uploads.len() >= self.config.uploads_max {
            return Err(Refusal::new(
                RefusalCode::Busy,
                format!(
                    "{} uploads are under way, which is the most",
                    self.config.uploads_max
                ),
            )
            .retry_after(BUSY_RETRY_SECONDS));
        }
        let free = self.capacity.saturating_sub(self.used);
        // What was accepted and is not stored yet takes its room already.
        let coming: u64 = self.sum(|upload| !upload.is_stored());
        check(
            RefusalCode::Full,
            "this peer's disk",
            coming,
            size,
            Some(free),
        )?;
        let share = self.unpublished_max();
        check(RefusalCode::Full, "unpublished uploads", 0, size, share)?;
        let owner = Owner {
            user,
            created: facts.created,
            extra_bytes: facts.extra_bytes,
        };
        let limit = self.config.user_limit(&owner, now);
        let unpublished = self.sum(|upload| upload.offer.action.action.user_id == user);
        let stored = facts.stored_bytes.saturating_add(unpublished);
        check(RefusalCode::Quota, "the user's quota", stored, size, limit)?;
        let Some(prefix) = origin.ip.and_then(Prefix::of) else {
            return Ok(());
        };
        if self.day != day(now) {
            self.day = day(now);
            self.prefixes.clear();
        }
        let known = self.prefixes.get(&prefix).copied();
        if known.is_none() && self.prefixes.len() >= PREFIXES_MAX {
            return Err(Refusal::new(
                RefusalCode::Busy,
                "too many network prefixes uploaded here today",
            )
            .retry_after(BUSY_RETRY_SECONDS));
        }
        check(
            RefusalCode::Prefix,
            "the network prefix's quota of the day",
            known.unwrap_or(0),
            size,
            self.config.prefix_bytes_per_day_max,
        )
    }

    /// Drops the oldest uploads until `size` more unpublished bytes fit.
    fn make_room(&mut self, size: u64) {
        let Some(limit) = self.unpublished_max() else {
            return;
        };
        while self.sum(|_| true).saturating_add(size) > limit {
            let oldest = self
                .uploads
                .values()
                .min_by_key(|upload| (upload.accepted, upload.offer.root))
                .map(|upload| upload.offer.root);
            let Some(root) = oldest else {
                return;
            };
            self.discard(&root);
        }
    }

    fn start_pulls(&mut self) {
        let pulling = self
            .uploads
            .values()
            .filter(|upload| matches!(upload.state, UploadState::Pulling(_)))
            .count();
        let mut queued: Vec<(UnixSeconds, Cid)> = self
            .uploads
            .values()
            .filter(|upload| upload.state == UploadState::Queued)
            .map(|upload| (upload.accepted, upload.offer.root))
            .collect();
        queued.sort_unstable();
        for (_, root) in queued
            .into_iter()
            .take(self.config.pulls_max.saturating_sub(pulling))
        {
            let upload = self
                .uploads
                .get_mut(&root)
                .expect("the root was just listed");
            upload.state = UploadState::Pulling(0);
            self.events.push_back(HolderEvent::Pull {
                root,
                size: upload.offer.size,
                sources: upload.offer.sources.clone(),
                author: upload.author,
            });
        }
    }

    fn discard(&mut self, root: &Cid) {
        if let Some(upload) = self.uploads.remove(root)
            && upload.state != UploadState::Queued
        {
            self.events.push_back(HolderEvent::Drop { root: *root });
        }
    }

    fn is_pulling(&self, root: &Cid) -> bool {
        self.uploads
            .get(root)
            .is_some_and(|upload| matches!(upload.state, UploadState::Pulling(_)))
    }

    fn unpublished_max(&self) -> Option<u64> {
        let share = u128::from(self.config.unpublished_share_max?);
        let limit = u128::from(self.capacity) * share / 10_000;
        Some(u64::try_from(limit).unwrap_or(u64::MAX))
    }

    /// When the upload's time is over; unknown while the index is not current.
    fn deadline(&self, upload: &Upload) -> Option<Moment> {
        let accepted = Moment::from_unix(upload.accepted);
        let from = accepted.max(self.resumed);
        (self.index == IndexState::Current).then(|| from + self.config.unpublished_ttl)
    }

    fn sum(&self, accept: impl Fn(&Upload) -> bool) -> u64 {
        self.uploads
            .values()
            .filter(|upload| accept(upload))
            .fold(0, |sum, upload| sum.saturating_add(upload.offer.size))
    }
}

impl Upload {
    fn is_stored(&self) -> bool {
        matches!(self.state, UploadState::Held | UploadState::Leased(_))
    }
}

fn check(
    code: RefusalCode,
    what: &str,
    taken: u64,
    size: u64,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    match limit {
        Some(limit) if taken.saturating_add(size) > limit => Err(Refusal::new(
            code,
            format!("{size} bytes do not fit into {what}: {taken} of {limit} bytes are taken"),
        )),
        Some(_) | None => Ok(()),
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
        format!("{root} is known here with another size or proof root"),
    )
}

fn grant(offer: &Offer) -> HolderEvent {
    HolderEvent::Grant {
        root: offer.root,
        proof_root: offer.proof_root,
        size: offer.size,
    }
}

fn day(now: Moment) -> u64 {
    now.unix().0 / DAY_SECONDS
}

const GIB: u64 = 1 << 30;

const DAY_SECONDS: u64 = 24 * 3600;

const WEEK_SECONDS: u64 = 7 * DAY_SECONDS;

/// A user that was just created may be seconds away from this peer's index.
const USER_RETRY_SECONDS: u64 = 2;

/// Chosen: long enough for a pull to end, short beside the hours that an author has.
const BUSY_RETRY_SECONDS: u64 = 30;

/// Network prefixes that are counted in a day. Chosen: some MB; who owns more than
/// that is no matter of counting.
const PREFIXES_MAX: usize = 100_000;

/// A chain that was away for less held no action up for long. Chosen: some
/// blocks of a slow chain, and longer than a peer takes to start.
const AWAY_MIN: Duration = Duration::from_secs(60);
