//! The tables that every peer has, and their rows.

use bytes::Bytes;
use cid::Cid;
use protocol::action::SignedAction;
use protocol::head::SignedHead;
use protocol::id::{Address, Hash32};
use protocol::lease::{SignedLease, SignedPage};
use protocol::presence::SignedPresence;
use protocol::relayer;
use protocol::signing::Record as _;
use protocol::time::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::{Table, TablesError, TablesWrite};

/// Own leases by root: what the newest own page renews.
pub const LEASES: Table<Cid, SignedLease> = Table::new("leases");

/// Own newest page, by serial; older ones are removed when it is written.
pub const PAGES: Table<u64, SignedPage> = Table::new("pages");

/// Other holders' newest pages.
pub const PAGES_BY_HOLDER: Table<Address, SignedPage> = Table::new("pages_by_holder");

/// Other holders' leases, as their newest page renews them.
pub const LEASES_BY_HOLDER: Table<(Address, Cid), SignedLease> = Table::new("leases_by_holder");

/// Other peers' newest presence.
pub const PRESENCES: Table<Address, SignedPresence> = Table::new("presences");

/// Publishes that are not durable yet, by root: own uploads and requests
/// that were accepted from others.
pub const PUBLISHES: Table<Cid, PublishRow> = Table::new("publishes");

/// Actions that the relayer accepted, by digest.
pub const RELAYS: Table<Hash32, relayer::Row> = Table::new("relays");

/// Vault records by lookup key and wallet, as their DAG-CBOR.
pub const VAULT: Table<(Hash32, Address), Bytes> = Table::new("vault");

/// Own signed heads by block number.
pub const HEADS: Table<u64, SignedHead> = Table::new("heads");

/// Entries of the ledger by number.
pub const LEDGER: Table<u64, LedgerRow> = Table::new("ledger");

/// Counters and cursors by name.
pub const COUNTERS: Table<String, u64> = Table::new("counters");

/// Small values by name.
pub const META: Table<String, Bytes> = Table::new("meta");

/// Counter of own lease serials.
pub const LEASE_SERIAL: &str = "lease_serial";

/// Counter of own page serials.
pub const PAGE_SERIAL: &str = "page_serial";

/// Counter of rows of [`LEDGER`].
pub const LEDGER_NUMBER: &str = "ledger_number";

/// The next block whose events are not indexed yet.
pub const CHAIN_CURSOR: &str = "chain_cursor";

/// A publish on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRow {
    /// The signed action that publishes the root.
    pub action: SignedAction,
    /// Who asked: the wallet that signed.
    pub wallet: Address,
    /// Announced length of the DAG in bytes.
    pub size: u64,
    /// When it was accepted.
    pub received: UnixSeconds,
    /// How far it is.
    pub state: PublishState,
    /// Leases that were collected so far.
    pub leases: Vec<SignedLease>,
}

/// How far a publish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishState {
    /// Blocks are coming in.
    Pulling,
    /// All blocks are here.
    Held,
    /// The minimum of leases is there.
    Durable,
    /// The action is on chain.
    Published,
}

/// An amount that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// When.
    pub time: UnixSeconds,
    /// What for.
    pub what: String,
    /// How much, in the smallest unit, as decimal text; negative when it went.
    pub amount: String,
    /// The transaction, when there is one.
    pub tx: Option<Hash32>,
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
