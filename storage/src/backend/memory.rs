//! A folder in memory whose power can be cut, whose writes can fail and whose
//! disk can be full.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Backend, BackendFile};

/// A folder in memory; clones are the same folder.
///
/// Every write, truncation and sync is one step. Steps can be counted, made to
/// fail from a given one on, and replayed up to a power cut with
/// [`MemoryBackend::crash_image`].
#[derive(Debug, Clone, Default)]
pub struct MemoryBackend(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct Disk {
    files: BTreeMap<String, Arc<Mutex<Content>>>,
    steps: u64,
    fault: Option<Fault>,
    free: u64,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    step: u64,
    steps: u64,
    error: rustix::io::Errno,
}

/// What a program sees, and what a power cut leaves.
#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Size(usize),
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryBackend,
    content: Arc<Mutex<Content>>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            steps: 0,
            fault: None,
            free: u64::MAX,
        }
    }
}

impl MemoryBackend {
    /// Makes an empty folder on an endless disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many writes, truncations and syncs there were.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.disk().steps
    }

    /// Cuts the power at step `step`: it and all later ones fail with EIO.
    pub fn cut_power_at(&self, step: u64) {
        self.fail_at(step, u64::MAX, rustix::io::Errno::IO);
    }

    /// Makes the `steps` steps from `step` on fail with ENOSPC.
    pub fn fill_disk_at(&self, step: u64, steps: u64) {
        self.fail_at(step, steps, rustix::io::Errno::NOSPC);
    }

    /// Makes the `steps` steps from `step` on fail with EIO.
    pub fn break_disk_at(&self, step: u64, steps: u64) {
        self.fail_at(step, steps, rustix::io::Errno::IO);
    }

    /// Sets what [`Backend::free_bytes`] reports.
    pub fn set_free_bytes(&self, free: u64) {
        self.disk().free = free;
    }

    /// What a restart finds when the power fails at this moment.
    ///
    /// Synced bytes are there. Each unsynced write is there, missing or torn,
    /// as `seed` decides; seed 0 loses all of them and seed 1 keeps all.
    /// Changes of size are kept, as a file system's journal does.
    #[must_use]
    pub fn crash_image(&self, seed: u64) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut files = BTreeMap::new();
        let seen = self.disk().files.clone();
        for (name, content) in seen {
            let content = lock(&content);
            let mut durable = content.durable.clone();
            for change in &content.unsynced {
                match change {
                    Change::Size(size) => durable.resize(*size, 0),
                    Change::Write { offset, data } => {
                        let kept = match (seed, chance.draw(3)) {
                            (1, _) => data.len(),
                            (0, _) | (_, 0) => 0,
                            (_, 1) => data.len(),
                            _ => chance.draw(data.len()),
                        };
                        write(&mut durable, *offset, &data[..kept]);
                    }
                }
            }
            let content = Content {
                seen: durable.clone(),
                durable,
                unsynced: Vec::new(),
            };
            files.insert(name, Arc::new(Mutex::new(content)));
        }
        Self(Arc::new(Mutex::new(Disk {
            files,
            ..Disk::default()
        })))
    }

    /// Ends the process that has files open: what it wrote stays, and what its
    /// handles write from now on reaches nobody else.
    pub fn end_process(&self) {
        // A writer locks its file before the disk: not both at the same time here.
        let files = self.disk().files.clone();
        let copies = files.into_iter().map(|(name, content)| {
            let copy = lock(&content).clone();
            (name, Arc::new(Mutex::new(copy)))
        });
        let copies = copies.collect();
        self.disk().files = copies;
    }

    /// Flips one bit of a file, as a failing disk does.
    ///
    /// # Panics
    ///
    /// When there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: usize) {
        let file = Arc::clone(&self.disk().files[name]);
        let mut content = lock(&file);
        content.seen[offset] ^= 1;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= 1;
        }
    }

    fn fail_at(&self, step: u64, steps: u64, error: rustix::io::Errno) {
        self.disk().fault = Some(Fault { step, steps, error });
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.0)
    }

    /// Counts a step and says whether it fails.
    fn step(&self) -> io::Result<()> {
        let mut disk = self.disk();
        let step = disk.steps;
        disk.steps += 1;
        match disk.fault {
            Some(fault) if step >= fault.step && step - fault.step < fault.steps => {
                Err(fault.error.into())
            }
            _ => Ok(()),
        }
    }
}

impl Backend for MemoryBackend {
    fn open(&self, name: &str) -> io::Result<Arc<dyn BackendFile>> {
        let content = Arc::clone(self.disk().files.entry(name.to_owned()).or_default());
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            content,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step()?;
        let removed = self.disk().files.remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step()?;
        let mut disk = self.disk();
        let content = disk.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.files.insert(to.to_owned(), content);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.disk().free)
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

impl BackendFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.content).seen.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = lock(&self.content);
        let start = index(offset)?;
        let end = start.saturating_add(out.len());
        let bytes = content
            .seen
            .get(start..end)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = index(offset)?;
        let mut content = lock(&self.content);
        let outcome = self.disk.step();
        // A write that fails may still have left its first half.
        let data = if outcome.is_ok() {
            data
        } else {
            &data[..data.len() / 2]
        };
        write(&mut content.seen, offset, data);
        let data = data.to_vec();
        content.unsynced.push(Change::Write { offset, data });
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = lock(&self.content);
        self.disk.step()?;
        // Replayed and not copied: a sync costs what was written.
        for change in std::mem::take(&mut content.unsynced) {
            match change {
                Change::Size(size) => content.durable.resize(size, 0),
                Change::Write { offset, data } => write(&mut content.durable, offset, &data),
            }
        }
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let size = index(size)?;
        let mut content = lock(&self.content);
        self.disk.step()?;
        content.seen.resize(size, 0);
        content.unsynced.push(Change::Size(size));
        Ok(())
    }
}

/// A small generator: the same seed tears the same writes.
struct Chance(u64);

impl Chance {
    fn draw(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
