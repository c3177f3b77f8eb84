//! Who may ask what: the owner's token, names of this peer, other origins.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::ApiError;
use super::listen::Remote;
use super::pace::Pace;

/// Lets the owner in only: the right token, under a name of this peer.
pub(super) async fn require_owner(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if !is_own_name(&app, request.headers()) {
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "foreign_host",
            "the `Host` of the request does not name this peer",
        )
        .with_hint("use localhost, a loopback address or the URL in `url` of config.toml")
        .into_response();
    }
    if !has_token(&app, request.headers()) {
        return ApiError::new(
            StatusCode::UNAUTHORIZED,
            "token_needed",
            "this route belongs to the peer's owner",
        )
        .with_hint(
            "send `Authorization: Bearer` with the contents of `token` in the peer's data folder",
        )
        .into_response();
    }
    next.run(request).await
}

/// True for the token's holder, and for programs on this machine.
pub(super) fn is_own(app: &App, request: &Request) -> bool {
    if !is_own_name(app, request.headers()) {
        // A page that made its name point here is not the owner.
        return false;
    }
    let ip = ip_of(request.extensions());
    let is_loopback = ip.is_some_and(|ip| ip.to_canonical().is_loopback());
    is_loopback || has_token(app, request.headers())
}

/// The client's address, when the server notes it.
pub(crate) fn ip_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Remote>().and_then(|remote| remote.0)
}

/// Says of a body that came too slowly that it did.
pub(super) async fn name_late(request: Request, next: Next) -> Response {
    let pace = request.extensions().get::<Arc<Pace>>().cloned();
    let response = next.run(request).await;
    if !pace.is_some_and(|pace| pace.is_late()) {
        return response;
    }
    ApiError::new(
        StatusCode::REQUEST_TIMEOUT,
        "too_slow",
        "the request body did not come in time",
    )
    .into_response()
}

/// Adds the headers that let other origins read, and answers their preflights.
pub(super) async fn cross_origin(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.starts_with("/v1/control") {
        return next.run(request).await;
    }
    let takes_posts = is_open_post(path);
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if is_preflight {
        let methods = if takes_posts { WITH_POST } else { READS };
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ACCEPTED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, A_DAY);
    }
    response
}

/// Routes that carry their own signatures and limits.
fn is_open_post(path: &str) -> bool {
    path == "/relay" || path == "/authentication"
}

fn has_token(app: &App, headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    given.is_some_and(|(_, token)| is_equal(token.trim().as_bytes(), app.token.as_bytes()))
}

/// Compares in a time that tells nothing about where texts differ.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(expected)
        .fold(given.len() ^ expected.len(), |sum, (a, b)| {
            sum | usize::from(a ^ b)
        });
    differences == 0 && !expected.is_empty()
}

fn is_own_name(app: &App, headers: &HeaderMap) -> bool {
    let Some(host) = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let name = host_name(host);
    let is_local = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    is_local
        || app
            .context
            .config
            .url
            .as_deref()
            .and_then(url_host)
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// The host of `host[:port]`, without the brackets of IPv6.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn url_host(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    Some(host_name(authority)).filter(|name| !name.is_empty())
}

const ANY: HeaderValue = HeaderValue::from_static("*");
const READS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const WITH_POST: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
const A_DAY: HeaderValue = HeaderValue::from_static("86400");
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "accept, content-type, if-none-match, range, x-coliving-replaces, x-coliving-signature, x-coliving-version, x-coliving-wallet",
);
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "content-length, content-range, etag, retry-after, x-coliving-chain-block, x-coliving-indexed-block, x-coliving-replaces, x-coliving-signature, x-coliving-version, x-coliving-wallet, x-ipfs-path",
);

/// How many blocks the index has applied.
pub(super) const INDEXED_BLOCK: HeaderName = HeaderName::from_static("x-coliving-indexed-block");

/// The chain's newest block.
pub(super) const CHAIN_BLOCK: HeaderName = HeaderName::from_static("x-coliving-chain-block");
