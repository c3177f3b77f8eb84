//! Roots: what keeps blocks.

use std::collections::BTreeMap;

use cid::Cid;
use protocol::time::UnixSeconds;

use super::index::{IndexTransaction, RootRow};
use super::{BlockReader, BlockStore, BlockStoreError, Digest, Holding, Key, Owner, cid_of};

/// What is known of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootInfo {
    /// The root that is held.
    pub root: Cid,
    /// Why it is held, and until when.
    pub holdings: BTreeMap<Holding, Option<UnixSeconds>>,
    /// How many blocks it lists.
    pub blocks: u64,
    /// When it was last used.
    pub used: UnixSeconds,
}

/// What listing blocks under a root came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RootListed {
    /// How many blocks the root lists.
    pub blocks: u64,
    /// How many of those that were named are not there.
    pub missing: u64,
}

impl BlockReader {
    /// What is known of a root; `None` when nothing holds it.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn root(&self, root: &Cid) -> Result<Option<RootInfo>, BlockStoreError> {
        let row = self.shared.index.root(&root_key(root))?;
        Ok(row.map(|row| info(*root, row)))
    }

    /// All roots that are held for `holding`, or for any reason.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn roots(&self, holding: Option<Holding>) -> Result<Vec<RootInfo>, BlockStoreError> {
        let mut roots = Vec::new();
        self.shared.index.for_each_root(|root, row| {
            let wanted = holding.is_none_or(|holding| row.holdings.contains_key(&holding));
            if let (true, Ok(root)) = (wanted, Cid::try_from(root)) {
                roots.push(info(root, row));
            }
        })?;
        Ok(roots)
    }

    /// Up to `count_max` of the blocks that a root lists, after `after`, in
    /// order of their hash.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn listed_after(
        &self,
        root: &Cid,
        after: Option<&Cid>,
        count_max: usize,
    ) -> Result<Vec<Cid>, BlockStoreError> {
        let Some(row) = self.shared.index.root(&root_key(root))? else {
            return Ok(Vec::new());
        };
        let after = match after.map(Key::of) {
            Some(Ok(Key::Stored(digest))) => Some(digest),
            _ => None,
        };
        let members = self
            .shared
            .index
            .members_after(row.id, after.as_ref(), count_max)?;
        Ok(members
            .iter()
            .map(|(digest, codec)| cid_of(digest, *codec))
            .collect())
    }
}

impl BlockStore {
    /// Holds `owner.root` for a reason and lists `cids` under it, beside what
    /// it lists already. Blocks that are not there may be listed; they are kept
    /// when they come.
    ///
    /// # Errors
    ///
    /// What the index says; then nothing has changed.
    pub fn add_root(
        &mut self,
        owner: &Owner,
        cids: &[Cid],
        now: UnixSeconds,
    ) -> Result<RootListed, BlockStoreError> {
        let members = stored(cids)?;
        self.transact(|index| {
            let mut row = hold(index, owner, now)?;
            let mut missing = 0;
            for (digest, codec) in &members {
                row.blocks += u64::from(index.list(row.id, digest, *codec)?);
                let there = index.row(digest)?.is_some_and(|row| row.location.is_some());
                missing += u64::from(!there);
            }
            index.put_root(&root_key(&owner.root), &row)?;
            Ok(RootListed {
                blocks: row.blocks,
                missing,
            })
        })
    }

    /// Takes one reason for holding a root away; with the last one the root
    /// goes, and every block that no other root lists. True when there was
    /// such a reason.
    ///
    /// # Errors
    ///
    /// What the index says; then nothing has changed.
    pub fn remove_root(&mut self, root: &Cid, holding: Holding) -> Result<bool, BlockStoreError> {
        let key = root_key(root);
        if !self
            .reader()
            .root(root)?
            .is_some_and(|info| info.holdings.contains_key(&holding))
        {
            return Ok(false);
        }
        self.transact(|index| release(index, &key, |held, _| held == holding))?;
        Ok(true)
    }

    /// Takes away every reason that lapsed before `now`; answers how many
    /// roots lost one.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn expire_roots(&mut self, now: UnixSeconds) -> Result<usize, BlockStoreError> {
        let mut lapsed = Vec::new();
        self.shared().index.for_each_root(|root, row| {
            let any = row.holdings.values().flatten().any(|expiry| *expiry < now);
            if any && lapsed.len() < EXPIRED_AT_ONCE_MAX {
                lapsed.push(root.to_vec());
            }
        })?;
        for root in &lapsed {
            self.transact(|index| {
                release(index, root, |_, expiry| {
                    expiry.is_some_and(|expiry| expiry < now)
                })
            })?;
        }
        Ok(lapsed.len())
    }

    /// Drops blocks that were put before `before` and that no root claimed;
    /// answers how many.
    ///
    /// # Errors
    ///
    /// What the index says.
    pub fn sweep_loose(&mut self, before: UnixSeconds) -> Result<usize, BlockStoreError> {
        let loose = self.shared().index.loose(before, SWEPT_AT_ONCE_MAX)?;
        if loose.is_empty() {
            return Ok(0);
        }
        self.transact(|index| {
            for digest in &loose {
                index.displace(digest)?;
            }
            Ok(loose.len())
        })
    }
}

/// Adds the reason to the root's row, which the caller puts back.
pub(super) fn hold(
    index: &mut IndexTransaction<'_>,
    owner: &Owner,
    now: UnixSeconds,
) -> Result<RootRow, BlockStoreError> {
    let mut row = match index.root(&root_key(&owner.root))? {
        Some(row) => row,
        None => {
            index.totals.root_id_next += 1;
            RootRow {
                id: index.totals.root_id_next,
                ..RootRow::default()
            }
        }
    };
    row.holdings.insert(owner.holding, owner.expiry);
    row.used = row.used.max(now);
    Ok(row)
}

/// Takes away the reasons that `goes` names, and the root with the last one.
pub(super) fn release(
    index: &mut IndexTransaction<'_>,
    root: &[u8],
    goes: impl Fn(Holding, Option<UnixSeconds>) -> bool,
) -> Result<(), BlockStoreError> {
    let Some(mut row) = index.root(root)? else {
        return Ok(());
    };
    row.holdings
        .retain(|holding, expiry| !goes(*holding, *expiry));
    if row.holdings.is_empty() {
        index.remove_root(root)
    } else {
        index.put_root(root, &row)
    }
}

/// One root whether it is written as CIDv0 or CIDv1.
pub(super) fn root_key(root: &Cid) -> Vec<u8> {
    Cid::new_v1(root.codec(), *root.hash()).to_bytes()
}

fn stored(cids: &[Cid]) -> Result<Vec<(Digest, u64)>, BlockStoreError> {
    let mut members = Vec::with_capacity(cids.len());
    for cid in cids {
        if let Key::Stored(digest) = Key::of(cid)? {
            members.push((digest, cid.codec()));
        }
    }
    members.sort_unstable();
    members.dedup_by_key(|(digest, _)| *digest);
    Ok(members)
}

fn info(root: Cid, row: RootRow) -> RootInfo {
    RootInfo {
        root,
        holdings: row.holdings,
        blocks: row.blocks,
        used: row.used,
    }
}

/// Roots that one call takes. Chosen: writers wait for it; the caller comes again.
const EXPIRED_AT_ONCE_MAX: usize = 1024;

/// Loose blocks that one call takes. Chosen: as above; a row each.
const SWEPT_AT_ONCE_MAX: usize = 4096;
