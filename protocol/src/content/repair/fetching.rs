//! Which root is fetched next, of whom, and what follows from how that ends.

use cid::Cid;

use super::queue::{self, Line};
use super::{Event, Repair, RootFacts};
use crate::id::Address;
use crate::time::Moment;

/// A root that is being fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetching {
    /// Bytes taken from the bucket.
    pub(super) bytes: u64,
    pub(super) line: Line,
}

impl Repair {
    /// Notes that a fetch ended well: the root is durable here. `facts` are of the
    /// verified blocks, whatever others say of them.
    pub fn handle_fetched(&mut self, root: &Cid, facts: RootFacts, now: Moment) {
        if self.end_fetch(root, true, now).is_some() {
            if let Some(known) = self.roots.get_mut(root)
                && (known.is_required || known.is_owed)
            {
                known.failures = 0;
                known.is_owed = false;
                self.handle_holding(self.me, *root, facts);
            } else {
                self.events.push_back(Event::Release { root: *root });
            }
        }
        self.start_fetches(now);
    }

    /// Notes that a fetch failed; the root is tried again later, with what others
    /// say of it if they disagree.
    pub fn handle_fetch_failed(&mut self, root: &Cid, now: Moment) {
        if let Some(ended) = self.end_fetch(root, false, now) {
            // Whoever lied about a size shall not stop the repair of other roots.
            self.bucket.give_back(ended.bytes);
            if let Some(known) = self.roots.get_mut(root) {
                known.failures = (known.failures + 1).min(RETRY_FACTOR_MAX);
                let at = now + self.config.retry_interval * known.failures;
                known.retry_at = Some(at);
                self.retries.insert((at, *root));
            }
        }
        self.start_fetches(now);
    }

    /// Notes that a fetch was not judged by its holders: there is no room here.
    pub fn handle_fetch_hindered(&mut self, root: &Cid, now: Moment) {
        if let Some(ended) = self.fetching.remove(root) {
            self.queue.end(ended.line);
            self.bucket.give_back(ended.bytes);
            if let Some(known) = self.roots.get_mut(root) {
                let at = now + self.config.retry_interval * RETRY_FACTOR_MAX;
                known.retry_at = Some(at);
                self.retries.insert((at, *root));
            }
        }
        self.start_fetches(now);
    }

    fn end_fetch(&mut self, root: &Cid, is_here: bool, now: Moment) -> Option<Fetching> {
        let ended = self.fetching.remove(root)?;
        self.queue.end(ended.line);
        let claimants: Vec<Address> = self.claims(root).map(|(peer, _)| peer).collect();
        for claimant in claimants {
            self.queue
                .judge(claimant, is_here, self.config.retry_interval, now);
        }
        Some(ended)
    }

    pub(super) fn enqueue(&mut self, spot: queue::Spot, root: Cid) {
        let known = self
            .roots
            .get_mut(&root)
            .expect("examined roots are tracked");
        known.queued = Some(spot);
        if let Some(gone) = self.queue.insert(root, spot, self.config.queue_max)
            && let Some(known) = self.roots.get_mut(&gone)
        {
            known.queued = None;
        }
    }

    pub(super) fn dequeue(&mut self, root: &Cid) {
        if let Some(known) = self.roots.get_mut(root)
            && let Some(spot) = known.queued.take()
        {
            self.queue.remove(root, spot);
        }
    }

    pub(super) fn start_fetches(&mut self, now: Moment) {
        self.next_fetch = None;
        // One place is left for those whose roots others claim too.
        let of_one_max = self.config.fetches_max.saturating_sub(1).max(1);
        while self.fetching.len() < self.config.fetches_max {
            let Some((root, (line, _))) = self.queue.first(now, of_one_max) else {
                self.next_fetch = self.queue.next_trusted(now);
                return;
            };
            let facts = self.tried(&root);
            let size = facts.map_or(0, |facts| facts.size);
            let Some(bytes) = self.bucket.take(size, now) else {
                self.next_fetch = Some(self.bucket.ready_at(size));
                return;
            };
            self.dequeue(&root);
            self.queue.start(line);
            self.fetching.insert(root, Fetching { bytes, line });
            let holders = self.ranked_claimants(&root, facts);
            self.events.push_back(Event::Fetch {
                root,
                facts,
                holders,
            });
        }
    }

    /// Who claims a root: those that agree with `facts` first, then in rank
    /// order where they are placed.
    fn ranked_claimants(&self, root: &Cid, facts: Option<RootFacts>) -> Vec<Address> {
        let wanted = self.wanted(root);
        let mut claims: Vec<(Address, RootFacts)> = self.claims(root).collect();
        claims.sort_by_key(|(holder, claimed)| {
            let rank = wanted.iter().position(|peer| peer == holder);
            (Some(*claimed) != facts, rank.unwrap_or(usize::MAX))
        });
        claims.into_iter().map(|(holder, _)| holder).collect()
    }

    /// What the next fetch of a root expects: each failure goes on to the next
    /// candidate.
    fn tried(&self, root: &Cid) -> Option<RootFacts> {
        let candidates = self.candidates(root);
        let failures = usize::try_from(self.roots.get(root)?.failures).unwrap_or(usize::MAX);
        candidates.get(failures % candidates.len().max(1)).copied()
    }
}

/// Failures after which the pause between two tries grows no more. Chosen: five
/// minutes by default, a twelfth of a pass.
const RETRY_FACTOR_MAX: u32 = 30;
