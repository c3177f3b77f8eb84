//! Signs of life and pages: this peer's, and those of others.

use std::sync::Arc;

use super::repair::RootFacts;
use super::uploads::OFFENCE;
use super::{After, Content, Draft, Output, Row};
use crate::id::Hash32;
use crate::machine::{Token, Verdict};
use crate::origin::{Origin, RequestId};
use crate::records::{Around, Page, Presence, SignedLease, SignedPage};
use crate::records::{SignedStatement, Statement};
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
            self.persist(rows, After::Sign(Statement::Page(draft.page)));
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
        self.tell(&SignedStatement::Page(page));
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
        self.sign(Statement::Presence(presence));
    }

    pub(super) fn sign(&mut self, statement: Statement) {
        self.outputs.push_back(Output::Sign(Draft::Told(statement)));
    }

    pub(super) fn tell(&mut self, statement: &SignedStatement) {
        self.outputs.push_back(Output::Publish {
            topic: statement.topic(),
            body: statement.to_bytes(),
        });
    }

    pub(super) fn handle_gossip(&mut self, token: Token, topic: Topic, body: &[u8], now: Moment) {
        let around = Around {
            registry: &self.registry.registry,
            domain: &self.config.domain,
            heard: &self.heard,
            now,
        };
        let verdict = match Statement::check(topic, body, &around) {
            Ok(Some(statement)) => {
                self.note_heard(statement, now);
                Verdict::Accept
            }
            Err(error) if error.is_offence() => Verdict::Reject,
            Ok(None) | Err(_) => Verdict::Ignore,
        };
        self.outputs.push_back(Output::Judge { token, verdict });
    }

    /// Makes of a checked statement what follows from it, and keeps the newest.
    fn note_heard(&mut self, statement: Statement, now: Moment) {
        match &statement {
            Statement::Presence(presence) => {
                let at = Moment::from_unix(presence.time).min(now);
                self.repair.handle_presence(presence.peer, at, now);
                self.note_serial(presence.peer, presence.page_serial);
            }
            Statement::Page(page) => self.note_page(page),
        }
        let key = (statement.teller(), statement.topic());
        let is_newer = |known: &Statement| known.number() < statement.number();
        if self.heard.get(&key).is_none_or(is_newer) {
            Arc::make_mut(&mut self.heard).insert(key, statement);
        }
    }

    /// A page says that its holder's leases may be read anew, and nothing about
    /// whether the holder is alive: anybody can tell an old one again.
    fn note_page(&mut self, page: &Page) {
        if let Some(known) = self.view.page(&page.holder)
            && known.record.epoch == page.epoch
            && known.record != *page
        {
            self.note_equivocation(page.holder, page.epoch);
        }
        self.note_serial(page.holder, page.serial);
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
