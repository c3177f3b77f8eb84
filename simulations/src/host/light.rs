//! A resident's peer: publishes, fetches, follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use gossip::catch_up::CatchUp;
use protocol::action::{Action, SignedAction};
use protocol::author::{
    self, AskId, Author, Change, Event, Input, Landing, Output, PublishRoot, Reply, Wanted, WriteId,
};
use protocol::entry::Entry;
use protocol::exchange::FetchOptions;
use protocol::id::{Address, EntityId, Hash32, UserId};
use protocol::machine::Machine as _;
use protocol::origin::RequestId;
use protocol::placement::REPLICAS_TARGET;
use protocol::relayer::solve_proof;
use protocol::time::Moment;
use protocol::unixfs::{Directory, Profile, VerifiedBlock, raw_cid};
use protocol::wire::Protocol;

use super::content::{metadata_of, published_root};
use super::discovery::catch_up;
use super::exchange::Goal;
use super::identity::DISK_DELAY;
use super::{Disk, Host, Pending, Wish, is_due};
use crate::world::{Ask, Ctx, Local};

/// The machines of a light peer.
#[derive(Debug)]
pub(super) struct Light {
    author: Author,
    pub(super) catch_up: CatchUp,
    /// When the resident asks again for what did not work out.
    retries: BTreeMap<Again, Moment>,
    /// The registry that the author was told of.
    registry_root: Option<Hash32>,
    is_chain_away: bool,
}

/// What a resident asks for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    Wish(Hash32),
    Fetch(Cid),
}

impl Light {
    pub(super) fn new(peer: Address, disk: &Disk, ctx: &mut Ctx) -> Self {
        let mut config = author::Config::new(peer, ctx.params.domain, ctx.params.actions);
        config.proof_bits = PROOF_BITS;
        let lease_epochs_min = &mut config.publication.lease_epochs_min;
        *lease_epochs_min = ctx.params.lease_epochs.min(*lease_epochs_min);
        let config = ctx.params.limits.author(config);
        let jobs = disk.jobs.values().cloned();
        let rows = disk.outbox.values().cloned();
        Self {
            author: Author::restore(config, jobs, rows, ctx.now),
            catch_up: catch_up(peer, disk, ctx),
            retries: BTreeMap::new(),
            registry_root: None,
            is_chain_away: false,
        }
    }

    /// True while the author has something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.author.is_busy()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let author = self.author.deadline().map(|(at, _)| at);
        let catch_up = self.catch_up.deadline().map(|(at, _)| at);
        let retries = self.retries.values().copied();
        author.into_iter().chain(catch_up).chain(retries).min()
    }
}

impl Host {
    pub(super) fn start_light(&mut self, ctx: &mut Ctx) {
        // What the author did not store before a crash was never promised.
        let wishes: Vec<Hash32> = self.disk.wishes.keys().copied().collect();
        for digest in wishes {
            let is_known =
                self.disk.jobs.contains_key(&digest) || self.disk.outbox.contains_key(&digest);
            if !is_known {
                self.ask_author(digest, ctx);
            }
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
        if is_due(light.catch_up.deadline(), now) {
            light.catch_up.handle_timeout(now);
        }
        if is_due(light.author.deadline(), now) {
            light.author.handle_timeout(now);
        }
        let retries: Vec<Again> = light
            .retries
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(again, _)| *again)
            .collect();
        for again in &retries {
            light.retries.remove(again);
        }
        for again in retries {
            match again {
                Again::Wish(digest) => self.ask_author(digest, ctx),
                Again::Fetch(root) if self.disk.wanted.contains_key(&root) => {
                    self.fetch_own(root, ctx);
                }
                Again::Fetch(_) => {}
            }
        }
    }

    /// Tells the author what has changed around it, and carries out its wishes.
    pub(super) fn drain_light(&mut self, ctx: &mut Ctx) -> bool {
        let Some(light) = &mut self.light else {
            return false;
        };
        let mut news = Vec::new();
        if light.registry_root != Some(self.registry.root) {
            light.registry_root = Some(self.registry.root);
            let placement = self.registry.placement.inner();
            news.push(Input::Snapshot(Arc::clone(placement)));
            news.push(Input::Latest(Arc::clone(placement)));
        }
        if light.is_chain_away == ctx.is_chain_up {
            light.is_chain_away = !ctx.is_chain_up;
            let is_away = light.is_chain_away;
            news.push(Input::Chain { is_away });
        }
        for input in news {
            self.tell_author(input, ctx);
        }
        let Some(light) = &mut self.light else {
            return false;
        };
        let wishes: Vec<Output> = std::iter::from_fn(|| light.author.poll()).collect();
        let moved = !wishes.is_empty();
        for wish in wishes {
            self.carry_author(wish, ctx);
        }
        moved
    }

    fn carry_author(&mut self, wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Ask {
                id,
                peer,
                protocol,
                body,
            } => {
                if protocol == Protocol::Relayer && ctx.rng.chance(0.3) {
                    // The network delivers it twice.
                    let (to, data) = (peer, body.clone());
                    ctx.local(self, IMPATIENCE, Local::Ask(Box::new(Ask { to, data })));
                }
                self.request(peer, protocol, body, Pending::Author(id), ctx);
            }
            Output::Persist { id, changes } => {
                ctx.local(self, DISK_DELAY, Local::Stored(id, changes));
            }
            Output::Look { id, wanted } => {
                let found = wanted.iter().filter_map(|wanted| self.landing(wanted, ctx));
                let found = Ok(found.collect());
                self.tell_author(Input::Looked { id, found }, ctx);
            }
            Output::Reply { reply, .. } => self.handle_reply(reply, ctx),
            Output::Event(event) => self.handle_author_event(event, ctx),
            Output::Solve { digest, bits } => {
                let proof = solve_proof(&digest, bits);
                ctx.local(self, SOLVE_DELAY, Local::Solved(digest, proof));
            }
            // Blocks stay here.
            Output::Hold { .. } => {}
        }
    }

    /// Where an action is in the entries that were applied here.
    fn landing(&self, wanted: &Wanted, ctx: &Ctx) -> Option<Landing> {
        let (block_number, tx_hash) = ctx.chain.burned(&wanted.digest)?;
        (block_number <= self.disk.followed_block).then_some(Landing {
            digest: wanted.digest,
            tx_hash,
            block_number,
            rejected: None,
        })
    }

    pub(super) fn tell_author(&mut self, input: Input, ctx: &mut Ctx) {
        ctx.metrics.note_input("author", &input);
        if let Some(light) = &mut self.light {
            light.author.handle(input, ctx.now);
        }
    }

    /// A write of the author reached the disk.
    pub(super) fn handle_stored(&mut self, id: WriteId, changes: Vec<Change>, ctx: &mut Ctx) {
        self.disk.apply(changes);
        self.tell_author(Input::Persisted { id, error: None }, ctx);
    }

    pub(super) fn handle_author_answer(&mut self, id: AskId, body: Option<Bytes>, ctx: &mut Ctx) {
        self.tell_author(Input::Answered { id, body }, ctx);
    }

    /// Delivers a question to a relayer once more.
    pub(super) fn ask_again(&mut self, ask: Ask, ctx: &mut Ctx) {
        self.request(ask.to, Protocol::Relayer, ask.data, Pending::Repeated, ctx);
    }

    fn handle_reply(&mut self, reply: Reply, ctx: &Ctx) {
        let is_refused = match reply {
            Reply::Publish(reply) => reply.is_err(),
            Reply::Relay(reply) => reply.is_err(),
            Reply::Published(status) => status.is_none(),
        };
        if !is_refused {
            return;
        }
        // The resident asks again for all that is not under way.
        let wishes: Vec<Hash32> = self.disk.wishes.keys().copied().collect();
        for digest in wishes {
            if !self.disk.jobs.contains_key(&digest) && !self.disk.outbox.contains_key(&digest) {
                self.retry(Again::Wish(digest), ctx);
            }
        }
    }

    fn handle_author_event(&mut self, event: Event, ctx: &mut Ctx) {
        match event {
            Event::Durable { digest, roots } => {
                for (root, _) in &roots {
                    ctx.checkers.note_durable(*root, digest, ctx.now);
                }
                if let Some(wish) = self.disk.wishes.get_mut(&digest)
                    && wish.handed_in.is_none()
                {
                    wish.handed_in = Some(ctx.now);
                    ctx.metrics.publish.push(ctx.now - wish.started);
                    for (root, leases) in roots {
                        ctx.durable(root, &leases);
                    }
                }
            }
            Event::Accepted { digest } => ctx.checkers.note_accepted(digest),
            Event::Confirmed { .. } => {}
            Event::Failed { digest, .. } => {
                ctx.metrics.failed_publications += 1;
                self.retry(Again::Wish(digest), ctx);
            }
        }
    }

    fn retry(&mut self, again: Again, ctx: &Ctx) {
        if let Some(light) = &mut self.light {
            light.retries.insert(again, ctx.now + RETRY);
        }
    }

    /// Publishes a directory of a few files that nobody has seen before.
    pub(super) fn publish(&mut self, ctx: &mut Ctx) {
        let blocks = random_files(ctx);
        let root = blocks.last().expect("a directory has a root").0;
        for (cid, data) in blocks {
            self.disk.store(root, cid, data);
        }
        let Some(facts) = self.facts(&root) else {
            return;
        };
        let placement = self.registry.placement.inner();
        let placed = placement.place(&root, CANDIDATES, &BTreeSet::new());
        ctx.checkers
            .note_placed(&root, &placed, &self.registry, ctx.now);
        let replicas = placement.place(&root, REPLICAS_TARGET, &BTreeSet::new());
        ctx.checkers
            .note_replica_set(&root, &replicas, &self.registry, ctx.now);
        let action = self.action("Track", "Create", metadata_of(&root, &facts), ctx);
        let root = PublishRoot {
            cid: root,
            proof_root: facts.proof_root,
            dag_size: facts.size,
        };
        self.want(action, Some(root), ctx);
    }

    /// Does something small in public, and looks what became of the last thing.
    pub(super) fn act(&mut self, ctx: &mut Ctx) {
        self.ask_how_far(ctx);
        let (kind, verb) = match ctx.rng.chance(JOIN_SHARE) {
            true => ("User", "Create"),
            false => ("Track", "Save"),
        };
        let action = self.action(kind, verb, String::new(), ctx);
        self.want(action, None, ctx);
    }

    fn ask_how_far(&mut self, ctx: &mut Ctx) {
        let under_way = self.disk.wishes.iter().next();
        let Some((digest, is_publication)) =
            under_way.map(|(digest, wish)| (*digest, wish.root.is_some()))
        else {
            return;
        };
        let request = RequestId(ctx.next_id());
        let question = match is_publication {
            true => Input::Published { request, digest },
            false => Input::Relayed { request, digest },
        };
        self.tell_author(question, ctx);
    }

    /// Has the author bring an action, and what it names, to where it belongs.
    pub(super) fn want(&mut self, action: SignedAction, root: Option<PublishRoot>, ctx: &mut Ctx) {
        let digest = action.action.digest(&ctx.params.actions);
        let wish = Wish {
            action,
            handed_in: root.is_none().then_some(ctx.now),
            root,
            started: ctx.now,
        };
        self.disk.wishes.insert(digest, wish);
        self.ask_author(digest, ctx);
    }

    fn ask_author(&mut self, digest: Hash32, ctx: &mut Ctx) {
        let Some(wish) = self.disk.wishes.get(&digest) else {
            return;
        };
        let (request, action) = (RequestId(ctx.next_id()), wish.action.clone());
        let input = match wish.root {
            Some(root) => Input::Publish {
                request,
                action,
                roots: vec![root],
                missing: None,
            },
            None => Input::Relay {
                request,
                action,
                proof: None,
            },
        };
        self.tell_author(input, ctx);
    }

    pub(super) fn action(
        &self,
        kind: &str,
        verb: &str,
        metadata: String,
        ctx: &mut Ctx,
    ) -> SignedAction {
        let id = EntityId(2_000_000 + ctx.rng.below(1 << 20));
        self.action_on(id, kind, verb, metadata, ctx)
    }

    /// Signs an action on a thing.
    pub(super) fn action_on(
        &self,
        entity_id: EntityId,
        kind: &str,
        verb: &str,
        metadata: String,
        ctx: &mut Ctx,
    ) -> SignedAction {
        Action {
            user_id: UserId(u64::from(self.idx) + 1),
            entity_type: kind.to_owned(),
            entity_id,
            action: verb.to_owned(),
            metadata,
            nonce: Hash32(ctx.rng.array()),
        }
        .sign(&ctx.params.actions, &self.key)
    }

    /// Takes entries that a counted head covers.
    pub(super) fn handle_applied(&mut self, entries: &[Entry], ctx: &mut Ctx) {
        self.hear_entries(entries, ctx);
        self.tell_author(Input::Index, ctx);
        for entry in entries {
            let digest = entry.action.action.digest(&ctx.params.actions);
            if let Some(wish) = self.disk.wishes.remove(&digest) {
                let since = wish.handed_in.unwrap_or(wish.started);
                ctx.metrics.relay.push(ctx.now - since);
            }
            let Some((root, _)) = published_root(&entry.action.action.metadata) else {
                continue;
            };
            let is_wanted =
                ctx.checkers.was_durable(&root) && !self.disk.blocks.contains_key(&root);
            if is_wanted && ctx.rng.chance(ctx.params.fetch_share) {
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
        let options = FetchOptions {
            holders,
            owner: Some(Goal::Own),
            ..FetchOptions::default()
        };
        self.fetch(root, Goal::Own, options, ctx);
        if ctx.rng.chance(IMPATIENT_SHARE) {
            let patience = Duration::from_millis(ctx.rng.below(PATIENCE_MILLIS));
            ctx.local(self, patience, Local::Impatient(Box::new(root)));
        }
    }

    /// Wants a fetch that is not over anew, at once or later.
    pub(super) fn lose_patience(&mut self, root: Cid, ctx: &mut Ctx) {
        if !self.exchange.is_fetching(root, Goal::Own) {
            return;
        }
        if ctx.rng.chance(0.5) {
            self.fetch_own(root, ctx);
        } else {
            self.exchange.cancel(&root, Goal::Own, ctx);
            self.retry(Again::Fetch(root), ctx);
        }
    }

    pub(super) fn handle_own_fetched(&mut self, root: &Cid, is_whole: bool, ctx: &mut Ctx) {
        if is_whole {
            if let Some(since) = self.disk.wanted.remove(root) {
                ctx.metrics.fetch.push(ctx.now - since);
            }
        } else {
            self.retry(Again::Fetch(*root), ctx);
        }
    }
}

/// A directory of two to six files of up to 4 KiB, its root last.
fn random_files(ctx: &mut Ctx) -> Vec<(Cid, Bytes)> {
    let mut directory = Directory::new(Profile::V1_2025);
    let mut blocks = Vec::new();
    for number in 0..2 + ctx.rng.below(5) {
        let len = 256 + ctx.rng.index(3840);
        let data = Bytes::from(ctx.rng.bytes(len));
        let cid = raw_cid(&data);
        directory
            .insert(&number.to_string(), cid, data.len() as u64)
            .expect("numbers are names");
        blocks.push((cid, data));
    }
    let (_, inner) = directory.finish();
    blocks.extend(inner.into_iter().map(VerifiedBlock::into_parts));
    blocks
}

/// As many peers of a root as are looked at: the placed ones and substitutes.
const CANDIDATES: usize = 15;

/// Before a failed publication, fetch or submission is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// How many of a resident's actions create a user.
const JOIN_SHARE: f64 = 0.05;

/// How many of a resident's fetches are begun anew if they are not over by then.
const IMPATIENT_SHARE: f64 = 0.1;

/// When that is: within the time that a small file takes.
const PATIENCE_MILLIS: u64 = 400;

/// Leading zero bits of the proof that a new user costs: enough that some
/// proofs take several attempts, and little to compute.
pub(super) const PROOF_BITS: u32 = 6;

/// The time a slow device takes for such a proof.
const SOLVE_DELAY: Duration = Duration::from_millis(800);

/// Before the network delivers a question again.
const IMPATIENCE: Duration = Duration::from_secs(2);
