//! A virtual index: the blocks that a peer has indexed, and what their entries come
//! to as far as the content role asks, who names which root.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;

use cid::Cid;
use gossip::discovery::plan;
use protocol::chain::ChainBlock;
use protocol::content::repair::RootFacts;
use protocol::content::{Owner, Reference};
use protocol::entry::Entry;
use protocol::id::{EntityId, UserId};
use protocol::merkle::Peaks;
use protocol::records::Head;
use protocol::time::UnixSeconds;

/// The blocks with entries that a peer has indexed, by number.
#[derive(Debug, Default)]
pub struct Indexed {
    blocks: BTreeMap<u64, Arc<ChainBlock>>,
    /// Roots that something named in blocks that were taken back.
    named_before: BTreeSet<Cid>,
}

/// What an index does next.
#[derive(Debug)]
pub enum Step {
    /// Takes these blocks in.
    Apply(Vec<Arc<ChainBlock>>),
    /// Takes back what is above this block.
    Unindex(u64),
    /// Gives everything up.
    Clear,
}

/// What changed in what names roots.
#[derive(Debug)]
pub enum Changes {
    /// Nothing that names one.
    None,
    /// What names these.
    Roots(Vec<Cid>),
    /// More than is remembered.
    Unknown,
}

/// Entries that a light peer's index takes in.
#[derive(Debug)]
pub struct Part {
    /// In chain order.
    pub entries: Vec<Entry>,
    /// The head that covers them.
    pub head: Head,
    /// The tree's right edge after them.
    pub peaks: Peaks,
}

impl Indexed {
    /// Carries out a step.
    pub fn step(&mut self, step: Step) -> Changes {
        match step {
            Step::Apply(run) => self.apply(&run),
            Step::Unindex(to) => match self.take_back(to + 1) {
                true => Changes::Unknown,
                false => Changes::None,
            },
            Step::Clear => {
                self.take_back(0);
                Changes::Unknown
            }
        }
    }

    /// Takes back the blocks from a number on; true when there were some.
    fn take_back(&mut self, from: u64) -> bool {
        let named = self.index().things.into_values().map(|thing| thing.root);
        self.named_before.extend(named);
        !self.blocks.split_off(&from).is_empty()
    }

    /// True when something names a root or did, in a block that was taken back
    /// perhaps: until an index is read anew, what it said is all that is known.
    #[must_use]
    pub fn was_named(&self, root: &Cid) -> bool {
        self.named_before.contains(root) || self.index().was_named(root)
    }

    fn apply(&mut self, run: &[Arc<ChainBlock>]) -> Changes {
        let cursor = self.blocks.last_key_value().map(|(number, _)| *number);
        let known = |number: u64| {
            let block = self.blocks.get(&number);
            Ok::<_, Infallible>(block.map(|block| block.block.hash))
        };
        let Ok(plan) = plan(run, cursor, known);
        if let Some(to) = plan.rollback {
            self.take_back(to + 1);
        }
        let blocks = plan.blocks.iter();
        let new = blocks.map(|block| (block.block.number, Arc::clone(block)));
        self.blocks.extend(new);
        if plan.rollback.is_some() || plan.blocks.len() > NEWS_BLOCKS_MAX {
            return Changes::Unknown;
        }
        let index = self.index();
        let entries = plan.blocks.iter().flat_map(|block| &block.entries);
        let ids = entries.map(|entry| entry.action.action.entity_id);
        let roots: Vec<Cid> = ids.filter_map(|id| index.root_of(id)).collect();
        match roots.is_empty() {
            true => Changes::None,
            false => Changes::Roots(roots),
        }
    }

    /// The entries of a range of sequences, at most so many.
    #[must_use]
    pub fn entries(&self, sequences: &RangeInclusive<u64>, limit: usize) -> Vec<Entry> {
        let entries = self.blocks.values().flat_map(|block| &block.entries);
        let in_range = entries.filter(|entry| sequences.contains(&entry.position.sequence()));
        in_range.take(limit).cloned().collect()
    }

    /// What the entries come to.
    #[must_use]
    pub fn index(&self) -> Index {
        Index::of(self.blocks.values().flat_map(|block| &block.entries))
    }
}

/// What some entries come to.
#[derive(Debug, Default)]
pub struct Index {
    things: BTreeMap<EntityId, Thing>,
    /// When the last thing went that named a root.
    ended: BTreeMap<Cid, UnixSeconds>,
}

/// What a `Create` made.
#[derive(Debug)]
struct Thing {
    owner: UserId,
    root: Cid,
    facts: RootFacts,
    is_alive: bool,
}

impl Index {
    /// Reads entries in their order. Only its owner deletes a thing, and an
    /// identifier is used once.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut index = Self::default();
        for entry in entries {
            let action = &entry.action.action;
            match action.action.as_str() {
                "Create" => index.create(entry),
                "Delete" => {
                    let at = entry.position.block_time;
                    index.delete(action.entity_id, action.user_id, at);
                }
                _ => {}
            }
        }
        index
    }

    fn create(&mut self, entry: &Entry) {
        let action = &entry.action.action;
        if self.things.contains_key(&action.entity_id) {
            return;
        }
        if let Some((root, facts)) = published_root(&action.metadata) {
            self.ended.remove(&root);
            let thing = Thing {
                owner: action.user_id,
                root,
                facts,
                is_alive: true,
            };
            self.things.insert(action.entity_id, thing);
        }
    }

    fn delete(&mut self, id: EntityId, user: UserId, at: UnixSeconds) {
        let Some(thing) = self.things.get_mut(&id) else {
            return;
        };
        if thing.owner != user || !thing.is_alive {
            return;
        }
        thing.is_alive = false;
        let root = thing.root;
        if !self.is_named(&root) {
            self.ended.insert(root, at);
        }
    }

    /// The root that a thing names, or named while it was alive.
    #[must_use]
    pub fn root_of(&self, id: EntityId) -> Option<Cid> {
        self.things.get(&id).map(|thing| thing.root)
    }

    /// The owners of what is alive and names a root.
    #[must_use]
    pub fn owners(&self, root: &Cid) -> BTreeSet<UserId> {
        let alive = self.alive().filter(|thing| thing.root == *root);
        alive.map(|thing| thing.owner).collect()
    }

    /// The roots that something alive names, with what it says of them.
    #[must_use]
    pub fn roots(&self) -> BTreeMap<Cid, RootFacts> {
        self.alive()
            .map(|thing| (thing.root, thing.facts))
            .collect()
    }

    /// True when something alive names a root.
    #[must_use]
    pub fn is_named(&self, root: &Cid) -> bool {
        self.alive().any(|thing| thing.root == *root)
    }

    /// True when something names a root or did.
    #[must_use]
    pub fn was_named(&self, root: &Cid) -> bool {
        self.things.values().any(|thing| thing.root == *root)
    }

    /// When the last thing went that named a root.
    #[must_use]
    pub fn ended(&self, root: &Cid) -> Option<UnixSeconds> {
        self.ended.get(root).copied()
    }

    /// What names these roots, as the content role hears it.
    #[must_use]
    pub fn references(&self, roots: &[Cid]) -> Vec<Reference> {
        let owner = |user| Owner {
            user,
            created: UnixSeconds(0),
            extra_bytes: 0,
        };
        let reference = |root: &Cid| Reference {
            root: *root,
            owners: self.owners(root).into_iter().map(owner).collect(),
        };
        roots.iter().map(reference).collect()
    }

    /// The next roots that something names after one, and whether they are the last.
    #[must_use]
    pub fn scan(&self, after: Option<Cid>) -> (Vec<Reference>, bool) {
        let roots = self.roots().into_keys();
        let mut roots: Vec<Cid> = roots
            .filter(|root| after.is_none_or(|after| *root > after))
            .collect();
        let is_over = roots.len() <= SCANNED_MAX;
        roots.truncate(SCANNED_MAX);
        (self.references(&roots), is_over)
    }

    fn alive(&self) -> impl Iterator<Item = &Thing> {
        self.things.values().filter(|thing| thing.is_alive)
    }
}

/// What the metadata of a `Track Create` names, as [`metadata_of`] writes it.
#[must_use]
pub fn published_root(metadata: &str) -> Option<(Cid, RootFacts)> {
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
pub fn metadata_of(root: &Cid, facts: &RootFacts) -> String {
    format!(
        "{METADATA_CID}{root}{METADATA_PROOF_ROOT}{}{METADATA_SIZE}{}{METADATA_END}",
        facts.proof_root, facts.size
    )
}

/// Roots of one step of a whole reading of the index.
const SCANNED_MAX: usize = 64;

/// Blocks whose changes are told one by one; after more of them the news have
/// overflown, as in the node.
const NEWS_BLOCKS_MAX: usize = 4;

const METADATA_CID: &str = r#"{"data":{"cid":""#;
const METADATA_PROOF_ROOT: &str = r#"","proof_root":""#;
const METADATA_SIZE: &str = r#"","size":"#;
const METADATA_END: &str = "}}";
