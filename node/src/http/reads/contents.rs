//! Digital contents, and what belongs to them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use client::api::{Comment, DigitalContent, User};
use protocol::entity::{Relation, Target};
use protocol::hashid;
use protocol::id::EntityId;

use super::{Answer, Apps, Listing, Pairs, flat, read_id, shape, wanted_ids, window};
use crate::http::error::ApiError;
use crate::http::extract::{Path, Query};
use crate::http::parameters::{self as parameter, Parameter};
use crate::http::route::{Body, PAGE, Route, data, read};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    const IDS: &[Parameter] = &[parameter::IDS];
    vec![
        read("/v1/tracks", "Digital contents by id", IDS, data::<Vec<DigitalContent>>(), get(tracks)),
        read("/v1/tracks/latest", "The newest digital contents", PAGE, data::<Vec<DigitalContent>>(), get(latest_tracks)),
        read("/v1/tracks/{id}", "A digital content", &[], data::<DigitalContent>(), get(track)),
        read("/v1/tracks/{id}/comments", "Comments, newest first", PAGE, data::<Vec<Comment>>(), get(track_comments)),
        read("/v1/tracks/{id}/favorites", "Who saved a digital content", PAGE, data::<Vec<User>>(), get(track_favorites)),
        read("/v1/tracks/{id}/reposts", "Who reposted a digital content", PAGE, data::<Vec<User>>(), get(track_reposts)),
        read("/v1/tracks/{id}/stream", "Redirects to the file", &[], Body::Nothing, get(track_stream))
            .instead(302),
    ]
}

async fn track(State(app): Apps, Path(id): Path<String>) -> Answer<DigitalContent> {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.content(&look.existing_content(id)?))
        .await
}

async fn tracks(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<DigitalContent>> {
    let ids = wanted_ids(&pairs)?;
    app.look(move |look| {
        let found = ids
            .into_iter()
            .map(|id| look.snapshot.content(EntityId(id)))
            .collect::<Result<Vec<_>, _>>()?;
        let there = found.into_iter().flatten();
        let there: Vec<_> = there.filter(|view| !view.content.is_delete).collect();
        look.contents(&there)
    })
    .await
}

async fn latest_tracks(State(app): Apps, Query(pairs): Pairs) -> Answer<Vec<DigitalContent>> {
    let window = window(&pairs)?;
    app.look(move |look| look.contents(&look.snapshot.latest_contents(window)?))
        .await
}

async fn track_comments(listing: Listing) -> Answer<Vec<Comment>> {
    listing
        .of_content(|look, id, window| {
            let comments = look.snapshot.comments(id, window)?;
            comments.iter().map(|view| look.comment(view)).collect()
        })
        .await
}

async fn track_favorites(listing: Listing) -> Answer<Vec<User>> {
    related_users(listing, Relation::Save).await
}

async fn track_reposts(listing: Listing) -> Answer<Vec<User>> {
    related_users(listing, Relation::Repost).await
}

async fn related_users(listing: Listing, relation: Relation) -> Answer<Vec<User>> {
    listing
        .of_content(move |look, id, window| {
            let target = Target::content(id);
            let rows = look.snapshot.received(relation, target, window)?;
            flat(rows.iter().map(|row| {
                let found = look.snapshot.user(row.user_id)?;
                Ok(found.as_ref().map(shape::user))
            }))
        })
        .await
}

/// Sends a player to the file.
async fn track_stream(State(app): Apps, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id = EntityId(read_id(&id)?);
    let found = app
        .look(move |look| Ok(look.existing_content(id)?.content.cid))
        .await?;
    let cid = found.0.data;
    // The file is of the type that this content says.
    let content = hashid::encode(id.0);
    let target = HeaderValue::from_str(&format!("/ipfs/{cid}?content={content}"))
        .map_err(|error| ApiError::internal(&error))?;
    Ok((StatusCode::FOUND, [(header::LOCATION, target)]).into_response())
}
