use protocol::codec;
use protocol::entry::EntryId;
use protocol::registry::BlockRef;
use protocol::signing::Signed;

use super::*;

mod model;
use crate::heads::{FinalBlock, HeadBuilder};
use crate::message::EntriesAnswer;
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
            after: None,
            peer: None
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
fn true_entries_in_batches_of_a_strangers_cut_are_taken_and_not_forwarded() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    let (head, entries) = chain.block(1, 3);
    let whole = EntryBatch::cut(entries.clone()).remove(0);
    for (index, part) in entries.chunks(2).enumerate() {
        let batch = EntryBatch {
            index: index as u64,
            entries: part.to_vec(),
            ..whole.clone()
        };
        light.handle_batch(&batch.to_bytes(), Token(index as u64), start());
    }
    for idx in 0..3 {
        light.handle_head(&signed(head, idx), Token(10), start());
    }
    assert_eq!(light.entry_count(), 3);
    let batches = std::iter::from_fn(|| light.poll_verdict()).filter(|(token, _)| token.0 < 2);
    let verdicts: Vec<Verdict> = batches.map(|(_, verdict)| verdict).collect();
    assert_eq!(verdicts, [Verdict::Ignore; 2]);
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
            after: None,
            peer: None
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
            after: None,
            peer: None
        })
    );
    let all: Vec<Entry> = first.into_iter().chain(second).collect();

    let mut lie = answer(all.clone(), head);
    lie.entries.swap(0, 1);
    assert_eq!(
        light.handle_answer(key(0).address(), lie, due),
        Err(AnswerError::Root)
    );

    let (due, _) = light.poll_timeout().unwrap();
    light.handle_timeout(due);
    let mut unsigned = answer(all.clone(), head);
    unsigned.signatures.truncate(2);
    assert_eq!(
        light.handle_answer(key(0).address(), unsigned, due),
        Err(AnswerError::NotCounted { block_number: 2 })
    );

    let (due, _) = light.poll_timeout().unwrap();
    light.handle_timeout(due);
    assert_eq!(
        light.handle_answer(key(0).address(), answer(all.clone(), head), due),
        Ok(())
    );
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
        light.handle_answer(
            key(0).address(),
            answer(entries[..2].to_vec(), head),
            start()
        ),
        Ok(())
    );
    assert_eq!(light.entry_count(), 0, "no head covers two entries");
    assert_eq!(
        events(&mut light).last(),
        Some(&Event::Fetch {
            from_count: 2,
            after: Some((1 << 20) + 2),
            peer: Some(key(0).address())
        })
    );
    assert_eq!(
        light.handle_answer(
            key(0).address(),
            answer(entries[2..].to_vec(), head),
            start()
        ),
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
    assert_eq!(
        light.handle_answer(key(0).address(), answer(entries, head), start()),
        Ok(())
    );
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
    assert_eq!(light.held.len(), Limits::DEFAULT.held_max);
    let ignored = std::iter::from_fn(|| light.poll_verdict()).count();
    assert_eq!(ignored, 200 * 6 - Limits::DEFAULT.held_max);
}

#[test]
fn a_forged_batch_beside_the_true_ones_is_not_forwarded() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    let (head, entries) = chain.block(1, 2);
    let mut forged = EntryBatch::cut(entries.clone()).remove(0);
    forged.index = 1;
    light.handle_batch(&forged.to_bytes(), Token(7), start());
    light.handle_batch(&EntryBatch::cut(entries)[0].to_bytes(), Token(8), start());
    count(&mut light, head);
    let verdicts: Vec<_> = std::iter::from_fn(|| light.poll_verdict()).collect();
    assert!(verdicts.contains(&(Token(8), Verdict::Accept)));
    assert!(verdicts.contains(&(Token(7), Verdict::Ignore)));
}

#[test]
fn where_final_blocks_may_be_undone_another_fork_is_no_offence() {
    for (firm, expected) in [(true, Verdict::Reject), (false, Verdict::Ignore)] {
        let mut peer = chain_peer(0);
        peer.config.final_is_firm = firm;
        peer.handle_final_block(1, block_hash(1), START, entries(1, 2), start());
        let mut other = entries(1, 1);
        other[0].position.block_hash = block_hash(99);
        let batch = EntryBatch::cut(other).remove(0).to_bytes();
        peer.handle_batch(&batch, Token(1), start());
        assert_eq!(peer.poll_verdict(), Some((Token(1), expected)));
    }
}

#[test]
fn a_head_of_an_unknown_signer_counts_once_the_registry_names_it() {
    let mut chain = Chain::default();
    let mut light = light_peer();
    light.handle_registry(Arc::new(Registry::default()), start());
    let (head, _) = chain.block(1, 1);
    count(&mut light, head);
    for _ in 0..3 {
        assert_eq!(light.poll_verdict(), Some((Token(0), Verdict::Ignore)));
    }
    light.handle_registry(Arc::new(registry(&STAKES)), start());
    assert!(
        events(&mut light)
            .iter()
            .any(|event| matches!(event, Event::Counted(counted) if counted.head == head))
    );
}

#[test]
fn early_heads_are_bounded() {
    let mut light = light_peer();
    light.handle_registry(Arc::new(Registry::default()), start());
    let (head, _) = Chain::default().block(1, 1);
    for _ in 0..Limits::DEFAULT.early_heads_max + 10 {
        light.handle_head(&signed(head, 0), Token(0), start());
    }
    assert_eq!(light.early_heads.len(), Limits::DEFAULT.early_heads_max);
}

#[test]
fn an_abandoned_fork_is_noticed_by_a_head_that_covers_less() {
    let mut light = light_with(3);
    let mut other = Chain::default();
    let (head, _) = other.block(9, 2);
    count(&mut light, head);
    assert!(events(&mut light).contains(&Event::Diverged { head }));
    assert_eq!(light.poll_timeout(), None, "nothing more is asked for");
}

#[test]
fn an_abandoned_fork_is_noticed_by_a_majority_of_answers_that_do_not_fit() {
    let mut light = light_with(3);
    let mut other = Chain::default();
    other.block(8, 3);
    let (head, entries) = other.block(9, 2);
    for idx in 0..3 {
        fetch(&mut light);
        let told = light.handle_answer(key(idx).address(), answer(entries.clone(), head), later());
        assert_eq!(told, Err(AnswerError::Root));
        let events = events(&mut light);
        let is_diverged = events.contains(&Event::Diverged { head });
        assert_eq!(is_diverged, idx == 2, "{idx}: {events:?}");
        let is_accused = events
            .iter()
            .any(|event| matches!(event, Event::Liar { .. }));
        assert!(!is_accused, "honest peers are no offenders");
    }
}

#[test]
fn who_sent_what_does_not_fit_is_named_once_the_truth_is_known() {
    let mut light = light_peer();
    let mut chain = Chain::default();
    let (head, entries) = chain.block(1, 3);
    let mut lie = entries.clone();
    lie.swap(0, 1);
    for idx in 0..4 {
        fetch(&mut light);
        let told = light.handle_answer(key(idx).address(), answer(lie.clone(), head), later());
        assert_eq!(told, Err(AnswerError::Root));
    }
    assert!(
        !events(&mut light)
            .iter()
            .any(|event| matches!(event, Event::Diverged { .. })),
        "there is nothing to diverge from"
    );
    fetch(&mut light);
    assert_eq!(
        light.handle_answer(key(4).address(), answer(entries, head), later()),
        Ok(())
    );
    let liars = events(&mut light)
        .into_iter()
        .filter(|event| matches!(event, Event::Liar { .. }))
        .count();
    assert_eq!(liars, 4);
    assert_eq!(light.entry_count(), 3);
}

#[test]
fn what_one_peer_begins_another_does_not_finish() {
    let mut light = light_peer();
    let mut chain = Chain::default();
    let (head, entries) = chain.block(1, 4);
    fetch(&mut light);
    let begun = answer(entries[..2].to_vec(), head);
    assert_eq!(
        light.handle_answer(key(0).address(), begun, later()),
        Ok(())
    );
    assert!(matches!(
        events(&mut light).last(),
        Some(Event::Fetch { peer: Some(peer), .. }) if *peer == key(0).address()
    ));
    let rest = answer(entries[2..].to_vec(), head);
    assert_eq!(
        light.handle_answer(key(1).address(), rest, later()),
        Err(AnswerError::Mixed)
    );
    assert_eq!(
        fetch(&mut light),
        Event::Fetch {
            from_count: 0,
            after: None,
            peer: None
        }
    );
}

#[test]
fn whoever_began_is_asked_for_the_rest_for_a_while() {
    let mut light = light_peer();
    let (head, entries) = Chain::default().block(1, 3);
    fetch(&mut light);
    let first = answer(entries[..2].to_vec(), head);
    light
        .handle_answer(key(0).address(), first, start())
        .unwrap();
    let rest = Event::Fetch {
        from_count: 2,
        after: Some(entries[1].position.sequence()),
        peer: Some(key(0).address()),
    };
    assert_eq!(fetch(&mut light), rest);
    // It answers so many requests in ten seconds.
    light.handle_no_answer(start());
    assert_eq!(fetch(&mut light), rest);
    light.handle_no_answer(start() + Duration::from_secs(11));
    assert_eq!(fetch(&mut light), rest);
    let last = answer(entries[2..].to_vec(), head);
    let at = start() + Duration::from_secs(12);
    light.handle_answer(key(0).address(), last, at).unwrap();
    assert_eq!(light.entry_count(), 3);
}

#[test]
fn whoever_is_gone_is_waited_for_no_longer() {
    let mut light = light_peer();
    let (head, entries) = Chain::default().block(1, 3);
    fetch(&mut light);
    let first = answer(entries[..2].to_vec(), head);
    light
        .handle_answer(key(0).address(), first, start())
        .unwrap();
    fetch(&mut light);
    light.handle_no_answer(start());
    fetch(&mut light);
    light.handle_no_answer(start() + Duration::from_secs(20));
    assert_eq!(
        fetch(&mut light),
        Event::Fetch {
            from_count: 0,
            after: None,
            peer: None
        }
    );
}

#[test]
fn heads_of_the_abandoned_fork_are_not_taken_again() {
    let held = HeldEntries {
        head_number_min: 9,
        ..HeldEntries::default()
    };
    let mut light = Spread::new(config(40, false), held, start());
    light.handle_registry(Arc::new(registry(&STAKES)), start());
    let mut old = Chain::default();
    let (head, entries) = old.block(5, 1);
    fetch(&mut light);
    let told = light.handle_answer(key(0).address(), answer(entries.clone(), head), later());
    assert!(matches!(told, Err(AnswerError::Behind { .. })), "{told:?}");
    light.handle_batch(&EntryBatch::cut(entries)[0].to_bytes(), Token(0), start());
    count(&mut light, head);
    assert_eq!(light.entry_count(), 0);
}

#[test]
fn more_entries_than_fit_are_hashed_first_and_taken_in_pieces() {
    let mut chain = Chain::default();
    let template = entries(1, 1).remove(0);
    let mut all = Vec::new();
    let mut head = None;
    for number in 1..=45 {
        let block: Vec<Entry> = (0..1000)
            .map(|idx| {
                let mut entry = template.clone();
                entry.position.block_number = number;
                entry.position.block_hash = block_hash(number);
                entry.position.log_index = idx;
                entry
            })
            .collect();
        head = Some(chain.block_of(number, &block));
        all.extend(block);
    }
    let head = head.unwrap();
    let mut light = light_peer();
    let mut found = Vec::new();
    let mut fetches = 0;
    while light.entry_count() < head.entry_count {
        let Event::Fetch { from_count, .. } = fetch(&mut light) else {
            panic!("a fetch")
        };
        fetches += 1;
        let from = usize::try_from(from_count).unwrap();
        let part = all[from..all.len().min(from + 2048)].to_vec();
        light
            .handle_answer(key(0).address(), answer(part, head), later())
            .unwrap();
        assert!(light.follower_entries() <= Limits::DEFAULT.entries_unverified_max + 2048);
        for event in events_but_fetch(&mut light) {
            if let Event::Entries { entries, .. } = event {
                found.extend(entries);
            }
        }
    }
    assert_eq!(fetches, 2 * 22, "two passes");
    assert!(found == all);
}

#[test]
fn what_was_proven_on_an_abandoned_fork_is_given_up_for_a_majority() {
    let (mut light, ..) = proven();
    let mut new = Chain::default();
    let (_, mut entries) = new.block(3, 5);
    let (head, more) = new.block(4, 4);
    entries.extend(more);
    for idx in 0..3 {
        fetch(&mut light);
        let told = light.handle_answer(key(idx).address(), answer(entries.clone(), head), later());
        assert_eq!(told, Err(AnswerError::Root), "{idx}");
    }
    fetch(&mut light);
    let told = light.handle_answer(key(3).address(), answer(entries, head), later());
    assert_eq!(told, Ok(()));
    assert_eq!(light.entry_count(), 9);
    let accused = |event: &Event| matches!(event, Event::Liar { .. });
    assert!(!events(&mut light).iter().any(accused), "nobody lied");
}

#[test]
fn a_minority_does_not_shake_what_was_proven_and_is_named() {
    let (mut light, head, entries) = proven();
    let mut lie = entries.clone();
    lie.swap(0, 1);
    let liars = [0, 1].map(|idx| key(idx).address());
    for liar in liars {
        fetch(&mut light);
        let told = light.handle_answer(liar, answer(lie.clone(), head), later());
        assert_eq!(told, Err(AnswerError::Root));
    }
    fetch(&mut light);
    let first = answer(entries[..4].to_vec(), head);
    let told = light.handle_answer(key(2).address(), first, later());
    assert_eq!(told, Ok(()));
    assert_eq!(light.entry_count(), 4, "the first piece, as it was proven");
    let accused = events(&mut light)
        .into_iter()
        .filter_map(|event| match event {
            Event::Liar { peer } => Some(peer),
            _ => None,
        });
    assert_eq!(BTreeSet::from_iter(accused), BTreeSet::from(liars));
}

/// A light peer that hashed the entries of two blocks and took none yet, the
/// head that they lead to, and the entries.
fn proven() -> (Spread, Head, Vec<Entry>) {
    let limits = Limits {
        entries_unverified_max: 2,
        mark_entries_min: 2,
        ..Limits::DEFAULT
    };
    let config = Config {
        limits,
        ..config(40, false)
    };
    let mut light = Spread::new(config, HeldEntries::default(), start());
    light.handle_registry(Arc::new(registry(&STAKES)), start());
    let mut chain = Chain::default();
    let (_, mut entries) = chain.block(1, 4);
    let (head, more) = chain.block(2, 4);
    entries.extend(more);
    for part in entries.chunks(4) {
        fetch(&mut light);
        let told = light.handle_answer(key(0).address(), answer(part.to_vec(), head), later());
        assert_eq!(told, Ok(()));
    }
    assert_eq!(light.entry_count(), 0, "nothing is taken yet");
    (light, head, entries)
}

/// A light peer that holds `count` entries of block 1.
fn light_with(count_of_entries: u64) -> Spread {
    let mut light = light_peer();
    let (head, entries) = Chain::default().block(1, count_of_entries);
    fetch(&mut light);
    light
        .handle_answer(key(0).address(), answer(entries, head), start())
        .unwrap();
    events(&mut light);
    light
}

/// Makes a head count.
fn count(light: &mut Spread, head: Head) {
    for idx in 0..3 {
        light.handle_head(&signed(head, idx), Token(0), start());
    }
}

/// Lets time pass until the machine asks for entries.
fn fetch(light: &mut Spread) -> Event {
    light.handle_timeout(light.fetch_due().unwrap_or(start()));
    let mut others = VecDeque::new();
    while let Some(event) = light.poll_event() {
        if matches!(event, Event::Fetch { .. }) {
            others.extend(std::iter::from_fn(|| light.poll_event()));
            light.events = others;
            return event;
        }
        others.push_back(event);
    }
    panic!("no fetch among {others:?}");
}

fn events_but_fetch(light: &mut Spread) -> Vec<Event> {
    let (fetches, others) = events(light)
        .into_iter()
        .partition(|event| matches!(event, Event::Fetch { .. }));
    light.events = VecDeque::from_iter::<Vec<_>>(fetches);
    others
}

/// Later than any pause of the machine.
fn later() -> Moment {
    start() + Duration::from_secs(3600)
}

#[derive(Default)]
struct Chain {
    builder: HeadBuilder,
}

impl Chain {
    fn block(&mut self, number: u64, count: u64) -> (Head, Vec<Entry>) {
        let entries = entries(number, count);
        (self.block_of(number, &entries), entries)
    }

    fn block_of(&mut self, number: u64, entries: &[Entry]) -> Head {
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
        self.builder.handle_final_block(&block).unwrap()
    }
}

const STAKES: [u64; 5] = [200; 5];

fn config(idx: usize, follows_chain: bool) -> Config {
    Config {
        follows_chain,
        ..Config::new(key(idx).address(), DOMAIN)
    }
}

fn spread(idx: usize, follows_chain: bool) -> Spread {
    let config = config(idx, follows_chain);
    let mut spread = Spread::new(config, HeldEntries::default(), start());
    spread.handle_registry(Arc::new(registry(&STAKES)), start());
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
