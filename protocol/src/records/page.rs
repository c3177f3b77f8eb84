//! Pages: the renewal of all of a holder's leases with one signature
//! (`docs/formats/lease.md`).

use serde::{Deserialize, Serialize};

use super::{Around, PRESENCE_SKEW_SECONDS_MAX, RecordError, Told, require_role};
use crate::codec;
use crate::id::{Address, Hash32, Role};
use crate::signing::{Record, Signed, StructEncoder};
use crate::time::{EPOCH_SECONDS, Epoch, Moment};
use crate::wire::Topic;

/// The renewal of all leases of one holder in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The peer that renews.
    pub holder: Address,
    /// The holder's page counter; rises by one with each page.
    pub serial: u64,
    /// The epoch of the renewal.
    pub epoch: Epoch,
    /// How many leases the page renews.
    pub count: u64,
    /// The sum of their sizes in bytes.
    pub size: u64,
    /// RFC 6962 root over the struct hashes of the leases, sorted by root bytes.
    pub leases_root: Hash32,
}

/// A signed page as it travels.
pub type SignedPage = Signed<Page>;

impl Record for Page {
    const TYPE: &'static str = "Page(address holder,uint64 serial,uint64 epoch,uint64 count,uint64 size,bytes32 leasesRoot)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .address(&self.holder)
            .uint(self.serial)
            .uint(self.epoch.0)
            .uint(self.count)
            .uint(self.size)
            .bytes32(&self.leases_root);
    }
}

impl Told for Page {
    const TOPIC: Topic = Topic::Pages;

    fn teller(&self) -> Address {
        self.holder
    }

    fn number(&self) -> u64 {
        self.serial
    }

    /// A page says that its holder renewed its leases, not that it lives: anybody
    /// can send it again at any time. Only news is passed on, so that what is sent
    /// again stops at the first peer.
    fn check(data: &[u8], around: &Around<'_>) -> Result<Signed<Self>, RecordError> {
        let bytes_max = Self::TOPIC.message_bytes_max();
        let page: SignedPage = codec::from_bytes("lease page", data, bytes_max)?;
        let record = &page.record;
        // The cheap questions come first: a page that is sent again costs no signature.
        require_role(around.registry, record.holder, Role::Content)?;
        require_page_epoch(record.epoch, around.now)?;
        if let Some(known) = around.newest(record.holder, Self::TOPIC)
            && record.serial <= known
        {
            return Err(RecordError::Stale {
                found: record.serial,
                known,
            });
        }
        page.verify(around.domain, record.holder)?;
        Ok(page)
    }
}

/// Takes pages of the running epoch and the one before, which travelled across
/// its end, and of the next one from a clock that is ahead.
fn require_page_epoch(epoch: Epoch, now: Moment) -> Result<(), RecordError> {
    let start = epoch.start().0;
    let is_ahead = start > now.unix().0.saturating_add(PRESENCE_SKEW_SECONDS_MAX);
    let limit = match is_ahead {
        true => PRESENCE_SKEW_SECONDS_MAX,
        false if epoch.plus(1) < now.epoch() => 2 * EPOCH_SECONDS,
        false => return Ok(()),
    };
    Err(RecordError::Time {
        seconds: start.abs_diff(now.unix().0),
        limit,
    })
}

/// A lease binds while its holder's newest page is at most this old: a day. Chosen:
/// longer than repair takes to call a peer lost, short beside the lease itself.
pub const PAGE_EPOCHS_MAX: u64 = 24;

#[cfg(test)]
mod tests;
