//! Rows of the index in the shape that existing clients read.

use client::api::{
    Comment, ContentList, DigitalContent, ListItem, ParentTrack, Picture, PublicId, RemixOf,
    StemOf, Timestamp, User, WidePicture,
};
use protocol::id::EntityId;
use protocol::time::UnixSeconds;
use storage::index::{CommentView, ContentView, ListView, UserView};

/// A user, as clients know it.
pub(super) fn user(view: &UserView) -> User {
    let user = &view.user;
    User {
        id: PublicId(user.user_id.0),
        user_id: user.user_id.0,
        handle: user.handle.clone(),
        name: user.name.clone(),
        bio: user.bio.clone(),
        location: user.location.clone(),
        website: user.website.clone(),
        wallet: user.wallet,
        erc_wallet: user.wallet,
        profile_picture: Picture::of(user.profile_picture.as_deref()),
        profile_picture_cid: user.profile_picture.clone(),
        cover_photo: WidePicture::of(user.cover_photo.as_deref()),
        cover_photo_cid: user.cover_photo.clone(),
        artist_pick_track_id: user.artist_pick_track_id.map(public),
        follower_count: view.follower_count,
        followee_count: view.followee_count,
        track_count: view.track_count,
        playlist_count: view.playlist_count,
        album_count: view.album_count,
        repost_count: view.repost_count,
        favorite_count: view.save_count,
        is_verified: user.is_verified,
        is_deactivated: user.is_deactivated,
        is_available: !user.is_deactivated,
        created_at: time(user.created_at),
        updated_at: time(user.updated_at),
        blocknumber: user.blocknumber,
    }
}

/// A digital content with its owner.
pub(super) fn content(view: &ContentView, owner: Option<&UserView>) -> DigitalContent {
    let content = view.content.clone();
    let id = public(content.track_id);
    DigitalContent {
        id,
        track_id: content.track_id.0,
        user_id: PublicId(content.owner_id.0),
        user: owner.map(user),
        artwork: Picture::of(content.cover_art.as_deref()),
        track_cid: content.cid.clone(),
        is_streamable: !content.is_delete,
        permalink: owner.map(|owner| format!("/{}/{id}", owner.user.handle)),
        created_at: time(content.created_at),
        updated_at: time(content.updated_at),
        remix_of: remix_of(&content.remix_of),
        stem_of: content.stem_of.map(|stem| StemOf {
            category: stem.category,
            parent_track_id: public(stem.parent_track_id),
        }),
        ai_attribution_user_id: content.ai_attribution_user_id.map(|user| PublicId(user.0)),
        title: content.title,
        description: content.description,
        genre: content.genre,
        mood: content.mood,
        tags: content.tags,
        duration: content.duration,
        release_date: content.release_date,
        license: content.license,
        kind: content.kind,
        cid: content.cid,
        proof_root: content.proof_root,
        size: content.size,
        mime: content.mime,
        file_name: content.file_name,
        cover_art: content.cover_art,
        repost_count: view.repost_count,
        favorite_count: view.favorite_count,
        comment_count: view.comment_count,
        is_unlisted: content.is_unlisted,
        is_delete: content.is_delete,
        blocknumber: content.blocknumber,
        preview_cid: content.preview_cid,
        orig_file_cid: content.orig_file_cid,
        is_downloadable: content.is_downloadable,
        is_original_available: content.is_original_available,
        is_scheduled_release: content.is_scheduled_release,
        comments_disabled: content.comments_disabled,
        field_visibility: content.field_visibility,
        isrc: content.isrc,
        iswc: content.iswc,
        bpm: content.bpm,
        musical_key: content.musical_key,
        parental_warning_type: content.parental_warning_type,
        cover_original_song_title: content.cover_original_song_title,
        cover_original_artist: content.cover_original_artist,
        ddex_app: content.ddex_app,
    }
}

fn remix_of(parents: &[EntityId]) -> Option<RemixOf> {
    let tracks = parents.iter().map(|parent| ParentTrack {
        parent_track_id: public(*parent),
    });
    (!parents.is_empty()).then(|| RemixOf {
        tracks: tracks.collect(),
    })
}

/// A content list with its owner.
pub(super) fn list(view: &ListView, owner: Option<&UserView>) -> ContentList {
    let list = &view.list;
    let id = public(list.playlist_id);
    let sort = if list.is_album { "album" } else { "playlist" };
    let items = list
        .playlist_contents
        .track_ids
        .iter()
        .map(|item| ListItem {
            track_id: public(item.track),
            timestamp: item.time.0,
            metadata_timestamp: item.time.0,
        });
    ContentList {
        id,
        playlist_id: list.playlist_id.0,
        user_id: PublicId(list.playlist_owner_id.0),
        user: owner.map(user),
        playlist_name: list.playlist_name.clone(),
        description: list.description.clone(),
        is_album: list.is_album,
        is_private: list.is_private,
        is_delete: list.is_delete,
        cover_art: list.cover_art.clone(),
        artwork: Picture::of(list.cover_art.as_deref()),
        playlist_contents: items.collect(),
        track_count: view.track_count,
        repost_count: view.repost_count,
        favorite_count: view.favorite_count,
        permalink: owner.map(|owner| format!("/{}/{sort}/{id}", owner.user.handle)),
        created_at: time(list.created_at),
        updated_at: time(list.updated_at),
        blocknumber: list.blocknumber,
    }
}

/// A comment with its author.
pub(super) fn comment(view: &CommentView, author: Option<&UserView>) -> Comment {
    let comment = &view.comment;
    Comment {
        id: public(comment.comment_id),
        comment_id: comment.comment_id.0,
        user_id: PublicId(comment.user_id.0),
        user: author.map(user),
        entity_id: public(comment.entity_id),
        entity_type: "Track".to_owned(),
        message: comment.body.clone(),
        parent_comment_id: comment.parent_comment_id.map(public),
        track_timestamp_s: comment.track_timestamp_s,
        is_edited: comment.is_edited,
        created_at: time(comment.created_at),
        updated_at: time(comment.updated_at),
    }
}

const fn public(id: EntityId) -> PublicId {
    PublicId(id.0)
}

const fn time(time: UnixSeconds) -> Timestamp {
    Timestamp(time)
}
