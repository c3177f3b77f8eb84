//! `POST /authentication` and `GET /authentication?lookupKey=`, as hedgehog
//! clients send them.

use std::str::FromStr;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use client::api::{Data, SignedVaultFields, VaultAccepted, VaultFields};
use protocol::id::Hash32;
use protocol::signing::{Signature, Signed};
use protocol::time::UnixSeconds;
use protocol::vault::{Entry, HedgehogRecord, PROVISIONAL_SECONDS, Refusal, VaultError};
use serde::Deserialize;

use super::VaultHandle;
use crate::http::access::Caller;
use crate::http::error::ApiError;
use crate::http::extract::{JsonBytes, Query};

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(rename = "lookupKey")]
    lookup_key: Option<String>,
    #[serde(default)]
    all: bool,
}

/// The routes; any peer serves them.
pub fn routes(vault: VaultHandle) -> Router {
    Router::new()
        .route("/authentication", get(read).post(write))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(vault)
}

async fn read(
    State(vault): State<VaultHandle>,
    Query(wanted): Query<Wanted>,
    extensions: Extensions,
) -> Result<Response, ApiError> {
    let key: Hash32 = wanted
        .lookup_key
        .as_deref()
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| {
            ApiError::bad_request("lookup_key", "`lookupKey` is not 64 hexadecimal digits")
        })?;
    let entries = vault
        .get_for(Some(Caller::of(&extensions).origin()), key)
        .await?;
    if wanted.all {
        let data: Vec<SignedVaultFields> = entries.iter().map(full_record).collect();
        return Ok(Json(Data { data }).into_response());
    }
    match entries.first() {
        Some(entry) => Ok(Json(record_of(entry)).into_response()),
        None => Err(ApiError::not_found("there is no record of this lookup key")
            .with_hint("user name or password is another one, or the user never signed up")),
    }
}

async fn write(
    State(vault): State<VaultHandle>,
    extensions: Extensions,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Json<VaultAccepted>, ApiError> {
    let record: VaultFields = serde_json::from_slice(&body).map_err(|error| {
        ApiError::bad_request("body", format!("the record cannot be read: {error}"))
            .with_hint("the fields are iv, cipherText and lookupKey")
    })?;
    let now = vault.context.clock.now().unix();
    let record = HedgehogRecord::from(record);
    let entry = entry_of(&record, &headers, now)?;
    let ends_in_seconds = entry.signature.is_none().then_some(PROVISIONAL_SECONDS);
    vault
        .put_for(Some(Caller::of(&extensions).origin()), entry)
        .await?;
    Ok(Json(VaultAccepted {
        lookup_key: record.lookup_key,
        ends_in_seconds,
    }))
}

/// The record of a body and its signature headers; without them it is a
/// provisional sign-up.
fn entry_of(
    record: &HedgehogRecord,
    headers: &HeaderMap,
    now: UnixSeconds,
) -> Result<Entry, ApiError> {
    let entry = record.sign_up(now).map_err(VaultError::from)?;
    // What cannot be read is refused also where nothing is signed.
    let signature: Option<Signature> = header(headers, "x-coliving-signature")?;
    let wallet = header(headers, "x-coliving-wallet")?;
    let version = header(headers, "x-coliving-version")?;
    let replaces = header(headers, "x-coliving-replaces")?;
    let Some(signature) = signature else {
        return Ok(entry);
    };
    let missing = |name: &str| {
        ApiError::bad_request(
            "header",
            format!("the header `{name}` is missing beside `X-Coliving-Signature`"),
        )
    };
    let mut record = entry.record;
    record.wallet = wallet.ok_or_else(|| missing("X-Coliving-Wallet"))?;
    record.version = version.ok_or_else(|| missing("X-Coliving-Version"))?;
    record.replaces = replaces.unwrap_or(Hash32::ZERO);
    Ok(Entry::signed(Signed { record, signature }, None, now))
}

fn header<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let read = value.to_str().ok().and_then(|text| text.parse().ok());
    read.map(Some).ok_or_else(|| {
        ApiError::bad_request("header", format!("the header `{name}` cannot be read"))
    })
}

fn record_of(entry: &Entry) -> VaultFields {
    HedgehogRecord::from(&entry.record).into()
}

fn full_record(entry: &Entry) -> SignedVaultFields {
    SignedVaultFields {
        record: record_of(entry),
        wallet: entry.record.wallet,
        version: entry.record.version,
        replaces: entry.record.replaces,
        signature: entry.signature,
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        let message = error.to_string();
        match error {
            VaultError::Refused(Refusal::Busy {
                retry_after_seconds,
            }) => Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message)
                .with_retry_after(retry_after_seconds),
            VaultError::Refused(Refusal::Signature) => Self::bad_request("signature", message),
            VaultError::Refused(Refusal::Malformed { .. } | Refusal::Scheme { .. }) => {
                Self::bad_request("record", message)
            }
            VaultError::Refused(Refusal::Buried | Refusal::Full | Refusal::Taken)
            | VaultError::Outdated { .. } => Self::new(StatusCode::CONFLICT, "conflict", message),
            VaultError::Refused(Refusal::Elsewhere | Refusal::NoRoom)
            | VaultError::Unavailable { .. } => {
                Self::unavailable("quorum", message).with_retry_after(15)
            }
        }
    }
}

/// Longest body: a record of 64 bytes of cipher text takes 300.
const BODY_BYTES_MAX: usize = 4096;
