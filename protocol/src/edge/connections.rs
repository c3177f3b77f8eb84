//! Connections that are open at a time.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Source;
use crate::time::Moment;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Of all sources together.
    pub connections_max: usize,
    /// Of one network, and of all that are unknown together.
    pub network_max: usize,
    /// Of one loopback address: several programs of one machine.
    pub loopback_max: usize,
}

/// A driver's handle of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// A connection that was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its handle from here on.
    pub id: ConnectionId,
    /// The one that has to be closed for it.
    pub closed: Option<ConnectionId>,
}

/// Nothing can be closed for another connection: all that count are at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of this network are under way")]
pub struct Full;

/// The open connections, and which of them wait for their client.
///
/// A newcomer never waits behind those who send nothing: it takes the place of the one
/// that waits longest, of its own source when that has its share, else of the source
/// with the most.
#[derive(Debug)]
pub struct Connections {
    config: Config,
    next: u64,
    open: BTreeMap<ConnectionId, Open>,
    counts: BTreeMap<Source, usize>,
}

#[derive(Debug)]
struct Open {
    source: Source,
    /// Since when nothing can be done before the client sends or takes something.
    waits_since: Option<Moment>,
}

impl Connections {
    /// Nobody is there.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            next: 0,
            open: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Somebody connects, and has sent nothing.
    ///
    /// # Errors
    ///
    /// [`Full`] when it is to be closed.
    pub fn handle_open(&mut self, source: Source, now: Moment) -> Result<Opened, Full> {
        let closed = self.make_room(source)?;
        let id = ConnectionId(self.next);
        self.next += 1;
        let waits_since = Some(now);
        let open = Open {
            source,
            waits_since,
        };
        self.open.insert(id, open);
        *self.counts.entry(source).or_default() += 1;
        Ok(Opened { id, closed })
    }

    /// The connection begins to wait for its client.
    pub fn handle_waiting(&mut self, id: ConnectionId, now: Moment) {
        if let Some(open) = self.open.get_mut(&id) {
            open.waits_since.get_or_insert(now);
        }
    }

    /// The connection waits for this peer.
    pub fn handle_working(&mut self, id: ConnectionId) {
        if let Some(open) = self.open.get_mut(&id) {
            open.waits_since = None;
        }
    }

    /// The connection is closed, by whomever.
    pub fn handle_close(&mut self, id: ConnectionId) {
        let Some(Open { source, .. }) = self.open.remove(&id) else {
            return;
        };
        let count = self.counts.entry(source).or_default();
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&source);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    fn make_room(&mut self, source: Source) -> Result<Option<ConnectionId>, Full> {
        let closed = if self.count_of(source) >= self.share(source) {
            self.longest_waiting(|open| open.source == source)
        } else if self.count() >= self.config.connections_max {
            self.longest_waiting(|_| true)
        } else {
            return Ok(None);
        };
        let closed = closed.ok_or(Full)?;
        self.handle_close(closed);
        Ok(Some(closed))
    }

    /// Of the source with the most connections. Those of proxies come last: many
    /// clients may wait behind one.
    fn longest_waiting(&self, may: impl Fn(&Open) -> bool) -> Option<ConnectionId> {
        let waiting = self.open.iter().filter(|(_, open)| may(open));
        let waiting = waiting.filter_map(|(id, open)| Some((id, open, open.waits_since?)));
        let longest = waiting.max_by_key(|(id, open, since)| {
            let weight = match open.source {
                Source::Proxy => 0,
                source => self.count_of(source),
            };
            (weight, Reverse((*since, **id)))
        });
        longest.map(|(id, ..)| *id)
    }

    fn count_of(&self, source: Source) -> usize {
        self.counts.get(&source).copied().unwrap_or(0)
    }

    fn share(&self, source: Source) -> usize {
        match source {
            Source::Proxy => self.config.connections_max,
            Source::Network(prefix) if prefix.is_loopback() => self.config.loopback_max,
            Source::Network(_) | Source::Unknown => self.config.network_max,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            network_max: CONNECTIONS_MAX / 8,
            loopback_max: CONNECTIONS_MAX / 2,
        }
    }
}

/// Connections at a time. Derived: half of the 1,024 files that a process usually may
/// have open; the swarm and the disk need the others.
const CONNECTIONS_MAX: usize = 512;
