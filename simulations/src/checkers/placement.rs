//! Placement: distinct operators, zones kept apart.

use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;
use protocol::id::{Address, Role, Zone};
use protocol::placement::REPLICAS_TARGET;
use protocol::time::Moment;

use super::{Checkers, Rule};
use crate::chain::RegistryAt;

impl Checkers {
    /// Notes the peers that a publication turned to, in rank order.
    pub fn note_placed(&mut self, root: &Cid, placed: &[Address], at: &RegistryAt, now: Moment) {
        let peers: Vec<_> = placed
            .iter()
            .filter_map(|peer| at.registry.peer(peer))
            .collect();
        let operators: BTreeSet<Address> = peers.iter().map(|peer| peer.operator).collect();
        self.findings.observe(
            Rule::DistinctOperators,
            operators.len() == placed.len(),
            now,
            || {
                format!(
                    "{root} was placed on {} peers of {} operators",
                    placed.len(),
                    operators.len()
                )
            },
        );
    }

    /// Notes the replica set of a root, drawn from the whole registry.
    pub fn note_replica_set(
        &mut self,
        root: &Cid,
        placed: &[Address],
        at: &RegistryAt,
        now: Moment,
    ) {
        let zone_of = |peer: &Address| at.registry.peer(peer).map(|peer| peer.zone);
        let mut chosen: BTreeMap<Zone, usize> = BTreeMap::new();
        for zone in placed.iter().filter_map(zone_of) {
            *chosen.entry(zone).or_default() += 1;
        }
        let mut offered: BTreeMap<Zone, BTreeSet<Address>> = BTreeMap::new();
        for service in at.registry.confirmed(Role::Content) {
            if let Some(zone) = zone_of(&service.wallet) {
                offered.entry(zone).or_default().insert(service.operator);
            }
        }
        let zone_max = REPLICAS_TARGET.div_ceil(3);
        // Enough zones, each with operators: then nobody has to break the rule.
        let room: usize = offered.values().map(|all| all.len().min(zone_max)).sum();
        let is_possible = room >= REPLICAS_TARGET;
        let holds = !is_possible || chosen.values().all(|count| *count <= zone_max);
        self.findings.observe(Rule::ZoneShare, holds, now, || {
            format!("{root} has {chosen:?}")
        });
    }
}
