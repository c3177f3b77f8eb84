//! What the index knows: users, digital contents, content lists and comments.
//!
//! Names of fields are those that existing clients read: a digital content is a
//! `track`, a content list a `playlist`.

use std::collections::BTreeMap;

use protocol::entity::ContentKind;
use protocol::id::{Address, Hash32};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::schema::{self, PublicId, Timestamp};

/// A user, as clients know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct User {
    /// Its public id.
    pub id: PublicId,
    /// The user's number.
    pub user_id: u64,
    /// Its handle as written.
    pub handle: String,
    /// What it is called.
    pub name: String,
    /// About the user.
    pub bio: Option<String>,
    /// Where the user is.
    pub location: Option<String>,
    /// URL of the user's site.
    pub website: Option<String>,
    /// The wallet that signs for it.
    #[schemars(with = "schema::Address")]
    pub wallet: Address,
    /// The same as `wallet`.
    #[schemars(with = "schema::Address")]
    pub erc_wallet: Address,
    /// Paths of the profile picture.
    pub profile_picture: Option<Picture>,
    /// CID of the profile picture.
    pub profile_picture_cid: Option<String>,
    /// Paths of the cover photo.
    pub cover_photo: Option<WidePicture>,
    /// CID of the cover photo.
    pub cover_photo_cid: Option<String>,
    /// The digital content that the user shows first.
    pub artist_pick_track_id: Option<PublicId>,
    /// How many follow it.
    pub follower_count: u64,
    /// How many it follows.
    pub followee_count: u64,
    /// Its public digital contents.
    pub track_count: u64,
    /// Its public playlists.
    pub playlist_count: u64,
    /// Its public albums.
    pub album_count: u64,
    /// What it reposted.
    pub repost_count: u64,
    /// What it saved.
    pub favorite_count: u64,
    /// Attesters of other networks' accounts vouch for it.
    pub is_verified: bool,
    /// The user has left.
    pub is_deactivated: bool,
    /// The opposite of `is_deactivated`.
    pub is_available: bool,
    /// Time of the first action.
    pub created_at: Timestamp,
    /// Time of the last action.
    pub updated_at: Timestamp,
    /// Block of the last action.
    pub blocknumber: u64,
}

/// Paths of a square picture by its size in pixels; every one is the picture as
/// it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// 150 by 150 pixels.
    #[serde(rename = "150x150")]
    pub small: String,
    /// 480 by 480 pixels.
    #[serde(rename = "480x480")]
    pub medium: String,
    /// 1000 by 1000 pixels.
    #[serde(rename = "1000x1000")]
    pub large: String,
}

/// Paths of a wide picture by its width in pixels; every one is the picture as
/// it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WidePicture {
    /// 640 pixels wide.
    #[serde(rename = "640x")]
    pub small: String,
    /// 2000 pixels wide.
    #[serde(rename = "2000x")]
    pub large: String,
}

/// A digital content; kind `audio` is what clients call a track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DigitalContent {
    /// Its public id.
    pub id: PublicId,
    /// The number of the digital content.
    pub track_id: u64,
    /// Who published it.
    pub user_id: PublicId,
    /// The same, when the index knows the user.
    pub user: Option<User>,
    /// The title as shown.
    pub title: String,
    /// About the content.
    pub description: Option<String>,
    /// Genre or category.
    pub genre: Option<String>,
    /// A mood, such as `Peaceful`.
    pub mood: Option<String>,
    /// Tags, separated by commas.
    pub tags: String,
    /// Seconds of sound or video; zero when the publisher did not say.
    pub duration: u64,
    /// When it was released, as the publisher wrote it.
    pub release_date: Option<String>,
    /// Under which licence.
    pub license: Option<String>,
    /// What it is.
    #[schemars(with = "schema::KindName")]
    pub kind: ContentKind,
    /// Root CID of the file.
    pub cid: String,
    /// The same as `cid`.
    pub track_cid: String,
    /// BLAKE3 root that audits check slices against.
    #[schemars(with = "Option<schema::Hash>")]
    pub proof_root: Option<Hash32>,
    /// Bytes of the file.
    pub size: u64,
    /// MIME type of the file, such as `audio/mpeg`.
    pub mime: Option<String>,
    /// The file's name at the publisher.
    pub file_name: Option<String>,
    /// CID of the cover art.
    pub cover_art: Option<String>,
    /// Paths of the cover art.
    pub artwork: Option<Picture>,
    /// How often it is reposted.
    pub repost_count: u64,
    /// How often it is saved.
    pub favorite_count: u64,
    /// Comments on it that live.
    pub comment_count: u64,
    /// Found by link only: no lists, no feed, no search.
    pub is_unlisted: bool,
    /// Taken away by its owner.
    pub is_delete: bool,
    /// The opposite of `is_delete`.
    pub is_streamable: bool,
    /// Its path on a page, when the index knows the user.
    pub permalink: Option<String>,
    /// Time of the first action.
    pub created_at: Timestamp,
    /// Time of the last action.
    pub updated_at: Timestamp,
    /// Block of the last action.
    pub blocknumber: u64,
    /// CID of a preview of the file.
    pub preview_cid: Option<String>,
    /// CID of what the publisher made the file from.
    pub orig_file_cid: Option<String>,
    /// The publisher lets everybody keep the file.
    pub is_downloadable: bool,
    /// What the file was made from may be kept as well.
    pub is_original_available: bool,
    /// Meant for its release date and not before.
    pub is_scheduled_release: bool,
    /// The publisher wants no comments.
    pub comments_disabled: bool,
    /// What it is a remix of.
    pub remix_of: Option<RemixOf>,
    /// What it is a part of.
    pub stem_of: Option<StemOf>,
    /// Which fields a page shows.
    pub field_visibility: BTreeMap<String, bool>,
    /// International standard recording code.
    pub isrc: Option<String>,
    /// International standard musical work code.
    pub iswc: Option<String>,
    /// Beats per minute.
    #[schemars(with = "Option<f64>")]
    pub bpm: Option<Number>,
    /// Musical key, such as `C major`.
    pub musical_key: Option<String>,
    /// Whether parents are warned, in the words of recording companies.
    pub parental_warning_type: Option<String>,
    /// Title of the song that it covers.
    pub cover_original_song_title: Option<String>,
    /// Whose song it covers.
    pub cover_original_artist: Option<String>,
    /// The app that a recording company publishes by.
    pub ddex_app: Option<String>,
    /// The user whose voice or style a machine learned from.
    pub ai_attribution_user_id: Option<PublicId>,
}

/// What a digital content is a remix of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemixOf {
    /// The originals that it is made from.
    pub tracks: Vec<ParentTrack>,
}

/// An original of a remix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentTrack {
    /// Its public id.
    pub parent_track_id: PublicId,
}

/// What a stem is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StemOf {
    /// Which part, such as `INSTRUMENTAL`.
    pub category: String,
    /// The whole that it is a part of.
    pub parent_track_id: PublicId,
}

/// A content list: a playlist or an album.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentList {
    /// Its public id.
    pub id: PublicId,
    /// The number of the list.
    pub playlist_id: u64,
    /// Who made it.
    pub user_id: PublicId,
    /// The same, when the index knows the user.
    pub user: Option<User>,
    /// The name as shown.
    pub playlist_name: String,
    /// About the list.
    pub description: Option<String>,
    /// An album rather than a playlist.
    pub is_album: bool,
    /// For its owner's eyes: no lists, no feed, no search.
    pub is_private: bool,
    /// Taken away by its owner.
    pub is_delete: bool,
    /// CID of the cover art.
    pub cover_art: Option<String>,
    /// Paths of the cover art.
    pub artwork: Option<Picture>,
    /// What it holds, in order.
    pub playlist_contents: Vec<ListItem>,
    /// How many digital contents it holds.
    pub track_count: u64,
    /// How often it is reposted.
    pub repost_count: u64,
    /// How often it is saved.
    pub favorite_count: u64,
    /// Its path on a page, when the index knows the user.
    pub permalink: Option<String>,
    /// Time of the first action.
    pub created_at: Timestamp,
    /// Time of the last action.
    pub updated_at: Timestamp,
    /// Block of the last action.
    pub blocknumber: u64,
}

/// One digital content in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListItem {
    /// Its public id.
    pub track_id: PublicId,
    /// When it was added, in Unix seconds.
    pub timestamp: u64,
    /// The same as `timestamp`.
    pub metadata_timestamp: u64,
}

/// A comment on a digital content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Comment {
    /// Its public id.
    pub id: PublicId,
    /// The number of the comment.
    pub comment_id: u64,
    /// Who wrote it.
    pub user_id: PublicId,
    /// The same, when the index knows the user.
    pub user: Option<User>,
    /// The digital content.
    pub entity_id: PublicId,
    /// What is commented on: always `Track`.
    pub entity_type: String,
    /// What it says.
    pub message: String,
    /// The comment that it answers.
    pub parent_comment_id: Option<PublicId>,
    /// Second of the sound or video that it is about.
    pub track_timestamp_s: Option<u64>,
    /// Changed after it was written.
    pub is_edited: bool,
    /// Time of the first action.
    pub created_at: Timestamp,
    /// Time of the last action.
    pub updated_at: Timestamp,
}

/// A digital content or a content list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Item {
    /// A digital content.
    DigitalContent(Box<DigitalContent>),
    /// A content list.
    ContentList(Box<ContentList>),
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemType {
    /// A digital content.
    Track,
    /// A content list that is no album.
    Playlist,
    /// A content list that is one.
    Album,
}

/// What a user saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Favorite {
    /// Public id of the item.
    pub favorite_item_id: PublicId,
    /// `SaveType.track`, `SaveType.playlist` or `SaveType.album`.
    pub favorite_type: String,
    /// Who saved it.
    pub user_id: PublicId,
    /// When, while the index remembers the block.
    pub timestamp: Option<Timestamp>,
    /// What the item is.
    pub item_type: ItemType,
    /// What was saved.
    pub item: Item,
}

/// What a user reposted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repost {
    /// When, while the index remembers the block.
    pub timestamp: Option<Timestamp>,
    /// What the item is.
    pub item_type: ItemType,
    /// What was reposted.
    pub item: Item,
}

/// News of somebody whom a user follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FeedItem {
    /// When it was published or reposted, while the index remembers the block.
    pub timestamp: Option<Timestamp>,
    /// What the item is.
    pub item_type: ItemType,
    /// Who reposted it; null when its owner published it.
    pub reposted_by: Option<PublicId>,
    /// What it is.
    pub item: Item,
}

/// What matches words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResults {
    /// Users that match.
    pub users: Vec<User>,
    /// Digital contents that match.
    pub tracks: Vec<DigitalContent>,
    /// Content lists that are no albums.
    pub playlists: Vec<ContentList>,
    /// Content lists that are.
    pub albums: Vec<ContentList>,
}

impl Picture {
    /// The paths of a published picture; none for an empty CID.
    #[must_use]
    pub fn of(cid: Option<&str>) -> Option<Self> {
        let path = path_of(cid)?;
        Some(Self {
            small: path.clone(),
            medium: path.clone(),
            large: path,
        })
    }
}

impl WidePicture {
    /// The paths of a published picture; none for an empty CID.
    #[must_use]
    pub fn of(cid: Option<&str>) -> Option<Self> {
        let path = path_of(cid)?;
        Some(Self {
            small: path.clone(),
            large: path,
        })
    }
}

fn path_of(cid: Option<&str>) -> Option<String> {
    let cid = cid.filter(|cid| !cid.is_empty())?;
    Some(format!("/ipfs/{cid}"))
}

impl ItemType {
    /// The word in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Playlist => "playlist",
            Self::Album => "album",
        }
    }
}

impl Item {
    /// What it is.
    #[must_use]
    pub fn item_type(&self) -> ItemType {
        match self {
            Self::DigitalContent(_) => ItemType::Track,
            Self::ContentList(list) if list.is_album => ItemType::Album,
            Self::ContentList(_) => ItemType::Playlist,
        }
    }

    /// Its public id.
    #[must_use]
    pub fn id(&self) -> PublicId {
        match self {
            Self::DigitalContent(content) => content.id,
            Self::ContentList(list) => list.id,
        }
    }

    /// Its title or name.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::DigitalContent(content) => &content.title,
            Self::ContentList(list) => &list.playlist_name,
        }
    }

    /// Whose it is, when the index knows the user.
    #[must_use]
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::DigitalContent(content) => content.user.as_ref(),
            Self::ContentList(list) => list.user.as_ref(),
        }
    }
}
