use super::*;
use crate::amount::Dgc;
use crate::records::Statement;
use crate::registry::Registry;
use crate::registry::testing::{Enrolment, registry_of};
use crate::signing::{Domain, SigningKey};
use crate::time::UnixSeconds;

#[track_caller]
fn check(epoch: Epoch, is_news: bool) {
    check_known(epoch, None, is_news);
}

/// Checks page 7 of an epoch.
#[track_caller]
fn check_known(epoch: Epoch, newest: Option<u64>, is_news: bool) {
    let (page, now) = (page(epoch, 7), Moment::from_unix(START));
    match checked_after(&page, newest, now) {
        Ok(_) => assert!(is_news, "a page of {epoch} is taken"),
        Err(error) => assert!(!is_news && !error.is_offence(), "{epoch}: {error}"),
    }
}

fn page(epoch: Epoch, serial: u64) -> Vec<u8> {
    codec::to_bytes(&Signed::new(unsigned(epoch, serial), &DOMAIN, &key()))
}

fn unsigned(epoch: Epoch, serial: u64) -> Page {
    Page {
        holder: key().address(),
        serial,
        epoch,
        count: 0,
        size: 0,
        leases_root: crate::merkle::root([]),
    }
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

#[test]
fn a_page_is_passed_on_once_and_none_after_a_newer_one() {
    let now = START.epoch();
    check_known(now, Some(6), true);
    check_known(now, Some(7), false);
    check_known(now, Some(8), false);
}

#[test]
fn a_page_that_its_holder_did_not_sign_is_an_offence() {
    let mut page: SignedPage = codec::from_bytes(
        "page",
        &page(START.epoch(), 7),
        Topic::Pages.message_bytes_max(),
    )
    .unwrap();
    page.record.serial += 1;
    let (page, now) = (codec::to_bytes(&page), Moment::from_unix(START));
    let checked = checked_after(&page, None, now);
    assert!(checked.unwrap_err().is_offence());
}

/// Checks a page where one of serial `newest` was heard.
fn checked_after(
    data: &[u8],
    newest: Option<u64>,
    now: Moment,
) -> Result<Signed<Page>, RecordError> {
    let known = newest.map(|serial| Statement::Page(unsigned(START.epoch(), serial)));
    let heard = known.map(|known| ((key().address(), Topic::Pages), known));
    Page::check(
        data,
        &Around {
            registry: &registry(),
            domain: &DOMAIN,
            heard: &heard.into_iter().collect(),
            now,
        },
    )
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32]).unwrap()
}

/// The holder of [`key`], with stake.
fn registry() -> Registry {
    registry_of([Enrolment {
        number: 1,
        roles: &[Role::Content],
        wallet: key().address(),
        public_key: key().public_key().to_vec(),
        stake: Dgc::whole(200_000),
    }])
}

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([9; 20]),
};

const START: UnixSeconds = UnixSeconds(1_700_000_000);
