use protocol::signing::Signed;

use super::*;
use crate::testing::{DOMAIN, START, block_hash, entries, key, registry};

#[test]
fn more_than_half_of_the_weight_counts() {
    check_majority(&[200, 200, 200], &[0], false);
    check_majority(&[200, 200, 200], &[0, 1], true);
    check_majority(&[200, 200], &[0], false);
    check_majority(&[500, 200, 200], &[0], true);
    check_majority(&[], &[], false);
}

#[test]
fn from_ten_operators_on_one_counts_for_a_tenth() {
    let mut stakes = vec![200; 9];
    stakes.push(3000);
    // Σ = 4800, cap 480: the heavy one and four others are 1280 of 2280.
    check_majority(&stakes, &[9, 0, 1, 2], false);
    check_majority(&stakes, &[9, 0, 1, 2, 3], true);
    // With nine there is no cap.
    check_majority(&[200, 200, 200, 200, 200, 200, 200, 200, 3000], &[8], true);
}

#[test]
fn a_block_without_news_has_no_head() {
    let mut builder = HeadBuilder::default();
    assert!(
        builder.handle_final_block(&block(1, 0, false)).is_some(),
        "first of its epoch"
    );
    assert!(builder.handle_final_block(&block(2, 0, false)).is_none());
    assert!(builder.handle_final_block(&block(3, 0, true)).is_some());
    let head = builder.handle_final_block(&block(4, 2, false)).unwrap();
    assert_eq!(head.entry_count, 2);
    let mut next_epoch = block(5, 0, false);
    next_epoch.time.0 += 3600;
    let last = builder.handle_final_block(&next_epoch).unwrap();
    assert_eq!(last.previous_head, head.struct_hash());
    assert_eq!(last.entries_root, head.entries_root);
}

#[test]
fn a_head_counts_once_and_carries_its_signatures() {
    let registry = registry(&[200, 200, 200]);
    let head = HeadBuilder::default()
        .handle_final_block(&block(1, 1, false))
        .unwrap();
    let mut counter = counter(&registry);
    let mut handle = |idx: usize| take(&mut counter, head, idx);
    assert_eq!(handle(0), Counted::More);
    assert_eq!(handle(0), Counted::Nothing);
    let Counted::Now(counted) = handle(1) else {
        panic!("two of three operators are a majority")
    };
    assert_eq!((counted.head, counted.signatures.len()), (head, 2));
    assert_eq!(handle(2), Counted::Grown);
    assert!(counter.is_counted());
    let signer = key(2).address();
    let signed = counter.signed.remove(&signer).unwrap();
    assert!(!counter.is_counted(), "a signer is in one table alone");
    counter.signed.insert(signer, signed);
    assert_eq!(counter.newest(), Some(&head));
    assert_eq!(counter.newest_signed().unwrap().signatures.len(), 3);
}

#[test]
fn two_heads_of_one_number_are_evidence() {
    let registry = registry(&[200, 200, 200]);
    let head = HeadBuilder::default()
        .handle_final_block(&block(1, 1, false))
        .unwrap();
    let rival = Head {
        entry_count: 7,
        ..head
    };
    let mut counter = counter(&registry);
    for (head, expected) in [
        (head, Counted::More),
        (
            rival,
            Counted::Contradiction {
                signer: key(0).address(),
                block_number: 1,
            },
        ),
    ] {
        assert_eq!(take(&mut counter, head, 0), expected);
    }
}

#[test]
fn a_contradiction_is_told_once() {
    let mut counter = counter(&registry(&[200, 200, 200]));
    let told = (0..10)
        .map(|hash| take(&mut counter, invented(7, hash), 0))
        .filter(|counted| matches!(counted, Counted::Contradiction { .. }))
        .count();
    assert_eq!(told, 1);
}

#[test]
fn a_liar_does_not_keep_honest_heads_from_counting() {
    let mut counter = counter(&registry(&[200, 200, 200]));
    let lies = (1..5000).chain([u64::MAX]);
    for number in lies {
        let signed = SignedHead {
            record: invented(number, 1),
            signature: Signature::default(),
        };
        let hash = signed.record.struct_hash();
        counter.handle_head(&signed, hash, key(0).address());
    }
    assert_eq!(counter.tallies.len(), Limits::DEFAULT.signer_heads_max);
    let head = invented(10_000, 2);
    let mut counted = Vec::new();
    for idx in [1, 2] {
        counted.push(take(&mut counter, head, idx));
    }
    assert!(matches!(counted[1], Counted::Now(_)), "{counted:?}");
}

#[test]
fn a_new_registry_counts_what_was_signed_before() {
    let before = registry(&[200, 200, 200, 200, 200]);
    let mut counter = counter(&before);
    let head = invented(3, 1);
    for idx in [0, 1] {
        take(&mut counter, head, idx);
    }
    assert_eq!(counter.handle_registry(&before), []);
    let heads = counter.handle_registry(&registry(&[200, 200, 200]));
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].head, head);
}

#[test]
fn who_left_the_registry_is_forgotten() {
    let mut counter = counter(&registry(&[200, 200, 200]));
    take(&mut counter, invented(3, 1), 2);
    counter.handle_registry(&registry(&[200, 200]));
    assert!(counter.tallies.is_empty() && counter.signed.is_empty());
}

#[test]
fn only_the_newest_counted_head_keeps_its_signatures() {
    let mut counter = counter(&registry(&[200, 200, 200]));
    for number in [3, 5, 4] {
        for idx in [0, 1] {
            take(&mut counter, invented(number, 1), idx);
        }
    }
    let supported = counter
        .tallies
        .iter()
        .filter(|(_, tallies)| tallies.iter().any(|tally| tally.support.is_some()));
    let supported: Vec<u64> = supported.map(|(number, _)| *number).collect();
    assert_eq!(supported, [5]);
    // Those that count already are known all the same.
    assert_eq!(take(&mut counter, invented(4, 1), 0), Counted::Nothing);
    assert_eq!(take(&mut counter, invented(4, 1), 2), Counted::More);
    assert!(matches!(
        take(&mut counter, invented(3, 2), 0),
        Counted::Contradiction {
            block_number: 3,
            ..
        }
    ));
}

#[test]
fn who_signs_ever_lower_numbers_makes_no_more_tallies() {
    let mut counter = counter(&registry(&[200, 200, 200]));
    // Somebody else's head holds the number.
    take(&mut counter, invented(1, 0), 1);
    for number in 2..2 + Limits::DEFAULT.signer_heads_max as u64 {
        take(&mut counter, invented(number, 1), 0);
    }
    for hash in 1..200 {
        take(&mut counter, invented(1, hash), 0);
    }
    assert_eq!(counter.tallies[&1].len(), 2);
}

fn counter(registry: &Registry) -> HeadCounter {
    let mut counter = HeadCounter::default();
    counter.handle_registry(registry);
    counter
}

fn take(counter: &mut HeadCounter, head: Head, idx: usize) -> Counted {
    let signed = Signed::new(head, &DOMAIN, &key(idx));
    counter.handle_head(&signed, head.struct_hash(), key(idx).address())
}

fn invented(block_number: u64, hash: u8) -> Head {
    Head {
        block_number,
        block_hash: Hash32([hash; 32]),
        previous_head: Hash32::ZERO,
        entries_root: Hash32::ZERO,
        entry_count: 0,
        state_root: Hash32::ZERO,
        registry_root: Hash32::ZERO,
    }
}

#[track_caller]
fn check_majority(stakes: &[u64], signers: &[usize], expected: bool) {
    let signers: Vec<Address> = signers.iter().map(|&idx| key(idx).address()).collect();
    assert_eq!(is_majority(&signers, &registry(stakes)), expected);
}

fn block(number: u64, entry_count: u64, registry_changed: bool) -> FinalBlock {
    FinalBlock {
        block: BlockRef {
            number,
            hash: block_hash(number),
        },
        time: START,
        entries: entries(number, entry_count)
            .iter()
            .map(protocol::entry::Entry::id)
            .collect(),
        registry_changed,
        registry_root: Hash32::ZERO,
    }
}
