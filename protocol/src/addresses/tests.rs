use super::*;

const NOW: Moment = Moment::ZERO;

fn peer(number: u32) -> Address {
    let mut address = [0; 20];
    address[..4].copy_from_slice(&number.to_be_bytes());
    Address(address)
}

fn key(number: u32) -> PeerKey {
    PeerKey(number.to_be_bytes().to_vec())
}

fn at(place: &str) -> Vec<u8> {
    place.as_bytes().to_vec()
}

/// Strangers with the highest addresses that fill the book, one a second.
fn crowd(seconds: u64) -> impl Iterator<Item = (u32, Moment)> {
    let first = u32::MAX - u32::try_from(PEERS_MAX).unwrap();
    (0..)
        .zip(first..u32::MAX)
        .map(move |(idx, number)| (number, Moment::from_nanos((seconds + idx) * 1_000_000_000)))
}

#[test]
fn told_addresses_are_dialled_first_and_each_once() {
    let mut book = AddressBook::default();
    let named = |number| {
        Some(Named {
            key: key(number),
            peer: Some(peer(number)),
        })
    };
    let told = [("told", named(1)), ("both", None), ("of another", named(2))];
    let told = told.map(|(place, named)| Listening {
        at: at(place),
        named,
    });
    book.handle_met(peer(1), key(1), vec![at("both"), at("met")], NOW);
    book.handle_told(peer(1), told.into(), NOW);
    let addresses: Vec<&[u8]> = book.addresses(&peer(1)).collect();
    assert_eq!(addresses, [&b"both"[..], b"told", b"met"]);
    assert_eq!(book.key(&peer(1)), Some(&key(1)));
}

#[test]
fn staked_peers_are_remembered_whoever_else_is_met() {
    let mut book = AddressBook::default();
    book.handle_staked([(peer(1), key(1))], NOW);
    assert_eq!(book.poll(), Some(Wish::Exempt(key(1))));
    for (number, now) in crowd(0) {
        book.handle_met(peer(number), key(number), Vec::new(), now);
    }
    assert_eq!(book.key(&peer(1)), Some(&key(1)));
    assert!(book.peers.len() <= PEERS_MAX);
}

#[test]
fn a_connected_peer_is_known_whoever_else_connects() {
    let mut book = AddressBook::default();
    book.handle_connected(peer(1), key(1), None, NOW);
    for (number, now) in crowd(1) {
        book.handle_connected(peer(number), key(number), None, now);
        book.handle_disconnected(&peer(number), now);
    }
    assert_eq!(book.key(&peer(1)), Some(&key(1)));
}

#[test]
fn the_peer_that_was_met_longest_ago_is_forgotten_first() {
    let mut book = AddressBook::default();
    for (number, now) in crowd(0) {
        book.handle_met(peer(number), key(number), Vec::new(), now);
    }
    let (first, _) = crowd(0).next().unwrap();
    let (_, last) = crowd(0).last().unwrap();
    book.handle_met(peer(1), key(1), Vec::new(), last);
    assert_eq!(book.key(&peer(1)), Some(&key(1)));
    assert_eq!(book.key(&peer(first)), None);
}

#[test]
fn a_peer_that_lost_its_stake_is_limited_again() {
    let mut book = AddressBook::default();
    book.handle_staked([(peer(1), key(1)), (peer(2), key(2))], NOW);
    let exempt = [Wish::Exempt(key(1)), Wish::Exempt(key(2))];
    assert_eq!([book.poll(), book.poll()], exempt.map(Some));
    book.handle_staked([(peer(2), key(2))], NOW);
    assert_eq!(book.poll(), Some(Wish::Limit(key(1))));
    assert_eq!(book.poll(), None);
}
