//! The rules that every index applies to every action, in chain order.

mod comments;

use super::fields::{Comment, ContentKind, ContentList, DigitalContent, ListItem, User};
use super::metadata::{Metadata, field, read_id, read_number};
use super::roots::CidField;
use super::social::{self, Relation, Target};
use super::{
    BIO_CHARS_MAX, Change, DESCRIPTION_CHARS_MAX, EntityType, HANDLE_CHARS_MAX, HandleFault,
    ID_MAX, LIST_ITEMS_MAX, LOCATION_CHARS_MAX, Rejection, SHORT_TEXT_CHARS_MAX, TAGS_CHARS_MAX,
    TITLE_CHARS_MAX, USER_NAME_CHARS_MAX, Verb,
};
use crate::action::Action;
use crate::entry::Position;
use crate::id::{Address, EntityId, UserId};
use crate::time::UnixSeconds;

/// What the rules need to know of the index.
pub trait EntityView {
    /// A user by number.
    fn user(&self, id: UserId) -> Option<User>;
    /// The user that has a lower-case handle.
    fn user_by_handle(&self, handle: &str) -> Option<UserId>;
    /// A digital content by number, deleted or not.
    fn digital_content(&self, id: EntityId) -> Option<DigitalContent>;
    /// A content list by number, deleted or not.
    fn content_list(&self, id: EntityId) -> Option<ContentList>;
    /// A comment by number, deleted or not.
    fn comment(&self, id: EntityId) -> Option<Comment>;
    /// True while the relation stands.
    fn is_related(&self, relation: Relation, user: UserId, target: Target) -> bool;

    /// True when the user exists.
    fn has_user(&self, id: UserId) -> bool {
        self.user(id).is_some()
    }
}

/// Where in the chain an action stands, as entities record it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordedAt {
    /// Number of the block.
    pub block_number: u64,
    /// Timestamp of the block.
    pub time: UnixSeconds,
    /// [`Position::sequence`].
    pub sequence: u64,
}

impl From<&Position> for RecordedAt {
    fn from(position: &Position) -> Self {
        Self {
            block_number: position.block_number,
            time: position.block_time,
            sequence: position.sequence(),
        }
    }
}

/// Judges an action that `signer` signed: what it changes, or why nothing.
///
/// # Errors
///
/// [`Rejection`]; the caller records it and goes on.
pub fn judge<V: EntityView + ?Sized>(
    view: &V,
    action: &Action,
    signer: Address,
    at: &RecordedAt,
) -> Result<Vec<Change>, Rejection> {
    let unsupported = || Rejection::Unsupported {
        entity_type: action.entity_type.chars().take(SHOWN_CHARS_MAX).collect(),
        action: action.action.chars().take(SHOWN_CHARS_MAX).collect(),
    };
    let kind: EntityType = action.entity_type.parse().map_err(|()| unsupported())?;
    let verb: Verb = action.action.parse().map_err(|()| unsupported())?;
    let case = Case {
        view,
        action,
        signer,
        at,
    };
    match (kind, verb) {
        (EntityType::User, Verb::Create) => case.create_user(),
        (EntityType::User, Verb::Update) => case.update_user(),
        (EntityType::Track, Verb::Create) => case.create_content(),
        (EntityType::Track, Verb::Update) => case.update_content(),
        (EntityType::Track, Verb::Delete) => case.delete_content(),
        (EntityType::Playlist, Verb::Create) => case.create_list(),
        (EntityType::Playlist, Verb::Update) => case.update_list(),
        (EntityType::Playlist, Verb::Delete) => case.delete_list(),
        (EntityType::Comment, Verb::Create) => case.create_comment(),
        (EntityType::Comment, Verb::Update) => case.update_comment(),
        (EntityType::Comment, Verb::Delete) => case.delete_comment(),
        (EntityType::User, Verb::Follow | Verb::Unfollow | Verb::Subscribe | Verb::Unsubscribe)
        | (
            EntityType::Track | EntityType::Playlist,
            Verb::Save | Verb::Unsave | Verb::Repost | Verb::Unrepost,
        ) => {
            let relation = social::relation_of(verb).ok_or_else(unsupported)?;
            let target = Target {
                kind,
                id: action.entity_id,
            };
            social::judge_relation(view, action, (signer, at.block_number), target, relation)
        }
        _ => Err(unsupported()),
    }
}

/// Checks a handle and gives its lower-case form, by which it is unique.
///
/// # Errors
///
/// [`HandleFault`] says what is wrong with it.
pub fn check_handle(handle: &str) -> Result<String, HandleFault> {
    let handle = handle.to_ascii_lowercase();
    if handle.is_empty() {
        return Err(HandleFault::Empty);
    }
    if handle.chars().count() > HANDLE_CHARS_MAX {
        return Err(HandleFault::TooLong);
    }
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    if !handle.bytes().all(is_allowed) {
        return Err(HandleFault::Characters);
    }
    if RESERVED_HANDLES.contains(&handle.as_str()) {
        return Err(HandleFault::Reserved);
    }
    Ok(handle)
}

/// The user, if `signer` may do `action` for it in the block `height`: the one
/// question about signers, which the rules, relayers and holders of uploads ask
/// alike.
///
/// # Errors
///
/// [`Rejection::UnknownUser`] and [`Rejection::Signer`].
pub fn may_act<V: EntityView + ?Sized>(
    view: &V,
    user: UserId,
    signer: Address,
    action: &Action,
    height: u64,
) -> Result<User, Rejection> {
    // A user's wallet may do everything, from its first block on.
    let _ = (action, height);
    let found = view.user(user).ok_or(Rejection::UnknownUser { user })?;
    match found.wallet == signer {
        true => Ok(found),
        false => Err(Rejection::Signer { user }),
    }
}

/// As [`may_act`], for a user that has not left.
pub(super) fn acting_user<V: EntityView + ?Sized>(
    view: &V,
    signer: Address,
    action: &Action,
    height: u64,
) -> Result<User, Rejection> {
    let user = may_act(view, action.user_id, signer, action, height)?;
    if user.is_deactivated {
        return Err(Rejection::Deactivated { user: user.user_id });
    }
    Ok(user)
}

/// A digital content that was not deleted.
pub(super) fn content_of<V: EntityView + ?Sized>(
    view: &V,
    id: EntityId,
) -> Result<DigitalContent, Rejection> {
    view.digital_content(id)
        .filter(|content| !content.is_delete)
        .ok_or(Rejection::Unknown {
            kind: EntityType::Track,
            id,
        })
}

/// A content list that was not deleted.
pub(super) fn list_of<V: EntityView + ?Sized>(
    view: &V,
    id: EntityId,
) -> Result<ContentList, Rejection> {
    view.content_list(id)
        .filter(|list| !list.is_delete)
        .ok_or(Rejection::Unknown {
            kind: EntityType::Playlist,
            id,
        })
}

fn check_gates(data: &mut Metadata) -> Result<(), Rejection> {
    for field in GATE_FIELDS {
        if data.take_is_set(field) {
            return Err(Rejection::Gated { field });
        }
    }
    Ok(())
}

/// One action on its way through the rules.
struct Case<'a, V: ?Sized> {
    view: &'a V,
    action: &'a Action,
    signer: Address,
    at: &'a RecordedAt,
}

impl<V: EntityView + ?Sized> Case<'_, V> {
    fn create_user(&self) -> Result<Vec<Change>, Rejection> {
        let id = self.action.user_id;
        self.check_own_user()?;
        self.check_new_id(EntityType::User, self.view.has_user(id))?;
        let mut data = Metadata::parse(&self.action.metadata)?;
        let mut user = User {
            user_id: id,
            wallet: self.signer,
            created_at: self.at.time,
            created_sequence: self.at.sequence,
            ..User::default()
        };
        data.text(&mut user.handle, &["handle"], SHORT_TEXT_CHARS_MAX)?;
        if user.handle.is_empty() {
            return Err(Rejection::Missing { field: "handle" });
        }
        let handle = check_handle(&user.handle).map_err(|reason| Rejection::Handle {
            handle: user.handle.chars().take(SHOWN_CHARS_MAX).collect(),
            reason,
        })?;
        if self.view.user_by_handle(&handle).is_some() {
            return Err(Rejection::HandleTaken { handle });
        }
        self.fill_user(&mut user, data)?;
        if user.name.is_empty() {
            user.name.clone_from(&user.handle);
        }
        Ok(vec![Change::User(Box::new(user))])
    }

    fn update_user(&self) -> Result<Vec<Change>, Rejection> {
        self.check_own_user()?;
        let height = self.at.block_number;
        let user_id = self.action.user_id;
        let mut user = may_act(self.view, user_id, self.signer, self.action, height)?;
        let data = Metadata::parse(&self.action.metadata)?;
        self.fill_user(&mut user, data)?;
        Ok(vec![Change::User(Box::new(user))])
    }

    fn fill_user(&self, user: &mut User, mut data: Metadata) -> Result<(), Rejection> {
        data.text(&mut user.name, &["name"], USER_NAME_CHARS_MAX)?;
        data.optional_text(&mut user.bio, &["bio"], BIO_CHARS_MAX)?;
        data.optional_text(&mut user.location, &["location"], LOCATION_CHARS_MAX)?;
        data.optional_text(&mut user.website, &["website"], SHORT_TEXT_CHARS_MAX)?;
        data.optional_cid(&mut user.profile_picture, CidField::ProfilePicture)?;
        data.optional_cid(&mut user.cover_photo, CidField::CoverPhoto)?;
        let pick = user.artist_pick_track_id;
        data.optional_id(&mut user.artist_pick_track_id, "artist_pick_track_id")?;
        if user.artist_pick_track_id != pick
            && let Some(id) = user.artist_pick_track_id
        {
            self.owned_content(id)?;
        }
        data.flag(&mut user.is_deactivated, "is_deactivated")?;
        // A handle is for ever.
        data.ignore(&["handle"]);
        user.metadata_multihash = data.cid.take();
        data.keep_rest(&mut user.extra);
        user.updated_at = self.at.time;
        user.blocknumber = self.at.block_number;
        Ok(())
    }

    fn create_content(&self) -> Result<Vec<Change>, Rejection> {
        let user = self.acting_user()?;
        let id = self.action.entity_id;
        self.check_new_id(EntityType::Track, self.view.digital_content(id).is_some())?;
        let data = Metadata::parse(&self.action.metadata)?;
        let mut content = DigitalContent {
            track_id: id,
            owner_id: user.user_id,
            created_at: self.at.time,
            created_sequence: self.at.sequence,
            ..DigitalContent::default()
        };
        let has_kind = data.has("kind");
        self.fill_content(&mut content, data)?;
        if content.title.trim().is_empty() {
            return Err(Rejection::Missing { field: "title" });
        }
        if content.cid.is_empty() {
            return Err(Rejection::Missing { field: "cid" });
        }
        if !has_kind && let Some(mime) = &content.mime {
            content.kind = ContentKind::from_mime(mime);
        }
        Ok(vec![Change::DigitalContent(Box::new(content))])
    }

    fn update_content(&self) -> Result<Vec<Change>, Rejection> {
        self.acting_user()?;
        let mut content = self.owned_content(self.action.entity_id)?;
        let data = Metadata::parse(&self.action.metadata)?;
        self.fill_content(&mut content, data)?;
        if content.title.trim().is_empty() {
            return Err(Rejection::Missing { field: "title" });
        }
        Ok(vec![Change::DigitalContent(Box::new(content))])
    }

    fn delete_content(&self) -> Result<Vec<Change>, Rejection> {
        self.acting_user()?;
        let mut content = self.owned_content(self.action.entity_id)?;
        content.is_delete = true;
        content.updated_at = self.at.time;
        content.blocknumber = self.at.block_number;
        Ok(vec![Change::DigitalContent(Box::new(content))])
    }

    fn fill_content(
        &self,
        content: &mut DigitalContent,
        mut data: Metadata,
    ) -> Result<(), Rejection> {
        check_gates(&mut data)?;
        data.text(&mut content.title, &["title"], TITLE_CHARS_MAX)?;
        let mut kind = String::new();
        data.text(&mut kind, &["kind"], SHORT_TEXT_CHARS_MAX)?;
        if !kind.is_empty() {
            content.kind = ContentKind::from_name(&kind).ok_or(field(
                "kind",
                "`audio`, `video`, `image`, `document` or `other`",
            ))?;
        }
        data.cid(&mut content.cid, CidField::File)?;
        data.optional_cid(&mut content.preview_cid, CidField::Preview)?;
        data.optional_cid(&mut content.orig_file_cid, CidField::Original)?;
        data.optional_hash(&mut content.proof_root, "proof_root")?;
        data.number(&mut content.size, "size")?;
        data.optional_text(&mut content.mime, &["mime"], SHORT_TEXT_CHARS_MAX)?;
        data.optional_text(
            &mut content.file_name,
            &["file_name", "orig_filename"],
            SHORT_TEXT_CHARS_MAX,
        )?;
        data.number(&mut content.duration, "duration")?;
        if matches!(data.value("tags"), Some(serde_json::Value::Null)) {
            content.tags.clear();
        }
        data.text(&mut content.tags, &["tags"], TAGS_CHARS_MAX)?;
        data.optional_text(&mut content.genre, &["genre"], SHORT_TEXT_CHARS_MAX)?;
        data.optional_text(&mut content.mood, &["mood"], SHORT_TEXT_CHARS_MAX)?;
        data.optional_text(
            &mut content.description,
            &["description"],
            DESCRIPTION_CHARS_MAX,
        )?;
        data.optional_cid(&mut content.cover_art, CidField::CoverArt)?;
        data.optional_text(
            &mut content.release_date,
            &["release_date"],
            SHORT_TEXT_CHARS_MAX,
        )?;
        data.optional_text(&mut content.license, &["license"], SHORT_TEXT_CHARS_MAX)?;
        data.flag(&mut content.is_unlisted, "is_unlisted")?;
        content.fill_details(&mut data);
        content.metadata_multihash = data.cid.take();
        data.keep_rest(&mut content.extra);
        content.updated_at = self.at.time;
        content.blocknumber = self.at.block_number;
        Ok(())
    }

    fn create_list(&self) -> Result<Vec<Change>, Rejection> {
        let user = self.acting_user()?;
        let id = self.action.entity_id;
        self.check_new_id(EntityType::Playlist, self.view.content_list(id).is_some())?;
        let mut data = Metadata::parse(&self.action.metadata)?;
        let mut list = ContentList {
            playlist_id: id,
            playlist_owner_id: user.user_id,
            created_at: self.at.time,
            created_sequence: self.at.sequence,
            ..ContentList::default()
        };
        // Only a new list chooses what it is.
        data.flag(&mut list.is_album, "is_album")?;
        self.fill_list(&mut list, data)?;
        if list.playlist_name.trim().is_empty() {
            return Err(Rejection::Missing {
                field: "playlist_name",
            });
        }
        Ok(vec![Change::ContentList(Box::new(list))])
    }

    fn update_list(&self) -> Result<Vec<Change>, Rejection> {
        self.acting_user()?;
        let mut list = self.owned_list()?;
        let data = Metadata::parse(&self.action.metadata)?;
        self.fill_list(&mut list, data)?;
        if list.playlist_name.trim().is_empty() {
            return Err(Rejection::Missing {
                field: "playlist_name",
            });
        }
        Ok(vec![Change::ContentList(Box::new(list))])
    }

    fn delete_list(&self) -> Result<Vec<Change>, Rejection> {
        self.acting_user()?;
        let mut list = self.owned_list()?;
        list.is_delete = true;
        list.updated_at = self.at.time;
        list.blocknumber = self.at.block_number;
        Ok(vec![Change::ContentList(Box::new(list))])
    }

    fn fill_list(&self, list: &mut ContentList, mut data: Metadata) -> Result<(), Rejection> {
        check_gates(&mut data)?;
        data.text(&mut list.playlist_name, &["playlist_name"], TITLE_CHARS_MAX)?;
        data.flag(&mut list.is_private, "is_private")?;
        data.optional_text(
            &mut list.description,
            &["description"],
            DESCRIPTION_CHARS_MAX,
        )?;
        data.optional_cid(&mut list.cover_art, CidField::ListImage)?;
        if let Some(value) = data.take_value("playlist_contents") {
            let items = self.read_items(&value, list)?;
            list.playlist_contents.track_ids = items;
        }
        data.ignore(&["is_album"]);
        list.metadata_multihash = data.cid.take();
        data.keep_rest(&mut list.extra);
        list.updated_at = self.at.time;
        list.blocknumber = self.at.block_number;
        Ok(())
    }

    /// Reads `{"track_ids":[{"track":id,"time":seconds}]}`; a bare array and bare
    /// ids will do. What is new to the list must exist.
    fn read_items(
        &self,
        value: &serde_json::Value,
        list: &ContentList,
    ) -> Result<Vec<ListItem>, Rejection> {
        const EXPECTED: &str = "a list of `{\"track\":id,\"time\":seconds}`";
        let wrong = || field("playlist_contents", EXPECTED);
        let items = value.get("track_ids").unwrap_or(value);
        let items = items.as_array().ok_or_else(wrong)?;
        if items.len() > LIST_ITEMS_MAX {
            return Err(Rejection::TooLong {
                field: "playlist_contents",
                size: items.len(),
                limit: LIST_ITEMS_MAX,
                unit: "entries",
            });
        }
        let before: std::collections::BTreeMap<EntityId, UnixSeconds> = list
            .playlist_contents
            .track_ids
            .iter()
            .map(|item| (item.track, item.time))
            .collect();
        items
            .iter()
            .map(|item| {
                let id = item
                    .get("track")
                    .or_else(|| item.get("track_id"))
                    .unwrap_or(item);
                let track = read_id(id).ok_or_else(wrong)?;
                let known = before.get(&track).copied();
                if known.is_none() {
                    content_of(self.view, track)?;
                }
                let time = item.get("time").and_then(read_number).map(UnixSeconds);
                Ok(ListItem {
                    track,
                    time: time.or(known).unwrap_or(self.at.time),
                })
            })
            .collect()
    }

    /// The user of the action, if the signer may act for it and it has not left.
    fn acting_user(&self) -> Result<User, Rejection> {
        let height = self.at.block_number;
        acting_user(self.view, self.signer, self.action, height)
    }

    fn owned_content(&self, id: EntityId) -> Result<DigitalContent, Rejection> {
        let content = content_of(self.view, id)?;
        if content.owner_id != self.action.user_id {
            return Err(Rejection::Owner {
                kind: EntityType::Track,
                id,
            });
        }
        Ok(content)
    }

    fn owned_list(&self) -> Result<ContentList, Rejection> {
        let list = list_of(self.view, self.action.entity_id)?;
        if list.playlist_owner_id != self.action.user_id {
            return Err(self.not_owner(EntityType::Playlist));
        }
        Ok(list)
    }

    fn not_owner(&self, kind: EntityType) -> Rejection {
        Rejection::Owner {
            kind,
            id: self.action.entity_id,
        }
    }

    /// Users act on themselves: both ids of the action are the user's.
    fn check_own_user(&self) -> Result<(), Rejection> {
        if self.action.user_id.0 == self.action.entity_id.0 {
            return Ok(());
        }
        Err(Rejection::OtherUser {
            user: self.action.user_id,
            id: self.action.entity_id,
        })
    }

    fn check_new_id(&self, kind: EntityType, exists: bool) -> Result<(), Rejection> {
        let id = self.action.entity_id;
        if exists {
            return Err(Rejection::Exists { kind, id });
        }
        let floor = kind.id_floor();
        if id.0 < floor {
            return Err(Rejection::Floor { kind, id, floor });
        }
        if id.0 > ID_MAX {
            return Err(Rejection::Ceiling { kind, id });
        }
        Ok(())
    }
}

/// Fields that ask for gated or encrypted content, in both vocabularies.
const GATE_FIELDS: [&str; 9] = [
    "encryption",
    "gate",
    "gates",
    "is_premium",
    "premium_conditions",
    "is_stream_gated",
    "stream_conditions",
    "is_download_gated",
    "download_conditions",
];

/// Characters of hostile texts that are kept in rejections. Chosen: enough to know
/// one's own text by.
const SHOWN_CHARS_MAX: usize = 60;

/// Words that routes use, then genres and moods, which are pages too.
#[rustfmt::skip]
const RESERVED_HANDLES: &[&str] = &[
    "about", "account", "admin", "albums", "api", "artists", "authentication", "block", "blocks",
    "coliving", "comments", "content", "contents", "dashboard", "digital_contents", "discover",
    "download", "error", "explore", "favorites", "feed", "files", "gateway", "health", "health_check",
    "help", "history", "home", "index", "ipfs", "ipns", "legal", "library", "lists", "login",
    "logout", "messages", "metrics", "network", "node", "nodes", "notifications", "null", "official",
    "p2p", "peers", "playlists", "privacy", "profile", "relay", "root", "search", "settings",
    "signin", "signup", "staff", "support", "system", "terms", "tracks", "trending", "undefined",
    "upload", "uploads", "users", "v1", "vault", "wallet", "well-known",
    "acoustic", "alternative", "ambient", "audiobooks", "blues", "classical", "comedy", "country",
    "devotional", "disco", "dubstep", "electronic", "experimental", "folk", "funk", "hardstyle",
    "house", "jazz", "jungle", "kids", "latin", "metal", "podcasts", "pop", "progressive", "punk",
    "reggae", "rock", "soundtrack", "techno", "trance", "trap", "vaporwave", "world",
    "aggressive", "brooding", "cool", "defiant", "easygoing", "empowering", "energizing", "excited",
    "fiery", "gritty", "melancholy", "other", "peaceful", "romantic", "rowdy", "sensual",
    "sentimental", "serious", "sophisticated", "stirring", "tender", "upbeat", "yearning",
];
