//! Leases: serials are used once, and a promise is of what is there.

use std::collections::BTreeMap;

use cid::Cid;
use protocol::id::{Address, Hash32};
use protocol::records::{SignedLease, SignedPage};
use protocol::signing::Record;
use protocol::time::{Epoch, Moment};

use super::{Checkers, Rule};

/// Everything that was ever signed, over all crashes.
#[derive(Debug, Default)]
pub(super) struct Leases {
    leases: BTreeMap<(Address, u64), Hash32>,
    pages: BTreeMap<(Address, Epoch), Hash32>,
    page_serials: BTreeMap<(Address, u64), Hash32>,
}

impl Checkers {
    /// Notes a lease that was signed.
    pub fn note_lease(&mut self, lease: &SignedLease, now: Moment) {
        let record = &lease.record;
        let hash = record.struct_hash();
        let known = self
            .leases
            .leases
            .insert((record.holder, record.serial), hash);
        self.findings.observe(
            Rule::LeaseSerial,
            known.is_none_or(|known| known == hash),
            now,
            || format!("{} signed two leases {}", record.holder, record.serial),
        );
    }

    /// Notes whether a peer has the root that it promises.
    pub fn note_promise(&mut self, peer: u32, root: &Cid, is_whole: bool, now: Moment) {
        self.findings
            .observe(Rule::WholePromise, is_whole, now, || {
                format!("peer {peer} promised {root}")
            });
    }

    /// Notes a promise that is taken back without a release.
    pub fn note_struck(&mut self, peer: u32, root: &Cid, may_go: bool, now: Moment) {
        self.findings.observe(Rule::PromiseEnds, may_go, now, || {
            format!("peer {peer} took its promise of {root} back")
        });
    }

    /// Notes that a peer wants to fetch a root as a missing replica.
    pub fn note_repairing(&mut self, peer: u32, root: &Cid, has_reason: bool, now: Moment) {
        self.findings
            .observe(Rule::RepairReason, has_reason, now, || {
                format!("peer {peer} wants {root}")
            });
    }

    /// Notes a page that was signed.
    pub fn note_page(&mut self, page: &SignedPage, now: Moment) {
        let record = &page.record;
        let hash = record.struct_hash();
        let by_epoch = self
            .leases
            .pages
            .insert((record.holder, record.epoch), hash);
        let by_serial = self
            .leases
            .page_serials
            .insert((record.holder, record.serial), hash);
        let is_first = [by_epoch, by_serial]
            .into_iter()
            .flatten()
            .all(|known| known == hash);
        self.findings
            .observe(Rule::PagePerEpoch, is_first, now, || {
                format!("{} signed two for epoch {}", record.holder, record.epoch)
            });
    }

    /// Notes that an author offers a root, and whether it has the peer's promise.
    pub fn note_offer(&mut self, peer: u32, root: &Cid, is_promised: bool, now: Moment) {
        self.findings
            .observe(Rule::OfferedOnce, !is_promised, now, || {
                format!("peer {peer} offers {root}")
            });
    }

    /// Notes whether a machine refuses something as false, where nobody errs or lies.
    pub fn note_refusal(&mut self, peer: u32, false_as: Option<String>, now: Moment) {
        self.findings
            .observe(Rule::RefusedFalse, false_as.is_none(), now, || {
                format!("peer {peer}: {}", false_as.unwrap_or_default())
            });
    }

    /// Notes that the content role of an honest peer has a peer's answer.
    pub fn note_heard(&mut self, peer: u32, now: Moment) {
        if !self.gossip.is_liar(peer) {
            self.findings
                .observe(Rule::ContentCharges, true, now, String::new);
        }
    }

    /// Notes that the content role of an honest peer holds something against a
    /// peer: over an honest one's own connection nothing false arrives.
    pub fn note_charged(&mut self, peer: u32, now: Moment) {
        let is_honest = !self.gossip.is_liar(peer);
        self.findings
            .observe(Rule::ContentCharges, !is_honest, now, || {
                format!("peer {peer} was charged")
            });
    }
}
