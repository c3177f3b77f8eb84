//! Which peers offended too often.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::Address;
use crate::time::Moment;

/// Sums up offences, which fade, and bans for a time.
#[derive(Debug, Default)]
pub struct Offences {
    sums: BTreeMap<Address, (u32, Moment)>,
    banned: BTreeMap<Address, Moment>,
}

impl Offences {
    /// Counts an offence; true when it bans the peer.
    pub fn handle_offence(&mut self, peer: Address, weight: u32, now: Moment) -> bool {
        if self.banned.contains_key(&peer) {
            return false;
        }
        let (sum, since) = self.sums.get(&peer).copied().unwrap_or((0, now));
        let sum = faded(sum, now.saturating_since(since)).saturating_add(weight);
        if sum < OFFENCE_LIMIT {
            self.sums.insert(peer, (sum, now));
            self.forget_smallest();
            return false;
        }
        self.sums.remove(&peer);
        if self.banned.len() == BANNED_MAX {
            let first = self.banned.iter().min_by_key(|(_, until)| **until);
            if let Some(peer) = first.map(|(peer, _)| *peer) {
                self.banned.remove(&peer);
            }
        }
        self.banned.insert(peer, now + BAN_TIME);
        true
    }

    /// True while the peer is refused.
    pub fn is_banned(&self, peer: &Address, now: Moment) -> bool {
        self.banned.get(peer).is_some_and(|until| now < *until)
    }

    /// Takes the peers whose ban is over.
    pub fn handle_timeout(&mut self, now: Moment) -> Vec<Address> {
        let over: Vec<Address> = self
            .banned
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in &over {
            self.banned.remove(peer);
        }
        self.sums
            .retain(|_, (sum, since)| faded(*sum, now.saturating_since(*since)) > 0);
        over
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

fn faded(sum: u32, age: Duration) -> u32 {
    let halvings = u32::try_from(age.as_secs() / HALF_LIFE.as_secs()).unwrap_or(u32::MAX);
    sum.checked_shr(halvings).unwrap_or(0)
}

/// The sum of offences that bans a peer.
pub const OFFENCE_LIMIT: u32 = 100;

/// The time in which a sum of offences halves.
const HALF_LIFE: Duration = Duration::from_secs(600);

/// How long a banned peer is refused.
const BAN_TIME: Duration = Duration::from_secs(3600);

/// Peers whose offences are remembered; the smallest sum is forgotten first.
const OFFENDERS_MAX: usize = 4096;

/// Bans that stand at once; the one that ends first goes first.
const BANNED_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Address = Address([1; 20]);

    #[test]
    fn a_sum_of_offences_bans_for_an_hour() {
        let mut offences = Offences::default();
        let now = Moment::ZERO;
        assert!(!offences.handle_offence(PEER, OFFENCE_LIMIT - 1, now));
        assert!(!offences.is_banned(&PEER, now));
        assert!(offences.handle_offence(PEER, 1, now));
        assert!(offences.is_banned(&PEER, now));
        assert!(offences.handle_timeout(now + BAN_TIME / 2).is_empty());
        assert_eq!(offences.handle_timeout(now + BAN_TIME), [PEER]);
        assert!(!offences.is_banned(&PEER, now + BAN_TIME));
    }

    #[test]
    fn offences_fade() {
        let mut offences = Offences::default();
        let later = Moment::ZERO + HALF_LIFE;
        assert!(!offences.handle_offence(PEER, OFFENCE_LIMIT - 1, Moment::ZERO));
        assert!(!offences.handle_offence(PEER, OFFENCE_LIMIT / 2, later));
    }

    #[test]
    fn the_number_of_remembered_offenders_is_bounded() {
        let mut offences = Offences::default();
        for number in 0..u32::try_from(OFFENDERS_MAX).unwrap() + 10 {
            let mut address = [0; 20];
            address[..4].copy_from_slice(&number.to_be_bytes());
            offences.handle_offence(Address(address), 1 + number, Moment::ZERO);
        }
        assert!(offences.sums.len() <= OFFENDERS_MAX);
    }
}
