//! The replica's side: what it keeps, and how often it may be asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, PROVISIONAL_SECONDS, Refusal, Request, Response, WALLETS_MAX};
use crate::admission::Account;
use crate::id::Hash32;
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
    /// The entries of the lookup key to keep in place of those before.
    pub(crate) store: Option<Vec<Entry>>,
    /// True when there is one entry more.
    pub(crate) is_new: bool,
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
            Request::Get { .. } => answer(Response::Entries(told(stored))),
            Request::Put(entry) => self
                .put(*entry, stored, now)
                .unwrap_or_else(|refusal| answer(Response::Refused(refusal))),
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
                None => {
                    let response = provisional(&entry, now);
                    Ok(keep(response, vec![entry], true))
                }
                Some(known) if is_same_text(known, &entry) => Ok(answer(provisional(known, now))),
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
                    return Ok(keep(Response::Stored, stored, false));
                }
                return Ok(answer(Response::Stored));
            }
            if known.record.is_tombstone() && !entry.record.is_tombstone() {
                return Err(Refusal::Buried);
            }
            if !entry.record.wins(&known.record) {
                return Ok(answer(Response::Outdated(Box::new(known.clone()))));
            }
            entry.received = known.received;
            *known = entry;
            return Ok(keep(Response::Stored, stored, false));
        }
        let sign_up = stored.iter().find(|known| known.signature.is_none());
        match sign_up.filter(|known| is_same_text(known, &entry)) {
            // The sign-up kept a place for its owner, who has come.
            Some(known) => entry.received = known.received,
            None if stored.len() >= WALLETS_MAX => return Err(Refusal::Full),
            None => {}
        }
        let wallets = stored.iter().filter(|known| known.signature.is_some());
        if wallets.count() >= WALLETS_MAX {
            return Err(Refusal::Full);
        }
        stored.push(entry);
        stored.sort_by_key(|known| (known.received, known.record.wallet));
        Ok(keep(Response::Stored, stored, true))
    }
}

/// What is shown of a lookup key: a sign-up that somebody signed is not, while the
/// signed record is as it was.
fn told(mut stored: Vec<Entry>) -> Vec<Entry> {
    let is_signed = |entry: &Entry| entry.signature.is_some();
    let signed: Vec<Entry> = stored
        .iter()
        .filter(|entry| is_signed(entry))
        .cloned()
        .collect();
    stored.retain(|entry| is_signed(entry) || !signed.iter().any(|of| is_same_text(of, entry)));
    stored
}

fn keep(response: Response, entries: Vec<Entry>, is_new: bool) -> Outcome {
    Outcome {
        response,
        store: Some(entries),
        is_new,
    }
}

fn answer(response: Response) -> Outcome {
    Outcome {
        response,
        store: None,
        is_new: false,
    }
}

/// Of a sign-up, or of the signed record that it became.
fn provisional(known: &Entry, now: UnixSeconds) -> Response {
    if known.signature.is_some() {
        return Response::Stored;
    }
    let end = known.received.0.saturating_add(PROVISIONAL_SECONDS);
    Response::Provisional {
        ends_in_seconds: end.saturating_sub(now.0),
    }
}

fn is_same_text(one: &Entry, other: &Entry) -> bool {
    one.record.iv == other.record.iv && one.record.cipher_text == other.record.cipher_text
}

/// Counts what each source asks and brings: confirmed peers, which ask for many
/// people, by their operator. This machine is not limited.
///
/// Who asks counts for itself alone: no share is common to a lookup key, so that
/// nobody uses up what another needs to reach its own record. What is refused is
/// not counted.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    minute: u64,
    hour: u64,
    sources: BTreeMap<Account, Counts>,
}

/// Of one source.
#[derive(Debug, Default)]
struct Counts {
    /// In this minute.
    requests: u32,
    /// In this minute, by lookup key.
    keys: BTreeMap<Hash32, u32>,
    /// The lookup keys at which it brought records in this hour.
    records: BTreeSet<Hash32>,
    /// Unsigned ones in this hour.
    sign_ups: u32,
}

/// What a source may do.
#[derive(Debug, Clone, Copy)]
struct Share {
    requests_max: u32,
    keys_max: usize,
    per_key_max: u32,
    records_max: usize,
    sign_ups_max: u32,
}

impl Limiter {
    /// Counts a request for a lookup key.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when the minute's share is used up.
    pub(crate) fn check(
        &mut self,
        key: &Hash32,
        source: Option<Account>,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let Some((share, counts)) = self.counts(source, now) else {
            return Ok(());
        };
        let of_key = counts.keys.get(key).copied();
        let is_allowed = counts.requests < share.requests_max
            && match of_key {
                Some(count) => count < share.per_key_max,
                None => counts.keys.len() < share.keys_max,
            };
        if !is_allowed {
            return busy(MINUTE_SECONDS, now);
        }
        counts.requests += 1;
        counts.keys.insert(*key, of_key.unwrap_or(0) + 1);
        Ok(())
    }

    /// As [`Self::check_new`], of records one an hour at each key, so that one source
    /// does not fill it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when the hour's share is used up.
    pub(crate) fn check_first(
        &mut self,
        entry: &Entry,
        source: Option<Account>,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        if let Some((_, counts)) = self.counts(source, now)
            && entry.signature.is_some()
            && counts.records.contains(&entry.record.lookup_key)
        {
            return busy(HOUR_SECONDS, now);
        }
        self.check_new(entry, source, now)
    }

    /// Counts a record at a lookup key or a sign-up.
    ///
    /// # Errors
    ///
    /// [`Refusal::Busy`] when the hour's share is used up.
    pub(crate) fn check_new(
        &mut self,
        entry: &Entry,
        source: Option<Account>,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let Some((share, counts)) = self.counts(source, now) else {
            return Ok(());
        };
        let is_allowed = match entry.signature {
            None => counts.sign_ups < share.sign_ups_max,
            Some(_) => {
                counts.records.len() < share.records_max
                    || counts.records.contains(&entry.record.lookup_key)
            }
        };
        if !is_allowed {
            return busy(HOUR_SECONDS, now);
        }
        if entry.signature.is_some() {
            counts.records.insert(entry.record.lookup_key);
        } else {
            counts.sign_ups += 1;
        }
        Ok(())
    }

    fn counts(
        &mut self,
        source: Option<Account>,
        now: UnixSeconds,
    ) -> Option<(Share, &mut Counts)> {
        let mut source = source.filter(|source| !matches!(source, Account::Local(_)))?;
        self.turn(now);
        // Confirmed peers are as many as the registry has.
        let is_full = self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source);
        if is_full && matches!(source, Account::Prefix(_)) {
            source = Account::Unknown;
        }
        let share = match source {
            Account::Operator(_) => CONFIRMED,
            _ => STRANGER,
        };
        Some((share, self.sources.entry(source).or_default()))
    }

    /// Begins a minute and an hour.
    fn turn(&mut self, now: UnixSeconds) {
        let (minute, hour) = (now.0 / MINUTE_SECONDS, now.0 / HOUR_SECONDS);
        if self.hour != hour {
            self.sources.clear();
        } else if self.minute != minute {
            self.sources.retain(|_, counts| {
                counts.requests = 0;
                counts.keys.clear();
                !counts.records.is_empty() || counts.sign_ups > 0
            });
        }
        (self.minute, self.hour) = (minute, hour);
    }
}

fn busy(window_seconds: u64, now: UnixSeconds) -> Result<(), Refusal> {
    Err(Refusal::Busy {
        retry_after_seconds: window_seconds - now.0 % window_seconds,
    })
}

/// What an address may do. Chosen: ten people behind one sign in within a minute, or
/// a password is guessed ten times; a key is asked for often only by who knows it.
/// An hour's records take 36 KiB of disk.
const STRANGER: Share = Share {
    requests_max: 120,
    keys_max: 10,
    per_key_max: 30,
    records_max: 60,
    sign_ups_max: 10,
};

/// What a confirmed peer may do, which limits those whom it asks for in the same way
/// and asks each of many replicas for some of them. Chosen: two people a second.
const CONFIRMED: Share = Share {
    requests_max: 1200,
    keys_max: 120,
    per_key_max: 30,
    records_max: 1000,
    sign_ups_max: 100,
};

const MINUTE_SECONDS: u64 = 60;

const HOUR_SECONDS: u64 = 3600;

/// Addresses that are counted apart in an hour, of up to 4 KiB. Chosen: more than use
/// one peer in that time; the rest share what the unknown have.
const SOURCES_MAX: usize = 16_384;
