//! Nothing is stored or served that is not what its CID says.

use cid::Cid;
use protocol::entry::sha256;
use protocol::time::Moment;

use super::{Checkers, Rule};

impl Checkers {
    /// Notes a block that a peer put on its disk.
    pub fn note_stored(&mut self, peer: u32, cid: &Cid, data: &[u8], now: Moment) {
        self.findings
            .observe(Rule::StoredBlock, fits(cid, data), now, || {
                format!("peer {peer} stored other bytes as {cid}")
            });
    }

    /// Notes a block that an honest peer served.
    pub fn note_served(&mut self, peer: u32, cid: &Cid, data: &[u8], now: Moment) {
        self.findings
            .observe(Rule::ServedBlock, fits(cid, data), now, || {
                format!("peer {peer} served other bytes as {cid}")
            });
    }
}

fn fits(cid: &Cid, data: &[u8]) -> bool {
    sha256(data).0 == cid.hash().digest()
}
