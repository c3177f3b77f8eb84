//! Where connections and requests are let in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::edge::{Config, ConnectionId, Connections, Source};
use rpc::Clock;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Counter, Gauge, Metrics};

/// Where connections, or the requests of clients behind proxies, are let in.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    /// Held for a moment only, never while waiting.
    inside: Mutex<Inside>,
    open: Gauge,
    refused: Counter,
    replaced: Counter,
}

#[derive(Debug)]
struct Inside {
    connections: Connections,
    ends: BTreeMap<ConnectionId, CancellationToken>,
}

/// What was let in; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Door,
    id: ConnectionId,
    /// Cancelled when another one takes the place.
    pub(super) ended: CancellationToken,
    is_answering: AtomicBool,
    is_blocked: AtomicBool,
}

impl Door {
    /// A door whose metrics begin with `http_` and `what`.
    pub(super) fn new(clock: Clock, metrics: &Metrics, what: &str) -> Self {
        let name = |end: &str| format!("http_{what}{end}");
        let inside = Inside {
            connections: Connections::new(Config::default()),
            ends: BTreeMap::new(),
        };
        Self(Arc::new(Shared {
            clock,
            inside: Mutex::new(inside),
            open: metrics.gauge(&name(""), "HTTP: what is open at a time"),
            refused: metrics.counter(&name("_refused"), "HTTP: refused for want of a place"),
            replaced: metrics.counter(&name("_replaced"), "HTTP: gave its place to another"),
        }))
    }

    /// A place, unless there is none.
    pub(super) fn open(&self, source: Source) -> Option<Arc<Place>> {
        let now = self.0.clock.now();
        let mut inside = self.inside();
        let Ok(opened) = inside.connections.handle_open(source, now) else {
            self.0.refused.inc();
            return None;
        };
        if let Some(end) = opened.closed.and_then(|id| inside.ends.remove(&id)) {
            self.0.replaced.inc();
            end.cancel();
        }
        let ended = CancellationToken::new();
        inside.ends.insert(opened.id, ended.clone());
        self.show(&inside);
        Some(Arc::new(Place {
            door: self.clone(),
            id: opened.id,
            ended,
            is_answering: AtomicBool::new(false),
            is_blocked: AtomicBool::new(false),
        }))
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.inside().connections.count()
    }

    fn show(&self, inside: &Inside) {
        let count = i64::try_from(inside.connections.count());
        self.0.open.set(count.unwrap_or(i64::MAX));
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        let inside = self.0.inside.lock();
        inside.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The whole request is here, or its answer is done.
    pub(super) fn note_answering(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Ordering::Relaxed);
        self.tell();
    }

    /// The client sent something: it is waited for anew.
    pub(super) fn note_progress(&self) {
        self.door.inside().connections.handle_working(self.id);
        self.tell();
    }

    /// The client takes nothing of the answer, or takes it again.
    pub(super) fn note_blocked(&self, is_blocked: bool) {
        if self.is_blocked.swap(is_blocked, Ordering::Relaxed) != is_blocked {
            self.tell();
        }
    }

    fn tell(&self) {
        let is_blocked = self.is_blocked.load(Ordering::Relaxed);
        let now = self.door.0.clock.now();
        let mut inside = self.door.inside();
        match self.is_answering.load(Ordering::Relaxed) && !is_blocked {
            true => inside.connections.handle_working(self.id),
            false => inside.connections.handle_waiting(self.id, now),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        inside.connections.handle_close(self.id);
        inside.ends.remove(&self.id);
        self.door.show(&inside);
    }
}
