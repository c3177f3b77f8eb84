//! `/v1/control/…`: what the peer's owner may ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::App;
use super::error::ApiError;

/// `GET /v1/control/peers`
pub(super) async fn peers(State(app): State<Arc<App>>) -> Json<Value> {
    let registry = app.context.chain.registry().borrow().clone();
    let infos = app.context.net.peers_info().await;
    let rows = infos.into_iter().map(|info| {
        let staked = registry.peer(&info.address);
        let roles: Vec<String> = staked
            .iter()
            .flat_map(|peer| peer.roles.keys().map(ToString::to_string))
            .collect();
        json!({
            "peer": info.address,
            "peer_id": info.peer_id.to_string(),
            "roles": roles,
            "operator": staked.as_ref().map(|peer| peer.operator),
            "agent": info.agent,
            "address": info.endpoint.to_string(),
            "transport": info.transport,
            "rtt_ms": info.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            "connected": info.connections > 0,
            "received_bytes": info.received_bytes,
            "sent_bytes": info.sent_bytes,
        })
    });
    Json(json!({ "data": rows.collect::<Vec<_>>() }))
}

/// `POST /v1/control/stop`
pub(super) async fn stop(
    State(app): State<Arc<App>>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    tracing::info!("the owner stops the peer");
    app.context.stop.cancel();
    Ok((StatusCode::ACCEPTED, Json(json!({ "stopping": true }))))
}
