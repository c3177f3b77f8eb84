//! What a crash leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use bytes::Bytes;
use cid::Cid;
use gossip::heads::{CountedHead, HeadBuilder};
use protocol::action::SignedAction;
use protocol::id::Hash32;
use protocol::lease::Counters;
use protocol::merkle::Peaks;
use protocol::publish::{State, Upload};
use protocol::records::{Lease, SignedLease, SignedPage};
use protocol::relayer::Row;
use protocol::time::Moment;
use protocol::unixfs::{ProofRoot, Traversal, proof_root};
use protocol::vault;

/// The durable state of one peer.
#[derive(Debug, Default)]
pub struct Disk {
    /// Checked blocks.
    pub blocks: BTreeMap<Cid, Bytes>,
    /// Blocks whose bytes went bad; reading one fails.
    pub rotten: BTreeSet<Cid>,
    /// The lease book's counters.
    pub counters: Counters,
    /// Standing leases.
    pub leases: BTreeMap<Cid, SignedLease>,
    /// The newest page.
    pub page: Option<SignedPage>,
    /// The leases that it lists.
    pub page_leases: Vec<Lease>,
    /// Accepted offers.
    pub uploads: Vec<Upload>,
    /// The last final block that was taken in.
    pub chain_block: u64,
    /// The heads' state after it.
    pub head_builder: HeadBuilder,
    /// What was signed, by block number.
    pub signed_heads: BTreeMap<u64, Hash32>,
    /// The newest counted head.
    pub counted: Option<CountedHead>,
    /// The right edge of the applied entries; light peers.
    pub peaks: Peaks,
    /// The block that they reach to.
    pub followed_block: u64,
    /// Chain position of the last one.
    pub sequence: Option<u64>,
    /// Vault records by lookup key.
    pub vault: BTreeMap<Hash32, Vec<vault::Entry>>,
    /// The relayer's rows.
    pub rows: BTreeMap<Hash32, Row>,
    /// Publications that are under way; light peers.
    pub drafts: BTreeMap<Cid, Draft>,
    /// Actions that have to land, and since when; light peers.
    pub relays: BTreeMap<Hash32, (SignedAction, Moment)>,
    /// Roots that are being fetched, and since when; light peers.
    pub wanted: BTreeMap<Cid, Moment>,
    /// Version of the last vault record that was signed; light peers.
    pub vault_version: u64,
}

/// A publication that is under way.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the machine stored.
    pub state: State,
    /// When it began.
    pub started: Moment,
    /// True once enough operators hold the root.
    pub is_durable: bool,
}

impl Disk {
    /// A block, unless it is absent or cannot be read.
    #[must_use]
    pub fn read(&self, cid: &Cid) -> Option<Bytes> {
        if self.rotten.contains(cid) {
            return None;
        }
        self.blocks.get(cid).cloned()
    }

    /// The distinct blocks of a root as far as they are here, the root first.
    #[must_use]
    pub fn dag(&self, root: &Cid) -> Vec<Cid> {
        let mut traversal = Traversal::new(*root);
        let mut cids = Vec::new();
        while let Ok(Some(cid)) = traversal.poll_needed() {
            let Some(data) = self.blocks.get(&cid) else {
                break;
            };
            cids.push(cid);
            if traversal.handle_block(&cid, data).is_err() {
                break;
            }
        }
        cids
    }

    /// The proof root of what is here; `None` unless it is whole.
    #[must_use]
    pub fn proof(&self, root: &Cid) -> Option<ProofRoot> {
        proof_root::<Infallible>(*root, |cid| Ok(self.read(cid))).ok()
    }

    /// True when every block of a root is here and readable.
    #[must_use]
    pub fn has_root(&self, root: &Cid) -> bool {
        is_whole(root, |cid| self.read(cid))
    }

    /// True when every block of a root was stored here, readable or not.
    #[must_use]
    pub fn has_stored(&self, root: &Cid) -> bool {
        is_whole(root, |cid| self.blocks.get(cid).cloned())
    }

    /// Deletes the blocks of a root.
    pub fn delete(&mut self, root: &Cid) {
        for cid in self.dag(root) {
            self.blocks.remove(&cid);
            self.rotten.remove(&cid);
        }
    }
}

fn is_whole(root: &Cid, read: impl Fn(&Cid) -> Option<Bytes>) -> bool {
    let mut traversal = Traversal::new(*root);
    loop {
        let cid = match traversal.poll_needed() {
            Ok(None) => return true,
            Ok(Some(cid)) => cid,
            Err(_) => return false,
        };
        let is_taken = read(&cid).is_some_and(|data| traversal.handle_block(&cid, &data).is_ok());
        if !is_taken {
            return false;
        }
    }
}
