//! Blocks for a reading machine: the store first, the network when allowed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use axum::http::StatusCode;
use bytes::Bytes;
use cid::Cid;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use protocol::unixfs::{self, DagError, Entry, Listing, Reader, Resolver, Step};

use crate::http::error::ApiError;
use crate::store::StoreHandle;

/// Finds what is not in the store.
pub trait Network: fmt::Debug + Send + Sync {
    /// Fetches a block of the DAG below `root` from other peers, checked
    /// against its CID.
    fn fetch(&self, root: Cid, cid: Cid) -> BoxFuture<'_, Result<Bytes, Unfetched>>;

    /// Fetches a range of a file piece by piece, checked, with some read ahead.
    fn read(&self, file: Cid, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Unfetched>>;

    /// The URL of a peer that is known to hold `root`, for those who may not
    /// make this peer fetch.
    fn holder_url(&self, root: Cid) -> BoxFuture<'_, Option<String>>;
}

/// Why a block did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfetched {
    /// Nobody sent it.
    Away(String),
    /// There is no room for it here.
    Full(String),
}

/// Where one request's blocks come from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) root: Cid,
    pub(super) store: StoreHandle,
    /// Present when this request may fetch.
    pub(super) network: Option<Arc<dyn Network>>,
}

/// Why a DAG was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// A block is not here.
    Missing(Cid),
    /// It did not come from the network.
    Unfetched(Unfetched),
    /// The DAG is malformed, or has no such entry.
    Dag(DagError),
    /// The store failed.
    Store(String),
}

impl Source {
    /// A block, checked against its CID.
    pub(super) async fn block(&self, cid: Cid) -> Result<Bytes, ReadError> {
        match self.store.get_block(cid).await {
            Ok(Some(data)) => return Ok(data),
            Ok(None) => {}
            Err(error) => return Err(ReadError::Store(error.to_string())),
        }
        let Some(network) = &self.network else {
            return Err(ReadError::Missing(cid));
        };
        let fetched = network.fetch(self.root, cid).await;
        let data = fetched.map_err(ReadError::Unfetched)?;
        unixfs::verify_block(&cid, &data).map_err(|error| ReadError::Dag(error.into()))?;
        Ok(data)
    }

    /// The block that a CID names, inlined ones too.
    pub(super) async fn any_block(&self, cid: Cid) -> Result<Bytes, ReadError> {
        match unixfs::inline_block(&cid) {
            Some(data) => Ok(data),
            None => self.block(cid).await,
        }
    }

    /// What a path below the root leads to.
    pub(super) async fn resolve(&self, path: &str) -> Result<Cid, ReadError> {
        let mut resolver = Resolver::new(self.root, path);
        loop {
            match resolver.poll()? {
                Step::Need(cid) => {
                    let data = self.block(cid).await?;
                    resolver.handle_block(&cid, &data)?;
                }
                Step::Ready(cid) => return Ok(cid),
                Step::Done => return Ok(self.root),
            }
        }
    }

    /// The first entries of a directory, and whether there are more.
    pub(super) async fn list(
        &self,
        directory: Cid,
        entries_max: usize,
    ) -> Result<(Vec<Entry>, bool), ReadError> {
        let mut listing = Listing::new(directory);
        let mut entries = Vec::new();
        loop {
            match listing.poll()? {
                Step::Need(cid) => {
                    let data = self.block(cid).await?;
                    listing.handle_block(&cid, &data)?;
                }
                Step::Ready(_) if entries.len() == entries_max => return Ok((entries, true)),
                Step::Ready(entry) => entries.push(entry),
                Step::Done => return Ok((entries, false)),
            }
        }
    }

    /// Bytes of a file, piece by piece.
    pub(super) fn read(&self, file: Cid, range: Range<u64>) -> Pieces {
        match &self.network {
            Some(network) => Pieces::Fetched(network.read(file, range)),
            None => Pieces::Stored {
                source: self.clone(),
                reader: Box::new(Reader::new(file, range)),
            },
        }
    }
}

/// The bytes of a range of a file, in order.
pub(super) enum Pieces {
    /// From the store alone.
    Stored { source: Source, reader: Box<Reader> },
    /// From the store, and from other peers where it has gaps.
    Fetched(BoxStream<'static, Result<Bytes, Unfetched>>),
}

impl Pieces {
    /// The next piece, at most a block; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let (source, reader) = match self {
            Self::Stored { source, reader } => (source, reader),
            Self::Fetched(pieces) => {
                let piece = pieces.next().await.transpose();
                return piece.map_err(ReadError::Unfetched);
            }
        };
        loop {
            match reader.poll()? {
                Step::Need(cid) => {
                    let data = source.block(cid).await?;
                    reader.handle_block(&cid, &data)?;
                }
                Step::Ready(bytes) => return Ok(Some(bytes)),
                Step::Done => return Ok(None),
            }
        }
    }
}

impl From<DagError> for ReadError {
    fn from(error: DagError) -> Self {
        Self::Dag(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(cid) => write!(f, "block {cid} is not on this peer"),
            Self::Unfetched(Unfetched::Away(reason)) => {
                write!(f, "not fetched from the network: {reason}")
            }
            Self::Unfetched(Unfetched::Full(reason)) => f.write_str(reason),
            Self::Dag(error) => error.fmt(f),
            Self::Store(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Missing(_) => {
                Self::new(StatusCode::NOT_FOUND, "not_here", error.to_string())
                    .with_hint("ask a peer that holds it, or your own peer, which fetches it")
            }
            ReadError::Unfetched(Unfetched::Full(reason)) => Self::full(reason),
            ReadError::Unfetched(Unfetched::Away(_)) => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "not_fetched",
                error.to_string(),
            )
            .with_hint("ask again when a peer that holds it is connected"),
            ReadError::Dag(DagError::NotFound { .. } | DagError::NotADirectory { .. }) => {
                Self::not_found(error.to_string())
            }
            ReadError::Dag(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unreadable",
                error.to_string(),
            ),
            ReadError::Store(text) => Self::internal(text),
        }
    }
}
