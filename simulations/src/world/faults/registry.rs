//! Changes of the registry: who joins and leaves, with which stake, key and zone.

use std::time::Duration;

use gossip::heads::is_majority;
use protocol::amount::Dgc;
use protocol::id::{Address, Role, ServiceId, Zone};
use protocol::registry::{Registry, RegistryEvent};

use super::super::World;
use super::super::build::{confirmation, zone};
use super::{WorldEvent, number};

impl World {
    /// Staked peers that registered, live and work with the others.
    pub(super) fn members(&self) -> Vec<u32> {
        (0..number(self.joined))
            .filter(|idx| !self.left.contains(idx) && !self.killed.contains(idx))
            .filter(|idx| !self.adversaries.contains(idx))
            .collect()
    }

    /// True when the honest peers that are left without some can still sign
    /// heads: with fewer the log stops by design.
    pub(super) fn are_spare(&self, peers: &[u32]) -> bool {
        let registry = &self.ctx.chain.tip().registry.registry;
        self.can_sign_without(peers, registry)
    }

    fn can_sign_without(&self, peers: &[u32], registry: &Registry) -> bool {
        let left: Vec<Address> = self.hosts[..self.staked]
            .iter()
            .filter(|host| !host.is_liar && !peers.contains(&host.idx))
            .filter(|host| !self.killed.contains(&host.idx) && !self.left.contains(&host.idx))
            .map(|host| host.address)
            .collect();
        is_majority(&left, registry)
    }

    /// Takes events to the chain unless heads could not be signed any more with
    /// what the registry is then.
    fn change(&mut self, events: Vec<RegistryEvent>) -> bool {
        let mut registry = (*self.ctx.chain.tip().registry.registry).clone();
        let queued = self.ctx.chain.queued_registry();
        queued
            .iter()
            .chain(&events)
            .for_each(|event| registry.apply(event));
        let is_safe = self.can_sign_without(&[], &registry) && !self.do_liars_decide(&registry);
        if is_safe {
            events
                .into_iter()
                .for_each(|event| self.ctx.chain.change_registry(event));
        }
        is_safe
    }

    /// True when liars hold a third of the weight or more.
    fn do_liars_decide(&self, registry: &Registry) -> bool {
        let weight = |is_counted: &dyn Fn(&Address) -> bool| -> u64 {
            let operators: std::collections::BTreeSet<Address> = registry
                .confirmed(Role::Discovery)
                .filter(|service| is_counted(&service.wallet))
                .map(|service| service.operator)
                .collect();
            operators
                .iter()
                .map(|operator| registry.weight(operator))
                .sum()
        };
        let is_liar = |wallet: &Address| {
            let idx = self.ctx.peer(wallet);
            idx.is_some_and(|idx| self.hosts[idx as usize].is_liar)
        };
        weight(&is_liar) * 3 >= weight(&|_| true)
    }

    pub(super) fn join(&mut self) {
        if self.joined == self.staked {
            return;
        }
        let idx = self.joined;
        let mut roles = vec![Role::Content];
        if self.scenario.faults.in_every_role {
            let more = [Role::Discovery, Role::Identity];
            let drawn = more.into_iter().filter(|_| self.faults.chance(0.5));
            roles.extend(drawn);
        }
        self.joined += 1;
        self.note_fault("joins");
        for event in self.registration_of(idx, roles) {
            self.ctx.chain.change_registry(event);
        }
        self.start(number(idx));
    }

    /// A peer deregisters, and stops once the others had time to take over.
    pub(super) fn leave(&mut self) {
        let registry = &self.ctx.chain.tip().registry.registry;
        let may_leave = |address: &Address| {
            let in_every_role = self.scenario.faults.in_every_role;
            registry.has_role(address, Role::Content)
                && (in_every_role || !registry.has_role(address, Role::Discovery))
        };
        let members = (0..number(self.joined)).filter(|idx| !self.left.contains(idx));
        let candidates: Vec<u32> = members
            .filter(|idx| {
                let host = &self.hosts[*idx as usize];
                host.is_up && may_leave(&host.address)
            })
            .collect();
        let Some(idx) = self.faults.sample(&candidates, 1).pop() else {
            return;
        };
        self.left.insert(idx);
        if self.scenario.faults.in_every_role && !self.are_spare(&[idx]) {
            self.left.remove(&idx);
            return;
        }
        self.note_fault("leaves");
        for event in self.deregistration_of(idx) {
            self.ctx.chain.change_registry(event);
        }
        self.stop_later(idx);
    }

    fn stop_later(&mut self, idx: u32) {
        let after = Duration::from_secs(self.scenario.content.lost_after_seconds);
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Stop(idx));
    }

    fn deregistration_of(&self, idx: u32) -> Vec<RegistryEvent> {
        let services = self.services_of(idx).into_iter();
        services
            .map(|(role, id)| RegistryEvent::Deregistered { role, id })
            .collect()
    }

    fn services_of(&self, idx: u32) -> Vec<(Role, ServiceId)> {
        let registry = &self.ctx.chain.tip().registry.registry;
        let peer = registry.peer(&self.hosts[idx as usize].address);
        peer.map(|peer| peer.roles.into_iter().collect())
            .unwrap_or_default()
    }

    /// A member that is up, registered and honest.
    fn registered(&mut self) -> Option<u32> {
        let registry = &self.ctx.chain.tip().registry.registry;
        let mut members = self.members();
        members.retain(|idx| {
            let host = &self.hosts[*idx as usize];
            host.is_up && !host.is_liar && registry.peer(&host.address).is_some()
        });
        let drawn = self.faults.sample(&members, 1).pop();
        drawn.filter(|_| !self.ctx.is_calm)
    }

    /// An operator's stake is halved to doubled.
    pub(super) fn change_stake(&mut self) {
        let Some(idx) = self.registered() else {
            return;
        };
        let registry = &self.ctx.chain.tip().registry.registry;
        let operator = self.operators[idx as usize];
        let stake = registry
            .operator(&operator)
            .map_or(0, |operator| operator.stake.whole_floor());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few million at most"
        )]
        let active = (stake as f64 * (0.5 + 1.5 * self.faults.unit())) as u64;
        let active = Dgc::whole(active.clamp(STAKE_MIN_DGC, STAKE_MAX_DGC));
        if self.change(vec![RegistryEvent::StakeChanged { operator, active }]) {
            self.note_fault("stake_changes");
        }
    }

    /// A peer confirms again, with another zone.
    pub(super) fn change_zone(&mut self) {
        let Some(idx) = self.registered() else {
            return;
        };
        let zones = self.scenario.population.zones.max(1);
        let zone = zone(self.faults.below(zones));
        let events = self.confirmations_of(idx, &self.services_of(idx), zone);
        if self.change(events) {
            self.note_fault("zone_changes");
        }
    }

    /// Another peer, with a key of its own and an empty disk, serves what a peer
    /// served; that one stops later.
    pub(super) fn change_key(&mut self) {
        let Some(old) = self.registered().filter(|_| self.joined < self.staked) else {
            return;
        };
        let registry = &self.ctx.chain.tip().registry.registry;
        let Some(peer) = registry.peer(&self.hosts[old as usize].address) else {
            return;
        };
        let new = number(self.joined);
        let wallet = self.hosts[new as usize].address;
        let services: Vec<(Role, ServiceId)> = peer.roles.into_iter().collect();
        let changes = services.iter();
        let mut events: Vec<RegistryEvent> = changes
            .map(|(role, id)| RegistryEvent::WalletChanged {
                role: *role,
                id: *id,
                wallet,
            })
            .collect();
        events.extend(self.confirmations_of(new, &services, peer.zone));
        self.left.insert(old);
        if !self.change(events) {
            self.left.remove(&old);
            return;
        }
        self.note_fault("key_changes");
        self.operators[new as usize] = self.operators[old as usize];
        self.joined += 1;
        self.start(new);
        self.stop_later(old);
    }

    fn confirmations_of(
        &self,
        idx: u32,
        services: &[(Role, ServiceId)],
        zone: Zone,
    ) -> Vec<RegistryEvent> {
        let host = &self.hosts[idx as usize];
        let block_number = self.ctx.chain.tip().number;
        let services = services.iter();
        services
            .map(|(role, id)| RegistryEvent::Confirmed {
                role: *role,
                id: *id,
                wallet: host.address,
                confirmation: confirmation(&host.key, zone, block_number),
            })
            .collect()
    }

    /// A peer deregisters and goes on running.
    pub(super) fn deregister(&mut self) {
        let Some(idx) = self.registered() else {
            return;
        };
        let services = self.services_of(idx);
        let roles = Role::ALL.map(|role| services.iter().any(|(served, _)| *served == role));
        if !self.returning.contains(&idx) && self.change(self.deregistration_of(idx)) {
            self.returning.insert(idx);
            self.note_fault("returns");
            let after = self.fault_span();
            self.ctx
                .schedule(self.ctx.now + after, WorldEvent::Register(idx, roles));
        }
    }

    /// It registers again, under other numbers.
    pub(super) fn register(&mut self, idx: u32, roles: [bool; 3]) {
        self.returning.remove(&idx);
        let operator = self.operators[idx as usize];
        let wallet = self.hosts[idx as usize].address;
        let id = ServiceId(RETURNED_ID_FIRST + self.ctx.next_id());
        let roles = Role::ALL.into_iter().zip(roles);
        let services: Vec<(Role, ServiceId)> = roles
            .filter(|(_, is_served)| *is_served)
            .map(|(role, _)| (role, id))
            .collect();
        let zone = zone(self.faults.below(self.scenario.population.zones.max(1)));
        let registered = services.iter().map(|(role, id)| RegistryEvent::Registered {
            role: *role,
            id: *id,
            operator,
            endpoint: format!("https://peer{idx}.example"),
            wallet,
        });
        let confirmed = self.confirmations_of(idx, &services, zone);
        for event in registered.chain(confirmed) {
            self.ctx.chain.change_registry(event);
        }
    }
}

/// Whoever registers again gets a number from here on.
const RETURNED_ID_FIRST: u64 = 1_000_000;

/// What an operator has at least and at most, as at the beginning.
const STAKE_MIN_DGC: u64 = 200_000;
const STAKE_MAX_DGC: u64 = 2_200_000;
