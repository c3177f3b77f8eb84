//! A resident's peer: publishes, fetches, follows, keeps a vault record.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::action::{Action, SignedAction};
use protocol::author::{Candidate, Publication, PublicationConfig, PublicationEvent as Event};
use protocol::entry::Entry;
use protocol::id::{Address, EntityId, Hash32, UserId};
use protocol::placement::{Purpose, REPLICAS_TARGET};
use protocol::publish::{Offer, Response};
use protocol::records::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, VaultRecord};
use protocol::relayer;
use protocol::signing::Signed;
use protocol::time::Moment;
use protocol::unixfs::{Block, Directory, Profile, raw_cid};
use protocol::vault::{self, REPLICAS_MAX, ReadEvent, WriteEvent};
use protocol::wire::Protocol;

use super::content::{metadata_of, published_root};
use super::exchange::Goal;
use super::{Draft, Host, Pending, is_due};
use crate::world::Ctx;

/// The machines of a light peer.
#[derive(Debug, Default)]
pub(super) struct Light {
    publications: BTreeMap<Cid, Publication>,
    relays: BTreeMap<Hash32, Attempt>,
    writes: BTreeMap<u64, (vault::Write, u64)>,
    reads: BTreeMap<u64, (vault::Read, u64)>,
    retries: BTreeMap<Cid, Moment>,
}

/// How often an action was handed to a relayer.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    count: usize,
    next: Moment,
}

impl Light {
    pub(super) fn deadline(&self) -> Option<Moment> {
        let publications = self
            .publications
            .values()
            .filter_map(|machine| machine.poll_timeout().map(|(at, _)| at));
        let writes = self
            .writes
            .values()
            .filter_map(|(machine, _)| machine.poll_timeout().map(|(at, _)| at));
        let reads = self
            .reads
            .values()
            .filter_map(|(machine, _)| machine.poll_timeout().map(|(at, _)| at));
        let relays = self.relays.values().map(|attempt| attempt.next);
        publications
            .chain(writes)
            .chain(reads)
            .chain(relays)
            .chain(self.retries.values().copied())
            .min()
    }
}

impl Host {
    pub(super) fn start_light(&mut self, ctx: &mut Ctx) {
        for (root, draft) in self.disk.drafts.clone() {
            let config = PublicationConfig::new(ctx.params.domain);
            let machine = Publication::restore(config, draft.state, ctx.now);
            if let Some(light) = &mut self.light {
                light.publications.insert(root, machine);
            }
        }
        let digests: Vec<Hash32> = self.disk.relays.keys().copied().collect();
        for digest in digests {
            self.schedule_relay(digest, 0, ctx.now);
        }
        let wanted: Vec<Cid> = self.disk.wanted.keys().copied().collect();
        for root in wanted {
            self.fetch_own(root, ctx);
        }
    }

    pub(super) fn wake_light(&mut self, ctx: &mut Ctx) {
        let now = ctx.now;
        let Some(light) = &mut self.light else {
            return;
        };
        for machine in light.publications.values_mut() {
            if is_due(machine.poll_timeout(), now) {
                machine.handle_timeout(now);
            }
        }
        for (machine, _) in light.writes.values_mut() {
            machine.handle_timeout(now);
        }
        for (machine, _) in light.reads.values_mut() {
            machine.handle_timeout(now);
        }
        let relays: Vec<(Hash32, usize)> = light
            .relays
            .iter()
            .filter(|(_, attempt)| attempt.next <= now)
            .map(|(digest, attempt)| (*digest, attempt.count))
            .collect();
        let retries: Vec<Cid> = light
            .retries
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(root, _)| *root)
            .collect();
        for root in &retries {
            light.retries.remove(root);
        }
        for (digest, count) in relays {
            self.relay(digest, count, ctx);
        }
        for root in retries {
            if self.disk.drafts.contains_key(&root) {
                self.restart_publication(root, ctx);
            } else if self.disk.wanted.contains_key(&root) {
                self.fetch_own(root, ctx);
            }
        }
    }

    pub(super) fn drain_light(&mut self, ctx: &mut Ctx) -> bool {
        let Some(mut light) = self.light.take() else {
            return false;
        };
        let (mut offers, mut published) = (Vec::new(), Vec::new());
        for (root, machine) in &mut light.publications {
            while let Some(transmit) = machine.poll_transmit() {
                offers.push((*root, transmit));
            }
            while let Some(event) = machine.poll_event() {
                published.push((*root, event, machine.state().clone()));
            }
        }
        let mut puts = Vec::new();
        let mut ends = Vec::new();
        for (op, (machine, version)) in &mut light.writes {
            while let Some(transmit) = machine.poll_transmit() {
                puts.push((transmit, Pending::VaultWrite(*op)));
            }
            while let Some(event) = machine.poll_event() {
                ends.push((*op, *version, VaultEnd::Write(event)));
            }
        }
        for (op, (machine, floor)) in &mut light.reads {
            while let Some(transmit) = machine.poll_transmit() {
                let pending = match transmit.request {
                    vault::Request::Put(_) => Pending::VaultRepair,
                    vault::Request::Get { .. } => Pending::VaultRead(*op),
                };
                puts.push((transmit, pending));
            }
            while let Some(event) = machine.poll_event() {
                ends.push((*op, *floor, VaultEnd::Read(event)));
            }
        }
        self.light = Some(light);
        let moved =
            !(offers.is_empty() && published.is_empty() && puts.is_empty() && ends.is_empty());
        for (root, transmit) in offers {
            let data = transmit.request.to_bytes();
            self.request(
                transmit.to,
                Protocol::Publish,
                data,
                Pending::Offer(root),
                ctx,
            );
        }
        for (transmit, pending) in puts {
            let data = transmit.request.to_bytes();
            self.request(transmit.to, Protocol::Vault, data, pending, ctx);
        }
        for (root, event, state) in published {
            self.handle_publication(root, event, state, ctx);
        }
        for (op, version, end) in ends {
            self.handle_vault_end(op, version, end, ctx);
        }
        moved
    }

    /// Publishes a directory of a few files that nobody has seen before.
    pub(super) fn publish(&mut self, ctx: &mut Ctx) {
        let blocks = random_files(ctx);
        let root = blocks.last().expect("a directory has a root").cid;
        for block in blocks {
            self.disk.store(root, block.cid, block.data);
        }
        let Some(facts) = self.facts(&root) else {
            return;
        };
        let action = self.action("Track", "Create", metadata_of(&root, &facts), ctx);
        let offer = Offer {
            action,
            root,
            proof_root: facts.proof_root,
            size: facts.size,
            sources: Vec::new(),
        };
        self.start_publication(offer, ctx.now, ctx);
    }

    fn start_publication(&mut self, offer: Offer, started: Moment, ctx: &mut Ctx) {
        let root = offer.root;
        let placement = self.registry.placement.inner();
        let placed = placement.place(&root, CANDIDATES, &BTreeSet::new());
        ctx.checkers
            .note_placed(&root, &placed, &self.registry, ctx.now);
        let replicas = placement.place(&root, REPLICAS_TARGET, &BTreeSet::new());
        ctx.checkers
            .note_replica_set(&root, &replicas, &self.registry, ctx.now);
        let candidates = placed
            .into_iter()
            .filter_map(|peer| {
                let operator = placement.operator_of(&peer)?;
                Some(Candidate { peer, operator })
            })
            .collect();
        let config = PublicationConfig::new(ctx.params.domain);
        let machine = Publication::new(config, offer, candidates, ctx.now);
        let draft = Draft {
            state: machine.state().clone(),
            started,
            is_durable: false,
        };
        self.disk.drafts.insert(root, draft);
        if let Some(light) = &mut self.light {
            light.publications.insert(root, machine);
        }
    }

    fn restart_publication(&mut self, root: Cid, ctx: &mut Ctx) {
        if let Some(draft) = self.disk.drafts.remove(&root) {
            self.start_publication(draft.state.offer, draft.started, ctx);
        }
    }

    fn handle_publication(
        &mut self,
        root: Cid,
        event: Event,
        state: protocol::author::State,
        ctx: &mut Ctx,
    ) {
        let Some(draft) = self.disk.drafts.get_mut(&root) else {
            return;
        };
        draft.state = state;
        match event {
            Event::Progress { .. } => {}
            Event::Durable { leases } => {
                if !std::mem::replace(&mut draft.is_durable, true) {
                    ctx.metrics.publish.push(ctx.now - draft.started);
                    let action = draft.state.offer.action.clone();
                    ctx.durable(root, &leases);
                    self.hand_in(action, ctx);
                }
            }
            Event::Complete { .. } | Event::Partial { .. } => {
                self.disk.drafts.remove(&root);
                self.end_publication(&root, None);
            }
            Event::Failed { .. } => {
                ctx.metrics.failed_publications += 1;
                self.end_publication(&root, Some(ctx.now + RETRY));
            }
        }
    }

    fn end_publication(&mut self, root: &Cid, retry: Option<Moment>) {
        if let Some(light) = &mut self.light {
            light.publications.remove(root);
            if let Some(at) = retry {
                light.retries.insert(*root, at);
            }
        }
    }

    pub(super) fn handle_offer_answer(
        &mut self,
        peer: Address,
        root: &Cid,
        data: Option<Bytes>,
        ctx: &Ctx,
    ) {
        let machine = self
            .light
            .as_mut()
            .and_then(|light| light.publications.get_mut(root));
        let Some(machine) = machine else {
            return;
        };
        match data.and_then(|data| Response::from_bytes(&data).ok()) {
            Some(response) => machine.handle_response(peer, response, ctx.now),
            None => machine.handle_failure(peer, ctx.now),
        }
    }

    /// Does something small in public.
    pub(super) fn act(&mut self, ctx: &mut Ctx) {
        let action = self.action("Track", "Save", String::new(), ctx);
        self.hand_in(action, ctx);
    }

    fn action(&self, kind: &str, verb: &str, metadata: String, ctx: &mut Ctx) -> SignedAction {
        Action {
            user_id: UserId(u64::from(self.idx) + 1),
            entity_type: kind.to_owned(),
            entity_id: EntityId(2_000_000 + ctx.rng.below(1 << 20)),
            action: verb.to_owned(),
            metadata,
            nonce: Hash32(ctx.rng.array()),
        }
        .sign(&ctx.params.actions, &self.key)
    }

    fn hand_in(&mut self, action: SignedAction, ctx: &mut Ctx) {
        let digest = action.action.digest(&ctx.params.actions);
        self.disk.relays.insert(digest, (action, ctx.now));
        self.relay(digest, 0, ctx);
    }

    fn schedule_relay(&mut self, digest: Hash32, count: usize, next: Moment) {
        if let Some(light) = &mut self.light {
            light.relays.insert(digest, Attempt { count, next });
        }
    }

    fn relay(&mut self, digest: Hash32, count: usize, ctx: &mut Ctx) {
        let Some((action, _)) = self.disk.relays.get(&digest).cloned() else {
            if let Some(light) = &mut self.light {
                light.relays.remove(&digest);
            }
            return;
        };
        self.schedule_relay(digest, count + 1, ctx.now + RELAY_PATIENCE);
        self.submit(digest, action, count, ctx);
    }

    pub(super) fn handle_relay_answer(
        &mut self,
        digest: &Hash32,
        data: Option<Bytes>,
        ctx: &mut Ctx,
    ) {
        let answer = data.and_then(|data| relayer::Response::from_bytes(&data).ok());
        match answer {
            Some(relayer::Response::Accepted { .. }) => ctx.checkers.note_accepted(*digest),
            Some(relayer::Response::Refused(_) | relayer::Response::Unknown) | None => {
                let light = self.light.as_mut();
                if let Some(attempt) = light.and_then(|light| light.relays.get_mut(digest)) {
                    attempt.next = attempt.next.min(ctx.now + RETRY);
                }
            }
        }
    }

    /// Takes entries that a counted head covers.
    pub(super) fn handle_applied(&mut self, entries: &[Entry], ctx: &mut Ctx) {
        for entry in entries {
            let digest = entry.action.action.digest(&ctx.params.actions);
            if let Some((_, since)) = self.disk.relays.remove(&digest) {
                ctx.metrics.relay.push(ctx.now - since);
            }
            let Some((root, _)) = published_root(&entry.action.action.metadata) else {
                continue;
            };
            if !self.disk.blocks.contains_key(&root) && ctx.rng.chance(ctx.params.fetch_share) {
                self.disk.wanted.insert(root, ctx.now);
                self.fetch_own(root, ctx);
            }
        }
    }

    fn fetch_own(&mut self, root: Cid, ctx: &mut Ctx) {
        let placement = self.registry.placement.inner();
        let mut holders = placement.place(&root, REPLICAS_TARGET, &BTreeSet::new());
        let start = ctx.rng.index(holders.len().max(1));
        let len = holders.len().max(1);
        holders.rotate_left(start % len);
        self.fetch(root, Goal::Own, &holders, ctx);
    }

    pub(super) fn handle_own_fetched(&mut self, root: &Cid, is_whole: bool, ctx: &mut Ctx) {
        if is_whole {
            if let Some(since) = self.disk.wanted.remove(root) {
                ctx.metrics.fetch.push(ctx.now - since);
            }
        } else if let Some(light) = &mut self.light {
            light.retries.insert(*root, ctx.now + RETRY);
        }
    }

    /// Writes the next version of the vault record, or reads it.
    pub(super) fn use_vault(&mut self, ctx: &mut Ctx) {
        let Some(light) = &mut self.light else {
            return;
        };
        if !light.writes.is_empty() {
            return;
        }
        let lookup_key = protocol::entry::sha256(&self.address.0);
        let ranked = self
            .registry
            .placement
            .inner()
            .rank(Purpose::Vault, &lookup_key.0);
        let set: Vec<Address> = ranked.into_iter().take(REPLICAS_MAX).collect();
        let op = ctx.next_id();
        if self.disk.vault_version > 0 && ctx.rng.chance(0.6) {
            let floor = ctx.checkers.acknowledged(&lookup_key);
            let read = vault::Read::new(ctx.params.domain, lookup_key, &[set], ctx.now);
            light.reads.insert(op, (read, floor));
            return;
        }
        self.disk.vault_version += 1;
        let mut iv = Iv::default();
        iv.0.copy_from_slice(&ctx.rng.array()[..16]);
        let record = VaultRecord {
            scheme: SCHEME_HEDGEHOG,
            lookup_key,
            iv,
            cipher_text: ctx.rng.bytes(CIPHER_TEXT_BYTES),
            wallet: self.address,
            version: self.disk.vault_version,
            replaces: Hash32::ZERO,
        };
        let signed = Signed::new(record, &ctx.params.domain, &self.key);
        let entry = vault::Entry::signed(signed, None, ctx.now.unix());
        let write = vault::Write::new(entry, &[set], ctx.now);
        light.writes.insert(op, (write, self.disk.vault_version));
    }

    fn handle_vault_end(&mut self, op: u64, version: u64, end: VaultEnd, ctx: &mut Ctx) {
        let lookup_key = protocol::entry::sha256(&self.address.0);
        match end {
            VaultEnd::Write(event) => {
                match event {
                    WriteEvent::Stored => {
                        ctx.metrics.vault_writes += 1;
                        ctx.checkers.note_written(lookup_key, version);
                    }
                    WriteEvent::Outdated(_) | WriteEvent::Failed { .. } => {
                        ctx.metrics.vault_failures += 1;
                    }
                }
                if let Some(light) = &mut self.light {
                    light.writes.remove(&op);
                }
            }
            VaultEnd::Read(ReadEvent::Found { entries }) => {
                ctx.metrics.vault_reads += 1;
                let found = entries
                    .iter()
                    .filter(|entry| entry.record.wallet == self.address)
                    .map(|entry| entry.record.version)
                    .max();
                ctx.checkers
                    .note_read(lookup_key, version, found.unwrap_or(0), ctx.now);
                self.end_read(op);
            }
            VaultEnd::Read(ReadEvent::Failed) => {
                ctx.metrics.vault_failures += 1;
                self.end_read(op);
            }
            VaultEnd::Read(ReadEvent::Bury(_) | ReadEvent::Unburied { .. }) => {}
        }
    }

    fn end_read(&mut self, op: u64) {
        if let Some(light) = &mut self.light {
            light.reads.remove(&op);
        }
    }

    pub(super) fn handle_vault_written(
        &mut self,
        op: u64,
        peer: Address,
        data: Option<Bytes>,
        ctx: &Ctx,
    ) {
        let light = self.light.as_mut();
        let Some((machine, _)) = light.and_then(|light| light.writes.get_mut(&op)) else {
            return;
        };
        match data.and_then(|data| vault::Response::from_bytes(&data).ok()) {
            Some(response) => machine.handle_response(peer, response),
            None => machine.handle_failure(peer, ctx.now),
        }
    }

    pub(super) fn handle_vault_read(
        &mut self,
        op: u64,
        peer: Address,
        data: Option<Bytes>,
        ctx: &Ctx,
    ) {
        let light = self.light.as_mut();
        let Some((machine, _)) = light.and_then(|light| light.reads.get_mut(&op)) else {
            return;
        };
        match data.and_then(|data| vault::Response::from_bytes(&data).ok()) {
            Some(response) => machine.handle_response(peer, response, ctx.now),
            None => machine.handle_failure(peer, ctx.now),
        }
    }
}

/// How a vault machine ended.
enum VaultEnd {
    Write(WriteEvent),
    Read(ReadEvent),
}

/// A directory of two to six files of up to 4 KiB, its root last.
fn random_files(ctx: &mut Ctx) -> Vec<Block> {
    let mut directory = Directory::new(Profile::V1_2025);
    let mut blocks = Vec::new();
    for number in 0..2 + ctx.rng.below(5) {
        let len = 256 + ctx.rng.index(3840);
        let data = Bytes::from(ctx.rng.bytes(len));
        let cid = raw_cid(&data);
        directory
            .insert(&number.to_string(), cid, data.len() as u64)
            .expect("numbers are names");
        blocks.push(Block { cid, data });
    }
    let (_, inner) = directory.finish();
    blocks.extend(inner);
    blocks
}

/// Peers that a publication may turn to: the placed ones and substitutes.
const CANDIDATES: usize = 12;

/// Before a failed publication, fetch or submission is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// Before another relayer is asked.
const RELAY_PATIENCE: Duration = Duration::from_secs(30);
