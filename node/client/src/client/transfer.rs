//! Files on their way to the peer.

use std::path::Path;

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Body, Method};
use tokio_util::io::ReaderStream;

use super::{Client, ClientError, escape};
use crate::api::Imported;

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are done.
    pub bytes: u64,
    /// Bytes in all, once known.
    pub bytes_total: Option<u64>,
}

impl Client {
    /// Streams a file into the peer's store; `tell` hears how far it is.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the file cannot be read or changes meanwhile, and
    /// with the peer's reason, such as a full disk.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the peer drops what came.
    pub async fn import(
        &self,
        path: &Path,
        tell: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Imported, ClientError> {
        let failed = |what: &'static str| {
            move |source| ClientError::File {
                what,
                path: path.to_owned(),
                source,
            }
        };
        let metadata = std::fs::metadata(path).map_err(failed("cannot read"))?;
        if !metadata.is_file() {
            return Err(ClientError::NotAFile {
                path: path.to_owned(),
            });
        }
        let expected = metadata.len();
        let file = tokio::fs::File::open(path)
            .await
            .map_err(failed("cannot open"))?;
        let read = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = std::sync::Arc::clone(&read);
        let stream = ReaderStream::with_capacity(file, READ_BYTES).map(move |chunk| {
            let chunk: Bytes = chunk?;
            let count = counter.fetch_add(chunk.len() as u64, ORDERING) + chunk.len() as u64;
            tell(Progress {
                bytes: count,
                bytes_total: Some(expected),
            });
            Ok::<Bytes, std::io::Error>(chunk)
        });
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let route = format!("/v1/control/import?name={}&size={expected}", escape(&name));
        let request = self
            .request(Method::POST, &route)
            .body(Body::wrap_stream(stream));
        let answer = self.checked(request).await;
        let read = read.load(ORDERING);
        let response = match answer {
            // The body broke off because the file did.
            Err(ClientError::Away { .. }) if !path.exists() => {
                return Err(ClientError::Changed {
                    path: path.to_owned(),
                    read,
                    expected,
                });
            }
            other => other?,
        };
        let imported: Imported = self.read(response, "/v1/control/import").await?;
        // A file that went after it was opened was read whole all the same.
        let written = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let is_other = match (written, metadata.modified()) {
            (Ok(after), Ok(before)) => after != before,
            _ => false,
        };
        if imported.size != expected || is_other {
            return Err(ClientError::Changed {
                path: path.to_owned(),
                read: imported.size,
                expected,
            });
        }
        Ok(imported)
    }
}

const ORDERING: std::sync::atomic::Ordering = std::sync::atomic::Ordering::Relaxed;

/// Bytes that are read from the file at once. Chosen: few calls, and progress is seen.
const READ_BYTES: usize = 256 << 10;
