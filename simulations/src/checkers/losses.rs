//! Losses: who counts as lost was silent.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::time::Moment;

use super::{Checkers, Rule};

/// Since when each peer is up, and when the network was not whole last.
#[derive(Debug, Default)]
pub(super) struct Losses {
    up_since: BTreeMap<u32, Moment>,
    cut_at: Option<Moment>,
}

impl Checkers {
    /// Notes that a peer starts.
    pub fn note_up(&mut self, peer: u32, now: Moment) {
        self.losses.up_since.insert(peer, now);
    }

    /// Notes that a peer is down, which forgets what it was asked.
    pub fn note_down(&mut self, peer: u32) {
        self.losses.up_since.remove(&peer);
        self.note_forgetful(peer);
    }

    /// Notes that some peers do not hear others, or late.
    pub fn note_cut(&mut self, now: Moment) {
        self.losses.cut_at = Some(now);
    }

    /// Notes that `observer` counts a peer as lost, after `lost_after` of silence.
    pub fn note_lost(&mut self, observer: u32, peer: u32, lost_after: Duration, now: Moment) {
        let is_long_up = |peer| {
            let since = self.losses.up_since.get(&peer);
            since.is_some_and(|since| *since + lost_after + START_GRACE <= now)
        };
        let was_whole = (self.losses.cut_at).is_none_or(|at| at + lost_after + START_GRACE <= now);
        let is_spurious = was_whole && is_long_up(observer) && is_long_up(peer);
        let is_liar = self.gossip.is_liar(peer) || self.gossip.is_liar(observer);
        self.findings
            .observe(Rule::SpuriousLoss, !is_spurious || is_liar, now, || {
                format!("peer {observer} counts peer {peer} as lost, which is up and in reach")
            });
    }
}

/// From a start to the first sign of life that everybody has. Chosen: more than a
/// message takes through the mesh with six losses in a row.
const START_GRACE: Duration = Duration::from_secs(30);
