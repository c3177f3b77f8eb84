//! The asking side: a DAG, a range of a file or a list of blocks from several
//! holders at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;

use super::holders::{self, Holder};
use super::message::{Answer, Request, Response};
use super::plan::{LinkPath, Plan};
use super::{CIDS_MAX, PAYLOAD_BYTES_MAX};
use crate::id::Address;
use crate::time::Moment;
use crate::unixfs::{BlockError, DagError, VerifiedBlock, WALK_BLOCKS_MAX, verify_block};

/// Fetches blocks, the first in pre-order first, and checks each.
///
/// After each input drain [`Fetch::poll_local`], [`Fetch::poll_transmit`],
/// [`Fetch::poll_block`] and [`Fetch::poll_event`], then sleep until
/// [`Fetch::poll_timeout`]. Resuming needs nothing special: what the store
/// already has is answered to the local queries.
#[derive(Debug)]
pub struct Fetch {
    config: FetchConfig,
    plan: Plan,
    holders: BTreeMap<Address, Holder>,
    banned: BTreeSet<Address>,
    requests: BTreeMap<RequestId, Pending>,
    next_request: u64,
    /// Local queries without an answer.
    asked: BTreeSet<Cid>,
    queries: VecDeque<LocalQuery>,
    transmits: VecDeque<Transmit>,
    blocks: VecDeque<VerifiedBlock>,
    /// Lengths of blocks handed out and not stored yet.
    unstored: VecDeque<u64>,
    buffered_bytes: u64,
    events: VecDeque<Event>,
    progress: Progress,
    /// Since when nothing came although something is wanted.
    starving_since: Option<Moment>,
    /// When holders were last looked for.
    advanced_at: Moment,
    is_over: bool,
}

/// Limits of [`Fetch`].
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Requests in flight per holder.
    pub holder_requests_max: usize,
    /// Requests in flight in all.
    pub requests_max: usize,
    /// Bytes in flight in all, as far as sizes are known.
    pub in_flight_bytes_max: u64,
    /// Bytes of one request, as far as sizes are known.
    pub request_bytes_max: u64,
    /// Bytes that wait to be stored before no more is asked for.
    pub buffered_bytes_max: u64,
    /// Holders that are kept in mind.
    pub holders_max: usize,
    /// Distinct blocks of one fetch.
    pub blocks_max: usize,
    /// Whether the driver answers local queries; else nothing is there.
    pub asks_locally: bool,
    /// Local queries and blocks looked up ahead of what is in flight.
    pub lookahead_max: usize,
    /// How long a "missing" is believed.
    pub missing_for: Duration,
    /// How long to wait for holders when nobody can be asked.
    pub starve_timeout: Duration,
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Everything below a root.
    Dag(Cid),
    /// What the bytes of a file's range need.
    Range(Cid, Range<u64>),
    /// Exactly these blocks.
    Blocks(Vec<Cid>),
}

/// Names a request until it is answered or over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A request for the driver to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Whom to ask.
    pub to: Address,
    /// What the answer is handed in under.
    pub id: RequestId,
    /// What to ask.
    pub request: Request,
}

/// Asks the driver whether a block is already stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalQuery {
    /// The block to look for.
    pub cid: Cid,
    /// Its bytes are needed, presence does not do.
    pub needs_data: bool,
}

/// What the local store has of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Local {
    /// Nothing of it is stored.
    Absent,
    /// The block, of this many bytes.
    Present(u64),
    /// The block itself.
    Data(Bytes),
}

/// What the driver should tell the rest of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// No holder can be asked for this block; more holders are welcome.
    Starved {
        /// The first block in order that nobody has.
        cid: Cid,
    },
    /// A holder sent bytes that are not what it was asked for; it is out.
    Offence {
        /// The holder that is out.
        holder: Address,
        /// What it did.
        reason: String,
    },
    /// Everything is stored. The last event.
    Done {
        /// Distinct blocks, those found locally among them.
        blocks: u64,
        /// Bytes of the distinct blocks.
        bytes: u64,
    },
    /// It cannot be fetched. The last event.
    Failed {
        /// Why the fetch ends.
        reason: FailReason,
    },
}

/// Why a fetch ended without everything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FailReason {
    /// Nobody could be asked for too long.
    #[error("no peer has block {cid}")]
    NoHolder {
        /// The first block in order that nobody has.
        cid: Cid,
    },
    /// The DAG is malformed.
    #[error(transparent)]
    Dag(DagError),
    /// A block that cannot be checked.
    #[error(transparent)]
    Block(BlockError),
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Blocks that are here.
    pub blocks: u64,
    /// Bytes of the blocks that are here.
    pub bytes: u64,
    /// Bytes of blocks that came from holders.
    pub received_bytes: u64,
}

#[derive(Debug)]
struct Pending {
    holder: Address,
    cids: Vec<Cid>,
    bytes: u64,
    sent: Moment,
    deadline: Moment,
}

impl FetchConfig {
    /// For a peer that stores for others.
    #[must_use]
    pub const fn staked() -> Self {
        Self {
            // As many of one peer as `ServeConfig` lets wait.
            holder_requests_max: 16,
            // Four holders at their most, all the same and most of them fewer.
            requests_max: 64,
            // One MiB for each request: a file's chunk.
            in_flight_bytes_max: 64 << 20,
            request_bytes_max: PAYLOAD_BYTES_MAX as u64,
            // As much as is in flight: a disk that stalls stops the fetch, not the peer.
            buffered_bytes_max: 64 << 20,
            // Chosen: the placed peers, the hinted and those of a search.
            holders_max: 64,
            blocks_max: WALK_BLOCKS_MAX,
            asks_locally: true,
            // Eight requests of 64 CIDs; the local store answers in milliseconds.
            lookahead_max: 512,
            // Chosen: a holder that pulls the root itself has the block soon.
            missing_for: Duration::from_secs(2),
            // Chosen: a search through Kademlia ends within.
            starve_timeout: Duration::from_secs(20),
        }
    }

    /// For a light peer.
    #[must_use]
    pub const fn light() -> Self {
        Self {
            // A home link of 100 Mbit/s at 100 ms holds 1.2 MiB.
            holder_requests_max: 4,
            requests_max: 16,
            // Memory of a phone; still several seconds of a home link.
            in_flight_bytes_max: 8 << 20,
            // A block of any size, so that a short wait is worth something.
            request_bytes_max: 2 << 20,
            buffered_bytes_max: 16 << 20,
            // Two requests of 64 CIDs.
            lookahead_max: 128,
            ..Self::staked()
        }
    }
}

impl Fetch {
    /// Starts a fetch; it waits for holders.
    #[must_use]
    pub fn new(config: FetchConfig, target: &Target, now: Moment) -> Self {
        let plan = match target {
            Target::Dag(root) => Plan::of_dag(*root, None, config.blocks_max),
            Target::Range(root, range) => {
                Plan::of_dag(*root, Some(range.clone()), config.blocks_max)
            }
            Target::Blocks(cids) => Plan::of_blocks(cids, config.blocks_max),
        };
        let mut fetch = Self {
            config,
            plan,
            holders: BTreeMap::new(),
            banned: BTreeSet::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            asked: BTreeSet::new(),
            queries: VecDeque::new(),
            transmits: VecDeque::new(),
            blocks: VecDeque::new(),
            unstored: VecDeque::new(),
            buffered_bytes: 0,
            events: VecDeque::new(),
            progress: Progress::default(),
            starving_since: None,
            advanced_at: now,
            is_over: false,
        };
        fetch.advance(now);
        fetch
    }

    /// Adds a peer that may have the blocks; lower priorities are preferred.
    /// Those that broke the rules, or are too many, are left out.
    pub fn handle_holder(&mut self, holder: Address, priority: u32, now: Moment) {
        if self.banned.contains(&holder) {
            return;
        }
        if let Some(known) = self.holders.get_mut(&holder) {
            known.priority = priority;
        } else if self.holders.len() < self.config.holders_max {
            let batch = self.config.request_bytes_max;
            self.holders.insert(holder, Holder::new(priority, batch));
            self.starving_since = None;
        }
        self.advance(now);
    }

    /// Takes the answer to a local query.
    pub fn handle_local(&mut self, cid: &Cid, local: Local, now: Moment) {
        if !self.asked.remove(cid) || self.is_over {
            return;
        }
        match local {
            // A block that went bad on the disk is fetched again.
            Local::Data(data) if verify_block(cid, &data).is_ok() => {
                self.note_done(data.len() as u64);
                self.take_data(cid, &data);
            }
            Local::Present(size) if !self.plan.is_inner(cid) => {
                self.note_done(size);
                self.plan.handle_done(cid);
            }
            Local::Absent | Local::Present(_) | Local::Data(_) => self.open(cid),
        }
        self.advance(now);
    }

    /// Takes a holder's response. It counts once; late ones are ignored.
    pub fn handle_response(&mut self, id: RequestId, response: Response, now: Moment) {
        let Some(pending) = self.take_request(id) else {
            return;
        };
        let holder = pending.holder;
        let (mut bytes, mut is_busy) = (0, response.answers.is_empty());
        let mut offence = (response.answers.len() > pending.cids.len())
            .then(|| "it answered more than it was asked".to_owned());
        let mut answers = response.answers.into_iter();
        for cid in &pending.cids {
            match answers.next() {
                Some(Answer::Data(data)) if offence.is_none() => {
                    bytes += data.len() as u64;
                    if let Err(error) = self.take_block(cid, data) {
                        offence = Some(error.to_string());
                        self.open(cid);
                    }
                }
                Some(Answer::Missing) => {
                    self.note_missing(cid, holder, now);
                    self.open(cid);
                }
                answer => {
                    is_busy |= answer == Some(Answer::Busy);
                    self.open(cid);
                }
            }
        }
        if let Some(reason) = offence {
            self.ban(holder, reason);
        } else if let Some(known) = self.holders.get_mut(&holder) {
            if bytes > 0 || !is_busy {
                known.handle_answer(pending.sent, bytes, self.config.request_bytes_max, now);
            }
            if is_busy {
                known.rest(now);
            }
        }
        self.advance(now);
    }

    /// Takes a response that did not decode, which is an offence.
    pub fn handle_garbage(&mut self, id: RequestId, reason: String, now: Moment) {
        if let Some(pending) = self.take_request(id) {
            self.reopen(&pending);
            self.ban(pending.holder, reason);
            self.advance(now);
        }
    }

    /// Takes the news that a request was not answered, which is bad luck.
    pub fn handle_failure(&mut self, id: RequestId, now: Moment) {
        self.fail_request(id, now);
        self.advance(now);
    }

    /// Takes the news that the next `count` blocks of [`Fetch::poll_block`], in
    /// their order, are stored.
    pub fn handle_stored(&mut self, count: usize, now: Moment) {
        for bytes in self.unstored.drain(..count.min(self.unstored.len())) {
            self.buffered_bytes -= bytes;
        }
        self.advance(now);
    }

    /// Gives up on late requests and wakes up rested holders.
    pub fn handle_timeout(&mut self, now: Moment) {
        let late: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.fail_request(id, now);
        }
        self.advance(now);
    }

    /// The next block to look up in the local store.
    pub fn poll_local(&mut self) -> Option<LocalQuery> {
        self.queries.pop_front()
    }

    /// The next request to deliver.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next checked block to store; report it with [`Fetch::handle_stored`].
    pub fn poll_block(&mut self) -> Option<VerifiedBlock> {
        let block = self.blocks.pop_front()?;
        self.unstored.push_back(block.data().len() as u64);
        Some(block)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Fetch::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        if self.is_over {
            return None;
        }
        let request = self
            .requests
            .values()
            .map(|pending| (pending.deadline, "a block request is late"))
            .min();
        let starved = self
            .starving_since
            .filter(|_| self.is_idle())
            .map(|since| (since + self.config.starve_timeout, "nobody has a block"));
        let first = self.plan.open.first().and_then(|at| self.plan.get(at));
        let retry = first.and_then(|want| {
            let rests = self.holders.values().map(|holder| holder.rests_until);
            rests
                .chain(want.missing.values().copied())
                .filter(|at| *at > self.advanced_at)
                .min()
                .map(|at| (at, "a holder may be asked again"))
        });
        [request, starved, retry].into_iter().flatten().min()
    }

    /// How far the fetch is.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    fn advance(&mut self, now: Moment) {
        if self.is_over {
            return;
        }
        self.advanced_at = now;
        self.look_up();
        while self.has_room() {
            let Some((holder, paths)) = self.next_batch(now) else {
                break;
            };
            self.send(holder, &paths, now);
        }
        self.check_starved(now);
        if self.plan.is_done() && self.blocks.is_empty() && self.unstored.is_empty() {
            self.is_over = true;
            let Progress { blocks, bytes, .. } = self.progress;
            self.events.push_back(Event::Done { blocks, bytes });
        }
    }

    fn look_up(&mut self) {
        while self.asked.len() + self.plan.open.len() < self.config.lookahead_max {
            let Some(path) = self.plan.unasked.pop_first() else {
                return;
            };
            let cid = self.plan.get(&path).expect("an unasked path is wanted").cid;
            if self.config.asks_locally {
                self.asked.insert(cid);
                self.queries.push_back(LocalQuery {
                    cid,
                    needs_data: self.plan.is_inner(&cid),
                });
            } else {
                self.plan.open.insert(path);
            }
        }
    }

    fn in_flight_bytes(&self) -> u64 {
        self.requests.values().map(|pending| pending.bytes).sum()
    }

    fn has_room(&self) -> bool {
        let in_flight = self.in_flight_bytes();
        self.requests.len() < self.config.requests_max
            && in_flight < self.config.in_flight_bytes_max
            && in_flight + self.buffered_bytes < self.config.buffered_bytes_max
    }

    /// True when blocks are to be asked for, could be, and are not.
    fn is_idle(&self) -> bool {
        self.requests.is_empty() && !self.plan.open.is_empty() && self.has_room()
    }

    /// The first open block that somebody can be asked for, with what follows it.
    fn next_batch(&self, now: Moment) -> Option<(Address, Vec<LinkPath>)> {
        let slots = self.config.holder_requests_max;
        let is_free = |holder: &Holder| {
            holder.requests < holder.requests_max(slots) && holder.rests_until <= now
        };
        if !self.holders.values().any(is_free) {
            return None;
        }
        let may_have = |path: &LinkPath, address: &Address| {
            let want = self.plan.get(path).expect("an open path is wanted");
            want.missing.get(address).is_none_or(|until| *until <= now)
        };
        let (first, address) = self.plan.open.iter().find_map(|path| {
            let bytes = self.plan.get(path)?.bytes;
            let may =
                |address: &Address, holder: &Holder| is_free(holder) && may_have(path, address);
            Some((path, holders::best(&self.holders, bytes, may)?))
        })?;
        let room = self.config.in_flight_bytes_max - self.in_flight_bytes();
        let limit = self.holders[&address]
            .batch_bytes
            .min(self.config.request_bytes_max)
            .min(room);
        let (mut paths, mut bytes) = (Vec::new(), 0);
        for path in self.plan.open.range(first.clone()..) {
            let size = self.plan.get(path).expect("an open path is wanted").bytes;
            let is_full = paths.len() == CIDS_MAX || bytes + size > limit;
            if is_full && !paths.is_empty() {
                break;
            }
            if may_have(path, &address) {
                bytes += size;
                paths.push(path.clone());
            }
        }
        Some((address, paths))
    }

    fn send(&mut self, to: Address, paths: &[LinkPath], now: Moment) {
        let (mut cids, mut bytes) = (Vec::with_capacity(paths.len()), 0);
        for path in paths {
            self.plan.open.remove(path);
            let want = self.plan.get(path).expect("an open path is wanted");
            cids.push(want.cid);
            bytes += want.bytes;
        }
        let holder = self
            .holders
            .get_mut(&to)
            .expect("a known holder was chosen");
        // Measured rates swing by half and by others' traffic; a holder that is four
        // times slower than it was is given up for this request.
        let patience = holder.expected(bytes) * 4;
        holder.handle_sent(bytes);
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let pending = Pending {
            holder: to,
            cids: cids.clone(),
            bytes,
            sent: now,
            deadline: now + patience.clamp(REQUEST_TIMEOUT_MIN, REQUEST_TIMEOUT_MAX),
        };
        self.requests.insert(id, pending);
        self.transmits.push_back(Transmit {
            to,
            id,
            request: Request { cids },
        });
    }

    fn check_starved(&mut self, now: Moment) {
        let Some(first) = self.plan.open.first() else {
            return;
        };
        if !self.is_idle() {
            return;
        }
        let cid = self.plan.get(first).expect("an open path is wanted").cid;
        match self.starving_since {
            None => {
                self.starving_since = Some(now);
                self.events.push_back(Event::Starved { cid });
            }
            Some(since) if since + self.config.starve_timeout <= now => {
                self.fail(FailReason::NoHolder { cid });
            }
            Some(_) => {}
        }
    }

    /// Checks a block from a holder and queues it for the store.
    fn take_block(&mut self, cid: &Cid, data: Bytes) -> Result<(), BlockError> {
        if self.is_over || self.plan.path_of(cid).is_none() {
            return Ok(());
        }
        let block = match VerifiedBlock::new(*cid, data) {
            Err(error @ BlockError::UnsupportedHash { .. }) => {
                self.fail(FailReason::Block(error));
                return Ok(());
            }
            checked => checked?,
        };
        self.starving_since = None;
        let bytes = block.data().len() as u64;
        self.note_done(bytes);
        self.progress.received_bytes += bytes;
        self.buffered_bytes += bytes;
        self.take_data(cid, block.data());
        self.blocks.push_back(block);
        Ok(())
    }

    fn take_data(&mut self, cid: &Cid, data: &Bytes) {
        if let Err(error) = self.plan.handle_data(cid, data) {
            self.fail(FailReason::Dag(error));
        }
    }

    fn note_done(&mut self, bytes: u64) {
        self.progress.blocks += 1;
        self.progress.bytes += bytes;
    }

    fn note_missing(&mut self, cid: &Cid, holder: Address, now: Moment) {
        let until = now + self.config.missing_for;
        let holders_max = self.config.holders_max;
        let path = self.plan.path_of(cid);
        if let Some(want) = path.and_then(|path| self.plan.get_mut(&path)) {
            if want.missing.len() >= holders_max {
                want.missing.pop_first();
            }
            want.missing.insert(holder, until);
        }
    }

    fn open(&mut self, cid: &Cid) {
        if let Some(path) = self.plan.path_of(cid) {
            self.plan.open.insert(path);
        }
    }

    fn reopen(&mut self, pending: &Pending) {
        pending.cids.iter().for_each(|cid| self.open(cid));
    }

    fn take_request(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.requests.remove(&id)?;
        if let Some(holder) = self.holders.get_mut(&pending.holder) {
            holder.handle_over(pending.bytes);
        }
        Some(pending)
    }

    fn fail_request(&mut self, id: RequestId, now: Moment) {
        let Some(pending) = self.take_request(id) else {
            return;
        };
        self.reopen(&pending);
        let holder = self.holders.get_mut(&pending.holder);
        if holder.is_some_and(|holder| holder.handle_failure(now)) {
            self.drop_holder(pending.holder);
        }
    }

    fn ban(&mut self, holder: Address, reason: String) {
        self.drop_holder(holder);
        if self.banned.len() == BANNED_MAX {
            self.banned.pop_first();
        }
        self.banned.insert(holder);
        self.events.push_back(Event::Offence { holder, reason });
    }

    fn drop_holder(&mut self, holder: Address) {
        self.holders.remove(&holder);
        self.transmits.retain(|transmit| transmit.to != holder);
        let ids: Vec<RequestId> = self
            .requests
            .iter()
            .filter(|(_, pending)| pending.holder == holder)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let Some(pending) = self.take_request(id) {
                self.reopen(&pending);
            }
        }
    }

    fn fail(&mut self, reason: FailReason) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.requests.clear();
            self.transmits.clear();
            self.queries.clear();
            self.events.push_back(Event::Failed { reason });
        }
    }
}

#[cfg(test)]
impl Fetch {
    /// Requests and bytes in flight, and bytes that wait to be stored.
    pub(super) fn load(&self) -> (usize, u64, u64) {
        let in_flight = self.in_flight_bytes();
        (self.requests.len(), in_flight, self.buffered_bytes)
    }
}

/// However fast a holder seems, it is given this long. Chosen: longer than a holder
/// lets a request wait before it says "busy".
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// However slow a holder is, this is all the time that it gets. Chosen: half of what
/// the protocol gives an answer.
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Holders that broke the rules and are remembered. Chosen: four times those that a
/// fetch keeps in mind; keys cost nothing, so it only bounds memory.
const BANNED_MAX: usize = 256;
