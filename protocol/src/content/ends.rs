//! Which roots are wanted, and when a promise ends.

use std::collections::BTreeSet;

use cid::Cid;

use super::holder::IndexState;
use super::references::Reference;
use super::repair::RootFacts;
use super::report::{Returning, Standing};
use super::{After, Content, Note, Output, Row, Scan};
use crate::placement::RegistryAt;
use crate::time::{Epoch, Moment};
use std::sync::Arc;

impl Content {
    /// Where a root stands.
    #[must_use]
    pub fn standing(&self, root: &Cid) -> Standing {
        if self.references.contains(root) {
            Standing::Published
        } else if self.holder.upload(root).is_some() {
            Standing::Pending
        } else if let Some(since) = self.ended.get(root) {
            Standing::Ended(*since)
        } else {
            Standing::Dead
        }
    }

    pub(super) fn handle_registry(&mut self, registry: Arc<RegistryAt>, now: Moment) {
        self.registry = registry;
        let placement = Arc::clone(&self.registry.place);
        self.repair.handle_placement(placement, now);
        self.list_unlisted();
    }

    pub(super) fn handle_references(&mut self, changed: Vec<Reference>, now: Moment) {
        for reference in changed {
            let from = now + self.config.offer_grace;
            self.handle_reference(reference, Some(from), now);
        }
    }

    fn handle_reference(&mut self, reference: Reference, from: Option<Moment>, now: Moment) {
        let root = reference.root;
        let is_named = !reference.owners.is_empty();
        let was_named = self.references.contains(&root);
        self.references.set(reference);
        match (was_named, is_named) {
            (_, true) => self.note_named(root, from, now),
            (true, false) => self.note_unnamed(root, now),
            (false, false) => {}
        }
    }

    fn note_named(&mut self, root: Cid, from: Option<Moment>, now: Moment) {
        if self.ended.remove(&root).is_some() {
            self.persist(vec![Row::Ended(root, None)], After::Nothing);
        }
        if let Some(lease) = self.book.lease(&root) {
            let size = lease.record.size;
            self.references.note_held(&root, size);
        }
        self.note_published(root);
        // How large it is shows when somebody claims it, and for sure when it is here.
        if !self.repair.is_required(&root) && self.covers(&root, 0, now) {
            self.repair.handle_required(root, from);
            self.recall_claims(root, now.epoch());
        }
    }

    /// What the peers that should hold a root claimed before it was wanted.
    fn recall_claims(&mut self, root: Cid, epoch: Epoch) {
        let placement = &self.registry.placement;
        for peer in placement.place(&root, RECALLED_MAX, &BTreeSet::new()) {
            if let Some(claim) = self.view.binding(&peer, &root, epoch) {
                let facts = RootFacts::of(claim);
                self.repair.handle_holding(peer, root, facts);
            }
        }
    }

    fn note_unnamed(&mut self, root: Cid, now: Moment) {
        self.repair.handle_unrequired(&root);
        if self.book.lease(&root).is_some() && self.holder.upload(&root).is_none() {
            self.begin_end(root, now);
        }
    }

    /// A promise outlasts the last thing that named its root: a reorganisation
    /// or another publication may bring it back.
    pub(super) fn begin_end(&mut self, root: Cid, now: Moment) {
        let epoch = now.epoch();
        if self.ended.insert(root, epoch).is_none() {
            self.persist(vec![Row::Ended(root, Some(epoch))], After::Nothing);
        }
    }

    /// Takes promises back whose time is over. An index that lags behind the
    /// chain does not know which those are, and neither does who did not read it.
    pub(super) fn end_roots(&mut self, now: Moment) {
        if !self.is_index_read {
            return;
        }
        let epoch = now.epoch();
        for root in self.book.expired(epoch) {
            if self.standing(&root) != Standing::Published {
                self.strike(root);
            }
        }
        let over: Vec<Cid> = self
            .ended
            .iter()
            .filter(|(_, since)| epoch >= since.plus(ENDED_EPOCHS))
            .map(|(root, _)| *root)
            .collect();
        for root in over {
            if self.book.lease(&root).is_some() && !self.references.contains(&root) {
                self.note(Note::Ended(root));
                self.strike(root);
            } else {
                self.ended.remove(&root);
                self.persist(vec![Row::Ended(root, None)], After::Nothing);
            }
        }
    }

    /// Reads what the index names from the beginning; after a reading that is
    /// under way, which may have passed what changed.
    pub(super) fn begin_scan(&mut self) {
        match self.scan {
            Scan::Idle | Scan::Broken => {
                self.scan = Scan::Reading;
                self.references.begin_reading();
                self.outputs.push_back(Output::Scan { after: None });
            }
            Scan::Reading | Scan::Outdated => self.scan = Scan::Outdated,
        }
    }

    pub(super) fn handle_scanned(&mut self, roots: Vec<Reference>, is_over: bool, now: Moment) {
        if matches!(self.scan, Scan::Idle | Scan::Broken) {
            return;
        }
        let last = roots.last().map(|reference| reference.root);
        for reference in roots {
            self.handle_reference(reference, None, now);
        }
        if !is_over && last.is_some() {
            self.outputs.push_back(Output::Scan { after: last });
            return;
        }
        if std::mem::replace(&mut self.scan, Scan::Idle) == Scan::Outdated {
            self.begin_scan();
            return;
        }
        if !self.is_current {
            return;
        }
        for root in self.references.unnamed() {
            let gone = Reference {
                root,
                owners: Vec::new(),
            };
            self.handle_reference(gone, None, now);
        }
        let promised: Vec<Cid> = self.book.leases().map(|lease| lease.record.root).collect();
        for root in promised {
            if self.standing(&root) == Standing::Dead {
                self.begin_end(root, now);
            }
        }
        self.is_index_read = true;
        self.holder.handle_index(IndexState::Current, now);
        self.end_roots(now);
        self.draft_page(now);
    }

    /// What is known of references may be wrong until the index was read again.
    pub(super) fn handle_renamed_unknown(&mut self, now: Moment) {
        if std::mem::take(&mut self.is_index_read) {
            self.holder.handle_index(IndexState::Behind, now);
        }
        self.begin_scan();
    }

    /// Damage that was found while running.
    pub(super) fn handle_damaged(&mut self, roots: &[Cid]) {
        for root in roots {
            // What waits for its lease is promised once it is whole again; what was
            // released in the meantime is owed to nobody.
            if self.book.lease(root).is_some() || self.promises.remove(root).is_some() {
                self.note(Note::Damaged(*root));
                self.holder.handle_damaged(root);
                self.repair.handle_corrupt(root);
            }
        }
    }

    /// What is not whole at the start: fetched again under its standing lease,
    /// or released when the lease comes from a backup.
    pub(super) fn handle_inspected(&mut self, lacking: Vec<Cid>, now: Moment) {
        match &mut self.returning {
            Some(returning) if returning.is_inspecting => {
                returning.is_inspecting = false;
                let promises = &self.promises;
                // What was pulled meanwhile is whole, and waits for its lease.
                let is_lacking = |root: &Cid| !promises.contains_key(root);
                returning.missing = lacking.into_iter().filter(is_lacking).collect();
                for root in returning.missing.clone() {
                    self.strike(root);
                }
            }
            Some(_) | None => self.handle_damaged(&lacking),
        }
        self.draft_page(now);
    }

    /// A backup does not know what was signed after it was made: the serials
    /// jump, and nothing is signed in the epoch in which the former self may
    /// have signed. Uploads are pulled again, for a backup has no blocks.
    pub(super) fn begin_return(&mut self, promised: &[Cid], now: Moment) {
        let counters = self.book.return_from_backup(now.epoch());
        let uploads = self.holder.uploads();
        let uploads =
            uploads.map(|upload| Row::Upload(upload.offer.root, Some(upload.clone().into())));
        let rows = uploads.chain([Row::Counters(counters)]).collect();
        self.persist(rows, After::Nothing);
        self.returning = Some(Returning {
            silent: now.epoch(),
            promised: promised.len(),
            missing: BTreeSet::new(),
            waiting: 0,
            is_inspecting: true,
        });
    }

    /// Until when nothing is signed.
    pub(super) fn silent_until(&self, epoch: Epoch) -> Option<Moment> {
        let returning = self.returning.as_ref()?;
        (epoch <= returning.silent).then(|| Moment::from_unix(returning.signs_from()))
    }

    pub(super) fn is_inspecting(&self) -> bool {
        let returning = self.returning.as_ref();
        returning.is_some_and(|returning| returning.is_inspecting)
    }

    /// Notes a page of this life; true when it is the first after a return.
    pub(super) fn end_silence(&mut self, epoch: Epoch) -> bool {
        let Some(returning) = &mut self.returning else {
            return false;
        };
        if self.is_index_read {
            let (repair, holder) = (&self.repair, &self.holder);
            // Others hold the rest, or nobody has to.
            let is_kept = |root: &Cid| repair.is_wanted_here(root) || holder.upload(root).is_some();
            returning.missing.retain(is_kept);
        }
        let is_over = epoch > returning.silent;
        if is_over && returning.missing.is_empty() {
            self.returning = None;
        }
        is_over
    }

    /// Notes that a root is promised again; the last one ends the return.
    pub(super) fn note_returned(&mut self, root: &Cid, epoch: Epoch) {
        let Some(returning) = &mut self.returning else {
            return;
        };
        returning.missing.remove(root);
        if epoch > returning.silent && returning.missing.is_empty() {
            self.returning = None;
            self.persist(vec![Row::Returned], After::Nothing);
        }
    }
}

/// Epochs that a promise outlasts the last thing that named its root: a day.
pub(super) const ENDED_EPOCHS: u64 = 24;

/// Placed peers and substitutes whose earlier claims are looked up.
const RECALLED_MAX: usize = 15;
