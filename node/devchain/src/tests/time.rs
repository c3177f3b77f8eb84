//! Many blocks at once, and a clock that is told what to show.

use std::time::Instant;

use super::*;

/// Blocks of a week on a chain of 13-second blocks.
const WEEK_BLOCKS: u64 = 46_523;

/// One after the other in a test build takes seconds each.
fn weeks_count() -> u64 {
    match std::env::var("COLIVING_TESTS").as_deref() {
        Ok("long") => 20,
        Ok("all") => 5,
        _ => 1,
    }
}

fn timestamps(fixture: &Fixture) -> Vec<u64> {
    let view = fixture.chain.view();
    (0..=view.height())
        .map(|number| view.block(number).unwrap().header.timestamp - start().unix().0)
        .collect()
}

#[test]
#[allow(clippy::print_stderr, reason = "the figures of a run, when asked for")]
fn weeks_of_blocks_come_at_once_and_come_back() {
    let folder = TempDir::new().unwrap();
    let mut fixture = Fixture::new(Mining::Instant);
    fixture.chain = Chain::new(&config(Mining::Instant), fixture.now);
    let (mut journal, _, _) = Journal::open(folder.path()).unwrap();
    journal.append(&fixture.chain.take_ops()).unwrap();
    let contract = fixture.deploy();
    fixture.store(contract, 5);
    journal.append(&fixture.chain.take_ops()).unwrap();
    let began = Instant::now();
    for week_idx in 1..=weeks_count() {
        let week = Command::Mine {
            count: WEEK_BLOCKS,
            timestamp: None,
            interval: Some(13),
        };
        fixture.command(week).unwrap();
        fixture.store(contract, 5 + week_idx);
        journal.append(&fixture.chain.take_ops()).unwrap();
    }
    drop(journal);
    let mined = began.elapsed();
    // A run of empty blocks takes one line, however long it is.
    let size_bytes = fs::metadata(folder.path().join("chain.journal"))
        .unwrap()
        .len();
    assert!(size_bytes < 4_096, "the journal has {size_bytes} bytes");

    let check = |view: &View| {
        assert_eq!(view.height(), 2 + weeks_count() * (WEEK_BLOCKS + 1));
        let elapsed = view.tip().header.timestamp - start().unix().0;
        assert_eq!(elapsed, weeks_count() * WEEK_BLOCKS * 13);
        let word = |number| {
            let call = call(contract, Vec::new());
            let result = view.call(At::Number(number), call, start()).unwrap();
            U256::from_be_slice(&result.output().unwrap()[..]).to::<u64>()
        };
        assert_eq!(word(2), 5);
        assert_eq!(word(2 + WEEK_BLOCKS), 5);
        assert_eq!(word(3 + WEEK_BLOCKS), 6);
        assert_eq!(word(view.height() - 1), 4 + weeks_count());
        assert_eq!(word(view.height()), 5 + weeks_count());
        let middle = view.block(40_000).unwrap();
        assert_eq!(
            view.block_by_hash(middle.hash).unwrap().header.number,
            40_000
        );
        assert_eq!(middle.header.parent_hash, view.block(39_999).unwrap().hash);
    };
    check(fixture.chain.view());
    let began = Instant::now();
    let (_, ops, _) = Journal::open(folder.path()).unwrap();
    let chain = Chain::replay(&config(Mining::Instant), ops, start()).unwrap();
    let replayed = began.elapsed();
    let height = chain.view().height();
    eprintln!(
        "{height} blocks: mined in {mined:?}, journal of {size_bytes} bytes, replayed in {replayed:?}"
    );
    check(chain.view());
    assert_eq!(chain.view().tip().hash, fixture.chain.view().tip().hash);
    assert_eq!(
        chain.view().next_header(start()),
        fixture.chain.view().next_header(start())
    );
}

#[test]
fn blocks_are_mined_apart_from_each_other_and_the_clock_goes_on_from_there() {
    let mut fixture = Fixture::new(Mining::Manual);
    let spaced = Command::Mine {
        count: 3,
        timestamp: None,
        interval: Some(13),
    };
    fixture.command(spaced).unwrap();
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(timestamps(&fixture), [0, 0, 13, 26, 39]);
    let at = Command::Mine {
        count: 2,
        timestamp: Some(start().unix().0 + 100),
        interval: None,
    };
    fixture.command(at).unwrap();
    fixture.now = fixture.now + Duration::from_secs(7);
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(timestamps(&fixture)[5..], [100, 100, 107]);
}

#[test]
fn a_timestamp_moves_the_clock_and_may_lie_behind_it() {
    let mut fixture = Fixture::new(Mining::Manual);
    fixture.now = fixture.now + Duration::from_secs(1_000);
    let next = Command::SetTimestampNext {
        timestamp: start().unix().0 + 10,
    };
    fixture.command(next).unwrap();
    fixture.command(Command::mine(1)).unwrap();
    fixture.now = fixture.now + Duration::from_secs(5);
    fixture.command(Command::mine(1)).unwrap();
    let set = Command::SetTime {
        timestamp: start().unix().0 + 500,
    };
    fixture.command(set).unwrap();
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(timestamps(&fixture), [0, 10, 15, 500]);
    for far in [u64::MAX, 253_402_300_800] {
        let next = Command::SetTimestampNext { timestamp: far };
        let error = fixture.command(next).unwrap_err().to_string();
        assert!(error.contains("after the year 9999"), "{error}");
        let increase = Command::IncreaseTime { seconds: far };
        assert!(fixture.command(increase).is_err());
    }
}

#[test]
fn an_interval_of_timestamps_ignores_the_clock() {
    let mut fixture = Fixture::new(Mining::Manual);
    let set = |interval| Command::SetTimestampInterval { interval };
    fixture.command(set(Some(12))).unwrap();
    fixture.command(Command::mine(2)).unwrap();
    fixture.command(set(None)).unwrap();
    fixture.command(Command::mine(1)).unwrap();
    assert_eq!(timestamps(&fixture), [0, 12, 24, 24]);
}

#[test]
fn too_many_blocks_are_refused_with_the_limit() {
    let mut fixture = Fixture::new(Mining::Manual);
    let error = fixture.command(Command::mine(1_000_001)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot mine 1000001 blocks at once, at most 1000000 are allowed"
    );
    let run = Op::Run {
        count: u64::MAX,
        first: 0,
        interval: 0,
        hash: B256::ZERO,
    };
    let genesis = Op::Genesis {
        chain_id: CHAIN_ID,
        timestamp: 0,
        funded: Vec::new(),
    };
    let endless = Chain::replay(&config(Mining::Manual), [genesis, run], start());
    assert!(matches!(endless, Err(ReplayError::Failed { .. })));
}

#[test]
fn a_long_run_is_taken_back_and_mined_again() {
    let mut fixture = Fixture::new(Mining::Instant);
    let contract = fixture.deploy();
    fixture.store(contract, 5);
    fixture.command(Command::mine(10_000)).unwrap();
    let before = fixture.hashes();
    let reorg = Command::Reorg {
        depth: 10_001,
        keep: true,
    };
    fixture.command(reorg).unwrap();
    let after = fixture.hashes();
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[..2], before[..2]);
    assert!((2..before.len()).all(|number| after[number] != before[number]));
    assert_eq!(fixture.word(contract, At::Number(2)).unwrap(), 0);
    assert_eq!(fixture.word(contract, At::Number(3)).unwrap(), 5);
}

#[test]
fn what_waits_behind_a_gap_waits_through_a_long_run() {
    let mut fixture = Fixture::new(Mining::Manual);
    fixture.nonce = 1;
    let hash = fixture.send(transfer(0));
    fixture.command(Command::mine(1_000)).unwrap();
    assert!(fixture.chain.view().pooled(hash).is_some());
    fixture.nonce = 0;
    fixture.send(transfer(0));
    fixture.command(Command::mine(2)).unwrap();
    let (block, idx, _) = fixture.chain.view().included(hash).unwrap();
    assert_eq!((block.header.number, idx), (1_001, 1));
}
