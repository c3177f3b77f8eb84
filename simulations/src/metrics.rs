//! What a run measured.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use gossip::{catch_up, discovery};
use protocol::chain::follower::Request;
use protocol::id::Hash32;
use protocol::machine::Named;
use protocol::time::Moment;
use protocol::{author, content, identity, publish, relayer, vault};
use serde::{Deserialize, Serialize};

use crate::census::kinds;
use crate::wire::Message;

mod tables;

use tables::Tables;

/// Counters and samples of one run.
#[derive(Debug, Default)]
pub struct Metrics {
    /// True when everything is measured that bounds may be on; it takes time.
    pub is_measured: bool,
    /// Gossiped messages that a peer saw for the first time.
    pub gossip_deliveries: u64,
    /// Copies of messages that it had seen.
    pub duplicates: u64,
    /// Blocks that did not fit their CIDs on arrival.
    pub offences: u64,
    /// Heads that contradicted others of their signer.
    pub contradictions: u64,
    /// Answers with entries that were refused.
    pub refused_answers: u64,
    /// Times that a peer saw a final block undone.
    pub finals_undone: u64,
    /// Times that a light peer changed over to another fork.
    pub divergences: u64,
    /// Roots that repair brought.
    pub repairs: u64,
    /// Roots that were released.
    pub releases: u64,
    /// Times that a peer was counted as lost.
    pub lost_peers: u64,
    /// Publications that began anew.
    pub failed_publications: u64,
    /// Calls that an endpoint of the chain did not answer, or with nonsense.
    pub endpoint_failures: u64,
    /// Transactions of residents' own that count.
    pub payments: u64,
    /// Times that a reorganisation undid one.
    pub payments_undone: u64,
    /// Endpoints that served another chain.
    pub other_chains: u64,
    /// Acknowledged vault writes.
    pub vault_writes: u64,
    /// Vault reads with an answer.
    pub vault_reads: u64,
    /// Vault operations without a majority.
    pub vault_failures: u64,
    /// Times that somebody asked who holds a root.
    pub surveys: u64,
    /// Leases that were found so.
    pub surveyed_leases: u64,
    /// Peers that did not answer.
    pub surveyed_silent: u64,
    /// Unsigned vault records that were taken.
    pub vault_sign_ups: u64,
    /// Inputs of role machines.
    inputs: ByName,
    /// Requests that role machines refused, by the reason: the limits that were
    /// reached are among them.
    pub refusals: ByName,
    /// What role machines told their owners.
    pub notes: ByName,
    /// Answers of role machines to other peers.
    responses: ByName,
    /// Fees of transactions that were raised.
    pub bumps: u64,
    /// Downloads that brought nothing, or not all.
    pub failed_downloads: u64,
    /// Wishes of role machines.
    outputs: ByName,
    /// What is inside of inputs and wishes.
    kinds: BTreeMap<String, u64>,
    /// How often a machine did something that was due, by machine and reason.
    wakes: BTreeMap<(&'static str, &'static str), u64>,
    /// When a peer's machine did it last.
    woken: BTreeMap<(u32, &'static str, &'static str), Moment>,
    /// Copies and bytes of messages that were sent.
    sent: Sent,
    /// Requests of followers to the chain, and the blocks that they are for.
    pub chain_requests: (u64, u64),
    /// From the arrival of a question to its answer, and from what happens on the
    /// chain to those who follow it.
    lags: BTreeMap<&'static str, Vec<Duration>>,
    /// Between two times that a peer's machine did the same that was due.
    pauses: BTreeMap<(&'static str, &'static str), Vec<Duration>>,
    /// When relayers accepted what they did not send yet.
    unsent: BTreeMap<(u32, Hash32), Moment>,
    /// When relayers sent what is under way last, and at which fee.
    raised: BTreeMap<(u32, Hash32), (Moment, u32)>,
    /// What the machines of all peers hold.
    tables: Tables,
    /// The longest time that a root had one replica, and too many.
    pub replicas: (Duration, Duration),
    /// From a block's finality to the entry at a light peer.
    pub dissemination: Vec<Duration>,
    /// From the start of a publication to durability.
    pub publish: Vec<Duration>,
    /// From the entry to the file.
    pub fetch: Vec<Duration>,
    /// From an action to its entry at its author.
    pub relay: Vec<Duration>,
    /// From too few replicas of a root to enough.
    pub repair: Vec<Duration>,
}

/// How often machines of each role did each thing of an enumeration.
#[derive(Debug, Default)]
pub struct ByName(Vec<Counts>);

#[derive(Debug)]
struct Counts {
    machine: &'static str,
    names: &'static [&'static str],
    counts: Vec<u64>,
}

impl ByName {
    fn of(all: impl IntoIterator<Item = (&'static str, &'static [&'static str])>) -> Self {
        let all = all.into_iter().map(|(machine, names)| Counts {
            machine,
            names,
            counts: vec![0; names.len()],
        });
        Self(all.collect())
    }

    /// Counts one of a machine's.
    pub fn note<T: Named>(&mut self, machine: &'static str, what: &T) {
        self.count(machine, what);
    }

    /// Counts one; says how many of the same there are.
    fn count<T: Named>(&mut self, machine: &'static str, what: &T) -> u64 {
        let mut known = self.0.iter_mut();
        let counts = match known.find(|known| std::ptr::eq(known.machine, machine)) {
            Some(known) => &mut known.counts,
            None => {
                self.0.push(Counts {
                    machine,
                    names: T::NAMES,
                    counts: vec![0; T::NAMES.len()],
                });
                let last = self.0.last_mut().expect("it was pushed");
                &mut last.counts
            }
        };
        let count = &mut counts[what.idx()];
        *count += 1;
        *count
    }

    /// The counts by machine and name, of what never happened too.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let mut all: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for of_machine in &self.0 {
            let counts = all.entry(of_machine.machine.to_owned()).or_default();
            for (name, count) in of_machine.names.iter().zip(&of_machine.counts) {
                *counts.entry((*name).to_owned()).or_default() += count;
            }
        }
        all
    }
}

/// Messages that were sent, by what they are of.
#[derive(Debug, Default)]
pub struct Sent {
    /// In the order of the messages' kinds.
    counts: Vec<(&'static str, u64, u64)>,
}

impl Sent {
    /// Counts a message.
    pub fn note(&mut self, message: &Message) {
        let kind = usize::from(message.kind());
        if kind >= self.counts.len() {
            self.counts.resize(kind + 1, ("", 0, 0));
        }
        let (name, count, bytes) = &mut self.counts[kind];
        *name = message.name();
        *count += 1;
        *bytes += message.len() as u64;
    }

    /// The counts by name, and the bytes.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        let counted = self.counts.iter().filter(|(_, count, _)| *count > 0);
        counted.copied()
    }
}

impl Metrics {
    /// Nothing was measured yet; every refusal and note counts 0.
    #[must_use]
    pub fn new(is_measured: bool) -> Self {
        Self {
            is_measured,
            refusals: ByName::of([
                ("content", <publish::RefusalCode as Named>::NAMES),
                ("identity", <relayer::RefusalCode as Named>::NAMES),
                ("replica", <vault::Refusal as Named>::NAMES),
            ]),
            notes: ByName::of([
                ("content", <content::Note as Named>::NAMES),
                ("identity", <identity::Note as Named>::NAMES),
                ("author", <author::Event as Named>::NAMES),
                ("discovery", <discovery::Note as Named>::NAMES),
                ("catch-up", <catch_up::Note as Named>::NAMES),
            ]),
            ..Self::default()
        }
    }

    /// Counts an input of a role machine.
    pub fn note_input<T: Named + Debug>(&mut self, machine: &'static str, input: &T) {
        if self.is_measured {
            let count = self.inputs.count(machine, input);
            self.look_inside(count, (machine, "in"), input);
        }
    }

    /// Counts a wish of a role machine.
    pub fn note_output<T: Named + Debug>(&mut self, machine: &'static str, output: &T) {
        if self.is_measured {
            let count = self.outputs.count(machine, output);
            self.look_inside(count, (machine, "out"), output);
        }
    }

    /// Counts what is inside of an input or wish, if there were not many before.
    fn look_inside<T: Named + Debug>(&mut self, count: u64, (machine, way): (&str, &str), of: &T) {
        if count <= LOOKED_INSIDE_MAX {
            let name = format!("{machine} {way} {}", T::NAMES[of.idx()]);
            kinds(of, &name, &mut self.kinds);
        }
    }

    /// Counts an answer of a role machine to another peer.
    pub fn note_response<T: Named>(&mut self, machine: &'static str, response: &T) {
        if self.is_measured {
            self.responses.note(machine, response);
        }
    }

    /// Counts a message between peers.
    pub fn note_message(&mut self, message: &Message) {
        if self.is_measured {
            self.sent.note(message);
        }
    }

    /// Notes that a peer's machine did what was due.
    pub fn note_woken(
        &mut self,
        (peer, machine, reason): (u32, &'static str, &'static str),
        now: Moment,
    ) {
        if self.is_measured {
            *self.wakes.entry((machine, reason)).or_default() += 1;
            if let Some(last) = self.woken.insert((peer, machine, reason), now) {
                note(
                    &mut self.pauses,
                    (machine, reason),
                    now.saturating_since(last),
                );
            }
        }
    }

    /// Notes that a peer's machines are gone.
    pub fn note_down(&mut self, peer: u32) {
        self.woken.retain(|(of, ..), _| *of != peer);
    }

    /// Counts what the machines of peers hold at the moment, one look of several.
    pub fn note_tables<'a, P: Debug + 'a>(&mut self, peers: impl Iterator<Item = &'a P>) {
        self.tables.look(peers);
    }

    /// Counts what a follower asks the chain for.
    pub fn note_fetched(&mut self, request: &Request) {
        let (requests, blocks) = &mut self.chain_requests;
        *requests += 1;
        if let Request::Blocks { from, to, .. } = request {
            *blocks += to - from + 1;
        }
    }

    /// Notes how long something took.
    pub fn note_lag(&mut self, what: &'static str, took: Duration) {
        if self.is_measured {
            note(&mut self.lags, what, took);
        }
    }

    /// Notes that a relayer has accepted an action.
    pub fn note_accepted(&mut self, peer: u32, digest: Hash32, now: Moment) {
        if self.is_measured {
            self.unsent.entry((peer, digest)).or_insert(now);
        }
    }

    /// Notes that it sends one, at a fee that was raised so many times.
    pub fn note_sent(&mut self, peer: u32, digest: Hash32, bumps: u32, now: Moment) {
        if let Some(at) = self.unsent.remove(&(peer, digest)) {
            self.note_lag("actions to send", now.saturating_since(at));
        }
        if !self.is_measured {
            return;
        }
        let before = self.raised.insert((peer, digest), (now, bumps));
        if let Some((at, _)) = before.filter(|(_, before)| *before < bumps) {
            self.note_lag("fees to be raised", now.saturating_since(at));
        }
    }
}

/// Percentiles of a sample, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many values there are.
    pub count: u64,
    /// The smallest of the values.
    pub min_ms: u64,
    /// Half of the values are at most this.
    pub p50_ms: u64,
    /// Nineteen of twenty were faster.
    pub p95_ms: u64,
    /// The largest of the values.
    pub max_ms: u64,
}

impl Metrics {
    /// The counters by name.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        [
            ("gossip deliveries", self.gossip_deliveries),
            ("gossip duplicates", self.duplicates),
            ("block offences", self.offences),
            ("head contradictions", self.contradictions),
            ("refused entry answers", self.refused_answers),
            ("final blocks undone", self.finals_undone),
            ("divergences", self.divergences),
            ("repairs", self.repairs),
            ("releases", self.releases),
            ("peers counted as lost", self.lost_peers),
            ("failed publications", self.failed_publications),
            ("payments", self.payments),
            ("payments undone", self.payments_undone),
            ("endpoint failures", self.endpoint_failures),
            ("endpoints of another chain", self.other_chains),
            ("vault writes", self.vault_writes),
            ("vault reads", self.vault_reads),
            ("vault failures", self.vault_failures),
            ("vault sign-ups", self.vault_sign_ups),
            ("surveys", self.surveys),
            ("surveyed leases", self.surveyed_leases),
            ("surveyed silent peers", self.surveyed_silent),
            ("fees raised", self.bumps),
            ("failed downloads", self.failed_downloads),
            ("chain requests", self.chain_requests.0),
            ("chain blocks asked for", self.chain_requests.1),
            ("seconds with one replica", self.replicas.0.as_secs()),
            ("seconds with too many replicas", self.replicas.1.as_secs()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// What role machines were told, and what they wished and answered, by machine.
    #[must_use]
    pub fn named(&self) -> [&ByName; 3] {
        [&self.inputs, &self.outputs, &self.responses]
    }

    /// The variants and tables inside of that.
    #[must_use]
    pub const fn kinds(&self) -> &BTreeMap<String, u64> {
        &self.kinds
    }

    /// How often what was due was done, by machine and reason.
    #[must_use]
    pub const fn wakes(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.wakes
    }

    /// The pauses between by machine and reason.
    #[must_use]
    pub fn pauses(&self) -> BTreeMap<String, Percentiles> {
        let pauses = self.pauses.iter();
        let named =
            pauses.map(|((machine, reason), sample)| (format!("{machine} pause {reason}"), sample));
        named
            .filter_map(|(name, sample)| Some((name, percentiles(sample)?)))
            .collect()
    }

    /// Messages between peers.
    #[must_use]
    pub const fn sent(&self) -> &Sent {
        &self.sent
    }

    /// What the machines held.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The samples by name; empty ones are left out.
    #[must_use]
    pub fn percentiles(&self) -> BTreeMap<String, Percentiles> {
        let lags = self.lags.iter();
        let lags = lags.map(|(what, sample)| ((*what).to_owned(), sample));
        [
            ("dissemination", &self.dissemination),
            ("publish", &self.publish),
            ("fetch", &self.fetch),
            ("relay", &self.relay),
            ("repair", &self.repair),
        ]
        .into_iter()
        .map(|(name, sample)| (name.to_owned(), sample))
        .chain(lags)
        .filter_map(|(name, sample)| Some((name, percentiles(sample)?)))
        .collect()
    }
}

/// Inputs and wishes of one name that are looked into: it takes time.
const LOOKED_INSIDE_MAX: u64 = 2000;

/// Times of one kind that are kept.
const LAGS_MAX: usize = 100_000;

/// Notes a time, as long as there are not enough for percentiles: little is to be
/// kept of a large run.
fn note<K: Ord>(times: &mut BTreeMap<K, Vec<Duration>>, what: K, took: Duration) {
    let sample = times.entry(what).or_default();
    if sample.len() < LAGS_MAX {
        sample.push(took);
    }
}

fn percentiles(sample: &[Duration]) -> Option<Percentiles> {
    let mut sorted = sample.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        let value = sorted.get(rank.min(sorted.len() - 1)).copied();
        u64::try_from(value.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    };
    (!sorted.is_empty()).then(|| Percentiles {
        count: sorted.len() as u64,
        min_ms: at(0),
        p50_ms: at(50),
        p95_ms: at(95),
        max_ms: at(100),
    })
}
