use super::*;
use crate::content::leaf::page_of;
use crate::id::Hash32;
use crate::records::{LEASE_EPOCHS_MAX, PAGE_EPOCHS_MAX, Page, SignedLease, SignedPage};
use crate::signing::{Domain, Signed, SigningKey};
use crate::wire::Topic;

mod role;

#[test]
fn serials_rise_by_one_and_never_come_twice() {
    let mut book = book(Counters::default());
    for serial in 1..=5 {
        assert_eq!(
            grant(&mut book, root(u8::try_from(serial).unwrap()))
                .record
                .serial,
            serial
        );
    }
    // A crash after the counters were stored and before the lease was.
    let Grant::Draft { counters, .. } = book.grant(root(9), Hash32::ZERO, 1, EPOCH) else {
        panic!("a new root is drafted");
    };
    let stored: Vec<SignedLease> = book.leases().cloned().collect();
    let mut restarted = LeaseBook::new(
        BookConfig::default(),
        key().address(),
        counters,
        stored,
        None,
    );
    assert_eq!(grant(&mut restarted, root(9)).record.serial, 7);
}

#[test]
fn a_root_has_one_lease() {
    let mut book = book(Counters::default());
    let first = grant(&mut book, root(1));
    assert_eq!(
        book.grant(root(1), Hash32::ZERO, 10, EPOCH),
        Grant::Standing(first)
    );
    let Grant::Draft { lease, .. } = book.grant(root(1), Hash32::ZERO, 11, EPOCH) else {
        panic!("another size is another promise");
    };
    book.handle_signed(Signed::new(lease, &DOMAIN, &key()));
    assert_eq!(book.len(), 1);
}

#[test]
fn an_epoch_has_one_page_even_after_a_restart() {
    let mut book = book(Counters::default());
    grant(&mut book, root(1));
    let draft = book.draft_page(EPOCH).unwrap();
    assert_eq!(draft.page.count, 1);
    assert_eq!(book.draft_page(EPOCH), None);
    let mut restarted = LeaseBook::new(
        BookConfig::default(),
        key().address(),
        draft.counters,
        [],
        None,
    );
    assert_eq!(restarted.draft_page(EPOCH), None);
    let next = restarted.draft_page(EPOCH.plus(1)).unwrap();
    assert_eq!(next.page.serial, draft.page.serial + 1);
}

#[test]
fn leases_expire_and_are_renewed_before() {
    let mut book = book(Counters::default());
    let lease = grant(&mut book, root(1)).record;
    assert!(book.renew(EPOCH, 10, |_| true).is_empty());
    assert!(book.renew(lease.to_epoch, 10, |_| false).is_empty());
    let renewed = book.renew(lease.to_epoch, 10, |_| true);
    assert_eq!(renewed.len(), 1);
    assert_eq!(renewed[0].0.serial, lease.serial + 1);
    assert!(book.expired(lease.to_epoch).is_empty());
    assert_eq!(book.expired(lease.to_epoch.plus(1)), [root(1)]);
}

#[test]
fn what_comes_back_from_a_backup_signs_nothing_twice() {
    let mut book = book(Counters {
        lease_serial: 7,
        page_serial: 3,
        epochs: BTreeMap::from([(Topic::Pages, EPOCH)]),
        listed_serial: 7,
    });
    let counters = book.return_from_backup(EPOCH.plus(2));
    assert!(counters.lease_serial > 1_000_000 && counters.page_serial > 1_000_000);
    assert_eq!(
        book.draft_page(EPOCH.plus(2)),
        None,
        "its former self may have"
    );
    assert!(book.draft_page(EPOCH.plus(3)).is_some());
}

#[test]
fn a_page_renews_and_a_listing_releases() {
    let mut book = book(Counters::default());
    let mut view = View::new(DOMAIN, 4);
    let holder = key().address();
    for byte in 1..=3 {
        grant(&mut book, root(byte));
    }
    sign_page(&mut book, EPOCH);
    assert_eq!(show(&book, &mut view, EPOCH).unwrap().added.len(), 3);
    let binds =
        |view: &View<Lease>, number, epoch| view.binding(&holder, &root(number), epoch).is_some();
    assert!(binds(&view, 2, EPOCH.plus(PAGE_EPOCHS_MAX)));
    assert!(!binds(&view, 2, EPOCH.plus(PAGE_EPOCHS_MAX + 1)));

    book.release(&root(2));
    let late = grant(&mut book, root(4));
    assert_eq!(view.handle_leaf(&late, EPOCH).unwrap().added.len(), 1);
    let change = show(&book, &mut view, EPOCH).unwrap();
    assert_eq!((change.added.len(), change.removed), (0, vec![root(2)]));
    let next = EPOCH.plus(1);
    sign_page(&mut book, next);
    let change = show(&book, &mut view, next).unwrap();
    assert!(change.added.is_empty() && change.removed.is_empty());
    assert!(binds(&view, 4, next) && !binds(&view, 2, next));

    let over = view.expire(&holder, next.plus(PAGE_EPOCHS_MAX + 1));
    assert_eq!(over, [root(1), root(3), root(4)]);
}

#[test]
fn a_known_page_is_not_listed_again() {
    let mut book = book(Counters::default());
    let mut view = View::new(DOMAIN, 4);
    for byte in 1..=3 {
        grant(&mut book, root(byte));
    }
    sign_page(&mut book, EPOCH);
    show(&book, &mut view, EPOCH).unwrap();
    grant(&mut book, root(4));
    book.release(&root(1));
    let known = view.page(&key().address()).map(|page| page.record.serial);
    let part = book.part(None, known);
    assert_eq!(
        (part.listed.len(), part.fresh.len(), part.released.len()),
        (0, 1, 1)
    );
    let change = show(&book, &mut view, EPOCH).unwrap();
    assert_eq!(change.removed, [root(1)]);
    assert_eq!(change.added.len(), 1);
    book.release(&root(4));
    assert_eq!(show(&book, &mut view, EPOCH).unwrap().removed, [root(4)]);
}

#[test]
fn who_knows_the_page_hears_what_changed_since() {
    let mut book = book(Counters::default());
    for number in 0..500 {
        grant(&mut book, numbered(number));
    }
    sign_page(&mut book, EPOCH);
    let mut view = View::new(DOMAIN, 4);
    show(&book, &mut view, EPOCH).unwrap();
    let mut state = 7_u32;
    for round in 0..200 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let root = numbered(state >> 16 & 0x3ff);
        match book.release(&root) {
            Some(_) => {}
            None => drop(grant(&mut book, root)),
        }
        if round % 50 == 0 {
            sign_page(&mut book, EPOCH.plus(1 + round / 50));
        }
        let known = book.page().map(|page| page.record.serial);
        let (all, part) = (book.part(None, None), book.part(None, known));
        assert_eq!(part.listed, []);
        assert_eq!((part.fresh, part.released), (all.fresh, all.released));
    }
}

#[test]
fn a_listing_after_a_restart_is_the_page_again() {
    let mut book = book(Counters::default());
    for byte in 1..=3 {
        grant(&mut book, root(byte));
    }
    sign_page(&mut book, EPOCH);
    grant(&mut book, root(4));
    let restart = |book: &LeaseBook| {
        LeaseBook::new(
            BookConfig::default(),
            key().address(),
            book.counters(),
            book.leases().cloned(),
            book.page().cloned(),
        )
    };
    let part = restart(&book).part(None, None);
    assert_eq!((part.listed.len(), part.fresh.len()), (3, 1));
    // What was given up since is not on disk: every lease shows its own signature.
    book.release(&root(1));
    let part = restart(&book).part(None, None);
    assert_eq!(
        (part.page, part.listed.len(), part.fresh.len()),
        (None, 0, 3)
    );
    let mut view = View::new(DOMAIN, 4);
    assert_eq!(
        show(&restart(&book), &mut view, EPOCH).unwrap().added.len(),
        3
    );
}

#[test]
fn a_renewed_lease_stands_beside_the_one_that_the_page_lists() {
    let config = BookConfig {
        lease_epochs: 10,
        renewal_epochs: 8,
        ..BookConfig::default()
    };
    let mut book = LeaseBook::new(config, key().address(), Counters::default(), [], None);
    grant(&mut book, root(1));
    sign_page(&mut book, EPOCH);
    let later = EPOCH.plus(5);
    let mut view = View::new(DOMAIN, 4);
    show(&book, &mut view, EPOCH).unwrap();
    for (lease, _) in book.renew(later, 10, |_| true) {
        book.handle_signed(Signed::new(lease, &DOMAIN, &key()));
    }
    let change = show(&book, &mut view, later).unwrap();
    assert_eq!(change.added.len(), 1);
    assert_eq!(change.added[0].to_epoch, later.plus(10));
    sign_page(&mut book, later);
    assert!(show(&book, &mut view, later).unwrap().added.is_empty());
}

#[test]
fn leases_that_are_given_while_a_page_is_signed_come_beside_what_it_lists() {
    for is_released in [false, true] {
        let config = BookConfig {
            renewal_epochs: LEASE_EPOCHS_MAX + 1,
            ..BookConfig::default()
        };
        let mut book = LeaseBook::new(config, key().address(), Counters::default(), [], None);
        let mut view = View::new(DOMAIN, 4);
        for byte in 1..=3 {
            grant(&mut book, root(byte));
        }
        for epoch in [EPOCH, EPOCH.plus(1)] {
            let draft = book.draft_page(epoch).unwrap();
            for _ in 0..2 {
                let renewed = book.renew(epoch, 2, |_| true);
                for (lease, _) in renewed {
                    book.handle_signed(Signed::new(lease, &DOMAIN, &key()));
                }
            }
            if is_released {
                book.release(&root(1));
            }
            book.handle_page_signed(Signed::new(draft.page, &DOMAIN, &key()));
            show(&book, &mut view, epoch).unwrap();
            let bound = view.leaves(&key().address()).count();
            assert_eq!(bound, book.len());
        }
    }
}

#[test]
fn long_lists_come_in_parts() {
    let mut book = book(Counters::default());
    for number in 0..2_500u32 {
        grant(&mut book, numbered(number));
    }
    sign_page(&mut book, EPOCH);
    for number in 2_500..2_600 {
        grant(&mut book, numbered(number));
    }
    for number in 0..50 {
        book.release(&numbered(number));
    }
    let mut view = View::new(DOMAIN, 4);
    assert_eq!(show(&book, &mut view, EPOCH).unwrap().added.len(), 2_550);
}

#[test]
fn pages_that_lie_are_refused() {
    let mut book = book(Counters::default());
    grant(&mut book, root(1));
    grant(&mut book, root(2));
    let page = book.draft_page(EPOCH).unwrap().page;
    let leases: Vec<Lease> = book.leases().map(|lease| lease.record.clone()).collect();
    check_refused(page, &leases[..1], "their number differs");
    check_refused(
        Page {
            size: page.size + 1,
            ..page
        },
        &leases,
        "their sizes differ",
    );
    check_refused(
        page,
        &[leases[1].clone(), leases[0].clone()],
        "they are not sorted, or one comes twice",
    );
    let mut forged = leases.clone();
    forged[0].to_epoch = EPOCH.plus(1);
    check_refused(page, &forged, "their Merkle root differs");
    let mut huge = leases;
    huge[0].size = u64::MAX;
    check_refused(page, &huge, "their sizes exceed 64 bits");
}

#[test]
fn two_pages_of_one_epoch_are_evidence() {
    let mut view: View<Lease> = View::new(DOMAIN, 4);
    let page = |serial, epoch| {
        let leaves: [&Lease; 0] = [];
        let page = page_of(key().address(), serial, epoch, leaves.into_iter());
        Listed {
            page: Some(Signed::new(page, &DOMAIN, &key())),
            ..Listed::default()
        }
    };
    let holder = key().address();
    view.handle_listing(holder, page(1, EPOCH), EPOCH).unwrap();
    assert!(matches!(
        view.handle_listing(holder, page(2, EPOCH), EPOCH),
        Err(ViewError::Equivocation { .. })
    ));
    assert!(matches!(
        view.handle_listing(holder, page(3, EPOCH.plus(2)), EPOCH),
        Err(ViewError::Future { .. })
    ));
}

#[test]
fn a_list_of_somebody_elses_leases_is_refused() {
    let mut book = book(Counters::default());
    let lease = grant(&mut book, root(1));
    let mut view = View::new(DOMAIN, 4);
    let listed = Listed {
        fresh: vec![lease.clone()],
        ..Listed::default()
    };
    let refused = view.handle_listing(Address([9; 20]), listed, EPOCH);
    assert!(refused.unwrap_err().is_offence());
    let mut forged = lease;
    forged.record.size += 1;
    let listed = Listed {
        fresh: vec![forged],
        ..Listed::default()
    };
    let refused = view.handle_listing(key().address(), listed, EPOCH);
    assert!(refused.unwrap_err().is_offence());
    assert_eq!(view.holders().count(), 0);
}

#[track_caller]
fn check_refused(page: Page, leases: &[Lease], expected: &str) {
    let mut view = View::new(DOMAIN, 4);
    let listed = Listed {
        page: Some(Signed::new(page, &DOMAIN, &key())),
        listed: leases.to_vec(),
        ..Listed::default()
    };
    match view.handle_listing(key().address(), listed, EPOCH) {
        Err(ViewError::Leaves { reason, .. }) => assert_eq!(reason, expected),
        other => panic!("expected a refusal of the leases, got {other:?}"),
    }
}

/// Reads a book's whole listing into a view, part by part.
fn show(
    book: &LeaseBook,
    view: &mut View<Lease>,
    epoch: Epoch,
) -> Result<Change<Lease>, ViewError> {
    let holder = key().address();
    let known = view.page(&holder).map(|page| page.record.serial);
    let mut listed = Listed::default();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let part = book.part(after.as_deref(), known);
        assert!(part.listed.len() + part.fresh.len() <= listing::LISTED_MAX);
        let bytes = listing::Response::List(Box::new(part)).to_bytes();
        let Ok(listing::Response::List(part)) = listing::Response::from_bytes(&bytes) else {
            panic!("a part decodes");
        };
        listed.page = part.page;
        listed.listed.extend(part.listed);
        listed.fresh.extend(part.fresh);
        let released = part.released.into_iter();
        listed
            .released
            .extend(released.map(serde_bytes::ByteBuf::into_vec));
        match part.next {
            Some(next) => after = Some(next.into_vec()),
            None => return view.handle_listing(holder, listed, epoch),
        }
    }
}

fn sign_page(book: &mut LeaseBook, epoch: Epoch) -> SignedPage {
    let draft = book.draft_page(epoch).unwrap();
    let page = Signed::new(draft.page, &DOMAIN, &key());
    book.handle_page_signed(page.clone());
    page
}

fn numbered(number: u32) -> Cid {
    let mut hash = [7; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    Cid::new_v1(0x55, multihash::Multihash::wrap(0x12, &hash).unwrap())
}

fn grant(book: &mut LeaseBook, root: Cid) -> SignedLease {
    let Grant::Draft { lease, .. } = book.grant(root, Hash32::ZERO, 10, EPOCH) else {
        panic!("expected a draft");
    };
    let signed = Signed::new(lease, &DOMAIN, &key());
    book.handle_signed(signed.clone());
    signed
}

fn book(counters: Counters) -> LeaseBook {
    LeaseBook::new(BookConfig::default(), key().address(), counters, [], None)
}

fn root(byte: u8) -> Cid {
    let hash = multihash::Multihash::wrap(0x12, &[byte; 32]).unwrap();
    Cid::new_v1(0x55, hash)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

const EPOCH: Epoch = Epoch(1000);

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([1; 20]),
};
