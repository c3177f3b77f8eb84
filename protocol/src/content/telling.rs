//! Signs of life and pages: this peer's, and those of others.

use super::repair::RootFacts;
use super::uploads::OFFENCE;
use super::{After, Content, Draft, Output, Row};
use crate::codec;
use crate::id::{Address, Hash32};
use crate::machine::{Token, Verdict};
use crate::origin::{Origin, RequestId};
use crate::records::{Page, SignedLease, SignedPage};
use crate::records::{Presence, SignedPresence, check_page, check_presence};
use crate::signing::Record;
use crate::time::Moment;
use crate::wire::Topic;

use super::listing::{Request, Response};

impl Content {
    /// Does what is due once an epoch: claims end first, so that nothing is
    /// decided by what has ended.
    pub(super) fn note_epoch(&mut self, now: Moment) {
        let epoch = now.epoch();
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        self.expire_claims(epoch);
        self.begin_scan();
        self.end_roots(now);
        self.keep();
        self.is_page_due = true;
        self.is_renewal_due = true;
        self.draft_page(now);
    }

    /// Renews what ends soon, once it is known what is wanted, and drafts the
    /// page of the epoch, once it is known what is whole here and unless nothing
    /// is signed in it.
    pub(super) fn draft_page(&mut self, now: Moment) {
        if self.is_inspecting() || self.silent_until(now.epoch()).is_some() {
            return;
        }
        if self.is_renewal_due && self.is_index_read && self.renewal.is_none() {
            self.is_renewal_due = false;
            self.renew(now);
        }
        if self.renewal.is_some() || !std::mem::take(&mut self.is_page_due) {
            return;
        }
        if let Some(draft) = self.book.draft_page(now.epoch()) {
            let rows = vec![Row::Counters(draft.counters)];
            self.persist(rows, After::SignPage(draft.page));
        }
    }

    pub(super) fn keep_page(&mut self, page: SignedPage) {
        let mut rows = vec![Row::Page(Box::new(page.clone()))];
        if self.end_silence(page.record.epoch) {
            rows.push(Row::Returned);
        }
        self.persist(rows, After::TellPage(page));
    }

    pub(super) fn tell_page(&mut self, page: SignedPage) {
        self.book.handle_page_signed(page.clone());
        self.outputs.push_back(Output::Publish {
            topic: Topic::Pages,
            body: codec::to_bytes(&page),
        });
    }

    /// Tells that this peer is here.
    pub(super) fn tell_presence(&mut self, now: Moment) {
        let page: Option<&Page> = self.book.page().map(|page| &page.record);
        let presence = Presence {
            peer: self.config.peer,
            time: now.unix(),
            page_serial: page.map_or(0, |page| page.serial),
            page_hash: page.map_or(Hash32::ZERO, Record::struct_hash),
            capacity: self.capacity.bytes_max,
            used: self.capacity.live_bytes,
        };
        self.outputs
            .push_back(Output::Sign(Draft::Presence(presence)));
    }

    pub(super) fn publish_presence(&mut self, presence: &SignedPresence) {
        self.outputs.push_back(Output::Publish {
            topic: Topic::Presence,
            body: codec::to_bytes(presence),
        });
    }

    pub(super) fn handle_gossip(&mut self, token: Token, topic: Topic, body: &[u8], now: Moment) {
        let verdict = match topic {
            Topic::Presence => self.judge_presence(body, now),
            Topic::Pages => self.judge_page(body, now),
            _ => Verdict::Ignore,
        };
        self.outputs.push_back(Output::Judge { token, verdict });
    }

    fn judge_presence(&mut self, body: &[u8], now: Moment) -> Verdict {
        let registry = &self.registry.registry;
        match check_presence(body, registry, &self.config.domain, now) {
            Ok(presence) => {
                let record = presence.record;
                let at = Moment::from_unix(record.time).min(now);
                self.repair.handle_presence(record.peer, at, now);
                self.note_serial(record.peer, record.page_serial);
                Verdict::Accept
            }
            Err(error) if error.is_offence() => Verdict::Reject,
            Err(_) => Verdict::Ignore,
        }
    }

    /// A page says that its holder's leases may be read anew, and nothing about
    /// whether the holder is alive: anybody can tell an old one again.
    fn judge_page(&mut self, body: &[u8], now: Moment) -> Verdict {
        let registry = &self.registry.registry;
        let newest = |holder: &Address| self.lists.told(holder);
        match check_page(body, registry, &self.config.domain, now, newest) {
            Ok(page) => {
                let record = page.record;
                self.lists.note_told(record.holder, record.serial);
                if let Some(known) = self.view.page(&record.holder)
                    && known.record.epoch == record.epoch
                    && known.record != record
                {
                    self.note_equivocation(record.holder, record.epoch);
                }
                self.note_serial(record.holder, record.serial);
                Verdict::Accept
            }
            Err(error) if error.is_offence() => Verdict::Reject,
            Err(_) => Verdict::Ignore,
        }
    }

    /// Answers `/coliving/leases/1`; false for what is none of it.
    pub(super) fn handle_lease_request(
        &mut self,
        id: RequestId,
        origin: Origin,
        body: &[u8],
        now: Moment,
    ) -> bool {
        let response = match Request::from_bytes(body) {
            Ok(Request::List { after, known }) => {
                let after = after.as_ref().map(|key| key.as_slice());
                Response::List(Box::new(self.book.part(after, known)))
            }
            Ok(Request::Announce { lease }) if lease.record.holder == origin.peer => {
                self.note_claim(&lease, now);
                Response::Noted
            }
            Ok(Request::Announce { .. }) | Err(_) => return false,
        };
        let body = response.to_bytes();
        self.outputs.push_back(Output::Respond { id, body });
        true
    }

    /// Enters another peer's lease, told over its own connection.
    fn note_claim(&mut self, lease: &SignedLease, now: Moment) {
        let holder = lease.record.holder;
        if self.registry.placement.operator_of(&holder).is_none() {
            return;
        }
        self.repair.handle_presence(holder, now, now);
        match self.view.handle_leaf(lease, now.epoch()) {
            Ok(change) => {
                let mut rows = Vec::new();
                for claim in change.added {
                    let facts = RootFacts::of(&claim);
                    self.repair.handle_holding(holder, claim.root, facts);
                    rows.push(Row::Claim(holder, claim.root, Some(Box::new(claim))));
                }
                if !rows.is_empty() {
                    self.persist(rows, After::Nothing);
                }
            }
            Err(error) if error.is_offence() => self.outputs.push_back(Output::Offence {
                peer: holder,
                weight: OFFENCE,
            }),
            Err(_) => {}
        }
    }
}
