//! Cuts through the network, and slow links.

use std::time::Duration;

use super::super::World;
use super::WorldEvent;
use crate::net::Slow;

impl World {
    pub(super) fn partition(&mut self) {
        if self.ctx.is_calm {
            return;
        }
        let share = 0.1 + 0.3 * self.faults.unit();
        let sides = (0..self.hosts.len())
            .map(|_| u8::from(self.faults.chance(share)))
            .collect();
        self.ctx.net.partition(sides);
        self.note_fault("partitions");
        let after = self.fault_span();
        self.ctx.schedule(self.ctx.now + after, WorldEvent::Heal);
    }

    /// For a while nobody hears a staked peer, which hears everybody.
    pub(super) fn mute(&mut self) {
        let up = self.members();
        let Some(idx) = self.faults.sample(&up, 1).pop() else {
            return;
        };
        if !self.ctx.is_calm {
            self.ctx.net.mute(idx, true);
            self.note_fault("one_way_cuts");
            let after = self.fault_span();
            self.ctx
                .schedule(self.ctx.now + after, WorldEvent::Unmute(idx));
        }
    }

    /// The links of a peer are slow for a while: as over a bad radio link, or
    /// nearly none.
    pub(super) fn slow(&mut self) {
        let peer = self.faults.index(self.hosts.len());
        let idx = super::number(peer);
        if self.ctx.is_calm {
            return;
        }
        let slow = Slow {
            divisor: 1 << (3 + self.faults.below(8)),
            delay: self
                .faults
                .duration(Duration::from_millis(200), Duration::from_secs(6)),
        };
        self.ctx.net.slow(idx, Some(slow));
        self.note_fault("slow_links");
        let after = self.fault_span();
        self.ctx
            .schedule(self.ctx.now + after, WorldEvent::Quicken(idx));
    }
}
