use super::*;

fn peer(number: u8) -> Address {
    Address([number; 20])
}

fn peers(numbers: &[u8]) -> Vec<Address> {
    numbers.iter().copied().map(peer).collect()
}

/// The peers in the order in which they are asked when speed does not decide.
fn check(around: &Around, expected: &[u8]) {
    let mut found = candidates(&peer(0), around);
    found.sort_by_key(|(_, priority)| *priority);
    let found: Vec<Address> = found.into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(found, peers(expected));
}

#[test]
fn placed_peers_come_before_holders_by_lease_and_those_before_others() {
    let around = Around {
        placed: peers(&[1, 2]),
        leased: peers(&[2, 3]),
        staked: peers(&[1, 2, 3, 4]),
        connected: BTreeSet::new(),
    };
    check(&around, &[1, 2, 3, 4]);
}

#[test]
fn among_peers_of_one_kind_connected_ones_come_first_and_we_never_do() {
    let around = Around {
        placed: peers(&[0, 1, 2]),
        leased: peers(&[3, 4]),
        staked: peers(&[0, 5, 6]),
        connected: peers(&[2, 4, 6]).into_iter().collect(),
    };
    check(&around, &[2, 1, 4, 3, 6, 5]);
}

#[test]
fn of_peers_without_a_reason_some_are_asked() {
    let around = Around {
        staked: (1..=200).map(peer).collect(),
        ..Around::default()
    };
    assert_eq!(candidates(&peer(0), &around).len(), OTHERS_MAX);
}
