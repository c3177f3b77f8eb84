//! What is answered is kept first: a crash at any moment takes nothing back.

use protocol::id::Hash32;
use protocol::time::Moment;

use super::{Checkers, Rule};

impl Checkers {
    /// Notes that a relayer says that it keeps an action.
    pub fn note_relayed(&mut self, peer: u32, digest: &Hash32, is_kept: bool, now: Moment) {
        self.findings.observe(Rule::AcceptedKept, is_kept, now, || {
            format!("peer {peer} accepted {digest}")
        });
    }

    /// Notes that a peer hands its promise of a root out.
    pub fn note_handed_out(&mut self, peer: u32, is_kept: bool, now: Moment) {
        self.findings.observe(Rule::LeaseKept, is_kept, now, || {
            format!("peer {peer} handed out a lease")
        });
    }

    /// Notes that an author tells of an action in the index.
    pub fn note_confirmed(&mut self, digest: &Hash32, is_landed: bool, now: Moment) {
        self.findings
            .observe(Rule::ConfirmedLanded, is_landed, now, || {
                format!("{digest} is in no block")
            });
    }

    /// Notes on how many of its replicas' disks an acknowledged record is.
    pub fn note_vault_disks(&mut self, lookup_key: &Hash32, count: usize, of: usize, now: Moment) {
        self.findings
            .observe(Rule::VaultDisks, count * 2 > of, now, || {
                format!("{lookup_key} is on {count} of {of} disks")
            });
    }

    /// Notes what stands behind a head that a peer begins to count, of how much.
    pub fn note_behind(&mut self, peer: u32, behind: u64, all: u64, now: Moment) {
        self.findings
            .observe(Rule::HeadMajority, behind * 2 > all, now, || {
                format!("peer {peer} counts a head with {behind} of {all} behind it")
            });
    }

    /// Notes that a machine did what was due, and when and why it is to be woken next:
    /// at once perhaps, for something else that came of it.
    pub fn note_woken(
        &mut self,
        (peer, machine, reason): (u32, &'static str, &'static str),
        next: Option<(Moment, &'static str)>,
        now: Moment,
    ) {
        let is_done = next.is_none_or(|(at, again)| at > now || again != reason);
        self.findings.observe(Rule::DueOnce, is_done, now, || {
            format!("{machine} of peer {peer} leaves undone: {reason}")
        });
    }
}
