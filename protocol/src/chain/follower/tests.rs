use super::*;
use crate::time::UnixSeconds;

mod replay;

/// A chain that forks when told to.
#[derive(Debug, Clone, Default)]
struct Model {
    blocks: Vec<BlockHeader>,
    salt: u64,
    /// Every so many blocks has two logs; 3 when zero.
    logs_every: u64,
    /// Seconds between two blocks; 2 when zero.
    pace: u64,
}

impl Model {
    fn with_blocks(count: u64) -> Self {
        let mut model = Self::default();
        model.mine(count);
        model
    }

    fn mine(&mut self, count: u64) {
        for _ in 0..count {
            let number = self.blocks.len() as u64;
            let mut hash = Hash32::ZERO;
            hash.0[..8].copy_from_slice(&number.to_be_bytes());
            hash.0[8..16].copy_from_slice(&self.salt.to_be_bytes());
            hash.0[31] = 1;
            self.blocks.push(BlockHeader {
                number,
                hash,
                parent: self.blocks.last().map_or(Hash32::ZERO, |block| block.hash),
                time: UnixSeconds(number * self.pace.max(2)),
                base_fee: None,
            });
        }
    }

    /// Drops `depth` blocks and mines `count` others.
    fn fork(&mut self, depth: u64, count: u64) {
        self.salt += 1;
        let kept = (self.blocks.len() as u64).saturating_sub(depth).max(1);
        self.blocks.truncate(usize::try_from(kept).unwrap());
        self.mine(count);
    }

    fn has_logs(&self, number: u64) -> bool {
        let every = if self.logs_every == 0 {
            3
        } else {
            self.logs_every
        };
        number.is_multiple_of(every)
    }

    fn head(&self) -> BlockRef {
        self.blocks.last().unwrap().block()
    }

    fn logs(&self, number: u64) -> Vec<Log> {
        let header = self.blocks[usize::try_from(number).unwrap()];
        let count = if self.has_logs(number) { 2 } else { 0 };
        (0..count)
            .map(|log_index| Log {
                address: crate::id::Address::ZERO,
                topics: vec![],
                data: vec![],
                block_number: number,
                block_hash: header.hash,
                tx_hash: header.hash,
                log_index,
            })
            .collect()
    }

    fn headers(&self, numbers: &[u64]) -> Vec<BlockHeader> {
        numbers
            .iter()
            .filter_map(|number| self.blocks.get(usize::try_from(*number).unwrap()))
            .copied()
            .collect()
    }

    fn answer(&self, follower: &mut Follower, request: Request, now: Moment) {
        match request {
            Request::Blocks { id, from, to } => {
                let last = self.head().number;
                if to > last {
                    follower.handle_blocks(id, vec![], vec![], now);
                    return;
                }
                let range = usize::try_from(from).unwrap()..=usize::try_from(to).unwrap();
                let logs = (from..=to).flat_map(|number| self.logs(number)).collect();
                follower.handle_blocks(id, self.blocks[range].to_vec(), logs, now);
            }
            Request::Span { id, from, to } => {
                let last = self.head().number;
                if to > last {
                    follower.handle_span(id, vec![], vec![], now);
                    return;
                }
                let logs: Vec<Log> = (from..=to).flat_map(|number| self.logs(number)).collect();
                let mut numbers: Vec<u64> = logs.iter().map(|log| log.block_number).collect();
                numbers.extend([from, to]);
                numbers.sort_unstable();
                numbers.dedup();
                follower.handle_span(id, self.headers(&numbers), logs, now);
            }
            Request::Headers { id, numbers } => {
                follower.handle_headers(id, self.headers(&numbers), now);
            }
            Request::Header { id, number } => {
                let header = self.blocks.get(usize::try_from(number).unwrap());
                follower.handle_header(id, header.copied(), now);
            }
        }
    }
}

/// What a subscriber makes of the events.
#[derive(Debug, Default)]
struct Replica {
    blocks: BTreeMap<u64, Hash32>,
    finals: Vec<u64>,
    rollbacks: usize,
    logs: usize,
    /// Blocks may be passed over.
    is_sparse: bool,
    too_deep: Option<TooDeep>,
}

impl Replica {
    fn drain(&mut self, follower: &mut Follower) {
        while let Some(event) = follower.poll_event() {
            match event {
                Event::Block { header, logs } => {
                    if let Some((last, hash)) = self.blocks.last_key_value() {
                        assert!(*last < header.number);
                        let is_next = *last + 1 == header.number;
                        assert!(self.is_sparse || is_next);
                        assert!(!is_next || *hash == header.parent);
                    }
                    assert!(logs.len() == 2 || logs.is_empty());
                    self.logs += logs.len();
                    self.blocks.insert(header.number, header.hash);
                }
                Event::Rollback { to } => {
                    assert_eq!(self.blocks.get(&to.number), Some(&to.hash));
                    self.blocks.split_off(&(to.number + 1));
                    self.finals.retain(|number| *number <= to.number);
                    self.rollbacks += 1;
                }
                Event::Final { block } => {
                    assert_eq!(self.blocks.get(&block.number), Some(&block.hash));
                    self.finals.push(block.number);
                }
                Event::TooDeep(error) => self.too_deep = Some(error),
            }
        }
    }
}

fn too_deep(oldest: u64) -> TooDeep {
    TooDeep {
        undo_blocks_max: REORG_BLOCKS_MAX,
        oldest,
    }
}

fn follower(start: Cursor, confirmations: u64) -> Follower {
    Follower::new(FollowerConfig {
        undo_blocks_max: REORG_BLOCKS_MAX,
        start,
        confirmations,
        range_blocks_max: 128,
        span_blocks_max: 0,
        epochs: false,
    })
}

/// A follower that passes over empty blocks far below the head.
fn sparse(confirmations: u64) -> Follower {
    Follower::new(FollowerConfig {
        undo_blocks_max: REORG_BLOCKS_MAX,
        start: Cursor::at(0),
        confirmations,
        range_blocks_max: 128,
        span_blocks_max: 10_000,
        epochs: true,
    })
}

/// What every follower must have reported, whatever it passed over: blocks with
/// logs, first blocks of epochs, and all near the head.
fn assert_covers(replica: &Replica, model: &Model) {
    let head = model.head().number;
    let mut epoch = None;
    for block in &model.blocks {
        let is_first = epoch.replace(block.time.epoch()) != Some(block.time.epoch());
        let is_near = block.number + REORG_BLOCKS_MAX > head;
        if model.has_logs(block.number) || is_first || is_near {
            assert_eq!(replica.blocks.get(&block.number), Some(&block.hash));
        }
    }
    for (number, hash) in &replica.blocks {
        assert_eq!(model.blocks[usize::try_from(*number).unwrap()].hash, *hash);
    }
}

/// Lets the follower do all it can on an unchanging chain; returns the requests.
fn settle(follower: &mut Follower, model: &Model, replica: &mut Replica) -> usize {
    let mut now = Moment::ZERO;
    let mut requests = 0;
    follower.handle_head(model.head());
    loop {
        replica.drain(follower);
        if let Some(request) = follower.poll_request() {
            requests += 1;
            model.answer(follower, request, now);
        } else if let Some((at, _)) = follower.poll_timeout() {
            now = at;
            follower.handle_timeout(now);
        } else if follower.is_drained() {
            return requests;
        }
    }
}

fn assert_same(replica: &Replica, model: &Model, confirmations: u64) {
    let expected: BTreeMap<u64, Hash32> = model
        .blocks
        .iter()
        .map(|block| (block.number, block.hash))
        .collect();
    assert_eq!(replica.blocks, expected);
    let finals: Vec<u64> = (0..=model.head().number.saturating_sub(confirmations)).collect();
    assert_eq!(replica.finals, finals);
}

#[test]
fn a_long_chain_is_read_in_ranges_and_its_end_block_by_block() {
    let model = Model::with_blocks(2_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    let requests = settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
    assert!((64..100).contains(&requests), "{requests} requests");
}

#[test]
fn blocks_become_final_with_their_confirmations() {
    let mut model = Model::with_blocks(10);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 3), Replica::default());
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 3);
    model.mine(1);
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 3);
    assert_eq!(follower.final_block().unwrap().number, 7);
}

#[test]
fn random_reorganisations_end_at_the_chain_as_it_is() {
    let mut random = 7_u64;
    let mut draw = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for confirmations in [0, 2, 12] {
        let mut model = Model::with_blocks(40);
        let (mut follower, mut replica) =
            (follower(Cursor::at(0), confirmations), Replica::default());
        let mut now = Moment::ZERO;
        for _ in 0..3_000 {
            match draw(16) {
                0 => model.mine(draw(5)),
                1 => model.fork(draw(9), draw(12)),
                2 => follower.handle_head(model.head()),
                _ => {
                    replica.drain(&mut follower);
                    now = follower.poll_timeout().map_or(now, |(at, _)| at);
                    follower.handle_timeout(now);
                    if let Some(request) = follower.poll_request() {
                        // The chain may move while the request is under way.
                        if draw(9) == 0 {
                            model.fork(draw(9), draw(12));
                        }
                        model.answer(&mut follower, request, now);
                    }
                }
            }
        }
        model.mine(confirmations + 1);
        settle(&mut follower, &model, &mut replica);
        // A chain that got shorter is noticed with its next block.
        while follower.tip() != Some(model.head()) {
            model.mine(1);
            settle(&mut follower, &model, &mut replica);
        }
        assert_same(&replica, &model, confirmations);
        assert!(replica.rollbacks > 0);
    }
}

#[test]
fn a_fork_of_the_same_length_is_noticed_by_the_hash_of_the_head() {
    let mut model = Model::with_blocks(100);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(3, 3);
    let requests = settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
    assert_eq!(replica.rollbacks, 1);
    assert!(requests <= 3 + 8, "{requests} requests");
}

#[test]
fn an_endpoint_that_lags_undoes_nothing() {
    let model = Model::with_blocks(100);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    let lagging = Model::with_blocks(90);
    assert_eq!(settle(&mut follower, &lagging, &mut replica), 0);
    assert_same(&replica, &model, 0);
}

#[test]
fn a_fork_below_everything_remembered_ends_in_an_error() {
    let mut model = Model::with_blocks(1_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(600, 700);
    settle(&mut follower, &model, &mut replica);
    assert_eq!(replica.too_deep, Some(too_deep(487)));
    assert_eq!(follower.poll_request(), None);
}

#[test]
fn the_deepest_fork_that_is_remembered_is_undone() {
    let mut model = Model::with_blocks(1_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(REORG_BLOCKS_MAX, REORG_BLOCKS_MAX + 10);
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
}

#[test]
fn a_cursor_of_another_fork_rolls_back_or_says_that_it_cannot() {
    let mut model = Model::with_blocks(50);
    let recent: Vec<BlockRef> = model.blocks.iter().map(BlockHeader::block).collect();
    model.fork(5, 9);

    let mut replica = Replica {
        blocks: recent
            .iter()
            .map(|block| (block.number, block.hash))
            .collect(),
        ..Replica::default()
    };
    let mut resumed = follower(Cursor::after_recent(recent.iter().copied()), 0);
    settle(&mut resumed, &model, &mut replica);
    assert_eq!(replica.rollbacks, 1);
    assert_eq!(replica.blocks.len(), model.blocks.len());

    let mut replica = Replica::default();
    let mut resumed = follower(Cursor::after(*recent.last().unwrap()), 0);
    settle(&mut resumed, &model, &mut replica);
    assert_eq!(replica.too_deep, Some(too_deep(49)));
}

#[test]
fn failures_wait_longer_each_time_and_make_ranges_smaller() {
    let model = Model::with_blocks(2_000);
    let mut follower = follower(Cursor::at(0), 0);
    follower.handle_head(model.head());
    let mut now = Moment::ZERO;
    let mut last_wait = Duration::ZERO;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let Some(Request::Blocks { id, from, to }) = follower.poll_request() else {
            panic!("blocks are asked for");
        };
        sizes.push(to - from + 1);
        follower.handle_failure(id, now);
        assert_eq!(follower.poll_request(), None);
        let (at, _) = follower.poll_timeout().unwrap();
        assert!(at - now > last_wait);
        last_wait = at - now;
        now = at;
        follower.handle_timeout(now);
    }
    assert_eq!(sizes, [16, 8, 4, 2, 1, 1]);
}

#[test]
fn answers_that_do_not_hold_together_change_nothing() {
    let model = Model::with_blocks(500);
    let other = {
        let mut other = model.clone();
        other.fork(495, 495);
        other
    };
    let cases: Vec<(Vec<BlockHeader>, Vec<Log>)> = vec![
        (vec![], vec![]),
        (model.blocks[..15].to_vec(), vec![]),
        (model.blocks[1..17].to_vec(), vec![]),
        (
            [&model.blocks[..8], &other.blocks[8..16]].concat(),
            model.logs(3),
        ),
        (model.blocks[..16].to_vec(), other.logs(6)),
        (model.blocks[..16].to_vec(), model.logs(18)),
        (
            model.blocks[..16].to_vec(),
            [model.logs(3), model.logs(3)].concat(),
        ),
    ];
    for (idx, (headers, logs)) in cases.into_iter().enumerate() {
        let mut follower = follower(Cursor::at(0), 0);
        follower.handle_head(model.head());
        let request = follower.poll_request().unwrap();
        follower.handle_blocks(request.id(), headers, logs, Moment::ZERO);
        assert_eq!(follower.poll_event(), None, "case {idx}");
        assert!(follower.poll_timeout().is_some(), "case {idx}");
    }
}

#[test]
fn weeks_of_empty_blocks_take_few_requests_and_miss_nothing() {
    let mut model = Model {
        logs_every: 5_000,
        pace: 13,
        ..Model::default()
    };
    model.mine(46_523);
    let mut replica = Replica {
        is_sparse: true,
        ..Replica::default()
    };
    let mut follower = sparse(0);
    let requests = settle(&mut follower, &model, &mut replica);
    assert_covers(&replica, &model);
    assert_eq!(replica.logs, 2 * 10);
    assert!(replica.blocks.len() < 2_600, "{}", replica.blocks.len());
    assert!(requests < 180, "{requests} requests");
    assert_eq!(replica.finals.last(), Some(&model.head().number));
}

#[test]
fn an_endpoint_that_gives_little_at_once_is_asked_for_little() {
    let mut model = Model {
        logs_every: 50,
        ..Model::default()
    };
    model.mine(20_000);
    let mut replica = Replica {
        is_sparse: true,
        ..Replica::default()
    };
    let mut follower = sparse(5);
    follower.handle_head(model.head());
    let (mut refusals, mut requests) = (0, 0);
    loop {
        replica.drain(&mut follower);
        let Some(request) = follower.poll_request() else {
            break;
        };
        requests += 1;
        match request {
            Request::Span { id, from, to } if to - from >= 700 => {
                refusals += 1;
                follower.handle_too_large(id, Moment::ZERO);
                assert_eq!(
                    follower.poll_timeout(),
                    None,
                    "there is nothing to wait for"
                );
            }
            request => model.answer(&mut follower, request, Moment::ZERO),
        }
    }
    assert!(refusals <= 3, "{refusals} refusals");
    assert!(requests < 200, "{requests} requests");
    assert_covers(&replica, &model);
    assert_eq!(replica.finals.last(), Some(&(model.head().number - 5)));
}

#[test]
fn deep_reorganisations_after_a_fast_start_are_undone_block_by_block() {
    for depth in [1, 10, 200, REORG_BLOCKS_MAX] {
        let mut model = Model {
            logs_every: 100,
            ..Model::default()
        };
        model.mine(9_000);
        let mut replica = Replica {
            is_sparse: true,
            ..Replica::default()
        };
        let mut follower = sparse(300);
        settle(&mut follower, &model, &mut replica);
        let finals = replica.finals.last().copied();
        model.fork(depth, depth + 1);
        settle(&mut follower, &model, &mut replica);
        assert_eq!(replica.rollbacks, 1);
        assert_covers(&replica, &model);
        if depth <= 300 {
            assert_eq!(replica.finals.last().copied(), finals.map(|last| last + 1));
        }
    }
}

#[test]
fn a_span_that_does_not_hold_together_is_asked_for_again() {
    let mut model = Model {
        logs_every: 10,
        ..Model::default()
    };
    model.mine(3_000);
    let mut other = model.clone();
    other.fork(2_990, 2_990);
    type Change = fn(&mut Vec<BlockHeader>, &mut Vec<Log>, &Model);
    let changes: [Change; 6] = [
        |headers, _, _| headers.clear(),
        |headers, _, _| headers.truncate(2),
        |headers, _, _| headers.reverse(),
        |_, logs, _| logs.reverse(),
        |_, logs, other| logs[40].block_hash = other.blocks[20].hash,
        |headers, _, _| {
            headers.remove(1);
        },
    ];
    for change in changes {
        let mut follower = sparse(0);
        follower.handle_head(model.head());
        let Some(Request::Span { id, from, to }) = follower.poll_request() else {
            panic!("a long stretch is asked for");
        };
        let mut logs: Vec<Log> = (from..=to).flat_map(|number| model.logs(number)).collect();
        let mut numbers: Vec<u64> = (from..=to).filter(|n| n % 10 == 0).collect();
        numbers.push(to);
        numbers.dedup();
        let mut headers = model.headers(&numbers);
        change(&mut headers, &mut logs, &other);
        follower.handle_span(id, headers, logs, Moment::ZERO);
        assert!(follower.is_drained());
        assert!(follower.poll_timeout().is_some());
    }
}
