//! Promises: given, told, renewed, and those of others.

use std::collections::BTreeSet;

use cid::Cid;
use protocol::codec;
use protocol::id::{Address, Hash32, Role};
use protocol::lease::wire::{LISTED_MAX, Request, Response};
use protocol::lease::{Counters, Grant};
use protocol::records::{Lease, SignedLease, check_page};
use protocol::repair::RootFacts;
use protocol::signing::Signed;
use storage::blocks::Holding;
use storage::tables::{LEASE_COUNTERS, LEASES as OWN_LEASES, LEASES_BY_HOLDER, OWN_PAGE, newest};

use super::setup::{facts, forget_orphans};
use super::{Actor, LEASES, Outcome, PAGES};
use crate::net::{Gossip, Inbound, Refusal};
use crate::store::StoreError;

impl Actor {
    /// Promises a root that is durable here: counters to disk, signature, lease
    /// to disk, then the others hear of it.
    pub(super) async fn promise(
        &mut self,
        root: Cid,
        proof_root: Hash32,
        size: u64,
    ) -> Option<SignedLease> {
        let epoch = self.context.clock.now().epoch();
        let lease = match self.book.grant(root, proof_root, size, epoch) {
            Grant::Standing(lease) => return Some(lease),
            Grant::Full => {
                tracing::warn!(%root, "no room for another lease");
                return None;
            }
            Grant::Draft { lease, counters } => self.sign(lease, counters).await?,
        };
        self.book.handle_signed(lease.clone());
        let peer = self.context.peer;
        self.repair.handle_holding(peer, root, facts(&lease));
        self.announce(&lease);
        Some(lease)
    }

    async fn sign(&self, lease: Lease, counters: Counters) -> Option<SignedLease> {
        let counted: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.put(LEASE_COUNTERS, &newest(), &counters)?))
            .await;
        if let Err(error) = counted {
            tracing::error!(%error, "no lease is signed while its serial cannot be stored");
            return None;
        }
        let lease = Signed::new(lease, &self.context.contracts.domain(), &self.context.key);
        let stored = lease.clone();
        let kept: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| Ok(tables.put(OWN_LEASES, &stored.record.root, &stored)?))
            .await;
        match kept {
            Ok(()) => Some(lease),
            Err(error) => {
                tracing::error!(%error, "a lease was not stored");
                None
            }
        }
    }

    /// Takes a promise back: lease, then blocks.
    pub(super) async fn strike(&mut self, root: Cid) {
        self.book.release(&root);
        let peer = self.context.peer;
        self.repair.handle_released(&peer, &root);
        let struck: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| {
                tables.remove(OWN_LEASES, &root)?;
                Ok(())
            })
            .await;
        let removed = match struck {
            Ok(()) => self.context.store.remove_root(root, Holding::Lease).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%root, %error, "a released root stays on disk until the next start");
        }
    }

    /// Signs the page of this epoch and renews what is due, once an epoch.
    pub(super) async fn renew(&mut self) {
        let epoch = self.context.clock.now().epoch();
        for root in self.book.renewals(epoch, RENEWALS_MAX) {
            if let Some(lease) = self.book.lease(&root).map(|lease| lease.record.clone()) {
                self.promise(root, lease.proof_root, lease.size).await;
            }
        }
        let Some(draft) = self.book.draft_page(epoch) else {
            return;
        };
        self.forget_orphans().await;
        let page = Signed::new(
            draft.page,
            &self.context.contracts.domain(),
            &self.context.key,
        );
        let (counters, stored) = (draft.counters, page.clone());
        let kept: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| {
                tables.put(LEASE_COUNTERS, &newest(), &counters)?;
                Ok(tables.put(OWN_PAGE, &newest(), &stored)?)
            })
            .await;
        if let Err(error) = kept {
            tracing::error!(%error, "the page of this epoch was not stored and is not told");
            return;
        }
        self.book.handle_page_signed(page.clone());
        self.look_for_deletions(epoch);
        let told = self
            .context
            .net
            .publish(PAGES, codec::to_bytes(&page))
            .await;
        if let Err(error) = told {
            tracing::debug!(%error, "the page was not told; presences name it");
        }
    }

    /// Gives up blocks of pulls and repairs that were not ended and do not go on.
    async fn forget_orphans(&self) {
        let leases = self.book.leases().map(|lease| lease.record.root);
        let uploads = self.holder.uploads().map(|upload| upload.offer.root);
        let kept = leases
            .chain(uploads)
            .chain(self.repairing.iter().copied())
            .collect();
        if let Err(error) = forget_orphans(&self.context, &kept).await {
            tracing::warn!(%error, "blocks that nobody promised stay on disk");
        }
    }

    pub(super) async fn handle_lease_request(&mut self, inbound: Inbound) {
        match Request::from_bytes(&inbound.body) {
            Ok(Request::List { after }) => {
                let response = self.list(after);
                inbound.respond.send(response.to_bytes());
            }
            Ok(Request::Announce { lease }) if lease.record.holder == inbound.peer => {
                self.note_lease(*lease).await;
                inbound.respond.send(Response::Noted.to_bytes());
            }
            Ok(Request::Announce { .. }) | Err(_) => {
                inbound.respond.refuse(Refusal::Rejected);
                self.context.net.report_offence(inbound.peer, OFFENCE).await;
            }
        }
    }

    fn list(&self, after: Option<Cid>) -> Response {
        let after = after.map(|root| root.to_bytes());
        let mut leases: Vec<&SignedLease> = self
            .book
            .leases()
            .filter(|lease| {
                after
                    .as_ref()
                    .is_none_or(|after| lease.record.root.to_bytes() > *after)
            })
            .collect();
        leases.sort_by_key(|lease| lease.record.root.to_bytes());
        Response::List {
            page: self.book.page().cloned(),
            is_last: leases.len() <= LISTED_MAX,
            leases: leases.into_iter().take(LISTED_MAX).cloned().collect(),
        }
    }

    /// Tells the placed peers, those who would take their place, and the other
    /// peers of the same operators of a lease.
    fn announce(&mut self, lease: &SignedLease) {
        let root = &lease.record.root;
        let none = BTreeSet::new();
        let mut told = self.placement.place(root, ANNOUNCED_MAX, &none);
        let first: BTreeSet<Address> = told.iter().copied().collect();
        told.extend(self.placement.place(root, ANNOUNCED_MAX, &first));
        let request = Request::Announce {
            lease: Box::new(lease.clone()),
        }
        .to_bytes();
        for peer in told {
            if peer == self.context.peer {
                continue;
            }
            let (net, request) = (self.context.net.clone(), request.clone());
            self.tasks.spawn(async move {
                // Who misses it reads the list of leases later.
                let _ = net.request(peer, LEASES, request).await;
                Outcome::Told
            });
        }
    }

    /// Enters another peer's lease.
    async fn note_lease(&mut self, lease: SignedLease) {
        let now = self.context.clock.now();
        let holder = lease.record.holder;
        if self.placement.operator_of(&holder).is_none() {
            return;
        }
        match self.view.handle_lease(&lease, now.epoch()) {
            Ok(change) => {
                self.repair.handle_presence(holder, now);
                for added in change.added {
                    self.repair
                        .handle_holding(holder, added.root, facts_of(&added));
                }
                self.keep_leases(vec![lease], Vec::new()).await;
            }
            Err(error) => tracing::debug!(%holder, %error, "a lease was not taken"),
        }
    }

    /// Keeps others' leases, so that a restart knows the holders at once.
    async fn keep_leases(&self, leases: Vec<SignedLease>, gone: Vec<(Address, Cid)>) {
        if leases.is_empty() && gone.is_empty() {
            return;
        }
        let kept: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| {
                for lease in &leases {
                    let key = (lease.record.holder, lease.record.root);
                    tables.put(LEASES_BY_HOLDER, &key, lease)?;
                }
                for key in &gone {
                    tables.remove(LEASES_BY_HOLDER, key)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = kept {
            tracing::debug!(%error, "leases of others were not kept");
        }
    }

    /// Reads one peer's leases again: an announcement may have been missed.
    pub(super) fn relist_one(&mut self) {
        let drawn = rand::random_range(0..self.listed.len().max(1));
        if let Some(peer) = self.listed.keys().nth(drawn).copied() {
            self.listed.remove(&peer);
        }
        self.list_unlisted();
    }

    /// Reads the leases of connected peers that were not read since they
    /// connected.
    pub(super) fn list_unlisted(&mut self) {
        let connected = self.context.net.connected().borrow().clone();
        self.listed.retain(|peer, _| connected.contains(peer));
        let unlisted: Vec<Address> = self
            .placement
            .peers(Role::Content)
            .filter(|peer| *peer != self.context.peer && connected.contains(peer))
            .filter(|peer| !self.listed.contains_key(peer) && !self.listing.contains_key(peer))
            .take(LISTINGS_MAX.saturating_sub(self.listing.len()))
            .collect();
        for peer in unlisted {
            self.listing.insert(peer, Vec::new());
            self.ask_for_list(peer, None);
        }
    }

    fn ask_for_list(&mut self, peer: Address, after: Option<Cid>) {
        let net = self.context.net.clone();
        self.tasks.spawn(async move {
            let body = Request::List { after }.to_bytes();
            let answer = net.request(peer, LEASES, body).await.ok();
            Outcome::Listed {
                peer,
                response: answer.and_then(|body| Response::from_bytes(&body).ok()),
            }
        });
    }

    pub(super) async fn handle_listed(&mut self, peer: Address, response: Option<Response>) {
        let Some(mut known) = self.listing.remove(&peer) else {
            return;
        };
        let Some(Response::List {
            page,
            leases,
            is_last,
        }) = response
        else {
            return;
        };
        let last = leases.last().map(|lease| lease.record.root);
        known.extend(leases);
        if !is_last && last.is_some() && known.len() < LEASES_OF_PEER_MAX {
            self.listing.insert(peer, known);
            self.ask_for_list(peer, last);
            return;
        }
        self.listed
            .insert(peer, page.map_or(0, |page| page.record.serial));
        self.take_list(peer, known).await;
    }

    /// A peer's whole list: what it does not name is released. The peer says so
    /// itself over its own connection.
    async fn take_list(&mut self, peer: Address, leases: Vec<SignedLease>) {
        let now = self.context.clock.now();
        if self.view.leases(&peer).count() == leases.len()
            && self
                .view
                .leases(&peer)
                .zip(&leases)
                .all(|(known, lease)| *known == lease.record)
        {
            // The same records were checked before.
            self.repair.handle_presence(peer, now);
            return;
        }
        let named: BTreeSet<Cid> = leases.iter().map(|lease| lease.record.root).collect();
        let known: BTreeSet<Cid> = self.view.leases(&peer).map(|lease| lease.root).collect();
        let gone: Vec<Cid> = known.difference(&named).copied().collect();
        for root in &gone {
            self.repair.handle_released(&peer, root);
        }
        self.view.remove(&peer);
        self.repair.handle_presence(peer, now);
        let mut added = Vec::new();
        for lease in leases {
            if lease.record.holder != peer {
                continue;
            }
            if let Ok(change) = self.view.handle_lease(&lease, now.epoch()) {
                for found in change.added {
                    self.repair
                        .handle_holding(peer, found.root, facts_of(&found));
                }
                if !known.contains(&lease.record.root) {
                    added.push(lease);
                }
            }
        }
        self.keep_leases(added, gone.into_iter().map(|root| (peer, root)).collect())
            .await;
    }

    pub(super) fn handle_page(&mut self, message: Gossip) {
        let registry = self.snapshot.borrow().clone();
        let domain = self.context.contracts.domain();
        let now = self.context.clock.now();
        let newest = |holder: &Address| self.pages_heard.get(holder).copied();
        match check_page(&message.data, &registry, &domain, now, newest) {
            Ok(page) => {
                message.verdict.accept();
                let holder = page.record.holder;
                self.pages_heard.insert(holder, page.record.serial);
                self.note_page(holder, page.record.serial);
            }
            Err(error) if error.is_offence() => message.verdict.reject(),
            Err(_) => message.verdict.ignore(),
        }
    }

    /// A newer page than was read asks for another reading.
    pub(super) fn note_page(&mut self, holder: Address, serial: u64) {
        if self.listed.get(&holder).is_some_and(|read| *read < serial) {
            self.listed.remove(&holder);
            self.list_unlisted();
        }
    }
}

fn facts_of(lease: &Lease) -> RootFacts {
    RootFacts {
        proof_root: lease.proof_root,
        size: lease.size,
    }
}

/// Leases renewed in one round.
const RENEWALS_MAX: usize = 256;

/// Operators whose peers hear of a new lease at once: the placed ones and twice
/// as many substitutes.
const ANNOUNCED_MAX: usize = 15;

/// Lists being read at a time.
const LISTINGS_MAX: usize = 8;

/// Leases of one peer.
const LEASES_OF_PEER_MAX: usize = 1_000_000;

/// What a request that does not decode, or a notice of somebody else's lease, weighs.
const OFFENCE: u32 = 10;
