//! A real folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Backend, BackendFile};

/// A folder on disk, locked for as long as this value lives.
#[derive(Debug)]
pub struct FileBackend {
    folder: PathBuf,
    _lock: File,
}

#[derive(Debug)]
struct RealFile(File);

impl FileBackend {
    /// Creates the folder when it is missing and locks it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::ResourceBusy`] when another process has it, with a text
    /// that can be shown as it is; otherwise what the operating system says,
    /// with the path.
    pub fn open(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        let named = |what: &str, error: io::Error| {
            let text = format!("cannot {what} `{}`: {error}", folder.display());
            io::Error::new(error.kind(), text)
        };
        std::fs::create_dir_all(&folder).map_err(|error| named("create folder", error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join(LOCK_NAME))
            .map_err(|error| named("lock folder", error))?;
        let free = fs4::fs_std::FileExt::try_lock_exclusive(&lock)
            .map_err(|error| named("lock folder", error))?;
        if !free {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "folder `{}` is in use by another coliving process; stop it or choose another data folder",
                    folder.display()
                ),
            ));
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The folder with the files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes creations, removals and renames durable.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

impl Backend for FileBackend {
    fn open(&self, name: &str) -> io::Result<Arc<dyn BackendFile>> {
        let path = self.folder.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = options.create(true).truncate(false).open(&path)?;
                self.sync_folder()?;
                file
            }
            other => other?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))?;
        self.sync_folder()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))?;
        self.sync_folder()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stats = rustix::fs::statvfs(&self.folder)?;
        Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }
}

impl BackendFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }
}

const LOCK_NAME: &str = "LOCK";
