//! Parts of a request, whose faults are errors like all others.

use axum::extract::{FromRequestParts, rejection};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// What the path of the request names.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

/// The query of the request.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

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
