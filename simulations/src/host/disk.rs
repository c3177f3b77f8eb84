//! What a crash leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;
use gossip::heads::CountedHead;
use protocol::action::SignedAction;
use protocol::author::{Change, JobRow, OutboxRow, PublishRoot};
use protocol::chain::ChainBlock;
use protocol::content::{Counters, Row as ContentRow, Stored, Upload};
use protocol::id::Address;
use protocol::id::Hash32;
use protocol::merkle::Peaks;
use protocol::records::{Lease, SignedLease, SignedPage};
use protocol::relayer::Row;
use protocol::time::{Epoch, Moment};
use protocol::unixfs::{ProofRoot, Traversal, proof_root};
use protocol::vault;

/// The durable state of one peer.
#[derive(Debug, Default)]
pub struct Disk {
    /// Blocks that were checked.
    pub blocks: BTreeMap<Cid, Bytes>,
    /// Blocks whose bytes went bad; reading one fails.
    pub rotten: BTreeSet<Cid>,
    /// The blocks that each root lists, as far as they were stored.
    pub roots: BTreeMap<Cid, BTreeSet<Cid>>,
    /// The lease book's counters.
    pub counters: Counters,
    /// Leases that stand.
    pub leases: BTreeMap<Cid, SignedLease>,
    /// The newest page.
    pub page: Option<SignedPage>,
    /// Other holders' leases.
    pub claims: BTreeMap<(Address, Cid), Lease>,
    /// Offers that were accepted.
    pub uploads: BTreeMap<Cid, Upload>,
    /// Since when nothing names a promised root.
    pub ended: BTreeMap<Cid, Epoch>,
    /// True after a restore from a backup, until the return is over.
    pub is_restored: bool,
    /// The blocks with entries that are indexed, by number.
    pub indexed: BTreeMap<u64, Arc<ChainBlock>>,
    /// The next step of the index fails, with true by its damage.
    pub fails: Option<bool>,
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
    /// The author's publications.
    pub jobs: BTreeMap<Hash32, JobRow>,
    /// The author's actions on their way.
    pub outbox: BTreeMap<Hash32, OutboxRow>,
    /// What the resident wants on chain; light peers.
    pub wishes: BTreeMap<Hash32, Wish>,
    /// Roots that are being fetched, and since when; light peers.
    pub wanted: BTreeMap<Cid, Moment>,
    /// Version of the last vault record that was signed; light peers.
    pub vault_version: u64,
}

/// What a resident wants on chain, and remembers until it is there.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Signed by the resident.
    pub action: SignedAction,
    /// What it publishes.
    pub root: Option<PublishRoot>,
    /// When it was first asked for.
    pub started: Moment,
    /// When it could go to a relayer.
    pub handed_in: Option<Moment>,
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

    /// True when a root is promised and the promise has not ended.
    #[must_use]
    pub fn is_leased(&self, root: &Cid, epoch: Epoch) -> bool {
        let lease = self.leases.get(root);
        lease.is_some_and(|lease| lease.record.to_epoch >= epoch)
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

    /// Carries out an author's write.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Job(digest, Some(row)) => drop(self.jobs.insert(digest, *row)),
                Change::Job(digest, None) => drop(self.jobs.remove(&digest)),
                Change::Outbox(digest, Some(row)) => drop(self.outbox.insert(digest, *row)),
                Change::Outbox(digest, None) => drop(self.outbox.remove(&digest)),
            }
        }
    }

    /// Stores a block that a root lists.
    pub fn store(&mut self, root: Cid, cid: Cid, data: Bytes) {
        self.rotten.remove(&cid);
        self.blocks.insert(cid, data);
        self.list(root, cid);
    }

    /// Notes that a root lists a block.
    pub fn list(&mut self, root: Cid, cid: Cid) {
        self.roots.entry(root).or_default().insert(cid);
    }

    /// The blocks that a root lists, as far as they were stored.
    pub fn listed(&self, root: &Cid) -> impl Iterator<Item = &Cid> {
        self.roots.get(root).into_iter().flatten()
    }

    /// The roots that list a block.
    #[must_use]
    pub fn roots_listing(&self, block: &Cid) -> Vec<Cid> {
        let lists = |(_, listed): &(&Cid, &BTreeSet<Cid>)| listed.contains(block);
        self.roots
            .iter()
            .filter(lists)
            .map(|(root, _)| *root)
            .collect()
    }

    /// Drops a bad block; roots go on listing it.
    pub fn drop_block(&mut self, cid: &Cid) {
        self.blocks.remove(cid);
        self.rotten.remove(cid);
    }

    /// Gives up a root, and the blocks that no other lists.
    pub fn delete(&mut self, root: &Cid) {
        for cid in self.roots.remove(root).unwrap_or_default() {
            if !self.roots.values().any(|listed| listed.contains(&cid)) {
                self.drop_block(&cid);
            }
        }
    }

    /// Gives up every root but these.
    pub fn keep(&mut self, kept: &BTreeSet<Cid>) {
        let gone: Vec<Cid> = self
            .roots
            .keys()
            .filter(|root| !kept.contains(root))
            .copied()
            .collect();
        for root in gone {
            self.delete(&root);
        }
    }

    /// What the content role goes on with.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored {
            uploads: self.uploads.values().cloned().collect(),
            counters: self.counters,
            leases: self.leases.values().cloned().collect(),
            page: self.page.clone(),
            claims: self.claims.values().cloned().collect(),
            ended: self.ended.iter().map(|(root, at)| (*root, *at)).collect(),
            is_restored: self.is_restored,
        }
    }

    /// Writes a row of the content role.
    pub fn put(&mut self, row: ContentRow) {
        match row {
            ContentRow::Upload(root, upload) => set(&mut self.uploads, root, upload),
            ContentRow::Counters(counters) => self.counters = counters,
            ContentRow::Lease(root, lease) => set(&mut self.leases, root, lease),
            ContentRow::Page(page) => self.page = Some(*page),
            ContentRow::Claim(holder, root, lease) => {
                set(&mut self.claims, (holder, root), lease);
            }
            ContentRow::Ended(root, since) => set(&mut self.ended, root, since.map(Box::new)),
            ContentRow::Returned => self.is_restored = false,
        }
    }
}

fn set<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, value: Option<Box<V>>) {
    match value {
        Some(value) => drop(rows.insert(key, *value)),
        None => drop(rows.remove(&key)),
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
