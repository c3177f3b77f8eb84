use cid::Cid;
use proptest::prelude::*;

use super::*;
use crate::id::{Address, Hash32};
use crate::signing::{Domain, Signed, SigningKey};
use crate::time::Epoch;

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
    assert!(book.renewals(EPOCH, 10).is_empty());
    assert_eq!(book.renewals(lease.to_epoch, 10), [root(1)]);
    assert!(book.expire(lease.to_epoch).is_empty());
    assert_eq!(book.expire(lease.to_epoch.plus(1)), [root(1)]);
}

#[test]
fn a_page_renews_and_releases() {
    let mut book = book(Counters::default());
    let mut view = PageView::new(DOMAIN, 4);
    let holder = key().address();
    for byte in 1..=3 {
        grant(&mut book, root(byte));
    }
    let change = show(&book.draft_page(EPOCH).unwrap(), &book, &mut view, EPOCH).unwrap();
    assert_eq!(change.added.len(), 3);
    assert!(view.binds(&holder, &root(2), EPOCH.plus(PAGE_EPOCHS_MAX)));
    assert!(!view.binds(&holder, &root(2), EPOCH.plus(PAGE_EPOCHS_MAX + 1)));

    book.release(&root(2));
    let late = grant(&mut book, root(4));
    assert_eq!(view.handle_lease(&late, EPOCH).unwrap().added.len(), 1);
    let next = EPOCH.plus(1);
    let change = show(&book.draft_page(next).unwrap(), &book, &mut view, next).unwrap();
    assert_eq!(change.removed, [root(2)]);
    assert!(!view.binds(&holder, &root(2), next));
    assert!(view.binds(&holder, &root(4), next));
}

#[test]
fn pages_that_lie_are_refused() {
    let mut book = book(Counters::default());
    grant(&mut book, root(1));
    grant(&mut book, root(2));
    let page = book.draft_page(EPOCH).unwrap().page;
    let leases: Vec<Lease> = sorted(&book);
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
        "their roots are not sorted, or one comes twice",
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
    let mut view = PageView::new(DOMAIN, 4);
    let page = |serial| {
        Signed::new(
            Page::new(key().address(), serial, EPOCH, []),
            &DOMAIN,
            &key(),
        )
    };
    view.handle_page(page(1), &[], EPOCH).unwrap();
    assert!(matches!(
        view.handle_page(page(2), &[], EPOCH),
        Err(PageError::Equivocation { .. })
    ));
    let future = Page::new(key().address(), 3, EPOCH.plus(2), []);
    assert!(matches!(
        view.handle_page(Signed::new(future, &DOMAIN, &key()), &[], EPOCH),
        Err(PageError::Future { .. })
    ));
}

proptest! {
    #[test]
    fn a_page_does_not_depend_on_the_order_of_its_leases(bytes in proptest::collection::btree_set(any::<u8>(), 0..20)) {
        let lease = |&byte: &u8| Lease {
            root: root(byte), proof_root: Hash32::ZERO, size: 1, holder: key().address(),
            serial: 1, from_epoch: EPOCH, to_epoch: EPOCH,
        };
        let leases: Vec<Lease> = bytes.iter().map(lease).collect();
        let forward = Page::new(key().address(), 1, EPOCH, &leases);
        let backward = Page::new(key().address(), 1, EPOCH, leases.iter().rev());
        prop_assert_eq!(forward, backward);
    }
}

#[track_caller]
fn check_refused(page: Page, leases: &[Lease], expected: &str) {
    let mut view = PageView::new(DOMAIN, 4);
    match view.handle_page(Signed::new(page, &DOMAIN, &key()), leases, EPOCH) {
        Err(PageError::Leases { reason, .. }) => assert_eq!(reason, expected),
        other => panic!("expected a refusal of the leases, got {other:?}"),
    }
}

fn show(
    draft: &PageDraft,
    book: &LeaseBook,
    view: &mut PageView,
    epoch: Epoch,
) -> Result<PageChange, PageError> {
    view.handle_page(
        Signed::new(draft.page, &DOMAIN, &key()),
        &sorted(book),
        epoch,
    )
}

fn sorted(book: &LeaseBook) -> Vec<Lease> {
    let mut leases: Vec<Lease> = book.leases().map(|lease| lease.record.clone()).collect();
    leases.sort_by_key(|lease| lease.root.to_bytes());
    leases
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
