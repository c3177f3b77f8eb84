//! Where publications stood when they ended.

use std::collections::{BTreeMap, VecDeque};

use super::{PublishState, PublishStatus};
use crate::id::Hash32;

/// The last so many statuses.
#[derive(Debug)]
pub(super) struct Ended {
    statuses: BTreeMap<Hash32, PublishStatus>,
    /// The oldest first.
    order: VecDeque<Hash32>,
    ended_max: usize,
}

impl Ended {
    pub(super) const fn new(ended_max: usize) -> Self {
        Self {
            statuses: BTreeMap::new(),
            order: VecDeque::new(),
            ended_max,
        }
    }

    /// Adds one; answers the oldest when it has to go.
    pub(super) fn insert(&mut self, status: PublishStatus) -> Option<Hash32> {
        let digest = status.id;
        self.remove(&digest);
        self.statuses.insert(digest, status);
        self.order.push_back(digest);
        if self.order.len() <= self.ended_max {
            return None;
        }
        let oldest = self.order.pop_front()?;
        self.statuses.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn remove(&mut self, digest: &Hash32) {
        if self.statuses.remove(digest).is_some() {
            self.order.retain(|known| known != digest);
        }
    }

    pub(super) fn get(&self, digest: &Hash32) -> Option<&PublishStatus> {
        self.statuses.get(digest)
    }

    pub(super) fn is_confirmed(&self, digest: &Hash32) -> bool {
        self.get(digest)
            .is_some_and(|status| status.state == PublishState::Confirmed)
    }
}
