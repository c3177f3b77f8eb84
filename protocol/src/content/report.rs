//! What the role tells its owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Content;
use super::repair::Progress;
use crate::id::UserId;
use crate::records::Heard;
use crate::time::{Epoch, UnixSeconds};
use cid::Cid;

/// Where a root stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Something that the index accepted names it.
    Published,
    /// It was uploaded, and its action may still land.
    Pending,
    /// Nothing names it any more, since the epoch.
    Ended(Epoch),
    /// There is no reason to keep it.
    Dead,
}

/// How far the return from a backup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returning {
    /// The epoch in which nothing is signed.
    pub silent: Epoch,
    /// Roots that the backup promised.
    pub promised: usize,
    /// Those of them that are not promised anew yet.
    pub missing: BTreeSet<Cid>,
    /// How many of these are whole here, and wait to be promised.
    pub waiting: usize,
    /// True while it is looked up which are whole.
    pub is_inspecting: bool,
}

/// How the role is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Roots that are promised.
    pub promised: usize,
    /// Uploads that are not published.
    pub uploads: usize,
    /// Promised roots that nothing names any more.
    pub ended: usize,
    /// Roots that something names, anywhere.
    pub published: usize,
    /// How far repair is.
    pub repair: Progress,
    /// The return from a backup, until it is over.
    pub returning: Option<Returning>,
    /// What others told everybody, the newest of each kind.
    pub heard: Arc<Heard>,
}

impl Returning {
    /// When leases and pages are signed again.
    #[must_use]
    pub const fn signs_from(&self) -> UnixSeconds {
        self.silent.plus(1).start()
    }
}

impl Content {
    /// How the role is.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            promised: self.book.len(),
            uploads: self.holder.uploads().count(),
            ended: self.ended.len(),
            published: self.references.len(),
            repair: self.repair.progress(),
            heard: Arc::clone(&self.heard),
            returning: self.returning.as_ref().map(|returning| {
                let is_whole = |root: &&Cid| self.promises.contains_key(*root);
                Returning {
                    waiting: returning.missing.iter().filter(is_whole).count(),
                    ..returning.clone()
                }
            }),
        }
    }

    /// Bytes of a user's roots that are promised here.
    #[must_use]
    pub fn stored_bytes(&self, user: UserId) -> u64 {
        self.references.stored(user)
    }
}
