//! Promises: drafted, counted, signed, kept, given; and taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;

use super::book::Grant;
use super::listing::Request;
use super::repair::RootFacts;
use super::{After, AskId, Asked, Content, Note, Output, Purpose, Row, SignedRecord};
use crate::id::Address;
use crate::records::{Lease, SignedLease, SignedStatement};
use crate::time::Moment;
use crate::wire::Protocol;

/// A root that is whole here and waits for its lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    facts: RootFacts,
    /// When it is tried again; `None` while its lease is being signed.
    retry_at: Option<Moment>,
}

impl Promise {
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }
}

/// Leases that are renewed together, in one write each of counters and leases:
/// the page comes after it, and lists what is on disk.
#[derive(Debug)]
pub(super) struct Renewal {
    serials: BTreeSet<u64>,
    signed: Vec<SignedLease>,
}

impl Content {
    /// Promises a root that is durable here.
    pub(super) fn promise(&mut self, root: Cid, facts: RootFacts, now: Moment) {
        if self.promises.contains_key(&root) {
            return;
        }
        let epoch = now.epoch();
        if let Some(at) = self.silent_until(epoch) {
            let retry_at = Some(at);
            self.promises.insert(root, Promise { facts, retry_at });
            return;
        }
        match self.book.grant(root, facts.proof_root, facts.size, epoch) {
            Grant::Standing(lease) => self.enter_lease(lease),
            Grant::Full => {
                self.note(Note::BookFull(root));
                let retry_at = Some(now + RETRY_INTERVAL);
                self.promises.insert(root, Promise { facts, retry_at });
            }
            Grant::Draft { lease, counters } => {
                let promise = Promise {
                    facts,
                    retry_at: None,
                };
                self.promises.insert(root, promise);
                self.persist(
                    vec![Row::Counters(counters)],
                    After::SignLeases(vec![lease]),
                );
            }
        }
    }

    /// Drafts the leases anew that end soon and are still wanted.
    pub(super) fn renew(&mut self, now: Moment) {
        let epoch = now.epoch();
        let (references, holder) = (&self.references, &self.holder);
        let is_wanted = |root: &Cid| references.contains(root) || holder.upload(root).is_some();
        let roots_max = self.config.book.renewals_max();
        let drafted = self.book.renew(epoch, roots_max, is_wanted);
        let Some((_, counters)) = drafted.last().cloned() else {
            return;
        };
        let leases: Vec<Lease> = drafted.into_iter().map(|(lease, _)| lease).collect();
        for lease in &leases {
            let promise = Promise {
                facts: RootFacts::of(lease),
                retry_at: None,
            };
            self.promises.insert(lease.root, promise);
        }
        self.renewal = Some(Renewal {
            serials: leases.iter().map(|lease| lease.serial).collect(),
            signed: Vec::new(),
        });
        let rows = vec![Row::Counters(counters)];
        self.persist(rows, After::SignLeases(leases));
    }

    pub(super) fn handle_signed(&mut self, record: SignedRecord) {
        match record {
            SignedRecord::Lease(lease) => self.keep_lease(lease),
            SignedRecord::Told(SignedStatement::Page(page)) => self.keep_page(page),
            SignedRecord::Told(statement) => self.tell(&statement),
        }
    }

    fn keep_lease(&mut self, lease: SignedLease) {
        let row = |lease: &SignedLease| {
            let root = lease.record.root;
            Row::Lease(root, Some(Box::new(lease.clone())))
        };
        let serial = lease.record.serial;
        match &mut self.renewal {
            Some(renewal) if renewal.serials.contains(&serial) => {
                renewal.signed.push(lease);
                if renewal.signed.len() == renewal.serials.len() {
                    let leases = std::mem::take(&mut renewal.signed);
                    let rows = leases.iter().map(row).collect();
                    self.persist(rows, After::GiveRenewed(leases));
                }
            }
            Some(_) | None => self.persist(vec![row(&lease)], After::GiveLease(lease)),
        }
    }

    /// The renewed leases are durable, and the page may list them.
    pub(super) fn give_renewed(&mut self, leases: Vec<SignedLease>, now: Moment) {
        for lease in leases {
            self.give_lease(lease, now);
        }
        self.renewal = None;
        self.draft_page(now);
    }

    /// A signed lease is durable: everybody may see it.
    pub(super) fn give_lease(&mut self, lease: SignedLease, now: Moment) {
        let root = lease.record.root;
        if self.promises.remove(&root).is_none() {
            // It was given up while it was being signed.
            self.persist(vec![Row::Lease(root, None)], After::Nothing);
            return;
        }
        let is_new = self.book.lease(&root).is_none();
        self.book.handle_signed(lease.clone());
        self.enter_lease(lease.clone());
        if is_new {
            // Who knows an older one reads this one with the page.
            self.announce(&lease);
        }
        self.note_returned(&root, now.epoch());
        if !self.references.contains(&root) && self.holder.upload(&root).is_none() {
            self.begin_end(root, now);
        }
    }

    fn enter_lease(&mut self, lease: SignedLease) {
        let root = lease.record.root;
        let facts = RootFacts::of(&lease.record);
        self.references.note_held(&root, facts.size);
        self.repair.handle_holding(self.config.peer, root, facts);
        self.holder.handle_lease(lease);
        if self.holder.upload(&root).is_some() {
            self.save_upload(root);
            self.note_published(root);
        }
    }

    /// Waits before leases are drafted again whose rows could not be written.
    pub(super) fn put_off<'a>(&mut self, leases: impl Iterator<Item = &'a Lease>, now: Moment) {
        for lease in leases {
            if let Some(promise) = self.promises.get_mut(&lease.root) {
                promise.retry_at = Some(now + RETRY_INTERVAL);
            }
            // Those that were to be renewed are so with the next epoch.
            self.renewal
                .take_if(|renewal| renewal.serials.contains(&lease.serial));
        }
    }

    pub(super) fn retry_promises(&mut self, now: Moment) {
        let is_due = |(_, promise): &(&Cid, &Promise)| promise.retry_at.is_some_and(|at| at <= now);
        let due: Vec<(Cid, RootFacts)> = self
            .promises
            .iter()
            .filter(is_due)
            .map(|(root, promise)| (*root, promise.facts))
            .collect();
        for (root, facts) in due {
            self.promises.remove(&root);
            self.promise(root, facts, now);
        }
    }

    /// Takes a promise back: lease first, then blocks.
    pub(super) fn strike(&mut self, root: Cid) {
        self.promises.remove(&root);
        self.book.release(&root);
        self.references.note_held(&root, 0);
        self.repair.handle_released(&self.config.peer, &root);
        let mut rows = vec![Row::Lease(root, None)];
        if self.ended.remove(&root).is_some() {
            rows.push(Row::Ended(root, None));
        }
        self.persist(rows, After::Remove(root));
    }

    /// Gives the blocks of a struck root up, unless it is on its way back.
    /// Takes back what the disk did not take back: with the next start it would be
    /// promised again.
    pub(super) fn strike_again(&mut self) {
        for root in std::mem::take(&mut self.unstruck) {
            if self.book.lease(&root).is_none() && !self.promises.contains_key(&root) {
                self.strike(root);
            }
        }
    }

    pub(super) fn remove(&mut self, root: Cid) {
        let is_fetched = [Purpose::Upload, Purpose::Repair]
            .into_iter()
            .any(|purpose| self.fetches.contains(&(root, purpose)));
        let is_kept = self.book.lease(&root).is_some()
            || self.promises.contains_key(&root)
            || self.holder.upload(&root).is_some();
        if !is_fetched && !is_kept && self.removing.insert(root) {
            self.outputs.push_back(Output::Remove { root });
        }
    }

    /// Gives up everything that is held for no reason that is known: what a
    /// pull or a repair began and did not end.
    pub(super) fn keep(&mut self) {
        let leases = self.book.leases().map(|lease| lease.record.root);
        let uploads = self.holder.uploads().map(|upload| upload.offer.root);
        let fetched = self.fetches.iter().map(|(root, _)| *root);
        let roots: BTreeSet<Cid> = leases
            .chain(uploads)
            .chain(fetched)
            .chain(self.promises.keys().copied())
            .collect();
        self.keeping_count += 1;
        self.outputs.push_back(Output::Keep { roots });
    }

    /// Fetches a root, once nothing of it is being given up any more.
    pub(super) fn fetch(&mut self, root: Cid, purpose: Purpose, wish: Output) {
        self.fetches.insert((root, purpose));
        if self.keeping_count > 0 || self.removing.contains(&root) {
            self.waiting.insert((root, purpose), wish);
        } else {
            self.outputs.push_back(wish);
        }
    }

    pub(super) fn start_waiting(&mut self) {
        if self.keeping_count > 0 {
            return;
        }
        let removing = &self.removing;
        let ready = self
            .waiting
            .extract_if(.., |(root, _), _| !removing.contains(root));
        self.outputs.extend(ready.map(|(_, wish)| wish));
    }

    /// Tells the placed peers, those who would take their place, and the other
    /// peers of the same operators of a lease.
    fn announce(&mut self, lease: &SignedLease) {
        let root = &lease.record.root;
        let placement = &self.registry.placement;
        let mut told = placement.place(root, ANNOUNCED_MAX, &BTreeSet::new());
        let first: BTreeSet<Address> = told.iter().copied().collect();
        told.extend(placement.place(root, ANNOUNCED_MAX, &first));
        let lease = Box::new(lease.clone());
        let body = Request::Announce { lease }.to_bytes();
        for to in told {
            if to == self.config.peer {
                continue;
            }
            // Who misses it reads the list of leases later.
            self.ask(to, Protocol::Leases, body.clone(), Asked::Told);
        }
    }

    pub(super) fn ask(&mut self, to: Address, protocol: Protocol, body: Vec<u8>, asked: Asked) {
        let id = AskId(self.next_id());
        self.asked.insert(id, asked);
        self.outputs.push_back(Output::Ask {
            id,
            to,
            protocol,
            body,
        });
    }
}

/// Operators whose peers hear of a new lease at once: the placed ones and twice
/// as many substitutes.
const ANNOUNCED_MAX: usize = 15;

/// Pause before a lease is drafted again. Chosen: a full disk is not made room
/// on faster.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);
