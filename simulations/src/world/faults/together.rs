//! Faults that several peers have in common: an operator, a zone, the power.

use std::collections::BTreeMap;

use protocol::registry::Peer;

use super::super::World;
use super::number;

impl World {
    /// All peers of an operator crash; not those that work against the others,
    /// whose deeds are to be seen.
    pub(super) fn crash_operator(&mut self) {
        let operators = self.groups(|peer| peer.operator);
        let all = operators.into_values().collect();
        self.crash_one_of(all, "operator_crashes");
    }

    /// All peers in a zone crash.
    pub(super) fn crash_zone(&mut self) {
        let zones = self.groups(|peer| peer.zone);
        let all = zones.into_values().collect();
        self.crash_one_of(all, "zone_crashes");
    }

    fn crash_one_of(&mut self, groups: Vec<Vec<u32>>, key: &'static str) {
        if self.ctx.is_calm {
            return;
        }
        if !groups.is_empty() {
            self.note_fault(key);
            let group = self.faults.index(groups.len());
            self.crash_all(&groups[group]);
        }
    }

    /// Everybody crashes at the same moment, residents too.
    pub(super) fn lose_power(&mut self) {
        if !self.ctx.is_calm {
            self.note_fault("power_losses");
            let all: Vec<u32> = (0..number(self.hosts.len())).collect();
            self.crash_all(&all);
        }
    }

    /// Those that are up go down together and come back one by one.
    fn crash_all(&mut self, group: &[u32]) {
        for idx in group {
            if self.hosts[*idx as usize].is_up {
                self.fuses.remove(idx);
                self.crash_for_a_while(*idx);
            }
        }
    }

    /// All peers of an operator are gone for ever: a replica of each root at most.
    pub(super) fn kill_operator(&mut self) {
        let operators: Vec<Vec<u32>> = self
            .groups(|peer| peer.operator)
            .into_values()
            .filter(|peers| self.are_spare(peers))
            .collect();
        if self.ctx.is_calm || operators.is_empty() {
            return;
        }
        self.note_fault("operator_kills");
        let drawn = self.faults.index(operators.len());
        for idx in operators[drawn].clone() {
            self.killed.insert(idx);
            if self.hosts[idx as usize].is_up {
                self.put_down(idx);
            }
        }
    }

    /// The honest registered peers that live, by what they have in common.
    fn groups<K: Ord>(&self, key: impl Fn(&Peer) -> K) -> BTreeMap<K, Vec<u32>> {
        let registry = &self.ctx.chain.tip().registry.registry;
        let mut groups: BTreeMap<K, Vec<u32>> = BTreeMap::new();
        for idx in self.members() {
            if let Some(peer) = registry.peer(&self.hosts[idx as usize].address) {
                groups.entry(key(&peer)).or_default().push(idx);
            }
        }
        groups
    }
}
