//! The one shape of an error over HTTP:
//! `{"error": {"code": "…", "message": "…", "hint": "…"}}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use client::api::{ErrorBody, ErrorFields};

/// An error as clients see it. Internals go to the log, not into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable word that programs branch on.
    pub code: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// What helps; empty when nothing does.
    pub hint: String,
    /// Seconds after which asking again makes sense.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// An error without a hint.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: String::new(),
            retry_after: None,
        }
    }

    /// Says what helps.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Says when to ask again.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The request cannot be understood.
    #[must_use]
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The peer does not have the role that the route needs.
    #[must_use]
    pub fn role_absent(role: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "role_absent",
            format!("this peer does not have the {role} role"),
        )
        .with_hint("ask another peer; the registry says which have the role")
    }

    /// There is no room for what the request would store.
    #[must_use]
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message).with_hint(
            "free some space on the disk, or lower `storage.reserve` or raise `storage.capacity` in config.toml",
        )
    }

    /// Something failed here; `error` goes to the log only.
    #[must_use]
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the peer failed; its log says why",
        )
    }

    /// The request cannot be served at the moment.
    #[must_use]
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: ErrorFields {
                code: self.code.to_owned(),
                message: self.message,
                hint: self.hint,
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = header::HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
