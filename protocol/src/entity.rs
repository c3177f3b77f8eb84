//! What actions mean: entities, their fields and the rules that judge them.
//!
//! [`judge`] is a pure function of an action, its signer, its place in the chain
//! and a read-only view of the index. It answers with [`Change`]s or with a
//! [`Rejection`]; a rejected action is recorded and skipped, indexing goes on.

pub mod build;
mod details;
mod fields;
mod metadata;
mod roots;
mod rules;
mod social;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use fields::{
    Comment, ContentKind, ContentList, DigitalContent, ListContents, ListItem, StemOf, User,
};
pub use metadata::{metadata_cid, metadata_text};
pub use roots::{CidField, ClaimedFacts, NamedRoot, NamesRoots, roots_of};
pub use rules::{EntityView, RecordedAt, check_handle, judge, may_act};
pub use social::{Relation, Target};

use crate::action::METADATA_BYTES_MAX;
use crate::id::{EntityId, UserId};

/// What an action is about; the signed strings are the ancestor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntityType {
    /// An account of the network.
    User,
    /// A digital content of any kind.
    Track,
    /// A content list.
    Playlist,
    /// A comment on a digital content.
    Comment,
}

/// What an action does; the signed strings are the ancestor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Makes a new entity.
    Create,
    /// Changes the fields that the metadata names.
    Update,
    /// Takes an entity away for ever.
    Delete,
    /// Follows a user, and subscribes to it.
    Follow,
    /// Takes a follow and its subscription back.
    Unfollow,
    /// Saves a digital content or a list.
    Save,
    /// Takes a save back.
    Unsave,
    /// Reposts a digital content or a list.
    Repost,
    /// Takes a repost back.
    Unrepost,
    /// Asks for a user's news.
    Subscribe,
    /// Takes a subscription back.
    Unsubscribe,
}

/// What a valid action does to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new or changed user.
    User(Box<User>),
    /// A new or changed digital content; deleted ones keep their row.
    DigitalContent(Box<DigitalContent>),
    /// A new or changed content list; deleted ones keep their row.
    ContentList(Box<ContentList>),
    /// A new or changed comment; deleted ones keep their row.
    Comment(Box<Comment>),
    /// A relation that did not exist.
    Relate {
        /// The kind of relation.
        relation: Relation,
        /// The user who relates.
        user: UserId,
        /// What the user relates to.
        target: Target,
    },
    /// A relation that ends.
    Unrelate {
        /// The kind of relation.
        relation: Relation,
        /// The user who had related.
        user: UserId,
        /// What the user had related to.
        target: Target,
    },
}

/// Why an action that is on chain changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The signature does not recover a wallet.
    #[error("the action's signature does not recover a wallet")]
    Signature,
    /// No such entity type or verb.
    #[error("`{action}` of `{entity_type}` is not an action of this network")]
    Unsupported {
        /// The entity type as signed.
        entity_type: String,
        /// The verb as signed.
        action: String,
    },
    /// The user does not exist.
    #[error("user {user} does not exist; create it first")]
    UnknownUser {
        /// The user that is named.
        user: UserId,
    },
    /// The signer may not act for the user.
    #[error("the signer is not the wallet of user {user}")]
    Signer {
        /// The user that was to act.
        user: UserId,
    },
    /// The user has switched its account off.
    #[error("user {user} is deactivated; update the user first")]
    Deactivated {
        /// The user that is switched off.
        user: UserId,
    },
    /// The entity does not exist or was deleted.
    #[error("{kind} {id} does not exist")]
    Unknown {
        /// What is missing.
        kind: EntityType,
        /// The number that is named.
        id: EntityId,
    },
    /// The entity exists.
    #[error("{kind} {id} exists already; choose another id")]
    Exists {
        /// Kind of the entity.
        kind: EntityType,
        /// The number that is taken.
        id: EntityId,
    },
    /// The id is reserved for the ancestor's entities.
    #[error("{kind} id {id} is below {floor}, where new ids start")]
    Floor {
        /// Kind of the entity.
        kind: EntityType,
        /// The number that is reserved.
        id: EntityId,
        /// The lowest that is allowed.
        floor: u64,
    },
    /// The id is larger than JSON clients can carry.
    #[error("{kind} id {id} is above {ID_MAX}, the largest that clients can read")]
    Ceiling {
        /// Kind of the entity.
        kind: EntityType,
        /// The number that is too large.
        id: EntityId,
    },
    /// A user action names two users.
    #[error("user {user} cannot change user {id}")]
    OtherUser {
        /// The user who acts.
        user: UserId,
        /// Whom it names.
        id: EntityId,
    },
    /// Somebody else owns the entity.
    #[error("{kind} {id} belongs to somebody else")]
    Owner {
        /// Kind of the entity.
        kind: EntityType,
        /// The number of the entity.
        id: EntityId,
    },
    /// A handle that nobody can have.
    #[error("handle `{handle}` {reason}")]
    Handle {
        /// The handle, cut to 60 characters.
        handle: String,
        /// What is wrong with it.
        reason: HandleFault,
    },
    /// Somebody has the handle.
    #[error("handle `{handle}` is taken")]
    HandleTaken {
        /// The handle that is taken.
        handle: String,
    },
    /// The metadata is not `{"cid":…,"data":{…}}`.
    #[error("the metadata is not a JSON object with an object `data`")]
    Metadata,
    /// The metadata's `cid` is not that of its `data`.
    #[error("the metadata's `cid` is not the CID of its `data`")]
    MetadataCid,
    /// A needed field is missing.
    #[error("field `{field}` is missing or empty")]
    Missing {
        /// The field that is needed.
        field: &'static str,
    },
    /// A field has the wrong type or shape.
    #[error("field `{field}` is not {expected}")]
    Field {
        /// The field that is malformed.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A field is too long.
    #[error("field `{field}` has {size} {unit}, at most {limit} are allowed")]
    TooLong {
        /// The field that is too long.
        field: &'static str,
        /// How long it is.
        size: usize,
        /// The most bytes that it may have.
        limit: usize,
        /// Of what: characters or entries.
        unit: &'static str,
    },
    /// Gated content cannot be published.
    #[error("field `{field}` asks for gated content, which this network does not publish yet")]
    Gated {
        /// The field that asks for a gate.
        field: &'static str,
    },
    /// The relation exists.
    #[error("this was done already")]
    Duplicate {
        /// The user who relates.
        user: UserId,
        /// What the user relates to.
        target: Target,
    },
    /// The relation does not exist.
    #[error("there is nothing to take back")]
    NotRelated {
        /// The user who is to unrelate.
        user: UserId,
        /// What the user has no relation to.
        target: Target,
    },
    /// Users do not follow, save or repost themselves.
    #[error("nobody follows, saves or reposts what is their own")]
    Oneself {
        /// The user who names itself.
        user: UserId,
    },
}

/// What is wrong with a handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandleFault {
    /// It has no characters.
    Empty,
    /// More than [`HANDLE_CHARS_MAX`] characters.
    TooLong,
    /// Other characters than letters, digits, `_` and `.`.
    Characters,
    /// A word that routes and categories use.
    Reserved,
}

impl EntityType {
    /// Every type, in order.
    pub const ALL: [Self; 4] = [Self::User, Self::Track, Self::Playlist, Self::Comment];

    /// The signed string.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Track => "Track",
            Self::Playlist => "Playlist",
            Self::Comment => "Comment",
        }
    }

    /// What can be done to it, in order.
    #[must_use]
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::User => &[
                Verb::Create,
                Verb::Update,
                Verb::Follow,
                Verb::Unfollow,
                Verb::Subscribe,
                Verb::Unsubscribe,
            ],
            Self::Track | Self::Playlist => &[
                Verb::Create,
                Verb::Update,
                Verb::Delete,
                Verb::Save,
                Verb::Unsave,
                Verb::Repost,
                Verb::Unrepost,
            ],
            Self::Comment => &[Verb::Create, Verb::Update, Verb::Delete],
        }
    }

    /// The lowest id that may be created.
    #[must_use]
    pub const fn id_floor(self) -> u64 {
        match self {
            Self::User => USER_ID_MIN,
            Self::Track => DIGITAL_CONTENT_ID_MIN,
            Self::Playlist => CONTENT_LIST_ID_MIN,
            Self::Comment => 1,
        }
    }

    /// Maps any 64 random bits to an id that may be created.
    #[must_use]
    pub const fn draw_id(self, random: u64) -> u64 {
        // Ids of new entities stay below 2^31, which all known clients can read.
        self.id_floor() + random % (DRAWN_ID_MAX - self.id_floor())
    }
}

impl Verb {
    /// Every verb, in order.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Follow,
        Self::Unfollow,
        Self::Save,
        Self::Unsave,
        Self::Repost,
        Self::Unrepost,
        Self::Subscribe,
        Self::Unsubscribe,
    ];

    /// The signed string.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Follow => "Follow",
            Self::Unfollow => "Unfollow",
            Self::Save => "Save",
            Self::Unsave => "Unsave",
            Self::Repost => "Repost",
            Self::Unrepost => "Unrepost",
            Self::Subscribe => "Subscribe",
            Self::Unsubscribe => "Unsubscribe",
        }
    }
}

impl FromStr for EntityType {
    type Err = ();

    /// Reads a signed string; `DigitalContent` and `ContentList` are no such
    /// strings, so that one action has one hash.
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or(())
    }
}

impl FromStr for Verb {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.name() == text)
            .ok_or(())
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Track => "digital content",
            Self::Playlist => "content list",
            Self::Comment => "comment",
        })
    }
}

impl fmt::Display for HandleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {HANDLE_CHARS_MAX} characters"),
            Self::Characters => {
                f.write_str("has characters other than letters, digits, `_` and `.`")
            }
            Self::Reserved => f.write_str("is a reserved word"),
        }
    }
}

impl Rejection {
    /// A stable word for logs and APIs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Unsupported { .. } => "unsupported",
            Self::UnknownUser { .. } => "unknown_user",
            Self::Signer { .. } => "signer",
            Self::Deactivated { .. } => "deactivated",
            Self::Unknown { .. } => "unknown",
            Self::Exists { .. } => "exists",
            Self::Floor { .. } => "id_floor",
            Self::Ceiling { .. } => "id_ceiling",
            Self::OtherUser { .. } => "other_user",
            Self::Owner { .. } => "owner",
            Self::Handle { .. } => "handle",
            Self::HandleTaken { .. } => "handle_taken",
            Self::Metadata => "metadata",
            Self::MetadataCid => "metadata_cid",
            Self::Missing { .. } => "missing",
            Self::Field { .. } => "field",
            Self::TooLong { .. } => "too_long",
            Self::Gated { .. } => "gated",
            Self::Duplicate { .. } => "duplicate",
            Self::NotRelated { .. } => "not_related",
            Self::Oneself { .. } => "oneself",
        }
    }
}

/// The lowest id of a new user.
pub const USER_ID_MIN: u64 = 3_000_000;

/// The lowest id of a new digital content.
pub const DIGITAL_CONTENT_ID_MIN: u64 = 2_000_000;

/// The lowest id of a new content list.
pub const CONTENT_LIST_ID_MIN: u64 = 400_000;

/// The largest id: JSON clients read numbers as doubles.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Ids that clients draw stay below this.
const DRAWN_ID_MAX: u64 = 1 << 31;

/// Longest handle in characters.
pub const HANDLE_CHARS_MAX: usize = 30;

/// Longest name of a user in characters.
pub const USER_NAME_CHARS_MAX: usize = 128;

/// Longest bio in characters.
pub const BIO_CHARS_MAX: usize = 250;

/// Longest location in characters.
pub const LOCATION_CHARS_MAX: usize = 128;

/// Longest title or list name in characters.
pub const TITLE_CHARS_MAX: usize = 256;

/// Longest description in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1000;

/// Longest short text (genre, MIME type, date, CID, link) in characters.
pub const SHORT_TEXT_CHARS_MAX: usize = 256;

/// Longest comma-separated tags in characters.
pub const TAGS_CHARS_MAX: usize = 512;

/// Longest comment in characters.
pub const COMMENT_CHARS_MAX: usize = 400;

/// Most bytes of an entity's fields that have no place of their own: half of the
/// longest metadata, which leaves room for the others.
pub const EXTRA_BYTES_MAX: usize = METADATA_BYTES_MAX / 2;

/// Most digital contents in a list.
pub const LIST_ITEMS_MAX: usize = 5000;

#[cfg(test)]
mod tests;
