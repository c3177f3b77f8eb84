//! Keeps search up with the index. A commit of search on disk costs several
//! fsyncs, so that there is about one a second, beside the indexing.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use storage::index::{Index, Reader};
use storage::search::{Search, SearchError};
use tokio::sync::watch;

use super::{IndexTaskError, search_error};

/// The writer's side.
pub(super) enum Updater {
    /// Search is up to date when the call returns.
    Inline(Box<Search>),
    /// Search follows within about a second.
    Thread {
        /// Has room for one: a change during a commit is not lost.
        changes: SyncSender<()>,
        /// How far search is.
        reached: Arc<AtomicU64>,
        /// Dropped with the updater, which wakes the thread from its pause.
        _open: SyncSender<Infallible>,
    },
}

impl Updater {
    pub(super) fn spawn(
        search: Search,
        reader: Reader,
        fault: Arc<watch::Sender<Option<String>>>,
    ) -> Result<Self, IndexTaskError> {
        let (changes, changed) = sync_channel(1);
        let (open, closed) = sync_channel(0);
        let reached = Arc::new(AtomicU64::new(0));
        let thread = Thread {
            search,
            reader,
            fault,
            reached: Arc::clone(&reached),
        };
        std::thread::Builder::new()
            .name("search-writer".to_owned())
            .spawn(move || thread.run(&changed, &closed))
            .map_err(search_error)?;
        Ok(Self::Thread {
            changes,
            reached,
            _open: open,
        })
    }

    /// Lets search follow the index; returns up to where it has followed.
    pub(super) fn update(&mut self, index: &Index) -> Result<u64, IndexTaskError> {
        match self {
            Self::Inline(search) => search.sync(&index.snapshot()?).map_err(search_error),
            Self::Thread {
                changes, reached, ..
            } => {
                // When there is no room, an update is due already.
                let _ = changes.try_send(());
                Ok(reached.load(Ordering::Relaxed))
            }
        }
    }
}

struct Thread {
    search: Search,
    reader: Reader,
    fault: Arc<watch::Sender<Option<String>>>,
    reached: Arc<AtomicU64>,
}

impl Thread {
    fn run(mut self, changed: &Receiver<()>, closed: &Receiver<Infallible>) {
        while changed.recv().is_ok() {
            self.sync();
            if closed.recv_timeout(COMMIT_PAUSE) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        if changed.try_recv().is_ok() {
            self.sync();
        }
    }

    fn sync(&mut self) {
        match self.try_sync() {
            Ok(reached) => self.reached.store(reached, Ordering::Relaxed),
            Err(error) => {
                tracing::error!(%error, "search does not follow the index");
                self.fault.send_replace(Some(format!(
                    "the search index failed: {error}; stop, delete the folder `search` and start again"
                )));
            }
        }
    }

    fn try_sync(&mut self) -> Result<u64, SearchError> {
        self.search.sync(&self.reader.snapshot()?)
    }
}

/// Pause between two commits.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
