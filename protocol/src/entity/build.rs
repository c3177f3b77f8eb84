//! Actions as clients make them: the right strings and the right metadata.
//!
//! Ids and nonces are the caller's random numbers ([`EntityType::draw_id`]).

use serde::Serialize;

use super::fields::{ContentKind, ListItem};
use super::metadata::metadata_text;
use super::{EntityType, Relation, Target, Verb};
use crate::action::{Action, METADATA_BYTES_MAX};
use crate::id::{EntityId, Hash32, UserId};

/// Fields of a user; `None` leaves a field as it is, an empty text clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserFields {
    /// Only read when the user is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// What it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// About the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bio: Option<String>,
    /// Where the user is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// URL of the user's site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// CID of the profile picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_picture: Option<String>,
    /// CID of the cover photo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cover_photo: Option<String>,
    /// The digital content that the user shows first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artist_pick_track_id: Option<EntityId>,
    /// Leaves, or comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_deactivated: Option<bool>,
}

/// Fields of a digital content; `None` leaves a field as it is, an empty text
/// clears it. A new one needs `title` and `cid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ContentFields {
    /// The title as shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is; by default what the MIME type says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ContentKind>,
    /// The root CID of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// CID of a preview of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_cid: Option<String>,
    /// CID of what the file was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orig_file_cid: Option<String>,
    /// BLAKE3 root that audits check slices against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_root: Option<Hash32>,
    /// Bytes of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// MIME type of the file, such as `audio/mpeg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// The file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Seconds of sound or video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// Tags, separated by commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Genre or category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub genre: Option<String>,
    /// A mood, such as `Peaceful`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mood: Option<String>,
    /// About the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// CID of the cover art.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cover_art: Option<String>,
    /// When it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_date: Option<String>,
    /// Under which licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Found by link only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_unlisted: Option<bool>,
}

/// Fields of a content list; `None` leaves a field as it is, an empty text
/// clears it. A new one needs `playlist_name`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ListFields {
    /// The name as shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playlist_name: Option<String>,
    /// An album; only read when the list is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_album: Option<bool>,
    /// For its owner's eyes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_private: Option<bool>,
    /// About the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// CID of the cover art.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cover_art: Option<String>,
    /// All items in order: an update replaces the whole list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playlist_contents: Option<Items>,
}

/// A list's items in metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Items {
    /// With times, as existing clients write them.
    Timed {
        /// The items in order, each with its time.
        track_ids: Vec<ListItem>,
    },
    /// Ids alone, for long lists; known items keep their times.
    Ids(Vec<EntityId>),
}

/// Fields of a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommentFields {
    /// What it says.
    pub body: String,
    /// The digital content.
    pub entity_id: EntityId,
    /// What is commented on: always `Track`.
    pub entity_type: EntityType,
    /// The comment that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_comment_id: Option<EntityId>,
    /// Second of the sound or video that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track_timestamp_s: Option<u64>,
}

/// Makes actions of one user.
#[derive(Debug, Clone, Copy)]
pub struct Builder {
    /// On whose behalf.
    pub user: UserId,
    /// Makes the action unique; a fresh random number each time.
    pub nonce: Hash32,
}

impl Builder {
    /// Creates the user itself; `fields.handle` is needed.
    #[must_use]
    pub fn create_user(self, fields: &UserFields) -> Action {
        let id = EntityId(self.user.0);
        self.action(EntityType::User, id, Verb::Create, metadata_text(fields))
    }

    /// Changes the user's fields.
    #[must_use]
    pub fn update_user(self, fields: &UserFields) -> Action {
        let id = EntityId(self.user.0);
        self.action(EntityType::User, id, Verb::Update, metadata_text(fields))
    }

    /// Publishes a digital content; `title` and `cid` are needed.
    #[must_use]
    pub fn create_digital_content(self, id: EntityId, fields: &ContentFields) -> Action {
        self.action(EntityType::Track, id, Verb::Create, metadata_text(fields))
    }

    /// Changes a digital content.
    #[must_use]
    pub fn update_digital_content(self, id: EntityId, fields: &ContentFields) -> Action {
        self.action(EntityType::Track, id, Verb::Update, metadata_text(fields))
    }

    /// Takes a digital content away.
    #[must_use]
    pub fn delete_digital_content(self, id: EntityId) -> Action {
        self.action(EntityType::Track, id, Verb::Delete, String::new())
    }

    /// Makes a content list; `playlist_name` is needed.
    #[must_use]
    pub fn create_content_list(self, id: EntityId, fields: &ListFields) -> Action {
        self.action(EntityType::Playlist, id, Verb::Create, list_text(fields))
    }

    /// Changes a content list.
    #[must_use]
    pub fn update_content_list(self, id: EntityId, fields: &ListFields) -> Action {
        self.action(EntityType::Playlist, id, Verb::Update, list_text(fields))
    }

    /// Takes a content list away.
    #[must_use]
    pub fn delete_content_list(self, id: EntityId) -> Action {
        self.action(EntityType::Playlist, id, Verb::Delete, String::new())
    }

    /// Comments on a digital content.
    #[must_use]
    pub fn create_comment(self, id: EntityId, fields: &CommentFields) -> Action {
        self.action(EntityType::Comment, id, Verb::Create, metadata_text(fields))
    }

    /// Changes what a comment says.
    #[must_use]
    pub fn update_comment(self, id: EntityId, fields: &CommentFields) -> Action {
        self.action(EntityType::Comment, id, Verb::Update, metadata_text(fields))
    }

    /// Takes a comment away.
    #[must_use]
    pub fn delete_comment(self, id: EntityId) -> Action {
        self.action(EntityType::Comment, id, Verb::Delete, String::new())
    }

    /// Follows, subscribes, saves or reposts.
    #[must_use]
    pub fn relate(self, relation: Relation, target: Target) -> Action {
        let verb = match relation {
            Relation::Follow => Verb::Follow,
            Relation::Subscribe => Verb::Subscribe,
            Relation::Save => Verb::Save,
            Relation::Repost => Verb::Repost,
        };
        self.action(target.kind, target.id, verb, String::new())
    }

    /// Takes a relation back.
    #[must_use]
    pub fn unrelate(self, relation: Relation, target: Target) -> Action {
        let verb = match relation {
            Relation::Follow => Verb::Unfollow,
            Relation::Subscribe => Verb::Unsubscribe,
            Relation::Save => Verb::Unsave,
            Relation::Repost => Verb::Unrepost,
        };
        self.action(target.kind, target.id, verb, String::new())
    }

    /// Follows a user.
    #[must_use]
    pub fn follow(self, user: UserId) -> Action {
        self.relate(Relation::Follow, Target::user(user))
    }

    /// Takes a follow back.
    #[must_use]
    pub fn unfollow(self, user: UserId) -> Action {
        self.unrelate(Relation::Follow, Target::user(user))
    }

    fn action(self, kind: EntityType, id: EntityId, verb: Verb, metadata: String) -> Action {
        Action {
            user_id: self.user,
            entity_type: kind.name().to_owned(),
            entity_id: id,
            action: verb.name().to_owned(),
            metadata,
            nonce: self.nonce,
        }
    }
}

impl CommentFields {
    /// A comment on a digital content.
    #[must_use]
    pub const fn new(entity_id: EntityId, body: String) -> Self {
        Self {
            body,
            entity_id,
            entity_type: EntityType::Track,
            parent_comment_id: None,
            track_timestamp_s: None,
        }
    }
}

/// The metadata of a list; the times of a long list's items stay at home, so
/// that twice as many and more fit one action.
fn list_text(fields: &ListFields) -> String {
    let text = metadata_text(fields);
    match &fields.playlist_contents {
        Some(Items::Timed { track_ids }) if text.len() > METADATA_BYTES_MAX => {
            metadata_text(&ListFields {
                playlist_contents: Some(Items::Ids(
                    track_ids.iter().map(|item| item.track).collect(),
                )),
                ..fields.clone()
            })
        }
        _ => text,
    }
}
