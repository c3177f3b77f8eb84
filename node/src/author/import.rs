//! From a stream of bytes to blocks on disk.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use cid::Cid;
use client::api::Imported;
use futures::{Stream, StreamExt};
use protocol::author::HOLD;
use protocol::unixfs::{self, ProofError};
use storage::blocks::{Holding, Owner};
use storage::files::{self, ImportOptions};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::AuthorHandle;
use crate::store::{StoreError, StoreHandle};

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The bytes ended early or could not be read.
    #[error(transparent)]
    File(#[from] files::ImportError<StoreError>),
    /// There is nothing to publish.
    #[error("the file is empty; import one with at least 1 byte")]
    Empty,
    /// The blocks cannot be read back.
    #[error("what was imported cannot be read back: {0}")]
    Proof(#[from] ProofError<StoreError>),
    /// The blocks cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The peer is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl AuthorHandle {
    /// Stores a file as UnixFS blocks (`unixfs-v1-2025`) and holds it as an upload
    /// for [`HOLD`]. A stream that yields an error ends the import.
    ///
    /// # Errors
    ///
    /// [`ImportError`]; blocks that were stored are dropped in time.
    pub async fn import<S>(&self, bytes: S) -> Result<Imported, ImportError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
    {
        let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
        let store = self.context.store.clone();
        let now = self.context.clock.now();
        let work = tokio::task::spawn_blocking(move || {
            let source = ChunkReader {
                chunks: receiver,
                current: Bytes::new(),
            };
            import_blocking(&store, source, now + HOLD)
        });
        feed(bytes, chunks).await;
        work.await.map_err(|_| ImportError::Stopped)?
    }
}

/// Hands a stream to the blocking side until it ends or the other side does.
async fn feed<S>(mut bytes: S, chunks: mpsc::Sender<io::Result<Bytes>>)
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    while let Some(chunk) = bytes.next().await {
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
    // An end is said, so that a stream that was dropped half-way is none.
    let _ = chunks.send(Ok(Bytes::new())).await;
}

fn import_blocking(
    store: &StoreHandle,
    source: ChunkReader,
    expiry: protocol::time::Moment,
) -> Result<Imported, ImportError> {
    let runtime = Handle::current();
    let options = ImportOptions {
        batch_bytes: BATCH_BYTES,
        ..ImportOptions::default()
    };
    let imported = files::import(
        source,
        &options,
        |blocks| runtime.block_on(store.put_blocks(blocks)),
        |_| {},
    )?;
    if imported.root.size == 0 {
        // Its block is loose and goes in time.
        return Err(ImportError::Empty);
    }
    let root = imported.root.cid;
    let owner = Owner {
        root,
        holding: Holding::Upload,
        expiry: Some(expiry.unix()),
    };
    let cids: Vec<Cid> = imported.blocks;
    runtime.block_on(store.add_root(owner, cids))?;
    let proof = unixfs::proof_root(root, |cid| store.read_block(cid))?;
    Ok(Imported {
        cid: root.to_string(),
        proof_root: proof.hash,
        size: imported.root.size,
        dag_size: proof.size,
        blocks: proof.blocks,
    })
}

/// Reads chunks that an async task feeds.
struct ChunkReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => return Err(error),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the upload was broken off",
                    ));
                }
            }
        }
        let count = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Chunks between the network and the disk; a chunk of a body is 64 KiB or less, so
/// 2 MiB: either may pause for a moment.
const CHUNKS_MAX: usize = 32;

/// Bytes that are stored at once. Chosen: few flushes, while several imports run in
/// one process.
const BATCH_BYTES: usize = 8 << 20;
