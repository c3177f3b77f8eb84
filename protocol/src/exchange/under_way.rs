//! Which fetches are under way and who waits for them.
//!
//! A root comes over the network once at a time: who asks for it meanwhile
//! joins, or goes over it afterwards when more is asked of it than the first
//! fetch does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cid::Cid;

use super::download::{Download, Wanted};
use super::fetch::{FetchConfig, Target};
use crate::id::Address;
use crate::machine::{Machine, name_variants};
use crate::time::Moment;

/// Starts fetches, joins those of one target and stops those that nobody waits
/// for. `O` is the reason for which the driver's store keeps blocks.
///
/// The [`Download`]s that it hands out are machines of their own, so that a
/// large fetch does not hold up the others.
#[derive(Debug)]
pub struct Exchange<O> {
    local: Address,
    is_staked: bool,
    fetches: BTreeMap<FetchId, UnderWay<O>>,
    next: u64,
    outputs: VecDeque<ExchangeOutput<O>>,
}

/// Names a fetch; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(u64);

/// The driver's name for one who waits; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// How a root is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions<O> {
    /// Peers that are known to hold it, asked first.
    pub holders: Vec<Address>,
    /// Asked when nobody else answers, as the author of an upload.
    pub last_resort: Vec<Address>,
    /// The reason to keep it for; without one the blocks are loose.
    pub owner: Option<O>,
    /// Work the proof root out when everything is here.
    pub with_proof: bool,
}

/// What somebody wants.
#[derive(Debug, Clone)]
pub struct Order<O> {
    /// Who waits for it.
    pub ticket: Ticket,
    /// The root that is wanted.
    pub root: Cid,
    /// All of it, a range or some blocks.
    pub target: Target,
    /// How it is to be fetched.
    pub options: FetchOptions<O>,
}

/// What the exchange is told.
#[derive(Debug, Clone)]
pub enum ExchangeInput<O> {
    /// Somebody wants what is below a root.
    Fetch(Box<Order<O>>),
    /// One of those who wait has given up.
    Gone {
        /// The one who has given up.
        ticket: Ticket,
    },
    /// A download is over, well or not.
    Ended {
        /// The download that is over.
        id: FetchId,
    },
}

name_variants!(ExchangeOutput<O>: Start, Joined, Hint, Stop, Over, Refused);

name_variants!(ExchangeInput<O>: Fetch, Gone, Ended);

/// What the exchange wishes.
#[derive(Debug)]
pub enum ExchangeOutput<O> {
    /// Drive a download.
    Start {
        /// The name that the download goes by.
        id: FetchId,
        /// The machine to drive.
        download: Box<Download>,
        /// The reason to keep its blocks for.
        owner: Option<O>,
        /// It begins at the end of this fetch, whose progress is its own till
        /// then: what another one brings for another reason is not brought twice.
        behind: Option<FetchId>,
    },
    /// This fetch serves the one who waits.
    Joined {
        /// The one who waits.
        ticket: Ticket,
        /// For which fetch.
        id: FetchId,
    },
    /// Tell a running download of further holders.
    Hint {
        /// The download that is told.
        id: FetchId,
        /// Who hold it.
        holders: Vec<Address>,
    },
    /// Nobody waits for a download any more.
    Stop {
        /// The download to stop.
        id: FetchId,
    },
    /// The wait is over; the result is that of the download.
    Over {
        /// The one who waited.
        ticket: Ticket,
        /// For which fetch.
        id: FetchId,
    },
    /// So many fetches are under way that no further one is begun.
    Refused {
        /// The one who asked.
        ticket: Ticket,
        /// How many, which is [`FETCHES_MAX`].
        limit: usize,
    },
}

#[derive(Debug)]
struct UnderWay<O> {
    root: Cid,
    target: Target,
    owner: Option<O>,
    with_proof: bool,
    waiting: BTreeSet<Ticket>,
    behind: Option<FetchId>,
}

impl<O> Default for FetchOptions<O> {
    fn default() -> Self {
        Self {
            holders: Vec::new(),
            last_resort: Vec::new(),
            owner: None,
            with_proof: false,
        }
    }
}

impl<O: Clone + PartialEq> UnderWay<O> {
    /// True when its outcome is all that `options` ask for.
    fn serves(&self, options: &FetchOptions<O>) -> bool {
        (options.owner.is_none() || options.owner == self.owner)
            && (self.with_proof || !options.with_proof)
    }
}

impl<O: Clone + PartialEq> Exchange<O> {
    /// Creates an exchange without fetches, of a peer that stores for others or
    /// of a light one.
    #[must_use]
    pub const fn new(local: Address, is_staked: bool) -> Self {
        Self {
            local,
            is_staked,
            fetches: BTreeMap::new(),
            next: 0,
            outputs: VecDeque::new(),
        }
    }

    /// How many fetches are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fetches.len()
    }

    /// True when nothing is fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fetches.is_empty()
    }

    fn handle_fetch(&mut self, order: Order<O>, now: Moment) {
        let Order {
            ticket,
            root,
            target,
            options,
        } = order;
        let same = |fetch: &&mut UnderWay<O>| fetch.root == root && fetch.target == target;
        let mut fetches = self.fetches.iter_mut();
        let joined = fetches.find(|(_, fetch)| same(fetch) && fetch.serves(&options));
        if let Some((id, fetch)) = joined {
            fetch.waiting.insert(ticket);
            let id = *id;
            self.outputs
                .push_back(ExchangeOutput::Joined { ticket, id });
            self.hint(id, &options);
            return;
        }
        if self.fetches.len() >= FETCHES_MAX {
            let limit = FETCHES_MAX;
            self.outputs
                .push_back(ExchangeOutput::Refused { ticket, limit });
            return;
        }
        let mut fetches = self.fetches.iter_mut().rev();
        let behind = fetches.find(|(_, fetch)| same(fetch)).map(|(id, _)| *id);
        if let Some(id) = behind {
            self.hint(id, &options);
        }
        let id = FetchId(self.next);
        self.next += 1;
        let wanted = Wanted {
            root,
            target: target.clone(),
            holders: options.holders,
            last_resort: options.last_resort,
            is_kept: options.owner.is_some(),
            with_proof: options.with_proof,
        };
        let config = config(self.is_staked, &target);
        let fetch = UnderWay {
            root,
            target,
            owner: options.owner.clone(),
            with_proof: options.with_proof,
            waiting: BTreeSet::from([ticket]),
            behind,
        };
        self.fetches.insert(id, fetch);
        self.outputs.push_back(ExchangeOutput::Start {
            id,
            download: Box::new(Download::new(config, self.local, wanted, now)),
            owner: options.owner,
            behind,
        });
        self.outputs
            .push_back(ExchangeOutput::Joined { ticket, id });
    }

    /// A running fetch may know of nobody: whoever comes later brings along all
    /// those that its own fetch would ask, the last resort among them.
    fn hint(&mut self, id: FetchId, options: &FetchOptions<O>) {
        let known = options.holders.iter().chain(&options.last_resort);
        let holders: Vec<Address> = known.copied().collect();
        if !holders.is_empty() {
            self.outputs.push_back(ExchangeOutput::Hint { id, holders });
        }
    }

    fn handle_gone(&mut self, ticket: Ticket) {
        let mut fetches = self.fetches.iter_mut();
        let left = fetches.find_map(|(id, fetch)| fetch.waiting.remove(&ticket).then_some(*id));
        let mut next = left;
        while let Some(id) = next {
            next = self.stop_unless_wanted(id);
        }
    }

    /// Stops a fetch that nobody waits for; returns the one that it waited for.
    fn stop_unless_wanted(&mut self, id: FetchId) -> Option<FetchId> {
        let is_wanted = self.fetches.iter().any(|(at, fetch)| {
            (*at == id && !fetch.waiting.is_empty()) || fetch.behind == Some(id)
        });
        if is_wanted {
            return None;
        }
        let stopped = self.fetches.remove(&id)?;
        self.outputs.push_back(ExchangeOutput::Stop { id });
        stopped.behind
    }

    fn handle_ended(&mut self, id: FetchId) {
        let Some(ended) = self.fetches.remove(&id) else {
            return;
        };
        for fetch in self.fetches.values_mut() {
            if fetch.behind == Some(id) {
                fetch.behind = None;
            }
        }
        for ticket in ended.waiting {
            self.outputs.push_back(ExchangeOutput::Over { ticket, id });
        }
    }
}

impl<O: Clone + PartialEq> Machine for Exchange<O> {
    type Input = ExchangeInput<O>;
    type Output = ExchangeOutput<O>;

    fn handle(&mut self, input: ExchangeInput<O>, now: Moment) {
        match input {
            ExchangeInput::Fetch(order) => self.handle_fetch(*order, now),
            ExchangeInput::Gone { ticket } => self.handle_gone(ticket),
            ExchangeInput::Ended { id } => self.handle_ended(id),
        }
    }

    fn handle_timeout(&mut self, _now: Moment) {}

    fn poll(&mut self) -> Option<ExchangeOutput<O>> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        None
    }
}

/// The limits of one fetch among others.
fn config(is_staked: bool, target: &Target) -> FetchConfig {
    let base = if is_staked {
        FetchConfig::staked()
    } else {
        FetchConfig::light()
    };
    FetchConfig {
        in_flight_bytes_max: base.in_flight_bytes_max.min(FETCH_BYTES_MAX),
        buffered_bytes_max: base.buffered_bytes_max.min(FETCH_BYTES_MAX),
        starve_timeout: match target {
            Target::Blocks(_) => READING_PATIENCE,
            Target::Dag(_) | Target::Range(..) => base.starve_timeout,
        },
        ..base
    }
}

/// Fetches under way at once. Uploads, repairs and readers have limits of their
/// own far below; it only has to be larger than their sum.
pub const FETCHES_MAX: usize = 1024;

/// How long somebody who reads waits for a first holder: as long as people wait
/// before they give up, which is less than a background fetch may take.
pub const READING_PATIENCE: Duration = Duration::from_secs(8);

/// Bytes in flight, and bytes waiting to be stored, of one fetch: several share
/// one process of less than 300 MiB.
pub const FETCH_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests;
