//! What is decided while the index was not read, and what when it was.

use super::*;

#[test]
fn nothing_is_given_up_before_the_index_was_read() {
    // Named again while the peer was away, for longer than an ended promise lasts.
    check_kept(|peer| {
        peer.promise(root(1), &[7]);
        peer.name(root(1), &[]);
        peer.index.insert(root(1), vec![7]);
        peer.now = peer.now + 26 * HOUR;
    });
    // The lease ended while the peer was away.
    check_kept(|peer| {
        peer.config.book.lease_epochs = 24;
        peer.restart();
        peer.promise(root(1), &[7]);
        peer.now = peer.now + 26 * HOUR;
    });
    // The upload was published while the peer was away.
    check_kept(|peer| {
        peer.offer(root(1));
        peer.run();
        peer.index.insert(root(1), vec![7]);
        peer.now = peer.now + 3 * HOUR;
    });
}

#[test]
fn what_the_index_does_not_name_is_given_up_once_it_was_read() {
    let mut peer = Peer::new(41);
    peer.promise(root(1), &[7]);
    peer.name(root(1), &[]);
    peer.offer(root(2));
    peer.run();
    peer.now = peer.now + 26 * HOUR;
    peer.held = Some(VecDeque::new());
    peer.restart();
    assert_eq!(peer.disk.leases.len(), 2);
    peer.end_held();
    peer.wait(Duration::from_secs(60));
    assert!(peer.disk.leases.is_empty() && peer.disk.uploads.is_empty());
}

#[test]
fn an_index_that_is_made_again_ends_nothing() {
    let mut peer = Peer::new(43);
    peer.promise(root(1), &[7]);
    peer.offer(root(2));
    peer.run();
    let index = std::mem::take(&mut peer.index);
    peer.height = Height {
        applied: 0,
        head: Some(1_000),
        is_connected: true,
    };
    peer.height(true);
    peer.feed(Input::RenamedUnknown);
    peer.wait(30 * HOUR);
    assert_eq!(peer.content.stored_bytes(UserId(7)), SIZE);
    peer.index = index;
    peer.name(root(1), &[7]);
    peer.name(root(2), &[7]);
    peer.height.applied = 1_000;
    peer.height(true);
    peer.wait(30 * HOUR);
    assert_eq!(peer.disk.leases.len(), 2);
    assert!(peer.removed.is_empty() && peer.disk.ended.is_empty());
}

#[test]
fn leases_are_renewed_in_the_epoch_of_a_start_too() {
    let mut peer = Peer::new(42);
    peer.config.book.lease_epochs = 48;
    peer.config.book.renewal_epochs = 12;
    peer.restart();
    peer.promise(root(1), &[7]);
    peer.now = peer.now + 40 * HOUR;
    peer.held = Some(VecDeque::new());
    peer.restart();
    assert_eq!(peer.signed.len(), 1, "whether it is wanted is not known");
    let epoch = peer.now.epoch();
    assert_eq!(peer.last_page().epoch, epoch, "the page waits for nothing");
    peer.end_held();
    assert_eq!(peer.disk.leases[&root(1)].record.from_epoch, epoch);
}

/// What happened while the peer was away is read before promises end.
#[track_caller]
fn check_kept(before: fn(&mut Peer)) {
    let mut peer = Peer::new(40);
    before(&mut peer);
    peer.held = Some(VecDeque::new());
    peer.restart();
    // A full hour passes while the index is read.
    peer.wait(HOUR);
    peer.end_held();
    peer.wait(HOUR);
    assert!(peer.disk.leases.contains_key(&root(1)));
    assert_eq!(peer.removed, []);
    assert_eq!(peer.content.standing(&root(1)), Standing::Published);
}
