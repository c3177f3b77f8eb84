use protocol::codec;
use protocol::entry::EntryId;
use protocol::registry::BlockRef;
use protocol::signing::Signed;

use super::*;
use crate::heads::{FinalBlock, HeadBuilder};
use crate::testing::{DOMAIN, START, block_hash, entries, key, registry};

#[test]
fn the_first_in_rank_publishes_and_the_others_stay_silent() {
    let mut peers: Vec<Spread> = (0..5).map(chain_peer).collect();
    let entries = entries(1, 3);
    for peer in &mut peers {
        peer.handle_final_block(1, block_hash(1), START, entries.clone(), start());
    }
    let placement = Placement::new(&registry(&STAKES));
    let first = placement.rank(Purpose::Entries, &block_hash(1).0)[0];
    let mut published = Vec::new();
    for peer in &mut peers {
        peer.handle_timeout(start());
        while let Some(transmit) = peer.poll_transmit() {
            published.push((peer.config.peer, transmit.data));
        }
    }
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].0, first);
    for peer in &mut peers {
        peer.handle_batch(&published[0].1, Token(1), start());
        assert_eq!(peer.poll_verdict(), Some((Token(1), Verdict::Accept)));
        peer.handle_timeout(start() + Duration::from_secs(9));
        assert_eq!(peer.poll_transmit(), None, "the batch has been seen");
    }
}

#[test]
fn when_the_first_is_away_the_next_publishes() {
    let rank = Placement::new(&registry(&STAKES)).rank(Purpose::Entries, &block_hash(1).0);
    let idx = (0..5).find(|&idx| key(idx).address() == rank[1]).unwrap();
    let mut second = chain_peer(idx);
    second.handle_final_block(1, block_hash(1), START, entries(1, 1), start());
    assert_eq!(
        second.poll_timeout(),
        Some((start() + Duration::from_millis(150), "publish entry batch"))
    );
    second.handle_timeout(start() + Duration::from_millis(150));
    assert!(second.poll_transmit().is_some());
}

#[test]
fn old_blocks_are_not_published() {
    let mut peer = chain_peer(0);
    let now = start() + Duration::from_secs(301);
    peer.handle_final_block(1, block_hash(1), START, entries(1, 1), now);
    assert_eq!(peer.poll_timeout(), None);
}

#[test]
fn a_forged_batch_is_rejected_by_those_who_know_the_block() {
    let mut peer = chain_peer(0);
    let honest = EntryBatch::cut(entries(1, 2)).remove(0).to_bytes();
    let forged = EntryBatch::cut(entries(1, 1)).remove(0).to_bytes();
    peer.handle_batch(&honest, Token(1), start());
    peer.handle_batch(b"garbage", Token(2), start());
    assert_eq!(peer.poll_verdict(), Some((Token(2), Verdict::Reject)));
    assert_eq!(peer.poll_verdict(), None, "the block is not final here");
    peer.handle_final_block(1, block_hash(1), START, entries(1, 2), start());
    assert_eq!(peer.poll_verdict(), Some((Token(1), Verdict::Accept)));
    peer.handle_batch(&forged, Token(3), start());
    assert_eq!(peer.poll_verdict(), Some((Token(3), Verdict::Reject)));
}

#[test]
fn without_a_chain_entries_wait_for_a_majority() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    light.handle_timeout(start());
    assert_eq!(
        events(&mut light),
        [Event::Fetch {
            from_count: 0,
            after: None
        }]
    );
    let (head, entries) = chain.block(1, 70);
    for (idx, batch) in EntryBatch::cut(entries.clone()).iter().enumerate() {
        light.handle_batch(&batch.to_bytes(), Token(idx as u64), start());
    }
    for idx in 0..3 {
        assert_eq!(events(&mut light), Vec::new(), "{idx} of five operators");
        light.handle_head(&signed(head, idx), Token(10), start());
    }
    let events = events(&mut light);
    assert!(matches!(&events[0], Event::Counted(counted) if counted.head == head));
    assert!(matches!(&events[1], Event::Entries { entries: found, .. } if *found == entries));
    let accepted = std::iter::from_fn(|| light.poll_verdict())
        .filter(|(_, verdict)| *verdict == Verdict::Accept)
        .count();
    assert_eq!(accepted, 2 + 3, "two batches and three heads");
    assert_eq!(light.entry_count(), 70);
}

#[test]
fn a_gap_is_fetched_and_checked() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    light.handle_timeout(start());
    assert_eq!(
        light.poll_event(),
        Some(Event::Fetch {
            from_count: 0,
            after: None
        })
    );
    light.handle_no_answer(start());
    let (_, first) = chain.block(1, 3);
    let (head, second) = chain.block(2, 2);
    for idx in 0..3 {
        light.handle_head(&signed(head, idx), Token(0), start());
    }
    let (due, _) = light.poll_timeout().unwrap();
    light.handle_timeout(due);
    assert_eq!(
        events(&mut light).last(),
        Some(&Event::Fetch {
            from_count: 0,
            after: None
        })
    );
    let all: Vec<Entry> = first.into_iter().chain(second).collect();

    let mut lie = answer(all.clone(), head);
    lie.entries.swap(0, 1);
    assert_eq!(light.handle_answer(lie, due), Err(AnswerError::Root));

    let (due, _) = light.poll_timeout().unwrap();
    light.handle_timeout(due);
    let mut unsigned = answer(all.clone(), head);
    unsigned.signatures.truncate(2);
    assert_eq!(
        light.handle_answer(unsigned, due),
        Err(AnswerError::NotCounted { block_number: 2 })
    );

    let (due, _) = light.poll_timeout().unwrap();
    light.handle_timeout(due);
    assert_eq!(light.handle_answer(answer(all.clone(), head), due), Ok(()));
    assert_eq!(light.entry_count(), 5);
    assert!(
        events(&mut light)
            .iter()
            .any(|event| matches!(event, Event::Entries { entries, .. } if *entries == all))
    );
}

#[test]
fn a_long_answer_comes_in_parts() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    light.handle_timeout(start());
    let (head, entries) = chain.block(1, 5);
    assert_eq!(
        light.handle_answer(answer(entries[..2].to_vec(), head), start()),
        Ok(())
    );
    assert_eq!(light.entry_count(), 0, "no head covers two entries");
    assert_eq!(
        events(&mut light).last(),
        Some(&Event::Fetch {
            from_count: 2,
            after: Some((1 << 20) + 2)
        })
    );
    assert_eq!(
        light.handle_answer(answer(entries[2..].to_vec(), head), start()),
        Ok(())
    );
    assert_eq!(light.entry_count(), 5);
}

#[test]
fn an_answer_that_gossip_overtook_is_no_offence() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    light.handle_timeout(start());
    let (head, entries) = chain.block(1, 1);
    light.handle_batch(
        &EntryBatch::cut(entries.clone())[0].to_bytes(),
        Token(0),
        start(),
    );
    for idx in 0..3 {
        light.handle_head(&signed(head, idx), Token(1), start());
    }
    assert_eq!(light.entry_count(), 1);
    assert_eq!(light.handle_answer(answer(entries, head), start()), Ok(()));
    assert_eq!(light.entry_count(), 1);
}

#[test]
fn held_batches_are_bounded() {
    let mut light = light_peer();
    for number in 1..=200 {
        for count in 1..=6 {
            let mut batch = EntryBatch::cut(entries(number, 1)).remove(0);
            batch.index = count;
            light.handle_batch(&batch.to_bytes(), Token(number * 10 + count), start());
        }
    }
    assert_eq!(light.held.len(), HELD_MAX);
    let ignored = std::iter::from_fn(|| light.poll_verdict()).count();
    assert_eq!(ignored, 200 * 6 - HELD_MAX);
}

#[derive(Default)]
struct Chain {
    builder: HeadBuilder,
}

impl Chain {
    fn block(&mut self, number: u64, count: u64) -> (Head, Vec<Entry>) {
        let entries = entries(number, count);
        let block = FinalBlock {
            block: BlockRef {
                number,
                hash: block_hash(number),
            },
            time: START,
            entries: entries.iter().map(Entry::id).collect::<Vec<EntryId>>(),
            registry_changed: false,
            registry_root: Hash32::ZERO,
        };
        let head = self.builder.handle_final_block(&block).unwrap();
        (head, entries)
    }
}

const STAKES: [u64; 5] = [200; 5];

fn spread(idx: usize, follows_chain: bool) -> Spread {
    let config = Config {
        peer: key(idx).address(),
        domain: DOMAIN,
        follows_chain,
        rank_delay: Duration::from_millis(150),
        gap_patience: Duration::from_secs(2),
    };
    let mut spread = Spread::new(config, HeldEntries::default(), start());
    spread.handle_registry(Arc::new(registry(&STAKES)));
    spread
}

fn chain_peer(idx: usize) -> Spread {
    spread(idx, true)
}

fn light_peer() -> Spread {
    spread(40, false)
}

fn signed(head: Head, idx: usize) -> Vec<u8> {
    codec::to_bytes(&Signed::new(head, &DOMAIN, &key(idx)))
}

fn answer(entries: Vec<Entry>, head: Head) -> EntriesAnswer {
    EntriesAnswer {
        entries,
        head,
        signatures: (0..3)
            .map(|idx| Signed::new(head, &DOMAIN, &key(idx)).signature)
            .collect(),
    }
}

fn events(spread: &mut Spread) -> Vec<Event> {
    std::iter::from_fn(|| spread.poll_event()).collect()
}

fn start() -> Moment {
    Moment::from_unix(START)
}
