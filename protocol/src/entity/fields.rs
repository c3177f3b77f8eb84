//! The entities as the index keeps them and as the API shows them.
//!
//! Field names are those that existing clients read. Times are Unix seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Address, EntityId, Hash32, UserId};
use crate::time::UnixSeconds;

/// An account of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's number.
    pub user_id: UserId,
    /// Its handle as written; unique without regard to case.
    pub handle: String,
    /// What it is called.
    pub name: String,
    /// The wallet that signs for it.
    pub wallet: Address,
    /// About the user.
    pub bio: Option<String>,
    /// Where the user is.
    pub location: Option<String>,
    /// URL of the user's site.
    pub website: Option<String>,
    /// CID of the profile picture.
    pub profile_picture: Option<String>,
    /// CID of the cover photo.
    pub cover_photo: Option<String>,
    /// The digital content that the user shows first.
    pub artist_pick_track_id: Option<EntityId>,
    /// Set by the user to leave.
    pub is_deactivated: bool,
    /// Set by attesters of other networks' accounts.
    pub is_verified: bool,
    /// The other fields of the metadata: a JSON object with sorted names of at
    /// most [`super::EXTRA_BYTES_MAX`], or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// CID of the last metadata, when the action named it.
    pub metadata_multihash: Option<String>,
    /// Time of the first action.
    pub created_at: UnixSeconds,
    /// Time of the last action.
    pub updated_at: UnixSeconds,
    /// Block of the last action.
    pub blocknumber: u64,
    /// Chain position of the first action.
    pub created_sequence: u64,
}

/// What a digital content is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ContentKind {
    /// Sound; a "track".
    #[default]
    #[serde(alias = "track")]
    Audio,
    /// Moving pictures: `video/*`.
    Video,
    /// A still picture: `image/*`.
    Image,
    /// Text and pages.
    Document,
    /// Anything that is none of the others.
    Other,
}

/// A published thing with metadata and a root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigitalContent {
    /// The number of the digital content.
    pub track_id: EntityId,
    /// Who published it.
    pub owner_id: UserId,
    /// The title as shown.
    pub title: String,
    /// What it is.
    pub kind: ContentKind,
    /// The root CID of the file.
    pub cid: String,
    /// BLAKE3 root that audits check slices against.
    pub proof_root: Option<Hash32>,
    /// Bytes of the file.
    pub size: u64,
    /// MIME type of the file, such as `audio/mpeg`.
    pub mime: Option<String>,
    /// The file's name at the publisher.
    pub file_name: Option<String>,
    /// Seconds of sound or video.
    pub duration: u64,
    /// Tags, separated by commas.
    pub tags: String,
    /// Genre or category.
    pub genre: Option<String>,
    /// A mood, such as `Peaceful`.
    pub mood: Option<String>,
    /// About the content.
    pub description: Option<String>,
    /// CID of the cover art.
    pub cover_art: Option<String>,
    /// When it was released, as the publisher wrote it.
    pub release_date: Option<String>,
    /// Under which licence.
    pub license: Option<String>,
    /// CID of a preview of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_cid: Option<String>,
    /// CID of what the publisher made the file from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orig_file_cid: Option<String>,
    /// The publisher lets everybody keep the file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_downloadable: bool,
    /// [`Self::orig_file_cid`] may be kept as well.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_original_available: bool,
    /// Meant for [`Self::release_date`] and not before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_scheduled_release: bool,
    /// The publisher wants no comments.
    #[serde(default, skip_serializing_if = "is_false")]
    pub comments_disabled: bool,
    /// The digital contents that it is a remix of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remix_of: Vec<EntityId>,
    /// The digital content that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem_of: Option<StemOf>,
    /// Which fields a page shows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub field_visibility: BTreeMap<String, bool>,
    /// International standard recording code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isrc: Option<String>,
    /// International standard musical work code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iswc: Option<String>,
    /// Beats per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bpm: Option<serde_json::Number>,
    /// Musical key, such as `C major`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub musical_key: Option<String>,
    /// Whether parents are warned, in the words of recording companies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parental_warning_type: Option<String>,
    /// Title of the song that it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover_original_song_title: Option<String>,
    /// Whose song it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover_original_artist: Option<String>,
    /// The app that a recording company publishes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddex_app: Option<String>,
    /// The user whose voice or style a machine learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ai_attribution_user_id: Option<UserId>,
    /// Found by link only: no lists, no feed, no search.
    pub is_unlisted: bool,
    /// Taken away by its owner.
    pub is_delete: bool,
    /// The other fields of the metadata: a JSON object with sorted names of at
    /// most [`super::EXTRA_BYTES_MAX`], or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// CID of the last metadata, when the action named it.
    pub metadata_multihash: Option<String>,
    /// Time of the first action.
    pub created_at: UnixSeconds,
    /// Time of the last action.
    pub updated_at: UnixSeconds,
    /// Block of the last action.
    pub blocknumber: u64,
    /// Chain position of the first action.
    pub created_sequence: u64,
}

/// What a stem is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StemOf {
    /// The whole that it is a part of.
    pub parent_track_id: EntityId,
    /// Which part, such as `INSTRUMENTAL`.
    pub category: String,
}

/// An ordered list of digital contents: an album or a playlist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentList {
    /// The number of the list.
    pub playlist_id: EntityId,
    /// Who made it.
    pub playlist_owner_id: UserId,
    /// The name as shown.
    pub playlist_name: String,
    /// An album rather than a playlist.
    pub is_album: bool,
    /// For its owner's eyes: no lists, no feed, no search.
    pub is_private: bool,
    /// About the list.
    pub description: Option<String>,
    /// CID of the cover art.
    pub cover_art: Option<String>,
    /// What it holds, in order.
    pub playlist_contents: ListContents,
    /// Taken away by its owner.
    pub is_delete: bool,
    /// The other fields of the metadata: a JSON object with sorted names of at
    /// most [`super::EXTRA_BYTES_MAX`], or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// CID of the last metadata, when the action named it.
    pub metadata_multihash: Option<String>,
    /// Time of the first action.
    pub created_at: UnixSeconds,
    /// Time of the last action.
    pub updated_at: UnixSeconds,
    /// Block of the last action.
    pub blocknumber: u64,
    /// Chain position of the first action.
    pub created_sequence: u64,
}

/// A list's digital contents in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListContents {
    /// The items in order.
    pub track_ids: Vec<ListItem>,
}

/// One digital content in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListItem {
    /// The digital content at this position.
    pub track: EntityId,
    /// When it was added.
    pub time: UnixSeconds,
}

/// A comment on a digital content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// The number of the comment.
    pub comment_id: EntityId,
    /// Who wrote it.
    pub user_id: UserId,
    /// The digital content.
    pub entity_id: EntityId,
    /// What it says.
    pub body: String,
    /// The comment that it answers.
    pub parent_comment_id: Option<EntityId>,
    /// Second of the sound or video that it is about.
    pub track_timestamp_s: Option<u64>,
    /// Changed after it was written.
    pub is_edited: bool,
    /// Taken away by its author.
    pub is_delete: bool,
    /// The other fields of the metadata: a JSON object with sorted names of at
    /// most [`super::EXTRA_BYTES_MAX`], or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub extra: String,
    /// Time of the first action.
    pub created_at: UnixSeconds,
    /// Time of the last action.
    pub updated_at: UnixSeconds,
    /// Block of the last action.
    pub blocknumber: u64,
    /// Chain position of the first action.
    pub created_sequence: u64,
}

impl ContentKind {
    /// The kind that a MIME type suggests.
    #[must_use]
    pub fn from_mime(mime: &str) -> Self {
        match mime.split('/').next() {
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            Some("image") => Self::Image,
            Some("text") => Self::Document,
            _ if mime == "application/pdf" || mime == "application/epub+zip" => Self::Document,
            _ => Self::Other,
        }
    }

    /// The word in metadata and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Image => "image",
            Self::Document => "document",
            Self::Other => "other",
        }
    }

    /// Reads the word; `track` is audio.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "audio" | "track" => Some(Self::Audio),
            "video" => Some(Self::Video),
            "image" => Some(Self::Image),
            "document" => Some(Self::Document),
            "other" => Some(Self::Other),
            _ => None,
        }
    }
}

impl User {
    /// True when lists and search may show the user.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        !self.is_deactivated
    }
}

impl DigitalContent {
    /// True when lists, feeds and search may show the digital content.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        !self.is_unlisted && !self.is_delete
    }
}

impl ContentList {
    /// True when lists, feeds and search may show the list.
    #[must_use]
    pub const fn is_public(&self) -> bool {
        !self.is_private && !self.is_delete
    }

    /// The ids of the digital contents in order.
    pub fn ids(&self) -> impl Iterator<Item = EntityId> {
        self.playlist_contents
            .track_ids
            .iter()
            .map(|item| item.track)
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks with a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
