//! Files on their way from the peer.
//!
//! A peer on this machine has checked every block, so its answer is streamed.
//! Any other peer is asked for blocks, which are checked here.

use std::collections::BTreeMap;

use bytes::Bytes;
use cid::Cid;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesOrdered};
use protocol::unixfs::{Reader, Step, verify_block};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};

use super::{Client, ClientError};

/// What to download.
#[derive(Debug, Clone)]
pub struct DownloadConfig {
    /// The root, or a root and a path below it: `bafy…/cover.png`.
    pub path: String,
    /// Bytes to leave out at the beginning, because they are there already.
    pub from: u64,
}

/// A file that is being downloaded.
pub struct Download {
    /// Bytes of the whole file, once known.
    pub size: Option<u64>,
    path: String,
    position: u64,
    source: Source,
}

enum Source {
    Stream(BoxStream<'static, Result<Bytes, ClientError>>),
    Blocks(Box<Blocks>),
}

/// Reads a file block by block, some ahead.
struct Blocks {
    client: Client,
    reader: Reader,
    ahead: FuturesOrdered<BoxFuture<'static, Fetched>>,
    asked: BTreeMap<Cid, Option<Bytes>>,
}

type Fetched = (Cid, Result<Bytes, ClientError>);

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("path", &self.path)
            .field("position", &self.position)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts to download a file; its bytes come from [`Download::next`].
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not have it and cannot fetch it.
    pub async fn download(&self, config: DownloadConfig) -> Result<Download, ClientError> {
        let DownloadConfig { path, from } = config;
        let root = path.split('/').next().unwrap_or_default();
        let cid: Cid = root.parse().map_err(|_| ClientError::Cid {
            text: root.to_owned(),
        })?;
        if self.is_local || path.contains('/') {
            return self.download_stream(path, from).await;
        }
        Ok(Download {
            size: None,
            path,
            position: from,
            source: Source::Blocks(Box::new(Blocks {
                client: self.clone(),
                reader: Reader::new(cid, from..u64::MAX),
                ahead: FuturesOrdered::new(),
                asked: BTreeMap::new(),
            })),
        })
    }

    async fn download_stream(&self, path: String, from: u64) -> Result<Download, ClientError> {
        let mut request = self.request(Method::GET, &format!("/ipfs/{path}"));
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = match self.checked(request).await {
            Err(ClientError::Refused { status: 416, .. }) => {
                // Nothing lies beyond what is there already.
                return Ok(Download {
                    size: Some(from),
                    path,
                    position: from,
                    source: Source::Stream(futures::stream::empty().boxed()),
                });
            }
            other => other?,
        };
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let header = |name| -> Option<String> {
            let value: &reqwest::header::HeaderValue = response.headers().get(name)?;
            Some(value.to_str().ok()?.to_owned())
        };
        let size = if is_part {
            header(CONTENT_RANGE).and_then(|range| range.rsplit('/').next()?.parse().ok())
        } else {
            header(CONTENT_LENGTH).and_then(|length| length.parse().ok())
        };
        let client = self.clone();
        let stream = response
            .bytes_stream()
            .map(move |bytes| bytes.map_err(|error| client.away(&error)));
        Ok(Download {
            size,
            path,
            position: if is_part { from } else { 0 },
            source: Source::Stream(stream.boxed()),
        })
    }

    /// One block's bytes, checked against its CID.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not have it or sends something else.
    pub async fn block(&self, cid: &Cid) -> Result<Bytes, ClientError> {
        let request = self
            .request(Method::GET, &format!("/ipfs/{cid}?format=raw"))
            .header(ACCEPT, "application/vnd.ipld.raw");
        let response = self.checked(request).await?;
        let data = response.bytes().await.map_err(|error| self.away(&error))?;
        verify_block(cid, &data)?;
        Ok(data)
    }
}

impl Download {
    /// Where the next bytes belong in the file.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; asking again from [`Download::position`] on may work
    /// when it [is retryable](ClientError::is_retryable).
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let bytes = match &mut self.source {
            Source::Stream(stream) => stream.next().await.transpose()?,
            Source::Blocks(blocks) => {
                let bytes = blocks.next().await?;
                self.size = blocks.reader.file_size();
                bytes
            }
        };
        if let Some(bytes) = bytes {
            self.position += bytes.len() as u64;
            return Ok(Some(bytes));
        }
        match self.size {
            Some(expected) if self.position < expected => Err(ClientError::Incomplete {
                cid: self.path.clone(),
                received: self.position,
                expected,
            }),
            _ => Ok(None),
        }
    }
}

impl Blocks {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.reader.poll()? {
                Step::Done => return Ok(None),
                Step::Ready(bytes) => return Ok(Some(bytes)),
                Step::Need(cid) => {
                    let data = self.fetch(cid).await?;
                    self.reader.handle_block(&cid, &data)?;
                }
            }
        }
    }

    async fn fetch(&mut self, cid: Cid) -> Result<Bytes, ClientError> {
        let upcoming: Vec<Cid> = self.reader.upcoming(BLOCKS_AHEAD_MAX).collect();
        for upcoming in upcoming {
            if self.asked.contains_key(&upcoming) || self.ahead.len() >= BLOCKS_AHEAD_MAX {
                continue;
            }
            self.asked.insert(upcoming, None);
            let client = self.client.clone();
            self.ahead.push_back(Box::pin(async move {
                let block = client.block(&upcoming).await;
                (upcoming, block)
            }));
        }
        loop {
            if let Some(Some(data)) = self.asked.get(&cid) {
                let data = data.clone();
                self.asked.remove(&cid);
                return Ok(data);
            }
            match self.ahead.next().await {
                Some((found, block)) => {
                    self.asked.insert(found, Some(block?));
                }
                None => {
                    self.asked.clear();
                    return self.client.block(&cid).await;
                }
            }
        }
    }
}

/// Blocks that are asked for before they are needed; at 2 MiB each, so 16 MiB.
const BLOCKS_AHEAD_MAX: usize = 8;
