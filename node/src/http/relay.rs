//! `POST /relay` and `GET /relay/{digest}`.

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, StatusCode};
use axum::routing::{get, post};
use client::api::{ActionBody, Number, RelayAnswer, Relayed};
use protocol::action::{Action, ActionDomain, SignedAction};
use protocol::author::{RelayError, RelayStatus, SPELLING, needs_proof, wrong_spelling};
use protocol::hashid;
use protocol::id::{Address, EntityId, Hash32, UserId};
use protocol::relayer::{self, Refusal, RefusalCode, Request, Response};
use protocol::signing::Signature;

use super::access::Caller;
use super::error::ApiError;
use super::extract::{JsonBytes, Path};
use crate::author::{self, AuthorHandle};

/// The public routes: a relayer answers everybody; another peer passes on what its
/// owner sends.
pub fn routes(relay: AuthorHandle) -> Router {
    Router::new()
        .route("/relay", post(submit))
        .route("/relay/{digest}", get(status))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(relay)
}

/// The owner's routes, without the check of the token: actions go to the
/// relayers in rank order.
pub fn control_routes(relay: AuthorHandle) -> Router {
    Router::new()
        .route("/v1/control/relay", post(send))
        .route("/v1/control/relay/{digest}", get(status))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(relay)
}

async fn submit(
    State(relay): State<AuthorHandle>,
    extensions: Extensions,
    JsonBytes(body): JsonBytes,
) -> Result<Json<RelayAnswer>, ApiError> {
    let caller = Caller::of(&extensions);
    let (action, proof) = parse(&relay, &body)?;
    let Some(local) = relay.local() else {
        if !caller.is_owner() {
            return Err(ApiError::role_absent("identity"));
        }
        return answer(relay.send_with_proof(action, proof).await?);
    };
    let domain = relay.context().contracts.action_domain();
    author::check_signer(relay.context(), &action)?;
    let digest = action.action.digest(&domain);
    let proof = match proof {
        // The peer's owner pays for the gas anyway.
        None if caller.is_owner() && needs_proof(&action) => {
            let bits = relayer::Config::new(domain).proof_bits;
            Some(author::solve(digest, bits).await)
        }
        proof => proof,
    };
    let request = Request::Submit {
        action: Box::new(action),
        proof,
        token: None,
    };
    match local.ask(request, caller.origin()).await {
        Ok(Response::Accepted { digest, status }) => answer(RelayStatus::of(digest, &status)),
        Ok(Response::Refused(refusal)) => Err(RelayError::Refused(refusal).into()),
        Ok(Response::Unknown) => Err(RelayError::Unknown { digest }.into()),
        Err(error) => Err(ApiError::unavailable("stopping", error.to_string())),
    }
}

async fn send(
    State(relay): State<AuthorHandle>,
    JsonBytes(body): JsonBytes,
) -> Result<Json<RelayAnswer>, ApiError> {
    let (action, proof) = parse(&relay, &body)?;
    answer(relay.send_with_proof(action, proof).await?)
}

async fn status(
    State(relay): State<AuthorHandle>,
    Path(digest): Path<String>,
) -> Result<Json<Relayed>, ApiError> {
    let digest: Hash32 = digest
        .parse()
        .map_err(|error| ApiError::bad_request("digest", format!("{error}")))?;
    Ok(Json(relay.status(digest).await?.into()))
}

fn answer(status: RelayStatus) -> Result<Json<RelayAnswer>, ApiError> {
    Ok(Json(RelayAnswer {
        digest: status.digest,
        state: status.state.into(),
    }))
}

/// Reads the JSON of a signed action and, if given, its proof of work.
fn parse(relay: &AuthorHandle, body: &[u8]) -> Result<(SignedAction, Option<u64>), ApiError> {
    let body: ActionBody = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request("body", format!("the action cannot be read: {error}"))
            .with_hint(BODY_HINT)
    })?;
    verified(body, &relay.context().contracts.action_domain())
}

/// The signed action, when `wallet` signed it or is not given, and its proof of
/// work.
///
/// # Errors
///
/// [`ApiError`] names the field that is wrong.
pub(super) fn verified(
    body: ActionBody,
    domain: &ActionDomain,
) -> Result<(SignedAction, Option<u64>), ApiError> {
    let (proof, wallet) = (body.proof, body.wallet.clone());
    let action = into_action(body)?;
    let Some(wallet) = wallet else {
        return Ok((action, proof));
    };
    let wallet: Address = wallet
        .parse()
        .map_err(|error| ApiError::bad_request("wallet", format!("`wallet`: {error}")))?;
    let signer = action.signer(domain).map_err(RelayError::from)?;
    if signer == wallet {
        return Ok((action, proof));
    }
    let message = format!("the signature recovers {signer}, `wallet` is {wallet}");
    let hint = match wrong_spelling(&action, domain, wallet) {
        true => SPELLING,
        false => "",
    };
    Err(ApiError::bad_request("signature", message).with_hint(hint))
}

/// The signed action that the fields spell.
fn into_action(body: ActionBody) -> Result<SignedAction, ApiError> {
    let bad = |field: &'static str, reason: String| {
        ApiError::bad_request(field, format!("`{field}`: {reason}"))
    };
    let nonce = body
        .nonce
        .parse()
        .map_err(|error| bad("nonce", format!("{error}")))?;
    let digits = body.signature.trim_start_matches("0x");
    let mut signature = [0; 65];
    hex::decode_to_slice(digits, &mut signature).map_err(|_| {
        let reason = "not 130 hexadecimal digits after `0x`".to_owned();
        bad("signature", reason)
    })?;
    // Some signers give the recovery id itself.
    if signature[64] < 27 {
        signature[64] += 27;
    }
    Ok(SignedAction {
        action: Action {
            user_id: UserId(read_number(&body.user_id, "userId")?),
            entity_type: body.entity_type,
            entity_id: EntityId(read_number(&body.entity_id, "entityId")?),
            action: body.action,
            metadata: body.metadata,
            nonce,
        },
        signature: Signature(signature),
    })
}

fn read_number(number: &Number, field: &'static str) -> Result<u64, ApiError> {
    match number {
        Number::Plain(number) => Some(*number),
        Number::Text(text) => hashid::parse(text),
    }
    .ok_or_else(|| {
        ApiError::bad_request(field, format!("`{field}` is neither a number nor a hashid"))
    })
}

impl From<RelayError> for ApiError {
    fn from(error: RelayError) -> Self {
        let message = error.to_string();
        match error {
            RelayError::Action(_) => Self::bad_request("action", message),
            RelayError::Signer { hint, .. } => {
                Self::bad_request("signature", message).with_hint(hint)
            }
            RelayError::Refused(refusal) => refused(&refusal),
            RelayError::Unknown { .. } => Self::not_found(message),
            RelayError::Full { .. } => Self::unavailable("busy", message).with_retry_after(15),
            RelayError::Store(error) => Self::internal(&error),
            RelayError::Stopped => Self::unavailable("stopping", message),
        }
    }
}

fn refused(refusal: &Refusal) -> ApiError {
    let (status, code, hint) = match refusal.code {
        RefusalCode::Signature => (StatusCode::BAD_REQUEST, "signature", ""),
        RefusalCode::NotAllowed => (
            StatusCode::FORBIDDEN,
            "not_allowed",
            "`action_format` of `/v1/node` lists the actions that are relayed",
        ),
        RefusalCode::Simulation => (StatusCode::UNPROCESSABLE_ENTITY, "simulation", ""),
        RefusalCode::Proof => (
            StatusCode::BAD_REQUEST,
            "proof",
            "send the number as `proof` beside the action",
        ),
        RefusalCode::Budget => (
            StatusCode::TOO_MANY_REQUESTS,
            "budget",
            "try another relayer, or later",
        ),
        RefusalCode::Quota => (StatusCode::TOO_MANY_REQUESTS, "quota", "try again later"),
        RefusalCode::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "try another relayer, or later",
        ),
    };
    let error = ApiError::new(status, code, refusal.reason.clone()).with_hint(hint);
    match refusal.retry_after_seconds {
        Some(seconds) => error.with_retry_after(seconds),
        None => error,
    }
}

/// Longest body: metadata of 15 KiB whose characters JSON escapes.
const BODY_BYTES_MAX: usize = 64 * 1024;

const BODY_HINT: &str =
    "the fields are userId, entityType, entityId, action, metadata, nonce and signature";
