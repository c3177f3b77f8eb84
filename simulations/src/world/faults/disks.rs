//! Disks that are full or lost, and wallets without money.

use protocol::id::Role;

use super::super::{Params, World};
use super::{WorldEvent, number};

impl World {
    /// For a while there is no room on a disk, in half of the cases on a staked
    /// peer's.
    pub(super) fn fill_disk(&mut self) {
        let most = match self.faults.chance(0.5) {
            true => self.staked,
            false => self.hosts.len(),
        };
        let idx = number(self.faults.index(most));
        if !self.ctx.is_calm {
            self.note_fault("full_disks");
            self.hosts[idx as usize].disk.fill(true, self.ctx.now);
            let after = self.fault_span();
            self.ctx
                .schedule(self.ctx.now + after, WorldEvent::MakeRoom(idx));
        }
    }

    /// There is room again.
    pub(super) fn make_room(&mut self, idx: u32) {
        self.hosts[idx as usize].disk.fill(false, self.ctx.now);
    }

    /// A peer is backed up, some time before it loses its disk. None of those that
    /// keep vault records: what is acknowledged is on most of their disks, and by
    /// design on no more.
    pub(super) fn back_up(&mut self) {
        let registry = &self.ctx.chain.tip().registry.registry;
        let mut able = self.members();
        able.retain(|idx| {
            let host = &self.hosts[*idx as usize];
            let has_role = |role| registry.has_role(&host.address, role);
            host.is_up && has_role(Role::Content) && !has_role(Role::Identity)
        });
        let drawn = self.faults.sample(&able, 1).pop();
        let Some(idx) = drawn.filter(|_| !self.ctx.is_calm) else {
            return;
        };
        let backup = self.hosts[idx as usize].disk.restored();
        self.backups.insert(idx, backup);
        let after = self.fault_span();
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Restore(idx));
    }

    /// It starts anew with what the backup holds.
    pub(super) fn restore(&mut self, idx: u32) {
        let is_gone = self.killed.contains(&idx) || self.left.contains(&idx);
        let Some(backup) = self.backups.remove(&idx).filter(|_| !is_gone) else {
            return;
        };
        self.note_fault("restores");
        if self.hosts[idx as usize].is_up {
            self.fuses.remove(&idx);
            self.crash_for_a_while(idx);
        }
        let disk = std::mem::replace(&mut self.hosts[idx as usize].disk, backup);
        let lost = disk.roots.into_keys().map(|root| (idx, root));
        self.rotted.extend(lost);
    }

    /// The next row that a staked peer reads cannot be read.
    pub(super) fn fail_read(&mut self) {
        let up = self.hosts[..self.staked].iter().filter(|host| host.is_up);
        let up: Vec<u32> = up.map(|host| host.idx).collect();
        if let Some(idx) = self.faults.sample(&up, 1).first() {
            self.note_fault("failed_reads");
            self.hosts[*idx as usize].disk.fails_read = !self.ctx.is_calm;
        }
    }

    /// One or all wallets of a relayer run empty.
    pub(super) fn empty_wallets(&mut self) {
        let idx = number(self.faults.index(self.staked));
        if self.ctx.is_calm {
            return;
        }
        self.note_fault("empty_wallets");
        let is_all = self.faults.chance(0.5);
        let wallets = Params::wallets(self.hosts[idx as usize].address);
        for wallet in wallets.take(if is_all { usize::MAX } else { 1 }) {
            self.ctx.chain.fund(wallet, false);
        }
        let after = self.fault_span();
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Fund(idx));
    }

    /// They have money again.
    pub(super) fn fund(&mut self, idx: u32) {
        for wallet in Params::wallets(self.hosts[idx as usize].address) {
            self.ctx.chain.fund(wallet, true);
        }
    }
}
