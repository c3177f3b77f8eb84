//! The answering side: fair to all peers, bounded by bytes.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;

use super::PAYLOAD_BYTES_MAX;
use super::message::{Answer, Request, Response};
use crate::id::Address;
use crate::origin::Prefix;
use crate::registry::Registry;
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
    /// Waiting requests by peer.
    waiting: BTreeMap<Address, Queue>,
    /// Whose turn it is next, each peer with waiting requests once.
    turns: VecDeque<Address>,
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

/// Who asks for blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The peer's key.
    pub peer: Address,
    /// Where it asks from, when that is known.
    pub prefix: Option<Prefix>,
    /// True when the registry has it in some role.
    pub is_staked: bool,
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
struct Queue {
    asker: Asker,
    requests: VecDeque<(ServeId, Request, Moment)>,
}

#[derive(Debug)]
struct Active {
    counted: Counted,
    cids: usize,
    is_looked_up: bool,
}

impl Asker {
    /// Who asks, as a registry has it.
    #[must_use]
    pub fn new(peer: Address, ip: Option<IpAddr>, registry: &Registry) -> Self {
        Self {
            peer,
            prefix: ip.and_then(Prefix::of),
            is_staked: registry.peer(&peer).is_some(),
        }
    }
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
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            active: BTreeMap::new(),
            load: Load::default(),
            lookups: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// Takes a request that decoded.
    pub fn handle_request(&mut self, id: ServeId, asker: Asker, request: Request, now: Moment) {
        let peer = asker.peer;
        let has_place = match self.waiting.get(&peer) {
            Some(queue) => queue.requests.len() < self.config.peer_requests_max,
            None => self.waiting.len() < self.config.peers_max,
        };
        if !has_place {
            self.answer_busy(id, peer, request.cids.len());
            return;
        }
        let queue = self.waiting.entry(peer).or_insert_with(|| Queue {
            asker,
            requests: VecDeque::new(),
        });
        queue.asker = asker;
        if queue.requests.is_empty() {
            self.turns.push_back(peer);
        }
        let late = now + self.config.wait_max;
        queue.requests.push_back((id, request, late));
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
        let to = active.counted.asker.peer;
        self.replies.push_back(Reply { id, to, response });
        self.advance();
    }

    /// Takes the news that the peer took a reply, or that it never will.
    pub fn handle_sent(&mut self, id: ServeId, is_taken: bool) {
        if let Some(Active { counted, .. }) = self.active.remove(&id) {
            self.load.remove(counted);
            let window_max = self.config.peer_bytes_max;
            let peer = counted.asker.peer;
            self.readers.note(peer, counted.bytes, is_taken, window_max);
        }
        self.advance();
    }

    /// Answers "busy" to what has waited too long.
    pub fn handle_timeout(&mut self, now: Moment) {
        let mut late = Vec::new();
        for (peer, queue) in &mut self.waiting {
            // The oldest is in front.
            let count = queue.requests.partition_point(|(_, _, at)| *at <= now);
            let requests = queue.requests.drain(..count);
            late.extend(requests.map(|(id, request, _)| (id, *peer, request.cids.len())));
        }
        self.waiting.retain(|_, queue| !queue.requests.is_empty());
        let waiting = &self.waiting;
        self.turns.retain(|peer| waiting.contains_key(peer));
        for (id, peer, cids) in late {
            self.answer_busy(id, peer, cids);
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
            .values()
            .filter_map(|queue| queue.requests.front())
            .map(|(_, _, at)| (*at, "a block request waits too long"))
            .min()
    }

    /// Starts lookups, one peer after the other, while there is room. Who stalled
    /// before has its turn when nobody else is served.
    fn advance(&mut self) {
        while let Some(turn) = self.next_turn() {
            let Some(peer) = self.turns.remove(turn) else {
                return;
            };
            let bytes = self.room(&peer);
            let (Some(bytes), Some(queue)) = (bytes, self.waiting.get_mut(&peer)) else {
                continue;
            };
            let (asker, next) = (queue.asker, queue.requests.pop_front());
            match queue.requests.is_empty() {
                true => drop(self.waiting.remove(&peer)),
                false => self.turns.push_back(peer),
            }
            if let Some((id, request, _)) = next {
                self.look_up(id, asker, request, bytes);
            }
        }
    }

    /// Place in `turns` of the peer that is served next.
    fn next_turn(&self) -> Option<usize> {
        let turns = self.turns.iter().enumerate();
        let open = turns.filter(|(_, peer)| self.room(peer).is_some());
        open.min_by_key(|(turn, peer)| (self.readers.has_stalled(peer), *turn))
            .map(|(turn, _)| turn)
    }

    /// Bytes that the next answer to a peer may have; `None` when it has to wait.
    fn room(&self, peer: &Address) -> Option<u64> {
        let queue = self.waiting.get(peer)?;
        let (_, request, _) = queue.requests.front()?;
        let wanted = (request.cids.len() * BLOCK_BYTES_MAX).min(PAYLOAD_BYTES_MAX) as u64;
        let load = self.load.around(&queue.asker);
        let config = &self.config;
        let mut free = config.bytes_max.saturating_sub(load.all);
        if !queue.asker.is_staked {
            free = free.min(config.strangers_bytes_max.saturating_sub(load.strangers));
            if self.readers.is_newcomer(peer) {
                free = free.min(config.newcomers_bytes_max.saturating_sub(load.newcomers));
                free = free.min(config.prefix_bytes_max.saturating_sub(load.prefix));
            }
        }
        let window = self.readers.window(peer).saturating_sub(load.peer);
        let bytes = wanted.min(window).min(free);
        (bytes >= wanted.min(WINDOW_BYTES_MIN)).then_some(bytes)
    }

    fn look_up(&mut self, id: ServeId, asker: Asker, request: Request, bytes: u64) {
        let counted = Counted {
            asker,
            is_newcomer: !asker.is_staked && self.readers.is_newcomer(&asker.peer),
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
            peer: asker.peer,
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
