//! What the world looks at from above, while it runs and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cid::Cid;
use protocol::id::{Address, Role};
use protocol::placement::{REPLICAS_MIN, REPLICAS_TARGET};
use protocol::time::Epoch;

use super::{World, Written};
use crate::checkers::Rule;
use crate::host::Host;
use crate::index::Index;

impl World {
    /// An acknowledged upload is on enough disks at the moment it is acknowledged.
    pub(super) fn check_durable(&mut self) {
        for (root, leases) in std::mem::take(&mut self.ctx.durable) {
            // Repair may have moved a replica in the meantime, so all disks count,
            // as do those that lost it since by no fault of a protocol.
            let operators: BTreeSet<Address> = self.hosts[..self.staked]
                .iter()
                .filter(|host| {
                    host.disk.has_stored(&root) || self.rotted.contains(&(host.idx, root))
                })
                .map(|host| self.operators[host.idx as usize])
                .collect();
            let promised: BTreeSet<Address> = leases
                .iter()
                .filter_map(|lease| self.ctx.peer(&lease.record.holder))
                .map(|holder| self.operators[holder as usize])
                .collect();
            let now = self.ctx.now;
            self.ctx.checkers.observe(
                Rule::DurableDisks,
                operators.len() >= REPLICAS_MIN,
                now,
                || format!("{root} is on the disks of {} operators", operators.len()),
            );
            self.ctx.checkers.observe(
                Rule::DurableLeases,
                promised.len() >= REPLICAS_MIN,
                now,
                || format!("{root} has leases of {} operators", promised.len()),
            );
            self.roots.insert(root);
        }
    }

    /// An acknowledged vault record is on most of its replicas' disks at the moment
    /// it is acknowledged. An adversary counts as one that has it, as it says.
    pub(super) fn check_written(&mut self) {
        for written in std::mem::take(&mut self.ctx.written) {
            let Written {
                replicas,
                lookup_key,
                wallet,
                version,
            } = written;
            let has = |replica: &&Address| {
                let idx = self.ctx.peer(replica);
                if idx.is_some_and(|idx| self.adversaries.contains(&idx)) {
                    return true;
                }
                let host = idx.map(|idx| &self.hosts[idx as usize]);
                let kept = host.and_then(|host| host.disk.vault.get(&lookup_key));
                kept.into_iter()
                    .flatten()
                    .any(|entry| entry.record.wallet == wallet && entry.record.version >= version)
            };
            let count = replicas.iter().filter(has).count();
            let (of, now) = (replicas.len(), self.ctx.now);
            self.ctx
                .checkers
                .note_vault_disks(&lookup_key, count, of, now);
        }
    }

    /// Distinct operators whose live, confirmed peers hold a root.
    fn replicas(&self, root: &Cid, is_exact: bool) -> usize {
        let registry = &self.ctx.chain.tip().registry.registry;
        let epoch = self.ctx.now.epoch();
        self.hosts[..self.staked]
            .iter()
            .filter(|host| host.is_up && host.disk.is_leased(root, epoch))
            .filter(|host| !is_exact || host.disk.has_root(root))
            .filter(|host| registry.has_role(&host.address, Role::Content))
            .filter_map(|host| Some(registry.peer(&host.address)?.operator))
            .collect::<BTreeSet<Address>>()
            .len()
    }

    /// Staked peers that are up and have promised a root, or have its first block.
    fn disks(&self, root: &Cid) -> usize {
        let hosts = self.hosts[..self.staked].iter().filter(|host| host.is_up);
        let has = |host: &&Host| {
            host.disk.leases.contains_key(root) || host.disk.blocks.contains_key(root)
        };
        hosts.filter(has).count()
    }

    /// Durable roots that something alive names, with their targets: only they have
    /// to stay. A placed peer that lies about what it has counts as a replica for
    /// the others, who look only at those that give something up.
    fn targets(&self) -> BTreeMap<Cid, usize> {
        let staked = self.hosts[..self.staked].iter();
        let down: BTreeSet<Address> = staked
            .clone()
            .filter(|host| !host.is_up)
            .map(|host| host.address)
            .collect();
        let hollow: BTreeSet<Address> = staked
            .filter(|host| host.is_hollow)
            .map(|host| host.address)
            .collect();
        let placement = self.ctx.chain.tip().registry.placement.inner();
        let target = placement.effective_target(REPLICAS_TARGET, &down);
        let index = Index::of(self.ctx.chain.entries());
        let named = self.roots.iter().filter(|root| index.is_named(root));
        let without = |root: &Cid| {
            if hollow.is_empty() {
                return target;
            }
            let placed = placement.place(root, REPLICAS_TARGET, &down);
            let lying = placed.iter().filter(|peer| hollow.contains(peer)).count();
            target.saturating_sub(lying)
        };
        named.map(|root| (*root, without(root))).collect()
    }

    /// Looks whether peers that are down count as lost at those that are up.
    pub(super) fn judge_lost(&mut self) {
        let now = self.ctx.now;
        let patience = self.ctx.params.lost_after + LOST_GRACE;
        for (down, since) in &self.down {
            let peer = self.hosts[*down as usize].address;
            let registry = &self.ctx.chain.tip().registry.registry;
            if !registry.has_role(&peer, Role::Content) {
                continue;
            }
            for host in self.hosts[..self.staked].iter() {
                let is_asked = host.is_up && !host.is_hollow;
                if is_asked && now >= host.started.max(*since) + patience {
                    let is_lost = host.run.lost.contains(&peer);
                    self.ctx.checkers.observe(Rule::Lost, is_lost, now, || {
                        format!("peer {} does not count peer {down} as lost", host.idx)
                    });
                }
            }
        }
    }

    /// Looks whether promises are renewed in every epoch.
    pub(super) fn judge_pages(&mut self) {
        let now = self.ctx.now;
        let first = Epoch(now.epoch().0.saturating_sub(1));
        let holders = self.hosts[..self.staked].iter();
        let holders = holders.filter(|host| host.is_up && !host.is_hollow);
        let may_write = |host: &&Host| {
            let since = host.started.max(host.disk.room_since);
            !host.disk.is_full && since.epoch().plus(2) < now.epoch()
        };
        for host in holders.filter(may_write) {
            let page = host.disk.page.as_ref().map(|page| page.record.epoch);
            let is_renewed = host.disk.leases.is_empty() || page >= Some(first);
            self.ctx
                .checkers
                .observe(Rule::PageOfEpoch, is_renewed, now, || {
                    format!("peer {} has the page of {page:?}", host.idx)
                });
        }
    }

    /// Measures for how long light peers that are up lack final entries.
    pub(super) fn measure_behind(&mut self) {
        let (now, count) = (self.ctx.now, self.ctx.chain.entries().len() as u64);
        for host in &self.hosts[self.staked..] {
            if host.is_up && host.disk.peaks.count < count {
                self.behind.entry(host.idx).or_insert(now);
            } else if let Some(since) = self.behind.remove(&host.idx)
                && host.is_up
            {
                let took = now.saturating_since(since);
                self.ctx.metrics.note_lag("light peers to catch up", took);
            }
        }
    }

    /// Measures how long roots are short of replicas.
    pub(super) fn measure_repair(&mut self) {
        let targets = self.targets();
        let counts: BTreeMap<Cid, usize> = targets
            .keys()
            .map(|root| (*root, self.replicas(root, false)))
            .collect();
        self.ctx.checkers.note_replicas(&counts, self.ctx.now);
        self.short_since
            .retain(|root, _| targets.contains_key(root));
        for (root, target) in targets {
            let is_short = counts[&root] < target;
            match (is_short, self.short_since.contains_key(&root)) {
                (true, false) => {
                    self.short_since.insert(root, self.ctx.now);
                }
                (false, true) => {
                    if let Some(since) = self.short_since.remove(&root) {
                        self.ctx.metrics.repair.push(self.ctx.now - since);
                    }
                }
                (true, true) | (false, false) => {}
            }
        }
        self.judge_repair();
    }

    /// Looks whether roots are short of replicas for too long. Who starts anew has
    /// everybody's silence before it.
    fn judge_repair(&mut self) {
        let seconds = self.scenario.content.repair_seconds;
        if seconds == 0 {
            return;
        }
        let now = self.ctx.now;
        let staked = self.hosts[..self.staked].iter();
        let started = staked.map(|host| host.started).max().unwrap_or(now);
        let patience = self.ctx.params.lost_after + Duration::from_secs(seconds);
        for (root, since) in &self.short_since {
            let is_soon = now <= started.max(*since) + patience;
            self.ctx
                .checkers
                .observe(Rule::RepairTime, is_soon, now, || {
                    format!("{root} is short since {} s", (now - *since).as_secs())
                });
        }
    }

    /// What is still missing of everything that must happen in the end.
    pub(super) fn unfinished(&self, is_exact: bool) -> Vec<(Rule, String)> {
        let mut missing = Vec::new();
        self.look(is_exact, |rule, what| {
            missing.extend(what.map(|what| (rule, what)));
        });
        missing
    }

    /// Looks at everything that must happen in the end, and says what is missing.
    fn look(&self, is_exact: bool, mut see: impl FnMut(Rule, Option<String>)) {
        let (checkers, chain) = (&self.ctx.checkers, &self.ctx.chain);
        for root in checkers.abandoned(chain, self.ctx.now) {
            let disks = self.disks(&root);
            let text = || format!("{root} is on {disks} disks");
            see(Rule::UploadsEnd, (disks > 0).then(text));
        }
        for (root, target) in self.targets() {
            let replicas = self.replicas(&root, is_exact);
            let text = || format!("{root} has {replicas} of {target} replicas");
            see(Rule::RootsReturn, (replicas < target).then(text));
        }
        let all = chain.final_peaks();
        let has_relayers = self.scenario.population.identity_max > 0;
        for host in &self.hosts[self.staked..] {
            let (count, all_count) = (host.disk.peaks.count, all.count);
            let text = || format!("peer {} has {count} of {all_count} entries", host.idx);
            see(Rule::EntriesArrive, (host.disk.peaks != all).then(text));
            let text = |what| format!("peer {} has to {what}", host.idx);
            see(Rule::ResidentsDone, {
                let person = self.people[host.idx as usize].as_ref();
                person
                    .and_then(|person| person.unfinished(host, has_relayers))
                    .map(text)
            });
        }
        for (digest, has_landed) in checkers.accepted(chain) {
            let text = || format!("{digest} was accepted and did not land");
            see(Rule::ActionsLand, (!has_landed).then(text));
        }
    }

    pub(super) fn judge(&mut self) {
        let mut looks = Vec::new();
        self.look(true, |rule, missing| looks.push((rule, missing)));
        let now = self.ctx.now;
        for (rule, missing) in looks {
            let holds = missing.is_none();
            let text = || missing.unwrap_or_default();
            self.ctx.checkers.observe(rule, holds, now, text);
        }
        self.ctx.checkers.judge_chain(&self.ctx.chain, now);
        self.ctx.checkers.judge_questions(now);
        self.ctx.metrics.replicas = self.ctx.checkers.longest();
        self.count_tables();
    }

    /// Counts what the machines hold now and then.
    pub(super) fn measure_tables(&mut self) {
        let pause = (self.calm_at - self.started) / COUNTS;
        if self.ctx.now >= self.counted_at + pause {
            self.count_tables();
        }
    }

    fn count_tables(&mut self) {
        self.counted_at = self.ctx.now;
        if self.ctx.metrics.is_measured {
            let hosts = self.hosts.iter();
            self.ctx.metrics.note_tables(hosts.map(|host| &host.run));
        }
    }
}

/// How often tables are counted in the fault phase. Chosen: enough for a mean, while
/// counting takes about as long as the run.
const COUNTS: u32 = 8;

/// From the end of the silence to the moment that everybody knows. Chosen: more
/// than an answer under way takes, and much less than an hour of a page.
const LOST_GRACE: Duration = Duration::from_secs(30);
