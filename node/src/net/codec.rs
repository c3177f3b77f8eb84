//! Frames of the request-response protocols, drawn in `docs/formats/frames.md`.
//!
//! A stream carries one request and one response. Lengths are checked before
//! anything is read, and buffers grow with what has arrived, so that a lying
//! length costs its sender more than us.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use protocol::wire::{PIECE_BYTES, PIECE_PATIENCE, REQUEST_PATIENCE};

use super::{Protocol, Refusal};
use crate::metrics::Counter;

/// Reads and writes the frames of one protocol.
#[derive(Debug, Clone)]
pub(super) struct FrameCodec {
    protocol: Protocol,
    /// Counts the frames that broke a limit or the format.
    refused: Counter,
}

/// What comes back: a body or a refusal.
pub(super) type Response = Result<Bytes, Refusal>;

impl FrameCodec {
    pub(super) fn new(protocol: Protocol, refused: Counter) -> Self {
        Self { protocol, refused }
    }

    fn count<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.refused.inc();
        }
        result
    }
}

impl request_response::Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        let request = read_body(io, self.protocol.limits().request_bytes_max);
        self.count(within(REQUEST_PATIENCE, request).await)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0];
        io.read_exact(&mut status).await?;
        let response = match status[0] {
            STATUS_OK => read_body(io, self.protocol.limits().response_bytes_max)
                .await
                .map(Ok),
            STATUS_NOT_SERVED => Ok(Err(Refusal::NotServed)),
            STATUS_BUSY => Ok(Err(Refusal::Busy)),
            STATUS_REJECTED => Ok(Err(Refusal::Rejected)),
            other => Err(invalid(format!(
                "the response has the unknown status {other}"
            ))),
        };
        self.count(response)
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_body(io, &body).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match response {
            Ok(body) => {
                io.write_all(&[STATUS_OK]).await?;
                write_body(io, &body).await
            }
            Err(Refusal::NotServed) => io.write_all(&[STATUS_NOT_SERVED]).await,
            Err(Refusal::Busy) => io.write_all(&[STATUS_BUSY]).await,
            Err(Refusal::Rejected) => io.write_all(&[STATUS_REJECTED]).await,
        }
    }
}

async fn read_body<T>(io: &mut T, limit: usize) -> io::Result<Bytes>
where
    T: AsyncRead + Unpin + Send,
{
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(invalid(format!(
            "the frame is {length} bytes, at most {limit} are allowed"
        )));
    }
    let mut body = Vec::new();
    while body.len() < length {
        let filled = body.len();
        let step = filled.max(STEP_BYTES).min(length - filled);
        body.resize(filled + step, 0);
        io.read_exact(&mut body[filled..]).await?;
    }
    Ok(body.into())
}

async fn write_body<T>(io: &mut T, body: &Bytes) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    let length = u32::try_from(body.len()).map_err(|_| invalid("the frame exceeds 4 GiB"))?;
    io.write_all(&length.to_be_bytes()).await?;
    for piece in body.chunks(PIECE_BYTES) {
        within(PIECE_PATIENCE, io.write_all(piece)).await?;
    }
    Ok(())
}

/// Gives up what takes too long: who does not read or write holds no memory for it.
async fn within<T>(
    patience: Duration,
    transfer: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "the other side stalls");
    tokio::time::timeout(patience, transfer)
        .await
        .map_err(timed_out)?
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

const STATUS_OK: u8 = 0;
const STATUS_NOT_SERVED: u8 = 1;
const STATUS_BUSY: u8 = 2;
const STATUS_REJECTED: u8 = 3;

/// The first allocation for a body; later ones double what has arrived. Chosen: most
/// bodies fit, and a claimed length costs nothing.
const STEP_BYTES: usize = 64 * 1024;
