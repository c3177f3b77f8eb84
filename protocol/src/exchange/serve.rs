//! The answering side: fair to all peers, bounded by bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;

use super::PAYLOAD_BYTES_MAX;
use super::message::{Answer, Request, Response};
use crate::id::Address;
use crate::time::Moment;
use crate::unixfs::BLOCK_BYTES_MAX;

/// Answers block requests. Peers take turns; each has at most so many requests
/// waiting and so many bytes on the way, and hears "busy" beyond.
#[derive(Debug)]
pub struct Serve {
    config: ServeConfig,
    /// Waiting requests by peer.
    waiting: BTreeMap<Address, VecDeque<(ServeId, Request, Moment)>>,
    /// Whose turn it is next, each peer with waiting requests once.
    turns: VecDeque<Address>,
    /// Requests that are being looked up or sent.
    active: BTreeMap<ServeId, Active>,
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
struct Active {
    peer: Address,
    bytes: u64,
    cids: usize,
    is_looked_up: bool,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            // Four full answers: a link of 1 Gbit/s at 100 ms holds 12 MiB.
            peer_bytes_max: 16 << 20,
            // Memory: four such peers at a time, the others in turn.
            bytes_max: 64 << 20,
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
    pub const fn new(config: ServeConfig) -> Self {
        Self {
            config,
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            active: BTreeMap::new(),
            lookups: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    /// Takes a request that decoded.
    pub fn handle_request(&mut self, id: ServeId, peer: Address, request: Request, now: Moment) {
        let has_place = match self.waiting.get(&peer) {
            Some(requests) => requests.len() < self.config.peer_requests_max,
            None => self.waiting.len() < self.config.peers_max,
        };
        if !has_place {
            self.answer_busy(id, peer, request.cids.len());
            return;
        }
        let requests = self.waiting.entry(peer).or_default();
        if requests.is_empty() {
            self.turns.push_back(peer);
        }
        requests.push_back((id, request, now + self.config.wait_max));
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
        active.bytes = (response.payload_bytes() as u64).max(REPLY_BYTES_MIN);
        let to = active.peer;
        self.replies.push_back(Reply { id, to, response });
        self.advance();
    }

    /// Takes the news that a reply was delivered or never will be.
    pub fn handle_sent(&mut self, id: ServeId) {
        self.active.remove(&id);
        self.advance();
    }

    /// Answers "busy" to what has waited too long.
    pub fn handle_timeout(&mut self, now: Moment) {
        let mut late = Vec::new();
        for (peer, requests) in &mut self.waiting {
            // The oldest is in front.
            let count = requests.partition_point(|(_, _, at)| *at <= now);
            let requests = requests.drain(..count);
            late.extend(requests.map(|(id, request, _)| (id, *peer, request.cids.len())));
        }
        self.waiting.retain(|_, requests| !requests.is_empty());
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
            .filter_map(|requests| requests.front())
            .map(|(_, _, at)| (*at, "a block request waits too long"))
            .min()
    }

    /// Starts lookups, one peer after the other, while the budgets allow.
    fn advance(&mut self) {
        let mut passed = 0;
        while passed < self.turns.len() {
            let Some(peer) = self.turns.pop_front() else {
                return;
            };
            let Some(requests) = self.waiting.get_mut(&peer) else {
                continue;
            };
            let cids = requests
                .front()
                .map_or(0, |(_, request, _)| request.cids.len());
            let bytes = (cids * BLOCK_BYTES_MAX).min(PAYLOAD_BYTES_MAX) as u64;
            let (in_all, of_peer) = load(&self.active, &peer);
            if in_all + bytes > self.config.bytes_max {
                // The turn is kept: whoever waits longest is served next.
                self.turns.push_front(peer);
                return;
            }
            if of_peer + bytes > self.config.peer_bytes_max {
                self.turns.push_back(peer);
                passed += 1;
                continue;
            }
            passed = 0;
            let next = requests.pop_front();
            if requests.is_empty() {
                self.waiting.remove(&peer);
            } else {
                self.turns.push_back(peer);
            }
            if let Some((id, request, _)) = next {
                self.look_up(id, peer, request, bytes);
            }
        }
    }

    fn look_up(&mut self, id: ServeId, peer: Address, request: Request, bytes: u64) {
        let active = Active {
            peer,
            bytes,
            cids: request.cids.len(),
            is_looked_up: false,
        };
        self.active.insert(id, active);
        self.lookups.push_back(Lookup {
            id,
            peer,
            cids: request.cids,
            bytes_max: PAYLOAD_BYTES_MAX,
        });
    }

    fn answer_busy(&mut self, id: ServeId, to: Address, cids: usize) {
        let response = Response::all(&Answer::Busy, cids);
        self.replies.push_back(Reply { id, to, response });
    }
}

/// Bytes that are looked up or on the way: in all, and of one peer.
fn load(active: &BTreeMap<ServeId, Active>, peer: &Address) -> (u64, u64) {
    let in_all = active.values().map(|active| active.bytes).sum();
    let of_peer = active
        .values()
        .filter(|active| active.peer == *peer)
        .map(|active| active.bytes)
        .sum();
    (in_all, of_peer)
}

/// No undelivered reply counts as less, so that a peer that does not read
/// cannot have many of them.
const REPLY_BYTES_MIN: u64 = 64 << 10;
