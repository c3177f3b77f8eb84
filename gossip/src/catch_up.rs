//! How a peer without the chain's blocks comes to their entries: from gossip,
//! under heads that a majority of operators signed, with what is missing fetched
//! from discovery peers.
//!
//! A machine around [`Spread`]: it has entries indexed in order, one step at a
//! time; chooses whom to ask; starts over when the index fails or a majority
//! follows another fork.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::codec;
use protocol::entry::Entry;
use protocol::id::{Address, Role};
use protocol::machine::{Machine, Token, Verdict, name_variants};
use protocol::merkle::Peaks;
use protocol::records::Head;
use protocol::registry::Registry;
use protocol::time::Moment;
use protocol::wire::Topic;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::discovery::IndexFailure;
use crate::message::{EntriesAnswer, EntriesRequest};
use crate::spread::{self, Event, HeldEntries, Spread};

/// Catches up and follows; see the module text.
#[derive(Debug)]
pub struct CatchUp {
    config: spread::Config,
    spread: Spread,
    registry: Arc<Registry>,
    connected: BTreeSet<Address>,
    /// Discovery peers that did not answer, or answered wrongly, since all were
    /// tried.
    failed: BTreeSet<Address>,
    asking: Option<(AskId, Address)>,
    asked: u64,
    phase: Phase,
    /// Heads below this number are of an abandoned fork.
    head_number_min: u64,
    counted_number: Option<u64>,
    rng: StdRng,
    outputs: VecDeque<Output>,
}

/// What the index is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It holds what was verified.
    Following,
    /// It takes entries in.
    Indexing,
    /// It failed, and is left alone for a moment.
    Resting { until: Moment, is_lost: bool },
    /// It is being emptied.
    Clearing,
    /// What it holds is being looked up.
    Opening,
}

/// A question to a discovery peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

/// A fact that a light peer is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The registry at the newest block.
    Registry(Arc<Registry>),
    /// These peers are connected, and no others.
    Connected(BTreeSet<Address>),
    /// A message of [`Topic::Entries`] or [`Topic::Heads`].
    Gossip {
        /// For the verdict.
        token: Token,
        /// Where it was told.
        topic: Topic,
        /// The encoded message.
        body: Bytes,
    },
    /// The end of an [`Output::Ask`]; `None` without an answer.
    Answered {
        /// Of the question.
        id: AskId,
        /// As it arrived.
        body: Option<Bytes>,
    },
    /// The end of an [`Output::Index`] or [`Output::Clear`].
    Indexed(Result<(), IndexFailure>),
    /// The end of an [`Output::Open`]; nothing when it cannot be read.
    Opened(HeldEntries),
}

name_variants!(Output: Index, Clear, Open, Ask, Judge, Goal, Counted, Fault, Offence, Note);

name_variants!(Note: Contradiction, Diverged, Useless);

name_variants!(Input: Registry, Connected, Gossip, Answered, Indexed, Opened);

/// A wish of the light peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Index these verified entries; answer by [`Input::Indexed`].
    Index {
        /// In chain order, directly after those before.
        entries: Vec<Entry>,
        /// The head that covers them.
        head: Head,
        /// The tree's right edge after them.
        peaks: Peaks,
    },
    /// Empty the index, once it is written down which heads are not taken any
    /// more; answer by [`Input::Indexed`].
    Clear {
        /// As [`HeldEntries::head_number_min`] has it from now on.
        head_number_min: u64,
    },
    /// Look what the index holds; answer by [`Input::Opened`].
    Open,
    /// Ask a peer in `/coliving/entries/1`; answer by [`Input::Answered`].
    Ask {
        /// Of the question.
        id: AskId,
        /// The peer to ask.
        peer: Address,
        /// The encoded request.
        body: Vec<u8>,
    },
    /// Settle a gossiped message.
    Judge {
        /// The message to settle.
        token: Token,
        /// Whether it is passed on.
        verdict: Verdict,
    },
    /// So many entries there are, as a majority says.
    Goal(u64),
    /// A majority stands behind a head of this block.
    Counted(Head),
    /// The index does not go on, for this reason; `None` when it does.
    Fault(Option<String>),
    /// Hold this against a peer.
    Offence {
        /// The peer to charge.
        peer: Address,
        /// How much it weighs.
        weight: u32,
    },
    /// Something that people want to know.
    Note(Note),
}

/// What people want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A discovery peer signed two heads of one number.
    Contradiction {
        /// The peer that signed both.
        signer: Address,
        /// The number of both.
        block_number: u64,
    },
    /// A majority follows another fork than the index, which is made again.
    Diverged {
        /// The number of a head of that fork.
        block_number: u64,
    },
    /// An answer was of no use.
    Useless {
        /// The peer that answered.
        peer: Address,
        /// The reason, for people.
        reason: String,
    },
}

impl CatchUp {
    /// Goes on from what the index holds. `config` is for a peer that does not
    /// follow the chain; `seed` decides who is asked.
    #[must_use]
    pub fn new(config: spread::Config, held: HeldEntries, seed: u64, now: Moment) -> Self {
        Self {
            head_number_min: held.head_number_min,
            spread: Spread::new(config.clone(), held, now),
            config,
            registry: Arc::default(),
            connected: BTreeSet::new(),
            failed: BTreeSet::new(),
            asking: None,
            asked: 0,
            phase: Phase::Following,
            counted_number: None,
            rng: StdRng::seed_from_u64(seed),
            outputs: VecDeque::new(),
        }
    }

    /// Number of the newest counted head.
    #[must_use]
    pub const fn counted_number(&self) -> Option<u64> {
        self.counted_number
    }

    /// Batches that wait for a counted head.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.spread.held_count()
    }

    fn handle_gossip(&mut self, token: Token, topic: Topic, body: &[u8], now: Moment) {
        let is_working = matches!(self.phase, Phase::Following | Phase::Indexing);
        match topic {
            Topic::Entries if is_working => self.spread.handle_batch(body, token, now),
            Topic::Heads if is_working => self.spread.handle_head(body, token, now),
            _ => self.outputs.push_back(Output::Judge {
                token,
                verdict: Verdict::Ignore,
            }),
        }
    }

    fn handle_answered(&mut self, id: AskId, body: Option<Bytes>, now: Moment) {
        let Some((_, peer)) = self.asking.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        let answer = body.and_then(|body| EntriesAnswer::from_bytes(&body).ok());
        let Some(answer) = answer else {
            self.failed.insert(peer);
            self.spread.handle_no_answer(now);
            return;
        };
        let count = answer.head.entry_count;
        match self.spread.handle_answer(peer, answer, now) {
            Ok(()) => self.outputs.push_back(Output::Goal(count)),
            Err(error) => {
                let reason = error.to_string();
                self.failed.insert(peer);
                self.outputs
                    .push_back(Output::Note(Note::Useless { peer, reason }));
            }
        }
    }

    fn handle_indexed(&mut self, result: Result<(), IndexFailure>, now: Moment) {
        match (self.phase, result) {
            (Phase::Indexing, Ok(())) => {
                self.phase = Phase::Following;
                self.outputs.push_back(Output::Fault(None));
            }
            (Phase::Clearing, Ok(())) => self.open(),
            (Phase::Indexing, Err(failure)) => self.rest(failure, now),
            // It is looked at all the same: it may be empty.
            (Phase::Clearing, Err(failure)) => self.rest(
                IndexFailure {
                    is_lost: false,
                    ..failure
                },
                now,
            ),
            (Phase::Following | Phase::Resting { .. } | Phase::Opening, _) => {}
        }
    }

    fn rest(&mut self, failure: IndexFailure, now: Moment) {
        self.outputs.push_back(Output::Fault(Some(failure.reason)));
        self.phase = Phase::Resting {
            until: now + RECOVERY_PAUSE,
            is_lost: failure.is_lost,
        };
    }

    fn end_rest(&mut self, now: Moment) {
        match self.phase {
            Phase::Resting { until, is_lost } if until <= now => match is_lost {
                true => self.clear(),
                false => self.open(),
            },
            _ => {}
        }
    }

    fn clear(&mut self) {
        self.phase = Phase::Clearing;
        let head_number_min = self.head_number_min;
        self.outputs.push_back(Output::Clear { head_number_min });
    }

    fn open(&mut self) {
        self.phase = Phase::Opening;
        self.outputs.push_back(Output::Open);
    }

    /// Asks again for everything that the index does not hold.
    fn handle_opened(&mut self, held: HeldEntries, now: Moment) {
        if self.phase != Phase::Opening {
            return;
        }
        let held = HeldEntries {
            head_number_min: self.head_number_min,
            ..held
        };
        let fresh = Spread::new(self.config.clone(), held, now);
        for (token, verdict) in std::mem::replace(&mut self.spread, fresh).abandon() {
            self.outputs.push_back(Output::Judge { token, verdict });
        }
        self.phase = Phase::Following;
        self.asking = None;
        self.failed.clear();
        self.spread.handle_registry(Arc::clone(&self.registry), now);
    }

    /// Turns the wishes of the spread into this machine's, one step of the index
    /// at a time.
    fn drain_spread(&mut self, now: Moment) {
        while let Some((token, verdict)) = self.spread.poll_verdict() {
            self.outputs.push_back(Output::Judge { token, verdict });
        }
        while self.phase == Phase::Following
            && let Some(event) = self.spread.poll_event()
        {
            self.handle_event(event, now);
        }
    }

    fn handle_event(&mut self, event: Event, now: Moment) {
        match event {
            Event::Entries {
                entries,
                head,
                peaks,
            } => {
                self.phase = Phase::Indexing;
                self.outputs.push_back(Output::Index {
                    entries,
                    head,
                    peaks,
                });
            }
            Event::Fetch {
                from_count,
                after,
                peer,
            } => self.ask(EntriesRequest { from_count, after }, peer, now),
            Event::Counted(counted) => {
                self.counted_number = self.counted_number.max(Some(counted.head.block_number));
                self.outputs
                    .push_back(Output::Goal(counted.head.entry_count));
                self.outputs.push_back(Output::Counted(counted.head));
            }
            Event::Contradiction {
                signer,
                block_number,
            } => self.outputs.push_back(Output::Note(Note::Contradiction {
                signer,
                block_number,
            })),
            Event::Liar { peer } => self.outputs.push_back(Output::Offence {
                peer,
                weight: OFFENCE,
            }),
            Event::Diverged { head } => {
                let block_number = head.block_number;
                self.outputs
                    .push_back(Output::Note(Note::Diverged { block_number }));
                self.head_number_min = block_number;
                self.clear();
            }
        }
    }

    /// Asks the peer that began, or another one.
    fn ask(&mut self, request: EntriesRequest, peer: Option<Address>, now: Moment) {
        let Some(peer) = peer.or_else(|| self.choose()) else {
            self.spread.handle_no_answer(now);
            return;
        };
        let id = AskId(self.asked);
        self.asked += 1;
        self.asking = Some((id, peer));
        self.outputs.push_back(Output::Ask {
            id,
            peer,
            body: codec::to_bytes(&request),
        });
    }

    /// A discovery peer that did not fail, a connected one if there is any.
    fn choose(&mut self) -> Option<Address> {
        let all: Vec<Address> = self
            .registry
            .confirmed(Role::Discovery)
            .map(|service| service.wallet)
            .collect();
        if all.iter().all(|peer| self.failed.contains(peer)) {
            self.failed.clear();
        }
        let (connected, others): (Vec<Address>, Vec<Address>) = all
            .into_iter()
            .filter(|peer| !self.failed.contains(peer))
            .partition(|peer| self.connected.contains(peer));
        let drawn = connected.choose(&mut self.rng);
        drawn.or_else(|| others.choose(&mut self.rng)).copied()
    }
}

impl Machine for CatchUp {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, input: Input, now: Moment) {
        match input {
            Input::Registry(registry) => {
                self.registry = Arc::clone(&registry);
                self.spread.handle_registry(registry, now);
            }
            Input::Connected(peers) => self.connected = peers,
            Input::Gossip { token, topic, body } => self.handle_gossip(token, topic, &body, now),
            Input::Answered { id, body } => self.handle_answered(id, body, now),
            Input::Indexed(result) => self.handle_indexed(result, now),
            Input::Opened(held) => self.handle_opened(held, now),
        }
        self.drain_spread(now);
    }

    fn handle_timeout(&mut self, now: Moment) {
        self.end_rest(now);
        self.spread.handle_timeout(now);
        self.drain_spread(now);
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        match self.phase {
            Phase::Following => self.spread.poll_timeout(),
            Phase::Resting { until, .. } => Some((until, "the index is tried again")),
            Phase::Indexing | Phase::Clearing | Phase::Opening => None,
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        self.spread.contradiction()
    }
}

/// Pause before indexing goes on after an error: a full disk is not filled with
/// log lines.
const RECOVERY_PAUSE: Duration = Duration::from_secs(2);

/// What a wrong answer weighs: a tenth of a ban.
const OFFENCE: u32 = 10;

#[cfg(test)]
mod tests;
