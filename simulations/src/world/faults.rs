//! What befalls the world: blocks, faults, and the residents' plans.

use std::time::Duration;

use protocol::time::Moment;

use super::{Local, World};
use crate::engine::{Rng, digest64};
use crate::workload::Plan;

mod disks;
mod links;
mod registry;
mod together;

/// A crash that waits for a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fuse {
    /// So many writes are done before.
    writes: u64,
    /// True when the write itself is done too, and nobody hears of it.
    is_written: bool,
}

/// Something that no peer causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorldEvent {
    /// Everybody starts at this moment.
    Begin,
    /// The next block.
    Mine,
    /// The chain reorganises.
    Reorganise,
    /// The chain's endpoints go away, or come back.
    ChainAway(bool),
    /// Others fill the chain's blocks, or do so no more.
    FeeSpike(bool),
    /// A staked peer crashes, to start again.
    Crash,
    /// A peer starts.
    Start(u32),
    /// A staked peer is gone for ever.
    Kill,
    /// A staked peer registers and starts.
    Join,
    /// A staked peer deregisters, and stops later.
    Leave,
    /// A peer stops for good.
    Stop(u32),
    /// The stake behind an operator changes.
    ChangeStake,
    /// A staked peer moves to another zone.
    ChangeZone,
    /// A staked peer is followed by another with a key of its own.
    ChangeKey,
    /// A staked peer deregisters, to come back soon.
    Deregister,
    /// It registers again, for roles in their order.
    Register(u32, [bool; 3]),
    /// All peers of an operator crash, to start again.
    OperatorCrash,
    /// All peers of an operator are gone for ever.
    OperatorKill,
    /// All peers in a zone crash, to start again.
    ZoneCrash,
    /// Everybody crashes at the same moment, to start again.
    PowerLoss,
    /// A light peer goes offline or comes back.
    Session(u32),
    /// The network splits.
    Partition,
    /// The network is whole again.
    Heal,
    /// Nobody hears a staked peer.
    Mute,
    /// It is heard again.
    Unmute(u32),
    /// Somebody's links get slow.
    Slow,
    /// They are as they were.
    Quicken(u32),
    /// A block goes bad on a disk.
    Rot,
    /// The next step of somebody's index fails.
    IndexFails,
    /// The next read of a row of a staked peer fails.
    ReadFails,
    /// The disk of somebody is full.
    FillDisk,
    /// It has room again.
    MakeRoom(u32),
    /// A backup of a staked peer is written.
    BackUp,
    /// The peer loses its disk, and starts with the backup.
    Restore(u32),
    /// Wallets of a relayer run empty.
    EmptyWallets,
    /// They have money again.
    Fund(u32),
    /// A resident publishes.
    Publish,
    /// A resident saves something.
    Act,
    /// A resident sends a transaction of its own.
    Pay,
    /// A resident uses the vault.
    Vault,
    /// A resident errs.
    Err,
    /// The faults end.
    Calm,
    /// A look at everything.
    Probe,
}

impl WorldEvent {
    /// A hash for the trace.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest64(format!("{self:?}").as_bytes())
    }
}

impl World {
    /// Puts everything that is planned into the queue.
    pub(super) fn plan(&mut self, seed: u64) {
        let scenario = self.scenario.clone();
        let (faults, work) = (&scenario.faults, &scenario.workload);
        let mut rng = Rng::stream(seed, "plan");
        let begin = self.started + Duration::from_secs(5);
        self.ctx.schedule(self.calm_at, WorldEvent::Calm);
        self.ctx
            .schedule(self.started + PROBE_FIRST, WorldEvent::Probe);
        self.ctx.schedule(begin, WorldEvent::Mine);
        let span = self.calm_at - begin;
        let mut spread = |times: usize, part: f64, event: WorldEvent| {
            for _ in 0..times {
                let at = begin + span.mul_f64(part * rng.unit());
                self.ctx.schedule(at, event);
            }
        };
        spread(work.publications, 0.8, WorldEvent::Publish);
        spread(work.actions, 0.95, WorldEvent::Act);
        spread(work.vault_operations, 0.95, WorldEvent::Vault);
        spread(work.payments, 0.9, WorldEvent::Pay);
        spread(work.mistakes, 0.95, WorldEvent::Err);
        spread(faults.crashes, 0.9, WorldEvent::Crash);
        spread(faults.joins, 0.8, WorldEvent::Join);
        spread(faults.leaves, 0.7, WorldEvent::Leave);
        spread(faults.partitions, 0.8, WorldEvent::Partition);
        spread(faults.rotten_blocks, 0.95, WorldEvent::Rot);
        spread(faults.index_failures, 0.9, WorldEvent::IndexFails);
        spread(faults.failed_reads, 0.9, WorldEvent::ReadFails);
        spread(faults.reorganisations, 0.95, WorldEvent::Reorganise);
        spread(faults.chain_outages, 0.8, WorldEvent::ChainAway(true));
        spread(faults.one_way_cuts, 0.9, WorldEvent::Mute);
        spread(faults.slow_links, 0.9, WorldEvent::Slow);
        spread(faults.fee_spikes, 0.8, WorldEvent::FeeSpike(true));
        spread(faults.stake_changes, 0.9, WorldEvent::ChangeStake);
        spread(faults.zone_changes, 0.9, WorldEvent::ChangeZone);
        spread(faults.key_changes, 0.8, WorldEvent::ChangeKey);
        spread(faults.returns, 0.8, WorldEvent::Deregister);
        spread(faults.operator_crashes, 0.9, WorldEvent::OperatorCrash);
        spread(faults.zone_crashes, 0.9, WorldEvent::ZoneCrash);
        spread(faults.power_losses, 0.9, WorldEvent::PowerLoss);
        spread(faults.full_disks, 0.9, WorldEvent::FillDisk);
        spread(faults.empty_wallets, 0.9, WorldEvent::EmptyWallets);
        // Disks are lost as far apart as repair needs, or data would be lost for good.
        let pause = Duration::from_secs(scenario.content.lost_after_seconds) * 2;
        let mut at = begin + span.mul_f64(0.3);
        let operators = std::iter::repeat_n(WorldEvent::OperatorKill, faults.operator_kills);
        let restores = std::iter::repeat_n(WorldEvent::BackUp, faults.restores);
        let kills = std::iter::repeat_n(WorldEvent::Kill, faults.kills);
        for kill in kills.chain(operators).chain(restores) {
            self.ctx.schedule(at, kill);
            at = at + pause;
        }
        self.plan_sessions(&mut rng);
    }

    fn plan_sessions(&mut self, rng: &mut Rng) {
        let sessions = self.scenario.sessions.clone();
        for idx in self.staked..self.hosts.len() {
            if rng.chance(sessions.share) {
                let at = self.started + sessions.online(rng);
                self.ctx.schedule(at, WorldEvent::Session(number(idx)));
            }
        }
    }

    pub(super) fn handle_world(&mut self, event: WorldEvent) {
        self.befall(event);
        if !self.ctx.net.is_whole() {
            self.ctx.checkers.note_cut(self.ctx.now);
        }
    }

    fn befall(&mut self, event: WorldEvent) {
        if !self.ctx.net.is_whole() {
            self.ctx.checkers.note_cut(self.ctx.now);
        }
        match event {
            WorldEvent::Begin => self.begin(),
            WorldEvent::Mine => self.mine(),
            WorldEvent::Reorganise => self.reorganise(),
            WorldEvent::ChainAway(is_away) => self.toggle_chain(is_away),
            WorldEvent::FeeSpike(is_on) => self.crowd(is_on),
            WorldEvent::Crash => self.crash(),
            WorldEvent::Start(idx) => self.start(idx),
            WorldEvent::Kill => self.kill(),
            WorldEvent::Join => self.join(),
            WorldEvent::Leave => self.leave(),
            WorldEvent::Stop(idx) => self.stop(idx),
            WorldEvent::ChangeStake => self.change_stake(),
            WorldEvent::ChangeZone => self.change_zone(),
            WorldEvent::ChangeKey => self.change_key(),
            WorldEvent::Deregister => self.deregister(),
            WorldEvent::Register(idx, roles) => self.register(idx, roles),
            WorldEvent::OperatorCrash => self.crash_operator(),
            WorldEvent::OperatorKill => self.kill_operator(),
            WorldEvent::ZoneCrash => self.crash_zone(),
            WorldEvent::PowerLoss => self.lose_power(),
            WorldEvent::Session(idx) => self.toggle_session(idx),
            WorldEvent::Partition => self.partition(),
            WorldEvent::Heal => self.ctx.net.heal(),
            WorldEvent::Mute => self.mute(),
            WorldEvent::Unmute(idx) => self.ctx.net.mute(idx, false),
            WorldEvent::Slow => self.slow(),
            WorldEvent::Quicken(idx) => self.ctx.net.slow(idx, None),
            WorldEvent::Rot => self.rot(),
            WorldEvent::IndexFails => self.fail_index(),
            WorldEvent::ReadFails => self.fail_read(),
            WorldEvent::FillDisk => self.fill_disk(),
            WorldEvent::MakeRoom(idx) => self.make_room(idx),
            WorldEvent::BackUp => self.back_up(),
            WorldEvent::Restore(idx) => self.restore(idx),
            WorldEvent::EmptyWallets => self.empty_wallets(),
            WorldEvent::Fund(idx) => self.fund(idx),
            WorldEvent::Publish => self.by_resident(event, Plan::Publish),
            WorldEvent::Act => self.by_resident(event, Plan::Act),
            WorldEvent::Pay => self.by_resident(event, Plan::Pay),
            WorldEvent::Vault => self.use_vault(),
            WorldEvent::Err => self.by_resident(event, Plan::Err),
            WorldEvent::Calm => self.calm(),
            WorldEvent::Probe => self.probe(),
        }
    }

    fn begin(&mut self) {
        for idx in (0..self.joined).chain(self.staked..self.hosts.len()) {
            self.start(number(idx));
        }
    }

    fn start(&mut self, idx: u32) {
        if !self.killed.contains(&idx) && !self.hosts[idx as usize].is_up {
            self.clocks.set(idx, self.ctx.time);
            self.start_peer(idx);
            self.down.remove(&idx);
            self.tell_connections(idx);
        }
    }

    fn put_down(&mut self, idx: u32) {
        self.down.insert(idx, self.ctx.now);
        self.crash_peer(idx);
        self.tell_connections(idx);
    }

    /// Whoever is up soon notices that a staked peer came or went.
    fn tell_connections(&mut self, idx: u32) {
        if idx as usize >= self.staked {
            return;
        }
        for host in &self.hosts {
            if host.is_up {
                self.ctx.local(host, NOTICE_DELAY, Local::Connected);
            }
        }
    }

    fn mine(&mut self) {
        let interval = Duration::from_millis(self.scenario.chain.block_millis.max(100));
        self.ctx.schedule(self.ctx.now + interval, WorldEvent::Mine);
        self.ctx.chain.mine(self.ctx.now);
        // Light peers follow the registry alone.
        let root = self.ctx.registry().root;
        let told = match std::mem::replace(&mut self.registry_told, root) == root {
            true => self.staked,
            false => self.hosts.len(),
        };
        for idx in 0..told {
            if self.hosts[idx].is_up {
                let low = Duration::from_millis(20);
                let delay = self.faults.duration(low, low * 20);
                let host = &self.hosts[idx];
                self.ctx.local(host, delay, Local::Chain);
            }
        }
    }

    /// The chain takes blocks back; in half of the cases as many others stand in
    /// their place at once, else they come one by one.
    fn reorganise(&mut self) {
        if self.ctx.is_calm {
            return;
        }
        let before = self.ctx.chain.tip().number;
        // Several in a row take back no more than what is not final yet.
        let most = match self.scenario.faults.reorganisation_blocks {
            0 => before - self.ctx.chain.finalized(),
            blocks => blocks,
        };
        if most == 0 {
            return;
        }
        self.note_fault("reorganisations");
        self.ctx.chain.reorganise(1 + self.faults.below(most));
        if self.faults.chance(0.5) {
            for _ in self.ctx.chain.tip().number..before {
                self.ctx.chain.mine(self.ctx.now);
            }
        }
    }

    fn toggle_chain(&mut self, is_away: bool) {
        self.ctx.is_chain_up = !is_away || self.ctx.is_calm;
        if is_away {
            self.note_fault("chain_outages");
            let after = self.fault_span();
            self.ctx
                .schedule(self.ctx.now + after, WorldEvent::ChainAway(false));
        }
    }

    fn crowd(&mut self, is_on: bool) {
        self.ctx.chain.crowd(is_on && !self.ctx.is_calm);
        if is_on {
            self.note_fault("fee_spikes");
            let after = self.fault_span();
            self.ctx
                .schedule(self.ctx.now + after, WorldEvent::FeeSpike(false));
        }
    }

    /// Counts a fault that was asked for, by its key.
    fn note_fault(&mut self, key: &'static str) {
        *self.happened.entry(key).or_default() += 1;
    }

    fn fault_span(&mut self) -> Duration {
        let mean = Duration::from_secs(self.scenario.faults.fault_seconds.max(1));
        self.faults.duration(mean / 2, mean * 3 / 2)
    }

    /// A staked peer that may go down: a tenth of them at a time, at least one.
    /// A peer to stop for a while, or one to stop for good.
    fn victim(&mut self, is_for_good: bool) -> Option<u32> {
        let members: Vec<u32> = (0..number(self.joined))
            .filter(|idx| !self.left.contains(idx) && !self.killed.contains(idx))
            .filter(|idx| !self.adversaries.contains(idx))
            .collect();
        let up: Vec<u32> = members
            .iter()
            .copied()
            .filter(|idx| self.hosts[*idx as usize].is_up)
            .collect();
        let spare: Vec<u32> = up
            .iter()
            .copied()
            .filter(|idx| !is_for_good || self.are_spare(&[*idx]))
            .collect();
        let down = members.len() - up.len();
        if self.ctx.is_calm || down >= (members.len() / 8).max(1) {
            return None;
        }
        self.faults.sample(&spare, 1).first().copied()
    }

    fn crash(&mut self) {
        let Some(idx) = self.victim(false) else {
            return;
        };
        // Half of the crashes wait for the window around one of the next writes.
        if self.faults.chance(0.5) {
            let fuse = Fuse {
                writes: self.faults.below(FUSE_WRITES),
                is_written: self.faults.chance(0.5),
            };
            self.fuses.insert(idx, fuse);
        } else {
            self.note_fault("crashes");
            self.crash_for_a_while(idx);
        }
    }

    fn crash_for_a_while(&mut self, idx: u32) {
        self.put_down(idx);
        let after = self.fault_span();
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Start(idx));
    }

    /// Lets a peer write, unless its crash comes just now: before the write, or
    /// after it and before the process hears so.
    pub(super) fn write(&mut self, idx: u32, local: Local) {
        let is_calm = self.ctx.is_calm;
        let fuse = match self.fuses.get_mut(&idx) {
            Some(fuse) if fuse.writes == 0 && !is_calm => *fuse,
            fuse => {
                if let Some(fuse) = fuse {
                    fuse.writes = fuse.writes.saturating_sub(1);
                }
                return self.happen(idx, local);
            }
        };
        self.fuses.remove(&idx);
        self.note_fault("crashes");
        if fuse.is_written {
            self.drive(idx, |host, _, ctx| {
                host.forget();
                host.handle_local(local, ctx);
            });
        }
        self.crash_for_a_while(idx);
    }

    fn kill(&mut self) {
        if let Some(idx) = self.victim(true) {
            self.note_fault("kills");
            self.killed.insert(idx);
            self.put_down(idx);
        }
    }

    fn stop(&mut self, idx: u32) {
        self.killed.insert(idx);
        self.put_down(idx);
    }

    fn toggle_session(&mut self, idx: u32) {
        if self.ctx.is_calm {
            return;
        }
        let sessions = self.scenario.sessions.clone();
        let after = if self.hosts[idx as usize].is_up {
            self.crash_peer(idx);
            sessions.away(&mut self.faults)
        } else {
            self.start(idx);
            sessions.online(&mut self.faults)
        };
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Session(idx));
    }

    fn rot(&mut self) {
        let held: Vec<(u32, cid::Cid)> = self.hosts[..self.staked]
            .iter()
            .filter(|host| host.is_up && !self.left.contains(&host.idx))
            .flat_map(|host| host.disk.leases.keys().map(|root| (host.idx, *root)))
            .collect();
        let Some((idx, root)) = self.faults.sample(&held, 1).first().copied() else {
            return;
        };
        let disk = &mut self.hosts[idx as usize].disk;
        let cids = disk.dag(&root);
        if !cids.is_empty() {
            *self.happened.entry("rotten_blocks").or_default() += 1;
            let cid = cids[self.faults.index(cids.len())];
            disk.rotten.insert(cid);
            self.rotted.insert((idx, root));
            let after = self
                .faults
                .duration(Duration::from_secs(1), Duration::from_secs(30));
            let host = &self.hosts[idx as usize];
            self.ctx.local(host, after, Local::Scrub(Box::new(root)));
        }
    }

    /// The next step of somebody's index fails; some are damaged by it.
    fn fail_index(&mut self) {
        let up = self.hosts.iter().filter(|host| host.is_up);
        let up: Vec<u32> = up.map(|host| host.idx).collect();
        if let Some(idx) = self.faults.sample(&up, 1).first() {
            self.note_fault("index_failures");
            let is_lost = self.faults.chance(0.5);
            self.hosts[*idx as usize].disk.fails = Some(is_lost);
        }
    }

    fn by_resident(&mut self, event: WorldEvent, plan: Plan) {
        let up: Vec<u32> = self.hosts[self.staked..]
            .iter()
            .filter(|host| host.is_up)
            .map(|host| host.idx)
            .collect();
        match self.faults.sample(&up, 1).first() {
            Some(idx) => {
                let host = &self.hosts[*idx as usize];
                let plan = Local::Person(plan);
                self.ctx.local(host, Duration::ZERO, plan);
            }
            None => self
                .ctx
                .schedule(self.ctx.now + Duration::from_secs(5), event),
        }
    }

    /// The vault's users are few, so that each writes and reads often.
    fn use_vault(&mut self) {
        let users = self.scenario.workload.vault_users.max(1);
        let all = self.hosts.len() - self.staked;
        let idx = self.staked + self.faults.index(users.min(all.max(1)));
        if let Some(host) = self.hosts.get(idx)
            && host.is_up
        {
            self.ctx
                .local(host, Duration::ZERO, Local::Person(Plan::Vault));
        }
    }

    fn calm(&mut self) {
        self.ctx.is_calm = true;
        self.ctx.is_chain_up = true;
        self.ctx.net.calm();
        self.ctx.chain.crowd(false);
        for idx in 0..self.hosts.len() {
            self.make_room(number(idx));
            self.fund(number(idx));
            let is_member = idx < self.joined || idx >= self.staked;
            // Blocks that went bad unseen are found when a peer starts.
            if is_member && !self.killed.contains(&number(idx)) {
                self.start(number(idx));
            }
        }
        for idx in 0..self.staked {
            // Roots that wait for their promise are among them.
            let roots: Vec<cid::Cid> = self.hosts[idx].disk.roots.keys().copied().collect();
            for root in roots {
                if self.hosts[idx].is_up && !self.hosts[idx].disk.rotten.is_empty() {
                    let host = &self.hosts[idx];
                    self.ctx
                        .local(host, Duration::from_secs(1), Local::Scrub(Box::new(root)));
                }
            }
        }
        // A last action, under whose head everybody can catch up.
        self.ctx
            .schedule(self.ctx.now + Duration::from_secs(5), WorldEvent::Act);
    }

    fn probe(&mut self) {
        let now = self.ctx.now;
        self.measure_repair();
        self.judge_lost();
        self.judge_pages();
        self.measure_behind();
        self.measure_tables();
        let is_settled = now >= self.calm_at + CALM_MIN && self.unfinished(true).is_empty();
        if is_settled || now >= self.end_at {
            self.is_over = true;
            return;
        }
        let pause = if self.ctx.is_calm {
            PROBE_CALM
        } else {
            PROBE_FAULTS
        };
        let at: Moment = now + pause;
        self.ctx.schedule(at.min(self.end_at), WorldEvent::Probe);
    }
}

fn number(idx: usize) -> u32 {
    u32::try_from(idx).expect("fewer than 2^32 peers")
}

const PROBE_FIRST: Duration = Duration::from_secs(10);
const PROBE_FAULTS: Duration = Duration::from_secs(10);
const PROBE_CALM: Duration = Duration::from_secs(5);

/// The calm phase lasts at least this long, so that late damage shows.
const CALM_MIN: Duration = Duration::from_secs(30);

/// From the end of a connection to the moment that others notice it.
const NOTICE_DELAY: Duration = Duration::from_secs(1);

/// A crash comes within so many writes.
const FUSE_WRITES: u64 = 6;
