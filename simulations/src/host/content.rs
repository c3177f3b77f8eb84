//! The content role's shell in virtual time: the same machine as the node's, over
//! a disk that loses what was not written, a network and a chain of the seed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use protocol::chain::ChainBlock;
use protocol::content::repair::RootFacts;
use protocol::content::{
    AskId, BookConfig, Capacity, Config, Content, Draft, FetchFailure, Height, HolderConfig, Input,
    Note, Output, Owner, PersistId, Purpose, Reference, Row, SignedRecord, UserFacts, repair,
};
use protocol::entry::Entry;
use protocol::exchange::FetchOptions;
use protocol::id::{Address, Hash32, UserId};
use protocol::machine::Machine;
use protocol::origin::{Origin, RequestId};
use protocol::publish::Response;
use protocol::signing::Signed;
use protocol::time::UnixSeconds;
use protocol::wire;

use super::exchange::Goal;
use super::{Host, Pending, is_due};
use crate::index::Index;
use crate::world::{Ctx, Local};

impl Host {
    pub(super) fn start_content(&mut self, ctx: &mut Ctx) {
        if self.is_hollow() {
            return;
        }
        let config = content_config(self.address, ctx);
        let registry = Arc::clone(&self.registry.at);
        let seed = ctx.rng.below(u64::MAX);
        let content = Content::new(config, self.disk.stored(), registry, seed, ctx.now);
        self.content = Some(Box::new(content));
        self.note_connected(ctx);
        self.note_height(ctx);
    }

    /// Gives the machine a fact; its wishes are drained afterwards.
    pub(super) fn tell_content(&mut self, input: Input, ctx: &mut Ctx) {
        ctx.metrics.note_input("content", &input);
        if let Some(content) = &mut self.content {
            content.handle(input, ctx.now);
        }
    }

    pub(super) fn wake_content(&mut self, ctx: &mut Ctx) {
        if let Some(content) = &mut self.content
            && is_due(content.deadline(), ctx.now)
        {
            content.handle_timeout(ctx.now);
        }
    }

    pub(super) fn drain_content(&mut self, ctx: &mut Ctx) -> bool {
        let mut moved = false;
        while let Some(wish) = self.content.as_deref_mut().and_then(Machine::poll) {
            moved = true;
            self.carry(wish, ctx);
        }
        moved
    }

    /// Whoever is up is connected to everybody who is.
    pub(super) fn note_connected(&mut self, ctx: &mut Ctx) {
        if self.content.is_none() {
            return;
        }
        let peers = ctx.up_peers().filter(|peer| *peer != self.address);
        let connected = Input::Connected(peers.collect());
        self.tell_content(connected, ctx);
    }

    pub(super) fn note_height(&mut self, ctx: &mut Ctx) {
        let head = ctx.chain.tip().number;
        let height = Input::Height(Height {
            applied: self.feed.followed,
            head: Some(head),
            is_connected: ctx.is_chain_up,
        });
        self.tell_content(height, ctx);
    }

    pub(super) fn note_content_registry(&mut self, ctx: &mut Ctx) {
        let registry = Arc::clone(&self.registry.at);
        self.tell_content(Input::Registry(registry), ctx);
    }

    /// Tells that blocks changed what names roots.
    pub(super) fn note_entries(&mut self, blocks: &[Arc<ChainBlock>], ctx: &mut Ctx) {
        let index = self.index();
        let entries = blocks.iter().flat_map(|block| &block.entries);
        let ids = entries.map(|entry| entry.action.action.entity_id);
        let roots: Vec<Cid> = ids.filter_map(|id| index.root_of(id)).collect();
        if !roots.is_empty() {
            self.tell_content(Input::Renamed(roots), ctx);
        }
    }

    /// Tells that more changed than is remembered.
    pub(super) fn note_entries_unknown(&mut self, ctx: &mut Ctx) {
        self.tell_content(Input::RenamedUnknown, ctx);
    }

    pub(super) fn handle_content_request(
        &mut self,
        from: u32,
        id: u64,
        protocol: wire::Protocol,
        body: &Bytes,
        ctx: &mut Ctx,
    ) {
        let origin = Origin {
            peer: ctx.address(from),
            ip: None,
        };
        self.asked.insert(RequestId(id), from);
        let request = Input::Request {
            id: RequestId(id),
            protocol,
            origin,
            body: body.clone(),
        };
        self.tell_content(request, ctx);
    }

    /// Finds bad blocks of a root, drops them and tells of it.
    pub(super) fn scrub(&mut self, root: &Cid, ctx: &mut Ctx) {
        let bad: Vec<Cid> = self
            .disk
            .listed(root)
            .filter(|cid| self.disk.rotten.contains(*cid))
            .copied()
            .collect();
        for cid in bad {
            self.disk.drop_block(&cid);
            // The store's news overflow now and then, and names are lost.
            let is_known = cid.hash().digest().last().is_some_and(|byte| byte & 1 == 0);
            let lost = match is_known {
                true => Input::BlockLost(cid),
                false => Input::BlocksLost,
            };
            self.tell_content(lost, ctx);
        }
    }

    pub(super) fn note_fetched(&mut self, root: Cid, goal: Goal, ctx: &mut Ctx) {
        let purpose = match goal {
            Goal::Upload => Purpose::Upload,
            Goal::Repair => Purpose::Repair,
            Goal::Own => return,
        };
        let bytes_max = self.fetching.remove(&(root, purpose)).unwrap_or(u64::MAX);
        let result = match self.facts(&root) {
            Some(facts) if facts.size > bytes_max => Err(FetchFailure::TooLarge),
            Some(facts) => Ok(facts),
            None => Err(FetchFailure::Failed("nobody has it".to_owned())),
        };
        if purpose == Purpose::Repair && result.is_ok() {
            ctx.metrics.repairs += 1;
        }
        let fetched = Input::Fetched {
            root,
            purpose,
            result,
        };
        self.tell_content(fetched, ctx);
    }

    /// Rows reach the disk; the machine hears so.
    pub(super) fn write_rows(&mut self, id: PersistId, rows: Vec<Row>, ctx: &mut Ctx) {
        for row in rows {
            if let Row::Lease(root, Some(lease)) = &row {
                ctx.checkers.note_lease(lease, ctx.now);
                let is_whole = self.disk.has_root(root);
                ctx.checkers.note_promise(self.idx, root, is_whole, ctx.now);
            }
            if let Row::Lease(root, None) = &row {
                self.note_struck(root, ctx);
            }
            self.disk.put(row);
        }
        let is_done = true;
        self.tell_content(Input::Persisted { id, is_done }, ctx);
    }

    fn carry(&mut self, wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Respond { id, body } => {
                if let Ok(Response::Refused(refusal)) = Response::from_bytes(&body) {
                    ctx.metrics.refusals.note("content", &refusal.code);
                }
                if let Some(to) = self.asked.remove(&id) {
                    self.respond(to, id.0, body, ctx);
                }
            }
            Output::Refuse { id, .. } => {
                if let Some(to) = self.asked.remove(&id) {
                    self.refuse(to, id.0, ctx);
                }
            }
            Output::Judge { token, verdict } => self.decide(token, verdict, ctx),
            Output::Publish { topic, body } => self.gossip(topic, body, ctx),
            Output::Ask {
                id,
                to,
                protocol,
                body,
            } => self.request(to, protocol, body, Pending::Content(id), ctx),
            Output::Offence { peer, .. } => self.charge(peer, ctx),
            Output::LookUp { id, action, signer } => {
                let user = self.known_user(action.user_id, signer, ctx);
                let capacity = capacity();
                self.later(Input::LookedUp { id, user, capacity }, ctx);
            }
            Output::ReadReferences { roots } => {
                let index = self.index();
                let references = roots.iter().map(|root| reference(&index, *root));
                let references = references.collect();
                self.later(Input::References(references), ctx);
            }
            Output::Scan { after } => self.scan(after, ctx),
            Output::Measure => self.later(Input::Measured(capacity()), ctx),
            Output::Persist { id, rows } => {
                ctx.local(self, DISK_DELAY, Local::Write(id, rows));
            }
            Output::Sign(draft) => self.sign(draft, ctx),
            Output::Fetch {
                root,
                purpose,
                bytes_max,
                holders,
                last_resort,
            } => {
                self.fetching.insert((root, purpose), bytes_max);
                let goal = match purpose {
                    Purpose::Upload => Goal::Upload,
                    Purpose::Repair => Goal::Repair,
                };
                let options = FetchOptions {
                    holders,
                    last_resort: last_resort.into_iter().collect(),
                    owner: Some(goal),
                    with_proof: true,
                };
                self.fetch(root, goal, options, ctx);
            }
            Output::Cancel { root } => {
                self.fetching.remove(&(root, Purpose::Upload));
                self.exchange.cancel(&root, Goal::Upload, ctx);
            }
            Output::Remove { root } => {
                self.disk.delete(&root);
                self.later(Input::Removed { root }, ctx);
            }
            Output::Keep { roots } => {
                self.disk.keep(&roots);
                self.later(Input::Kept, ctx);
            }
            Output::Draw { id, root, points } => self.draw(id, root, &points, ctx),
            Output::FindListing { block } => {
                let roots = self.disk.roots_listing(&block);
                self.later(Input::Damaged { roots }, ctx);
            }
            Output::Inspect { roots } => {
                let lacks = |root: &Cid| !self.disk.has_stored(root);
                let lacking = roots.into_iter().filter(lacks).collect();
                self.later(Input::Inspected { lacking }, ctx);
            }
            Output::Note(note) => self.heed(&note, ctx),
        }
    }

    /// What the disk or the index answers, a moment later.
    fn later(&self, input: Input, ctx: &mut Ctx) {
        ctx.local(self, READ_DELAY, Local::Content(Box::new(input)));
    }

    fn sign(&mut self, draft: Draft, ctx: &mut Ctx) {
        let (domain, key) = (ctx.params.domain, &self.key);
        let record = match draft {
            Draft::Lease(lease) => SignedRecord::Lease(Signed::new(lease, &domain, key)),
            Draft::Page(page) => {
                let page = Signed::new(page, &domain, key);
                ctx.checkers.note_page(&page, ctx.now);
                SignedRecord::Page(page)
            }
            Draft::Presence(presence) => {
                SignedRecord::Presence(Signed::new(presence, &domain, key))
            }
        };
        self.tell_content(Input::Signed(record), ctx);
    }

    fn known_user(&self, user: UserId, signer: Address, ctx: &Ctx) -> Option<UserFacts> {
        (ctx.chain.wallet_of(user)? == signer).then_some(UserFacts {
            created: UnixSeconds(0),
            stored_bytes: 0,
            extra_bytes: 0,
        })
    }

    /// What this peer's index says.
    pub(super) fn index(&self) -> Index {
        Index::of(self.indexed())
    }

    fn indexed(&self) -> impl Iterator<Item = &Entry> {
        self.disk.indexed.values().flat_map(|block| &block.entries)
    }

    fn scan(&self, after: Option<Cid>, ctx: &mut Ctx) {
        let index = self.index();
        let roots = index.roots().into_keys();
        let mut roots: Vec<Cid> = roots
            .filter(|root| after.is_none_or(|after| *root > after))
            .collect();
        let is_over = roots.len() <= SCANNED_MAX;
        roots.truncate(SCANNED_MAX);
        let roots = roots.iter().map(|root| reference(&index, *root));
        let roots = roots.collect();
        self.later(Input::Scanned { roots, is_over }, ctx);
    }

    /// Notes whether a promise that is taken back may be.
    fn note_struck(&mut self, root: &Cid, ctx: &mut Ctx) {
        let is_released = self.released.remove(root);
        if is_released || !self.disk.leases.contains_key(root) {
            return;
        }
        let index = self.index();
        let day = index.ended(root).map(|at| at.epoch().plus(ENDED_EPOCHS));
        let is_over = day.is_none_or(|day| ctx.now.epoch() >= day);
        let may_go = !index.is_named(root) && is_over;
        ctx.checkers.note_struck(self.idx, root, may_go, ctx.now);
    }

    /// What the role tells people, and what the checkers make of it.
    fn heed(&mut self, note: &Note, ctx: &mut Ctx) {
        ctx.metrics.notes.note("content", note);
        match note {
            Note::Released(root) => {
                ctx.metrics.releases += 1;
                self.released.insert(*root);
            }
            Note::Lost(peer) => {
                ctx.metrics.lost_peers += 1;
                self.lost.insert(*peer);
            }
            Note::Back(peer) => {
                self.lost.remove(peer);
            }
            Note::Repairing(root) | Note::OverQuota(root) => {
                let has_reason =
                    self.disk.leases.contains_key(root) || self.index().was_named(root);
                ctx.checkers
                    .note_repairing(self.idx, root, has_reason, ctx.now);
            }
            Note::NotPulled(..)
            | Note::NotRepaired(..)
            | Note::Damaged(_)
            | Note::Ended(_)
            | Note::Starved(_)
            | Note::BookFull(_)
            | Note::NotPersisted
            | Note::Equivocation(..) => {}
        }
    }

    fn draw(&self, id: AskId, root: Cid, points: &[Hash32], ctx: &mut Ctx) {
        let mut listed: Vec<Cid> = self.disk.listed(&root).copied().collect();
        listed.sort_by_key(|cid| cid.hash().digest().to_vec());
        let draw = |point: &Hash32| {
            let first = listed
                .iter()
                .find(|cid| cid.hash().digest() >= point.0.as_slice());
            first.or(listed.first()).copied()
        };
        let cids = points.iter().filter_map(draw).collect();
        self.later(Input::Drawn { id, cids }, ctx);
    }
}

fn content_config(peer: Address, ctx: &Ctx) -> Config {
    let params = &ctx.params;
    let config = Config {
        peer,
        domain: params.domain,
        action_domain: params.actions,
        holder: HolderConfig::for_devnet(),
        book: BookConfig {
            lease_epochs: params.lease_epochs,
            renewal_epochs: params.renewal_epochs,
            ..BookConfig::default()
        },
        repair: repair::Config {
            lost_after: params.lost_after,
            pass_interval: Duration::from_secs(120),
            step_interval: Duration::from_millis(200),
            ..repair::Config::default()
        },
        presence_interval: params.presence_interval,
        confirmations: ctx.chain.confirmations(),
        offer_grace: OFFER_GRACE,
    };
    params.limits.content(config)
}

fn reference(index: &Index, root: Cid) -> Reference {
    Reference {
        root,
        owners: index.owners(&root).into_iter().map(owner).collect(),
    }
}

fn owner(user: UserId) -> Owner {
    Owner {
        user,
        created: UnixSeconds(0),
        extra_bytes: 0,
    }
}

fn capacity() -> Capacity {
    Capacity {
        bytes_max: CAPACITY_BYTES,
        live_bytes: 0,
        disk_bytes: 0,
        disk_free: None,
    }
}

/// What the metadata of a `Track Create` names, as [`metadata_of`] writes it.
#[must_use]
pub(crate) fn published_root(metadata: &str) -> Option<(Cid, RootFacts)> {
    let (root, rest) = metadata
        .strip_prefix(METADATA_CID)?
        .split_once(METADATA_PROOF_ROOT)?;
    let (proof_root, size) = rest.split_once(METADATA_SIZE)?;
    let facts = RootFacts {
        proof_root: proof_root.parse().ok()?,
        size: size.strip_suffix(METADATA_END)?.parse().ok()?,
    };
    Some((root.parse().ok()?, facts))
}

/// Writes what [`published_root`] reads.
#[must_use]
pub(crate) fn metadata_of(root: &Cid, facts: &RootFacts) -> String {
    format!(
        "{METADATA_CID}{root}{METADATA_PROOF_ROOT}{}{METADATA_SIZE}{}{METADATA_END}",
        facts.proof_root, facts.size
    )
}

/// Bytes that every simulated peer offers.
const CAPACITY_BYTES: u64 = 1 << 40;

/// From the wish to write to durable rows: a fast disk's flush.
const DISK_DELAY: Duration = Duration::from_millis(4);

/// From the wish to read to the answer.
const READ_DELAY: Duration = Duration::from_micros(200);

/// Roots of one step of a whole reading of the index.
const SCANNED_MAX: usize = 64;

/// Epochs that a promise outlasts the last thing that named its root
/// (`docs/formats/lease.md`).
const ENDED_EPOCHS: u64 = 24;

/// The author's offers come before repair for this long.
const OFFER_GRACE: Duration = Duration::from_secs(20);

const METADATA_CID: &str = r#"{"data":{"cid":""#;
const METADATA_PROOF_ROOT: &str = r#"","proof_root":""#;
const METADATA_SIZE: &str = r#"","size":"#;
const METADATA_END: &str = "}}";
