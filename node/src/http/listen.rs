//! Connections: who is let in, and how long nothing may come of one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::edge::{Config, ConnectionId, Connections, Source};
use rpc::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::pace::{Answered, Pace, Paced};
use crate::metrics::{Counter, Gauge, Metrics};

/// Where connections, or the requests of clients behind proxies, are let in.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// Held for a moment only, never while waiting.
    inside: Mutex<Inside>,
    open: Gauge,
    refused: Counter,
    replaced: Counter,
}

#[derive(Debug)]
struct Inside {
    connections: Connections,
    ends: BTreeMap<ConnectionId, CancellationToken>,
}

/// What was let in; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Door,
    id: ConnectionId,
    /// Cancelled when another one takes the place.
    pub(super) ended: CancellationToken,
    is_answering: AtomicBool,
    is_blocked: AtomicBool,
}

/// The address that a connection comes from, when it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) Option<IpAddr>);

/// What a server answers with, and when it stops.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) door: Door,
    pub(super) patience: Patience,
    pub(super) stop: CancellationToken,
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the head of a request, with the pause before it.
    pub(super) head: Duration,
    /// For a body, beside the time for its bytes.
    pub(super) body: Duration,
    /// Bytes of a body that a second is given for.
    pub(super) bytes_per_second: u32,
    /// While nothing moves at all.
    pub(super) stall: Duration,
}

impl Door {
    /// A door whose metrics begin with `http_` and `what`.
    pub(super) fn new(clock: Clock, metrics: &Metrics, what: &str) -> Self {
        let name = |end: &str| format!("http_{what}{end}");
        let inside = Inside {
            connections: Connections::new(Config::default()),
            ends: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            clock,
            inside: Mutex::new(inside),
            open: metrics.gauge(&name(""), "HTTP: what is open at a time"),
            refused: metrics.counter(&name("_refused"), "HTTP: refused for want of a place"),
            replaced: metrics.counter(&name("_replaced"), "HTTP: gave its place to another"),
        }))
    }

    /// A place, unless there is none.
    pub(super) fn open(&self, source: Source) -> Option<Arc<Place>> {
        let now = self.0.clock.now();
        let mut inside = self.inside();
        let Ok(opened) = inside.connections.handle_open(source, now) else {
            self.0.refused.inc();
            return None;
        };
        if let Some(end) = opened.closed.and_then(|id| inside.ends.remove(&id)) {
            self.0.replaced.inc();
            end.cancel();
        }
        let ended = CancellationToken::new();
        inside.ends.insert(opened.id, ended.clone());
        self.show(&inside);
        Some(Arc::new(Place {
            door: self.clone(),
            id: opened.id,
            ended,
            is_answering: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        }))
    }

    fn show(&self, inside: &Inside) {
        let count = i64::try_from(inside.connections.count());
        self.0.open.set(count.unwrap_or(i64::MAX));
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        let inside = self.0.inside.lock();
        inside.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The whole request is here, or its answer is done.
    pub(super) fn note_answering(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Ordering::Relaxed);
        self.tell();
    }

    /// The client sent something: it is waited for anew.
    pub(super) fn note_progress(&self) {
        self.door.inside().connections.handle_working(self.id);
        self.tell();
    }

    /// The client takes nothing of the answer, or takes it again.
    fn note_blocked(&self, is_blocked: bool) {
        if self.is_blocked.swap(is_blocked, Ordering::Relaxed) != is_blocked {
            self.tell();
        }
    }

    fn tell(&self) {
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        let now = self.door.0.clock.now();
        let mut inside = self.door.inside();
        match self.is_answering.load(Ordering::Relaxed) && !is_blocked {
            true => inside.connections.handle_working(self.id),
            false => inside.connections.handle_waiting(self.id, now),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.connections.handle_close(self.id);
        inside.ends.remove(&self.id);
        self.door.show(&inside);
    }
}

/// Accepts until the stop, and then gives the requests under way some time.
pub(super) async fn serve(mut listener: TcpListener, serving: Serving) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, remote) = tokio::select! {
            biased;
            () = serving.stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                note(ended);
                continue;
            }
            accepted = Listener::accept(&mut listener) => accepted,
        };
        // Small answers should not wait for more; a failure costs latency only.
        let _ = stream.set_nodelay(true);
        connections.spawn(answer(stream, remote, serving.clone()));
    }
    drop(listener);
    let last = async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    if tokio::time::timeout(STOP_PATIENCE, last).await.is_err() {
        tracing::debug!("HTTP requests under way were cut off");
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an HTTP connection broke off");
    }
}

/// Answers what comes over one connection, until it is over or somebody else needs
/// its place.
async fn answer<S>(stream: S, remote: SocketAddr, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let ip = Some(remote.ip());
    let Some(place) = serving.door.open(Source::of(ip)) else {
        return;
    };
    let ended = place.ended.clone();
    tokio::select! {
        biased;
        () = ended.cancelled() => {}
        result = converse(stream, Remote(ip), place, &serving) => if let Err(error) = result {
            tracing::debug!(%error, %remote, "an HTTP connection ended");
        },
    }
}

async fn converse<S>(
    stream: S,
    remote: Remote,
    place: Arc<Place>,
    serving: &Serving,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let guarded = Guarded {
        stream,
        stalled: Box::pin(tokio::time::sleep(serving.patience.stall)),
        patience: serving.patience.stall,
        place: Arc::clone(&place),
    };
    let service = service_fn(|request| handle(request, remote, &place, serving));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.patience.head)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(guarded), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        () = serving.stop.cancelled() => {}
        result = connection.as_mut() => return result,
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

async fn handle(
    request: hyper::Request<Incoming>,
    remote: Remote,
    place: &Arc<Place>,
    serving: &Serving,
) -> Result<Response, Infallible> {
    let (mut head, body) = request.into_parts();
    let pace = Arc::new(Pace::default());
    head.extensions.insert(remote);
    head.extensions.insert(Arc::clone(&pace));
    let body = Paced::new(body, pace, Arc::clone(place), serving.patience);
    let request = Request::from_parts(head, Body::new(body));
    let response = serving.router.clone().oneshot(request).await?;
    place.note_answering(true);
    Ok(response.map(|body| Body::new(Answered::new(body, Arc::clone(place)))))
}

/// A connection that fails when nothing moves for a while.
#[derive(Debug)]
struct Guarded<S> {
    stream: S,
    stalled: Pin<Box<Sleep>>,
    patience: Duration,
    place: Arc<Place>,
}

impl<S> Guarded<S> {
    /// Passes progress on, and turns a stall into an error.
    fn watch<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        context: &mut Polling<'_>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            let stalled = Instant::now() + self.patience;
            self.stalled.as_mut().reset(stalled);
            return poll;
        }
        match self.stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn watch_write<T>(
        &mut self,
        poll: Poll<io::Result<T>>,
        context: &mut Polling<'_>,
    ) -> Poll<io::Result<T>> {
        self.place.note_blocked(poll.is_pending());
        self.watch(poll, context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Polling<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch(poll, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Polling<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Polling<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Polling<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Polling<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch_write(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_TIMEOUT,
            body: HEAD_TIMEOUT,
            bytes_per_second: BODY_BYTES_PER_SECOND_MIN,
            stall: STALL_TIMEOUT,
        }
    }
}

/// How long the head of a request may take, and the first bytes of its body. Chosen:
/// many round trips of the slowest network.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a body a second at least. Chosen: what the slowest mobile networks send.
const BODY_BYTES_PER_SECOND_MIN: u32 = 8 << 10;

/// A connection on which nothing moves for this long is closed. Longer than any
/// answer is waited for.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// What is read of a connection before it is looked at, so the longest head of a
/// request. Chosen: 32 MiB for all connections together.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Time that requests under way have after the stop. Chosen: most answers take less;
/// a stream is resumed elsewhere.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
