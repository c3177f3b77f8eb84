//! Bodies on the way: how long one of a request may take, and when an answer is done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::door::Place;

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

/// What is known of the pace of one request's body.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_lifted: AtomicBool,
    is_late: AtomicBool,
}

/// The body of a request, which has to come in time.
#[derive(Debug)]
pub(super) struct Paced {
    body: Incoming,
    pace: Arc<Pace>,
    place: Arc<Place>,
    bytes_per_second: u32,
    deadline: Pin<Box<Sleep>>,
}

/// The body of an answer; the connection waits for its client again when it is done.
#[derive(Debug)]
pub(super) struct Answered {
    body: Body,
    place: Arc<Place>,
}

impl Pace {
    /// The owner may take as long as it likes.
    pub(super) fn lift(&self) {
        self.is_lifted.store(true, Ordering::Relaxed);
    }

    /// Of a body that did not come in time.
    #[cfg(test)]
    pub(super) fn late() -> Self {
        let pace = Self::default();
        pace.is_late.store(true, Ordering::Relaxed);
        pace
    }

    /// True when the body did not come in time.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.load(Ordering::Relaxed)
    }
}

impl Paced {
    pub(super) fn new(
        body: Incoming,
        pace: Arc<Pace>,
        place: Arc<Place>,
        patience: Patience,
    ) -> Self {
        place.note_answering(body.is_end_stream());
        Self {
            body,
            pace,
            place,
            bytes_per_second: patience.bytes_per_second,
            deadline: Box::pin(tokio::time::sleep(patience.body)),
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if this.pace.is_lifted.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            ready!(this.deadline.as_mut().poll(context));
            this.pace.is_late.store(true, Ordering::Relaxed);
            let late = io::Error::new(io::ErrorKind::TimedOut, "the body came too slowly");
            return Poll::Ready(Some(Err(late.into())));
        };
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let earned = Duration::from_secs(bytes as u64) / this.bytes_per_second;
            let deadline = this.deadline.deadline() + earned;
            this.deadline.as_mut().reset(deadline.max(Instant::now()));
            this.place.note_progress();
        }
        if frame.is_none() || this.body.is_end_stream() {
            this.place.note_answering(true);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Answered {
    pub(super) const fn new(body: Body, place: Arc<Place>) -> Self {
        Self { body, place }
    }
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.place.note_answering(false);
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
