//! Users, and what belongs to them.

use axum::extract::State;
use axum::routing::get;
use client::api::{ContentList, DigitalContent, Favorite, FeedItem, PublicId, Repost, User};
use protocol::entity::Relation;
use protocol::id::{Address, ParseIdError, UserId};
use storage::index::PublishedBy;

use super::{Answer, Apps, Listing, Pairs, flat, read_id, shape, values, wanted_ids};
use crate::http::error::ApiError;
use crate::http::extract::{Path, Query};
use crate::http::parameters::{self as parameter, Parameter};
use crate::http::route::{PAGE, Route, data, read};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    const USERS: &[Parameter] = &[parameter::IDS_OR_NONE, parameter::WALLET];
    vec![
        read("/v1/users", "Users by id or wallet", USERS, data::<Vec<User>>(), get(users)),
        read("/v1/users/handle/{handle}", "A user by handle", &[], data::<User>(), get(user_by_handle)),
        read("/v1/users/{id}", "A user", &[], data::<User>(), get(user)),
        read("/v1/users/{id}/tracks", "What a user published, newest first", PAGE, data::<Vec<DigitalContent>>(), get(user_tracks)),
        read("/v1/users/{id}/playlists", "A user's playlists, newest first", PAGE, data::<Vec<ContentList>>(), get(user_playlists)),
        read("/v1/users/{id}/albums", "A user's albums, newest first", PAGE, data::<Vec<ContentList>>(), get(user_albums)),
        read("/v1/users/{id}/followers", "Who follows a user", PAGE, data::<Vec<User>>(), get(followers)),
        read("/v1/users/{id}/following", "Whom a user follows", PAGE, data::<Vec<User>>(), get(following)),
        read("/v1/users/{id}/favorites", "What a user saved", PAGE, data::<Vec<Favorite>>(), get(user_favorites)),
        read("/v1/users/{id}/feed", "News of those whom a user follows", PAGE, data::<Vec<FeedItem>>(), get(user_feed)),
        read("/v1/users/{id}/reposts", "What a user reposted", PAGE, data::<Vec<Repost>>(), get(user_reposts)),
    ]
}

async fn user(State(app): Apps, Path(id): Path<String>) -> Answer<User> {
    let id = UserId(read_id(&id)?);
    app.look(move |look| Ok(shape::user(&look.existing_user(id)?)))
        .await
}

async fn users(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<User>> {
    if let Some(text) = values(&pairs, "wallet").next() {
        let wallet: Address = text.parse().map_err(|error: ParseIdError| {
            ApiError::bad_request("bad_wallet", error.to_string())
        })?;
        return app
            .look(move |look| {
                let users = look.snapshot.users_by_wallet(wallet)?;
                Ok(users.iter().map(shape::user).collect())
            })
            .await;
    }
    let ids = wanted_ids(&pairs)?;
    app.look(move |look| {
        let users = ids.into_iter().map(|id| look.snapshot.user(UserId(id)));
        let users = users.collect::<Result<Vec<_>, _>>()?;
        Ok(users.iter().flatten().map(shape::user).collect())
    })
    .await
}

async fn user_by_handle(State(app): Apps, Path(handle): Path<String>) -> Answer<User> {
    app.look(move |look| {
        let found = look.snapshot.user_by_handle(&handle)?;
        let found = found.ok_or_else(|| ApiError::not_found(format!("no user `{handle}`")))?;
        Ok(shape::user(&found))
    })
    .await
}

async fn user_tracks(listing: Listing) -> Answer<Vec<DigitalContent>> {
    listing
        .of_user(|look, id, window| {
            look.contents(&look.snapshot.contents_by_owner(id, false, window)?)
        })
        .await
}

async fn user_playlists(listing: Listing) -> Answer<Vec<ContentList>> {
    user_lists(listing, false).await
}

async fn user_albums(listing: Listing) -> Answer<Vec<ContentList>> {
    user_lists(listing, true).await
}

async fn user_lists(listing: Listing, is_album: bool) -> Answer<Vec<ContentList>> {
    listing
        .of_user(move |look, id, window| {
            let lists = look
                .snapshot
                .lists_by_owner(id, Some(is_album), false, window)?;
            look.lists(&lists)
        })
        .await
}

async fn followers(listing: Listing) -> Answer<Vec<User>> {
    listing
        .of_user(|look, id, window| {
            let users = look.snapshot.followers(id, window)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

async fn following(listing: Listing) -> Answer<Vec<User>> {
    listing
        .of_user(|look, id, window| {
            let users = look.snapshot.following(id, window)?;
            Ok(users.iter().map(shape::user).collect())
        })
        .await
}

async fn user_favorites(listing: Listing) -> Answer<Vec<Favorite>> {
    listing
        .of_user(|look, id, window| {
            let saved = look.snapshot.made(Relation::Save, id, window)?;
            flat(saved.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|item| Favorite {
                    favorite_item_id: item.id(),
                    favorite_type: format!("SaveType.{}", item.item_type().name()),
                    user_id: PublicId(id.0),
                    timestamp: look.time_of(row),
                    item_type: item.item_type(),
                    item,
                }))
            }))
        })
        .await
}

async fn user_reposts(listing: Listing) -> Answer<Vec<Repost>> {
    listing
        .of_user(|look, id, window| {
            let reposted = look.snapshot.made(Relation::Repost, id, window)?;
            flat(reposted.iter().map(|row| {
                let item = look.item(row.target)?;
                Ok(item.map(|item| Repost {
                    timestamp: look.time_of(row),
                    item_type: item.item_type(),
                    item,
                }))
            }))
        })
        .await
}

async fn user_feed(listing: Listing) -> Answer<Vec<FeedItem>> {
    listing
        .of_user(|look, id, window| {
            let items = look.snapshot.feed(id, window)?;
            flat(items.iter().map(|row| {
                let item = look.item(row.target)?;
                let reposted_by = match row.by {
                    PublishedBy::Owner => None,
                    PublishedBy::Reposter(user) => Some(PublicId(user.0)),
                };
                Ok(item.map(|item| FeedItem {
                    timestamp: look.time_at(row.sequence),
                    item_type: item.item_type(),
                    reposted_by,
                    item,
                }))
            }))
        })
        .await
}
