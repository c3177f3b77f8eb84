//! Content lists, and what they hold.

use axum::extract::State;
use axum::routing::get;
use client::api::{ContentList, DigitalContent};
use protocol::id::EntityId;

use super::{Answer, Apps, Listing, read_id};
use crate::http::extract::Path;
use crate::http::route::{PAGE, Route, data, read};

#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        read("/v1/playlists/{id}", "A content list", &[], data::<ContentList>(), get(playlist)),
        read("/v1/playlists/{id}/tracks", "What a list holds, in order", PAGE, data::<Vec<DigitalContent>>(), get(playlist_tracks)),
    ]
}

async fn playlist(State(app): Apps, Path(id): Path<String>) -> Answer<ContentList> {
    let id = EntityId(read_id(&id)?);
    app.look(move |look| look.list(&look.existing_list(id)?))
        .await
}

async fn playlist_tracks(Listing { app, id, window }: Listing) -> Answer<Vec<DigitalContent>> {
    let id = EntityId(id);
    app.look(move |look| {
        look.existing_list(id)?;
        look.contents(&look.snapshot.list_contents(id, window)?)
    })
    .await
}
