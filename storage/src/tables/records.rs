//! Every table of `state.redb`, with its class.
//!
//! Format: `docs/formats/state.md`.

use bytes::Bytes;
use cid::Cid;
use protocol::author::{JobRow, OutboxRow};
use protocol::content::{Counters, Upload};
use protocol::id::{Address, Hash32};
use protocol::records::{Lease, SignedHead, SignedLease, SignedPage};
use protocol::relayer;
use protocol::signing::Record as _;
use protocol::time::{Epoch, UnixSeconds};
use serde::{Deserialize, Serialize};

use super::{Class, Table, TablesError, TablesWrite};

/// Declares tables and lists them, so that none is without a class.
macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident: $key:ty => $row:ty = $name:literal, $class:ident;)*) => {
        $($(#[$doc])* pub const $table: Table<$key, $row> = Table::new($name, Class::$class);)*

        /// All tables by name, each with its class.
        pub const ALL: &[(&str, Class)] = &[$(($name, Class::$class)),*];
    };
}

tables! {
    /// Own leases by root: what the newest own page renews.
    LEASES: Cid => SignedLease = "leases", BackedUp;

    /// The serials that were drawn and the epoch of the last page, under [`newest`]:
    /// forgotten, they would be signed a second time.
    LEASE_COUNTERS: String => Counters = "lease_counters", BackedUp;

    /// Own newest page, under [`newest`].
    OWN_PAGE: String => SignedPage = "own_page", BackedUp;

    /// Other holders' leases, as their newest page renews them; the holders tell them again.
    LEASES_BY_HOLDER: (Address, Cid) => Lease = "leases_by_holder", Derived;

    /// Uploads that were accepted from others, by root.
    UPLOADS: Cid => Upload = "uploads", BackedUp;

    /// Since which epoch nothing names a promised root; the index does not know what
    /// named it.
    ENDED: Cid => Epoch = "ended", BackedUp;

    /// Own publications that are under way or over, by the digest of their action.
    PUBLICATIONS: Hash32 => JobRow = "publications", BackedUp;

    /// Actions that wait for a relayer or for the chain, by digest.
    OUTBOX: Hash32 => OutboxRow = "outbox", BackedUp;

    /// Actions that the relayer accepted, by digest.
    RELAYS: Hash32 => relayer::Row = "relays", BackedUp;

    /// Vault records by lookup key and wallet, as their DAG-CBOR.
    VAULT: (Hash32, Address) => Bytes = "vault", BackedUp;

    /// Own signed heads by block number.
    HEADS: u64 => SignedHead = "heads", BackedUp;

    /// When this folder was made of a backup, under [`newest`], until the peer is
    /// back among the others.
    RESTORED: String => Restoration = "restored", BackedUp;

    /// The newest counted head, and below which number a light peer takes none;
    /// others tell the next one.
    META: String => Bytes = "meta", Expendable;

    /// The format of the file, under [`newest`].
    FORMAT: String => u64 = "format", Derived;
}

/// When a folder was made of a backup: what was signed after the backup was
/// written is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restoration {
    /// When the folder was made.
    pub at: UnixSeconds,
    /// The epoch of that time.
    pub epoch: Epoch,
}

impl Restoration {
    /// A restoration at `at`.
    #[must_use]
    pub const fn new(at: UnixSeconds) -> Self {
        Self {
            at,
            epoch: at.epoch(),
        }
    }
}

/// The key of the one row of [`LEASE_COUNTERS`], [`OWN_PAGE`], [`RESTORED`] and
/// [`FORMAT`].
#[must_use]
pub fn newest() -> String {
    "newest".to_owned()
}

impl TablesWrite<'_> {
    /// Notes a head as signed; to be durable before it is sent.
    ///
    /// # Errors
    ///
    /// [`TablesError::SignedBefore`] when another head of that number, or one
    /// of a higher number, was signed.
    pub fn claim_head(&self, head: &SignedHead) -> Result<(), TablesError> {
        let number = head.record.block_number;
        let refused = TablesError::SignedBefore {
            what: "head",
            number,
        };
        match self.get(HEADS, &number)? {
            Some(signed) if signed.record.struct_hash() == head.record.struct_hash() => Ok(()),
            Some(_) => Err(refused),
            None => {
                let later = self.range(HEADS, std::ops::Bound::Excluded(number), 1)?;
                if later.is_empty() {
                    self.put(HEADS, &number, head)
                } else {
                    Err(refused)
                }
            }
        }
    }
}
