//! Which roots something published names, and against whose quota they count.

use std::collections::BTreeMap;

use cid::Cid;

use crate::id::UserId;
use crate::time::UnixSeconds;

/// What the index says of one root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The root that is named.
    pub root: Cid,
    /// Whose live things name it in a CID field; nobody when none does.
    pub owners: Vec<Owner>,
}

/// A user whose quota a root counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The user whose quota it is.
    pub user: UserId,
    /// When the user was created.
    pub created: UnixSeconds,
    /// Added to the user's quota by verification, allow-list or stake.
    pub extra_bytes: u64,
}

/// The roots that something names, as far as the index was read.
#[derive(Debug, Default)]
pub(super) struct References {
    roots: BTreeMap<Cid, Live>,
    /// Bytes of each user's roots that are promised here.
    stored: BTreeMap<UserId, u64>,
    generation: u64,
}

#[derive(Debug)]
struct Live {
    owners: Vec<Owner>,
    /// Bytes that count against the owners; 0 while the root is not promised.
    counted: u64,
    /// The last reading of the index that named it.
    generation: u64,
}

impl References {
    pub(super) fn contains(&self, root: &Cid) -> bool {
        self.roots.contains_key(root)
    }

    pub(super) fn len(&self) -> usize {
        self.roots.len()
    }

    /// Takes what the index says; true when the root is named and was not.
    pub(super) fn set(&mut self, reference: Reference) -> bool {
        let Reference { root, mut owners } = reference;
        owners.truncate(OWNERS_MAX);
        let before = self.roots.remove(&root);
        let counted = before.as_ref().map_or(0, |live| live.counted);
        if let Some(live) = &before {
            self.count(live.owners.iter(), counted, false);
        }
        if owners.is_empty() {
            return false;
        }
        self.count(owners.iter(), counted, true);
        let live = Live {
            owners,
            counted,
            generation: self.generation,
        };
        self.roots.insert(root, live);
        before.is_none()
    }

    /// Counts a root against its owners, as it is here: `bytes` while it is
    /// promised, 0 when it is not.
    pub(super) fn note_held(&mut self, root: &Cid, bytes: u64) {
        let Some(live) = self.roots.get_mut(root) else {
            return;
        };
        let before = std::mem::replace(&mut live.counted, bytes);
        let owners = live.owners.clone();
        self.count(owners.iter(), before, false);
        self.count(owners.iter(), bytes, true);
    }

    /// Bytes of the user's roots that are promised here.
    pub(super) fn stored(&self, user: UserId) -> u64 {
        self.stored.get(&user).copied().unwrap_or(0)
    }

    /// True when one of a root's owners has room for `bytes` of it.
    pub(super) fn covers(
        &self,
        root: &Cid,
        bytes: u64,
        limit: impl Fn(&Owner) -> Option<u64>,
    ) -> bool {
        self.contains(root) && bytes <= self.room(root, limit)
    }

    /// Bytes that the owner with the most room has room for.
    pub(super) fn room(&self, root: &Cid, limit: impl Fn(&Owner) -> Option<u64>) -> u64 {
        let Some(live) = self.roots.get(root) else {
            return 0;
        };
        let of_owner = |owner: &Owner| {
            let others = self.stored(owner.user).saturating_sub(live.counted);
            limit(owner).map_or(u64::MAX, |limit| limit.saturating_sub(others))
        };
        live.owners.iter().map(of_owner).max().unwrap_or(0)
    }

    /// Begins to read the whole index again.
    pub(super) fn begin_reading(&mut self) {
        self.generation += 1;
    }

    /// The roots that the last whole reading did not name.
    pub(super) fn unnamed(&self) -> Vec<Cid> {
        let is_old = |(_, live): &(&Cid, &Live)| live.generation < self.generation;
        let old = self.roots.iter().filter(is_old);
        old.map(|(root, _)| *root).collect()
    }

    /// True when each user's bytes are those of its roots.
    pub(super) fn are_counted(&self) -> bool {
        let mut stored: BTreeMap<UserId, u64> = BTreeMap::new();
        for live in self.roots.values().filter(|live| live.counted > 0) {
            for owner in &live.owners {
                *stored.entry(owner.user).or_default() += live.counted;
            }
        }
        stored == self.stored
    }

    fn count<'a>(&mut self, owners: impl Iterator<Item = &'a Owner>, bytes: u64, is_added: bool) {
        if bytes == 0 {
            return;
        }
        for owner in owners {
            let stored = self.stored.entry(owner.user).or_default();
            *stored = match is_added {
                true => stored.saturating_add(bytes),
                false => stored.saturating_sub(bytes),
            };
            if *stored == 0 {
                self.stored.remove(&owner.user);
            }
        }
    }
}

/// Owners of one root that are counted: whoever names somebody else's file pays
/// for it too, and a few are enough to keep it.
const OWNERS_MAX: usize = 8;
