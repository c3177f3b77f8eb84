//! A virtual disk: what a crash leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::RangeInclusive;

use bytes::Bytes;
use cid::Cid;
use gossip::discovery::IndexFailure;
use gossip::heads::CountedHead;
use gossip::spread::HeldEntries;
use protocol::author::{Change, JobRow, OutboxRow};
use protocol::content::repair::RootFacts;
use protocol::content::{Capacity, Counters, Input, Row as ContentRow, Stored, Upload};
use protocol::entry::Entry;
use protocol::exchange::{Local, LocalQuery};
use protocol::id::{Address, Hash32};
use protocol::identity;
use protocol::merkle::Peaks;
use protocol::records::{Head, Lease, SignedLease, SignedPage};
use protocol::relayer::Row;
use protocol::signing::Record;
use protocol::time::{Epoch, Moment};
use protocol::unixfs::{ProofRoot, Traversal, proof_root};
use protocol::vault;

use crate::index::{Changes, Indexed, Part, Step};

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
    /// The blocks that are indexed.
    pub indexed: Indexed,
    /// The next step of the index fails, with true by its damage.
    pub fails: Option<bool>,
    /// The next row that is read cannot be.
    pub fails_read: bool,
    /// True while it has no room: writes fail, and what is there stays.
    pub is_full: bool,
    /// Since when it has room again.
    pub room_since: Moment,
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
    /// Heads below it are of an abandoned fork.
    pub head_number_min: u64,
    /// Vault records by lookup key.
    pub vault: BTreeMap<Hash32, Vec<vault::Entry>>,
    /// The relayer's rows.
    pub rows: BTreeMap<Hash32, Row>,
    /// The author's publications.
    pub jobs: BTreeMap<Hash32, JobRow>,
    /// The author's actions on their way.
    pub outbox: BTreeMap<Hash32, OutboxRow>,
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

    /// What a lease says of a root; `None` unless it is whole.
    #[must_use]
    pub fn facts(&self, root: &Cid) -> Option<RootFacts> {
        let proof = self.proof(root)?;
        Some(RootFacts {
            proof_root: proof.hash,
            size: proof.size,
        })
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

    /// What the exchange asks of a block.
    #[must_use]
    pub fn look(&self, query: &LocalQuery) -> Local {
        match self.read(&query.cid) {
            None => Local::Absent,
            Some(data) if query.needs_data => Local::Data(data),
            Some(data) => Local::Present(data.len() as u64),
        }
    }

    /// The first of these blocks, as far as their bytes are not too many.
    #[must_use]
    pub fn read_all(&self, cids: &[Cid], bytes_max: usize) -> Vec<Option<Bytes>> {
        let mut left = bytes_max;
        let blocks = cids.iter().map_while(|cid| {
            let data = self.read(cid);
            left = left.checked_sub(data.as_ref().map_or(0, Bytes::len))?;
            Some(data)
        });
        blocks.collect()
    }

    /// The first block at or after each point that the root lists, else its first.
    #[must_use]
    pub fn draw(&self, root: &Cid, points: &[Hash32]) -> Vec<Cid> {
        let mut listed: Vec<Cid> = self.listed(root).copied().collect();
        listed.sort_by_key(|cid| cid.hash().digest().to_vec());
        let draw = |point: &Hash32| {
            let mut blocks = listed.iter();
            let first = blocks.find(|cid| cid.hash().digest() >= point.0.as_slice());
            first.or(listed.first()).copied()
        };
        points.iter().filter_map(draw).collect()
    }

    /// Carries out a step of the index.
    ///
    /// # Errors
    ///
    /// When it was said to fail.
    pub fn index(&mut self, step: Step) -> Result<Changes, IndexFailure> {
        match self.index_failure() {
            Some(failure) => Err(failure),
            None => Ok(self.indexed.step(step)),
        }
    }

    /// Why the next step of the index fails, if it does.
    pub fn index_failure(&mut self) -> Option<IndexFailure> {
        let is_lost = self.fails.take().or(self.is_full.then_some(false))?;
        Some(IndexFailure {
            reason: "the disk does not write".to_owned(),
            is_lost,
        })
    }

    /// Notes that a head is to be signed; false when one of its number or a later
    /// one was, or it cannot be noted.
    pub fn claim_head(&mut self, head: &Head) -> bool {
        let newest = self.signed_heads.last_key_value();
        if self.is_full || newest.is_some_and(|(newest, _)| *newest >= head.block_number) {
            return false;
        }
        let hash = head.struct_hash();
        self.signed_heads.insert(head.block_number, hash);
        true
    }

    /// Takes entries into a light peer's index.
    pub fn apply_part(&mut self, part: &Part) {
        self.peaks = part.peaks.clone();
        // The index knows its last entry, and not what follows under the head.
        if let Some(last) = part.entries.last() {
            self.sequence = Some(last.position.sequence());
            self.followed_block = last.position.block_number;
        }
    }

    /// Empties a light peer's index; heads below a number are not taken again.
    pub fn clear_entries(&mut self, head_number_min: u64) {
        self.head_number_min = head_number_min;
        self.peaks = Peaks::default();
        self.sequence = None;
        self.followed_block = 0;
    }

    /// What a light peer's index holds.
    #[must_use]
    pub fn held(&self) -> HeldEntries {
        HeldEntries {
            peaks: self.peaks.clone(),
            block_number: self.followed_block,
            sequence: self.sequence,
            head_number_min: self.head_number_min,
        }
    }

    /// Carries out a relayer's write.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn relay(&mut self, changes: Vec<identity::Change>) -> Result<(), String> {
        self.check_room()?;
        for change in changes {
            set(&mut self.rows, change.digest, change.row);
        }
        Ok(())
    }

    /// Carries out an author's write.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn apply(&mut self, changes: Vec<Change>) -> Result<(), String> {
        self.check_room()?;
        for change in changes {
            match change {
                Change::Job(digest, row) => set(&mut self.jobs, digest, row),
                Change::Outbox(digest, row) => set(&mut self.outbox, digest, row),
            }
        }
        Ok(())
    }

    /// False for the one read that fails.
    fn can_read(&mut self) -> bool {
        !std::mem::take(&mut self.fails_read)
    }

    /// Roots that the index names, after one of them.
    pub fn scan(&mut self, after: Option<Cid>) -> Input {
        if !self.can_read() {
            return Input::ScanBroken;
        }
        let (roots, is_over) = self.indexed.index().scan(after);
        Input::Scanned { roots, is_over }
    }

    /// Entries of a range of sequences, at most so many.
    pub fn read_entries(
        &mut self,
        sequences: &RangeInclusive<u64>,
        limit: usize,
    ) -> Option<Vec<Entry>> {
        (self.can_read()).then(|| self.indexed.entries(sequences, limit))
    }

    /// Reads for a vault's replica.
    pub fn read_records(&mut self, lookup_key: Hash32) -> vault::ReplicaInput {
        let is_read = self.can_read();
        let kept = || self.vault.get(&lookup_key).cloned().unwrap_or_default();
        vault::ReplicaInput::Read {
            lookup_key,
            entries: is_read.then(kept),
            rows: self.vault.len() as u64,
        }
    }

    /// Carries out a vault replica's write.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn keep_records(&mut self, key: Hash32, records: Vec<vault::Entry>) -> Result<(), String> {
        self.check_room()?;
        self.vault.insert(key, records);
        Ok(())
    }

    /// From now on there is no room, or there is again.
    pub fn fill(&mut self, is_full: bool, now: Moment) {
        if std::mem::replace(&mut self.is_full, is_full) {
            self.room_since = now;
        }
    }

    fn check_room(&self) -> Result<(), String> {
        match self.is_full {
            true => Err("no space is left on the disk".to_owned()),
            false => Ok(()),
        }
    }

    /// What the content role hears of the room.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        Capacity {
            bytes_max: CAPACITY_BYTES,
            live_bytes: 0,
            disk_bytes: 0,
            disk_free: self.is_full.then_some(0),
        }
    }

    /// A folder that is made of a backup of it: without blocks, and without what
    /// others tell again.
    #[must_use]
    pub fn restored(&self) -> Self {
        Self {
            counters: self.counters.clone(),
            leases: self.leases.clone(),
            page: self.page.clone(),
            uploads: self.uploads.clone(),
            ended: self.ended.clone(),
            is_restored: true,
            signed_heads: self.signed_heads.clone(),
            vault: self.vault.clone(),
            rows: self.rows.clone(),
            jobs: self.jobs.clone(),
            outbox: self.outbox.clone(),
            ..Self::default()
        }
    }

    /// Stores a block that a root lists.
    pub fn store(&mut self, root: Cid, cid: Cid, data: Bytes) {
        self.rotten.remove(&cid);
        self.blocks.insert(cid, data);
        self.list(root, cid);
    }

    /// Notes that a root lists blocks; returns how many of them are not here.
    pub fn list_all(&mut self, root: Cid, cids: &[Cid]) -> u64 {
        for cid in cids {
            self.list(root, *cid);
        }
        let missing = cids.iter().filter(|cid| !self.blocks.contains_key(cid));
        missing.count() as u64
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

    /// Drops the bad blocks that a root lists, and names them.
    pub fn drop_rotten(&mut self, root: &Cid) -> Vec<Cid> {
        let bad = self.listed(root).filter(|cid| self.rotten.contains(*cid));
        let bad: Vec<Cid> = bad.copied().collect();
        bad.iter().for_each(|cid| self.drop_block(cid));
        bad
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
            counters: self.counters.clone(),
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

/// Bytes that every simulated peer offers.
const CAPACITY_BYTES: u64 = 1 << 40;
