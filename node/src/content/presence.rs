//! Signs of life: this peer's, and those of others.

use protocol::codec;
use protocol::id::Hash32;
use protocol::records::{Presence, check_presence};
use protocol::signing::{Record, Signed};
use protocol::time::Moment;

use super::{Actor, PRESENCES};
use crate::net::Gossip;

impl Actor {
    /// Tells that this peer is here, and does what is due once an epoch.
    pub(super) async fn tell_presence(&mut self) {
        self.renew().await;
        let stats = self.context.store.stats();
        let page = self.book.page();
        let presence = Presence {
            peer: self.context.peer,
            time: self.context.clock.now().unix(),
            page_serial: page.map_or(0, |page| page.record.serial),
            page_hash: page.map_or(Hash32::ZERO, |page| page.record.struct_hash()),
            capacity: stats.store_bytes_max,
            used: stats.live_bytes,
        };
        let signed = Signed::new(
            presence,
            &self.context.contracts.domain(),
            &self.context.key,
        );
        let told = self
            .context
            .net
            .publish(PRESENCES, codec::to_bytes(&signed))
            .await;
        if let Err(error) = told {
            tracing::trace!(%error, "nobody hears this peer's presence");
        }
    }

    pub(super) fn handle_presence(&mut self, message: Gossip) {
        let registry = self.snapshot.borrow().clone();
        let domain = self.context.contracts.domain();
        let now = self.context.clock.now();
        match check_presence(&message.data, &registry, &domain, now) {
            Ok(presence) => {
                message.verdict.accept();
                let record = presence.record;
                let at = Moment::from_unix(record.time).min(now);
                self.repair.handle_presence(record.peer, at);
                self.note_page(record.peer, record.page_serial);
            }
            Err(error) if error.is_offence() => message.verdict.reject(),
            Err(_) => message.verdict.ignore(),
        }
    }
}
