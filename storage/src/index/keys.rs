//! Keys of the state table: a letter, then big-endian numbers, so that a range
//! scan is in the order that queries want.

use cid::Cid;

use protocol::entity::{CidField, EntityType, Relation, Target};
use protocol::id::{Address, EntityId, Hash32, UserId};

/// Builds a key.
pub(super) struct Key(Vec<u8>);

impl Key {
    fn new(letter: u8) -> Self {
        let mut bytes = Vec::with_capacity(40);
        bytes.push(letter);
        Self(bytes)
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

pub(super) const fn kind_byte(kind: EntityType) -> u8 {
    match kind {
        EntityType::User => b'u',
        EntityType::Track => b't',
        EntityType::Playlist => b'p',
        EntityType::Comment => b'c',
    }
}

pub(super) const fn kind_of(byte: u8) -> Option<EntityType> {
    match byte {
        b'u' => Some(EntityType::User),
        b't' => Some(EntityType::Track),
        b'p' => Some(EntityType::Playlist),
        b'c' => Some(EntityType::Comment),
        _ => None,
    }
}

const fn field_byte(field: CidField) -> u8 {
    match field {
        CidField::File => b'f',
        CidField::Preview => b'p',
        CidField::Original => b'o',
        CidField::CoverArt => b'c',
        CidField::ListImage => b'l',
        CidField::ProfilePicture => b'u',
        CidField::CoverPhoto => b'w',
    }
}

fn field_of(byte: u8) -> Option<CidField> {
    let mut fields = CidField::ALL.into_iter();
    fields.find(|field| field_byte(*field) == byte)
}

const fn relation_byte(relation: Relation) -> u8 {
    match relation {
        Relation::Follow => b'f',
        Relation::Subscribe => b'b',
        Relation::Save => b's',
        Relation::Repost => b'r',
    }
}

/// An entity's row.
pub(super) fn entity(kind: EntityType, id: u64) -> Vec<u8> {
    Key::new(b'E').byte(kind_byte(kind)).number(id).0
}

/// All rows of entities of a kind.
pub(super) fn entities(kind: EntityType) -> Vec<u8> {
    Key::new(b'E').byte(kind_byte(kind)).0
}

/// An entity's counts.
pub(super) fn counts(kind: EntityType, id: u64) -> Vec<u8> {
    Key::new(b'N').byte(kind_byte(kind)).number(id).0
}

/// A lower-case handle's user.
pub(super) fn handle(handle: &str) -> Vec<u8> {
    Key::new(b'H').bytes(handle.as_bytes()).0
}

/// A wallet's users.
pub(super) fn wallet(wallet: Address) -> Vec<u8> {
    Key::new(b'W').bytes(&wallet.0).0
}

/// One user of a wallet.
pub(super) fn wallet_user(owner: Address, user: UserId) -> Vec<u8> {
    Key(wallet(owner)).number(user.0).0
}

/// A root's digital contents; the root is its CID's text.
pub(super) fn root(cid: &str) -> Vec<u8> {
    Key::new(b'C').bytes(cid.as_bytes()).byte(0).0
}

/// One digital content of a root.
pub(super) fn root_content(cid: &str, id: EntityId) -> Vec<u8> {
    Key(root(cid)).number(id.0).0
}

/// All references to roots, by root.
pub(super) fn all_references() -> Vec<u8> {
    Key::new(b'I').0
}

/// A root's references, oldest first. No CID's bytes begin another's.
pub(super) fn references(root: &Cid) -> Vec<u8> {
    Key::new(b'I').bytes(&root.to_bytes()).0
}

/// One reference to a root.
pub(super) fn reference(
    root: &Cid,
    sequence: u64,
    kind: EntityType,
    id: EntityId,
    field: CidField,
) -> Vec<u8> {
    Key(references(root))
        .number(sequence)
        .byte(kind_byte(kind))
        .number(id.0)
        .byte(field_byte(field))
        .0
}

/// The references that an owner's entities make, by root.
pub(super) fn owned_references(owner: UserId) -> Vec<u8> {
    Key::new(b'J').number(owner.0).0
}

/// The references to a root that an owner's entities make.
pub(super) fn owned_references_of(owner: UserId, root: &Cid) -> Vec<u8> {
    Key(owned_references(owner)).bytes(&root.to_bytes()).0
}

/// One reference of an owner's entity to a root.
pub(super) fn owned_reference(
    owner: UserId,
    root: &Cid,
    kind: EntityType,
    id: EntityId,
    field: CidField,
) -> Vec<u8> {
    Key(owned_references_of(owner, root))
        .byte(kind_byte(kind))
        .number(id.0)
        .byte(field_byte(field))
        .0
}

/// The root that begins at `start`, and the bytes after it.
pub(super) fn root_and_suffix(key: &[u8], start: usize, suffix: usize) -> Option<(Cid, &[u8])> {
    let (root, suffix) = key
        .get(start..)?
        .split_at_checked(key.len() - start - suffix)?;
    Some((Cid::try_from(root).ok()?, suffix))
}

/// Reads sequence, kind, id and field at the end of a [`reference`] key.
pub(super) fn reference_suffix(suffix: &[u8]) -> Option<(u64, EntityType, EntityId, CidField)> {
    Some((
        number_at(suffix, 0)?,
        kind_of(*suffix.get(8)?)?,
        EntityId(number_at(suffix, 9)?),
        field_of(*suffix.get(17)?)?,
    ))
}

/// What an owner made, oldest first.
pub(super) fn owned(kind: EntityType, owner: UserId) -> Vec<u8> {
    Key::new(b'O').byte(kind_byte(kind)).number(owner.0).0
}

/// One thing of an owner.
pub(super) fn owned_one(kind: EntityType, owner: UserId, sequence: u64, id: EntityId) -> Vec<u8> {
    Key(owned(kind, owner)).number(sequence).number(id.0).0
}

/// What everybody may see, oldest first.
pub(super) fn public(kind: EntityType) -> Vec<u8> {
    Key::new(b'L').byte(kind_byte(kind)).0
}

/// One thing that everybody may see.
pub(super) fn public_one(kind: EntityType, sequence: u64, id: EntityId) -> Vec<u8> {
    Key(public(kind)).number(sequence).number(id.0).0
}

/// A digital content's comments, oldest first.
pub(super) fn comments(content: EntityId) -> Vec<u8> {
    Key::new(b'M').number(content.0).0
}

/// One comment of a digital content.
pub(super) fn comments_one(content: EntityId, sequence: u64, id: EntityId) -> Vec<u8> {
    Key(comments(content)).number(sequence).number(id.0).0
}

/// A relation; its value is the sequence of its making.
pub(super) fn relation(relation: Relation, user: UserId, target: Target) -> Vec<u8> {
    Key::new(b'R')
        .byte(relation_byte(relation))
        .number(user.0)
        .byte(kind_byte(target.kind))
        .number(target.id.0)
        .0
}

/// A user's relations of one sort, oldest first.
pub(super) fn made(relation: Relation, user: UserId) -> Vec<u8> {
    Key::new(b'F')
        .byte(relation_byte(relation))
        .number(user.0)
        .0
}

/// One relation of a user.
pub(super) fn made_one(sort: Relation, user: UserId, sequence: u64, target: Target) -> Vec<u8> {
    Key(made(sort, user))
        .number(sequence)
        .byte(kind_byte(target.kind))
        .number(target.id.0)
        .0
}

/// A target's relations of one sort, oldest first.
pub(super) fn received(relation: Relation, target: Target) -> Vec<u8> {
    Key::new(b'G')
        .byte(relation_byte(relation))
        .byte(kind_byte(target.kind))
        .number(target.id.0)
        .0
}

/// One relation of a target.
pub(super) fn received_one(sort: Relation, target: Target, sequence: u64, user: UserId) -> Vec<u8> {
    Key(received(sort, target))
        .number(sequence)
        .number(user.0)
        .0
}

/// All rejected entries, oldest first.
pub(super) fn rejected() -> Vec<u8> {
    Key::new(b'X').0
}

/// One rejected entry.
pub(super) fn rejected_one(sequence: u64) -> Vec<u8> {
    Key(rejected()).number(sequence).0
}

/// Entries of the actions with a digest.
pub(super) fn digest(digest: &Hash32) -> Vec<u8> {
    Key::new(b'D').bytes(&digest.0).0
}

/// The entry of an action with a digest, by signer.
pub(super) fn digest_one(of: &Hash32, signer: &Address) -> Vec<u8> {
    Key(digest(of)).bytes(&signer.0).0
}

/// The first key after all that begin with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The number that starts `at` bytes into the key.
pub(super) fn number_at(key: &[u8], at: usize) -> Option<u64> {
    let bytes = key.get(at..at + 8)?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The entity whose row stands under a key; `None` for every other key.
pub(super) fn entity_at(key: &[u8]) -> Option<(EntityType, u64)> {
    match key {
        [b'E', kind, ..] => Some((kind_of(*kind)?, number_at(key, 2)?)),
        _ => None,
    }
}

/// Reads the sequence and the id at the end of a listing key.
pub(super) fn sequence_and_id(key: &[u8], prefix: usize) -> Option<(u64, u64)> {
    Some((number_at(key, prefix)?, number_at(key, prefix + 8)?))
}

/// Reads the sequence and the target at the end of a [`made_one`] key.
pub(super) fn sequence_and_target(key: &[u8], prefix: usize) -> Option<(u64, Target)> {
    Some((
        number_at(key, prefix)?,
        Target {
            kind: kind_of(*key.get(prefix + 8)?)?,
            id: EntityId(number_at(key, prefix + 9)?),
        },
    ))
}
