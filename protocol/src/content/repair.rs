//! Repair: bringing every root back to its replica target.
//!
//! Works from pages, leases and presence, not by probing roots. Every content
//! peer runs this machine and looks at itself alone: is this peer among those
//! that the placement wants for a root, and does it hold it? All peers compute
//! the same placement, so nobody has to be told. A peer that is silent for long
//! counts as lost, and the placement is drawn without it.
//!
//! What a change touches is put on a work list that [`Repair::handle_timeout`]
//! takes in bounded steps, so no input costs more than its own size.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cid::Cid;

use crate::id::{Address, Hash32, OperatorNumber};
use crate::placement::{Placing, REPLICAS_TARGET};
use crate::records::Lease;
use crate::time::Moment;

mod bucket;
mod fetching;
mod liveness;
mod looking;
mod queue;
mod releasing;
mod tables;

pub use bucket::TokenBucket;

use fetching::Fetching;
use liveness::Liveness;
use looking::Work;
use queue::Queue;
use releasing::Check;

/// Decides what this peer should fetch and what it may release.
#[derive(Debug)]
pub struct Repair {
    config: Config,
    me: Address,
    placement: Arc<dyn Placing>,
    roots: BTreeMap<Cid, Root>,
    /// The roots of each holder, for when it is lost.
    holdings: BTreeMap<Address, BTreeSet<Cid>>,
    liveness: Liveness,
    /// When every peer that lives was heard of.
    heard_at: Moment,
    /// True from then on; before, a root without known holders may have some.
    has_heard: bool,
    work: Work,
    /// Roots to fetch, those with the fewest live holders first.
    queue: Queue,
    fetching: BTreeMap<Cid, Fetching>,
    /// Roots that are only claimed.
    claimed_count: usize,
    /// Roots that failed, by the moment they may be tried again.
    retries: BTreeSet<(Moment, Cid)>,
    /// Held roots that others are wanted for, and hold as far as known.
    surplus: BTreeSet<Cid>,
    checks: BTreeMap<Cid, Check>,
    starved: BTreeSet<Cid>,
    bucket: TokenBucket,
    /// When a fetch that waits for bandwidth or trust may start.
    next_fetch: Option<Moment>,
    events: VecDeque<Event>,
}

/// Targets, intervals and limits of [`Repair`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Replicas aimed at, each of another operator.
    pub target: usize,
    /// A peer that is silent for this long counts as lost.
    pub lost_after: Duration,
    /// Between two passes over all roots.
    pub pass_interval: Duration,
    /// Between two steps of a pass or of a work list.
    pub step_interval: Duration,
    /// Roots that one step looks at.
    pub step_roots_max: usize,
    /// Roots that are tracked.
    pub roots_max: usize,
    /// Roots that are tracked although they are only claimed.
    pub claimed_roots_max: usize,
    /// Roots that wait to be fetched; the next pass finds those without room.
    pub queue_max: usize,
    /// Roots that are fetched at a time.
    pub fetches_max: usize,
    /// Roots whose release is being checked at a time.
    pub checks_max: usize,
    /// Bytes that repair may fetch in a second.
    pub bytes_per_second: u64,
    /// Bytes that repair may fetch at once after a pause.
    pub burst_bytes_max: u64,
    /// Before a failed root is tried again, times the failures so far.
    pub retry_interval: Duration,
}

/// What is known of a root besides its holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootFacts {
    /// BLAKE3 of its blocks.
    pub proof_root: Hash32,
    /// The sum of the lengths of its distinct blocks.
    pub size: u64,
}

/// What repair asks of the rest of the node. Every [`Event::Fetch`] and
/// [`Event::CheckRead`] is answered once; the driver bounds their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Fetch, verify and commit the root, then call [`Repair::handle_fetched`]
    /// or [`Repair::handle_fetch_failed`].
    Fetch {
        /// The root to fetch.
        root: Cid,
        /// What is believed of it; the verified blocks are what counts. `None` when
        /// nobody claims it: it is looked for.
        facts: Option<RootFacts>,
        /// The live claimants: those that agree with `facts` first, then in rank
        /// order where they are placed.
        holders: Vec<Address>,
    },
    /// Read blocks of the root at the peer, drawn afresh, and call
    /// [`Repair::handle_check`].
    CheckRead {
        /// The peer to read at.
        peer: Address,
        /// The root to read of.
        root: Cid,
    },
    /// The wanted peers proved that they hold the root: strike the lease, then
    /// delete the blocks.
    Release {
        /// The root to release.
        root: Cid,
    },
    /// No live peer is known to hold the root, after each had [`Config::lost_after`]
    /// to be heard.
    Starved {
        /// The root without a live holder.
        root: Cid,
        /// Its holders that count as lost.
        lost_holders: Vec<Address>,
    },
    /// A peer was silent for too long.
    Lost {
        /// The peer that fell silent.
        peer: Address,
    },
    /// A lost peer was heard of again.
    Returned {
        /// The peer that is back.
        peer: Address,
    },
}

/// How far repair is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Roots that are tracked.
    pub roots: usize,
    /// Roots that wait to be fetched.
    pub queued: usize,
    /// Roots that are being fetched.
    pub fetching: usize,
    /// Roots without a live holder.
    pub starved: usize,
    /// Peers that count as lost.
    pub lost: usize,
    /// True while roots wait to be looked at.
    pub is_scanning: bool,
}

impl RootFacts {
    /// What a lease says of its root.
    #[must_use]
    pub fn of(lease: &Lease) -> Self {
        Self {
            proof_root: lease.proof_root,
            size: lease.size,
        }
    }
}

#[derive(Debug, Default)]
struct Root {
    /// True while something published names it, or this peer promised it.
    is_required: bool,
    /// What was verified here.
    verified: Option<RootFacts>,
    /// Who claims to hold it, and what each says of it: sorted by peer, at most
    /// [`HOLDERS_MAX`].
    claims: Vec<(Address, RootFacts)>,
    failures: u32,
    /// Set while the root waits in the queue, with its spot there.
    queued: Option<queue::Spot>,
    /// Set after a failure, until the root may be tried again.
    retry_at: Option<Moment>,
    /// This peer promised the root and lost blocks of it.
    is_owed: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            target: REPLICAS_TARGET,
            // Chosen: longer than an update or a move of a machine takes; each wrong
            // guess costs a copy of all that the peer holds.
            lost_after: Duration::from_secs(4 * 3600),
            // An epoch: pages come once in each.
            pass_interval: Duration::from_secs(3600),
            // With 512 roots a step, all four million are passed in 160 s.
            step_interval: Duration::from_millis(20),
            // Chosen: other inputs wait for a step, so it takes milliseconds.
            step_roots_max: 512,
            // Four times the leases of a page: what is promised here, and claims of others.
            roots_max: 4_000_000,
            // A quarter, so that claims, which cost nothing, crowd out nothing published.
            claimed_roots_max: 1_000_000,
            // An hour's work and more with files of 1 MB, and passes are an hour apart.
            queue_max: 100_000,
            // Chosen: some slow holders leave the others a way; each has bytes in memory.
            fetches_max: 8,
            // As many as fetches: each reads some blocks at every wanted peer.
            checks_max: 8,
            // Chosen: an eighth of a gigabit link.
            bytes_per_second: 16 << 20,
            // 16 s at that rate: most roots fit, and a pause does not pile up a flood.
            burst_bytes_max: 256 << 20,
            // Chosen: a holder that restarts is back; thirty failures make it five minutes.
            retry_interval: Duration::from_secs(10),
        }
    }
}

impl Repair {
    /// Creates the machine of the peer `me`; every placed peer counts as heard
    /// of at `now`.
    #[must_use]
    pub fn new(config: Config, me: Address, placement: Arc<dyn Placing>, now: Moment) -> Self {
        let bucket = TokenBucket::new(config.bytes_per_second, config.burst_bytes_max, now);
        let mut repair = Self {
            work: Work {
                roots: BTreeSet::new(),
                holders: VecDeque::new(),
                pass: None,
                pass_at: now + config.pass_interval,
                step_at: now,
            },
            heard_at: now + config.lost_after,
            liveness: Liveness::new(config.lost_after),
            has_heard: false,
            config,
            me,
            placement: Arc::clone(&placement),
            roots: BTreeMap::new(),
            holdings: BTreeMap::new(),
            queue: Queue::default(),
            fetching: BTreeMap::new(),
            claimed_count: 0,
            retries: BTreeSet::new(),
            surplus: BTreeSet::new(),
            checks: BTreeMap::new(),
            starved: BTreeSet::new(),
            bucket,
            next_fetch: None,
            events: VecDeque::new(),
        };
        repair.handle_placement(placement, now);
        repair
    }

    /// Takes another registry snapshot; every root is looked at again.
    pub fn handle_placement(&mut self, placement: Arc<dyn Placing>, now: Moment) {
        let mut peers: BTreeSet<Address> = placement.peers().into_iter().collect();
        self.queue.retain(|peer| peers.contains(peer));
        self.placement = placement;
        peers.remove(&self.me);
        self.liveness.watch(&peers, now);
        self.start_pass();
    }

    /// Notes that a peer was heard of: a valid presence, page or lease of `at`,
    /// or an answer; `at` is not in the future. Strangers to the registry are
    /// ignored.
    pub fn handle_presence(&mut self, peer: Address, at: Moment, now: Moment) {
        if self.liveness.hear(peer, at, now) {
            self.events.push_back(Event::Returned { peer });
            self.work.holders.push_front((peer, None));
            self.start_pass();
        }
    }

    /// Notes that something published names a root, so that it must exist, held
    /// by anybody or nobody; it is not fetched before `from`.
    pub fn handle_required(&mut self, root: Cid, from: Option<Moment>) {
        if self.roots.len() >= self.config.roots_max && !self.roots.contains_key(&root) {
            return;
        }
        let known = self.roots.entry(root).or_insert_with(|| {
            self.claimed_count += 1;
            Root::default()
        });
        if std::mem::replace(&mut known.is_required, true) {
            return;
        }
        self.claimed_count -= 1;
        if let Some(from) = from
            && known.retry_at.is_none_or(|at| at < from)
        {
            if let Some(at) = known.retry_at.replace(from) {
                self.retries.remove(&(at, root));
            }
            self.retries.insert((from, root));
        }
        self.touch(root);
    }

    /// True when something published names the root, as far as is known.
    #[must_use]
    pub fn is_required(&self, root: &Cid) -> bool {
        self.roots.get(root).is_some_and(|known| known.is_required)
    }

    /// True when the root is required and this peer is among those that should
    /// hold it.
    #[must_use]
    pub fn is_wanted_here(&self, root: &Cid) -> bool {
        self.is_required(root) && self.is_wanted(root)
    }

    /// Notes that a peer (or this one) holds a root: a binding lease was seen.
    pub fn handle_holding(&mut self, peer: Address, root: Cid, facts: RootFacts) {
        let me = self.me;
        if !self.roots.contains_key(&root) {
            // A claim alone says nothing that is worth much room.
            if self.claimed_count >= self.config.claimed_roots_max && peer != me {
                return;
            }
            self.claimed_count += 1;
        }
        let known = self.roots.entry(root).or_default();
        if peer == me {
            known.verified = Some(facts);
        }
        match known.claim_idx(&peer) {
            Ok(idx) if known.claims[idx].1 == facts => return,
            Ok(idx) => known.claims[idx].1 = facts,
            Err(_) if known.claims.len() >= HOLDERS_MAX => return,
            Err(idx) => known.claims.insert(idx, (peer, facts)),
        }
        self.holdings.entry(peer).or_default().insert(root);
        self.touch(root);
    }

    /// Notes that a peer released a root or lost it.
    pub fn handle_released(&mut self, peer: &Address, root: &Cid) {
        let Some(known) = self.roots.get_mut(root) else {
            return;
        };
        if let Ok(idx) = known.claim_idx(peer) {
            known.claims.remove(idx);
            if let Some(roots) = self.holdings.get_mut(peer) {
                roots.remove(root);
                if roots.is_empty() {
                    self.holdings.remove(peer);
                }
            }
            if known.claims.is_empty() && !known.is_required && !known.is_owed {
                self.forget(root);
            } else {
                self.touch(*root);
            }
        }
    }

    /// Stops to look after a root that nothing published names. What others
    /// claim of it is kept, for when something does again.
    pub fn handle_unrequired(&mut self, root: &Cid) {
        self.dequeue(root);
        let Some(known) = self.roots.get_mut(root) else {
            return;
        };
        if std::mem::take(&mut known.is_required) {
            self.claimed_count += 1;
        }
        known.is_owed = false;
        known.failures = 0;
        if let Some(at) = known.retry_at.take() {
            self.retries.remove(&(at, *root));
        }
        if known.claims.is_empty() {
            self.forget(root);
        }
        self.work.roots.remove(root);
        self.starved.remove(root);
        self.surplus.remove(root);
        self.checks.remove(root);
        self.start_checks();
    }

    /// Notes that a block of a root that this peer holds is corrupt or missing:
    /// it is fetched again before anything else of its kind.
    pub fn handle_corrupt(&mut self, root: &Cid) {
        if let Some(known) = self.roots.get_mut(root) {
            known.is_owed = true;
        }
        let me = self.me;
        self.handle_released(&me, root);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.has_heard |= now >= self.heard_at;
        self.find_lost(now);
        while let Some(&(at, root)) = self.retries.first()
            && at <= now
        {
            self.retries.pop_first();
            if let Some(known) = self.roots.get_mut(&root) {
                known.retry_at = None;
                self.touch(root);
            }
        }
        if now >= self.work.pass_at {
            self.work.pass_at = now + self.config.pass_interval;
            self.start_pass();
        }
        if now >= self.work.step_at && self.has_work() {
            self.step();
            self.work.step_at = now + self.config.step_interval;
        }
        self.start_fetches(now);
    }

    /// When [`Repair::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let mut next = (self.work.pass_at, "repair pass");
        if self.has_work() {
            next = next.min((self.work.step_at, "repair step"));
        }
        if let Some(at) = self.liveness.deadline() {
            next = next.min((at, "peer counts as lost"));
        }
        if let Some((at, _)) = self.retries.first() {
            next = next.min((*at, "repair retry"));
        }
        if let Some(at) = self.next_fetch {
            next = next.min((at, "repair bandwidth"));
        }
        Some(next)
    }

    /// The next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far repair is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            roots: self.roots.len(),
            queued: self.queue.len(),
            fetching: self.fetching.len(),
            starved: self.starved.len(),
            lost: self.liveness.lost().len(),
            is_scanning: self.has_work(),
        }
    }

    /// The peers that count as lost.
    #[must_use]
    pub fn lost(&self) -> &BTreeSet<Address> {
        self.liveness.lost()
    }

    /// The live holders of a root as far as known, this peer among them. Claims
    /// that contradict what is believed of the root are not counted.
    pub fn holders(&self, root: &Cid) -> impl Iterator<Item = Address> {
        let believed = self.candidates(root).first().copied();
        self.claims(root)
            .filter(move |(_, facts)| Some(*facts) == believed)
            .map(|(holder, _)| holder)
    }

    /// How many distinct operators keep a root on live peers.
    #[must_use]
    pub fn replicas(&self, root: &Cid) -> usize {
        self.holders(root)
            .filter_map(|holder| self.placement.operator_of(&holder))
            .collect::<BTreeSet<OperatorNumber>>()
            .len()
    }

    /// What live peers claim of a root.
    fn claims(&self, root: &Cid) -> impl Iterator<Item = (Address, RootFacts)> {
        self.roots
            .get(root)
            .into_iter()
            .flat_map(|known| known.claims.iter().copied())
            .filter(|(holder, _)| self.is_live(holder))
    }

    /// What the root may be, the likeliest first: what is known of it, then what
    /// the most operators claim.
    fn candidates(&self, root: &Cid) -> Vec<RootFacts> {
        let known = self.roots.get(root).and_then(|known| known.verified);
        let mut votes: BTreeMap<RootFacts, BTreeSet<OperatorNumber>> = BTreeMap::new();
        for (holder, facts) in self.claims(root) {
            let operator = self.placement.operator_of(&holder);
            votes.entry(facts).or_default().extend(operator);
        }
        let mut claimed: Vec<RootFacts> = votes
            .keys()
            .filter(|facts| Some(**facts) != known)
            .copied()
            .collect();
        claimed.sort_by_key(|facts| std::cmp::Reverse(votes[facts].len()));
        known.into_iter().chain(claimed).collect()
    }

    fn forget(&mut self, root: &Cid) {
        self.dequeue(root);
        if let Some(known) = self.roots.remove(root) {
            self.claimed_count -= usize::from(!known.is_required);
            if let Some(at) = known.retry_at {
                self.retries.remove(&(at, *root));
            }
        }
    }

    fn is_live(&self, peer: &Address) -> bool {
        !self.lost().contains(peer) && self.placement.operator_of(peer).is_some()
    }

    fn wanted(&self, root: &Cid) -> Vec<Address> {
        self.placement.place(root, self.config.target, self.lost())
    }
}

impl Root {
    fn claim_idx(&self, peer: &Address) -> Result<usize, usize> {
        self.claims
            .binary_search_by_key(peer, |(holder, _)| *holder)
    }
}

/// Holders that are counted of one root; more than any target.
pub const HOLDERS_MAX: usize = 32;

#[cfg(test)]
pub(super) mod tests;
