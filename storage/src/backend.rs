//! Where bytes go: a folder of files, or its twin in memory that crashes,
//! fails and fills up on demand.
//!
//! A backend is one flat folder, locked by one process. Files are written at
//! offsets and synced explicitly; nothing is durable before [`BackendFile::sync`].

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use file::FileBackend;
pub use memory::MemoryBackend;

mod file;
mod memory;

/// A locked folder of files.
pub trait Backend: Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing, creating it when it is missing.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn BackendFile>>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file; readers that have it open may go on reading.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; a missing file is an error.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing `to`.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; a missing file is an error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Bytes that an unprivileged process may still write to the disk below.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// What to call the folder in messages.
    fn name(&self) -> String;
}

/// One open file of a [`Backend`].
pub trait BackendFile: Debug + Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`, growing the file when needed.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says; part of `data` may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes everything written so far survive a power cut.
    ///
    /// # Errors
    ///
    /// After an error nothing written since the last success can be relied on.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or grows it with zeros.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says.
    fn truncate(&self, size: u64) -> io::Result<()>;
}
