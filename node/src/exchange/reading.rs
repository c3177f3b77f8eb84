//! Reading a file while it is fetched.

use std::ops::Range;

use bytes::Bytes;
use cid::Cid;
use protocol::unixfs::{DagError, Reader, Step};
use storage::blocks::{Holding, Owner};

use super::{ExchangeHandle, FetchError, FetchOptions, Fetching};

/// Yields the bytes of a range of a file, in order and checked.
#[derive(Debug)]
pub struct FileReader {
    exchange: ExchangeHandle,
    root: Cid,
    reader: Reader,
    may_fetch: bool,
    /// Fetches the blocks after those that are being read.
    ahead: Option<Fetching>,
}

/// Why reading ended early.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// A block is not here and was not to be fetched.
    #[error("block {cid} is not stored here")]
    Missing {
        /// The block that is not here.
        cid: Cid,
    },
    /// What is below the root is no file.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// It cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl FileReader {
    pub(super) fn new(
        exchange: ExchangeHandle,
        root: Cid,
        range: Range<u64>,
        may_fetch: bool,
    ) -> Self {
        Self {
            exchange,
            root,
            reader: Reader::new(root, range),
            may_fetch,
            ahead: None,
        }
    }

    /// The next bytes; `None` at the end of the range.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; reading on makes no sense then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            match self.reader.poll()? {
                Step::Ready(bytes) => return Ok(Some(bytes)),
                Step::Done => return Ok(None),
                Step::Need(cid) => {
                    let block = self.block(cid).await?;
                    self.reader.handle_block(&cid, &block)?;
                }
            }
        }
    }

    /// Length of the whole file, once its root block was read.
    #[must_use]
    pub fn file_size(&self) -> Option<u64> {
        self.reader.file_size()
    }

    async fn block(&mut self, cid: Cid) -> Result<Bytes, ReadError> {
        for attempt in 0..ATTEMPTS_MAX {
            let found = self.exchange.context().store.get_block(cid).await;
            match found {
                Ok(Some(block)) => {
                    self.read_ahead().await?;
                    return Ok(block);
                }
                Ok(None) => {}
                Err(error) => return Err(FetchError::from(error).into()),
            }
            if !self.may_fetch || attempt + 1 == ATTEMPTS_MAX {
                break;
            }
            self.fetch(cid).await?;
        }
        Err(ReadError::Missing { cid })
    }

    async fn fetch(&mut self, cid: Cid) -> Result<(), ReadError> {
        if let Some(mut ahead) = self.ahead.take() {
            // What it did not bring is asked for by name below.
            let _ = ahead.done().await;
            if matches!(self.exchange.context().store.has(&cid), Ok(true)) {
                return Ok(());
            }
        }
        let mut cids = vec![cid];
        cids.extend(
            self.missing(FIRST_BLOCKS)
                .into_iter()
                .filter(|next| *next != cid),
        );
        let mut fetching = self.start(cids).await?;
        match fetching.done().await {
            Ok(_) => Ok(()),
            Err(error) => self.make_room(error).await,
        }
    }

    /// Gives up what was read of this file, which is longer than the cache: the
    /// store has evicted all others by then.
    async fn make_room(&self, error: FetchError) -> Result<(), ReadError> {
        let is_full = matches!(&error, FetchError::Store(error) if error.is_full());
        if !is_full {
            return Err(error.into());
        }
        let store = &self.exchange.context().store;
        let removed = store.remove_root(self.root, Holding::Cache).await;
        match removed.map_err(FetchError::from)? {
            true => Ok(()),
            false => Err(error.into()),
        }
    }

    /// Keeps a window of blocks on the way while earlier ones are read.
    async fn read_ahead(&mut self) -> Result<(), ReadError> {
        if !self.may_fetch || self.ahead.as_mut().is_some_and(|ahead| !ahead.is_over()) {
            return Ok(());
        }
        let cids = self.missing(AHEAD_BLOCKS);
        if !cids.is_empty() {
            self.ahead = Some(self.start(cids).await?);
        }
        Ok(())
    }

    fn missing(&self, count: usize) -> Vec<Cid> {
        let store = &self.exchange.context().store;
        self.reader
            .upcoming(count)
            .filter(|cid| !matches!(store.has(cid), Ok(true)))
            .collect()
    }

    async fn start(&self, cids: Vec<Cid>) -> Result<Fetching, ReadError> {
        let owner = Owner {
            root: self.root,
            holding: Holding::Cache,
            expiry: None,
        };
        let options = FetchOptions {
            owner: Some(owner),
            ..FetchOptions::default()
        };
        let fetching = self.exchange.fetch_blocks(self.root, cids, options).await?;
        Ok(fetching)
    }
}

/// A block is looked for this often: here, after fetching, after it was evicted
/// or found damaged in between.
const ATTEMPTS_MAX: usize = 3;

/// Blocks fetched before the first byte is read: the first and its successor, so that
/// the next is on its way when the first is sent.
const FIRST_BLOCKS: usize = 2;

/// Blocks kept on the way while reading. Chosen: 8 MiB of 1 MiB chunks, a second of a
/// fast link.
const AHEAD_BLOCKS: usize = 8;
