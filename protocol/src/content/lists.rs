//! Reading what others list: whose, when, and what it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use cid::Cid;
use rand::Rng;
use serde_bytes::ByteBuf;

use super::listing::{LISTED_MAX, Part, Request, Response};
use super::repair::RootFacts;
use super::uploads::OFFENCE;
use super::{After, Asked, Content, LEAVES_MAX, Listed, Note, Output, Row, ViewError};
use crate::id::{Address, Role};
use crate::records::Lease;
use crate::time::{Epoch, Moment};
use crate::wire::Protocol;

/// Lists that are being read, and those that were.
#[derive(Debug, Default)]
pub(super) struct Lists {
    reading: BTreeMap<Address, Reading>,
    /// Serial of the newest page of each peer whose leases were read since it
    /// connected.
    read: BTreeMap<Address, u64>,
    /// Whose was begun last; the others have their turn first.
    last: Address,
    /// The newest epoch that each holder signed two pages for, as noted already.
    contradicted: BTreeMap<Address, Epoch>,
}

/// What the parts of a list have brought so far.
#[derive(Debug)]
struct Reading {
    listed: Listed<Lease>,
    /// Where the next part begins.
    after: Option<ByteBuf>,
    parts: usize,
    /// When it began; what it reads is renewed every epoch.
    began: Epoch,
}

impl Content {
    pub(super) fn handle_connected(&mut self, peers: BTreeSet<Address>) {
        self.connected = peers;
        self.list_unlisted();
    }

    /// A newer page than was read asks for another reading.
    pub(super) fn note_serial(&mut self, holder: Address, serial: u64) {
        if self
            .lists
            .read
            .get(&holder)
            .is_some_and(|read| *read < serial)
        {
            self.lists.read.remove(&holder);
            self.list_unlisted();
        }
    }

    /// Forgets that a peer's leases were read.
    pub(super) fn read_again(&mut self, peer: &Address) {
        self.lists.read.remove(peer);
        self.list_unlisted();
    }

    /// Reads one peer's leases again: an announcement may have been missed.
    pub(super) fn relist_one(&mut self) {
        let count = self.lists.read.len();
        if count > 0 {
            let drawn = self.rng.random_range(0..count);
            if let Some(peer) = self.lists.read.keys().nth(drawn).copied() {
                self.lists.read.remove(&peer);
            }
        }
        self.list_unlisted();
    }

    /// Reads the leases of connected peers that were not read since they
    /// connected.
    pub(super) fn list_unlisted(&mut self) {
        let connected = &self.connected;
        self.lists.read.retain(|peer, _| connected.contains(peer));
        let (lists, me) = (&self.lists, self.config.peer);
        let unlisted: BTreeSet<Address> = self
            .registry
            .placement
            .peers(Role::Content)
            .filter(|peer| *peer != me && connected.contains(peer))
            .filter(|peer| !lists.read.contains_key(peer) && !lists.reading.contains_key(peer))
            .collect();
        let last = lists.last;
        let next = unlisted.range((Bound::Excluded(last), Bound::Unbounded));
        let room = LISTINGS_MAX.saturating_sub(lists.reading.len());
        for peer in next.chain(unlisted.range(..=last)).take(room) {
            self.lists.last = *peer;
            self.lists.reading.insert(*peer, Reading::new(self.epoch));
            self.ask_for_list(*peer, None);
        }
    }

    fn ask_for_list(&mut self, peer: Address, after: Option<ByteBuf>) {
        let known = self.view.page(&peer).map(|page| page.record.serial);
        let body = Request::List { after, known }.to_bytes();
        self.ask(peer, Protocol::Leases, body, Asked::List(peer));
    }

    pub(super) fn handle_list(&mut self, peer: Address, body: Option<&[u8]>, now: Moment) {
        let Some(mut reading) = self.lists.reading.remove(&peer) else {
            return;
        };
        let Some(body) = body else {
            return;
        };
        let Ok(Response::List(part)) = Response::from_bytes(body) else {
            self.charge(peer);
            return;
        };
        if !reading.goes_on_with(&part) || self.epoch > reading.began.plus(1) {
            // Another page was signed meanwhile, or it takes too long: the next
            // reading starts over.
            return;
        }
        match reading.take(*part) {
            Ok(true) => self.take_list(peer, reading.listed, now),
            Ok(false) => {
                let after = reading.after.clone();
                self.lists.reading.insert(peer, reading);
                self.ask_for_list(peer, after);
            }
            Err(Endless) => self.charge(peer),
        }
    }

    /// A peer's whole list: what it does not name is released. The peer says so
    /// itself over its own connection.
    fn take_list(&mut self, peer: Address, listed: Listed<Lease>, now: Moment) {
        if self.registry.placement.operator_of(&peer).is_none() {
            return;
        }
        self.repair.handle_presence(peer, now, now);
        let serial = listed.page.as_ref().map_or(0, |page| page.record.serial);
        match self.view.handle_listing(peer, listed, now.epoch()) {
            Ok(change) => {
                self.lists.read.insert(peer, serial);
                let mut rows = Vec::new();
                for root in change.removed {
                    self.repair.handle_released(&peer, &root);
                    rows.push(Row::Claim(peer, root, None));
                }
                for claim in change.added {
                    let (root, facts) = (claim.root, RootFacts::of(&claim));
                    self.repair.handle_holding(peer, root, facts);
                    rows.push(Row::Claim(peer, root, Some(Box::new(claim))));
                }
                if !rows.is_empty() {
                    self.persist(rows, After::Nothing);
                }
            }
            Err(error) => {
                if let ViewError::Equivocation { epoch, .. } = &error {
                    self.note_equivocation(peer, *epoch);
                }
                if error.is_offence() {
                    self.charge(peer);
                }
                // It was read, whatever it is worth; the next turn comes by chance.
                self.lists.read.insert(peer, serial);
            }
        }
    }

    /// Tells once for each epoch that a holder signed two pages for it.
    pub(super) fn note_equivocation(&mut self, holder: Address, epoch: Epoch) {
        if self.lists.contradicted.insert(holder, epoch) != Some(epoch) {
            self.note(Note::Equivocation(holder, epoch));
        }
    }

    fn charge(&mut self, peer: Address) {
        self.outputs.push_back(Output::Offence {
            peer,
            weight: OFFENCE,
        });
    }

    /// Drops what has ceased to bind its holders, once an epoch.
    pub(super) fn expire_claims(&mut self, epoch: Epoch) {
        let mut rows = Vec::new();
        let holders: Vec<Address> = self.view.holders().collect();
        for holder in holders {
            for root in self.view.expire(&holder, epoch) {
                self.repair.handle_released(&holder, &root);
                rows.push(Row::Claim(holder, root, None));
            }
        }
        if !rows.is_empty() {
            self.persist(rows, After::Nothing);
        }
        let placement = &self.registry.placement;
        Arc::make_mut(&mut self.heard).retain(|(peer, _), _| placement.operator_of(peer).is_some());
    }
}

impl Reading {
    fn new(epoch: Epoch) -> Self {
        Self {
            listed: Listed::default(),
            after: None,
            parts: 0,
            began: epoch,
        }
    }

    /// True unless the part is of another page than those before.
    fn goes_on_with(&self, part: &Part<Lease>) -> bool {
        self.parts == 0 || self.listed.page == part.page
    }

    /// Takes the next part; true when it is the last.
    fn take(&mut self, part: Part<Lease>) -> Result<bool, Endless> {
        let is_empty = part.listed.is_empty() && part.fresh.is_empty() && part.released.is_empty();
        let is_on = |next: &ByteBuf| !is_empty && Some(next) > self.after.as_ref();
        let is_root = |key: &ByteBuf| {
            let root = Cid::try_from(key.as_slice());
            root.is_ok_and(|root| root.encoded_len() == key.len())
        };
        self.parts += 1;
        if self.parts > PARTS_MAX
            || !part.next.as_ref().is_none_or(is_on)
            || !part.released.iter().all(is_root)
        {
            return Err(Endless);
        }
        self.after = part.next;
        let listed = &mut self.listed;
        listed.page = part.page;
        listed.listed.extend(part.listed);
        listed.fresh.extend(part.fresh);
        let released = part.released.into_iter().map(ByteBuf::into_vec);
        listed.released.extend(released);
        Ok(self.after.is_none())
    }
}

/// A list goes on without bringing what a list brings.
struct Endless;

/// Lists that are read at a time. Chosen: each may hold a million leases.
const LISTINGS_MAX: usize = 8;

/// Parts of one list. Derived: each lease is listed and renewed or given up at
/// most, and two more do not fit into a part that another follows.
const PARTS_MAX: usize = (2 * LEAVES_MAX).div_ceil(LISTED_MAX - 1);
