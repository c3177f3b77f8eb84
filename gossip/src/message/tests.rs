use protocol::lease::Page;
use protocol::time::Epoch;

use super::*;
use crate::testing::{DOMAIN, START, key, registry};

#[track_caller]
fn check(page_epoch: Epoch, is_news: bool) {
    let page = page(page_epoch, 7);
    let checked = check_page(&page, &registry(&[200]), &DOMAIN, Moment::from_unix(START));
    match checked {
        Ok(_) => assert!(is_news, "a page of {page_epoch} is taken"),
        Err(error) => {
            assert!(!is_news && !error.is_offence(), "{page_epoch}: {error}");
        }
    }
}

fn page(epoch: Epoch, serial: u64) -> Vec<u8> {
    let page = Page {
        holder: key(0).address(),
        serial,
        epoch,
        count: 0,
        size: 0,
        leases_root: protocol::merkle::root([]),
    };
    codec::to_bytes(&Signed::new(page, &DOMAIN, &key(0)))
}

#[test]
fn a_page_is_of_the_running_epoch_or_the_one_before() {
    let now = START.epoch();
    check(now, true);
    check(Epoch(now.0 - 1), true);
    check(Epoch(now.0 - 2), false);
    check(Epoch(now.0 - 1_700), false);
    check(now.plus(2), false);
}
