//! What the index makes of the chain's entries, as far as the content role asks:
//! who names which root.

use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;
use protocol::content::repair::RootFacts;
use protocol::entry::Entry;
use protocol::id::{EntityId, UserId};
use protocol::time::UnixSeconds;

use crate::host::published_root;

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

    fn alive(&self) -> impl Iterator<Item = &Thing> {
        self.things.values().filter(|thing| thing.is_alive)
    }
}
