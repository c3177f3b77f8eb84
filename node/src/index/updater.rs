//! Keeps search up with the index. A commit of search on disk costs several
//! fsyncs, so that there is about one a second, beside the indexing.

use std::convert::Infallible;
use std::sync::Arc;
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
        reached: Arc<watch::Sender<u64>>,
        /// Dropped with the updater, which wakes the thread from its pause.
        _open: SyncSender<Infallible>,
    },
}

impl Updater {
    pub(super) fn spawn(
        search: Search,
        reader: Reader,
        fault: Arc<watch::Sender<Option<String>>>,
        reached: Arc<watch::Sender<u64>>,
    ) -> Result<Self, IndexTaskError> {
        let (changes, changed) = sync_channel(1);
        let (open, closed) = sync_channel(0);
        let thread = Thread {
            search,
            reader,
            fault,
            told: None,
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
                Ok(*reached.borrow())
            }
        }
    }
}

struct Thread {
    search: Search,
    reader: Reader,
    fault: Arc<watch::Sender<Option<String>>>,
    /// The fault that was told last, until it is over.
    told: Option<String>,
    reached: Arc<watch::Sender<u64>>,
}

impl Thread {
    fn run(mut self, changed: &Receiver<()>, closed: &Receiver<Infallible>) {
        let mut is_behind = false;
        loop {
            let change = match is_behind {
                true => changed.recv_timeout(RETRY_PAUSE),
                false => changed.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if change == Err(RecvTimeoutError::Disconnected) {
                break;
            }
            is_behind = !self.sync();
            if closed.recv_timeout(COMMIT_PAUSE) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        if changed.try_recv().is_ok() {
            self.sync();
        }
    }

    /// False when it is to be tried again.
    fn sync(&mut self) -> bool {
        match self.try_sync() {
            Ok(reached) => {
                self.reached.send_replace(reached);
                if let Some(told) = self.told.take() {
                    self.fault
                        .send_if_modified(|fault| fault.take_if(|fault| *fault == told).is_some());
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "search does not follow the index; it is tried again");
                let fault = format!(
                    "the search index failed: {error}; if that goes on, stop, delete the folder `search` and start again"
                );
                self.fault.send_replace(Some(fault.clone()));
                self.told = Some(fault);
                false
            }
        }
    }

    fn try_sync(&mut self) -> Result<u64, SearchError> {
        self.search.sync(&self.reader.snapshot()?)
    }
}

/// Pause before a failed commit is tried again. Chosen: a full disk is not made room
/// on faster.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Pause between two commits. Chosen: a commit flushes, and what is a second old is
/// found soon enough.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);
