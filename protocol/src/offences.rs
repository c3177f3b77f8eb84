//! Which peers offended too often.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::addresses::PeerKey;
use crate::id::Address;
use crate::time::Moment;

/// Sums up offences, which fade, and bans for a time.
#[derive(Debug)]
pub struct Offences {
    /// Never banned: ourselves and whom the operator trusts.
    spared: BTreeSet<Address>,
    /// The sum of each offender, and from when on it has to fade.
    sums: BTreeMap<Address, (u32, Moment)>,
    banned: BTreeMap<Address, Ban>,
    wishes: VecDeque<Wish>,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Close the connections of a peer and refuse further ones.
    Block(PeerKey),
    /// Take connections of a peer again.
    Unblock(PeerKey),
}

/// A ban keeps the key under which the peer is blocked: by the end of the ban
/// nobody else may remember it.
#[derive(Debug)]
struct Ban {
    until: Moment,
    blocked: Option<PeerKey>,
}

impl Offences {
    /// Creates a machine without offenders; `spared` peers never become one.
    #[must_use]
    pub fn new(spared: impl IntoIterator<Item = Address>) -> Self {
        Self {
            spared: spared.into_iter().collect(),
            sums: BTreeMap::new(),
            banned: BTreeMap::new(),
            wishes: VecDeque::new(),
        }
    }

    /// Counts an offence; true when it bans the peer, which is blocked at once
    /// when its key is known.
    pub fn handle_offence(
        &mut self,
        peer: Address,
        key: Option<&PeerKey>,
        weight: u32,
        now: Moment,
    ) -> bool {
        if self.spared.contains(&peer) || self.banned.contains_key(&peer) {
            return false;
        }
        let (sum, since) = self.sums.get(&peer).copied().unwrap_or((0, now));
        let (sum, since) = faded(sum, since, now);
        let sum = sum.saturating_add(weight);
        if sum < OFFENCE_LIMIT {
            self.sums.insert(peer, (sum, since));
            self.forget_smallest();
            return false;
        }
        self.sums.remove(&peer);
        if self.banned.len() == BANNED_MAX {
            let first = self.banned.iter().min_by_key(|(_, ban)| ban.until);
            if let Some(first) = first.map(|(first, _)| *first) {
                self.end(&first);
            }
        }
        let blocked = key.cloned();
        self.wishes.extend(blocked.clone().map(Wish::Block));
        let until = now + BAN_TIME;
        self.banned.insert(peer, Ban { until, blocked });
        true
    }

    /// Takes a new connection; true when the peer is banned and is blocked.
    pub fn handle_connected(&mut self, peer: Address, key: &PeerKey, now: Moment) -> bool {
        if !self.is_banned(&peer, now) {
            return false;
        }
        if let Some(ban) = self.banned.get_mut(&peer) {
            ban.blocked = Some(key.clone());
            self.wishes.push_back(Wish::Block(key.clone()));
        }
        true
    }

    /// True while the peer is refused.
    #[must_use]
    pub fn is_banned(&self, peer: &Address, now: Moment) -> bool {
        self.banned.get(peer).is_some_and(|ban| now < ban.until)
    }

    /// Ends the bans whose time is over and forgets what has faded.
    pub fn handle_timeout(&mut self, now: Moment) {
        let over: Vec<Address> = self
            .banned
            .iter()
            .filter(|(_, ban)| ban.until <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &over {
            self.end(peer);
        }
        self.sums
            .retain(|_, (sum, since)| faded(*sum, *since, now).0 > 0);
    }

    /// Returns the next thing to do.
    pub fn poll(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    fn end(&mut self, peer: &Address) {
        let ban = self.banned.remove(peer);
        let blocked = ban.and_then(|ban| ban.blocked);
        self.wishes.extend(blocked.map(Wish::Unblock));
    }

    fn forget_smallest(&mut self) {
        if self.sums.len() > OFFENDERS_MAX {
            let smallest = self.sums.iter().min_by_key(|(_, (sum, _))| *sum);
            if let Some(peer) = smallest.map(|(peer, _)| *peer) {
                self.sums.remove(&peer);
            }
        }
    }
}

/// What is left of a sum, and the last half-life's end: a further offence must not
/// put off the fading of those before it.
fn faded(sum: u32, since: Moment, now: Moment) -> (u32, Moment) {
    let age = now.saturating_since(since);
    let halvings = u32::try_from(age.as_secs() / HALF_LIFE.as_secs()).unwrap_or(u32::MAX);
    let left = sum.checked_shr(halvings).unwrap_or(0);
    (left, since + HALF_LIFE * halvings)
}

/// The sum of offences at which a peer is banned; weights are shares of it.
pub const OFFENCE_LIMIT: u32 = 100;

/// The time in which a sum of offences halves: a mistake an hour is forgiven.
pub const HALF_LIFE: Duration = Duration::from_secs(600);

/// How long a banned peer is refused: long enough that offending all the time
/// costs more than it brings, short enough for a peer that was mended.
pub const BAN_TIME: Duration = Duration::from_secs(3600);

/// Peers whose offences are remembered; the smallest sum is forgotten first.
/// Larger than the connections that a peer has at once.
const OFFENDERS_MAX: usize = 4096;

/// Bans that stand at once; the one that ends first goes first. Keys cost
/// nothing, so it only bounds memory.
const BANNED_MAX: usize = 4096;

#[cfg(test)]
mod tests;
