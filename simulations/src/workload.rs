//! What residents do at their peers: publish, act, fetch, use the vault.
//!
//! A resident speaks to its peer as an owner does over HTTP: by inputs of the
//! author's and the vault's machines, and by files that it stores and fetches. It
//! keeps its keys and remembers what it wants whatever happens to the peer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::action::{Action, SignedAction};
use protocol::author::{Author, Event, Input, PublishRoot, Reply};
use protocol::content::repair::RootFacts;
use protocol::entry::Entry;
use protocol::exchange::FetchOptions;
use protocol::id::{EntityId, Hash32, UserId};
use protocol::origin::RequestId;
use protocol::placement::REPLICAS_TARGET;
use protocol::signing::SigningKey;
use protocol::time::Moment;
use protocol::unixfs::{Directory, Profile, VerifiedBlock, raw_cid};

use crate::host::{Goal, Host, News};
use crate::index::{metadata_of, published_root};
use crate::wire::Message;
use crate::world::{Ctx, Local};

mod mistakes;
mod payments;
mod records;
mod surveys;

use payments::Payments;
use records::Records;
use surveys::Surveys;

/// Whoever sits at a peer: uses it by inputs of its machines, and hears what comes
/// of them.
pub trait Person: fmt::Debug {
    /// The peer has started.
    fn start(&mut self, _host: &mut Host, _ctx: &mut Ctx) {}

    /// Forgets what a crash of the peer takes away.
    fn forget(&mut self) {}

    /// Does what was planned.
    fn act(&mut self, _plan: Plan, _host: &mut Host, _ctx: &mut Ctx) {}

    /// Hears what came of something.
    fn hear(&mut self, _news: News, _host: &mut Host, _ctx: &mut Ctx) {}

    /// What is still to be done, for people; without relayers actions have nowhere
    /// to go.
    fn unfinished(&self, _host: &Host, _has_relayers: bool) -> Option<String> {
        None
    }

    /// Sees what arrives at the peer; true when the peer is not to see it.
    fn takes(&mut self, _from: u32, _message: &Message, _host: &mut Host, _ctx: &mut Ctx) -> bool {
        false
    }

    /// What arrives in place of what the peer sent; asked at liars.
    fn says(&mut self, message: Message, _ctx: &mut Ctx) -> Vec<Message> {
        vec![message]
    }
}

/// What somebody is about to do.
#[derive(Debug)]
pub enum Plan {
    /// Publishes a few files.
    Publish,
    /// Deletes what it published.
    Delete(EntityId),
    /// Saves what others published.
    Act,
    /// Writes or reads the vault.
    Vault,
    /// Has no patience for a fetch any more.
    Impatient(Box<Cid>),
    /// Asks again for what did not work out.
    Again(Box<Again>),
    /// Sends a transaction of its own.
    Pay,
    /// Looks what became of it.
    Look,
    /// Waits no more for those that were asked who holds a root.
    Survey,
    /// Does something that the rules refuse.
    Err,
    /// Works against the others.
    Attack,
}

/// A user at a light peer.
#[derive(Debug)]
pub struct Resident {
    key: SigningKey,
    user: UserId,
    /// What it wants on chain.
    wishes: BTreeMap<Hash32, Wish>,
    /// Roots that it fetches, and since when.
    wanted: BTreeMap<Cid, Moment>,
    /// What it will ask for again.
    retries: BTreeSet<Again>,
    /// True once it switched its account off: again on the same day is refused,
    /// and whoever restarts meanwhile goes on for a day.
    is_leaving: bool,
    /// The last of its actions that landed.
    landed: Option<SignedAction>,
    records: Records,
    payments: Payments,
    surveys: Surveys,
}

/// What a resident wants on chain, and remembers until it is there.
#[derive(Debug)]
struct Wish {
    action: SignedAction,
    /// What it publishes.
    root: Option<PublishRoot>,
    /// When it was first asked for.
    started: Moment,
    /// When it could go to a relayer.
    handed_in: Option<Moment>,
}

/// What a resident asks for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    /// To bring an action to where it belongs.
    Wish(Hash32),
    /// For a root.
    Fetch(Cid),
}

impl Person for Resident {
    fn start(&mut self, host: &mut Host, ctx: &mut Ctx) {
        // What the author did not store before a crash was never promised.
        for digest in self.idle(host) {
            self.ask_author(digest, host, ctx);
        }
        let wanted: Vec<Cid> = self.wanted.keys().copied().collect();
        for root in wanted {
            Self::fetch(root, host, ctx);
        }
        self.payments.look_later(host, ctx);
    }

    fn forget(&mut self) {
        self.retries.clear();
        self.records.forget();
        self.surveys.forget();
    }

    fn act(&mut self, plan: Plan, host: &mut Host, ctx: &mut Ctx) {
        match plan {
            Plan::Publish => self.publish(host, ctx),
            Plan::Delete(id) => {
                let action = self.action_on(id, "Track", "Delete", String::new(), ctx);
                self.want(action, None, host, ctx);
            }
            Plan::Act => self.save(host, ctx),
            Plan::Vault => self.records.act(&self.key, host, ctx),
            Plan::Pay => self.payments.act(self.key.address(), host, ctx),
            Plan::Look => self.payments.look(host, ctx),
            Plan::Survey => self.surveys.wake(host, ctx),
            Plan::Err => self.err(host, ctx),
            Plan::Impatient(root) => self.lose_patience(*root, host, ctx),
            Plan::Again(again) => self.ask_again(*again, host, ctx),
            Plan::Attack => {}
        }
    }

    fn hear(&mut self, news: News, host: &mut Host, ctx: &mut Ctx) {
        match news {
            News::Reply(reply) => self.hear_reply(reply, host, ctx),
            News::Event(event) => self.hear_event(event, host, ctx),
            News::Vault(request, reply) => self.records.hear(request, reply, host, ctx),
            News::Fetched(root, is_whole) => self.hear_fetched(root, is_whole, host, ctx),
            News::Applied(entries) => self.hear_entries(&entries, host, ctx),
            News::Answer(peer, body) => self.surveys.hear(peer, body, host, ctx),
        }
    }

    fn unfinished(&self, host: &Host, has_relayers: bool) -> Option<String> {
        if let Some((root, _)) = self.wanted.first_key_value() {
            return Some(format!("fetch {root}"));
        }
        let can_be_done = |(_, wish): &(&Hash32, &Wish)| {
            has_relayers || (wish.root.is_some() && wish.handed_in.is_none())
        };
        if let Some((digest, wish)) = self.wishes.iter().find(can_be_done) {
            return Some(match &wish.root {
                Some(root) => format!("publish {}", root.cid),
                None => format!("relay {digest}"),
            });
        }
        if self.payments.is_busy() {
            return Some("see its transaction through".to_owned());
        }
        let is_busy = has_relayers && !self.is_leaving && host.is_author_busy();
        is_busy.then(|| "bring a root to all its holders".to_owned())
    }
}

impl Resident {
    /// A user with the key of its peer.
    #[must_use]
    pub fn new(key: SigningKey, user: UserId) -> Self {
        Self {
            key,
            user,
            wishes: BTreeMap::new(),
            wanted: BTreeMap::new(),
            retries: BTreeSet::new(),
            is_leaving: false,
            landed: None,
            records: Records::default(),
            payments: Payments::default(),
            surveys: Surveys::default(),
        }
    }

    /// Its number on chain.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// Publishes a directory of a few files that nobody has seen before.
    pub fn publish(&mut self, host: &mut Host, ctx: &mut Ctx) {
        let Some((root, facts)) = store_files(host, ctx) else {
            return;
        };
        let registry = &*host.registry;
        let placement = registry.placement.inner();
        let placed = placement.place(&root, CANDIDATES, &BTreeSet::new());
        ctx.checkers.note_placed(&root, &placed, registry, ctx.now);
        let replicas = placement.place(&root, REPLICAS_TARGET, &BTreeSet::new());
        ctx.checkers
            .note_replica_set(&root, &replicas, registry, ctx.now);
        let action = self.action("Track", "Create", metadata_of(&root, &facts), ctx);
        let root = PublishRoot {
            cid: root,
            proof_root: facts.proof_root,
            dag_size: facts.size,
        };
        self.want(action, Some(root), host, ctx);
    }

    /// Does something small in public, and looks what became of the last thing.
    fn save(&mut self, host: &mut Host, ctx: &mut Ctx) {
        self.ask_how_far(host, ctx);
        let (kind, verb) = match ctx.rng.chance(JOIN_SHARE) {
            true => ("User", "Create"),
            false => ("Track", "Save"),
        };
        let action = self.action(kind, verb, String::new(), ctx);
        self.want(action, None, host, ctx);
    }

    fn ask_how_far(&self, host: &mut Host, ctx: &mut Ctx) {
        let Some((digest, wish)) = self.wishes.first_key_value() else {
            return;
        };
        let (request, digest) = (RequestId(ctx.next_id()), *digest);
        let question = match wish.root {
            Some(_) => Input::Published { request, digest },
            None => Input::Relayed { request, digest },
        };
        host.tell::<Author>(question);
    }

    /// Has the author bring an action, and what it names, to where it belongs.
    pub fn want(
        &mut self,
        action: SignedAction,
        root: Option<PublishRoot>,
        host: &mut Host,
        ctx: &mut Ctx,
    ) {
        let digest = action.action.digest(&ctx.params.actions);
        let wish = Wish {
            action,
            handed_in: root.is_none().then_some(ctx.now),
            root,
            started: ctx.now,
        };
        self.wishes.insert(digest, wish);
        self.ask_author(digest, host, ctx);
    }

    fn ask_author(&self, digest: Hash32, host: &mut Host, ctx: &mut Ctx) {
        let Some(wish) = self.wishes.get(&digest) else {
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
        host.tell::<Author>(input);
    }

    /// Signs an action on a thing with a number of its own.
    pub fn action(&self, kind: &str, verb: &str, metadata: String, ctx: &mut Ctx) -> SignedAction {
        let id = EntityId(2_000_000 + ctx.rng.below(1 << 20));
        self.action_on(id, kind, verb, metadata, ctx)
    }

    /// Signs an action on a thing.
    pub fn action_on(
        &self,
        entity_id: EntityId,
        kind: &str,
        verb: &str,
        metadata: String,
        ctx: &mut Ctx,
    ) -> SignedAction {
        Action {
            user_id: self.user,
            entity_type: kind.to_owned(),
            entity_id,
            action: verb.to_owned(),
            metadata,
            nonce: Hash32(ctx.rng.array()),
        }
        .sign(&ctx.params.actions, &self.key)
    }

    /// What is not under way at the author.
    fn idle(&self, host: &Host) -> Vec<Hash32> {
        let disk = &host.disk;
        let is_known =
            |digest: &Hash32| disk.jobs.contains_key(digest) || disk.outbox.contains_key(digest);
        let wishes = self.wishes.keys().copied();
        wishes.filter(|digest| !is_known(digest)).collect()
    }

    fn hear_reply(&mut self, reply: Reply, host: &Host, ctx: &mut Ctx) {
        let is_refused = match reply {
            Reply::Publish(reply) => reply.is_err(),
            Reply::Relay(reply) => reply.is_err(),
            Reply::Published(status) => status.is_none(),
        };
        if is_refused {
            for digest in self.idle(host) {
                self.retry(Again::Wish(digest), host, ctx);
            }
        }
    }

    fn hear_event(&mut self, event: Event, host: &Host, ctx: &mut Ctx) {
        match event {
            Event::Durable { digest, roots } => {
                for (root, _) in &roots {
                    ctx.checkers.note_durable(*root, digest, ctx.now);
                }
                if let Some(wish) = self.wishes.get_mut(&digest)
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
                self.retry(Again::Wish(digest), host, ctx);
            }
        }
    }

    fn retry(&mut self, again: Again, host: &Host, ctx: &mut Ctx) {
        if self.retries.insert(again) {
            ctx.local(host, RETRY, Local::Person(Plan::Again(Box::new(again))));
        }
    }

    fn ask_again(&mut self, again: Again, host: &mut Host, ctx: &mut Ctx) {
        self.retries.remove(&again);
        match again {
            Again::Wish(digest) => self.ask_author(digest, host, ctx),
            Again::Fetch(root) if self.wanted.contains_key(&root) => Self::fetch(root, host, ctx),
            Again::Fetch(_) => {}
        }
    }

    /// Takes what has landed, and wants some of what others published.
    fn hear_entries(&mut self, entries: &[Entry], host: &mut Host, ctx: &mut Ctx) {
        for entry in entries {
            let digest = entry.action.action.digest(&ctx.params.actions);
            if let Some(wish) = self.wishes.remove(&digest) {
                let since = wish.handed_in.unwrap_or(wish.started);
                ctx.metrics.relay.push(ctx.now - since);
                let deleted = ctx.params.deleted_share;
                if wish.root.is_some() && deleted > 0.0 && ctx.rng.chance(deleted) {
                    let after = Duration::from_secs(ctx.rng.below(DELETED_SECONDS));
                    let plan = Plan::Delete(wish.action.action.entity_id);
                    ctx.local(host, after, Local::Person(plan));
                }
                self.landed = Some(wish.action);
            }
            let Some((root, _)) = published_root(&entry.action.action.metadata) else {
                continue;
            };
            let is_wanted =
                ctx.checkers.was_durable(&root) && !host.disk.blocks.contains_key(&root);
            if is_wanted && ctx.rng.chance(ctx.params.fetch_share) {
                self.wanted.insert(root, ctx.now);
                Self::fetch(root, host, ctx);
            }
        }
    }

    fn fetch(root: Cid, host: &mut Host, ctx: &mut Ctx) {
        let placement = host.registry.placement.inner();
        let mut holders = placement.place(&root, REPLICAS_TARGET, &BTreeSet::new());
        let start = ctx.rng.index(holders.len().max(1));
        let len = holders.len().max(1);
        holders.rotate_left(start % len);
        let options = FetchOptions {
            holders,
            ..FetchOptions::default()
        };
        host.fetch(root, Goal::Own, u64::MAX, options);
        if ctx.rng.chance(IMPATIENT_SHARE) {
            let patience = Duration::from_millis(ctx.rng.below(PATIENCE_MILLIS));
            ctx.local(
                host,
                patience,
                Local::Person(Plan::Impatient(Box::new(root))),
            );
        }
    }

    /// Wants a fetch that is not over anew, at once or later.
    fn lose_patience(&mut self, root: Cid, host: &mut Host, ctx: &mut Ctx) {
        if !host.is_fetching(root, Goal::Own) {
            return;
        }
        if ctx.rng.chance(0.5) {
            Self::fetch(root, host, ctx);
        } else {
            host.cancel(root, Goal::Own);
            self.retry(Again::Fetch(root), host, ctx);
        }
    }

    fn hear_fetched(&mut self, root: Cid, is_whole: bool, host: &mut Host, ctx: &mut Ctx) {
        if !is_whole {
            self.retry(Again::Fetch(root), host, ctx);
        } else if let Some(since) = self.wanted.remove(&root) {
            ctx.metrics.fetch.push(ctx.now - since);
            self.surveys.begin(root, host, ctx);
        }
    }
}

/// Puts files that nobody has seen before on the disk: their root and what is to be
/// said of it, unless the disk is full.
fn store_files(host: &mut Host, ctx: &mut Ctx) -> Option<(Cid, RootFacts)> {
    let blocks = random_files(ctx);
    let root = blocks.last().expect("a directory has a root").0;
    for (cid, data) in blocks {
        host.disk.store(root, cid, data);
    }
    Some((root, host.disk.facts(&root)?))
}

/// A directory of two to six files, its root last. Half of large files are as large as
/// they may be.
fn random_files(ctx: &mut Ctx) -> Vec<(Cid, Bytes)> {
    let mut directory = Directory::new(Profile::V1_2025);
    let mut blocks = Vec::new();
    for number in 0..2 + ctx.rng.below(5) {
        let most = ctx.params.file_kib << 10;
        let len = match most > SMALL_BYTES_MAX && ctx.rng.chance(0.5) {
            true => most,
            false => most / 16 + ctx.rng.index(most / 16 * 15),
        };
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

/// Files beyond this are large.
const SMALL_BYTES_MAX: usize = 4 << 10;

/// As many peers of a root as are looked at: the placed ones and substitutes.
const CANDIDATES: usize = 15;

/// Before a failed publication, fetch or submission is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// Within this time after its publication something is deleted. Chosen: a few epochs,
/// so that some leases were renewed before.
const DELETED_SECONDS: u64 = 4 * 3600;

/// How many of a resident's actions create a user.
const JOIN_SHARE: f64 = 0.05;

/// How many of a resident's fetches are begun anew if they are not over by then.
const IMPATIENT_SHARE: f64 = 0.1;

/// When that is: within the time that a small file takes.
const PATIENCE_MILLIS: u64 = 400;
