//! Which live entities name a root in a CID field, and whose they are.
//!
//! A reference is two rows: one by its root, the oldest first, so that nobody
//! can push another's reference out of a bounded answer; one by its owner.

use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;

use protocol::entity::{CidField, ClaimedFacts, EntityType, NamesRoots};
use protocol::id::{EntityId, Hash32, UserId};

use super::view::Rows;
use super::{IndexError, Snapshot, keys};

/// A live entity that names a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Chain position of the action that named the root.
    pub sequence: u64,
    /// Whose the entity is.
    pub owner: UserId,
    /// What it is.
    pub kind: EntityType,
    /// The number of the entity.
    pub id: EntityId,
    /// The field that names the root.
    pub field: CidField,
}

/// A root that live entities name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedRoot {
    /// The root that is named.
    pub root: Cid,
    /// Who names it, the first first; of the [`REFERENCES_MAX`] oldest
    /// references.
    pub owners: Vec<UserId>,
    /// What the oldest reference that claims it says.
    pub facts: ClaimedFacts,
}

/// A root that entities of one user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnedRoot {
    /// The root that is named.
    pub root: Cid,
    /// What the user's oldest entity that claims it says.
    pub facts: ClaimedFacts,
}

/// Questions about roots.
impl Snapshot {
    /// The live entities that name a root, the oldest reference first, up to
    /// [`REFERENCES_MAX`]; none when nothing does.
    ///
    /// # Errors
    ///
    /// Database errors, here and in every query.
    pub fn references(&self, root: &Cid) -> Result<Vec<Reference>, IndexError> {
        let prefix = keys::references(root);
        self.scan(&prefix)?
            .take(REFERENCES_MAX)
            .map(|row| {
                let (key, value) = row?;
                let (_, reference, _) = read_reference(&key, &value)?;
                Ok(reference)
            })
            .collect()
    }

    /// A root with those who name it and what they claim of it; nobody when
    /// nothing names it.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::references`].
    pub fn referenced_root(&self, root: &Cid) -> Result<ReferencedRoot, IndexError> {
        let mut found = ReferencedRoot::new(*root);
        for row in self.scan(&keys::references(root))?.take(REFERENCES_MAX) {
            let (key, value) = row?;
            let (_, reference, facts) = read_reference(&key, &value)?;
            found.add(reference.owner, facts);
        }
        Ok(found)
    }

    /// Up to `limit` roots that live entities name, after one or from the first
    /// on, by the bytes of their CIDs.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::references`].
    pub fn roots_after(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<ReferencedRoot>, IndexError> {
        let mut found: Vec<ReferencedRoot> = Vec::new();
        let mut start = after.map_or_else(keys::all_references, |root| {
            keys::end_of(&keys::references(root))
        });
        let mut count = 0;
        loop {
            let mut seek = None;
            for row in self.scan_between(&start, &keys::end_of(&keys::all_references()))? {
                let (key, value) = row?;
                let (root, reference, facts) = read_reference(&key, &value)?;
                if found.last().is_none_or(|last| last.root != root) {
                    if found.len() >= limit {
                        break;
                    }
                    count = 0;
                    found.push(ReferencedRoot::new(root));
                }
                count += 1;
                if let Some(last) = found.last_mut() {
                    last.add(reference.owner, facts);
                }
                if count >= REFERENCES_MAX {
                    seek = Some(keys::end_of(&keys::references(&root)));
                    break;
                }
            }
            match seek {
                Some(next) => start = next,
                None => return Ok(found),
            }
        }
    }

    /// Up to `limit` roots that a user's live entities name, after one or from
    /// the first on, by the bytes of their CIDs.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::references`].
    pub fn roots_of_user(
        &self,
        user: UserId,
        after: Option<&Cid>,
        limit: usize,
    ) -> Result<Vec<OwnedRoot>, IndexError> {
        let all = keys::owned_references(user);
        let start = after.map_or_else(
            || all.clone(),
            |root| keys::end_of(&keys::owned_references_of(user, root)),
        );
        let mut found: Vec<OwnedRoot> = Vec::new();
        let mut oldest = u64::MAX;
        for row in self.scan_between(&start, &keys::end_of(&all))? {
            let (key, value) = row?;
            let (root, _) =
                keys::root_and_suffix(&key, all.len(), OWNED_SUFFIX_BYTES).ok_or(DAMAGED)?;
            let (sequence, facts) = decode(&value)?;
            if let Some(last) = found.last_mut()
                && last.root == root
            {
                let is_better = sequence < oldest || last.facts == ClaimedFacts::default();
                if is_better && facts != ClaimedFacts::default() {
                    (last.facts, oldest) = (facts, sequence);
                }
                continue;
            }
            if found.len() >= limit {
                break;
            }
            oldest = sequence;
            found.push(OwnedRoot { root, facts });
        }
        Ok(found)
    }
}

impl ReferencedRoot {
    const fn new(root: Cid) -> Self {
        Self {
            root,
            owners: Vec::new(),
            facts: ClaimedFacts {
                proof_root: None,
                size: None,
            },
        }
    }

    /// Takes the next reference, in order of age.
    fn add(&mut self, owner: UserId, facts: ClaimedFacts) {
        if !self.owners.contains(&owner) {
            self.owners.push(owner);
        }
        self.facts.proof_root = self.facts.proof_root.or(facts.proof_root);
        self.facts.size = self.facts.size.or(facts.size);
    }
}

/// A row to write; without a value, to remove.
pub(super) type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// The rows that change when an entity does at a chain position.
pub(super) fn changes<E: NamesRoots>(
    rows: &impl Rows,
    kind: EntityType,
    before: Option<&E>,
    after: &E,
    sequence: u64,
) -> Result<Vec<RowChange>, IndexError> {
    let old: BTreeMap<CidField, &str> = before.into_iter().flat_map(E::cids).collect();
    let new: BTreeMap<CidField, &str> = after.cids().collect();
    let fields: BTreeSet<CidField> = old.keys().chain(new.keys()).copied().collect();
    let (owner, id) = (after.owner(), after.number());
    let mut changed = Vec::new();
    for field in fields {
        let (was, is) = (old.get(&field), new.get(&field));
        let facts = after.facts(field);
        if was == is && before.is_some_and(|before| before.facts(field) == facts) {
            continue;
        }
        let mut since = sequence;
        if let Some(text) = was {
            let root = parse(text)?;
            let owned = keys::owned_reference(owner, &root, kind, id, field);
            let (number, _) = decode(&rows.row(&owned)?.ok_or(DAMAGED)?)?;
            if was == is {
                since = number;
            } else {
                changed.push((keys::reference(&root, number, kind, id, field), None));
                changed.push((owned, None));
            }
        }
        if let Some(text) = is {
            let root = parse(text)?;
            let owned = keys::owned_reference(owner, &root, kind, id, field);
            let key = keys::reference(&root, since, kind, id, field);
            changed.push((key, Some(encode(owner.0, &facts))));
            changed.push((owned, Some(encode(since, &facts))));
        }
    }
    Ok(changed)
}

/// The root whose references a row is one of.
pub(super) fn root_of_row(key: &[u8]) -> Option<Cid> {
    let start = keys::all_references().len();
    if !key.starts_with(&keys::all_references()) {
        return None;
    }
    keys::root_and_suffix(key, start, REFERENCE_SUFFIX_BYTES).map(|(root, _)| root)
}

fn read_reference(key: &[u8], value: &[u8]) -> Result<(Cid, Reference, ClaimedFacts), IndexError> {
    let start = keys::all_references().len();
    let read = || {
        let (root, suffix) = keys::root_and_suffix(key, start, REFERENCE_SUFFIX_BYTES)?;
        let (sequence, kind, id, field) = keys::reference_suffix(suffix)?;
        Some((root, sequence, kind, id, field))
    };
    let (root, sequence, kind, id, field) = read().ok_or(DAMAGED)?;
    let (owner, facts) = decode(value)?;
    let reference = Reference {
        sequence,
        owner: UserId(owner),
        kind,
        id,
        field,
    };
    Ok((root, reference, facts))
}

/// A number, the claimed size or 0, and the claimed proof root if there is one.
fn encode(number: u64, facts: &ClaimedFacts) -> Vec<u8> {
    let mut value = Vec::with_capacity(48);
    value.extend_from_slice(&number.to_be_bytes());
    value.extend_from_slice(&facts.size.unwrap_or(0).to_be_bytes());
    if let Some(Hash32(proof_root)) = &facts.proof_root {
        value.extend_from_slice(proof_root);
    }
    value
}

fn decode(value: &[u8]) -> Result<(u64, ClaimedFacts), IndexError> {
    let number = keys::number_at(value, 0).ok_or(DAMAGED)?;
    let size = keys::number_at(value, 8).ok_or(DAMAGED)?;
    let proof_root = match &value[16..] {
        [] => None,
        bytes => Some(Hash32(bytes.try_into().map_err(|_| DAMAGED)?)),
    };
    let size = Some(size).filter(|size| *size > 0);
    Ok((number, ClaimedFacts { proof_root, size }))
}

/// Entities keep the texts of CIDs only.
fn parse(text: &str) -> Result<Cid, IndexError> {
    text.parse().map_err(|_| DAMAGED)
}

const DAMAGED: IndexError = IndexError::Damaged { what: "reference" };

/// Bytes after the root in a row by root: sequence, kind, id, field.
const REFERENCE_SUFFIX_BYTES: usize = 18;

/// Bytes after the root in a row by owner: kind, id, field.
const OWNED_SUFFIX_BYTES: usize = 10;

/// Most references of one root that are told: enough to see whose it is, and one
/// read of a few pages.
pub const REFERENCES_MAX: usize = 256;

#[cfg(test)]
mod tests;
