//! Tasks by floors: what was started last is stopped first, and waited for.
//!
//! A part of a peer runs its tasks on a [`Floor`]. Ending one tells its tasks so
//! and returns when none of them runs any more; only then does the floor below
//! end, so that no task meets a part that has stopped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The tasks of one part; clones are the same floor.
#[derive(Debug, Clone)]
pub struct Floor {
    name: &'static str,
    stop: CancellationToken,
    /// Held for a moment only, never while waiting.
    tasks: Arc<Mutex<Tasks>>,
}

#[derive(Debug, Default)]
struct Tasks {
    running: JoinSet<()>,
    has_ended: bool,
}

/// The floors of a peer in the order of their start; clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Floors {
    floors: Arc<Mutex<Vec<Floor>>>,
}

impl Floor {
    /// A floor without tasks, named in logs.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            stop: CancellationToken::new(),
            tasks: Arc::default(),
        }
    }

    /// Cancelled when the floor's tasks are to end.
    #[must_use]
    pub const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task, which has to end soon after [`Self::stop`] is cancelled. On a
    /// floor that has ended it is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        if tasks.has_ended {
            return;
        }
        // Those that have ended are not kept until the stop.
        while let Some(ended) = tasks.running.try_join_next() {
            self.note(ended);
        }
        tasks.running.spawn(task);
    }

    /// Tells all tasks to end and waits until they have.
    pub async fn end(&self) {
        self.stop.cancel();
        loop {
            let mut running = {
                let mut tasks = self.tasks();
                if tasks.running.is_empty() {
                    tasks.has_ended = true;
                    break;
                }
                std::mem::take(&mut tasks.running)
            };
            // A task may start another one before it ends.
            while let Some(ended) = running.join_next().await {
                self.note(ended);
            }
        }
        tracing::debug!(floor = self.name, "stopped");
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            tracing::error!(floor = self.name, %error, "a task broke off");
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floors {
    /// A floor on top of all others.
    #[must_use]
    pub fn add(&self, name: &'static str) -> Floor {
        let floor = Floor::new(name);
        self.floors().push(floor.clone());
        floor
    }

    /// True when none stands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floors().is_empty()
    }

    /// Ends the floors, the newest first.
    pub async fn end(&self) {
        loop {
            // It stays on the list until it has ended: whoever waits, waits for it.
            let Some(top) = self.floors().last().cloned() else {
                return;
            };
            top.end().await;
            self.floors().pop();
        }
    }

    fn floors(&self) -> MutexGuard<'_, Vec<Floor>> {
        self.floors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
