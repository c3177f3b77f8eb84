//! What the page lists, over renewals, releases and restarts.

use super::*;
use crate::machine::Token;
use crate::records::{Presence, told_by};

#[test]
fn what_is_listed_fits_its_page_over_renewals_and_restarts() {
    let mut peer = Peer::with_book(20, 8, 2);
    let mut reader = View::new(DOMAIN, 4);
    for byte in 1..=4 {
        peer.promise(root(byte), &[7]);
        peer.wait(HOUR);
    }
    for hours in 0..20 {
        peer.show(&mut reader);
        if hours % 3 != 2 {
            peer.restart();
        }
        peer.show(&mut reader);
        peer.wait(HOUR);
        for byte in 1..=4 {
            assert!(peer.is_bound(&reader, root(byte)), "{byte} after {hours} h");
        }
    }
    assert!(peer.signed.len() > 8, "each was renewed more than once");
}

#[test]
fn a_list_without_a_page_binds_like_one() {
    let mut peer = Peer::with_book(21, 100, 10);
    let mut reader = View::new(DOMAIN, 4);
    peer.promise(root(1), &[7]);
    peer.wait(26 * HOUR);
    peer.offer(root(2));
    peer.run();
    peer.wait(2 * HOUR + HOUR / 2);
    peer.show(&mut reader);
    assert!(
        !peer.disk.leases.contains_key(&root(2)),
        "given up after the page"
    );
    peer.restart();
    let part = peer.list_part();
    assert_eq!((part.page.as_ref(), part.fresh.len()), (None, 1));
    let Some(Statement::Presence(told)) = peer.statements.last() else {
        panic!("it lives");
    };
    assert_eq!(
        (told.page_serial, told.page_hash),
        (0, Hash32::ZERO),
        "what is told is what is listed"
    );
    peer.show(&mut reader);
    assert!(peer.is_bound(&reader, root(1)));
    let epoch = peer.now.epoch();
    assert!(
        reader
            .expire(&key().address(), epoch.plus(PAGE_EPOCHS_MAX))
            .is_empty()
    );
    let over = reader.expire(&key().address(), epoch.plus(PAGE_EPOCHS_MAX + 1));
    assert_eq!(over, [root(1)]);
}

#[test]
fn what_ends_first_is_renewed_first_and_the_page_lists_it() {
    let mut peer = Peer::with_book(22, 2_000, 1_000);
    peer.promise(root(9), &[7]);
    peer.wait(HOUR);
    peer.promise(root(1), &[7]);
    peer.now = peer.now + 1_100 * HOUR;
    peer.restart();
    let renewed: Vec<Cid> = peer.signed[2..]
        .iter()
        .map(|lease| lease.record.root)
        .collect();
    assert_eq!(renewed, [root(9), root(1)]);
}

#[test]
fn two_looks_at_what_is_kept_give_up_nothing_that_came_between_them() {
    let mut peer = Peer::new(23);
    peer.held = Some(VecDeque::new());
    peer.restart();
    peer.wait(HOUR);
    let mut held = peer.held.take().unwrap();
    held.retain(|output| matches!(output, Output::Keep { .. }));
    assert_eq!(held.len(), 2, "at the start and at the full hour");
    for keep in held {
        let kept = peer.carry(keep).unwrap();
        peer.feed(kept);
        peer.offer(root(1));
        peer.run();
        assert!(
            peer.disk
                .leases
                .keys()
                .all(|root| peer.disk.blocks.contains(root)),
            "what is promised is here"
        );
    }
    assert!(peer.disk.leases.contains_key(&root(1)));
}

#[test]
fn the_newest_that_a_peer_told_is_kept_until_it_leaves_the_registry() {
    let mut peer = Peer::new(24);
    let start = peer.now.unix().0;
    for seconds in [0, 20, 10] {
        let told = Presence {
            peer: other().address(),
            time: UnixSeconds(start + seconds),
            page_serial: 0,
            page_hash: Hash32::ZERO,
            capacity: 0,
            used: 0,
        };
        peer.hear(&Statement::Presence(told));
    }
    assert_eq!(peer.heard(), [start + 20]);
    let nobody = RegistryAt::new(Arc::default());
    peer.feed(Input::Registry(nobody));
    peer.wait(HOUR);
    assert!(peer.heard().is_empty());
}

impl Peer {
    /// The other peer tells everybody something.
    fn hear(&mut self, statement: &Statement) {
        let signed = statement.clone().sign(&DOMAIN, &other());
        self.feed(Input::Gossip {
            token: Token(0),
            topic: statement.topic(),
            body: signed.to_bytes().into(),
        });
    }

    /// Numbers of what the other peer told last.
    fn heard(&self) -> Vec<u64> {
        let heard = self.content.status().heard;
        let told = told_by(&heard, other().address());
        told.map(Statement::number).collect()
    }

    fn with_book(seed: u64, lease_epochs: u64, renewal_epochs: u64) -> Self {
        let mut peer = Self::new(seed);
        peer.config.book.lease_epochs = lease_epochs;
        peer.config.book.renewal_epochs = renewal_epochs;
        peer.restart();
        peer
    }

    fn list_part(&mut self) -> listing::Part<Lease> {
        match self.list() {
            Some(listing::Response::List(part)) => *part,
            other => panic!("expected a list, got {other:?}"),
        }
    }

    /// Lets somebody read the list of leases.
    #[track_caller]
    fn show(&mut self, reader: &mut View<Lease>) {
        let part = self.list_part();
        assert_eq!(part.next, None);
        let released = part.released.into_iter();
        let listed = Listed {
            page: part.page,
            listed: part.listed,
            fresh: part.fresh,
            released: released.map(serde_bytes::ByteBuf::into_vec).collect(),
        };
        let epoch = self.now.epoch();
        reader
            .handle_listing(key().address(), listed, epoch)
            .unwrap();
    }

    fn is_bound(&self, reader: &View<Lease>, root: Cid) -> bool {
        let epoch = self.now.epoch();
        reader.binding(&key().address(), &root, epoch).is_some()
    }
}
