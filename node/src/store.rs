//! The store of a running peer: blocks and records behind one writer thread.
//!
//! [`StoreHandle`] is what everything else sees. Changes queue up to the
//! thread `store-writer`, which commits blocks that wait together in one
//! group; reads go straight to a snapshot. Queued blocks are bounded in bytes.

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use cid::Cid;
use protocol::time::UnixSeconds;
use protocol::unixfs::VerifiedBlock;
use storage::backend::{Backend, FileBackend, MemoryBackend};
use storage::blocks::{
    Batch, BlockReader, BlockStats, BlockStore, BlockStoreConfig, BlockStoreError, Compacted,
    Owner, RootInfo, RootListed, VerifyProgress, VerifyReport,
};
use storage::tables::{Tables, TablesError, TablesRead, TablesWrite};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

pub use storage::blocks::{Holding, Owner as RootOwner};

mod writer;

/// The store of this peer; clones are the same store.
#[derive(Debug, Clone)]
pub struct StoreHandle {
    reader: BlockReader,
    tables: Tables,
    backend: Arc<dyn Backend>,
    commands: mpsc::Sender<writer::Command>,
    /// Tells of blocks that were damaged and are dropped.
    damaged: broadcast::Sender<Cid>,
    /// One permit for each [`PERMIT_BYTES`] of blocks in the queue.
    queue: Arc<Semaphore>,
}

/// Tells when nothing holds the store's folder open any more.
#[derive(Debug, Clone)]
pub struct FolderUse(Weak<dyn Backend>);

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The block store refused.
    #[error(transparent)]
    Blocks(#[from] BlockStoreError),
    /// The tables refused.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The folder cannot be used; the text says which and why.
    #[error(transparent)]
    Folder(#[from] std::io::Error),
    /// The store was stopped.
    #[error("the store is stopped")]
    Stopped,
}

impl StoreError {
    /// True when there is no room and nothing else is wrong.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Blocks(error) => error.is_full(),
            Self::Folder(error) => error.kind() == std::io::ErrorKind::StorageFull,
            Self::Tables(_) | Self::Stopped => false,
        }
    }

    /// True when another process uses the folder.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Folder(error) => error.kind() == std::io::ErrorKind::ResourceBusy,
            Self::Blocks(_) | Self::Tables(_) | Self::Stopped => false,
        }
    }
}

impl FolderUse {
    /// True when the store and all its readers are gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl StoreHandle {
    /// Opens the store in `folder`, which is locked against other processes,
    /// and starts its writer thread.
    ///
    /// # Errors
    ///
    /// [`StoreError`] names the folder and what to do about it.
    pub fn open(folder: impl AsRef<Path>, config: BlockStoreConfig) -> Result<Self, StoreError> {
        Self::with_backend(Arc::new(FileBackend::open(folder)?), config)
    }

    /// Makes a store in memory.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the writer thread cannot be started.
    pub fn in_memory() -> Result<Self, StoreError> {
        let backend = Arc::new(MemoryBackend::new());
        Self::with_backend(backend, BlockStoreConfig::with_size(1 << 30))
    }

    /// Opens the store in `backend` and starts its writer thread.
    ///
    /// # Errors
    ///
    /// [`StoreError`] names the folder and what to do about it.
    pub fn with_backend(
        backend: Arc<dyn Backend>,
        config: BlockStoreConfig,
    ) -> Result<Self, StoreError> {
        let tables = Tables::open(Arc::clone(&backend))?;
        let blocks = BlockStore::open(Arc::clone(&backend), config)?;
        let reader = blocks.reader();
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        writer::spawn(blocks, inbox)?;
        Ok(Self {
            reader,
            tables,
            backend,
            commands,
            damaged: broadcast::Sender::new(DAMAGED_MAX),
            queue: Arc::new(Semaphore::new(QUEUE_BYTES_MAX / PERMIT_BYTES)),
        })
    }

    /// Puts blocks, loose: a root has to claim them with
    /// [`StoreHandle::add_root`]. Durable when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// [`BlockStoreError::Full`] or [`BlockStoreError::DiskFull`] without room; none of
    /// the blocks was put then.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the blocks may have been put or not.
    pub async fn put_blocks(&self, blocks: Vec<VerifiedBlock>) -> Result<(), StoreError> {
        self.put(blocks, None).await
    }

    /// Like [`StoreHandle::put_blocks`], and lists the blocks under a root in
    /// the same transaction.
    ///
    /// # Errors
    ///
    /// As [`StoreHandle::put_blocks`].
    ///
    /// # Cancel safety
    ///
    /// When dropped, the blocks may have been put or not.
    pub async fn put_blocks_for(
        &self,
        owner: Owner,
        blocks: Vec<VerifiedBlock>,
    ) -> Result<(), StoreError> {
        self.put(blocks, Some(owner)).await
    }

    /// Holds a root for a reason and lists `cids` under it; blocks that are
    /// not there yet may be listed.
    ///
    /// # Errors
    ///
    /// What the disk says.
    ///
    /// # Cancel safety
    ///
    /// When dropped, it may have been done or not.
    pub async fn add_root(&self, owner: Owner, cids: Vec<Cid>) -> Result<RootListed, StoreError> {
        self.ask(move |blocks| blocks.add_root(&owner, &cids, now()))
            .await
    }

    /// Takes one reason for holding a root away; with the last one its blocks
    /// go. True when there was such a reason.
    ///
    /// # Errors
    ///
    /// What the disk says.
    ///
    /// # Cancel safety
    ///
    /// When dropped, it may have been done or not.
    pub async fn remove_root(&self, root: Cid, holding: Holding) -> Result<bool, StoreError> {
        self.ask(move |blocks| blocks.remove_root(&root, holding))
            .await
    }

    /// What is known of a root; `None` when nothing holds it.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub async fn root(&self, root: Cid) -> Result<Option<RootInfo>, StoreError> {
        self.look(move |reader| reader.root(&root)).await
    }

    /// All roots that are held for `holding`, or for any reason.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub async fn roots(&self, holding: Option<Holding>) -> Result<Vec<RootInfo>, StoreError> {
        self.look(move |reader| reader.roots(holding)).await
    }

    /// The bytes of a block; `None` when it is not there. One that is damaged
    /// on disk is dropped first, so that it can be fetched again.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub async fn get_block(&self, cid: Cid) -> Result<Option<Bytes>, StoreError> {
        match self.look(move |reader| reader.block(&cid)).await {
            Err(StoreError::Blocks(BlockStoreError::Corrupt { .. })) => {
                self.drop_block(cid).await?;
                Ok(None)
            }
            read => read,
        }
    }

    /// As [`StoreHandle::get_block`], on the caller's thread; a damaged block is
    /// dropped soon after.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn read_block(&self, cid: &Cid) -> Result<Option<Bytes>, StoreError> {
        match self.reader.block(cid) {
            Err(BlockStoreError::Corrupt { .. }) => {
                let (cid, damaged) = (*cid, self.damaged.clone());
                let task: writer::Task = Box::new(move |blocks| {
                    if let Err(error) = drop_damaged(blocks, &cid, &damaged) {
                        tracing::warn!(%cid, %error, "a damaged block was not dropped");
                    }
                });
                // When the queue is full, the next read finds it again.
                let _ = self.commands.try_send(writer::Command::Run(task));
                Ok(None)
            }
            read => Ok(read?),
        }
    }

    /// Blocks that are found damaged on disk from here on, whoever reads them:
    /// told once each, when they are dropped.
    #[must_use]
    pub fn damaged(&self) -> broadcast::Receiver<Cid> {
        self.damaged.subscribe()
    }

    /// True when a block is there.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.reader.has(cid)?)
    }

    /// Forgets the bytes of a damaged block and tells of it.
    pub(crate) async fn drop_block(&self, cid: Cid) -> Result<(), StoreError> {
        let damaged = self.damaged.clone();
        self.ask(move |blocks| drop_damaged(blocks, &cid, &damaged))
            .await
    }

    /// A view of the blocks for code that runs on a thread of its own.
    #[must_use]
    pub fn reader(&self) -> BlockReader {
        self.reader.clone()
    }

    /// What the block store holds.
    #[must_use]
    pub fn stats(&self) -> BlockStats {
        self.reader.stats()
    }

    /// Bytes that the disk has left for everybody.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn disk_free(&self) -> Result<u64, StoreError> {
        Ok(self.backend.free_bytes()?)
    }

    /// Reads every block and checks it against its CID; `progress` runs on
    /// another thread and says whether to go on.
    ///
    /// # Errors
    ///
    /// What the disk says; corrupt blocks are in the report.
    pub async fn verify(
        &self,
        progress: impl FnMut(VerifyProgress) -> bool + Send + 'static,
    ) -> Result<VerifyReport, StoreError> {
        self.look(move |reader| reader.verify(progress)).await
    }

    /// Reads the peer's own records on one snapshot, on the caller's thread.
    ///
    /// # Errors
    ///
    /// What `read` or the database says.
    pub fn read<T, E: From<TablesError>>(
        &self,
        read: impl FnOnce(&TablesRead<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.tables.read(read)
    }

    /// Changes the peer's own records in one transaction on a thread that
    /// may block; durable when this returns `Ok`.
    ///
    /// # Errors
    ///
    /// What `change` or the database says; nothing changed then.
    ///
    /// # Cancel safety
    ///
    /// When dropped, it may have been done or not.
    pub async fn write<T, E>(
        &self,
        change: impl FnOnce(&TablesWrite<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<TablesError> + From<StoreError> + Send + 'static,
    {
        let tables = self.tables.clone();
        let (answer, outcome) = oneshot::channel();
        let task: writer::Task = Box::new(move |_| {
            let _ = answer.send(tables.write(change));
        });
        self.send(writer::Command::Run(task)).await?;
        outcome.await.map_err(|_| StoreError::Stopped)?
    }

    /// The peer's own records, for backup and restore.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// One round of housekeeping: takes lapsed reasons away, drops loose
    /// blocks that were put before `loose_before`, rewrites up to 16 MiB of a
    /// segment that is more than half dead.
    ///
    /// # Errors
    ///
    /// What the disk says.
    ///
    /// # Cancel safety
    ///
    /// When dropped, it may have been done or not.
    pub async fn keep_house(
        &self,
        loose_before: UnixSeconds,
    ) -> Result<Option<Compacted>, StoreError> {
        self.ask(move |blocks| {
            blocks.expire_roots(now())?;
            blocks.sweep_loose(loose_before)?;
            blocks.compact_step(REWRITE_BYTES)
        })
        .await
    }

    /// Whether the folder is held open.
    #[must_use]
    pub fn folder_use(&self) -> FolderUse {
        FolderUse(Arc::downgrade(&self.backend))
    }

    /// Finishes what is queued and ends the writer thread. Reads go on.
    pub async fn stop(&self) {
        let (answer, stopped) = oneshot::channel();
        if self.send(writer::Command::Stop(answer)).await.is_ok() {
            let _ = stopped.await;
        }
    }

    async fn put(
        &self,
        blocks: Vec<VerifiedBlock>,
        owner: Option<Owner>,
    ) -> Result<(), StoreError> {
        let bytes: usize = blocks.iter().map(|block| block.data().len()).sum();
        let permits = bytes
            .div_ceil(PERMIT_BYTES)
            .min(QUEUE_BYTES_MAX / PERMIT_BYTES);
        let permits = u32::try_from(permits).expect("a few thousand permits");
        let queue = Arc::clone(&self.queue);
        let permit = queue
            .acquire_many_owned(permits)
            .await
            .map_err(|_| StoreError::Stopped)?;
        let (answer, outcome) = oneshot::channel();
        let put = writer::Put {
            batch: Batch { blocks, owner },
            bytes,
            answer,
            _permit: permit,
        };
        self.send(writer::Command::Put(put)).await?;
        Ok(outcome.await.map_err(|_| StoreError::Stopped)??)
    }

    /// Runs `job` on the writer thread.
    async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut BlockStore) -> Result<T, BlockStoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, outcome) = oneshot::channel();
        let task: writer::Task = Box::new(move |blocks| {
            let _ = answer.send(job(blocks));
        });
        self.send(writer::Command::Run(task)).await?;
        Ok(outcome.await.map_err(|_| StoreError::Stopped)??)
    }

    async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&BlockReader) -> Result<T, BlockStoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = self.reader.clone();
        run_blocking(move || Ok(read(&reader)?)).await
    }

    async fn send(&self, command: writer::Command) -> Result<(), StoreError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| StoreError::Stopped)
    }
}

/// Forgets the bytes of a damaged block, so that it can be fetched again. One
/// that was mended since it was read stays.
fn drop_damaged(
    blocks: &mut BlockStore,
    cid: &Cid,
    damaged: &broadcast::Sender<Cid>,
) -> Result<(), BlockStoreError> {
    match blocks.reader().block(cid) {
        Err(BlockStoreError::Corrupt { .. }) => {
            tracing::warn!(%cid, "a block is damaged on disk and is dropped");
            blocks.drop_block(cid)?;
            // Nobody listens at a peer that promises nothing.
            let _ = damaged.send(*cid);
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads every block of a data folder whose peer does not run; `tell` hears
/// how many bytes are done.
///
/// # Errors
///
/// [`StoreError`] when the folder is in use or the disk fails; corrupt blocks
/// are in the report.
pub async fn verify_folder(
    folder: &Path,
    tell: impl Fn(u64) + Send + 'static,
) -> Result<VerifyReport, StoreError> {
    let store = StoreHandle::open(folder, BlockStoreConfig::with_size(u64::MAX >> 1))?;
    let report = store
        .verify(move |progress| {
            tell(progress.bytes);
            true
        })
        .await;
    store.stop().await;
    report
}

async fn run_blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(job)
        .await
        .map_err(|_| StoreError::Stopped)?
}

fn now() -> UnixSeconds {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds(since.map_or(0, |since| since.as_secs()))
}

/// Damaged blocks that a listener has not heard of yet. They are rare; one that
/// lags looks at all that it holds.
const DAMAGED_MAX: usize = 64;

/// Most bytes of blocks that wait for the writer. Derived: two groups of a commit, one
/// that is written and one that gathers.
pub const QUEUE_BYTES_MAX: usize = 32 << 20;

/// Bytes of one permit: counts of permits are 32 bits wide.
const PERMIT_BYTES: usize = 4096;

/// Commands that wait for the writer. Chosen: bytes are bounded above.
const COMMANDS_MAX: usize = 256;

/// Bytes of one step of a rewrite. Chosen: as a group commit, so that commands wait
/// no longer for it.
const REWRITE_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests;
