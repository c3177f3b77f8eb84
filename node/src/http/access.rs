//! Who asks, and what it may: names of this peer, proxies, the owner's token, pages
//! of other origins.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::edge::{Budget, Source};
use protocol::id::Address;
use protocol::origin::Origin;

use super::App;
use super::door::Door;
use super::error::ApiError;
use super::listen::Remote;
use super::pace::{Answered, Pace};
use super::proxies::Proxies;
use crate::context::Context;
use crate::metrics::Counter;

/// Who is let in, and who asks too often.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) proxies: Arc<Proxies>,
    /// Requests under way of clients behind proxies.
    requests: Door,
    /// Held for a moment only, never while waiting.
    budget: Mutex<Budget>,
    too_many: Counter,
    late: Counter,
}

/// Who a request comes from, as far as HTTP tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Caller {
    ip: Option<IpAddr>,
    is_owner: bool,
}

impl Edge {
    pub(super) fn new(context: &Context) -> Self {
        let metrics = &context.metrics;
        Self {
            proxies: Arc::new(Proxies::new(&context.config.http.trusted_proxies)),
            requests: Door::new(context.clock, metrics, "proxied_requests"),
            budget: Mutex::default(),
            too_many: metrics.counter(
                "http_requests_too_many",
                "HTTP requests that were refused because their source asks too often",
            ),
            late: metrics.counter(
                "http_bodies_late",
                "HTTP requests whose body did not come in time",
            ),
        }
    }
}

impl Caller {
    /// The caller that [`meet`] found; a stranger of unknown address where nobody met it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }

    /// True for the token's holder, but not for a page of another origin.
    pub(crate) const fn is_owner(self) -> bool {
        self.is_owner
    }

    /// As the machines count it. What comes from this machine without the token may
    /// come from anywhere, through a proxy that nobody named: it is unknown.
    pub(crate) fn origin(self) -> Origin {
        let ip = match self.is_owner {
            true => Some(Ipv4Addr::LOCALHOST.into()),
            false => self.ip.filter(|ip| !ip.is_loopback()),
        };
        Origin {
            peer: Address::ZERO,
            ip,
        }
    }

    #[cfg(test)]
    pub(crate) const fn owner() -> Self {
        Self {
            ip: None,
            is_owner: true,
        }
    }
}

/// Finds out who asks. A name that is not this peer's is refused: a page whose name
/// was made to point here would else read what it is answered.
pub(super) async fn meet(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    if !is_named(&app, &request) {
        return foreign_host();
    }
    let remote = request.extensions().get().copied().unwrap_or(Remote(None));
    let headers = request.headers();
    let ip = app.edge.proxies.client(remote.0, headers);
    let caller = Caller {
        ip: ip.map(|ip| ip.to_canonical()),
        is_owner: has_token(&app, headers)
            && is_own(&app, &request)
            && !is_foreign_page(&app, headers),
    };
    let is_proxied = remote.0.is_some_and(|ip| app.edge.proxies.trusts(ip));
    let place = match is_proxied && !caller.is_owner {
        true => match app.edge.requests.open(Source::of(caller.ip)) {
            Some(place) => Some(place),
            None => return busy(),
        },
        false => None,
    };
    if let Some(place) = &place {
        place.note_answering(true);
    }
    let pace: Option<Arc<Pace>> = request.extensions().get().cloned();
    if let Some(pace) = pace.as_ref().filter(|_| caller.is_owner) {
        pace.lift();
    }
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    if pace.is_some_and(|pace| pace.is_late()) {
        app.edge.late.inc();
        return too_slow();
    }
    match place {
        Some(place) => response.map(|body| Body::new(Answered::new(body, place))),
        None => response,
    }
}

/// Lets the owner in only: the right token, under a name of this peer, from no page of
/// another origin.
pub(super) async fn require_owner(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    if !is_own(&app, &request) {
        return foreign_host();
    }
    if is_foreign_page(&app, request.headers()) {
        return ApiError::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "a page of another origin asks, and this route belongs to the peer's owner",
        )
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

/// Counts questions for which this peer asks others; who hands something in is counted
/// by the machine that takes it.
pub(super) async fn spend(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST
        && let Err(error) = app.spend(Caller::of(request.extensions()))
    {
        return error.into_response();
    }
    next.run(request).await
}

impl App {
    /// Counts a request for which this peer asks others.
    pub(super) fn spend(&self, caller: Caller) -> Result<(), ApiError> {
        if caller.is_owner {
            return Ok(());
        }
        let budget = self.edge.budget.lock();
        let mut budget = budget.unwrap_or_else(PoisonError::into_inner);
        let now = self.context.clock.now();
        let spent = budget.handle_request(Source::of(caller.ip), now);
        spent.map_err(|error| {
            self.edge.too_many.inc();
            let seconds = error.retry_after_seconds;
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "busy", error.to_string())
                .with_retry_after(seconds)
        })
    }
}

fn foreign_host() -> Response {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "foreign_host",
        "the `Host` of the request does not name this peer",
    )
    .with_hint("use localhost, a loopback address or the URL in `url` of config.toml")
    .into_response()
}

fn busy() -> Response {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "busy",
        "too many requests of this network are under way",
    )
    .with_retry_after(1)
    .into_response()
}

fn too_slow() -> Response {
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

/// True when every name that the request gives to this peer is one of it, or an
/// address, which no page can make point elsewhere. Browsers always give one.
fn is_named(app: &App, request: &Request) -> bool {
    let mut hosts = hosts(request);
    hosts.all(|host| host.is_some_and(|name| is_own_name(app, name) || ip(name).is_some()))
}

/// True when the request names this machine, or the peer by its URL.
fn is_own(app: &App, request: &Request) -> bool {
    let mut hosts = hosts(request).peekable();
    hosts.peek().is_some() && hosts.all(|host| host.is_some_and(|name| is_own_name(app, name)))
}

/// True for a request that a page of another origin makes.
fn is_foreign_page(app: &App, headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let hosts: Vec<String> = headers.get_all(header::HOST).iter().map(text).collect();
    let own = app.context.config.url.as_deref().and_then(authority);
    let is_own_origin = |origin: &HeaderValue| {
        let origin = text(origin);
        let Some(origin) = authority(&origin) else {
            return false;
        };
        let mut names = hosts
            .iter()
            .filter_map(|host| host.parse().ok())
            .chain(own.clone());
        names.any(|name| name == origin)
    };
    let is_same_site = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    !headers.get_all(header::ORIGIN).iter().all(is_own_origin)
        || !headers.get_all(SEC_FETCH_SITE).iter().all(is_same_site)
}

fn authority(url: &str) -> Option<Authority> {
    url.parse::<Uri>().ok()?.authority().cloned()
}

/// The names that a request gives to this peer; `None` for one that cannot be read.
fn hosts(request: &Request) -> impl Iterator<Item = Option<&str>> {
    let told = request.headers().get_all(header::HOST).iter();
    let told = told.map(|value| value.to_str().ok().map(host_name));
    told.chain(request.uri().host().map(|host| Some(host_name(host))))
}

fn is_own_name(app: &App, name: &str) -> bool {
    let own = app.context.config.url.as_deref().and_then(authority);
    name.eq_ignore_ascii_case("localhost")
        || ip(name).is_some_and(|ip| ip.to_canonical().is_loopback())
        || own.is_some_and(|own| host_name(own.host()).eq_ignore_ascii_case(name))
}

fn ip(name: &str) -> Option<IpAddr> {
    name.parse().ok()
}

/// The host of `host[:port]`, without the brackets of IPv6.
fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
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
