//! Parts of a request, whose faults are errors like all others.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request, rejection};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// What the path of the request names.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// The query of the request.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

/// A body that says that it is JSON: a page of another origin can send such a one only
/// after its browser has asked for leave.
#[derive(Debug)]
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let media = request.headers().get(header::CONTENT_TYPE);
        let media = media
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case(JSON) {
            let message = format!("the body has the content type `{essence}`");
            let error = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message);
            return Err(error.with_hint("send it with `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|error| ApiError::new(error.status(), "body", error.body_text()));
        bytes.map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Path::from_request_parts(parts, state).await;
        let found: Result<_, rejection::PathRejection> = found;
        let axum::extract::Path(found) =
            found.map_err(|error| ApiError::bad_request("bad_path", error.body_text()))?;
        Ok(Self(found))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Query::from_request_parts(parts, state).await;
        let axum::extract::Query(found) = found.map_err(|error: rejection::QueryRejection| {
            ApiError::bad_request("bad_query", error.body_text())
        })?;
        Ok(Self(found))
    }
}

const JSON: &str = "application/json";
