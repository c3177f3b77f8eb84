use super::*;
use crate::registry::tests::registry_of;

#[test]
fn the_logarithm_of_known_values() {
    // h = 2^64 − 1: (2^65 − 1) / 2^65 is just below 1.
    assert_eq!(negative_log2(u64::MAX), 1);
    // h = 0: exactly 65.
    assert_eq!(negative_log2(0), 65 << 32);
    // (2h + 1) / 2^65 just above one half: just below 1.
    assert_eq!(negative_log2(1 << 63), (1 << 32) - 1);
    // (2h + 1) = 3: 65 − log2 3 = 63.4150374992788…
    assert_eq!(negative_log2(1), 272_365_512_134);
}

#[test]
fn squares_are_exact() {
    assert_eq!(square(u128::MAX), (u128::MAX - 1, 1));
    assert_eq!(square(1 << 127), (1 << 126, 0));
    assert_eq!(square((1 << 64) + 1), (1, (1 << 65) + 1));
}

#[test]
fn one_peer_per_operator() {
    let placement = Placement::new(&registry_of(&[
        (1, 1000, "a"),
        (1, 1000, "b"),
        (2, 1000, "a"),
        (2, 1000, "b"),
    ]));
    let placed = placement.place(&root(1), 5, &BTreeSet::new());
    let operators: BTreeSet<_> = placed
        .iter()
        .map(|peer| placement.operator_of(peer).unwrap())
        .collect();
    assert_eq!((placed.len(), operators.len()), (2, 2));
    assert_eq!(placement.effective_target(5, &BTreeSet::new()), 2);
}

#[test]
fn zones_hold_a_third_of_the_target_while_there_are_others() {
    let peers: Vec<_> = (1..=12)
        .map(|number| {
            (
                number,
                1000,
                ["a", "b", "c"][usize::from(number > 8) + usize::from(number > 10)],
            )
        })
        .collect();
    let placement = Placement::new(&registry_of(&peers));
    let zone_of = |peer: &Address| {
        placement
            .candidates(Role::Content)
            .iter()
            .flat_map(|candidate| &candidate.peers)
            .find(|found| found.address == *peer)
            .unwrap()
            .zone
    };
    for seed in 0..100 {
        let placed = placement.place(&root(seed), 5, &BTreeSet::new());
        assert_eq!(placed.len(), 5);
        let in_a = placed
            .iter()
            .filter(|peer| zone_of(peer) == Zone::new("a"))
            .count();
        assert!(in_a <= 2, "seed {seed}: {in_a} of five in one zone");
    }
}

#[test]
fn a_lost_peer_changes_one_place_only() {
    let peers: Vec<_> = (1..=20).map(|number| (number, 1000, "a")).collect();
    let placement = Placement::new(&registry_of(&peers));
    for seed in 0..50 {
        let before = placement.place(&root(seed), 5, &BTreeSet::new());
        let after = placement.place(&root(seed), 5, &BTreeSet::from([before[2]]));
        let kept = before.iter().filter(|peer| after.contains(peer)).count();
        assert_eq!(kept, 4);
    }
}

#[test]
fn weight_draws_in_proportion() {
    let mut peers: Vec<_> = (1..=10).map(|number| (number, 200_000, "a")).collect();
    peers.push((11, 2_000_000, "a"));
    let placement = Placement::new(&registry_of(&peers));
    let heavy = placement
        .operators
        .iter()
        .find(|(_, number)| number.0 == 11)
        .map(|(address, _)| *address)
        .unwrap();
    let first = (0..2000)
        .filter(|seed| placement.place(&root(*seed), 1, &BTreeSet::new())[0] == heavy)
        .count();
    // Half of all weight; six standard deviations are 134.
    assert!((866..=1134).contains(&first), "{first} of 2000");
}

#[test]
fn without_weight_nobody_is_drawn() {
    let placement = Placement::new(&registry_of(&[(1, 999, "a"), (2, 1000, "a")]));
    assert_eq!(placement.place(&root(1), 5, &BTreeSet::new()).len(), 1);
}

#[test]
fn other_purposes_rank_every_operator_once() {
    let peers: Vec<_> = (1..=6).map(|number| (number, 1000, "a")).collect();
    let placement = Placement::new(&registry_of(&peers));
    for purpose in [Purpose::Entries, Purpose::Relayer, Purpose::Vault] {
        assert_eq!(placement.rank(purpose, b"subject").len(), 6);
    }
    assert_ne!(
        placement.rank(Purpose::Relayer, b"subject"),
        placement.rank(Purpose::Vault, b"subject")
    );
}

fn root(seed: u64) -> Cid {
    let digest = sha256(&seed.to_le_bytes());
    let hash = multihash::Multihash::wrap(0x12, &digest.0).unwrap();
    Cid::new_v1(0x55, hash)
}
