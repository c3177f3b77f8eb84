//! The HTTP server of a peer: gateway, reads over the index, the owner's routes.
//!
//! Contract: `docs/formats/http.md`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use crate::author::AuthorHandle;
use crate::content::ContentHandle;
use crate::context::Context;

pub(crate) mod access;
#[cfg(test)]
pub(crate) mod conformance;
mod control;
mod door;
pub mod error;
pub(crate) mod extract;
mod gateway;
pub(crate) mod listen;
mod openapi;
mod pace;
mod parameters;
mod proxies;
mod reads;
pub mod relay;
mod route;
mod routes;
mod status;

pub use gateway::{Network, Unfetched};

use access::Edge;
use door::Door;
use error::ApiError;
use listen::Serving;
use pace::Patience;
use proxies::Proxies;
use route::Access;

/// What other parts of the peer bring along; all of it may be absent.
#[derive(Debug, Default)]
pub struct Parts {
    /// Routes that everybody may ask, and for which this peer asks others.
    pub routers: Vec<Router>,
    /// Routes below `/v1/control` that wait for the check of the token.
    pub owner_routers: Vec<Router>,
    /// How the content role is.
    pub content: Option<ContentHandle>,
    /// Imports and publishes.
    pub author: Option<AuthorHandle>,
    /// Finds blocks that are not in the store.
    pub network: Option<Arc<dyn Network>>,
}

/// What every handler sees.
#[derive(Debug)]
struct App {
    context: Context,
    token: String,
    /// The registered URL, or the one that the server listens on.
    url: String,
    network: Option<Arc<dyn Network>>,
    author: Option<AuthorHandle>,
    content: Option<ContentHandle>,
    balance: status::Balance,
    edge: Edge,
}

/// Serves until the floor is to end; requests under way are finished.
pub fn serve(listener: TcpListener, context: &Context, parts: Parts, token: String) {
    let address = listener.local_addr();
    let address = address.unwrap_or(context.config.http.listen);
    let serving = Serving {
        router: router(context, parts, token, address),
        door: Door::new(context.clock, &context.metrics, "connections"),
        proxies: Arc::new(Proxies::new(&context.config.http.trusted_proxies)),
        patience: Patience::default(),
        stop: context.floor.stop().clone(),
    };
    context.floor.spawn(listen::serve(listener, serving));
}

/// All routes, without a socket.
fn router(context: &Context, parts: Parts, token: String, address: SocketAddr) -> Router {
    let url = context.config.url.clone();
    let app = Arc::new(App {
        context: context.clone(),
        token,
        url: url.unwrap_or_else(|| format!("http://{address}")),
        network: parts.network,
        author: parts.author,
        content: parts.content,
        balance: status::Balance::default(),
        edge: Edge::new(context),
    });
    let (mut public, mut reads, mut owner) = (Router::new(), Router::new(), Router::new());
    for route in routes::table() {
        let Some(handler) = &route.handler else {
            continue;
        };
        let target = match route.access {
            Access::Public => &mut public,
            Access::Read => &mut reads,
            Access::Owner => &mut owner,
        };
        let paths = route.paths();
        *target = paths.iter().fold(std::mem::take(target), |grown, path| {
            grown.route(path, handler.clone())
        });
    }
    let freshness = middleware::from_fn_with_state(Arc::clone(&app), reads::freshness);
    let owner_only = middleware::from_fn_with_state(Arc::clone(&app), access::require_owner);
    let owner = parts
        .owner_routers
        .into_iter()
        .fold(owner.with_state(Arc::clone(&app)), Router::merge);
    let spending = middleware::from_fn_with_state(Arc::clone(&app), access::spend);
    let asking = parts.routers.into_iter().fold(Router::new(), Router::merge);
    let meeting = middleware::from_fn_with_state(Arc::clone(&app), access::meet);
    public
        .merge(reads.route_layer(freshness))
        .with_state(app)
        .merge(owner.route_layer(owner_only))
        .merge(asking.layer(spending))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(name_too_large))
        .layer(meeting)
        .layer(middleware::from_fn(name_server))
        .layer(middleware::from_fn(access::cross_origin))
}

async fn no_route(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "no_route",
        format!("there is no route `{}`", uri.path()),
    )
    .with_hint("`/v1/openapi.json` lists the routes")
}

async fn no_method(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!(
            "`{}` does not take {}",
            request.uri().path(),
            request.method()
        ),
    )
}

/// Gives a body that is over the limit the error form of everything else.
async fn name_too_large(response: Response) -> Response {
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "the request body is longer than this route takes",
    )
    .into_response()
}

async fn name_server(request: Request, next: Next) -> Response {
    let started = std::time::Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await.into_response();
    response.headers_mut().insert(header::SERVER, SERVER);
    tracing::debug!(%method, path, status = response.status().as_u16(), elapsed = ?started.elapsed(), "HTTP");
    response
}

const SERVER: HeaderValue =
    HeaderValue::from_static(concat!("coliving/", env!("CARGO_PKG_VERSION")));

/// Largest body of a request, but for imports, which are streamed. Chosen: routes
/// with a body of their own have smaller bounds.
const BODY_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
mod tests;
