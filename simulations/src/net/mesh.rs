//! Who gossips with whom.

use std::collections::BTreeSet;

use crate::engine::Rng;

/// A random mesh of a topic: every member has about `degree` neighbours, and
/// the mesh is connected.
///
/// The compact model of gossipsub: full messages to all mesh neighbours, each
/// forwarded at most once and only after its receiver accepted it.
#[derive(Debug, Clone)]
pub struct Mesh {
    neighbours: Vec<Vec<u32>>,
}

impl Mesh {
    /// Draws a mesh of `members` among `peers` peers.
    #[must_use]
    pub fn new(peers: usize, members: &[u32], degree: usize, rng: &mut Rng) -> Self {
        let mut links: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); peers];
        let mut link = |left: u32, right: u32| {
            if left != right {
                links[left as usize].insert(right);
                links[right as usize].insert(left);
            }
        };
        // Rings in random order connect everybody with two neighbours each.
        for _ in 0..degree.div_ceil(2) {
            let ring = rng.sample(members, members.len());
            for (place, member) in ring.iter().enumerate() {
                link(*member, ring[(place + 1) % ring.len()]);
            }
        }
        Self {
            neighbours: links
                .into_iter()
                .map(|links| links.into_iter().collect())
                .collect(),
        }
    }

    /// The neighbours of a peer.
    #[must_use]
    pub fn neighbours(&self, peer: u32) -> &[u32] {
        &self.neighbours[peer as usize]
    }
}
