//! The index behind a handle: one thread writes, readers hold snapshots.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cid::Cid;
use storage::index::{Applied, FileUse, Index, IndexError, Reader, RecoveredBlock, Snapshot};
use storage::search::{Search, Searcher};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

mod updater;

use updater::Updater;

/// Talks to the index's writer thread; cheap to clone. The thread ends with the
/// last handle.
#[derive(Debug, Clone)]
pub struct IndexHandle {
    commands: mpsc::Sender<Command>,
    reader: Reader,
    search: Arc<Searcher>,
    height: watch::Receiver<Height>,
    fault: Arc<watch::Sender<Option<String>>>,
    goal: Arc<watch::Sender<Option<u64>>>,
    settled: Arc<watch::Sender<u64>>,
    searched: watch::Receiver<u64>,
    changes: broadcast::Sender<Arc<Changes>>,
}

/// The roots whose references one step of the index changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The last applied block after the step.
    pub height: u64,
    /// The roots, in order.
    pub roots: Vec<Cid>,
    /// False when any root's references may have changed: scan them all.
    pub is_complete: bool,
}

/// How far the index reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Height {
    /// The last applied block.
    pub block_number: u64,
    /// Entries up to it.
    pub entries: u64,
}

/// Why the index did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexTaskError {
    /// The index refused or failed.
    #[error(transparent)]
    Index(Arc<IndexError>),
    /// The search index failed.
    #[error("the search index failed: {0}; delete the folder `search` and start again")]
    Search(String),
    /// The writer thread has ended.
    #[error("the node is stopping")]
    Stopped,
}

enum Command {
    Apply {
        blocks: Vec<RecoveredBlock>,
        reply: oneshot::Sender<Result<Applied, IndexTaskError>>,
    },
    Rollback {
        to: u64,
        reply: oneshot::Sender<Result<(), IndexTaskError>>,
    },
    Clear {
        reply: oneshot::Sender<Result<(), IndexTaskError>>,
    },
}

impl IndexTaskError {
    /// True when the index has to be made again.
    #[must_use]
    pub fn asks_for_a_new_index(&self) -> bool {
        match self {
            Self::Index(error) => !matches!(
                **error,
                IndexError::Database(_)
                    | IndexError::Closed
                    | IndexError::Format { .. }
                    | IndexError::Entry { .. }
            ),
            Self::Search(_) | Self::Stopped => false,
        }
    }
}

impl IndexHandle {
    /// Opens the index and its search in a folder and starts the writer thread.
    ///
    /// # Errors
    ///
    /// [`IndexTaskError`] says what is damaged and what to delete.
    pub fn open(folder: &Path) -> Result<Self, IndexTaskError> {
        let index = Index::open(folder)?;
        let search = Search::open(&folder.join("search")).map_err(search_error)?;
        Self::spawn(index, search, true)
    }

    /// An index that lives as long as its handles.
    ///
    /// # Errors
    ///
    /// [`IndexTaskError`] when memory or a thread is not to be had.
    pub fn in_memory() -> Result<Self, IndexTaskError> {
        let search = Search::in_memory().map_err(search_error)?;
        Self::spawn(Index::in_memory()?, search, false)
    }

    /// Search on disk has a thread of its own, because its commits are slow.
    fn spawn(index: Index, mut search: Search, is_on_disk: bool) -> Result<Self, IndexTaskError> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let reached = search.sync(&index.snapshot()?).map_err(search_error)?;
        let (searched, searched_seen) = watch::channel(reached);
        let searched = Arc::new(searched);
        let (height, height_seen) = watch::channel(height_of(&index)?);
        let fault = Arc::new(watch::channel(None).0);
        let changes = broadcast::Sender::new(CHANGES_MAX);
        let handle = Self {
            commands,
            reader: index.reader(),
            search: Arc::new(search.searcher()),
            height: height_seen,
            fault: Arc::clone(&fault),
            goal: Arc::new(watch::channel(None).0),
            settled: Arc::new(watch::channel(0).0),
            searched: searched_seen,
            changes: changes.clone(),
        };
        let search = match is_on_disk {
            true => Updater::spawn(search, index.reader(), fault, Arc::clone(&searched))?,
            false => Updater::Inline(Box::new(search)),
        };
        let writer = Writer {
            index,
            search,
            searched,
            trimmed: 0,
            height,
            changes,
        };
        std::thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || writer.run(inbox))
            .map_err(|error| IndexTaskError::Search(error.to_string()))?;
        Ok(handle)
    }

    /// Applies blocks in order, all or none.
    ///
    /// # Errors
    ///
    /// As `storage::index::Index::apply_all`.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the blocks may have been applied or not.
    pub async fn apply(&self, blocks: Vec<RecoveredBlock>) -> Result<Applied, IndexTaskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Apply { blocks, reply }).await?;
        answer.await.map_err(|_| IndexTaskError::Stopped)?
    }

    /// Takes back every block above `to`.
    ///
    /// # Errors
    ///
    /// As `storage::index::Index::rollback`.
    pub async fn rollback(&self, to: u64) -> Result<(), IndexTaskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Rollback { to, reply }).await?;
        answer.await.map_err(|_| IndexTaskError::Stopped)?
    }

    /// Deletes everything in the index, so that it can be made again.
    ///
    /// # Errors
    ///
    /// Database errors; nothing is deleted then.
    pub async fn clear(&self) -> Result<(), IndexTaskError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Clear { reply }).await?;
        answer.await.map_err(|_| IndexTaskError::Stopped)?
    }

    /// What keeps the index from going on, for the owner to read.
    #[must_use]
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.fault.subscribe()
    }

    /// Notes what keeps the index from going on, or that nothing does.
    pub(crate) fn set_fault(&self, fault: Option<String>) {
        self.fault.send_if_modified(|known| {
            let is_news = *known != fault;
            *known = fault;
            is_news
        });
    }

    /// Notes that a majority has this many entries.
    pub(crate) fn set_goal(&self, entries: u64) {
        self.goal.send_if_modified(|goal| {
            let is_news = *goal != Some(entries);
            *goal = Some(entries);
            is_news
        });
    }

    /// Notes that everything up to a block is here as the chain has it for good.
    pub(crate) fn set_settled(&self, block_number: u64) {
        self.settled.send_if_modified(|settled| {
            let is_news = *settled != block_number;
            *settled = block_number;
            is_news
        });
    }

    /// The block up to which nothing here is taken back, as it changes; 0 before
    /// the chain was compared, and again when the index is made anew.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<u64> {
        self.settled.subscribe()
    }

    /// Resolves once it is known how many entries a majority has, and all of
    /// them are here and can be searched.
    pub async fn caught_up(&self) {
        let (mut goal, mut height) = (self.goal.subscribe(), self.height());
        let is_here =
            |goal: Option<u64>, height: Height| goal.is_some_and(|goal| height.entries >= goal);
        while !is_here(*goal.borrow_and_update(), *height.borrow_and_update()) {
            // The one side is kept here, the other ends with the peer.
            tokio::select! {
                _ = goal.changed() => {}
                changed = height.changed() => if changed.is_err() { return },
            }
        }
        let changes = self.snapshot().and_then(|index| Ok(index.touched_count()?));
        if let Ok(changes) = changes {
            let mut searched = self.searched.clone();
            // An error means that the peer is stopping.
            let _ = searched.wait_for(|searched| *searched >= changes).await;
        }
    }

    /// The index as it is.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn snapshot(&self) -> Result<Snapshot, IndexTaskError> {
        Ok(self.reader.snapshot()?)
    }

    /// Tells when the index's file is closed, which is after the last handle.
    #[must_use]
    pub fn file_use(&self) -> FileUse {
        self.reader.file_use()
    }

    /// Full-text search over the index.
    #[must_use]
    pub fn search(&self) -> &Searcher {
        &self.search
    }

    /// How far the index reaches, as it changes.
    #[must_use]
    pub fn height(&self) -> watch::Receiver<Height> {
        self.height.clone()
    }

    /// Which roots' references change, step by step; steps that change none are
    /// left out. Subscribe before reading the index. A receiver that lags behind
    /// has to scan all roots again.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.changes.subscribe()
    }

    async fn send(&self, command: Command) -> Result<(), IndexTaskError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| IndexTaskError::Stopped)
    }
}

struct Writer {
    index: Index,
    search: Updater,
    /// How far search is.
    searched: Arc<watch::Sender<u64>>,
    /// Up to where the change log is trimmed.
    trimmed: u64,
    height: watch::Sender<Height>,
    changes: broadcast::Sender<Arc<Changes>>,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while let Some(command) = inbox.blocking_recv() {
            // The caller may have gone away; the work is done all the same.
            match command {
                Command::Apply { blocks, reply } => {
                    let _ = reply.send(self.apply(&blocks));
                }
                Command::Rollback { to, reply } => {
                    let _ = reply.send(self.rollback(to));
                }
                Command::Clear { reply } => {
                    let _ = reply.send(self.clear());
                }
            }
        }
    }

    fn apply(&mut self, blocks: &[RecoveredBlock]) -> Result<Applied, IndexTaskError> {
        let applied = self.index.apply_all(blocks);
        let applied = self.note_step(applied, |applied| &applied.roots)?;
        if applied.accepted > 0 {
            self.update_search()?;
        }
        Ok(applied)
    }

    fn rollback(&mut self, to: u64) -> Result<(), IndexTaskError> {
        let roots = self.index.rollback(to);
        self.note_step(roots, |roots| roots)?;
        self.update_search()
    }

    fn clear(&mut self) -> Result<(), IndexTaskError> {
        self.index.clear()?;
        self.trimmed = 0;
        self.reach()?;
        self.tell(Vec::new(), false);
        self.update_search()
    }

    /// Tells height and changes after a step. One that a disk error ended may
    /// have landed all the same.
    fn note_step<T>(
        &self,
        step: Result<T, IndexError>,
        roots: impl FnOnce(&T) -> &BTreeSet<Cid>,
    ) -> Result<T, IndexTaskError> {
        if let Err(IndexError::Database(_)) = &step {
            self.tell(Vec::new(), false);
        }
        let step = step?;
        let reached = self.reach();
        let roots = roots(&step);
        if roots.len() > CHANGED_ROOTS_MAX {
            self.tell(Vec::new(), false);
        } else if !roots.is_empty() {
            self.tell(roots.iter().copied().collect(), true);
        }
        reached?;
        Ok(step)
    }

    fn reach(&self) -> Result<(), IndexTaskError> {
        self.height.send_replace(height_of(&self.index)?);
        Ok(())
    }

    fn tell(&self, roots: Vec<Cid>, is_complete: bool) {
        let height = self.height.borrow().block_number;
        // Without a receiver nobody wants to know.
        let _ = self.changes.send(Arc::new(Changes {
            height,
            roots,
            is_complete,
        }));
    }

    fn update_search(&mut self) -> Result<(), IndexTaskError> {
        let reached = self.search.update(&self.index)?;
        // The updater's thread tells it itself.
        if let Updater::Inline(_) = self.search {
            self.searched.send_replace(reached);
        }
        if reached >= self.trimmed.saturating_add(TRIM_CHANGES_MIN) {
            self.index.trim_touched(reached)?;
            self.trimmed = reached;
        }
        Ok(())
    }
}

fn height_of(index: &Index) -> Result<Height, IndexTaskError> {
    let cursor = index.snapshot()?.cursor()?;
    Ok(cursor.map_or_else(Height::default, |cursor| Height {
        block_number: cursor.number,
        entries: cursor.peaks.count,
    }))
}

fn search_error(error: impl std::fmt::Display) -> IndexTaskError {
    IndexTaskError::Search(error.to_string())
}

impl From<IndexError> for IndexTaskError {
    fn from(error: IndexError) -> Self {
        Self::Index(Arc::new(error))
    }
}

/// The change log is trimmed after this many changes. Chosen: seldom beside the
/// changes, and the log stays below a MB.
const TRIM_CHANGES_MIN: u64 = 10_000;

/// Steps that a receiver of [`IndexHandle::changes`] may lag behind: some
/// minutes of blocks.
const CHANGES_MAX: usize = 64;

/// Most roots of one step that are told one by one; it bounds what a slow
/// receiver keeps in memory to some 25 MiB.
const CHANGED_ROOTS_MAX: usize = 4096;

/// Commands waiting for the writer; senders wait when it is full. Chosen: each may
/// hold the blocks of a step.
const COMMANDS_MAX: usize = 16;

#[cfg(test)]
mod tests;
