use super::*;
use crate::action::{Action, ActionDomain};
use crate::id::{Address, EntityId, UserId};
use crate::signing::SigningKey;

#[test]
fn a_batch_survives_the_wire() {
    for batch in EntryBatch::cut(block(3, 10)) {
        assert_eq!(EntryBatch::from_bytes(&batch.to_bytes()), Ok(batch));
    }
}

#[test]
fn batches_close_before_the_entry_that_would_exceed_them() {
    check_cut(1, 0, &[1]);
    check_cut(64, 0, &[64]);
    check_cut(65, 0, &[64, 1]);
    // 14 KiB of metadata: two fit into 32 KiB, three do not.
    check_cut(5, 14 * 1024, &[2, 2, 1]);
}

#[test]
fn entries_of_another_block_are_refused() {
    let mut batch = EntryBatch::cut(block(3, 0)).remove(0);
    batch.entries[1].position.block_number += 1;
    assert_eq!(
        EntryBatch::from_bytes(&batch.to_bytes()),
        Err(BatchError::Foreign { idx: 1 })
    );
}

#[test]
fn repeated_log_indexes_are_refused() {
    let mut batch = EntryBatch::cut(block(3, 0)).remove(0);
    batch.entries[2].position.log_index = batch.entries[1].position.log_index;
    assert_eq!(
        EntryBatch::from_bytes(&batch.to_bytes()),
        Err(BatchError::Order { idx: 2 })
    );
}

#[test]
fn sequence_orders_by_block_then_log() {
    let entries = block(2, 0);
    assert!(entries[0].position.sequence() < entries[1].position.sequence());
    assert_eq!(entries[1].position.sequence(), (7 << 20) + 2);
}

#[track_caller]
fn check_cut(count: u64, metadata_bytes: usize, expected: &[usize]) {
    let batches = EntryBatch::cut(block(count, metadata_bytes));
    let found: Vec<usize> = batches.iter().map(|batch| batch.entries.len()).collect();
    assert_eq!(found, expected);
    for (idx, batch) in batches.iter().enumerate() {
        assert_eq!(batch.index, idx as u64);
        assert!(batch.to_bytes().len() <= BATCH_BYTES_MAX);
    }
}

fn block(count: u64, metadata_bytes: usize) -> Vec<Entry> {
    let domain = ActionDomain {
        chain_id: 1337,
        entity_manager: Address([8; 20]),
    };
    let key = SigningKey::from_bytes(&[1; 32]).unwrap();
    (0..count)
        .map(|number| Entry {
            action: Action {
                user_id: UserId(1),
                entity_type: "Track".to_owned(),
                entity_id: EntityId(number),
                action: "Save".to_owned(),
                metadata: "m".repeat(metadata_bytes),
                nonce: Hash32::ZERO,
            }
            .sign(&domain, &key),
            position: Position {
                chain_id: 1337,
                block_number: 7,
                block_hash: Hash32([7; 32]),
                block_time: UnixSeconds(1_700_000_000),
                tx_hash: Hash32([6; 32]),
                log_index: number * 2,
            },
        })
        .collect()
}

#[test]
fn a_sequence_keeps_block_and_log_apart() {
    let at = |block_number, log_index| Position {
        block_number,
        log_index,
        ..block(1, 0)[0].position
    };
    for (block, log) in [
        (0, 0),
        (7, LOG_INDEX_MAX),
        (BLOCK_NUMBER_MAX, LOG_INDEX_MAX),
    ] {
        let sequence = at(block, log).sequence();
        assert!(at(block, log).has_sequence());
        assert_eq!(block_of(sequence), block);
        assert!(sequences_of(block..=block).contains(&sequence));
        assert!(!sequences_of(block + 1..=u64::MAX).contains(&sequence));
    }
    assert!(!at(BLOCK_NUMBER_MAX + 1, 0).has_sequence());
    assert!(!at(0, LOG_INDEX_MAX + 1).has_sequence());
    assert_eq!(sequences_of(0..=u64::MAX), 0..=u64::MAX);
    assert!(sequences_of(BLOCK_NUMBER_MAX + 1..=u64::MAX).is_empty());
}
