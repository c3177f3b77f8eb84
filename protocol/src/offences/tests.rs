use super::*;

const PEER: Address = Address([1; 20]);

fn key(peer: &Address) -> PeerKey {
    PeerKey(peer.0.to_vec())
}

fn peer(number: usize) -> Address {
    let mut address = [0; 20];
    address[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Address(address)
}

fn offences() -> Offences {
    Offences::new([])
}

#[test]
fn a_sum_of_offences_bans_for_an_hour() {
    let mut offences = offences();
    let now = Moment::ZERO;
    let known = key(&PEER);
    assert!(!offences.handle_offence(PEER, Some(&known), OFFENCE_LIMIT - 1, now));
    assert!(!offences.is_banned(&PEER, now));
    assert!(offences.handle_offence(PEER, Some(&known), 1, now));
    assert!(offences.is_banned(&PEER, now));
    assert_eq!(offences.poll(), Some(Wish::Block(known.clone())));
    offences.handle_timeout(now + BAN_TIME / 2);
    assert_eq!(offences.poll(), None);
    offences.handle_timeout(now + BAN_TIME);
    assert_eq!(offences.poll(), Some(Wish::Unblock(known)));
    assert!(!offences.is_banned(&PEER, now + BAN_TIME));
}

#[test]
fn a_banned_peer_that_comes_back_is_blocked_and_later_taken_again() {
    let mut offences = offences();
    let (now, known) = (Moment::ZERO, key(&PEER));
    assert!(!offences.handle_connected(PEER, &known, now));
    assert!(offences.handle_offence(PEER, None, OFFENCE_LIMIT, now));
    assert_eq!(offences.poll(), None);
    assert!(offences.handle_connected(PEER, &known, now));
    assert_eq!(offences.poll(), Some(Wish::Block(known.clone())));
    offences.handle_timeout(now + BAN_TIME);
    assert_eq!(offences.poll(), Some(Wish::Unblock(known)));
}

#[test]
fn a_spared_peer_is_never_banned() {
    let mut offences = Offences::new([PEER]);
    assert!(!offences.handle_offence(PEER, None, OFFENCE_LIMIT, Moment::ZERO));
    assert!(!offences.is_banned(&PEER, Moment::ZERO));
}

#[test]
fn offences_fade() {
    let mut offences = offences();
    let later = Moment::ZERO + HALF_LIFE;
    assert!(!offences.handle_offence(PEER, None, OFFENCE_LIMIT - 1, Moment::ZERO));
    assert!(!offences.handle_offence(PEER, None, OFFENCE_LIMIT / 2, later));
}

#[test]
fn small_offences_that_never_cease_fade_too() {
    let mut offences = offences();
    for turn in 0..1000 {
        let now = Moment::ZERO + HALF_LIFE * 9 / 10 * turn;
        assert!(
            !offences.handle_offence(PEER, None, OFFENCE_LIMIT / 10, now),
            "banned by a tenth of the limit in each half-life, the time {turn}"
        );
    }
}

#[test]
fn the_number_of_remembered_offenders_is_bounded() {
    let mut offences = offences();
    for number in 0..OFFENDERS_MAX + 10 {
        offences.handle_offence(peer(number), None, 1, Moment::ZERO);
    }
    assert!(offences.sums.len() <= OFFENDERS_MAX);
}

#[test]
fn every_peer_that_was_blocked_is_taken_again() {
    let mut offences = offences();
    let mut blocked = BTreeSet::new();
    for number in 0..BANNED_MAX + 10 {
        let (peer, now) = (peer(number), Moment::from_nanos(number as u64));
        offences.handle_offence(peer, Some(&key(&peer)), OFFENCE_LIMIT, now);
    }
    offences.handle_timeout(Moment::ZERO + BAN_TIME * 2);
    while let Some(wish) = offences.poll() {
        match wish {
            Wish::Block(key) => assert!(blocked.insert(key)),
            Wish::Unblock(key) => assert!(blocked.remove(&key)),
        }
    }
    assert!(blocked.is_empty(), "{} peers stay blocked", blocked.len());
}
