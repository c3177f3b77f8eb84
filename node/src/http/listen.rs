//! Connections: who is let in, and how long nothing may come of one.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polling, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::Listener;
use bytes::BytesMut;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use protocol::edge::Source;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::door::{Door, Place};
use super::pace::{Answered, Pace, Paced, Patience};
use super::proxies::{self, Proxies, Start};

/// The address that a connection comes from, when it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remote(pub(crate) Option<IpAddr>);

/// What a server answers with, and when it stops.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) door: Door,
    pub(super) proxies: Arc<Proxies>,
    pub(super) patience: Patience,
    pub(super) stop: CancellationToken,
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
async fn answer<S>(mut stream: S, remote: SocketAddr, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut ip = Some(remote.ip());
    let is_proxy = serving.proxies.trusts(remote.ip());
    let source = if is_proxy {
        Source::Proxy
    } else {
        Source::of(ip)
    };
    let Some(mut place) = serving.door.open(source) else {
        return;
    };
    let mut start = BytesMut::new();
    if is_proxy {
        let ended = place.ended.clone();
        let read = async {
            ended
                .run_until_cancelled(proxies::read_start(&mut stream))
                .await
        };
        let Ok(Some(Ok((told, rest)))) = tokio::time::timeout(serving.patience.head, read).await
        else {
            tracing::debug!(%remote, "a proxy's connection did not begin in time or order");
            return;
        };
        start = rest;
        if let Start::Header(client) = told {
            ip = client;
            // The client has its own share from here on.
            if let Some(client) = client.filter(|client| !serving.proxies.trusts(*client)) {
                let Some(found) = serving.door.open(Source::of(Some(client))) else {
                    return;
                };
                place = found;
            }
        }
    }
    let ended = place.ended.clone();
    let conversation = converse(stream, start, Remote(ip), place, &serving);
    if let Some(Err(error)) = ended.run_until_cancelled(conversation).await {
        tracing::debug!(%error, %remote, "an HTTP connection ended");
    }
}

async fn converse<S>(
    stream: S,
    start: BytesMut,
    remote: Remote,
    place: Arc<Place>,
    serving: &Serving,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let guarded = Guarded {
        start,
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
    /// Was read before it was known what it is.
    start: BytesMut,
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
        if !self.start.is_empty() {
            let count = self.start.len().min(buffer.remaining());
            buffer.put_slice(&self.start.split_to(count));
            return Poll::Ready(Ok(()));
        }
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

/// What is read of a connection before it is looked at, so the longest head of a
/// request. Chosen: 32 MiB for all connections together.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Time that requests under way have after the stop. Chosen: most answers take less;
/// a stream is resumed elsewhere.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
