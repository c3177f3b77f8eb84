//! How the peer is doing and who it is.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::api::{
    ActionFormat, ChainHealth, ContentHealth, Health, IndexHealth, NodeInfo, RepairHealth,
    ReturningHealth, StorageHealth, WellKnown,
};
use protocol::amount::Dgc;
use protocol::content::{Returning, Status};
use protocol::id::Role;
use protocol::time::Moment;

use super::App;
use crate::{directory, metrics};

/// `GET /health`
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let context = &app.context;
    let chain = context.chain.status().borrow().clone();
    let height = *context.index.height().borrow();
    let registry = context.chain.registry().borrow().clone();
    let is_light = context.config.is_light();
    let ready = !context.stop.is_cancelled() && (is_light || chain.followed.is_some());
    let stats = context.store.stats();
    let final_block = chain.final_block.map(|block| block.number);
    let stake = registry
        .peer(&context.peer)
        .and_then(|peer| registry.operator(&peer.operator))
        .map(|operator| operator.stake.to_string());
    let content = app.content.as_ref();
    let balance = balance(&app).await;
    let body = Health {
        live: true,
        ready,
        version: VERSION.to_owned(),
        peer: context.peer,
        peer_id: context.net.local().peer_id.to_string(),
        roles: roles(&app),
        chain: ChainHealth {
            connected: chain.connected,
            chain_id: context.contracts.chain_id,
            head: chain.head.map(|block| block.number),
            final_block,
            error: chain.error,
            stalled_since: chain.stalled_since,
            endpoints: context.chain.endpoints(),
        },
        index: IndexHealth {
            height: height.block_number,
            entries: height.entries,
            error: context.index.fault().borrow().clone(),
            // Blocks without entries leave no trace in the index itself.
            lag_blocks: final_block.map(|number| {
                let settled = *context.index.settled().borrow();
                number.saturating_sub(settled.max(height.block_number))
            }),
        },
        storage: StorageHealth {
            used: stats.live_bytes,
            capacity: stats.store_bytes_max,
        },
        content: content
            .map(|content| content_health(&content.status().borrow(), context.clock.now())),
        peers: context.net.connected().borrow().len(),
        stake,
        balance,
    };
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(body)).into_response()
}

/// How the content role is.
fn content_health(status: &Status, now: Moment) -> ContentHealth {
    let repair = &status.repair;
    ContentHealth {
        promised: status.promised,
        uploads: status.uploads,
        ended: status.ended,
        repair: RepairHealth {
            roots: repair.roots,
            queued: repair.queued,
            fetching: repair.fetching,
            starved: repair.starved,
            lost: repair.lost,
        },
        returning: status.returning.as_ref().map(|returning| ReturningHealth {
            promised: returning.promised,
            missing: returning.missing.len() - returning.waiting,
            waiting: returning.waiting,
            signs_from: returning.signs_from(),
            text: returning_text(returning, now),
        }),
    }
}

/// The return from a backup, for people.
fn returning_text(returning: &Returning, now: Moment) -> String {
    let (promised, waiting) = (returning.promised, returning.waiting);
    let missing = returning.missing.len() - waiting;
    let roots = match returning.is_inspecting {
        true => format!("it looks up which of {promised} promised roots are whole"),
        false => {
            format!(
                "{missing} of {promised} promised roots are to be fetched, {waiting} are here and wait to be promised anew"
            )
        }
    };
    let from = returning.signs_from();
    if now.unix() >= from {
        return format!("restored from a backup: {roots}");
    }
    let at = UNIX_EPOCH + Duration::from_secs(from.0);
    let at = humantime::format_rfc3339_seconds(at);
    format!("restored from a backup: {roots}; no lease and no page is signed before {at}")
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.context.metrics.encode();
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// `GET /.well-known/coliving`
pub(super) async fn well_known(State(app): State<Arc<App>>) -> Json<WellKnown> {
    Json(directory::well_known(&app.context, &app.url))
}

/// `GET /v1/node`
pub(super) async fn node(State(app): State<Arc<App>>) -> Json<NodeInfo> {
    let context = &app.context;
    let registry = context.chain.registry().borrow().clone();
    Json(NodeInfo {
        peer: context.peer,
        peer_id: context.net.local().peer_id.to_string(),
        name: context.config.name.clone(),
        version: VERSION.to_owned(),
        roles: roles(&app),
        operator: registry.peer(&context.peer).map(|peer| peer.operator),
        url: app.url.clone(),
        chain_id: context.contracts.chain_id,
        contracts: context.contracts,
        action_format: ActionFormat::new(context.contracts.action_domain()),
        addresses: directory::addresses(context),
    })
}

fn roles(app: &App) -> Vec<Role> {
    app.context.config.roles.iter().copied().collect()
}

/// What the hot key can spend on transactions, in whole coins; asked for at
/// most every [`BALANCE_INTERVAL`], `None` while the chain is away.
async fn balance(app: &App) -> Option<String> {
    let now = app.context.clock.now();
    let mut kept = app.balance.lock().await;
    if let Some((at, text)) = &*kept
        && now.saturating_since(*at) < BALANCE_INTERVAL
    {
        return Some(text.clone());
    }
    if !app.context.chain.status().borrow().connected {
        return None;
    }
    let asked = app.context.chain.client().balance(app.context.peer);
    let wei = tokio::time::timeout(BALANCE_TIMEOUT, asked)
        .await
        .ok()?
        .ok()?;
    // Coins and tokens have eighteen decimals alike.
    let text = Dgc(wei).to_string();
    *kept = Some((now, text.clone()));
    Some(text)
}

/// The balance and when it was asked for.
pub(super) type Balance = tokio::sync::Mutex<Option<(Moment, String)>>;

/// The software's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A balance is asked for again after this time: anybody may ask for the answer.
const BALANCE_INTERVAL: Duration = Duration::from_secs(15);

/// How long an answer waits for it; it is left out then.
const BALANCE_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
