//! The replica's side: what it keeps, and how often it may be asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Entry, Refusal, Request, Response, WALLETS_MAX};
use crate::id::Hash32;
use crate::origin::Prefix;
use crate::signing::Domain;
use crate::time::UnixSeconds;

/// The rules of a replica, over the entries of one lookup key at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Store {
    domain: Domain,
}

/// What a request leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What to answer, once the entries are durable.
    pub(crate) response: Response,
    /// The entries of the lookup key to store in place of those before.
    pub(crate) store: Option<Vec<Entry>>,
}

impl Store {
    /// The rules under a domain.
    #[must_use]
    pub(crate) fn new(domain: Domain) -> Self {
        Self { domain }
    }

    /// Decides about a request, given what is stored under its lookup key.
    #[must_use]
    pub(crate) fn handle_request(
        &self,
        request: Request,
        stored: Vec<Entry>,
        now: UnixSeconds,
    ) -> Outcome {
        let stored: Vec<Entry> = stored
            .into_iter()
            .filter(|entry| !entry.is_over(now))
            .collect();
        match request {
            Request::Get { .. } => Outcome {
                response: Response::Entries(stored),
                store: None,
            },
            Request::Put(entry) => match self.put(*entry, stored, now) {
                Ok(outcome) => outcome,
                Err(refusal) => Outcome {
                    response: Response::Refused(refusal),
                    store: None,
                },
            },
        }
    }

    fn put(
        &self,
        mut entry: Entry,
        mut stored: Vec<Entry>,
        now: UnixSeconds,
    ) -> Result<Outcome, Refusal> {
        entry.check(&self.domain)?;
        entry.received = now;
        if entry.signature.is_none() {
            return match stored.first() {
                None => Ok(keep(vec![entry])),
                Some(known) if is_same_text(known, &entry) => Ok(standing()),
                Some(_) => Err(Refusal::Taken),
            };
        }
        let known = stored
            .iter_mut()
            .find(|known| known.signature.is_some() && known.record.wallet == entry.record.wallet);
        if let Some(known) = known {
            if known.record == entry.record {
                // The half of a password change that was missing here.
                if known.burial.is_none() && entry.burial.is_some() {
                    known.burial = entry.burial;
                    return Ok(keep(stored));
                }
                return Ok(standing());
            }
            if known.record.is_tombstone() && !entry.record.is_tombstone() {
                return Err(Refusal::Buried);
            }
            if !entry.record.wins(&known.record) {
                return Ok(Outcome {
                    response: Response::Outdated(Box::new(known.clone())),
                    store: None,
                });
            }
            entry.received = known.received;
            *known = entry;
            return Ok(keep(stored));
        }
        let wallets = stored.iter().filter(|known| known.signature.is_some());
        if wallets.count() >= WALLETS_MAX {
            return Err(Refusal::Full);
        }
        // The owner's signature turns its provisional sign-up into a record.
        if let Some(place) = stored
            .iter()
            .position(|known| known.signature.is_none() && is_same_text(known, &entry))
        {
            entry.received = stored.remove(place).received;
        }
        stored.push(entry);
        stored.sort_by_key(|known| (known.received, known.record.wallet));
        Ok(keep(stored))
    }
}

fn keep(entries: Vec<Entry>) -> Outcome {
    Outcome {
        response: Response::Stored,
        store: Some(entries),
    }
}

fn standing() -> Outcome {
    Outcome {
        response: Response::Stored,
        store: None,
    }
}

fn is_same_text(one: &Entry, other: &Entry) -> bool {
    one.record.iv == other.record.iv && one.record.cipher_text == other.record.cipher_text
}

/// Counts how often each lookup key and each prefix asks in a minute.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_key_max: u32,
    per_prefix_max: u32,
    minute: u64,
    keys: BTreeMap<Hash32, u32>,
    prefixes: BTreeMap<Prefix, u32>,
}

impl Limiter {
    /// Creates a limiter of so many requests in a minute.
    #[must_use]
    pub(crate) fn new(per_key_max: u32, per_prefix_max: u32) -> Self {
        Self {
            per_key_max,
            per_prefix_max,
            minute: 0,
            keys: BTreeMap::new(),
            prefixes: BTreeMap::new(),
        }
    }

    /// Counts a request for a lookup key; loopback counts for its key only.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when the minute's share is used up.
    pub(crate) fn check(
        &mut self,
        key: &Hash32,
        ip: Option<IpAddr>,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let minute = now.0 / MINUTE_SECONDS;
        if self.minute != minute {
            self.minute = minute;
            self.keys.clear();
            self.prefixes.clear();
        }
        let prefix = ip.and_then(Prefix::of);
        let is_allowed = prefix
            .is_none_or(|prefix| count(&mut self.prefixes, prefix, self.per_prefix_max))
            && count(&mut self.keys, *key, self.per_key_max);
        if is_allowed {
            return Ok(());
        }
        Err(Refusal::Busy {
            retry_after_seconds: MINUTE_SECONDS - now.0 % MINUTE_SECONDS,
        })
    }
}

impl Default for Limiter {
    fn default() -> Self {
        // Chosen: a person with several devices and a password mistyped needs a few;
        // four such keys behind one address.
        Self::new(30, 120)
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K, limit: u32) -> bool {
    if counts.len() >= COUNTS_MAX && !counts.contains_key(&key) {
        return false;
    }
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
    *count <= limit
}

const MINUTE_SECONDS: u64 = 60;

/// Keys or prefixes that are counted in a minute. Chosen: some MB, more than the
/// network lets through in one.
const COUNTS_MAX: usize = 100_000;
