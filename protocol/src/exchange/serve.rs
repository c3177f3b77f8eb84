//! The answering side: fair to all peers, bounded by bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;

use super::PAYLOAD_BYTES_MAX;
use super::message::{Answer, Request, Response};
use crate::admission::{Source, Turns};
use crate::id::Address;
use crate::time::Moment;
use crate::unixfs::BLOCK_BYTES_MAX;

mod load;
mod readers;

use load::{Counted, Load};
use readers::{Readers, WINDOW_BYTES_MIN};

/// Answers block requests. Peers take turns; each has at most so many requests
/// waiting and so many bytes on the way, and hears "busy" beyond.
///
/// How many bytes follows from what a peer took before. Those of whom nothing is
/// known share a quarter of the memory, so that identities that cost nothing keep
/// nobody waiting who reads; a quarter is kept for staked peers.
#[derive(Debug)]
pub struct Serve {
    config: ServeConfig,
    readers: Readers,
    waiting: Turns<Address, Waiting>,
    /// Requests that are being looked up or sent.
    active: BTreeMap<ServeId, Active>,
    load: Load,
    lookups: VecDeque<Lookup>,
    replies: VecDeque<Reply>,
}

/// Limits of [`Serve`].
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Bytes looked up or on the way to one peer.
    pub peer_bytes_max: u64,
    /// Bytes looked up or on the way in all.
    pub bytes_max: u64,
    /// The same to peers that are not staked.
    pub strangers_bytes_max: u64,
    /// The same to strangers that took nothing yet.
    pub newcomers_bytes_max: u64,
    /// The same to newcomers of one network prefix, or of none.
    pub prefix_bytes_max: u64,
    /// Requests of one peer that wait.
    pub peer_requests_max: usize,
    /// Peers whose requests wait.
    pub peers_max: usize,
    /// How long a request waits before it hears "busy".
    pub wait_max: Duration,
}

/// The driver's name for a request; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServeId(pub u64);

/// Asks the driver for blocks, to be answered with [`Serve::handle_blocks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The request they are for.
    pub id: ServeId,
    /// The peer that asks.
    pub peer: Address,
    /// The blocks, in the order asked.
    pub cids: Vec<Cid>,
    /// Stop before the blocks exceed this many bytes.
    pub bytes_max: usize,
}

/// A response for the driver to deliver, to be reported with [`Serve::handle_sent`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request it answers.
    pub id: ServeId,
    /// The peer that asked.
    pub to: Address,
    /// What to say.
    pub response: Response,
}

#[derive(Debug)]
struct Waiting {
    id: ServeId,
    source: Source,
    request: Request,
    /// When it hears "busy".
    until: Moment,
}

#[derive(Debug)]
struct Active {
    counted: Counted,
    cids: usize,
    is_looked_up: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            // Two full answers: a link of 1 Gbit/s at 60 ms holds 8 MiB.
            peer_bytes_max: 8 << 20,
            // Chosen: memory, eight peers at their most, the others in turn.
            bytes_max: 64 << 20,
            // A quarter is left for repair and placement among the staked.
            strangers_bytes_max: 48 << 20,
            // A quarter: eight blocks at a time.
            newcomers_bytes_max: 16 << 20,
            // Half of it: one host does not keep all others from a first block.
            prefix_bytes_max: 8 << 20,
            // As many as a staked peer has in flight at one holder.
            peer_requests_max: 16,
            // Chosen: more than the connections of a peer.
            peers_max: 1024,
            // Shorter than the least that an asker waits, so that it hears "busy" at all.
            wait_max: Duration::from_secs(3),
        }
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self::new(ServeConfig::default())
    }
}

impl Serve {
    /// Creates a machine without requests.
    #[must_use]
    pub fn new(config: ServeConfig) -> Self {
        Self {
            config,
            readers: Readers::default(),
            waiting: Turns::default(),
            active: BTreeMap::new(),
            load: Load::default(),
            lookups: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// Takes a request that decoded.
    pub fn handle_request(&mut self, id: ServeId, source: Source, request: Request, now: Moment) {
        let peer = source.peer;
        let has_place = match self.waiting.count(&peer) {
            0 => self.waiting.len() < self.config.peers_max,
            count => count < self.config.peer_requests_max,
        };
        if !has_place {
            self.answer_busy(id, peer, request.cids.len());
            return;
        }
        let waiting = Waiting {
            id,
            source,
            request,
            until: now + self.config.wait_max,
        };
        self.waiting.push(peer, waiting);
        self.advance();
    }

    /// Takes the blocks of a lookup: a prefix of its CIDs, none for those that
    /// are not there. What does not fit into a response is left out.
    pub fn handle_blocks(&mut self, id: ServeId, blocks: Vec<Option<Bytes>>) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut active.is_looked_up, true) {
            return;
        }
        let mut response = Response::default();
        let mut payload = 0;
        for block in blocks.into_iter().take(active.cids) {
            let answer = match block {
                Some(data) if data.len() > BLOCK_BYTES_MAX => Answer::Missing,
                Some(data) => {
                    payload += data.len();
                    Answer::Data(data)
                }
                None => Answer::Missing,
            };
            if payload > PAYLOAD_BYTES_MAX {
                break;
            }
            response.answers.push(answer);
        }
        if response.answers.is_empty() {
            response = Response::all(&Answer::Busy, active.cids);
        }
        self.load.remove(active.counted);
        active.counted.bytes = (response.payload_bytes() as u64).max(REPLY_BYTES_MIN);
        self.load.add(active.counted);
        let to = active.counted.source.peer;
        self.replies.push_back(Reply { id, to, response });
        self.advance();
    }

    /// Takes the news that the peer took a reply, or that it never will.
    pub fn handle_sent(&mut self, id: ServeId, is_taken: bool) {
        if let Some(Active { counted, .. }) = self.active.remove(&id) {
            self.load.remove(counted);
            let window_max = self.config.peer_bytes_max;
            let peer = counted.source.peer;
            self.readers.note(peer, counted.bytes, is_taken, window_max);
        }
        self.advance();
    }

    /// Answers "busy" to what has waited too long.
    pub fn handle_timeout(&mut self, now: Moment) {
        // The oldest is in front.
        let late = self.waiting.take_while(|waiting| waiting.until <= now);
        for (peer, waiting) in late {
            self.answer_busy(waiting.id, peer, waiting.request.cids.len());
        }
    }

    /// The next blocks to look up.
    pub fn poll_lookup(&mut self) -> Option<Lookup> {
        self.lookups.pop_front()
    }

    /// The next response to deliver.
    pub fn poll_transmit(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// When [`Serve::handle_timeout`] is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        self.waiting
            .fronts()
            .map(|(_, waiting)| (waiting.until, "a block request waits too long"))
            .min()
    }

    /// Starts lookups, one peer after the other, while there is room. Who stalled
    /// before has its turn when nobody else is served.
    fn advance(&mut self) {
        while let Some((peer, bytes)) = self.next_turn() {
            if let Some(next) = self.waiting.take(&peer) {
                self.look_up(next, bytes);
            }
        }
    }

    /// The peer that is served next, and the bytes that its answer may have.
    fn next_turn(&self) -> Option<(Address, u64)> {
        let fronts = self.waiting.fronts();
        let open = fronts.filter_map(|(peer, front)| Some((*peer, self.room(front)?)));
        // The first of those that are alike.
        open.min_by_key(|(peer, _)| self.readers.has_stalled(peer))
    }

    /// Bytes that an answer may have; `None` when it has to wait.
    fn room(&self, waiting: &Waiting) -> Option<u64> {
        let Waiting {
            source, request, ..
        } = waiting;
        let wanted = (request.cids.len() * BLOCK_BYTES_MAX).min(PAYLOAD_BYTES_MAX) as u64;
        let load = self.load.around(source);
        let config = &self.config;
        let mut free = config.bytes_max.saturating_sub(load.all);
        if source.operator.is_none() {
            free = free.min(config.strangers_bytes_max.saturating_sub(load.strangers));
            if self.readers.is_newcomer(&source.peer) {
                free = free.min(config.newcomers_bytes_max.saturating_sub(load.newcomers));
                free = free.min(config.prefix_bytes_max.saturating_sub(load.network));
            }
        }
        let window = self.readers.window(&source.peer).saturating_sub(load.peer);
        let bytes = wanted.min(window).min(free);
        (bytes >= wanted.min(WINDOW_BYTES_MIN)).then_some(bytes)
    }

    fn look_up(&mut self, waiting: Waiting, bytes: u64) {
        let Waiting {
            id,
            source,
            request,
            ..
        } = waiting;
        let counted = Counted {
            source,
            is_newcomer: source.operator.is_none() && self.readers.is_newcomer(&source.peer),
            bytes,
        };
        self.load.add(counted);
        let active = Active {
            counted,
            cids: request.cids.len(),
            is_looked_up: false,
        };
        self.active.insert(id, active);
        self.lookups.push_back(Lookup {
            id,
            peer: source.peer,
            cids: request.cids,
            bytes_max: usize::try_from(bytes).unwrap_or(PAYLOAD_BYTES_MAX),
        });
    }

    fn answer_busy(&mut self, id: ServeId, to: Address, cids: usize) {
        let response = Response::all(&Answer::Busy, cids);
        self.replies.push_back(Reply { id, to, response });
    }
}

/// No undelivered reply counts as less, so that a peer that does not read
/// cannot have many of them.
const REPLY_BYTES_MIN: u64 = 64 << 10;
