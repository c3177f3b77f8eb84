use super::*;

fn peer(number: usize) -> Address {
    let mut address = [0; 20];
    address[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Address(address)
}

#[test]
fn a_provider_keeps_so_many_records_and_all_together_no_more_than_fit() {
    let mut records = ProviderRecords::default();
    let admitted = (0..PROVIDED_MAX + 5).filter(|_| records.admit(peer(1)));
    assert_eq!(admitted.count(), PROVIDED_MAX);
    let others = (2..RECORDS_MAX * 2).filter(|number| records.admit(peer(*number)));
    assert_eq!(others.count(), RECORDS_MAX - PROVIDED_MAX);
    assert!(records.by_provider.len() <= RECORDS_MAX);
}

#[test]
fn what_has_expired_makes_room() {
    let mut records = ProviderRecords::default();
    records.handle_timeout(Moment::ZERO);
    while records.admit(peer(1)) {}
    records.handle_timeout(Moment::ZERO + PROVIDER_TTL);
    assert!(records.admit(peer(1)));
}

#[test]
fn a_search_ends_with_enough_others() {
    let mut search = ProviderSearch::new(peer(0));
    assert!(!search.handle_found(peer(0)));
    for number in 1..=PROVIDERS_MAX {
        assert!(!search.is_enough());
        assert!(search.handle_found(peer(number)));
    }
    assert!(search.is_enough());
    assert!(!search.handle_found(peer(PROVIDERS_MAX + 1)));
    assert_eq!(search.finish().len(), PROVIDERS_MAX);
}
