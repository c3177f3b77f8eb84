//! Entities in the shape that existing clients read.

use std::time::{Duration, UNIX_EPOCH};

use protocol::entity::DigitalContent;
use protocol::hashid;
use protocol::id::EntityId;
use protocol::time::UnixSeconds;
use serde_json::{Value, json};
use storage::index::{CommentView, ContentView, ListView, UserView};

/// A user.
pub(super) fn user(view: &UserView) -> Value {
    let user = &view.user;
    json!({
        "id": hashid::encode(user.user_id.0),
        "user_id": user.user_id.0,
        "handle": user.handle,
        "name": user.name,
        "bio": user.bio,
        "location": user.location,
        "website": user.website,
        "wallet": user.wallet,
        "erc_wallet": user.wallet,
        "profile_picture": picture(user.profile_picture.as_deref(), &SQUARES),
        "profile_picture_cid": user.profile_picture,
        "cover_photo": picture(user.cover_photo.as_deref(), &WIDE),
        "cover_photo_cid": user.cover_photo,
        "artist_pick_track_id": user.artist_pick_track_id.map(|id| hashid::encode(id.0)),
        "follower_count": view.follower_count,
        "followee_count": view.followee_count,
        "track_count": view.track_count,
        "playlist_count": view.playlist_count,
        "album_count": view.album_count,
        "repost_count": view.repost_count,
        "favorite_count": view.save_count,
        "is_verified": user.is_verified,
        "is_deactivated": user.is_deactivated,
        "is_available": !user.is_deactivated,
        "created_at": time(user.created_at),
        "updated_at": time(user.updated_at),
        "blocknumber": user.blocknumber,
    })
}

/// A digital content with its owner.
pub(super) fn content(view: &ContentView, owner: Option<&UserView>) -> Value {
    let content = &view.content;
    let id = hashid::encode(content.track_id.0);
    let mut shaped = json!({
        "id": id,
        "track_id": content.track_id.0,
        "user_id": hashid::encode(content.owner_id.0),
        "user": owner.map(user),
        "title": content.title,
        "description": content.description,
        "genre": content.genre,
        "mood": content.mood,
        "tags": content.tags,
        "duration": content.duration,
        "release_date": content.release_date,
        "license": content.license,
        "kind": content.kind,
        "cid": content.cid,
        "track_cid": content.cid,
        "proof_root": content.proof_root,
        "size": content.size,
        "mime": content.mime,
        "file_name": content.file_name,
        "cover_art": content.cover_art,
        "artwork": picture(content.cover_art.as_deref(), &SQUARES),
        "repost_count": view.repost_count,
        "favorite_count": view.favorite_count,
        "comment_count": view.comment_count,
        "is_unlisted": content.is_unlisted,
        "is_delete": content.is_delete,
        "is_streamable": !content.is_delete,
        "permalink": owner.map(|owner| format!("/{}/{id}", owner.user.handle)),
        "created_at": time(content.created_at),
        "updated_at": time(content.updated_at),
        "blocknumber": content.blocknumber,
    });
    if let (Value::Object(fields), Value::Object(details)) = (&mut shaped, details(content)) {
        fields.extend(details);
    }
    shaped
}

/// What a digital content's publisher says beyond what everybody says.
fn details(content: &DigitalContent) -> Value {
    let id = |id: u64| hashid::encode(id);
    let parent = |parent: &EntityId| json!({"parent_track_id": id(parent.0)});
    let parents: Vec<Value> = content.remix_of.iter().map(parent).collect();
    json!({
        "preview_cid": content.preview_cid,
        "orig_file_cid": content.orig_file_cid,
        "is_downloadable": content.is_downloadable,
        "is_original_available": content.is_original_available,
        "is_scheduled_release": content.is_scheduled_release,
        "comments_disabled": content.comments_disabled,
        "remix_of": (!parents.is_empty()).then(|| json!({"tracks": parents})),
        "stem_of": content.stem_of.as_ref().map(|stem| {
            json!({"category": stem.category, "parent_track_id": id(stem.parent_track_id.0)})
        }),
        "field_visibility": content.field_visibility,
        "isrc": content.isrc,
        "iswc": content.iswc,
        "bpm": content.bpm,
        "musical_key": content.musical_key,
        "parental_warning_type": content.parental_warning_type,
        "cover_original_song_title": content.cover_original_song_title,
        "cover_original_artist": content.cover_original_artist,
        "ddex_app": content.ddex_app,
        "ai_attribution_user_id": content.ai_attribution_user_id.map(|user| id(user.0)),
    })
}

/// A content list with its owner.
pub(super) fn list(view: &ListView, owner: Option<&UserView>) -> Value {
    let list = &view.list;
    let id = hashid::encode(list.playlist_id.0);
    let sort = if list.is_album { "album" } else { "playlist" };
    let items = list.playlist_contents.track_ids.iter().map(|item| {
        json!({
            "track_id": hashid::encode(item.track.0),
            "timestamp": item.time,
            "metadata_timestamp": item.time,
        })
    });
    json!({
        "id": id,
        "playlist_id": list.playlist_id.0,
        "user_id": hashid::encode(list.playlist_owner_id.0),
        "user": owner.map(user),
        "playlist_name": list.playlist_name,
        "description": list.description,
        "is_album": list.is_album,
        "is_private": list.is_private,
        "is_delete": list.is_delete,
        "cover_art": list.cover_art,
        "artwork": picture(list.cover_art.as_deref(), &SQUARES),
        "playlist_contents": items.collect::<Vec<_>>(),
        "track_count": view.track_count,
        "repost_count": view.repost_count,
        "favorite_count": view.favorite_count,
        "permalink": owner.map(|owner| format!("/{}/{sort}/{id}", owner.user.handle)),
        "created_at": time(list.created_at),
        "updated_at": time(list.updated_at),
        "blocknumber": list.blocknumber,
    })
}

/// A comment with its author.
pub(super) fn comment(view: &CommentView, author: Option<&UserView>) -> Value {
    let comment = &view.comment;
    json!({
        "id": hashid::encode(comment.comment_id.0),
        "comment_id": comment.comment_id.0,
        "user_id": hashid::encode(comment.user_id.0),
        "user": author.map(user),
        "entity_id": hashid::encode(comment.entity_id.0),
        "entity_type": "Track",
        "message": comment.body,
        "parent_comment_id": comment.parent_comment_id.map(|id| hashid::encode(id.0)),
        "track_timestamp_s": comment.track_timestamp_s,
        "is_edited": comment.is_edited,
        "created_at": time(comment.created_at),
        "updated_at": time(comment.updated_at),
    })
}

/// A time as clients parse it.
pub(super) fn time(time: UnixSeconds) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(time.0.min(TIME_MAX)));
    humantime::format_rfc3339_seconds(at.unwrap_or(UNIX_EPOCH)).to_string()
}

/// Paths of a picture by its size; every size is the picture as it was published.
fn picture(cid: Option<&str>, sizes: &[&str]) -> Option<Value> {
    let cid = cid.filter(|cid| !cid.is_empty())?;
    let paths = sizes
        .iter()
        .map(|size| ((*size).to_owned(), json!(format!("/ipfs/{cid}"))));
    Some(Value::Object(paths.collect()))
}

const SQUARES: [&str; 3] = ["150x150", "480x480", "1000x1000"];
const WIDE: [&str; 2] = ["640x", "2000x"];

/// The last second that can be written with four digits of a year.
const TIME_MAX: u64 = 253_402_300_799;
