//! Files into blocks and back: reading, hashing and storing at the same time.
//!
//! An import runs one reading thread and a few hashing threads beside the
//! caller's, which puts the DAG together and stores it in batches. Chunk i goes
//! to hasher i mod n and is taken back from there, so they stay in order without
//! being sorted. Every channel is bounded; memory does not depend on the file.
//!
//! Where the blocks go and come from is a closure, so this works on any store.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use cid::Cid;
use protocol::unixfs::{DagError, Importer, Leaf, Profile, Reader, Root, Step, VerifiedBlock};

/// How an import is done.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// How bytes become blocks. Default: `unixfs-v1-2025`.
    pub profile: Profile,
    /// Threads that hash. Default: one per core, at most [`HASHERS_MAX`].
    pub hashers: usize,
    /// Bytes that are stored at once. Default: 16 MiB; a smaller batch costs
    /// more flushes, a larger one more memory.
    pub batch_bytes: usize,
}

/// What an import ended in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Address and size of the file.
    pub root: Root,
    /// The blocks in the order they were stored, the root last. A block that
    /// occurs twice is listed twice.
    pub blocks: Vec<Cid>,
}

/// Why a file was not imported. Blocks that were stored before stay where they
/// are, without anything that refers to them.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E> {
    /// Reading failed half-way.
    #[error("cannot read beyond byte {offset}: {source}")]
    Read {
        /// Bytes that were read before.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// The store refused a batch.
    #[error(transparent)]
    Store(E),
}

/// Why a file was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(E),
    /// A block is not in the store.
    #[error("block {cid} is missing; fetch the file again")]
    Missing {
        /// The block that is not there.
        cid: Cid,
    },
    /// The DAG is not a file.
    #[error("{0}")]
    Dag(Box<DagError>),
    /// The output cannot be written.
    #[error("cannot write beyond byte {offset}: {source}")]
    Write {
        /// Bytes that were written before.
        offset: u64,
        /// What the operating system said.
        source: io::Error,
    },
}

impl Default for ImportOptions {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            profile: Profile::default(),
            hashers: cores.min(HASHERS_MAX),
            // Chosen: few flushes beside the bytes, and a bound on memory.
            batch_bytes: 16 << 20,
        }
    }
}

/// Imports all bytes of `source`. `store` is called with batches of checked
/// blocks, children before parents; `progress` with the bytes stored so far,
/// after each batch.
///
/// # Errors
///
/// [`ImportError::Read`] and [`ImportError::Store`].
pub fn import<E>(
    source: impl Read + Send,
    options: &ImportOptions,
    store: impl FnMut(Vec<VerifiedBlock>) -> Result<(), E>,
    progress: impl FnMut(u64),
) -> Result<Imported, ImportError<E>> {
    let hashers = options.hashers.clamp(1, HASHERS_MAX);
    let profile = options.profile;
    let queued = (options.batch_bytes / profile.chunk_bytes() / hashers).clamp(1, QUEUED_MAX);
    thread::scope(|scope| {
        let mut to_hashers = Vec::with_capacity(hashers);
        let mut from_hashers = Vec::with_capacity(hashers);
        for _ in 0..hashers {
            let (chunk_sender, chunks) = sync_channel(1);
            let (leaf_sender, leaves) = sync_channel(queued);
            scope.spawn(move || hash_chunks(profile, &chunks, &leaf_sender));
            to_hashers.push(chunk_sender);
            from_hashers.push(leaves);
        }
        scope.spawn(move || read_chunks(source, profile.chunk_bytes(), &to_hashers));
        let mut assembly = Assembly {
            importer: Importer::new(profile),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_bytes_max: options.batch_bytes,
            blocks: Vec::new(),
            file_bytes: 0,
            store,
            progress,
        };
        for idx in 0.. {
            // A closed channel ends the file: the reader closes all at once,
            // and this one has delivered everything before.
            let Ok(leaf) = from_hashers[idx % hashers].recv() else {
                break;
            };
            let leaf = leaf.map_err(|source| ImportError::Read {
                offset: assembly.file_bytes,
                source,
            })?;
            assembly.push(leaf).map_err(ImportError::Store)?;
        }
        assembly.finish().map_err(ImportError::Store)
    })
}

/// Writes a range of the file `root` to `out` and returns how many bytes it
/// had. `get` returns checked blocks.
///
/// # Errors
///
/// [`ExportError`] says what was missing or failed.
pub fn export<E>(
    root: Cid,
    range: Range<u64>,
    mut get: impl FnMut(&Cid) -> Result<Option<Bytes>, E>,
    mut out: impl Write,
) -> Result<u64, ExportError<E>> {
    let dag_error = |error| ExportError::Dag(Box::new(error));
    let mut reader = Reader::new(root, range);
    let mut written = 0;
    let write_error = |offset| move |source| ExportError::Write { offset, source };
    loop {
        match reader.poll().map_err(dag_error)? {
            Step::Need(cid) => {
                let data = get(&cid)
                    .map_err(ExportError::Store)?
                    .ok_or(ExportError::Missing { cid })?;
                reader.handle_block(&cid, &data).map_err(dag_error)?;
            }
            Step::Ready(bytes) => {
                out.write_all(&bytes).map_err(write_error(written))?;
                written += bytes.len() as u64;
            }
            Step::Done => {
                out.flush().map_err(write_error(written))?;
                return Ok(written);
            }
        }
    }
}

/// The caller's side of an import.
struct Assembly<S, P> {
    importer: Importer,
    batch: Vec<VerifiedBlock>,
    batch_bytes: usize,
    batch_bytes_max: usize,
    blocks: Vec<Cid>,
    file_bytes: u64,
    store: S,
    progress: P,
}

impl<S, P, E> Assembly<S, P>
where
    S: FnMut(Vec<VerifiedBlock>) -> Result<(), E>,
    P: FnMut(u64),
{
    fn push(&mut self, leaf: Leaf) -> Result<(), E> {
        self.file_bytes += leaf.file_bytes();
        self.importer.push_leaf(leaf);
        while let Some(block) = self.importer.poll_block() {
            self.keep(block)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Imported, E> {
        let (root, rest) = self.importer.clone().finish();
        for block in rest {
            self.keep(block)?;
        }
        self.flush()?;
        Ok(Imported {
            root,
            blocks: self.blocks,
        })
    }

    fn keep(&mut self, block: VerifiedBlock) -> Result<(), E> {
        self.batch_bytes += block.data().len();
        self.blocks.push(*block.cid());
        self.batch.push(block);
        if self.batch_bytes >= self.batch_bytes_max {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        (self.store)(std::mem::take(&mut self.batch))?;
        (self.progress)(self.file_bytes);
        Ok(())
    }
}

/// Cuts the source into chunks until its end, its first error, or until nobody listens.
fn read_chunks(
    mut source: impl Read,
    chunk_bytes: usize,
    hashers: &[SyncSender<io::Result<Bytes>>],
) {
    for hasher in hashers.iter().cycle() {
        let chunk = read_chunk(&mut source, chunk_bytes);
        let is_last = chunk
            .as_ref()
            .map_or(true, |chunk| chunk.len() < chunk_bytes);
        let is_empty = chunk.as_ref().is_ok_and(Bytes::is_empty);
        if is_empty || hasher.send(chunk).is_err() || is_last {
            return;
        }
    }
}

fn read_chunk(source: &mut impl Read, chunk_bytes: usize) -> io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(chunk_bytes);
    source.take(chunk_bytes as u64).read_to_end(&mut chunk)?;
    Ok(Bytes::from(chunk))
}

fn hash_chunks(
    profile: Profile,
    chunks: &Receiver<io::Result<Bytes>>,
    leaves: &SyncSender<io::Result<Leaf>>,
) {
    while let Ok(chunk) = chunks.recv() {
        if leaves
            .send(chunk.map(|chunk| Leaf::new(profile, chunk)))
            .is_err()
        {
            return;
        }
    }
}

/// Hashing threads of one import. Derived: at 0.4 GB/s each they outrun
/// the disk, which takes 1 GB/s.
pub const HASHERS_MAX: usize = 8;

/// Chunks that wait behind one hasher. Chosen: 64 MiB of 1 MiB chunks, so that the
/// reader and the store do not wait for each other.
const QUEUED_MAX: usize = 64;

#[cfg(test)]
mod tests;
